#include "agent/backoff.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/random.h"

enum {
	LOG_INTERVAL_MS = 60000,
	LOG_SERIES_MS = 10000,        /* between the first lines of troubles that come and go */
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

static struct outage *outage_of(struct backoff *backoff)
{
	if (backoff->outage != NULL)
		return backoff->outage;
	backoff->own.what = backoff->what;
	return &backoff->own;
}

static void count_failure(struct backoff *backoff, struct outage *outage)
{
	if (backoff->failures++ == 0 && outage->failing++ == 0) {
		outage->started_ms = clock_monotonic_ms();
		outage->failures = 0;
		outage->is_logged = false;
	}
	outage->failures++;
}

/* One line a minute while it lasts, one at all for a token that is refused. A new trouble is
 * told at once, unless it is the next of a series. */
static bool may_log(const struct outage *outage, bool is_refused)
{
	if (is_refused && outage->is_logged && outage->is_refusal)
		return false;
	int64_t interval_ms = outage->is_logged ? LOG_INTERVAL_MS : LOG_SERIES_MS;
	return outage->last_logged_ms == 0 ||
	       clock_monotonic_ms() - outage->last_logged_ms >= interval_ms;
}

int64_t backoff_fail(struct backoff *backoff, bool is_refused, int64_t retry_after_ms,
		     const char *reason)
{
	struct outage *outage = outage_of(backoff);
	count_failure(backoff, outage);
	int64_t delay_ms = next_delay_ms(backoff, is_refused);
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	/* Spread, so that not every agent comes back in the same instant. */
	if (retry_after_ms > delay_ms)
		delay_ms = draw(retry_after_ms, retry_after_ms + retry_after_ms / 10);
	if (backoff->what != NULL && may_log(outage, is_refused)) {
		outage->last_logged_ms = clock_monotonic_ms();
		outage->is_logged = true;
		outage->is_refusal = is_refused;
		log_warn("%s fails: %s (%u in a row over %lld s; trying again in %lld ms)",
			 backoff->what, reason, outage->failures,
			 (long long)((outage->last_logged_ms - outage->started_ms) / 1000),
			 (long long)delay_ms);
	}
	return delay_ms;
}

void backoff_reset(struct backoff *backoff)
{
	if (backoff->failures > 0)
		outage_of(backoff)->failing--;
	backoff->failures = 0;
}

void backoff_succeed(struct backoff *backoff)
{
	struct outage *outage = outage_of(backoff);
	if (backoff->failures > 0 && outage->failing == 1 && outage->is_logged)
		log_info("%s works again after %u failures and %lld s", outage->what,
			 outage->failures,
			 (long long)((clock_monotonic_ms() - outage->started_ms) / 1000));
	backoff_reset(backoff);
}
