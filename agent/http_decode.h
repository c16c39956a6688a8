/* Takes content encodings (RFC 9110, 8.4) off a body while it arrives: gzip, deflate, br and
 * zstd, also several on top of each other. libcurl could do it, but would not notice a
 * stream that ends early, and could not leave an encoding that it does not know as it is. */
#ifndef AGENT_HTTP_DECODE_H
#define AGENT_HTTP_DECODE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* What is offered to a peer, in Accept-Encoding. */
#define HTTP_DECODE_ACCEPTED "gzip, deflate, br, zstd"

/* Gets the decoded bytes; a negative code ends the decoding and is handed on. */
typedef int http_decode_output(void *context, const void *bytes, size_t size);

struct http_decoder;

/* For the value of a Content-Encoding header. NULL when there is nothing to take off, or
 * when it names an encoding that is not known: the body is then to be left as it is.
 * max_between_bytes: what one of several encodings may hand to the next in all, for a few bytes
 * on the wire can be gigabytes there of which nothing comes out. */
struct http_decoder *http_decoder_new(const char *encodings, size_t max_between_bytes,
				      http_decode_output *output, void *context);
void http_decoder_free(struct http_decoder *decoder);

/* ERR_SYNTAX: the bytes are not what the header said. ERR_LIMIT: too many between two encodings. */
NODISCARD int http_decoder_write(struct http_decoder *decoder, const void *bytes, size_t size,
				 struct error *err);
/* No more bytes come. ERR_SYNTAX: the stream is not complete. */
NODISCARD int http_decoder_finish(struct http_decoder *decoder, struct error *err);

#endif
