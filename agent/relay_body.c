#include "agent/relay_inside.h"

#include "agent/limits.h"
#include "agent/opening.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

void relay_forget_body(struct command *command)
{
	json_object_put(command->body);
	command->body = NULL;
	command->is_body_dropped = true;
}

/* The requestor could not read a sealed answer. */
static void decryption_failed(struct relay *relay, struct command *command, const char *reason)
{
	answer_fail(&command->answer, "DECRYPTION_FAILED", NULL, "Decryption failed: %s", reason);
	relay_end(relay, command);
}

static void begin_opening(struct relay *relay, struct command *command, size_t size)
{
	command->opening_bytes = sizeof *command + size;
	relay->waiting_bytes += command->opening_bytes;
	TAILQ_INSERT_TAIL(&relay->opening, command, link);
}

static void end_opening(struct relay *relay, struct command *command)
{
	command->opening = NULL;
	TAILQ_REMOVE(&relay->opening, command, link);
	relay->waiting_bytes -= command->opening_bytes;
}

static const char *why_unread(const struct opened *opened)
{
	return opened->code == ERR_LIMIT ? "more than is taken" : "not JSON";
}

static void on_opened(void *context, const struct opened *opened)
{
	struct command *command = context;
	struct relay *relay = command->relay;
	end_opening(relay, command);
	command->seal = opened->seal;
	if (opened->seal == NULL)
		decryption_failed(relay, command, opened->err.message);
	else if (opened->code != 0)
		relay_reject(relay, command, "INVALID_PAYLOAD",
			     "Invalid payload: the decrypted text is %s: %s", why_unread(opened),
			     opened->err.message);
	else
		relay_take_opened(relay, command, opened->payload);
}

/* Its answer will be sealed with the key that it opens with. */
static void open_sealed(struct relay *relay, struct command *command)
{
	if (relay->key == NULL) {
		decryption_failed(relay, command,
				  "this agent has no key: set SECURE_COMMAND_KEY and restart it");
		return;
	}
	struct json_object *ciphertext = json_member(command->body, "ciphertext");
	begin_opening(relay, command, (size_t)json_object_get_string_len(ciphertext));
	/* May have called back already, and the command be gone. */
	struct opening *opening = opening_start(relay->loop, relay->key, relay->previous_key,
						command->body, on_opened, command);
	if (opening == NULL)
		return;
	command->opening = opening;
	/* What is sealed goes when it is open, and need not stand beside the payload. */
	if (command_has_text_file(command))
		relay_forget_body(command);
}

/* The body is there. */
static void prepare(struct relay *relay, struct command *command)
{
	if (command->kind == COMMAND_SEALED)
		open_sealed(relay, command);
	else
		relay_take_opened(relay, command, command->body);
}

static void body_unavailable(struct relay *relay, struct command *command, const char *reason)
{
	answer_fail(&command->answer, "BODY_UNAVAILABLE", NULL,
		    "The command's body could not be fetched from bodyUrl: %s", reason);
	relay_end(relay, command);
}

static void on_body_parsed(void *context, const struct opened *opened)
{
	struct command *command = context;
	struct relay *relay = command->relay;
	struct error err = opened->err;
	end_opening(relay, command);
	if (opened->code != 0) {
		error_prefix(&err, "it is %s", why_unread(opened));
		body_unavailable(relay, command, err.message);
	} else {
		command->body = json_object_get(opened->payload);
		prepare(relay, command);
	}
}

static void parse_body(struct relay *relay, struct command *command, struct buf *text)
{
	begin_opening(relay, command, text->size);
	/* May have called back already, and the command be gone. */
	struct opening *opening = opening_start_text(relay->loop, text, on_body_parsed, command);
	if (opening != NULL)
		command->opening = opening;
}

static void on_body_fetched(void *context, struct http_response *response)
{
	struct command *command = context;
	struct relay *relay = command->relay;
	struct error err;
	command->running = NULL;
	TAILQ_REMOVE(&relay->active, command, link);
	relay->running--;
	if (response->status == 0) {
		body_unavailable(relay, command, response->message);
	} else if (response->status < 200 || response->status > 299) {
		error_set(&err, ERR_NETWORK, "HTTP status %d", response->status);
		body_unavailable(relay, command, err.message);
	} else {
		parse_body(relay, command, response->body);
	}
	relay_start_ready(relay);
}

static void fetch_body(struct relay *relay, struct command *command)
{
	struct url url;
	struct error err;
	if (url_parse(command->body_url, &url, &err) != 0) {
		body_unavailable(relay, command, err.message);
		return;
	}
	url_release(&url);
	struct http_request request = {
	    .profile = &relay->service_profile,
	    .method = "GET",
	    .url = command->body_url, /* byte for byte: it may be signed */
	    .timeout_ms = relay->settings->request_timeout_ms,
	    .decode = true,
	    .max_response_bytes = LIMIT_FETCHED_BODY_BYTES,
	};
	command_set_state(command, COMMAND_FETCHING);
	TAILQ_INSERT_TAIL(&relay->active, command, link);
	relay->running++;
	json_object_put(command->body);
	command->body = NULL;
	command->running = http_start(relay->client, &request, on_body_fetched, command);
}

void relay_cancel_opening(struct relay *relay)
{
	struct command *command;
	TAILQ_FOREACH(command, &relay->opening, link)
	{
		if (command->opening != NULL) /* or it is held */
			opening_cancel(command->opening);
	}
	relay_free_list(&relay->opening);
}

/* The payload has what the request needs, and the journal need not have the rest from us: it has
 * it as a file, or has the address where a large body was fetched, as it had before. */
void relay_drop_waiting_body(struct command *command)
{
	if (command_has_text_file(command)) {
		relay_forget_body(command);
	} else if (command->body_url != NULL && command->opening_bytes > SPOOL_MEMORY_BYTES) {
		json_object_put(command->body);
		command->body = NULL;
	}
}

/* It stays in the journal; the next life begins anew. */
static void hold_back(struct relay *relay, struct command *command)
{
	begin_opening(relay, command, 0);
}

void relay_hold_bodies(struct relay *relay)
{
	struct command *command = TAILQ_FIRST(&relay->active);
	for (struct command *next; command != NULL; command = next) {
		next = TAILQ_NEXT(command, link);
		if (command->state != COMMAND_FETCHING)
			continue;
		http_cancel(command->running);
		command->running = NULL;
		TAILQ_REMOVE(&relay->active, command, link);
		relay->running--;
		hold_back(relay, command);
	}
}

void relay_open_body(struct relay *relay, struct command *command)
{
	if (command->body_url != NULL && relay->is_held)
		hold_back(relay, command);
	else if (command->body_url != NULL)
		fetch_body(relay, command);
	else
		prepare(relay, command);
}
