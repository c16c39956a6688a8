#include "base/problems.h"

#include <criterion/criterion.h>
#include <string.h>

Test(problems, all_are_joined_in_their_order)
{
	struct problems problems = PROBLEMS_INIT;
	struct buf out = BUF_INIT(1000);

	problems_join(&problems, "; ", &out);
	cr_assert_str_eq(buf_str(&out), "");
	problems_add(&problems, "%s: missing", "a");
	problems_add(&problems, "b: %d", 2);
	problems_join(&problems, "; ", &out);
	cr_assert_eq(problems.count, 2);
	cr_assert_str_eq(buf_str(&out), "a: missing; b: 2");
	problems_release(&problems);
	cr_assert_eq(problems.count, 0);
	buf_release(&out);
}

Test(problems, what_is_quoted_from_input_is_one_printable_line)
{
	struct problems problems = PROBLEMS_INIT;

	problems_add(&problems, "unknown \"%s\"", "x\ny\xff");
	cr_assert_str_eq(problems.items[0], "unknown \"x\\ny\\xFF\"");
	problems_release(&problems);
}

Test(problems, a_long_problem_is_cut)
{
	struct problems problems = PROBLEMS_INIT;
	static char text[3000000];

	memset(text, '\x01', 100000);
	problems_add(&problems, "%s", text);
	cr_assert_lt(strlen(problems.items[0]), 10000);
	cr_assert_not_null(strstr(problems.items[0], "…"));
	memset(text, 'x', sizeof text - 1);
	problems_add(&problems, "%s", text);
	cr_assert_str_eq(problems.items[1], "a problem too long to show");
	problems_release(&problems);
}

Test(problems, more_than_are_kept_are_counted)
{
	struct problems problems = PROBLEMS_INIT;
	struct buf out = BUF_INIT(10000);

	for (int i = 0; i < PROBLEMS_MAX + 7; i++)
		problems_add(&problems, "p%d", i);
	cr_assert_eq(problems.count, PROBLEMS_MAX + 7);
	problems_join(&problems, ", ", &out);
	cr_assert_not_null(strstr(buf_str(&out), "p48, p49, and 7 more"));
	problems_release(&problems);
	buf_release(&out);
}
