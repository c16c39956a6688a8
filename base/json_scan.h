/* The scanner behind json_check() and json_parse(): whether a text is JSON, and where it
 * is not. Nobody else includes this. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Hands every part to build (may be NULL) as it goes; on failure that holds what came before.
 * elements may be NULL. */
struct json_build;
struct json_elements;
NODISCARD int json_scan(const char *text, size_t size, struct json_build *build,
			struct json_elements *elements, struct error *err);

#endif
