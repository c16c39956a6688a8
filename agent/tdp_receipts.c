#include "agent/tdp_receipts.h"

#include "agent/limits.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	CALL_TIMEOUT_MS = 30000,
	/* Beyond it the oldest go: their messages come again and are known then. */
	WAITING_MAX = 20000,
};

struct receipt {
	char *text;
	TAILQ_ENTRY(receipt) link;
};

TAILQ_HEAD(receipt_list, receipt);

struct receipt_call {
	struct tdp_receipts *owner;
	struct sqs_call *call;
	struct receipt *items[SQS_BATCH_MAX];
	size_t count;
	LIST_ENTRY(receipt_call) link;
};

struct tdp_receipts {
	struct sqs *sqs;
	const char *operation;
	const char *queue_url; /* NULL: none yet */
	int64_t seconds;       /* of an extension; 0: deletes */
	void (*on_lost)(void *context, const char *receipt);
	void (*on_extended)(void *context, const struct transport_outcome *outcome);
	void *context;
	struct transport_outcome extended; /* of the extensions since the last on_extended */
	struct tdp_lane lane;
	struct receipt_list waiting;
	LIST_HEAD(, receipt_call) calls;
};

static void receipt_free(struct receipt *receipt)
{
	free(receipt->text);
	free(receipt);
}

/* What one receipt met with. Repeating helps a delete unless the receipt itself is at fault:
 * then its message has another one by now. */
static void entry_failed(struct tdp_receipts *owner, struct receipt *receipt, const char *code)
{
	bool is_repeated =
	    owner->seconds == 0 && !sqs_is_lasting(code) && strstr(code, "ReceiptHandle") == NULL;
	if (is_repeated) {
		TAILQ_INSERT_HEAD(&owner->waiting, receipt, link);
		tdp_lane_add(&owner->lane, 1);
		return;
	}
	log_debug("%s: a receipt is not taken: %s", owner->operation, code);
	if (owner->on_lost != NULL && code[0] != '\0')
		owner->on_lost(owner->context, receipt->text);
	receipt_free(receipt);
}

/* The entries of the answer's `Failed`; those that are named leave call->items. False when
 * one of them is to be repeated. */
static bool read_failed(struct receipt_call *call, struct json_object *answer,
			struct transport_outcome *outcome)
{
	struct json_object *failed = json_member(answer, "Failed");
	size_t count =
	    json_object_is_type(failed, json_type_array) ? json_object_array_length(failed) : 0;
	size_t waiting = call->owner->lane.waiting;
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(failed, i);
		int index = sqs_entry_index(item, call->count);
		const char *code = "";
		struct error err;
		if (index < 0 || call->items[index] == NULL)
			continue;
		if (json_get_text(item, "Code", &code, &err) != 0)
			code = "";
		snprintf(outcome->reason, sizeof outcome->reason, "%s: an entry failed: %.100s",
			 call->owner->operation, code);
		entry_failed(call->owner, call->items[index], code);
		call->items[index] = NULL;
	}
	return call->owner->lane.waiting == waiting;
}

static void drop_waiting(struct tdp_receipts *owner)
{
	struct receipt *receipt = TAILQ_FIRST(&owner->waiting);
	TAILQ_INIT(&owner->waiting);
	for (struct receipt *next; receipt != NULL; receipt = next) {
		next = TAILQ_NEXT(receipt, link);
		receipt_free(receipt);
	}
	tdp_lane_took(&owner->lane, owner->lane.waiting);
}

/* Their owner tries again, with all that there are by then. */
static void extension_ended(struct tdp_receipts *owner, const struct transport_outcome *outcome)
{
	if (!outcome->is_ok) {
		owner->extended = *outcome;
		drop_waiting(owner);
	}
	if (!tdp_receipts_is_idle(owner))
		return;
	struct transport_outcome result = owner->extended;
	owner->extended = (struct transport_outcome){.is_ok = true};
	owner->on_extended(owner->context, &result);
}

static void on_answer(void *context, struct json_object *answer, const struct sqs_outcome *outcome)
{
	struct receipt_call *call = context;
	struct tdp_receipts *owner = call->owner;
	struct transport_outcome result = outcome->base;
	LIST_REMOVE(call, link);
	if (result.is_ok)
		result.is_ok = read_failed(call, answer, &result);
	/* From the last to the first, so that they stand in their old order again. */
	for (size_t i = call->count; i-- > 0;) {
		if (call->items[i] == NULL)
			continue;
		if (outcome->base.is_ok)
			receipt_free(call->items[i]);
		else
			entry_failed(owner, call->items[i], "");
	}
	tdp_lane_call_ended(&owner->lane, &result);
	free(call);
	if (owner->on_extended != NULL)
		extension_ended(owner, &result);
}

