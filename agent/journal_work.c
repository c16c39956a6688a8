/* What is written, when, and what follows: the loop's side of loop_work. */
#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/log.h"

enum {
	LAZY_MS = 1000, /* how long "posted" may wait for company */
	RETRY_MS = 1000,
	TIDY_MS = 60000,
	TIDY_MORE_MS = 20, /* there is more to drop than is dropped at once */
	GOOD_PART = 2,     /* of what is under way: one of so many */
	MANY = 16,         /* commands in a transaction: more come soon … */
	COMPANY_MS = 3,    /* … and are waited for so long */
	SLOW_MS = 5,       /* a disk whose transactions take that long is never waited for */
};

/* -- one transaction: made here, written on the other thread, ended here ----------------------- */

/* On the other thread, which has the store and the batch meanwhile. */
static void write_batch(struct journal_store *store, struct journal_batch *batch)
{
	int64_t began_ms = clock_monotonic_ms();
	batch->rc = journal_store_write(store, batch, &batch->err);
	batch->took_ms = clock_monotonic_ms() - began_ms;
	batch->is_damage = batch->rc != 0 && journal_is_damage(store->db);
	if (batch->rc != 0)
		journal_store_roll_back(store);
}

static void run(void *context)
{
	struct journal *journal = context;
	struct journal_store *store = &journal->store;
	switch (journal->work) {
	case WORK_WRITE:
		write_batch(store, journal->written);
		break;
	case WORK_TIDY:
		journal->is_more_to_drop = journal_drop_old(store);
		break;
	case WORK_ROOM:
		journal_make_room(store);
		break;
	case WORK_SCAN:
		journal_store_scan(store, journal->known.scan);
		break;
	}
}

void journal_write_later(struct journal *journal, struct command *command)
{
	if (command->is_being_written)
		command->is_overtaken = true;
	if (command->is_unwritten)
		return;
	command->is_unwritten = true;
	TAILQ_INSERT_TAIL(&journal->unwritten, command, journal_link);
	journal->unwritten_count++;
}

/* What the entry says of its command is on disk. */
static void settle(struct journal *journal, const struct journal_entry *entry)
{
	struct command *command = entry->command;
	bool is_overtaken = command->is_overtaken;
	command->is_unwritten = command->is_being_written = command->is_overtaken = false;
	command->is_stored = true;
	spool_release(&command->text);
	if (entry->is_done) {
		journal_remove_text(&journal->store, command);
		journal_texts_release(journal, command);
	}
	if (is_overtaken)
		journal_write_later(journal, command);
}

static void settle_all(struct journal *journal, struct journal_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		settle(journal, &batch->entries[i]);
	journal_texts_forget_rows(journal, &batch->dead_texts);
	journal_posted_written(journal);
}

/* Whoever waited for the writes goes on. */
static void tell_durable(struct journal *journal, const struct journal_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct command *command = batch->entries[i].command;
		if (!command->is_unwritten && !command->is_rewritten)
			journal->events.on_durable(journal->events.context, command);
	}
}

/* Who stopped taking commands for want of room is told when there is some. */
static void tell_room(struct journal *journal)
{
	bool has_room = journal_has_room(journal);
	if (has_room && !journal->had_room)
		journal->events.on_room(journal->events.context);
	journal->had_room = has_room;
}

/* A full disk must not cost a busy loop. */
static void try_later(struct journal *journal, const struct error *err)
{
	journal->had_room = false;
	(void)backoff_fail(&journal->trouble, false, 0, err->message);
	loop_timer_start(journal->retry, RETRY_MS);
}

/* The commands that are held are written to the new database too, as they are by now. */
static int begin_anew(struct journal *journal, struct error *err)
{
	journal_end_reading(journal);
	int rc = journal_begin_anew(journal, err);
	if (rc == 0) {
		journal->store.dropped_until = 0;
		journal_count_spooled(&journal->store);
		journal_known_begin(journal);
		journal->is_begun_anew = true;
		journal->events.on_begun_anew(journal->events.context);
	}
	return rc;
}

/* -- when it is written ------------------------------------------------------------------------ */

static bool has_changes(const struct journal *journal)
{
	return !TAILQ_EMPTY(&journal->unwritten) || journal_posted_is_due(journal);
}

/* After trouble also with nothing to write: that it can be written is yet to be seen. */
static bool is_due(const struct journal *journal)
{
	return has_changes(journal) || journal->is_damaged || journal->is_tidy_due ||
	       journal->is_room_due || journal->trouble.failures > 0;
}

static bool has_work(const struct journal *journal)
{
	return is_due(journal) || journal->known.is_scan_due;
}

static size_t in_flight(const struct journal *journal)
{
	return journal->events.in_flight(journal->events.context);
}

/* May the next transaction begin, while the others are made? A good part of all commands waits for
 * it, or all that could go with it do. */
static bool is_worthwhile(const struct journal *journal)
{
	size_t under_way = journal->events.under_way(journal->events.context);
	return journal->unwritten_count >= in_flight(journal) / GOOD_PART ||
	       journal->unwritten_count >= under_way;
}

