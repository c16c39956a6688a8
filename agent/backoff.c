#include "agent/backoff.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/random.h"

enum {
	LOG_INTERVAL_MS = 60000,
	RETRY_AFTER_MAX_MS = 3600000, /* no peer silences us for longer */
	/* Full jitter may draw 0; a peer that refuses at once must not see a busy loop. */
	SHORTEST_MS = 100,
};

static int64_t draw(int64_t from_ms, int64_t to_ms)
{
	return from_ms + (int64_t)random_below((uint64_t)(to_ms - from_ms + 1));
}

static int64_t next_delay_ms(const struct backoff *backoff, bool is_refused)
{
	if (is_refused)
		return draw(BACKOFF_MAX_MS / 2, BACKOFF_MAX_MS);
	unsigned doublings = backoff->failures - 1;
	int64_t ceiling_ms =
	    doublings >= 7 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_BASE_MS << doublings;
	return draw(SHORTEST_MS, ceiling_ms < BACKOFF_MAX_MS ? ceiling_ms : BACKOFF_MAX_MS);
}

int64_t backoff_fail(struct backoff *backoff, bool is_refused, int64_t retry_after_ms,
		     const char *reason)
{
	int64_t now_ms = clock_monotonic_ms();
	if (backoff->failures++ == 0)
		backoff->started_ms = now_ms;
	int64_t delay_ms = next_delay_ms(backoff, is_refused);
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	/* Spread, so that not every agent comes back in the same instant. */
	if (retry_after_ms > delay_ms)
		delay_ms = draw(retry_after_ms, retry_after_ms + retry_after_ms / 10);

	if (backoff->failures == 1 || now_ms - backoff->last_logged_ms >= LOG_INTERVAL_MS) {
		backoff->last_logged_ms = now_ms;
		log_warn("%s fails: %s (%u in a row over %lld s; trying again in %lld ms)",
			 backoff->what, reason, backoff->failures,
			 (long long)((now_ms - backoff->started_ms) / 1000), (long long)delay_ms);
	}
	return delay_ms;
}

void backoff_succeed(struct backoff *backoff)
{
	if (backoff->failures > 0)
		log_info("%s works again after %u failures and %lld s", backoff->what,
			 backoff->failures,
			 (long long)((clock_monotonic_ms() - backoff->started_ms) / 1000));
	backoff->failures = 0;
}
