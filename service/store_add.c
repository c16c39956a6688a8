#include "base/clock.h"
#include "service/store_internal.h"

#include <string.h>

/* Later than every other, also when the clock was set back. */
static int64_t next_seq(struct store *store)
{
	int64_t seq = store_seq_of(clock_now_ms());
	if (seq <= store->last_seq)
		seq = store->last_seq + 1;
	store->last_seq = seq;
	return seq;
}

int64_t store_pair_hash(const char *org, const struct metadata_pair *pair)
{
	uint8_t digest[SHA256_SIZE];
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	(void)buf_append(&text, org, strlen(org) + 1);
	(void)buf_append(&text, pair->key, strlen(pair->key) + 1);
	(void)buf_append_str(&text, pair->value);
	digest_sha256(buf_str(&text), text.size, digest);
	buf_release(&text);
	uint64_t hash = 0;
	for (int byte = 0; byte < 8; byte++)
		hash = hash << 8 | digest[byte];
	return (int64_t)hash;
}

int metadata_texts(struct span key, struct span value, struct buf *name, struct buf *text,
		   struct error *err)
{
	int rc = span_decode(key, name, err);
	if (rc < 0 || span_is_string(value))
		return rc < 0 ? rc : span_decode(value, text, err);
	(void)buf_append(text, value.text, value.size);
	return buf_check(text, "metadata", err);
}

static int add_row(struct store *store, const struct command *command, uint64_t salt,
		   struct error *err)
{
	int64_t bucket = 0;
	int rc = store_bucket(store, command, &bucket, err);
	if (rc < 0)
		return rc;
	sqlite3_stmt *add = store_statement(store, SQL_COMMAND_ADD, err);
	if (!add)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(add, 1, command->seq);
	(void)sqlite3_bind_int64(add, 2, (int64_t)salt);
	(void)sqlite3_bind_int64(add, 3, bucket);
	(void)sqlite3_bind_int64(add, 4, command->creator);
	(void)sqlite3_bind_int64(add, 5, command->updated_ms);
	(void)sqlite3_bind_int64(add, 6, command->expires_ms);
	store_bind_time(add, 7, command->due_ms);
	(void)sqlite3_bind_int(add, 8, (int)command->delivery);
	return store_run(store, add, "store a command", err);
}

static int add_texts(struct store *store, int64_t seq, const struct command_new *new_,
		     struct error *err)
{
	sqlite3_stmt *add = store_statement(store, SQL_REQUEST_ADD, err);
	if (!add)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(add, 1, seq);
	(void)sqlite3_bind_blob64(add, 2, new_->payload.text, new_->payload.size, SQLITE_STATIC);
	if (new_->pair_count > 0)
		(void)sqlite3_bind_blob64(add, 3, new_->metadata.text, new_->metadata.size,
					  SQLITE_STATIC);
	return store_run(store, add, "store a payload", err);
}

static int add_pairs(struct store *store, const char *org, int64_t seq,
		     const struct command_new *new_, struct error *err)
{
	for (size_t i = 0; i < new_->pair_count; i++) {
		sqlite3_stmt *add = store_statement(store, SQL_METADATA_ADD, err);
		if (!add)
			return ERR_SYSTEM;
		(void)sqlite3_bind_int64(add, 1, store_pair_hash(org, &new_->pairs[i]));
		(void)sqlite3_bind_int64(add, 2, seq);
		int rc = store_run(store, add, "store metadata", err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_key(struct store *store, const char *org, int64_t seq,
		   const struct command_new *new_, struct error *err)
{
	sqlite3_stmt *put = new_->key ? store_statement(store, SQL_KEY_PUT, err) : NULL;
	if (!put)
		return new_->key ? ERR_SYSTEM : 0;
	(void)sqlite3_bind_int64(put, 1, seq);
	(void)sqlite3_bind_text(put, 2, org, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(put, 3, new_->key, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob(put, 4, new_->key_digest, SHA256_SIZE, SQLITE_STATIC);
	return store_run(store, put, "store an Idempotency-Key", err);
}

int store_command_add(struct store *store, struct command *command, const struct command_new *new_,
		      struct error *err)
{
	uint64_t salt = random_below(UINT64_C(1) << 62);
	int rc = store_write(store, err);
	if (rc < 0)
		return rc;
	command->seq = next_seq(store);
	command->created_ms = command->seq >> STORE_SEQ_BITS;
	command->updated_ms = command->created_ms;
	command->due_ms = command->expires_ms;
	command->status = STATUS_PENDING;
	command->payload_size = new_->payload.size;
	store_id_write(command->seq, salt, command->id);
	rc = add_row(store, command, salt, err);
	if (rc == 0)
		rc = add_texts(store, command->seq, new_, err);
	if (rc == 0)
		rc = add_pairs(store, command->org, command->seq, new_, err);
	if (rc == 0)
		rc = add_key(store, command->org, command->seq, new_, err);
	if (rc == 0)
		store->observer.on_pending(store->observer.context, command->org, command->target);
	return rc;
}

int store_key_find(struct store *store, const char *org, const char *key, int64_t now_ms,
		   int64_t *seq, uint8_t digest[SHA256_SIZE], struct error *err)
{
	sqlite3_stmt *find = store_statement(store, SQL_KEY_FIND, err);
	if (!find)
		return ERR_SYSTEM;
	(void)sqlite3_bind_text(find, 1, org, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(find, 2, key, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(find, 3, store_seq_of(now_ms - KEY_LIFE_MS));
	int rc = store_step(store, find, "look an Idempotency-Key up", err);
	if (rc > 0) {
		*seq = sqlite3_column_int64(find, 0);
		memcpy(digest, sqlite3_column_blob(find, 1), SHA256_SIZE);
	}
	(void)sqlite3_reset(find); /* the failure is known already */
	if (rc == 0)
		return error_set(err, ERR_NOT_FOUND, "a new Idempotency-Key");
	return rc < 0 ? rc : 0;
}
