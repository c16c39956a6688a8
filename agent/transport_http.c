#include "agent/transport.h"

#include "agent/arrivals.h"
#include "agent/limits.h"
#include "agent/service_call.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	LEASE_SECONDS = 30,
	CALL_TIMEOUT_MS = 30000,
	POST_TIMEOUT_MS = 60000,
	LAST_WORD_TIMEOUT_MS = 150, /* "stopped" must not hold up a stop */
	SLACK_MS = 15000,           /* that a long poll may take beyond its own time */
	UPDATE_OVERHEAD = 160,      /* of a status in a post, beside its ids and its answer */
	ESCAPED_SIZE = 6,           /* of one byte in JSON, at most */
	EMBEDDED_MAX = 1024 * 1024,
	POST_MAX = 7 * 1024 * 1024,      /* of the service's 8 MB */
	ARRIVING_MAX = 16 * 1024 * 1024, /* of large commands, beside the next receive */
};

/* A call that is not the long poll. Any number may be under way. */
struct http_call {
	struct transport_http *transport;
	struct service_call *call;
	struct transport_post **posts;
	size_t post_count;
	size_t kept_count; /* leases that are to be extended */
	void (*on_done)(void *context);
	void *context;
	LIST_ENTRY(http_call) link;
};

struct transport_http {
	struct transport base;
	struct service_api api;
	const struct settings *settings;
	struct transport_events events;
	struct service_call *receive;
	struct json_elements received; /* the texts of its commands */
	struct json_span spans[LIMIT_RECEIVE_COMMANDS];
	bool is_received; /* on_received is due when there is room for the next one */
	struct arrivals *arrivals;
	LIST_HEAD(, http_call) calls;
};

static struct transport_http *self_of(struct transport *transport)
{
	return (struct transport_http *)transport;
}

static void deliver(struct transport_http *self, struct json_object *command,
		    const struct json_span *text, struct spool *kept, const char *problem)
{
	struct error err;
	struct transport_delivery delivery = {
	    .command = command, .attempt = 1, .kept = kept, .problem = problem};
	int64_t attempt;
	/* Both are the service's own additions; a service without them can still be used. */
	if (json_get_text(command, "receipt", &delivery.receipt, &err) != 0)
		delivery.receipt = NULL;
	if (json_get_int64(command, "attempt", 1, INT32_MAX, &attempt, &err) == 0)
		delivery.attempt = (int)attempt;
	if (text != NULL)
		delivery.text = *text;
	self->events.on_delivery(self->events.context, &delivery);
}

static void on_large_command(void *context, struct json_object *command,
			     const struct json_span *text, struct spool *kept, const char *problem)
{
	deliver(context, command, text, kept, problem);
}

/* Some more than were asked for are no harm. The others come again when their leases run out. */
static size_t count_of(struct json_object *commands)
{
	size_t count = json_object_array_length(commands);
	if (count <= LIMIT_RECEIVE_COMMANDS)
		return count;
	log_warn(
	    "a receive brought %zu commands, more than may be asked for: the last %zu are left to "
	    "their leases",
	    count, count - LIMIT_RECEIVE_COMMANDS);
	return LIMIT_RECEIVE_COMMANDS;
}

/* What the parser has left out: it is too large or too deep. */
static bool is_left_out(struct json_object *commands, size_t i, const struct json_span *text)
{
	return json_object_array_get_idx(commands, i) == NULL && text->text[0] != 'n';
}

/* The commands of a receive, each with its own text, so that nobody has to write it anew. */
static void deliver_all(struct transport_http *self, struct json_object *commands)
{
	const struct json_elements *received = &self->received;
	struct json_span large[LIMIT_RECEIVE_COMMANDS];
	size_t large_count = 0;
	size_t count = count_of(commands);
	for (size_t i = 0; i < count; i++) {
		bool has_text = i < received->count && i < received->max;
		const struct json_span *text = has_text ? &self->spans[i] : NULL;
		if (has_text && is_left_out(commands, i, text))
			large[large_count++] = *text;
		else
			deliver(self, json_object_array_get_idx(commands, i), text, NULL, NULL);
	}
	if (large_count > 0) {
		struct buf all = service_call_take_text(self->receive);
		arrivals_add(self->arrivals, &all, large, large_count);
	}
}

