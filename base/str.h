/* Small questions about text. Nothing here depends on the locale. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the bytes are UTF-8 by RFC 3629 (no surrogates, nothing over-long). */
bool str_is_utf8(const char *bytes, size_t size);
/* The same question about bytes that come in pieces. Zeroed at first. */
struct str_utf8 {
	char pending[4]; /* of a character that the last piece has cut */
	size_t pending_count;
	bool is_broken;
};
void str_utf8_add(struct str_utf8 *check, const char *bytes, size_t size);
/* Were all pieces together UTF-8? */
bool str_utf8_is_whole(const struct str_utf8 *check);
/* The largest count of at most max bytes that does not split a UTF-8 character; size when
 * that fits. */
size_t str_cut(const char *bytes, size_t size, size_t max);
/* A token of RFC 9110, 5.6.2: what a header name or a method may be. */
bool str_is_token(const char *bytes, size_t size);
/* No CR, LF or NUL: what a header value must not hold. */
bool str_is_header_value(const char *bytes, size_t size);
/* ASCII letters only, in place. */
void str_lower(char *text);
/* ASCII case-insensitive. */
bool str_equal_nocase(const char *a, const char *b);
bool str_has_prefix(const char *text, const char *prefix);
/* A whole decimal number with an optional sign, nothing around it. */
bool str_to_int64(const char *text, int64_t *out);
/* Appends the bytes so that they are one line of valid UTF-8 whatever they were:
 * control characters, line separators and bytes that are not UTF-8 become \n, \t,
 * \xNN or \u2028. At most max_bytes of the input are shown, "…" marks a cut. */
void str_append_printable(struct buf *out, const char *bytes, size_t size, size_t max_bytes);
/* The candidate (a NULL-terminated list) that was probably meant, by edit
 * distance; NULL when none is near. */
const char *str_nearest(const char *word, const char *const *candidates);

#endif
