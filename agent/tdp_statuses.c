#include "agent/tdp_statuses.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { CALL_TIMEOUT_MS = 60000 };

struct status {
	struct transport_post *post; /* NULL: PROCESSING */
	char *command_id;
	struct buf text; /* of a PROCESSING; a post's is made when it goes */
	size_t size;
	bool goes_alone; /* a batch with it was refused for what it held */
	bool is_escaped; /* its letters were taken for invalid: now only plain ones go out */
	TAILQ_ENTRY(status) link;
};

TAILQ_HEAD(status_list, status);

struct status_call {
	struct tdp_statuses *owner;
	struct sqs_call *call;
	struct status *items[SQS_BATCH_MAX];
	size_t count;
	LIST_ENTRY(status_call) link;
};

struct tdp_statuses {
	struct sqs *sqs;
	const char *agent_id;
	const char *queue_url; /* NULL: none yet */
	void (*on_posted)(void *context, struct transport_post **posts, size_t count,
			  const struct transport_outcome *outcome);
	void *context;
	/* The last call failed: nobody says PROCESSING until a terminal status, whose outbox
	 * knows how long to wait, has gone through. */
	bool is_down;
	struct tdp_lane lane;
	struct status_list waiting;
	LIST_HEAD(, status_call) calls;
};

static void status_free(struct status *status)
{
	free(status->command_id);
	buf_release(&status->text);
	free(status);
}

/* {commandId, targetId, status, body?, responseBodyDelivery, createdAt}, as the platform has it
 * from others. body NULL: none. */
static void write_message(const struct tdp_statuses *statuses, struct buf *out,
			  const struct transport_taken *about, const char *status,
			  const struct buf *body, bool is_referenced, int64_t created_at_ms)
{
	char created_at[CLOCK_TEXT_SIZE];
	const char *target_id = about->target_id != NULL ? about->target_id : statuses->agent_id;
	struct json_object *message = json_new_object();
	json_set_text(message, "commandId", about->command_id);
	json_set_text(message, "targetId", target_id);
	json_set_text(message, "status", status);
	if (body != NULL)
		json_set(message, "body", json_new_raw(buf_str(body), body->size));
	json_set_text(message, "responseBodyDelivery", is_referenced ? "referenced" : "embedded");
	clock_format(created_at_ms, created_at);
	json_set_text(message, "createdAt", created_at);
	json_write(out, message);
	json_object_put(message);
}

static void write_post(const struct tdp_statuses *statuses, struct buf *out,
		       const struct transport_post *post, bool has_body)
{
	struct transport_taken about = {.command_id = post->command_id,
					.target_id = post->target_id};
	const struct answer *answer = post->answer;
	write_message(statuses, out, &about, answer_status_name(answer->status),
		      has_body && !post->is_referenced ? spool_memory(&answer->json) : NULL,
		      post->is_referenced, answer->ended_at_ms);
}

size_t tdp_statuses_size(const struct tdp_statuses *statuses, const struct transport_post *post,
			 size_t body_size)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	write_post(statuses, &text, post, false);
	size_t size = text.size + (post->is_referenced ? 0 : strlen("\"body\":,") + body_size);
	buf_release(&text);
	return size;
}

static void add(struct tdp_statuses *statuses, struct status *status)
{
	TAILQ_INSERT_TAIL(&statuses->waiting, status, link);
	tdp_lane_add(&statuses->lane, 1);
}

void tdp_statuses_processing(struct tdp_statuses *statuses, const struct transport_taken *taken)
{
	if (statuses->is_down)
		return;
	struct status *status = mem_new(struct status);
	status->command_id = mem_strdup(taken->command_id);
	buf_init(&status->text, SIZE_MAX / 2);
	write_message(statuses, &status->text, taken, "PROCESSING", NULL, false, clock_now_ms());
	status->size = status->text.size;
	add(statuses, status);
}

void tdp_statuses_post(struct tdp_statuses *statuses, struct transport_post *post)
{
	struct status *status = mem_new(struct status);
	status->post = post;
	status->size = tdp_statuses_size(statuses, post, post->answer->json.size);
	add(statuses, status);
}

/* Is this command's PROCESSING under way? Its end must not overtake it. */
static bool is_too_early(const struct tdp_statuses *statuses, const struct status *status)
{
	const struct status_call *call;
	if (status->post == NULL)
		return false;
	LIST_FOREACH(call, &statuses->calls, link)
	{
		for (size_t i = 0; i < call->count; i++) {
			if (call->items[i]->post == NULL &&
			    strcmp(call->items[i]->command_id, status->post->command_id) == 0)
				return true;
		}
	}
	return false;
}