/* The next receive may bring as much as this one did. */
static void end_receive(struct transport_http *self)
{
	const struct transport_outcome ok = {.is_ok = true};
	if (!self->is_received || arrivals_bytes(self->arrivals) > ARRIVING_MAX)
		return;
	self->is_received = false;
	self->events.on_received(self->events.context, &ok);
}

static void on_large_done(void *context)
{
	end_receive(context);
}

static void on_receive_answer(void *context, struct json_object *answer,
			      const struct transport_outcome *outcome)
{
	struct transport_http *self = context;
	struct transport_outcome result = *outcome;
	struct json_object *commands = json_member(answer, "commands");
	if (result.is_ok && json_object_is_type(commands, json_type_array)) {
		self->events.on_reached(self->events.context);
		deliver_all(self, commands);
		self->receive = NULL;
		self->is_received = true;
		end_receive(self);
		return;
	}
	self->receive = NULL;
	if (result.is_ok) {
		result.is_ok = false;
		snprintf(result.reason, sizeof result.reason,
			 "the answer to a receive holds no `commands`");
	}
	self->events.on_received(self->events.context, &result);
}

static void transport_http_receive(struct transport *transport, size_t max)
{
	struct transport_http *self = self_of(transport);
	const char *const path[] = {"v1",       "agents",  self->settings->agent_id,
				    "commands", "receive", NULL};
	if (max > LIMIT_RECEIVE_COMMANDS)
		max = LIMIT_RECEIVE_COMMANDS;
	struct json_object *body = json_new_object();
	json_set_int64(body, "max", (int64_t)max);
	json_set_int64(body, "waitSeconds", self->settings->poll_wait_seconds);
	json_set_int64(body, "leaseSeconds", LEASE_SECONDS);
	self->receive = service_call_start(&self->api, "POST", path, NULL, body,
					   self->settings->poll_wait_seconds * 1000 + SLACK_MS,
					   LIMIT_RECEIVE_BYTES, on_receive_answer, self);
	self->received = (struct json_elements){
	    .key = "commands",
	    .spans = self->spans,
	    .max = LIMIT_RECEIVE_COMMANDS,
	    .large_bytes = self->events.folder != NULL ? SPOOL_MEMORY_BYTES : 0,
	};
	service_call_note(self->receive, &self->received);
}

static void give_up_receive(struct transport_http *self)
{
	service_call_cancel(self->receive);
	self->receive = NULL;
}

static bool transport_http_receive_cancel(struct transport *transport)
{
	struct transport_http *self = self_of(transport);
	bool is_coming = service_call_has_begun(self->receive);
	if (service_call_hurry(self->receive))
		log_debug("the receive's answer had come and was read to its end");
	else if (is_coming)
		log_debug("the receive's answer is coming and is waited for");
	else
		give_up_receive(self);
	arrivals_hurry(self->arrivals);
	return !is_coming;
}

static struct http_call *call_new(struct transport_http *self)
{
	struct http_call *call = mem_new(struct http_call);
	call->transport = self;
	LIST_INSERT_HEAD(&self->calls, call, link);
	return call;
}

static void call_free(struct http_call *call)
{
	LIST_REMOVE(call, link);
	free((void *)call->posts);
	free(call);
}

/* before: what stands between the last member and the value. */
static void append_member(struct buf *out, const char *before, const char *value)
{
	buf_append_str(out, before);
	json_write_escaped(out, value, strlen(value));
}

/* Appends one status, whose body is JSON already. */
static void append_update(struct buf *out, const struct transport_post *post)
{
	char created_at[CLOCK_TEXT_SIZE];
	const struct answer *answer = post->answer;
	append_member(out, "{\"commandId\":\"", post->command_id);
	if (post->receipt != NULL)
		append_member(out, "\",\"receipt\":\"", post->receipt);
	append_member(out, "\",\"status\":\"", answer_status_name(answer->status));
	clock_format(answer->ended_at_ms, created_at);
	append_member(out, "\",\"createdAt\":\"", created_at);
	if (post->is_referenced) {
		buf_append_str(out, "\",\"responseBodyDelivery\":\"referenced\"}");
		return;
	}
	const struct buf *json = spool_memory(&answer->json);
	buf_append_str(out, "\",\"body\":");
	buf_append(out, json->data, json->size);
	buf_append_char(out, '}');
}

