#include "agent/backoff.h"
#include "base/log.h"

#include <criterion/criterion.h>

Test(backoff, delays_grow_to_a_minute_and_are_never_zero)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	for (int run = 0; run < 200; run++) {
		struct backoff backoff = {.what = "test"};
		for (int i = 0; i < 12; i++) {
			int64_t ceiling = i >= 7 ? BACKOFF_MAX_MS : (int64_t)BACKOFF_BASE_MS << i;
			int64_t delay = backoff_fail(&backoff, false, 0, "why");
			cr_assert_geq(delay, 100);
			cr_assert_leq(delay, ceiling < BACKOFF_MAX_MS ? ceiling : BACKOFF_MAX_MS);
		}
	}
}

Test(backoff, success_starts_anew)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	struct backoff backoff = {.what = "test"};
	for (int i = 0; i < 10; i++)
		backoff_fail(&backoff, false, 0, "why");
	backoff_succeed(&backoff);
	cr_assert_eq(backoff.failures, 0);
	cr_assert_leq(backoff_fail(&backoff, false, 0, "why"), BACKOFF_BASE_MS);
}

Test(backoff, a_refusal_waits_at_the_slow_end)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	struct backoff backoff = {.what = "test"};
	int64_t delay = backoff_fail(&backoff, true, 0, "why");
	cr_assert_geq(delay, BACKOFF_MAX_MS / 2);
	cr_assert_leq(delay, BACKOFF_MAX_MS);
}

Test(backoff, retry_after_is_honoured_within_an_hour)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	struct backoff backoff = {.what = "test"};
	int64_t delay = backoff_fail(&backoff, false, 120000, "why");
	cr_assert_geq(delay, 120000);
	cr_assert_leq(delay, 132000);
	cr_assert_leq(backoff_fail(&backoff, false, INT64_MAX, "why"), 3960000);
}

Test(backoff, endpoints_of_one_peer_share_an_outage)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	struct outage outage = {.what = "peer"};
	struct backoff poll = {.what = "polling", .outage = &outage};
	struct backoff post = {.what = "posting", .outage = &outage};
	backoff_fail(&poll, false, 0, "why");
	int64_t logged_ms = outage.last_logged_ms;
	backoff_fail(&post, false, 0, "why");
	backoff_fail(&post, false, 0, "why");
	cr_assert_eq(outage.failing, 2);
	cr_assert_eq(outage.failures, 3);
	cr_assert_eq(outage.last_logged_ms, logged_ms, "one line, whoever fails");
	backoff_succeed(&poll);
	cr_assert_eq(outage.failing, 1);
	backoff_reset(&post);
	cr_assert_eq(outage.failing, 0);
	backoff_reset(&post);
	cr_assert_eq(outage.failing, 0, "nothing to forget any more");
}

Test(backoff, a_trouble_that_comes_and_goes_is_no_line_each_time)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	struct backoff backoff = {.what = "test"};
	backoff_fail(&backoff, false, 0, "why");
	cr_assert(backoff.own.is_logged);
	for (int i = 0; i < 10; i++) {
		backoff_succeed(&backoff);
		backoff_fail(&backoff, false, 0, "why");
		cr_assert_not(backoff.own.is_logged);
	}
}
