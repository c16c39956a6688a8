/* The log: one line an event on standard error, as text or JSON. A line is within one
 * write(2) and built so that no input can forge or break one: values are quoted and
 * escaped. What is set here, and lines that are gathered, are the only mutable globals of
 * the program. What a secret, a header value, a query or a body holds is never handed in. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* One key, which needs no escaping, and its value. A text of NULL leaves the field out. */
struct log_field {
	const char *key;
	const char *text; /* used when is_number is false */
	int64_t number;
	bool is_number;
};

#define LOG_TEXT(key_, text_) ((struct log_field){.key = (key_), .text = (text_)})
#define LOG_NUMBER(key_, number_) \
	((struct log_field){.key = (key_), .number = (number_), .is_number = true})

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* While lines are gathered, those of debug and info wait for log_flush, for a line of warn
 * or error, or for 4 KiB of them: in a busy program a write for each line is a twentieth
 * of what it does. Whoever turns it on flushes before each wait. Turning it off flushes, and so
 * does abort(). */
void log_gather(bool on);
void log_flush(void);

/* A sentence: what happened, on what, what to do. */
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *format, ...) PRINTF_LIKE(1, 2);
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);

/* An event with fields: `time level event key=value …`, or one JSON object. */
void log_event(enum log_level level, const char *event, const struct log_field *fields,
	       size_t count);

#endif
