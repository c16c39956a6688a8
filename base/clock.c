#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t MS_PER_DAY = 86400000;

static int64_t read_us(clockid_t which)
{
	struct timespec now = {0};

	(void)clock_gettime(which, &now); /* fails for unknown clocks only */
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_monotonic_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t clock_now_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to January 1st of a year from 0 to 10000. */
static int64_t days_to_year(int year)
{
	/* Leap days in the years 0 … year - 1; the year 0 is one itself. */
	int before = year == 0 ? 0 : (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1;

	return (int64_t)365 * year + before - 719528;
}

/* So many decimal digits, then the mark; where the text goes on. printf would take ten times
 * longer, and every log line and status has a time. */
static char *put_digits(char *at, int64_t value, int count, char mark)
{
	for (int i = count; i-- > 0; value /= 10)
		at[i] = (char)('0' + value % 10);
	at[count] = mark;
	return at + count + 1;
}

void clock_format(int64_t unix_ms, char text[CLOCK_TEXT_SIZE])
{
	const int64_t min = days_to_year(0) * MS_PER_DAY;
	const int64_t max = days_to_year(10000) * MS_PER_DAY - 1;
	int64_t days;
	int ms, year, month = 1;

	unix_ms = unix_ms < min ? min : unix_ms > max ? max : unix_ms;
	days = (unix_ms - min) / MS_PER_DAY; /* since year 0, so never negative */
	ms = (int)((unix_ms - min) % MS_PER_DAY);
	year = (int)(days / 366); /* a little early or exact */
	while (days_to_year(year + 1) - days_to_year(0) <= days)
		year++;
	days -= days_to_year(year) - days_to_year(0);
	while (days >= days_in_month(year, month))
		days -= days_in_month(year, month++);
	text = put_digits(text, year, 4, '-');
	text = put_digits(text, month, 2, '-');
	text = put_digits(text, days + 1, 2, 'T');
	text = put_digits(text, ms / 3600000, 2, ':');
	text = put_digits(text, ms / 60000 % 60, 2, ':');
	text = put_digits(text, ms / 1000 % 60, 2, '.');
	text = put_digits(text, ms % 1000, 3, 'Z');
	*text = '\0';
}

/* Reads exactly count digits. */
static bool read_digits(const char **at, int count, int *value)
{
	*value = 0;
	for (; count > 0; count--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return true;
}

static bool read_char(const char **at, const char *allowed)
{
	if (**at == '\0' || !strchr(allowed, **at))
		return false;
	(*at)++;
	return true;
}

static bool read_date(const char **at, int64_t *days)
{
	int year, month, day;

	if (!read_digits(at, 4, &year) || !read_char(at, "-") || !read_digits(at, 2, &month) ||
	    !read_char(at, "-") || !read_digits(at, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return false;
	*days = days_to_year(year) + day - 1;
	while (--month > 0)
		*days += days_in_month(year, month);
	return true;
}

static bool read_time(const char **at, int64_t *ms)
{
	int hour, minute, second, scale = 100;

	if (!read_digits(at, 2, &hour) || !read_char(at, ":") || !read_digits(at, 2, &minute) ||
	    !read_char(at, ":") || !read_digits(at, 2, &second))
		return false;
	/* Second 60 is a leap second; Unix time has none and takes it as the next one. */
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	*ms = ((int64_t)hour * 60 + minute) * 60000 + (int64_t)second * 1000;
	if (!read_char(at, ".,"))
		return true;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++, scale /= 10)
		*ms += (int64_t)(**at - '0') * scale; /* scale ends at 0: the rest is cut off */
	return true;
}

/* Minutes east of UTC; no zone at all is UTC. */
static bool read_zone(const char **at, int64_t *minutes)
{
	int sign = **at == '-' ? -1 : 1;
	int hour, minute = 0;

	*minutes = 0;
	if (**at == '\0' || read_char(at, "Zz"))
		return true;
	if (!read_char(at, "+-") || !read_digits(at, 2, &hour))
		return false;
	if (**at != '\0') {
		(void)read_char(at, ":"); /* may be left out */
		if (!read_digits(at, 2, &minute))
			return false;
	}
	*minutes = (int64_t)sign * (hour * 60 + minute);
	return hour <= 23 && minute <= 59;
}

int clock_parse(const char *text, int64_t *unix_ms, struct error *err)
{
	const char *at = text;
	int64_t days, ms, zone;

	if (!read_date(&at, &days) || !read_char(&at, "Tt ") || !read_time(&at, &ms) ||
	    !read_zone(&at, &zone) || *at != '\0')
		return error_set(err, ERR_SYNTAX, "not a date and time like 2026-11-21T04:00:16Z");
	*unix_ms = days * MS_PER_DAY + ms - zone * 60000;
	return 0;
}
