/* JSON by RFC 8259, strictly, with json-c's values. json-c 0.16's own parser accepts texts
 * that are no JSON even with JSON_TOKENER_STRICT, so a scanner of our own decides whether the
 * text is JSON (and where it is not), and hands what it walks over to json-c. For an answer with ten
 * commands that takes a third of the time of a check followed by json-c's parser.
 *
 * Integers beyond 64 bits are kept as they were written (as fractions: json_type_double),
 * where json-c alone would store the largest one that it has.
 * Repeated keys are JSON: the last one wins. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 64 };

/* The whole text is one JSON value of at most JSON_DEPTH_MAX levels (`[]` is one) in
 * UTF-8. Otherwise ERR_SYNTAX (ERR_LIMIT for the depth) with "line 3, column 14: …" in
 * err, which may be NULL. Never looks past size, needs no NUL. */
NODISCARD int json_check(const char *text, size_t size, struct error *err);

/* The same, and builds the value. The caller puts *out with json_object_put(); the JSON text
 * `null` gives NULL with 0 returned. */
NODISCARD int json_parse(const char *text, size_t size, struct json_object **out,
			 struct error *err);
/* The same, and anything but an object is ERR_INVALID: *out is never NULL. */
NODISCARD int json_parse_object(const char *text, size_t size, struct json_object **out,
				struct error *err);

/* What json_parser notes on its way: where in text the elements of the array stand that is member
 * key of the object: count of them, of which only max are written to spans. count is 0 where there
 * is no such array. Those that are written and larger than large_bytes (0: none) are checked and
 * not built: null stands for each. So the others can be had at once, and the large ones be parsed
 * when there is time. Nor are those that are nested too deeply, of which what is too deep is not
 * even checked. */
struct json_span {
	const char *text;
	size_t size;
};
struct json_elements {
	const char *key;
	struct json_span *spans;
	size_t max;
	size_t large_bytes;
	size_t count;
};

/* json_parse in steps, for texts so large that others would wait for it. text is borrowed. A step
 * reads about that many bytes: JSON_MORE when there is more, 0 with the value in *out, or the
 * error, and then no other step may follow. elements may be NULL. */
enum { JSON_MORE = 1 };
struct json_parser;
struct json_parser *json_parser_new(const char *text, size_t size, struct json_elements *elements);
NODISCARD int json_parser_step(struct json_parser *parser, size_t bytes, struct json_object **out,
			       struct error *err);
void json_parser_free(struct json_parser *parser);
/* Before the first step. ERR_LIMIT when the values take more than about that many bytes of memory,
 * which may be 250 times what their text does. */
void json_parser_limit(struct json_parser *parser, size_t memory_bytes);

/* Of an object, to answer for it, when its text is JSON but too deep or too much to be parsed: the
 * members that are no arrays and no objects. ERR_SYNTAX, ERR_INVALID: it is no object. */
NODISCARD int json_skim(const char *text, size_t size, struct json_object **out, struct error *err);

/* Anything but an object: value is put, and ERR_INVALID. */
NODISCARD int json_require_object(struct json_object *value, struct error *err);

/* The member, or NULL when object is no object, has none of that name or it is null.
 * Borrowed from object. */
struct json_object *json_member(struct json_object *object, const char *key);
/* "object", "array", "string", "number", "boolean" or "null". */
const char *json_type_name(struct json_object *value);

/* Typed members. Absent or null: ERR_NOT_FOUND, wrong type or range: ERR_INVALID, both
 * with the key in the message; the output is written on success only. Strings are
 * borrowed, may hold NULs only where the size is asked for: json_get_text refuses them. */
NODISCARD int json_get_text(struct json_object *object, const char *key, const char **text,
			    struct error *err);
NODISCARD int json_get_string(struct json_object *object, const char *key, const char **bytes,
			      size_t *size, struct error *err);
NODISCARD int json_get_int64(struct json_object *object, const char *key, int64_t min, int64_t max,
			     int64_t *value, struct error *err);
NODISCARD int json_get_bool(struct json_object *object, const char *key, bool *value,
			    struct error *err);

/* The memory that value takes, with all that is in it: a hundred times its text at worst. Walks
 * through all of it. */
size_t json_memory_size(struct json_object *value);

/* New values and members that abort instead of returning NULL. json_set takes value. */
struct json_object *json_new_object(void);
struct json_object *json_new_array(void);
struct json_object *json_new_string(const char *bytes, size_t size);
void json_set(struct json_object *object, const char *key, struct json_object *value);
void json_set_text(struct json_object *object, const char *key, const char *text);
void json_set_int64(struct json_object *object, const char *key, int64_t value);
void json_set_bool(struct json_object *object, const char *key, bool value);
void json_append(struct json_object *array, struct json_object *value);

/* A value that is written as the given text, which must be JSON already: splices a
 * stored document into a new one without parsing it again. Copies the text. */
struct json_object *json_new_raw(const char *text, size_t size);

/* Appends value as compact JSON ('/' is not escaped, non-ASCII stays UTF-8). */
int json_write(struct buf *out, struct json_object *value);
/* Appends the inside of a JSON string (without the quotes) for bytes that are UTF-8.
 * For large texts that are written in pieces. */
int json_write_escaped(struct buf *out, const char *bytes, size_t size);
/* Is it printable ASCII that stands for itself in a JSON string? */
bool json_is_plain(const char *text, size_t size);
/* Writes everything beyond ASCII in a JSON text (UTF-8) as \uXXXX, in place: for who takes
 * fewer letters than JSON has. */
void json_escape_beyond_ascii(struct buf *text);

#endif
