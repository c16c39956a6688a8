#include "service/span.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

struct span span_of(const char *text, size_t size)
{
	while (size > 0 && is_space(text[0])) {
		text++;
		size--;
	}
	while (size > 0 && is_space(text[size - 1]))
		size--;
	return (struct span){text, size};
}

bool span_is_object(struct span value)
{
	return value.text && value.text[0] == '{';
}

bool span_is_array(struct span value)
{
	return value.text && value.text[0] == '[';
}

bool span_is_string(struct span value)
{
	return value.text && value.text[0] == '"';
}

bool span_is_null(struct span value)
{
	return !value.text || value.text[0] == 'n';
}

const char *span_kind(struct span value)
{
	switch (value.text ? value.text[0] : 'n') {
	case '{':
		return "an object";
	case '[':
		return "an array";
	case '"':
		return "a string";
	case 't':
	case 'f':
		return "a boolean";
	case 'n':
		return "null";
	default:
		return "a number";
	}
}

/* Behind the string that begins at text: at the first quote with an even number of
 * backslashes before it. There is one, because the text is JSON. */
static const char *skip_string(const char *text)
{
	const char *begin = text + 1;
	const char *quote = begin;
	for (;; quote++) {
		quote = rawmemchr(quote, '"');
		const char *slash = quote;
		while (slash > begin && slash[-1] == '\\')
			slash--;
		if ((quote - slash) % 2 == 0)
			return quote + 1;
	}
}

static const char *skip_container(const char *text, const char *end, size_t *deepest)
{
	size_t depth = 0;
	while (text < end) {
		char byte = *text;
		if (byte == '"') {
			text = skip_string(text);
			continue;
		}
		text++;
		if (byte == '{' || byte == '[') {
			depth++;
			if (depth > *deepest)
				*deepest = depth;
		} else if ((byte == '}' || byte == ']') && --depth == 0) {
			break;
		}
	}
	return text;
}

static const char *skip_value(const char *text, const char *end, size_t *deepest)
{
	if (*text == '"')
		return skip_string(text);
	if (*text == '{' || *text == '[')
		return skip_container(text, end, deepest);
	while (text < end && !is_space(*text) && *text != ',' && *text != ']' && *text != '}')
		text++;
	return text;
}

size_t span_depth(struct span value)
{
	size_t deepest = 0;
	if (value.text)
		(void)skip_value(value.text, value.text + value.size, &deepest);
	return deepest;
}

struct span_cursor span_begin(struct span container)
{
	return (struct span_cursor){container.text + 1, container.text + container.size - 1};
}

/* White space and the one separator that may stand here. */
static void skip_to(struct span_cursor *cursor, char separator)
{
	while (cursor->at < cursor->end && (is_space(*cursor->at) || *cursor->at == separator))
		cursor->at++;
}

static struct span take_value(struct span_cursor *cursor)
{
	size_t deepest = 0;
	const char *begin = cursor->at;
	cursor->at = skip_value(begin, cursor->end, &deepest);
	return (struct span){begin, (size_t)(cursor->at - begin)};
}

bool span_next(struct span_cursor *cursor, struct span *key, struct span *value)
{
	skip_to(cursor, ',');
	if (cursor->at >= cursor->end)
		return false;
	if (key) {
		*key = take_value(cursor);
		skip_to(cursor, ':');
	}
	*value = take_value(cursor);
	return true;
}

static bool key_is(struct span key, const char *name)
{
	size_t length = strlen(name);
	if (!memchr(key.text, '\\', key.size))
		return key.size == length + 2 && memcmp(key.text + 1, name, length) == 0;
	char decoded[64];
	return span_text(key, decoded, sizeof decoded, NULL) == 0 && strcmp(decoded, name) == 0;
}

void span_members(struct span object, const char *const *names, struct span *values)
{
	struct span key, value;
	struct span_cursor cursor = span_begin(object);
	for (size_t i = 0; names[i]; i++)
		values[i] = (struct span){NULL, 0};
	while (span_next(&cursor, &key, &value)) {
		for (size_t i = 0; names[i]; i++) {
			if (key_is(key, names[i]))
				values[i] = value;
		}
	}
}

struct span span_member(struct span object, const char *name)
{
	const char *const names[] = {name, NULL};
	struct span found;
	span_members(object, names, &found);
	return found;
}

int span_decode(struct span string, struct buf *out, struct error *err)
{
	if (!span_is_string(string))
		return error_set(err, ERR_INVALID, "must be a string, not %s", span_kind(string));
	if (!memchr(string.text, '\\', string.size)) {
		(void)buf_append(out, string.text + 1, string.size - 2);
		return buf_check(out, "text", err);
	}
	struct json_object *value = NULL;
	int rc = json_parse(string.text, string.size, &value, err);
	if (rc < 0)
		return rc;
	(void)buf_append(out, json_object_get_string(value),
			 (size_t)json_object_get_string_len(value));
	json_object_put(value);
	return buf_check(out, "text", err);
}

int span_text(struct span value, char *text, size_t size, struct error *err)
{
	struct buf decoded = BUF_INIT(6 * size);
	struct error why = {0};
	int rc = 0;
	if (span_is_string(value) && value.size > 6 * size)
		rc = ERR_LIMIT;
	else
		rc = span_decode(value, &decoded, &why);
	if (rc == 0 && decoded.size >= size)
		rc = ERR_LIMIT;
	if (rc == 0 && memchr(buf_str(&decoded), '\0', decoded.size))
		rc = error_set(&why, ERR_INVALID, "must not hold a NUL character");
	if (rc == 0)
		memcpy(text, buf_str(&decoded), decoded.size + 1);
	buf_release(&decoded);
	if (rc == ERR_LIMIT)
		return error_set(err, ERR_INVALID, "is longer than %zu bytes", size - 1);
	return rc == 0 ? 0 : error_set(err, ERR_INVALID, "%s", why.message);
}

int span_int64(struct span value, int64_t min, int64_t max, int64_t *number, struct error *err)
{
	char digits[24];
	struct json_object *parsed = NULL;
	bool is_whole = value.text && value.size < sizeof digits &&
			(value.text[0] == '-' || (value.text[0] >= '0' && value.text[0] <= '9')) &&
			json_parse(value.text, value.size, &parsed, NULL) == 0 &&
			json_object_is_type(parsed, json_type_int);
	int64_t found = is_whole ? json_object_get_int64(parsed) : 0;
	json_object_put(parsed);
	if (!is_whole || found < min || found > max)
		return error_set(err, ERR_INVALID,
				 "must be a whole number from %" PRId64 " to %" PRId64, min, max);
	*number = found;
	return 0;
}
