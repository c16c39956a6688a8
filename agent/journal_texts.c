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

static void add_insert(struct journal_batch *batch, struct text_insert insert)
{
	/* Grows where the count is a power of two. */
	if ((batch->text_count & (batch->text_count - 1)) == 0)
		batch->text_inserts = mem_realloc_array(
		    batch->text_inserts, batch->text_count * 2 + 1, sizeof batch->text_inserts[0]);
	batch->text_inserts[batch->text_count++] = insert;
}

/* The batch's last row, if it is a shared one and this has room in it. */
static struct text_insert *shared_row(struct journal *journal, struct journal_batch *batch,
				      size_t size)
{
	struct text_insert *last =
	    batch->shared_at > 0 ? &batch->text_inserts[batch->shared_at - 1] : NULL;
	if (last != NULL && last->size + size <= SHARED_ROW_BYTES)
		return last;
	add_insert(batch, (struct text_insert){.number = ++journal->last_text_row,
					       .at = batch->shared_texts.size});
	batch->shared_at = batch->text_count;
	return &batch->text_inserts[batch->shared_at - 1];
}

void journal_texts_place(struct journal *journal, struct journal_batch *batch,
			 struct command *command, size_t *at)
{
	const struct buf *text = spool_memory(&command->text);
	journal_texts_release(journal, command); /* where a transaction that failed put it */
	*at = 0;
	if (text->size <= SHARED_BYTES) {
		struct text_insert *row = shared_row(journal, batch, text->size);
		*at = row->size;
		row->size += text->size;
		buf_append(&batch->shared_texts, text->data, text->size); /* who writes it checks */
		command->text_row = row->number;
	} else {
		command->text_row = ++journal->last_text_row;
		add_insert(batch, (struct text_insert){.number = command->text_row,
						       .bytes = text->data,
						       .size = text->size});
	}
	journal_texts_use(journal, command->text_row);
}

int journal_store_texts(struct journal_store *store, const struct journal_batch *batch,
			struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_TEXTS];
	int rc = buf_check(&batch->shared_texts, "journal: texts of commands", err);
	for (size_t i = 0; rc == 0 && i < batch->text_count; i++) {
		const struct text_insert *insert = &batch->text_inserts[i];
		const char *bytes =
		    insert->bytes != NULL ? insert->bytes : batch->shared_texts.data + insert->at;
		sqlite3_bind_int64(statement, 1, insert->number);
		sqlite3_bind_blob64(statement, 2, bytes, insert->size, SQLITE_STATIC);
		rc = journal_run(store, INSERT_TEXTS, err);
	}
	return rc;
}

int journal_store_dead_texts(struct journal_store *store, const struct journal_batch *batch,
			     struct error *err)
{
	struct text_row *row;
	TAILQ_FOREACH(row, &batch->dead_texts, dead_link)
	{
		sqlite3_bind_int64(store->statements[DELETE_TEXTS], 1, row->number);
		if (journal_run(store, DELETE_TEXTS, err) != 0)
			return err->code;
	}
	return 0;
}

void journal_texts_move(struct text_row_list *to, struct text_row_list *from)
{
	TAILQ_CONCAT(to, from, dead_link);
}

void journal_texts_forget_rows(struct journal *journal, struct text_row_list *rows)
{
	for (struct text_row *row; (row = TAILQ_FIRST(rows)) != NULL;) {
		TAILQ_REMOVE(rows, row, dead_link);
		HASH_DEL(journal->text_rows, row);
		free(row);
	}
}

void journal_texts_drop_unused(struct journal *journal)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(journal->store.db, "SELECT number FROM texts", -1, &statement,
			       NULL) == SQLITE_OK) {
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

void journal_texts_release_all(struct journal *journal)
{
	struct text_row *row = journal->text_rows;
	HASH_CLEAR(hh, journal->text_rows);
	for (struct text_row *next; row != NULL; row = next) {
		next = row->hh.next;
		free(row);
	}
}
