/* What the scanner (json_scan.c) makes of a text that it walks: json-c's values. Nobody else
 * includes this. Each call is for a part that the scanner has checked. */
#ifndef BASE_JSON_BUILD_H
#define BASE_JSON_BUILD_H

#include "base/buf.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>

struct json_build {
	struct json_object *root; /* owns everything below it */
	struct json_object *levels[JSON_DEPTH_MAX];
	int depth;
	struct buf key;      /* of the member whose value comes next */
	struct buf scratch;  /* a string without its escapes, a number with a NUL */
	size_t scratch_used; /* at most, ever */
	bool has_part;       /* scratch has the beginning of the next string */
	size_t weight;       /* of the tree: about its bytes of memory */
	size_t max_weight;   /* beyond which nothing more is built; 0: there is no such limit */
	int failed;          /* ERR_MEMORY or ERR_LIMIT, once */
};

void json_build_init(struct json_build *build);
/* Frees all but root. */
void json_build_release(struct json_build *build);

void json_build_open(struct json_build *build, bool is_object);
void json_build_close(struct json_build *build);
/* What was begun below that many levels goes: an element of the array that is open there. */
void json_build_drop(struct json_build *build, int depth);
/* What stands between the quotes. */
void json_build_key(struct json_build *build, const char *text, size_t size, bool has_escapes);
void json_build_string(struct json_build *build, const char *text, size_t size, bool has_escapes);
/* The beginning of a string with escapes, or what follows that: json_build_string has the rest. */
void json_build_part(struct json_build *build, const char *text, size_t size);
/* is_integer: whole, and of at most 64 bits; others keep the text that they were read from. */
void json_build_number(struct json_build *build, const char *text, size_t size, bool is_integer);
void json_build_bool(struct json_build *build, bool value);
void json_build_null(struct json_build *build);

#endif
