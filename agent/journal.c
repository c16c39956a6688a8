#include "agent/journal.h"

#include "agent/backoff.h"
#include "agent/bench_switch.h"
#include "agent/limits.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SPOOL_FROM_BYTES = 256 * 1024, /* larger answers are files beside the database */
	LAZY_MS = 1000,                /* how long "posted" may wait for company */
	RETRY_MS = 1000,
	TIDY_MS = 60000,
	DROP_AT_ONCE = 100,
	BUSY_MS = 5000, /* somebody reads with `relay-agent journal` */
};

/* As they are stored. */
enum stored_state { STORED_RECEIVED = 1, STORED_EXECUTING = 2, STORED_DONE = 3, STORED_POSTED = 4 };

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS commands ("
    " seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL,"
    " command BLOB, receipt TEXT, attempt INTEGER NOT NULL, upload_url TEXT,"
    " expires_at INTEGER NOT NULL, received_at INTEGER NOT NULL,"
    " status INTEGER, ended_at INTEGER, posted_at INTEGER,"
    " answer BLOB, answer_file TEXT, answer_size INTEGER);"
    "CREATE INDEX IF NOT EXISTS commands_open ON commands (state, seq) WHERE state < 4;"
    "CREATE INDEX IF NOT EXISTS commands_posted ON commands (posted_at) WHERE state = 4;";

/* Read by on_row_of: the columns must stand in this order. */
#define ROW_COLUMNS                                                                           \
	"id, state, command, receipt, attempt, upload_url, expires_at, received_at, status, " \
	"ended_at, answer_size"

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	INSERT,
	UPDATE_EXECUTING,
	UPDATE_DONE,
	UPDATE_POSTED,
	SELECT_ONE,
	STATEMENTS,
};

static const char *const STATEMENT_TEXTS[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT OR REPLACE INTO commands (id, state, command, receipt, attempt, upload_url,"
	       " expires_at, received_at, status, ended_at, answer, answer_file, answer_size)"
	       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [UPDATE_EXECUTING] = "UPDATE commands SET state = ?2 WHERE id = ?1",
    [UPDATE_DONE] =
	"UPDATE commands SET state = ?2, command = NULL, receipt = ?4, attempt = ?5,"
	" status = ?9, ended_at = ?10, answer = ?11, answer_file = ?12, answer_size = ?13"
	" WHERE id = ?1",
    [UPDATE_POSTED] = "UPDATE commands SET state = 4, posted_at = ?2 WHERE id = ?1",
    [SELECT_ONE] = "SELECT status, ended_at, answer, answer_file, state FROM commands WHERE id = ?1"
		   " AND state >= 3",
};

struct posted {
	char *id;
	STAILQ_ENTRY(posted) link;
};

struct journal {
	struct loop *loop;
	const struct settings *settings;
	void (*on_durable)(void *context, struct command *command);
	void *context;
	char *folder; /* of spooled answers */
	int lock_fd;
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	TAILQ_HEAD(journal_list_head, command) unwritten;
	STAILQ_HEAD(, posted) posted;
	struct loop_task flush;
	struct loop_timer *lazy; /* for what nobody waits for */
	struct loop_timer *retry;
	struct loop_timer *tidy;
	struct backoff trouble;
	uint64_t spooled_bytes;
	bool is_full; /* JOURNAL_MAX_MB is reached by answers that still wait */
	bool is_off;  /* nothing is stored (bench_switch.h): there is no database */
};

static int fail(sqlite3 *db, struct error *err, const char *what)
{
	return error_set(err, ERR_SYSTEM, "journal: %s: %s", what, sqlite3_errmsg(db));
}

/* Runs a statement without rows. */
static int run(struct journal *journal, enum statement which, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[which];
	int rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc == SQLITE_DONE ? 0 : fail(journal->db, err, STATEMENT_TEXTS[which]);
}

static int execute_text(sqlite3 *db, const char *sql, struct error *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(db, err, sql);
}

/* One number; 0 where there is none. */
static int64_t query_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t number = 0;
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	if (text != NULL)
		sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, index);
}

