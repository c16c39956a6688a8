#include "base/clock.h"
#include "base/mem.h"
#include "service/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	APPLICATION_ID = 0x43534442, /* "CSDB": tells our file from others' */
	FORMAT = 1,
	BUSY_MS_SERVE = 1000, /* tools hold the lock for a millisecond or so */
	BUSY_MS_TOOL = 10000,
};

/* ---- Statements */

int store_fail(struct store *store, const char *what, struct error *err)
{
	struct error why = {0};
	int code = sqlite3_errcode(store->db) == SQLITE_BUSY ? ERR_BUSY : ERR_SYSTEM;
	(void)error_set(&why, code, "%s: database %s: %s", what, store->path,
			sqlite3_errmsg(store->db));
	why.os_errno = sqlite3_system_errno(store->db);
	if (store->in_turn && !store->is_broken) {
		store->is_broken = true;
		store->failure = why;
	}
	if (err)
		*err = why;
	return code;
}

sqlite3_stmt *store_statement(struct store *store, enum statement which, struct error *err)
{
	sqlite3_stmt **slot = &store->statements[which];
	if (!*slot && sqlite3_prepare_v3(store->db, store_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
					 slot, NULL) != SQLITE_OK) {
		(void)store_fail(store, "prepare", err);
		return NULL;
	}
	(void)sqlite3_reset(*slot); /* repeats the failure of its last step */
	(void)sqlite3_clear_bindings(*slot);
	return *slot;
}

int store_step(struct store *store, sqlite3_stmt *statement, const char *what, struct error *err)
{
	int rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	rc = store_fail(store, what, err);
	(void)sqlite3_reset(statement); /* repeats the failure */
	return rc;
}

int store_run(struct store *store, sqlite3_stmt *statement, const char *what, struct error *err)
{
	int rc = store_step(store, statement, what, err);
	(void)sqlite3_reset(statement); /* the failure is known already */
	return rc < 0 ? rc : 0;
}

void store_column_text(sqlite3_stmt *statement, int column, char *text, size_t size)
{
	const unsigned char *value = sqlite3_column_text(statement, column);
	size_t length = value ? (size_t)sqlite3_column_bytes(statement, column) : 0;
	if (length >= size)
		length = size - 1;
	if (value)
		memcpy(text, value, length);
	text[length] = '\0';
}

void numbers_add(struct numbers *numbers, int64_t number)
{
	if (numbers->count == numbers->room) {
		numbers->room = numbers->room ? 2 * numbers->room : 64;
		numbers->items =
		    mem_realloc_array(numbers->items, numbers->room, sizeof *numbers->items);
	}
	numbers->items[numbers->count++] = number;
}

int numbers_collect(struct store *store, sqlite3_stmt *statement, struct numbers *numbers,
		    struct error *err)
{
	int rc;
	while ((rc = store_step(store, statement, "read a queue", err)) > 0)
		numbers_add(numbers, sqlite3_column_int64(statement, 0));
	(void)sqlite3_reset(statement); /* the failure is known already */
	return rc;
}

/* ---- Turns */

bool store_in_turn(const struct store *store)
{
	return store->in_turn;
}

int store_write(struct store *store, struct error *err)
{
	if (store->is_broken) {
		if (err)
			*err = store->failure;
		return store->failure.code;
	}
	if (store->in_turn)
		return 0;
	sqlite3_stmt *begin = store_statement(store, SQL_BEGIN, err);
	if (!begin)
		return ERR_SYSTEM;
	int rc = store_run(store, begin, "begin a change", err);
	store->in_turn = rc == 0;
	return rc;
}

int store_commit(struct store *store, struct error *err)
{
	if (!store->in_turn)
		return 0;
	int rc = store->is_broken ? store->failure.code : 0;
	sqlite3_stmt *commit = rc == 0 ? store_statement(store, SQL_COMMIT, NULL) : NULL;
	if (rc == 0)
		rc = commit ? store_run(store, commit, "store a change", NULL) : ERR_SYSTEM;
	if (rc < 0) {
		sqlite3_stmt *rollback = store_statement(store, SQL_ROLLBACK, NULL);
		/* Some failures have taken everything back already. */
		if (rollback && !sqlite3_get_autocommit(store->db))
			(void)store_run(store, rollback, "take a change back", NULL);
		if (err)
			*err = store->failure;
	}
	store->in_turn = false;
	store->is_broken = false;
	return rc;
}

