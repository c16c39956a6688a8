#include "agent/loop.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

/* What happened, in order: a letter for each. */
struct story {
	struct loop *loop;
	struct loop_task first, second, end;
	struct loop_timer *timer;
	char text[64];
	size_t left;
	uint64_t last_turn;
	void (*again)(struct loop *loop, struct loop_task *task);
};

static void tell(struct story *story, char letter)
{
	size_t size = strlen(story->text);
	if (size + 1 < sizeof story->text)
		story->text[size] = letter;
}

static void on_end(void *context)
{
	struct story *story = context;
	tell(story, '.');
	if (story->left > 0)
		return;
	loop_cancel(story->loop, &story->first);
	loop_cancel(story->loop, &story->second);
	loop_stop(story->loop);
}

static void do_piece(struct story *story, struct loop_task *task, char letter)
{
	tell(story, letter);
	loop_defer(story->loop, &story->end);
	if (story->left > 0) {
		story->left--;
		story->again(story->loop, task);
		story->again(story->loop, task); /* changes nothing */
	}
}

static void on_first(void *context)
{
	struct story *story = context;
	do_piece(story, &story->first, 'a');
}

static void on_second(void *context)
{
	struct story *story = context;
	do_piece(story, &story->second, 'b');
}

static void begin(struct story *story)
{
	struct error err;
	*story = (struct story){.loop = loop_new(&err), .again = loop_next_turn};
	cr_assert_not_null(story->loop);
	story->first = (struct loop_task){.run = on_first, .context = story};
	story->second = (struct loop_task){.run = on_second, .context = story};
	story->end = (struct loop_task){.run = on_end, .context = story};
}

Test(loop, one_piece_runs_a_turn_and_all_have_theirs)
{
	struct story story;
	begin(&story);
	story.left = 4;
	loop_next_turn(story.loop, &story.first);
	loop_next_turn(story.loop, &story.second);
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "a.b.a.b.");
	loop_free(story.loop);
}

Test(loop, all_that_is_spread_runs_in_the_next_turn)
{
	struct story story;
	begin(&story);
	story.again = loop_spread;
	story.left = 4;
	loop_spread(story.loop, &story.first);
	loop_spread(story.loop, &story.second);
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "ab.ab.");
	loop_free(story.loop);
}

static void on_turn(void *context)
{
	struct story *story = context;
	tell(story, loop_turn(story->loop) != story->last_turn ? 'n' : 's');
	story->last_turn = loop_turn(story->loop);
	if (--story->left > 0)
		loop_spread(story->loop, &story->first);
	else
		loop_stop(story->loop);
}

Test(loop, each_turn_has_its_own_number)
{
	struct story story;
	begin(&story);
	story.last_turn = loop_turn(story.loop) - 1;
	story.first.run = story.second.run = on_turn;
	story.left = 3;
	loop_spread(story.loop, &story.first);
	loop_spread(story.loop, &story.second); /* in the same turn */
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "nsn");
	loop_free(story.loop);
}

static void on_time(void *context)
{
	tell(context, 't');
}

static void on_slow_piece(void *context)
{
	struct story *story = context;
	int64_t until_ms = clock_monotonic_ms() + 5;
	if (story->text[0] == '\0') /* due before the second piece, however slow this machine is */
		loop_timer_start(story->timer, 2);
	while (clock_monotonic_ms() < until_ms)
		;
	do_piece(story, &story->first, 'a');
}

Test(loop, timers_have_their_turn_between_pieces)
{
	struct story story;
	begin(&story);
	story.left = 3;
	story.first.run = on_slow_piece;
	story.timer = loop_timer_new(story.loop, on_time, &story);
	loop_next_turn(story.loop, &story.first);
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "at.a.a.");
	loop_timer_free(story.timer);
	loop_free(story.loop);
}

Test(loop, a_piece_that_was_cancelled_does_not_run)
{
	struct story story;
	begin(&story);
	loop_next_turn(story.loop, &story.second);
	loop_next_turn(story.loop, &story.first);
	loop_cancel(story.loop, &story.second);
	loop_cancel(story.loop, &story.second); /* no matter */
	loop_run(story.loop);
	cr_assert_str_eq(story.text, "a.");
	loop_free(story.loop);
}

/* Work that waits until it may end. */
struct blocked {
	struct loop *loop;
	struct loop_work *work;
	struct loop_timer *timer;
	uv_sem_t may_end;
	uv_thread_t thread;
	bool has_run;
	int done;
	int times;
};

static void wait_for_leave(void *context)
{
	struct blocked *blocked = context;
	blocked->thread = uv_thread_self();
	uv_sem_wait(&blocked->may_end);
	blocked->has_run = true;
}

static void give_leave(void *context)
{
	struct blocked *blocked = context;
	cr_assert(loop_work_is_running(blocked->work));
	uv_sem_post(&blocked->may_end);
}

static void on_work_done(void *context)
{
	struct blocked *blocked = context;
	cr_assert(blocked->has_run && !loop_work_is_running(blocked->work));
	blocked->has_run = false;
	if (++blocked->done < blocked->times) {
		loop_work_start(blocked->work);
		uv_sem_post(&blocked->may_end);
	} else {
		loop_stop(blocked->loop);
	}
}

static void begin_blocked(struct blocked *blocked, int times)
{
	struct error err;
	*blocked = (struct blocked){.loop = loop_new(&err), .times = times};
	cr_assert_not_null(blocked->loop);
	cr_assert_eq(uv_sem_init(&blocked->may_end, 0), 0);
	blocked->work = loop_work_new(blocked->loop, wait_for_leave, on_work_done, blocked);
	blocked->timer = loop_timer_new(blocked->loop, give_leave, blocked);
}

static void end_blocked(struct blocked *blocked)
{
	loop_work_free(blocked->work);
	loop_timer_free(blocked->timer);
	loop_free(blocked->loop);
	uv_sem_destroy(&blocked->may_end);
}

Test(loop, work_runs_on_another_thread_while_the_loop_goes_on)
{
	struct blocked blocked;
	uv_thread_t own = uv_thread_self();
	begin_blocked(&blocked, 3);
	loop_work_start(blocked.work);
	loop_timer_start(blocked.timer, 1);
	loop_run(blocked.loop);
	cr_assert_eq(blocked.done, 3);
	cr_assert(!uv_thread_equal(&blocked.thread, &own));
	end_blocked(&blocked);
}

Test(loop, work_that_was_waited_for_is_not_told_any_more)
{
	struct blocked blocked;
	begin_blocked(&blocked, 1);
	loop_work_start(blocked.work);
	uv_sem_post(&blocked.may_end);
	loop_work_wait(blocked.work);
	cr_assert(blocked.has_run && !loop_work_is_running(blocked.work));
	loop_work_wait(blocked.work); /* there is nothing to wait for */
	end_blocked(&blocked);
	cr_assert_eq(blocked.done, 0);
}
