#include "agent/endpoint.h"
#include "agent/limits.h"
#include "agent/sqs.h"
#include "agent/tdp_config.h"
#include "agent/tdp_credentials.h"
#include "agent/tdp_message.h"
#include "agent/tdp_receipts.h"
#include "agent/tdp_receives.h"
#include "agent/tdp_statuses.h"
#include "agent/transport.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CALL_TIMEOUT_MS = 30000,
	LAST_WORD_TIMEOUT_MS = 1000, /* "stopped" must not hold up a stop for long, */
	LAST_CALLS_MS = 1000,        /* nor must what the queues are still to hear */
	LONG_POLL_SECONDS_MAX = 20,  /* of SQS */
	LEASE_SECONDS = 30,          /* of messages that stay while their command runs */
	POST_MAX = 4 * 1024 * 1024,  /* status messages under way */
};

struct transport_tdp {
	struct transport base;
	struct loop *loop;
	struct source *source;
	struct service_api api;
	const struct settings *settings;
	struct transport_events events;
	struct tdp_credentials *credentials;
	struct sqs sqs;
	struct tdp_pace pace;
	struct tdp_statuses *statuses;
	struct tdp_receipts *deletes;
	struct tdp_receipts *extensions;

	struct tdp_config config; /* empty: to be asked for */
	struct url queue_url;     /* of the source queue; without texts: not known */
	struct service_call *config_call;

	struct tdp_receives *receives;
	size_t wanted;     /* by the agent's receive */
	size_t keeps_due;  /* calls of keep that are to be told how they ended */
	bool keeps;        /* SQS_ACK=done: messages stay until their command has ended */
	uint64_t unusable; /* messages that were no commands */

	struct service_call *announcement; /* that it has started or stopped */
	bool is_started;                   /* the platform has heard of it */
	struct service_call *heartbeat;
	void (*on_last_word)(void *context);
	void *last_word_context;
	struct loop_timer *last_word; /* waits for the last calls to the queues … */
	int64_t last_word_due_ms;     /* … until then */
};

static struct transport_tdp *self_of(struct transport *transport)
{
	return (struct transport_tdp *)transport;
}

static void on_reached(void *context)
{
	struct transport_tdp *self = context;
	self->events.on_reached(self->events.context);
}

static bool has_config(const struct transport_tdp *self)
{
	return self->config.source_queue != NULL;
}

/* Where it is worth while to knock: at the queue's host, which is not the platform's. */
static void set_address(struct transport_tdp *self)
{
	struct error err;
	url_release(&self->queue_url);
	self->queue_url = (struct url){0};
	if (service_api_address(&self->api) == NULL ||
	    url_parse(self->config.source_queue, &self->queue_url, &err) != 0)
		return; /* a proxy is in the way; the URL has been parsed before */
	self->base.address = &self->queue_url;
	source_set_address(self->source, self->base.address);
}

static void use_queues(struct transport_tdp *self)
{
	if (has_config(self)) {
		sqs_set_region(&self->sqs, self->config.region);
		set_address(self);
	}
	tdp_receipts_set_queue(self->deletes, self->config.source_queue);
	tdp_receipts_set_queue(self->extensions, self->config.source_queue);
	tdp_statuses_set_queue(self->statuses, self->config.platform_queue);
}

/* The queues may have moved: what waits for them waits until they are known again. */
static void forget_config(struct transport_tdp *self)
{
	struct tdp_config none = {0};
	struct tdp_config old = self->config;
	self->config = none;
	use_queues(self);
	tdp_config_release(&old);
}

static void drop_unusable(struct transport_tdp *self, const struct tdp_message *message,
			  struct json_object *json, const char *reason)
{
	struct buf cut = BUF_INIT(4096);
	tdp_message_append_cut(&cut, json);
	self->unusable++;
	log_warn("the message %.100s is no command and is deleted: %s (%s); %llu since the start",
		 message->id, reason, buf_str(&cut), (unsigned long long)self->unusable);
	buf_release(&cut);
	if (message->receipt != NULL)
		tdp_receipts_add(self->deletes, message->receipt);
}

