#include "agent/journal_inside.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPACE_BYTES = 256 * 1024 }; /* without which there is no use in starting */

static const char SCHEMA[] =
    "CREATE TABLE commands ("
    " seq INTEGER PRIMARY KEY, id TEXT NOT NULL, state INTEGER NOT NULL, receipt TEXT,"
    " attempt INTEGER NOT NULL, upload_url TEXT, expires_at INTEGER NOT NULL,"
    " received_at INTEGER NOT NULL, answers_before INTEGER NOT NULL, checksum INTEGER,"
    " text_size INTEGER NOT NULL, command_file TEXT, text_row INTEGER, text_at INTEGER);"
    "CREATE TABLE texts (number INTEGER PRIMARY KEY, texts BLOB NOT NULL);"
    "CREATE TABLE executing (seq INTEGER PRIMARY KEY);"
    "CREATE TABLE answers ("
    " number INTEGER PRIMARY KEY, seq INTEGER NOT NULL, id TEXT NOT NULL, receipt TEXT,"
    " attempt INTEGER NOT NULL, status INTEGER NOT NULL, ended_at INTEGER NOT NULL, http_status "
    "INTEGER NOT NULL,"
    " answer_size INTEGER NOT NULL, answer_file TEXT, checksum INTEGER, answer BLOB);"
    "CREATE INDEX answers_in_files ON answers (answer_size) WHERE answer_file IS NOT NULL;"
    "CREATE TABLE posted ("
    " number INTEGER PRIMARY KEY, id_key INTEGER NOT NULL, id TEXT NOT NULL,"
    " posted_at INTEGER NOT NULL, status INTEGER NOT NULL, ended_at INTEGER NOT NULL,"
    " http_status INTEGER NOT NULL, answer_size INTEGER NOT NULL, answer INTEGER);"
    "CREATE INDEX posted_by_id ON posted (id_key);"
    "PRAGMA user_version = 3;";

int journal_fail(sqlite3 *db, struct error *err, const char *what)
{
	return error_set(err, ERR_SYSTEM, "journal: %s: %s", what, sqlite3_errmsg(db));
}

static int execute_text(sqlite3 *db, const char *sql, struct error *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
								    : journal_fail(db, err, sql);
}

/* One number; 0 where there is none. */
int64_t journal_query_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t number = 0;
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

/* One agent a folder. The lock goes with the process, however it ends. */
static int take_lock(struct journal *journal, const char *dir, struct error *err)
{
	char *path = mem_printf("%s/lock", dir);
	int rc = 0;
	journal->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (journal->lock_fd < 0)
		rc = error_set_errno(err, errno, "STATE_DIR %s: cannot write %s", dir, path);
	else if (flock(journal->lock_fd, LOCK_EX | LOCK_NB) != 0)
		rc = error_set(
		    err, ERR_BUSY,
		    "STATE_DIR %s belongs to another agent that is running: give each agent a "
		    "folder of its own",
		    dir);
	free(path);
	return rc;
}

static char *database_path(const struct journal *journal)
{
	return mem_printf("%s/journal.db", journal->settings->state_dir);
}

static int make_folder(const char *path, struct error *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return error_set_errno(err, errno, "STATE_DIR: cannot make %s", path);
}

static int make_tables(sqlite3 *db, struct error *err)
{
	if (execute_text(db, "BEGIN IMMEDIATE", err) != 0)
		return err->code;
	if (sqlite3_exec(db, SCHEMA, NULL, NULL, NULL) != SQLITE_OK)
		return journal_fail(db, err, "making the tables");
	return execute_text(db, "COMMIT", err);
}

static int ready_tables(sqlite3 *db, const char *path, struct error *err)
{
	int64_t version = journal_query_number(db, "PRAGMA user_version");
	/* What cannot be read is found by is_sound. */
	if (version == JOURNAL_VERSION || journal_is_damage(db))
		return 0;
	if (version == 0 && journal_is_convertible(db))
		return journal_convert(db, SCHEMA, err);
	if (version == 0 && journal_query_number(db, "SELECT count(*) FROM sqlite_schema") == 0)
		return make_tables(db, err);
	return error_set(err, ERR_INVALID,
			 "%s was written by another version of the agent (journal version %lld, "
			 "this agent's is %d): let that version post what waits in it, then move "
			 "the file away",
			 path, (long long)version, JOURNAL_VERSION);
}

static void raise_to(int64_t *last, int64_t number)
{
	if (*last < number)
		*last = number;
}

/* What is in the tables, and what their rows refer to, though it may be gone: numbers do not come
 * twice, but for those of commands, which nobody refers to without their answers' numbers. */
