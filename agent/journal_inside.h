/* What the parts of the journal share. Nobody else includes it.
 *
 *     journal.c          what the others call
 *     journal_work.c     what is written, when, and what follows
 *     journal_full.c     says whether there is room
 *     journal_batch.c    what one transaction writes
 *     journal_texts.c    … of texts, many in a row
 *     journal_posted.c   … of what the source has, in batches
 *     journal_store.c    writes the rows
 *     journal_room.c     drops what is old
 *     journal_known.c    which ids need not be looked for
 *     journal_read.c     looks for commands, reads answers
 *     journal_walk.c     reads what waits
 *     journal_open.c     opens the folder and the database
 *     journal_left.c     removes files that nobody needs
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
 * answers had reached by then, so that the walk at the start need not read them all.
 *
 * The disk is waited for on another thread (loop_work): the loop makes a journal_batch of what
 * changed, and until that is written struct journal_store and the batch are that thread's alone.
 * Everything else is always the loop's. When no batch is under way the store is the loop's too, which
 * opens it, closes it and begins it anew, and looks things up in it; while one is, it looks them up by
 * a connection of its own. */
#ifndef AGENT_JOURNAL_INSIDE_H
#define AGENT_JOURNAL_INSIDE_H

#include "agent/backoff.h"
#include "agent/journal.h"

#include <bloom.h>
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

/* Those that write. */
enum statement {
	BEGIN,
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
	STATEMENTS,
};

/* Those that read. */
enum query { BEGIN_READING, END_READING, SELECT_POSTED, SELECT_ANSWER, SELECT_KEYS, QUERIES };

/* The database, and what is known of it. */
struct journal_store {
	const struct settings *settings;
	char *folder; /* of spooled answers */
	struct sqlite3 *db;
	struct sqlite3_stmt *statements[STATEMENTS];
	struct sqlite3_stmt *queries[QUERIES];
	struct buf row;       /* of texts, as it is put together */
	int checkpoint_pages; /* of the WAL: at so many it goes into the database and begins again */
	uint64_t spooled_bytes;
	uint64_t added_bytes;  /* since it was last looked whether there is room */
	uint64_t used_bytes;   /* … and what it held then */
	int64_t dropped_until; /* answers up to this number are gone */
	int64_t dropped_rows;  /* of `posted`, since the loop took note of it */
	bool is_full;          /* JOURNAL_MAX_MB is reached by answers that still wait */
	bool forgets_early;    /* JOURNAL_MAX_MB is too small for DEDUPE_HOURS */
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

/* What a batch writes of one command, which may become something else meanwhile. What is borrowed
 * of it nobody changes before the batch is written. */
struct journal_entry {
	struct command *command; /* is not looked into by who writes */
	int64_t seq;
	const char *id; /* borrowed */
	char *receipt;  /* NULL: none */
	int attempt;
	bool is_new; /* its first row; else it has one */
	bool is_executing;
	bool is_done;
	bool forgets_file; /* its row names that of its text, which goes */

	/* is_new: */
	char *upload_url; /* NULL: none */
	int64_t expires_at_ms;
	int64_t received_at_ms;
	int64_t answers_before;
	int64_t text_checksum;
	size_t text_size;        /* 0: it has none, or needs none any more */
	struct spool *text_file; /* borrowed; NULL: it is in a row of texts */
	int64_t text_row;
	size_t text_at;

	/* is_done: */
	int64_t answer;
	enum answer_status status;
	int64_t ended_at_ms;
	int http_status;
	struct spool *json; /* borrowed */
};

/* A new row of texts: that of one command, or so many of the batch's shared ones. */
struct text_insert {
	int64_t number;
	const struct buf *own; /* borrowed; NULL: shared ones */
	size_t first;
	size_t count;
	size_t size;
};

TAILQ_HEAD(journal_list, command);
TAILQ_HEAD(text_row_list, text_row);

/* What one transaction writes. */
struct journal_batch {
	struct journal_list commands; /* that it writes, by journal_link */
	struct journal_entry *entries;
	size_t count;
	const struct buf **shared_texts; /* borrowed */
	size_t shared_count;
	struct text_insert *text_inserts;
	size_t text_count;
	size_t shared_at;                /* behind which of them shared texts go on; 0: none */
	struct text_row_list dead_texts; /* rows to be deleted */
	struct posted_batch *posted;     /* a slice of it is due; NULL: none */
	bool is_rewriting;               /* what it borrows may be posted meanwhile */
	int64_t next_seq;                /* no command has this or a higher number */

