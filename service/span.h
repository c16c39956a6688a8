/* Places in a JSON text: an object's members and an array's items as the bytes they
 * were written with, without building values. Payloads and answers are passed on
 * exactly as they came, and a large body costs no tree of objects in memory.
 *
 * Only for text that json_check() has accepted: nothing here checks it again. A span
 * is borrowed from that text. */
#ifndef SERVICE_SPAN_H
#define SERVICE_SPAN_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	const char *text; /* NULL: there is none */
	size_t size;
};

/* The value in the text, without white space around it. */
struct span span_of(const char *text, size_t size);

bool span_is_object(struct span value);
bool span_is_array(struct span value);
bool span_is_string(struct span value);
/* Also true where there is none. */
bool span_is_null(struct span value);
/* "an object", "a string", "null"…: completes "must be a string, not …". */
const char *span_kind(struct span value);

/* Levels of nesting: 0 for a string or number, 1 for `[]`. */
size_t span_depth(struct span value);

struct span_cursor {
	const char *at;
	const char *end;
};

/* Goes through the members of an object or the items of an array (key may be NULL then). */
struct span_cursor span_begin(struct span container);
bool span_next(struct span_cursor *cursor, struct span *key, struct span *value);

/* The members of these names (NULL-terminated) in one pass; the last one where a name is
 * repeated, none where it is absent. values has as many places as there are names. */
void span_members(struct span object, const char *const *names, struct span *values);
struct span span_member(struct span object, const char *name);

/* Appends what a JSON string says, escapes resolved. Not a string: ERR_INVALID. */
NODISCARD int span_decode(struct span string, struct buf *out, struct error *err);
/* The same for a string that has no NUL and fits into text with its NUL; ERR_INVALID says
 * what is wrong in words that follow a field's name ("must be a string, not a number"). */
NODISCARD int span_text(struct span value, char *text, size_t size, struct error *err);
/* A whole number in range. */
NODISCARD int span_int64(struct span value, int64_t min, int64_t max, int64_t *number,
			 struct error *err);

#endif
