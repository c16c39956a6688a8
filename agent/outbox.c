#include "agent/outbox.h"

#include "agent/backoff.h"
#include "agent/limits.h"
#include "agent/upload.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	POSTS_AT_ONCE = 4,    /* while one is under way … */
	POST_WORTHWHILE = 16, /* … a further one goes when so many wait */
	POST_COUNT_MAX = 1000,
	UPLOADS_AT_ONCE = 4,
	UPLOAD_REFUSALS_MAX = 3, /* 401 and 403: an URL whose time is over stays refused */
};

/* Where an answer stands on its way. */
enum entry_state { ENTRY_LARGE, ENTRY_UPLOADING, ENTRY_READY, ENTRY_POSTING };

struct outbox_entry {
	struct outbox *outbox;
	struct command *command;
	struct transport_post post;
	size_t message_size; /* of its status message, as it is to be posted */
	enum entry_state state;
	struct upload *upload;
	unsigned refusals; /* of its upload */
	TAILQ_ENTRY(outbox_entry) link;
};

TAILQ_HEAD(entry_list, outbox_entry);

struct outbox {
	struct loop *loop;
	struct http_client *client;
	struct transport *transport;
	struct journal *journal; /* NULL: none */
	void (*on_settled)(void *context, struct command *command);
	void *context;
	struct entry_list large; /* to be uploaded first */
	struct entry_list ready;
	struct entry_list busy; /* being uploaded or posted */
	size_t ready_count;
	size_t count;
	size_t uploads;
	size_t posts;         /* calls under way, where the transport does not gather */
	size_t posting_bytes; /* status messages under way */
	size_t batch_max;     /* 1 after a batch that was refused for what it holds */
	struct endpoint *posting;
	struct endpoint *uploading;
	struct backoff unreadable; /* stored answers cannot be read just now */
	struct loop_timer *read_again;
	struct loop_task flush;
};

static void flush(void *context);

/* While the source takes nothing, what is stored need not stand in memory as well. */
static void unload(struct command *command)
{
	if (!command->is_stored || command->is_unloaded)
		return;
	spool_release(&command->answer.json);
	command->is_unloaded = true;
}

/* What is stored is not what is posted any more. */
static void answer_replaced(struct command *command)
{
	command->is_stored = false;
	command->is_unloaded = false;
	command->answer_size = command->answer.json.size;
}

/* Brings an answer back: into memory, or as the file that it is. False: not now, but it may
 * be there later (too many open files, a disk that fails); flush follows then. */
static bool load(struct outbox *outbox, struct command *command, enum journal_load how)
{
	struct error err;
	enum answer_status status = command->answer.status;
	if (!command->is_unloaded)
		return true;
	int rc = journal_load_answer(outbox->journal, command, how, &command->answer, &err);
	if (rc != 0 && rc != ERR_NOT_FOUND && rc != ERR_INVALID) {
		loop_timer_start(outbox->read_again,
				 backoff_fail(&outbox->unreadable, false, 0, err.message));
		return false;
	}
	backoff_succeed(&outbox->unreadable);
	command->is_unloaded = false;
	if (rc == 0)
		return true;
	if (rc == ERR_INVALID)
		log_error("the stored answer of a command is lost: %s", err.message);
	answer_fail(&command->answer, "AGENT_ERROR", NULL,
		    "The command ended as %s, but its answer %s", answer_status_name(status),
		    rc == ERR_NOT_FOUND ? "is no longer stored" : "cannot be read");
	command->answer.status = status;
	answer_replaced(command);
	return true;
}

static size_t message_size(const struct outbox_entry *entry)
{
	struct transport *transport = entry->outbox->transport;
	return transport->ops->message_size(transport, &entry->post, entry->command->answer_size);
}

static void entry_ready(struct outbox_entry *entry)
{
	struct outbox *outbox = entry->outbox;
	entry->message_size = message_size(entry);
	entry->state = ENTRY_READY;
	TAILQ_INSERT_TAIL(&outbox->ready, entry, link);
	outbox->ready_count++;
	loop_defer(outbox->loop, &outbox->flush);
}

