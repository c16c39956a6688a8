#include "base/json_scan.h"

#include "base/json_build.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

_Static_assert(JSON_DEPTH_MAX <= 64, "is_object has one bit a level");

enum { ELEMENT_LEVEL = 2 }; /* open around an element: the object, and the array in it */

/* Of a step: to build a value takes as long as to read so many bytes; a few do not matter. */
enum { BYTES_FOR_A_VALUE = 64, FEW_VALUES = 64 };

static void skip_space(struct json_scan *scan)
{
	while (scan->at < scan->end &&
	       (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
		scan->at++;
}

static bool at_digit(const struct json_scan *scan)
{
	return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static bool at_char(const struct json_scan *scan, char c)
{
	return scan->at < scan->end && *scan->at == c;
}

static bool inside_object(const struct json_scan *scan)
{
	return scan->depth > 0 && (scan->is_object >> (scan->depth - 1) & 1) != 0;
}

/* Of a repeated key the last one counts, and json-c reads one up to a NUL. */
static void note_key(struct json_scan *scan)
{
	struct json_elements *elements = scan->elements;

	if (!elements || scan->depth != 1)
		return;
	scan->is_wanted = strcmp(buf_str(&scan->build->key), elements->key) == 0;
	if (scan->is_wanted)
		elements->count = 0;
}

static void note_begin(struct json_scan *scan)
{
	if (scan->is_wanted && scan->depth == ELEMENT_LEVEL && !inside_object(scan))
		scan->element = scan->at;
}

/* Whoever asked gets its text instead. */
static bool may_leave_out(const struct json_scan *scan)
{
	const struct json_elements *elements = scan->elements;

	return scan->element && elements->large_bytes > 0 && elements->count < elements->max;
}

static void leave_out(struct json_scan *scan)
{
	if (!scan->build)
		return;
	json_build_drop(scan->build, ELEMENT_LEVEL);
	scan->resting = scan->build;
	scan->build = NULL;
}

/* Is the element that is being read too large by now to be built? */
static void note_size(struct json_scan *scan)
{
	if (scan->build && may_leave_out(scan) &&
	    (size_t)(scan->at - scan->element) > scan->elements->large_bytes)
		leave_out(scan);
}

/* Behind a value: was it an element? */
static void note_end(struct json_scan *scan)
{
	struct json_elements *elements = scan->elements;

	if (!scan->element || scan->depth != ELEMENT_LEVEL)
		return;
	if (scan->resting) {
		scan->build = scan->resting;
		scan->resting = NULL;
		json_build_null(scan->build);
	}
	if (elements->count < elements->max)
		elements->spans[elements->count] =
		    (struct json_span){scan->element, (size_t)(scan->at - scan->element)};
	elements->count++;
	scan->element = NULL;
}

/* The digits, which start with no zero, as an integer fit into int64 (negative) or
 * uint64: json-c's two kinds. */
static bool fits_64_bits(const char *digits, size_t count, bool negative)
{
	const char *max = negative ? "9223372036854775808" : "18446744073709551615";
	size_t max_count = strlen(max);

	return count < max_count || (count == max_count && memcmp(digits, max, count) <= 0);
}

static int scan_number(struct json_scan *scan)
{
	bool negative = at_char(scan, '-'), whole = true;
	const char *begin = scan->at, *digits;
	size_t count;

	if (negative)
		scan->at++;
	digits = scan->at;
	if (!at_digit(scan))
		return json_scan_fail(scan, "a digit is missing");
	if (at_char(scan, '0'))
		scan->at++;
	else
		while (at_digit(scan))
			scan->at++;
	count = (size_t)(scan->at - digits);
	if (at_digit(scan))
		return json_scan_fail(scan, "a number with a leading zero");
	if (at_char(scan, '.')) {
		whole = false;
		scan->at++;
		if (!at_digit(scan))
			return json_scan_fail(scan, "a digit is missing");
		while (at_digit(scan))
			scan->at++;
	}
	if (at_char(scan, 'e') || at_char(scan, 'E')) {
		whole = false;
		scan->at++;
		if (at_char(scan, '+') || at_char(scan, '-'))
			scan->at++;
		if (!at_digit(scan))
			return json_scan_fail(scan, "a digit is missing");
		while (at_digit(scan))
			scan->at++;
	}
	note_size(scan);
	if (scan->build)
		json_build_number(scan->build, begin, (size_t)(scan->at - begin),
				  whole && fits_64_bits(digits, count, negative));
	return 0;
}

static int scan_word(struct json_scan *scan, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
		return json_scan_fail(scan, "not a JSON value");
	scan->at += size;
	return 0;
}

/* One element that is too deep must not spoil the others. */
static int skip_too_deep(struct json_scan *scan)
{
	if (!may_leave_out(scan)) {
		scan->what = "nested too deeply";
		return ERR_LIMIT;
	}
	leave_out(scan);
	scan->at = json_skip_container(scan->at, scan->end);
	if (scan->at)
		return 0;
	scan->at = scan->end;
	return json_scan_fail(scan, "the text ends inside what is nested too deeply");
}

static void open_level(struct json_scan *scan, bool is_object)
{
	scan->is_object &= ~(UINT64_C(1) << scan->depth);
	scan->is_object |= (uint64_t)is_object << scan->depth;
	scan->depth++;
	scan->at++;
	if (scan->build)
		json_build_open(scan->build, is_object);
}

static void close_level(struct json_scan *scan)
{
	scan->at++;
	note_size(scan);
	scan->depth--;
	if (scan->build)
		json_build_close(scan->build);
	note_end(scan);
}

/* A key and its colon. */
static int scan_key(struct json_scan *scan)
{
	const char *begin, *pause = scan->pause;
	int code;

	skip_space(scan);
	begin = scan->at + 1;
	if (!at_char(scan, '"'))
		return json_scan_fail(scan, "a key in quotes is missing");
	scan->at++;
	scan->has_escapes = false;
	scan->pause = NULL; /* a key is read at once */
	code = json_scan_string(scan);
	scan->pause = pause;
	if (code < 0)
		return code;
	if (scan->build) {
		json_build_key(scan->build, begin, (size_t)(scan->at - 1 - begin),
			       scan->has_escapes);
		note_key(scan);
	}
	skip_space(scan);
	if (!at_char(scan, ':'))
		return json_scan_fail(scan, "':' is missing");
	scan->at++;
	return 0;
}

/* Begins with a string or goes on with it. What has escapes is handed over in parts. */
static int scan_string_value(struct json_scan *scan)
{
	size_t size;
	int code;

	if (!scan->string) {
		scan->string = ++scan->at;
		scan->has_escapes = false;
	}
	code = json_scan_string(scan);
	if (code < 0)
		return code;
	note_size(scan);
	size = (size_t)(scan->at - scan->string);
	if (code == JSON_MORE) {
		if (scan->build && scan->has_escapes) {
			json_build_part(scan->build, scan->string, size);
			scan->string = scan->at;
		}
		return code;
	}
	if (scan->build)
		json_build_string(scan->build, scan->string, size - 1, scan->has_escapes);
	scan->string = NULL;
	return 0;
}

static int scan_word_value(struct json_scan *scan)
{
	char first = *scan->at;
	int code = scan_word(scan, first == 't' ? "true" : first == 'f' ? "false" : "null");

	note_size(scan);
	if (code < 0 || !scan->build)
		return code;
	if (first == 'n')
		json_build_null(scan->build);
	else
		json_build_bool(scan->build, first == 't');
	return 0;
}

/* Everything but [ and {. */
static int scan_scalar(struct json_scan *scan)
{
	if (scan->at == scan->end)
		return json_scan_fail(scan, "the text ends where a value is missing");
	switch (*scan->at) {
	case '"':
		return scan_string_value(scan);
	case 't':
	case 'f':
	case 'n':
		return scan_word_value(scan);
	default:
		if (*scan->at == '-' || at_digit(scan))
			return scan_number(scan);
		return json_scan_fail(scan, "not a JSON value");
	}
}

/* A value, or the rest of a string; of an array or an object with members only the opening, up
 * to where its first member's value starts (*opened is then true). */
static int scan_value(struct json_scan *scan, bool *opened)
{
	bool is_object = at_char(scan, '{');
	int code;

	*opened = false;
	if (!scan->string)
		note_begin(scan);
	if (scan->string || (!is_object && !at_char(scan, '['))) {
		code = scan->string ? scan_string_value(scan) : scan_scalar(scan);
		if (code == 0)
			note_end(scan);
		return code;
	}
	if (scan->depth == JSON_DEPTH_MAX)
		return skip_too_deep(scan);
	open_level(scan, is_object);
	skip_space(scan);
	if (at_char(scan, is_object ? '}' : ']')) {
		close_level(scan);
		return 0;
	}
	*opened = true;
	return is_object ? scan_key(scan) : 0;
}

/* Behind a value: closes what ends here, and moves to the next value if there is one. */
static int scan_behind_value(struct json_scan *scan)
{
	while (scan->depth > 0) {
		bool is_object = inside_object(scan);

		skip_space(scan);
		if (at_char(scan, ',')) {
			scan->at++;
			return is_object ? scan_key(scan) : 0;
		}
		if (!at_char(scan, is_object ? '}' : ']')) {
			if (scan->at == scan->end)
				return json_scan_fail(scan, is_object
								? "the text ends inside an object"
								: "the text ends inside an array");
			return json_scan_fail(scan, is_object ? "',' or '}' is missing"
							      : "',' or ']' is missing");
		}
		close_level(scan);
	}
	return 0;
}

static int scan_text(struct json_scan *scan)
{
	bool opened;
	int code;

	do {
		if ((scan->pause && scan->at >= scan->pause) || scan->values_left == 0)
			return JSON_MORE;
		scan->values_left--;
		if (!scan->string)
			skip_space(scan);
		if ((code = scan_value(scan, &opened)) != 0)
			return code;
		if (!opened && (code = scan_behind_value(scan)) < 0)
			return code;
	} while (scan->depth > 0);
	skip_space(scan);
	return scan->at == scan->end ? 0 : json_scan_fail(scan, "something follows the JSON value");
}

/* Columns are counted in characters. */
static int report(const struct json_scan *scan, int code, struct error *err)
{
	size_t line = 1, column = 1;

	for (const char *c = scan->text; err && c < scan->at; c++) {
		if (*c == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)*c & 0xC0) != 0x80) {
			column++;
		}
	}
	if (code == ERR_LIMIT)
		return error_set(err, code, "line %zu, column %zu: %s (at most %d levels)", line,
				 column, scan->what, JSON_DEPTH_MAX);
	return error_set(err, code, "line %zu, column %zu: %s", line, column, scan->what);
}

void json_scan_begin(struct json_scan *scan, const char *text, size_t size,
		     struct json_build *build, struct json_elements *elements)
{
	text = size ? text : ""; /* NULL must not meet arithmetic */
	*scan = (struct json_scan){
	    .text = text, .at = text, .end = text + size, .build = build, .elements = elements};
	if (elements)
		elements->count = 0;
}

int json_scan_step(struct json_scan *scan, size_t bytes, struct error *err)
{
	int code;

	assert(scan->at); /* it was begun */
	scan->values_left = bytes < SIZE_MAX ? bytes / BYTES_FOR_A_VALUE + FEW_VALUES : SIZE_MAX;
	scan->pause = bytes < (size_t)(scan->end - scan->at) ? scan->at + bytes : NULL;
	code = scan_text(scan);
	return code < 0 ? report(scan, code, err) : code;
}
