#include "base/json.h"

#include "base/json_build.h"
#include "base/json_scan.h"
#include "base/json_swar.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int json_check(const char *text, size_t size, struct error *err)
{
	struct json_scan scan;

	json_scan_begin(&scan, text, size, NULL, NULL);
	return json_scan_step(&scan, SIZE_MAX, err);
}

struct json_parser {
	struct json_scan scan;
	struct json_build build;
};

static void begin(struct json_parser *parser, const char *text, size_t size,
		  struct json_elements *elements)
{
	json_build_init(&parser->build);
	json_scan_begin(&parser->scan, text, size, &parser->build, elements);
}

static void release(struct json_parser *parser)
{
	json_object_put(parser->build.root);
	json_build_release(&parser->build);
}

struct json_parser *json_parser_new(const char *text, size_t size, struct json_elements *elements)
{
	struct json_parser *parser = mem_new(struct json_parser);

	begin(parser, text, size, elements);
	return parser;
}

void json_parser_limit(struct json_parser *parser, size_t memory_bytes)
{
	parser->build.max_weight = memory_bytes;
}

void json_parser_free(struct json_parser *parser)
{
	if (!parser)
		return;
	release(parser);
	free(parser);
}

int json_parser_step(struct json_parser *parser, size_t bytes, struct json_object **out,
		     struct error *err)
{
	int code;

	if (parser->scan.end - parser->scan.text > INT_MAX) /* json-c counts in int */
		return error_set(err, ERR_LIMIT, "JSON: larger than %d bytes", INT_MAX);
	code = json_scan_step(&parser->scan, bytes, err);
	if (code < 0)
		return code;
	if (parser->build.failed == ERR_LIMIT)
		return error_set(err, ERR_LIMIT,
				 "JSON: its values would take more than %zu bytes of memory",
				 parser->build.max_weight);
	if (parser->build.failed != 0)
		return error_set(err, ERR_MEMORY, "JSON: out of memory");
	if (code == 0) {
		*out = parser->build.root;
		parser->build.root = NULL;
	}
	return code;
}

int json_parse(const char *text, size_t size, struct json_object **out, struct error *err)
{
	struct json_parser parser;
	int code;

	begin(&parser, text, size, NULL);
	code = json_parser_step(&parser, SIZE_MAX, out, err);
	release(&parser);
	return code;
}

int json_require_object(struct json_object *value, struct error *err)
{
	int code;

	if (json_object_is_type(value, json_type_object))
		return 0;
	code = error_set(err, ERR_INVALID, "must be a JSON object, is %s", json_type_name(value));
	json_object_put(value);
	return code;
}

int json_parse_object(const char *text, size_t size, struct json_object **out, struct error *err)
{
	struct json_object *value = NULL;
	int code = json_parse(text, size, &value, err);

	if (code == 0 && (code = json_require_object(value, err)) == 0)
		*out = value;
	return code;
}

struct json_object *json_member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

const char *json_type_name(struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_object:
		return "object";
	case json_type_array:
		return "array";
	case json_type_string:
		return "string";
	case json_type_int:
	case json_type_double:
		return "number";
	case json_type_boolean:
		return "boolean";
	case json_type_null:
	default:
		return "null";
	}
}

/* The member of that type; wanted is its name for people. */
static int get_typed(struct json_object *object, const char *key, enum json_type type,
		     const char *wanted, struct json_object **value, struct error *err)
{
	struct json_object *member = json_member(object, key);

	if (!member)
		return error_set(err, ERR_NOT_FOUND, "%s: missing", key);
	if (!json_object_is_type(member, type)) {
		/* 1.5 where a whole number is wanted: "is number" would not help. */
		const char *is = json_object_is_type(member, json_type_double)
				     ? "number with a fraction or exponent"
				     : json_type_name(member);

		return error_set(err, ERR_INVALID, "%s: must be %s, is %s", key, wanted, is);
	}
	*value = member;
	return 0;
}

int json_get_string(struct json_object *object, const char *key, const char **bytes, size_t *size,
		    struct error *err)
{
	struct json_object *value;
	int code = get_typed(object, key, json_type_string, "string", &value, err);

	if (code < 0)
		return code;
	*bytes = json_object_get_string(value);
	*size = (size_t)json_object_get_string_len(value);
	return 0;
}

