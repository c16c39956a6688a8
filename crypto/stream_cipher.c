#include "crypto/stream_cipher.h"

#include "base/mem.h"
#include "base/secret.h"
#include "crypto/random.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { KEY_BYTES = 32, COUNTER_BYTES = 16 };

struct stream_cipher {
	EVP_CIPHER_CTX *context;
};

/* The key is used for one stream only, so the counter may begin at 0. */
static const unsigned char FIRST_COUNTER[COUNTER_BYTES];

/* For calls that fail only without memory or with wrong arguments of ours. */
static void must(int verdict)
{
	if (verdict != 1)
		abort();
}

struct stream_cipher *stream_cipher_new(void)
{
	struct stream_cipher *cipher = mem_new(struct stream_cipher);
	unsigned char key[KEY_BYTES];
	random_bytes(key, sizeof key);
	cipher->context = EVP_CIPHER_CTX_new();
	if (cipher->context == NULL)
		abort();
	must(EVP_EncryptInit_ex2(cipher->context, EVP_aes_256_ctr(), key, FIRST_COUNTER, NULL));
	secret_wipe(key, sizeof key);
	return cipher;
}

void stream_cipher_free(struct stream_cipher *cipher)
{
	if (cipher == NULL)
		return;
	EVP_CIPHER_CTX_free(cipher->context); /* OpenSSL wipes it */
	free(cipher);
}

void stream_cipher_apply(struct stream_cipher *cipher, void *bytes, size_t size)
{
	unsigned char *at = bytes;
	while (size > 0) {
		int count = size > INT_MAX ? INT_MAX : (int)size;
		int written = 0;
		must(EVP_EncryptUpdate(cipher->context, at, &written, at, count));
		at += count;
		size -= (size_t)count;
	}
}

void stream_cipher_rewind(struct stream_cipher *cipher)
{
	must(EVP_EncryptInit_ex2(cipher->context, NULL, NULL, FIRST_COUNTER, NULL));
}
