/* Out of a damaged database: every row that SQLite can still read, from both ends, past the
 * pages that it cannot. What they say may be older than what was: a command that was only
 * received there may have been executed, so it counts as such. */
#include "agent/journal_inside.h"

#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

enum {
	COLUMNS = 15,
	MISSES_MAX = 10000, /* rows in a row that cannot be read: then this end is given up */
};

#define COPIED                                                                                \
	"id, max(state, 2), command, receipt, attempt, upload_url, expires_at, received_at, " \
	"status, ended_at, posted_at, answer, answer_file, answer_size, http_status"

static const char INSERT_COPY[] =
    "INSERT OR IGNORE INTO commands (id, state, command, receipt, attempt, upload_url,"
    " expires_at, received_at, status, ended_at, posted_at, answer, answer_file, answer_size,"
    " http_status)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

static void copy_row(sqlite3_stmt *from, sqlite3_stmt *to)
{
	int state = sqlite3_column_int(from, 1);
	bool is_whole = state == STORED_EXECUTING ? sqlite3_column_type(from, 2) != SQLITE_NULL
						  : state == STORED_DONE || state == STORED_POSTED;
	if (sqlite3_column_type(from, 0) != SQLITE_TEXT || !is_whole)
		return;
	for (int i = 0; i < COLUMNS; i++)
		sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
	sqlite3_step(to); /* a row that breaks a rule of the table is not copied */
	sqlite3_reset(to);
	sqlite3_clear_bindings(to);
}

/* From seq on in one direction (1 or -1), over what cannot be read; did it reach the end? */
static bool copy_from(sqlite3_stmt *from, sqlite3_stmt *to, int64_t seq, int64_t direction)
{
	bool has_found = false;
	for (int misses = 0; misses < MISSES_MAX; misses++) {
		int rc;
		sqlite3_bind_int64(from, 1, seq);
		while ((rc = sqlite3_step(from)) == SQLITE_ROW) {
			copy_row(from, to);
			seq = sqlite3_column_int64(from, COLUMNS);
			has_found = true;
			misses = 0;
		}
		sqlite3_reset(from);
		if (rc == SQLITE_DONE)
			return true;
		if (!has_found)
			return false;
		seq += direction;
	}
	return false;
}

static void copy_all(sqlite3 *from, sqlite3 *to)
{
	static const char *const selects[] = {
	    "SELECT " COPIED ", seq FROM commands WHERE seq > ?1 ORDER BY seq",
	    "SELECT " COPIED ", seq FROM commands WHERE seq < ?1 ORDER BY seq DESC",
	};
	sqlite3_stmt *insert = NULL;
	bool is_complete = sqlite3_prepare_v2(to, INSERT_COPY, -1, &insert, NULL) != SQLITE_OK;
	for (int i = 0; i < 2 && !is_complete; i++) {
		sqlite3_stmt *select = NULL;
		if (sqlite3_prepare_v2(from, selects[i], -1, &select, NULL) == SQLITE_OK)
			is_complete = copy_from(select, insert, i == 0 ? INT64_MIN : INT64_MAX,
						i == 0 ? 1 : -1);
		sqlite3_finalize(select);
	}
	sqlite3_finalize(insert);
}

size_t journal_salvage(struct sqlite3 *to, const char *path)
{
	sqlite3 *from = NULL;
	int before = sqlite3_total_changes(to);
	int after = before;
	/* Read only: it is evidence, and stays as it was found. */
	if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_exec(to, "BEGIN", NULL, NULL, NULL) == SQLITE_OK) {
		copy_all(from, to);
		after = sqlite3_total_changes(to);
		if (sqlite3_exec(to, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
			sqlite3_exec(to, "ROLLBACK", NULL, NULL, NULL);
			after = before;
		}
	}
	sqlite3_close(from);
	return (size_t)(after - before);
}
