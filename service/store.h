/* Everything the service keeps, in one SQLite file: commands, tokens, and what makes
 * searching quick. Only store*.c know that it is SQLite.
 *
 * Writes are grouped in turns. The first write of a turn opens a transaction, and
 * store_commit() ends it: until then nothing may be told to anybody. When anything in a
 * turn fails (full disk), the whole turn is taken back and store_commit() says so.
 *
 * One process serves a store, with one thread; tools (`token …`) may use it beside it. */
#ifndef SERVICE_STORE_H
#define SERVICE_STORE_H

#include "base/buf.h"
#include "base/error.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "service/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ORG_MAX = 64,
	TARGET_MAX = 200, /* targetId, agent id */
	ACTION_MAX = 200,
	RECEIPT_SIZE = 16,
	HISTORY_MAX = 250, /* MAX_ATTEMPTS is at most 100, two entries each */
};

struct store;

/* ---- Life */

enum store_use {
	STORE_SERVE,    /* the one service on it; makes the file where there is none */
	STORE_TOOL,     /* beside a service; makes the file where there is none */
	STORE_EXISTING, /* beside a service; ERR_NOT_FOUND where there is no file */
};

/* ERR_BUSY when another service runs on it, ERR_INVALID when the file is something else. */
NODISCARD int store_open(struct store **store, const char *path, enum store_use use,
			 struct error *err);
void store_close(struct store *store);

/* Where large answers lie: a folder beside the database, made by store_open. */
const char *store_folder(const struct store *store);

/* Something was written in this turn. */
bool store_in_turn(const struct store *store);
/* Ends the turn. On failure nothing of it is left. Without a turn: 0. */
NODISCARD int store_commit(struct store *store, struct error *err);

/* An unguessable text for a URL that needs no token: the same for the same command and
 * purpose, as long as the database lives. */
enum { URL_KEY_TEXT_SIZE = 33 };
enum url_purpose { URL_UPLOAD = 'u', URL_BODY = 'b' };
void store_url_key(const struct store *store, const char *command_id, enum url_purpose purpose,
		   char key[URL_KEY_TEXT_SIZE]);

/* ---- Tokens */

enum role { ROLE_NONE, ROLE_REQUESTOR, ROLE_AGENT };

struct token {
	int64_t number; /* row */
	char id[UUID_TEXT_SIZE];
	enum role role;
	char org[ORG_MAX + 1];
	char agent[TARGET_MAX + 1]; /* "" for a requestor */
	int64_t created_ms;
	int64_t revoked_ms; /* 0: valid */
};

/* Stores the digest of a new token; fills token->id and created_ms. Its own transaction. */
NODISCARD int store_token_add(struct store *store, struct token *token,
			      const uint8_t digest[SHA256_SIZE], struct error *err);
/* ERR_NOT_FOUND when no valid token has that digest. */
NODISCARD int store_token_find(struct store *store, const uint8_t digest[SHA256_SIZE],
			       struct token *token, struct error *err);
/* Its own transaction. ERR_NOT_FOUND; revoking twice is fine. */
NODISCARD int store_token_revoke(struct store *store, const char *id, int64_t now_ms,
				 struct error *err);
/* Calls each for every token, oldest first. */
NODISCARD int store_token_each(struct store *store,
			       void (*each)(void *context, const struct token *token),
			       void *context, struct error *err);

/* ---- Commands */

enum command_status {
	STATUS_CREATED,
	STATUS_PENDING,
	STATUS_PROCESSING,
	STATUS_SUCCESS,
	STATUS_FAILURE,
	STATUS_REJECTED,
	STATUS_EXPIRED,
	STATUS_PURGED,
	STATUS_ERROR,
	STATUS_UNSENT, /* TDP's; never used here, but a search may name it */
	STATUS_COUNT,
};

const char *status_name(enum command_status status);
/* STATUS_COUNT when there is none of that name. */
enum command_status status_find(const char *name);
bool status_is_terminal(enum command_status status);

