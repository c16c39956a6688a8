#include "base/problems.h"

#include "base/str.h"

#include <stdlib.h>

enum { PROBLEM_BYTES = 2048 };

void problems_add(struct problems *problems, const char *format, ...)
{
	struct buf raw = BUF_INIT(1 << 20);
	struct buf line = BUF_INIT(8 * PROBLEM_BYTES); /* printable may be four times longer */
	va_list args;

	if (problems->count >= PROBLEMS_MAX) {
		problems->count++;
		return;
	}
	va_start(args, format);
	(void)buf_vprintf(&raw, format, args);
	va_end(args);
	if (raw.failed)
		buf_append_str(&line, "a problem too long to show");
	else
		str_append_printable(&line, buf_str(&raw), raw.size, PROBLEM_BYTES);
	problems->items[problems->count++] = buf_detach(&line, NULL);
	buf_release(&raw);
}

void problems_release(struct problems *problems)
{
	for (size_t i = 0; i < problems->count && i < PROBLEMS_MAX; i++)
		free(problems->items[i]);
	*problems = PROBLEMS_INIT;
}

void problems_join(const struct problems *problems, const char *separator, struct buf *out)
{
	for (size_t i = 0; i < problems->count && i < PROBLEMS_MAX; i++) {
		if (i > 0)
			buf_append_str(out, separator);
		buf_append_str(out, problems->items[i]);
	}
	if (problems->count > PROBLEMS_MAX)
		buf_printf(out, "%sand %zu more", separator, problems->count - PROBLEMS_MAX);
}
