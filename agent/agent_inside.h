/* What the parts of the agent share. Nobody else includes it.
 *
 *     agent.c            its life: opens everything, connects, announces itself, stops
 *     agent_poll.c       asks for commands while there is room for them
 *     agent_commands.c   what becomes of one: taken, stored, made, stored, posted */
#ifndef AGENT_AGENT_INSIDE_H
#define AGENT_AGENT_INSIDE_H

#include "agent/agent.h"
#include "agent/endpoint.h"
#include "agent/held.h"
#include "agent/journal.h"
#include "agent/leases.h"
#include "agent/outbox.h"
#include "agent/relay.h"
#include "agent/transport.h"
#include "agent/transport_auto.h"

enum agent_state {
	AGENT_RUNNING,
	AGENT_DRAINING, /* takes nothing new, ends what it has */
	AGENT_STOPPED,  /* says a last word */
};

struct agent {
	const struct settings *settings;
	enum agent_state state;
	int exit_code;
	struct loop *loop;
	struct http_client *client;
	struct transport_question *question; /* which transport? NULL: not asked */
	struct transport *transport;         /* NULL: not known yet, nor is the outbox there */
	struct journal *journal;
	struct relay *relay;
	struct outbox *outbox;
	struct held held;
	struct source *source;
	struct endpoint *polling;
	struct leases *leases;
	struct endpoint *announcing;
	bool is_polling;
	bool has_gathered;    /* the next receive goes, however little room there is */
	bool was_reached;     /* the source has answered once */
	uint64_t settled;     /* since the start */
	size_t resumed;       /* commands of an earlier life */
	size_t announcements; /* calls under way */
	size_t ending;        /* commands whose answer is not on disk yet */
	struct loop_task poll;
	struct loop_task stop_receiving;
	struct loop_timer *gather;
	struct loop_timer *heartbeat;
	struct loop_timer *sign_of_life;
	struct loop_timer *expire;
	struct loop_timer *give_back;
	struct loop_timer *drain;
};

/* Whatever has a context gets the agent. */

/* -- agent.c ---------------------------------------------------------------------------------- */

/* TRANSPORT=auto. Counts as polling, and its failures as failed polls. */
void agent_ask_for_transport(struct agent *agent);
/* Of commands whose answers wait for a transport there is nothing to be seen here: they are in
 * the journal. */
size_t agent_answers_waiting(const struct agent *agent);
void agent_stop_if_drained(struct agent *agent);

/* -- agent_poll.c ----------------------------------------------------------------------------- */

void agent_poll(void *context);
/* A turn later, so that the requests of the commands that have just come go first. */
void agent_poll_soon(void *context);
void agent_on_gathered(void *context);
void agent_on_reached(void *context);
void agent_on_received(void *context, const struct transport_outcome *outcome);
/* What comes of a receive that was under way: it has had a turn to read what was in the socket. Only
 * now the time to drain begins, which may be none at all. */
void agent_stop_receiving(void *context);

/* -- agent_commands.c ------------------------------------------------------------------------- */

void agent_on_delivery(void *context, const struct transport_delivery *delivery);
void agent_on_execute(void *context, struct command *command);
void agent_on_command_end(void *context, struct command *command);
void agent_on_durable(void *context, struct command *command);
void agent_on_begun_anew(void *context);
void agent_on_posted(void *context, struct transport_post **posts, size_t count,
		     const struct transport_outcome *outcome);
void agent_on_settled(void *context, struct command *command);
size_t agent_in_flight(void *context);
size_t agent_under_way(void *context);
/* The command is in the journal: its source may forget this delivery. */
void agent_tell_taken(struct agent *agent, struct command *command);
/* A command of an earlier life goes on where that ended. */
void agent_resume(void *context, const struct journal_row *row);

#endif
