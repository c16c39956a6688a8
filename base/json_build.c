#include "base/json_build.h"

#include "base/json_keys.h"
#include "base/json_swar.h"
#include "base/secret.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void json_build_init(struct json_build *build)
{
	*build =
	    (struct json_build){.key = BUF_INIT(SIZE_MAX / 2), .scratch = BUF_INIT(SIZE_MAX / 2)};
}

void json_build_release(struct json_build *build)
{
	buf_wipe(&build->key);
	/* Not all that it has room for: that may be twice as much, and never touched. */
	if (build->scratch.data != NULL)
		secret_wipe(build->scratch.data, build->scratch_used);
	buf_release(&build->scratch);
}

/* What json-c 0.16 allocates for a value and its place, about. */
enum {
	OBJECT_BYTES = 780, /* room for 16 members from the beginning */
	ARRAY_BYTES = 370,
	SCALAR_BYTES = 64,
	MEMBER_BYTES = 40,
};

static bool has_weight_left(struct json_build *build, struct json_object *value)
{
	size_t more = SCALAR_BYTES;
	if (json_object_is_type(value, json_type_object))
		more = OBJECT_BYTES;
	else if (json_object_is_type(value, json_type_array))
		more = ARRAY_BYTES;
	else if (json_object_is_type(value, json_type_string))
		more += (size_t)json_object_get_string_len(value);
	build->weight += more + MEMBER_BYTES;
	return build->max_weight == 0 || build->weight <= build->max_weight;
}

static int add_member(const struct json_build *build, struct json_object *parent,
		      struct json_object *value)
{
	const char *key = json_key_find(buf_str(&build->key), build->key.size);
	if (key != NULL)
		return json_object_object_add_ex(parent, key, value, JSON_C_OBJECT_KEY_IS_CONSTANT);
	return json_object_object_add(parent, buf_str(&build->key), value);
}

/* The value has its place in the tree, or is gone with a failure. */
static void place(struct json_build *build, struct json_object *value)
{
	int rc = 0;
	if (build->failed == 0 && !has_weight_left(build, value))
		build->failed = ERR_LIMIT;
	if (build->failed != 0) {
		json_object_put(value);
		return;
	}
	if (build->depth == 0) {
		build->root = value;
		return;
	}
	struct json_object *parent = build->levels[build->depth - 1];
	if (json_object_is_type(parent, json_type_object))
		rc = add_member(build, parent, value);
	else
		rc = json_object_array_add(parent, value);
	if (rc != 0) {
		json_object_put(value);
		build->failed = ERR_MEMORY;
	}
}

static void place_new(struct json_build *build, struct json_object *value)
{
	if (value == NULL)
		build->failed = ERR_MEMORY;
	else
		place(build, value);
}

void json_build_open(struct json_build *build, bool is_object)
{
	struct json_object *container =
	    is_object ? json_object_new_object() : json_object_new_array();
	place_new(build, container);
	/* After a failure nothing is placed any more, so nothing looks into it. */
	build->levels[build->depth++] = container;
}

void json_build_close(struct json_build *build)
{
	build->depth--;
}

void json_build_drop(struct json_build *build, int depth)
{
	struct json_object *array = build->levels[depth - 1];
	/* A container has its place from its beginning, anything else only at its end. */
	if (build->depth > depth && build->failed == 0)
		json_object_array_del_idx(array, json_object_array_length(array) - 1, 1);
	build->depth = depth;
	build->has_part = false;
}

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static uint32_t read_unit(const char *digits)
{
	return hex_value(digits[0]) << 12 | hex_value(digits[1]) << 8 | hex_value(digits[2]) << 4 |
	       hex_value(digits[3]);
}

static char *put_utf8(char *out, uint32_t point)
{
	if (point < 0x80) {
		*out++ = (char)point;
		return out;
	}
	if (point < 0x800) {
		*out++ = (char)(0xC0 | point >> 6);
	} else if (point < 0x10000) {
		*out++ = (char)(0xE0 | point >> 12);
		*out++ = (char)(0x80 | (point >> 6 & 0x3F));
	} else {
		*out++ = (char)(0xF0 | point >> 18);
		*out++ = (char)(0x80 | (point >> 12 & 0x3F));
		*out++ = (char)(0x80 | (point >> 6 & 0x3F));
	}
	*out++ = (char)(0x80 | (point & 0x3F));
	return out;
}