/* Ids are the requestors'; their digest is a safe file name. */
static void spool_name(const char *id, char name[SHA256_TEXT_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	digest_sha256(id, strlen(id), digest);
	digest_to_hex(digest, name);
}

static char *spool_path(const struct journal *journal, const char *name)
{
	return mem_printf("%s/%s", journal->folder, name);
}

static int spool_answer(struct journal *journal, const char *name, const struct buf *json,
			struct error *err)
{
	char *path = spool_path(journal, name);
	int rc = file_write_atomic(path, json->data, json->size, 0600, err);
	if (rc == 0)
		journal->spooled_bytes += json->size;
	free(path);
	return rc;
}

static void spool_remove(struct journal *journal, const char *name, int64_t size)
{
	char *path = spool_path(journal, name);
	if (unlink(path) == 0 && journal->spooled_bytes >= (uint64_t)size)
		journal->spooled_bytes -= (uint64_t)size;
	free(path);
}

static enum stored_state stored_state_of(const struct command *command)
{
	switch (command->state) {
	case COMMAND_EXECUTING:
		return STORED_EXECUTING;
	case COMMAND_DONE:
		return STORED_DONE;
	case COMMAND_POSTED:
		return STORED_POSTED;
	case COMMAND_RECEIVED:
	case COMMAND_FETCHING:
	case COMMAND_WAITING:
	default:
		return STORED_RECEIVED;
	}
}

static int bind_answer(struct journal *journal, sqlite3_stmt *statement,
		       const struct command *command, char name[SHA256_TEXT_SIZE],
		       struct error *err)
{
	const struct answer *answer = &command->answer;
	sqlite3_bind_int(statement, 9, (int)answer->status);
	sqlite3_bind_int64(statement, 10, answer->ended_at_ms);
	sqlite3_bind_int64(statement, 13, (int64_t)answer->json.size);
	if (answer->json.size < SPOOL_FROM_BYTES) {
		sqlite3_bind_blob64(statement, 11, buf_str(&answer->json), answer->json.size,
				    SQLITE_STATIC);
		return 0;
	}
	spool_name(command->id, name);
	bind_text(statement, 12, name);
	return spool_answer(journal, name, &answer->json, err);
}

static int write_command(struct journal *journal, const struct command *command, struct error *err)
{
	enum stored_state state = stored_state_of(command);
	enum statement which = INSERT;
	char name[SHA256_TEXT_SIZE];
	if (command->is_stored)
		which = state == STORED_DONE ? UPDATE_DONE : UPDATE_EXECUTING;
	sqlite3_stmt *statement = journal->statements[which];
	bind_text(statement, 1, command->id);
	sqlite3_bind_int(statement, 2, (int)state);
	if (which != UPDATE_EXECUTING) {
		bind_text(statement, 4, command->receipt);
		sqlite3_bind_int(statement, 5, command->attempt);
	}
	if (which == INSERT) {
		if (state != STORED_DONE)
			bind_text(statement, 3, command->text);
		bind_text(statement, 6, command->upload_url);
		sqlite3_bind_int64(statement, 7, command->expires_at_ms);
		sqlite3_bind_int64(statement, 8, command->received_at_ms);
	}
	if (state == STORED_DONE && bind_answer(journal, statement, command, name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	return run(journal, which, err);
}

static int write_posted(struct journal *journal, struct error *err)
{
	struct posted *posted;
	int64_t now_ms = clock_now_ms();
	STAILQ_FOREACH(posted, &journal->posted, link)
	{
		bind_text(journal->statements[UPDATE_POSTED], 1, posted->id);
		sqlite3_bind_int64(journal->statements[UPDATE_POSTED], 2, now_ms);
		if (run(journal, UPDATE_POSTED, err) != 0)
			return err->code;
	}
	return 0;
}

static int write_all(struct journal *journal, struct error *err)
{
	struct command *command;
	if (run(journal, BEGIN, err) != 0)
		return err->code;
	TAILQ_FOREACH(command, &journal->unwritten, journal_link)
	{
		if (write_command(journal, command, err) != 0)
			return err->code;
	}
	if (write_posted(journal, err) != 0)
		return err->code;
	return run(journal, COMMIT, err);
}

static void forget_posted(struct journal *journal)
{
	for (struct posted *posted; (posted = STAILQ_FIRST(&journal->posted)) != NULL;) {
		STAILQ_REMOVE_HEAD(&journal->posted, link);
		free(posted->id);
		free(posted);
	}
}

/* The writes are on disk: whoever waited for them goes on. */
static void tell_durable(struct journal *journal)
{
	struct journal_list_head written;
	TAILQ_INIT(&written);
	TAILQ_CONCAT(&written, &journal->unwritten, journal_link);
	for (struct command *command; (command = TAILQ_FIRST(&written)) != NULL;) {
		TAILQ_REMOVE(&written, command, journal_link);
		command->is_unwritten = false;
		command->is_stored = !journal->is_off;
		free(command->text);
		command->text = NULL;
		journal->on_durable(journal->context, command);
	}
}

static void flush(void *context)
{
	struct journal *journal = context;
	struct error err;
	if (TAILQ_EMPTY(&journal->unwritten) && STAILQ_EMPTY(&journal->posted))
		return;
	if (!journal->is_off && write_all(journal, &err) != 0) {
		if (!sqlite3_get_autocommit(journal->db)) {
			struct error ignored; /* the transaction is gone either way */
			if (run(journal, ROLLBACK, &ignored) != 0)
				log_debug("%s", ignored.message);
		}
		(void)backoff_fail(&journal->trouble, false, 0, err.message);
		loop_timer_start(journal->retry, RETRY_MS);
		return;
	}
	backoff_succeed(&journal->trouble);
	loop_timer_stop(journal->lazy);
	forget_posted(journal);
	tell_durable(journal);
}

/* Not while a failed write waits for its retry: a full disk must not cost a busy loop. */
static void flush_at_turn_end(struct journal *journal)
{
	if (!loop_timer_is_running(journal->retry))
		loop_defer(journal->loop, &journal->flush);
}

void journal_write(struct journal *journal, struct command *command)
{
	if (!command->is_unwritten) {
		command->is_unwritten = true;
		TAILQ_INSERT_TAIL(&journal->unwritten, command, journal_link);
	}
	flush_at_turn_end(journal);
}

void journal_posted(struct journal *journal, const char *id)
{
	struct posted *posted = mem_new(struct posted);
	posted->id = mem_strdup(id);
	STAILQ_INSERT_TAIL(&journal->posted, posted, link);
	if (!loop_timer_is_running(journal->lazy) && !loop_timer_is_running(journal->retry))
		loop_timer_start(journal->lazy, LAZY_MS);
}

bool journal_has_room(const struct journal *journal)
{
	return journal->trouble.failures == 0 && !journal->is_full;
}

static uint64_t used_bytes(struct journal *journal)
{
	int64_t pages = query_number(journal->db, "PRAGMA page_count") -
			query_number(journal->db, "PRAGMA freelist_count");
	return (uint64_t)(pages * query_number(journal->db, "PRAGMA page_size")) +
	       journal->spooled_bytes;
}

/* Spooled files of rows that a statement is about to take the answers from. */
static void remove_spooled(struct journal *journal, const char *where, int64_t argument)
{
	char *sql =
	    mem_printf("SELECT answer_file, answer_size FROM commands WHERE answer_file IS NOT"
		       " NULL AND %s",
		       where);
	sqlite3_stmt *statement = NULL;
	if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, argument);
		while (sqlite3_step(statement) == SQLITE_ROW)
			spool_remove(journal, (const char *)sqlite3_column_text(statement, 0),
				     sqlite3_column_int64(statement, 1));
	}
	sqlite3_finalize(statement);
	free(sql);
}

/* Runs "<verb> WHERE <where>" with one number; the rows it changed. */
static int change_rows(struct journal *journal, const char *verb, const char *where,
		       int64_t argument)
{
	char *sql = mem_printf("%s WHERE %s", verb, where);
	sqlite3_stmt *statement = NULL;
	int changed = 0;
	remove_spooled(journal, where, argument);
	if (sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, argument);
		if (sqlite3_step(statement) == SQLITE_DONE)
			changed = sqlite3_changes(journal->db);
	}
	sqlite3_finalize(statement);
	free(sql);
	return changed;
}

