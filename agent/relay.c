#include "agent/relay_inside.h"

#include "agent/limits.h"
#include "agent/target.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/random.h"

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
	MANY_RUNNING = 256,
	LARGE_BODY_BYTES = 1024 * 1024,
};

static const size_t WAITING_MAX_BYTES = 128 * LIMIT_MIB;

static void hand_out(void *context)
{
	struct relay *relay = context;
	for (struct command *command; (command = TAILQ_FIRST(&relay->ended)) != NULL;) {
		TAILQ_REMOVE(&relay->ended, command, link);
		relay->on_end(relay->context, command);
	}
}

static void log_end(const struct command *command)
{
	const struct payload *payload = &command->payload;
	const struct url *url = &payload->url;
	bool has_url = url->text != NULL;
	char path[LIMIT_LOGGED_PATH + 1] = "";
	if (has_url)
		snprintf(path, sizeof path, "%s", url->path);
	const struct answer *answer = &command->answer;
	struct log_field fields[] = {
	    LOG_TEXT("id", command->id),
	    LOG_TEXT("action", command->action),
	    LOG_TEXT("method", payload->method),
	    LOG_TEXT("scheme", url->scheme),
	    LOG_TEXT("host", url->host),
	    has_url ? LOG_NUMBER("port", url->port) : LOG_TEXT("port", NULL),
	    LOG_TEXT("path", has_url ? path : NULL),
	    LOG_TEXT("status", answer_status_name(answer->status)),
	    answer->http_status > 0 ? LOG_NUMBER("code", answer->http_status)
				    : LOG_TEXT("code", answer->code),
	    LOG_NUMBER("ms", clock_monotonic_ms() - command->started_ms),
	    LOG_NUMBER("bytes_in", command->received_bytes),
	    LOG_NUMBER("bytes_out", command->sent_bytes),
	    LOG_NUMBER("attempt", command->attempt),
	};
	log_event(LOG_LEVEL_INFO, "command", fields, sizeof fields / sizeof fields[0]);
}

/* The answer stands: the command leaves at the end of this turn. */
void relay_end(struct relay *relay, struct command *command)
{
	command_set_state(command, COMMAND_DONE);
	log_end(command);
	payload_release(&command->payload);
	spool_release(&command->reply);
	json_object_put(command->body);
	command->body = NULL;
	relay->count--;
	TAILQ_INSERT_TAIL(&relay->ended, command, link);
	loop_defer(relay->loop, &relay->hand_out);
}

void relay_reject(struct relay *relay, struct command *command, const char *code,
		  const char *format, ...)
{
	struct buf message = BUF_INIT(64 * 1024);
	va_list args;
	va_start(args, format);
	buf_vprintf(&message, format, args);
	va_end(args);
	answer_reject(&command->answer, code, command->seal, buf_str(&message));
	buf_release(&message);
	relay_end(relay, command);
}

static void reject_problems(struct relay *relay, struct command *command, const char *code,
			    const char *what, const struct problems *problems)
{
	struct buf list = BUF_INIT(60 * 1024);
	problems_join(problems, "; ", &list);
	relay_reject(relay, command, code, "%s: %s", what, buf_str(&list));
	buf_release(&list);
}

