#include "base/mem.h"
#include "service/store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A search finds its buckets (few, see store_sql.c) and merges their commands in order of
 * the key: each bucket is read in small pieces from an index, as far as the page needs. The
 * cost follows the size of the page and how deep it lies, not how much is stored.
 *
 * A filter that is no order of a bucket (metadata, a range of another key) is checked for
 * each command on the way. That would be slow where few commands pass; but then the filter's
 * own index gives those few directly, and they are sorted here. */
enum {
	PIECE_MAX = 64, /* rows read from a bucket at once */
	PIECE_MIN = 2,
	PIECES_ROOM = 65536, /* rows held over all buckets */
	FEW = 5000,          /* rows that are rather sorted here */
};

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

static const char *const key_columns[] = {
    [SEARCH_CREATED] = "seq",
    [SEARCH_UPDATED] = "updated_at",
    [SEARCH_EXPIRES] = "expires_at",
};

/* ---- Which buckets */

static bool is_among(const char *text, const char *const *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, values[i]) == 0)
			return true;
	}
	return count == 0;
}

static void add_bucket(struct searching *searching, int64_t number, const char *label)
{
	size_t count = searching->bucket_count;
	if ((count & (count - 1)) == 0) /* a power of two is full */
		searching->buckets = mem_realloc_array(searching->buckets, count ? 2 * count : 1,
						       sizeof(struct bucket));
	searching->buckets[count] = (struct bucket){
	    .number = number,
	    .label = mem_strdup(label),
	};
	searching->bucket_count++;
}

static void consider_bucket(struct searching *searching, sqlite3_stmt *row)
{
	const struct search *search = searching->search;
	char target[TARGET_MAX + 1];
	char action[ACTION_MAX + 1];
	store_column_text(row, 1, target, sizeof target);
	int status = sqlite3_column_int(row, 2);
	store_column_text(row, 3, action, sizeof action);
	if (!is_among(target, search->targets, search->target_count) ||
	    !is_among(action, search->actions, search->action_count) ||
	    !(search->any_status || search->statuses[status]))
		return;
	const char *label = "";
	if (search->group == GROUP_STATUS)
		label = status_name((enum command_status)status);
	else if (search->group == GROUP_ACTION)
		label = action;
	else if (search->group == GROUP_TARGET)
		label = target;
	add_bucket(searching, sqlite3_column_int64(row, 0), label);
}

static int find_buckets(struct searching *searching, struct error *err)
{
	struct store *store = searching->store;
	sqlite3_stmt *all = store_statement(store, SQL_BUCKET_ORG, err);
	if (!all)
		return ERR_SYSTEM;
	(void)sqlite3_bind_text(all, 1, searching->search->org, -1, SQLITE_STATIC);
	int rc;
	while ((rc = store_step(store, all, "search", err)) > 0)
		consider_bucket(searching, all);
	(void)sqlite3_reset(all); /* the failure is known already */
	return rc;
}

static int compare_labels(const void *left, const void *right)
{
	return strcmp(((const struct bucket *)left)->label, ((const struct bucket *)right)->label);
}

/* Buckets of the same label get the same rank; the first to come has the lowest. */
static void rank_buckets(struct searching *searching)
{
	size_t count = searching->bucket_count;
	if (count > 1)
		qsort(searching->buckets, count, sizeof *searching->buckets, compare_labels);
	size_t rank = 0;
	for (size_t i = 0; i < count; i++) {
		if (i > 0 &&
		    compare_labels(&searching->buckets[i - 1], &searching->buckets[i]) != 0)
			rank++;
		searching->buckets[i].rank = rank;
	}
	for (size_t i = 0; i < count && !searching->search->is_ascending; i++)
		searching->buckets[i].rank = rank - searching->buckets[i].rank;
}

static int compare_numbers(const void *left, const void *right)
{
	const struct bucket *a = left;
	const struct bucket *b = right;
	return (a->number > b->number) - (a->number < b->number);
}

/* ---- Order */

static int compare_entries(const struct searching *searching, const struct entry *a,
			   const struct entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	int order = (a->key > b->key) - (a->key < b->key);
	if (order == 0)
		order = (a->seq > b->seq) - (a->seq < b->seq);
	return searching->search->is_ascending ? order : -order;
}

static int compare_for_sort(const void *left, const void *right, void *context)
{
	return compare_entries(context, left, right);
}

/* A row in its order: before the page, on it, or the one that shows there is a next page.
 * False when no more are needed. */
static bool take_entry(struct searching *searching, const struct entry *entry)
{
	if (searching->skip > 0) {
		searching->skip--;
		return true;
	}
	if (searching->count == searching->search->size) {
		searching->has_next = true;
		return false;
	}
	searching->seqs[searching->count++] = entry->seq;
	return true;
}