/* What \uXXXX at *at, or two of them, stand for; *at is behind it then. */
static char *put_unicode(char *out, const char **at)
{
	const char *escape = *at;
	uint32_t unit = read_unit(escape + 2);
	*at += 6;
	if (unit >= 0xD800 && unit <= 0xDFFF) {
		unit = 0x10000 + ((unit - 0xD800) << 10) + (read_unit(escape + 8) - 0xDC00);
		*at += 6;
	}
	return put_utf8(out, unit);
}

/* The same of any escape. */
static inline char *put_unescaped(char *out, const char **at)
{
	static const char values[UCHAR_MAX + 1] = {
	    ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
	    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
	};
	char letter = (*at)[1];
	if (letter == 'u')
		return put_unicode(out, at);
	*at += 2;
	*out++ = values[(unsigned char)letter];
	return out;
}

/* Appends. The scanner has seen that all escapes are whole. None stands for more bytes than it
 * has, so out has as much room as is left of the text: eight bytes are copied at a time (json_swar.h),
 * and those from an escape on are written over. */
static void unescape(struct buf *out, const char *text, size_t size)
{
	const char *end = text + size;
	if (buf_reserve(out, size) < 0)
		return;
	char *at = out->data + out->size;
	while (end - text >= 8) {
		uint64_t word = json_swar_load(text);
		uint64_t escapes = json_swar_find(word, '\\');
		size_t plain = escapes != 0 ? json_swar_first(escapes) : 8;
		memcpy(at, text, sizeof word);
		at += plain;
		text += plain;
		if (escapes != 0)
			at = put_unescaped(at, &text);
	}
	while (text < end) {
		if (*text == '\\')
			at = put_unescaped(at, &text);
		else
			*at++ = *text++;
	}
	*at = '\0';
	out->size = (size_t)(at - out->data);
}

/* Copies, or unescapes, into out. */
static void read_text(struct json_build *build, struct buf *out, const char *text, size_t size,
		      bool has_escapes)
{
	buf_reset(out);
	if (has_escapes)
		unescape(out, text, size);
	else
		buf_append(out, text, size);
	if (out->failed != 0)
		build->failed = ERR_MEMORY;
}

void json_build_key(struct json_build *build, const char *text, size_t size, bool has_escapes)
{
	read_text(build, &build->key, text, size, has_escapes);
}

static void note_use(struct json_build *build)
{
	if (build->scratch_used < build->scratch.size)
		build->scratch_used = build->scratch.size;
}

void json_build_part(struct json_build *build, const char *text, size_t size)
{
	if (!build->has_part)
		buf_reset(&build->scratch);
	build->has_part = true;
	unescape(&build->scratch, text, size);
	note_use(build);
	if (build->scratch.failed != 0)
		build->failed = ERR_MEMORY;
}

void json_build_string(struct json_build *build, const char *text, size_t size, bool has_escapes)
{
	if (has_escapes) {
		json_build_part(build, text, size);
		build->has_part = false;
		text = buf_str(&build->scratch);
		size = build->scratch.size;
	}
	if (build->failed == 0)
		place_new(build, json_object_new_string_len(text, (int)size));
}

static struct json_object *new_integer(const char *text)
{
	if (text[0] == '-')
		return json_object_new_int64(strtoll(text, NULL, 10));
	uint64_t value = strtoull(text, NULL, 10);
	return value <= INT64_MAX ? json_object_new_int64((int64_t)value)
				  : json_object_new_uint64(value);
}

void json_build_number(struct json_build *build, const char *text, size_t size, bool is_integer)
{
	read_text(build, &build->scratch, text, size, false);
	note_use(build);
	if (build->failed != 0)
		return;
	text = buf_str(&build->scratch);
	place_new(build, is_integer ? new_integer(text)
				    : json_object_new_double_s(strtod(text, NULL), text));
}

void json_build_bool(struct json_build *build, bool value)
{
	place_new(build, json_object_new_boolean(value));
}

void json_build_null(struct json_build *build)
{
	place(build, NULL);
}
