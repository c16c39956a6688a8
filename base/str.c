#include "base/str.h"

#include <stdint.h>
#include <string.h>
#include <unistr.h>

/* How many bytes it begins with that are ASCII, as most texts are to their end, in eights. */
static size_t ascii_beginning(const char *bytes, size_t size)
{
	size_t at = 0;

	for (uint64_t eight; size - at >= sizeof eight; at += sizeof eight) {
		memcpy(&eight, bytes + at, sizeof eight);
		if (eight & UINT64_C(0x8080808080808080))
			break;
	}
	return at;
}

bool str_is_utf8(const char *bytes, size_t size)
{
	size_t ascii = ascii_beginning(bytes, size);

	return u8_check((const uint8_t *)bytes + ascii, size - ascii) == NULL;
}

/* How many bytes the character has that begins with this byte; 1 for what begins none. */
static size_t character_size(char first)
{
	unsigned char byte = (unsigned char)first;
	return byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
}

/* The last 0 to 3 bytes that begin a character and do not end it. */
static size_t cut_off(const char *bytes, size_t size)
{
	for (size_t back = 1; back <= 3 && back <= size; back++) {
		char byte = bytes[size - back];
		if (((unsigned char)byte & 0xC0) != 0x80)
			return character_size(byte) > back ? back : 0;
	}
	return 0;
}

void str_utf8_add(struct str_utf8 *check, const char *bytes, size_t size)
{
	while (check->pending_count > 0 && size > 0 && !check->is_broken) {
		check->pending[check->pending_count++] = *bytes++;
		size--;
		if (check->pending_count < character_size(check->pending[0]))
			continue;
		check->is_broken = !str_is_utf8(check->pending, check->pending_count);
		check->pending_count = 0;
	}
	if (check->is_broken || size == 0)
		return;
	size_t rest = cut_off(bytes, size);
	check->is_broken = !str_is_utf8(bytes, size - rest);
	memcpy(check->pending, bytes + size - rest, rest);
	check->pending_count = rest;
}

bool str_utf8_is_whole(const struct str_utf8 *check)
{
	return !check->is_broken && check->pending_count == 0;
}

size_t str_cut(const char *bytes, size_t size, size_t max)
{
	size_t cut = max;

	if (size <= max)
		return size;
	/* A character has at most three continuation bytes; more of them are no UTF-8. */
	while (cut > 0 && max - cut < 4 && ((unsigned char)bytes[cut] & 0xC0) == 0x80)
		cut--;
	return ((unsigned char)bytes[cut] & 0xC0) == 0x80 ? max : cut;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_is_token(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char c = bytes[i];

		if (!is_letter(c) && !is_digit(c) && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return size > 0;
}

bool str_is_header_value(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\r' || bytes[i] == '\n' || bytes[i] == '\0')
			return false;
	}
	return true;
}

void str_lower(char *text)
{
	for (; *text; text++)
		*text = lower(*text);
}

bool str_equal_nocase(const char *a, const char *b)
{
	while (*a && lower(*a) == lower(*b)) {
		a++;
		b++;
	}
	return lower(*a) == lower(*b);
}

bool str_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_to_int64(const char *text, int64_t *out)
{
	bool negative = *text == '-';
	int64_t value = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (!*text)
		return false;
	/* Counted downwards, because INT64_MIN has no positive twin. */
	for (; *text; text++) {
		if (!is_digit(*text) || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, *text - '0', &value))
			return false;
	}
	if (!negative && value == INT64_MIN)
		return false;
	*out = negative ? value : -value;
	return true;
}

/* Controls, line and paragraph separators, and what turns the direction of writing:
 * a line that holds one of these does not look like what it is. */
static bool is_unprintable(ucs4_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
	       (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
	       (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
}

static void append_escape(struct buf *out, ucs4_t c)
{
	if (c == '\n')
		buf_append_str(out, "\\n");
	else if (c == '\r')
		buf_append_str(out, "\\r");
	else if (c == '\t')
		buf_append_str(out, "\\t");
	else if (c < 0x80)
		buf_printf(out, "\\x%02X", (unsigned)c);
	else
		buf_printf(out, "\\u%04X", (unsigned)c);
}

void str_append_printable(struct buf *out, const char *bytes, size_t size, size_t max_bytes)
{
	size_t shown = str_cut(bytes, size, max_bytes);
	size_t start = 0, i = 0;

	while (i < shown) {
		ucs4_t c = (unsigned char)bytes[i];
		int length = 1;

		if (c >= 0x80)
			length = u8_mbtoucr(&c, (const uint8_t *)bytes + i, shown - i);
		if (length > 0 && !is_unprintable(c)) {
			i += (size_t)length;
			continue;
		}
		buf_append(out, bytes + start, i - start);
		if (length > 0)
			append_escape(out, c);
		else
			buf_printf(out, "\\x%02X", (unsigned)(unsigned char)bytes[i]);
		i += length > 0 ? (size_t)length : 1;
		start = i;
	}
	buf_append(out, bytes + start, shown - start);
	if (shown < size)
		buf_append_str(out, "…");
}

enum { WORD_MAX = 64 };

/* Levenshtein's distance with two neighbours in the wrong order counted as one slip
 * ("tiemout"), upper and lower case alike. Three rows: this one and the two above. */
static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3],
		       *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			bool same = lower(a[i - 1]) == lower(b[j - 1]);
			size_t best = above[j - 1] + (same ? 0 : 1);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]) && two_above[j - 2] + 1 < best)
				best = two_above[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a_size % 3][b_size];
}

const char *str_nearest(const char *word, const char *const *candidates)
{
	size_t size = strlen(word);
	size_t best = size / 3 + 2; /* one more than what still counts as near */
	const char *nearest = NULL;

	if (size == 0 || size > WORD_MAX)
		return NULL;
	for (; *candidates; candidates++) {
		size_t candidate_size = strlen(*candidates);
		size_t distance;

		if (candidate_size > WORD_MAX)
			continue;
		distance = edit_distance(word, size, *candidates, candidate_size);
		/* A distance as long as the word has nothing of it left. */
		if (distance < best && distance < size && distance < candidate_size) {
			best = distance;
			nearest = *candidates;
		}
	}
	return nearest;
}
