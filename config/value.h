/* From a setting's text, wherever it came from, to the value in the program's struct.
 * Knows types, ranges and checks; knows nothing about places. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "base/error.h"
#include "config/schema.h"

#include <stddef.h>

/* Writes the value at setting->offset of settings, releasing what was there. The text has
 * a NUL behind its last byte and may hold NULs only for a secret. On failure (ERR_INVALID)
 * the message says what was given, unless it must not be shown, and what would be right.
 * A refused text, URL or path is kept all the same, so that the program's own rules
 * between settings ("one needs the other") still see that it was given. */
NODISCARD int value_set(const struct setting *setting, const char *text, size_t size,
			void *settings, struct error *err);
/* Frees and wipes; leaves the value as if never given. */
void value_release(const struct setting *setting, void *settings);

#endif
