#include "crypto/envelope.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct aead *new_aead(void)
{
	struct key key = {0};
	struct aead *aead;

	cr_assert_eq(key_parse("0123456789abcdef0123456789abcdef", 32, &key, NULL), 0);
	aead = aead_new(&key);
	key_release(&key);
	return aead;
}

static struct json_object *parsed(const char *text, size_t size)
{
	struct json_object *value = NULL;

	cr_assert_eq(json_parse_object(text, size, &value, NULL), 0, "%s", text);
	return value;
}

Test(envelope, what_was_sealed_opens)
{
	struct aead *aead = new_aead();
	struct buf text = BUF_INIT(1000), out = BUF_INIT(1000);
	struct json_object *envelope;
	struct error err = {0};

	cr_assert_eq(envelope_seal(aead, "{\"a\":1}", 7, &text, &err), 0, "%s", err.message);
	envelope = parsed(text.data, text.size);
	cr_assert_eq(json_object_object_length(envelope), 3);
	cr_assert_null(strstr(text.data, "\"a\""));
	cr_assert_eq(buf_append_str(&out, "> "), 0);
	cr_assert_eq(envelope_open(aead, envelope, &out, &err), 0, "%s", err.message);
	cr_assert_str_eq(buf_str(&out), "> {\"a\":1}");
	json_object_put(envelope);
	buf_release(&text);
	buf_wipe(&out);
	aead_free(aead);
}

/* Made with another library (Python's cryptography): url-safe letters, no padding, a
 * nonce of 16 bytes, fields in another order and one more of them. */
Test(envelope, one_made_elsewhere_opens)
{
	static const char text[] = "{\"tag\":\"FG4kLdE3bzB_2oOY78VBLw\",\"ciphertext\":"
				   "\"HzUEo7HmTGK4jPRWSmpgqx8YyZgp40y3MHg\","
				   "\"v\":2,\"nonce\":\"8PHy8_T19vf4-fr7_P3-_w\"}";
	struct aead *aead = new_aead();
	struct json_object *envelope = parsed(text, strlen(text));
	struct buf out = BUF_INIT(1000);
	struct error err = {0};

	cr_assert_eq(envelope_open(aead, envelope, &out, &err), 0, "%s", err.message);
	cr_assert_str_eq(buf_str(&out), "{\"greeting\":\"grüß Gott\"}");
	json_object_put(envelope);
	buf_wipe(&out);
	aead_free(aead);
}

Test(envelope, pieces_of_any_size_make_the_same)
{
	struct aead *aead = new_aead();
	size_t size = 50000;
	char *plain = malloc(size);

	for (size_t i = 0; i < size; i++)
		plain[i] = (char)('a' + i % 26);
	for (size_t step = 1; step < 40000; step = step * 3 + 1) {
		struct buf text = BUF_INIT(100000), out = BUF_INIT(size);
		struct envelope_writer writer;
		struct json_object *envelope;

		envelope_writer_begin(&writer, aead, &text);
		for (size_t at = 0; at < size; at += step)
			envelope_writer_update(&writer, plain + at,
					       size - at < step ? size - at : step, &text);
		envelope_writer_update(&writer, "", 0, &text);
		envelope_writer_finish(&writer, &text);
		envelope_writer_release(&writer);
		cr_assert_eq(buf_check(&text, "envelope", NULL), 0);
		envelope = parsed(text.data, text.size);
		cr_assert_eq(envelope_open(aead, envelope, &out, NULL), 0, "step %zu", step);
		cr_assert_eq(out.size, size);
		cr_assert_eq(memcmp(out.data, plain, size), 0);
		json_object_put(envelope);
		buf_release(&text);
		buf_wipe(&out);
	}
	free(plain);
	aead_free(aead);
}

Test(envelope, texts_of_every_small_size_are_sealed)
{
	struct aead *aead = new_aead();

	for (size_t size = 0; size < 10; size++) {
		struct buf text = BUF_INIT(1000), out = BUF_INIT(10);
		struct json_object *envelope;

		cr_assert_eq(envelope_seal(aead, "0123456789", size, &text, NULL), 0);
		envelope = parsed(text.data, text.size);
		cr_assert_eq(envelope_open(aead, envelope, &out, NULL), 0);
		cr_assert_eq(out.size, size);
		json_object_put(envelope);
		buf_release(&text);
		buf_wipe(&out);
	}
	aead_free(aead);
}

