#include "base/url_escape.h"

#include <string.h>

size_t url_scheme_length(const char *text)
{
	size_t i = 0;

	while ((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
	       (i > 0 && text[i] != '\0' && strchr("0123456789+-.", text[i])))
		i++;
	return text[i] == ':' ? i : 0;
}

bool url_is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~", c));
}

void url_append_percent(struct buf *out, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";
	char escape[] = {'%', digits[c >> 4], digits[c & 15]};

	buf_append(out, escape, sizeof escape);
}

void url_append_mended(struct buf *out, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c <= ' ' || c >= 0x7F || strchr("\"<>\\^`{|}", c))
			url_append_percent(out, c);
		else
			buf_append_char(out, text[i]);
	}
}

/* The byte that "%xx" at text stands for; -1 when there is none. */
static int percent_value(const char *text, size_t size)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *high, *low;

	if (size < 3 || text[0] != '%' || !text[1] || !text[2])
		return -1;
	high = strchr(digits, text[1]);
	low = strchr(digits, text[2]);
	return high && low ? (int)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

/* The same for a path, with characters that need no encoding decoded (RFC 3986,
 * 6.2.2.2): "%2e%2e" is a step up and "/%61pi" is "/api" for most servers, so it has to
 * be for our rules too. */
static void append_path(struct buf *out, const char *text, size_t size)
{
	for (size_t i = 0; i < size;) {
		int value = percent_value(text + i, size - i);

		if (value >= 0 && url_is_unreserved((unsigned char)value)) {
			buf_append_char(out, (char)value);
			i += 3;
		} else if (value < 0 && text[i] == '%') {
			url_append_percent(out,
					   '%'); /* or it would make an escape of what follows */
			i++;
		} else {
			url_append_mended(out, text + i, 1);
			i++;
		}
	}
}

void url_append_prepared(struct buf *out, const char *text)
{
	size_t size = strcspn(text, "#");
	size_t origin = url_scheme_length(text) + strlen("://");
	size_t path, query;

	origin += strcspn(text + origin, "/?#");
	path = strcspn(text + origin, "?#");
	query = size - origin - path;
	url_append_mended(out, text, origin);
	append_path(out, text + origin, path);
	url_append_mended(out, text + origin + path, query);
}
