#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Up to this size glibc has pieces at hand that were freed lately. */
enum { SMALL_BYTES = 1032 };

/* Without the log, which would want memory itself. */
static _Noreturn void no_memory(void)
{
	static const char text[] = "out of memory\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		abort(); /* nobody to tell */
	abort();
}

/* glibc's calloc passes by what each thread keeps at hand: where there are threads it takes the
 * heap's lock, whatever the size. The compiler makes a calloc of a malloc that is cleared, if both have
 * the same size: so these have not. */
static void *new_small(size_t size)
{
	void *bytes = malloc(size ? size : 1);

	if (bytes)
		memset(bytes, 0, size);
	return bytes;
}

void *mem_calloc(size_t count, size_t size)
{
	bool is_small = size == 0 || count <= SMALL_BYTES / size;
	void *bytes = is_small ? new_small(count * size) : calloc(count, size);

	if (!bytes)
		no_memory();
	return bytes;
}

void *mem_realloc_array(void *old, size_t count, size_t size)
{
	/* reallocarray() with 0 would free and return NULL. */
	void *bytes = reallocarray(old, count ? count : 1, size ? size : 1);

	if (!bytes)
		no_memory();
	return bytes;
}

char *mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t length)
{
	char *copy;

	if (length == SIZE_MAX || !(copy = malloc(length + 1))) /* not cleared: it may be large */
		no_memory();
	if (length)
		memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *mem_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int size;

	va_start(args, format);
	size = vasprintf(&text, format, args);
	va_end(args);
	if (size < 0 || !text)
		no_memory();
	return text;
}

size_t mem_size(const void *piece)
{
	return malloc_usable_size((void *)(uintptr_t)piece); /* it only looks */
}

void mem_give_back(void)
{
	(void)malloc_trim(0); /* says only whether there was anything */
}
