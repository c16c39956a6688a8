/* SHA-256 and its keyed form, as bytes and as lower-case hexadecimal digits. */
#ifndef CRYPTO_DIGEST_H
#define CRYPTO_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_TEXT_SIZE = 65 };

void digest_sha256(const void *bytes, size_t size, uint8_t digest[SHA256_SIZE]);
/* RFC 2104. */
void digest_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
			uint8_t digest[SHA256_SIZE]);
void digest_to_hex(const uint8_t digest[SHA256_SIZE], char text[SHA256_TEXT_SIZE]);

#endif
