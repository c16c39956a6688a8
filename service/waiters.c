#include "service/waiters.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(queue_waiter_list, queue_waiter);
TAILQ_HEAD(end_waiter_list, end_waiter);

/* A queue somebody waits for; gone when the last one leaves. */
struct queue {
	UT_hash_handle hh;
	TAILQ_ENTRY(queue) ready_link;
	bool is_ready;
	bool has_more; /* ready at the next waiters_go_on() */
	struct queue_waiter_list waiters;
	char name[ORG_MAX + 1 + TARGET_MAX + 1]; /* org '\n' target: an org has no line break */
};

/* A command whose end somebody waits for. */
struct ended {
	UT_hash_handle hh;
	TAILQ_ENTRY(ended) woken_link;
	bool is_woken;
	struct end_waiter_list waiters;
	int64_t seq;
};

void waiters_init(struct waiters *waiters)
{
	*waiters = (struct waiters){0};
	TAILQ_INIT(&waiters->ready);
	TAILQ_INIT(&waiters->woken);
}

/* ---- Queues */

static struct queue *find_queue(struct waiters *waiters, const char *org, const char *target,
				char name[sizeof((struct queue *)0)->name])
{
	struct queue *queue = NULL;
	(void)snprintf(name, sizeof queue->name, "%s\n%s", org, target);
	HASH_FIND_STR(waiters->queues, name, queue);
	return queue;
}

static struct queue *find_or_add_queue(struct waiters *waiters, const char *org, const char *target)
{
	char name[sizeof((struct queue *)0)->name];
	struct queue *queue = find_queue(waiters, org, target, name);
	if (queue)
		return queue;
	queue = mem_new(struct queue);
	memcpy(queue->name, name, sizeof name);
	TAILQ_INIT(&queue->waiters);
	HASH_ADD_STR(waiters->queues, name, queue);
	return queue;
}

void queue_wait(struct waiters *waiters, struct queue_waiter *waiter, const char *org,
		const char *target)
{
	waiter->queue = find_or_add_queue(waiters, org, target);
	TAILQ_INSERT_TAIL(&waiter->queue->waiters, waiter, link);
}

void queue_wait_again(struct waiters *waiters, struct queue_waiter *waiter, const char *org,
		      const char *target)
{
	waiter->queue = find_or_add_queue(waiters, org, target);
	TAILQ_INSERT_HEAD(&waiter->queue->waiters, waiter, link);
}

void queue_leave(struct waiters *waiters, struct queue_waiter *waiter)
{
	struct queue *queue = waiter->queue;
	if (!queue)
		return;
	waiter->queue = NULL;
	TAILQ_REMOVE(&queue->waiters, waiter, link);
	if (!TAILQ_EMPTY(&queue->waiters))
		return;
	if (queue->is_ready)
		TAILQ_REMOVE(&waiters->ready, queue, ready_link);
	HASH_DEL(waiters->queues, queue);
	free(queue);
}

static void make_ready(struct waiters *waiters, struct queue *queue)
{
	if (queue->is_ready)
		return;
	queue->is_ready = true;
	TAILQ_INSERT_TAIL(&waiters->ready, queue, ready_link);
}

void waiters_on_pending(struct waiters *waiters, const char *org, const char *target)
{
	char name[sizeof((struct queue *)0)->name];
	struct queue *queue = find_queue(waiters, org, target, name);
	if (queue)
		make_ready(waiters, queue);
}

void waiters_on_more(struct waiters *waiters, const char *org, const char *target)
{
	char name[sizeof((struct queue *)0)->name];
	struct queue *queue = find_queue(waiters, org, target, name);
	if (queue)
		queue->has_more = true;
}

void waiters_go_on(struct waiters *waiters)
{
	struct queue *queue, *following;
	HASH_ITER(hh, waiters->queues, queue, following)
	{
		if (queue->has_more)
			make_ready(waiters, queue);
		queue->has_more = false;
	}
}

struct queue_waiter *queue_next(struct waiters *waiters)
{
	struct queue *queue = TAILQ_FIRST(&waiters->ready);
	if (!queue)
		return NULL;
	TAILQ_REMOVE(&waiters->ready, queue, ready_link);
	queue->is_ready = false;
	struct queue_waiter *waiter = TAILQ_FIRST(&queue->waiters);
	queue_leave(waiters, waiter);
	return waiter;
}

/* ---- Ends */

void end_wait(struct waiters *waiters, struct end_waiter *waiter, int64_t seq)
{
	struct ended *ended = NULL;
	HASH_FIND(hh, waiters->commands, &seq, sizeof seq, ended);
	if (!ended) {
		ended = mem_new(struct ended);
		ended->seq = seq;
		TAILQ_INIT(&ended->waiters);
		HASH_ADD(hh, waiters->commands, seq, sizeof ended->seq, ended);
	}
	waiter->ended = ended;
	TAILQ_INSERT_TAIL(&ended->waiters, waiter, link);
}

void end_leave(struct waiters *waiters, struct end_waiter *waiter)
{
	struct ended *ended = waiter->ended;
	if (!ended)
		return;
	waiter->ended = NULL;
	TAILQ_REMOVE(&ended->waiters, waiter, link);
	if (!TAILQ_EMPTY(&ended->waiters))
		return;
	if (ended->is_woken)
		TAILQ_REMOVE(&waiters->woken, ended, woken_link);
	HASH_DEL(waiters->commands, ended);
	free(ended);
}

void waiters_on_end(struct waiters *waiters, int64_t seq)
{
	struct ended *ended = NULL;
	HASH_FIND(hh, waiters->commands, &seq, sizeof seq, ended);
	if (!ended || ended->is_woken)
		return;
	ended->is_woken = true;
	TAILQ_INSERT_TAIL(&waiters->woken, ended, woken_link);
}

static void wake_all(struct waiters *waiters, struct ended *ended)
{
	size_t count = 0;
	struct end_waiter *waiter;
	TAILQ_FOREACH(waiter, &ended->waiters, link)
	count++;
	while (count-- > 0) { /* the last one frees ended */
		waiter = TAILQ_FIRST(&ended->waiters);
		struct request *request = waiter->request;
		end_leave(waiters, waiter);
		request_wake(request);
	}
}

void waiters_settle(struct waiters *waiters, bool is_stored)
{
	struct ended *ended;
	while ((ended = TAILQ_FIRST(&waiters->woken))) {
		if (is_stored) {
			wake_all(waiters, ended);
		} else {
			TAILQ_REMOVE(&waiters->woken, ended, woken_link);
			ended->is_woken = false;
		}
	}
}

void waiters_end(struct waiters *waiters, void (*end_queue)(struct queue_waiter *waiter))
{
	while (waiters->queues) {
		struct queue_waiter *waiter = TAILQ_FIRST(&waiters->queues->waiters);
		queue_leave(waiters, waiter);
		end_queue(waiter);
	}
	while (waiters->commands)
		wake_all(waiters, waiters->commands);
}
