#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

enum { DROP_AT_ONCE = 100 };

static uint64_t used_bytes(struct journal *journal)
{
	int64_t pages = journal_query_number(journal->db, "PRAGMA page_count") -
			journal_query_number(journal->db, "PRAGMA freelist_count");
	return (uint64_t)(pages * journal_query_number(journal->db, "PRAGMA page_size")) +
	       journal->spooled_bytes;
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

/* At the limit the oldest posted answers go; their rows stay, so that no command is
 * executed twice. */
static void make_room(struct journal *journal)
{
	uint64_t max = (uint64_t)journal->settings->journal_max_mb * 1000 * 1000;
	uint64_t used = used_bytes(journal);
	while (used > max &&
	       change_rows(
		   journal, "UPDATE commands SET answer = NULL, answer_file = NULL",
		   "seq IN (SELECT seq FROM commands WHERE state = 4 AND (answer IS NOT NULL OR"
		   " answer_file IS NOT NULL) ORDER BY posted_at LIMIT ?1)",
		   DROP_AT_ONCE) > 0)
		used = used_bytes(journal);
	bool is_full = used > max;
	if (is_full && !journal->is_full)
		log_warn(
		    "the journal holds %llu bytes of answers that wait, JOURNAL_MAX_MB is %lld: no "
		    "new command is taken until some are posted",
		    (unsigned long long)used, (long long)journal->settings->journal_max_mb);
	else if (!is_full && journal->is_full)
		log_info("the journal has room again: commands are taken");
	journal->is_full = is_full;
}

void journal_drop_old(struct journal *journal)
{
	int64_t now_ms = clock_now_ms();
	const struct settings *settings = journal->settings;
	change_rows(journal, "DELETE FROM commands", "state = 4 AND posted_at < ?1",
		    now_ms - settings->dedupe_hours * 3600000);
	make_room(journal);
}
