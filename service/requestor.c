#include "base/clock.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/jsonout.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	WAIT_SECONDS_MAX = 60,
	PURGE_MAX = 10000,
	ACTIONS_BYTES_MAX = 64 * 1024 * 1024,
};

/* The command in the path, or a 404. */
static int find_command(struct request *request, struct command *command)
{
	struct error err;
	int rc = store_command_find(request->service->store, request->token.org,
				    request->parameters[0], command, &err);
	if (rc == ERR_NOT_FOUND)
		request_fail(request, MHD_HTTP_NOT_FOUND, "%s", err.message);
	else if (rc < 0)
		request_fail_store(request, &err);
	return rc;
}

/* 400 when there is any query parameter but those of names (NULL-terminated). */
static int check_query(struct request *request, struct query *query, const char *const *names)
{
	struct problems problems = PROBLEMS_INIT;
	if (query_read(request, query) < 0)
		return ERR_INVALID;
	for (size_t i = 0; i < query->count; i++) {
		size_t n = 0;
		while (names[n] && strcmp(names[n], query->items[i].name) != 0)
			n++;
		if (!names[n])
			problems_add(&problems, "unknown query parameter %s", query->items[i].name);
	}
	int rc = call_check(request, &problems);
	problems_release(&problems);
	return rc;
}

/* ---- One command */

struct waiting {
	struct request_state state;
	struct end_waiter waiter;
};

static void on_end(struct request_state *state, bool was_sent)
{
	struct waiting *waiting = (struct waiting *)state;
	(void)was_sent;
	end_leave(&waiting->waiter.request->service->waiters, &waiting->waiter);
	free(waiting);
}

static void on_time_over(struct alarm_entry *entry)
{
	struct request *request =
	    (struct request *)((char *)entry - offsetof(struct request, alarm));
	struct waiting *waiting = (struct waiting *)request->state;
	end_leave(&request->service->waiters, &waiting->waiter);
	request_wake(request);
}

static void wait_for_end(struct request *request, int64_t seq, int64_t wait_seconds)
{
	struct service *service = request->service;
	struct waiting *waiting = mem_new(struct waiting);
	waiting->state.end = on_end;
	waiting->waiter.request = request;
	request->state = &waiting->state;
	end_wait(&service->waiters, &waiting->waiter, seq);
	alarm_set(&service->alarms, &request->alarm, clock_monotonic_ms() + wait_seconds * 1000,
		  on_time_over);
	request_wait(request);
}

static int read_wait(struct request *request, int64_t *wait_seconds)
{
	static const char *const names[] = {"wait", NULL};
	struct query query;
	struct problems problems = PROBLEMS_INIT;
	if (check_query(request, &query, names) < 0)
		return ERR_INVALID;
	for (size_t i = 0; i < query.count; i++)
		query_number(&query.items[i], 0, WAIT_SECONDS_MAX, wait_seconds, &problems);
	int rc = call_check(request, &problems);
	problems_release(&problems);
	return rc;
}

static void answer_record(struct request *request, const struct command *command)
{
	struct buf base_url = BUF_INIT(2048);
	struct buf out = BUF_INIT(request_room(request, SIZE_MAX / 2));
	struct error err;
	if (request_base_url(request, &base_url, &err) < 0)
		request_fail(request, MHD_HTTP_BAD_REQUEST, "%s", err.message);
	else if (record_append(&out, request->service->store, command, buf_str(&base_url), &err) <
		 0)
		request_fail_store(request, &err);
	else if (out.failed == ERR_LIMIT)
		request_fail_room(request);
	else
		request_answer(request, MHD_HTTP_OK, &out);
	buf_release(&base_url);
	buf_release(&out);
}

/* Runs again when the wait is over: then there is a state. */
void on_command_get(struct request *request)
{
	struct command command;
	int64_t wait_seconds = 0;
	if (read_wait(request, &wait_seconds) < 0 || find_command(request, &command) < 0)
		return;
	bool may_wait =
	    wait_seconds > 0 && !request->state && !request->service->server.is_stopping;
	if (may_wait && !status_is_terminal(command.status))
		wait_for_end(request, command.seq, wait_seconds);
	else
		answer_record(request, &command);
}

void on_history(struct request *request)
{
	static const char *const names[] = {NULL};
	struct query query;
	struct command command;
	struct buf out = BUF_INIT(1024 * 1024);
	if (check_query(request, &query, names) < 0 || find_command(request, &command) < 0)
		return;
	history_write(&out, &command);
	request_answer(request, MHD_HTTP_OK, &out);
}

/* ---- All commands */

static void add_action(void *context, const char *action)
{
	out_text(context, NULL, action);
}

void on_actions(struct request *request)
{
	static const char *const names[] = {NULL};
	struct query query;
	struct error err;
	struct buf out = BUF_INIT(request_room(request, ACTIONS_BYTES_MAX));
	if (check_query(request, &query, names) < 0)
		return;
	out_open(&out, NULL, '[');
	int rc = store_actions(request->service->store, request->token.org, add_action, &out, &err);
	out_close(&out, ']');
	if (rc < 0)
		request_fail_store(request, &err);
	else if (out.failed == ERR_LIMIT && out.max < ACTIONS_BYTES_MAX)
		request_fail_room(request);
	else
		request_answer(request, MHD_HTTP_OK, &out);
	buf_release(&out);
}

static void purge(struct request *request, const char *target)
{
	struct error err;
	struct buf out = BUF_INIT(PURGE_MAX * 64 + 1024);
	size_t count = 0;
	char(*ids)[UUID_TEXT_SIZE] = mem_calloc(PURGE_MAX, sizeof *ids);
	int rc = store_purge(request->service->store, request->token.org, target, clock_now_ms(),
			     PURGE_MAX, ids, &count, &err);
	out_open(&out, NULL, '{');
	out_open(&out, "purged", '[');
	for (size_t i = 0; i < count; i++) {
		out_open(&out, NULL, '{');
		out_text(&out, "commandId", ids[i]);
		out_close(&out, '}');
	}
	out_close(&out, ']');
	if (count == PURGE_MAX)
		out_bool(&out, "hasNext", true);
	out_close(&out, '}');
	if (rc < 0)
		request_fail_store(request, &err);
	else
		request_answer(request, MHD_HTTP_OK, &out);
	buf_release(&out);
	free(ids);
}

void on_purge(struct request *request)
{
	static const char *const names[] = {"targetId", NULL};
	struct query query;
	if (check_query(request, &query, names) < 0)
		return;
	if (query.count != 1 || *query.items[0].value == '\0') {
		request_fail(request, MHD_HTTP_BAD_REQUEST,
			     "say once whose queue is to be purged: ?targetId=ID");
		return;
	}
	purge(request, query.items[0].value);
}
