/* Patience with a peer that fails: full-jitter exponential back-off from 0.5 s to 60 s,
 * and log lines that say once when trouble starts, at most once a minute while it lasts,
 * and once when it ends. One for each endpoint; endpoints of one peer may share the log lines:
 * its being away is one trouble, whoever meets it. */
#ifndef AGENT_BACKOFF_H
#define AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum { BACKOFF_BASE_MS = 500, BACKOFF_MAX_MS = 60000 };

/* One trouble of a peer, however many endpoints have it. Zeroed but for what. */
struct outage {
	const char *what; /* "the source of commands" */
	unsigned failing; /* endpoints */
	unsigned failures;
	int64_t started_ms;     /* monotonic; of the first of them */
	int64_t last_logged_ms; /* monotonic; 0: never */
	bool is_logged;         /* this one, not only one before it */
	bool is_refusal;        /* what was logged: it lasts until somebody does something */
};

/* Zeroed but for what: "polling for commands"; NULL: no log lines. */
struct backoff {
	const char *what;
	struct outage *outage; /* NULL: one of its own */
	struct outage own;
	unsigned failures; /* in a row */
};

/* One more failure for this reason: how long to wait, in milliseconds. is_refused (401, 403)
 * starts at the slow end; retry_after_ms (0: none) is what the peer asked for. */
int64_t backoff_fail(struct backoff *backoff, bool is_refused, int64_t retry_after_ms,
		     const char *reason);
void backoff_succeed(struct backoff *backoff);
/* Forgets the failures: nothing is tried any more. Says nothing. */
void backoff_reset(struct backoff *backoff);

#endif
