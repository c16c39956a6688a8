/* A list of everything that is wrong with one input, so that its author can mend all
 * of it at once. Bounded: after PROBLEMS_MAX the rest is only counted. */
#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>

enum { PROBLEMS_MAX = 50 };

struct problems {
	char *items[PROBLEMS_MAX]; /* one line of printable text each */
	size_t count;              /* may be larger than PROBLEMS_MAX */
};

#define PROBLEMS_INIT ((struct problems){.count = 0})

/* The text is made printable, so it may quote input. */
void problems_add(struct problems *problems, const char *format, ...) PRINTF_LIKE(2, 3);
void problems_release(struct problems *problems);
/* All of them with separator between, and "and N more" where some were not kept. */
void problems_join(const struct problems *problems, const char *separator, struct buf *out);

#endif
