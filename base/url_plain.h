/* Most URLs have nothing about them that could be read in two ways; these need no URL parser
 * to be taken apart. Nobody but url.c includes this. */
#ifndef BASE_URL_PLAIN_H
#define BASE_URL_PLAIN_H

#include "base/url.h"

#include <stdbool.h>

/* True, and url is filled as url_parse would, when text is lower-case http or https, a host
 * name or dotted IPv4 address without a user, perhaps a port that is not the default one, and
 * a path and query of unreserved characters and harmless delimiters, without dot segments and
 * percent signs. False for everything else, good or bad. */
bool url_parse_plain(const char *text, struct url *url);

#endif