/* Not while a failed write waits for its retry, nor while one is under way: its end comes back
 * here. What is not worth while yet waits for company, and where there was much the last time it
 * waits also while nothing happens: each transaction costs its sync. */
void journal_flush_soon(struct journal *journal)
{
	if (loop_timer_is_running(journal->retry) || loop_work_is_running(journal->writing))
		return;
	if (!is_due(journal)) { /* a scan: also where the loop does it itself it holds up nobody */
		loop_next_turn(journal->loop, &journal->flush);
		return;
	}
	if (is_worthwhile(journal)) {
		loop_cancel(journal->loop, &journal->flush);
		loop_defer(journal->loop, &journal->flush);
	} else if (journal->last_count < MANY) {
		loop_defer_gathering(journal->loop, &journal->flush);
	} else if (!loop_timer_is_running(journal->company)) {
		loop_timer_start(journal->company, COMPANY_MS);
	}
}

static void on_batch_committed(struct journal *journal, struct journal_batch *batch)
{
	backoff_succeed(&journal->trouble);
	journal->is_begun_anew = false;
	settle_all(journal, batch);
	tell_durable(journal, batch);
	journal_batch_free(batch);
	journal->is_room_due = journal_has_added_much(&journal->store);
}

static void on_batch_failed(struct journal *journal, struct journal_batch *batch)
{
	struct error err = batch->err;
	journal->is_damaged |= batch->is_damage;
	journal_batch_take_back(journal, batch);
	if (!journal->is_damaged || journal->is_begun_anew) {
		try_later(journal, &err);
		return;
	}
	log_error("%s", err.message);
}

static void on_tidied(struct journal *journal)
{
	journal_known_forget(journal);
	if (journal->work == WORK_TIDY)
		loop_timer_start(journal->tidy, journal->is_more_to_drop ? TIDY_MORE_MS : TIDY_MS);
	journal_say_room(journal);
	if (journal->is_full)
		journal->is_posted_due = true; /* then these answers may go */
}

static void on_batch_written(struct journal *journal, struct journal_batch *batch)
{
	journal->written = NULL;
	journal->is_disk_slow = batch->took_ms >= SLOW_MS;
	journal->last_count = batch->count;
	if (batch->rc == 0)
		on_batch_committed(journal, batch);
	else
		on_batch_failed(journal, batch);
}

bool journal_is_busy(const struct journal *journal)
{
	return journal->written != NULL ||
	       (journal->unwritten_count > 0 && !loop_timer_is_running(journal->retry));
}

static void tell_quiet(struct journal *journal)
{
	if (!journal_is_busy(journal))
		journal->events.on_quiet(journal->events.context);
}

static void on_done(void *context)
{
	struct journal *journal = context;
	journal_end_reading(journal); /* what was read before may be what it was no longer */
	switch (journal->work) {
	case WORK_WRITE:
		on_batch_written(journal, journal->written);
		break;
	case WORK_TIDY:
	case WORK_ROOM:
		on_tidied(journal);
		journal->last_count = 0; /* what has waited for this has waited */
		break;
	case WORK_SCAN:
		journal_known_end_scan(&journal->known);
		journal->last_count = 0;
		break;
	}
	tell_room(journal);
	if (has_work(journal))
		journal_flush_soon(journal);
	tell_quiet(journal);
}

/* Does everything that is under way wait for this, and not for long? Then nobody is held up when it
 * is done here, and two changes of threads are saved. */
static bool is_alone(const struct journal *journal, const struct journal_batch *batch)
{
	return !journal->is_disk_slow && batch->count == 1 && batch->posted == NULL &&
	       in_flight(journal) == 1 && batch->entries[0].text_file == NULL &&
	       (!batch->entries[0].is_done || !journal_is_kept_as_file(batch->entries[0].json));
}

/* May another thread have the store? Only when the loop has something else to look things up in; for
 * that, and for the thread, the system may have no room just now. */
static bool may_leave(struct journal *journal)
{
	struct error ignored;
	bool is_dropping = journal->work == WORK_TIDY || journal->work == WORK_ROOM;
	if (is_dropping) /* so that what is idle needs no thread */
		return journal->reader.db != NULL;
	if (journal->work == WORK_WRITE &&
	    (journal->written->is_rewriting || is_alone(journal, journal->written)))
		return false;
	return loop_work_is_possible(journal->writing) &&
	       (journal->reader.db != NULL || journal_open_reader(journal, &ignored) == 0);
}

/* Writes and pieces of a scan take turns. */
static enum journal_work what_next(const struct journal *journal)
{
	if (journal->is_tidy_due)
		return WORK_TIDY;
	if (journal->is_room_due)
		return WORK_ROOM;
	bool may_scan = journal->work != WORK_SCAN || !has_changes(journal);
	return journal->known.is_scan_due && may_scan ? WORK_SCAN : WORK_WRITE;
}

