/* What the source has, until the journal says so. Nobody waits for that, so it is written in
 * batches: first the rows of `posted`, in the order of their keys in its index, then the rows of
 * their commands go, in the order of arrival; a slice of it with each transaction. A slice so
 * touches a few neighbouring pages, where the same rows in the order of time touch as many pages
 * of the index as there are. A death in between costs a second post of what was posted. */
#include "agent/journal_inside.h"

#include "agent/kill_point.h"
#include "base/clock.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum {
	BATCH_MAX = 4096, /* how many it takes to begin before their time */
	SLICE = 512,      /* as long as a transaction may take the others' time */
};

/* Waits to be written: the source has this answer. */
struct posted {
	struct posted_row row; /* owns its id */
	UT_hash_handle hh;     /* by id */
};

enum step { ROWS, COMMANDS, STEPS };

struct progress {
	enum step step;
	size_t done; /* of this step */
};

struct posted_batch {
	struct posted *by_id;
	struct posted **order[STEPS]; /* in which each step takes them; made when it is written */
	size_t count;
	struct progress stored;  /* is committed */
	struct progress written; /* … so far in this transaction */
};

static int by_key(const void *left, const void *right)
{
	const struct posted *const *one = left;
	const struct posted *const *other = right;
	return ((*one)->row.id_key > (*other)->row.id_key) -
	       ((*one)->row.id_key < (*other)->row.id_key);
}

static int by_seq(const void *left, const void *right)
{
	const struct posted *const *one = left;
	const struct posted *const *other = right;
	return ((*one)->row.seq > (*other)->row.seq) - ((*one)->row.seq < (*other)->row.seq);
}

void journal_posted_add(struct journal *journal, const struct command *command)
{
	struct posted *posted;
	HASH_FIND_STR(journal->posted, command->id, posted);
	if (posted == NULL) {
		posted = mem_new(struct posted);
		posted->row.id = mem_strdup(command->id);
		posted->row.id_key = journal_id_key(command->id);
		HASH_ADD_KEYPTR(hh, journal->posted, posted->row.id, strlen(posted->row.id),
				posted);
		journal_known_add(&journal->known, posted->row.id_key);
	}
	posted->row.seq = command->journal_seq;
	posted->row.answer = command->journal_answer;
	posted->row.at_ms = clock_now_ms();
	posted->row.status = command->answer.status;
	posted->row.ended_at_ms = command->answer.ended_at_ms;
	posted->row.http_status = command->answer.http_status;
	posted->row.answer_size = command->answer_size;
	if (HASH_COUNT(journal->posted) >= BATCH_MAX)
		journal->is_posted_due = true; /* with the next transaction */
}

const struct posted_row *journal_posted_find(const struct journal *journal, const char *id)
{
	struct posted *posted = NULL;
	HASH_FIND_STR(journal->posted, id, posted);
	if (posted == NULL && journal->batch != NULL)
		HASH_FIND_STR(journal->batch->by_id, id, posted);
	return posted != NULL ? &posted->row : NULL;
}

static void make_known(struct journal_known *known, const struct posted *posted)
{
	for (; posted != NULL; posted = posted->hh.next)
		journal_known_add(known, posted->row.id_key);
}

void journal_posted_make_known(struct journal *journal)
{
	make_known(&journal->known, journal->posted);
	if (journal->batch != NULL)
		make_known(&journal->known, journal->batch->by_id);
}

bool journal_posted_is_due(const struct journal *journal)
{
	return journal->batch != NULL || (journal->is_posted_due && journal->posted != NULL);
}

static struct posted **sorted(struct posted *posted, size_t count,
			      int (*compare)(const void *left, const void *right))
{
	struct posted **all = mem_calloc(count, sizeof(struct posted *));
	for (size_t i = 0; i < count; i++, posted = posted->hh.next)
		all[i] = posted;
	qsort(all, count, sizeof(struct posted *), compare);
	return all;
}

