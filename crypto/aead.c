#include "crypto/aead.h"

#include "base/mem.h"
#include "crypto/random.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL counts in int; larger texts go in pieces. */
enum { PIECE_BYTES = 1 << 30 };

/* OpenSSL 3.0 cannot copy a GCM context, so each seal is keyed anew from the copy. */
struct aead {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *opening; /* keyed once, used for every open */
	struct secret key;
};

struct aead_seal {
	EVP_CIPHER_CTX *context;
};

/* For calls that fail only without memory or with wrong arguments of ours. */
static void must(int verdict)
{
	if (verdict != 1)
		abort();
}

static const unsigned char *key_bytes(const struct secret *key)
{
	return (const unsigned char *)key->bytes;
}

struct aead *aead_new(const struct key *key)
{
	struct aead *aead = mem_new(struct aead);

	assert(key->bytes.size == KEY_SIZE);
	secret_set(&aead->key, key->bytes.bytes, key->bytes.size);
	aead->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	aead->opening = EVP_CIPHER_CTX_new();
	if (!aead->cipher || !aead->opening)
		abort();
	must(EVP_DecryptInit_ex2(aead->opening, aead->cipher, key_bytes(&aead->key), NULL, NULL));
	return aead;
}

void aead_free(struct aead *aead)
{
	if (!aead)
		return;
	EVP_CIPHER_CTX_free(aead->opening); /* OpenSSL wipes it */
	EVP_CIPHER_free(aead->cipher);
	secret_release(&aead->key);
	free(aead);
}

static bool start_opening(EVP_CIPHER_CTX *context, const uint8_t *nonce, size_t nonce_size,
			  const uint8_t tag[AEAD_TAG_SIZE])
{
	uint8_t tag_copy[AEAD_TAG_SIZE]; /* the call takes no const */

	memcpy(tag_copy, tag, sizeof tag_copy);
	return EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce_size, NULL) == 1 &&
	       EVP_DecryptInit_ex2(context, NULL, NULL, nonce, NULL) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag_copy) == 1;
}

static bool decrypt(EVP_CIPHER_CTX *context, const unsigned char *in, size_t size,
		    unsigned char *out)
{
	unsigned char rest[EVP_MAX_BLOCK_LENGTH];
	int written = 0;

	while (size > 0) {
		int count = size > PIECE_BYTES ? PIECE_BYTES : (int)size;

		if (EVP_DecryptUpdate(context, out, &written, in, count) != 1 || written != count)
			return false;
		in += count;
		out += count;
		size -= (size_t)count;
	}
	return EVP_DecryptFinal_ex(context, rest, &written) == 1 && written == 0;
}

/* The plaintext goes to out, which may be where the ciphertext is. */
static int open_to(struct aead *aead, const uint8_t *nonce, size_t nonce_size,
		   const uint8_t tag[AEAD_TAG_SIZE], const void *ciphertext, size_t size,
		   unsigned char *out, struct error *err)
{
	if (nonce_size < 1 || nonce_size > AEAD_NONCE_MAX_SIZE)
		return error_set(err, ERR_INVALID, "nonce: %zu bytes, must be 1 to %d", nonce_size,
				 AEAD_NONCE_MAX_SIZE);
	if (start_opening(aead->opening, nonce, nonce_size, tag) &&
	    decrypt(aead->opening, ciphertext, size, out))
		return 0;
	secret_wipe(out, size);
	return error_set(err, ERR_AUTH, "does not open with this key, nonce and tag");
}

int aead_open(struct aead *aead, const uint8_t *nonce, size_t nonce_size,
	      const uint8_t tag[AEAD_TAG_SIZE], const void *ciphertext, size_t size,
	      struct buf *out, struct error *err)
{
	int code;

	if (buf_reserve(out, size) < 0)
		return buf_check(out, "plaintext", err);
	code = open_to(aead, nonce, nonce_size, tag, ciphertext, size,
		       (unsigned char *)out->data + out->size, err);
	if (code == 0)
		out->size += size;
	out->data[out->size] = '\0';
	return code;
}

int aead_open_in_place(struct aead *aead, const uint8_t *nonce, size_t nonce_size,
		       const uint8_t tag[AEAD_TAG_SIZE], struct buf *text, size_t from,
		       struct error *err)
{
	unsigned char *at;
	int code;

	if (buf_reserve(text, 0) < 0) /* an empty text has no bytes yet */
		return buf_check(text, "plaintext", err);
	at = (unsigned char *)text->data + from;
	code = open_to(aead, nonce, nonce_size, tag, at, text->size - from, at, err);
	if (code < 0)
		buf_truncate(text, from);
	return code;
}

struct aead_seal *aead_seal_begin(struct aead *aead, uint8_t nonce[AEAD_NONCE_SIZE])
{
	struct aead_seal *seal = mem_new(struct aead_seal);

	random_bytes(nonce, AEAD_NONCE_SIZE);
	seal->context = EVP_CIPHER_CTX_new();
	if (!seal->context)
		abort();
	/* 12 bytes are the default size of a nonce. */
	must(EVP_EncryptInit_ex2(seal->context, aead->cipher, key_bytes(&aead->key), nonce, NULL));
	return seal;
}

void aead_seal_update(struct aead_seal *seal, const void *plain, size_t size, void *out)
{
	const unsigned char *in = plain;
	unsigned char *to = out;

	while (size > 0) {
		int count = size > PIECE_BYTES ? PIECE_BYTES : (int)size;
		int written = 0;

		must(EVP_EncryptUpdate(seal->context, to, &written, in, count));
		assert(written == count); /* a stream mode holds nothing back */
		in += count;
		to += count;
		size -= (size_t)count;
	}
}

void aead_seal_finish(struct aead_seal *seal, uint8_t tag[AEAD_TAG_SIZE])
{
	unsigned char rest[EVP_MAX_BLOCK_LENGTH];
	int written = 0;

	must(EVP_EncryptFinal_ex(seal->context, rest, &written));
	must(EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag));
}

void aead_seal_free(struct aead_seal *seal)
{
	if (!seal)
		return;
	EVP_CIPHER_CTX_free(seal->context);
	free(seal);
}
