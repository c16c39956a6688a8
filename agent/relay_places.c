/* Places: who may run, at which target, and when. */
#include "agent/relay_inside.h"

#include "agent/limits.h"
#include "agent/target.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* One target's line. Exists while a command of it waits or runs. */
struct host_queue {
	char *origin; /* "https://lims.lab.local:443" */
	size_t running;
	struct command_list waiting;
	bool is_ready; /* stands in relay->ready: has a waiting command and a free place */
	TAILQ_ENTRY(host_queue) ready_link;
	UT_hash_handle hh;
};

enum {
	STARTS_A_TURN = 4,
	CROWD_MS = 10, /* however long turns are: then all go out */
	MANY_RUNNING = 256,
	LARGE_BODY_BYTES = 1024 * 1024,
};

static const size_t WAITING_MAX_BYTES = 128 * LIMIT_MIB;

static struct host_queue *host_queue_get(struct relay *relay, const struct url *url)
{
	struct buf *origin = &relay->origin;
	char port[sizeof ":65535"];
	struct host_queue *host;
	snprintf(port, sizeof port, ":%u", (unsigned)url->port);
	buf_reset(origin);
	buf_append_str(origin, url->scheme);
	buf_append_str(origin, "://");
	buf_append_str(origin, url->host);
	if (buf_append_str(origin, port) != 0)
		abort(); /* as mem.h does */
	HASH_FIND(hh, relay->hosts, origin->data, origin->size, host);
	if (host != NULL)
		return host;
	host = mem_new(struct host_queue);
	host->origin = mem_strdup(origin->data);
	TAILQ_INIT(&host->waiting);
	HASH_ADD_KEYPTR(hh, relay->hosts, host->origin, strlen(host->origin), host);
	return host;
}

static void host_queue_update(struct relay *relay, struct host_queue *host)
{
	bool has_work = !TAILQ_EMPTY(&host->waiting);
	bool should_be_ready =
	    has_work && host->running < (size_t)relay->settings->max_in_flight_per_host;
	if (should_be_ready && !host->is_ready)
		TAILQ_INSERT_TAIL(&relay->ready, host, ready_link);
	else if (!should_be_ready && host->is_ready)
		TAILQ_REMOVE(&relay->ready, host, ready_link);
	host->is_ready = should_be_ready;
	if (!has_work && host->running == 0) {
		HASH_DEL(relay->hosts, host);
		free(host->origin);
		free(host);
	}
}

/* The answer of the target stands: its place is free. */
static void on_answered(void *context)
{
	struct command *command = context;
	struct relay *relay = command->relay;
	struct host_queue *host = command->host;
	command->build = NULL;
	TAILQ_REMOVE(&relay->active, command, link);
	relay->running--;
	host->running--;
	relay_end(relay, command);
	host_queue_update(relay, host);
	relay_start_ready(relay);
}

static void on_target_done(void *context, struct http_response *response)
{
	struct command *command = context;
	command->running = NULL;
	command->sent_bytes = response->sent_bytes;
	command->received_bytes = response->received_bytes;
	if (response->status == 0) {
		answer_no_response(&command->answer, response->code, response->message,
				   command->seal);
		on_answered(command);
		return;
	}
	/* May have called back already, and the command be gone. */
	struct answer_build *build =
	    answer_from_target(&command->answer, command->relay->loop, response, &command->reply,
			       command->seal, on_answered, command);
	if (build != NULL)
		command->build = build;
}

/* The payload has what the request needs. The body is kept for a journal that has to be begun
 * anew, but not where a great many, or a large one, would be in memory twice for that. */
static void drop_body(const struct relay *relay, struct command *command)
{
	if (relay->running > MANY_RUNNING || command_has_text_file(command) ||
	    payload_body_size(&command->payload) > LARGE_BODY_BYTES)
		relay_forget_body(command);
}

static void start(struct relay *relay, struct command *command)
{
	TAILQ_INSERT_TAIL(&relay->active, command, link);
	relay->started++;
	spool_init(&command->reply, SPOOL_SCRATCH, relay->spool_folder,
		   (size_t)relay->settings->max_response_bytes);
	command->running = target_start(relay->client, &relay->target_profile, &command->payload,
					&command->reply, on_target_done, command);
}

/* Those of the cleared ones that this turn may. */
static void start_cleared(struct relay *relay, int64_t now_ms)
{
	bool is_late = now_ms - relay->crowded_ms >= CROWD_MS;
	uint64_t turn = loop_turn(relay->loop);
	if (relay->turn != turn)
		relay->started = 0;
	relay->turn = turn;
	for (struct command *command; (command = TAILQ_FIRST(&relay->cleared)) != NULL &&
				      (is_late || relay->started < STARTS_A_TURN);) {
		TAILQ_REMOVE(&relay->cleared, command, link);
		start(relay, command);
	}
	if (!TAILQ_EMPTY(&relay->cleared))
		loop_spread(relay->loop, &relay->go_on);
}