struct posted_batch *journal_posted_begin(struct journal *journal)
{
	if (journal->batch != NULL || !journal_posted_is_due(journal))
		return journal->batch;
	struct posted_batch *batch = mem_new(struct posted_batch);
	batch->by_id = journal->posted;
	batch->count = HASH_COUNT(batch->by_id);
	journal->posted = NULL;
	journal->batch = batch;
	journal->is_posted_due = false;
	return batch;
}

static int insert_row(struct journal_store *store, const struct posted_row *row, struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_POSTED];
	sqlite3_bind_int64(statement, 1, row->id_key);
	sqlite3_bind_text(statement, 2, row->id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 3, row->at_ms);
	sqlite3_bind_int(statement, 4, (int)row->status);
	sqlite3_bind_int64(statement, 5, row->ended_at_ms);
	sqlite3_bind_int(statement, 6, row->http_status);
	sqlite3_bind_int64(statement, 7, (int64_t)row->answer_size);
	sqlite3_bind_int64(statement, 8, row->answer);
	return journal_run(store, INSERT_POSTED, err);
}

static int write_rows(struct journal_store *store, struct posted **posted, size_t count,
		      struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (insert_row(store, &posted[i]->row, err) != 0)
			return err->code;
	}
	return 0;
}

static int delete_run(struct journal_store *store, int64_t from, int64_t to, struct error *err)
{
	sqlite3_bind_int64(store->statements[DELETE_COMMANDS], 1, from);
	sqlite3_bind_int64(store->statements[DELETE_COMMANDS], 2, to);
	return journal_run(store, DELETE_COMMANDS, err);
}

/* In runs: one statement for many. */
static int delete_commands(struct journal_store *store, struct posted **posted, size_t count,
			   struct error *err)
{
	int64_t first = 0;
	int64_t last = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t seq = posted[i]->row.seq;
		if (seq != last + 1) {
			if (delete_run(store, first, last, err) != 0)
				return err->code;
			first = seq;
		}
		last = seq;
	}
	return delete_run(store, first, last, err);
}

/* Of commands that are gone. */
static int clear_executing(struct journal_store *store, int64_t next_seq, struct error *err)
{
	sqlite3_bind_int64(store->statements[DELETE_EXECUTING], 1, next_seq);
	return journal_run(store, DELETE_EXECUTING, err);
}

int journal_store_posted(struct journal_store *store, struct posted_batch *batch, int64_t next_seq,
			 struct error *err)
{
	struct progress *progress = &batch->written;
	size_t most = SLICE;
	kill_point("before-row-marked");
	if (batch->order[ROWS] == NULL) {
		batch->order[ROWS] = sorted(batch->by_id, batch->count, by_key);
		batch->order[COMMANDS] = sorted(batch->by_id, batch->count, by_seq);
	}
	*progress = batch->stored;
	while (most > 0 && progress->step < STEPS) {
		size_t left = batch->count - progress->done;
		size_t count = left < most ? left : most;
		struct posted **slice = batch->order[progress->step] + progress->done;
		int rc = progress->step == ROWS ? write_rows(store, slice, count, err)
						: delete_commands(store, slice, count, err);
		if (rc != 0)
			return rc;
		most -= count;
		progress->done += count;
		if (progress->done == batch->count)
			*progress = (struct progress){.step = progress->step + 1};
	}
	return progress->step == STEPS ? clear_executing(store, next_seq, err) : 0;
}

static void free_all(struct posted *posted)
{
	struct posted *first = posted;
	HASH_CLEAR(hh, first);
	for (struct posted *next; posted != NULL; posted = next) {
		next = posted->hh.next;
		free(posted->row.id);
		free(posted);
	}
}

static void end_batch(struct journal *journal)
{
	if (journal->batch == NULL)
		return;
	free_all(journal->batch->by_id);
	free(journal->batch->order[ROWS]);
	free(journal->batch->order[COMMANDS]);
	free(journal->batch);
	journal->batch = NULL;
}

void journal_posted_written(struct journal *journal)
{
	if (journal->batch == NULL)
		return;
	journal->batch->stored = journal->batch->written;
	if (journal->batch->stored.step == STEPS)
		end_batch(journal);
}

void journal_posted_release(struct journal *journal)
{
	end_batch(journal);
	free_all(journal->posted);
	journal->posted = NULL;
}
