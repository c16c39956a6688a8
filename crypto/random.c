#include "crypto/random.h"

#include <assert.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

void random_bytes(void *out, size_t size)
{
	unsigned char *at = out;

	while (size > 0) {
		int count = size > INT_MAX ? INT_MAX : (int)size;

		if (RAND_bytes(at, count) != 1) {
			(void)fputs("no randomness: the generator of OpenSSL failed\n", stderr);
			abort();
		}
		at += count;
		size -= (size_t)count;
	}
}

uint64_t random_below(uint64_t limit)
{
	uint64_t value, rest;

	assert(limit >= 1);
	/* 2^64 mod limit values at the low end would come up once more often than the others. */
	rest = (UINT64_MAX % limit + 1) % limit;
	do {
		random_bytes(&value, sizeof value);
	} while (value < rest);
	return value % limit;
}

void random_uuid(char text[UUID_TEXT_SIZE])
{
	unsigned char b[16];

	random_bytes(b, sizeof b);
	b[6] = (b[6] & 0x0F) | 0x40; /* version 4 */
	b[8] = (b[8] & 0x3F) | 0x80; /* the variant of RFC 9562 */
	(void)snprintf(text, UUID_TEXT_SIZE,
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		       b[13], b[14], b[15]);
}
