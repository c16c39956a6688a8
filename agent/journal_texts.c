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

/* The batch's shared row, if there is room in it, or a new one. */
static struct text_insert *shared_row(struct journal *journal, struct journal_batch *batch,
				      size_t size)
{
	if (batch->shared_at > 0 &&
	    batch->text_inserts[batch->shared_at - 1].size + size <= SHARED_ROW_BYTES)
		return &batch->text_inserts[batch->shared_at - 1];
	struct text_insert *row = &batch->text_inserts[batch->text_count++];
	*row =
	    (struct text_insert){.number = ++journal->last_text_row, .first = batch->shared_count};
	batch->shared_at = batch->text_count;
	return row;
}

void journal_texts_place(struct journal *journal, struct journal_batch *batch,
			 struct command *command, size_t *at)
{
	const struct buf *text = spool_memory(&command->text);
	journal_texts_release(journal, command); /* its row in an earlier database */
	*at = 0;
	if (text->size <= SHARED_BYTES) {
		struct text_insert *row = shared_row(journal, batch, text->size);
		*at = row->size;
		row->size += text->size;
		row->count++;
		batch->shared_texts[batch->shared_count++] = text;
		command->text_row = row->number;
	} else {
		command->text_row = ++journal->last_text_row;
		batch->text_inserts[batch->text_count++] =
		    (struct text_insert){.number = command->text_row, .own = text};
	}
	journal_texts_use(journal, command->text_row);
}

void journal_texts_take_back(struct journal *journal, struct journal_batch *batch,
			     struct text_row_list *rows)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct journal_entry *entry = &batch->entries[i];
		struct text_row *row = find(journal, entry->text_row);
		if (row == NULL)
			continue;
		entry->command->text_row = 0;
		if (--row->commands == 0)
			TAILQ_INSERT_TAIL(rows, row, dead_link);
	}
}

/* In the store's own buffer. */
static const struct buf *put_together(struct journal_store *store,
				      const struct journal_batch *batch,
				      const struct text_insert *insert)
{
	buf_reset(&store->row);
	for (size_t i = insert->first; i < insert->first + insert->count; i++)
		buf_append(&store->row, buf_str(batch->shared_texts[i]),
			   batch->shared_texts[i]->size);
	return &store->row;
}

static int insert_row(struct journal_store *store, int64_t number, const struct buf *texts,
		      struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_TEXTS];
	int rc = buf_check(texts, "journal: texts of commands", err);
	if (rc != 0)
		return rc;
	sqlite3_bind_int64(statement, 1, number);
	sqlite3_bind_blob64(statement, 2, texts->data, texts->size, SQLITE_STATIC);
	return journal_run(store, INSERT_TEXTS, err);
}

int journal_store_texts(struct journal_store *store, const struct journal_batch *batch,
			struct error *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < batch->text_count; i++) {
		const struct text_insert *insert = &batch->text_inserts[i];
		rc = insert_row(
		    store, insert->number,
		    insert->own != NULL ? insert->own : put_together(store, batch, insert), err);
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
