/* What the parts of the journal share: journal.c writes, journal_open.c opens the folder and
 * the database, journal_salvage.c saves what it can of a damaged one, journal_room.c drops
 * what is old, journal_rows.c reads what waits. Nobody else includes it. */
#ifndef AGENT_JOURNAL_INSIDE_H
#define AGENT_JOURNAL_INSIDE_H

#include "agent/backoff.h"
#include "agent/journal.h"

#include <sys/queue.h>

struct sqlite3;
struct sqlite3_stmt;

enum { JOURNAL_BUSY_MS = 5000 }; /* somebody reads with `relay-agent journal` */

/* As they are stored. */
enum stored_state { STORED_RECEIVED = 1, STORED_EXECUTING = 2, STORED_DONE = 3, STORED_POSTED = 4 };

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

struct posted {
	char *id;
	int64_t at_ms;
	STAILQ_ENTRY(posted) link;
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
	TAILQ_HEAD(journal_list_head, command) unwritten;
	STAILQ_HEAD(, posted) posted;
	struct loop_task flush;
	struct loop_timer *lazy; /* for what nobody waits for */
	struct loop_timer *busy; /* for company, while there is much to write */
	int64_t committed_ms;    /* monotonic; the last transaction, … */
	size_t committed_rows;   /* … and how many commands it wrote */
	struct loop_timer *retry;
	struct loop_timer *tidy;
	struct backoff trouble;
	int64_t last_posted_ms;
	uint64_t spooled_bytes;
	uint64_t added_bytes;  /* since it was last looked whether there is room */
	int64_t dropped_until; /* posted_at: earlier ones have no answers any more */
	bool forgets_early;    /* JOURNAL_MAX_MB is too small for DEDUPE_HOURS; said once */
	bool is_damaged;       /* what SQLite read is no database: to be set aside */
	bool had_room;
	bool is_full; /* JOURNAL_MAX_MB is reached by answers that still wait */
	bool is_off;  /* nothing is stored (bench_switch.h): there is no database */
};

/* The SQL of each statement. */
extern const char *const journal_statement_texts[STATEMENTS];

/* ERR_SYSTEM with SQLite's words. */
int journal_fail(struct sqlite3 *db, struct error *err, const char *what);
/* One number; 0 where there is none. */
int64_t journal_query_number(struct sqlite3 *db, const char *sql);
void journal_count_spooled(struct journal *journal);
void journal_spool_remove(struct journal *journal, const char *name, int64_t size);

/* Was SQLite's last error that what it read is damaged? */
bool journal_is_damage(struct journal *journal);

NODISCARD int journal_open_folder(struct journal *journal, struct error *err);
void journal_close_database(struct journal *journal);
/* Sets a damaged database aside and begins a new one with what can be read of it. */
NODISCARD int journal_begin_anew(struct journal *journal, struct error *err);
/* Copies the commands that can still be read from the database at path; how many. */
size_t journal_salvage(struct sqlite3 *to, const char *path);

/* Drops what nobody needs any more, and answers beyond JOURNAL_MAX_MB. */
void journal_drop_old(struct journal *journal);
void journal_make_room(struct journal *journal);
/* The same where added_bytes makes it worth while to look. */
void journal_bytes_added(struct journal *journal);

#endif
