#include "crypto/envelope.h"

#include "base/secret.h"
#include "crypto/base64.h"

#include <stdint.h>
#include <string.h>

/* Ciphertext is made and encoded in pieces of this size, a multiple of 3. */
enum { PIECE_BYTES = 12 * 1024 };

static int get_text(struct json_object *envelope, const char *name, const char **text, size_t *size,
		    struct error *err)
{
	if (json_get_string(envelope, name, text, size, err) < 0)
		/* absent or no string: either way this is no envelope */
		return error_set(err, ERR_INVALID, "%s", err ? err->message : "");
	return 0;
}

/* A failure of base64 as one of the envelope's field. */
static int field_error(int code, const char *name, struct error *err)
{
	if (code == ERR_SYNTAX)
		return error_set(err, ERR_INVALID, "%s: %s", name, err ? err->message : "");
	return error_prefix(err, "%s", name);
}

/* One field of the envelope as bytes, appended to out, which has room for it. */
static int get_field(struct json_object *envelope, const char *name, struct buf *out,
		     struct error *err)
{
	const char *text;
	size_t size;
	int code = get_text(envelope, name, &text, &size, err);

	if (code < 0)
		return code;
	code = base64_decode(out, text, size, err);
	return code < 0 ? field_error(code, name, err) : 0;
}

static int check_sizes(size_t nonce_size, size_t tag_size, struct error *err)
{
	if (nonce_size < 1 || nonce_size > AEAD_NONCE_MAX_SIZE)
		return error_set(err, ERR_INVALID, "nonce: %zu bytes, must be 1 to %d", nonce_size,
				 AEAD_NONCE_MAX_SIZE);
	if (tag_size != AEAD_TAG_SIZE)
		return error_set(err, ERR_INVALID, "tag: %zu bytes, must be %d", tag_size,
				 AEAD_TAG_SIZE);
	return 0;
}

/* Everything but the ciphertext. */
static int read_frame(struct json_object *envelope, struct buf *nonce, struct buf *tag,
		      struct error *err)
{
	int code;

	if (!json_object_is_type(envelope, json_type_object))
		return error_set(err, ERR_INVALID,
				 "must be an object with nonce, tag and ciphertext, is %s",
				 json_type_name(envelope));
	if ((code = get_field(envelope, "nonce", nonce, err)) < 0 ||
	    (code = get_field(envelope, "tag", tag, err)) < 0)
		return code;
	return check_sizes(nonce->size, tag->size, err);
}

int envelope_reader_begin(struct envelope_reader *reader, struct aead *aead,
			  struct json_object *envelope, struct buf *out, struct error *err)
{
	struct buf nonce = BUF_INIT(SIZE_MAX / 2), tag = BUF_INIT(SIZE_MAX / 2);
	int code;

	*reader = (struct envelope_reader){.out = out, .before = out->size};
	if ((code = read_frame(envelope, &nonce, &tag, err)) < 0 ||
	    (code = get_text(envelope, "ciphertext", &reader->text, &reader->size, err)) < 0)
		goto out;
	/* At once, so that no plaintext is left behind where the bytes moved from. */
	if (buf_reserve(out, base64_decoded_size(reader->text, reader->size)) < 0) {
		code = buf_check(out, "ciphertext", err);
		goto out;
	}
	memcpy(reader->tag, tag.data, sizeof reader->tag);
	reader->opening = aead_opening_begin(aead, (const uint8_t *)nonce.data, nonce.size);
out:
	buf_release(&nonce);
	buf_release(&tag);
	return code;
}

int envelope_reader_step(struct envelope_reader *reader, size_t letters, struct error *err)
{
	struct buf *out = reader->out;
	size_t left = reader->size - reader->at, from = out->size;
	size_t count = letters < left ? letters : left;
	int code = base64_decode_piece(out, reader->text, reader->size, reader->at, count, err);

	if (code < 0) {
		code = field_error(code, "ciphertext", err);
	} else {
		aead_opening_update(reader->opening, out->data + from, out->size - from,
				    out->data + from);
		reader->at += count;
		if (reader->at < reader->size)
			return 1;
		code = aead_opening_finish(reader->opening, reader->tag, err);
	}
	if (code < 0) {
		secret_wipe(out->data + reader->before, out->size - reader->before);
		buf_truncate(out, reader->before);
	}
	return code;
}

void envelope_reader_release(struct envelope_reader *reader)
{
	aead_opening_free(reader->opening);
	*reader = (struct envelope_reader){0};
}

int envelope_open(struct aead *aead, struct json_object *envelope, struct buf *out,
		  struct error *err)
{
	struct envelope_reader reader;
	int code = envelope_reader_begin(&reader, aead, envelope, out, err);

	if (code == 0)
		code = envelope_reader_step(&reader, SIZE_MAX, err);
	envelope_reader_release(&reader);
	return code;
}

void envelope_writer_begin(struct envelope_writer *writer, struct aead *aead, struct buf *out)
{
	uint8_t nonce[AEAD_NONCE_SIZE];

	*writer = (struct envelope_writer){.seal = aead_seal_begin(aead, nonce)};
	buf_append_str(out, "{\"nonce\":\"");
	(void)base64_encode(out, nonce, sizeof nonce); /* failures stay in out */
	buf_append_str(out, "\",\"ciphertext\":\"");
}

void envelope_writer_update(struct envelope_writer *writer, const void *plain, size_t size,
			    struct buf *out)
{
	unsigned char piece[sizeof writer->pending + PIECE_BYTES];
	const unsigned char *in = plain;

	while (size > 0 && !out->failed) {
		size_t count = size > PIECE_BYTES ? PIECE_BYTES : size;
		size_t total = writer->pending_count + count;
		size_t whole = total / 3 * 3;

		memcpy(piece, writer->pending, writer->pending_count);
		aead_seal_update(writer->seal, in, count, piece + writer->pending_count);
		(void)base64_encode(out, piece, whole);
		writer->pending_count = total - whole;
		memcpy(writer->pending, piece + whole, writer->pending_count);
		in += count;
		size -= count;
	}
}

void envelope_writer_finish(struct envelope_writer *writer, struct buf *out)
{
	uint8_t tag[AEAD_TAG_SIZE];

	aead_seal_finish(writer->seal, tag);
	(void)base64_encode(out, writer->pending, writer->pending_count);
	buf_append_str(out, "\",\"tag\":\"");
	(void)base64_encode(out, tag, sizeof tag);
	buf_append_str(out, "\"}");
	writer->pending_count = 0;
}

void envelope_writer_release(struct envelope_writer *writer)
{
	aead_seal_free(writer->seal);
	*writer = (struct envelope_writer){0};
}

int envelope_seal(struct aead *aead, const void *plain, size_t size, struct buf *out,
		  struct error *err)
{
	struct envelope_writer writer;
	size_t before = out->size;
	int code;

	envelope_writer_begin(&writer, aead, out);
	envelope_writer_update(&writer, plain, size, out);
	envelope_writer_finish(&writer, out);
	envelope_writer_release(&writer);
	code = buf_check(out, "envelope", err);
	if (code < 0)
		buf_truncate(out, before);
	return code;
}