enum command_delivery { DELIVERY_EMBEDDED, DELIVERY_REFERENCED };
enum command_response { RESPONSE_NONE, RESPONSE_INLINE, RESPONSE_FILE };

/* Why a status changed. Stored as these numbers: add only at the end. */
enum command_event {
	EVENT_DELIVERED = 1,   /* PROCESSING */
	EVENT_LEASE_ENDED,     /* back to PENDING */
	EVENT_REPORTED,        /* a terminal status from the agent */
	EVENT_REPORTED_LATE,   /* the same, with the receipt of an earlier delivery */
	EVENT_EXPIRED_WAITING, /* nobody took it */
	EVENT_EXPIRED_LOST,    /* its lease ran out past expiresAt */
	EVENT_ATTEMPTS_ENDED,  /* ERROR */
	EVENT_PURGED,
};

struct command_change {
	int64_t at_ms;
	uint8_t event;  /* enum command_event */
	uint8_t status; /* enum command_status */
	uint8_t attempt;
};

struct command {
	int64_t seq; /* orders commands by creation; the time of creation is in it */
	char id[UUID_TEXT_SIZE];
	char org[ORG_MAX + 1];
	char target[TARGET_MAX + 1];
	char action[ACTION_MAX + 1];
	enum command_status status;
	int64_t created_ms;
	int64_t updated_ms;
	int64_t expires_ms;
	int64_t due_ms; /* when the service must act: lease or life ends; 0: never */
	int attempt;    /* deliveries so far */
	uint8_t receipt[RECEIPT_SIZE];
	enum command_delivery delivery;
	enum command_response response;
	int64_t creator; /* token->number */
	char created_by[UUID_TEXT_SIZE];
	size_t payload_size;
	size_t change_count;
	struct command_change changes[HISTORY_MAX];
};

/* Called inside the turn that makes the change, before it is committed. */
struct store_observer {
	void *context;
	/* The queue has a command that may be delivered. */
	void (*on_pending)(void *context, const char *org, const char *target);
	/* A command has a terminal status. */
	void (*on_end)(void *context, int64_t seq);
};
void store_observe(struct store *store, const struct store_observer *observer);

struct metadata_pair {
	const char *key;
	const char *value;
};

/* A new command: org, target, action, expires_ms, delivery and creator are given, the rest
 * is filled. metadata is the JSON object as text. key (may be NULL) is its Idempotency-Key. */
struct command_new {
	struct span payload;
	struct span metadata;
	const struct metadata_pair *pairs;
	size_t pair_count;
	const char *key;
	const uint8_t *key_digest; /* SHA256_SIZE bytes: what the key was used for */
};
/* What a member of metadata is called and what it says, as a search compares it. */
NODISCARD int metadata_texts(struct span key, struct span value, struct buf *name, struct buf *text,
			     struct error *err);
NODISCARD int store_command_add(struct store *store, struct command *command,
				const struct command_new *new_, struct error *err);
/* The command that a key stands for, not older than 24 hours. ERR_NOT_FOUND: none. */
NODISCARD int store_key_find(struct store *store, const char *org, const char *key, int64_t now_ms,
			     int64_t *seq, uint8_t digest[SHA256_SIZE], struct error *err);

NODISCARD int store_command_get(struct store *store, int64_t seq, struct command *command,
				struct error *err);
/* By its public id; org NULL: of any org. ERR_NOT_FOUND also for another org's. */
NODISCARD int store_command_find(struct store *store, const char *org, const char *id,
				 struct command *command, struct error *err);
/* The number of an id, without asking whether there is such a command; 0: no id of ours. */
int64_t command_seq(const char *id);

/* The texts of a command, borrowed until store_texts_end(), which must follow. */
struct command_texts {
	struct span payload;
	struct span metadata;
	struct span response; /* RESPONSE_INLINE only */
};
NODISCARD int store_texts_begin(struct store *store, int64_t seq, struct command_texts *texts,
				struct error *err);
