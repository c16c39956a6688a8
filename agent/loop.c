#include "agent/loop_inside.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <curl/curl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

struct loop_timer {
	uv_timer_t handle;
	void (*on_time)(void *context);
	void *context;
};

/* Hands finished transfers to their owners; true when there were any. */
static bool complete_transfers(struct loop *loop)
{
	bool any = false;
	int queued;
	for (CURLMsg *message; (message = curl_multi_info_read(loop->multi, &queued)) != NULL;) {
		if (message->msg != CURLMSG_DONE)
			continue;
		/* The message dies when its handle is removed. */
		CURLcode code = message->data.result;
		struct loop_transfer *transfer = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		curl_multi_remove_handle(loop->multi, transfer->easy);
		transfer->on_done(transfer->context, (int)code);
		any = true;
	}
	return any;
}

static void queue(struct loop *loop, struct task_list *list, struct loop_task *task)
{
	task->is_queued = true;
	task->turn = loop->turn;
	task->list = list;
	TAILQ_INSERT_TAIL(list, task, link);
}

static bool run_first(struct task_list *tasks)
{
	struct loop_task *task = TAILQ_FIRST(tasks);
	if (task == NULL)
		return false;
	TAILQ_REMOVE(tasks, task, link);
	task->is_queued = false;
	task->run(task->context);
	return true;
}

static bool run_tasks(struct task_list *tasks)
{
	bool any = false;
	while (run_first(tasks))
		any = true;
	return any;
}

/* Will the next wait end at once? */
static bool has_events(struct loop *loop)
{
	struct pollfd backend = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
	return poll(&backend, 1, 0) > 0;
}

static bool run_gathering_tasks(struct loop *loop)
{
	if (TAILQ_EMPTY(&loop->gathering))
		return false;
	if (uv_hrtime() - loop->gathering_since_ns < LOOP_GATHER_MS * 1000000ULL &&
	    has_events(loop))
		return false;
	return run_first(&loop->gathering); /* one that queues itself again has its next turn */
}

static void end_turn(struct loop *loop)
{
	while (complete_transfers(loop) || run_tasks(&loop->tasks) || run_gathering_tasks(loop))
		;
}

/* Before the wait as well: what timers deferred must not sleep until the next event, nor what was
 * logged. */
static void on_before_wait(uv_prepare_t *handle)
{
	struct loop *loop = handle->loop->data;
	end_turn(loop);
	log_flush();
	loop->turn++;
}

/* While this is active libuv does not wait; what is to be done is done below. */
static void on_no_wait(uv_idle_t *handle)
{
	(void)handle;
}

