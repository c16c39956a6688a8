/* The scanner behind json_check() and json_parse(): whether a text is JSON, and where it
 * is not. Nobody else includes this. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* bounded_numbers: whole numbers must fit into 64 bits, which the grammar does not ask. */
NODISCARD int json_scan(const char *text, size_t size, bool bounded_numbers, struct error *err);

#endif
