/* Look-ups. They wait for no transaction that is being written: while one is, they go by a connection
 * of the loop's own, which has to read anew what every transaction changed. */
#include "agent/journal_inside.h"

#include "base/file.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

const char *const journal_query_texts[QUERIES] = {
    [BEGIN_READING] = "BEGIN",
    [END_READING] = "COMMIT",
    [SELECT_POSTED] = "SELECT id, status, ended_at, http_status, answer_size, answer FROM posted"
		      " WHERE id_key = ?1 ORDER BY number DESC",
    [SELECT_ANSWER] = "SELECT answer_file, checksum, answer FROM answers WHERE number = ?1"
		      " AND id = ?2",
    [SELECT_KEYS] = "SELECT id_key FROM posted WHERE id_key >= ?1 ORDER BY id_key",
};

/* A connection with its queries. */
struct look {
	sqlite3 *db;
	sqlite3_stmt *const *queries;
};

static struct look store_of(const struct journal *journal)
{
	return (struct look){journal->store.db, journal->store.queries};
}

static struct look reader_of(const struct journal *journal)
{
	return (struct look){journal->reader.db, journal->reader.queries};
}

static void end_query(const struct look *look, enum query which)
{
	sqlite3_reset(look->queries[which]);
	sqlite3_clear_bindings(look->queries[which]);
}

static bool run(const struct look *look, enum query which)
{
	bool is_done = sqlite3_step(look->queries[which]) == SQLITE_DONE;
	end_query(look, which);
	return is_done;
}

/* With one transaction for all look-ups of a turn, so that locks are taken once for them. Where that
 * fails, each is its own. */
static int begin_reading(struct journal *journal, struct look *look, struct error *err)
{
	*look = loop_work_is_running(journal->writing) ? reader_of(journal) : store_of(journal);
	if (look->db == NULL)
		return error_set(err, ERR_SYSTEM, "journal: there is no database just now");
	if (sqlite3_get_autocommit(look->db) && run(look, BEGIN_READING))
		loop_defer(journal->loop, &journal->end_reading);
	return 0;
}

static void end_reading_of(struct look look)
{
	if (look.db != NULL && !sqlite3_get_autocommit(look.db))
		(void)run(&look, END_READING); /* what it read is read */
}

void journal_end_reading(struct journal *journal)
{
	loop_cancel(journal->loop, &journal->end_reading);
	end_reading_of(reader_of(journal));
	if (!loop_work_is_running(journal->writing))
		end_reading_of(store_of(journal));
}

/* SQLITE_ROW, SQLITE_DONE or what went wrong, twice: a read that failed often succeeds when it
 * is tried again. */
static int select_first(const struct look *look, enum query which, int64_t key)
{
	sqlite3_stmt *statement = look->queries[which];
	sqlite3_bind_int64(statement, 1, key);
	int rc = sqlite3_step(statement);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		sqlite3_reset(statement);
		rc = sqlite3_step(statement);
	}
	return rc;
}

static int fail(struct journal *journal, const struct look *look, const char *what,
		struct error *err)
{
	journal->is_damaged |= journal_is_damage(look->db);
	return journal_fail(look->db, err, what);
}

static void read_posted(sqlite3_stmt *statement, struct posted_row *posted)
{
	posted->status = (enum answer_status)sqlite3_column_int(statement, 1);
	posted->ended_at_ms = sqlite3_column_int64(statement, 2);
	posted->http_status = sqlite3_column_int(statement, 3);
	posted->answer_size = (size_t)sqlite3_column_int64(statement, 4);
	posted->answer = sqlite3_column_int64(statement, 5);
}

int journal_find_posted(struct journal *journal, const char *id, struct posted_row *posted,
			struct error *err)
{
	struct look look;
	if (begin_reading(journal, &look, err) != 0)
		return err->code;
	sqlite3_stmt *statement = look.queries[SELECT_POSTED];
	int rc = select_first(&look, SELECT_POSTED, journal_id_key(id));
	int result = ERR_NOT_FOUND;
	while (rc == SQLITE_ROW && result != 0) {
		const char *stored = (const char *)sqlite3_column_text(statement, 0);
		if (stored != NULL && strcmp(stored, id) == 0) {
			read_posted(statement, posted);
			result = 0;
		} else {
			rc = sqlite3_step(statement);
		}
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		result = fail(journal, &look, "looking for a command", err);
	end_query(&look, SELECT_POSTED);
	return result;
}

static int read_file(const struct journal *journal, const char *name, enum journal_load how,
		     struct spool *json, struct error *err)
{
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	char *path = journal_spool_path(journal_answers_folder(journal), name);
	int rc = how == JOURNAL_LOAD_AS_STORED ? spool_open(json, path, err)
					       : file_read(path, &content, err);
	/* Files that are dropped go before their rows. */
	bool is_being_dropped = loop_work_is_running(journal->writing) &&
				(journal->work == WORK_TIDY || journal->work == WORK_ROOM);
	if (rc == ERR_NOT_FOUND && !is_being_dropped)
		rc = ERR_INVALID; /* nobody has dropped it, it is missing */
	if (rc == 0 && how == JOURNAL_LOAD_INTO_MEMORY)
		spool_take(json, &content);
	buf_release(&content);
	free(path);
	return rc;
}

static int read_row(sqlite3_stmt *statement, const char *id, struct spool *json, struct error *err)
{
	const void *bytes = sqlite3_column_blob(statement, 2);
	size_t size = (size_t)sqlite3_column_bytes(statement, 2);
	if (sqlite3_column_int64(statement, 1) != journal_checksum(id, bytes, size))
		return error_set(err, ERR_INVALID, "its checksum is wrong: the disk changed it");
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	buf_append(&content, bytes, size);
	int rc = buf_check(&content, "stored answer", err);
	if (rc == 0)
		spool_take(json, &content);
	buf_release(&content);
	return rc;
}

int journal_read_answer(struct journal *journal, const struct command *command,
			enum journal_load how, struct spool *json, struct error *err)
{
	struct look look;
	if (begin_reading(journal, &look, err) != 0)
		return err->code;
	sqlite3_stmt *statement = look.queries[SELECT_ANSWER];
	sqlite3_bind_text(statement, 2, command->id, -1, SQLITE_STATIC);
	int found = select_first(&look, SELECT_ANSWER, command->journal_answer);
	int rc;
	if (found == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
		rc = read_file(journal, (const char *)sqlite3_column_text(statement, 0), how, json,
			       err);
	else if (found == SQLITE_ROW)
		rc = read_row(statement, command->id, json, err);
	else if (found == SQLITE_DONE)
		rc = error_set(err, ERR_NOT_FOUND, "the stored answer was dropped to make room");
	else
		rc = fail(journal, &look, "reading an answer", err);
	end_query(&look, SELECT_ANSWER);
	return rc;
}
