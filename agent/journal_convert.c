/* A journal of version 0, which was one table whose rows were changed, becomes one of today: in
 * one transaction, so that a death in between leaves the old one. */
#include "agent/journal_inside.h"

#include "base/log.h"

#include <sqlite3.h>

/* Columns that the first journals did not have. */
static const char LATE_COLUMN[] = "ALTER TABLE commands ADD COLUMN http_status INTEGER";

static const char PUT_ASIDE[] = "DROP INDEX IF EXISTS commands_open;"
				"DROP INDEX IF EXISTS commands_posted;"
				"ALTER TABLE commands RENAME TO earlier;";

/* What was done lost its command's text then, which it needs no more. */
static const char COPY[] =
    "INSERT INTO commands (seq, id, state, receipt, attempt, upload_url, expires_at, received_at,"
    " answers_before, checksum, text_size, text_row, text_at)"
    " SELECT seq, id, min(state, 2), receipt, attempt, upload_url, expires_at, received_at, 0,"
    " row_checksum(id, command), coalesce(length(CAST(command AS BLOB)), 0), seq, 0"
    " FROM earlier WHERE posted_at IS NULL;"
    "INSERT INTO texts (number, texts)"
    " SELECT seq, command FROM earlier WHERE posted_at IS NULL AND command IS NOT NULL;"
    "INSERT INTO answers (number, seq, id, receipt, attempt, status, ended_at, http_status,"
    " answer_size, answer_file, checksum, answer)"
    " SELECT seq, seq, id, receipt, attempt, coalesce(status, 0), coalesce(ended_at, 0),"
    " coalesce(http_status, 0), coalesce(answer_size, 0), answer_file, row_checksum(id, answer),"
    " answer FROM earlier WHERE answer IS NOT NULL OR answer_file IS NOT NULL;"
    "INSERT INTO posted (id_key, id, posted_at, status, ended_at, http_status, answer_size, answer)"
    " SELECT id_key(id), id, posted_at, coalesce(status, 0), coalesce(ended_at, 0),"
    " coalesce(http_status, 0), coalesce(answer_size, 0), seq"
    " FROM earlier WHERE posted_at IS NOT NULL ORDER BY posted_at;"
    "DROP TABLE earlier;";

static void id_key(sqlite3_context *context, int count, sqlite3_value **values)
{
	(void)count;
	const char *id = (const char *)sqlite3_value_text(values[0]);
	sqlite3_result_int64(context, id != NULL ? journal_id_key(id) : 0);
}

static void row_checksum(sqlite3_context *context, int count, sqlite3_value **values)
{
	(void)count;
	const char *id = (const char *)sqlite3_value_text(values[0]);
	const void *bytes = sqlite3_value_blob(values[1]);
	size_t size = (size_t)sqlite3_value_bytes(values[1]);
	if (id != NULL)
		sqlite3_result_int64(context, journal_checksum(id, bytes, size));
}

static bool execute(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool has_late_column(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT http_status FROM commands LIMIT 0", -1, &statement,
				    NULL);
	sqlite3_finalize(statement);
	return rc == SQLITE_OK;
}

bool journal_is_convertible(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;
	int rc =
	    sqlite3_prepare_v2(db, "SELECT posted_at FROM commands LIMIT 0", -1, &statement, NULL);
	sqlite3_finalize(statement);
	return rc == SQLITE_OK;
}

int journal_convert(sqlite3 *db, const char *tables, struct error *err)
{
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
	bool is_done = sqlite3_create_function(db, "id_key", 1, flags, NULL, id_key, NULL, NULL) ==
			   SQLITE_OK &&
		       sqlite3_create_function(db, "row_checksum", 2, flags, NULL, row_checksum,
					       NULL, NULL) == SQLITE_OK &&
		       execute(db, "BEGIN IMMEDIATE") &&
		       (has_late_column(db) || execute(db, LATE_COLUMN)) &&
		       execute(db, PUT_ASIDE) && execute(db, tables) && execute(db, COPY) &&
		       execute(db, "COMMIT");
	if (is_done) {
		log_info("the journal of an earlier version was converted");
		return 0;
	}
	int rc = journal_fail(db, err, "converting the journal of an earlier version");
	(void)execute(db, "ROLLBACK");
	return rc;
}