static void on_uploaded(void *context, const struct transport_outcome *outcome)
{
	struct outbox_entry *entry = context;
	struct outbox *outbox = entry->outbox;
	struct command *command = entry->command;
	entry->upload = NULL;
	outbox->uploads--;
	loop_defer(outbox->loop, &outbox->flush);
	unload(command);
	TAILQ_REMOVE(&outbox->busy, entry, link);
	if (outcome->is_ok) {
		endpoint_worked(outbox->uploading);
		entry->post.is_referenced = true;
	} else if (outcome->is_gone ||
		   (outcome->is_refused && ++entry->refusals > UPLOAD_REFUSALS_MAX)) {
		log_error("command %s: its answer of %zu bytes is not taken: %s", command->id,
			  command->answer_size, outcome->reason);
		answer_fail(&command->answer, "AGENT_ERROR", command->seal,
			    "The answer of %zu bytes could not be uploaded: %s",
			    command->answer_size, outcome->reason);
		answer_replaced(command);
	} else {
		/* Behind the others: it may be the only one that is not taken. */
		entry->state = ENTRY_LARGE;
		TAILQ_INSERT_TAIL(&outbox->large, entry, link);
		/* Whether it will be taken is soon known: no use in the patience that a token needs. */
		struct transport_outcome again = *outcome;
		again.is_refused = false;
		endpoint_failed(outbox->uploading, &again);
		return;
	}
	entry_ready(entry);
}

static void start_upload(struct outbox *outbox, struct outbox_entry *entry)
{
	struct command *command = entry->command;
	if (!load(outbox, command, JOURNAL_LOAD_AS_STORED))
		return;
	struct upload_request request = {
	    .profile = &outbox->transport->profile,
	    .url = command->upload_url,
	    .content = &command->answer.json,
	    .gzip = outbox->transport->gzips_uploads,
	    .scratch_folder =
		outbox->journal != NULL ? journal_answers_folder(outbox->journal) : NULL,
	};
	TAILQ_REMOVE(&outbox->large, entry, link);
	TAILQ_INSERT_TAIL(&outbox->busy, entry, link);
	entry->state = ENTRY_UPLOADING;
	outbox->uploads++;
	entry->upload = upload_start(outbox->loop, outbox->client, &request, on_uploaded, entry);
}

/* Takes as many ready entries as fit into one post. */
static void start_post(struct outbox *outbox)
{
	size_t capacity =
	    outbox->ready_count < outbox->batch_max ? outbox->ready_count : outbox->batch_max;
	struct transport_post **posts = mem_calloc(capacity, sizeof posts[0]);
	size_t count = 0;
	size_t bytes = 0;
	for (struct outbox_entry *entry;
	     count < capacity && (entry = TAILQ_FIRST(&outbox->ready)) != NULL;) {
		if (count > 0 && bytes + entry->message_size > outbox->transport->post_max_bytes)
			break;
		if (!entry->post.is_referenced &&
		    !load(outbox, entry->command, JOURNAL_LOAD_INTO_MEMORY))
			break;
		bytes += entry->message_size;
		TAILQ_REMOVE(&outbox->ready, entry, link);
		TAILQ_INSERT_TAIL(&outbox->busy, entry, link);
		outbox->ready_count--;
		entry->state = ENTRY_POSTING;
		entry->post.receipt = entry->command->receipt;
		entry->command->is_posting = true;
		posts[count++] = &entry->post;
	}
	if (count == 0) {
		free((void *)posts);
		return;
	}
	if (!outbox->transport->gathers_posts)
		outbox->posts++;
	outbox->posting_bytes += bytes;
	outbox->transport->ops->post(outbox->transport, posts, count);
}

static bool may_post(const struct outbox *outbox)
{
	if (outbox->ready_count == 0 || loop_timer_is_running(outbox->read_again))
		return false;
	if (endpoint_is_failing(outbox->posting)) /* one to find out */
		return outbox->posts == 0 && outbox->posting_bytes == 0;
	if (outbox->transport->gathers_posts)
		return outbox->posting_bytes < outbox->transport->post_max_bytes;
	return outbox->posts == 0 ||
	       (outbox->posts < POSTS_AT_ONCE && outbox->ready_count >= POST_WORTHWHILE);
}