/* At the limit the oldest posted answers go; their rows stay, so that no command is
 * executed twice. */
static void make_room(struct journal *journal)
{
	uint64_t max = (uint64_t)journal->settings->journal_max_mb * 1000 * 1000;
	uint64_t used = used_bytes(journal);
	while (used > max &&
	       change_rows(
		   journal, "UPDATE commands SET answer = NULL, answer_file = NULL",
		   "seq IN (SELECT seq FROM commands WHERE state = 4 AND (answer IS NOT NULL OR"
		   " answer_file IS NOT NULL) ORDER BY posted_at LIMIT ?1)",
		   DROP_AT_ONCE) > 0)
		used = used_bytes(journal);
	bool is_full = used > max;
	if (is_full && !journal->is_full)
		log_warn(
		    "the journal holds %llu bytes of answers that wait, JOURNAL_MAX_MB is %lld: no "
		    "new command is taken until some are posted",
		    (unsigned long long)used, (long long)journal->settings->journal_max_mb);
	else if (!is_full && journal->is_full)
		log_info("the journal has room again: commands are taken");
	journal->is_full = is_full;
}

static void drop_old(struct journal *journal)
{
	int64_t now_ms = clock_now_ms();
	const struct settings *settings = journal->settings;
	change_rows(journal, "DELETE FROM commands", "state = 4 AND posted_at < ?1",
		    now_ms - settings->dedupe_hours * 3600000);
	make_room(journal);
}