static void go_on(void *context)
{
	start_cleared(context, clock_monotonic_ms());
}

/* Commands are cleared in crowds, with the transaction that stored them. Their requests go out a
 * few a turn: the later ones find connections on which the first ones were answered just now, and
 * all that belongs to these in the processor's cache. */
void relay_go(struct relay *relay, struct command *command)
{
	int64_t now_ms = clock_monotonic_ms();
	drop_body(relay, command);
	if (TAILQ_EMPTY(&relay->cleared))
		relay->crowded_ms = now_ms;
	TAILQ_REMOVE(&relay->active, command, link);
	TAILQ_INSERT_TAIL(&relay->cleared, command, link);
	start_cleared(relay, now_ms);
}

static void execute(struct relay *relay, struct command *command)
{
	command_set_state(command, COMMAND_EXECUTING);
	TAILQ_INSERT_TAIL(&relay->active, command, link);
	relay->running++;
	command->host->running++;
	if (relay->on_execute != NULL)
		relay->on_execute(relay->context, command);
	else
		relay_go(relay, command);
}

/* Starts waiting commands while there are places, each ready target in its turn. */
void relay_start_ready(struct relay *relay)
{
	struct host_queue *host;
	while (!relay->is_held && relay->running < (size_t)relay->settings->max_in_flight &&
	       (host = TAILQ_FIRST(&relay->ready)) != NULL) {
		TAILQ_REMOVE(&relay->ready, host, ready_link);
		host->is_ready = false;
		struct command *command = TAILQ_FIRST(&host->waiting);
		TAILQ_REMOVE(&host->waiting, command, link);
		relay->waiting_bytes -= command->waiting_bytes;
		if (relay_is_expired(command) && command->is_interrupted)
			relay_fail_interrupted(relay, command);
		else if (relay_is_expired(command))
			relay_reject_expired(relay, command);
		else
			execute(relay, command);
		host_queue_update(relay, host);
	}
}

/* All that it holds while it waits: what somebody puts beside a small request is held as well, and
 * its text until that is stored. */
static size_t waiting_size(const struct command *command)
{
	size_t size = sizeof *command + payload_memory_size(&command->payload);
	if (command->body != NULL)
		size += json_memory_size(command->body);
	if (command->body == NULL || command->kind == COMMAND_SEALED) /* or it is a part of that */
		size += mem_size(command->payload.raw);
	if (!command_has_text_file(command))
		size += command->text.size;
	return size;
}

void relay_wait_for_place(struct relay *relay, struct command *command)
{
	command_set_state(command, COMMAND_WAITING);
	relay_drop_waiting_body(command);
	command->waiting_bytes = waiting_size(command);
	command->host = host_queue_get(relay, &command->payload.url);
	TAILQ_INSERT_TAIL(&command->host->waiting, command, link);
	relay->waiting_bytes += command->waiting_bytes;
	host_queue_update(relay, command->host);
	relay_start_ready(relay);
}

size_t relay_room(const struct relay *relay)
{
	size_t max_in_flight = (size_t)relay->settings->max_in_flight;
	size_t max_held = max_in_flight + LIMIT_HELD_COMMANDS;
	if (relay->running >= max_in_flight || relay->count >= max_held ||
	    relay->waiting_bytes >= WAITING_MAX_BYTES)
		return 0;
	return max_in_flight - relay->running;
}

void relay_init_places(struct relay *relay)
{
	TAILQ_INIT(&relay->ready);
	TAILQ_INIT(&relay->active);
	TAILQ_INIT(&relay->cleared);
	relay->origin = BUF_INIT(SIZE_MAX / 2);
	relay->go_on = (struct loop_task){.run = go_on, .context = relay};
}

static void cancel_active(struct relay *relay)
{
	struct command *command;
	TAILQ_FOREACH(command, &relay->active, link)
	{
		if (command->build != NULL)
			answer_build_cancel(command->build);
		else if (command->state == COMMAND_FETCHING)
			http_cancel(command->running);
		else
			target_cancel(command->running);
	}
	relay_free_list(&relay->active);
}

void relay_free_places(struct relay *relay)
{
	struct host_queue *host = relay->hosts;
	cancel_active(relay);
	relay_free_list(&relay->cleared);
	loop_cancel(relay->loop, &relay->go_on);
	buf_release(&relay->origin);
	HASH_CLEAR(hh, relay->hosts);
	for (struct host_queue *next; host != NULL; host = next) {
		next = host->hh.next;
		relay_free_list(&host->waiting);
		free(host->origin);
		free(host);
	}
}
