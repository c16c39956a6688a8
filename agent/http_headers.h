/* Header fields in order; names are tokens and values hold no CR, LF or NUL (the caller has
 * checked: it is asserted). */
#ifndef AGENT_HTTP_HEADERS_H
#define AGENT_HTTP_HEADERS_H

#include <stddef.h>

struct http_headers {
	struct http_header {
		char *name;  /* one allocation … */
		char *value; /* … with its value */
	} * items;
	size_t count;
};
void http_headers_add(struct http_headers *headers, const char *name, const char *value);
/* The first of that name, letter case ignored, or NULL. */
const char *http_headers_get(const struct http_headers *headers, const char *name);
void http_headers_remove(struct http_headers *headers, const char *name);
void http_headers_copy(const struct http_headers *from, struct http_headers *to);
void http_headers_release(struct http_headers *headers);

#endif
