#include "crypto/base64.h"

#include "crypto/random.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdio.h>
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

/* Behind groups that are in order, so that the wrong one is met by every way of reading. */
enum { GROUPS_MAX = 6 };

static bool is_letter(unsigned char byte)
{
	return byte != '\0' && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789+/-_",
				      byte) != NULL;
}

Test(base64, every_wrong_byte_is_found_at_every_place_of_a_group)
{
	for (size_t size = 1; size <= 4 * GROUPS_MAX + 3; size++) {
		for (size_t at = 0; at < size; at++) {
			for (int byte = 0; byte <= 0xFF; byte++) {
				char text[4 * GROUPS_MAX + 4] = "", wanted[64];
				struct buf out = BUF_INIT(100);
				struct error err = {0};
				bool is_padding = byte == '=' && at == size - 1 && size % 4 == 0;
				/* A lone 'A' is half a byte; others have no bits to spare. */
				bool is_whole = size % 4 != 1 && (at != size - 1 || size % 4 == 0);

				memset(text, 'A', size);
				text[at] = (char)byte;
				cr_assert_eq(buf_append_str(&out, "kept"), 0);
				int code = base64_decode(&out, text, size, &err);
				if (is_padding || (is_letter((unsigned char)byte) && is_whole)) {
					cr_assert_eq(code, 0, "%zu, %zu, %d", size, at, byte);
					cr_assert_eq(out.size, 4 + (size - is_padding) * 3 / 4);
				} else if (!is_letter((unsigned char)byte)) {
					snprintf(wanted, sizeof wanted,
						 "not base64 at character %zu", at + 1);
					cr_assert_eq(code, ERR_SYNTAX, "%zu, %zu, %d", size, at,
						     byte);
					cr_assert_str_eq(err.message, wanted);
				}
				if (code != 0)
					cr_assert_eq(out.size, 4);
				cr_assert_eq(memcmp(out.data, "kept", 4), 0);
				cr_assert_eq(out.data[out.size], '\0');
				buf_release(&out);
			}
		}
	}
}

Test(base64, bits_behind_the_last_byte_must_be_zero)
{
	for (size_t groups = 0; groups <= GROUPS_MAX; groups++) {
		for (unsigned value = 0; value < 64; value++) {
			static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
						      "abcdefghijklmnopqrstuvwxyz0123456789+/";
			char text[4 * GROUPS_MAX + 4];
			struct buf out = BUF_INIT(100);

			memset(text, 'A', sizeof text);
			text[groups * 4 + 1] = letters[value];
			cr_assert_eq(base64_decode(&out, text, groups * 4 + 2, NULL),
				     value % 16 == 0 ? 0 : ERR_SYNTAX, "%zu, %u", groups, value);
			text[groups * 4 + 1] = 'A';
			text[groups * 4 + 2] = letters[value];
			cr_assert_eq(base64_decode(&out, text, groups * 4 + 3, NULL),
				     value % 4 == 0 ? 0 : ERR_SYNTAX, "%zu, %u", groups, value);
			buf_release(&out);
		}
	}
}

Test(base64, padding_is_whole_or_left_out)
{
	for (size_t size = 0; size <= 3 * GROUPS_MAX; size++) {
		for (size_t padding = 0; padding <= 5; padding++) {
			struct buf text = BUF_INIT(100), out = BUF_INIT(100);
			size_t missing = (3 - size % 3) % 3;

			cr_assert_eq(base64_encode(&text, "abcdefghijklmnopqrstuvwxyz", size), 0);
			buf_truncate(&text, text.size - missing);
			for (size_t i = 0; i < padding; i++)
				buf_append_char(&text, '=');
			cr_assert_eq(base64_decode(&out, buf_str(&text), text.size, NULL),
				     padding == missing || padding == 0 ? 0 : ERR_SYNTAX,
				     "%zu bytes, %zu times =", size, padding);
			buf_release(&text);
			buf_release(&out);
		}
	}
}

Test(base64, openssl_has_the_same_result)
{
	enum { BYTES_MAX = 5000 };
	unsigned char bytes[BYTES_MAX], text[BASE64_SIZE(BYTES_MAX) + 1], back[BYTES_MAX + 3];

	random_bytes(bytes, sizeof bytes);
	for (size_t size = 0; size <= BYTES_MAX; size += size < 100 ? 1 : 97) {
		/* Room to the byte, so that a sanitizer sees what goes beyond it. */
		struct buf ours = BUF_INIT(BASE64_SIZE(size)), out = BUF_INIT(size);
		int count = EVP_EncodeBlock(text, bytes, (int)size);

		cr_assert_eq(base64_encode(&ours, bytes, size), 0);
		cr_assert_eq(ours.size, (size_t)count);
		cr_assert_eq(memcmp(ours.data, text, ours.size), 0);
		cr_assert_eq(base64_decode(&out, (const char *)text, (size_t)count, NULL), 0);
		cr_assert_eq(out.size, size);
		/* Its count has the bytes of the padding. */
		cr_assert_eq((size_t)EVP_DecodeBlock(back, text, count), (size + 2) / 3 * 3);
		cr_assert_eq(memcmp(out.data, back, size), 0);
		buf_release(&ours);
		buf_release(&out);
	}
}

Test(base64, pieces_of_every_size_give_what_one_gives)
{
	static const char *const texts[] = {"",
					    "Zm9vYmFyYmF6cXV4",
					    "Zm9vYmFyYmF6cXV4Zg==",
					    "Zm9vYmFyYmF6cXV4Zm8",
					    "Zm9vYmFyYmF6Z",
					    "Zm9vYmFy=mF6cXV4Zg=",
					    "Zm9vYm=yYmF6cXV4Zg==",
					    "Zm9vYg==YmF6cXV4Zg==",
					    "Zm9vYg==Zg==",
					    "Zm9vYmFy====",
					    "Zm9vYmFyZh==",
					    "Zm9v*mFyYmF6"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		const char *text = texts[i];
		size_t size = strlen(text);
		struct buf whole = BUF_INIT(100);
		struct error err = {0};
		int expected = base64_decode(&whole, text, size, &err);

		for (size_t step = 4; step <= size + 4; step += 4) {
			struct buf out = BUF_INIT(100);
			struct error piece_err = {0};
			size_t at = 0;
			int code = 0;

			while (code == 0 && at < size) {
				size_t count = step < size - at ? step : size - at;

				code = base64_decode_piece(&out, text, size, at, count, &piece_err);
				at += count;
			}
			cr_assert_eq(code, expected, "%s, %zu", text, step);
			cr_assert_str_eq(piece_err.message, err.message);
			if (code == 0) {
				cr_assert_str_eq(buf_str(&out), buf_str(&whole));
				cr_assert_eq(out.size, base64_decoded_size(text, size));
			}
			buf_release(&out);
		}
		buf_release(&whole);
	}
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
