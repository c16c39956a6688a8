#include "base/str.h"

#include <criterion/criterion.h>
#include <string.h>

static void assert_printable(const char *bytes, size_t size, size_t max, const char *expected)
{
	struct buf out = BUF_INIT(10000);

	str_append_printable(&out, bytes, size, max);
	cr_assert_str_eq(buf_str(&out), expected);
	buf_release(&out);
}

Test(str, utf8_is_told_from_other_bytes)
{
	static const char *const good[] = {
	    "", "abc", "é", "€", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\xff",         "\xc3",         "\xc0\x80",
					  "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
					  "a\x80",        "\xe2\x82",     "\xf8\x88\x80\x80\x80"};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_assert(str_is_utf8(good[i], strlen(good[i])), "%zu", i);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_not(str_is_utf8(bad[i], strlen(bad[i])), "%zu", i);
	cr_assert(str_is_utf8("a\0b", 3));
}

Test(str, utf8_is_told_at_every_place_in_a_plain_text)
{
	char text[30];

	for (size_t size = 2; size <= sizeof text; size++) {
		for (size_t at = 0; at + 2 <= size; at++) {
			memset(text, 'x', size);
			cr_assert(str_is_utf8(text, size));
			memcpy(text + at, "\xc3\xa9", 2);
			cr_assert(str_is_utf8(text, size), "%zu of %zu", at, size);
			text[at + 1] = 'x';
			cr_assert_not(str_is_utf8(text, size), "%zu of %zu", at, size);
			memcpy(text + at, "x\xa9", 2);
			cr_assert_not(str_is_utf8(text, size), "%zu of %zu", at, size);
		}
	}
}

Test(str, a_cut_never_splits_a_character)
{
	cr_assert_eq(str_cut("abc", 3, 5), 3);
	cr_assert_eq(str_cut("abc", 3, 2), 2);
	cr_assert_eq(str_cut("aé", 3, 2), 1);
	cr_assert_eq(str_cut("a€b", 5, 3), 1);
	cr_assert_eq(str_cut("a€b", 5, 4), 4);
	cr_assert_eq(str_cut("é", 2, 1), 0);
	cr_assert_eq(str_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5,
		     "what is no UTF-8 is cut anywhere");
	cr_assert_eq(str_cut("a\x80\x80\x80\x80\x80\x80", 7, 6), 6);
	cr_assert_eq(str_cut("", 0, 0), 0);
}

Test(str, tokens_are_those_of_http)
{
	cr_assert(str_is_token("X-Header_1~", 11));
	cr_assert(str_is_token("!#$%&'*+-.^_`|~", 15));
	cr_assert_not(str_is_token("", 0));
	cr_assert_not(str_is_token("a b", 3));
	cr_assert_not(str_is_token("a:", 2));
	cr_assert_not(str_is_token("a\0", 2));
	cr_assert_not(str_is_token("\xc3\xa9", 2));
	cr_assert_not(str_is_token("a\r\nb", 4));
}

Test(str, header_values_hold_no_line_ends)
{
	cr_assert(str_is_header_value("", 0));
	cr_assert(str_is_header_value("a b\t\xff", 5));
	cr_assert_not(str_is_header_value("a\r", 2));
	cr_assert_not(str_is_header_value("a\nb", 3));
	cr_assert_not(str_is_header_value("a\0b", 3));
}

Test(str, lower_case_is_ascii_only)
{
	char text[] = "AbZ@[É";

	str_lower(text);
	cr_assert_str_eq(text, "abz@[É");
}

Test(str, case_is_ignored_where_asked)
{
	cr_assert(str_equal_nocase("Content-TYPE", "content-type"));
	cr_assert(str_equal_nocase("", ""));
	cr_assert_not(str_equal_nocase("a", "ab"));
	cr_assert_not(str_equal_nocase("ab", "a"));
	cr_assert_not(str_equal_nocase("[", "{"));
}

Test(str, prefixes)
{
	cr_assert(str_has_prefix("abc", "ab"));
	cr_assert(str_has_prefix("abc", ""));
	cr_assert_not(str_has_prefix("a", "ab"));
}

