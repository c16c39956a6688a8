#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>

static int64_t parse(const char *text)
{
	int64_t value = -1;
	struct error err = {0};

	cr_assert_eq(clock_parse(text, &value, &err), 0, "%s", text);
	return value;
}

Test(clock, the_monotonic_clock_never_goes_back)
{
	int64_t us = clock_monotonic_us();
	int64_t ms = clock_monotonic_ms();

	cr_assert_geq(ms, us / 1000);
	cr_assert_geq(clock_monotonic_us(), us);
}

Test(clock, now_is_after_this_was_written)
{
	cr_assert_gt(clock_now_ms(), parse("2024-01-01T00:00:00Z"));
}

Test(clock, dates_are_written_in_utc_with_milliseconds)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(0, text);
	cr_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
	clock_format(-1, text);
	cr_assert_str_eq(text, "1969-12-31T23:59:59.999Z");
	clock_format(951827696789, text);
	cr_assert_str_eq(text, "2000-02-29T12:34:56.789Z");
	clock_format(1795233616123, text);
	cr_assert_str_eq(text, "2026-11-21T04:00:16.123Z");
}

Test(clock, dates_outside_four_digit_years_are_cut_to_them)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(INT64_MIN, text);
	cr_assert_str_eq(text, "0000-01-01T00:00:00.000Z");
	clock_format(INT64_MAX, text);
	cr_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}

Test(clock, what_is_written_is_read_again)
{
	char text[CLOCK_TEXT_SIZE];

	/* Steps of about 17 days through all years, never at the same time of day. */
	for (int64_t ms = parse("0000-01-01T00:00:00Z"); ms < parse("9999-12-31T00:00:00Z");
	     ms += 1500000013) {
		clock_format(ms, text);
		cr_assert_eq(parse(text), ms, "%s", text);
	}
}

Test(clock, every_way_to_write_a_zone_is_read)
{
	int64_t noon = parse("2026-11-21T12:00:00Z");

	cr_assert_eq(noon, 1795262400000);
	cr_assert_eq(parse("2026-11-21 12:00:00"), noon);
	cr_assert_eq(parse("2026-11-21t12:00:00z"), noon);
	cr_assert_eq(parse("2026-11-21T14:00:00+02:00"), noon);
	cr_assert_eq(parse("2026-11-21T14:00:00+0200"), noon);
	cr_assert_eq(parse("2026-11-21T14:00:00+02"), noon);
	cr_assert_eq(parse("2026-11-21T08:30:00-03:30"), noon);
	cr_assert_eq(parse("2026-11-22T11:59:00+23:59"), noon);
	cr_assert_eq(parse("2026-11-21T12:00:00-00:00"), noon);
}

Test(clock, fractions_of_any_length_are_cut_to_milliseconds)
{
	int64_t second = parse("2026-11-21T04:00:16Z");

	cr_assert_eq(parse("2026-11-21T04:00:16.1Z"), second + 100);
	cr_assert_eq(parse("2026-11-21T04:00:16,12Z"), second + 120);
	cr_assert_eq(parse("2026-11-21T04:00:16.123456+00:00"), second + 123);
	cr_assert_eq(parse("2026-11-21T04:00:16.9999999999999999999999999999999999999Z"),
		     second + 999);
}

Test(clock, leap_years_follow_the_gregorian_calendar)
{
	cr_assert_eq(parse("2000-03-01T00:00:00Z") - parse("2000-02-29T00:00:00Z"), 86400000);
	cr_assert_eq(parse("2024-03-01T00:00:00Z") - parse("2024-02-28T00:00:00Z"), 2 * 86400000);
	cr_assert_eq(parse("1900-03-01T00:00:00Z") - parse("1900-02-28T00:00:00Z"), 86400000);
	cr_assert_eq(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
}

Test(clock, what_is_no_date_is_refused_and_leaves_the_output_alone)
{
	static const char *const bad[] = {
	    "",
	    "2026-11-21",
	    "2026-11-21T",
	    "2026-11-21T04:00",
	    "2026-11-21T04:00Z",
	    "2026-02-30T00:00:00Z",
	    "2025-02-29T00:00:00Z",
	    "1900-02-29T00:00:00Z",
	    "2026-00-01T00:00:00Z",
	    "2026-13-01T00:00:00Z",
	    "2026-01-00T00:00:00Z",
	    "2026-01-32T00:00:00Z",
	    "2026-11-21T24:00:00Z",
	    "2026-11-21T23:60:00Z",
	    "2026-11-21T23:00:61Z",
	    "2026-11-21T04:00:16.Z",
	    "2026-11-21T04:00:16+24:00",
	    "2026-11-21T04:00:16+02:60",
	    "2026-11-21T04:00:16+2",
	    "2026-11-21T04:00:16+02:",
	    "2026-11-21T04:00:16+020",
	    "2026-11-21T04:00:16+",
	    "2026-11-21T04:00:16Z ",
	    "2026-11-21T04:00:16ZZ",
	    "2026-11-21T04:00:16+02:00x",
	    " 2026-11-21T04:00:16Z",
	    "-2026-11-21T04:00:16Z",
	    "+2026-11-21T04:00:16Z",
	    "12026-11-21T04:00:16Z",
	    "26-11-21T04:00:16Z",
	    "2026-1-1T04:00:16Z",
	    "20261121T040016Z",
	    "2026-11-21T04:00:1６Z",
	    "2026-11-21_04:00:16Z",
	    "now",
	};
	int64_t value = 42;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct error err = {0};

		cr_assert_eq(clock_parse(bad[i], &value, &err), ERR_SYNTAX, "%s", bad[i]);
		cr_assert_eq(err.code, ERR_SYNTAX);
	}
	cr_assert_eq(value, 42);
}
