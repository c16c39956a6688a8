/* Answers on their way back to the source. Each is posted until the source has taken it;
 * those that wait at the same time go together. An answer too large for a status message is
 * uploaded first. */
#ifndef AGENT_OUTBOX_H
#define AGENT_OUTBOX_H

#include "agent/command.h"
#include "agent/endpoint.h"
#include "agent/journal.h"
#include "agent/transport.h"

#include <stddef.h>

struct outbox;

/* journal may be NULL: then all answers stay in memory. on_settled gets each command back once (state POSTED) and owns it from then on. */
struct outbox *outbox_new(struct loop *loop, struct http_client *client, struct source *source,
			  struct transport *transport, struct journal *journal,
			  void (*on_settled)(void *context, struct command *command),
			  void *context);
/* Frees what still waits. The transport must have been freed before. */
void outbox_free(struct outbox *outbox);

/* Takes a command whose answer stands. */
void outbox_push(struct outbox *outbox, struct command *command);
/* The transport's on_posted. */
void outbox_on_posted(struct outbox *outbox, struct transport_post **posts, size_t count,
		      const struct transport_outcome *outcome);
/* Gives up answers whose command expired more than retention_ms ago: on_settled gets them. */
void outbox_expire(struct outbox *outbox, int64_t retention_ms);
/* Answers that the source has not taken yet. */
size_t outbox_count(const struct outbox *outbox);

#endif
