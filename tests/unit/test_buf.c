#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(buf, an_empty_buffer_reads_as_an_empty_text)
{
	struct buf buf = BUF_INIT(10);

	cr_assert_str_eq(buf_str(&buf), "");
	cr_assert_eq(buf_check(&buf, "x", NULL), 0);
	buf_release(&buf);
}

Test(buf, appended_bytes_end_in_a_nul)
{
	struct buf buf;

	buf_init(&buf, 100);
	cr_assert_eq(buf_append(&buf, "ab\0c", 4), 0);
	cr_assert_eq(buf_append_str(&buf, "de"), 0);
	cr_assert_eq(buf_append_char(&buf, 'f'), 0);
	cr_assert_eq(buf_printf(&buf, "%d-%s", 12, "x"), 0);
	cr_assert_eq(buf.size, 11);
	cr_assert_arr_eq(buf.data, "ab\0cdef12-x\0", 12);
	buf_release(&buf);
	cr_assert_null(buf.data);
	cr_assert_eq(buf.max, 100);
}

Test(buf, appending_nothing_gives_a_text)
{
	struct buf buf = BUF_INIT(0);

	cr_assert_eq(buf_append(&buf, NULL, 0), 0);
	cr_assert_not_null(buf.data);
	cr_assert_str_eq(buf.data, "");
	buf_release(&buf);
}

Test(buf, a_buffer_may_be_filled_to_its_ceiling)
{
	struct buf buf = BUF_INIT(3);

	cr_assert_eq(buf_append_str(&buf, "abc"), 0);
	cr_assert_eq(buf_check(&buf, "x", NULL), 0);
	cr_assert_leq(buf.capacity, 3);
	buf_release(&buf);
}

Test(buf, appending_past_the_ceiling_keeps_what_was_there)
{
	struct buf buf = BUF_INIT(5);
	struct error err = {0};

	cr_assert_eq(buf_append_str(&buf, "abc"), 0);
	cr_assert_eq(buf_append_str(&buf, "def"), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&buf), "abc");
	cr_assert_eq(buf_append_char(&buf, 'd'), ERR_LIMIT, "a failed buffer takes nothing more");
	cr_assert_eq(buf_printf(&buf, "d"), ERR_LIMIT);
	cr_assert_eq(buf_reserve(&buf, 0), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&buf), "abc");
	cr_assert_eq(buf_check(&buf, "answer", &err), ERR_LIMIT);
	cr_assert_str_eq(err.message, "answer: larger than 5 bytes");
	buf_reset(&buf);
	cr_assert_eq(buf_append_str(&buf, "again"), 0);
	buf_release(&buf);
}

Test(buf, printing_past_the_ceiling_keeps_what_was_there)
{
	struct buf buf = BUF_INIT(5);

	cr_assert_eq(buf_printf(&buf, "%s", "abc"), 0);
	cr_assert_eq(buf_printf(&buf, "%s", "def"), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&buf), "abc");
	buf_release(&buf);
}

Test(buf, a_size_that_would_overflow_is_past_the_ceiling)
{
	struct buf buf = BUF_INIT(SIZE_MAX);

	cr_assert_eq(buf_append_str(&buf, "a"), 0);
	cr_assert_eq(buf_reserve(&buf, SIZE_MAX), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&buf), "a");
	buf_release(&buf);
}

Test(buf, no_memory_is_a_failure_that_keeps_what_was_there)
{
	struct buf buf = BUF_INIT(SIZE_MAX);
	struct error err = {0};

	cr_assert_eq(buf_append_str(&buf, "a"), 0);
	cr_assert_eq(buf_reserve(&buf, SIZE_MAX - 1), ERR_MEMORY);
	cr_assert_str_eq(buf_str(&buf), "a");
	cr_assert_eq(buf_check(&buf, "answer", &err), ERR_MEMORY);
	cr_assert_str_eq(err.message, "answer: out of memory");
	buf_release(&buf);
}

Test(buf, reserved_room_is_written_by_the_caller)
{
	struct buf buf = BUF_INIT(1000);

	cr_assert_eq(buf_append_str(&buf, "x"), 0);
	cr_assert_eq(buf_reserve(&buf, 500), 0);
	memset(buf.data + buf.size, 'y', 500);
	buf.size += 500;
	cr_assert_eq(buf_append_char(&buf, 'z'), 0);
	cr_assert_eq(buf.size, 502);
	cr_assert_eq(buf.data[500], 'y');
	buf_release(&buf);
}

Test(buf, truncating_and_consuming_keep_the_other_end)
{
	struct buf buf = BUF_INIT(100);

	cr_assert_eq(buf_append_str(&buf, "abcdef"), 0);
	buf_truncate(&buf, 4);
	cr_assert_str_eq(buf_str(&buf), "abcd");
	buf_consume(&buf, 1);
	cr_assert_str_eq(buf_str(&buf), "bcd");
	buf_consume(&buf, 3);
	cr_assert_str_eq(buf_str(&buf), "");
	buf_release(&buf);
	buf_truncate(&buf, 0);
	buf_consume(&buf, 0);
}

Test(buf, detached_bytes_belong_to_the_caller)
{
	struct buf buf = BUF_INIT(100);
	size_t size = 9;
	char *text;

	cr_assert_eq(buf_append_str(&buf, "abc"), 0);
	text = buf_detach(&buf, &size);
	cr_assert_str_eq(text, "abc");
	cr_assert_eq(size, 3);
	cr_assert_eq(buf.size, 0);
	free(text);
	text = buf_detach(&buf, &size);
	cr_assert_str_eq(text, "", "an empty buffer gives a text too");
	cr_assert_eq(size, 0);
	free(text);
}

Test(buf, many_appends_grow_it)
{
	struct buf buf = BUF_INIT(100000);

	for (int i = 0; i < 100000; i++)
		cr_assert_eq(buf_append_char(&buf, (char)('a' + i % 26)), 0);
	cr_assert_eq(buf_append_char(&buf, 'x'), ERR_LIMIT);
	cr_assert_eq(buf.size, 100000);
	cr_assert_eq(buf.data[99999], 'a' + 99999 % 26);
	buf_wipe(&buf);
	cr_assert_null(buf.data);
}
