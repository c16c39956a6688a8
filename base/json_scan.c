#include "base/json_scan.h"

#include "base/json_build.h"
#include "base/json_swar.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

_Static_assert(JSON_DEPTH_MAX <= 64, "is_object has one bit a level");

enum { ELEMENT_LEVEL = 2 }; /* open around an element: the object, and the array in it */

/* Of a step: to build a value takes as long as to read so many bytes; a few do not matter. */
enum { BYTES_FOR_A_VALUE = 64, FEW_VALUES = 64 };

static int fail(struct json_scan *scan, const char *what)
{
	scan->what = what;
	return ERR_SYNTAX;
}

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

/* Moves over the plain ASCII inside of a string, eight bytes a step: a byte with the top
 * bit, below 0x20, '"' or '\\' leaves its top bit in `special`. A subtraction may borrow
 * from the byte above and mark that one without reason, but only when the byte below is
 * marked itself; so the lowest mark is always right. */
static void skip_plain(struct json_scan *scan)
{
	const uint64_t ones = JSON_SWAR_ONES;

	while (scan->end - scan->at >= 8) {
		uint64_t word = json_swar_load(scan->at);
		uint64_t quotes = word ^ (ones * '"'), slashes = word ^ (ones * '\\');
		uint64_t special =
		    (word | (word - ones * 0x20) | (quotes - ones) | (slashes - ones)) &
		    JSON_SWAR_TOPS;

		if (special) {
			scan->at += json_swar_first(special);
			return;
		}
		scan->at += 8;
	}
	while (scan->at < scan->end) {
		unsigned char c = (unsigned char)*scan->at;

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			return;
		scan->at++;
	}
}

static bool is_continuation(const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if ((bytes[i] & 0xC0) != 0x80)
			return false;
	}
	return true;
}

/* The length of the character that begins with a byte from 0x80 on; 0 when it is not
 * UTF-8 (RFC 3629, 4: the second byte rules out over-long forms, surrogates and what
 * lies beyond U+10FFFF). A call into libunistring a character takes three times longer. */
static size_t character_length(const char *at, const char *end)
{
	const unsigned char *b = (const unsigned char *)at;
	size_t room = (size_t)(end - at);

	if (b[0] >= 0xC2 && b[0] <= 0xDF)
		return room >= 2 && is_continuation(b + 1, 1) ? 2 : 0;
	if (b[0] >= 0xE0 && b[0] <= 0xEF) {
		if (room < 3 || !is_continuation(b + 1, 2) || (b[0] == 0xE0 && b[1] < 0xA0) ||
		    (b[0] == 0xED && b[1] > 0x9F))
			return 0;
		return 3;
	}
	if (b[0] >= 0xF0 && b[0] <= 0xF4) {
		if (room < 4 || !is_continuation(b + 1, 3) || (b[0] == 0xF0 && b[1] < 0x90) ||
		    (b[0] == 0xF4 && b[1] > 0x8F))
			return 0;
		return 4;
	}
	return 0;
}

/* Runs of letters beyond ASCII, as most of the world writes them. */
static int scan_characters(struct json_scan *scan)
{
	const char *end = scan->pause ? scan->pause : scan->end;

	while (scan->at < end && (unsigned char)*scan->at >= 0x80) {
		size_t length = character_length(scan->at, scan->end);

		if (length == 0)
			return fail(scan, "not UTF-8");
		scan->at += length;
	}
	return 0;
}

