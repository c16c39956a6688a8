#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

/* How closely JOURNAL_MAX_MB is kept: to one part of so many. Looking costs some 10 us; what
 * is dropped at once (2 MB of the default) must not hold up what is to be written. */
enum {
	ROOM_PARTS = 512,
	POSTED_BYTES = 100, /* what a posted command takes with its place in the index … */
	ANSWER_BYTES = 100, /* … and that of an answer beside the answer itself */
	OLD_AT_ONCE = 2000, /* rows that are dropped before others are written again */
};

static uint64_t used_bytes(struct journal_store *store)
{
	int64_t pages = journal_query_number(store->db, "PRAGMA page_count") -
			journal_query_number(store->db, "PRAGMA freelist_count");
	return (uint64_t)(pages * journal_query_number(store->db, "PRAGMA page_size")) +
	       store->spooled_bytes;
}

void journal_count_spooled(struct journal_store *store)
{
	store->spooled_bytes = (uint64_t)journal_query_number(
	    store->db,
	    "SELECT (SELECT total(answer_size) FROM answers WHERE answer_file IS NOT NULL) +"
	    " (SELECT total(text_size) FROM commands WHERE command_file IS NOT NULL)");
}

/* A number of a command may have been another's before: but then its answer is an older one. */
#define NOT_WAITED_FOR                                                        \
	" AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.seq = answers.seq" \
	" AND c.answers_before < answers.number)"
/* Answers in their order, not in that of `posted`, where neighbours are strangers: so that whole
 * pages go. A command that is still there has not been posted. */
#define POSTED_ANSWERS " FROM answers WHERE number > ?1 AND number <= ?2" NOT_WAITED_FOR
#define ANSWERS_OF_POSTED               \
	" FROM answers WHERE number IN" \
	" (SELECT answer FROM posted WHERE number > ?1 AND number <= ?2)" NOT_WAITED_FOR

static sqlite3_stmt *prepare(struct journal_store *store, const char *sql, int64_t after,
			     int64_t until)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, after);
		sqlite3_bind_int64(statement, 2, until);
	}
	return statement;
}

/* Up to which row they hold so many bytes together, by a statement that gives number and bytes
 * of each; -1: there are none. */
static int64_t number_until(struct journal_store *store, const char *sql, int64_t after,
			    uint64_t bytes)
{
	sqlite3_stmt *statement = prepare(store, sql, after, INT64_MAX);
	int64_t until = -1;
	uint64_t sum = 0;
	while (sum < bytes && sqlite3_step(statement) == SQLITE_ROW) {
		until = sqlite3_column_int64(statement, 0);
		sum += (uint64_t)sqlite3_column_int64(statement, 1);
	}
	sqlite3_finalize(statement);
	return until;
}

static bool execute(struct journal_store *store, const char *sql, int64_t after, int64_t until)
{
	sqlite3_stmt *statement = prepare(store, sql, after, until);
	bool is_done = sqlite3_step(statement) == SQLITE_DONE;
	sqlite3_finalize(statement);
	return is_done;
}

static void remove_spooled(struct journal_store *store, const char *sql, int64_t after,
			   int64_t until)
{
	sqlite3_stmt *statement = prepare(store, sql, after, until);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(statement, 0);
		if (name != NULL)
			journal_spool_remove(store, name, sqlite3_column_int64(statement, 1));
	}
	sqlite3_finalize(statement);
}

/* False when there are none, or they cannot be dropped now. */
static bool drop_answers_between(struct journal_store *store, int64_t after, int64_t until)
{
	remove_spooled(store, "SELECT answer_file, answer_size" POSTED_ANSWERS, after, until);
	return execute(store, "DELETE" POSTED_ANSWERS, after, until) &&
	       sqlite3_changes(store->db) > 0;
}

