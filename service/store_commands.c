#include "service/store_internal.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

enum { CHANGE_SIZE = 11 };

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
	store_id_write(command->seq, (uint64_t)sqlite3_column_int64(row, 1), command->id);
	store_column_text(row, 2, command->org, sizeof command->org);
	store_column_text(row, 3, command->target, sizeof command->target);
	store_column_text(row, 4, command->action, sizeof command->action);
	command->status = (enum command_status)sqlite3_column_int(row, 5);
	command->created_ms = command->seq >> STORE_SEQ_BITS;
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

void store_bind_time(sqlite3_stmt *statement, int index, int64_t time_ms)
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
	store_bind_time(update, 4, command->due_ms);
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
	/* A clock that was set back: never changed before it was created. */
	command->updated_ms = now_ms > command->created_ms ? now_ms : command->created_ms;
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