static bool start(void *context)
{
	struct tdp_receipts *owner = context;
	struct receipt_call *call = mem_new(struct receipt_call);
	struct json_object *entries = json_new_array();
	call->owner = owner;
	while (call->count < SQS_BATCH_MAX && !TAILQ_EMPTY(&owner->waiting)) {
		struct receipt *receipt = TAILQ_FIRST(&owner->waiting);
		struct json_object *entry = sqs_entry(call->count);
		json_set_text(entry, "ReceiptHandle", receipt->text);
		if (owner->seconds > 0)
			json_set_int64(entry, "VisibilityTimeout", owner->seconds);
		json_append(entries, entry);
		TAILQ_REMOVE(&owner->waiting, receipt, link);
		call->items[call->count++] = receipt;
	}
	tdp_lane_took(&owner->lane, call->count);
	struct json_object *body = json_new_object();
	json_set(body, "Entries", entries);
	LIST_INSERT_HEAD(&owner->calls, call, link);
	call->call = sqs_start(owner->sqs, owner->operation, owner->queue_url, body,
			       CALL_TIMEOUT_MS, LIMIT_SERVICE_ANSWER_BYTES, on_answer, call);
	return true;
}

void tdp_receipts_add(struct tdp_receipts *receipts, const char *text)
{
	struct receipt *receipt = mem_new(struct receipt);
	receipt->text = mem_strdup(text);
	TAILQ_INSERT_TAIL(&receipts->waiting, receipt, link);
	tdp_lane_add(&receipts->lane, 1);
	if (receipts->lane.waiting > WAITING_MAX) {
		struct receipt *oldest = TAILQ_FIRST(&receipts->waiting);
		TAILQ_REMOVE(&receipts->waiting, oldest, link);
		tdp_lane_took(&receipts->lane, 1);
		receipt_free(oldest);
	}
}

void tdp_receipts_set_queue(struct tdp_receipts *receipts, const char *queue_url)
{
	receipts->queue_url = queue_url;
	tdp_lane_open(&receipts->lane, queue_url != NULL);
}

bool tdp_receipts_is_idle(const struct tdp_receipts *receipts)
{
	return tdp_lane_is_idle(&receipts->lane);
}

static struct tdp_receipts *receipts_new(struct loop *loop, struct sqs *sqs,
					 const struct tdp_pace *pace, const char *operation)
{
	struct tdp_receipts *receipts = mem_new(struct tdp_receipts);
	receipts->sqs = sqs;
	receipts->operation = operation;
	TAILQ_INIT(&receipts->waiting);
	LIST_INIT(&receipts->calls);
	tdp_lane_init(&receipts->lane, loop, pace, start, receipts);
	return receipts;
}

struct tdp_receipts *tdp_deletes_new(struct loop *loop, struct source *source, struct sqs *sqs,
				     const struct tdp_pace *pace)
{
	struct tdp_receipts *receipts = receipts_new(loop, sqs, pace, "DeleteMessageBatch");
	tdp_lane_set_source(&receipts->lane, source, "deleting messages that were taken");
	return receipts;
}

struct tdp_receipts *tdp_extensions_new(
    struct loop *loop, struct sqs *sqs, int64_t seconds,
    void (*on_lost)(void *context, const char *receipt),
    void (*on_extended)(void *context, const struct transport_outcome *outcome), void *context)
{
	struct tdp_receipts *receipts =
	    receipts_new(loop, sqs, NULL, "ChangeMessageVisibilityBatch");
	receipts->seconds = seconds;
	receipts->extended.is_ok = true;
	receipts->on_lost = on_lost;
	receipts->on_extended = on_extended;
	receipts->context = context;
	return receipts;
}

static void free_calls(struct tdp_receipts *receipts)
{
	struct receipt_call *call = LIST_FIRST(&receipts->calls);
	for (struct receipt_call *next; call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		sqs_cancel(call->call);
		for (size_t i = 0; i < call->count; i++)
			receipt_free(call->items[i]);
		free(call);
	}
}

void tdp_receipts_free(struct tdp_receipts *receipts)
{
	if (receipts == NULL)
		return;
	free_calls(receipts);
	drop_waiting(receipts);
	tdp_lane_release(&receipts->lane);
	free(receipts);
}
