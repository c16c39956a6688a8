/* Patience with a peer that fails: full-jitter exponential back-off from 0.5 s to 60 s,
 * and log lines that say once when trouble starts, at most once a minute while it lasts,
 * and once when it ends. One for each endpoint. */
#ifndef AGENT_BACKOFF_H
#define AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum { BACKOFF_BASE_MS = 500, BACKOFF_MAX_MS = 60000 };

/* Zeroed but for what: "polling for commands". */
struct backoff {
	const char *what;
	unsigned failures;      /* in a row */
	int64_t started_ms;     /* monotonic; of the first of them */
	int64_t last_logged_ms; /* monotonic */
};

/* One more failure for this reason: how long to wait, in milliseconds. is_refused (401, 403)
 * starts at the slow end; retry_after_ms (0: none) is what the peer asked for. */
int64_t backoff_fail(struct backoff *backoff, bool is_refused, int64_t retry_after_ms,
		     const char *reason);
void backoff_succeed(struct backoff *backoff);

#endif