static bool may_upload(const struct outbox *outbox)
{
	size_t max = endpoint_is_failing(outbox->uploading) ? 1 : UPLOADS_AT_ONCE;
	return outbox->uploads < max && !TAILQ_EMPTY(&outbox->large) &&
	       !endpoint_waits(outbox->uploading) && !loop_timer_is_running(outbox->read_again);
}

static void flush(void *context)
{
	struct outbox *outbox = context;
	while (may_upload(outbox))
		start_upload(outbox, TAILQ_FIRST(&outbox->large));
	if (endpoint_waits(outbox->posting))
		return;
	while (may_post(outbox))
		start_post(outbox);
}

static struct outbox_entry *entry_of(struct transport_post *post)
{
	return (struct outbox_entry *)((char *)post - offsetof(struct outbox_entry, post));
}

static void settle(struct outbox *outbox, struct outbox_entry *entry)
{
	struct command *command = entry->command;
	if (entry->post.result == POST_CONFLICT)
		log_warn("command %s: the source does not want its status %s: %s", command->id,
			 answer_status_name(command->answer.status), entry->post.reason);
	TAILQ_REMOVE(&outbox->busy, entry, link);
	outbox->count--;
	free(entry);
	command_set_state(command, COMMAND_POSTED);
	outbox->on_settled(outbox->context, command);
}

static void requeue(struct outbox *outbox, struct outbox_entry *entry)
{
	TAILQ_REMOVE(&outbox->busy, entry, link);
	TAILQ_INSERT_HEAD(&outbox->ready, entry, link);
	outbox->ready_count++;
	entry->state = ENTRY_READY;
	entry->command->is_posting = false;
	unload(entry->command);
}

/* A batch that is refused for what it holds is repeated one status at a time, so that the
 * one at fault does not hold up the others; that one is given up. */
static void post_failed(struct outbox *outbox, size_t count,
			const struct transport_outcome *outcome)
{
	if (outcome->is_gone)
		outbox->batch_max = 1;
	if (!outcome->is_gone || count == 1)
		endpoint_failed(outbox->posting, outcome);
}

void outbox_on_posted(struct outbox *outbox, struct transport_post **posts, size_t count,
		      const struct transport_outcome *outcome)
{
	bool is_given_up = outcome->is_gone && count == 1;
	if (!outbox->transport->gathers_posts)
		outbox->posts--;
	for (size_t i = 0; i < count; i++)
		outbox->posting_bytes -= entry_of(posts[i])->message_size;
	loop_defer(outbox->loop, &outbox->flush);
	if (outcome->is_ok) {
		endpoint_worked(outbox->posting);
		outbox->batch_max = POST_COUNT_MAX;
	} else {
		post_failed(outbox, count, outcome);
	}
	if (is_given_up) {
		posts[0]->result = POST_CONFLICT;
		memcpy(posts[0]->reason, outcome->reason, sizeof posts[0]->reason);
	}
	/* From the last to the first, so that they stand in their old order again. */
	for (size_t i = count; i-- > 0;) {
		if (outcome->is_ok || is_given_up)
			settle(outbox, entry_of(posts[i]));
		else
			requeue(outbox, entry_of(posts[i]));
	}
}

static void on_retry(void *context)
{
	struct outbox *outbox = context;
	loop_defer(outbox->loop, &outbox->flush);
}

/* There is an answer, and no way to hand it over. */
static void answer_unsendable(struct command *command, size_t size)
{
	char status[64] = "";
	if (command->answer.http_status > 0)
		snprintf(status, sizeof status, "the target answered with status %d, but ",
			 command->answer.http_status);
	char *detail = mem_printf("%sa status message of %zu bytes is too large for the command's "
				  "source, and the command has no responseBodyUploadUrl",
				  status, size);
	answer_no_response(&command->answer, "RESPONSE_TOO_LARGE", detail, command->seal);
	free(detail);
	answer_replaced(command);
}

