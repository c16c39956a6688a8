#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/jsonout.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"
#include "service/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One call with its updates. */
struct updating {
	struct request_state state;
	struct request *request;
	int64_t now_ms;
	struct buf out;
	/* Commands whose uploaded answer went into their record: the file goes once that is
	 * stored. */
	char (*taken)[UUID_TEXT_SIZE];
	size_t taken_count;
};

struct update {
	char command_id[UUID_TEXT_SIZE];
	uint8_t receipt[RECEIPT_SIZE];
	bool has_receipt;
	bool is_referenced;
	enum command_status status;
	struct span body;
};

/* The turn may have failed: only a command that has its answer inside loses its file. */
static void on_end(struct request_state *state, bool was_sent)
{
	struct updating *updating = (struct updating *)state;
	struct store *store = updating->request->service->store;
	struct command command;
	(void)was_sent;
	for (size_t i = 0; i < updating->taken_count; i++) {
		int rc = store_command_find(store, NULL, updating->taken[i], &command, NULL);
		if (rc == 0 && status_is_terminal(command.status) &&
		    command.response == RESPONSE_INLINE)
			spool_remove(store, updating->taken[i]);
	}
	buf_release(&updating->out);
	free(updating->taken);
	free(updating);
}

/* ---- Reading one */

static int read_receipt(struct span value, struct update *update, struct error *err)
{
	char text[RECEIPT_TEXT_SIZE];
	char id[UUID_TEXT_SIZE];
	if (span_is_null(value))
		return 0;
	if (span_text(value, text, sizeof text, err) < 0)
		return error_prefix(err, "receipt");
	/* An unknown one is like an old one. */
	update->has_receipt = receipt_read(text, id, update->receipt, NULL) == 0 &&
			      strcmp(id, update->command_id) == 0;
	return 0;
}

static int read_status(struct span value, struct update *update, struct error *err)
{
	char text[32];
	if (span_text(value, text, sizeof text, err) < 0)
		return error_prefix(err, "status");
	update->status = status_find(text);
	if (update->status == STATUS_PROCESSING || update->status == STATUS_SUCCESS ||
	    update->status == STATUS_FAILURE || update->status == STATUS_REJECTED)
		return 0;
	return error_set(err, ERR_INVALID,
			 "status must be PROCESSING, SUCCESS, FAILURE or REJECTED");
}

static int read_delivery(struct span value, struct update *update, struct error *err)
{
	char text[32] = "embedded";
	if (!span_is_null(value) && span_text(value, text, sizeof text, err) < 0)
		return error_prefix(err, "responseBodyDelivery");
	update->is_referenced = strcmp(text, "referenced") == 0;
	if (update->is_referenced || strcmp(text, "embedded") == 0)
		return 0;
	return error_set(err, ERR_INVALID, "responseBodyDelivery must be embedded or referenced");
}

static int read_update(struct span object, struct update *update, struct error *err)
{
	static const char *const names[] = {
	    "commandId", "receipt", "status", "responseBodyDelivery", "body", NULL};
	struct span values[5];
	*update = (struct update){0};
	if (!span_is_object(object))
		return error_set(err, ERR_INVALID, "an update must be an object, not %s",
				 span_kind(object));
	span_members(object, names, values);
	int rc = span_text(values[0], update->command_id, sizeof update->command_id, err);
	if (rc < 0)
		return error_prefix(err, "commandId");
	rc = read_receipt(values[1], update, err);
	if (rc == 0)
		rc = read_status(values[2], update, err);
	if (rc == 0)
		rc = read_delivery(values[3], update, err);
	update->body = values[4];
	if (rc == 0 && span_depth(update->body) > PAYLOAD_DEPTH_MAX)
		rc = error_set(err, ERR_LIMIT, "body is nested deeper than %d levels",
			       PAYLOAD_DEPTH_MAX);
	return rc;
}

/* ---- Judging one: 1 accepted, 0 duplicate, ERR_INVALID conflict (reason in err), other
 * failures of the store */

static int accept_processing(const struct update *update, const struct command *command,
			     struct error *err)
{
	if (update->has_receipt && receipt_is(command, update->receipt))
		return 1;
	return error_set(err, ERR_INVALID,
			 "the lease of this receipt is over: the command was or will be delivered "
			 "again");
}

static int end_with(struct updating *updating, const struct update *update, struct command *command,
		    enum command_response response, struct span body, struct error *err)
{
	bool is_current = update->has_receipt && receipt_is(command, update->receipt);
	int rc = store_command_end(updating->request->service->store, command, update->status,
				   is_current ? EVENT_REPORTED : EVENT_REPORTED_LATE,
				   updating->now_ms, response, body, err);
	return rc < 0 ? rc : 1;
}

