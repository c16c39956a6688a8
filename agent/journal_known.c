/* May `posted` have a row for this id? Nearly every command that comes is new, and to ask the database
 * costs a read transaction and the pages that the last writer changed (a tenth of the loop's time at
 * full speed). A Bloom filter in memory says "no" for sure, and "perhaps" for what is there and for few
 * others.
 *
 * It has the keys of what was posted since it was begun, and those that a scan finds, of what was
 * there before. The scan begins with the first command that comes; until it ends all is "perhaps". */
#include "agent/journal_inside.h"

#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>

enum {
	KNOWN_KEYS = 750000,           /* for which it is good, with 0.9 MB; with more less so */
	DROPPED_KEYS = KNOWN_KEYS / 2, /* of which it may still say "perhaps" */
	SCAN_KEYS = 1024,              /* as long as others may have to wait for it */
};

static const double WRONG_PERHAPS = 0.01; /* of so many keys */

/* A piece of the scan. */
struct journal_scan {
	int64_t from; /* the least key that may be among them */
	size_t count;
	int64_t keys[SCAN_KEYS + 1]; /* ascending; one more than are taken: there is more */
	bool has_failed;
	bool is_out_of_order; /* the disk changed a key: who goes on behind it may pass others */
};

/* Only when the database says so: an error is no answer. */
static bool is_posted_empty(const struct journal *journal)
{
	return journal_query_number(journal->store.db,
				    "SELECT NOT EXISTS (SELECT 1 FROM posted)") == 1;
}

void journal_known_begin(struct journal *journal)
{
	struct journal_known *known = &journal->known;
	if (known->bloom.ready)
		(void)bloom_reset(&known->bloom); /* it fails only when not ready */
	free(known->scan);
	*known = (struct journal_known){
	    .bloom = known->bloom,
	    .next_key = INT64_MIN,
	    .is_complete = is_posted_empty(journal),
	};
	/* A scan may have passed their keys when they are written. */
	journal_posted_make_known(journal);
}

/* The filter is made with the first key: an agent that has none needs no room for it. */
void journal_known_add(struct journal_known *known, int64_t id_key)
{
	if (!known->bloom.ready && bloom_init(&known->bloom, KNOWN_KEYS, WRONG_PERHAPS) != 0)
		known->is_lossy = true;
	else
		(void)bloom_add(&known->bloom, &id_key, sizeof id_key); /* it is ready */
}

bool journal_known_may_have(struct journal_known *known, int64_t id_key)
{
	if (!known->is_complete) {
		known->is_scan_due = true;
		return true;
	}
	if (known->is_lossy || !known->bloom.ready)
		return known->is_lossy;
	return bloom_check(&known->bloom, &id_key, sizeof id_key) != 0;
}

void journal_known_forget(struct journal *journal)
{
	if (journal->store.dropped_rows < DROPPED_KEYS)
		return;
	journal->store.dropped_rows = 0;
	journal_known_begin(journal);
}

void journal_known_prepare_scan(struct journal_known *known)
{
	if (known->scan == NULL)
		known->scan = mem_new(struct journal_scan);
	known->scan->from = known->next_key;
	known->is_scan_due = false;
}

void journal_store_scan(struct journal_store *store, struct journal_scan *scan)
{
	sqlite3_stmt *statement = store->queries[SELECT_KEYS];
	int64_t least = scan->from;
	int rc = SQLITE_ROW;
	scan->count = 0;
	scan->is_out_of_order = false;
	sqlite3_bind_int64(statement, 1, scan->from);
	while (scan->count <= SCAN_KEYS && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
		int64_t key = sqlite3_column_int64(statement, 0);
		scan->is_out_of_order |= key < least;
		scan->keys[scan->count++] = least = key;
	}
	scan->has_failed = rc != SQLITE_ROW && rc != SQLITE_DONE;
	sqlite3_reset(statement);
}

/* Where the next piece begins: with the last key that another one follows, which it would not if the
 * disk had changed it; or, where all have the same, with a greater one. */
static int64_t next_key(const struct journal_scan *scan)
{
	int64_t next = scan->keys[SCAN_KEYS - 1];
	return next == scan->from ? next + 1 : next;
}

/* When it failed the next look-up begins it again, or finds what is wrong with the database. */
void journal_known_end_scan(struct journal_known *known)
{
	const struct journal_scan *scan = known->scan;
	if (scan->has_failed)
		return;
	for (size_t i = 0; i < scan->count; i++)
		journal_known_add(known, scan->keys[i]);
	bool is_more = scan->count > SCAN_KEYS && scan->from < INT64_MAX;
	known->is_lossy |= scan->is_out_of_order;
	known->is_complete = !is_more || known->is_lossy;
	known->is_scan_due = !known->is_complete;
	if (!known->is_complete) {
		known->next_key = next_key(scan);
		return;
	}
	free(known->scan);
	known->scan = NULL;
}

void journal_known_release(struct journal_known *known)
{
	bloom_free(&known->bloom); /* looks itself whether there is anything */
	free(known->scan);
}
