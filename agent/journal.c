#include "agent/journal_inside.h"

#include "agent/bench_switch.h"
#include "base/log.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LAZY_MS = 1000, /* how long "posted" may wait for company */
	RETRY_MS = 1000,
	TIDY_MS = 60000,
	TIDY_MORE_MS = 20, /* there is more to drop than is dropped at once */
};

static void roll_back(struct journal *journal)
{
	struct error ignored; /* the transaction is gone either way */
	if (journal->db != NULL && !sqlite3_get_autocommit(journal->db) &&
	    journal_run(journal, ROLLBACK, &ignored) != 0)
		log_debug("%s", ignored.message);
}

/* The look-ups of a turn are one transaction: locks are taken once for them. */
static void begin_reading(struct journal *journal)
{
	struct error ignored; /* then each look-up is its own */
	if (journal->db != NULL && sqlite3_get_autocommit(journal->db) &&
	    journal_run(journal, BEGIN_READING, &ignored) == 0)
		loop_defer(journal->loop, &journal->end_reading);
}

static void end_reading(void *context)
{
	struct journal *journal = context;
	struct error ignored; /* what it read is read */
	loop_cancel(journal->loop, &journal->end_reading);
	if (journal->db != NULL && !sqlite3_get_autocommit(journal->db) &&
	    journal_run(journal, COMMIT, &ignored) != 0)
		roll_back(journal);
}

static int write_all(struct journal *journal, struct error *err)
{
	struct command *command;
	end_reading(journal);
	if (journal_run(journal, BEGIN, err) != 0)
		return err->code;
	journal_texts_begin(journal);
	TAILQ_FOREACH(command, &journal->unwritten, journal_link)
	{
		if (journal_store_command(journal, command, err) != 0)
			return err->code;
	}
	if (journal_texts_write(journal, err) != 0 || journal_posted_write(journal, err) != 0 ||
	    journal_run(journal, COMMIT, err) != 0)
		return err->code;
	journal_texts_written(journal);
	journal_posted_written(journal);
	return 0;
}

