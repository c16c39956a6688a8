/* Time. Intervals are measured with the monotonic clock, dates are milliseconds
 * since 1970-01-01T00:00:00Z, texts are ISO 8601 in UTC with milliseconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/error.h"

#include <stdint.h>

enum { CLOCK_TEXT_SIZE = sizeof "2026-11-21T04:00:16.123Z" };

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_now_ms(void);

/* "2026-11-21T04:00:16.123Z". Years 0 to 9999; anything outside is cut to that. */
void clock_format(int64_t unix_ms, char text[CLOCK_TEXT_SIZE]);

/* Reads ISO 8601 as clients write it: 'T' or a space between, any number of digits
 * in the fraction, "Z", "+02:00", "+0200", "+02" or nothing (UTC) as the zone. A
 * date that does not exist (February 30th) or trailing text is ERR_SYNTAX. */
NODISCARD int clock_parse(const char *text, int64_t *unix_ms, struct error *err);

#endif
