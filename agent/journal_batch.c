/* What changed since the last transaction becomes the next one's, in a form that the loop need not
 * touch while it is written. */
#include "agent/journal_inside.h"

#include "base/mem.h"

#include <stdlib.h>

static char *copy_of(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

/* Its text, where it goes with the first row. */
static void add_text(struct journal *journal, struct journal_batch *batch,
		     struct journal_entry *entry, struct command *command)
{
	entry->text_size = command->text.size;
	entry->text_checksum = command->text_checksum;
	command->stored_text_size = command->text.size; /* also when the transaction fails */
	command->has_text_file = journal_is_kept_as_file(&command->text);
	if (command->has_text_file) {
		entry->text_file = &command->text;
		return;
	}
	journal_texts_place(journal, batch, command, &entry->text_at);
	entry->text_row = command->text_row;
}

static void add_first_row(struct journal *journal, struct journal_batch *batch,
			  struct journal_entry *entry, struct command *command)
{
	if (command->journal_seq == 0)
		command->journal_seq = ++journal->last_seq;
	entry->upload_url = copy_of(command->upload_url);
	entry->expires_at_ms = command->expires_at_ms;
	entry->received_at_ms = command->received_at_ms;
	entry->answers_before =
	    command->journal_answer != 0 ? command->journal_answer - 1 : journal->last_answer;
	if (command->state < COMMAND_DONE && command->text.size > 0)
		add_text(journal, batch, entry, command);
}

static void add_answer(struct journal *journal, struct journal_entry *entry,
		       struct command *command)
{
	if (command->journal_answer == 0)
		command->journal_answer = ++journal->last_answer;
	entry->answer = command->journal_answer;
	entry->status = command->answer.status;
	entry->ended_at_ms = command->answer.ended_at_ms;
	entry->http_status = command->answer.http_status;
	entry->json = &command->answer.json;
	entry->forgets_file = !entry->is_new && command->has_text_file;
}

static void add(struct journal *journal, struct journal_batch *batch, struct command *command)
{
	struct journal_entry *entry = &batch->entries[batch->count++];
	command->is_being_written = true;
	batch->is_rewriting |= command->is_rewritten;
	entry->command = command;
	entry->id = command->id;
	entry->receipt = copy_of(command->receipt);
	entry->attempt = command->attempt;
	entry->is_new = !command->is_stored;
	entry->is_executing = command->state == COMMAND_EXECUTING;
	entry->is_done = command->state >= COMMAND_DONE;
	if (entry->is_new)
		add_first_row(journal, batch, entry, command);
	entry->seq = command->journal_seq;
	if (entry->is_done)
		add_answer(journal, entry, command);
}

struct journal_batch *journal_batch_new(struct journal *journal)
{
	struct journal_batch *batch = mem_new(struct journal_batch);
	struct command *command;
	TAILQ_INIT(&batch->commands);
	TAILQ_INIT(&batch->dead_texts);
	/* One of each at most for a command. */
	size_t capacity = journal->unwritten_count;
	batch->entries = mem_calloc(capacity, sizeof batch->entries[0]);
	batch->text_inserts = mem_calloc(capacity, sizeof batch->text_inserts[0]);
	batch->shared_texts = mem_calloc(capacity, sizeof(const struct buf *));
	TAILQ_FOREACH(command, &journal->unwritten, journal_link)
	{
		add(journal, batch, command);
	}
	TAILQ_CONCAT(&batch->commands, &journal->unwritten, journal_link);
	journal->unwritten_count = 0;
	journal_texts_move(&batch->dead_texts, &journal->dead_texts);
	batch->posted = journal_posted_begin(journal);
	batch->next_seq = journal->last_seq + 1;
	return batch;
}

void journal_batch_take_back(struct journal *journal, struct journal_batch *batch)
{
	struct command *command;
	struct text_row_list rows;
	TAILQ_INIT(&rows);
	journal_texts_take_back(journal, batch, &rows);
	journal_texts_forget_rows(journal, &rows);
	TAILQ_FOREACH(command, &batch->commands, journal_link)
	{
		command->is_being_written = false;
		command->is_overtaken = false; /* it is written next as it is by then */
	}
	/* In front of those that came later. */
	TAILQ_CONCAT(&batch->commands, &journal->unwritten, journal_link);
	TAILQ_CONCAT(&journal->unwritten, &batch->commands, journal_link);
	journal->unwritten_count += batch->count;
	journal_texts_move(&journal->dead_texts, &batch->dead_texts);
	journal_batch_free(batch);
}

void journal_batch_free(struct journal_batch *batch)
{
	if (batch == NULL)
		return;
	for (size_t i = 0; i < batch->count; i++) {
		free(batch->entries[i].receipt);
		free(batch->entries[i].upload_url);
	}
	free(batch->entries);
	free(batch->text_inserts);
	free((void *)batch->shared_texts);
	free(batch);
}
