/* The scanner behind json_check() and json_parse(): whether a text is JSON, and where it
 * is not. It goes over the text in steps of any size. Nobody but json*.c includes this. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_build;
struct json_elements;

/* One pass over the bytes, no recursion, one bit a level for whether it is an object. It stops
 * at the first byte that is not JSON; line and column are counted only then. */
struct json_scan {
	const char *text;
	const char *at;
	const char *end;
	const char *pause;  /* where this step may end; NULL: only at the end */
	size_t values_left; /* … or with so many: to build one takes longer than to read it */
	const char *string; /* not handed over yet of the string that is read; NULL: none is */
	const char *what;   /* what is wrong at `at` */
	uint64_t is_object; /* bit n: level n is an object */
	int depth;          /* levels open */
	bool has_escapes;   /* in the last string */
	struct json_build *build;       /* NULL: only checked */
	struct json_build *resting;     /* goes on behind the element that is left out */
	struct json_elements *elements; /* NULL: not asked for; noted where there is a build */
	bool is_wanted;                 /* the value on the first level is elements->key's */
	const char *element; /* where the element begins that is being read; NULL: none */
};

/* Hands every part to build (may be NULL) as it goes; on failure that holds what came before.
 * elements may be NULL. */
void json_scan_begin(struct json_scan *scan, const char *text, size_t size,
		     struct json_build *build, struct json_elements *elements);
/* Goes on for that many bytes, to the end of a part that ends there (a run without escapes may
 * be long, but is quick), or for fewer where they are many values. JSON_MORE when there is more to
 * read, 0 when all was JSON. */
NODISCARD int json_scan_step(struct json_scan *scan, size_t bytes, struct error *err);

/* -- among themselves -- */

static inline int json_scan_fail(struct json_scan *scan, const char *what)
{
	scan->what = what;
	return ERR_SYNTAX;
}

/* From within a string to behind its closing quote, or to where this step may end (JSON_MORE),
 * which is never inside an escape (json_scan_string.c). */
int json_scan_string(struct json_scan *scan);
/* Behind the array or object that begins at `at`, by its brackets and quotes alone; NULL: it does
 * not end (json_skim.c). */
const char *json_skip_container(const char *at, const char *end);

#endif
