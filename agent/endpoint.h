/* Patience with one peer, the source of commands. Each kind of call to it is an endpoint and
 * waits after a failure by a back-off of its own; what they know of each other is that the
 * peer is away and that it is back:
 *
 * - A call that succeeds shows that the peer is there: endpoints that wait need not wait for
 *   the rest of a minute (unless it told them to: Retry-After, 401, 403).
 * - While nobody listens at the peer's address (refused, unreachable, no such name) it is
 *   knocked there about once a second: a connection, without a byte. Once somebody listens,
 *   all of them try again. An answer with an HTTP error is never followed by that.
 *
 * Either cuts a wait once; until that endpoint has succeeded, or a minute has gone by, a second
 * sign counts for nothing. So no peer, however it behaves, is called more than that. */
#ifndef AGENT_ENDPOINT_H
#define AGENT_ENDPOINT_H

#include "agent/loop.h"
#include "agent/transport.h"
#include "base/url.h"

#include <stdbool.h>

struct source;
struct endpoint;

struct source *source_new(struct loop *loop);
/* Where to knock; copied. NULL: nowhere (a proxy is in the way, or it is not known). */
void source_set_address(struct source *source, const struct url *address);
/* All its endpoints must have been freed before. */
void source_free(struct source *source);
/* A call to it succeeded. */
void source_reached(struct source *source);

/* what: for the log ("polling for commands"); NULL: nobody need hear of its trouble. on_time (may be NULL): the wait is over. */
struct endpoint *endpoint_new(struct source *source, const char *what,
			      void (*on_time)(void *context), void *context);
/* Its peer may be another one (where large answers are uploaded): what becomes of its calls
 * says nothing about the source, but its waits are cut short like the others'. */
void endpoint_set_elsewhere(struct endpoint *endpoint);
void endpoint_free(struct endpoint *endpoint);
/* Starts to wait. */
void endpoint_failed(struct endpoint *endpoint, const struct transport_outcome *outcome);
void endpoint_worked(struct endpoint *endpoint);
/* Neither failed nor worked: there is nothing to try it with any more. */
void endpoint_reset(struct endpoint *endpoint);
bool endpoint_waits(const struct endpoint *endpoint);
/* Its last call failed: more than one at a time is too many. */
bool endpoint_is_failing(const struct endpoint *endpoint);
/* Ends the wait without a call. */
void endpoint_stop(struct endpoint *endpoint);

#endif
