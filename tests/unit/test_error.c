#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, setting_fills_code_and_message_and_returns_the_code)
{
	struct error err = {.os_errno = 7};

	cr_assert_eq(error_set(&err, ERR_LIMIT, "%s: %d", "size", 5), ERR_LIMIT);
	cr_assert_eq(err.code, ERR_LIMIT);
	cr_assert_eq(err.os_errno, 0);
	cr_assert_str_eq(err.message, "size: 5");
}

Test(error, nobody_has_to_ask_for_the_message)
{
	cr_assert_eq(error_set(NULL, ERR_AUTH, "x"), ERR_AUTH);
	cr_assert_eq(error_set_errno(NULL, ENOENT, "x"), ERR_SYSTEM);
	cr_assert_eq(error_prefix(NULL, "x"), ERR_SYSTEM);
}

Test(error, errno_is_kept_and_explained)
{
	struct error err;

	cr_assert_eq(error_set_errno(&err, ENOENT, "opening %s", "x"), ERR_SYSTEM);
	cr_assert_eq(err.os_errno, ENOENT);
	cr_assert_str_eq(err.message, "opening x: No such file or directory");
}

Test(error, an_unknown_errno_is_no_crash)
{
	struct error err;

	cr_assert_eq(error_set_errno(&err, 99999, "x"), ERR_SYSTEM);
	cr_assert_str_eq(err.message, "x: unknown error");
}

Test(error, the_reason_of_errno_survives_a_long_name)
{
	struct error err;
	char name[2000];

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	cr_assert_eq(error_set_errno(&err, EACCES, "opening %s", name), ERR_SYSTEM);
	cr_assert_eq(strlen(err.message), ERROR_MESSAGE_MAX - 1);
	cr_assert_not_null(strstr(err.message, "n: Permission denied"));
}

Test(error, a_prefix_stands_before_the_message_and_keeps_the_rest)
{
	struct error err;

	(void)error_set_errno(&err, EIO, "reading");
	cr_assert_eq(error_prefix(&err, "file %d", 1), ERR_SYSTEM);
	cr_assert_eq(err.os_errno, EIO);
	cr_assert_str_eq(err.message, "file 1: reading: Input/output error");
}

Test(error, a_long_message_is_cut_between_characters)
{
	struct error err;
	char text[1001];

	for (size_t i = 0; i < 1000; i += 2)
		memcpy(text + i, "é", 2);
	text[1000] = '\0';
	(void)error_set(&err, ERR_SYNTAX, "%s", text);
	cr_assert_eq(strlen(err.message), 510);
	(void)error_set(&err, ERR_SYNTAX, "-%s", text);
	cr_assert_eq(strlen(err.message), 511);
	(void)error_prefix(&err, "x");
	cr_assert_eq(strlen(err.message), 510);
}

Test(error, the_message_may_be_an_argument_of_itself)
{
	struct error err;

	(void)error_set(&err, ERR_SYNTAX, "inner");
	(void)error_set(&err, ERR_INVALID, "outer: %s", err.message);
	cr_assert_str_eq(err.message, "outer: inner");
}
