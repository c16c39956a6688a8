#include "service/jsonstream.h"

#include <inttypes.h>
#include <string.h>

void jsonstream_init(struct jsonstream *stream, size_t max_depth)
{
	*stream = (struct jsonstream){.state = JSONSTREAM_VALUE, .max_depth = max_depth};
}

static int wrong(const struct jsonstream *stream, struct error *err, const char *what)
{
	return error_set(err, ERR_SYNTAX, "byte %" PRIu64 ": %s", stream->offset + 1, what);
}

static bool is_space(unsigned char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool is_digit(unsigned char byte)
{
	return byte >= '0' && byte <= '9';
}

static int open_container(struct jsonstream *stream, bool is_object, struct error *err)
{
	if (stream->depth >= stream->max_depth)
		return error_set(err, ERR_LIMIT, "byte %" PRIu64 ": nested deeper than %zu levels",
				 stream->offset + 1, stream->max_depth);
	stream->is_object[stream->depth++] = is_object;
	stream->state = is_object ? JSONSTREAM_FIRST_KEY : JSONSTREAM_FIRST_ITEM;
	return 0;
}

static void begin_string(struct jsonstream *stream, bool is_key)
{
	stream->is_key = is_key;
	stream->wants_low = false;
	stream->left = 0;
	stream->state = JSONSTREAM_STRING;
}

static int begin_literal(struct jsonstream *stream, const char *rest)
{
	stream->literal = rest;
	stream->state = JSONSTREAM_LITERAL;
	return 0;
}

static int begin_value(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	switch (byte) {
	case '{':
		return open_container(stream, true, err);
	case '[':
		return open_container(stream, false, err);
	case '"':
		begin_string(stream, false);
		return 0;
	case 't':
		return begin_literal(stream, "rue");
	case 'f':
		return begin_literal(stream, "alse");
	case 'n':
		return begin_literal(stream, "ull");
	case '-':
		stream->state = JSONSTREAM_MINUS;
		return 0;
	default:
		if (!is_digit(byte))
			return wrong(stream, err, "a value must stand here");
		stream->state = byte == '0' ? JSONSTREAM_ZERO : JSONSTREAM_INTEGER;
		return 0;
	}
}

static int after_value(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (stream->depth == 0)
		return wrong(stream, err, "something stands behind the value");
	bool in_object = stream->is_object[stream->depth - 1];
	if (byte == ',') {
		stream->state = in_object ? JSONSTREAM_KEY : JSONSTREAM_VALUE;
		return 0;
	}
	if (byte != (in_object ? '}' : ']'))
		return wrong(stream, err,
			     in_object ? "',' or '}' must stand here"
				       : "',' or ']' must stand here");
	stream->depth--;
	stream->state = JSONSTREAM_AFTER;
	return 0;
}

/* The first byte of a character of more than one byte, by RFC 3629. */
static int begin_utf8(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	stream->low = 0x80;
	stream->high = 0xBF;
	if (byte >= 0xC2 && byte <= 0xDF) {
		stream->left = 1;
	} else if (byte >= 0xE0 && byte <= 0xEF) {
		stream->left = 2;
		stream->low = byte == 0xE0 ? 0xA0 : 0x80;
		stream->high = byte == 0xED ? 0x9F : 0xBF;
	} else if (byte >= 0xF0 && byte <= 0xF4) {
		stream->left = 3;
		stream->low = byte == 0xF0 ? 0x90 : 0x80;
		stream->high = byte == 0xF4 ? 0x8F : 0xBF;
	} else {
		return wrong(stream, err, "not UTF-8");
	}
	return 0;
}

static int in_string(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (stream->left > 0) {
		if (byte < stream->low || byte > stream->high)
			return wrong(stream, err, "not UTF-8");
		stream->low = 0x80;
		stream->high = 0xBF;
		stream->left--;
		return 0;
	}
	if (stream->wants_low && byte != '\\')
		return wrong(stream, err, "half a surrogate pair");
	if (byte == '\\') {
		stream->state = JSONSTREAM_ESCAPE;
		return 0;
	}
	if (byte == '"') {
		stream->state = stream->is_key ? JSONSTREAM_COLON : JSONSTREAM_AFTER;
		return 0;
	}
	if (byte < 0x20)
		return wrong(stream, err, "a control character in a string");
	return byte < 0x80 ? 0 : begin_utf8(stream, byte, err);
}

static int in_escape(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (byte == 'u') {
		stream->state = JSONSTREAM_HEX;
		stream->left = 4;
		stream->hex = 0;
		return 0;
	}
	if (stream->wants_low)
		return wrong(stream, err, "half a surrogate pair");
	if (byte == '\0' || !strchr("\"\\/bfnrt", byte))
		return wrong(stream, err, "no such escape");
	stream->state = JSONSTREAM_STRING;
	return 0;
}

static int hex_value(unsigned char byte)
{
	if (is_digit(byte))
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static int in_hex(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	int digit = hex_value(byte);
	if (digit < 0)
		return wrong(stream, err, "a hexadecimal digit must stand here");
	stream->hex = stream->hex * 16 + (unsigned)digit;
	if (--stream->left > 0)
		return 0;
	bool is_low = stream->hex >= 0xDC00 && stream->hex <= 0xDFFF;
	if (is_low != stream->wants_low)
		return wrong(stream, err, "half a surrogate pair");
	stream->wants_low = stream->hex >= 0xD800 && stream->hex <= 0xDBFF;
	stream->state = JSONSTREAM_STRING;
	return 0;
}

static int in_literal(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (byte != (unsigned char)*stream->literal)
		return wrong(stream, err, "a value must stand here");
	if (*++stream->literal == '\0')
		stream->state = JSONSTREAM_AFTER;
	return 0;
}

static int in_container(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	bool is_first = stream->state == JSONSTREAM_FIRST_KEY;
	if (stream->state == JSONSTREAM_FIRST_ITEM) {
		stream->state = JSONSTREAM_AFTER;
		if (byte == ']')
			return after_value(stream, byte, err);
		return begin_value(stream, byte, err);
	}
	if (is_first && byte == '}') {
		stream->state = JSONSTREAM_AFTER;
		return after_value(stream, byte, err);
	}
	if (byte != '"')
		return wrong(stream, err,
			     is_first ? "a key or '}' must stand here" : "a key must stand here");
	begin_string(stream, true);
	return 0;
}

static int need_digit(struct jsonstream *stream, unsigned char byte, enum jsonstream_state next,
		      struct error *err)
{
	if (!is_digit(byte))
		return wrong(stream, err, "a digit must stand here");
	stream->state = next;
	return 0;
}

/* A number has no last byte of its own: what does not belong to it comes after it. */
static int in_number(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	enum jsonstream_state state = stream->state;
	bool may_point = state == JSONSTREAM_ZERO || state == JSONSTREAM_INTEGER;
	bool may_exponent = may_point || state == JSONSTREAM_FRACTION;
	if (is_digit(byte) && state != JSONSTREAM_ZERO)
		return 0;
	if (byte == '.' && may_point) {
		stream->state = JSONSTREAM_POINT;
		return 0;
	}
	if ((byte == 'e' || byte == 'E') && may_exponent) {
		stream->state = JSONSTREAM_EXPONENT;
		return 0;
	}
	stream->state = JSONSTREAM_AFTER;
	return is_space(byte) ? 0 : after_value(stream, byte, err);
}

static int in_exponent(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (byte == '+' || byte == '-') {
		stream->state = JSONSTREAM_SIGN;
		return 0;
	}
	return need_digit(stream, byte, JSONSTREAM_EXPONENT_DIGITS, err);
}

static int between(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	if (is_space(byte))
		return 0;
	if (stream->state == JSONSTREAM_VALUE)
		return begin_value(stream, byte, err);
	if (stream->state == JSONSTREAM_AFTER)
		return after_value(stream, byte, err);
	if (stream->state != JSONSTREAM_COLON)
		return in_container(stream, byte, err);
	if (byte != ':')
		return wrong(stream, err, "':' must stand here");
	stream->state = JSONSTREAM_VALUE;
	return 0;
}

static int step(struct jsonstream *stream, unsigned char byte, struct error *err)
{
	switch (stream->state) {
	case JSONSTREAM_STRING:
		return in_string(stream, byte, err);
	case JSONSTREAM_ESCAPE:
		return in_escape(stream, byte, err);
	case JSONSTREAM_HEX:
		return in_hex(stream, byte, err);
	case JSONSTREAM_LITERAL:
		return in_literal(stream, byte, err);
	case JSONSTREAM_MINUS:
		return need_digit(stream, byte, byte == '0' ? JSONSTREAM_ZERO : JSONSTREAM_INTEGER,
				  err);
	case JSONSTREAM_ZERO:
	case JSONSTREAM_INTEGER:
	case JSONSTREAM_FRACTION:
	case JSONSTREAM_EXPONENT_DIGITS:
		return in_number(stream, byte, err);
	case JSONSTREAM_POINT:
		return need_digit(stream, byte, JSONSTREAM_FRACTION, err);
	case JSONSTREAM_EXPONENT:
		return in_exponent(stream, byte, err);
	case JSONSTREAM_SIGN:
		return need_digit(stream, byte, JSONSTREAM_EXPONENT_DIGITS, err);
	case JSONSTREAM_VALUE:
	case JSONSTREAM_FIRST_ITEM:
	case JSONSTREAM_FIRST_KEY:
	case JSONSTREAM_KEY:
	case JSONSTREAM_COLON:
	case JSONSTREAM_AFTER:
		return between(stream, byte, err);
	}
	return wrong(stream, err, "not JSON");
}

/* Most bytes of a large answer are plain characters of one string: they are passed over
 * without a step each. Returns how many. */
static size_t plain_run(const struct jsonstream *stream, const char *bytes, size_t size)
{
	if (stream->state != JSONSTREAM_STRING || stream->left > 0 || stream->wants_low)
		return 0;
	size_t run = 0;
	while (run < size) {
		unsigned char byte = (unsigned char)bytes[run];
		if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\')
			break;
		run++;
	}
	return run;
}

int jsonstream_feed(struct jsonstream *stream, const char *bytes, size_t size, struct error *err)
{
	size_t at = 0;
	while (at < size) {
		size_t run = plain_run(stream, bytes + at, size - at);
		at += run;
		stream->offset += run;
		if (at == size)
			break;
		int rc = step(stream, (unsigned char)bytes[at], err);
		if (rc < 0)
			return rc;
		at++;
		stream->offset++;
	}
	return 0;
}

int jsonstream_end(const struct jsonstream *stream, struct error *err)
{
	bool in_number = stream->state == JSONSTREAM_ZERO || stream->state == JSONSTREAM_INTEGER ||
			 stream->state == JSONSTREAM_FRACTION ||
			 stream->state == JSONSTREAM_EXPONENT_DIGITS;
	if (stream->depth == 0 && (stream->state == JSONSTREAM_AFTER || in_number))
		return 0;
	return wrong(stream, err, stream->offset == 0 ? "empty" : "the value is not whole");
}