/* May this one, the next in line, still go with count others of together bytes? */
static bool fits(const struct tdp_statuses *statuses, const struct status *status, size_t count,
		 size_t bytes)
{
	if (count >= SQS_BATCH_MAX || is_too_early(statuses, status))
		return false;
	return count == 0 ||
	       (!status->goes_alone && bytes + status->size <= (size_t)SQS_MESSAGE_MAX);
}

static struct json_object *entry_json(const struct tdp_statuses *statuses, size_t index,
				      struct status *status)
{
	struct json_object *entry = sqs_entry(index);
	if (status->post != NULL) {
		buf_init(&status->text, SIZE_MAX / 2);
		write_post(statuses, &status->text, status->post, true);
	}
	if (status->is_escaped)
		json_escape_beyond_ascii(&status->text);
	json_set(entry, "MessageBody", json_new_string(buf_str(&status->text), status->text.size));
	if (status->post != NULL)
		buf_release(&status->text);
	return entry;
}

static void on_answer(void *context, struct json_object *answer, const struct sqs_outcome *outcome);

static bool start(void *context)
{
	struct tdp_statuses *statuses = context;
	struct status *status = TAILQ_FIRST(&statuses->waiting);
	if (status == NULL || !fits(statuses, status, 0, 0))
		return false;
	struct status_call *call = mem_new(struct status_call);
	struct json_object *entries = json_new_array();
	call->owner = statuses;
	size_t bytes = 0;
	bool is_alone = status->goes_alone;
	while (status != NULL && fits(statuses, status, call->count, bytes)) {
		bytes += status->size;
		TAILQ_REMOVE(&statuses->waiting, status, link);
		json_append(entries, entry_json(statuses, call->count, status));
		call->items[call->count++] = status;
		status = is_alone ? NULL : TAILQ_FIRST(&statuses->waiting);
	}
	tdp_lane_took(&statuses->lane, call->count);
	struct json_object *body = json_new_object();
	json_set(body, "Entries", entries);
	LIST_INSERT_HEAD(&statuses->calls, call, link);
	call->call = sqs_start(statuses->sqs, "SendMessageBatch", statuses->queue_url, body,
			       CALL_TIMEOUT_MS, LIMIT_SERVICE_ANSWER_BYTES, on_answer, call);
	return true;
}

/* Posts that meet with the same end, for one on_posted. */
struct group {
	struct transport_post **posts;
	size_t count;
};

static void group_add(struct group *group, struct status *status)
{
	if (status->post != NULL) {
		group->posts = mem_realloc_array((void *)group->posts, group->count + 1,
						 sizeof group->posts[0]);
		group->posts[group->count++] = status->post;
	}
	status_free(status);
}

static void group_end(const struct tdp_statuses *statuses, struct group *group,
		      const struct transport_outcome *outcome)
{
	for (size_t i = 0; i < group->count; i++)
		group->posts[i]->result = POST_ACCEPTED;
	if (group->count > 0)
		statuses->on_posted(statuses->context, group->posts, group->count, outcome);
	free((void *)group->posts);
}

/* Alone and first. */
static void put_back(struct tdp_statuses *statuses, struct status *status)
{
	status->goes_alone = true;
	TAILQ_INSERT_HEAD(&statuses->waiting, status, link);
	tdp_lane_add(&statuses->lane, 1);
}

/* An entry of `Failed`; it ends alone when it can never be taken. */
static void end_failed(struct tdp_statuses *statuses, struct status *status,
		       struct json_object *item, struct group *again,
		       struct transport_outcome *outcome)
{
	const char *code = "";
	const char *message = "";
	struct error err;
	if (json_get_text(item, "Code", &code, &err) != 0)
		code = "";
	if (json_get_text(item, "Message", &message, &err) != 0)
		message = "";
	if (strstr(code, "InvalidMessageContents") != NULL && status->post != NULL &&
	    !status->is_escaped) {
		status->is_escaped = true;
		put_back(statuses, status);
		return;
	}
	*outcome = (struct transport_outcome){.is_gone = sqs_is_lasting(code)};
	snprintf(outcome->reason, sizeof outcome->reason, "SendMessageBatch: %.60s: %.200s", code,
		 message);
	if (outcome->is_gone) {
		struct group alone = {0};
		group_add(&alone, status);
		group_end(statuses, &alone, outcome);
	} else {
		group_add(again, status);
	}
}

