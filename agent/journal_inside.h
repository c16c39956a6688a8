/* What the parts of the journal share. Nobody else includes it.
 *
 *     journal.c          decides when is written
 *     journal_store.c    writes and reads the rows
 *     journal_texts.c    those of texts, many in one
 *     journal_posted.c   those of what the source has, in batches
 *     journal_open.c     opens the folder and the database
 *     journal_walk.c     reads what waits
 *     journal_room.c     drops what is old
 *     journal_salvage.c  saves what it can of a damaged database
 *     journal_convert.c  takes over from an earlier version
 *
 * Five tables, so that each step of a command adds a row at the end of one, and none writes
 * again what an earlier step wrote:
 *
 *     commands   have not ended for their source, as they came, in the order of arrival (seq)
 *     texts      their JSON, that of all which came together in a row (journal_texts.c)
 *     executing  which of them (seq) began after they were stored
 *     answers    in the order in which they came (number); stay for duplicates until there is
 *                no room
 *     posted     what the source has; the rows in commands go with that (journal_posted.c)
 *
 * Which answer is whose is not looked for often: answers says the seq, and commands which number
 * answers had reached by then, so that the walk at the start need not read them all. */
#ifndef AGENT_JOURNAL_INSIDE_H
#define AGENT_JOURNAL_INSIDE_H

#include "agent/backoff.h"
#include "agent/journal.h"

#include <sys/queue.h>
#include <uthash.h>

struct sqlite3;
struct sqlite3_stmt;

enum {
	JOURNAL_BUSY_MS = 5000, /* somebody reads with `relay-agent journal` */
	JOURNAL_VERSION = 3,    /* of the tables: PRAGMA user_version */
};

/* As they are stored. */
enum stored_state { STORED_RECEIVED = 1, STORED_EXECUTING = 2 };

enum statement {
	BEGIN,
	BEGIN_READING,
	COMMIT,
	ROLLBACK,
	INSERT_COMMAND,
	INSERT_EXECUTING,
	INSERT_ANSWER,
	DELETE_ANSWER,
	FORGET_FILE,
	INSERT_TEXTS,
	DELETE_TEXTS,
	INSERT_POSTED,
	DELETE_COMMANDS,
	DELETE_EXECUTING,
	SELECT_POSTED,
	SELECT_ANSWER,
	STATEMENTS,
};

/* What `posted` says of a command; seq is for that in `commands`. */
struct posted_row {
	char *id;
	int64_t id_key;
	int64_t seq;
	int64_t answer;
	int64_t at_ms;
	enum answer_status status;
	int64_t ended_at_ms;
	int http_status;
	size_t answer_size;
};

struct journal {
	struct loop *loop;
	const struct settings *settings;
	struct journal_events events;
	char *folder; /* of spooled answers */
	char *aside;  /* where a damaged database is whose successor could not be begun yet */
	int lock_fd;
	struct sqlite3 *db;
	struct sqlite3_stmt *statements[STATEMENTS];
	int64_t last_seq;
	int64_t last_answer;
	TAILQ_HEAD(journal_list_head, command) unwritten;
	struct posted *posted;      /* for the next batch, which … */
	bool is_posted_due;         /* … begins with the next transaction */
	struct posted_batch *batch; /* on its way */
	struct text_row *text_rows;
	TAILQ_HEAD(text_row_list, text_row) dead_texts; /* go with the next transaction */
	struct buf shared_texts;                        /* of the transaction that is made */
	int64_t shared_row;
	int64_t last_text_row;
	struct loop_task flush;
	struct loop_task end_reading;
	struct loop_timer *lazy; /* for what nobody waits for */
	struct loop_timer *retry;
	struct loop_timer *tidy;
	struct backoff trouble;
	uint64_t spooled_bytes;
	uint64_t added_bytes;  /* since it was last looked whether there is room */
	int64_t dropped_until; /* answers up to this number are gone */
	bool forgets_early;    /* JOURNAL_MAX_MB is too small for DEDUPE_HOURS; said once */
	bool is_damaged;       /* what SQLite read is no database: to be set aside */
	bool had_room;
	bool is_full;             /* JOURNAL_MAX_MB is reached by answers that still wait */
	bool is_full_logged;      /* … and that was said */
	int64_t say_full_from_ms; /* monotonic; not before, as it was said lately. 0: at once */
	bool is_off;              /* nothing is stored (bench_switch.h): there is no database */
};

/* The SQL of each statement. */
extern const char *const journal_statement_texts[STATEMENTS];

