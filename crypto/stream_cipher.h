/* AES-256 in counter mode (NIST SP 800-38A) under a random key that never leaves this
 * object: what is written to a file through it can be read back by this process alone, and
 * by nobody once the object is gone. Bytes are not authenticated: not for anything that
 * leaves the process otherwise. */
#ifndef CRYPTO_STREAM_CIPHER_H
#define CRYPTO_STREAM_CIPHER_H

#include <stddef.h>

struct stream_cipher;

struct stream_cipher *stream_cipher_new(void);
void stream_cipher_free(struct stream_cipher *cipher);
/* The next bytes of the stream, in place: enciphers plain text, deciphers what it made. */
void stream_cipher_apply(struct stream_cipher *cipher, void *bytes, size_t size);
/* Back to the first byte. One run may be written and any number read, one at a time. */
void stream_cipher_rewind(struct stream_cipher *cipher);

#endif
