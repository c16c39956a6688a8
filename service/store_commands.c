#include "base/clock.h"
#include "service/store_internal.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	SEQ_BITS = 12, /* counter below the millisecond */
	CHANGE_SIZE = 11,
};

/* ---- Statuses */

static const char *const names[STATUS_COUNT] = {
    [STATUS_CREATED] = "CREATED", [STATUS_PENDING] = "PENDING", [STATUS_PROCESSING] = "PROCESSING",
    [STATUS_SUCCESS] = "SUCCESS", [STATUS_FAILURE] = "FAILURE", [STATUS_REJECTED] = "REJECTED",
    [STATUS_EXPIRED] = "EXPIRED", [STATUS_PURGED] = "PURGED",   [STATUS_ERROR] = "ERROR",
    [STATUS_UNSENT] = "UNSENT",
};

const char *status_name(enum command_status status)
{
	return names[status];
}

enum command_status status_find(const char *name)
{
	int status = STATUS_CREATED;
	while (status < STATUS_COUNT && strcmp(names[status], name) != 0)
		status++;
	return (enum command_status)status;
}

bool status_is_terminal(enum command_status status)
{
	return status >= STATUS_SUCCESS && status <= STATUS_ERROR;
}

/* ---- Ids: UUIDs of version 7 (RFC 9562) that hold seq and 62 random bits */

static void write_id(int64_t seq, uint64_t salt, char id[UUID_TEXT_SIZE])
{
	uint64_t time_ms = (uint64_t)seq >> SEQ_BITS;
	(void)snprintf(id, UUID_TEXT_SIZE,
		       "%08" PRIx64 "-%04" PRIx64 "-7%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
		       time_ms >> 16, time_ms & 0xFFFF, (uint64_t)seq & 0xFFF, 0x8000 | salt >> 48,
		       salt & 0xFFFFFFFFFFFF);
}

static bool is_uuid(const char *id)
{
	for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? id[i] != '-' : !isxdigit((unsigned char)id[i]))
			return false;
	}
	return id[UUID_TEXT_SIZE - 1] == '\0';
}

static uint64_t hex_digits(const char *text, size_t count)
{
	uint64_t number = 0;
	for (size_t i = 0; i < count; i++) {
		char digit = text[i];
		unsigned value =
		    digit <= '9' ? (unsigned)(digit - '0') : (unsigned)((digit | 0x20) - 'a' + 10);
		number = number << 4 | value;
	}
	return number;
}

int64_t command_seq(const char *id)
{
	if (!is_uuid(id) || id[14] != '7')
		return 0;
	uint64_t time_ms = hex_digits(id, 8) << 16 | hex_digits(id + 9, 4);
	return (int64_t)(time_ms << SEQ_BITS | hex_digits(id + 15, 3));
}

int64_t store_seq_of(int64_t time_ms)
{
	return time_ms << SEQ_BITS;
}

/* Later than every other, also when the clock was set back. */
static int64_t next_seq(struct store *store)
{
	int64_t seq = store_seq_of(clock_now_ms());
	if (seq <= store->last_seq)
		seq = store->last_seq + 1;
	store->last_seq = seq;
	return seq;
}

/* ---- Rows */

int store_bucket(struct store *store, const struct command *command, int64_t *bucket,
		 struct error *err)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		sqlite3_stmt *find =
		    store_statement(store, attempt == 0 ? SQL_BUCKET_FIND : SQL_BUCKET_ADD, err);
		if (!find)
			return ERR_SYSTEM;
		(void)sqlite3_bind_text(find, 1, command->org, -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(find, 2, command->target, -1, SQLITE_STATIC);
		(void)sqlite3_bind_int(find, 3, (int)command->status);
		(void)sqlite3_bind_text(find, 4, command->action, -1, SQLITE_STATIC);
		int rc = store_step(store, find, "sort a command in", err);
		*bucket =
		    rc > 0 ? sqlite3_column_int64(find, 0) : sqlite3_last_insert_rowid(store->db);
		(void)sqlite3_reset(find); /* the failure is known already */
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	return 0;
}