	/* How it went. */
	int64_t took_ms;
	int rc;
	struct error err;
	bool is_damage;
};

/* The loop's own connection. Without it no other thread has the store. */
struct journal_reader {
	struct sqlite3 *db; /* NULL: it was not needed yet */
	struct sqlite3_stmt *queries[QUERIES];
};

/* Which ids `posted` may have a row for (journal_known.c). */
struct journal_known {
	struct bloom bloom; /* of keys */
	bool is_complete;   /* a key that is not in it is not in `posted`, unless … */
	bool is_lossy;      /* … something is wrong with it: then the database is always asked */
	bool is_scan_due;   /* a piece of the scan for what is missing … */
	int64_t next_key;   /* … which goes on there */
	/* The last piece; NULL: there was none. While one runs it is the work's. */
	struct journal_scan *scan;
};

/* What the other thread does, or the loop in its stead. */
enum journal_work {
	WORK_WRITE, /* a batch */
	WORK_TIDY,  /* what is old is dropped */
	WORK_ROOM,  /* … or only what JOURNAL_MAX_MB does not allow */
	WORK_SCAN,  /* keys of `posted` are read */
};

struct journal {
	struct loop *loop;
	const struct settings *settings;
	struct journal_events events;
	char *aside; /* where a damaged database is whose successor could not be begun yet */
	struct journal_store store;
	struct journal_reader reader;
	struct journal_known known;
	int64_t last_seq;
	int64_t last_answer;
	int64_t last_text_row;
	struct journal_list unwritten;
	size_t unwritten_count;
	struct posted *posted;      /* for the next batch of them */
	struct posted_batch *batch; /* on its way */
	struct text_row *text_rows;
	struct text_row_list dead_texts; /* go with the next transaction */
	struct loop_work *writing;
	struct journal_batch *written; /* what is being written */
	struct loop_task flush;
	struct loop_task end_reading;
	struct loop_timer *lazy; /* for what nobody waits for */
	struct loop_timer *retry;
	struct loop_timer *tidy;
	struct loop_timer *company; /* for what a transaction waits */
	size_t last_count;          /* commands in the last one */
	struct backoff trouble;
	int64_t say_full_from_ms; /* monotonic; not before, as it was said lately. 0: at once */
	int lock_fd;
	enum journal_work work; /* that runs, or ran last */
	bool is_posted_due;     /* a batch of them begins with the next transaction */
	bool is_more_to_drop;
	bool is_disk_slow; /* when it was written last */
	bool is_tidy_due;
	bool is_room_due;
	bool is_damaged;    /* what SQLite read is no database: to be set aside */
	bool is_begun_anew; /* … and nothing was written since */
	bool had_room;
	bool is_full;            /* as the store was when it was last looked */
	bool is_full_logged;     /* … and that was said */
	bool is_forgetting_said; /* that it forgets early */
	bool is_off;             /* nothing is stored (bench_switch.h): there is no database */
};

/* The SQL of each. */
extern const char *const journal_statement_texts[STATEMENTS];
extern const char *const journal_query_texts[QUERIES];

/* ERR_SYSTEM with SQLite's words. */
int journal_fail(struct sqlite3 *db, struct error *err, const char *what);
/* Was SQLite's last error that what it read is damaged? */
bool journal_is_damage(struct sqlite3 *db);
/* One number; 0 where there is none. */
int64_t journal_query_number(struct sqlite3 *db, const char *sql);

/* -- when it is written: the loop's -- */

void journal_work_init(struct journal *journal);
/* Once the database is open: drops what is old. */
void journal_work_begin(struct journal *journal);
/* Waits for what is under way and writes what is left, where it can. */
void journal_work_end(struct journal *journal);
void journal_work_release(struct journal *journal);
/* The command's state goes with the next transaction. journal_flush_soon is due then. */
void journal_write_later(struct journal *journal, struct command *command);
void journal_flush_soon(struct journal *journal);
/* Within a second. */
void journal_write_lazily(struct journal *journal);

/* After the store has dropped what is old: is there room now? */
void journal_say_room(struct journal *journal);

/* -- what is to be written: the loop's -- */

/* Takes all that is unwritten. Commands must live until it is freed. */
struct journal_batch *journal_batch_new(struct journal *journal);
/* It is not written: what it would have written waits again. */
void journal_batch_take_back(struct journal *journal, struct journal_batch *batch);
void journal_batch_free(struct journal_batch *batch);

/* The command waits to be written as posted. */
void journal_posted_add(struct journal *journal, const struct command *command);
/* One that waits; NULL: it does not. */
const struct posted_row *journal_posted_find(const struct journal *journal, const char *id);
/* All that wait. */
void journal_posted_make_known(struct journal *journal);
bool journal_posted_is_due(const struct journal *journal);
/* What is due of it, for the next transaction; NULL: nothing. journal_posted_written when that is
 * committed. */
struct posted_batch *journal_posted_begin(struct journal *journal);
void journal_posted_written(struct journal *journal);
void journal_posted_release(struct journal *journal);

/* A command whose text is in the row of that number was read. */
void journal_texts_use(struct journal *journal, int64_t number);
/* After all were read: the other rows are left over. */
void journal_texts_drop_unused(struct journal *journal);
/* The command needs its stored text no more; or it has none. */
void journal_texts_release(struct journal *journal, struct command *command);
/* A place for the text of a command in a row that the batch adds, and where it begins there. */
void journal_texts_place(struct journal *journal, struct journal_batch *batch,
			 struct command *command, size_t *at);
/* The batch is not written: to rows come the rows that it was to add. */
void journal_texts_take_back(struct journal *journal, struct journal_batch *batch,
			     struct text_row_list *rows);
/* Rows that go, from one list to the end of another. */
void journal_texts_move(struct text_row_list *to, struct text_row_list *from);
/* Their rows are gone. */
void journal_texts_forget_rows(struct journal *journal, struct text_row_list *rows);
void journal_texts_release_all(struct journal *journal);

/* From what the store's tables say; once more when they are another database's. */
void journal_known_begin(struct journal *journal);
void journal_known_release(struct journal_known *known);
void journal_known_add(struct journal_known *known, int64_t id_key);
/* False: `posted` has no row with that key, nor does one wait to be written. */
bool journal_known_may_have(struct journal_known *known, int64_t id_key);
/* Rows were dropped: when they are many, their keys go. */
void journal_known_forget(struct journal *journal);
/* Before and after journal_store_scan. */
void journal_known_prepare_scan(struct journal_known *known);
void journal_known_end_scan(struct journal_known *known);

/* -- the store: whoever has it -- */

/* From now on the store decides when its WAL is checkpointed, instead of SQLite. */
void journal_store_set_checkpoints(struct journal_store *store);
/* One transaction, all or nothing. */
NODISCARD int journal_store_write(struct journal_store *store, struct journal_batch *batch,
				  struct error *err);
void journal_store_roll_back(struct journal_store *store);
/* Runs a statement that has no rows. */
NODISCARD int journal_run(struct journal_store *store, enum statement which, struct error *err);
/* By what a posted command is found: it needs a third of the id's room in the index. */
int64_t journal_id_key(const char *id);
/* Of an id and what belongs to it. */
int64_t journal_checksum(const char *id, const void *bytes, size_t size);
/* Inside a transaction. */
NODISCARD int journal_store_texts(struct journal_store *store, const struct journal_batch *batch,
				  struct error *err);
NODISCARD int journal_store_dead_texts(struct journal_store *store,
				       const struct journal_batch *batch, struct error *err);
/* A slice of what is due. */
NODISCARD int journal_store_posted(struct journal_store *store, struct posted_batch *batch,
				   int64_t next_seq, struct error *err);

/* The next keys of `posted`, in their order. */
void journal_store_scan(struct journal_store *store, struct journal_scan *scan);

/* Does this go to a file beside the database? */
bool journal_is_kept_as_file(const struct spool *content);
void journal_spool_remove(struct journal_store *store, const char *name, int64_t size);
/* Where that file is; the caller frees it. */
char *journal_spool_path(const char *folder, const char *name);
/* The file of a command's text, once no row names it any more. */
void journal_remove_text(struct journal_store *store, struct command *command);
/* The same file as the command's text, to be named by a row of a new database. */
NODISCARD int journal_open_text(struct journal_store *store, struct command *command,
				struct error *err);
/* How the names of those files end. */
#define JOURNAL_TEXT_SUFFIX ".command"

void journal_count_spooled(struct journal_store *store);
/* Drops some of what nobody needs any more, and answers beyond JOURNAL_MAX_MB. Is there more
 * to drop? */
bool journal_drop_old(struct journal_store *store);
/* Has so much been added that it is worth while to look whether there is room? */
bool journal_has_added_much(const struct journal_store *store);
void journal_make_room(struct journal_store *store);

/* -- reading: the loop's -- */

/* Fills all but id, seq and at_ms. ERR_NOT_FOUND, ERR_SYSTEM. */
NODISCARD int journal_find_posted(struct journal *journal, const char *id,
				  struct posted_row *posted, struct error *err);
/* By the command's journal_answer. ERR_NOT_FOUND: dropped; ERR_INVALID: lost; ERR_SYSTEM. */
NODISCARD int journal_read_answer(struct journal *journal, const struct command *command,
				  enum journal_load how, struct spool *json, struct error *err);
/* The look-ups of a turn share a transaction; at its end, or before the store changes hands. */
void journal_end_reading(struct journal *journal);

/* -- opening and closing -- */

/* Is it the one table of version 0? */
bool journal_is_convertible(struct sqlite3 *db);
/* Makes today's tables, by that SQL, with what it has. */
NODISCARD int journal_convert(struct sqlite3 *db, const char *tables, struct error *err);
NODISCARD int journal_open_folder(struct journal *journal, struct error *err);
/* When the database is open. */
void journal_remove_left_files(struct journal *journal);
NODISCARD int journal_open_reader(struct journal *journal, struct error *err);
void journal_close_database(struct journal *journal);
/* Sets a damaged database aside and begins a new one with what can be read of it. */
NODISCARD int journal_begin_anew(struct journal *journal, struct error *err);
/* Copies the commands that can still be read from the database at path; how many. */
size_t journal_salvage(struct sqlite3 *to, const char *path);

#endif
