/* Checks that bytes which arrive in pieces are one JSON value, without keeping them: an
 * answer of some hundred megabytes is checked while it is written to its file. The same
 * rules as json_check(): RFC 8259, UTF-8, at most max_depth levels. */
#ifndef SERVICE_JSONSTREAM_H
#define SERVICE_JSONSTREAM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSONSTREAM_DEPTH_LIMIT = 64 };

/* What may come next. */
enum jsonstream_state {
	JSONSTREAM_VALUE,      /* a value */
	JSONSTREAM_FIRST_ITEM, /* a value or ']' */
	JSONSTREAM_FIRST_KEY,  /* a key or '}' */
	JSONSTREAM_KEY,        /* a key */
	JSONSTREAM_COLON,      /* ':' */
	JSONSTREAM_AFTER,      /* ',' or the end of the container; at the top: white space */
	JSONSTREAM_STRING,     /* inside a string */
	JSONSTREAM_ESCAPE,     /* behind '\' */
	JSONSTREAM_HEX,        /* hex digits of \uXXXX */
	JSONSTREAM_LITERAL,    /* inside true, false, null */
	JSONSTREAM_MINUS,      /* behind '-' */
	JSONSTREAM_ZERO,       /* behind a leading 0 */
	JSONSTREAM_INTEGER,    /* in the digits before the point */
	JSONSTREAM_POINT,      /* behind the point */
	JSONSTREAM_FRACTION,   /* in the digits behind it */
	JSONSTREAM_EXPONENT,   /* behind 'e' */
	JSONSTREAM_SIGN,       /* behind the exponent's sign */
	JSONSTREAM_EXPONENT_DIGITS,
};

struct jsonstream {
	enum jsonstream_state state;
	bool is_key;         /* the string under way is a key */
	uint8_t left;        /* hex digits or UTF-8 bytes that must still come */
	uint8_t low, high;   /* range of the next UTF-8 byte */
	const char *literal; /* what must still come of it */
	unsigned hex;        /* value of the \u escape under way */
	bool wants_low;      /* a high surrogate came: \uDC00–\uDFFF must follow */
	size_t max_depth;
	size_t depth;
	bool is_object[JSONSTREAM_DEPTH_LIMIT];
	uint64_t offset; /* bytes read */
};

/* max_depth at most JSONSTREAM_DEPTH_LIMIT. */
void jsonstream_init(struct jsonstream *stream, size_t max_depth);
/* ERR_SYNTAX or ERR_LIMIT with "byte N: …"; the stream is then over. */
NODISCARD int jsonstream_feed(struct jsonstream *stream, const char *bytes, size_t size,
			      struct error *err);
/* Whether the value is whole. */
NODISCARD int jsonstream_end(const struct jsonstream *stream, struct error *err);

#endif