/* The four digits behind \u; -1 when they are none. */
static int read_hex4(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = at[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* A surrogate on its own stands for no character; json-c would put U+FFFD in its place
 * without a word, so it is refused. */
static int scan_unicode_escape(struct json_scan *scan)
{
	int unit = read_hex4(scan->at + 2, scan->end);
	int second;

	if (unit < 0)
		return fail(scan, "\\u needs four hexadecimal digits");
	if (unit >= 0xDC00 && unit <= 0xDFFF)
		return fail(scan, "half of a surrogate pair");
	if (unit >= 0xD800 && unit <= 0xDBFF) {
		const char *next = scan->at + 6;

		second = scan->end - next >= 6 && next[0] == '\\' && next[1] == 'u'
			     ? read_hex4(next + 2, scan->end)
			     : -1;
		if (second < 0xDC00 || second > 0xDFFF)
			return fail(scan, "half of a surrogate pair");
		scan->at = next;
	}
	scan->at += 6;
	return 0;
}

static int scan_escape(struct json_scan *scan)
{
	char c = scan->end - scan->at >= 2 ? scan->at[1] : '\0';

	switch (c) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		scan->at += 2;
		return 0;
	case 'u':
		return scan_unicode_escape(scan);
	default:
		return fail(scan, "no such escape in JSON");
	}
}

/* From within a string to behind its closing quote, or to where this step may end, which is
 * never inside an escape. */
static int scan_string(struct json_scan *scan)
{
	for (;;) {
		int code = 0;
		unsigned char c;

		if (scan->pause && scan->at >= scan->pause)
			return JSON_MORE;
		skip_plain(scan);
		if (scan->at == scan->end)
			return fail(scan, "the text ends inside a string");
		c = (unsigned char)*scan->at;
		if (c == '"')
			break;
		if (c == '\\') {
			scan->has_escapes = true;
			code = scan_escape(scan);
		} else if (c < 0x20) {
			code = fail(scan, "a control character inside a string");
		} else {
			code = scan_characters(scan);
		}
		if (code < 0)
			return code;
	}
	scan->at++;
	return 0;
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

/* Is the element that is being read too large by now to be built? */
static void note_size(struct json_scan *scan)
{
	const struct json_elements *elements = scan->elements;

	if (!scan->element || !scan->build || elements->large_bytes == 0 ||
	    elements->count >= elements->max ||
	    (size_t)(scan->at - scan->element) <= elements->large_bytes)
		return;
	json_build_drop(scan->build, ELEMENT_LEVEL);
	scan->resting = scan->build;
	scan->build = NULL;
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
		return fail(scan, "a digit is missing");
	if (at_char(scan, '0'))
		scan->at++;
	else
		while (at_digit(scan))
			scan->at++;
	count = (size_t)(scan->at - digits);
	if (at_digit(scan))
		return fail(scan, "a number with a leading zero");
	if (at_char(scan, '.')) {
		whole = false;
		scan->at++;
		if (!at_digit(scan))
			return fail(scan, "a digit is missing");
		while (at_digit(scan))
			scan->at++;
	}
	if (at_char(scan, 'e') || at_char(scan, 'E')) {
		whole = false;
		scan->at++;
		if (at_char(scan, '+') || at_char(scan, '-'))
			scan->at++;
		if (!at_digit(scan))
			return fail(scan, "a digit is missing");
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
		return fail(scan, "not a JSON value");
	scan->at += size;
	return 0;
}

static int open_level(struct json_scan *scan, bool is_object)
{
	if (scan->depth == JSON_DEPTH_MAX) {
		scan->what = "nested too deeply";
		return ERR_LIMIT;
	}
	scan->is_object &= ~(UINT64_C(1) << scan->depth);
	scan->is_object |= (uint64_t)is_object << scan->depth;
	scan->depth++;
	scan->at++;
	if (scan->build)
		json_build_open(scan->build, is_object);
	return 0;
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
		return fail(scan, "a key in quotes is missing");
	scan->at++;
	scan->has_escapes = false;
	scan->pause = NULL; /* a key is read at once */
	code = scan_string(scan);
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
		return fail(scan, "':' is missing");
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
	code = scan_string(scan);
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
		return fail(scan, "the text ends where a value is missing");
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
		return fail(scan, "not a JSON value");
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
	if ((code = open_level(scan, is_object)) < 0)
		return code;
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
				return fail(scan, is_object ? "the text ends inside an object"
							    : "the text ends inside an array");
			return fail(scan,
				    is_object ? "',' or '}' is missing" : "',' or ']' is missing");
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
	return scan->at == scan->end ? 0 : fail(scan, "something follows the JSON value");
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
