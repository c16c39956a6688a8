/* The leases of what is held are extended at the source while it is worked on, where the
 * transport has leases. */
#ifndef AGENT_LEASES_H
#define AGENT_LEASES_H

#include "agent/endpoint.h"
#include "agent/held.h"
#include "agent/loop.h"
#include "agent/transport.h"

struct leases;

/* loop, source and held are borrowed. Does nothing before leases_start. */
struct leases *leases_new(struct loop *loop, struct source *source, const struct held *held);
void leases_start(struct leases *leases, struct transport *transport);
/* The transport's on_lost: is told when all calls have ended, however many there are, since each
 * is looked for among all that is held. */
void leases_on_lost(struct leases *leases, const char *receipt);
/* The transport's on_kept. */
void leases_on_kept(struct leases *leases, const struct transport_outcome *outcome);
void leases_free(struct leases *leases);

#endif
