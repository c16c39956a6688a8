/* The V2 envelope: {"nonce": base64, "tag": base64, "ciphertext": base64} around the
 * UTF-8 JSON of a payload or an answer, AES-256-GCM. Nothing of the plaintext is handed
 * out before the tag is verified. */
#ifndef CRYPTO_ENVELOPE_H
#define CRYPTO_ENVELOPE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "crypto/aead.h"

/* Appends the plaintext to out (which the caller wipes). ERR_INVALID: not an envelope,
 * naming the field; ERR_AUTH: it does not open with this key. */
NODISCARD int envelope_open(struct aead *aead, struct json_object *envelope, struct buf *out,
			    struct error *err);

/* The same in steps, for a large one. Begin checks everything but the ciphertext; a step opens so
 * many letters of it: 1 when there are more, 0 when all is in out and the tag was right, or the
 * error as above. What out has before is nobody's business: it may not have been sealed with this
 * key. aead and envelope are borrowed. Release it in every case. */
struct envelope_reader {
	struct aead_opening *opening;
	uint8_t tag[AEAD_TAG_SIZE];
	const char *text; /* of the ciphertext */
	size_t size;
	size_t at;
	struct buf *out;
	size_t before; /* what out had */
};
NODISCARD int envelope_reader_begin(struct envelope_reader *reader, struct aead *aead,
				    struct json_object *envelope, struct buf *out,
				    struct error *err);
/* letters is a multiple of 4. */
NODISCARD int envelope_reader_step(struct envelope_reader *reader, size_t letters,
				   struct error *err);
void envelope_reader_release(struct envelope_reader *reader);

/* Appends the envelope as JSON text: {"nonce":…,"ciphertext":…,"tag":…}. The tag stands
 * last so that a large answer can be sealed while it is being sent. */
NODISCARD int envelope_seal(struct aead *aead, const void *plain, size_t size, struct buf *out,
			    struct error *err);

/* The same in pieces: begin, update any number of times, finish. A struct envelope_writer
 * is the caller's; release it in every case. Failures stay in out->failed. */
struct envelope_writer {
	struct aead_seal *seal;
	unsigned char pending[2]; /* ciphertext bytes that do not fill three yet */
	size_t pending_count;
};
void envelope_writer_begin(struct envelope_writer *writer, struct aead *aead, struct buf *out);
void envelope_writer_update(struct envelope_writer *writer, const void *plain, size_t size,
			    struct buf *out);
void envelope_writer_finish(struct envelope_writer *writer, struct buf *out);
void envelope_writer_release(struct envelope_writer *writer);

#endif
