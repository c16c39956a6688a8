#include "agent/journal_inside.h"

#include <criterion/criterion.h>

/* When a transaction begins: as much of a journal as that needs, of whose commands so many wait
 * for the next one. */
struct story {
	struct journal journal;
	struct command command;
	size_t in_flight, under_way;
};

static size_t in_flight(void *context)
{
	const struct story *story = context;
	return story->in_flight;
}

static size_t under_way(void *context)
{
	const struct story *story = context;
	return story->under_way;
}

static void begin(struct story *story)
{
	struct error err;
	struct journal *journal = &story->journal;
	*story = (struct story){.in_flight = 200, .under_way = 100};
	journal->loop = loop_new(&err);
	cr_assert_not_null(journal->loop);
	TAILQ_INIT(&journal->unwritten);
	TAILQ_INIT(&journal->dead_texts);
	journal->events = (struct journal_events){
	    .context = story, .in_flight = in_flight, .under_way = under_way};
	journal_work_init(journal);
	journal_write_later(journal, &story->command);
}

static void end(struct story *story)
{
	struct loop *loop = story->journal.loop;
	journal_work_release(&story->journal);
	loop_free(loop);
}

enum how { AT_ONCE, GATHERS, WAITS };

/* What comes of it when so many commands wait, and so many were in the last transaction. */
static enum how flush(struct story *story, size_t unwritten, size_t last)
{
	struct journal *journal = &story->journal;
	loop_cancel(journal->loop, &journal->flush);
	loop_timer_stop(journal->company);
	loop_defer_gathering(journal->loop, &journal->end_reading);
	journal->unwritten_count = unwritten;
	journal->last_count = last;
	journal_flush_soon(journal);
	const struct task_list *gathering = journal->end_reading.list;
	enum how how = loop_timer_is_running(journal->company) ? WAITS
		       : journal->flush.list == gathering      ? GATHERS
							       : AT_ONCE;
	cr_assert_eq(journal->flush.is_queued, how != WAITS);
	loop_cancel(journal->loop, &journal->end_reading);
	return how;
}

Test(journal_work, a_few_wait_for_company_where_there_was_much_the_last_time)
{
	struct story story;
	begin(&story);
	cr_assert_eq(flush(&story, 50, 0), GATHERS);
	cr_assert_eq(flush(&story, 50, 15), GATHERS);
	cr_assert_eq(flush(&story, 50, 16), WAITS);
	end(&story);
}

Test(journal_work, half_of_all_wait_for_nothing)
{
	struct story story;
	begin(&story);
	story.under_way = 150;
	cr_assert_eq(flush(&story, 99, 50), WAITS);
	cr_assert_eq(flush(&story, 100, 50), AT_ONCE);
	end(&story);
}

/* Ten places at one target, a long line behind them: nobody moves before this is written. */
Test(journal_work, all_that_could_go_with_it_wait_for_nothing)
{
	struct story story;
	begin(&story);
	story.in_flight = 1000;
	story.under_way = 20;
	cr_assert_eq(flush(&story, 19, 20), WAITS);
	cr_assert_eq(flush(&story, 20, 20), AT_ONCE);
	end(&story);
}

Test(journal_work, while_a_write_that_failed_is_to_be_tried_again_none_begins)
{
	struct story story;
	begin(&story);
	loop_timer_start(story.journal.retry, 1000);
	journal_flush_soon(&story.journal);
	cr_assert_not(story.journal.flush.is_queued);
	cr_assert_not(loop_timer_is_running(story.journal.company));
	end(&story);
}
