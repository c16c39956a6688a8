#include "agent/relay_inside.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool relay_is_expired(const struct command *command)
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

void relay_reject_expired(struct relay *relay, struct command *command)
{
	char *time = shown(command->expires_at);
	relay_reject(relay, command, "EXPIRED", "The command expired at %s, before it was executed",
		     time);
	free(time);
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

void relay_fail_interrupted(struct relay *relay, struct command *command)
{
	answer_fail(
	    &command->answer, "INTERRUPTED", command->seal,
	    "An agent stopped while the %s request was under way, or may have been: whether "
	    "the target has carried it out is not known. It was not repeated",
	    command->payload.method);
	relay_end(relay, command);
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
	else if (command->is_interrupted &&
		 (relay_is_expired(command) || !may_repeat(relay, command)))
		relay_fail_interrupted(relay, command);
	else
		relay_wait_for_place(relay, command);
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
	else if (relay_is_expired(command) && !command->is_interrupted)
		relay_reject_expired(relay, command);
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
	relay_init_places(relay);
	TAILQ_INIT(&relay->opening);
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

void relay_free(struct relay *relay)
{
	if (relay == NULL)
		return;
	relay_free_places(relay);
	relay_cancel_opening(relay);
	relay_free_list(&relay->ended);
	loop_cancel(relay->loop, &relay->hand_out);
	aead_free(relay->key);
	aead_free(relay->previous_key);
	free(relay);
}
