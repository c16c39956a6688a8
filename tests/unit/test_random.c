#include "crypto/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(random, bytes_differ_from_call_to_call)
{
	uint8_t a[32] = {0}, b[32] = {0};

	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	cr_assert_neq(memcmp(a, b, sizeof a), 0);
	random_bytes(NULL, 0);
}

Test(random, numbers_stay_below_their_limit_and_all_come_up)
{
	int seen[3] = {0};

	for (int i = 0; i < 3000; i++) {
		uint64_t value = random_below(3);

		cr_assert_lt(value, 3);
		seen[value]++;
	}
	for (int i = 0; i < 3; i++)
		cr_assert_gt(seen[i], 800);
	cr_assert_eq(random_below(1), 0);
	cr_assert_lt(random_below(UINT64_MAX), UINT64_MAX);
}

Test(random, a_uuid_is_of_version_4)
{
	char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];

	for (int i = 0; i < 100; i++) {
		random_uuid(a);
		cr_assert_eq(strlen(a), 36);
		cr_assert_eq(strspn(a, "0123456789abcdef-"), 36);
		cr_assert(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
		cr_assert_eq(a[14], '4');
		cr_assert_not_null(strchr("89ab", a[19]));
	}
	random_uuid(b);
	cr_assert_str_neq(a, b);
}

/* More of them than are drawn at once. */
Test(random, no_uuid_comes_twice)
{
	enum { COUNT = 200 };
	char all[COUNT][UUID_TEXT_SIZE];

	for (int i = 0; i < COUNT; i++) {
		random_uuid(all[i]);
		for (int j = 0; j < i; j++)
			cr_assert_str_neq(all[i], all[j], "%d and %d", j, i);
	}
}
