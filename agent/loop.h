/* The one loop of the agent: libuv waits, curl's multi interface is driven from it with
 * socket_action. Everything runs on the thread that calls loop_run, but for struct loop_work.
 *
 * A turn is one pass of the loop: timers, then descriptors, then its end. At the end of
 * a turn finished transfers are completed first, then the tasks that were deferred during
 * the turn run, until there are none: whatever should happen once for all events of a turn
 * (posting a batch, one transaction) is deferred to there. */
#ifndef AGENT_LOOP_H
#define AGENT_LOOP_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct loop;

struct loop *loop_new(struct error *err);
/* All timers, tasks and transfers of it must have ended before. */
void loop_free(struct loop *loop);
/* Returns after loop_stop was called (at the end of that turn). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One-shot timers. The callback may start, stop or free its own timer. Starting a timer
 * that runs sets it anew. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, void (*on_time)(void *context), void *context);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
/* The same, unless it runs and would end before that. */
void loop_timer_start_earlier(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_running(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* A task runs once at the end of the turn in which it was deferred; deferring it again
 * before that changes nothing. Embedded in its owner, which cancels it before it goes. */
struct loop_task {
	void (*run)(void *context);
	void *context;
	bool is_queued;
	uint64_t turn;          /* in which it was queued */
	struct task_list *list; /* that it stands in while it is queued */
	TAILQ_ENTRY(loop_task) link;
};
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_cancel(struct loop *loop, struct loop_task *task);
/* For work that is cheaper the more of it comes together (a transaction): as loop_defer, but
 * while further events wait to be looked at the task waits for their turns too, for
 * LOOP_GATHER_MS at most. When nothing else is going on it runs at the end of this turn. */
enum { LOOP_GATHER_MS = 2 };
void loop_defer_gathering(struct loop *loop, struct loop_task *task);
/* A number that changes before each wait. */
uint64_t loop_turn(const struct loop *loop);
/* For much short work that is spread over turns: runs once, after the next turn's events. */
void loop_spread(struct loop *loop, struct loop_task *task);
/* For long work that is done in pieces: runs once, after the next turn's events. Of all tasks that
 * wait for this one runs a turn, in their order, so a turn is as long as the longest piece. */
void loop_next_turn(struct loop *loop, struct loop_task *task);

/* Work that blocks, and for which the loop must not wait: run is called on another thread, and
 * on_done in a later turn of the loop. From loop_work_start until then nobody else touches what
 * run touches. */
struct loop_work;
struct loop_work *loop_work_new(struct loop *loop, void (*run)(void *context),
				void (*on_done)(void *context), void *context);
/* Is there a thread to be had? libuv would end the process where there is none. */
bool loop_work_is_possible(struct loop_work *work);
/* Not while it is running, nor where it is not possible. */
void loop_work_start(struct loop_work *work);
bool loop_work_is_running(const struct loop_work *work);
/* Before the loop ends: blocks until run has returned. There is no on_done then, nor another
 * start. */
void loop_work_wait(struct loop_work *work);
/* Not while it is running. */
void loop_work_free(struct loop_work *work);

/* A SIGTERM or SIGINT that comes before loop_on_stop_signal waits for it. */
void loop_block_stop_signals(void);
/* SIGTERM and SIGINT call back inside the loop, never in the middle of anything. */
void loop_on_stop_signal(struct loop *loop, void (*on_signal)(void *context, int signal_number),
			 void *context);

/* For http.c and http_knock.c alone: starts a curl easy handle and calls back once when it is
 * done, with its CURLcode, never from inside these functions. Removing one ends it without a
 * call. CURLOPT_PRIVATE and CURLOPT_CLOSESOCKETFUNCTION are the loop's. */
struct loop_transfer {
	void *easy; /* CURL * */
	void (*on_done)(void *context, int curl_code);
	void *context;
};
NODISCARD int loop_transfer_add(struct loop *loop, struct loop_transfer *transfer,
				struct error *err);
void loop_set_max_connections(struct loop *loop, size_t count);
void loop_transfer_remove(struct loop *loop, struct loop_transfer *transfer);

#endif
