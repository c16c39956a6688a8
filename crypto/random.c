#include "crypto/random.h"

#include <assert.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	UUID_BYTES = 16,
	DRAWN = 32, /* UUIDs whose bytes are drawn together */
};

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

/* One call of OpenSSL's generator costs as much as all else about a UUID, however many bytes it
 * gives. */
static void take_uuid(uint8_t out[UUID_BYTES])
{
	static _Thread_local uint8_t drawn[DRAWN][UUID_BYTES];
	static _Thread_local size_t left;

	if (left == 0) {
		random_bytes(drawn, sizeof drawn);
		left = DRAWN;
	}
	memcpy(out, drawn[--left], UUID_BYTES);
}

void random_uuid(char text[UUID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t b[UUID_BYTES];

	take_uuid(b);
	b[6] = (b[6] & 0x0F) | 0x40; /* version 4 */
	b[8] = (b[8] & 0x3F) | 0x80; /* the variant of RFC 9562 */
	for (size_t i = 0; i < sizeof b; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[b[i] >> 4];
		*text++ = digits[b[i] & 15];
	}
	*text = '\0';
}
