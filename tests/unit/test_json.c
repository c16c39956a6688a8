#include "base/json.h"
#include "base/json_keys.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A copy without a NUL behind it, so that a look past the end is seen by the tools. */
static int check(const char *text, size_t size, struct error *err)
{
	char *copy = malloc(size ? size : 1);
	int code;

	memcpy(copy, text, size);
	code = json_check(copy, size, err);
	free(copy);
	return code;
}

static void assert_refused(const char *text, const char *message)
{
	struct error err = {0};

	cr_assert_eq(check(text, strlen(text), &err), ERR_SYNTAX, "%s", text);
	cr_assert_str_eq(err.message, message, "%s: %s", text, err.message);
	cr_assert_eq(check(text, strlen(text), NULL), ERR_SYNTAX);
}

static struct json_object *parsed(const char *text)
{
	struct json_object *value = NULL;
	struct error err = {0};

	cr_assert_eq(json_parse(text, strlen(text), &value, &err), 0, "%s: %s", text, err.message);
	return value;
}

static void assert_written(struct json_object *value, const char *expected)
{
	struct buf out = BUF_INIT(10000);

	cr_assert_eq(json_write(&out, value), 0);
	cr_assert_str_eq(buf_str(&out), expected);
	buf_release(&out);
}

Test(json, texts_that_are_json_are_taken)
{
	static const char *const good[] = {"null",
					   "true",
					   "false",
					   "0",
					   "-0",
					   "-1.5e+10",
					   "1E9",
					   "\"\"",
					   "\"a\"",
					   "[]",
					   "{}",
					   " \t\r\n[ 1 , 2 ]\n",
					   "{\"a\":{\"b\":[]},\"a\":1}",
					   "[[],{},[{}]]",
					   "\"\\u0000\"",
					   "\"\\ud83d\\uDE00 \\\" \\\\ \\/ \\b\\f\\n\\r\\t\"",
					   "\"é€\xf0\x9f\x98\x80\"",
					   "\"12345678901234567890\x7f\"",
					   "99999999999999999999999"};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct error err = {0};

		cr_assert_eq(check(good[i], strlen(good[i]), &err), 0, "%s: %s", good[i],
			     err.message);
	}
}

Test(json, an_error_names_line_column_and_reason)
{
	assert_refused("", "line 1, column 1: the text ends where a value is missing");
	assert_refused("{\n \"é\": 1,\n \"é\" 2}", "line 3, column 6: ':' is missing");
	assert_refused("[1 2]", "line 1, column 4: ',' or ']' is missing");
	assert_refused("{\"a\":1 2}", "line 1, column 8: ',' or '}' is missing");
	assert_refused("[1", "line 1, column 3: the text ends inside an array");
	assert_refused("{\"a\":1", "line 1, column 7: the text ends inside an object");
	assert_refused("[1]]", "line 1, column 4: something follows the JSON value");
	assert_refused("{a:1}", "line 1, column 2: a key in quotes is missing");
	assert_refused("{\"a\":1,}", "line 1, column 8: a key in quotes is missing");
	assert_refused("[1,]", "line 1, column 4: not a JSON value");
	assert_refused("nul", "line 1, column 1: not a JSON value");
	assert_refused("01", "line 1, column 2: a number with a leading zero");
	assert_refused("-", "line 1, column 2: a digit is missing");
	assert_refused("1.", "line 1, column 3: a digit is missing");
	assert_refused("1e+", "line 1, column 4: a digit is missing");
	assert_refused("\"abc", "line 1, column 5: the text ends inside a string");
	assert_refused("\"a\nb\"", "line 1, column 3: a control character inside a string");
	assert_refused("\"\\x\"", "line 1, column 2: no such escape in JSON");
	assert_refused("\"\\", "line 1, column 2: no such escape in JSON");
	assert_refused("\"\\u12G4\"", "line 1, column 2: \\u needs four hexadecimal digits");
	assert_refused("\"\\u12", "line 1, column 2: \\u needs four hexadecimal digits");
	assert_refused("\"\\ud800\"", "line 1, column 2: half of a surrogate pair");
	assert_refused("\"\\ud800\\u0041\"", "line 1, column 2: half of a surrogate pair");
	assert_refused("\"\\udc00\"", "line 1, column 2: half of a surrogate pair");
	assert_refused("\"\xff\"", "line 1, column 2: not UTF-8");
	assert_refused("\"\xe2\x82", "line 1, column 2: not UTF-8");
	assert_refused("\xef\xbb\xbf{}", "line 1, column 1: not a JSON value");
}

Test(json, a_nul_is_no_end_of_the_text)
{
	cr_assert_eq(check("[]\0", 3, NULL), ERR_SYNTAX);
	cr_assert_eq(check("\"\0\"", 3, NULL), ERR_SYNTAX);
	cr_assert_eq(check("\"\\\0\"", 4, NULL), ERR_SYNTAX);
	cr_assert_eq(check("[]x", 2, NULL), 0);
	cr_assert_eq(json_check(NULL, 0, NULL), ERR_SYNTAX);
}

