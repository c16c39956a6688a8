/* Allocation of small things of our own. When these few bytes are not to be had
 * the process cannot go on in any useful way: it says so and aborts; what matters
 * survives that as it survives `kill -9`. Whatever a peer makes large goes into a
 * struct buf, which fails as a value instead. All results are freed with free(). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#define mem_new(type) ((type *)mem_calloc(1, sizeof(type)))

void *mem_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc_array(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
/* Copies length bytes and adds a NUL. */
char *mem_strndup(const char *text, size_t length) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *format, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));
/* The bytes that this piece takes; 0 for NULL. */
size_t mem_size(const void *piece);
/* What was freed goes back to the system, as far as it is whole pages. */
void mem_give_back(void);

#endif
