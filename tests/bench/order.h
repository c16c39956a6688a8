/* The commands of the measurements: one text for all of a kind, made and encrypted once, with
 * a new id each time it is given out. */
#ifndef BENCH_ORDER_H
#define BENCH_ORDER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ORDER_ID_SIZE = 36 };

struct order {
	const char *url;
	const char *key;      /* of V2, in any form that crypto/key.h takes; NULL: plain */
	const char *base_url; /* of the service, for responseBodyUploadUrl */
	size_t body_bytes;    /* POST with so many; 0: GET */
	struct buf text;      /* the command as the service delivers it */
};

/* Makes the text from the other fields; ends the process on failure. */
void order_make(struct order *order);
void order_release(struct order *order);
/* Appends the command with the id of that number. */
void order_write(const struct order *order, size_t number, struct buf *out);
/* The number in an id, SIZE_MAX when it is none of ours. */
size_t order_number(const char *id);
/* The payload alone as JSON text (for a requestor): plain, or the envelope. */
void order_payload(const struct order *order, struct buf *out);
/* Text of exactly that size which looks like the JSON that instruments talk. */
void order_body(size_t size, struct buf *out);

#endif