Test(json, every_special_byte_in_a_string_is_found_at_every_offset)
{
	char text[114];

	for (size_t at = 1; at < sizeof text - 1; at++) {
		for (int c = 0; c < 256; c++) {
			bool is_special = c < 0x20 || c >= 0x80 || c == '"' || c == '\\';

			memset(text, 'x', sizeof text);
			text[0] = text[sizeof text - 1] = '"';
			text[at] = (char)c;
			cr_assert_eq(check(text, sizeof text, NULL), is_special ? ERR_SYNTAX : 0,
				     "%zu %d", at, c);
		}
	}
}

Test(json, escapes_are_undone_at_every_offset)
{
	for (size_t before = 0; before < 80; before++) {
		for (size_t behind = 0; behind < 80; behind++) {
			struct json_object *value = NULL;
			struct error err = {0};
			char text[200], expected[200];

			memset(text, 'x', sizeof text);
			memset(expected, 'x', sizeof expected);
			text[0] = text[before + behind + 3] = '"';
			memcpy(text + 1 + before, "\\n", 2);
			expected[before] = '\n';
			cr_assert_eq(json_parse(text, before + behind + 4, &value, &err), 0);
			cr_assert_eq(json_object_get_string_len(value), (int)(before + behind + 1));
			cr_assert_eq(
			    memcmp(json_object_get_string(value), expected, before + behind + 1),
			    0);
			json_object_put(value);
		}
	}
}

