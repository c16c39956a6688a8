/* Writes JSON straight into a buffer, for answers that hold large stored texts. Commas are
 * set by what stands before. Texts are always escaped; only spans of checked JSON go in as
 * they are. Failures stay in the buffer. */
#ifndef SERVICE_JSONOUT_H
#define SERVICE_JSONOUT_H

#include "base/buf.h"
#include "service/span.h"

#include <stdbool.h>
#include <stdint.h>

/* key NULL: an item of an array, or the outermost value. */
void out_open(struct buf *out, const char *key, char bracket); /* '{' or '[' */
void out_close(struct buf *out, char bracket);                 /* '}' or ']' */
void out_text(struct buf *out, const char *key, const char *text);
void out_null(struct buf *out, const char *key);
void out_number(struct buf *out, const char *key, int64_t number);
void out_bool(struct buf *out, const char *key, bool value);
/* ISO 8601. */
void out_time(struct buf *out, const char *key, int64_t unix_ms);
/* null where the span is none. */
void out_span(struct buf *out, const char *key, struct span value);

#endif