static void note_taken(struct updating *updating, const char *id)
{
	updating->taken =
	    mem_realloc_array(updating->taken, updating->taken_count + 1, sizeof *updating->taken);
	memcpy(updating->taken[updating->taken_count++], id, UUID_TEXT_SIZE);
}

/* An upload that fits into the record goes there. */
static int end_with_upload(struct updating *updating, const struct update *update,
			   struct command *command, struct error *err)
{
	struct store *store = updating->request->service->store;
	struct buf text = BUF_INIT(RESPONSE_INLINE_MAX);
	uint64_t size = 0;
	int fd = -1;
	int rc = spool_open(store, command->id, &fd, &size, err);
	if (rc < 0)
		return rc == ERR_NOT_FOUND
			   ? error_set(err, ERR_INVALID,
				       "nothing was uploaded to responseBodyUploadUrl")
			   : rc;
	(void)close(fd); /* only looked at */
	if (size > RESPONSE_INLINE_MAX)
		return end_with(updating, update, command, RESPONSE_FILE, (struct span){0}, err);
	char *path = spool_path(store, command->id);
	rc = file_read(path, &text, err);
	free(path);
	if (rc == 0) {
		rc = end_with(updating, update, command, RESPONSE_INLINE,
			      span_of(buf_str(&text), text.size), err);
		note_taken(updating, command->id);
	}
	buf_release(&text);
	return rc;
}

static int judge(struct updating *updating, const struct update *update, struct error *err)
{
	const struct token *token = &updating->request->token;
	struct store *store = updating->request->service->store;
	struct command command;
	int rc = store_command_find(store, token->org, update->command_id, &command, err);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc < 0 || strcmp(command.target, token->agent) != 0)
		return error_set(err, ERR_INVALID, "there is no such command in this queue");
	if (command.status == update->status && status_is_terminal(command.status))
		return 0;
	if (status_is_terminal(command.status))
		return error_set(err, ERR_INVALID, "the command has ended already, as %s",
				 status_name(command.status));
	if (command.attempt == 0)
		return error_set(err, ERR_INVALID, "the command was not delivered yet");
	if (update->status == STATUS_PROCESSING)
		return accept_processing(update, &command, err);
	if (update->is_referenced)
		return end_with_upload(updating, update, &command, err);
	return end_with(updating, update, &command,
			span_is_null(update->body) ? RESPONSE_NONE : RESPONSE_INLINE, update->body,
			err);
}

static int update_one(struct updating *updating, struct span object, struct error *err)
{
	struct update update;
	int rc = read_update(object, &update, err);
	rc = rc < 0 ? ERR_INVALID : judge(updating, &update, err);
	if (rc < 0 && rc != ERR_INVALID)
		return rc;
	out_open(&updating->out, NULL, '{');
	out_span(&updating->out, "commandId",
		 span_is_object(object) ? span_member(object, "commandId") : (struct span){0});
	out_text(&updating->out, "result",
		 rc > 0    ? "accepted"
		 : rc == 0 ? "duplicate"
			   : "conflict");
	if (rc < 0)
		out_text(&updating->out, "reason", err->message);
	out_close(&updating->out, '}');
	return 0;
}

static int update_all(struct updating *updating, struct span updates, struct error *err)
{
	struct span update;
	struct span_cursor cursor = span_begin(updates);
	out_open(&updating->out, NULL, '{');
	out_open(&updating->out, "results", '[');
	while (span_next(&cursor, NULL, &update)) {
		int rc = update_one(updating, update, err);
		if (rc < 0)
			return rc;
	}
	out_close(&updating->out, ']');
	out_close(&updating->out, '}');
	return 0;
}

void on_status(struct request *request)
{
	struct span object, updates;
	struct problems problems = PROBLEMS_INIT;
	struct error err;
	if (call_is_own_queue(request) < 0 || call_object(request, &object) < 0)
		return;
	call_array(object, "updates", "status updates", &updates, &problems);
	int rc = call_check(request, &problems);
	problems_release(&problems);
	if (rc < 0)
		return;
	struct updating *updating = mem_new(struct updating);
	updating->state.end = on_end;
	updating->request = request;
	updating->now_ms = clock_now_ms();
	updating->out = BUF_INIT(128 * 1024 * 1024);
	request->state = &updating->state;
	if (update_all(updating, updates, &err) < 0)
		request_fail_store(request, &err);
	else
		request_answer(request, MHD_HTTP_OK, &updating->out);
}
