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

	/* Pages of the WAL between checkpoints. While its file grows a sync takes longer, because
	 * the file system has more to write than what was written. So single commands, for each of
	 * which somebody waits, soon write over what it has. Those that come together share a
	 * sync, and have few checkpoints, which cost two more. */
	CHECKPOINT_PAGES_SINGLE = 250,
	CHECKPOINT_PAGES = 1000,
};

const char *const journal_statement_texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
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
};

static int end_statement(struct journal_store *store, enum statement which, int rc,
			 struct error *err)
{
	sqlite3_reset(store->statements[which]);
	sqlite3_clear_bindings(store->statements[which]);
	return rc == SQLITE_DONE ? 0 : journal_fail(store->db, err, journal_statement_texts[which]);
}

int journal_run(struct journal_store *store, enum statement which, struct error *err)
{
	return end_statement(store, which, sqlite3_step(store->statements[which]), err);
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

char *journal_spool_path(const char *folder, const char *name)
{
	return mem_printf("%s/%s", folder, name);
}

/* What is large: the file that it is, or one that is made of it. */
static int keep_file(struct journal_store *store, const char *name, struct spool *content,
		     struct error *err)
{
	char *path = journal_spool_path(store->folder, name);
	bool is_there = spool_is_file(content) && content->is_durable; /* a commit tried again */
	int rc = 0;
	if (spool_is_file(content))
		rc = spool_keep(content, path, err);
	else
		rc = file_write_atomic(path, buf_str(spool_memory(content)), content->size, 0600,
				       err);
	if (rc == 0 && !is_there)
		store->spooled_bytes += content->size;
	free(path);
	return rc;
}

bool journal_is_kept_as_file(const struct spool *content)
{
	return spool_is_file(content) || content->size >= SPOOL_FROM_BYTES;
}

void journal_spool_remove(struct journal_store *store, const char *name, int64_t size)
{
	char *path = journal_spool_path(store->folder, name);
	if (unlink(path) == 0 && store->spooled_bytes >= (uint64_t)size)
		store->spooled_bytes -= (uint64_t)size;
	free(path);
}

void journal_remove_text(struct journal_store *store, struct command *command)
{
	if (!command->has_text_file)
		return;
	struct file_name name = name_of(command->id, JOURNAL_TEXT_SUFFIX);
	journal_spool_remove(store, name.text, (int64_t)command->stored_text_size);
	command->has_text_file = false;
}

int journal_open_text(struct journal_store *store, struct command *command, struct error *err)
{
	struct file_name name = name_of(command->id, JOURNAL_TEXT_SUFFIX);
	char *path = journal_spool_path(store->folder, name.text);
	int rc = spool_open(&command->text, path, err);
	free(path);
	return rc;
}

/* Where the text is: in a row of texts, or a file whose name is bound as long as name lives. */
static int bind_text_place(struct journal_store *store, const struct journal_entry *entry,
			   struct file_name *name, struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_COMMAND];
	sqlite3_bind_int64(statement, 10, entry->text_checksum);
	store->added_bytes += entry->text_size;
	if (entry->text_file != NULL) {
		*name = name_of(entry->id, JOURNAL_TEXT_SUFFIX);
		bind_text(statement, 12, name->text);
		return keep_file(store, name->text, entry->text_file, err);
	}
	sqlite3_bind_int64(statement, 13, entry->text_row);
	sqlite3_bind_int64(statement, 14, (int64_t)entry->text_at);
	return 0;
}

static int insert_command(struct journal_store *store, const struct journal_entry *entry,
			  struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_COMMAND];
	struct file_name name;
	sqlite3_bind_int64(statement, 1, entry->seq);
	bind_text(statement, 2, entry->id);
	sqlite3_bind_int(statement, 3, entry->is_executing ? STORED_EXECUTING : STORED_RECEIVED);
	bind_text(statement, 4, entry->receipt);
	sqlite3_bind_int(statement, 5, entry->attempt);
	bind_text(statement, 6, entry->upload_url);
	sqlite3_bind_int64(statement, 7, entry->expires_at_ms);
	sqlite3_bind_int64(statement, 8, entry->received_at_ms);
	sqlite3_bind_int64(statement, 9, entry->answers_before);
	sqlite3_bind_int64(statement, 11, (int64_t)entry->text_size);
	if (entry->text_size > 0 && bind_text_place(store, entry, &name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	store->added_bytes += ROW_BYTES;
	return journal_run(store, INSERT_COMMAND, err);
}

/* In the row, or the name of a file there; it is bound as long as name lives. */
static int bind_answer_json(struct journal_store *store, const struct journal_entry *entry,
			    struct file_name *name, struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_ANSWER];
	struct spool *json = entry->json;
	store->added_bytes += json->size;
	if (journal_is_kept_as_file(json)) {
		*name = name_of(entry->id, "");
		bind_text(statement, 10, name->text);
		return keep_file(store, name->text, json, err);
	}
	const char *bytes = buf_str(spool_memory(json));
	sqlite3_bind_int64(statement, 11, journal_checksum(entry->id, bytes, json->size));
	sqlite3_bind_blob64(statement, 12, bytes, json->size, SQLITE_STATIC);
	return 0;
}

