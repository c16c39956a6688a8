/* What the parts of the loop share. Nobody else includes it.
 *
 *     loop.c           turns, tasks, timers, signals, transfers
 *     loop_sockets.c   libuv watches the sockets of libcurl
 *     loop_work.c      what blocks, on another thread */
#ifndef AGENT_LOOP_INSIDE_H
#define AGENT_LOOP_INSIDE_H

#include "agent/loop.h"

#include <curl/curl.h>
#include <uv.h>

enum { SIGNALS = 2 };

TAILQ_HEAD(task_list, loop_task);

struct loop {
	uv_loop_t uv;
	uv_timer_t curl_timer;
	uv_prepare_t before_wait;
	uv_check_t after_wait;
	uv_signal_t signals[SIGNALS];
	void (*on_signal)(void *context, int signal_number);
	void *signal_context;
	CURLM *multi;
	/* By the number of the socket; NULL: not watched. */
	struct watch **watches;
	size_t watches_size;
	uint64_t turn;
	struct task_list tasks;
	struct task_list gathering;
	uint64_t gathering_since_ns;
	struct task_list spread; /* all of them in the next turn */
	struct task_list pieces; /* one a turn */
	bool is_curl_due;        /* curl wants to be called in the next turn */
	uv_idle_t no_wait;       /* active while there are some of these, or that */
};

/* For uv_close: the handle is the first member of what it frees. */
void loop_free_handle(uv_handle_t *handle);

/* Before libuv makes its thread. */
void loop_work_begin(void);

/* The multi interface is there. */
void loop_sockets_begin(struct loop *loop);
/* For a transfer that begins. */
void loop_sockets_add(struct loop *loop, CURL *easy);
/* It and all its connections are gone. */
void loop_sockets_end(struct loop *loop);

#endif
