/* The collections of others: Wycheproof's AES-GCM and the JSON parsing test suite. They
 * lie outside of the project; without them these tests are skipped. */
#include "base/file.h"
#include "base/json.h"
#include "crypto/aead.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path of a part of the vectors; skips the test when it is not there. */
static void find(const char *part, char path[512])
{
	const char *root = getenv("VECTORS");

	snprintf(path, 512, "%s/%s", root ? root : "../shared/vectors", part);
	if (access(path, R_OK) != 0)
		cr_skip("no %s: set VECTORS to where the vectors are", path);
}

/* Every file of the suite: `prefix` says what is due, y accept, n refuse, i either. */
static size_t run_json_files(const char *directory, char prefix)
{
	DIR *files = opendir(directory);
	struct dirent *file;
	size_t count = 0;

	cr_assert_not_null(files);
	while ((file = readdir(files))) {
		struct buf text = BUF_INIT(1 << 22);
		struct json_object *value = NULL;
		struct error err = {0};
		char path[1024];
		int checked, built;

		if (file->d_name[0] != prefix || file->d_name[1] != '_')
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, file->d_name);
		cr_assert_eq(file_read(path, &text, &err), 0, "%s", err.message);
		checked = json_check(text.data, text.size, &err);
		built = json_parse(text.data, text.size, &value, &err);
		if (prefix == 'y')
			cr_expect(checked == 0 && built == 0, "%s: %s", file->d_name, err.message);
		if (prefix == 'n')
			cr_expect(checked < 0 && built < 0, "%s was taken", file->d_name);
		cr_expect(built == checked || (checked == 0 && prefix == 'i'), "%s", file->d_name);
		json_object_put(value);
		buf_release(&text);
		count++;
	}
	closedir(files);
	return count;
}

Test(vectors, every_text_that_is_json_is_taken, .timeout = 20)
{
	char path[512];

	find("json-parsing", path);
	cr_assert_eq(run_json_files(path, 'y'), 95);
}

Test(vectors, every_text_that_is_no_json_is_refused, .timeout = 20)
{
	char path[512];

	find("json-parsing", path);
	cr_assert_eq(run_json_files(path, 'n'), 188);
}

Test(vectors, texts_that_may_be_either_do_no_harm, .timeout = 20)
{
	char path[512];

	find("json-parsing", path);
	cr_assert_eq(run_json_files(path, 'i'), 35);
}

static void get_hex(struct json_object *test, const char *name, struct buf *out)
{
	const char *text = NULL;

	cr_assert_eq(json_get_text(test, name, &text, NULL), 0, "%s", name);
	buf_init(out, 1 << 20);
	cr_assert_eq(buf_append(out, "", 0), 0);
	for (; *text; text += 2) {
		unsigned byte = 0;

		cr_assert_eq(sscanf(text, "%2x", &byte), 1);
		cr_assert_eq(buf_append_char(out, (char)byte), 0);
	}
}

static void run_gcm_test(struct json_object *test)
{
	struct buf key_bytes, nonce, message, ciphertext, tag, out = BUF_INIT(1 << 20);
	const char *result = NULL;
	struct key key = {0};
	struct aead *aead;
	int64_t id = 0;
	int code;

	get_hex(test, "key", &key_bytes);
	get_hex(test, "iv", &nonce);
	get_hex(test, "msg", &message);
	get_hex(test, "ct", &ciphertext);
	get_hex(test, "tag", &tag);
	cr_assert_eq(json_get_text(test, "result", &result, NULL), 0);
	cr_assert_eq(json_get_int64(test, "tcId", 0, INT32_MAX, &id, NULL), 0);
	cr_assert_eq(key_parse(key_bytes.data, key_bytes.size, &key, NULL), 0);
	cr_assert_eq(tag.size, AEAD_TAG_SIZE);
	aead = aead_new(&key);
	code = aead_open(aead, (const uint8_t *)nonce.data, nonce.size, (const uint8_t *)tag.data,
			 ciphertext.data, ciphertext.size, &out, NULL);
	if (strcmp(result, "valid") == 0) {
		cr_expect_eq(code, 0, "test %d must open", (int)id);
		cr_expect(out.size == message.size &&
			      memcmp(buf_str(&out), message.data, message.size) == 0,
			  "test %d opens to something else", (int)id);
	} else {
		cr_expect_lt(code, 0, "test %d must not open", (int)id);
		cr_expect_eq(out.size, 0);
	}
	aead_free(aead);
	key_release(&key);
	buf_release(&key_bytes);
	buf_release(&nonce);
	buf_release(&message);
	buf_release(&ciphertext);
	buf_release(&tag);
	buf_release(&out);
}

static bool is_ours(struct json_object *group)
{
	int64_t key_bits = 0, tag_bits = 0, nonce_bits = 0;

	cr_assert_eq(json_get_int64(group, "keySize", 0, 4096, &key_bits, NULL), 0);
	cr_assert_eq(json_get_int64(group, "tagSize", 0, 4096, &tag_bits, NULL), 0);
	cr_assert_eq(json_get_int64(group, "ivSize", 0, 1 << 20, &nonce_bits, NULL), 0);
	return key_bits == 256 && tag_bits == 128 && nonce_bits >= 8 && nonce_bits <= 512;
}

Test(vectors, aes_gcm_opens_what_is_valid_and_nothing_else, .timeout = 20)
{
	struct buf text = BUF_INIT(1 << 24);
	struct json_object *suite = NULL, *groups;
	struct error err = {0};
	size_t ran = 0;
	char path[512];

	find("wycheproof/aes_gcm_test.json", path);
	cr_assert_eq(file_read(path, &text, &err), 0, "%s", err.message);
	cr_assert_eq(json_parse_object(text.data, text.size, &suite, &err), 0, "%s", err.message);
	groups = json_member(suite, "testGroups");
	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);
		struct json_object *tests = json_member(group, "tests");

		for (size_t j = 0; is_ours(group) && j < json_object_array_length(tests); j++) {
			struct json_object *test = json_object_array_get_idx(tests, j);
			const char *aad = "";

			cr_assert_eq(json_get_text(test, "aad", &aad, NULL), 0);
			if (*aad)
				continue;
			run_gcm_test(test);
			ran++;
		}
	}
	cr_assert_gt(ran, 40);
	json_object_put(suite);
	buf_release(&text);
}
