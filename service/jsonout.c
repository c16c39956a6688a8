#include "service/jsonout.h"

#include "base/clock.h"
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

/* Failures stay in out, as its header says: nothing here looks at results. */
static void out_key(struct buf *out, const char *key)
{
	char last = out->size > 0 ? out->data[out->size - 1] : '[';
	if (last != '{' && last != '[')
		(void)buf_append_char(out, ',');
	if (!key)
		return;
	(void)buf_append_char(out, '"');
	(void)buf_append_str(out, key); /* our own names need no escapes */
	(void)buf_append(out, "\":", 2);
}

void out_open(struct buf *out, const char *key, char bracket)
{
	out_key(out, key);
	(void)buf_append_char(out, bracket);
}

void out_close(struct buf *out, char bracket)
{
	(void)buf_append_char(out, bracket);
}

void out_text(struct buf *out, const char *key, const char *text)
{
	out_key(out, key);
	(void)buf_append_char(out, '"');
	(void)json_write_escaped(out, text, strlen(text));
	(void)buf_append_char(out, '"');
}

void out_null(struct buf *out, const char *key)
{
	out_key(out, key);
	(void)buf_append_str(out, "null");
}

void out_number(struct buf *out, const char *key, int64_t number)
{
	out_key(out, key);
	(void)buf_printf(out, "%" PRId64, number);
}

void out_bool(struct buf *out, const char *key, bool value)
{
	out_key(out, key);
	(void)buf_append_str(out, value ? "true" : "false");
}

void out_time(struct buf *out, const char *key, int64_t unix_ms)
{
	char text[CLOCK_TEXT_SIZE];
	clock_format(unix_ms, text);
	out_text(out, key, text);
}

void out_span(struct buf *out, const char *key, struct span value)
{
	if (!value.text) {
		out_null(out, key);
		return;
	}
	out_key(out, key);
	(void)buf_append(out, value.text, value.size);
}
