/* What must survive the agent's death: which commands it has, which of them have begun to
 * execute, and the answers that wait to be posted. An SQLite database (WAL) in STATE_DIR,
 * with a lock that keeps a second agent out.
 *
 *     received -> executing -> done -> posted
 *
 * Writes are grouped: what a turn of the loop changed, or changed while a transaction was written,
 * goes into the next one, each command once, with the state that it has by then. The loop does not
 * wait for the disk. A commit that fails (a full disk) loses nothing that was stored before; its
 * writes are kept and tried again every second, and meanwhile journal_has_room is false: nothing
 * new may be taken. */
#ifndef AGENT_JOURNAL_H
#define AGENT_JOURNAL_H

#include "agent/command.h"
#include "agent/loop.h"
#include "agent/settings.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

struct journal_events {
	void *context;
	/* The state of command is on disk. Once for each journal_write that nobody overtook,
	 * never from inside it. */
	void (*on_durable)(void *context, struct command *command);
	/* journal_has_room is true again. */
	void (*on_room)(void *context);
	/* The database was damaged: a new one was begun. journal_write_again is due for every
	 * command that is held. */
	void (*on_begun_anew)(void *context);
	/* journal_is_busy is false now. */
	void (*on_quiet)(void *context);
	/* How many commands are held? */
	size_t (*in_flight)(void *context);
	/* How many of them may be changed by something else than this journal's end of a write:
	 * they hold a place at a target, or have just ended. */
	size_t (*under_way)(void *context);
};

/* Takes the lock, makes the folder and the database where they are missing. A database that
 * is damaged is set aside under another name, never deleted, and what can be read of it is
 * copied into a new one; also while the agent runs. ERR_BUSY: another agent runs on this
 * folder. settings are borrowed. */
struct journal *journal_open(struct loop *loop, const struct settings *settings,
			     const struct journal_events *events, struct error *err);
/* Writes what is pending, where it can. Commands must still live. */
void journal_close(struct journal *journal);

/* The command's JSON, for its first write. A large one goes to a file now, unless it is in kept
 * (of journal_answers_folder, empty afterwards; NULL: it is not). */
void journal_keep_text(struct journal *journal, struct command *command, const char *text,
		       size_t size, struct spool *kept);
/* The state of command changed: to be written at the end of the turn, or when the transaction that
 * is being written has ended, or a few milliseconds later when more are about to come. Until
 * on_durable nobody frees the command, nor changes its id, its text or the JSON of its answer. */
void journal_write(struct journal *journal, struct command *command);
/* From on_begun_anew: what the damaged database held is to be written once more. */
void journal_write_again(struct journal *journal, struct command *command);
/* The source has the answer of command: written in a batch that begins within a second. */
void journal_posted(struct journal *journal, struct command *command);

/* Is something on its way to the disk? Not what waits until the disk can be written again. */
bool journal_is_busy(const struct journal *journal);
/* May new commands be taken? */
bool journal_has_room(const struct journal *journal);

/* Has a command with this id ended before, and its source has the answer? When it is known:
 * fills journal_answer, answer_size, and the answer's status and times, not its JSON, and marks
 * it as answered again. */
enum journal_found {
	JOURNAL_UNKNOWN,
	JOURNAL_KNOWN,
	JOURNAL_UNREADABLE, /* the disk does not say: it may have been executed before */
};
enum journal_found journal_find(struct journal *journal, struct command *command);

/* The stored JSON of a command's answer: a large one is a file, which need not be read at once.
 * ERR_NOT_FOUND when it had to go for room, ERR_INVALID when it is lost; anything else may get
 * better. */
enum journal_load { JOURNAL_LOAD_INTO_MEMORY, JOURNAL_LOAD_AS_STORED };
NODISCARD int journal_load_answer(struct journal *journal, const struct command *command,
				  enum journal_load how, struct answer *answer, struct error *err);
/* Where answers may be spooled (spool.h), on the journal's disk; NULL: nowhere. */
const char *journal_answers_folder(const struct journal *journal);

/* One command that has not ended for the source, as it was left. */
struct journal_row {
	enum command_state state; /* RECEIVED, EXECUTING or DONE */
	int64_t seq;
	const char *id;
	bool is_damaged;  /* its text is not what was stored */
	const char *text; /* the command's JSON; NULL when DONE, or in a file (journal_list) */
	size_t text_size;
	bool has_text_file;
	int64_t text_row; /* 0: none */
	int64_t text_checksum;
	const char *receipt;    /* NULL: none */
	const char *upload_url; /* NULL: none */
	int attempt;
	int64_t expires_at_ms;
	int64_t received_at_ms;
	/* DONE: */
	enum answer_status status;
	int64_t ended_at_ms;
	int64_t answer;
	size_t answer_size;
	int http_status; /* the target's; 0: none */
};

/* Walks them in order of arrival. */
NODISCARD int journal_walk(struct journal *journal,
			   void (*on_row)(void *context, const struct journal_row *row),
			   void *context, struct error *err);

/* For `relay-agent journal`: reads the journal of an agent that may be running. */
NODISCARD int journal_list(const char *state_dir,
			   void (*on_row)(void *context, const struct journal_row *row),
			   void *context, struct error *err);

#endif
