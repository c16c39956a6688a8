#include "agent/loop.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>

/* What happened, in order: a letter for each. */
struct story {
	struct loop *loop;
	struct loop_task first, second, end;
	struct loop_timer *timer;
	char text[64];
	size_t left;
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
		loop_next_turn(story->loop, task);
		loop_next_turn(story->loop, task); /* changes nothing */
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
	*story = (struct story){.loop = loop_new(&err)};
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
