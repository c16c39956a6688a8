/* A command: what came from the source, where it stands, and what it is answered. */
#ifndef AGENT_COMMAND_H
#define AGENT_COMMAND_H

#include "agent/answer.h"
#include "agent/payload.h"
#include "base/problems.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

/* The one way of a command; command_set_state allows no other. Any state may go to DONE. */
enum command_state {
	COMMAND_RECEIVED,  /* parsed, nothing done yet */
	COMMAND_FETCHING,  /* its body is fetched from bodyUrl */
	COMMAND_WAITING,   /* for a free place at its target */
	COMMAND_EXECUTING, /* the request is under way */
	COMMAND_DONE,      /* the answer stands */
	COMMAND_POSTED,    /* the source has the answer, or said that it does not want it */
};

enum command_kind { COMMAND_LEGACY, COMMAND_PLAIN, COMMAND_SEALED };

struct command {
	enum command_state state;
	char *id;
	char *target_id; /* NULL: none was given */
	char *action;
	enum command_kind kind;
	int64_t created_at_ms;
	int64_t expires_at_ms; /* INT64_MAX: never */
	char *expires_at;      /* as it was written; NULL: never */
	struct json_object *body;
	bool is_body_dropped; /* its request is under way and needs it no more */
	char *body_url;       /* NULL: the body is embedded */
	char *upload_url;     /* NULL: none */
	char *receipt;        /* of the source's last delivery */
	int attempt;          /* of the source's deliveries, from 1 */
	bool is_told;         /* the source knows that this delivery is in the journal … */
	bool is_news_out;     /* … and that the command is under way */

	/* Delivered again while its answer was on its way to the delivery before. */
	bool is_posting;
	bool is_wanted_again;
	char *next_receipt;
	int next_attempt;

	/* The request may have been made before, by an agent that died: it is not repeated
	 * unasked (ON_INTERRUPTED). */
	bool is_interrupted;

	struct aead *seal; /* the key that it opened with; borrowed; NULL: answer in plain */
	struct payload payload;
	struct spool reply; /* what the target sends */
	struct answer answer;

	/* The journal's (journal.c). */
	struct spool text; /* the command's JSON until it is stored */
	int64_t text_checksum;
	int64_t journal_seq;    /* its row; 0: it has none yet */
	int64_t journal_answer; /* the row of its answer */
	int64_t text_row;       /* that of its text; 0: none */
	size_t stored_text_size;
	bool has_text_file;     /* … is beside the database */
	bool is_stored;         /* what it is, or was, is in the journal */
	bool is_unwritten;      /* what it is by now is not on disk: it waits to be written … */
	bool is_being_written;  /* … or is being written … */
	bool is_overtaken;      /* … and has become something else meanwhile */
	bool is_rewritten;      /* for the second time: nobody waits for it */
	bool is_answered_again; /* was posted before: the journal knows that */
	bool is_ended;          /* the relay has handed it out */
	bool is_outgoing;       /* the outbox has it */
	bool is_unloaded;       /* the answer's JSON is only in the journal */
	size_t answer_size;     /* of that JSON */
	int64_t received_at_ms;
	TAILQ_ENTRY(command) journal_link;

	/* held.c's. */
	UT_hash_handle held_link;

	/* For the log. */
	int64_t started_ms; /* monotonic */
	int64_t sent_bytes;
	int64_t received_bytes;

	/* Owned by whoever runs it at the time (relay.c). */
	struct relay *relay;
	void *running;           /* the exchange or the target's call */
	struct opening *opening; /* of its body, if that is large */
	size_t opening_bytes;
	size_t waiting_bytes; /* it counts for so many of those that wait */
	struct answer_build *build;
	struct host_queue *host;
	TAILQ_ENTRY(command) link;
};

/* Which action, if it is one of ours. */
bool command_kind_of(const char *action, enum command_kind *kind);

/* The JSON of a command; the caller puts it. Of one that is too deep or too much to be parsed the
 * scalar members, so that it can be answered: then *problem has the reason (code ERR_LIMIT), else
 * its code is 0. */
NODISCARD int command_read_text(const char *text, size_t size, struct json_object **json,
				struct error *problem, struct error *err);
/* Its commandId, borrowed from json. Fails where there is none that its source could be answered
 * with: ERR_LIMIT when it is longer than LIMIT_ID_BYTES. */
NODISCARD int command_read_id(struct json_object *json, const char **id, struct error *err);
/* Reads a command's own fields (not its payload). NULL when it has no commandId, or an endless
 * one, so that nobody could be answered; otherwise a command, and problems names
 * whatever else is wrong with it. json is borrowed, its body shared. */
struct command *command_new(struct json_object *json, struct problems *problems, struct error *err);
/* A command that ended before: id and answer, nothing else. */
struct command *command_new_done(const char *id);
/* One more of it for the delivery that came while this one was posted; takes its answer. */
struct command *command_new_again(struct command *command);
void command_free(struct command *command);
/* Is its text in a file, so that nobody need have its body for the journal? */
bool command_has_text_file(const struct command *command);
/* The JSON of one that has not ended, as it would be delivered; the caller frees it. */
char *command_text(const struct command *command);
void command_set_state(struct command *command, enum command_state state);

#endif
