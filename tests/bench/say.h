/* What the measuring programs have in common around their work: options, words to the driver
 * on standard output, and figures of a process. */
#ifndef BENCH_SAY_H
#define BENCH_SAY_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Says why on standard error and exits with 1. */
void die(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

/* --name VALUE; each ends in one place of the program. A text may stay NULL. */
struct option_row {
	const char *name;
	const char **text; /* one of the two */
	size_t *number;
	bool is_required;
};
/* Ends the process (status 2) on anything that is not in the table. */
void options_read(int argc, char **argv, const struct option_row *rows, size_t count);

/* One line "word JSON" for the driver; takes the value, which may be NULL. */
void say(const char *word, struct json_object *value);

int64_t now_us(void);
/* Processor time of a process so far, of all its threads, also those that have ended. 0 is
 * this process. */
int64_t cpu_us(int pid);
/* How often the process's threads went to sleep by themselves: its wake-ups. */
int64_t wakeups(int pid);

/* Sorts the values and returns {count, p50, p90, p99, max} of them in microseconds. */
struct json_object *percentiles(int64_t *values, size_t count);

#endif
