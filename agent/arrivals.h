/* The large commands of a receive: parsed, and their texts written to files, a piece a turn of the
 * loop and one command after the other, while those that came with them are long under way. */
#ifndef AGENT_ARRIVALS_H
#define AGENT_ARRIVALS_H

#include "agent/loop.h"
#include "agent/spool.h"
#include "base/buf.h"
#include "base/json.h"

struct arrivals_events {
	void *context;
	/* A command, what it was parsed from, and a file of that (or what is of it), and
	 * what is wrong with it: see transport_delivery. All borrowed. */
	void (*on_command)(void *context, struct json_object *command, const struct json_span *text,
			   struct spool *kept, const char *problem);
	/* All commands of a text were handed over, and the text is gone. */
	void (*on_done)(void *context);
};

/* folder (borrowed) is where the files go. */
struct arrivals *arrivals_new(struct loop *loop, const char *folder,
			      const struct arrivals_events *events);
/* text is taken: empty then. spans are those of its commands, at least one, each of them JSON. */
void arrivals_add(struct arrivals *arrivals, struct buf *text, const struct json_span *spans,
		  size_t count);
/* Of the texts that are here. */
size_t arrivals_bytes(const struct arrivals *arrivals);
/* Hands over all that is left, from inside. */
void arrivals_hurry(struct arrivals *arrivals);
/* What is left goes. */
void arrivals_free(struct arrivals *arrivals);

#endif