static void on_message(void *context, struct json_object *json)
{
	struct transport_tdp *self = context;
	struct tdp_message message;
	struct error err;
	if (tdp_message_read(&message, json, &err) != 0) {
		drop_unusable(self, &message, json, err.message);
		return;
	}
	struct transport_delivery delivery = {
	    .command = message.command,
	    .text = message.text,
	    .receipt = message.receipt,
	    .attempt = message.attempt,
	    .problem = message.problem.code != 0 ? message.problem.message : NULL};
	self->events.on_delivery(self->events.context, &delivery);
	json_object_put(message.command);
}

static bool is_about_a_queue(const char *code)
{
	return strstr(code, "QueueDoesNotExist") != NULL ||
	       strstr(code, "NonExistentQueue") != NULL;
}

static void on_receive_ended(void *context, const struct sqs_outcome *outcome)
{
	struct transport_tdp *self = context;
	if (outcome->base.is_ok)
		self->events.on_reached(self->events.context);
	else if (is_about_a_queue(outcome->code) && !self->pace.is_hurried) /* nobody would ask */
		forget_config(self);
	self->events.on_received(self->events.context, &outcome->base);
}

static void on_config(void *context, struct json_object *answer,
		      const struct transport_outcome *outcome)
{
	struct transport_tdp *self = context;
	struct transport_outcome result = *outcome;
	struct error err;
	self->config_call = NULL;
	if (result.is_ok && tdp_config_read(&self->config, answer, &err) != 0) {
		result.is_ok = false;
		memcpy(result.reason, err.message, sizeof result.reason);
	}
	if (!result.is_ok) {
		self->events.on_received(self->events.context, &result);
		return;
	}
	use_queues(self);
	tdp_receives_start(self->receives, self->config.source_queue, self->wanted);
}

static void transport_tdp_receive(struct transport *transport, size_t max)
{
	struct transport_tdp *self = self_of(transport);
	self->wanted = max;
	if (has_config(self))
		tdp_receives_start(self->receives, self->config.source_queue, max);
	else
		self->config_call = tdp_config_ask(&self->api, on_config, self);
}

static bool transport_tdp_receive_cancel(struct transport *transport)
{
	struct transport_tdp *self = self_of(transport);
	self->pace.is_hurried = true;
	service_call_cancel(self->config_call);
	self->config_call = NULL;
	bool is_over = tdp_receives_stop(self->receives);
	if (!is_over)
		log_debug("the receive's answer is coming and is waited for");
	return is_over;
}

static void on_posted(void *context, struct transport_post **posts, size_t count,
		      const struct transport_outcome *outcome)
{
	struct transport_tdp *self = context;
	if (outcome->is_ok)
		self->events.on_reached(self->events.context);
	self->events.on_posted(self->events.context, posts, count, outcome);
}

static void transport_tdp_post(struct transport *transport, struct transport_post **posts,
			       size_t count)
{
	struct transport_tdp *self = self_of(transport);
	for (size_t i = 0; i < count; i++) {
		tdp_pace_command_ended(&self->pace);
		tdp_statuses_post(self->statuses, posts[i]);
	}
	free((void *)posts);
}

static size_t transport_tdp_message_size(struct transport *transport,
					 const struct transport_post *post, size_t body_size)
{
	return tdp_statuses_size(self_of(transport)->statuses, post, body_size);
}

static void transport_tdp_taken(struct transport *transport, const struct transport_taken *taken)
{
	struct transport_tdp *self = self_of(transport);
	if (taken->is_news)
		tdp_statuses_processing(self->statuses, taken);
	if (!self->keeps && taken->receipt != NULL)
		tdp_receipts_add(self->deletes, taken->receipt);
}

