/* What the files of the store share. Only the store's files include this. */
#ifndef SERVICE_STORE_INTERNAL_H
#define SERVICE_STORE_INTERNAL_H

#include "service/store.h"

#include <sqlite3.h>

enum { STORE_SEQ_BITS = 12 };            /* of seq: a counter below the millisecond */
enum { KEY_LIFE_MS = 24 * 3600 * 1000 }; /* of an Idempotency-Key */

/* One prepared statement each, made at first use. The SQL stands in store_sql.c. */
enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_TOKEN_ADD,
	SQL_TOKEN_FIND,
	SQL_TOKEN_REVOKE,
	SQL_TOKEN_EACH,
	SQL_BUCKET_FIND,
	SQL_BUCKET_ADD,
	SQL_BUCKET_PENDING,
	SQL_BUCKET_ORG,
	SQL_BUCKET_TERMINAL,
	SQL_BUCKET_EMPTY,
	SQL_BUCKET_DELETE,
	SQL_ACTIONS,
	SQL_LAST_SEQ,
	SQL_COMMAND_ADD,
	SQL_COMMAND_GET,
	SQL_COMMAND_UPDATE,
	SQL_COMMAND_OLDEST,
	SQL_COMMAND_DUE,
	SQL_NEXT_DUE,
	SQL_REQUEST_ADD,
	SQL_RESPONSE_PUT,
	SQL_TEXTS,
	SQL_METADATA_ADD,
	SQL_KEY_PUT,
	SQL_KEY_FIND,
	SQL_KEY_FORGET,
	SQL_FORGET_FIND,
	SQL_FORGET_COMMAND,
	SQL_FORGET_REQUEST,
	SQL_FORGET_RESPONSE,
	SQL_FORGET_METADATA,
	SQL_COUNT,
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_COUNT];
	char *path;
	char *folder;
	int folder_fd; /* holds the lock of a serving process; -1: none */
	bool in_turn;
	bool is_broken; /* something failed in this turn: it will be taken back */
	struct error failure;
	struct store_observer observer;
	int64_t last_seq;
	uint8_t url_secret[32];
};

extern const char *const store_sql[SQL_COUNT];
extern const char store_schema[];

/* The statement, reset and without bindings; NULL with err filled. */
sqlite3_stmt *store_statement(struct store *store, enum statement which, struct error *err);
/* SQLITE_ROW gives 1, SQLITE_DONE 0, anything else a failure with err filled. */
int store_step(struct store *store, sqlite3_stmt *statement, const char *what, struct error *err);
/* Runs a statement that gives no rows, and resets it. */
int store_run(struct store *store, sqlite3_stmt *statement, const char *what, struct error *err);
int store_fail(struct store *store, const char *what, struct error *err);

/* Opens the turn's transaction where it is not open yet. */
int store_write(struct store *store, struct error *err);

/* A fixed text column; longer ones cannot have been stored. */
void store_column_text(sqlite3_stmt *statement, int column, char *text, size_t size);

/* Binds NULL for 0. */
void store_bind_time(sqlite3_stmt *statement, int index, int64_t time_ms);
void store_id_write(int64_t seq, uint64_t salt, char id[UUID_TEXT_SIZE]);

/* A growing list of numbers of commands or buckets; the owner frees items. */
struct numbers {
	int64_t *items;
	size_t count;
	size_t room;
};
void numbers_add(struct numbers *numbers, int64_t number);
/* Steps through a statement whose first column is a number, and resets it. */
int numbers_collect(struct store *store, sqlite3_stmt *statement, struct numbers *numbers,
		    struct error *err);

/* Finds or makes the bucket of (org, target, action, status). */
int store_bucket(struct store *store, const struct command *command, int64_t *bucket,
		 struct error *err);
/* Writes what may change of a command back to its row. */
int store_command_save(struct store *store, const struct command *command, struct error *err);
/* The one function that changes a status: notes it in the history, stores the command and
 * tells the observer. */
int store_command_change(struct store *store, struct command *command, enum command_status status,
			 enum command_event event, int64_t now_ms, int64_t due_ms,
			 struct error *err);
/* The seq that a command of that time has at least. */
int64_t store_seq_of(int64_t time_ms);
/* Where (org, key, value) stands in the metadata table. */
int64_t store_pair_hash(const char *org, const struct metadata_pair *pair);

#endif