static int run_for(struct journal_store *store, enum statement which, int64_t key,
		   struct error *err)
{
	sqlite3_bind_int64(store->statements[which], 1, key);
	return journal_run(store, which, err);
}

static int insert_answer(struct journal_store *store, const struct journal_entry *entry,
			 struct error *err)
{
	sqlite3_stmt *statement = store->statements[INSERT_ANSWER];
	struct file_name name;
	sqlite3_bind_int64(statement, 1, entry->answer);
	sqlite3_bind_int64(statement, 2, entry->seq);
	bind_text(statement, 3, entry->id);
	bind_text(statement, 4, entry->receipt);
	sqlite3_bind_int(statement, 5, entry->attempt);
	sqlite3_bind_int(statement, 6, (int)entry->status);
	sqlite3_bind_int64(statement, 7, entry->ended_at_ms);
	sqlite3_bind_int(statement, 8, entry->http_status);
	sqlite3_bind_int64(statement, 9, (int64_t)entry->json->size);
	if (bind_answer_json(store, entry, &name, err) != 0) {
		sqlite3_clear_bindings(statement);
		return err->code;
	}
	int rc = sqlite3_step(statement);
	if (rc == SQLITE_CONSTRAINT) { /* it was saved from a damaged database */
		sqlite3_reset(statement);
		if (run_for(store, DELETE_ANSWER, entry->answer, err) != 0) {
			sqlite3_clear_bindings(statement);
			return err->code;
		}
		rc = sqlite3_step(statement);
	}
	return end_statement(store, INSERT_ANSWER, rc, err);
}

/* What a command has become since it was stored last. */
static int write_entry(struct journal_store *store, const struct journal_entry *entry,
		       struct error *err)
{
	if (entry->is_new && insert_command(store, entry, err) != 0)
		return err->code;
	if (entry->is_done) {
		/* It goes when this transaction is committed. */
		if (entry->forgets_file && run_for(store, FORGET_FILE, entry->seq, err) != 0)
			return err->code;
		return insert_answer(store, entry, err);
	}
	if (!entry->is_new && entry->is_executing)
		return run_for(store, INSERT_EXECUTING, entry->seq, err);
	return 0;
}

static int on_commit(void *context, sqlite3 *db, const char *name, int pages)
{
	const struct journal_store *store = context;
	if (pages >= store->checkpoint_pages) /* if it fails now, the next commit tries again */
		(void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return SQLITE_OK;
}

void journal_store_set_checkpoints(struct journal_store *store)
{
	store->checkpoint_pages = CHECKPOINT_PAGES_SINGLE;
	(void)sqlite3_wal_hook(store->db, on_commit, store);
}

int journal_store_write(struct journal_store *store, struct journal_batch *batch, struct error *err)
{
	if (batch->count > 0)
		store->checkpoint_pages =
		    batch->count == 1 ? CHECKPOINT_PAGES_SINGLE : CHECKPOINT_PAGES;
	if (journal_run(store, BEGIN, err) != 0)
		return err->code;
	for (size_t i = 0; i < batch->count; i++) {
		if (write_entry(store, &batch->entries[i], err) != 0)
			return err->code;
	}
	if (journal_store_dead_texts(store, batch, err) != 0 ||
	    journal_store_texts(store, batch, err) != 0)
		return err->code;
	if (batch->posted != NULL &&
	    journal_store_posted(store, batch->posted, batch->next_seq, err) != 0)
		return err->code;
	return journal_run(store, COMMIT, err);
}

void journal_store_roll_back(struct journal_store *store)
{
	if (store->db == NULL || sqlite3_get_autocommit(store->db))
		return;
	/* The transaction is gone either way. */
	(void)sqlite3_step(store->statements[ROLLBACK]);
	sqlite3_reset(store->statements[ROLLBACK]);
}
