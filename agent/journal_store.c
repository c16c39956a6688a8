#include "agent/journal_inside.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "crypto/digest.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SPOOL_FROM_BYTES = 256 * 1024, /* larger answers are files beside the database */
	ROW_BYTES = 300,               /* what a command's rows take beside text and answer */
};

const char *const journal_statement_texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [BEGIN_READING] = "BEGIN",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT_COMMAND] =
	"INSERT OR REPLACE INTO commands (seq, id, state, receipt, attempt, upload_url, expires_at,"
	" received_at, answers_before, checksum, text_size, command_file, text_row, text_at)"
	" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [INSERT_EXECUTING] = "INSERT OR REPLACE INTO executing (seq) VALUES (?1)",
    /* Without OR REPLACE: in a table with an index that makes SQLite copy every page that the
     * statement changes, to undo it alone. */
    [INSERT_ANSWER] = "INSERT INTO answers (number, seq, id, receipt, attempt, status, "
		      "ended_at, http_status,"
		      " answer_size, answer_file, checksum, answer)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [DELETE_ANSWER] = "DELETE FROM answers WHERE number = ?1",
    [FORGET_FILE] = "UPDATE commands SET text_size = 0, command_file = NULL WHERE seq = ?1",
    [INSERT_TEXTS] = "INSERT INTO texts (number, texts) VALUES (?1, ?2)",
    [DELETE_TEXTS] = "DELETE FROM texts WHERE number = ?1",
    [INSERT_POSTED] = "INSERT INTO posted (id_key, id, posted_at, status, ended_at, http_status,"
		      " answer_size, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [DELETE_COMMANDS] = "DELETE FROM commands WHERE seq BETWEEN ?1 AND ?2",
    [DELETE_EXECUTING] =
	"DELETE FROM executing WHERE seq < coalesce((SELECT min(seq) FROM commands), ?1)",
    [SELECT_POSTED] = "SELECT id, status, ended_at, http_status, answer_size, answer FROM posted"
		      " WHERE id_key = ?1 ORDER BY number DESC",
    [SELECT_ANSWER] = "SELECT answer_file, checksum, answer FROM answers WHERE number = ?1"
		      " AND id = ?2",
};

static int end_statement(struct journal *journal, enum statement which, int rc, struct error *err)
{
	sqlite3_reset(journal->statements[which]);
	sqlite3_clear_bindings(journal->statements[which]);
	return rc == SQLITE_DONE ? 0
				 : journal_fail(journal->db, err, journal_statement_texts[which]);
}

int journal_run(struct journal *journal, enum statement which, struct error *err)
{
	return end_statement(journal, which, sqlite3_step(journal->statements[which]), err);
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	if (text != NULL)
		sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, index);
}

int64_t journal_id_key(const char *id)
{
	return (int64_t)hash_bytes(id, strlen(id), 0);
}

/* SQLite finds what breaks its own structure, not a bit that turned in the midst of a text. */
int64_t journal_checksum(const char *id, const void *bytes, size_t size)
{
	return (int64_t)hash_bytes(bytes, size, (uint64_t)journal_id_key(id));
}

/* Ids are the requestors'; their digest is a safe file name. */
struct file_name {
	char text[SHA256_TEXT_SIZE + sizeof JOURNAL_TEXT_SUFFIX];
};

static struct file_name name_of(const char *id, const char *suffix)
{
	struct file_name name;
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_TEXT_SIZE];
	digest_sha256(id, strlen(id), digest);
	digest_to_hex(digest, hex);
	snprintf(name.text, sizeof name.text, "%s%s", hex, suffix);
	return name;
}

static char *spool_path(const struct journal *journal, const char *name)
{
	return mem_printf("%s/%s", journal->folder, name);
}

