#include "crypto/base64.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void assert_decoded(const char *text, const char *bytes, size_t size)
{
	struct buf out = BUF_INIT(1000);
	struct error err = {0};

	cr_assert_eq(base64_decode(&out, text, strlen(text), &err), 0, "%s: %s", text, err.message);
	cr_assert_eq(out.size, size, "%s", text);
	cr_assert_arr_eq(out.data, bytes, size + 1, "%s", text);
	buf_release(&out);
}

/* The examples of RFC 4648, 10. */
static const char *const examples[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

Test(base64, the_standards_examples_go_both_ways)
{
	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
		struct buf out = BUF_INIT(100);

		cr_assert_eq(base64_encode(&out, examples[i][0], strlen(examples[i][0])), 0);
		cr_assert_str_eq(buf_str(&out), examples[i][1]);
		cr_assert_eq(out.size, BASE64_SIZE(strlen(examples[i][0])));
		assert_decoded(examples[i][1], examples[i][0], strlen(examples[i][0]));
		buf_release(&out);
	}
}

Test(base64, url_safe_letters_and_missing_padding_are_taken)
{
	assert_decoded("+/-_", "\xfb\xff\xbf", 3);
	assert_decoded("-_-_", "\xfb\xff\xbf", 3);
	assert_decoded("Zg", "f", 1);
	assert_decoded("Zm8", "fo", 2);
	assert_decoded("Zm9vYg", "foob", 4);
	assert_decoded("AA", "\0", 1);
}

Test(base64, nothing_else_is_taken_and_the_output_stays)
{
	static const char *const bad[] = {"A",
					  "A===",
					  "=",
					  "==",
					  "===",
					  "====",
					  "Zg=",
					  "Zm8==",
					  "QQ=A",
					  "Zm9vY",
					  "Zm9v=",
					  "Zm9v====",
					  "Zm9v Yg=",
					  "Zm9v\n",
					  " Zm9v",
					  "Zm9vYg==\n",
					  "Zh==",
					  "Zm9=",
					  "Zh",
					  "Zm9",
					  "Z\xffg=",
					  "Zg==Zg==",
					  "Zm.v",
					  "Zm9v\x80"
					  "abc",
					  "Z=g=",
					  "=Zg=",
					  "*m9v",
					  "AAA*",
					  "AAAA=AAA"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf out = BUF_INIT(100);
		struct error err = {0};

		cr_assert_eq(buf_append_str(&out, "kept"), 0);
		cr_assert_eq(base64_decode(&out, bad[i], strlen(bad[i]), &err), ERR_SYNTAX, "%s",
			     bad[i]);
		cr_assert_not_null(strstr(err.message, "not base64"));
		cr_assert_str_eq(buf_str(&out), "kept");
		cr_assert_eq(out.failed, 0);
		buf_release(&out);
	}
}

Test(base64, the_first_wrong_character_is_named)
{
	struct buf out = BUF_INIT(100);
	struct error err = {0};

	cr_assert_eq(base64_decode(&out, "Zm9vZm9\n", 8, &err), ERR_SYNTAX);
	cr_assert_str_eq(err.message, "not base64 at character 8");
	cr_assert_eq(base64_decode(&out, "Zm9\0", 4, &err), ERR_SYNTAX);
	cr_assert_str_eq(err.message, "not base64 at character 4");
	buf_release(&out);
}

Test(base64, every_byte_value_comes_back_at_every_length)
{
	unsigned char bytes[300];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 37);
	for (size_t size = 0; size <= sizeof bytes; size++) {
		struct buf text = BUF_INIT(1000), back = BUF_INIT(sizeof bytes);

		cr_assert_eq(base64_encode(&text, bytes, size), 0);
		cr_assert_eq(base64_decode(&back, text.data, text.size, NULL), 0);
		cr_assert_eq(back.size, size);
		cr_assert_eq(memcmp(back.data, bytes, size), 0);
		buf_release(&text);
		buf_release(&back);
	}
}

Test(base64, large_texts_are_encoded_in_pieces)
{
	size_t size = (3 << 20) * 2 + 5;
	char *bytes = calloc(size, 1);
	struct buf text = BUF_INIT(BASE64_SIZE(size)), back = BUF_INIT(size);

	bytes[size - 1] = 'x';
	cr_assert_eq(base64_encode(&text, bytes, size), 0);
	cr_assert_eq(text.size, BASE64_SIZE(size));
	cr_assert_eq(base64_decode(&back, text.data, text.size, NULL), 0);
	cr_assert_eq(back.size, size);
	cr_assert_eq(memcmp(back.data, bytes, size), 0);
	free(bytes);
	buf_release(&text);
	buf_release(&back);
}

Test(base64, what_does_not_fit_is_refused)
{
	struct buf out = BUF_INIT(3);
	struct error err = {0};

	cr_assert_eq(base64_encode(&out, "a", 1), ERR_LIMIT);
	cr_assert_eq(out.size, 0);
	buf_reset(&out);
	cr_assert_eq(base64_decode(&out, "Zm9vYg==", 8, &err), ERR_LIMIT);
	cr_assert_eq(out.size, 0);
	buf_reset(&out);
	cr_assert_eq(base64_decode(&out, "Zm9v", 4, &err), 0);
	buf_release(&out);
}