/* One result of the service's list: "accepted", "duplicate" or "conflict". */
static void read_result(struct transport_post *post, struct json_object *item)
{
	const char *result = "";
	const char *reason = "no reason given";
	struct error err;
	if (json_get_text(item, "result", &result, &err) != 0)
		reason = err.message;
	if (strcmp(result, "accepted") == 0) {
		post->result = POST_ACCEPTED;
	} else if (strcmp(result, "duplicate") == 0) {
		post->result = POST_DUPLICATE;
	} else {
		post->result = POST_CONFLICT;
		if (json_get_text(item, "reason", &reason, &err) != 0)
			log_debug("a conflict came without a reason");
		snprintf(post->reason, sizeof post->reason, "%s", reason);
	}
}

/* Which of the posts an item of the results is about: they come in the order in which they
 * were sent, or by name where a service answers otherwise. */
static struct transport_post *post_of(const struct http_call *call, size_t index,
				      struct json_object *item)
{
	const char *id;
	struct error err;
	if (json_get_text(item, "commandId", &id, &err) != 0 ||
	    strcmp(call->posts[index]->command_id, id) == 0)
		return call->posts[index];
	for (size_t i = 0; i < call->post_count; i++) {
		if (strcmp(call->posts[i]->command_id, id) == 0)
			return call->posts[i];
	}
	return call->posts[index];
}

static void on_post_answer(void *context, struct json_object *answer,
			   const struct transport_outcome *outcome)
{
	struct http_call *call = context;
	struct transport_http *self = call->transport;
	struct transport_outcome result = *outcome;
	struct json_object *results = json_member(answer, "results");
	if (result.is_ok && (!json_object_is_type(results, json_type_array) ||
			     json_object_array_length(results) != call->post_count)) {
		result.is_ok = false;
		snprintf(result.reason, sizeof result.reason,
			 "the answer to a status post does not hold one result for each");
	}
	for (size_t i = 0; result.is_ok && i < call->post_count; i++) {
		struct json_object *item = json_object_array_get_idx(results, i);
		read_result(post_of(call, i, item), item);
	}
	self->events.on_posted(self->events.context, call->posts, call->post_count, &result);
	call_free(call);
}

/* Closely: what escaping adds to an id is left out, and there is room for it. */
static size_t transport_http_message_size(struct transport *transport,
					  const struct transport_post *post, size_t body_size)
{
	(void)transport;
	return UPDATE_OVERHEAD + strlen(post->command_id) +
	       (post->receipt != NULL ? strlen(post->receipt) : 0) +
	       (post->is_referenced ? 0 : body_size);
}

static void transport_http_post(struct transport *transport, struct transport_post **posts,
				size_t count)
{
	struct transport_http *self = self_of(transport);
	const char *const path[] = {"v1",       "agents", self->settings->agent_id,
				    "commands", "status", NULL};
	struct buf body = BUF_INIT(SIZE_MAX / 2);
	size_t id_bytes = 0;
	buf_append_str(&body, "{\"updates\":[");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_char(&body, ',');
		append_update(&body, posts[i]);
		id_bytes += strlen(posts[i]->command_id);
	}
	buf_append_str(&body, "]}");
	struct http_call *call = call_new(self);
	call->posts = posts;
	call->post_count = count;
	/* The answer repeats the ids. */
	call->call = service_call_start_text(&self->api, "POST", path, &body, POST_TIMEOUT_MS,
					     LIMIT_SERVICE_ANSWER_BYTES + ESCAPED_SIZE * id_bytes,
					     on_post_answer, call);
}

/* The lease says it: a delivery is forgotten when its answer has come. */
static void transport_http_taken(struct transport *transport, const struct transport_taken *taken)
{
	(void)transport;
	(void)taken;
}

static void transport_http_settled(struct transport *transport, const char *receipt)
{
	(void)transport;
	(void)receipt;
}

/* One result of the service's list: "ok" or "lost". */
static void read_kept(struct transport_http *self, struct json_object *item)
{
	const char *receipt;
	const char *result;
	struct error err;
	if (json_get_text(item, "receipt", &receipt, &err) == 0 &&
	    json_get_text(item, "result", &result, &err) == 0 && strcmp(result, "lost") == 0)
		self->events.on_lost(self->events.context, receipt);
}

