/* Errors as values. A function that can fail returns 0 or a negative enum
 * error_code and takes a `struct error *err` as its last parameter. The error is
 * filled only on failure, owns nothing, and may be copied by value. The codes
 * exist for decisions (retry, stop, reject); the message is for people: what was
 * attempted, on what, and why it failed, fit for one log line. Only the layer
 * that decides what to do about an error logs it. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

#define NODISCARD               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

enum error_code {
	ERR_SYSTEM = -1,    /* a system call failed; os_errno says which way */
	ERR_MEMORY = -2,    /* no memory for something that a peer made large */
	ERR_LIMIT = -3,     /* larger, deeper or longer than we allow */
	ERR_SYNTAX = -4,    /* text that does not parse */
	ERR_INVALID = -5,   /* parses, but the value is wrong */
	ERR_NOT_FOUND = -6, /* what was asked for does not exist */
	ERR_AUTH = -7,      /* a key, tag or token does not fit */
	ERR_NETWORK = -8,   /* a peer could not be reached or broke off */
	ERR_BUSY = -9,      /* somebody else holds it */
};

enum { ERROR_MESSAGE_MAX = 512 };

struct error {
	int code;     /* enum error_code */
	int os_errno; /* 0 where no system call was involved */
	char message[ERROR_MESSAGE_MAX];
};

/* Fills err (may be NULL) and returns code, so that a failing function ends in
 * `return error_set(err, ERR_SYNTAX, "…", …);`. A message that is too long is cut
 * at a character boundary. */
int error_set(struct error *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Like error_set with ERR_SYSTEM; keeps os_errno and appends ": <strerror>". */
int error_set_errno(struct error *err, int os_errno, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "<prefix>: " before the message of err and returns its code. Each layer
 * adds its prefix once. */
int error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