/* The writes are on disk: whoever waited for them goes on. */
static void tell_durable(struct journal *journal)
{
	struct journal_list_head written;
	TAILQ_INIT(&written);
	TAILQ_CONCAT(&written, &journal->unwritten, journal_link);
	for (struct command *command; (command = TAILQ_FIRST(&written)) != NULL;) {
		TAILQ_REMOVE(&written, command, journal_link);
		command->is_unwritten = false;
		command->is_stored = !journal->is_off;
		spool_release(&command->text);
		if (command->state >= COMMAND_DONE) {
			journal_remove_text(journal, command);
			journal_texts_release(journal, command);
		}
		if (!command->is_rewritten)
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

/* The commands that are held are written to the new database too, as they are by now. */
static int begin_anew(struct journal *journal, struct error *err)
{
	int rc = journal_begin_anew(journal, err);
	if (rc == 0) {
		journal->dropped_until = 0;
		journal_count_spooled(journal);
		journal->events.on_begun_anew(journal->events.context);
	}
	return rc;
}

static int write_to_disk(struct journal *journal, struct error *err)
{
	if (journal->is_off)
		return 0;
	if (journal->is_damaged && begin_anew(journal, err) != 0)
		return err->code;
	if (write_all(journal, err) == 0)
		return 0;
	journal->is_damaged = journal_is_damage(journal);
	roll_back(journal);
	if (!journal->is_damaged)
		return err->code;
	log_error("%s", err->message);
	if (begin_anew(journal, err) != 0)
		return err->code;
	return write_all(journal, err);
}

/* Not while a failed write waits for its retry: a full disk must not cost a busy loop. */
static void flush_at_turn_end(struct journal *journal)
{
	if (!loop_timer_is_running(journal->retry))
		loop_defer_gathering(journal->loop, &journal->flush);
}

static void flush(void *context)
{
	struct journal *journal = context;
	struct error err;
	bool is_needed = !TAILQ_EMPTY(&journal->unwritten) || journal_posted_is_due(journal) ||
			 journal->is_damaged;
	if (!is_needed)
		return;
	if (write_to_disk(journal, &err) != 0) {
		roll_back(journal);
		journal->had_room = false;
		(void)backoff_fail(&journal->trouble, false, 0, err.message);
		loop_timer_start(journal->retry, RETRY_MS);
		return;
	}
	backoff_succeed(&journal->trouble);
	tell_durable(journal);
	if (!journal->is_off)
		journal_bytes_added(journal);
	tell_room(journal);
	if (journal_posted_is_due(journal)) /* more of it */
		flush_at_turn_end(journal);
}

static void write_later(struct journal *journal, struct command *command)
{
	if (command->is_unwritten)
		return;
	command->is_unwritten = true;
	TAILQ_INSERT_TAIL(&journal->unwritten, command, journal_link);
}

void journal_write(struct journal *journal, struct command *command)
{
	command->is_rewritten = false;
	write_later(journal, command);
	flush_at_turn_end(journal);
}

void journal_keep_text(struct journal *journal, struct command *command, const char *text,
		       size_t size, struct spool *kept)
{
	struct error err;
	if (journal->is_off)
		return;
	command->text_checksum = journal_checksum(command->id, text, size);
	spool_release(&command->text);
	if (kept != NULL) {
		command->text = *kept;
		*kept = (struct spool){0};
		return;
	}
	spool_init(&command->text, SPOOL_KEPT, journal->folder, SIZE_MAX / 2);
	if (spool_append(&command->text, text, size, &err) != 0) {
		log_error("command %s: its text cannot be stored: %s", command->id, err.message);
		spool_reset(&command->text);
	}
}

/* From its file, or from what it says; false: neither is there any more. */
static bool keep_text_again(struct journal *journal, struct command *command)
{
	struct error err;
	if (command->has_text_file) {
		if (journal_open_text(journal, command, &err) == 0)
			return true;
		log_error("command %s: %s", command->id, err.message);
	}
	if (command->is_body_dropped)
		return false;
	char *text = command_text(command);
	journal_keep_text(journal, command, text, strlen(text), NULL);
	free(text);
	return true;
}

void journal_write_again(struct journal *journal, struct command *command)
{
	/* The only copy of an answer that left memory is the one that was saved, or not. */
	if (command->is_unloaded || command->is_answered_again)
		return;
	if (!command->is_unwritten)
		command->is_rewritten = true;
	command->is_stored = false;
	bool needs_text = command->state < COMMAND_DONE && command->text.size == 0;
	/* When its request is under way, and its row was not saved, its answer makes a new one;
	 * should the agent die before that, the source delivers it once more. */
	if (!needs_text || keep_text_again(journal, command))
		write_later(journal, command);
}

void journal_posted(struct journal *journal, struct command *command)
{
	if (command->is_unwritten) { /* once more, after damage: it need not be by now */
		TAILQ_REMOVE(&journal->unwritten, command, journal_link);
		command->is_unwritten = false;
	}
	journal_texts_release(journal, command);
	if (command->is_answered_again || journal->is_off)
		return;
	journal_posted_add(journal, command);
	if (!loop_timer_is_running(journal->lazy))
		loop_timer_start(journal->lazy, LAZY_MS);
}

bool journal_has_room(const struct journal *journal)
{
	return journal->trouble.failures == 0 && !journal->is_full;
}

static void on_tidy(void *context)
{
	struct journal *journal = context;
	end_reading(journal);
	bool is_more = journal_drop_old(journal);
	tell_room(journal);
	if (journal_posted_is_due(journal))
		flush_at_turn_end(journal);
	loop_timer_start(journal->tidy, is_more ? TIDY_MORE_MS : TIDY_MS);
}

static void on_lazy(void *context)
{
	struct journal *journal = context;
	if (journal->posted == NULL)
		return;
	journal->is_posted_due = true;
	flush_at_turn_end(journal);
}

static void on_retry(void *context)
{
	struct journal *journal = context;
	loop_defer(journal->loop, &journal->flush);
}

/* A read failed: was it for damage? Then a new database is due. */
static void look_for_damage(struct journal *journal)
{
	if (!journal_is_damage(journal))
		return;
	journal->is_damaged = true;
	flush_at_turn_end(journal);
}

int journal_load_answer(struct journal *journal, const struct command *command,
			enum journal_load how, struct answer *answer, struct error *err)
{
	int rc = journal_read_answer(journal, command, how, &answer->json, err);
	if (rc == 0)
		return 0;
	look_for_damage(journal);
	return error_prefix(err, "journal: command %s", command->id);
}

/* Posted, but not on disk as such yet, or there. */
static int find(struct journal *journal, const char *id, struct posted_row *posted,
		struct error *err)
{
	const struct posted_row *recent = journal_posted_find(journal, id);
	if (recent != NULL) {
		*posted = *recent;
		return 0;
	}
	begin_reading(journal);
	return journal_find_posted(journal, id, posted, err);
}

enum journal_found journal_find(struct journal *journal, struct command *command)
{
	struct error err;
	struct posted_row posted;
	struct answer *answer = &command->answer;
	if (journal->is_off)
		return JOURNAL_UNKNOWN;
	switch (find(journal, command->id, &posted, &err)) {
	case 0:
		command->is_answered_again = true;
		command->journal_answer = posted.answer;
		command->answer_size = posted.answer_size;
		answer->status = posted.status;
		answer->ended_at_ms = posted.ended_at_ms;
		answer->http_status = posted.http_status;
		return JOURNAL_KNOWN;
	case ERR_NOT_FOUND:
		return JOURNAL_UNKNOWN;
	default:
		look_for_damage(journal);
		log_error("%s: %s", command->id, err.message);
		return JOURNAL_UNREADABLE;
	}
}

const char *journal_answers_folder(const struct journal *journal)
{
	return journal->folder;
}

struct journal *journal_open(struct loop *loop, const struct settings *settings,
			     const struct journal_events *events, struct error *err)
{
	struct journal *journal = mem_new(struct journal);
	journal->loop = loop;
	journal->settings = settings;
	journal->events = *events;
	journal->lock_fd = -1;
	journal->trouble.what = "writing the journal";
	TAILQ_INIT(&journal->unwritten);
	TAILQ_INIT(&journal->dead_texts);
	buf_init(&journal->shared_texts, SIZE_MAX / 2);
	journal->flush = (struct loop_task){.run = flush, .context = journal};
	journal->end_reading = (struct loop_task){.run = end_reading, .context = journal};
	journal->lazy = loop_timer_new(loop, on_lazy, journal);
	journal->retry = loop_timer_new(loop, on_retry, journal);
	journal->tidy = loop_timer_new(loop, on_tidy, journal);
	journal->is_off = bench_without_journal();
	if (journal->is_off) {
		log_warn("there is no journal: what dies with this process is lost");
		return journal;
	}
	if (journal_open_folder(journal, err) != 0) {
		journal_close(journal);
		return NULL;
	}
	journal_count_spooled(journal);
	journal->had_room = true; /* nobody waits for room yet */
	on_tidy(journal);
	return journal;
}

static bool has_work_left(const struct journal *journal)
{
	return !TAILQ_EMPTY(&journal->unwritten) || journal_posted_is_due(journal);
}

/* Twice if need be: there is no later. */
static void write_last(struct journal *journal)
{
	struct error err = {0};
	int failures = 0;
	journal->is_posted_due = true;
	while (has_work_left(journal) && failures < 2) {
		if (write_to_disk(journal, &err) == 0) {
			TAILQ_INIT(&journal->unwritten); /* nobody is told any more */
		} else {
			roll_back(journal);
			failures++;
		}
	}
	if (failures == 2)
		log_error("the last writes to the journal were lost: %s", err.message);
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	if (journal->db != NULL)
		write_last(journal);
	journal_posted_release(journal);
	journal_texts_forget(journal);
	loop_cancel(journal->loop, &journal->flush);
	loop_cancel(journal->loop, &journal->end_reading);
	loop_timer_free(journal->lazy);
	loop_timer_free(journal->retry);
	loop_timer_free(journal->tidy);
	journal_close_database(journal);
	if (journal->lock_fd >= 0)
		close(journal->lock_fd);
	free(journal->folder);
	free(journal->aside);
	free(journal);
}
