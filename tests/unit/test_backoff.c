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
