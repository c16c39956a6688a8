#include "base/mem.h"
#include "service/store_search.h"

enum {
	PIECE_MAX = 64, /* rows read from a bucket at once */
	PIECE_MIN = 4,
	ROOM = 65536, /* rows held over all buckets */
};

/* About as many rows in all as the page needs, some for each bucket; less where a filter
 * makes each of them dear. */
static size_t choose_piece(const struct searching *searching)
{
	const struct search *search = searching->search;
	size_t buckets = searching->bucket_count;
	size_t piece = 4 * (search->from + search->size) / buckets;
	if (piece > ROOM / buckets)
		piece = ROOM / buckets;
	if (piece > PIECE_MAX)
		piece = PIECE_MAX;
	return piece < PIECE_MIN || search->pair_count > 0 ? PIECE_MIN : piece;
}

static int prepare_next(struct searching *searching, struct error *err)
{
	const struct search *search = searching->search;
	const char *column = search_columns[search->key];
	const char *direction = search->is_ascending ? "ASC" : "DESC";
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT c.%s, c.seq FROM command c WHERE c.bucket = ?1", column);
	if (search->key == SEARCH_CREATED)
		(void)buf_printf(&sql, " AND c.seq %s ?2", search->is_ascending ? ">" : "<");
	else
		(void)buf_printf(&sql, " AND (c.%s, c.seq) %s (?2, ?3)", column,
				 search->is_ascending ? ">" : "<");
	search_append_filters(search, -1, -1, &sql);
	(void)buf_printf(&sql, " ORDER BY c.%s %s, c.seq %s LIMIT %zu", column, direction,
			 direction, searching->piece);
	int rc = search_prepare(searching, &sql, &searching->next, err);
	buf_release(&sql);
	return rc;
}

/* Where a bucket's rows go on: behind the last that was read, or at the end of the range. */
static void bind_start(struct searching *searching, const struct bucket *bucket)
{
	struct search_range range = search_column_range(searching->search, searching->search->key);
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
	return search_compare(searching, &left->piece[left->at], &right->piece[right->at]) < 0;
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

int search_merge(struct searching *searching, struct error *err)
{
	searching->piece = choose_piece(searching);
	int rc = prepare_next(searching, err);
	if (rc == 0)
		rc = fill_heap(searching, err);
	while (rc == 0 && searching->heap_count > 0) {
		const struct bucket *first = searching->heap[0];
		if (!search_take(searching, &first->piece[first->at]))
			break;
		rc = advance(searching, err);
	}
	return rc;
}
