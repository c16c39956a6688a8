/* The headers of a payload: an object {"name": value}, or an array of such objects. A value is a string,
 * a number, a boolean, or an array of them for a header that comes several times. */
#ifndef AGENT_PAYLOAD_HEADERS_H
#define AGENT_PAYLOAD_HEADERS_H

#include "agent/http_headers.h"
#include "base/problems.h"

struct json_object;

/* Appends to headers what json (NULL: none) says, save what frames a request, which the agent sets itself.
 * What is wrong becomes a problem, with the path of its place. */
void payload_parse_headers(struct http_headers *headers, struct json_object *json,
			   struct problems *problems);

#endif