/* Two readers of UTF-8 that nobody made from each other must agree on all short texts. */
Test(json, utf8_in_strings_is_what_it_is_elsewhere)
{
	static const unsigned char bytes[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
					      0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
					      0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
	const size_t count = sizeof bytes;
	size_t texts = 1;

	for (size_t size = 1; size <= 4; size++) {
		texts *= count;
		for (size_t i = 0; i < texts; i++) {
			char text[6] = {'"'};
			size_t rest = i;

			for (size_t at = 1; at <= size; at++, rest /= count)
				text[at] = (char)bytes[rest % count];
			text[size + 1] = '"';
			cr_assert_eq(json_check(text, size + 2, NULL) == 0,
				     str_is_utf8(text + 1, size), "%zu", i);
		}
	}
}

Test(json, all_64_levels_are_taken_and_not_one_more)
{
	char text[2 * 65 + 1];
	struct json_object *value = NULL;
	struct error err = {0};

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	cr_assert_eq(check(text, 128, NULL), 0);
	cr_assert_eq(json_parse(text, 128, &value, &err), 0, "%s", err.message);
	json_object_put(value);
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	cr_assert_eq(check(text, 130, &err), ERR_LIMIT);
	cr_assert_str_eq(err.message, "line 1, column 65: nested too deeply (at most 64 levels)");
	cr_assert_eq(json_parse(text, 130, &value, &err), ERR_LIMIT);
}

Test(json, a_scalar_may_stand_in_the_innermost_of_64_levels)
{
	struct buf text = BUF_INIT(1000);
	struct json_object *value = NULL;
	struct error err = {0};

	for (int i = 0; i < 64; i++)
		buf_append_str(&text, "{\"k\":");
	buf_append_str(&text, "\"x\"");
	for (int i = 0; i < 64; i++)
		buf_append_char(&text, '}');
	cr_assert_eq(json_parse(text.data, text.size, &value, &err), 0, "%s", err.message);
	assert_written(value, text.data);
	json_object_put(value);
	buf_release(&text);
}

Test(json, depth_is_counted_down_again)
{
	char text[4001];

	for (int i = 0; i < 4000; i += 4)
		memcpy(text + i, i % 8 ? "{},\n" : "[], ", 4);
	text[0] = '[';
	text[1] = ' ';
	text[2] = ' ';
	text[3998] = ' ';
	text[3999] = ']';
	cr_assert_eq(check(text, 4000, NULL), 0);
}

Test(json, a_value_is_written_as_it_was_read)
{
	static const char *const texts[] = {"null",
					    "{\"a\":1.50,\"b\":1e2,\"c\":-0.0}",
					    "[9223372036854775807,-9223372036854775808]",
					    "[18446744073709551615]",
					    "\"a/b é \\u0001\\n\\\"\\\\\"",
					    "[0.1e-7,1E400]",
					    "42",
					    "-1.0"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct json_object *value = parsed(texts[i]);

		assert_written(value, texts[i]);
		json_object_put(value);
	}
}

Test(json, white_space_around_a_value_is_no_part_of_it)
{
	struct json_object *value = parsed(" \r\n42\t \n");

	assert_written(value, "42");
	json_object_put(value);
}

Test(json, integers_beyond_64_bits_are_kept_as_they_were_written)
{
	static const char *const texts[] = {
	    "18446744073709551616", "[-9223372036854775809]",
	    "{\"a\":[99999999999999999999,1,{\"b\":-123456789012345678901234567890}]}"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct json_object *value = parsed(texts[i]);

		assert_written(value, texts[i]);
		json_object_put(value);
	}
}

Test(json, a_wide_integer_is_a_number_out_of_range)
{
	struct json_object *value = parsed("{\"n\":18446744073709551616}");
	int64_t number = 7;
	struct error err;

	cr_assert_eq(json_get_int64(value, "n", 0, INT64_MAX, &number, &err), ERR_INVALID);
	cr_assert_eq(number, 7);
	json_object_put(value);
}

Test(json, of_a_repeated_key_the_last_one_counts)
{
	struct json_object *value = parsed("{\"a\":1,\"a\":2}");

	assert_written(value, "{\"a\":2}");
	json_object_put(value);
}

Test(json, an_object_is_asked_for_and_nothing_else_taken)
{
	struct json_object *value = NULL;
	struct error err = {0};

	cr_assert_eq(json_parse_object("[1]", 3, &value, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "must be a JSON object, is array");
	cr_assert_eq(json_parse_object("null", 4, &value, &err), ERR_INVALID);
	cr_assert_eq(json_parse_object("{", 1, &value, &err), ERR_SYNTAX);
	cr_assert_null(value);
	cr_assert_eq(json_parse_object("{}", 2, &value, &err), 0);
	json_object_put(value);
}

Test(json, types_have_names)
{
	struct json_object *value = parsed("[{},[],\"\",1,1.5,true,null]");
	static const char *const names[] = {"object", "array",   "string", "number",
					    "number", "boolean", "null"};

	for (size_t i = 0; i < 7; i++)
		cr_assert_str_eq(json_type_name(json_object_array_get_idx(value, i)), names[i]);
	json_object_put(value);
}

Test(json, members_are_found_in_objects_only)
{
	struct json_object *value = parsed("{\"a\":{\"b\":1},\"n\":null}");
	struct json_object *array = parsed("[1]");

	cr_assert_not_null(json_member(json_member(value, "a"), "b"));
	cr_assert_null(json_member(value, "n"));
	cr_assert_null(json_member(value, "x"));
	cr_assert_null(json_member(array, "x"));
	cr_assert_null(json_member(NULL, "x"));
	json_object_put(value);
	json_object_put(array);
}

Test(json, typed_members_are_read)
{
	struct json_object *value =
	    parsed("{\"text\":\"abc\",\"nul\":\"a\\u0000b\",\"number\":-5,\"yes\":true}");
	const char *text = NULL;
	size_t size = 0;
	int64_t number = 0;
	bool yes = false;

	cr_assert_eq(json_get_text(value, "text", &text, NULL), 0);
	cr_assert_str_eq(text, "abc");
	cr_assert_eq(json_get_string(value, "nul", &text, &size, NULL), 0);
	cr_assert_eq(size, 3);
	cr_assert_arr_eq(text, "a\0b", 3);
	cr_assert_eq(json_get_int64(value, "number", -5, -5, &number, NULL), 0);
	cr_assert_eq(number, -5);
	cr_assert_eq(json_get_bool(value, "yes", &yes, NULL), 0);
	cr_assert(yes);
	json_object_put(value);
}

Test(json, a_member_that_is_absent_or_null_is_not_found)
{
	struct json_object *value = parsed("{\"n\":null}");
	const char *text = "kept";
	size_t size = 42;
	int64_t number = 42;
	bool yes = true;
	struct error err = {0};

	cr_assert_eq(json_get_text(value, "n", &text, &err), ERR_NOT_FOUND);
	cr_assert_str_eq(err.message, "n: missing");
	cr_assert_eq(json_get_string(value, "x", &text, &size, &err), ERR_NOT_FOUND);
	cr_assert_eq(json_get_int64(value, "x", 0, 1, &number, &err), ERR_NOT_FOUND);
	cr_assert_eq(json_get_bool(value, "x", &yes, &err), ERR_NOT_FOUND);
	cr_assert_str_eq(err.message, "x: missing");
	cr_assert_str_eq(text, "kept");
	cr_assert_eq(size, 42);
	cr_assert_eq(number, 42);
	cr_assert(yes);
	json_object_put(value);
}

Test(json, a_member_of_the_wrong_type_or_range_is_invalid)
{
	struct json_object *value = parsed(
	    "{\"t\":\"12\",\"nul\":\"a\\u0000\",\"d\":1.5,\"i\":1,\"big\":18446744073709551615}");
	const char *text = "kept";
	int64_t number = 42;
	bool yes = true;
	struct error err = {0};

	cr_assert_eq(json_get_text(value, "i", &text, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "i: must be string, is number");
	cr_assert_eq(json_get_text(value, "nul", &text, &err), ERR_INVALID);
	cr_assert_eq(json_get_int64(value, "t", 0, 100, &number, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "t: must be whole number, is string");
	cr_assert_eq(json_get_int64(value, "d", 0, 100, &number, &err), ERR_INVALID);
	cr_assert_eq(json_get_int64(value, "i", 2, 100, &number, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "i: must be from 2 to 100, is 1");
	cr_assert_eq(json_get_int64(value, "i", -1, 0, &number, &err), ERR_INVALID);
	cr_assert_eq(json_get_int64(value, "big", INT64_MIN, INT64_MAX, &number, &err),
		     ERR_INVALID);
	cr_assert_eq(json_get_bool(value, "i", &yes, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "i: must be true or false, is number");
	cr_assert_str_eq(text, "kept");
	cr_assert_eq(number, 42);
	cr_assert(yes);
	json_object_put(value);
}

Test(json, values_are_built)
{
	struct json_object *object = json_new_object();
	struct json_object *array = json_new_array();

	json_append(array, json_new_string("a\0b", 3));
	json_append(array, json_new_string(NULL, 0));
	json_append(array, NULL);
	json_set(object, "array", array);
	json_set_text(object, "text", "http://x/\"é\"");
	json_set_int64(object, "number", INT64_MIN);
	json_set_bool(object, "no", false);
	assert_written(object,
		       "{\"array\":[\"a\\u0000b\",\"\",null],\"text\":\"http://x/\\\"é\\\"\","
		       "\"number\":-9223372036854775808,\"no\":false}");
	json_object_put(object);
}

Test(json, a_raw_text_is_written_as_it_is)
{
	struct json_object *object = json_new_object();
	char text[] = "{ \"a\" : 1.00 }";

	json_set(object, "raw", json_new_raw(text, strlen(text)));
	json_set(object, "part", json_new_raw("[1]rest", 3));
	text[0] = 'x';
	assert_written(object, "{\"raw\":{ \"a\" : 1.00 },\"part\":[1]}");
	json_object_put(object);
}

Test(json, writing_past_the_ceiling_leaves_the_buffer_as_it_was)
{
	struct buf out = BUF_INIT(5);
	struct json_object *value = parsed("[1,2,3]");

	cr_assert_eq(buf_append_str(&out, "x"), 0);
	cr_assert_eq(json_write(&out, value), ERR_LIMIT);
	cr_assert_str_eq(buf_str(&out), "x");
	json_object_put(value);
	buf_release(&out);
}

Test(json, escaped_pieces_make_a_json_string)
{
	struct buf out = BUF_INIT(1000);

	cr_assert_eq(json_write_escaped(&out, "", 0), 0);
	cr_assert_eq(json_write_escaped(&out, "a\"\\/\b\f\n\r\t", 9), 0);
	cr_assert_eq(json_write_escaped(&out, "\0\x1f\x7f é", 6), 0);
	cr_assert_str_eq(buf_str(&out), "a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f é");
	buf_release(&out);
}

/* The rule of RFC 8259, a byte at a time. */
static void escape_slowly(struct buf *out, const char *bytes, size_t size)
{
	static const char shorts[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)bytes[i];
		const char *found = NULL;
		for (size_t k = 0; k + 1 < sizeof shorts; k += 2)
			found = shorts[k] == bytes[i] ? &shorts[k + 1] : found;
		if (found != NULL)
			buf_printf(out, "\\%c", *found);
		else if (c < 0x20)
			buf_printf(out, "\\u%04x", (unsigned)c);
		else
			buf_append_char(out, bytes[i]);
	}
}

Test(json, every_byte_is_escaped_alike_at_every_place_among_others)
{
	for (int c = 0; c < 256; c++) {
		for (size_t size = 1; size < 100; size += size < 20 ? 1 : 13) {
			struct buf out = BUF_INIT(1000);
			struct buf expected = BUF_INIT(1000);
			char bytes[100];
			for (size_t at = 0; at < size; at++) {
				memset(bytes, c == 'x' ? '"' : 'x', sizeof bytes);
				bytes[at] = (char)c;
				bytes[size / 2] = (char)(at % 2 == 0 ? c : '\\');
				buf_reset(&out);
				buf_reset(&expected);
				cr_assert_eq(json_write_escaped(&out, bytes, size), 0);
				escape_slowly(&expected, bytes, size);
				cr_assert_eq(out.size, expected.size);
				cr_assert_eq(memcmp(buf_str(&out), buf_str(&expected), out.size),
					     0);
			}
			buf_release(&out);
			buf_release(&expected);
		}
	}
}

Test(json, escaped_texts_fill_a_buffer_up_to_its_limit_and_leave_it_as_it_was_beyond)
{
	static const char bytes[] = "plain text \"\1\" \\ and \n more \2 of it, plain to its end";
	struct buf expected = BUF_INIT(1000);
	escape_slowly(&expected, bytes, sizeof bytes - 1);
	for (size_t max = 0; max < expected.size + 10; max++) {
		for (size_t reserved = 0; reserved <= max; reserved++) {
			struct buf out = BUF_INIT(max + 3);
			bool fits = max >= expected.size;
			cr_assert_eq(buf_append_str(&out, "abc"), 0);
			cr_assert_eq(buf_reserve(&out, reserved), 0);
			cr_assert_eq(json_write_escaped(&out, bytes, sizeof bytes - 1),
				     fits ? 0 : ERR_LIMIT);
			cr_assert_eq(out.size, fits ? expected.size + 3 : 3);
			cr_assert_eq(memcmp(out.data, "abc", 3), 0);
			cr_assert_eq(out.data[out.size], '\0');
			if (fits)
				cr_assert_eq(memcmp(out.data + 3, expected.data, expected.size), 0);
			buf_release(&out);
		}
	}
	buf_release(&expected);
}

Test(json, plain_is_what_a_string_may_hold_as_it_is_and_a_terminal_shows)
{
	char bytes[20];
	cr_assert(json_is_plain("", 0));
	for (size_t size = 1; size <= sizeof bytes; size++) {
		for (size_t at = 0; at < size; at++) {
			for (int c = 0; c <= UCHAR_MAX; c++) {
				bool is_plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
				memset(bytes, 'x', size);
				bytes[at] = (char)c;
				cr_assert_eq(json_is_plain(bytes, size), is_plain,
					     "byte %d at %zu of %zu", c, at, size);
			}
		}
	}
}

Test(json, text_is_escaped_beyond_ascii)
{
	struct buf text = BUF_INIT(1000);

	buf_append_str(&text, "{\"ü\":\"a\\n\u20ac\U0001F389\uffff\"}");
	json_escape_beyond_ascii(&text);
	cr_assert_str_eq(buf_str(&text), "{\"\\u00fc\":\"a\\n\\u20ac\\ud83c\\udf89\\uffff\"}");
	buf_release(&text);
}

/* The value and the message that parsing in steps of that size gives. */
static int parse_in_steps(const char *text, size_t step, struct json_elements *elements,
			  struct json_object **value, struct error *err)
{
	struct json_parser *parser = json_parser_new(text, strlen(text), elements);
	int code, steps = 0;
	/* It may also pause behind 64 values. */
	while ((code = json_parser_step(parser, step, value, err)) == JSON_MORE)
		cr_assert_leq(++steps, strlen(text) / step + strlen(text) / 64, "%s", text);
	json_parser_free(parser);
	return code;
}

static void assert_spans(const char *text, size_t count, const char *const *expected)
{
	struct json_span spans[4];
	struct json_elements elements = {.key = "list", .spans = spans, .max = 4, .count = 99};
	struct json_object *value;
	cr_assert_eq(parse_in_steps(text, strlen(text), &elements, &value, NULL), 0);
	cr_assert_eq(elements.count, count, "%s: %zu", text, elements.count);
	json_object_put(value);
	for (size_t i = 0; i < count && i < 4; i++) {
		cr_assert_eq(spans[i].size, strlen(expected[i]), "%s, element %zu", text, i);
		cr_assert_arr_eq(spans[i].text, expected[i], spans[i].size);
	}
}

#define SPANS(text, ...)                                                           \
	assert_spans(text, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
		     (const char *[]){__VA_ARGS__})

Test(json, elements_are_found_where_they_stand)
{
	SPANS("{\"list\":[1,2]}", "1", "2");
	SPANS(" { \"a\" : [ 9 ] , \"list\" : [ {\"b\":[]} , \"x\" ] , \"z\" : null } ",
	      "{\"b\":[]}", "\"x\"");
	SPANS("{\"list\":[\"]\",\"\\\"\",\"\\\\\",-1.5e+3]}", "\"]\"", "\"\\\"\"", "\"\\\\\"",
	      "-1.5e+3");
	SPANS("{\"a\":{\"list\":[1]},\"list\":[true]}", "true");
	SPANS("{\"list\":[{\"k\":\"a}\\\\\\\"]\"},[[ ],{}]]}", "{\"k\":\"a}\\\\\\\"]\"}",
	      "[[ ],{}]");
	SPANS("{\"list\":[1],\"list\":[2,3]}", "2", "3");
	SPANS("{\"list\":[1,2,3,4,5]}", "1", "2", "3", "4", "5");
	SPANS("{\"list\":[{\"list\":[1,[2]]},[],{} ,null,0]}", "{\"list\":[1,[2]]}", "[]", "{}",
	      "null", "0");
	SPANS("{\"l\\u0069st\":[1],\"list\":[2]}", "2");
	SPANS("{\"list\":[1],\"l\\u0069st\":[2]}", "2");
	SPANS("{\"list\":[1,3],\"h\\u0069\":[2]}", "1", "3");
	SPANS("{\"list\":[1],\"list\\u0000x\":[2]}", "2");
	SPANS("{\"list\":[1],\"x\\u0000list\":[2]}", "1");
	assert_spans("{\"list\":[1],\"list\":{\"a\":2}}", 0, NULL);
	assert_spans("{\"a\":[{\"list\":[1]},2]}", 0, NULL);
	assert_spans("{\"list\":[]}", 0, NULL);
	assert_spans("{\"list\":[ ]}", 0, NULL);
	assert_spans("{\"list\":{\"a\":[1]}}", 0, NULL);
	assert_spans("{\"list\":7,\"b\":[1]}", 0, NULL);
	assert_spans("[1,2]", 0, NULL);
	assert_spans("{}", 0, NULL);
}

Test(json, steps_of_every_size_give_what_one_gives)
{
	static const char *const texts[] = {
	    "{\"list\":[{\"a\":\"plain text without any escape at "
	    "all\"},\"\",[[]],12.5e3,null],\"b\":"
	    "true}",
	    " { \"list\" : [ \"a\\n\\\"\\\\b\\u00e9\\ud83d\\ude00 and much that is plain\\/\" , "
	    "\"\\t\" "
	    ", \"x\" ] } ",
	    "{\"l\\u0069st\":[1],\"k\\\"ey\":\"Gr\xc3\xbc\xc3\x9f\x65 "
	    "\xe2\x82\xac\xf0\x9f\x98\x80\"}",
	    "{\"list\":[\"\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\",\"\\u0000\",-0,1]}",
	    "null",
	    "\"\\n\"",
	    "[\"one\\r\",\"two\",\"\\\\\"]",
	    "",
	    "[\"abc\\n\\x\"]",
	    "{\"list\":[\"abc\\ndef\\ud800\"]}",
	    "[\"abc\\ndef",
	    "[\"abc\\n\xff\"]",
	    "[\"\xc3\xbc\xc3\"]",
	    "{\"a\":[1,2,3],\"list\":[4,5,6}",
	    "[1] x",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		size_t size = strlen(texts[i]);
		struct json_span spans[8], spans_at_once[8];
		struct json_elements at_once = {.key = "list", .spans = spans_at_once, .max = 8};
		struct json_object *expected = NULL;
		struct error expected_err = {0};
		int code = parse_in_steps(texts[i], size + 1, &at_once, &expected, &expected_err);
		cr_assert_eq(code, check(texts[i], size, NULL), "%s", texts[i]);
		for (size_t step = 1; step <= size; step++) {
			struct json_elements elements = {.key = "list", .spans = spans, .max = 8};
			struct json_object *value = NULL;
			struct error err = {0};
			cr_assert_eq(parse_in_steps(texts[i], step, &elements, &value, &err), code,
				     "%s, %zu", texts[i], step);
			cr_assert_str_eq(err.message, expected_err.message);
			cr_assert(json_object_equal(value, expected), "%s, %zu", texts[i], step);
			cr_assert_eq(elements.count, at_once.count);
			if (code == 0)
				cr_assert_eq(
				    memcmp(spans, spans_at_once, elements.count * sizeof spans[0]),
				    0);
			json_object_put(value);
		}
		json_object_put(expected);
	}
}

/* As the text says, with null for the elements of "list" that are larger. */
static struct json_object *without_large(const char *text, size_t large_bytes,
					 struct json_elements *elements, struct error *err)
{
	struct json_object *value = NULL;
	elements->large_bytes = 0;
	if (parse_in_steps(text, SIZE_MAX, elements, &value, err) != 0)
		return NULL;
	struct json_object *list = json_member(value, elements->key);
	for (size_t i = 0; i < elements->count && i < elements->max; i++) {
		if (elements->spans[i].size > large_bytes)
			json_object_array_put_idx(list, i, NULL);
	}
	return value;
}

Test(json, large_elements_are_checked_and_left_out)
{
	static const char *const texts[] = {
	    "{\"list\":[{\"a\":[1,{\"b\":\"much\"},[[]]],\"c\":{}},\"\",\"a "
	    "text\",12345,true,[]],\"b\":"
	    "[\"long and outside\"]}",
	    "{\"list\":[\"plain \\n with \\\\ "
	    "escapes\",{\"k\\u0065y\":\"\\u00e9\\n\\n\"},false,-1.25e+9]}",
	    "{\"list\":[[[\"deep\"],{}],[[],[[1,2,3],[null,true]]],{\"list\":[\"within\",\"it\"]}]"
	    "}",
	    "{\"list\":[\"first\",[1,2,3,4,5]],\"list\":[[\"last\"],{\"a\":\"counts\"}]}",
	    "{\"list\":[\"first\",[1,2,3,4,5]],\"oth\\u0065r\":[[\"no\"],{\"part\":\"of it\"}]}",
	    "{\"list\":[\"first\",[1,2,3,4,5]],\"list\\u0000\":[[\"counts\"],{\"too\":\"it\"}]}",
	    "{\"list\":[\"first\",[1,2,3,4,5]],\"l\\u0069st\":[[\"all\"],{\"of\":\"it\"}]}",
	    "{\"list\":[\"more\",[\"than\"],{\"are\":1},\"noted\",[\"stand "
	    "there\"],{\"as\":\"ever\"}]}",
	    "{\"list\":[{\"a\":\"wrong in what is left out \\x\"}]}",
	    "{\"list\":[{\"a\":\"cut within it",
	    "{\"list\":{\"no\":\"array, and large\"}}",
	    "[\"no object, and large\"]",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		size_t size = strlen(texts[i]);
		for (size_t round = 0; round < size * size; round++) {
			size_t step = round / size + 1, large_bytes = round % size + 1;
			struct json_span spans[4], expected_spans[4];
			struct json_elements noted = {.key = "list",
						      .spans = expected_spans,
						      .max = 4},
					     elements = {.key = "list", .spans = spans, .max = 4};
			struct error err = {0}, expected_err = {0};
			struct json_object *value = NULL,
					   *expected = without_large(texts[i], large_bytes, &noted,
								     &expected_err);
			elements.large_bytes = large_bytes;
			int code = parse_in_steps(texts[i], step, &elements, &value, &err);
			cr_assert_eq(code, check(texts[i], size, NULL), "%s", texts[i]);
			cr_assert_str_eq(err.message, expected_err.message);
			cr_assert(json_object_equal(value, expected), "%s, %zu, %zu", texts[i],
				  step, large_bytes);
			cr_assert_eq(elements.count, noted.count);
			json_object_put(value);
			json_object_put(expected);
		}
	}
}

/* So many levels of it around the middle. */
static void append_deep(struct buf *out, int levels, const char *open, const char *middle,
			char close)
{
	for (int i = 0; i < levels; i++)
		buf_append_str(out, open);
	buf_append_str(out, middle);
	for (int i = 0; i < levels; i++)
		buf_append_char(out, close);
}

Test(json, elements_that_are_too_deep_are_left_out)
{
	static const char left[] = "{\"list\":[{\"a\":[1]},null,\"last\"],\"b\":2}";
	static const struct {
		const char *open, *middle;
		char close;
	} deep[] = {{"[", "", ']'},
		    {"{\"a\":", "1", '}'},
		    {"[\"]\\\"\",", "\"[[{\\\\\"", ']'},
		    {"[{},", "no JSON", ']'}};
	for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
		struct buf text = BUF_INIT(10000);
		buf_append_str(&text, "{\"list\":[{\"a\":[1]}, ");
		size_t at = text.size;
		append_deep(&text, 80, deep[i].open, deep[i].middle, deep[i].close);
		size_t size = text.size - at;
		buf_append_str(&text, " ,\"last\"],\"b\":2}");
		for (size_t step = 1; step < text.size; step++) {
			struct json_span spans[3];
			struct json_elements elements = {
			    .key = "list", .spans = spans, .max = 3, .large_bytes = 5000};
			struct json_object *value = NULL, *expected = NULL;
			cr_assert_eq(parse_in_steps(text.data, step, &elements, &value, NULL), 0);
			cr_assert_eq(json_parse(left, strlen(left), &expected, NULL), 0);
			cr_assert(json_object_equal(value, expected), "%zu, %zu", i, step);
			cr_assert_eq(elements.count, 3);
			cr_assert_eq(spans[1].text, text.data + at);
			cr_assert_eq(spans[1].size, size);
			json_object_put(value);
			json_object_put(expected);
		}
		buf_release(&text);
	}
}

Test(json, what_is_too_deep_is_refused_where_it_is_no_element_or_does_not_end)
{
	static const char *const begins[] = {"{\"list\":[1],\"b\":", "{\"list\":[1,2,3,",
					     "{\"list\":["};
	for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
		struct json_span spans[3];
		struct json_elements elements = {
		    .key = "list", .spans = spans, .max = 3, .large_bytes = 5000};
		struct buf text = BUF_INIT(10000);
		struct json_object *value = NULL;
		struct error err;
		bool is_cut = i == 2;
		buf_append_str(&text, begins[i]);
		append_deep(&text, 80, "[", "", ']');
		buf_append_str(&text, i == 0 ? "}" : "]}");
		if (is_cut)
			buf_truncate(&text, text.size - 70);
		cr_assert_eq(parse_in_steps(text.data, text.size, &elements, &value, &err),
			     is_cut ? ERR_SYNTAX : ERR_LIMIT);
		cr_assert_not_null(strstr(err.message, "nested too deeply"), "%s", err.message);
		buf_release(&text);
	}
}

Test(json, a_large_string_with_escapes_is_put_together_from_parts)
{
	struct buf plain = BUF_INIT(1000000), text = BUF_INIT(1000000);
	struct json_object *value = NULL;
	for (int i = 0; i < 9000; i++)
		buf_printf(&plain, "%d\n\"%*s\\\x01\xe2\x82\xac", i, i % 23, "");
	buf_append_str(&text, "[\"");
	json_write_escaped(&text, plain.data, plain.size);
	buf_append_str(&text, "\"]");
	for (size_t step = 1; step < text.size; step = step * 7 + 1) {
		cr_assert_eq(parse_in_steps(text.data, step, NULL, &value, NULL), 0);
		struct json_object *string = json_object_array_get_idx(value, 0);
		cr_assert_eq((size_t)json_object_get_string_len(string), plain.size);
		cr_assert_eq(memcmp(json_object_get_string(string), plain.data, plain.size), 0);
		json_object_put(value);
	}
	buf_release(&plain);
	buf_release(&text);
}

Test(json, a_parser_may_go_before_it_is_through)
{
	static const char text[] = "[1,{\"a\":\"b\\nc\"},[\"d\\te\",2]]";
	struct json_object *value = NULL;
	for (size_t step = 1; step < sizeof text - 6; step++) {
		struct json_parser *parser = json_parser_new(text, sizeof text - 1, NULL);
		cr_assert_eq(json_parser_step(parser, step, &value, NULL), JSON_MORE);
		json_parser_free(parser);
	}
	cr_assert_null(value);
	json_parser_free(NULL);
}

static void check_skim(const char *text, const char *expected)
{
	struct json_object *value = NULL;
	struct error err = {0};
	int rc = json_skim(text, strlen(text), &value, &err);

	if (expected == NULL) {
		cr_assert_neq(rc, 0, "%s", text);
		return;
	}
	cr_assert_eq(rc, 0, "%s: %s", text, err.message);
	struct buf out = BUF_INIT(10000);
	json_write(&out, value);
	cr_assert_str_eq(buf_str(&out), expected);
	buf_release(&out);
	json_object_put(value);
}

Test(json, of_an_object_that_is_too_much_the_scalar_members_can_be_had)
{
	check_skim("{}", "{}");
	check_skim(" { } ", "{}");
	check_skim("{\"a\":1,\"b\":[1,{\"c\":\"]}\"}],\"d\":\"x\\\"}\"}",
		   "{\"a\":1,\"d\":\"x\\\"}\"}");
	check_skim("{ \"b\" : {\"a\":[]} , \"e\\u0041\" : null , \"t\" : true , \"n\" : -1.5e3 }",
		   "{\"eA\":null,\"t\":true,\"n\":-1.5e3}");
	check_skim("[]", NULL);
	check_skim("", NULL);
	check_skim("{\"a\":1", NULL);
	check_skim("{\"a\":1,}", NULL);
	check_skim("{\"a\":[1}", NULL);
	check_skim("{\"a\":[1,2", NULL);
	check_skim("{\"a\":\"x", NULL);
	check_skim("{\"a\":x}", NULL);
	check_skim("{\"a\" 1}", NULL);
	check_skim("{\"a\":1} x", NULL);
	check_skim("{\"a\":1 \"b\":2}", NULL);
	char deep[1100] = "{\"deep\":";
	memset(deep + 8, '[', 500);
	memset(deep + 508, ']', 500);
	memcpy(deep + 1008, ",\"id\":\"x\"}", 11);
	check_skim(deep, "{\"id\":\"x\"}");
}

Test(json, what_the_values_take_is_limited)
{
	static const char *const texts[] = {"{}", "[]", "1", "\"a string of some length\"", "null"};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct buf text = BUF_INIT(10000000);
		struct json_object *value = NULL;
		struct error err = {0};
		buf_append_str(&text, "[null");
		for (int j = 0; j < 100000; j++)
			buf_printf(&text, ",%s", texts[i]);
		buf_append_char(&text, ']');
		for (size_t limit = 1000000; limit <= 100000000; limit *= 100) {
			struct json_parser *parser =
			    json_parser_new(buf_str(&text), text.size, NULL);
			json_parser_limit(parser, limit);
			int rc = json_parser_step(parser, SIZE_MAX, &value, &err);
			cr_assert_eq(rc, limit == 1000000 ? ERR_LIMIT : 0, "%s", texts[i]);
			cr_assert(rc == 0 ||
				  strstr(err.message, "1000000 bytes of memory") != NULL);
			json_parser_free(parser);
		}
		json_object_put(value);
		buf_release(&text);
	}
}

Test(json, a_step_with_many_values_is_short)
{
	enum { VALUES = 100000 };
	struct buf text = BUF_INIT(10000000);
	struct json_object *value = NULL;
	struct error err = {0};
	size_t steps = 0;

	buf_append_str(&text, "[{}");
	for (int j = 1; j < VALUES; j++)
		buf_append_str(&text, ",{}");
	buf_append_char(&text, ']');
	struct json_parser *parser = json_parser_new(buf_str(&text), text.size, NULL);
	int rc = JSON_MORE;
	for (; rc == JSON_MORE; steps++)
		rc = json_parser_step(parser, 256 * 1024, &value, &err);
	cr_assert_eq(rc, 0);
	cr_assert_eq(json_object_array_length(value), VALUES);
	cr_assert_gt(steps, 20);
	json_parser_free(parser);
	json_object_put(value);
	buf_release(&text);
}

static size_t memory_of(const char *text, size_t size)
{
	struct json_object *value;
	struct error err;
	cr_assert_eq(json_parse(text, size, &value, &err), 0, "%s", err.message);
	size_t bytes = json_memory_size(value);
	json_object_put(value);
	return bytes;
}

Test(json, the_memory_of_a_value_is_that_of_all_that_is_in_it)
{
	enum { LETTERS = 100000, ARRAYS = 1000 };
	struct buf text = BUF_INIT(2 * LETTERS);
	cr_assert_eq(json_memory_size(NULL), 0);
	buf_append_str(&text, "{\"a\":[{\"b\":\"");
	for (int i = 0; i < LETTERS; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "\"}],\"c\":null,\"d\":1.5}");
	size_t bytes = memory_of(buf_str(&text), text.size);
	cr_assert(bytes > LETTERS && bytes < LETTERS + 10000, "%zu", bytes);
	buf_reset(&text);
	buf_append_char(&text, '[');
	for (int i = 0; i < ARRAYS; i++)
		buf_append_str(&text, i > 0 ? ",[]" : "[]");
	buf_append_char(&text, ']');
	bytes = memory_of(buf_str(&text), text.size);
	cr_assert(bytes > ARRAYS * 40, "%zu", bytes);
	buf_release(&text);
}

Test(json, names_that_come_with_every_message_are_found)
{
	const char text[] = "responseBodyUploadUrl, url";
	cr_assert_str_eq(json_key_find(text, 21), "responseBodyUploadUrl");
	cr_assert_str_eq(json_key_find(text + 23, 3), "url");
	cr_assert_null(json_key_find(text + 23, 2));
	cr_assert_null(json_key_find(text, 22));
	cr_assert_null(json_key_find(text, 8));
	cr_assert_null(json_key_find(text, 0));
	cr_assert_null(json_key_find("ur\0", 3));
}

/* Their names are not the object's own, which its memory and its end must know. */
Test(json, members_with_such_names_are_members_like_any)
{
	struct json_object *value =
	    parsed("{\"body\":1,\"other\":2,\"body\":{\"url\":\"a\",\"u\":[{\"tag\":{}}]}}");
	cr_assert_gt(json_memory_size(value), 500);
	assert_written(value, "{\"body\":{\"url\":\"a\",\"u\":[{\"tag\":{}}]},\"other\":2}");
	json_object_object_del(value, "body");
	assert_written(value, "{\"other\":2}");
	json_object_put(value);
}
