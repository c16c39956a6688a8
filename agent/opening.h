/* From a sealed body to the payload in it: opens the envelope, with the current key or the one
 * before, and parses what was sealed. What is large takes several turns of the loop, a piece in
 * each, so that it holds up nobody. Nothing comes out before the tag of all of it was right. */
#ifndef AGENT_OPENING_H
#define AGENT_OPENING_H

#include "agent/loop.h"
#include "base/buf.h"
#include "base/error.h"
#include "crypto/aead.h"

#include <json-c/json.h>

/* How it ended; borrowed. */
struct opened {
	int code;                    /* 0, or why there is no payload */
	struct aead *seal;           /* the key that fitted; NULL: none did */
	struct json_object *payload; /* whoever wants to keep it takes a reference */
	struct error err;
};

struct opening;

/* Calls back once: from inside, and then it returns NULL, or in a later turn. Keeps a reference
 * to envelope; keys are borrowed, previous_key may be NULL. */
struct opening *opening_start(struct loop *loop, struct aead *key, struct aead *previous_key,
			      struct json_object *envelope,
			      void (*on_done)(void *context, const struct opened *opened),
			      void *context);
/* The same for a text (taken: it is empty then) that is to be parsed and no more. */
struct opening *opening_start_text(struct loop *loop, struct buf *text,
				   void (*on_done)(void *context, const struct opened *opened),
				   void *context);
/* Ends it without a callback. */
void opening_cancel(struct opening *opening);

#endif