static void transport_tdp_settled(struct transport *transport, const char *receipt)
{
	struct transport_tdp *self = self_of(transport);
	if (self->keeps && receipt != NULL)
		tdp_receipts_add(self->deletes, receipt);
}

static void transport_tdp_keep(struct transport *transport, const char *const *receipts,
			       size_t count)
{
	struct transport_tdp *self = self_of(transport);
	self->keeps_due++;
	for (size_t i = 0; i < count; i++)
		tdp_receipts_add(self->extensions, receipts[i]);
}

static void on_lost(void *context, const char *receipt)
{
	struct transport_tdp *self = context;
	self->events.on_lost(self->events.context, receipt);
}

static void on_extended(void *context, const struct transport_outcome *outcome)
{
	struct transport_tdp *self = context;
	for (size_t due = self->keeps_due; due > 0; due--) {
		self->keeps_due--;
		self->events.on_kept(self->events.context, outcome);
	}
}

/* Nothing depends on these, and polling tells the same trouble. */
static void log_unheard(const struct transport_outcome *outcome)
{
	if (!outcome->is_ok)
		log_debug("announcing the agent's status failed: %s", outcome->reason);
}

static void on_announced(void *context, struct json_object *answer,
			 const struct transport_outcome *outcome)
{
	(void)answer;
	struct transport_tdp *self = context;
	self->announcement = NULL;
	self->is_started = outcome->is_ok;
	log_unheard(outcome);
	if (self->on_last_word == NULL)
		return; /* its heartbeat tells how it went */
	self->events.on_announced(self->events.context, outcome);
	self->on_last_word(self->last_word_context);
}

static void on_heartbeat(void *context, struct json_object *answer,
			 const struct transport_outcome *outcome)
{
	(void)answer;
	struct transport_tdp *self = context;
	self->heartbeat = NULL;
	log_unheard(outcome);
	self->events.on_announced(self->events.context, outcome);
}

static void say_last_word(void *context)
{
	struct transport_tdp *self = context;
	service_call_cancel(self->announcement);
	self->announcement =
	    service_announce_start(&self->api, "STOPPED", LAST_WORD_TIMEOUT_MS, on_announced, self);
}

/* Deletes that are lost would bring their messages again, to the next life of this agent. */
static void wait_for_queues(void *context)
{
	enum { STEP_MS = 20 };
	struct transport_tdp *self = context;
	bool is_idle = tdp_receipts_is_idle(self->deletes) && tdp_statuses_is_idle(self->statuses);
	if (is_idle || clock_monotonic_ms() >= self->last_word_due_ms)
		say_last_word(self);
	else
		loop_timer_start(self->last_word, STEP_MS);
}

static void transport_tdp_announce(struct transport *transport, const char *status,
				   void (*on_done)(void *context), void *context)
{
	struct transport_tdp *self = self_of(transport);
	(void)status; /* which one it is follows from what was said before */
	if (on_done != NULL) {
		service_call_cancel(
		    self->announcement); /* or its end were taken for the last one's */
		self->announcement = NULL;
		self->on_last_word = on_done;
		self->last_word_context = context;
		self->last_word_due_ms = clock_monotonic_ms() + LAST_CALLS_MS;
		wait_for_queues(self);
		return;
	}
	if (!self->is_started && self->announcement == NULL)
		self->announcement = service_announce_start(&self->api, "STARTED", CALL_TIMEOUT_MS,
							    on_announced, self);
	/* The platform wants a first heartbeat at once. */
	if (self->heartbeat == NULL)
		self->heartbeat =
		    service_announce_start(&self->api, NULL, CALL_TIMEOUT_MS, on_heartbeat, self);
}