static void end_named(struct status_call *call, struct json_object *answer, const char *list_name,
		      struct group *group, struct transport_outcome *failure)
{
	struct json_object *list = json_member(answer, list_name);
	size_t count =
	    json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(list, i);
		int index = sqs_entry_index(item, call->count);
		if (index < 0 || call->items[index] == NULL)
			continue;
		struct status *status = call->items[index];
		call->items[index] = NULL;
		if (failure == NULL)
			group_add(group, status);
		else
			end_failed(call->owner, status, item, group, failure);
	}
}

/* The call went through: each entry has met with its own end. */
static void end_each(struct status_call *call, struct json_object *answer)
{
	static const struct transport_outcome ok = {.is_ok = true};
	struct transport_outcome failure = {
	    .reason = "SendMessageBatch: the answer does not name each entry"};
	struct group accepted = {0};
	struct group again = {0};
	end_named(call, answer, "Successful", &accepted, NULL);
	end_named(call, answer, "Failed", &again, &failure);
	for (size_t i = 0; i < call->count; i++) {
		if (call->items[i] != NULL)
			group_add(&again, call->items[i]);
	}
	failure.is_gone = false; /* those have ended alone */
	group_end(call->owner, &accepted, &ok);
	group_end(call->owner, &again, &failure);
}

/* Nothing went through, and nothing else would now: all goes back to the outbox, which tries
 * again as its back-off says. */
static void end_all(struct status_call *call, const struct transport_outcome *outcome)
{
	struct tdp_statuses *statuses = call->owner;
	struct group group = {0};
	for (size_t i = 0; i < call->count; i++)
		group_add(&group, call->items[i]);
	for (struct status *status; (status = TAILQ_FIRST(&statuses->waiting)) != NULL;) {
		TAILQ_REMOVE(&statuses->waiting, status, link);
		group_add(&group, status);
	}
	tdp_lane_took(&statuses->lane, statuses->lane.waiting);
	statuses->is_down = true;
	group_end(statuses, &group, outcome);
}

/* A batch was refused for what it holds: each goes alone, so that the one at fault is found. */
static void separate(struct status_call *call)
{
	struct tdp_statuses *statuses = call->owner;
	for (size_t i = call->count; i-- > 0;)
		put_back(statuses, call->items[i]);
}

static void on_answer(void *context, struct json_object *answer, const struct sqs_outcome *outcome)
{
	struct status_call *call = context;
	struct tdp_statuses *statuses = call->owner;
	LIST_REMOVE(call, link);
	if (outcome->base.is_ok) {
		statuses->is_down = false;
		end_each(call, answer);
	} else if (!outcome->base.is_gone) {
		end_all(call, &outcome->base);
	} else if (call->count > 1) {
		separate(call);
	} else {
		struct group alone = {0};
		if (call->items[0]->post == NULL)
			log_debug("a PROCESSING is not taken: %s", outcome->base.reason);
		group_add(&alone, call->items[0]);
		group_end(statuses, &alone, &outcome->base);
	}
	tdp_lane_call_ended(&statuses->lane, &outcome->base);
	free(call);
}

void tdp_statuses_set_queue(struct tdp_statuses *statuses, const char *queue_url)
{
	statuses->queue_url = queue_url;
	tdp_lane_open(&statuses->lane, queue_url != NULL);
}

bool tdp_statuses_is_idle(const struct tdp_statuses *statuses)
{
	return tdp_lane_is_idle(&statuses->lane);
}

struct tdp_statuses *tdp_statuses_new(struct loop *loop, struct sqs *sqs,
				      const struct tdp_pace *pace, const char *agent_id,
				      void (*on_posted)(void *context,
							struct transport_post **posts, size_t count,
							const struct transport_outcome *outcome),
				      void *context)
{
	struct tdp_statuses *statuses = mem_new(struct tdp_statuses);
	statuses->sqs = sqs;
	statuses->agent_id = agent_id;
	statuses->on_posted = on_posted;
	statuses->context = context;
	TAILQ_INIT(&statuses->waiting);
	LIST_INIT(&statuses->calls);
	tdp_lane_init(&statuses->lane, loop, pace, start, statuses);
	return statuses;
}

static void free_calls(struct tdp_statuses *statuses)
{
	struct status_call *call = LIST_FIRST(&statuses->calls);
	for (struct status_call *next; call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		sqs_cancel(call->call);
		for (size_t i = 0; i < call->count; i++)
			status_free(call->items[i]);
		free(call);
	}
}

void tdp_statuses_free(struct tdp_statuses *statuses)
{
	if (statuses == NULL)
		return;
	free_calls(statuses);
	struct status *status = TAILQ_FIRST(&statuses->waiting);
	for (struct status *next; status != NULL; status = next) {
		next = TAILQ_NEXT(status, link);
		status_free(status);
	}
	tdp_lane_release(&statuses->lane);
	free(statuses);
}
