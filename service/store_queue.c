#include "base/mem.h"
#include "service/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare_numbers(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left;
	int64_t b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

static int pending_buckets(struct store *store, const char *org, const char *target,
			   struct numbers *buckets, struct error *err)
{
	sqlite3_stmt *find = store_statement(store, SQL_BUCKET_PENDING, err);
	if (!find)
		return ERR_SYSTEM;
	(void)sqlite3_bind_text(find, 1, org, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(find, 2, target, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int(find, 3, STATUS_PENDING);
	return numbers_collect(store, find, buckets, err);
}

/* The oldest pending commands of a target over all its actions, at most max. */
static int oldest_pending(struct store *store, const char *org, const char *target, size_t max,
			  struct numbers *seqs, struct error *err)
{
	struct numbers buckets = {0};
	int rc = pending_buckets(store, org, target, &buckets, err);
	for (size_t i = 0; rc == 0 && i < buckets.count; i++) {
		sqlite3_stmt *oldest = store_statement(store, SQL_COMMAND_OLDEST, err);
		if (!oldest) {
			rc = ERR_SYSTEM;
			break;
		}
		(void)sqlite3_bind_int64(oldest, 1, buckets.items[i]);
		(void)sqlite3_bind_int64(oldest, 2, (int64_t)max);
		rc = numbers_collect(store, oldest, seqs, err);
	}
	free(buckets.items);
	if (seqs->count > 1)
		qsort(seqs->items, seqs->count, sizeof *seqs->items, compare_numbers);
	if (seqs->count > max)
		seqs->count = max;
	return rc;
}

/* ---- Delivery */

/* Expired commands ended by one receive: some milliseconds. */
enum { EXPIRE_MAX = 500 };

static int deliver(struct store *store, struct command *command, int64_t now_ms, int64_t lease_ms,
		   struct error *err)
{
	command->attempt++;
	random_bytes(command->receipt, RECEIPT_SIZE);
	return store_command_change(store, command, STATUS_PROCESSING, EVENT_DELIVERED, now_ms,
				    now_ms + lease_ms, err);
}

struct receiving {
	int64_t now_ms;
	const struct receive_limits *limits;
	size_t bytes;
	struct command *commands;
	size_t count;
	size_t expired;
	bool is_full;
};

/* One command: delivered, expired, or left for the next time. */
static int receive_one(struct store *store, struct receiving *receiving, int64_t seq,
		       struct error *err)
{
	struct command *command = &receiving->commands[receiving->count];
	int rc = store_command_get(store, seq, command, err);
	if (rc < 0)
		return rc;
	if (command->expires_ms <= receiving->now_ms) {
		receiving->expired++;
		return store_command_change(store, command, STATUS_EXPIRED, EVENT_EXPIRED_WAITING,
					    receiving->now_ms, 0, err);
	}
	size_t bytes = command->delivery == DELIVERY_EMBEDDED ? command->payload_size : 0;
	if (receiving->count > 0 && receiving->bytes + bytes > receiving->limits->max_bytes) {
		receiving->is_full = true;
		return 0;
	}
	rc = deliver(store, command, receiving->now_ms, receiving->limits->lease_ms, err);
	if (rc < 0)
		return rc;
	receiving->bytes += bytes;
	receiving->count++;
	return 0;
}

static int receive_all(struct store *store, struct receiving *receiving, const char *org,
		       const char *target, struct error *err)
{
	size_t max = receiving->limits->max;
	struct numbers seqs = {0};
	int rc;
	/* Again where all that was found had expired: younger ones may wait behind them. But after
	 * a long stop these may be a million, and nobody else is served meanwhile. */
	do {
		seqs.count = 0;
		rc = oldest_pending(store, org, target, max, &seqs, err);
		if (rc == 0 && seqs.count > 0 && !receiving->commands)
			receiving->commands = mem_calloc(max, sizeof *receiving->commands);
		for (size_t i = 0; rc == 0 && i < seqs.count && !receiving->is_full; i++)
			rc = receive_one(store, receiving, seqs.items[i], err);
	} while (rc == 0 && seqs.count > 0 && receiving->count == 0 &&
		 receiving->expired < EXPIRE_MAX);
	free(seqs.items);
	receiving->is_full |= seqs.count == max || (seqs.count > 0 && receiving->count == 0);
	return rc;
}

int store_receive(struct store *store, const char *org, const char *target, int64_t now_ms,
		  const struct receive_limits *limits, struct command **commands, size_t *count,
		  bool *has_more, struct error *err)
{
	struct receiving receiving = {.now_ms = now_ms, .limits = limits};
	int rc = receive_all(store, &receiving, org, target, err);
	if (rc < 0 || receiving.count == 0) {
		free(receiving.commands);
		receiving.commands = NULL;
	}
	if (rc < 0)
		return rc;
	*commands = receiving.commands;
	*count = receiving.count;
	*has_more = receiving.is_full;
	return 0;
}

int store_undeliver(struct store *store, const struct command *delivered, int64_t now_ms,
		    struct error *err)
{
	struct command command;
	int rc = store_command_get(store, delivered->seq, &command, err);
	if (rc < 0)
		return rc;
	if (command.status != STATUS_PROCESSING ||
	    memcmp(command.receipt, delivered->receipt, RECEIPT_SIZE) != 0)
		return 0; /* something else has happened to it since */
	command.attempt--;
	command.status = STATUS_PENDING;
	command.updated_ms = now_ms > command.created_ms ? now_ms : command.created_ms;
	command.due_ms = command.expires_ms;
	random_bytes(command.receipt, RECEIPT_SIZE);
	if (command.change_count > 0)
		command.change_count--;
	rc = store_command_save(store, &command, err);
	if (rc == 0)
		store->observer.on_pending(store->observer.context, command.org, command.target);
	return rc;
}

int store_extend(struct store *store, struct command *command, int64_t due_ms, struct error *err)
{
	assert(command->status == STATUS_PROCESSING);
	command->due_ms = due_ms;
	return store_command_save(store, command, err);
}

/* ---- Ends */

static int put_response(struct store *store, int64_t seq, struct span body, struct error *err)
{
	sqlite3_stmt *put = store_statement(store, SQL_RESPONSE_PUT, err);
	if (!put)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(put, 1, seq);
	(void)sqlite3_bind_blob64(put, 2, body.text, body.size, SQLITE_STATIC);
	return store_run(store, put, "store an answer", err);
}

int store_command_end(struct store *store, struct command *command, enum command_status status,
		      enum command_event event, int64_t now_ms, enum command_response response,
		      struct span body, struct error *err)
{
	int rc = store_write(store, err);
	if (rc == 0 && response == RESPONSE_INLINE)
		rc = put_response(store, command->seq, body, err);
	if (rc < 0)
		return rc;
	command->response = response;
	return store_command_change(store, command, status, event, now_ms, 0, err);
}

int store_purge(struct store *store, const char *org, const char *target, int64_t now_ms,
		size_t max, char (*ids)[UUID_TEXT_SIZE], size_t *count, struct error *err)
{
	struct numbers seqs = {0};
	struct command command;
	int rc = oldest_pending(store, org, target, max, &seqs, err);
	size_t i = 0;
	for (; rc == 0 && i < seqs.count; i++) {
		rc = store_command_get(store, seqs.items[i], &command, err);
		if (rc == 0)
			rc = store_command_change(store, &command, STATUS_PURGED, EVENT_PURGED,
						  now_ms, 0, err);
		memcpy(ids[i], command.id, UUID_TEXT_SIZE);
	}
	free(seqs.items);
	*count = i;
	return rc;
}

/* ---- Time */

/* A waiting command whose life has ended, or one under way whose lease has. */
static int run_one(struct store *store, struct command *command, int64_t now_ms,
		   int64_t max_attempts, struct error *err)
{
	bool is_expired = command->expires_ms <= now_ms;
	if (command->status == STATUS_PENDING)
		return store_command_change(store, command, STATUS_EXPIRED, EVENT_EXPIRED_WAITING,
					    now_ms, 0, err);
	if (is_expired)
		return store_command_change(store, command, STATUS_EXPIRED, EVENT_EXPIRED_LOST,
					    now_ms, 0, err);
	if (command->attempt >= max_attempts)
		return store_command_change(store, command, STATUS_ERROR, EVENT_ATTEMPTS_ENDED,
					    now_ms, 0, err);
	return store_command_change(store, command, STATUS_PENDING, EVENT_LEASE_ENDED, now_ms,
				    command->expires_ms, err);
}

int store_next_due(struct store *store, int64_t *next_ms, struct error *err)
{
	sqlite3_stmt *first = store_statement(store, SQL_NEXT_DUE, err);
	if (!first)
		return ERR_SYSTEM;
	int rc = store_step(store, first, "read what is due", err);
	*next_ms = rc > 0 ? sqlite3_column_int64(first, 0) : 0;
	(void)sqlite3_reset(first); /* the failure is known already */
	return rc < 0 ? rc : 0;
}

int store_run_due(struct store *store, int64_t now_ms, int64_t max_attempts, size_t max,
		  int64_t *next_ms, struct error *err)
{
	struct numbers seqs = {0};
	struct command command;
	sqlite3_stmt *due = store_statement(store, SQL_COMMAND_DUE, err);
	if (!due)
		return ERR_SYSTEM;
	(void)sqlite3_bind_int64(due, 1, now_ms);
	(void)sqlite3_bind_int64(due, 2, (int64_t)max);
	int rc = numbers_collect(store, due, &seqs, err);
	for (size_t i = 0; rc == 0 && i < seqs.count; i++) {
		rc = store_command_get(store, seqs.items[i], &command, err);
		if (rc == 0)
			rc = run_one(store, &command, now_ms, max_attempts, err);
	}
	free(seqs.items);
	return rc < 0 ? rc : store_next_due(store, next_ms, err);
}
