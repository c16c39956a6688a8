#include "agent/answer_headers.h"

#include "base/json.h"
#include "base/str.h"

#include <string.h>

/* Header texts are bytes; those that are no UTF-8 are Latin-1, as browsers read them. */
static void write_text(struct buf *out, const char *text, size_t size)
{
	if (str_is_utf8(text, size)) {
		json_write_escaped(out, text, size);
		return;
	}
	struct buf utf8 = BUF_INIT(2 * size);
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)text[i];
		if (byte < 0x80) {
			buf_append_char(&utf8, (char)byte);
		} else {
			buf_append_char(&utf8, (char)(0xC0 | byte >> 6));
			buf_append_char(&utf8, (char)(0x80 | (byte & 0x3F)));
		}
	}
	json_write_escaped(out, buf_str(&utf8), utf8.size);
	buf_release(&utf8);
}

/* libcurl leaves the line's end on a header without a value. */
static size_t trimmed_size(const char *value)
{
	size_t size = strlen(value);
	while (size > 0 && strchr(" \t\r\n", value[size - 1]) != NULL)
		size--;
	return size;
}

static void write_value(struct buf *out, const char *value)
{
	write_text(out, value, trimmed_size(value));
}

/* An escape has no letter that this would change. */
static void write_name(struct buf *out, const char *name)
{
	size_t begin = out->size;
	write_text(out, name, strlen(name));
	if (out->failed == 0 && out->size > begin)
		str_lower(out->data + begin);
}

static void write_values(struct buf *out, const struct http_response *response,
			 const struct http_field *field, const char *between)
{
	write_value(out, field->value);
	for (size_t i = 1; i < field->count; i++) {
		buf_append_str(out, between);
		write_value(out, http_field_value(response, field->name, i));
	}
}

static void write_field(struct buf *out, const struct http_response *response,
			const struct http_field *field)
{
	bool is_array = str_equal_nocase(field->name, "set-cookie");
	buf_append_str(out, "{\"");
	write_name(out, field->name);
	buf_append_str(out, is_array ? "\":[\"" : "\":\"");
	write_values(out, response, field, is_array ? "\",\"" : ", ");
	buf_append_str(out, is_array ? "\"]}" : "\"}");
}

static bool is_untrue(const struct http_response *response, const char *name)
{
	return response->is_decoded && (str_equal_nocase(name, "content-encoding") ||
					str_equal_nocase(name, "content-length"));
}

void answer_write_headers(struct buf *out, const struct http_response *response)
{
	struct http_field field;
	void *position = NULL;
	bool is_first = true;
	buf_append_char(out, '[');
	while (http_next_field(response, &position, &field)) {
		if (is_untrue(response, field.name))
			continue;
		if (!is_first)
			buf_append_char(out, ',');
		is_first = false;
		write_field(out, response, &field);
	}
	buf_append_char(out, ']');
}
