/* What the files of a search share. Only the files of the search include this.
 *
 * A search finds its buckets (few, see store_sql.c) and merges their commands in order of
 * the key: each bucket is read in small pieces from an index, as far as the page needs. The
 * cost follows the size of the page and how deep it lies, not how much is stored.
 *
 * A filter that is no order of a bucket (metadata, a range of another key) is checked for
 * each command on the way. That would be slow where few commands pass; but then the filter's
 * own index gives those few directly, and they are sorted here. */
#ifndef SERVICE_STORE_SEARCH_H
#define SERVICE_STORE_SEARCH_H

#include "service/store_internal.h"

struct entry {
	int64_t key;
	int64_t seq;
	size_t rank; /* of its bucket */
};

struct bucket {
	int64_t number;
	size_t rank; /* orders by status, action or target; 0 without grouping */
	char *label; /* what rank was made of */
	struct entry *piece;
	size_t at;
	size_t count;
	bool is_done;
};

struct searching {
	struct store *store;
	const struct search *search;
	struct bucket *buckets;
	size_t bucket_count;
	size_t piece;
	sqlite3_stmt *next; /* the next rows of a bucket */
	struct bucket **heap;
	size_t heap_count;
	int64_t *pair_hashes;
	size_t skip; /* rows before the page */
	int64_t *seqs;
	size_t count;
	bool has_next;
};

/* The column of an enum search_key. */
extern const char *const search_columns[];

/* The order of the search's hits. */
int search_compare(const struct searching *searching, const struct entry *a, const struct entry *b);
/* A row in its order: before the page, on it, or the one that shows there is a next page.
 * False when no more are needed. */
bool search_take(struct searching *searching, const struct entry *entry);

/* Filters as SQL: parameters 4 to 9 are the ends of the ranges, from 10 on metadata. */
bool search_is_limited(const struct search_range *range);
/* A range in the units of its column. */
struct search_range search_column_range(const struct search *search, enum search_key key);
/* Ranges of all keys but one, and metadata of all pairs but one (by number, -1: none). */
void search_append_filters(const struct search *search, int but_key, int but_pair, struct buf *sql);
/* Prepares a statement and binds the filters. */
int search_prepare(struct searching *searching, const struct buf *sql, sqlite3_stmt **statement,
		   struct error *err);

/* store_merge.c: merges the buckets as far as the page needs. */
int search_merge(struct searching *searching, struct error *err);
/* store_few.c: 1 when a filter gave few rows and the page was made of them, 0 otherwise. */
int search_try_few(struct searching *searching, struct error *err);

#endif