static void on_tidy(void *context)
{
	struct journal *journal = context;
	drop_old(journal);
	loop_timer_start(journal->tidy, TIDY_MS);
}

static void on_retry(void *context)
{
	struct journal *journal = context;
	loop_defer(journal->loop, &journal->flush);
}

static int read_answer(struct journal *journal, struct answer *answer, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[SELECT_ONE];
	answer->status = (enum answer_status)sqlite3_column_int(statement, 0);
	answer->ended_at_ms = sqlite3_column_int64(statement, 1);
	buf_reset(&answer->json);
	const char *file = (const char *)sqlite3_column_text(statement, 3);
	if (file != NULL) {
		char *path = spool_path(journal, file);
		int rc = file_read(path, &answer->json, err);
		free(path);
		return rc;
	}
	if (sqlite3_column_type(statement, 2) == SQLITE_NULL)
		return error_set(err, ERR_NOT_FOUND, "the stored answer was dropped to make room");
	buf_append(&answer->json, sqlite3_column_blob(statement, 2),
		   (size_t)sqlite3_column_bytes(statement, 2));
	return buf_check(&answer->json, "stored answer", err);
}

int journal_load_answer(struct journal *journal, const char *id, struct answer *answer,
			struct error *err)
{
	sqlite3_stmt *statement = journal->statements[SELECT_ONE];
	int rc = 0;
	bind_text(statement, 1, id);
	if (sqlite3_step(statement) == SQLITE_ROW)
		rc = read_answer(journal, answer, err);
	else
		rc = error_set(err, ERR_NOT_FOUND, "no answer is stored");
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc == 0 ? 0 : error_prefix(err, "journal: command %s", id);
}

bool journal_find(struct journal *journal, const char *id, struct answer *answer)
{
	struct error err;
	if (journal->is_off)
		return false;
	int rc = journal_load_answer(journal, id, answer, &err);
	if (rc == ERR_NOT_FOUND && answer->ended_at_ms == 0)
		return false;
	if (rc != 0) {
		enum answer_status status = answer->status;
		answer_fail(
		    answer, "AGENT_ERROR", NULL,
		    "The command was delivered again; it ended as %s, but its answer is no longer "
		    "stored",
		    answer_status_name(status));
		answer->status = status;
	}
	return true;
}

