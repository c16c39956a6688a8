/* The texts of commands, of all that one transaction stores together in one row: bytes that are
 * neither divided among half empty pages nor, when they go, written once more. A row goes with
 * the transaction after that which stored the last answer to its commands. A longer text has a
 * row to itself, so that it does not stay for its neighbours. */
#include "agent/journal_inside.h"

#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

enum {
	SHARED_BYTES = 4096,         /* a longer text has a row to itself */
	SHARED_ROW_BYTES = 32 * 1024 /* what one that waits long may hold back */
};

/* One row of `texts`. */
struct text_row {
	int64_t number;
	size_t commands;                 /* that have no answer yet */
	UT_hash_handle hh;               /* by number */
	TAILQ_ENTRY(text_row) dead_link; /* when there are none */
};

static struct text_row *find(const struct journal *journal, int64_t number)
{
	struct text_row *row;
	HASH_FIND(hh, journal->text_rows, &number, sizeof number, row);
	return row;
}

static struct text_row *add(struct journal *journal, int64_t number)
{
	struct text_row *row = mem_new(struct text_row);
	row->number = number;
	HASH_ADD(hh, journal->text_rows, number, sizeof row->number, row);
	return row;
}

void journal_texts_use(struct journal *journal, int64_t number)
{
	struct text_row *row = find(journal, number);
	if (row == NULL)
		row = add(journal, number);
	row->commands++;
}

void journal_texts_release(struct journal *journal, struct command *command)
{
	struct text_row *row = find(journal, command->text_row);
	command->text_row = 0;
	if (row != NULL && --row->commands == 0)
		TAILQ_INSERT_TAIL(&journal->dead_texts, row, dead_link);
}

static int insert(struct journal *journal, int64_t number, const struct buf *texts,
		  struct error *err)
{
	sqlite3_stmt *statement = journal->statements[INSERT_TEXTS];
	sqlite3_bind_int64(statement, 1, number);
	sqlite3_bind_blob64(statement, 2, texts->data, texts->size, SQLITE_STATIC);
	return journal_run(journal, INSERT_TEXTS, err);
}

static int write_shared(struct journal *journal, struct error *err)
{
	int rc = buf_check(&journal->shared_texts, "journal: texts of commands", err);
	if (rc == 0 && journal->shared_texts.size > 0)
		rc = insert(journal, journal->shared_row, &journal->shared_texts, err);
	buf_reset(&journal->shared_texts);
	return rc;
}

static int share_row(struct journal *journal, const struct buf *text, size_t *at, struct error *err)
{
	if (journal->shared_texts.size + text->size > SHARED_ROW_BYTES &&
	    write_shared(journal, err) != 0)
		return err->code;
	if (journal->shared_texts.size == 0)
		journal->shared_row = ++journal->last_text_row;
	*at = journal->shared_texts.size;
	buf_append(&journal->shared_texts, text->data, text->size); /* write_shared checks it */
	return 0;
}

int journal_texts_place(struct journal *journal, struct command *command, size_t *at,
			struct error *err)
{
	const struct buf *text = spool_memory(&command->text);
	int64_t number;
	journal_texts_release(journal, command); /* where a transaction that failed put it */
	*at = 0;
	if (text->size <= SHARED_BYTES) {
		if (share_row(journal, text, at, err) != 0)
			return err->code;
		number = journal->shared_row;
	} else {
		number = ++journal->last_text_row;
		if (insert(journal, number, text, err) != 0)
			return err->code;
	}
	journal_texts_use(journal, number);
	command->text_row = number;
	return 0;
}

void journal_texts_begin(struct journal *journal)
{
	buf_reset(&journal->shared_texts);
}

int journal_texts_write(struct journal *journal, struct error *err)
{
	struct text_row *row;
	TAILQ_FOREACH(row, &journal->dead_texts, dead_link)
	{
		sqlite3_bind_int64(journal->statements[DELETE_TEXTS], 1, row->number);
		if (journal_run(journal, DELETE_TEXTS, err) != 0)
			return err->code;
	}
	return write_shared(journal, err);
}

void journal_texts_written(struct journal *journal)
{
	for (struct text_row *row; (row = TAILQ_FIRST(&journal->dead_texts)) != NULL;) {
		TAILQ_REMOVE(&journal->dead_texts, row, dead_link);
		HASH_DEL(journal->text_rows, row);
		free(row);
	}
}

void journal_texts_drop_unused(struct journal *journal)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(journal->db, "SELECT number FROM texts", -1, &statement, NULL) ==
	    SQLITE_OK) {
		while (sqlite3_step(statement) == SQLITE_ROW) {
			int64_t number = sqlite3_column_int64(statement, 0);
			if (find(journal, number) != NULL)
				continue;
			struct text_row *row = add(journal, number);
			TAILQ_INSERT_TAIL(&journal->dead_texts, row, dead_link);
		}
	}
	sqlite3_finalize(statement);
}

void journal_texts_forget(struct journal *journal)
{
	struct text_row *row = journal->text_rows;
	HASH_CLEAR(hh, journal->text_rows);
	for (struct text_row *next; row != NULL; row = next) {
		next = row->hh.next;
		free(row);
	}
	buf_release(&journal->shared_texts);
}