/* ERR_SYSTEM with SQLite's words. */
int journal_fail(struct sqlite3 *db, struct error *err, const char *what);
/* One number; 0 where there is none. */
int64_t journal_query_number(struct sqlite3 *db, const char *sql);
void journal_count_spooled(struct journal *journal);
void journal_spool_remove(struct journal *journal, const char *name, int64_t size);

/* The file of a command's text, once no row names it any more. */
void journal_remove_text(struct journal *journal, struct command *command);
/* The same file as the command's text, to be named by a row of a new database. */
NODISCARD int journal_open_text(struct journal *journal, struct command *command,
				struct error *err);
/* How the names of those files end. */
#define JOURNAL_TEXT_SUFFIX ".command"

/* Runs a statement that has no rows. */
NODISCARD int journal_run(struct journal *journal, enum statement which, struct error *err);
/* By what a posted command is found: it needs a third of the id's room in the index. */
int64_t journal_id_key(const char *id);
/* Of an id and what belongs to it. */
int64_t journal_checksum(const char *id, const void *bytes, size_t size);
/* Inside a transaction: what a command has become since it was stored last. */
NODISCARD int journal_store_command(struct journal *journal, struct command *command,
				    struct error *err);
NODISCARD int journal_store_posted(struct journal *journal, const struct posted_row *posted,
				   struct error *err);
NODISCARD int journal_delete_commands(struct journal *journal, int64_t from, int64_t to,
				      struct error *err);
/* Of commands that are gone. */
NODISCARD int journal_clear_executing(struct journal *journal, struct error *err);
/* Fills all but id, seq and at_ms. ERR_NOT_FOUND, ERR_SYSTEM. */
NODISCARD int journal_find_posted(struct journal *journal, const char *id,
				  struct posted_row *posted, struct error *err);
/* By the command's journal_answer. ERR_NOT_FOUND: dropped; ERR_INVALID: lost; ERR_SYSTEM. */
NODISCARD int journal_read_answer(struct journal *journal, const struct command *command,
				  enum journal_load how, struct spool *json, struct error *err);

/* The command waits to be written as posted. */
void journal_posted_add(struct journal *journal, const struct command *command);
/* One that waits; NULL: it does not. */
const struct posted_row *journal_posted_find(const struct journal *journal, const char *id);
bool journal_posted_is_due(const struct journal *journal);
/* Inside a transaction: a slice of what is due; journal_posted_written when it is committed. */
NODISCARD int journal_posted_write(struct journal *journal, struct error *err);
void journal_posted_written(struct journal *journal);
void journal_posted_release(struct journal *journal);

/* A command whose text is in the row of that number was read. */
void journal_texts_use(struct journal *journal, int64_t number);
/* After all were read: the other rows are left over. */
void journal_texts_drop_unused(struct journal *journal);
/* The command needs its stored text no more; or it has none. */
void journal_texts_release(struct journal *journal, struct command *command);
/* The steps of a transaction: its beginning, each text (its row, and where it begins there), all
 * the rest, and after the commit. */
void journal_texts_begin(struct journal *journal);
NODISCARD int journal_texts_place(struct journal *journal, struct command *command, size_t *at,
				  struct error *err);
NODISCARD int journal_texts_write(struct journal *journal, struct error *err);
void journal_texts_written(struct journal *journal);
void journal_texts_forget(struct journal *journal);

/* Is it the one table of version 0? */
bool journal_is_convertible(struct sqlite3 *db);
/* Makes today's tables, by that SQL, with what it has. */
NODISCARD int journal_convert(struct sqlite3 *db, const char *tables, struct error *err);

/* Was SQLite's last error that what it read is damaged? */
bool journal_is_damage(struct journal *journal);

NODISCARD int journal_open_folder(struct journal *journal, struct error *err);
void journal_close_database(struct journal *journal);
/* Sets a damaged database aside and begins a new one with what can be read of it. */
NODISCARD int journal_begin_anew(struct journal *journal, struct error *err);
/* Copies the commands that can still be read from the database at path; how many. */
size_t journal_salvage(struct sqlite3 *to, const char *path);

/* Drops some of what nobody needs any more, and answers beyond JOURNAL_MAX_MB. Is there more
 * to drop? */
bool journal_drop_old(struct journal *journal);
void journal_make_room(struct journal *journal);
/* The same where added_bytes makes it worth while to look. */
void journal_bytes_added(struct journal *journal);

#endif
