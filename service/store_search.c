#include "service/store_search.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const search_columns[] = {
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

/* ---- Order */

int search_compare(const struct searching *searching, const struct entry *a, const struct entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	int order = (a->key > b->key) - (a->key < b->key);
	if (order == 0)
		order = (a->seq > b->seq) - (a->seq < b->seq);
	return searching->search->is_ascending ? order : -order;
}

bool search_take(struct searching *searching, const struct entry *entry)
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

/* ---- Filters as SQL */

bool search_is_limited(const struct search_range *range)
{
	return range->from != INT64_MIN || range->to != INT64_MAX;
}

struct search_range search_column_range(const struct search *search, enum search_key key)
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

void search_append_filters(const struct search *search, int but_key, int but_pair, struct buf *sql)
{
	for (int key = SEARCH_CREATED; key <= SEARCH_EXPIRES; key++) {
		if (key == but_key || !search_is_limited(&search->range[key]))
			continue;
		(void)buf_printf(sql, " AND c.%s BETWEEN ?%d AND ?%d", search_columns[key],
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
		struct search_range range = search_column_range(search, (enum search_key)key);
		if (4 + 2 * key <= limit)
			(void)sqlite3_bind_int64(statement, 4 + 2 * key, range.from);
		if (5 + 2 * key <= limit)
			(void)sqlite3_bind_int64(statement, 5 + 2 * key, range.to);
	}
	for (size_t i = 0; i < search->pair_count && 10 + (int)i <= limit; i++)
		(void)sqlite3_bind_int64(statement, 10 + (int)i, searching->pair_hashes[i]);
}

int search_prepare(struct searching *searching, const struct buf *sql, sqlite3_stmt **statement,
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

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A command is never changed before it is created: what a range says about one time says
 * something about the other, and spares reading in the wrong place. */
static struct search narrow(const struct search *search)
{
	struct search narrowed = *search;
	struct search_range *created = &narrowed.range[SEARCH_CREATED];
	struct search_range *updated = &narrowed.range[SEARCH_UPDATED];
	created->to = lesser(created->to, updated->to);
	if (search->key == SEARCH_UPDATED)
		updated->from = greater(updated->from, created->from);
	return narrowed;
}

int store_search(struct store *store, const struct search *wanted, int64_t *seqs, size_t *count,
		 bool *has_next, struct error *err)
{
	const struct search narrowed = narrow(wanted);
	const struct search *search = &narrowed;
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
		rc = search_try_few(&searching, err);
		if (rc == 0)
			rc = search_merge(&searching, err);
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