/* Drops the oldest answers of posted commands; false: no such answer is left. */
static bool drop_answers(struct journal_store *store, uint64_t bytes)
{
	char *sql = mem_printf("SELECT number, answer_size + %d" POSTED_ANSWERS " ORDER BY number",
			       ANSWER_BYTES);
	int64_t until = number_until(store, sql, store->dropped_until, bytes);
	bool any = until >= 0 && drop_answers_between(store, store->dropped_until, until);
	/* Some were not posted yet when it passed them: then all are looked through once more. */
	bool is_first_try = store->dropped_until > 0;
	store->dropped_until = any ? until : 0;
	free(sql);
	return any || (is_first_try && drop_answers(store, bytes));
}

/* Do the rows of posted commands alone take half of what the journal may hold? */
static bool has_many_rows(struct journal_store *store)
{
	int64_t enough = store->settings->journal_max_mb * 1000 * 1000 / 2 / POSTED_BYTES;
	char *sql =
	    mem_printf("SELECT count(*) FROM (SELECT 1 FROM posted LIMIT %lld)", (long long)enough);
	bool is_enough = journal_query_number(store->db, sql) >= enough;
	free(sql);
	return is_enough;
}

/* Rows and what is left of their answers; false: there are none. */
static bool drop_posted(struct journal_store *store, int64_t until)
{
	remove_spooled(store, "SELECT answer_file, answer_size" ANSWERS_OF_POSTED, 0, until);
	(void)execute(store, "DELETE" ANSWERS_OF_POSTED, 0, until);
	if (!execute(store, "DELETE FROM posted WHERE number > ?1 AND number <= ?2", 0, until))
		return false;
	int rows = sqlite3_changes(store->db);
	store->dropped_rows += rows;
	return rows > 0;
}

/* The rows that keep a command from being executed twice go last: a duplicate that comes so
 * late is a second delivery, and is not run again unasked either. */
static bool drop_rows(struct journal_store *store, uint64_t bytes)
{
	char *sql = mem_printf("SELECT number, %d FROM posted WHERE number > ?1 AND number <= ?2"
			       " ORDER BY number",
			       POSTED_BYTES);
	int64_t until = has_many_rows(store) ? number_until(store, sql, 0, bytes) : -1;
	free(sql);
	if (until < 0)
		return false;
	store->forgets_early = true;
	return drop_posted(store, until);
}

void journal_make_room(struct journal_store *store)
{
	uint64_t max = (uint64_t)store->settings->journal_max_mb * 1000 * 1000;
	store->used_bytes = used_bytes(store);
	/* A little more than needed, so that it need not be done again for the next answer. */
	while (store->used_bytes > max &&
	       (drop_answers(store, store->used_bytes - max + max / ROOM_PARTS) ||
		drop_rows(store, store->used_bytes - max + max / ROOM_PARTS)))
		store->used_bytes = used_bytes(store);
	store->is_full = store->used_bytes > max;
	store->added_bytes = 0;
}

bool journal_has_added_much(const struct journal_store *store)
{
	uint64_t max = (uint64_t)store->settings->journal_max_mb * 1000 * 1000;
	return store->is_full || store->added_bytes > max / ROOM_PARTS;
}

/* A day's end after a day of full speed: some at once, so that nobody waits for it. They stand in
 * the order of time but for a batch's second, and where the clock was set back: there they go with
 * those behind. */
static bool drop_forgotten(struct journal_store *store)
{
	int64_t before_ms = clock_now_ms() - store->settings->dedupe_hours * 3600000;
	char *sql = mem_printf("SELECT max(number) FROM (SELECT number, posted_at FROM posted"
			       " ORDER BY number LIMIT %d) WHERE posted_at < %lld",
			       OLD_AT_ONCE, (long long)before_ms);
	int64_t until = journal_query_number(store->db, sql);
	free(sql);
	return until > 0 && drop_posted(store, until);
}

bool journal_drop_old(struct journal_store *store)
{
	bool any = drop_forgotten(store);
	journal_make_room(store);
	return any;
}