/* What is large: the file that it is, or one that is made of it. */
static int keep_file(struct journal *journal, const char *name, struct spool *content,
		     struct error *err)
{
	char *path = spool_path(journal, name);
	bool is_there = spool_is_file(content) && content->is_durable; /* a commit tried again */
	int rc = 0;
	if (spool_is_file(content))
		rc = spool_keep(content, path, err);
	else
		rc = file_write_atomic(path, buf_str(spool_memory(content)), content->size, 0600,
				       err);
	if (rc == 0 && !is_there)
		journal->spooled_bytes += content->size;
	free(path);
	return rc;
}

static bool is_kept_as_file(const struct spool *content)
{
	return spool_is_file(content) || content->size >= SPOOL_FROM_BYTES;
}

void journal_spool_remove(struct journal *journal, const char *name, int64_t size)
{
	char *path = spool_path(journal, name);
	if (unlink(path) == 0 && journal->spooled_bytes >= (uint64_t)size)
		journal->spooled_bytes -= (uint64_t)size;
	free(path);
}

void journal_remove_text(struct journal *journal, struct command *command)
{
	if (!command->has_text_file)
		return;
	struct file_name name = name_of(command->id, JOURNAL_TEXT_SUFFIX);
	journal_spool_remove(journal, name.text, (int64_t)command->stored_text_size);
	command->has_text_file = false;
}

int journal_open_text(struct journal *journal, struct command *command, struct error *err)
{
	struct file_name name = name_of(command->id, JOURNAL_TEXT_SUFFIX);
	char *path = spool_path(journal, name.text);
	int rc = spool_open(&command->text, path, err);
	free(path);
	return rc;
}

static int bind_command_text(struct journal *journal, sqlite3_stmt *statement,
			     struct command *command, struct file_name *name, struct error *err)
{
	size_t at;
	sqlite3_bind_int64(statement, 10, command->text_checksum);
	command->stored_text_size = command->text.size; /* also when the transaction fails */
	command->has_text_file = is_kept_as_file(&command->text);
	journal->added_bytes += command->text.size;
	if (command->has_text_file) {
		*name = name_of(command->id, JOURNAL_TEXT_SUFFIX);
		bind_text(statement, 12, name->text);
		return keep_file(journal, name->text, &command->text, err);
	}
	if (journal_texts_place(journal, command, &at, err) != 0)
		return err->code;
	sqlite3_bind_int64(statement, 13, command->text_row);
	sqlite3_bind_int64(statement, 14, (int64_t)at);
	return 0;
}

