#include "crypto/digest.h"

#include <criterion/criterion.h>
#include <string.h>

static void assert_digest(const void *bytes, size_t size, const char *expected)
{
	uint8_t digest[SHA256_SIZE];
	char text[SHA256_TEXT_SIZE];

	digest_sha256(bytes, size, digest);
	digest_to_hex(digest, text);
	cr_assert_str_eq(text, expected);
}

/* The examples of FIPS 180-4. */
Test(digest, sha256_of_the_standards_examples)
{
	assert_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
		      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void assert_hmac(const void *key, size_t key_size, const char *text, const char *expected)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_TEXT_SIZE];

	digest_hmac_sha256(key, key_size, text, strlen(text), digest);
	digest_to_hex(digest, hex);
	cr_assert_str_eq(hex, expected);
}

/* RFC 4231, test cases 1, 2 and 6. */
Test(digest, hmac_sha256_of_the_rfcs_examples)
{
	uint8_t key[131];

	memset(key, 0x0b, 20);
	assert_hmac(key, 20, "Hi There",
		    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_hmac("Jefe", 4, "what do ya want for nothing?",
		    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	assert_hmac(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First",
		    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
