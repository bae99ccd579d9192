/*
 * instant.c
 *	  Instants as text.
 *
 * Instants are written as RFC 3339 in UTC, with as many digits of a second as
 * needed; years of more than four digits and years before 1, which RFC 3339
 * does not know, are written as the server shows them.  The same form is read,
 * with any offset, any number of digits of a second, or no second.  A zone is always needed: a local time means nothing without
 * it.
 */
#include "core/core.h"
#include "core/grid.h"
#include "core/instant.h"

/* Write an integer of at least so many digits; returns where it ends. */
static char *
put_digits(char *to, int64 value, int digits)
{
	char		reversed[20];
	int			n = 0;

	do
	{
		reversed[n++] = (char) ('0' + value % 10);
		value /= 10;
	} while (value > 0);
	while (n < digits)
		reversed[n++] = '0';
	while (n > 0)
		*to++ = reversed[--n];
	return to;
}

/*
 * Write a finite instant in up to METER_INSTANT_SIZE bytes; returns their
 * number.
 */
int
meter_instant_write(int64 instant, char *text)
{
	int64		rest = instant % METER_DAY;
	int64		day = instant / METER_DAY;
	char	   *to = text;
	int32		year;
	int32		month;
	int32		mday;

	if (rest < 0)
	{
		rest += METER_DAY;
		day--;
	}
	meter_day_to_date((int32) day, &year, &month, &mday);
	to = put_digits(to, year > 0 ? year : 1 - (int64) year, 4);
	*to++ = '-';
	to = put_digits(to, month, 2);
	*to++ = '-';
	to = put_digits(to, mday, 2);
	*to++ = 'T';
	to = put_digits(to, rest / METER_HOUR, 2);
	*to++ = ':';
	to = put_digits(to, rest / METER_MINUTE % 60, 2);
	*to++ = ':';
	to = put_digits(to, rest / METER_SECOND % 60, 2);
	if (rest % METER_SECOND > 0)
	{
		*to++ = '.';
		to = put_digits(to, rest % METER_SECOND, 6);
		while (to[-1] == '0')
			to--;
	}
	*to++ = 'Z';
	if (year <= 0)
	{
		memcpy(to, " BC", 3);
		to += 3;
	}
	return (int) (to - text);
}

/* Read an unsigned integer of so many digits. */
static bool
get_digits(const char **at, const char *end, int least, int most,
		   int64 *value)
{
	const char *from = *at;

	*value = 0;
	while (*at < end && *at - from < most && **at >= '0' && **at <= '9')
		*value = *value * 10 + (*(*at)++ - '0');
	return *at - from >= least;
}

/* Go past a byte if it is the next one; tells whether it was. */
static bool
take(const char **at, const char *end, char byte)
{
	if (*at == end || **at != byte)
		return false;
	(*at)++;
	return true;
}

/* Return the number of days of a month of the Gregorian calendar. */
int64
meter_days_of_month(int64 year, int64 month)
{
	static const int8_t days[] = {31, 28, 31, 30, 31, 30,
	31, 31, 30, 31, 30, 31};

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

/*
 * Read the zone, which is Z or an offset as RFC 3339 and the server write it,
 * in seconds.  Returns false if there is none.
 */
static bool
get_zone(const char **at, const char *end, int64 *offset)
{
	int64		hours;
	int64		minutes = 0;
	bool		west;

	*offset = 0;
	if (take(at, end, 'Z') || take(at, end, 'z'))
		return true;
	west = take(at, end, '-');
	if (!west && !take(at, end, '+'))
		return false;
	if (!get_digits(at, end, 2, 2, &hours))
		return false;
	if (take(at, end, ':') ||
		(*at < end && **at >= '0' && **at <= '9'))
	{
		if (!get_digits(at, end, 2, 2, &minutes))
			return false;
	}
	if (hours > 23 || minutes > 59)
		return false;
	*offset = (hours * 60 + minutes) * (west ? -60 : 60);
	return true;
}

/*
 * Read the digits of a second behind its point, as many as there are: those
 * beyond microseconds are cut off.
 */
static bool
get_fraction(const char **at, const char *end, int64 *micros)
{
	const char *first = *at;
	int64		further;
	int			digits;

	if (!get_digits(at, end, 1, 6, micros))
		return false;
	for (digits = (int) (*at - first); digits < 6; digits++)
		*micros *= 10;
	while (get_digits(at, end, 1, 1, &further))
		;
	return true;
}

/*
 * Read an instant.  A second of 60 is the first of the next minute, as the
 * server has it.  Returns NULL, or what is wrong with it.
 */
const char *
meter_instant_parse(const char *text, size_t length, int64 *instant)
{
	static const char *form = "expected an instant with a zone, such as \"2024-03-05T10:00:00Z\"";
	const char *at = text;
	const char *end = text + length;
	int64		year;
	int64		month;
	int64		mday;
	int64		hour;
	int64		minute;
	int64		second = 0;
	int64		fraction = 0;
	int64		offset;
	int64		seconds;

	if (!get_digits(&at, end, 4, 6, &year) || !take(&at, end, '-') ||
		!get_digits(&at, end, 2, 2, &month) || !take(&at, end, '-') ||
		!get_digits(&at, end, 2, 2, &mday) ||
		!(take(&at, end, 'T') || take(&at, end, 't') || take(&at, end, ' ')) ||
		!get_digits(&at, end, 2, 2, &hour) || !take(&at, end, ':') ||
		!get_digits(&at, end, 2, 2, &minute))
		return form;
	if (take(&at, end, ':') &&
		(!get_digits(&at, end, 2, 2, &second) ||
		 (take(&at, end, '.') && !get_fraction(&at, end, &fraction))))
		return form;
	if (at == end)
		return "the instant has no zone: add Z for UTC, or an offset such as +01:00";
	if (!get_zone(&at, end, &offset))
		return form;
	if (end - at == 3 && memcmp(at, " BC", 3) == 0)
	{
		at = end;
		if (year < 1)
			return "there is no year 0";
		year = 1 - year;
	}
	else if (year < 1)
		return "there is no year 0";
	if (at != end)
		return form;
	if (month < 1 || month > 12 || mday < 1 ||
		mday > meter_days_of_month(year, month) ||
		hour > 23 || minute > 59 || second > 60)
		return "there is no such instant";

	/* no timestamp has such a year, and the arithmetic does not overflow */
	if (year < -4800 || year > 294280)
		return "the instant is out of range";
	seconds = meter_day_from_date((int32) year, (int32) month,
								  (int32) mday) * (METER_DAY / METER_SECOND) +
		hour * 3600 + minute * 60 + second - offset;
	if (seconds < METER_FIRST / METER_SECOND ||
		seconds >= METER_LIMIT / METER_SECOND)
		return "the instant is out of range";
	*instant = seconds * METER_SECOND + fraction;
	return NULL;
}
