#include "base/secret.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A mapping of its own holds the bytes and a NUL. */
static size_t mapping_size(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (size > SIZE_MAX - page)
		abort();
	return (size + page) / page * page;
}

static char *map(size_t size)
{
	void *bytes = mmap(NULL, mapping_size(size), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED) {
		perror("memory for a secret");
		abort();
	}
	/* Best effort: the lock may be beyond RLIMIT_MEMLOCK, old kernels know no DONTDUMP. */
	(void)mlock(bytes, mapping_size(size));
	(void)madvise(bytes, mapping_size(size), MADV_DONTDUMP);
	return bytes;
}

void secret_set(struct secret *secret, const void *bytes, size_t size)
{
	char *copy = map(size); /* before the release: bytes may be the secret's own */

	if (size)
		memcpy(copy, bytes, size);
	secret_release(secret);
	secret->bytes = copy;
	secret->size = size;
}

void secret_release(struct secret *secret)
{
	if (secret->bytes) {
		secret_wipe(secret->bytes, secret->size);
		(void)munmap(secret->bytes, mapping_size(secret->size));
	}
	*secret = (struct secret){0};
}

bool secret_is_set(const struct secret *secret)
{
	return secret->bytes != NULL;
}

bool secret_equal(const struct secret *a, const void *b, size_t size)
{
	bool comparable = a->bytes && a->size == size;
	/* With nothing to compare, b is compared with itself to take the same time. */
	const volatile unsigned char *left = comparable ? (const void *)a->bytes : b;
	const volatile unsigned char *right = b;
	unsigned char difference = 0;

	for (size_t i = 0; i < size; i++)
		difference |= (unsigned char)(left[i] ^ right[i]);
	return comparable && difference == 0;
}

void secret_wipe(void *bytes, size_t size)
{
	if (size)
		explicit_bzero(bytes, size);
}
