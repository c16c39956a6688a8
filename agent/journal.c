#include "agent/journal_inside.h"

#include "agent/bench_switch.h"
#include "agent/kill_point.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/digest.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SPOOL_FROM_BYTES = 256 * 1024, /* larger answers are files beside the database */
	LAZY_MS = 1000,                /* how long "posted" may wait for company */
	RETRY_MS = 1000,
	BUSY_MS = 2,
	BUSY_ROWS = 8,
	TIDY_MS = 60000,
	ROW_BYTES = 200, /* what a row takes beside its command and answer, more or less */
};

const char *const journal_statement_texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT OR REPLACE INTO commands (id, state, command, receipt, attempt, upload_url,"
	       " expires_at, received_at, status, ended_at, answer, answer_file, answer_size,"
	       " http_status)"
	       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [UPDATE_EXECUTING] = "UPDATE commands SET state = ?2 WHERE seq = ?1",
    [UPDATE_DONE] =
	"UPDATE commands SET state = ?2, command = NULL, receipt = ?4, attempt = ?5,"
	" status = ?9, ended_at = ?10, answer = ?11, answer_file = ?12, answer_size = ?13,"
	" http_status = ?14 WHERE seq = ?1",
    [UPDATE_POSTED] = "UPDATE commands SET state = 4, posted_at = ?2 WHERE id = ?1",
    [SELECT_ONE] = "SELECT status, ended_at, answer, answer_file, seq, answer_size,"
		   " http_status FROM commands WHERE id = ?1 AND state >= 3",
};

/* Runs a statement without rows. */
static int run(struct journal *journal, enum statement which, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[which];
	int rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc == SQLITE_DONE ? 0
				 : journal_fail(journal->db, err, journal_statement_texts[which]);
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	if (text != NULL)
		sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, index);
}

