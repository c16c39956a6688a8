/* The way of a command through the agent, from its parsed form to its answer: checks,
 * decryption, the payload, a place at its target, the request. Knows nothing of where
 * commands come from and where answers go.
 *
 * At most max_in_flight commands run at once, and max_in_flight_per_host of them at one
 * target (scheme, host and port). A command whose target is full waits in that target's
 * line, and later ones for other targets go ahead of it. Taking, starting and ending one
 * costs the same however many wait. */
#ifndef AGENT_RELAY_H
#define AGENT_RELAY_H

#include "agent/command.h"
#include "agent/http.h"
#include "agent/settings.h"

#include <stddef.h>

struct relay;

/* For whoever must know before a request goes out: on_execute is called when a command has
 * its place, and relay_go lets its request start, later, also from inside. */
void relay_gate(struct relay *relay, void (*on_execute)(void *context, struct command *command));
void relay_go(struct relay *relay, struct command *command);

/* Where answers are spooled that are too large for memory; borrowed. Without it all of them
 * stay there. */
void relay_spool_to(struct relay *relay, const char *folder);

/* From now on nothing that waits is started. */
void relay_hold(struct relay *relay);
/* Commands that hold a place: fetching or executing. */
size_t relay_running(const struct relay *relay);

/* on_end gets each command once with its answer (state DONE) and owns it from then on;
 * it is never called from inside relay_take. settings and client are borrowed. */
struct relay *relay_new(struct loop *loop, struct http_client *client,
			const struct settings *settings,
			void (*on_end)(void *context, struct command *command), void *context,
			struct error *err);
/* Gives up what is under way, without callbacks. */
void relay_free(struct relay *relay);

/* Takes a command; problems (may be NULL) is what command_new found wrong with it. */
void relay_take(struct relay *relay, struct command *command, const struct problems *problems);

/* How many more commands would find a place at once, or at least a line to stand in. */
size_t relay_room(const struct relay *relay);
/* Commands that were taken and have not ended. */
size_t relay_count(const struct relay *relay);

/* The same checks for a bare payload (`relay-agent exec`): runs it as a command of the
 * plain action. Takes json's reference. */
void relay_take_payload(struct relay *relay, struct json_object *payload);

#endif
