#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

/* How closely JOURNAL_MAX_MB is kept: to one part of so many. Looking costs some 10 us; what
 * is dropped at once (2 MB of the default) must not hold up the loop. */
enum {
	ROOM_PARTS = 512,
	ROW_BYTES = 256, /* what a row takes beside its answer, more or less */
};

static uint64_t used_bytes(struct journal *journal)
{
	int64_t pages = journal_query_number(journal->db, "PRAGMA page_count") -
			journal_query_number(journal->db, "PRAGMA freelist_count");
	return (uint64_t)(pages * journal_query_number(journal->db, "PRAGMA page_size")) +
	       journal->spooled_bytes;
}

void journal_count_spooled(struct journal *journal)
{
	journal->spooled_bytes = (uint64_t)journal_query_number(
	    journal->db, "SELECT total(answer_size) FROM commands WHERE answer_file IS NOT NULL");
}

/* Spooled files of rows that a statement is about to take the answers from. */
static void remove_spooled(struct journal *journal, const char *where, int64_t argument)
{
	char *sql =
	    mem_printf("SELECT answer_file, answer_size FROM commands WHERE answer_file IS NOT"
		       " NULL AND %s",
		       where);
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, argument);
		while (sqlite3_step(statement) == SQLITE_ROW)
			journal_spool_remove(journal,
					     (const char *)sqlite3_column_text(statement, 0),
					     sqlite3_column_int64(statement, 1));
	}
	sqlite3_finalize(statement);
	free(sql);
}

/* Runs "<verb> WHERE <where>" with one number; the rows it changed. */
static int change_rows(struct journal *journal, const char *verb, const char *where,
		       int64_t argument)
{
	char *sql = mem_printf("%s WHERE %s", verb, where);
	sqlite3_stmt *statement = NULL;
	int changed = 0;
	remove_spooled(journal, where, argument);
	if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, argument);
		if (sqlite3_step(statement) == SQLITE_DONE)
			changed = sqlite3_changes(journal->db);
	}
	sqlite3_finalize(statement);
	free(sql);
	return changed;
}

/* The posted rows whose answer is still there, the oldest first; those before dropped_until
 * have none any more and need not be looked through again. */
#define DROPPABLE                                                                                \
	"posted_at IS NOT NULL AND posted_at >= %lld AND (answer IS NOT NULL OR answer_file IS " \
	"NOT NULL)"

/* Up to when the oldest of those rows hold so many bytes together; -1: there are none. */
static int64_t posted_until(struct journal *journal, const char *rows, uint64_t bytes)
{
	char *sql = mem_printf("SELECT posted_at, %d + coalesce(answer_size, 0) FROM commands"
			       " WHERE %s ORDER BY posted_at",
			       ROW_BYTES, rows);
	sqlite3_stmt *statement = NULL;
	int64_t until = -1;
	uint64_t sum = 0;
	if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		while (sum < bytes && sqlite3_step(statement) == SQLITE_ROW) {
			until = sqlite3_column_int64(statement, 0);
			sum += (uint64_t)sqlite3_column_int64(statement, 1);
		}
	}
	sqlite3_finalize(statement);
	free(sql);
	return until;
}

