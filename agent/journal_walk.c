#include "agent/journal_inside.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATE_DONE = 3 };

/* Read by read_row: the columns must stand in this order. A command of which there is an answer
 * has ended, whatever else is known of it. */
static const char SELECT_OPEN[] =
    "WITH recent AS (SELECT number, seq FROM answers"
    " WHERE number > (SELECT min(answers_before) FROM commands))"
    " SELECT c.seq, c.id, CASE WHEN a.number IS NOT NULL THEN 3 WHEN e.seq IS NOT NULL THEN 2 ELSE"
    " c.state END, coalesce(a.receipt, c.receipt), coalesce(a.attempt, c.attempt), c.upload_url,"
    " c.expires_at, c.received_at, a.status, a.ended_at, a.http_status, a.answer_size, c.checksum,"
    " CASE WHEN a.number IS NULL THEN (SELECT substr(texts, c.text_at + 1, c.text_size) FROM texts"
    " WHERE number = c.text_row) END, a.number, c.text_size, c.command_file, c.text_row"
    " FROM commands c LEFT JOIN executing e ON e.seq = c.seq"
    " LEFT JOIN recent r ON r.seq = c.seq AND r.number > c.answers_before"
    " LEFT JOIN answers a ON a.number = r.number"
    " ORDER BY c.seq";

static enum command_state state_of_stored(int state)
{
	return state == STATE_DONE         ? COMMAND_DONE
	       : state == STORED_EXECUTING ? COMMAND_EXECUTING
					   : COMMAND_RECEIVED;
}

static struct journal_row read_row(sqlite3_stmt *statement)
{
	struct journal_row row = {
	    .seq = sqlite3_column_int64(statement, 0),
	    .id = (const char *)sqlite3_column_text(statement, 1),
	    .state = state_of_stored(sqlite3_column_int(statement, 2)),
	    .receipt = (const char *)sqlite3_column_text(statement, 3),
	    .attempt = sqlite3_column_int(statement, 4),
	    .upload_url = (const char *)sqlite3_column_text(statement, 5),
	    .expires_at_ms = sqlite3_column_int64(statement, 6),
	    .received_at_ms = sqlite3_column_int64(statement, 7),
	    .status = (enum answer_status)sqlite3_column_int(statement, 8),
	    .ended_at_ms = sqlite3_column_int64(statement, 9),
	    .http_status = sqlite3_column_int(statement, 10),
	    .answer_size = (size_t)sqlite3_column_int64(statement, 11),
	    .answer = sqlite3_column_int64(statement, 14),
	    .has_text_file = sqlite3_column_type(statement, 16) != SQLITE_NULL,
	};
	if (row.state != COMMAND_DONE) {
		row.text_size = (size_t)sqlite3_column_int64(statement, 15);
		row.text_row = sqlite3_column_int64(statement, 17);
	}
	return row;
}

/* The text, from the row or its file, which text keeps. */
static void read_text(const char *folder, sqlite3_stmt *statement, struct journal_row *row,
		      struct buf *text)
{
	struct error err;
	row->text = sqlite3_column_blob(statement, 13);
	row->text_size = (size_t)sqlite3_column_bytes(statement, 13);
	if (row->has_text_file) {
		char *path =
		    mem_printf("%s/%s", folder, (const char *)sqlite3_column_text(statement, 16));
		if (file_read(path, text, &err) != 0)
			log_error("journal: %s", err.message);
		row->text = buf_str(text);
		row->text_size = text->size;
		free(path);
	}
	row->text_checksum = journal_checksum(row->id, row->text, row->text_size);
	row->is_damaged = sqlite3_column_int64(statement, 12) != row->text_checksum;
}

/* folder is where the texts' files are; NULL: they are not looked at. */
static int walk(sqlite3 *db, const char *folder,
		void (*on_row)(void *context, const struct journal_row *row), void *context,
		struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int rc;
	if (sqlite3_prepare_v2(db, SELECT_OPEN, -1, &statement, NULL) != SQLITE_OK)
		return journal_fail(db, err, "reading what waits");
	while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
		struct buf text = BUF_INIT(SIZE_MAX / 2);
		struct journal_row row = read_row(statement);
		if (folder != NULL && row.id != NULL && row.state != COMMAND_DONE)
			read_text(folder, statement, &row, &text);
		if (row.id != NULL)
			on_row(context, &row);
		buf_release(&text);
	}
	int result = rc == SQLITE_DONE ? 0 : journal_fail(db, err, "reading what waits");
	sqlite3_finalize(statement);
	return result;
}

struct reader {
	struct journal *journal;
	void (*on_row)(void *context, const struct journal_row *row);
	void *context;
};

static void read_on(void *context, const struct journal_row *row)
{
	struct reader *reader = context;
	if (row->text_row != 0)
		journal_texts_use(reader->journal, row->text_row);
	reader->on_row(reader->context, row);
}

int journal_walk(struct journal *journal,
		 void (*on_row)(void *context, const struct journal_row *row), void *context,
		 struct error *err)
{
	struct reader reader = {.journal = journal, .on_row = on_row, .context = context};
	if (journal->is_off)
		return 0;
	if (walk(journal->store.db, journal->store.folder, read_on, &reader, err) != 0)
		return err->code;
	journal_texts_drop_unused(journal);
	return 0;
}

int journal_list(const char *state_dir,
		 void (*on_row)(void *context, const struct journal_row *row), void *context,
		 struct error *err)
{
	char *path = mem_printf("%s/journal.db", state_dir);
	sqlite3 *db = NULL;
	int rc = 0;
	if (access(path, R_OK) != 0)
		rc = error_set_errno(err, errno, "cannot read %s", path);
	else if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		rc = journal_fail(db, err, path);
	if (rc == 0) {
		sqlite3_busy_timeout(db, JOURNAL_BUSY_MS);
		rc = walk(db, NULL, on_row, context, err);
		if (rc != 0)
			error_prefix(err, "%s", path);
	}
	sqlite3_close(db);
	free(path);
	return rc;
}