Test(str, whole_numbers_are_read)
{
	int64_t value = 0;

	cr_assert(str_to_int64("0", &value));
	cr_assert_eq(value, 0);
	cr_assert(str_to_int64("+007", &value));
	cr_assert_eq(value, 7);
	cr_assert(str_to_int64("9223372036854775807", &value));
	cr_assert_eq(value, INT64_MAX);
	cr_assert(str_to_int64("-9223372036854775808", &value));
	cr_assert_eq(value, INT64_MIN);
}

Test(str, what_is_no_whole_number_leaves_the_output_alone)
{
	static const char *const bad[] = {"",
					  "-",
					  "+",
					  " 1",
					  "1 ",
					  "1x",
					  "x",
					  "0x1",
					  "1.0",
					  "--1",
					  "9223372036854775808",
					  "-9223372036854775809",
					  "99999999999999999999999"};
	int64_t value = 42;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_not(str_to_int64(bad[i], &value), "%s", bad[i]);
	cr_assert_eq(value, 42);
}

Test(str, printable_text_stays_as_it_is)
{
	assert_printable("abc é € \\ \"", strlen("abc é € \\ \""), 100, "abc é € \\ \"");
	assert_printable("", 0, 100, "");
}

Test(str, what_would_break_a_line_is_escaped)
{
	assert_printable("a\nb\rc\td\x01\x7f\x1b[0m", 13, 100, "a\\nb\\rc\\td\\x01\\x7F\\x1B[0m");
	assert_printable("a\0b", 3, 100, "a\\x00b");
	assert_printable("\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\xe2\x80\xae", 11, 100,
			 "\\u2028\\u2029\\u0085\\u202E");
}

Test(str, bytes_that_are_not_utf8_are_escaped)
{
	assert_printable("a\xff\xc3z\xe2\x82", 6, 100, "a\\xFF\\xC3z\\xE2\\x82");
	assert_printable("\xed\xa0\x80", 3, 100, "\\xED\\xA0\\x80");
}

Test(str, a_long_text_is_cut_with_a_mark)
{
	assert_printable("abcdef", 6, 6, "abcdef");
	assert_printable("abcdef", 6, 3, "abc…");
	assert_printable("abéé", 6, 3, "ab…");
	assert_printable("abc", 3, 0, "…");
}

Test(str, a_word_that_was_probably_meant_is_found)
{
	static const char *const words[] = {"timeout", "target", "max_bytes", "a", NULL};

	cr_assert_str_eq(str_nearest("tiemout", words), "timeout");
	cr_assert_str_eq(str_nearest("Timeout", words), "timeout");
	cr_assert_str_eq(str_nearest("targets", words), "target");
	cr_assert_str_eq(str_nearest("max-bytes", words), "max_bytes");
}

Test(str, nothing_is_suggested_for_a_word_far_from_all)
{
	static const char *const words[] = {"timeout", "target", "ab", NULL};
	static const char *const none[] = {NULL};
	char longer[200];

	memset(longer, 't', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	cr_assert_null(str_nearest("zebra", words));
	cr_assert_null(str_nearest("xy", words));
	cr_assert_null(str_nearest("", words));
	cr_assert_null(str_nearest("timeout", none));
	cr_assert_null(str_nearest(longer, words));
}

/* Every way to cut each text in two, and one byte at a time. */
Test(str, utf_8_in_pieces_is_what_it_is_as_a_whole)
{
	static const char *const texts[] = {"",
					    "plain",
					    "caf\xC3\xA9",
					    "\xE2\x82\xAC 5",
					    "\xF0\x9F\x98\x80!",
					    "\xC3",
					    "\xE2\x82",
					    "\xF0\x9F\x98",
					    "\x80",
					    "a\xC3z",
					    "\xED\xA0\x80",
					    "\xC0\xAF",
					    "\xF5\x80\x80\x80",
					    "\xE2\x82z\xAC"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		size_t size = strlen(texts[i]);
		bool expected = str_is_utf8(texts[i], size);
		for (size_t cut = 0; cut <= size; cut++) {
			struct str_utf8 check = {0};
			str_utf8_add(&check, texts[i], cut);
			str_utf8_add(&check, texts[i] + cut, size - cut);
			cr_expect_eq(str_utf8_is_whole(&check), expected, "text %zu cut at %zu", i,
				     cut);
		}
		struct str_utf8 check = {0};
		for (size_t at = 0; at < size; at++)
			str_utf8_add(&check, texts[i] + at, 1);
		cr_expect_eq(str_utf8_is_whole(&check), expected, "text %zu in bytes", i);
	}
}
