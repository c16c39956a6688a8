/* The inside of strings: most of the bytes that are scanned. */
#include "base/json.h"
#include "base/json_scan.h"
#include "base/json_swar.h"

#include <stdbool.h>
#include <string.h>

/* Letters that make an escape with the backslash in front of them. */
static const bool escapes[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
				  ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};

/* Moves over plain ASCII and short escapes inside of a string, up to anything else or where this step
 * may end; eight bytes a time: a byte with the top bit, below 0x20, '"' or '\\' leaves its top bit in
 * `special`. A subtraction may borrow from the byte above and mark that one without reason, but only
 * when the byte below is marked itself; so the lowest mark is always right. */
static void skip_ascii(struct json_scan *scan)
{
	const uint64_t ones = JSON_SWAR_ONES;
	const char *at = scan->at, *end = scan->end;
	const char *pause = scan->pause ? scan->pause : end;

	while (end - at >= 8) {
		uint64_t word = json_swar_load(at);
		uint64_t quotes = word ^ (ones * '"'), slashes = word ^ (ones * '\\');
		uint64_t special =
		    (word | (word - ones * 0x20) | (quotes - ones) | (slashes - ones)) &
		    JSON_SWAR_TOPS;

		if (!special) {
			at += 8;
			continue;
		}
		at += json_swar_first(special);
		if (*at != '\\' || end - at < 2 || !escapes[(unsigned char)at[1]] || at >= pause)
			break;
		scan->has_escapes = true;
		at += 2;
	}
	while (end - at < 8 && at < end) {
		unsigned char c = (unsigned char)*at;

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
		at++;
	}
	scan->at = at;
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
			return json_scan_fail(scan, "not UTF-8");
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
		return json_scan_fail(scan, "\\u needs four hexadecimal digits");
	if (unit >= 0xDC00 && unit <= 0xDFFF)
		return json_scan_fail(scan, "half of a surrogate pair");
	if (unit >= 0xD800 && unit <= 0xDBFF) {
		const char *next = scan->at + 6;

		second = scan->end - next >= 6 && next[0] == '\\' && next[1] == 'u'
			     ? read_hex4(next + 2, scan->end)
			     : -1;
		if (second < 0xDC00 || second > 0xDFFF)
			return json_scan_fail(scan, "half of a surrogate pair");
		scan->at = next;
	}
	scan->at += 6;
	return 0;
}

static int scan_escape(struct json_scan *scan)
{
	char c = scan->end - scan->at >= 2 ? scan->at[1] : '\0';

	if (c == 'u')
		return scan_unicode_escape(scan);
	if (!escapes[(unsigned char)c])
		return json_scan_fail(scan, "no such escape in JSON");
	scan->at += 2;
	return 0;
}

int json_scan_string(struct json_scan *scan)
{
	for (;;) {
		int code = 0;
		unsigned char c;

		if (scan->pause && scan->at >= scan->pause)
			return JSON_MORE;
		skip_ascii(scan);
		if (scan->at == scan->end)
			return json_scan_fail(scan, "the text ends inside a string");
		c = (unsigned char)*scan->at;
		if (c == '"')
			break;
		if (c == '\\') {
			scan->has_escapes = true;
			code = scan_escape(scan);
		} else if (c < 0x20) {
			code = json_scan_fail(scan, "a control character inside a string");
		} else {
			code = scan_characters(scan);
		}
		if (code < 0)
			return code;
	}
	scan->at++;
	return 0;
}
