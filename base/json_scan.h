/* The scanner behind json_check() and json_parse(): whether a text is JSON, and where it
 * is not. Nobody else includes this. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* wide_ends (may be NULL) gets a size_t for each whole number that does not fit into 64
 * bits, which the grammar does not ask: the offset behind its last digit. */
NODISCARD int json_scan(const char *text, size_t size, struct buf *wide_ends, struct error *err);

#endif