static struct host_queue *host_queue_get(struct relay *relay, const struct url *url)
{
	char *origin = mem_printf("%s://%s:%u", url->scheme, url->host, (unsigned)url->port);
	struct host_queue *host;
	HASH_FIND_STR(relay->hosts, origin, host);
	if (host != NULL) {
		free(origin);
		return host;
	}
	host = mem_new(struct host_queue);
	host->origin = origin;
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

static bool is_expired(const struct command *command)
{
	return clock_now_ms() >= command->expires_at_ms;
}

/* The beginning of what a command names, which may be endless; the caller frees it. */
static char *shown(const char *name)
{
	size_t size = strlen(name);
	size_t cut = str_cut(name, size, LIMIT_SHOWN_NAME);
	return mem_printf("%.*s%s", (int)cut, name, cut < size ? "…" : "");
}

static void reject_expired(struct relay *relay, struct command *command)
{
	char *time = shown(command->expires_at);
	relay_reject(relay, command, "EXPIRED", "The command expired at %s, before it was executed",
		     time);
	free(time);
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

/* The payload has what the request needs. The body is kept for a journal that has to be begun
 * anew, but not where a great many, or a large one, would be in memory twice for that. */
static void drop_body(const struct relay *relay, struct command *command)
{
	if (relay->running > MANY_RUNNING || command_has_text_file(command) ||
	    payload_body_size(&command->payload) > LARGE_BODY_BYTES)
		relay_forget_body(command);
}

void relay_go(struct relay *relay, struct command *command)
{
	drop_body(relay, command);
	spool_init(&command->reply, SPOOL_SCRATCH, relay->spool_folder,
		   (size_t)relay->settings->max_response_bytes);
	command->running = target_start(relay->client, &relay->target_profile, &command->payload,
					&command->reply, on_target_done, command);
}

/* May the request be made, though it may have been made before? */
static bool may_repeat(const struct relay *relay, const struct command *command)
{
	const char *method = command->payload.method;
	switch (relay->settings->on_interrupted) {
	case INTERRUPTED_RETRY:
		return true;
	case INTERRUPTED_FAIL_ALL:
		return false;
	default:
		return strcmp(method, "POST") != 0 && strcmp(method, "PATCH") != 0;
	}
}

static void fail_interrupted(struct relay *relay, struct command *command)
{
	answer_fail(
	    &command->answer, "INTERRUPTED", command->seal,
	    "An agent stopped while the %s request was under way, or may have been: whether "
	    "the target has carried it out is not known. It was not repeated",
	    command->payload.method);
	relay_end(relay, command);
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
		if (is_expired(command) && command->is_interrupted)
			fail_interrupted(relay, command);
		else if (is_expired(command))
			reject_expired(relay, command);
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

static void wait_for_place(struct relay *relay, struct command *command)
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

/* From payload to a place in the line. payload is borrowed. */
void relay_take_opened(struct relay *relay, struct command *command, struct json_object *payload)
{
	const struct settings *settings = relay->settings;
	struct payload_limits limits = {
	    .default_timeout_ms = settings->request_timeout_ms,
	    .max_timeout_ms = settings->max_timeout_ms,
	    .default_redirects = settings->max_redirects,
	    .is_timeout_honoured = command->kind != COMMAND_LEGACY,
	};
	struct problems problems = PROBLEMS_INIT;
	if (payload_parse(payload, &limits, &command->payload, &problems) != 0)
		reject_problems(relay, command, "INVALID_PAYLOAD", "Invalid payload", &problems);
	else if (command->is_interrupted && (is_expired(command) || !may_repeat(relay, command)))
		fail_interrupted(relay, command);
	else
		wait_for_place(relay, command);
	problems_release(&problems);
}

/* For another agent? A command without a target is for whoever gets it. */
static bool is_wrong_target(const struct relay *relay, const struct command *command)
{
	const char *own_id = relay->settings->agent_id;
	return command->target_id != NULL && own_id != NULL &&
	       strcmp(command->target_id, own_id) != 0;
}

static void reject_target(struct relay *relay, struct command *command)
{
	char *target = shown(command->target_id);
	relay_reject(relay, command, "WRONG_TARGET",
		     "The command is for the agent \"%s\", this one is \"%s\"", target,
		     relay->settings->agent_id);
	free(target);
}

static void reject_action(struct relay *relay, struct command *command)
{
	char *action = shown(command->action);
	relay_reject(relay, command, "UNKNOWN_ACTION", "Unknown command action: %s", action);
	free(action);
}

void relay_take(struct relay *relay, struct command *command, const struct problems *problems)
{
	command->relay = relay;
	relay->count++;
	if (problems != NULL && problems->count > 0)
		reject_problems(relay, command, "INVALID_COMMAND", "Invalid command", problems);
	else if (is_wrong_target(relay, command))
		reject_target(relay, command);
	else if (!command_kind_of(command->action, &command->kind))
		reject_action(relay, command);
	else if (is_expired(command) && !command->is_interrupted)
		reject_expired(relay, command);
	else
		relay_open_body(relay, command);
}

void relay_take_payload(struct relay *relay, struct json_object *payload)
{
	struct command *command = mem_new(struct command);
	char id[UUID_TEXT_SIZE];
	random_uuid(id);
	answer_init(&command->answer);
	command->id = mem_strdup(id);
	command->action = mem_strdup("TetraScience.Connector.http.Request");
	command->expires_at_ms = INT64_MAX;
	command->attempt = 1;
	command->started_ms = clock_monotonic_ms();
	command->body = payload;
	relay_take(relay, command, NULL);
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

void relay_gate(struct relay *relay, void (*on_execute)(void *context, struct command *command))
{
	relay->on_execute = on_execute;
}

void relay_spool_to(struct relay *relay, const char *folder)
{
	relay->spool_folder = folder;
}

void relay_hold(struct relay *relay)
{
	relay->is_held = true;
	relay_hold_bodies(relay);
}

size_t relay_running(const struct relay *relay)
{
	return relay->running;
}

size_t relay_count(const struct relay *relay)
{
	return relay->count;
}

static int load_key(const struct secret *text, struct aead **aead, struct error *err)
{
	struct key key = {0};
	if (!secret_is_set(text))
		return 0;
	if (key_parse(text->bytes, text->size, &key, err) != 0)
		return err->code;
	*aead = aead_new(&key);
	key_release(&key);
	return 0;
}

struct relay *relay_new(struct loop *loop, struct http_client *client,
			const struct settings *settings,
			void (*on_end)(void *context, struct command *command), void *context,
			struct error *err)
{
	struct relay *relay = mem_new(struct relay);
	relay->loop = loop;
	relay->client = client;
	relay->settings = settings;
	relay->on_end = on_end;
	relay->context = context;
	relay->hand_out = (struct loop_task){.run = hand_out, .context = relay};
	relay->target_profile = (struct http_profile){.https_proxy = settings->target_proxy,
						      .http_proxy = settings->target_proxy};
	relay->service_profile = (struct http_profile){.https_proxy = settings->https_proxy,
						       .http_proxy = settings->http_proxy,
						       .no_proxy = settings->no_proxy,
						       .needs_tls12 = true};
	TAILQ_INIT(&relay->ready);
	TAILQ_INIT(&relay->opening);
	TAILQ_INIT(&relay->active);
	TAILQ_INIT(&relay->ended);
	if (load_key(&settings->key, &relay->key, err) != 0 ||
	    load_key(&settings->previous_key, &relay->previous_key, err) != 0) {
		relay_free(relay);
		return NULL;
	}
	return relay;
}

void relay_free_list(struct command_list *list)
{
	for (struct command *command; (command = TAILQ_FIRST(list)) != NULL;) {
		TAILQ_REMOVE(list, command, link);
		command_free(command);
	}
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

void relay_free(struct relay *relay)
{
	if (relay == NULL)
		return;
	cancel_active(relay);
	relay_cancel_opening(relay);
	relay_free_list(&relay->ended);
	struct host_queue *host = relay->hosts;
	HASH_CLEAR(hh, relay->hosts);
	for (struct host_queue *next; host != NULL; host = next) {
		next = host->hh.next;
		relay_free_list(&host->waiting);
		free(host->origin);
		free(host);
	}
	loop_cancel(relay->loop, &relay->hand_out);
	aead_free(relay->key);
	aead_free(relay->previous_key);
	free(relay);
}
