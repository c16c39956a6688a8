/* What the parts of the relay share. Nobody else includes it.
 *
 *     relay.c          takes commands, checks them, ends them
 *     relay_body.c     gets the body of one, and opens what is sealed
 *     relay_places.c   gives them places at their targets, and makes the requests */
#ifndef AGENT_RELAY_INSIDE_H
#define AGENT_RELAY_INSIDE_H

#include "agent/relay.h"

#include <sys/queue.h>

TAILQ_HEAD(command_list, command);

struct relay {
	struct loop *loop;
	struct http_client *client;
	const struct settings *settings;
	void (*on_end)(void *context, struct command *command);
	void *context;
	struct aead *key;          /* NULL: no key is configured */
	struct aead *previous_key; /* NULL: none */
	struct http_profile target_profile;
	struct http_profile service_profile; /* bodyUrl is where the service stores */
	size_t running;                      /* commands that hold a place */
	size_t count;                        /* commands that were taken and have not ended */
	size_t waiting_bytes;                /* what those hold that wait or are opened */
	struct host_queue *hosts;
	struct buf origin; /* of the one that is looked for */
	TAILQ_HEAD(, host_queue) ready;
	struct command_list opening; /* their bodies are, as they are large */
	struct command_list active;  /* fetching or executing */
	struct command_list cleared; /* executing, their requests go out soon */
	struct loop_task go_on;      /* with these */
	uint64_t turn;               /* of the loop, in which … */
	size_t started;              /* … so many requests went out */
	int64_t crowded_ms;          /* monotonic; since then some are cleared */
	struct command_list ended;   /* to be handed out at the end of the turn */
	struct loop_task hand_out;
	void (*on_execute)(void *context, struct command *command); /* NULL: no gate */
	bool is_held;
	const char *spool_folder; /* NULL: none */
};

/* Fetches the body, if it is elsewhere, and opens it, if it is sealed; relay_take_opened or
 * relay_end follows, from inside or in a later turn. */
void relay_open_body(struct relay *relay, struct command *command);
/* Gives up what is being fetched: it would find no place. */
void relay_hold_bodies(struct relay *relay);
/* Ends what is being opened, or held. */
void relay_cancel_opening(struct relay *relay);
/* It is not needed any more, and cannot be had again from memory. */
void relay_forget_body(struct command *command);
/* What of it nobody needs from memory while the command waits for its place. */
void relay_drop_waiting_body(struct command *command);

/* From payload (borrowed) to a place in the line. */
void relay_take_opened(struct relay *relay, struct command *command, struct json_object *payload);
void relay_init_places(struct relay *relay);
/* Gives up what runs, and what waits. */
void relay_free_places(struct relay *relay);
/* Its payload is known. */
void relay_wait_for_place(struct relay *relay, struct command *command);
/* Starts waiting commands while there are places, each ready target in its turn. */
void relay_start_ready(struct relay *relay);
/* The answer stands: the command leaves at the end of this turn. */
void relay_end(struct relay *relay, struct command *command);
void relay_reject(struct relay *relay, struct command *command, const char *code,
		  const char *format, ...) PRINTF_LIKE(4, 5);
bool relay_is_expired(const struct command *command);
void relay_reject_expired(struct relay *relay, struct command *command);
/* It may have been executed before, and is not repeated. */
void relay_fail_interrupted(struct relay *relay, struct command *command);
void relay_free_list(struct command_list *list);

#endif
