/* Who is asking: tokens, and what a wrong one costs.
 *
 * After a wrong token the next answer to that address is slowed: by a quarter of a second
 * after the first, twice as long after each further one, up to four seconds; a right token
 * ends it. Nothing is slowed for other addresses, and the table of addresses is bounded. */
#ifndef SERVICE_AUTH_H
#define SERVICE_AUTH_H

#include "base/secret.h"
#include "service/request.h"

#include <stdint.h>

enum { GUARD_ADDRESSES = 512 };

struct guard_entry {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d; of IPv6 the first 64 bits */
	int64_t seen_ms;     /* 0: free */
	unsigned failures;
	bool is_owed; /* the next answer is to be slowed */
};

struct guard {
	struct guard_entry entries[GUARD_ADDRESSES];
	size_t count; /* entries that are in use: mostly none */
};

/* A new token's text, ready to be printed, and its digest. */
void token_make(enum role role, struct secret *text, uint8_t digest[SHA256_SIZE]);
const char *role_name(enum role role);

/* Fills request->token, or answers 401 or 403; sets request->delay_ms, by which the answer
 * must be slowed in either case. */
void auth_check(struct request *request);

#endif