static int insert_command(struct journal *journal, struct command *command, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[INSERT_COMMAND];
	bool is_executing = command->state == COMMAND_EXECUTING;
	struct file_name name;
	if (command->journal_seq == 0)
		command->journal_seq = ++journal->last_seq;
	sqlite3_bind_int64(statement, 1, command->journal_seq);
	bind_text(statement, 2, command->id);
	sqlite3_bind_int(statement, 3, is_executing ? STORED_EXECUTING : STORED_RECEIVED);
	bind_text(statement, 4, command->receipt);
	sqlite3_bind_int(statement, 5, command->attempt);
	bind_text(statement, 6, command->upload_url);
	sqlite3_bind_int64(statement, 7, command->expires_at_ms);
	sqlite3_bind_int64(statement, 8, command->received_at_ms);
	sqlite3_bind_int64(statement, 9,
			   command->journal_answer != 0 ? command->journal_answer - 1
							: journal->last_answer);
	size_t size = command->state < COMMAND_DONE ? command->text.size : 0;
	sqlite3_bind_int64(statement, 11, (int64_t)size);
	if (size > 0 && bind_command_text(journal, statement, command, &name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	journal->added_bytes += ROW_BYTES;
	return journal_run(journal, INSERT_COMMAND, err);
}

/* In the row, or the name of a file there; it is bound as long as name lives. */
static int bind_answer_json(struct journal *journal, sqlite3_stmt *statement,
			    struct command *command, struct file_name *name, struct error *err)
{
	struct spool *json = &command->answer.json;
	journal->added_bytes += json->size;
	if (is_kept_as_file(json)) {
		*name = name_of(command->id, "");
		bind_text(statement, 10, name->text);
		return keep_file(journal, name->text, json, err);
	}
	const char *bytes = buf_str(spool_memory(json));
	sqlite3_bind_int64(statement, 11, journal_checksum(command->id, bytes, json->size));
	sqlite3_bind_blob64(statement, 12, bytes, json->size, SQLITE_STATIC);
	return 0;
}

static int run_for(struct journal *journal, enum statement which, int64_t key, struct error *err)
{
	sqlite3_bind_int64(journal->statements[which], 1, key);
	return journal_run(journal, which, err);
}

static int insert_answer(struct journal *journal, struct command *command, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[INSERT_ANSWER];
	struct answer *answer = &command->answer;
	struct file_name name;
	if (command->journal_answer == 0)
		command->journal_answer = ++journal->last_answer;
	sqlite3_bind_int64(statement, 1, command->journal_answer);
	sqlite3_bind_int64(statement, 2, command->journal_seq);
	bind_text(statement, 3, command->id);
	bind_text(statement, 4, command->receipt);
	sqlite3_bind_int(statement, 5, command->attempt);
	sqlite3_bind_int(statement, 6, (int)answer->status);
	sqlite3_bind_int64(statement, 7, answer->ended_at_ms);
	sqlite3_bind_int(statement, 8, answer->http_status);
	sqlite3_bind_int64(statement, 9, (int64_t)answer->json.size);
	if (bind_answer_json(journal, statement, command, &name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	int rc = sqlite3_step(statement);
	if (rc == SQLITE_CONSTRAINT) { /* it was saved from a damaged database */
		sqlite3_reset(statement);
		if (run_for(journal, DELETE_ANSWER, command->journal_answer, err) != 0) {
			sqlite3_clear_bindings(statement);
			return err->code;
		}
		rc = sqlite3_step(statement);
	}
	return end_statement(journal, INSERT_ANSWER, rc, err);
}

int journal_store_command(struct journal *journal, struct command *command, struct error *err)
{
	bool is_new = !command->is_stored;
	if (is_new && insert_command(journal, command, err) != 0)
		return err->code;
	if (command->state >= COMMAND_DONE) {
		/* It goes with this transaction. */
		if (!is_new && command->has_text_file &&
		    run_for(journal, FORGET_FILE, command->journal_seq, err) != 0)
			return err->code;
		return insert_answer(journal, command, err);
	}
	if (!is_new && command->state == COMMAND_EXECUTING)
		return run_for(journal, INSERT_EXECUTING, command->journal_seq, err);
	return 0;
}

int journal_store_posted(struct journal *journal, const struct posted_row *posted,
			 struct error *err)
{
	sqlite3_stmt *statement = journal->statements[INSERT_POSTED];
	sqlite3_bind_int64(statement, 1, posted->id_key);
	bind_text(statement, 2, posted->id);
	sqlite3_bind_int64(statement, 3, posted->at_ms);
	sqlite3_bind_int(statement, 4, (int)posted->status);
	sqlite3_bind_int64(statement, 5, posted->ended_at_ms);
	sqlite3_bind_int(statement, 6, posted->http_status);
	sqlite3_bind_int64(statement, 7, (int64_t)posted->answer_size);
	sqlite3_bind_int64(statement, 8, posted->answer);
	return journal_run(journal, INSERT_POSTED, err);
}

int journal_delete_commands(struct journal *journal, int64_t from, int64_t to, struct error *err)
{
	sqlite3_bind_int64(journal->statements[DELETE_COMMANDS], 1, from);
	sqlite3_bind_int64(journal->statements[DELETE_COMMANDS], 2, to);
	return journal_run(journal, DELETE_COMMANDS, err);
}

int journal_clear_executing(struct journal *journal, struct error *err)
{
	return run_for(journal, DELETE_EXECUTING, journal->last_seq + 1, err);
}

/* SQLITE_ROW, SQLITE_DONE or what went wrong, twice: a read that failed often succeeds when it
 * is tried again. */
static int select_first(struct journal *journal, enum statement which, int64_t key)
{
	sqlite3_stmt *statement = journal->statements[which];
	sqlite3_bind_int64(statement, 1, key);
	int rc = sqlite3_step(statement);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		sqlite3_reset(statement);
		rc = sqlite3_step(statement);
	}
	return rc;
}

static void end_select(struct journal *journal, enum statement which)
{
	sqlite3_reset(journal->statements[which]);
	sqlite3_clear_bindings(journal->statements[which]);
}

int journal_find_posted(struct journal *journal, const char *id, struct posted_row *posted,
			struct error *err)
{
	sqlite3_stmt *statement = journal->statements[SELECT_POSTED];
	int rc = select_first(journal, SELECT_POSTED, journal_id_key(id));
	int result = ERR_NOT_FOUND;
	while (rc == SQLITE_ROW && result != 0) {
		const char *stored = (const char *)sqlite3_column_text(statement, 0);
		if (stored != NULL && strcmp(stored, id) == 0) {
			posted->status = (enum answer_status)sqlite3_column_int(statement, 1);
			posted->ended_at_ms = sqlite3_column_int64(statement, 2);
			posted->http_status = sqlite3_column_int(statement, 3);
			posted->answer_size = (size_t)sqlite3_column_int64(statement, 4);
			posted->answer = sqlite3_column_int64(statement, 5);
			result = 0;
		} else {
			rc = sqlite3_step(statement);
		}
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		result = journal_fail(journal->db, err, "looking for a command");
	end_select(journal, SELECT_POSTED);
	return result;
}

static int read_file(const struct journal *journal, const char *name, enum journal_load how,
		     struct spool *json, struct error *err)
{
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	char *path = spool_path(journal, name);
	int rc = how == JOURNAL_LOAD_AS_STORED ? spool_open(json, path, err)
					       : file_read(path, &content, err);
	if (rc == ERR_NOT_FOUND)
		rc = ERR_INVALID; /* nobody has dropped it, it is missing */
	if (rc == 0 && how == JOURNAL_LOAD_INTO_MEMORY)
		spool_take(json, &content);
	buf_release(&content);
	free(path);
	return rc;
}

static int read_row(sqlite3_stmt *statement, const char *id, struct spool *json, struct error *err)
{
	const void *bytes = sqlite3_column_blob(statement, 2);
	size_t size = (size_t)sqlite3_column_bytes(statement, 2);
	if (sqlite3_column_int64(statement, 1) != journal_checksum(id, bytes, size))
		return error_set(err, ERR_INVALID, "its checksum is wrong: the disk changed it");
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	buf_append(&content, bytes, size);
	int rc = buf_check(&content, "stored answer", err);
	if (rc == 0)
		spool_take(json, &content);
	buf_release(&content);
	return rc;
}

int journal_read_answer(struct journal *journal, const struct command *command,
			enum journal_load how, struct spool *json, struct error *err)
{
	sqlite3_stmt *statement = journal->statements[SELECT_ANSWER];
	bind_text(statement, 2, command->id);
	int found = select_first(journal, SELECT_ANSWER, command->journal_answer);
	int rc;
	if (found == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
		rc = read_file(journal, (const char *)sqlite3_column_text(statement, 0), how, json,
			       err);
	else if (found == SQLITE_ROW)
		rc = read_row(statement, command->id, json, err);
	else if (found == SQLITE_DONE)
		rc = error_set(err, ERR_NOT_FOUND, "the stored answer was dropped to make room");
	else
		rc = journal_fail(journal->db, err, "reading an answer");
	end_select(journal, SELECT_ANSWER);
	return rc;
}
