/* A 256-bit key in one of the three forms people paste: 32 characters taken as bytes,
 * 64 hexadecimal digits, or base64 of 32 bytes (standard or URL-safe letters, padding
 * optional: 43 or 44 characters). The length tells which. */
#ifndef CRYPTO_KEY_H
#define CRYPTO_KEY_H

#include "base/buf.h"
#include "base/error.h"
#include "base/secret.h"

#include <stdint.h>

enum { KEY_SIZE = 32 };

struct key {
	struct secret bytes; /* KEY_SIZE bytes */
};

/* ERR_INVALID with a message that says what would be right and never shows the text. */
NODISCARD int key_parse(const char *text, size_t size, struct key *key, struct error *err);
void key_release(struct key *key);
/* A new random key as 64 hexadecimal digits, appended to out. */
NODISCARD int key_generate(struct buf *out, struct error *err);

#endif
