#include "base/mem.h"
#include "service/store_search.h"

#include <stdio.h>
#include <stdlib.h>

enum { FEW = 20000 };

/* How many rows are rather sorted here. */
static size_t few_of(const struct searching *searching)
{
	return searching->search->few ? searching->search->few : FEW;
}

static int compare_numbers(const void *left, const void *right)
{
	const struct bucket *a = left;
	const struct bucket *b = right;
	return (a->number > b->number) - (a->number < b->number);
}

static int compare_for_sort(const void *left, const void *right, void *context)
{
	return search_compare(context, left, right);
}

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
		if (!search_take(searching, &entries[i]))
			return;
	}
}

static int count_source(struct searching *searching, const char *source, int64_t *count,
			struct error *err)
{
	sqlite3_stmt *statement = NULL;
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %zu)", source,
			 few_of(searching) + 1);
	int rc = search_prepare(searching, &sql, &statement, err);
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
	int rc = search_prepare(searching, sql, &statement, err);
	if (rc < 0)
		return rc;
	(void)sqlite3_bind_text(statement, 1, searching->search->org, -1, SQLITE_STATIC);
	while ((rc = store_step(searching->store, statement, "search", err)) > 0) {
		const struct bucket *bucket =
		    bucket_of(searching, sqlite3_column_int64(statement, 0));
		if (bucket && *count < few_of(searching))
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
 * rows (counted "FROM counted"): 1. Otherwise 0, and nothing was taken. */
static int try_source(struct searching *searching, const char *counted, const char *source,
		      int but_key, int but_pair, struct error *err)
{
	int64_t rows = 0;
	size_t count = 0;
	int rc = count_source(searching, counted, &rows, err);
	if (rc < 0 || rows > (int64_t)few_of(searching))
		return rc;
	struct entry *entries = mem_calloc(few_of(searching), sizeof *entries);
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql, "SELECT c.bucket, c.%s, c.seq FROM %s",
			 search_columns[searching->search->key], source);
	search_append_filters(searching->search, but_key, but_pair, &sql);
	rc = read_source(searching, &sql, entries, &count, err);
	if (rc == 0)
		sort_and_take(searching, entries, count);
	buf_release(&sql);
	free(entries);
	return rc < 0 ? rc : 1;
}

/* The metadata index is in the order of creation: where that is the search's order too, its
 * rows are taken one by one, however many there are. */
static int take_in_order(struct searching *searching, size_t pair, struct error *err)
{
	const struct search *search = searching->search;
	sqlite3_stmt *statement = NULL;
	struct buf sql = BUF_INIT(64 * 1024);
	(void)buf_printf(&sql,
			 "SELECT c.bucket, c.seq FROM metadata f CROSS JOIN command c"
			 " ON c.seq = f.seq WHERE f.pair = ?%zu AND f.seq BETWEEN ?4 AND ?5",
			 10 + pair);
	search_append_filters(search, SEARCH_CREATED, (int)pair, &sql);
	(void)buf_printf(&sql, " ORDER BY f.seq %s", search->is_ascending ? "ASC" : "DESC");
	int rc = search_prepare(searching, &sql, &statement, err);
	buf_release(&sql);
	while (rc == 0 && (rc = store_step(searching->store, statement, "search", err)) > 0) {
		struct entry entry = {.seq = sqlite3_column_int64(statement, 1)};
		rc = 0;
		if (bucket_of(searching, sqlite3_column_int64(statement, 0)) &&
		    !search_take(searching, &entry))
			break;
	}
	(void)sqlite3_finalize(statement); /* a failure of a step is known already */
	return rc < 0 ? rc : 1;
}

static int try_pair(struct searching *searching, size_t pair, struct error *err)
{
	const struct search *search = searching->search;
	char counted[64];
	char source[96];
	(void)snprintf(counted, sizeof counted, "metadata f WHERE f.pair = ?%zu", 10 + pair);
	(void)snprintf(source, sizeof source,
		       "metadata f JOIN command c ON c.seq = f.seq WHERE f.pair = ?%zu", 10 + pair);
	int rc = try_source(searching, counted, source, -1, (int)pair, err);
	bool is_in_order = search->key == SEARCH_CREATED && search->group == GROUP_NONE;
	bool is_last = pair + 1 == search->pair_count; /* none of them was selective */
	return rc == 0 && is_in_order && is_last ? take_in_order(searching, pair, err) : rc;
}

int search_try_few(struct searching *searching, struct error *err)
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
	for (int key = SEARCH_CREATED; rc == 0 && key <= SEARCH_EXPIRES; key++) {
		if (key != (int)search->key && search_is_limited(&search->range[key]))
			rc = try_source(searching, ranges[key], ranges[key], key, -1, err);
	}
	for (size_t i = 0; rc == 0 && i < search->pair_count; i++)
		rc = try_pair(searching, i, err);
	return rc;
}
