#include "agent/loop_inside.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct loop_work {
	uv_work_t request;
	struct loop *loop;
	void (*run)(void *context);
	void (*on_done)(void *context);
	void *context;
	uv_sem_t has_run;
	bool is_possible;
	bool is_running; /* until on_done, or loop_work_wait */
	bool is_queued;  /* libuv has the request, which it gives back in a turn of the loop */
	bool is_freed;   /* … and then it goes */
};

/* There is never more than one piece of work at a time: no use in libuv's four threads. */
void loop_work_begin(void)
{
	uv_os_setenv("UV_THREADPOOL_SIZE", "1");
}

struct loop_work *loop_work_new(struct loop *loop, void (*run)(void *context),
				void (*on_done)(void *context), void *context)
{
	struct loop_work *work = mem_new(struct loop_work);
	work->loop = loop;
	work->run = run;
	work->on_done = on_done;
	work->context = context;
	int rc = uv_sem_init(&work->has_run, 0);
	assert(rc == 0);
	(void)rc; /* only an assertion's matter: 0 is a value that a semaphore can have */
	return work;
}

static void destroy(struct loop_work *work)
{
	uv_sem_destroy(&work->has_run);
	free(work);
}

/* On libuv's thread. */
static void on_run(uv_work_t *request)
{
	struct loop_work *work = (struct loop_work *)request;
	work->run(work->context);
	uv_sem_post(&work->has_run);
}

static void on_after(uv_work_t *request, int status)
{
	struct loop_work *work = (struct loop_work *)request;
	(void)status; /* nobody cancels it */
	work->is_queued = false;
	if (work->is_freed) {
		destroy(work);
		return;
	}
	if (!work->is_running)
		return;
	uv_sem_wait(&work->has_run); /* it was posted: this only takes it back */
	work->is_running = false;
	work->on_done(work->context);
}

static void do_nothing(void *context)
{
	(void)context;
}

bool loop_work_is_possible(struct loop_work *work)
{
	uv_thread_t thread;
	if (work->is_possible || uv_thread_create(&thread, do_nothing, NULL) != 0)
		return work->is_possible;
	uv_thread_join(&thread);
	work->is_possible = true;
	return true;
}

void loop_work_start(struct loop_work *work)
{
	assert(!work->is_running && !work->is_queued);
	work->is_running = work->is_queued = true;
	int rc = uv_queue_work(&work->loop->uv, &work->request, on_run, on_after);
	assert(rc == 0);
	(void)rc; /* only an assertion's matter: it fails without a function alone */
}

bool loop_work_is_running(const struct loop_work *work)
{
	return work->is_running;
}

void loop_work_wait(struct loop_work *work)
{
	if (!work->is_running)
		return;
	uv_sem_wait(&work->has_run);
	work->is_running = false;
}

void loop_work_free(struct loop_work *work)
{
	if (work == NULL)
		return;
	assert(!work->is_running);
	work->is_freed = true;
	if (!work->is_queued)
		destroy(work);
}
