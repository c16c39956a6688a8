#include "crypto/aead.h"

#include "base/mem.h"
#include "crypto/random.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
	PIECE_BYTES = 1 << 30, /* OpenSSL counts in int; larger texts go in pieces */
	NONCES = 32,           /* a call of its generator costs as much for so many as for one */
};

/* A context that is keyed once, for one text at a time; what is beside that keys one of its own.
 * (OpenSSL 3.0 cannot copy a GCM context.) */
struct keyed {
	EVP_CIPHER_CTX *context;
	bool is_taken;
};

struct aead {
	EVP_CIPHER *cipher;
	struct keyed opening;
	struct keyed sealing;
	struct secret key;
	uint8_t nonces[NONCES][AEAD_NONCE_SIZE]; /* random ones; each is used once */
	size_t nonces_left;
};

struct aead_opening {
	struct keyed *keyed; /* NULL: the context is its own */
	EVP_CIPHER_CTX *context;
};

struct aead_seal {
	struct keyed *keyed; /* NULL: the context is its own */
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

static EVP_CIPHER_CTX *new_context(const struct aead *aead, bool is_sealing)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	if (!context)
		abort();
	must(EVP_CipherInit_ex2(context, aead->cipher, key_bytes(&aead->key), NULL, is_sealing,
				NULL));
	return context;
}

/* NULL: it is taken. */
static struct keyed *take(struct keyed *keyed)
{
	if (keyed->is_taken)
		return NULL;
	keyed->is_taken = true;
	return keyed;
}

static void give_back(struct keyed *keyed, EVP_CIPHER_CTX *context)
{
	if (keyed)
		keyed->is_taken = false;
	else
		EVP_CIPHER_CTX_free(context); /* OpenSSL wipes it */
}

struct aead *aead_new(const struct key *key)
{
	struct aead *aead = mem_new(struct aead);

	assert(key->bytes.size == KEY_SIZE);
	secret_set(&aead->key, key->bytes.bytes, key->bytes.size);
	aead->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!aead->cipher)
		abort();
	aead->opening.context = new_context(aead, false);
	aead->sealing.context = new_context(aead, true);
	return aead;
}

void aead_free(struct aead *aead)
{
	if (!aead)
		return;
	EVP_CIPHER_CTX_free(aead->opening.context); /* OpenSSL wipes it */
	EVP_CIPHER_CTX_free(aead->sealing.context);
	EVP_CIPHER_free(aead->cipher);
	secret_release(&aead->key);
	free(aead);
}

struct aead_opening *aead_opening_begin(struct aead *aead, const uint8_t *nonce, size_t nonce_size)
{
	struct aead_opening *opening = mem_new(struct aead_opening);

	assert(nonce_size >= 1 && nonce_size <= AEAD_NONCE_MAX_SIZE);
	opening->keyed = take(&aead->opening);
	opening->context = opening->keyed ? opening->keyed->context : new_context(aead, false);
	must(EVP_CIPHER_CTX_ctrl(opening->context, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce_size, NULL));
	must(EVP_DecryptInit_ex2(opening->context, NULL, NULL, nonce, NULL));
	return opening;
}

void aead_opening_update(struct aead_opening *opening, const void *ciphertext, size_t size,
			 void *plain)
{
	const unsigned char *in = ciphertext;
	unsigned char *to = plain;

	while (size > 0) {
		int count = size > PIECE_BYTES ? PIECE_BYTES : (int)size;
		int written = 0;

		must(EVP_DecryptUpdate(opening->context, to, &written, in, count));
		assert(written == count); /* a stream mode holds nothing back */
		in += count;
		to += count;
		size -= (size_t)count;
	}
}

int aead_opening_finish(struct aead_opening *opening, const uint8_t tag[AEAD_TAG_SIZE],
			struct error *err)
{
	uint8_t tag_copy[AEAD_TAG_SIZE]; /* the call takes no const */
	unsigned char rest[EVP_MAX_BLOCK_LENGTH];
	int written = 0;

	memcpy(tag_copy, tag, sizeof tag_copy);
	must(EVP_CIPHER_CTX_ctrl(opening->context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag_copy));
	if (EVP_DecryptFinal_ex(opening->context, rest, &written) != 1 || written != 0)
		return error_set(err, ERR_AUTH, "does not open with this key, nonce and tag");
	return 0;
}

void aead_opening_free(struct aead_opening *opening)
{
	if (!opening)
		return;
	give_back(opening->keyed, opening->context);
	free(opening);
}

int aead_open(struct aead *aead, const uint8_t *nonce, size_t nonce_size,
	      const uint8_t tag[AEAD_TAG_SIZE], const void *ciphertext, size_t size,
	      struct buf *out, struct error *err)
{
	struct aead_opening *opening;
	unsigned char *plain;
	int code;

	if (nonce_size < 1 || nonce_size > AEAD_NONCE_MAX_SIZE)
		return error_set(err, ERR_INVALID, "nonce: %zu bytes, must be 1 to %d", nonce_size,
				 AEAD_NONCE_MAX_SIZE);
	if (buf_reserve(out, size) < 0)
		return buf_check(out, "plaintext", err);
	plain = (unsigned char *)out->data + out->size;
	opening = aead_opening_begin(aead, nonce, nonce_size);
	aead_opening_update(opening, ciphertext, size, plain);
	code = aead_opening_finish(opening, tag, err);
	aead_opening_free(opening);
	if (code == 0)
		out->size += size;
	else
		secret_wipe(plain, size);
	out->data[out->size] = '\0';
	return code;
}

static void take_nonce(struct aead *aead, uint8_t nonce[AEAD_NONCE_SIZE])
{
	if (aead->nonces_left == 0) {
		random_bytes(aead->nonces, sizeof aead->nonces);
		aead->nonces_left = NONCES;
	}
	memcpy(nonce, aead->nonces[--aead->nonces_left], AEAD_NONCE_SIZE);
}

struct aead_seal *aead_seal_begin(struct aead *aead, uint8_t nonce[AEAD_NONCE_SIZE])
{
	struct aead_seal *seal = mem_new(struct aead_seal);

	take_nonce(aead, nonce);
	seal->keyed = take(&aead->sealing);
	seal->context = seal->keyed ? seal->keyed->context : new_context(aead, true);
	/* 12 bytes are the default size of a nonce. */
	must(EVP_EncryptInit_ex2(seal->context, NULL, NULL, nonce, NULL));
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
	give_back(seal->keyed, seal->context);
	free(seal);
}
