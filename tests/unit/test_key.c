#include "crypto/key.h"

#include <criterion/criterion.h>
#include <string.h>

static const char bytes[KEY_SIZE + 1] =
    "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
    "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff";

static void assert_key(const char *text, size_t size, const char *expected)
{
	struct key key = {0};
	struct error err = {0};

	cr_assert_eq(key_parse(text, size, &key, &err), 0, "%s: %s", text, err.message);
	cr_assert_eq(key.bytes.size, KEY_SIZE);
	cr_assert_arr_eq(key.bytes.bytes, expected, KEY_SIZE);
	key_release(&key);
	cr_assert_not(secret_is_set(&key.bytes));
}

Test(key, all_forms_give_the_same_bytes)
{
	assert_key(bytes, KEY_SIZE, bytes);
	assert_key("000102030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 64, bytes);
	assert_key("000102030405060708090A0B0C0D0E0FF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF", 64, bytes);
	assert_key("AAECAwQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v8=", 44, bytes);
	assert_key("AAECAwQFBgcICQoLDA0OD_Dx8vP09fb3-Pn6-_z9_v8=", 44, bytes);
	assert_key("AAECAwQFBgcICQoLDA0OD_Dx8vP09fb3-Pn6-_z9_v8", 43, bytes);
}

Test(key, the_length_decides_how_a_text_is_read)
{
	assert_key("00112233445566778899aabbccddeeff", 32, "00112233445566778899aabbccddeeff");
}

Test(key, everything_else_is_refused_without_showing_it)
{
	static const char *const bad[] = {
	    "",
	    "hush",
	    "hush00112233445566778899aabbccd",
	    "hush00112233445566778899aabbccdde",
	    "hush02030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	    "000102030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdhush",
	    "hush0102030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	    "hushAwQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v88",
	    "hushAwQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v9",
	    "hushAwQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v",
	    "hushAwQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v==",
	    "hush wQFBgcICQoLDA0OD/Dx8vP09fb3+Pn6+/z9/v8",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct key key = {0};
		struct error err = {0};

		cr_assert_eq(key_parse(bad[i], strlen(bad[i]), &key, &err), ERR_INVALID, "%s",
			     bad[i]);
		cr_assert_not(secret_is_set(&key.bytes));
		cr_assert_null(strstr(err.message, "hush"), "%s", err.message);
	}
}

Test(key, a_failure_leaves_the_old_key)
{
	struct key key = {0};

	cr_assert_eq(key_parse(bytes, KEY_SIZE, &key, NULL), 0);
	cr_assert_eq(key_parse("x", 1, &key, NULL), ERR_INVALID);
	cr_assert(secret_equal(&key.bytes, bytes, KEY_SIZE));
	key_release(&key);
}

Test(key, a_generated_key_is_one_that_parses)
{
	struct buf a = BUF_INIT(100), b = BUF_INIT(100), small = BUF_INIT(63);
	struct key key = {0};

	cr_assert_eq(key_generate(&a, NULL), 0);
	cr_assert_eq(key_generate(&b, NULL), 0);
	cr_assert_eq(a.size, 64);
	cr_assert_str_neq(a.data, b.data);
	cr_assert_eq(key_parse(a.data, a.size, &key, NULL), 0);
	cr_assert_eq(key_generate(&small, NULL), ERR_LIMIT);
	cr_assert_eq(small.size, 0);
	key_release(&key);
	buf_wipe(&a);
	buf_wipe(&b);
	buf_release(&small);
}
