#include "agent/journal_inside.h"

#include "agent/bench_switch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void journal_write(struct journal *journal, struct command *command)
{
	command->is_rewritten = false;
	journal_write_later(journal, command);
	journal_flush_soon(journal);
}

void journal_keep_text(struct journal *journal, struct command *command, const char *text,
		       size_t size, struct spool *kept)
{
	struct error err;
	if (journal->is_off)
		return;
	command->text_checksum = journal_checksum(command->id, text, size);
	spool_release(&command->text);
	if (kept != NULL) {
		command->text = *kept;
		*kept = (struct spool){0};
		return;
	}
	spool_init(&command->text, SPOOL_KEPT, journal->store.folder, SIZE_MAX / 2);
	if (spool_append(&command->text, text, size, &err) != 0) {
		log_error("command %s: its text cannot be stored: %s", command->id, err.message);
		spool_reset(&command->text);
	}
}

/* From its file, or from what it says; false: neither is there any more. */
static bool keep_text_again(struct journal *journal, struct command *command)
{
	struct error err;
	if (command->has_text_file) {
		if (journal_open_text(&journal->store, command, &err) == 0)
			return true;
		log_error("command %s: %s", command->id, err.message);
	}
	if (command->is_body_dropped)
		return false;
	char *text = command_text(command);
	journal_keep_text(journal, command, text, strlen(text), NULL);
	free(text);
	return true;
}

void journal_write_again(struct journal *journal, struct command *command)
{
	/* The only copy of an answer that left memory is the one that was saved, or not. */
	if (command->is_unloaded || command->is_answered_again)
		return;
	if (!command->is_unwritten)
		command->is_rewritten = true;
	command->is_stored = false;
	bool needs_text = command->state < COMMAND_DONE && command->text.size == 0;
	/* When its request is under way, and its row was not saved, its answer makes a new one;
	 * should the agent die before that, the source delivers it once more. */
	if (!needs_text || keep_text_again(journal, command))
		journal_write_later(journal, command);
}

void journal_posted(struct journal *journal, struct command *command)
{
	assert(!command->is_being_written); /* what is rewritten is written at once */
	if (command->is_unwritten) {        /* once more, after damage: it need not be by now */
		TAILQ_REMOVE(&journal->unwritten, command, journal_link);
		journal->unwritten_count--;
		command->is_unwritten = false;
	}
	journal_texts_release(journal, command);
	if (command->is_answered_again || journal->is_off)
		return;
	journal_posted_add(journal, command);
	journal_write_lazily(journal);
}

bool journal_has_room(const struct journal *journal)
{
	return journal->trouble.failures == 0 && !journal->is_full;
}

/* A read failed: was it for damage? Then a new database is due. */
static void look_for_damage(struct journal *journal)
{
	if (journal->is_damaged)
		journal_flush_soon(journal);
}

int journal_load_answer(struct journal *journal, const struct command *command,
			enum journal_load how, struct answer *answer, struct error *err)
{
	int rc = journal_read_answer(journal, command, how, &answer->json, err);
	if (rc == 0)
		return 0;
	look_for_damage(journal);
	return error_prefix(err, "journal: command %s", command->id);
}

/* Posted, but not on disk as such yet, or there. */
static int find(struct journal *journal, const char *id, struct posted_row *posted,
		struct error *err)
{
	if (!journal_known_may_have(&journal->known, journal_id_key(id)))
		return ERR_NOT_FOUND;
	const struct posted_row *recent = journal_posted_find(journal, id);
	if (recent != NULL) {
		*posted = *recent;
		return 0;
	}
	return journal_find_posted(journal, id, posted, err);
}

enum journal_found journal_find(struct journal *journal, struct command *command)
{
	struct error err;
	struct posted_row posted;
	struct answer *answer = &command->answer;
	if (journal->is_off)
		return JOURNAL_UNKNOWN;
	switch (find(journal, command->id, &posted, &err)) {
	case 0:
		command->is_answered_again = true;
		command->journal_answer = posted.answer;
		command->answer_size = posted.answer_size;
		answer->status = posted.status;
		answer->ended_at_ms = posted.ended_at_ms;
		answer->http_status = posted.http_status;
		return JOURNAL_KNOWN;
	case ERR_NOT_FOUND:
		return JOURNAL_UNKNOWN;
	default:
		look_for_damage(journal);
		log_error("%s: %s", command->id, err.message);
		return JOURNAL_UNREADABLE;
	}
}

const char *journal_answers_folder(const struct journal *journal)
{
	return journal->store.folder;
}

struct journal *journal_open(struct loop *loop, const struct settings *settings,
			     const struct journal_events *events, struct error *err)
{
	struct journal *journal = mem_new(struct journal);
	journal->loop = loop;
	journal->settings = journal->store.settings = settings;
	journal->events = *events;
	journal->lock_fd = -1;
	TAILQ_INIT(&journal->unwritten);
	TAILQ_INIT(&journal->dead_texts);
	buf_init(&journal->store.row, SIZE_MAX / 2);
	journal_work_init(journal);
	journal->is_off = bench_without_journal();
	if (journal->is_off) {
		log_warn("there is no journal: what dies with this process is lost");
		return journal;
	}
	if (journal_open_folder(journal, err) != 0) {
		journal_close(journal);
		return NULL;
	}
	journal_count_spooled(&journal->store);
	journal_known_begin(journal);
	journal->had_room = true; /* nobody waits for room yet */
	journal_work_begin(journal);
	return journal;
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	journal_work_end(journal);
	journal_posted_release(journal);
	journal_known_release(&journal->known);
	journal_texts_release_all(journal);
	buf_release(&journal->store.row);
	journal_work_release(journal);
	journal_close_database(journal);
	if (journal->lock_fd >= 0)
		close(journal->lock_fd);
	free(journal->store.folder);
	free(journal->aside);
	free(journal);
}
