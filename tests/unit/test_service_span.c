#include "base/json.h"
#include "service/span.h"

#include <criterion/criterion.h>
#include <string.h>

/* A span of text that is JSON, as the header asks for. */
static struct span of(const char *text)
{
	cr_assert_eq(json_check(text, strlen(text), NULL), 0, "%s", text);
	return span_of(text, strlen(text));
}

static void assert_span(struct span span, const char *expected)
{
	cr_assert_not_null(span.text);
	cr_assert_eq(span.size, strlen(expected), "%.*s", (int)span.size, span.text);
	cr_assert_eq(memcmp(span.text, expected, span.size), 0);
}

Test(service_span, has_no_white_space_around_it)
{
	assert_span(of(" \t\r\n {\"a\": 1} \n"), "{\"a\": 1}");
}

Test(service_span, finds_members_as_they_were_written)
{
	struct span object =
	    of("{ \"a\" : 1.50e2 , \"b\":{\"a\":\"}\\\"{\"},\"c\" : [ 1, [2] ] ,\"d\":null}");
	assert_span(span_member(object, "a"), "1.50e2");
	assert_span(span_member(object, "b"), "{\"a\":\"}\\\"{\"}");
	assert_span(span_member(object, "c"), "[ 1, [2] ]");
	cr_assert(span_is_null(span_member(object, "d")));
	cr_assert_not_null(span_member(object, "d").text);
	cr_assert_null(span_member(object, "e").text);
	cr_assert_null(span_member(of("{}"), "a").text);
}

Test(service_span, takes_the_last_of_repeated_members)
{
	assert_span(span_member(of("{\"a\":1,\"a\":2}"), "a"), "2");
}

Test(service_span, compares_names_with_escapes_resolved)
{
	assert_span(span_member(of("{\"\\u0061b\":1}"), "ab"), "1");
	cr_assert_null(span_member(of("{\"a\\u0000\":1}"), "a").text);
}

Test(service_span, goes_through_items_in_order)
{
	static const char *const expected[] = {"1", "\"a,]\"", "[]", "{\"b\":[1,2]}", "true"};
	struct span value;
	struct span_cursor cursor = span_begin(of("[1 ,\"a,]\" ,[], {\"b\":[1,2]} ,true ]"));
	size_t count = 0;
	while (span_next(&cursor, NULL, &value))
		assert_span(value, expected[count++]);
	cr_assert_eq(count, 5);
	cursor = span_begin(of("[ ]"));
	cr_assert_not(span_next(&cursor, NULL, &value));
}

Test(service_span, counts_levels)
{
	cr_assert_eq(span_depth(of("1")), 0);
	cr_assert_eq(span_depth(of("\"[[\"")), 0);
	cr_assert_eq(span_depth(of("[]")), 1);
	cr_assert_eq(span_depth(of("[{\"a\":[]},[1]]")), 3);
	cr_assert_eq(span_depth((struct span){0}), 0);
}

Test(service_span, says_what_a_value_is)
{
	cr_assert_str_eq(span_kind(of("{}")), "an object");
	cr_assert_str_eq(span_kind(of("[]")), "an array");
	cr_assert_str_eq(span_kind(of("\"\"")), "a string");
	cr_assert_str_eq(span_kind(of("-1")), "a number");
	cr_assert_str_eq(span_kind(of("false")), "a boolean");
	cr_assert_str_eq(span_kind(of("null")), "null");
	cr_assert_str_eq(span_kind((struct span){0}), "null");
}

Test(service_span, decodes_strings)
{
	struct buf out = BUF_INIT(100);
	cr_assert_eq(span_decode(of("\"a\\n\\u00e9\\ud83d\\ude00/\""), &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "a\n\xC3\xA9\xF0\x9F\x98\x80/");
	buf_reset(&out);
	cr_assert_eq(span_decode(of("\"plain\""), &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "plain");
	cr_assert_eq(span_decode(of("1"), &out, NULL), ERR_INVALID);
	cr_assert_str_eq(buf_str(&out), "plain");
	buf_release(&out);
}

Test(service_span, refuses_texts_that_are_too_long_or_hold_nul)
{
	char text[5] = "old";
	struct error err;
	cr_assert_eq(span_text(of("\"abcd\""), text, sizeof text, &err), 0);
	cr_assert_str_eq(text, "abcd");
	cr_assert_eq(span_text(of("\"abcde\""), text, sizeof text, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "is longer than 4 bytes");
	cr_assert_eq(span_text(of("\"a\\u0000b\""), text, sizeof text, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "must not hold a NUL character");
	cr_assert_eq(span_text(of("{}"), text, sizeof text, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "must be a string, not an object");
	cr_assert_eq(span_text((struct span){0}, text, sizeof text, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "must be a string, not null");
	cr_assert_str_eq(text, "abcd");
}

Test(service_span, reads_whole_numbers_in_their_range_only)
{
	static const char *const wrong[] = {"0",    "11",   "1.0", "1e1", "\"5\"",
					    "true", "null", "[1]", "-1",  "99999999999999999999"};
	int64_t number = 7;
	cr_assert_eq(span_int64(of("10"), 1, 10, &number, NULL), 0);
	cr_assert_eq(number, 10);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct error err;
		struct span value = span_of(wrong[i], strlen(wrong[i]));
		cr_assert_eq(span_int64(value, 1, 10, &number, &err), ERR_INVALID, "%s", wrong[i]);
		cr_assert_str_eq(err.message, "must be a whole number from 1 to 10");
	}
	cr_assert_eq(number, 10);
}
