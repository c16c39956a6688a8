/* Base64 (RFC 4648). Encoding is standard with padding. Decoding also takes URL-safe
 * letters and missing padding, and nothing else: no white space, no padding inside, no
 * stray bits after the last byte. (OpenSSL's EVP_DecodeBlock takes `QQ=A` and `====`.) */
#ifndef CRYPTO_BASE64_H
#define CRYPTO_BASE64_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>

#define BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/* Appends. Encoding in pieces works when every piece but the last is a multiple of 3. */
int base64_encode(struct buf *out, const void *bytes, size_t size);
/* Appends; on ERR_SYNTAX out is as before. */
NODISCARD int base64_decode(struct buf *out, const char *text, size_t size, struct error *err);
/* How many bytes that gives. */
size_t base64_decoded_size(const char *text, size_t size);
/* A large text in pieces: count characters from from on, both multiples of 4 but for the last
 * piece, which reaches the end. */
NODISCARD int base64_decode_piece(struct buf *out, const char *text, size_t size, size_t from,
				  size_t count, struct error *err);

#endif