/* ---- Filters as SQL; its parameters from 10 on are metadata */

static bool is_limited(const struct search_range *range)
{
	return range->from != INT64_MIN || range->to != INT64_MAX;
}

/* A range in the units of its column. */
static struct search_range column_range(const struct search *search, enum search_key key)
{
	struct search_range range = search->range[key];
	if (key == SEARCH_CREATED) {
		if (range.from != INT64_MIN)
			range.from = store_seq_of(range.from);
		if (range.to != INT64_MAX)
			range.to = store_seq_of(range.to + 1) - 1;
	}
	return range;
}

/* Ranges of all keys but one, and metadata of all pairs but one (by number, -1: none). */
static void append_filters(const struct search *search, int but_key, int but_pair, struct buf *sql)
{
	for (int key = SEARCH_CREATED; key <= SEARCH_EXPIRES; key++) {
		if (key == but_key || !is_limited(&search->range[key]))
			continue;
		(void)buf_printf(sql, " AND c.%s BETWEEN ?%d AND ?%d", key_columns[key],
				 4 + 2 * key, 5 + 2 * key);
	}
	for (size_t i = 0; i < search->pair_count; i++) {
		if ((int)i != but_pair)
			(void)buf_printf(sql,
					 " AND EXISTS (SELECT 1 FROM metadata m"
					 " WHERE m.pair = ?%zu AND m.seq = c.seq)",
					 10 + i);
	}
}

static void bind_filters(struct searching *searching, sqlite3_stmt *statement)
{
	const struct search *search = searching->search;
	int limit = sqlite3_bind_parameter_count(statement);
	for (int key = SEARCH_CREATED; key <= SEARCH_EXPIRES; key++) {
		struct search_range range = column_range(search, (enum search_key)key);
		if (4 + 2 * key <= limit)
			(void)sqlite3_bind_int64(statement, 4 + 2 * key, range.from);
		if (5 + 2 * key <= limit)
			(void)sqlite3_bind_int64(statement, 5 + 2 * key, range.to);
	}
	for (size_t i = 0; i < search->pair_count && 10 + (int)i <= limit; i++)
		(void)sqlite3_bind_int64(statement, 10 + (int)i, searching->pair_hashes[i]);
}

static int prepare(struct searching *searching, const struct buf *sql, sqlite3_stmt **statement,
		   struct error *err)
{
	int rc = buf_check(sql, "search", err);
	if (rc < 0)
		return rc;
	if (sqlite3_prepare_v2(searching->store->db, buf_str(sql), -1, statement, NULL) !=
	    SQLITE_OK)
		return store_fail(searching->store, "search", err);
	bind_filters(searching, *statement);
	return 0;
}

/* ---- Merging */

static int prepare_next(struct searching *searching, struct error *err)
{
	const struct search *search = searching->search;
	const char *column = key_columns[search->key];
	const char *direction = search->is_ascending ? "ASC" : "DESC";
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT c.%s, c.seq FROM command c WHERE c.bucket = ?1", column);
	if (search->key == SEARCH_CREATED)
		(void)buf_printf(&sql, " AND c.seq %s ?2", search->is_ascending ? ">" : "<");
	else
		(void)buf_printf(&sql, " AND (c.%s, c.seq) %s (?2, ?3)", column,
				 search->is_ascending ? ">" : "<");
	append_filters(search, -1, -1, &sql);
	(void)buf_printf(&sql, " ORDER BY c.%s %s, c.seq %s LIMIT %zu", column, direction,
			 direction, searching->piece);
	int rc = prepare(searching, &sql, &searching->next, err);
	buf_release(&sql);
	return rc;
}

/* Where a bucket's rows go on: behind the last that was read, or at the end of the range. */
static void bind_start(struct searching *searching, const struct bucket *bucket)
{
	struct search_range range = column_range(searching->search, searching->search->key);
	bool is_ascending = searching->search->is_ascending;
	int64_t key = is_ascending ? range.from : range.to;
	int64_t seq = is_ascending ? INT64_MIN : INT64_MAX;
	if (bucket->count > 0) {
		key = bucket->piece[bucket->count - 1].key;
		seq = bucket->piece[bucket->count - 1].seq;
	} else if (searching->search->key == SEARCH_CREATED && key != INT64_MIN &&
		   key != INT64_MAX) {
		key += is_ascending ? -1 : 1; /* the comparison leaves the end itself out */
	}
	(void)sqlite3_bind_int64(searching->next, 1, bucket->number);
	(void)sqlite3_bind_int64(searching->next, 2, key);
	if (searching->search->key != SEARCH_CREATED)
		(void)sqlite3_bind_int64(searching->next, 3, seq);
}

