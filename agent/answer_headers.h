/* The headers of a target's answer, as the requestor gets them. */
#ifndef AGENT_ANSWER_HEADERS_H
#define AGENT_ANSWER_HEADERS_H

#include "agent/http.h"
#include "base/buf.h"

/* Appends [{"name": value}, …]: names in lower case, in the order in which they first came. Several
 * values of a name are joined by a comma (RFC 9110, 5.3), but for set-cookie, whose value is always an
 * array. What a decoded body makes untrue is left out. */
void answer_write_headers(struct buf *out, const struct http_response *response);

#endif