static void note_change(struct command *command, enum command_event event, int64_t at_ms)
{
	if (command->change_count == HISTORY_MAX) {
		command->change_count--;
		memmove(command->changes, command->changes + 1,
			command->change_count * sizeof command->changes[0]);
	}
	command->changes[command->change_count++] = (struct command_change){
	    .at_ms = at_ms,
	    .event = (uint8_t)event,
	    .status = (uint8_t)command->status,
	    .attempt = (uint8_t)command->attempt,
	};
}

static size_t pack_changes(const struct command *command, uint8_t *packed)
{
	for (size_t i = 0; i < command->change_count; i++) {
		const struct command_change *change = &command->changes[i];
		for (int byte = 0; byte < 8; byte++)
			*packed++ = (uint8_t)((uint64_t)change->at_ms >> (56 - 8 * byte));
		*packed++ = change->event;
		*packed++ = change->status;
		*packed++ = change->attempt;
	}
	return command->change_count * CHANGE_SIZE;
}

static void unpack_changes(const uint8_t *packed, size_t size, struct command *command)
{
	command->change_count = size / CHANGE_SIZE;
	if (command->change_count > HISTORY_MAX)
		command->change_count = HISTORY_MAX;
	for (size_t i = 0; i < command->change_count; i++) {
		uint64_t at_ms = 0;
		for (int byte = 0; byte < 8; byte++)
			at_ms = at_ms << 8 | *packed++;
		command->changes[i].at_ms = (int64_t)at_ms;
		command->changes[i].event = *packed++;
		command->changes[i].status = *packed++;
		command->changes[i].attempt = *packed++;
	}
}

static void read_command(sqlite3_stmt *row, struct command *command)
{
	command->seq = sqlite3_column_int64(row, 0);
	write_id(command->seq, (uint64_t)sqlite3_column_int64(row, 1), command->id);
	store_column_text(row, 2, command->org, sizeof command->org);
	store_column_text(row, 3, command->target, sizeof command->target);
	store_column_text(row, 4, command->action, sizeof command->action);
	command->status = (enum command_status)sqlite3_column_int(row, 5);
	command->created_ms = command->seq >> SEQ_BITS;
	command->updated_ms = sqlite3_column_int64(row, 6);
	command->expires_ms = sqlite3_column_int64(row, 7);
	command->due_ms = sqlite3_column_int64(row, 8);
	command->attempt = sqlite3_column_int(row, 9);
	command->delivery = (enum command_delivery)sqlite3_column_int(row, 10);
	command->response = (enum command_response)sqlite3_column_int(row, 11);
	memset(command->receipt, 0, RECEIPT_SIZE);
	if (sqlite3_column_bytes(row, 12) == RECEIPT_SIZE)
		memcpy(command->receipt, sqlite3_column_blob(row, 12), RECEIPT_SIZE);
	unpack_changes(sqlite3_column_blob(row, 13), (size_t)sqlite3_column_bytes(row, 13),
		       command);
	command->creator = sqlite3_column_int64(row, 14);
	store_column_text(row, 15, command->created_by, sizeof command->created_by);
	command->payload_size = (size_t)sqlite3_column_int64(row, 16);
}

int store_command_get(struct store *store, int64_t seq, struct command *command, struct error *err)
{
	sqlite3_stmt *get = store_statement(store, SQL_COMMAND_GET, err);
	if (!get)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(get, 1, seq);
	int rc = store_step(store, get, "read a command", err);
	if (rc > 0)
		read_command(get, command);
	(void)sqlite3_reset(get); /* the failure is known already */
	if (rc == 0)
		return error_set(err, ERR_NOT_FOUND, "no such command");
	return rc < 0 ? rc : 0;
}

