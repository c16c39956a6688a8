#include "agent/journal_inside.h"

#include <criterion/criterion.h>
#include <sqlite3.h>

enum { MANY = 2500 }; /* more than two pieces of a scan */

/* As much of a journal as it needs: `posted` with so many rows, of keys 7, 14, 21 … */
static void open_with(struct journal *journal, int rows)
{
	*journal = (struct journal){0};
	sqlite3 **db = &journal->store.db;
	cr_assert_eq(sqlite3_open(":memory:", db), SQLITE_OK);
	char *sql = sqlite3_mprintf(
	    "CREATE TABLE posted (number INTEGER PRIMARY KEY, id_key INTEGER NOT NULL);"
	    "CREATE INDEX posted_by_id ON posted (id_key);"
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	    " INSERT INTO posted (id_key) SELECT 7 * i FROM n WHERE i <= %d",
	    rows, rows);
	cr_assert_eq(sqlite3_exec(*db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
	cr_assert_eq(sqlite3_prepare_v2(*db, journal_query_texts[SELECT_KEYS], -1,
					&journal->store.queries[SELECT_KEYS], NULL),
		     SQLITE_OK);
	journal_known_begin(journal);
}

static void close_it(struct journal *journal)
{
	journal_posted_release(journal);
	journal_known_release(&journal->known);
	sqlite3_finalize(journal->store.queries[SELECT_KEYS]);
	sqlite3_close(journal->store.db);
}

static int scan_all(struct journal *journal)
{
	struct journal_known *known = &journal->known;
	int pieces = 0;
	for (; known->is_scan_due; pieces++) {
		journal_known_prepare_scan(known);
		journal_store_scan(&journal->store, known->scan);
		journal_known_end_scan(known);
	}
	return pieces;
}

/* How many of the keys 7 * i + rest, for so many i, may be there. */
static int perhaps(struct journal *journal, int64_t rest)
{
	int count = 0;
	for (int64_t i = 1; i <= MANY; i++)
		count += journal_known_may_have(&journal->known, 7 * i + rest);
	return count;
}

static void execute(struct journal *journal, const char *sql)
{
	cr_assert_eq(sqlite3_exec(journal->store.db, sql, NULL, NULL, NULL), SQLITE_OK);
}

Test(journal_known, of_an_empty_table_only_what_is_added_is_known)
{
	struct journal journal;
	open_with(&journal, 0);
	cr_assert_not(journal_known_may_have(&journal.known, 5));
	cr_assert_not(journal.known.is_scan_due);
	journal_known_add(&journal.known, 5);
	cr_assert(journal_known_may_have(&journal.known, 5));
	cr_assert_not(journal_known_may_have(&journal.known, 6));
	close_it(&journal);
}

Test(journal_known, everything_may_be_there_until_all_rows_are_read)
{
	struct journal journal;
	open_with(&journal, MANY);
	cr_assert_not(journal.known.is_scan_due, "it waits for the first who asks");
	cr_assert(journal_known_may_have(&journal.known, 5));
	cr_assert(journal.known.is_scan_due);
	journal_known_prepare_scan(&journal.known);
	journal_store_scan(&journal.store, journal.known.scan);
	journal_known_end_scan(&journal.known);
	cr_assert(journal_known_may_have(&journal.known, 5), "a first piece is not all");
	cr_assert_eq(scan_all(&journal), 2);
	cr_assert_eq(perhaps(&journal, 0), MANY);
	cr_assert_lt(perhaps(&journal, 1), MANY / 20);
	close_it(&journal);
}

Test(journal_known, a_scan_that_fails_is_begun_again_by_who_asks_next)
{
	struct journal journal;
	open_with(&journal, MANY);
	cr_assert(journal_known_may_have(&journal.known, 5));
	cr_assert_eq(
	    sqlite3_exec(journal.store.db, "ALTER TABLE posted RENAME TO away", NULL, NULL, NULL),
	    SQLITE_OK);
	cr_assert_eq(scan_all(&journal), 1);
	cr_assert(journal_known_may_have(&journal.known, 5));
	cr_assert_eq(
	    sqlite3_exec(journal.store.db, "ALTER TABLE away RENAME TO posted", NULL, NULL, NULL),
	    SQLITE_OK);
	cr_assert_eq(scan_all(&journal), 3);
	cr_assert_eq(perhaps(&journal, 0), MANY);
	cr_assert_lt(perhaps(&journal, 1), MANY / 20);
	close_it(&journal);
}

Test(journal_known, a_table_that_cannot_be_read_is_not_taken_for_an_empty_one)
{
	struct journal journal;
	open_with(&journal, MANY);
	execute(&journal, "ALTER TABLE posted RENAME TO away");
	journal_known_begin(&journal);
	cr_assert(journal_known_may_have(&journal.known, 7));
	close_it(&journal);
}

/* Whoever went on behind it would pass all others. An index of its own stands for the changed one. */
static void change_key_and_scan(int number)
{
	struct journal journal;
	open_with(&journal, MANY);
	execute(&journal, "ALTER TABLE posted ADD COLUMN place INTEGER;"
			  "UPDATE posted SET place = id_key;");
	char *sql =
	    sqlite3_mprintf("UPDATE posted SET id_key = 7000000000 WHERE number = %d", number);
	execute(&journal, sql);
	sqlite3_free(sql);
	sqlite3_finalize(journal.store.queries[SELECT_KEYS]);
	cr_assert_eq(
	    sqlite3_prepare_v2(journal.store.db,
			       "SELECT id_key FROM posted WHERE place >= ?1 ORDER BY place", -1,
			       &journal.store.queries[SELECT_KEYS], NULL),
	    SQLITE_OK);
	cr_assert(journal_known_may_have(&journal.known, 7));
	scan_all(&journal);
	cr_assert_geq(perhaps(&journal, 0), MANY - 1, "number %d", number);
	close_it(&journal);
}

Test(journal_known, a_key_that_the_disk_changed_hides_no_others)
{
	for (int number = 1020; number < 1030; number++)
		change_key_and_scan(number);
	change_key_and_scan(1);
	change_key_and_scan(MANY);
}

Test(journal_known, many_rows_with_one_key_do_not_hold_up_the_scan)
{
	struct journal journal;
	open_with(&journal, MANY);
	execute(&journal, "UPDATE posted SET id_key = 700 WHERE id_key BETWEEN 700 AND 14000");
	cr_assert(journal_known_may_have(&journal.known, 7));
	cr_assert_leq(scan_all(&journal), 5);
	cr_assert(journal_known_may_have(&journal.known, 700));
	cr_assert(journal_known_may_have(&journal.known, 7 * MANY));
	cr_assert_lt(perhaps(&journal, 1), MANY / 20);
	execute(&journal, "UPDATE posted SET id_key = 9223372036854775807 WHERE id_key > 700");
	journal_known_begin(&journal);
	cr_assert(journal_known_may_have(&journal.known, 7));
	cr_assert_leq(scan_all(&journal), 5);
	cr_assert(journal_known_may_have(&journal.known, INT64_MAX));
	cr_assert_lt(perhaps(&journal, 1), MANY / 20);
	close_it(&journal);
}

Test(journal_known, keys_of_many_dropped_rows_go_and_those_that_wait_to_be_written_stay)
{
	struct journal journal;
	struct command command = {.id = (char[]){"waits"}};
	int64_t key = journal_id_key(command.id);
	open_with(&journal, MANY);
	cr_assert(journal_known_may_have(&journal.known, 5));
	scan_all(&journal);
	journal_posted_add(&journal, &command);
	execute(&journal, "DELETE FROM posted WHERE id_key > 70");
	journal_known_forget(&journal);
	cr_assert_eq(perhaps(&journal, 0), MANY, "few were dropped");
	journal.store.dropped_rows = 1000 * 1000;
	journal_known_forget(&journal);
	cr_assert_eq(journal.store.dropped_rows, 0);
	cr_assert(journal_known_may_have(&journal.known, 5), "it is read anew");
	scan_all(&journal);
	cr_assert_geq(perhaps(&journal, 0), 10);
	cr_assert_lt(perhaps(&journal, 0), MANY / 20);
	cr_assert(journal_known_may_have(&journal.known, key));
	close_it(&journal);
}
