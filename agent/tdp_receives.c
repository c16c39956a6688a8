#include "agent/tdp_receives.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	SLACK_MS = 15000,       /* that a long poll may take beyond its own time */
	CALLS_AT_ONCE = 4,      /* while each brings all that it can */
	EMPTY_AT_ONCE_MS = 500, /* a long poll that brings nothing so soon … */
	EMPTY_PAUSE_MS = 1000,  /* … must not become a busy loop */
	TURN_BYTES = 64 * 1024, /* of messages that a turn reads; one is read at once */
};

struct receive_call {
	struct tdp_receives *owner;
	struct sqs_call *call; /* NULL: its answer is here */
	int64_t started_ms;
	int64_t took_ms;
	struct json_object *answer;
	struct json_object *messages; /* borrowed from that */
	size_t count;
	size_t next; /* to be handed on */
	struct loop_task hand_on;
	LIST_ENTRY(receive_call) link;
};

struct tdp_receives {
	struct loop *loop;
	struct sqs *sqs;
	const struct tdp_pace *pace;
	struct tdp_receives_events events;
	int64_t wait_seconds;
	int64_t lease_seconds;
	const char *queue_url;
	size_t wanted;
	size_t call_count; /* that this receive began … */
	size_t brought;    /* … and what they brought */
	size_t full;       /* receives in a row that brought all that they could */
	bool is_first;     /* the next one does not wait: is the queue there? */
	bool is_last;      /* no other one follows */
	struct sqs_outcome outcome;
	struct loop_timer *pause;
	LIST_HEAD(, receive_call) calls;
};

/* All calls of a receive have ended. An empty answer that did not wait would come again and
 * again. */
static void round_ended(struct tdp_receives *receives, int64_t took_ms)
{
	size_t most = receives->call_count * SQS_BATCH_MAX;
	if (most > receives->wanted)
		most = receives->wanted;
	receives->full = receives->brought >= most ? receives->full + 1 : 0;
	bool is_hasty = receives->outcome.base.is_ok && receives->brought == 0 &&
			took_ms < EMPTY_AT_ONCE_MS && !receives->is_first && !receives->is_last;
	receives->is_first = false;
	if (is_hasty)
		loop_timer_start(receives->pause, EMPTY_PAUSE_MS);
	else
		receives->events.on_ended(receives->events.context, &receives->outcome);
}

static void call_free(struct receive_call *call)
{
	LIST_REMOVE(call, link);
	loop_cancel(call->owner->loop, &call->hand_on);
	json_object_put(call->answer);
	free(call);
}

static size_t size_of(struct json_object *message)
{
	return (size_t)json_object_get_string_len(json_member(message, "Body"));
}

/* Ten messages of 256 KiB can be half a second of work: some a turn. */
static void hand_on(void *context)
{
	struct receive_call *call = context;
	struct tdp_receives *receives = call->owner;
	int64_t took_ms = call->took_ms;
	for (size_t bytes = 0; call->next < call->count && bytes < TURN_BYTES;) {
		struct json_object *message =
		    json_object_array_get_idx(call->messages, call->next++);
		bytes += size_of(message);
		receives->events.on_message(receives->events.context, message);
	}
	if (call->next < call->count) {
		loop_next_turn(receives->loop, &call->hand_on);
		return;
	}
	call_free(call);
	if (LIST_EMPTY(&receives->calls))
		round_ended(receives, took_ms);
}

static void on_answer(void *context, struct json_object *answer, const struct sqs_outcome *outcome)
{
	struct receive_call *call = context;
	struct tdp_receives *receives = call->owner;
	call->call = NULL;
	call->took_ms = clock_monotonic_ms() - call->started_ms;
	call->answer = json_object_get(answer);
	call->messages = json_member(answer, "Messages");
	if (json_object_is_type(call->messages, json_type_array))
		call->count = json_object_array_length(call->messages);
	/* Of several calls one that went well is enough: the next receive shows the trouble. */
	if (outcome->base.is_ok || !receives->outcome.base.is_ok)
		receives->outcome = *outcome;
	receives->brought += call->count;
	hand_on(call);
}