static void prepare(struct journal *journal)
{
	journal->work = what_next(journal);
	switch (journal->work) {
	case WORK_WRITE:
		journal->written = journal_batch_new(journal);
		break;
	case WORK_TIDY:
		journal->is_tidy_due = journal->is_room_due = false;
		break;
	case WORK_ROOM:
		journal->is_room_due = false;
		break;
	case WORK_SCAN:
		journal_known_prepare_scan(&journal->known);
		break;
	}
}

static void do_something(struct journal *journal)
{
	prepare(journal);
	journal_end_reading(journal);
	if (may_leave(journal)) {
		loop_work_start(journal->writing);
		return;
	}
	run(journal);
	on_done(journal);
}

/* Without a journal everything counts as written. */
static void tell_all(struct journal *journal)
{
	for (struct command *command; (command = TAILQ_FIRST(&journal->unwritten)) != NULL;) {
		TAILQ_REMOVE(&journal->unwritten, command, journal_link);
		journal->unwritten_count--;
		command->is_unwritten = false;
		spool_release(&command->text);
		journal->events.on_durable(journal->events.context, command);
	}
	tell_quiet(journal);
}

static void flush(void *context)
{
	struct journal *journal = context;
	struct error err;
	if (loop_work_is_running(journal->writing))
		return;
	loop_timer_stop(journal->company);
	log_flush(); /* a disk that hangs does not hold up what was said before */
	if (journal->is_off)
		tell_all(journal);
	else if (journal->is_damaged && begin_anew(journal, &err) != 0)
		try_later(journal, &err);
	else if (has_work(journal))
		do_something(journal); /* or nothing at all, to see that it can be written again */
}

static void on_tidy(void *context)
{
	struct journal *journal = context;
	journal->is_tidy_due = true; /* also on a disk that is full: it may be what helps */
	loop_defer(journal->loop, &journal->flush);
}

static void on_lazy(void *context)
{
	struct journal *journal = context;
	if (journal->posted == NULL)
		return;
	journal->is_posted_due = true;
	journal_flush_soon(journal);
}

static void on_flush_time(void *context)
{
	struct journal *journal = context;
	loop_defer(journal->loop, &journal->flush);
}

void journal_write_lazily(struct journal *journal)
{
	if (!loop_timer_is_running(journal->lazy))
		loop_timer_start(journal->lazy, LAZY_MS);
}

/* -- its beginning and its end ----------------------------------------------------------------- */

static void end_reading(void *context)
{
	journal_end_reading(context);
}

void journal_work_init(struct journal *journal)
{
	struct loop *loop = journal->loop;
	journal->trouble.what = "writing the journal";
	journal->flush = (struct loop_task){.run = flush, .context = journal};
	journal->end_reading = (struct loop_task){.run = end_reading, .context = journal};
	journal->writing = loop_work_new(loop, run, on_done, journal);
	journal->lazy = loop_timer_new(loop, on_lazy, journal);
	journal->retry = loop_timer_new(loop, on_flush_time, journal);
	journal->tidy = loop_timer_new(loop, on_tidy, journal);
	journal->company = loop_timer_new(loop, on_flush_time, journal);
}

void journal_work_begin(struct journal *journal)
{
	journal->is_tidy_due = true;
	prepare(journal);
	run(journal);
	on_done(journal);
}

/* What was under way at the end. Nobody is told any more. */
static void end_writing(struct journal *journal)
{
	struct journal_batch *batch = journal->written;
	loop_work_wait(journal->writing);
	journal->written = NULL;
	if (batch == NULL)
		return;
	if (batch->rc != 0) {
		journal->is_damaged |= batch->is_damage;
		journal_batch_take_back(journal, batch);
		return;
	}
	settle_all(journal, batch);
	journal_batch_free(batch);
}

/* 0: there was nothing to write, or it was written. */
static int write_once(struct journal *journal, struct error *err)
{
	if (journal->is_damaged && begin_anew(journal, err) != 0)
		return err->code;
	struct journal_batch *batch = journal_batch_new(journal);
	journal->written = batch;
	write_batch(&journal->store, batch);
	int rc = batch->rc;
	if (rc != 0)
		*err = batch->err;
	end_writing(journal);
	return rc;
}

/* Twice if need be: there is no later. */
static void write_last(struct journal *journal)
{
	struct error err = {0};
	int failures = 0;
	journal->is_posted_due = true;
	while (has_changes(journal) && failures < 2) {
		if (write_once(journal, &err) != 0)
			failures++;
	}
	if (failures == 2)
		log_error("the last writes to the journal were lost: %s", err.message);
}

void journal_work_end(struct journal *journal)
{
	end_writing(journal);
	journal_end_reading(journal);
	if (journal->store.db != NULL)
		write_last(journal);
}

void journal_work_release(struct journal *journal)
{
	loop_cancel(journal->loop, &journal->flush);
	loop_cancel(journal->loop, &journal->end_reading);
	loop_work_free(journal->writing);
	loop_timer_free(journal->lazy);
	loop_timer_free(journal->retry);
	loop_timer_free(journal->tidy);
	loop_timer_free(journal->company);
}