void store_texts_end(struct store *store);

/* What an agent may get at once. */
struct receive_limits {
	int64_t lease_ms;
	size_t max;       /* commands */
	size_t max_bytes; /* of payload; one command always goes */
};
/* The oldest pending commands of a queue become PROCESSING with a lease and a new receipt
 * each. has_more: the limits may have left some; with a count of 0 so many expired ones stand
 * before them that the rest of the work is left for a further call. The caller frees *commands. */
NODISCARD int store_receive(struct store *store, const char *org, const char *target,
			    int64_t now_ms, const struct receive_limits *limits,
			    struct command **commands, size_t *count, bool *has_more,
			    struct error *err);
/* Takes a delivery back of which the agent cannot have got all: as if it had not been. */
NODISCARD int store_undeliver(struct store *store, const struct command *delivered, int64_t now_ms,
			      struct error *err);
/* Extends the lease. */
NODISCARD int store_extend(struct store *store, struct command *command, int64_t due_ms,
			   struct error *err);
/* A terminal status with its answer (text NULL: none; ignored for RESPONSE_FILE). */
NODISCARD int store_command_end(struct store *store, struct command *command,
				enum command_status status, enum command_event event,
				int64_t now_ms, enum command_response response, struct span body,
				struct error *err);
/* Pending commands of the target become PURGED, at most max of them. The ids go into ids
 * (max * UUID_TEXT_SIZE). */
NODISCARD int store_purge(struct store *store, const char *org, const char *target, int64_t now_ms,
			  size_t max, char (*ids)[UUID_TEXT_SIZE], size_t *count,
			  struct error *err);
/* Does what time demands (lives and leases that ended) for at most max commands. *next_ms:
 * when to come again, 0: when something new comes. */
NODISCARD int store_run_due(struct store *store, int64_t now_ms, int64_t max_attempts, size_t max,
			    int64_t *next_ms, struct error *err);
/* When something is due first; 0: nothing. */
NODISCARD int store_next_due(struct store *store, int64_t *next_ms, struct error *err);
/* Forgets at most max terminal commands that changed before cutoff_ms. *count is 0 when
 * nothing is left to do; *has_files is set (never cleared) when one had an answer in a file. */
NODISCARD int store_forget(struct store *store, int64_t now_ms, int64_t cutoff_ms, size_t max,
			   bool *has_files, size_t *count, struct error *err);

/* ---- Search */

enum search_key { SEARCH_CREATED, SEARCH_UPDATED, SEARCH_EXPIRES };
enum search_group { GROUP_NONE, GROUP_STATUS, GROUP_ACTION, GROUP_TARGET };

/* Ends included. */
struct search_range {
	int64_t from;
	int64_t to;
};

enum { SEARCH_VALUES_MAX = 100 };

struct search {
	const char *org;
	const char *targets[SEARCH_VALUES_MAX];
	size_t target_count; /* 0: all */
	const char *actions[SEARCH_VALUES_MAX];
	size_t action_count;
	bool statuses[STATUS_COUNT];
	bool any_status;
	struct metadata_pair pairs[SEARCH_VALUES_MAX]; /* all of them */
	size_t pair_count;
	struct search_range range[3]; /* by enum search_key */
	enum search_key key;
	enum search_group group; /* sorts by this first */
	bool is_ascending;
	size_t from;
	size_t size;
	size_t few; /* rows of a filter that are rather sorted than merged; 0: the usual number */
};

/* Fills seqs (room for search->size). */
NODISCARD int store_search(struct store *store, const struct search *search, int64_t *seqs,
			   size_t *count, bool *has_next, struct error *err);
/* Calls each with every action of the org, in alphabetical order. */
NODISCARD int store_actions(struct store *store, const char *org,
			    void (*each)(void *context, const char *action), void *context,
			    struct error *err);

#endif