static void assert_refused(const char *text, int code, const char *message)
{
	struct aead *aead = new_aead();
	struct json_object *envelope = parsed(text, strlen(text));
	struct buf out = BUF_INIT(1000);
	struct error err = {0};

	cr_assert_eq(envelope_open(aead, envelope, &out, &err), code, "%s: %s", text, err.message);
	cr_assert_str_eq(err.message, message);
	cr_assert_eq(err.code, code);
	cr_assert_eq(envelope_open(aead, envelope, &out, NULL), code);
	cr_assert_eq(out.size, 0);
	json_object_put(envelope);
	buf_release(&out);
	aead_free(aead);
}

#define NONCE "\"nonce\":\"AAAAAAAAAAAAAAAA\""
#define TAG   "\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA==\""
#define TEXT  "\"ciphertext\":\"AAAA\""

Test(envelope, what_is_wrong_is_said_with_the_fields_name)
{
	assert_refused("{}", ERR_INVALID, "nonce: missing");
	assert_refused("{" NONCE "}", ERR_INVALID, "tag: missing");
	assert_refused("{" NONCE "," TAG "}", ERR_INVALID, "ciphertext: missing");
	assert_refused("{" NONCE ",\"tag\":null," TEXT "}", ERR_INVALID, "tag: missing");
	assert_refused("{\"nonce\":1," TAG "," TEXT "}", ERR_INVALID,
		       "nonce: must be string, is number");
	assert_refused("{\"nonce\":\"\"," TAG "," TEXT "}", ERR_INVALID,
		       "nonce: 0 bytes, must be 1 to 64");
	assert_refused("{\"nonce\":\"AA=A\"," TAG "," TEXT "}", ERR_INVALID,
		       "nonce: not base64 at character 3");
	assert_refused("{" NONCE ",\"tag\":\"AAAAAAAAAAAAAAAA\"," TEXT "}", ERR_INVALID,
		       "tag: 12 bytes, must be 16");
	assert_refused("{" NONCE "," TAG ",\"ciphertext\":\"A\\u0000\"}", ERR_INVALID,
		       "ciphertext: not base64 at character 2");
	assert_refused("{" NONCE "," TAG "," TEXT "}", ERR_AUTH,
		       "does not open with this key, nonce and tag");
}

Test(envelope, a_nonce_of_65_bytes_is_too_long)
{
	char text[300];

	snprintf(text, sizeof text, "{\"nonce\":\"%0*d\"," TAG "," TEXT "}", 87, 0);
	assert_refused(text, ERR_INVALID, "nonce: 65 bytes, must be 1 to 64");
}

Test(envelope, only_an_object_can_be_one)
{
	struct aead *aead = new_aead();
	struct json_object *array = json_new_array();
	struct buf out = BUF_INIT(10);
	struct error err = {0};

	cr_assert_eq(envelope_open(aead, array, &out, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "must be an object with nonce, tag and ciphertext, is array");
	cr_assert_eq(envelope_open(aead, NULL, &out, &err), ERR_INVALID);
	json_object_put(array);
	buf_release(&out);
	aead_free(aead);
}

Test(envelope, one_that_does_not_fit_leaves_the_buffer_as_it_was)
{
	struct aead *aead = new_aead();
	struct buf text = BUF_INIT(50);
	struct error err = {0};

	cr_assert_eq(buf_append_str(&text, "kept"), 0);
	cr_assert_eq(envelope_seal(aead, "0123456789", 10, &text, &err), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&text), "kept");
	buf_release(&text);
	aead_free(aead);
}

/* Opens an envelope in steps, behind what out has. */
static int open_in_steps(struct aead *aead, const char *text, size_t step, struct buf *out,
			 struct error *err)
{
	struct json_object *envelope = parsed(text, strlen(text));
	struct envelope_reader reader;
	int code = envelope_reader_begin(&reader, aead, envelope, out, err);

	if (code == 0)
		while ((code = envelope_reader_step(&reader, step, err)) == 1)
			;
	envelope_reader_release(&reader);
	json_object_put(envelope);
	return code;
}