static void transport_tdp_free(struct transport *transport)
{
	struct transport_tdp *self = self_of(transport);
	service_call_cancel(self->config_call);
	service_call_cancel(self->announcement);
	service_call_cancel(self->heartbeat);
	tdp_receives_free(self->receives);
	tdp_statuses_free(self->statuses);
	tdp_receipts_free(self->deletes);
	tdp_receipts_free(self->extensions);
	tdp_credentials_free(self->credentials);
	loop_timer_free(self->last_word);
	sqs_release(&self->sqs);
	tdp_config_release(&self->config);
	url_release(&self->queue_url);
	service_api_release(&self->api);
	free(self);
}

static const struct transport_ops TDP_OPS = {
    .receive = transport_tdp_receive,
    .receive_cancel = transport_tdp_receive_cancel,
    .post = transport_tdp_post,
    .message_size = transport_tdp_message_size,
    .taken = transport_tdp_taken,
    .settled = transport_tdp_settled,
    .keep = transport_tdp_keep,
    .announce = transport_tdp_announce,
    .free = transport_tdp_free,
};

/* A sixth of what may run at once stays free until a receive is worth its call. */
static size_t receive_worthwhile(const struct settings *settings)
{
	size_t sixth = (size_t)settings->max_in_flight / 6;
	return sixth < SQS_BATCH_MAX ? sixth : SQS_BATCH_MAX;
}

static void set_up_queues(struct transport_tdp *self)
{
	/* Messages that are deleted at once come in tens already. */
	const struct tdp_pace *deletes_pace = self->keeps ? &self->pace : NULL;
	struct tdp_receives_events events = {
	    .context = self, .on_message = on_message, .on_ended = on_receive_ended};
	int64_t wait_seconds = self->settings->poll_wait_seconds;
	if (wait_seconds > LONG_POLL_SECONDS_MAX)
		wait_seconds = LONG_POLL_SECONDS_MAX;
	/* What stays in the queue comes again soon when this agent dies. */
	self->receives = tdp_receives_new(self->loop, &self->sqs, &self->pace, wait_seconds,
					  self->keeps ? LEASE_SECONDS : 0, &events);
	self->statuses = tdp_statuses_new(self->loop, &self->sqs, &self->pace,
					  self->settings->agent_id, on_posted, self);
	self->deletes = tdp_deletes_new(self->loop, self->source, &self->sqs, deletes_pace);
	self->extensions =
	    tdp_extensions_new(self->loop, &self->sqs, LEASE_SECONDS, on_lost, on_extended, self);
}

struct transport *transport_tdp_new(struct loop *loop, struct http_client *client,
				    struct source *source, const struct settings *settings,
				    const struct transport_events *events,
				    struct json_object *config, struct error *err)
{
	struct transport_tdp *self = mem_new(struct transport_tdp);
	struct error why;
	self->loop = loop;
	self->source = source;
	self->settings = settings;
	self->events = *events;
	self->keeps = settings->sqs_ack == SQS_ACK_DONE;
	if (service_api_init(&self->api, client, settings, err) != 0) {
		free(self);
		return NULL;
	}
	self->pace = (struct tdp_pace){.in_flight = events->in_flight, .context = events->context};
	self->credentials = tdp_credentials_new(loop, source, &self->api, on_reached, self);
	sqs_init(&self->sqs, client, settings, self->credentials);
	self->last_word = loop_timer_new(loop, wait_for_queues, self);
	set_up_queues(self);
	self->base = (struct transport){
	    .ops = &TDP_OPS,
	    .name = "tdp",
	    .embedded_max_bytes = SQS_MESSAGE_MAX,
	    .message_max_bytes = SQS_MESSAGE_MAX,
	    .post_max_bytes = POST_MAX,
	    .gathers_posts = true,
	    .gzips_uploads = true,
	    .keep_interval_ms = self->keeps ? LEASE_SECONDS * 1000 / 3 : 0,
	    .receive_worthwhile = receive_worthwhile(settings),
	    .profile = self->sqs.profile,
	    .address = service_api_address(&self->api),
	};
	if (config != NULL && tdp_config_read(&self->config, config, &why) == 0)
		use_queues(self);
	else
		log_debug("the queues are to be asked for");
	return &self->base;
}
