/* A key, a token, a password: bytes that are wiped when released and that no
 * function here will print. They live outside the heap's free lists (own mapping,
 * mlock()ed and left out of core dumps where the kernel allows it). The owner of
 * the struct owns the bytes; copying the struct does not copy them. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret {
	char *bytes; /* NUL behind the last byte; NULL when not set */
	size_t size;
};

/* Copies the bytes; releases what was there. The caller wipes its own copy. */
void secret_set(struct secret *secret, const void *bytes, size_t size);
void secret_release(struct secret *secret);
bool secret_is_set(const struct secret *secret);
/* Takes time that depends on b's size only, not on where the bytes differ. */
bool secret_equal(const struct secret *a, const void *b, size_t size);
/* Overwrites memory in a way the compiler keeps. */
void secret_wipe(void *bytes, size_t size);

#endif
