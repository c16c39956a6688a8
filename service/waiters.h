/* Long polls: agents that wait for commands of their queue, and requestors that wait for
 * the end of a command. What happens in a turn is noted first. Queues are served before the
 * turn is committed, so that storing a command and handing it out cost one commit; those who
 * wait for an end are woken after it. */
#ifndef SERVICE_WAITERS_H
#define SERVICE_WAITERS_H

#include "service/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uthash.h>

struct waiters;

/* A request that waits for commands. Embedded in the state of the receive call. */
struct queue_waiter {
	TAILQ_ENTRY(queue_waiter) link;
	struct queue *queue; /* NULL: it does not wait */
	struct request *request;
};

/* A request that waits for the end of a command. */
struct end_waiter {
	TAILQ_ENTRY(end_waiter) link;
	struct ended *ended; /* NULL: it does not wait */
	struct request *request;
};

TAILQ_HEAD(queue_list, queue);
TAILQ_HEAD(ended_list, ended);

struct waiters {
	struct queue *queues;    /* uthash */
	struct queue_list ready; /* something came for somebody who waits */
	struct ended *commands;  /* uthash */
	struct ended_list woken; /* ended in this turn, and somebody waits */
};

void waiters_init(struct waiters *waiters);

/* Adds at the end: who waits longest is served first. */
void queue_wait(struct waiters *waiters, struct queue_waiter *waiter, const char *org,
		const char *target);
/* Puts one back that queue_next() gave, to where it was. */
void queue_wait_again(struct waiters *waiters, struct queue_waiter *waiter, const char *org,
		      const char *target);
void queue_leave(struct waiters *waiters, struct queue_waiter *waiter);
void end_wait(struct waiters *waiters, struct end_waiter *waiter, int64_t seq);
void end_leave(struct waiters *waiters, struct end_waiter *waiter);

/* What the store tells. */
void waiters_on_pending(struct waiters *waiters, const char *org, const char *target);
void waiters_on_end(struct waiters *waiters, int64_t seq);

/* There may be something in the queue, but looking for it goes on only at waiters_go_on(), so
 * that others are served before. */
void waiters_on_more(struct waiters *waiters, const char *org, const char *target);
void waiters_go_on(struct waiters *waiters);

/* Takes the next waiter of a queue that has something; NULL when there is none. It then
 * does not wait any more. Who is served and leaves the queue not empty calls
 * waiters_on_pending() again. */
struct queue_waiter *queue_next(struct waiters *waiters);
/* The turn is over: wakes who waited for what ended in it, or forgets it. */
void waiters_settle(struct waiters *waiters, bool is_stored);
/* The service stops: nobody waits any more. Calls end_queue for each that did for commands;
 * those who wait for an end are woken. */
void waiters_end(struct waiters *waiters, void (*end_queue)(struct queue_waiter *waiter));

#endif