static void call_curl(struct loop *loop)
{
	int running;
	curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

/* What was queued in this turn has the next. */
static bool is_next_due(const struct loop *loop, const struct task_list *tasks)
{
	const struct loop_task *task = TAILQ_FIRST(tasks);
	return task != NULL && task->turn != loop->turn;
}

static void on_after_wait(uv_check_t *handle)
{
	struct loop *loop = handle->loop->data;
	if (loop->is_curl_due) {
		loop->is_curl_due = false;
		call_curl(loop);
	}
	end_turn(loop);
	while (is_next_due(loop, &loop->spread))
		run_first(&loop->spread);
	if (is_next_due(loop, &loop->pieces))
		run_first(&loop->pieces);
	if (TAILQ_EMPTY(&loop->spread) && TAILQ_EMPTY(&loop->pieces) && !loop->is_curl_due)
		uv_idle_stop(&loop->no_wait);
}

static void on_curl_timer(uv_timer_t *handle)
{
	call_curl(handle->loop->data);
}

/* curl's timer is one-shot: it is asked for anew, or taken back with -1. With 0 curl asks for the
 * next turn, when a transfer is to begin or has read its share and there is more. As a timer
 * that would be due again in this turn, until all of a large answer was read. */
static int on_curl_wants_timer(CURLM *multi, long timeout_ms, void *context)
{
	(void)multi;
	struct loop *loop = context;
	uv_timer_stop(&loop->curl_timer);
	loop->is_curl_due = timeout_ms == 0;
	if (loop->is_curl_due) {
		uv_idle_start(&loop->no_wait, on_no_wait);
	} else if (timeout_ms > 0) {
		uv_update_time(&loop->uv);
		uv_timer_start(&loop->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
	}
	return 0;
}

static void on_uv_signal(uv_signal_t *handle, int signal_number)
{
	struct loop *loop = handle->loop->data;
	loop->on_signal(loop->signal_context, signal_number);
}

struct loop *loop_new(struct error *err)
{
	struct loop *loop = mem_new(struct loop);
	TAILQ_INIT(&loop->tasks);
	TAILQ_INIT(&loop->gathering);
	TAILQ_INIT(&loop->spread);
	TAILQ_INIT(&loop->pieces);
	loop_work_begin();
	int rc = uv_loop_init(&loop->uv);
	if (rc != 0) {
		error_set(err, ERR_SYSTEM, "cannot start the event loop: %s", uv_strerror(rc));
		free(loop);
		return NULL;
	}
	loop->uv.data = loop;
	uv_timer_init(&loop->uv, &loop->curl_timer);
	uv_prepare_init(&loop->uv, &loop->before_wait);
	uv_prepare_start(&loop->before_wait, on_before_wait);
	uv_check_init(&loop->uv, &loop->after_wait);
	uv_check_start(&loop->after_wait, on_after_wait);
	uv_idle_init(&loop->uv, &loop->no_wait);
	for (int i = 0; i < SIGNALS; i++)
		uv_signal_init(&loop->uv, &loop->signals[i]);

	curl_global_init(CURL_GLOBAL_DEFAULT);
	loop->multi = curl_multi_init();
	if (loop->multi == NULL) {
		error_set(err, ERR_MEMORY, "cannot start libcurl");
		loop_free(loop);
		return NULL;
	}
	loop_sockets_begin(loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_curl_wants_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	return loop;
}

void loop_free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void close_if_open(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	assert(TAILQ_EMPTY(&loop->tasks) && TAILQ_EMPTY(&loop->gathering) &&
	       TAILQ_EMPTY(&loop->spread) && TAILQ_EMPTY(&loop->pieces));
	/* curl first: closing its connections takes its sockets out of libuv (loop_sockets.c). */
	if (loop->multi != NULL)
		curl_multi_cleanup(loop->multi);
	uv_walk(&loop->uv, close_if_open, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&loop->uv);
	assert(rc == 0);
	(void)rc; /* only an assertion's matter: every handle was closed above */
	curl_global_cleanup();
	loop_sockets_end(loop);
	free(loop);
}

void loop_run(struct loop *loop)
{
	log_gather(true);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	log_gather(false);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*on_time)(void *context), void *context)
{
	struct loop_timer *timer = mem_new(struct loop_timer);
	timer->on_time = on_time;
	timer->context = context;
	uv_timer_init(&loop->uv, &timer->handle);
	return timer;
}

static void on_timer(uv_timer_t *handle)
{
	struct loop_timer *timer = (struct loop_timer *)handle;
	timer->on_time(timer->context);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
	/* libuv counts from the start of the turn, which may be a while ago. */
	uv_update_time(timer->handle.loop);
	uv_timer_start(&timer->handle, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
}

void loop_timer_start_earlier(struct loop_timer *timer, int64_t delay_ms)
{
	uv_update_time(timer->handle.loop);
	if (!loop_timer_is_running(timer) ||
	    uv_timer_get_due_in(&timer->handle) > (uint64_t)(delay_ms > 0 ? delay_ms : 0))
		loop_timer_start(timer, delay_ms);
}

void loop_timer_stop(struct loop_timer *timer)
{
	uv_timer_stop(&timer->handle);
}

bool loop_timer_is_running(const struct loop_timer *timer)
{
	return uv_is_active((const uv_handle_t *)&timer->handle);
}

void loop_timer_free(struct loop_timer *timer)
{
	if (timer != NULL)
		uv_close((uv_handle_t *)&timer->handle, loop_free_handle);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
	if (!task->is_queued)
		queue(loop, &loop->tasks, task);
}

void loop_cancel(struct loop *loop, struct loop_task *task)
{
	(void)loop; /* the task knows where it stands */
	if (!task->is_queued)
		return;
	TAILQ_REMOVE(task->list, task, link);
	task->is_queued = false;
}

void loop_defer_gathering(struct loop *loop, struct loop_task *task)
{
	if (task->is_queued)
		return;
	if (TAILQ_EMPTY(&loop->gathering))
		loop->gathering_since_ns = uv_hrtime();
	queue(loop, &loop->gathering, task);
}

static void queue_for_next_turn(struct loop *loop, struct task_list *list, struct loop_task *task)
{
	if (task->is_queued)
		return;
	queue(loop, list, task);
	uv_idle_start(&loop->no_wait, on_no_wait);
}

void loop_spread(struct loop *loop, struct loop_task *task)
{
	queue_for_next_turn(loop, &loop->spread, task);
}

uint64_t loop_turn(const struct loop *loop)
{
	return loop->turn;
}

void loop_next_turn(struct loop *loop, struct loop_task *task)
{
	queue_for_next_turn(loop, &loop->pieces, task);
}

static const int STOP_SIGNALS[SIGNALS] = {SIGTERM, SIGINT};

static void change_stop_signals(int how)
{
	sigset_t signals;
	sigemptyset(&signals);
	for (int i = 0; i < SIGNALS; i++)
		sigaddset(&signals, STOP_SIGNALS[i]);
	sigprocmask(how, &signals, NULL);
}

void loop_block_stop_signals(void)
{
	change_stop_signals(SIG_BLOCK);
}

void loop_on_stop_signal(struct loop *loop, void (*on_signal)(void *context, int signal_number),
			 void *context)
{
	loop->on_signal = on_signal;
	loop->signal_context = context;
	for (int i = 0; i < SIGNALS; i++)
		uv_signal_start(&loop->signals[i], on_uv_signal, STOP_SIGNALS[i]);
	change_stop_signals(SIG_UNBLOCK);
}

void loop_set_max_connections(struct loop *loop, size_t count)
{
	curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)count);
}

int loop_transfer_add(struct loop *loop, struct loop_transfer *transfer, struct error *err)
{
	curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
	loop_sockets_add(loop, transfer->easy);
	CURLMcode code = curl_multi_add_handle(loop->multi, transfer->easy);
	if (code != CURLM_OK)
		return error_set(err, ERR_SYSTEM, "cannot start a transfer: %s",
				 curl_multi_strerror(code));
	return 0;
}

void loop_transfer_remove(struct loop *loop, struct loop_transfer *transfer)
{
	curl_multi_remove_handle(loop->multi, transfer->easy);
}