/* Ids are the requestors'; their digest is a safe file name. */
static void spool_name(const char *id, char name[SHA256_TEXT_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	digest_sha256(id, strlen(id), digest);
	digest_to_hex(digest, name);
}

static char *spool_path(const struct journal *journal, const char *name)
{
	return mem_printf("%s/%s", journal->folder, name);
}

/* A large answer: the file that it is, or one that is made of it. */
static int spool_answer(struct journal *journal, const char *name, struct spool *json,
			struct error *err)
{
	char *path = spool_path(journal, name);
	bool is_there = spool_is_file(json) && json->is_durable; /* a commit that is tried again */
	int rc = 0;
	if (spool_is_file(json))
		rc = spool_keep(json, path, err);
	else
		rc = file_write_atomic(path, buf_str(spool_memory(json)), json->size, 0600, err);
	if (rc == 0 && !is_there)
		journal->spooled_bytes += json->size;
	free(path);
	return rc;
}

void journal_spool_remove(struct journal *journal, const char *name, int64_t size)
{
	char *path = spool_path(journal, name);
	if (unlink(path) == 0 && journal->spooled_bytes >= (uint64_t)size)
		journal->spooled_bytes -= (uint64_t)size;
	free(path);
}

static enum stored_state stored_state_of(const struct command *command)
{
	switch (command->state) {
	case COMMAND_EXECUTING:
		return STORED_EXECUTING;
	case COMMAND_DONE:
		return STORED_DONE;
	case COMMAND_POSTED:
		return STORED_POSTED;
	case COMMAND_RECEIVED:
	case COMMAND_FETCHING:
	case COMMAND_WAITING:
	default:
		return STORED_RECEIVED;
	}
}

static int bind_answer(struct journal *journal, sqlite3_stmt *statement, struct command *command,
		       char name[SHA256_TEXT_SIZE], struct error *err)
{
	struct answer *answer = &command->answer;
	sqlite3_bind_int(statement, 9, (int)answer->status);
	sqlite3_bind_int64(statement, 10, answer->ended_at_ms);
	sqlite3_bind_int64(statement, 13, (int64_t)answer->json.size);
	sqlite3_bind_int(statement, 14, answer->http_status);
	journal->added_bytes += answer->json.size;
	if (!spool_is_file(&answer->json) && answer->json.size < SPOOL_FROM_BYTES) {
		sqlite3_bind_blob64(statement, 11, buf_str(spool_memory(&answer->json)),
				    answer->json.size, SQLITE_STATIC);
		return 0;
	}
	spool_name(command->id, name);
	bind_text(statement, 12, name);
	return spool_answer(journal, name, &answer->json, err);
}

static void bind_command(struct journal *journal, sqlite3_stmt *statement, const char *text)
{
	bind_text(statement, 3, text);
	journal->added_bytes += strlen(text);
}

static int write_command(struct journal *journal, struct command *command, struct error *err)
{
	enum stored_state state = stored_state_of(command);
	enum statement which = INSERT;
	char name[SHA256_TEXT_SIZE];
	journal->added_bytes += ROW_BYTES;
	if (command->is_stored)
		which = state == STORED_DONE ? UPDATE_DONE : UPDATE_EXECUTING;
	sqlite3_stmt *statement = journal->statements[which];
	if (which == INSERT)
		bind_text(statement, 1, command->id);
	else
		sqlite3_bind_int64(statement, 1, command->journal_seq);
	sqlite3_bind_int(statement, 2, (int)state);
	if (which != UPDATE_EXECUTING) {
		bind_text(statement, 4, command->receipt);
		sqlite3_bind_int(statement, 5, command->attempt);
	}
	if (which == INSERT) {
		if (state != STORED_DONE)
			bind_command(journal, statement, command->text);
		bind_text(statement, 6, command->upload_url);
		sqlite3_bind_int64(statement, 7, command->expires_at_ms);
		sqlite3_bind_int64(statement, 8, command->received_at_ms);
	}
	if (state == STORED_DONE && bind_answer(journal, statement, command, name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	if (run(journal, which, err) != 0)
		return ERR_SYSTEM;
	if (which == INSERT)
		command->journal_seq = sqlite3_last_insert_rowid(journal->db);
	return 0;
}

static int write_posted(struct journal *journal, struct error *err)
{
	struct posted *posted;
	if (!STAILQ_EMPTY(&journal->posted))
		kill_point("before-row-marked");
	STAILQ_FOREACH(posted, &journal->posted, link)
	{
		bind_text(journal->statements[UPDATE_POSTED], 1, posted->id);
		sqlite3_bind_int64(journal->statements[UPDATE_POSTED], 2, posted->at_ms);
		if (run(journal, UPDATE_POSTED, err) != 0)
			return err->code;
	}
	return 0;
}

static int write_all(struct journal *journal, struct error *err)
{
	struct command *command;
	if (run(journal, BEGIN, err) != 0)
		return err->code;
	TAILQ_FOREACH(command, &journal->unwritten, journal_link)
	{
		if (write_command(journal, command, err) != 0)
			return err->code;
	}
	if (write_posted(journal, err) != 0)
		return err->code;
	return run(journal, COMMIT, err);
}

static void forget_posted(struct journal *journal)
{
	for (struct posted *posted; (posted = STAILQ_FIRST(&journal->posted)) != NULL;) {
		STAILQ_REMOVE_HEAD(&journal->posted, link);
		free(posted->id);
		free(posted);
	}
}

/* The writes are on disk: whoever waited for them goes on. How many were there? */
static size_t tell_durable(struct journal *journal)
{
	size_t count = 0;
	struct journal_list_head written;
	TAILQ_INIT(&written);
	TAILQ_CONCAT(&written, &journal->unwritten, journal_link);
	for (struct command *command; (command = TAILQ_FIRST(&written)) != NULL;) {
		TAILQ_REMOVE(&written, command, journal_link);
		command->is_unwritten = false;
		command->is_stored = !journal->is_off;
		free(command->text);
		command->text = NULL;
		if (!command->is_rewritten)
			journal->events.on_durable(journal->events.context, command);
		count++;
	}
	return count;
}

/* Who stopped taking commands for want of room is told when there is some. */
static void tell_room(struct journal *journal)
{
	bool has_room = journal_has_room(journal);
	if (has_room && !journal->had_room)
		journal->events.on_room(journal->events.context);
	journal->had_room = has_room;
}

static void roll_back(struct journal *journal)
{
	struct error ignored; /* the transaction is gone either way */
	if (journal->db != NULL && !sqlite3_get_autocommit(journal->db) &&
	    run(journal, ROLLBACK, &ignored) != 0)
		log_debug("%s", ignored.message);
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

static void flush(void *context)
{
	struct journal *journal = context;
	struct error err;
	bool is_needed = !TAILQ_EMPTY(&journal->unwritten) || !STAILQ_EMPTY(&journal->posted) ||
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
	loop_timer_stop(journal->lazy);
	forget_posted(journal);
	journal->committed_ms = clock_monotonic_ms();
	journal->committed_rows = tell_durable(journal);
	if (!journal->is_off)
		journal_bytes_added(journal);
	tell_room(journal);
}

/* While transactions write many commands each, one follows the other by BUSY_MS: what comes
 * meanwhile goes together. A command alone waits for nobody. */
static bool is_busy(const struct journal *journal)
{
	return journal->committed_rows >= BUSY_ROWS &&
	       clock_monotonic_ms() - journal->committed_ms < BUSY_MS;
}

/* Not while a failed write waits for its retry: a full disk must not cost a busy loop. */
static void flush_at_turn_end(struct journal *journal)
{
	if (loop_timer_is_running(journal->retry) || loop_timer_is_running(journal->busy))
		return;
	if (is_busy(journal))
		loop_timer_start(journal->busy, BUSY_MS);
	else
		loop_defer_gathering(journal->loop, &journal->flush);
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

void journal_write_again(struct journal *journal, struct command *command)
{
	/* The only copy of an answer that left memory is the one that was saved, or not. */
	if (command->is_unloaded)
		return;
	if (!command->is_unwritten)
		command->is_rewritten = true;
	command->is_stored = false;
	bool needs_text = command->state < COMMAND_DONE && command->text == NULL;
	/* Its request is under way: if its row was not saved, its answer makes a new one, and
	 * should the agent die before that, the source delivers it once more. */
	if (needs_text && command->is_body_dropped)
		return;
	if (needs_text)
		command->text = command_text(command);
	write_later(journal, command);
}

void journal_posted(struct journal *journal, const char *id)
{
	struct posted *posted = mem_new(struct posted);
	posted->id = mem_strdup(id);
	posted->at_ms = clock_now_ms();
	/* Each its own, so that the oldest can go one by one. */
	if (posted->at_ms <= journal->last_posted_ms &&
	    journal->last_posted_ms - posted->at_ms < LAZY_MS)
		posted->at_ms = journal->last_posted_ms + 1;
	journal->last_posted_ms = posted->at_ms;
	STAILQ_INSERT_TAIL(&journal->posted, posted, link);
	if (!loop_timer_is_running(journal->lazy) && !loop_timer_is_running(journal->retry))
		loop_timer_start(journal->lazy, LAZY_MS);
}

bool journal_has_room(const struct journal *journal)
{
	return journal->trouble.failures == 0 && !journal->is_full;
}

static void on_tidy(void *context)
{
	struct journal *journal = context;
	journal_drop_old(journal);
	tell_room(journal);
	loop_timer_start(journal->tidy, TIDY_MS);
}

static void on_retry(void *context)
{
	struct journal *journal = context;
	loop_defer(journal->loop, &journal->flush);
}

/* Is there such a row? SQLITE_ROW, SQLITE_DONE or what went wrong, twice: a read that failed
 * often succeeds when it is tried again. */
static int find_row(struct journal *journal, const char *id)
{
	sqlite3_stmt *statement = journal->statements[SELECT_ONE];
	bind_text(statement, 1, id);
	int rc = sqlite3_step(statement);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		sqlite3_reset(statement);
		rc = sqlite3_step(statement);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE && journal_is_damage(journal)) {
		journal->is_damaged = true;
		flush_at_turn_end(journal);
	}
	return rc;
}

static void end_row(struct journal *journal)
{
	sqlite3_reset(journal->statements[SELECT_ONE]);
	sqlite3_clear_bindings(journal->statements[SELECT_ONE]);
}

static int read_answer(struct journal *journal, enum journal_load how, struct answer *answer,
		       struct error *err)
{
	sqlite3_stmt *statement = journal->statements[SELECT_ONE];
	const char *file = (const char *)sqlite3_column_text(statement, 3);
	struct buf json = BUF_INIT(SIZE_MAX / 2);
	int rc = 0;
	if (file != NULL) {
		char *path = spool_path(journal, file);
		rc = how == JOURNAL_LOAD_AS_STORED ? spool_open(&answer->json, path, err)
						   : file_read(path, &json, err);
		free(path);
		if (rc == ERR_NOT_FOUND)
			rc = ERR_INVALID; /* nobody has dropped it, it is missing */
		if (rc != 0 || how == JOURNAL_LOAD_AS_STORED)
			goto out;
	} else if (sqlite3_column_type(statement, 2) == SQLITE_NULL) {
		rc = error_set(err, ERR_NOT_FOUND, "the stored answer was dropped to make room");
		goto out;
	} else {
		buf_append(&json, sqlite3_column_blob(statement, 2),
			   (size_t)sqlite3_column_bytes(statement, 2));
	}
	rc = buf_check(&json, "stored answer", err);
	if (rc == 0)
		spool_take(&answer->json, &json);
out:
	buf_release(&json);
	return rc;
}

int journal_load_answer(struct journal *journal, const char *id, enum journal_load how,
			struct answer *answer, struct error *err)
{
	int found = find_row(journal, id);
	int rc;
	if (found == SQLITE_ROW)
		rc = read_answer(journal, how, answer, err);
	else if (found == SQLITE_DONE)
		rc = error_set(err, ERR_INVALID, "no answer is stored");
	else
		rc = journal_fail(journal->db, err, "reading an answer");
	end_row(journal);
	return rc == 0 ? 0 : error_prefix(err, "journal: command %s", id);
}

enum journal_found journal_find(struct journal *journal, const char *id, struct answer *answer,
				size_t *size)
{
	struct error err;
	if (journal->is_off)
		return JOURNAL_UNKNOWN;
	int found = find_row(journal, id);
	if (found == SQLITE_ROW) {
		sqlite3_stmt *statement = journal->statements[SELECT_ONE];
		answer->status = (enum answer_status)sqlite3_column_int(statement, 0);
		answer->ended_at_ms = sqlite3_column_int64(statement, 1);
		*size = (size_t)sqlite3_column_int64(statement, 5);
		answer->http_status = sqlite3_column_int(statement, 6);
	} else if (found != SQLITE_DONE) {
		journal_fail(journal->db, &err, "looking for a command");
		log_error("%s: %s", id, err.message);
	}
	end_row(journal);
	return found == SQLITE_ROW    ? JOURNAL_KNOWN
	       : found == SQLITE_DONE ? JOURNAL_UNKNOWN
				      : JOURNAL_UNREADABLE;
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
	STAILQ_INIT(&journal->posted);
	journal->flush = (struct loop_task){.run = flush, .context = journal};
	journal->lazy = loop_timer_new(loop, flush, journal);
	journal->busy = loop_timer_new(loop, flush, journal);
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
	journal_drop_old(journal);
	journal->had_room = journal_has_room(journal);
	loop_timer_start(journal->tidy, TIDY_MS);
	return journal;
}

/* Twice if need be: there is no later. */
static void write_last(struct journal *journal)
{
	struct error err;
	if (write_to_disk(journal, &err) == 0)
		return;
	roll_back(journal);
	if (write_to_disk(journal, &err) != 0)
		log_error("the last writes to the journal were lost: %s", err.message);
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	if (journal->db != NULL &&
	    (!TAILQ_EMPTY(&journal->unwritten) || !STAILQ_EMPTY(&journal->posted)))
		write_last(journal);
	forget_posted(journal);
	loop_cancel(journal->loop, &journal->flush);
	loop_timer_free(journal->lazy);
	loop_timer_free(journal->busy);
	loop_timer_free(journal->retry);
	loop_timer_free(journal->tidy);
	journal_close_database(journal);
	if (journal->lock_fd >= 0)
		close(journal->lock_fd);
	free(journal->folder);
	free(journal->aside);
	free(journal);
}