static void find_last_rows(struct journal *journal)
{
	sqlite3 *db = journal->store.db;
	raise_to(&journal->last_seq, journal_query_number(db, "SELECT max(seq) FROM commands"));
	raise_to(&journal->last_answer,
		 journal_query_number(db, "SELECT max(number) FROM answers"));
	raise_to(&journal->last_answer,
		 journal_query_number(db, "SELECT max(answers_before) FROM commands"));
	raise_to(&journal->last_answer,
		 journal_query_number(db, "SELECT max(answer) FROM (SELECT answer FROM posted"
					  " ORDER BY number DESC LIMIT 10000)"));
	raise_to(&journal->last_text_row,
		 journal_query_number(db, "SELECT max(number) FROM texts"));
	raise_to(&journal->last_text_row,
		 journal_query_number(db, "SELECT max(text_row) FROM commands"));
}

static int prepare(sqlite3 *db, const char *const texts[], int count, sqlite3_stmt **statements,
		   const char *path, struct error *err)
{
	for (int i = 0; i < count; i++) {
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i],
				       NULL) != SQLITE_OK)
			return journal_fail(db, err, path);
	}
	return 0;
}

/* Tables of this version that its statements do not fit to are damaged too. */
static int prepare_statements(struct journal *journal, const char *path, struct error *err)
{
	struct journal_store *store = &journal->store;
	int rc =
	    prepare(store->db, journal_statement_texts, STATEMENTS, store->statements, path, err);
	if (rc == 0)
		rc = prepare(store->db, journal_query_texts, QUERIES, store->queries, path, err);
	/* The numbers of commands that are gone may come again. */
	if (rc == 0)
		rc = execute_text(
		    store->db, "DELETE FROM executing WHERE seq NOT IN (SELECT seq FROM commands)",
		    err);
	journal->is_damaged |= rc != 0 && sqlite3_errcode(store->db) == SQLITE_ERROR;
	return rc;
}

static int open_database(struct journal *journal, const char *path, struct error *err)
{
	bool is_full_sync = journal->settings->journal_sync == JOURNAL_SYNC_FULL;
	/* One thread at a time has it: SQLite need not look after that. */
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	/* It counts what it allocates, under a lock, and nobody asks. Only before the first
	 * database; later it is refused, and no matter. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	int rc = sqlite3_open_v2(path, &journal->store.db, flags, NULL);
	sqlite3 *db = journal->store.db;
	if (rc != SQLITE_OK)
		return journal_fail(db, err, path);
	sqlite3_busy_timeout(db, JOURNAL_BUSY_MS);
	journal_store_set_checkpoints(&journal->store);
	/* Twice the default, with which a command of a batch takes 6 % more processor time. Larger
	 * ones save nothing more, and what a single command writes and syncs would be larger. A
	 * database that is there keeps its own. */
	if (execute_text(db, "PRAGMA page_size = 8192", err) != 0 ||
	    execute_text(db, "PRAGMA temp_store = MEMORY", err) != 0 ||
	    /* Debian's default writes zeros over every page that becomes free. */
	    execute_text(db, "PRAGMA secure_delete = FAST", err) != 0 ||
	    execute_text(db, "PRAGMA journal_mode = WAL", err) != 0 ||
	    execute_text(db,
			 is_full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
			 err) != 0 ||
	    ready_tables(db, path, err) != 0)
		return err->code;
	return prepare_statements(journal, path, err);
}

