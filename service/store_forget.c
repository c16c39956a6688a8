#include "service/store_internal.h"

#include <stdlib.h>

static int delete_row(struct store *store, enum statement which, int64_t seq, struct error *err)
{
	sqlite3_stmt *delete = store_statement(store, which, err);
	if (!delete)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(delete, 1, seq);
	return store_run(store, delete, "forget a command", err);
}

static int delete_pair(struct store *store, const char *org, struct span key, struct span value,
		       int64_t seq, struct error *err)
{
	struct buf name = BUF_INIT(SIZE_MAX / 2);
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	int rc = metadata_texts(key, value, &name, &text, err);
	struct metadata_pair pair = {buf_str(&name), buf_str(&text)};
	sqlite3_stmt *delete = rc == 0 ? store_statement(store, SQL_FORGET_METADATA, err) : NULL;
	if (rc == 0 && !delete)
		rc = ERR_SYSTEM;
	if (delete) {
		(void)sqlite3_bind_int64(delete, 1, store_pair_hash(org, &pair));
		(void)sqlite3_bind_int64(delete, 2, seq);
		rc = store_run(store, delete, "forget metadata", err);
	}
	buf_release(&name);
	buf_release(&text);
	return rc;
}

static int delete_metadata(struct store *store, int64_t seq, struct error *err)
{
	struct command command;
	struct command_texts texts = {0};
	struct span key, value;
	int rc = store_command_get(store, seq, &command, err);
	if (rc == 0)
		rc = store_texts_begin(store, seq, &texts, err);
	if (rc < 0)
		return rc;
	if (texts.metadata.text) {
		struct span_cursor cursor = span_begin(texts.metadata);
		while (rc == 0 && span_next(&cursor, &key, &value))
			rc = delete_pair(store, command.org, key, value, seq, err);
	}
	store_texts_end(store);
	return rc;
}

static int forget_one(struct store *store, int64_t seq, struct error *err)
{
	int rc = delete_metadata(store, seq, err);
	if (rc == 0)
		rc = delete_row(store, SQL_FORGET_REQUEST, seq, err);
	if (rc == 0)
		rc = delete_row(store, SQL_FORGET_RESPONSE, seq, err);
	if (rc == 0)
		rc = delete_row(store, SQL_FORGET_COMMAND, seq, err);
	return rc;
}

struct forgetting {
	int64_t cutoff_ms;
	size_t max;
	bool has_files;
	struct numbers seqs;
};

static int find_forgettable(struct store *store, struct forgetting *forgetting, int64_t bucket,
			    struct error *err)
{
	sqlite3_stmt *find = store_statement(store, SQL_FORGET_FIND, err);
	if (!find)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(find, 1, bucket);
	(void)sqlite3_bind_int64(find, 2, forgetting->cutoff_ms);
	(void)sqlite3_bind_int64(find, 3, (int64_t)(forgetting->max - forgetting->seqs.count));
	int rc;
	while ((rc = store_step(store, find, "find old commands", err)) > 0) {
		numbers_add(&forgetting->seqs, sqlite3_column_int64(find, 0));
		forgetting->has_files |= sqlite3_column_int(find, 1) == RESPONSE_FILE;
	}
	(void)sqlite3_reset(find); /* the failure is known already */
	return rc;
}

static int find_in_buckets(struct store *store, struct forgetting *forgetting, struct error *err)
{
	struct numbers buckets = {0};
	sqlite3_stmt *terminal = store_statement(store, SQL_BUCKET_TERMINAL, err);
	if (!terminal)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int(terminal, 1, STATUS_SUCCESS);
	int rc = numbers_collect(store, terminal, &buckets, err);
	for (size_t i = 0; rc == 0 && i < buckets.count; i++) {
		if (forgetting->seqs.count < forgetting->max)
			rc = find_forgettable(store, forgetting, buckets.items[i], err);
	}
	free(buckets.items);
	return rc;
}

/* Buckets that no command is in any more. */
static int forget_buckets(struct store *store, struct error *err)
{
	struct numbers buckets = {0};
	sqlite3_stmt *empty = store_statement(store, SQL_BUCKET_EMPTY, err);
	int rc = empty ? numbers_collect(store, empty, &buckets, err) : ERR_SYSTEM;
	if (rc == 0 && buckets.count > 0)
		rc = store_write(store, err);
	for (size_t i = 0; rc == 0 && i < buckets.count; i++)
		rc = delete_row(store, SQL_BUCKET_DELETE, buckets.items[i], err);
	free(buckets.items);
	return rc;
}

static int forget_keys(struct store *store, int64_t now_ms, size_t max, size_t *count,
		       struct error *err)
{
	sqlite3_stmt *forget = store_statement(store, SQL_KEY_FORGET, err);
	int rc = forget ? store_write(store, err) : ERR_SYSTEM;
	if (rc < 0)
		return rc;
	(void)sqlite3_bind_int64(forget, 1, store_seq_of(now_ms - KEY_LIFE_MS));
	(void)sqlite3_bind_int64(forget, 2, (int64_t)max);
	rc = store_run(store, forget, "forget an Idempotency-Key", err);
	*count += (size_t)sqlite3_changes(store->db);
	return rc;
}

int store_forget(struct store *store, int64_t now_ms, int64_t cutoff_ms, size_t max,
		 bool *has_files, size_t *count, struct error *err)
{
	struct forgetting forgetting = {.cutoff_ms = cutoff_ms, .max = max};
	int rc = find_in_buckets(store, &forgetting, err);
	if (rc == 0 && forgetting.seqs.count > 0)
		rc = store_write(store, err);
	for (size_t i = 0; rc == 0 && i < forgetting.seqs.count; i++)
		rc = forget_one(store, forgetting.seqs.items[i], err);
	*has_files |= forgetting.has_files;
	*count = forgetting.seqs.count;
	free(forgetting.seqs.items);
	if (rc == 0)
		rc = forget_keys(store, now_ms, max, count, err);
	if (rc == 0 && *count == 0)
		rc = forget_buckets(store, err);
	return rc;
}