int json_get_text(struct json_object *object, const char *key, const char **text, struct error *err)
{
	const char *bytes;
	size_t size;
	int code = json_get_string(object, key, &bytes, &size, err);

	if (code < 0)
		return code;
	if (strlen(bytes) != size)
		return error_set(err, ERR_INVALID, "%s: must not hold the character U+0000", key);
	*text = bytes;
	return 0;
}

int json_get_int64(struct json_object *object, const char *key, int64_t min, int64_t max,
		   int64_t *value, struct error *err)
{
	struct json_object *member;
	int64_t number;
	int code = get_typed(object, key, json_type_int, "whole number", &member, err);

	if (code < 0)
		return code;
	number = json_object_get_int64(member);
	/* json-c gives INT64_MAX for what lies beyond. */
	if (number < min || number > max || json_object_get_uint64(member) > INT64_MAX)
		return error_set(err, ERR_INVALID,
				 "%s: must be from %" PRId64 " to %" PRId64 ", is %s", key, min,
				 max, json_object_get_string(member));
	*value = number;
	return 0;
}

int json_get_bool(struct json_object *object, const char *key, bool *value, struct error *err)
{
	struct json_object *member;
	int code = get_typed(object, key, json_type_boolean, "true or false", &member, err);

	if (code < 0)
		return code;
	*value = json_object_get_boolean(member) != 0;
	return 0;
}

static struct json_object *must(struct json_object *value)
{
	if (!value)
		abort(); /* out of memory, as in mem.h */
	return value;
}

struct json_object *json_new_object(void)
{
	return must(json_object_new_object());
}

struct json_object *json_new_array(void)
{
	return must(json_object_new_array());
}

struct json_object *json_new_string(const char *bytes, size_t size)
{
	assert(size < INT_MAX);
	return must(json_object_new_string_len(size ? bytes : "", (int)size));
}

void json_set(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value) < 0)
		abort();
}

void json_set_text(struct json_object *object, const char *key, const char *text)
{
	json_set(object, key, json_new_string(text, strlen(text)));
}

void json_set_int64(struct json_object *object, const char *key, int64_t value)
{
	json_set(object, key, must(json_object_new_int64(value)));
}

void json_set_bool(struct json_object *object, const char *key, bool value)
{
	json_set(object, key, must(json_object_new_boolean(value)));
}

void json_append(struct json_object *array, struct json_object *value)
{
	if (json_object_array_add(array, value) < 0)
		abort();
}

struct raw {
	size_t size;
	char text[];
};

static int write_raw(struct json_object *value, struct printbuf *out, int level, int flags)
{
	const struct raw *raw = json_object_get_userdata(value);

	(void)level;
	(void)flags;
	return printbuf_memappend(out, raw->text, (int)raw->size);
}

static void free_raw(struct json_object *value, void *raw)
{
	(void)value;
	free(raw);
}

struct json_object *json_new_raw(const char *text, size_t size)
{
	struct json_object *value = json_new_object();
	struct raw *raw;

	assert(size < INT_MAX);
	raw = malloc(sizeof *raw + size);
	if (!raw)
		abort();
	raw->size = size;
	if (size)
		memcpy(raw->text, text, size);
	json_object_set_serializer(value, write_raw, raw, free_raw);
	return value;
}

enum { ESCAPED_MAX = 6 }; /* \u00XX */

/* How much longer an escaped byte is: by a backslash (1), or as \u00XX (5). */
static const unsigned char longer_by[256] = {
    5, 5, 5, 5, 5, 5, 5, 5, 1, 1, 1, 5, 1, 1, 5, 5,         5,
    5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, ['"'] = 1, ['\\'] = 1,
};

