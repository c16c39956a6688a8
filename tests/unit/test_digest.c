#include "crypto/digest.h"

#include <criterion/criterion.h>

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