static int read_piece(struct searching *searching, struct bucket *bucket, struct error *err)
{
	struct store *store = searching->store;
	if (!bucket->piece)
		bucket->piece = mem_calloc(searching->piece, sizeof *bucket->piece);
	bind_start(searching, bucket);
	bucket->at = 0;
	bucket->count = 0;
	int rc;
	while ((rc = store_step(store, searching->next, "search", err)) > 0) {
		bucket->piece[bucket->count++] = (struct entry){
		    .key = sqlite3_column_int64(searching->next, 0),
		    .seq = sqlite3_column_int64(searching->next, 1),
		    .rank = bucket->rank,
		};
	}
	(void)sqlite3_reset(searching->next); /* the failure is known already */
	bucket->is_done = bucket->count < searching->piece;
	return rc;
}

static bool comes_first(const struct searching *searching, size_t a, size_t b)
{
	const struct bucket *left = searching->heap[a];
	const struct bucket *right = searching->heap[b];
	return compare_entries(searching, &left->piece[left->at], &right->piece[right->at]) < 0;
}

static void swap_in_heap(struct searching *searching, size_t a, size_t b)
{
	struct bucket *bucket = searching->heap[a];
	searching->heap[a] = searching->heap[b];
	searching->heap[b] = bucket;
}

static void sink(struct searching *searching, size_t at)
{
	for (;;) {
		size_t first = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
			if (child < searching->heap_count && comes_first(searching, child, first))
				first = child;
		}
		if (first == at)
			return;
		swap_in_heap(searching, at, first);
		at = first;
	}
}

static int fill_heap(struct searching *searching, struct error *err)
{
	searching->heap = mem_calloc(searching->bucket_count, sizeof *searching->heap);
	for (size_t i = 0; i < searching->bucket_count; i++) {
		struct bucket *bucket = &searching->buckets[i];
		int rc = read_piece(searching, bucket, err);
		if (rc < 0)
			return rc;
		if (bucket->count > 0)
			searching->heap[searching->heap_count++] = bucket;
	}
	for (size_t at = searching->heap_count / 2; at-- > 0;)
		sink(searching, at);
	return 0;
}

/* The first bucket goes on to its next row, or out of the heap. */
static int advance(struct searching *searching, struct error *err)
{
	struct bucket *bucket = searching->heap[0];
	int rc = 0;
	if (++bucket->at == bucket->count && !bucket->is_done)
		rc = read_piece(searching, bucket, err);
	if (bucket->at == bucket->count)
		searching->heap[0] = searching->heap[--searching->heap_count];
	if (rc == 0)
		sink(searching, 0);
	return rc;
}

static int merge(struct searching *searching, struct error *err)
{
	searching->piece = PIECES_ROOM / searching->bucket_count;
	if (searching->piece > PIECE_MAX)
		searching->piece = PIECE_MAX;
	if (searching->piece < PIECE_MIN)
		searching->piece = PIECE_MIN;
	int rc = prepare_next(searching, err);
	if (rc == 0)
		rc = fill_heap(searching, err);
	while (rc == 0 && searching->heap_count > 0) {
		const struct bucket *first = searching->heap[0];
		if (!take_entry(searching, &first->piece[first->at]))
			break;
		rc = advance(searching, err);
	}
	return rc;
}

/* ---- A few rows, sorted here */

static const struct bucket *bucket_of(const struct searching *searching, int64_t number)
{
	struct bucket wanted = {.number = number};
	return bsearch(&wanted, searching->buckets, searching->bucket_count,
		       sizeof *searching->buckets, compare_numbers);
}

static void sort_and_take(struct searching *searching, struct entry *entries, size_t count)
{
	if (count > 1)
		qsort_r(entries, count, sizeof *entries, compare_for_sort, searching);
	for (size_t i = 0; i < count; i++) {
		if (!take_entry(searching, &entries[i]))
			return;
	}
}

static int count_source(struct searching *searching, const char *source, int64_t *count,
			struct error *err)
{
	sqlite3_stmt *statement = NULL;
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d)", source, FEW + 1);
	int rc = prepare(searching, &sql, &statement, err);
	if (rc == 0) {
		(void)sqlite3_bind_text(statement, 1, searching->search->org, -1, SQLITE_STATIC);
		rc = store_step(searching->store, statement, "search", err);
	}
	if (rc > 0)
		*count = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement); /* a failure of a step is known already */
	buf_release(&sql);
	return rc < 0 ? rc : 0;
}

static int read_source(struct searching *searching, const struct buf *sql, struct entry *entries,
		       size_t *count, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int rc = prepare(searching, sql, &statement, err);
	if (rc < 0)
		return rc;
	(void)sqlite3_bind_text(statement, 1, searching->search->org, -1, SQLITE_STATIC);
	while ((rc = store_step(searching->store, statement, "search", err)) > 0) {
		const struct bucket *bucket =
		    bucket_of(searching, sqlite3_column_int64(statement, 0));
		if (bucket && *count < FEW)
			entries[(*count)++] = (struct entry){
			    .key = sqlite3_column_int64(statement, 1),
			    .seq = sqlite3_column_int64(statement, 2),
			    .rank = bucket->rank,
			};
	}
	(void)sqlite3_finalize(statement); /* a failure of a step is known already */
	return rc;
}

