/* Percent-encoding (RFC 3986, 2.1): what a URL's text needs before libcurl's parser and every server read
 * the same in it. Nobody but url*.c includes this. */
#ifndef BASE_URL_ESCAPE_H
#define BASE_URL_ESCAPE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* The length of "scheme" when text begins with "scheme:", else 0. */
size_t url_scheme_length(const char *text);
/* A character that never needs encoding (RFC 3986, 2.3). */
bool url_is_unreserved(unsigned char c);
/* Appends %XX. */
void url_append_percent(struct buf *out, unsigned char c);
/* Appends; what may not stand in a URL at all is percent-encoded, the rest stays. */
void url_append_mended(struct buf *out, const char *text, size_t size);
/* Appends the URL as libcurl shall read it; the fragment is left out. */
void url_append_prepared(struct buf *out, const char *text);

#endif