int store_command_find(struct store *store, const char *org, const char *id,
		       struct command *command, struct error *err)
{
	int64_t seq = command_seq(id);
	int rc = seq > 0 ? store_command_get(store, seq, command, err) : ERR_NOT_FOUND;
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	bool is_same =
	    rc == 0 && strcasecmp(command->id, id) == 0 && (!org || strcmp(command->org, org) == 0);
	if (is_same)
		return 0;
	return error_set(err, ERR_NOT_FOUND, "Command with ID %s not found", id);
}

static void bind_time(sqlite3_stmt *statement, int index, int64_t time_ms)
{
	if (time_ms > 0)
		(void)sqlite3_bind_int64(statement, index, time_ms);
}

int store_command_save(struct store *store, const struct command *command, struct error *err)
{
	uint8_t changes[HISTORY_MAX * CHANGE_SIZE];
	int64_t bucket = 0;
	int rc = store_write(store, err);
	if (rc == 0)
		rc = store_bucket(store, command, &bucket, err);
	if (rc < 0)
		return rc;
	sqlite3_stmt *update = store_statement(store, SQL_COMMAND_UPDATE, err);
	if (!update)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(update, 1, command->seq);
	(void)sqlite3_bind_int64(update, 2, bucket);
	(void)sqlite3_bind_int64(update, 3, command->updated_ms);
	bind_time(update, 4, command->due_ms);
	(void)sqlite3_bind_int(update, 5, command->attempt);
	(void)sqlite3_bind_int(update, 6, (int)command->response);
	(void)sqlite3_bind_blob(update, 7, command->receipt, RECEIPT_SIZE, SQLITE_STATIC);
	(void)sqlite3_bind_blob(update, 8, changes, (int)pack_changes(command, changes),
				SQLITE_STATIC);
	return store_run(store, update, "store a status", err);
}

int store_command_change(struct store *store, struct command *command, enum command_status status,
			 enum command_event event, int64_t now_ms, int64_t due_ms,
			 struct error *err)
{
	assert(!status_is_terminal(command->status));
	command->status = status;
	command->updated_ms = now_ms;
	command->due_ms = due_ms;
	note_change(command, event, now_ms);
	int rc = store_command_save(store, command, err);
	if (rc < 0)
		return rc;
	if (status == STATUS_PENDING)
		store->observer.on_pending(store->observer.context, command->org, command->target);
	else if (status_is_terminal(status))
		store->observer.on_end(store->observer.context, command->seq);
	return 0;
}

/* ---- New commands */

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
	bind_time(add, 7, command->due_ms);
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
	command->created_ms = command->seq >> SEQ_BITS;
	command->updated_ms = command->created_ms;
	command->due_ms = command->expires_ms;
	command->status = STATUS_PENDING;
	command->payload_size = new_->payload.size;
	write_id(command->seq, salt, command->id);
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

/* ---- Texts */

static struct span column_span(sqlite3_stmt *row, int column)
{
	const char *text = sqlite3_column_blob(row, column);
	return (struct span){text, text ? (size_t)sqlite3_column_bytes(row, column) : 0};
}

int store_texts_begin(struct store *store, int64_t seq, struct command_texts *texts,
		      struct error *err)
{
	sqlite3_stmt *get = store_statement(store, SQL_TEXTS, err);
	if (!get)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(get, 1, seq);
	int rc = store_step(store, get, "read a payload", err);
	if (rc > 0) {
		texts->payload = column_span(get, 0);
		texts->metadata = column_span(get, 1);
		texts->response = column_span(get, 2);
		return 0;
	}
	(void)sqlite3_reset(get); /* the failure is known already */
	return rc < 0 ? rc : error_set(err, ERR_NOT_FOUND, "the command has gone");
}

void store_texts_end(struct store *store)
{
	(void)sqlite3_reset(store->statements[SQL_TEXTS]); /* a failure was reported by begin */
}
