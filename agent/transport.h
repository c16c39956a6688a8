/* Where commands come from and answers go. One interface for every kind of source; the rest
 * of the agent knows no other. All calls return at once and their callbacks come later,
 * once for each call, never from inside it. */
#ifndef AGENT_TRANSPORT_H
#define AGENT_TRANSPORT_H

#include "agent/answer.h"
#include "agent/http.h"
#include "agent/settings.h"
#include "base/error.h"
#include "base/json.h"
#include "base/url.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a call to the source ended. */
struct transport_outcome {
	bool is_ok;
	int status;          /* of HTTP; 0: there was none */
	bool is_refused;     /* 401 or 403: the token is not accepted */
	bool is_gone;        /* another 4xx that will not get better by waiting */
	bool is_unreachable; /* nobody listens at its address, or there is no such */
	int64_t retry_after_ms;
	char reason[ERROR_MESSAGE_MAX]; /* not ok: what failed, on what, why */
};

/* One delivered command; borrowed. */
struct transport_delivery {
	struct json_object *command;
	struct json_span text; /* of its JSON, as it came; text NULL: not at hand */
	struct spool *kept;    /* a large text, in a file already: may be taken; NULL: none */
	const char *receipt;   /* NULL: the source has none */
	int attempt;           /* from 1 */
	const char *problem;   /* NULL: none; why only the command's scalar members could be read */
};

enum post_result {
	POST_ACCEPTED,
	POST_DUPLICATE, /* the source had this very status already */
	POST_CONFLICT,  /* the source has another one; ours is not wanted */
};

/* One terminal status on its way to the source. Borrowed until on_posted. */
struct transport_post {
	const char *command_id;
	const char *target_id; /* as the command named it; NULL: not known */
	const char *receipt;
	const struct answer *answer;
	bool is_referenced; /* the answer's body was uploaded before */
	enum post_result result;
	char reason[ERROR_MESSAGE_MAX]; /* POST_CONFLICT: why */
};

struct transport_events {
	void *context;
	const char *folder; /* for the texts of large commands (spool.h); NULL: nowhere */
	/* For each command of one receive, then on_received once; but large ones may come after
	 * it, when they have been read. */
	void (*on_delivery)(void *context, const struct transport_delivery *delivery);
	void (*on_received)(void *context, const struct transport_outcome *outcome);
	/* With an outcome that is ok each post has its result, otherwise none was taken. These
	 * are all posts of one call, or any of those under way where the transport gathers. */
	void (*on_posted)(void *context, struct transport_post **posts, size_t count,
			  const struct transport_outcome *outcome);
	/* How a call of keep, or an announcement, ended. */
	void (*on_kept)(void *context, const struct transport_outcome *outcome);
	void (*on_announced)(void *context, const struct transport_outcome *outcome);
	/* The source answered one of our calls well. Before the callback of that call. */
	void (*on_reached)(void *context);
	/* A delivery that somebody else holds now. Before the on_kept of the call that found it. */
	void (*on_lost)(void *context, const char *receipt);
	/* How many commands were taken whose answers the source does not have. */
	size_t (*in_flight)(void *context);
};

/* A delivery whose command the journal holds. Borrowed. */
struct transport_taken {
	const char *command_id;
	const char *target_id; /* as the command named it; NULL: not known */
	const char *receipt;   /* NULL: the source has none */
	bool is_news;          /* nobody has been told that it is under way, and it is */
};

struct transport;
struct source;

struct transport_ops {
	/* Asks for up to max commands and waits for the first. One at a time. */
	void (*receive)(struct transport *transport, size_t max);
	/* Gives up a receive that waits: no callback. What it might have brought comes back
	 * when its lease runs out. What has come is delivered from inside, and on_received too
	 * where that is due. False: an answer is on its way, and on_received follows. */
	bool (*receive_cancel)(struct transport *transport);
	/* Posts count terminal statuses together. The array is taken (from malloc); what it
	 * points to is borrowed until on_posted. */
	void (*post)(struct transport *transport, struct transport_post **posts, size_t count);
	/* The size of the status message that post becomes, with an answer of body_size bytes
	 * (which counts for nothing where it is referenced). */
	size_t (*message_size)(struct transport *transport, const struct transport_post *post,
			       size_t body_size);
	/* This delivery outlives us from now on: the source may forget it. Once for each
	 * delivery, and again after a restart, since nobody knows what the one before managed. */
	void (*taken)(struct transport *transport, const struct transport_taken *taken);
	/* The source has this delivery's answer, or will never get it. */
	void (*settled)(struct transport *transport, const char *receipt);
	/* Tells the source that these deliveries are still being worked on. on_kept follows. */
	void (*keep)(struct transport *transport, const char *const *receipts, size_t count);
	/* Started, alive, stopped: for those who watch. on_announced follows, and on_done (may be
	 * NULL): it tells when a last word has gone out or could not. */
	void (*announce)(struct transport *transport, const char *status,
			 void (*on_done)(void *context), void *context);
	void (*free)(struct transport *transport);
};

/* The first member of every transport. */
struct transport {
	const struct transport_ops *ops;
	const char *name;
	size_t embedded_max_bytes; /* the answer of a status message above this is uploaded first */
	size_t message_max_bytes;  /* a status message above this is never taken */
	size_t post_max_bytes;     /* of one post, all its statuses together */
	/* It makes batches of its own: answers are handed over as they come, up to
	 * post_max_bytes under way. */
	bool gathers_posts;
	bool gzips_uploads;       /* uploaded answers go with Content-Encoding: gzip */
	int64_t keep_interval_ms; /* how often keep is due; 0: never */
	/* Where there is less room, a receive waits a little until there is more. */
	size_t receive_worthwhile;
	struct http_profile profile;
	const struct url *address; /* where the source listens for us; NULL: not known */
};

/* The command service over plain HTTP. */
struct transport *transport_http_new(struct http_client *client, const struct settings *settings,
				     const struct transport_events *events, struct error *err);

/* The Tetra Data Platform with its queues. config (may be NULL: it is asked for) is what
 * agent/config answered; borrowed. */
struct transport *transport_tdp_new(struct loop *loop, struct http_client *client,
				    struct source *source, const struct settings *settings,
				    const struct transport_events *events,
				    struct json_object *config, struct error *err);

#endif
