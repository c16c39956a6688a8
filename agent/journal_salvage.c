/* Out of a damaged database: every row that SQLite can still read, from both ends, past the
 * pages that it cannot. What they say may be older than what was: a command that was only
 * received there may have been executed, so it counts as such. */
#include "agent/journal_inside.h"

#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

enum {
	MISSES_MAX = 10000, /* rows in a row that cannot be read: then this end is given up */
};

/* No table has so many rows: a key beyond it is damaged. */
static const int64_t KEY_MAX = INT64_C(1) << 53;

/* Tables whose rows are copied, with their columns; the key is the first. */
static const struct table {
	const char *name;
	const char *key;
	const char *columns;
	const char *from; /* the same as they are read; NULL: as they are */
	int count;
} tables[] = {
    {"commands", "seq",
     "seq, id, state, receipt, attempt, upload_url, expires_at, received_at, answers_before,"
     " checksum, text_size, command_file, text_row, text_at",
     "seq, id, 2, receipt, attempt, upload_url, expires_at, received_at, answers_before,"
     " checksum, text_size, command_file, text_row, text_at",
     14},
    {"texts", "number", "number, texts", NULL, 2},
    {"answers", "number",
     "number, seq, id, receipt, attempt, status, ended_at, http_status, answer_size, answer_file,"
     " checksum, answer",
     NULL, 12},
    {"posted", "number",
     "number, id_key, id, posted_at, status, ended_at, http_status, answer_size, answer", NULL, 9},
};

/* An answer of which nothing else could be read is posted once more: the source knows whether it
 * has it. */
static const char ADOPT[] =
    "INSERT OR IGNORE INTO commands (seq, id, state, attempt, expires_at, received_at,"
    " answers_before, text_size)"
    " SELECT seq, id, 2, attempt, 9223372036854775807, ended_at, number - 1, 0"
    " FROM answers WHERE seq NOT IN (SELECT seq FROM commands)"
    " AND number NOT IN (SELECT answer FROM posted WHERE answer IS NOT NULL)";

static void copy_row(sqlite3_stmt *from, sqlite3_stmt *to, int count)
{
	for (int i = 0; i < count; i++)
		sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
	sqlite3_step(to); /* a row that breaks a rule of the table is not copied */
	sqlite3_reset(to);
	sqlite3_clear_bindings(to);
}

/* Rows in their order from key on. One that is out of order is damaged and ends it, like one
 * that cannot be read; key is the last that was copied. */
static int copy_in_order(sqlite3_stmt *from, sqlite3_stmt *to, int count, int64_t *key,
			 bool is_back)
{
	int rc;
	sqlite3_bind_int64(from, 1, *key);
	while ((rc = sqlite3_step(from)) == SQLITE_ROW) {
		int64_t next = sqlite3_column_int64(from, 0);
		bool is_in_order =
		    is_back ? next < *key && next > 0 : next > *key && next <= KEY_MAX;
		if (!is_in_order)
			return SQLITE_CORRUPT;
		copy_row(from, to, count);
		*key = next;
	}
	return rc;
}

/* From one end, over what cannot be read; was there nothing of that kind? */
static bool copy_from_end(sqlite3_stmt *from, sqlite3_stmt *to, int count, bool is_back)
{
	int64_t key = is_back ? KEY_MAX + 1 : 0;
	const int64_t end = key;
	bool is_sound = true;
	for (int misses = 0; misses < MISSES_MAX; misses++) {
		int64_t before = key;
		int rc = copy_in_order(from, to, count, &key, is_back);
		sqlite3_reset(from);
		if (rc == SQLITE_DONE)
			return is_sound;
		is_sound = false;
		if (key == end)
			return false;
		if (key != before)
			misses = 0;
		key += is_back ? -1 : 1;
	}
	return false;
}

/* One way over a table: from its start, or from its end. */
static bool copy_way(sqlite3 *from, sqlite3_stmt *insert, const struct table *table, bool is_back)
{
	const char *columns = table->from != NULL ? table->from : table->columns;
	char *sql =
	    mem_printf("SELECT %s FROM %s WHERE %s %s ?1 ORDER BY %s%s", columns, table->name,
		       table->key, is_back ? "<" : ">", table->key, is_back ? " DESC" : "");
	sqlite3_stmt *select = NULL;
	bool is_complete = false;
	if (sqlite3_prepare_v2(from, sql, -1, &select, NULL) == SQLITE_OK)
		is_complete = copy_from_end(select, insert, table->count, is_back);
	sqlite3_finalize(select);
	free(sql);
	return is_complete;
}

static void copy_table(sqlite3 *from, sqlite3 *to, const struct table *table)
{
	static const char places[] = "?,?,?,?,?,?,?,?,?,?,?,?,?,?";
	char *sql = mem_printf("INSERT OR IGNORE INTO %s (%s) VALUES (%.*s)", table->name,
			       table->columns, table->count * 2 - 1, places);
	sqlite3_stmt *insert = NULL;
	if (sqlite3_prepare_v2(to, sql, -1, &insert, NULL) == SQLITE_OK &&
	    !copy_way(from, insert, table, false))
		(void)copy_way(from, insert, table, true);
	sqlite3_finalize(insert);
	free(sql);
}

static void copy_all(sqlite3 *from, sqlite3 *to)
{
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
		copy_table(from, to, &tables[i]);
	sqlite3_exec(to, ADOPT, NULL, NULL, NULL);
}

size_t journal_salvage(struct sqlite3 *to, const char *path)
{
	sqlite3 *from = NULL;
	/* Read only: it is evidence, and stays as it was found. */
	if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_exec(to, "BEGIN", NULL, NULL, NULL) == SQLITE_OK) {
		copy_all(from, to);
		if (sqlite3_exec(to, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
			sqlite3_exec(to, "ROLLBACK", NULL, NULL, NULL);
	}
	sqlite3_close(from);
	return (size_t)journal_query_number(
	    to, "SELECT (SELECT count(*) FROM commands) + (SELECT count(*) FROM posted)");
}