void store_observe(struct store *store, const struct store_observer *observer)
{
	store->observer = *observer;
}

/* ---- Opening */

static int execute(struct store *store, const char *sql, struct error *err)
{
	if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return store_fail(store, "open", err);
}

static int read_number(struct store *store, const char *sql, int64_t *number, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return store_fail(store, "open", err);
	int rc = store_step(store, statement, "open", err);
	if (rc > 0)
		*number = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement); /* a failure of the step is known already */
	return rc < 0 ? rc : 0;
}

static int put_url_secret(struct store *store, struct error *err)
{
	uint8_t secret[sizeof store->url_secret];
	random_bytes(secret, sizeof secret);
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(store->db, "INSERT INTO setting VALUES ('url_secret', ?1)", -1,
			       &statement, NULL) != SQLITE_OK)
		return store_fail(store, "create", err);
	(void)sqlite3_bind_blob(statement, 1, secret, sizeof secret, SQLITE_TRANSIENT);
	int rc = store_step(store, statement, "create", err);
	(void)sqlite3_finalize(statement); /* a failure of the step is known already */
	return rc;
}

static int create(struct store *store, struct error *err)
{
	char numbers[96];
	(void)snprintf(numbers, sizeof numbers,
		       "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
		       FORMAT);
	int rc = execute(store, store_schema, err);
	if (rc == 0)
		rc = put_url_secret(store, err);
	if (rc == 0)
		rc = execute(store, numbers, err);
	return rc;
}

/* Is it ours, and of a format that we know? An empty file becomes ours. */
static int check_format(struct store *store, struct error *err)
{
	int64_t application = 0, format = 0, tables = 0;
	int rc = read_number(store, "PRAGMA application_id", &application, err);
	if (rc == 0)
		rc = read_number(store, "PRAGMA user_version", &format, err);
	if (rc == 0)
		rc = read_number(store, "SELECT count(*) FROM sqlite_master", &tables, err);
	if (rc < 0)
		return rc;
	if (application == 0 && tables == 0)
		return create(store, err);
	if (application != APPLICATION_ID)
		return error_set(err, ERR_INVALID,
				 "database %s: belongs to another program: name another file",
				 store->path);
	if (format > FORMAT)
		return error_set(err, ERR_INVALID,
				 "database %s: was written by a newer command-service (format "
				 "%" PRId64 ", this one knows %d): use the newer program",
				 store->path, format, FORMAT);
	return 0;
}

/* In one transaction, so that two programs starting at once make the tables once. */
static int prepare_format(struct store *store, struct error *err)
{
	int rc = execute(store, "BEGIN IMMEDIATE", err);
	if (rc == 0)
		rc = check_format(store, err);
	if (rc == 0)
		return execute(store, "COMMIT", err);
	(void)execute(store, "ROLLBACK", NULL); /* the reason is in err */
	return rc;
}

static int read_url_secret(struct store *store, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(store->db, "SELECT value FROM setting WHERE name = 'url_secret'", -1,
			       &statement, NULL) != SQLITE_OK)
		return store_fail(store, "open", err);
	int rc = store_step(store, statement, "open", err);
	bool is_there = rc > 0 && sqlite3_column_bytes(statement, 0) == sizeof store->url_secret;
	if (is_there)
		memcpy(store->url_secret, sqlite3_column_blob(statement, 0),
		       sizeof store->url_secret);
	(void)sqlite3_finalize(statement); /* a failure of the step is known already */
	if (rc >= 0 && !is_there)
		return error_set(err, ERR_INVALID, "database %s: is damaged: no URL secret",
				 store->path);
	return rc < 0 ? rc : 0;
}

static int configure(struct store *store, enum store_use use, struct error *err)
{
	(void)sqlite3_busy_timeout(store->db, use == STORE_SERVE ? BUSY_MS_SERVE : BUSY_MS_TOOL);
	(void)sqlite3_extended_result_codes(store->db, 0);
	int rc = execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", err);
	if (rc == 0)
		rc = execute(store,
			     "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8000;"
			     "PRAGMA temp_store = MEMORY;",
			     err);
	return rc;
}

