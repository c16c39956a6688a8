/* AES-256-GCM (NIST SP 800-38D) with a 16-byte tag and no additional data. One
 * struct aead is one key ready for use. Opening verifies before anything is handed
 * out: on a wrong tag the output holds nothing. Sealing can be streamed, because the
 * tag comes last. */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include "base/buf.h"
#include "base/error.h"
#include "crypto/key.h"

#include <stddef.h>
#include <stdint.h>

enum {
	AEAD_TAG_SIZE = 16,
	AEAD_NONCE_SIZE = 12,     /* what we send */
	AEAD_NONCE_MAX_SIZE = 64, /* what we accept: 1 to 64 */
};

struct aead;

/* Keeps a copy of the key inside OpenSSL's context, wiped by aead_free. */
struct aead *aead_new(const struct key *key);
void aead_free(struct aead *aead);

/* Appends the plaintext to out. ERR_AUTH when key, nonce, tag and ciphertext do not fit;
 * ERR_INVALID for a nonce of a size outside 1…64. */
NODISCARD int aead_open(struct aead *aead, const uint8_t *nonce, size_t nonce_size,
			const uint8_t tag[AEAD_TAG_SIZE], const void *ciphertext, size_t size,
			struct buf *out, struct error *err);

/* Opening in pieces. What comes out before finish has returned 0 may be anybody's, and nobody may
 * act upon it; after ERR_AUTH the caller wipes it. Several openings of one key may be under way
 * at once, each shorter than its aead lives, and each ends with aead_opening_free. */
struct aead_opening;
/* nonce_size was checked: 1 to AEAD_NONCE_MAX_SIZE. */
struct aead_opening *aead_opening_begin(struct aead *aead, const uint8_t *nonce, size_t nonce_size);
/* Writes exactly size bytes to plain (may be the same memory as ciphertext). */
void aead_opening_update(struct aead_opening *opening, const void *ciphertext, size_t size,
			 void *plain);
NODISCARD int aead_opening_finish(struct aead_opening *opening, const uint8_t tag[AEAD_TAG_SIZE],
				  struct error *err);
void aead_opening_free(struct aead_opening *opening);

/* Sealing in pieces. Begin makes a fresh random nonce and returns it; finish gives the
 * tag. Several seals of one key may be under way at once. The caller ends each with
 * aead_seal_free, finished or not. */
struct aead_seal;
struct aead_seal *aead_seal_begin(struct aead *aead, uint8_t nonce[AEAD_NONCE_SIZE]);
/* Writes exactly size bytes of ciphertext to out (may be the same memory as plain). */
void aead_seal_update(struct aead_seal *seal, const void *plain, size_t size, void *out);
void aead_seal_finish(struct aead_seal *seal, uint8_t tag[AEAD_TAG_SIZE]);
void aead_seal_free(struct aead_seal *seal);

#endif