static void finalize(sqlite3_stmt **statements, int count)
{
	for (int i = 0; i < count; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
}

static void close_connection(sqlite3 **db, sqlite3_stmt **queries, int count)
{
	finalize(queries, count);
	sqlite3_close(*db);
	*db = NULL;
}

/* Its cache is small: what it looks for lies anywhere, and comes from the kernel's as quickly. */
int journal_open_reader(struct journal *journal, struct error *err)
{
	struct journal_reader *reader = &journal->reader;
	char *path = database_path(journal);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int rc = 0;
	if (sqlite3_open_v2(path, &reader->db, flags, NULL) != SQLITE_OK)
		rc = journal_fail(reader->db, err, path);
	sqlite3_busy_timeout(reader->db, JOURNAL_BUSY_MS);
	if (rc == 0)
		rc = execute_text(reader->db, "PRAGMA cache_size = -256", err);
	if (rc == 0)
		rc = execute_text(reader->db, "PRAGMA query_only = ON", err);
	if (rc == 0)
		rc = prepare(reader->db, journal_query_texts, QUERIES, reader->queries, path, err);
	if (rc != 0) {
		journal->is_damaged |= journal_is_damage(reader->db);
		close_connection(&reader->db, reader->queries, QUERIES);
	}
	free(path);
	return rc;
}

/* The reader first: whoever closes the database last ends its WAL. */
void journal_close_database(struct journal *journal)
{
	struct journal_store *store = &journal->store;
	close_connection(&journal->reader.db, journal->reader.queries, QUERIES);
	finalize(store->statements, STATEMENTS);
	close_connection(&store->db, store->queries, QUERIES);
}

/* "ok", or what is wrong first. */
static bool is_sound(struct journal *journal, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	const char *verdict = "it cannot be read";
	bool is_ok = false;
	if (sqlite3_prepare_v2(journal->store.db, "PRAGMA quick_check(1)", -1, &statement, NULL) ==
		SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		verdict = (const char *)sqlite3_column_text(statement, 0);
		is_ok = strcmp(verdict, "ok") == 0;
	}
	if (!is_ok)
		error_set(err, ERR_INVALID, "journal: damaged: %s", verdict);
	sqlite3_finalize(statement);
	return is_ok;
}

bool journal_is_damage(sqlite3 *db)
{
	int code = db != NULL ? sqlite3_errcode(db) & 0xff : SQLITE_OK;
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* Renames the database and its other files to path + suffix. */
static int set_aside(const char *path, const char *suffix, struct error *err)
{
	static const char *const parts[] = {"", "-wal", "-shm"};
	int rc = 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		char *from = mem_printf("%s%s", path, parts[i]);
		char *to = mem_printf("%s%s%s", path, suffix, parts[i]);
		if (rename(from, to) != 0 && errno != ENOENT)
			rc = error_set_errno(err, errno, "cannot set %s aside", from);
		free(from);
		free(to);
	}
	return rc;
}

/* SQLite gives its other files the permissions of the database. */
static int make_private_file(const char *path, struct error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0600) != 0) {
		int rc = error_set_errno(err, errno, "STATE_DIR: cannot write %s", path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	close(fd);
	return 0;
}

/* Out of the way, once: journal->aside is where it went. */
static int put_away(struct journal *journal, const char *path, struct error *err)
{
	if (journal->aside != NULL)
		return 0;
	if (journal->store.db != NULL) /* what closes it must not mend or mix it */
		sqlite3_db_config(journal->store.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	journal_close_database(journal);
	char *suffix = mem_printf(".damaged-%lld", (long long)clock_now_ms());
	int rc = set_aside(path, suffix, err);
	if (rc == 0)
		journal->aside = mem_printf("%s%s", path, suffix);
	free(suffix);
	return rc;
}

int journal_begin_anew(struct journal *journal, struct error *err)
{
	char *path = database_path(journal);
	int rc = put_away(journal, path, err);
	if (rc == 0)
		rc = make_private_file(path, err);
	if (rc == 0)
		rc = open_database(journal, path, err);
	if (rc == 0) {
		size_t count = journal_salvage(journal->store.db, journal->aside);
		find_last_rows(journal);
		log_error("the journal %s is damaged; it was set aside as %s and a new one begun, "
			  "with the %zu commands that could be read. What is not among them comes "
			  "as a second delivery",
			  path, journal->aside, count);
		free(journal->aside);
		journal->aside = NULL;
		journal->is_damaged = false;
	} else {
		journal_close_database(journal);
	}
	free(path);
	return rc;
}

static int open_sound_database(struct journal *journal, struct error *err)
{
	char *path = database_path(journal);
	int rc = make_private_file(path, err);
	if (rc == 0)
		rc = open_database(journal, path, err);
	bool is_damaged = rc != 0 ? journal->is_damaged || journal_is_damage(journal->store.db)
				  : !is_sound(journal, err);
	free(path);
	if (!is_damaged) {
		find_last_rows(journal);
		return rc;
	}
	log_error("%s", err->message);
	return journal_begin_anew(journal, err);
}

/* On a full disk the database would still open, and fail with the first command. */
static int check_space(const struct journal *journal, struct error *err)
{
	char *path = mem_printf("%s/space", journal->settings->state_dir);
	void *bytes = mem_calloc(1, SPACE_BYTES);
	int rc = file_write_atomic(path, bytes, SPACE_BYTES, 0600, err);
	unlink(path);
	free(bytes);
	free(path);
	return rc == 0 ? 0 : error_prefix(err, "STATE_DIR %s", journal->settings->state_dir);
}

int journal_open_folder(struct journal *journal, struct error *err)
{
	const char *dir = journal->settings->state_dir;
	journal->store.folder = mem_printf("%s/answers", dir);
	if (make_folder(dir, err) != 0 || take_lock(journal, dir, err) != 0 ||
	    make_folder(journal->store.folder, err) != 0)
		return err->code;
	spool_clean(journal->store.folder); /* first: it may be what fills the disk */
	if (check_space(journal, err) != 0)
		return err->code;
	if (open_sound_database(journal, err) != 0)
		return err->code;
	journal_remove_left_files(journal);
	return 0;
}