static enum command_state state_of_stored(int state)
{
	return state == STORED_DONE        ? COMMAND_DONE
	       : state == STORED_EXECUTING ? COMMAND_EXECUTING
					   : COMMAND_RECEIVED;
}

static int walk(sqlite3 *db, void (*on_row)(void *context, const struct journal_row *row),
		void *context, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int rc;
	if (sqlite3_prepare_v2(db,
			       "SELECT " ROW_COLUMNS " FROM commands WHERE state < 4 ORDER BY seq",
			       -1, &statement, NULL) != SQLITE_OK)
		return fail(db, err, "reading what waits");
	while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
		struct journal_row row = {
		    .id = (const char *)sqlite3_column_text(statement, 0),
		    .state = state_of_stored(sqlite3_column_int(statement, 1)),
		    .text = sqlite3_column_blob(statement, 2),
		    .text_size = (size_t)sqlite3_column_bytes(statement, 2),
		    .receipt = (const char *)sqlite3_column_text(statement, 3),
		    .attempt = sqlite3_column_int(statement, 4),
		    .upload_url = (const char *)sqlite3_column_text(statement, 5),
		    .expires_at_ms = sqlite3_column_int64(statement, 6),
		    .received_at_ms = sqlite3_column_int64(statement, 7),
		    .status = (enum answer_status)sqlite3_column_int(statement, 8),
		    .ended_at_ms = sqlite3_column_int64(statement, 9),
		    .answer_size = (size_t)sqlite3_column_int64(statement, 10),
		};
		on_row(context, &row);
	}
	int result = rc == SQLITE_DONE ? 0 : fail(db, err, "reading what waits");
	sqlite3_finalize(statement);
	return result;
}

int journal_walk(struct journal *journal,
		 void (*on_row)(void *context, const struct journal_row *row), void *context,
		 struct error *err)
{
	return journal->is_off ? 0 : walk(journal->db, on_row, context, err);
}

int journal_list(const char *state_dir,
		 void (*on_row)(void *context, const struct journal_row *row), void *context,
		 struct error *err)
{
	char *path = mem_printf("%s/journal.db", state_dir);
	sqlite3 *db = NULL;
	int rc = 0;
	if (access(path, R_OK) != 0)
		rc = error_set_errno(err, errno, "cannot read %s", path);
	else if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		rc = fail(db, err, path);
	if (rc == 0) {
		sqlite3_busy_timeout(db, BUSY_MS);
		rc = walk(db, on_row, context, err);
	}
	sqlite3_close(db);
	free(path);
	return rc;
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

static int make_folder(const char *path, struct error *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return error_set_errno(err, errno, "STATE_DIR: cannot make %s", path);
}

static int open_database(struct journal *journal, const char *path, struct error *err)
{
	bool is_full_sync = journal->settings->journal_sync == JOURNAL_SYNC_FULL;
	if (sqlite3_open_v2(path, &journal->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
	    SQLITE_OK)
		return fail(journal->db, err, path);
	sqlite3_busy_timeout(journal->db, BUSY_MS);
	if (execute_text(journal->db, "PRAGMA journal_mode = WAL", err) != 0 ||
	    execute_text(journal->db,
			 is_full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
			 err) != 0 ||
	    execute_text(journal->db, SCHEMA, err) != 0)
		return err->code;
	for (int i = 0; i < STATEMENTS; i++) {
		if (sqlite3_prepare_v3(journal->db, STATEMENT_TEXTS[i], -1,
				       SQLITE_PREPARE_PERSISTENT, &journal->statements[i],
				       NULL) != SQLITE_OK)
			return fail(journal->db, err, path);
	}
	return 0;
}

static void close_database(struct journal *journal)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(journal->statements[i]);
		journal->statements[i] = NULL;
	}
	sqlite3_close(journal->db);
	journal->db = NULL;
}

