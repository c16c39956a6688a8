#include "crypto/stream_cipher.h"

#include <criterion/criterion.h>
#include <string.h>

static const char TEXT[] = "what was written comes back, in whatever pieces it is taken";

Test(stream_cipher, what_it_enciphers_it_deciphers_in_other_pieces_and_again)
{
	char bytes[sizeof TEXT];
	struct stream_cipher *cipher = stream_cipher_new();
	for (int times = 0; times < 2; times++) {
		memcpy(bytes, TEXT, sizeof TEXT);
		stream_cipher_rewind(cipher);
		stream_cipher_apply(cipher, bytes, 7);
		stream_cipher_apply(cipher, bytes + 7, sizeof bytes - 7);
		cr_assert_arr_neq(bytes, TEXT, sizeof TEXT);
		stream_cipher_rewind(cipher);
		stream_cipher_apply(cipher, bytes, 30);
		stream_cipher_apply(cipher, bytes + 30, 0);
		stream_cipher_apply(cipher, bytes + 30, sizeof bytes - 30);
		cr_assert_arr_eq(bytes, TEXT, sizeof TEXT);
	}
	stream_cipher_free(cipher);
}

Test(stream_cipher, no_two_share_a_key)
{
	char first[32] = {0}, second[32] = {0};
	struct stream_cipher *one = stream_cipher_new();
	struct stream_cipher *other = stream_cipher_new();
	stream_cipher_apply(one, first, sizeof first);
	stream_cipher_apply(other, second, sizeof second);
	cr_assert_arr_neq(first, second, sizeof first);
	stream_cipher_free(one);
	stream_cipher_free(other);
	stream_cipher_free(NULL);
}
