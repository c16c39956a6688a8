#include "base/secret.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(secret, a_set_secret_is_a_copy_with_a_nul_behind)
{
	struct secret secret = {0};
	char mine[] = "token";

	cr_assert_not(secret_is_set(&secret));
	secret_set(&secret, mine, 5);
	mine[0] = 'X';
	cr_assert(secret_is_set(&secret));
	cr_assert_eq(secret.size, 5);
	cr_assert_str_eq(secret.bytes, "token");
	secret_release(&secret);
	cr_assert_not(secret_is_set(&secret));
	cr_assert_eq(secret.size, 0);
	secret_release(&secret);
}

Test(secret, setting_again_replaces_it_even_by_a_part_of_itself)
{
	struct secret secret = {0};

	secret_set(&secret, "old token", 9);
	secret_set(&secret, secret.bytes + 4, 5);
	cr_assert_str_eq(secret.bytes, "token");
	secret_release(&secret);
}

Test(secret, an_empty_secret_is_set)
{
	struct secret secret = {0};

	secret_set(&secret, NULL, 0);
	cr_assert(secret_is_set(&secret));
	cr_assert_str_eq(secret.bytes, "");
	cr_assert(secret_equal(&secret, "", 0));
	secret_release(&secret);
}

Test(secret, sizes_around_a_page_are_held_whole)
{
	char *bytes = malloc(8193);

	memset(bytes, 'x', 8193);
	for (size_t size = 4094; size <= 4098; size++) {
		struct secret secret = {0};

		secret_set(&secret, bytes, size);
		cr_assert_eq(strlen(secret.bytes), size);
		secret_release(&secret);
	}
	free(bytes);
}

Test(secret, equal_is_the_same_bytes_of_the_same_size)
{
	struct secret secret = {0};

	cr_assert_not(secret_equal(&secret, "", 0), "what is not set equals nothing");
	cr_assert_not(secret_equal(&secret, "x", 1));
	secret_set(&secret, "to\0en", 5);
	cr_assert(secret_equal(&secret, "to\0en", 5));
	cr_assert_not(secret_equal(&secret, "to\0em", 5));
	cr_assert_not(secret_equal(&secret, "xo\0en", 5));
	cr_assert_not(secret_equal(&secret, "to", 2));
	cr_assert_not(secret_equal(&secret, "to\0en!", 6));
	cr_assert_not(secret_equal(&secret, "", 0));
	secret_release(&secret);
}

Test(secret, wiping_overwrites_with_zeros)
{
	char bytes[] = "secret";

	secret_wipe(bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i++)
		cr_assert_eq(bytes[i], 0);
	secret_wipe(NULL, 0);
}