void outbox_push(struct outbox *outbox, struct command *command)
{
	struct outbox_entry *entry = mem_new(struct outbox_entry);
	const struct transport *transport = outbox->transport;
	entry->outbox = outbox;
	entry->command = command;
	command->is_outgoing = true;
	entry->post = (struct transport_post){
	    .command_id = command->id, .target_id = command->target_id, .answer = &command->answer};
	outbox->count++;
	if (!command->is_unloaded)
		command->answer_size = command->answer.json.size;
	size_t size = message_size(entry);
	if (size > transport->embedded_max_bytes && command->upload_url != NULL) {
		unload(command);
		entry->state = ENTRY_LARGE;
		TAILQ_INSERT_TAIL(&outbox->large, entry, link);
		loop_defer(outbox->loop, &outbox->flush);
		return;
	}
	if (size > transport->message_max_bytes)
		answer_unsendable(command, size);
	if (spool_is_file(&command->answer.json) || endpoint_waits(outbox->posting))
		unload(command);
	entry_ready(entry);
}

static void expire_list(struct outbox *outbox, struct entry_list *list, int64_t before_ms)
{
	struct outbox_entry *entry = TAILQ_FIRST(list);
	for (struct outbox_entry *next; entry != NULL; entry = next) {
		next = TAILQ_NEXT(entry, link);
		struct command *command = entry->command;
		if (command->expires_at_ms >= before_ms)
			continue;
		log_error("command %s: its answer (%s, %zu bytes) could not be posted in time and "
			  "is given "
			  "up",
			  command->id, answer_status_name(command->answer.status),
			  command->answer_size);
		TAILQ_REMOVE(list, entry, link);
		if (entry->state == ENTRY_READY)
			outbox->ready_count--;
		outbox->count--;
		free(entry);
		command_set_state(command, COMMAND_POSTED);
		outbox->on_settled(outbox->context, command);
	}
}

void outbox_expire(struct outbox *outbox, int64_t retention_ms)
{
	int64_t before_ms = clock_now_ms() - retention_ms;
	expire_list(outbox, &outbox->large, before_ms);
	expire_list(outbox, &outbox->ready, before_ms);
}

size_t outbox_count(const struct outbox *outbox)
{
	return outbox->count;
}

struct outbox *outbox_new(struct loop *loop, struct http_client *client, struct source *source,
			  struct transport *transport, struct journal *journal,
			  void (*on_settled)(void *context, struct command *command), void *context)
{
	struct outbox *outbox = mem_new(struct outbox);
	outbox->loop = loop;
	outbox->client = client;
	outbox->transport = transport;
	outbox->journal = journal;
	outbox->on_settled = on_settled;
	outbox->context = context;
	outbox->batch_max = POST_COUNT_MAX;
	outbox->unreadable.what = "reading stored answers";
	outbox->posting = endpoint_new(source, "posting answers", on_retry, outbox);
	outbox->uploading = endpoint_new(source, "uploading answers", on_retry, outbox);
	endpoint_set_elsewhere(outbox->uploading);
	outbox->flush = (struct loop_task){.run = flush, .context = outbox};
	outbox->read_again = loop_timer_new(loop, on_retry, outbox);
	TAILQ_INIT(&outbox->large);
	TAILQ_INIT(&outbox->ready);
	TAILQ_INIT(&outbox->busy);
	return outbox;
}

static void free_entries(struct entry_list *list)
{
	for (struct outbox_entry *entry; (entry = TAILQ_FIRST(list)) != NULL;) {
		TAILQ_REMOVE(list, entry, link);
		upload_cancel(entry->upload);
		command_free(entry->command);
		free(entry);
	}
}

void outbox_free(struct outbox *outbox)
{
	if (outbox == NULL)
		return;
	free_entries(&outbox->large);
	free_entries(&outbox->ready);
	free_entries(&outbox->busy);
	loop_cancel(outbox->loop, &outbox->flush);
	loop_timer_free(outbox->read_again);
	endpoint_free(outbox->posting);
	endpoint_free(outbox->uploading);
	free(outbox);
}