static void on_keep_answer(void *context, struct json_object *answer,
			   const struct transport_outcome *outcome)
{
	struct http_call *call = context;
	struct transport_http *self = call->transport;
	struct json_object *results = json_member(answer, "results");
	if (!outcome->is_ok)
		log_debug("extending leases failed: %s", outcome->reason);
	size_t count =
	    json_object_is_type(results, json_type_array) ? json_object_array_length(results) : 0;
	for (size_t i = 0; i < count && i < call->kept_count; i++)
		read_kept(self, json_object_array_get_idx(results, i));
	self->events.on_kept(self->events.context, outcome);
	call_free(call);
}

static void transport_http_keep(struct transport *transport, const char *const *receipts,
				size_t count)
{
	struct transport_http *self = self_of(transport);
	const char *const path[] = {"v1",       "agents", self->settings->agent_id,
				    "commands", "extend", NULL};
	struct json_object *list = json_new_array();
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(receipts[i]);
		json_append(list, json_new_string(receipts[i], size));
		bytes += size;
	}
	struct json_object *body = json_new_object();
	json_set(body, "receipts", list);
	json_set_int64(body, "leaseSeconds", LEASE_SECONDS);
	struct http_call *call = call_new(self);
	call->kept_count = count;
	/* The answer repeats the receipts. */
	call->call = service_call_start(&self->api, "POST", path, NULL, body, CALL_TIMEOUT_MS,
					LIMIT_SERVICE_ANSWER_BYTES + ESCAPED_SIZE * bytes,
					on_keep_answer, call);
}

static void on_announced(void *context, struct json_object *answer,
			 const struct transport_outcome *outcome)
{
	(void)answer;
	struct http_call *call = context;
	/* Nothing depends on it, and polling tells the same trouble. */
	if (outcome->is_ok)
		call->transport->events.on_reached(call->transport->events.context);
	else
		log_debug("announcing the agent's status failed: %s", outcome->reason);
	call->transport->events.on_announced(call->transport->events.context, outcome);
	if (call->on_done != NULL)
		call->on_done(call->context);
	call_free(call);
}

static void transport_http_announce(struct transport *transport, const char *status,
				    void (*on_done)(void *context), void *context)
{
	struct transport_http *self = self_of(transport);
	struct http_call *call = call_new(self);
	call->on_done = on_done;
	call->context = context;
	call->call = service_announce_start(
	    &self->api, status, on_done != NULL ? LAST_WORD_TIMEOUT_MS : CALL_TIMEOUT_MS,
	    on_announced, call);
}

static void transport_http_free(struct transport *transport)
{
	struct transport_http *self = self_of(transport);
	give_up_receive(self);
	arrivals_free(self->arrivals);
	struct http_call *call = LIST_FIRST(&self->calls);
	for (struct http_call *next; call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		service_call_cancel(call->call);
		free((void *)call->posts);
		free(call);
	}
	service_api_release(&self->api);
	free(self);
}

static const struct transport_ops HTTP_OPS = {
    .receive = transport_http_receive,
    .receive_cancel = transport_http_receive_cancel,
    .post = transport_http_post,
    .message_size = transport_http_message_size,
    .taken = transport_http_taken,
    .settled = transport_http_settled,
    .keep = transport_http_keep,
    .announce = transport_http_announce,
    .free = transport_http_free,
};

struct transport *transport_http_new(struct http_client *client, const struct settings *settings,
				     const struct transport_events *events, struct error *err)
{
	struct transport_http *self = mem_new(struct transport_http);
	self->settings = settings;
	self->events = *events;
	LIST_INIT(&self->calls);
	const struct arrivals_events large = {
	    .context = self, .on_command = on_large_command, .on_done = on_large_done};
	if (service_api_init(&self->api, client, settings, err) != 0) {
		free(self);
		return NULL;
	}
	self->arrivals = arrivals_new(http_client_loop(client), events->folder, &large);
	self->base = (struct transport){
	    .ops = &HTTP_OPS,
	    .name = "http",
	    .embedded_max_bytes = EMBEDDED_MAX,
	    .message_max_bytes = POST_MAX,
	    .post_max_bytes = POST_MAX,
	    .keep_interval_ms = LEASE_SECONDS * 1000 / 3,
	    .profile = self->api.profile,
	    .address = service_api_address(&self->api),
	};
	return &self->base;
}
