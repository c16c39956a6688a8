#include "crypto/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

void digest_sha256(const void *bytes, size_t size, uint8_t digest[SHA256_SIZE])
{
	/* Fails only when OpenSSL has no memory or no SHA-256 at all. */
	if (EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

void digest_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
			uint8_t digest[SHA256_SIZE])
{
	/* The same as above; a key is never as long as an int allows. */
	if (HMAC(EVP_sha256(), key, (int)key_size, bytes, size, digest, NULL) == NULL)
		abort();
}

void digest_to_hex(const uint8_t digest[SHA256_SIZE], char text[SHA256_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_SIZE; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	text[2 * (size_t)SHA256_SIZE] = '\0';
}
