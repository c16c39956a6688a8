/* Takes content encodings (RFC 9110, 8.4) off a body: gzip, deflate, br and zstd, also several on
 * top of each other; a little at a time, for a few bytes can be gigabytes. libcurl could do it, but
 * would not notice a stream that ends early, and could not leave an encoding that it does not know
 * as it is. */
#ifndef AGENT_HTTP_DECODE_H
#define AGENT_HTTP_DECODE_H

#include "base/error.h"

#include <stddef.h>

/* What is offered to a peer, in Accept-Encoding. */
#define HTTP_DECODE_ACCEPTED "gzip, deflate, br, zstd"

/* The next encoded bytes, at least one; *count 0: there are no more. A negative code ends the
 * decoding and is handed on. */
typedef int http_decode_source(void *context, void *out, size_t room, size_t *count,
			       struct error *err);

struct http_decoder;

/* For the value of a Content-Encoding header. NULL when there is nothing to take off, or
 * when it names an encoding that is not known: the body is then to be left as it is.
 * max_between_bytes: what one of several encodings may hand to the next in all, for a few bytes
 * on the wire can be gigabytes there of which nothing comes out. It takes little memory until the
 * first step. */
struct http_decoder *http_decoder_new(const char *encodings, size_t max_between_bytes,
				      http_decode_source *source, void *context);
void http_decoder_free(struct http_decoder *decoder);

/* A short piece of the work. 1: it goes on, and *count decoded bytes (maybe none) are at *bytes until
 * the next step. 0: all is decoded. ERR_SYNTAX: the bytes are not what the header said, or end early.
 * ERR_LIMIT: too many between two encodings. ERR_MEMORY. */
NODISCARD int http_decoder_step(struct http_decoder *decoder, const void **bytes, size_t *count,
				struct error *err);

#endif