static int open_database(struct store *store, enum store_use use, struct error *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	if (use == STORE_EXISTING && access(store->path, F_OK) != 0)
		return error_set(err, ERR_NOT_FOUND,
				 "database %s: does not exist: name it with --db, or make one with "
				 "`command-service token create`",
				 store->path);
	if (use != STORE_EXISTING)
		flags |= SQLITE_OPEN_CREATE;
	if (sqlite3_open_v2(store->path, &store->db, flags, NULL) == SQLITE_OK)
		return 0;
	int os_errno = store->db ? sqlite3_system_errno(store->db) : 0;
	if (os_errno)
		return error_set_errno(err, os_errno, "database %s: cannot be opened", store->path);
	return error_set(err, ERR_SYSTEM, "database %s: cannot be opened", store->path);
}

/* The folder's lock keeps a second service away: its waiting agents would not hear of what
 * the first one stores. */
static int open_folder(struct store *store, struct error *err)
{
	if (mkdir(store->folder, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "folder %s: cannot be made", store->folder);
	store->folder_fd = open(store->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->folder_fd < 0)
		return error_set_errno(err, errno, "folder %s", store->folder);
	if (flock(store->folder_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return error_set_errno(err, errno, "folder %s: cannot be locked", store->folder);
	return error_set(err, ERR_BUSY,
			 "database %s: another command-service runs on it: stop that one, or name "
			 "another database with --db",
			 store->path);
}

static int explain_open(struct store *store, int rc, struct error *err)
{
	if (sqlite3_errcode(store->db) == SQLITE_NOTADB)
		return error_set(err, ERR_INVALID,
				 "database %s: is no SQLite database: name another file",
				 store->path);
	if (sqlite3_errcode(store->db) == SQLITE_READONLY ||
	    sqlite3_errcode(store->db) == SQLITE_CANTOPEN)
		return error_set(err, ERR_SYSTEM,
				 "database %s: cannot be written: it and its folder must be "
				 "writable for this user",
				 store->path);
	return rc;
}

static int open_all(struct store *store, enum store_use use, struct error *err)
{
	int rc = open_database(store, use, err);
	if (rc < 0)
		return rc;
	rc = configure(store, use, err);
	if (rc == 0)
		rc = prepare_format(store, err);
	if (rc < 0)
		return err && err->code == ERR_INVALID ? rc : explain_open(store, rc, err);
	rc = read_url_secret(store, err);
	if (rc == 0)
		rc = read_number(store, store_sql[SQL_LAST_SEQ], &store->last_seq, err);
	if (rc == 0 && use == STORE_SERVE)
		rc = open_folder(store, err);
	return rc;
}

int store_open(struct store **out, const char *path, enum store_use use, struct error *err)
{
	struct error why = {0};
	struct store *store = mem_new(struct store);
	store->path = mem_strdup(path);
	store->folder = mem_printf("%s-answers", path);
	store->folder_fd = -1;
	int rc = open_all(store, use, &why);
	if (rc < 0) {
		if (err)
			*err = why;
		store_close(store);
		return rc;
	}
	*out = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		(void)sqlite3_finalize(store->statements[i]); /* repeats an old failure */
	(void)sqlite3_close(store->db);                       /* nothing is left open on it */
	if (store->folder_fd >= 0)
		(void)close(store->folder_fd);
	free(store->folder);
	free(store->path);
	free(store);
}

const char *store_folder(const struct store *store)
{
	return store->folder;
}

/* The inputs have fixed sizes and the digest is cut, so that a plain digest behind the
 * secret cannot be continued by somebody who does not know it. */
void store_url_key(const struct store *store, const char *command_id, enum url_purpose purpose,
		   char key[URL_KEY_TEXT_SIZE])
{
	uint8_t input[sizeof store->url_secret + UUID_TEXT_SIZE] = {0};
	uint8_t digest[SHA256_SIZE];
	char text[SHA256_TEXT_SIZE];
	memcpy(input, store->url_secret, sizeof store->url_secret);
	input[sizeof store->url_secret] = (uint8_t)purpose;
	memcpy(input + sizeof store->url_secret + 1, command_id, UUID_TEXT_SIZE - 1);
	digest_sha256(input, sizeof input, digest);
	digest_to_hex(digest, text);
	memcpy(key, text, URL_KEY_TEXT_SIZE - 1);
	key[URL_KEY_TEXT_SIZE - 1] = '\0';
}