/* "ok", or what is wrong first. */
static bool is_sound(struct journal *journal, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	const char *verdict = "it cannot be read";
	bool is_ok = false;
	if (sqlite3_prepare_v2(journal->db, "PRAGMA quick_check(1)", -1, &statement, NULL) ==
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

static bool is_damage(struct journal *journal)
{
	int code = sqlite3_errcode(journal->db) & 0xff;
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

static int set_aside(const char *path, struct error *err)
{
	static const char *const parts[] = {"", "-wal", "-shm"};
	char *suffix = mem_printf(".damaged-%lld", (long long)clock_now_ms());
	int rc = 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		char *from = mem_printf("%s%s", path, parts[i]);
		char *to = mem_printf("%s%s%s", path, suffix, parts[i]);
		if (rename(from, to) != 0 && errno != ENOENT)
			rc = error_set_errno(err, errno, "cannot set %s aside", from);
		free(from);
		free(to);
	}
	if (rc == 0)
		log_error(
		    "the journal %s is damaged; it was set aside as %s%s and a new one begun: "
		    "commands that were in it get no answer from here",
		    path, path, suffix);
	free(suffix);
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

static int open_sound_database(struct journal *journal, const char *path, struct error *err)
{
	int rc = open_database(journal, path, err);
	bool is_damaged = rc != 0 ? is_damage(journal) : !is_sound(journal, err);
	if (rc == 0 && !is_damaged)
		return 0;
	if (!is_damaged)
		return rc;
	log_error("%s", err->message);
	close_database(journal);
	if (set_aside(path, err) != 0 || make_private_file(path, err) != 0)
		return err->code;
	return open_database(journal, path, err);
}

static int open_folder(struct journal *journal, struct error *err)
{
	const char *dir = journal->settings->state_dir;
	char *path = mem_printf("%s/journal.db", dir);
	journal->folder = mem_printf("%s/answers", dir);
	int rc = make_folder(dir, err);
	if (rc == 0)
		rc = take_lock(journal, dir, err);
	if (rc == 0)
		rc = make_folder(journal->folder, err);
	if (rc == 0)
		rc = make_private_file(path, err);
	if (rc == 0)
		rc = open_sound_database(journal, path, err);
	free(path);
	return rc;
}

struct journal *journal_open(struct loop *loop, const struct settings *settings,
			     void (*on_durable)(void *context, struct command *command),
			     void *context, struct error *err)
{
	struct journal *journal = mem_new(struct journal);
	journal->loop = loop;
	journal->settings = settings;
	journal->on_durable = on_durable;
	journal->context = context;
	journal->lock_fd = -1;
	journal->trouble.what = "writing the journal";
	TAILQ_INIT(&journal->unwritten);
	STAILQ_INIT(&journal->posted);
	journal->flush = (struct loop_task){.run = flush, .context = journal};
	journal->lazy = loop_timer_new(loop, flush, journal);
	journal->retry = loop_timer_new(loop, on_retry, journal);
	journal->tidy = loop_timer_new(loop, on_tidy, journal);
	journal->is_off = bench_without_journal();
	if (journal->is_off) {
		log_warn("there is no journal: what dies with this process is lost");
		return journal;
	}
	if (open_folder(journal, err) != 0) {
		journal_close(journal);
		return NULL;
	}
	journal->spooled_bytes = (uint64_t)query_number(
	    journal->db, "SELECT total(answer_size) FROM commands WHERE answer_file IS NOT NULL");
	drop_old(journal);
	loop_timer_start(journal->tidy, TIDY_MS);
	return journal;
}

void journal_close(struct journal *journal)
{
	struct error err;
	if (journal == NULL)
		return;
	if (journal->db != NULL &&
	    (!TAILQ_EMPTY(&journal->unwritten) || !STAILQ_EMPTY(&journal->posted)) &&
	    write_all(journal, &err) != 0)
		log_error("the last writes to the journal were lost: %s", err.message);
	forget_posted(journal);
	loop_cancel(journal->loop, &journal->flush);
	loop_timer_free(journal->lazy);
	loop_timer_free(journal->retry);
	loop_timer_free(journal->tidy);
	close_database(journal);
	if (journal->lock_fd >= 0)
		close(journal->lock_fd);
	free(journal->folder);
	free(journal);
}