static void start_call(struct tdp_receives *receives, size_t max, int64_t wait_seconds)
{
	static const char count[] = "ApproximateReceiveCount";
	struct receive_call *call = mem_new(struct receive_call);
	struct json_object *body = json_new_object();
	struct json_object *attributes = json_new_array();
	json_append(attributes, json_new_string(count, sizeof count - 1));
	json_set_int64(body, "MaxNumberOfMessages",
		       (int64_t)(max < SQS_BATCH_MAX ? max : SQS_BATCH_MAX));
	json_set_int64(body, "WaitTimeSeconds", wait_seconds);
	json_set(body, "AttributeNames", attributes);
	if (receives->lease_seconds > 0)
		json_set_int64(body, "VisibilityTimeout", receives->lease_seconds);
	call->owner = receives;
	call->hand_on = (struct loop_task){.run = hand_on, .context = call};
	call->started_ms = clock_monotonic_ms();
	LIST_INSERT_HEAD(&receives->calls, call, link);
	call->call =
	    sqs_start(receives->sqs, "ReceiveMessage", receives->queue_url, body,
		      wait_seconds * 1000 + SLACK_MS, LIMIT_RECEIVE_BYTES, on_answer, call);
}

/* One more for each two receives that were full; the others take what is there already. */
static size_t calls_to_start(const struct tdp_receives *receives)
{
	size_t count = 1 + receives->full / 2;
	size_t useful = receives->wanted / SQS_BATCH_MAX;
	if (count > CALLS_AT_ONCE)
		count = CALLS_AT_ONCE;
	if (count > useful)
		count = useful > 0 ? useful : 1;
	return count;
}

static void start_round(void *context)
{
	struct tdp_receives *receives = context;
	receives->call_count = calls_to_start(receives);
	receives->brought = 0;
	receives->outcome = (struct sqs_outcome){.code = ""};
	start_call(receives, receives->wanted, receives->is_first ? 0 : receives->wait_seconds);
	for (size_t i = 1; i < receives->call_count; i++)
		start_call(receives, SQS_BATCH_MAX, 0);
}

void tdp_receives_start(struct tdp_receives *receives, const char *queue_url, size_t max)
{
	/* What was full once may have left a little behind, what was twice has left much. */
	int64_t gather_ms = receives->full > 1 ? 0 : tdp_pace_gather_ms(receives->pace);
	if (receives->full == 1)
		gather_ms /= 2;
	receives->queue_url = queue_url;
	receives->wanted = max;
	loop_timer_start(receives->pause, gather_ms);
}

/* All calls, or those that nothing has come of. */
static void give_up(struct tdp_receives *receives, bool are_all)
{
	struct receive_call *call = LIST_FIRST(&receives->calls);
	for (struct receive_call *next; call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		if (!are_all && (call->call == NULL || sqs_let_finish(call->call)))
			continue;
		if (call->call != NULL)
			sqs_cancel(call->call);
		call_free(call);
	}
}

bool tdp_receives_stop(struct tdp_receives *receives)
{
	receives->is_last = true;
	loop_timer_stop(receives->pause);
	give_up(receives, false);
	return LIST_EMPTY(&receives->calls);
}

struct tdp_receives *tdp_receives_new(struct loop *loop, struct sqs *sqs,
				      const struct tdp_pace *pace, int64_t wait_seconds,
				      int64_t lease_seconds,
				      const struct tdp_receives_events *events)
{
	struct tdp_receives *receives = mem_new(struct tdp_receives);
	receives->loop = loop;
	receives->sqs = sqs;
	receives->pace = pace;
	receives->wait_seconds = wait_seconds;
	receives->lease_seconds = lease_seconds;
	receives->events = *events;
	receives->is_first = true;
	receives->pause = loop_timer_new(loop, start_round, receives);
	LIST_INIT(&receives->calls);
	return receives;
}

void tdp_receives_free(struct tdp_receives *receives)
{
	if (receives == NULL)
		return;
	give_up(receives, true);
	loop_timer_free(receives->pause);
	free(receives);
}
