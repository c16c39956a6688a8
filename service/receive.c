#include "service/receive.h"

#include "base/clock.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/jsonout.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"

#include <stddef.h>
#include <stdlib.h>

enum {
	ANSWER_BYTES_MAX = 32 * 1024 * 1024, /* of payloads; one command always goes */
	ANSWER_ROOM = ANSWER_BYTES_MAX + 16 * 1024 * 1024,
	LOOK_MS = 1000, /* a call that does not wait looks behind many expired commands so long */
};

struct receiving {
	struct request_state state;
	struct queue_waiter waiter;
	int64_t max;
	int64_t wait_seconds;
	int64_t lease_seconds;
	struct buf base_url;
	struct command *commands; /* that the answer holds */
	size_t count;
	bool has_more; /* in the queue */
};

/* What was not sent whole cannot have been acted upon: it goes to the next one at once. */
static void take_back(struct receiving *receiving, struct service *service)
{
	struct error err;
	int64_t now_ms = clock_now_ms();
	for (size_t i = 0; i < receiving->count; i++) {
		if (store_undeliver(service->store, &receiving->commands[i], now_ms, &err) < 0) {
			service_note_storage(service, &err);
			return; /* the leases bring them back */
		}
	}
}

static void on_end(struct request_state *state, bool was_sent)
{
	struct receiving *receiving = (struct receiving *)state;
	struct service *service = receiving->waiter.request->service;
	queue_leave(&service->waiters, &receiving->waiter);
	if (!was_sent)
		take_back(receiving, service);
	buf_release(&receiving->base_url);
	free(receiving->commands);
	free(receiving);
}

/* The answer for what was received; also for nothing. */
static int write_answer(struct receiving *receiving, struct buf *out, struct error *err)
{
	struct store *store = receiving->waiter.request->service->store;
	struct command_texts texts;
	out_open(out, NULL, '{');
	out_open(out, "commands", '[');
	for (size_t i = 0; i < receiving->count; i++) {
		int rc = store_texts_begin(store, receiving->commands[i].seq, &texts, err);
		if (rc < 0)
			return rc;
		delivery_write(out, store, &receiving->commands[i], &texts,
			       buf_str(&receiving->base_url));
		store_texts_end(store);
	}
	out_close(out, ']');
	out_close(out, '}');
	return buf_check(out, "commands", err);
}

static void answer(struct receiving *receiving)
{
	struct request *request = receiving->waiter.request;
	struct error err;
	struct buf out = BUF_INIT(ANSWER_ROOM);
	if (write_answer(receiving, &out, &err) < 0) {
		take_back(receiving, request->service);
		receiving->count = 0;
		request_fail_store(request, &err);
	} else {
		request_answer(request, MHD_HTTP_OK, &out);
	}
	buf_release(&out);
}

/* Takes commands from the queue and answers with them; 0 when there are none, and then it
 * has not answered. */
static size_t serve(struct receiving *receiving)
{
	struct request *request = receiving->waiter.request;
	struct service *service = request->service;
	struct error err;
	int64_t now_ms = clock_now_ms();
	/* Without room for more, one command still goes: agents must not starve. */
	struct receive_limits limits = {
	    .lease_ms = receiving->lease_seconds * 1000,
	    .max = (size_t)receiving->max,
	    .max_bytes = request_room(request, ANSWER_BYTES_MAX),
	};
	int rc =
	    store_receive(service->store, request->token.org, request->token.agent, now_ms, &limits,
			  &receiving->commands, &receiving->count, &receiving->has_more, &err);
	if (rc < 0) {
		request_fail_store(request, &err);
		return 1;
	}
	if (receiving->count == 0)
		return 0;
	service_note_due(service, now_ms + limits.lease_ms);
	answer(receiving);
	return receiving->count;
}

void receive_end_empty(struct queue_waiter *waiter)
{
	struct receiving *receiving =
	    (struct receiving *)((char *)waiter - offsetof(struct receiving, waiter));
	answer(receiving);
	request_wake(waiter->request);
}

static void on_time_over(struct alarm_entry *entry)
{
	struct request *request =
	    (struct request *)((char *)entry - offsetof(struct request, alarm));
	struct receiving *receiving = (struct receiving *)request->state;
	queue_leave(&request->service->waiters, &receiving->waiter);
	receive_end_empty(&receiving->waiter);
}

/* A client that has gone would take the command with it for the time of a lease. */
static void serve_waiting(struct service *service, struct queue_waiter *waiter)
{
	struct request *request = waiter->request;
	struct receiving *receiving = (struct receiving *)request->state;
	const char *org = request->token.org;
	const char *agent = request->token.agent;
	if (request_is_abandoned(request)) {
		waiters_on_pending(&service->waiters, org, agent);
		receive_end_empty(waiter);
		return;
	}
	if (serve(receiving) == 0) {
		queue_wait_again(&service->waiters, waiter, org, agent);
		if (receiving->has_more)
			service_note_more(service, org, agent);
		return;
	}
	if (receiving->has_more)
		waiters_on_pending(&service->waiters, org, agent);
	if (store_in_turn(service->store))
		request_hold(request);
	else
		request_wake(request);
}

void receive_serve_waiting(struct service *service)
{
	struct queue_waiter *waiter;
	while ((waiter = queue_next(&service->waiters)))
		serve_waiting(service, waiter);
}

static int read_call(struct request *request, struct receiving *receiving)
{
	struct span object;
	struct problems problems = PROBLEMS_INIT;
	struct error err;
	if (call_is_own_queue(request) < 0 || call_object(request, &object) < 0)
		return ERR_INVALID;
	call_number(object, "max", 1, 100, &receiving->max, &problems);
	call_number(object, "waitSeconds", 0, 60, &receiving->wait_seconds, &problems);
	call_number(object, "leaseSeconds", 10, 3600, &receiving->lease_seconds, &problems);
	if (request_base_url(request, &receiving->base_url, &err) < 0)
		problems_add(&problems, "%s", err.message);
	int rc = call_check(request, &problems);
	problems_release(&problems);
	return rc;
}

static void wait(struct receiving *receiving, int64_t wait_ms)
{
	struct request *request = receiving->waiter.request;
	struct service *service = request->service;
	const char *org = request->token.org;
	const char *agent = request->token.agent;
	queue_wait(&service->waiters, &receiving->waiter, org, agent);
	if (receiving->has_more)
		service_note_more(service, org, agent);
	alarm_set(&service->alarms, &request->alarm, clock_monotonic_ms() + wait_ms, on_time_over);
	request_wait(request);
}

void on_receive(struct request *request)
{
	struct service *service = request->service;
	struct receiving *receiving = mem_new(struct receiving);
	receiving->state.end = on_end;
	receiving->waiter.request = request;
	receiving->max = 10;
	receiving->lease_seconds = 60;
	receiving->base_url = BUF_INIT(2048);
	request->state = &receiving->state;
	if (read_call(request, receiving) < 0 || serve(receiving) > 0)
		return;
	int64_t wait_ms = receiving->wait_seconds * 1000;
	if (wait_ms == 0 && receiving->has_more)
		wait_ms = LOOK_MS;
	if (wait_ms == 0 || service->server.is_stopping)
		answer(receiving);
	else
		wait(receiving, wait_ms);
}
