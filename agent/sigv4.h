/* AWS Signature Version 4: the header that proves to AWS who sent a request and that nobody
 * changed it. The key that signs is derived once for each day, region and pair of keys. */
#ifndef AGENT_SIGV4_H
#define AGENT_SIGV4_H

#include "agent/http.h"
#include "base/secret.h"
#include "crypto/digest.h"

#include <stddef.h>
#include <stdint.h>

/* What the platform lends an agent for some time. */
struct sigv4_keys {
	struct secret access_key_id;
	struct secret secret_access_key;
	struct secret session_token; /* not set: none */
};

void sigv4_keys_release(struct sigv4_keys *keys);

enum { SIGV4_DATE_SIZE = sizeof "20261121" };

/* Zeroed but for keys, region and service, which are borrowed. */
struct sigv4 {
	const struct sigv4_keys *keys;
	const char *region;
	const char *service;
	char date[SIGV4_DATE_SIZE]; /* of the derived key; "": none yet */
	uint8_t derived[SHA256_SIZE];
};

/* keys, region or service have changed: the derived key is wiped. */
void sigv4_reset(struct sigv4 *signer);

/* Adds X-Amz-Date, X-Amz-Security-Token and Authorization to headers, which are all signed and
 * must hold Host as it will be sent. path is "/…" as it is requested, without a query. */
void sigv4_sign(struct sigv4 *signer, const char *method, const char *path,
		struct http_headers *headers, const void *body, size_t body_size, int64_t now_ms);

#endif