Test(envelope, steps_of_any_size_open_what_one_opens)
{
	struct aead *aead = new_aead();
	char plain[300];

	memset(plain, 'p', sizeof plain);
	for (size_t size = 0; size < sizeof plain; size += size < 20 ? 1 : 31) {
		struct buf text = BUF_INIT(1000);

		cr_assert_eq(envelope_seal(aead, plain, size, &text, NULL), 0);
		for (size_t step = 4; step < 500; step *= 3) {
			struct buf out = BUF_INIT(sizeof plain + 2);
			struct error err = {0};

			cr_assert_eq(buf_append_str(&out, "> "), 0);
			cr_assert_eq(open_in_steps(aead, text.data, step, &out, &err), 0, "%s",
				     err.message);
			cr_assert_eq(out.size, size + 2);
			cr_assert_eq(memcmp(out.data + 2, plain, size), 0);
			buf_wipe(&out);
		}
		buf_release(&text);
	}
	aead_free(aead);
}

/* Its plaintext stands there until the tag is looked at: then it must be gone. */
Test(envelope, what_does_not_open_in_steps_leaves_nothing)
{
	struct aead *aead = new_aead();
	char plain[200];
	struct buf text = BUF_INIT(1000);

	memset(plain, 'p', sizeof plain);
	cr_assert_eq(envelope_seal(aead, plain, sizeof plain, &text, NULL), 0);
	for (size_t at = 0; at < text.size; at++) {
		struct buf out = BUF_INIT(1000);
		struct error err = {0}, expected = {0};
		char kept = text.data[at];

		/* A letter in place of another one; nothing of the JSON around them. */
		if (kept == '"' || strchr("{}:,\"", kept) || kept == '=' ||
		    (at > 0 && strchr("nontagciphertext", kept) && strchr("{,", text.data[at - 2])))
			continue;
		text.data[at] = kept == 'A' ? 'B' : 'A';
		struct json_object *envelope = NULL;
		cr_assert_eq(json_parse_object(text.data, text.size, &envelope, NULL), 0);
		/* All that is looked into was written by someone; no step has to grow it. */
		cr_assert_eq(buf_reserve(&out, 500), 0);
		memset(out.data, 0, out.capacity);
		cr_assert_eq(buf_append_str(&out, "kept"), 0);
		int code = envelope_open(aead, envelope, &out, &expected);
		json_object_put(envelope);
		cr_assert_lt(code, 0);
		cr_assert_eq(open_in_steps(aead, text.data, 16, &out, &err), code);
		cr_assert_str_eq(err.message, expected.message);
		cr_assert_str_eq(buf_str(&out), "kept");
		cr_assert_null(memmem(out.data, out.capacity, "pppp", 4));
		text.data[at] = kept;
		buf_release(&out);
	}
	buf_release(&text);
	aead_free(aead);
}

Test(envelope, no_envelope_is_refused_before_the_first_step)
{
	static const char *const bad[] = {
	    "{}",
	    "{\"nonce\":\"AAAAAAAAAAAAAAAA\",\"tag\":\"AAAA\",\"ciphertext\":\"AAAA\"}",
	    "{\"nonce\":\"\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"ciphertext\":\"AAAA\"}",
	    "{\"nonce\":\"AAAAAAAAAAAAAAAA\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\"}",
	    "{\"nonce\":\"AAAAAAAAAAAAAAAA\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"ciphertext\":1}",
	};
	struct aead *aead = new_aead();

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf out = BUF_INIT(100);
		struct error err = {0};

		cr_assert_eq(open_in_steps(aead, bad[i], 4, &out, &err), ERR_INVALID, "%s", bad[i]);
		cr_assert_eq(out.size, 0);
		buf_release(&out);
	}
	struct buf small = BUF_INIT(2);
	struct error err = {0};
	cr_assert_eq(open_in_steps(aead,
				   "{\"nonce\":\"AAAAAAAAAAAAAAAA\",\"tag\":"
				   "\"AAAAAAAAAAAAAAAAAAAAAA\",\"ciphertext\":\"AAAA\"}",
				   4, &small, &err),
		     ERR_LIMIT);
	buf_release(&small);
	aead_free(aead);
}
