#include "base/json.h"
#include "service/jsonstream.h"

#include <criterion/criterion.h>
#include <string.h>

enum { DEPTH = 5 };

/* Fed in pieces of that size; 0 when it is one JSON value. */
static int check(const char *text, size_t size, size_t piece, struct error *err)
{
	struct jsonstream stream;
	jsonstream_init(&stream, JSON_DEPTH_MAX);
	for (size_t at = 0; at < size; at += piece) {
		size_t count = size - at < piece ? size - at : piece;
		int rc = jsonstream_feed(&stream, text + at, count, err);
		if (rc < 0)
			return rc;
	}
	return jsonstream_end(&stream, err);
}

static const char *const good[] = {
    "1",
    "-0",
    "0.5e+10",
    "1E5",
    "-1.25e-3",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEE\x80\x80\xF4\x8F\xBF\xBF\xED\x9F\xBF\"",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    " [1, 2 ,{\"a\" : [ ] , \"b\":\"\"} , null ] \n",
    "{\"a\":{\"b\":[{\"c\":-0.0}]}}",
    "[[[[]]]]",
};

static const char *const bad[] = {
    "",
    " ",
    "01",
    "-",
    "-a",
    "1.",
    "1.e5",
    ".5",
    "+1",
    "1e",
    "1e+",
    "1 2",
    "tru",
    "truee",
    "nul",
    "True",
    "\"",
    "\"a",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\\u123\"",
    "\"\\ud83d\"",
    "\"\\ud83dx\"",
    "\"\\ud83d\\n\"",
    "\"\\ude00\"",
    "\"\\ud83d\\u0041\"",
    "\"a\nb\"",
    "\"\x01\"",
    "\"\xC0\xAF\"",
    "\"\xC3\"",
    "\"\xE0\x80\x80\"",
    "\"\xED\xA0\x80\"",
    "\"\xF4\x90\x80\x80\"",
    "\"\xF5\x80\x80\x80\"",
    "\"\x80\"",
    "[",
    "]",
    "[1",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{,}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1]",
    "[]]",
    "{}{}",
    "1,",
    "nan",
    "\xEF\xBB\xBF{}",
};

Test(service_jsonstream, agrees_with_json_check_however_the_bytes_are_cut)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		size_t size = strlen(good[i]);
		cr_assert_eq(json_check(good[i], size, NULL), 0, "%s", good[i]);
		for (size_t piece = 1; piece <= size + 1; piece++)
			cr_assert_eq(check(good[i], size, piece, NULL), 0, "%s by %zu", good[i],
				     piece);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		size_t size = strlen(bad[i]);
		cr_assert_lt(json_check(bad[i], size, NULL), 0, "%s", bad[i]);
		for (size_t piece = 1; piece <= size + 1; piece++)
			cr_assert_lt(check(bad[i], size, piece, NULL), 0, "%s by %zu", bad[i],
				     piece);
	}
}

/* Each good text with one byte changed, left out or doubled: both must say the same. */
Test(service_jsonstream, agrees_with_json_check_on_damaged_texts)
{
	static const char bytes[] = "{}[]\",:0-.eu\\\x80\xC3 t\n";
	char text[128];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		size_t size = strlen(good[i]);
		for (size_t at = 0; at < size; at++) {
			for (size_t n = 0; n < sizeof bytes - 1; n++) {
				memcpy(text, good[i], size);
				text[at] = bytes[n];
				bool is_json = json_check(text, size, NULL) == 0;
				cr_assert_eq(check(text, size, 3, NULL) == 0, is_json, "%.*s",
					     (int)size, text);
			}
			memcpy(text, good[i], at);
			memcpy(text + at, good[i] + at + 1, size - at - 1);
			bool is_json = json_check(text, size - 1, NULL) == 0;
			cr_assert_eq(check(text, size - 1, 2, NULL) == 0, is_json, "%.*s",
				     (int)size - 1, text);
		}
	}
}

Test(service_jsonstream, takes_nul_bytes_as_what_they_are)
{
	cr_assert_lt(check("\"\0\"", 3, 1, NULL), 0);
	cr_assert_lt(check("1\0", 2, 1, NULL), 0);
	cr_assert_lt(check("\"\\\0\"", 4, 1, NULL), 0);
}

Test(service_jsonstream, says_where_it_is_wrong)
{
	struct error err;
	cr_assert_eq(check("[1,\n x]", 7, 2, &err), ERR_SYNTAX);
	cr_assert_str_eq(err.message, "byte 6: a value must stand here");
	cr_assert_eq(check("[1", 2, 2, &err), ERR_SYNTAX);
	cr_assert_str_eq(err.message, "byte 3: the value is not whole");
	cr_assert_eq(check("", 0, 2, &err), ERR_SYNTAX);
	cr_assert_str_eq(err.message, "byte 1: empty");
}

Test(service_jsonstream, refuses_what_is_nested_too_deep)
{
	struct jsonstream stream;
	struct error err;
	jsonstream_init(&stream, DEPTH);
	cr_assert_eq(jsonstream_feed(&stream, "[[[[[]]]]]", 10, &err), 0);
	cr_assert_eq(jsonstream_end(&stream, &err), 0);
	jsonstream_init(&stream, DEPTH);
	cr_assert_eq(jsonstream_feed(&stream, "[[{\"a\":[[[", 10, &err), ERR_LIMIT);
	cr_assert_str_eq(err.message, "byte 10: nested deeper than 5 levels");
}