static bool execute(struct journal *journal, const char *sql)
{
	return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

#define ALL_BUT_ANSWERS                                                                    \
	"seq, id, state, command, receipt, attempt, upload_url, expires_at, received_at, " \
	"status, ended_at, posted_at, answer_size"

/* Puts those rows in anew without their answers. An UPDATE would leave each on the page that it
 * filled with its answer, and a page that holds a row is never given back. */
static bool slim_rows(struct journal *journal, const char *where)
{
	char *gather = mem_printf(
	    "CREATE TEMP TABLE slim AS SELECT " ALL_BUT_ANSWERS " FROM commands WHERE %s", where);
	if (!execute(journal, "BEGIN IMMEDIATE")) {
		free(gather);
		return false;
	}
	remove_spooled(journal, where, 0);
	bool any = execute(journal, gather) &&
		   execute(journal, "DELETE FROM commands WHERE seq IN (SELECT seq FROM slim)") &&
		   sqlite3_changes(journal->db) > 0 &&
		   execute(journal, "INSERT INTO commands (" ALL_BUT_ANSWERS
				    ") SELECT " ALL_BUT_ANSWERS " FROM slim") &&
		   execute(journal, "DROP TABLE slim") && execute(journal, "COMMIT");
	if (!any)
		(void)execute(journal, "ROLLBACK"); /* the table goes with it */
	free(gather);
	return any;
}

/* Drops the answers of the oldest posted commands; false: no such answer is left. */
static bool drop_answers(struct journal *journal, uint64_t bytes)
{
	char *rows = mem_printf(DROPPABLE, (long long)journal->dropped_until);
	int64_t until = posted_until(journal, rows, bytes);
	char *where = mem_printf("%s AND posted_at <= %lld", rows, (long long)until);
	bool any = until >= 0 && slim_rows(journal, where);
	/* The clock may have been set back: then all are looked through once more. */
	bool is_first_try = journal->dropped_until > 0;
	journal->dropped_until = any ? until : 0;
	free(where);
	free(rows);
	return any || (is_first_try && drop_answers(journal, bytes));
}

/* Do the rows of posted commands alone take half of what the journal may hold? */
static bool has_many_rows(struct journal *journal)
{
	int64_t enough = journal->settings->journal_max_mb * 1000 * 1000 / 2 / ROW_BYTES;
	char *sql =
	    mem_printf("SELECT count(*) FROM (SELECT 1 FROM commands WHERE posted_at IS NOT NULL"
		       " LIMIT %lld)",
		       (long long)enough);
	bool is_enough = journal_query_number(journal->db, sql) >= enough;
	free(sql);
	return is_enough;
}

/* The rows that keep a command from being executed twice go last: a duplicate that comes so
 * late is a second delivery, and is not run again unasked either. */
static bool drop_rows(struct journal *journal, uint64_t bytes)
{
	int64_t until =
	    has_many_rows(journal) ? posted_until(journal, "posted_at IS NOT NULL", bytes) : -1;
	if (until < 0)
		return false;
	if (!journal->forgets_early)
		log_warn("JOURNAL_MAX_MB (%lld) is too small for what ended within DEDUPE_HOURS "
			 "(%lld): the oldest commands are forgotten before that",
			 (long long)journal->settings->journal_max_mb,
			 (long long)journal->settings->dedupe_hours);
	journal->forgets_early = true;
	return change_rows(journal, "DELETE FROM commands",
			   "posted_at IS NOT NULL AND posted_at <= ?1", until) > 0;
}

void journal_make_room(struct journal *journal)
{
	uint64_t max = (uint64_t)journal->settings->journal_max_mb * 1000 * 1000;
	uint64_t used = used_bytes(journal);
	/* A little more than needed, so that it need not be done again for the next answer. */
	while (used > max && (drop_answers(journal, used - max + max / ROOM_PARTS) ||
			      drop_rows(journal, used - max + max / ROOM_PARTS)))
		used = used_bytes(journal);
	bool is_full = used > max;
	if (is_full && !journal->is_full)
		log_warn("the journal holds %llu bytes, JOURNAL_MAX_MB is %lld: no new command is "
			 "taken until answers that wait are posted",
			 (unsigned long long)used, (long long)journal->settings->journal_max_mb);
	else if (!is_full && journal->is_full)
		log_info("the journal has room again: commands are taken");
	journal->is_full = is_full;
	journal->added_bytes = 0;
}

void journal_bytes_added(struct journal *journal)
{
	uint64_t max = (uint64_t)journal->settings->journal_max_mb * 1000 * 1000;
	if (journal->is_full || journal->added_bytes > max / ROOM_PARTS)
		journal_make_room(journal);
}

void journal_drop_old(struct journal *journal)
{
	int64_t now_ms = clock_now_ms();
	const struct settings *settings = journal->settings;
	change_rows(journal, "DELETE FROM commands", "posted_at < ?1",
		    now_ms - settings->dedupe_hours * 3600000);
	journal_make_room(journal);
}