/* Answers the search from what one selective filter gives ("FROM source"), if that is few
 * rows: 1. Otherwise 0, and nothing was taken. */
static int try_source(struct searching *searching, const char *source, int but_key, int but_pair,
		      struct error *err)
{
	int64_t rows = 0;
	size_t count = 0;
	int rc = count_source(searching, source, &rows, err);
	if (rc < 0 || rows > FEW)
		return rc;
	struct entry *entries = mem_calloc(FEW, sizeof *entries);
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT c.bucket, c.%s, c.seq FROM %s",
			 key_columns[searching->search->key], source);
	append_filters(searching->search, but_key, but_pair, &sql);
	rc = read_source(searching, &sql, entries, &count, err);
	if (rc == 0)
		sort_and_take(searching, entries, count);
	buf_release(&sql);
	free(entries);
	return rc < 0 ? rc : 1;
}

static int try_few(struct searching *searching, struct error *err)
{
	static const char *const ranges[] = {
	    [SEARCH_CREATED] = "command c NOT INDEXED WHERE c.seq BETWEEN ?4 AND ?5",
	    [SEARCH_UPDATED] = "command c INDEXED BY command_updated WHERE c.bucket IN"
			       " (SELECT number FROM bucket WHERE org = ?1)"
			       " AND c.updated_at BETWEEN ?6 AND ?7",
	    [SEARCH_EXPIRES] = "command c INDEXED BY command_expires WHERE c.bucket IN"
			       " (SELECT number FROM bucket WHERE org = ?1)"
			       " AND c.expires_at BETWEEN ?8 AND ?9",
	};
	const struct search *search = searching->search;
	int rc = 0;
	qsort(searching->buckets, searching->bucket_count, sizeof *searching->buckets,
	      compare_numbers);
	for (size_t i = 0; rc == 0 && i < search->pair_count; i++) {
		char source[96];
		(void)snprintf(source, sizeof source,
			       "metadata f JOIN command c ON c.seq = f.seq WHERE f.pair = ?%zu",
			       10 + i);
		rc = try_source(searching, source, -1, (int)i, err);
	}
	for (int key = SEARCH_CREATED; rc == 0 && key <= SEARCH_EXPIRES; key++) {
		if (key != (int)search->key && is_limited(&search->range[key]))
			rc = try_source(searching, ranges[key], key, -1, err);
	}
	return rc;
}

/* ---- The whole */

static void hash_pairs(struct searching *searching)
{
	const struct search *search = searching->search;
	searching->pair_hashes = mem_calloc(search->pair_count + 1, sizeof(int64_t));
	for (size_t i = 0; i < search->pair_count; i++)
		searching->pair_hashes[i] = store_pair_hash(search->org, &search->pairs[i]);
}

static void release(struct searching *searching)
{
	for (size_t i = 0; i < searching->bucket_count; i++) {
		free(searching->buckets[i].label);
		free(searching->buckets[i].piece);
	}
	(void)sqlite3_finalize(searching->next); /* a failure of a step is known already */
	free(searching->buckets);
	free(searching->heap);
	free(searching->pair_hashes);
}

int store_search(struct store *store, const struct search *search, int64_t *seqs, size_t *count,
		 bool *has_next, struct error *err)
{
	struct searching searching = {
	    .store = store,
	    .search = search,
	    .skip = search->from,
	    .seqs = seqs,
	};
	int rc = find_buckets(&searching, err);
	if (rc == 0 && searching.bucket_count > 0) {
		rank_buckets(&searching);
		hash_pairs(&searching);
		rc = try_few(&searching, err);
		if (rc == 0)
			rc = merge(&searching, err);
	}
	*count = searching.count;
	*has_next = searching.has_next;
	release(&searching);
	return rc < 0 ? rc : 0;
}

int store_actions(struct store *store, const char *org,
		  void (*each)(void *context, const char *action), void *context, struct error *err)
{
	sqlite3_stmt *all = store_statement(store, SQL_ACTIONS, err);
	if (!all)
		return ERR_SYSTEM;
	(void)sqlite3_bind_text(all, 1, org, -1, SQLITE_STATIC);
	int rc;
	while ((rc = store_step(store, all, "list the actions", err)) > 0) {
		char action[ACTION_MAX + 1];
		store_column_text(all, 0, action, sizeof action);
		each(context, action);
	}
	(void)sqlite3_reset(all); /* the failure is known already */
	return rc;
}