/* Writes it at out, where there is room; where it ends. */
static inline char *put_escaped(char *out, unsigned char c)
{
	static const char names[256] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
					['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
	static const char digits[] = "0123456789abcdef";
	*out++ = '\\';
	if (names[c] != '\0') {
		*out++ = names[c];
		return out;
	}
	*out++ = 'u';
	*out++ = '0';
	*out++ = '0';
	*out++ = digits[c >> 4];
	*out++ = digits[c & 15];
	return out;
}

/* What is to be escaped is below 0x80. */
static inline uint64_t find_escaped(uint64_t word)
{
	uint64_t quotes = word ^ (JSON_SWAR_ONES * '"');
	uint64_t slashes = word ^ (JSON_SWAR_ONES * '\\');

	return ((quotes - JSON_SWAR_ONES) | (slashes - JSON_SWAR_ONES) |
		(word - JSON_SWAR_ONES * 0x20)) &
	       ~word & JSON_SWAR_TOPS;
}

/* From *from to stop, as long as there is room for whatever comes next; where it ends in out. Eight
 * bytes are copied at a time, and those from one that is to be escaped on are written over. */
static char *escape(char *out, size_t room, const char **from, const char *stop)
{
	const char *bytes = *from;
	char *at = out;

	while (stop - bytes >= 8 && room - (size_t)(at - out) > 8 + ESCAPED_MAX) {
		uint64_t word = json_swar_load(bytes);
		uint64_t marks = find_escaped(word);
		size_t plain = marks != 0 ? json_swar_first(marks) : 8;

		memcpy(at, bytes, sizeof word);
		at += plain;
		bytes += plain;
		if (marks != 0)
			at = put_escaped(at, (unsigned char)*bytes++);
	}
	while (bytes < stop && room - (size_t)(at - out) > ESCAPED_MAX) {
		unsigned char c = (unsigned char)*bytes++;

		if (longer_by[c] == 0)
			*at++ = (char)c;
		else
			at = put_escaped(at, c);
	}
	*from = bytes;
	return at;
}

static size_t escaped_size(const char *bytes, const char *stop)
{
	size_t total = (size_t)(stop - bytes);

	for (; bytes < stop; bytes++)
		total += longer_by[(unsigned char)*bytes];
	return total;
}

static void escape_into(struct buf *out, size_t room, const char **from, const char *stop)
{
	char *at = escape(out->data + out->size, room, from, stop);

	*at = '\0';
	out->size = (size_t)(at - out->data);
}

/* Mostly there is room, and then nothing need be counted. */
int json_write_escaped(struct buf *out, const char *bytes, size_t size)
{
	const char *stop = bytes + size;
	size_t before = out->size;
	size_t ceiling = out->capacity < out->max ? out->capacity : out->max;

	if (out->failed == 0 && out->data && ceiling > out->size)
		escape_into(out, ceiling - out->size, &bytes, stop);
	if (bytes == stop)
		return buf_reserve(out, 0);
	if (buf_reserve(out, escaped_size(bytes, stop)) == 0)
		escape_into(out, SIZE_MAX, &bytes, stop);
	else if (out->size > before)
		buf_truncate(out, before);
	return out->failed;
}

bool json_is_plain(const char *text, size_t size)
{
	size_t i = 0;

	for (; size - i >= 8; i += 8) {
		uint64_t word = json_swar_load(text + i);
		if (((word & JSON_SWAR_TOPS) | find_escaped(word) | json_swar_find(word, 0x7F)) !=
		    0)
			return false;
	}
	for (; i < size; i++) {
		if (longer_by[(unsigned char)text[i]] != 0 || (unsigned char)text[i] >= 0x7F)
			return false;
	}
	return true;
}

static int write_string(struct buf *out, struct json_object *string)
{
	buf_append_char(out, '"');
	json_write_escaped(out, json_object_get_string(string),
			   (size_t)json_object_get_string_len(string));
	return buf_append_char(out, '"');
}

int json_write(struct buf *out, struct json_object *value)
{
	size_t size = 0;
	if (json_object_is_type(value, json_type_string)) /* json-c makes a buffer for each */
		return write_string(out, value);
	const char *text = json_object_to_json_string_length(
	    value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);

	if (!text)
		return out->failed ? out->failed : (out->failed = ERR_MEMORY);
	return buf_append(out, text, size);
}

/* The character at bytes, which are UTF-8, and its length. */
static uint32_t decode(const unsigned char *bytes, size_t *length)
{
	size_t more = bytes[0] >= 0xF0 ? 3 : bytes[0] >= 0xE0 ? 2 : bytes[0] >= 0xC0 ? 1 : 0;
	uint32_t code = more == 0 ? bytes[0] : bytes[0] & (0x3Fu >> more);

	for (size_t i = 1; i <= more; i++)
		code = code << 6 | (bytes[i] & 0x3F);
	*length = more + 1;
	return code;
}

void json_escape_beyond_ascii(struct buf *text)
{
	struct buf out = BUF_INIT(text->max);
	size_t length;

	for (size_t i = 0; i < text->size; i += length) {
		uint32_t code = decode((const unsigned char *)text->data + i, &length);

		if (code < 0x80)
			buf_append_char(&out, (char)code);
		else if (code < 0x10000)
			buf_printf(&out, "\\u%04x", (unsigned)code);
		else
			buf_printf(&out, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
				   (unsigned)(0xDC00 + (code & 0x3FF)));
	}
	buf_release(text);
	*text = out;
}
