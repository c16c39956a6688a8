#include "base/json.h"

#include <string.h>

/* The text is known to be JSON: what stands where need not be checked again. */
struct cursor {
	const char *at;
	const char *end;
};

static void skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) != NULL)
		cursor->at++;
}

/* Behind the closing quote of the string that begins here. */
static void skip_string(struct cursor *cursor)
{
	const char *from = cursor->at + 1;
	const char *quote;
	for (;;) {
		quote = memchr(from, '"', (size_t)(cursor->end - from));
		if (quote == NULL) {
			cursor->at = cursor->end;
			return;
		}
		size_t backslashes = 0;
		while (quote - backslashes > from && quote[-1 - (ptrdiff_t)backslashes] == '\\')
			backslashes++;
		from = quote + 1;
		if (backslashes % 2 == 0)
			break;
	}
	cursor->at = from;
}

static void skip_value(struct cursor *cursor)
{
	size_t depth = 0;
	do {
		char c = cursor->at < cursor->end ? *cursor->at : '\0';
		if (c == '"') {
			skip_string(cursor);
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		cursor->at++;
		/* A number or a word ends before what cannot be part of it. */
		while (depth == 0 && c != '}' && c != ']' && cursor->at < cursor->end &&
		       strchr(",}] \t\r\n", *cursor->at) == NULL)
			cursor->at++;
	} while (depth > 0 && cursor->at < cursor->end);
}

static size_t read_elements(struct cursor *cursor, struct json_span *spans, size_t max)
{
	size_t count = 0;
	cursor->at++;
	for (;;) {
		skip_space(cursor);
		if (cursor->at >= cursor->end || *cursor->at == ']')
			return count;
		const char *begin = cursor->at;
		skip_value(cursor);
		if (count < max)
			spans[count] = (struct json_span){begin, (size_t)(cursor->at - begin)};
		count++;
		skip_space(cursor);
		if (cursor->at < cursor->end && *cursor->at == ',')
			cursor->at++;
	}
}

size_t json_element_spans(const char *text, size_t size, const char *key, struct json_span *spans,
			  size_t max)
{
	struct cursor cursor = {text, text + size};
	size_t count = 0;
	skip_space(&cursor);
	if (cursor.at >= cursor.end || *cursor.at != '{')
		return 0;
	for (cursor.at++;;) {
		skip_space(&cursor);
		if (cursor.at >= cursor.end || *cursor.at != '"')
			return count;
		const char *name = cursor.at + 1;
		skip_string(&cursor);
		size_t name_size = (size_t)(cursor.at - 1 - name);
		skip_space(&cursor);
		cursor.at++; /* the colon */
		skip_space(&cursor);
		bool is_wanted = name_size == strlen(key) && memcmp(name, key, name_size) == 0;
		struct cursor value = cursor;
		skip_value(&cursor);
		if (is_wanted) /* of a repeated key the last one counts */
			count = *value.at == '[' ? read_elements(&value, spans, max) : 0;
		skip_space(&cursor);
		if (cursor.at < cursor.end && *cursor.at == ',')
			cursor.at++;
	}
}
