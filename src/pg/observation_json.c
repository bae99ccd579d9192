/*
 * observation_json.c
 *	  What an observation in the event log says, from its attributes.
 *
 * Anybody who may write to the log may write a row that looks like an
 * observation, so nothing in it is relied upon: attributes that are not as the
 * engine writes them say nothing.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "pg/observation_json.h"

/*
 * Read a number of so many digits, at most 9.  Returns false if there are
 * fewer.
 */
static bool
digits(const char **at, const char *end, int count, int *number)
{
	*number = 0;
	for (; count > 0; count--)
	{
		if (*at == end || !isdigit((unsigned char) **at))
			return false;
		*number = *number * 10 + (*(*at)++ - '0');
	}
	return true;
}

/* Read one character, which must be the expected one. */
static bool
literally(const char **at, const char *end, char expected)
{
	return *at < end && *(*at)++ == expected;
}

/*
 * Read an instant as JSON has it of a timestamptz in UTC, such as
 * 2024-03-05T12:00:00.5+00:00 (or Z).  Returns false if it is none.
 */
static bool
parse_instant(const char *at, const char *end, int64 *instant)
{
	struct pg_tm tm;
	fsec_t		fraction = 0;
	int			zone = 0;
	int			unit = 100000;
	int			year_digits = 4;

	memset(&tm, 0, sizeof(tm));
	while (year_digits < 6 && end - at > year_digits &&
		   isdigit((unsigned char) at[year_digits]))
		year_digits++;
	if (!digits(&at, end, year_digits, &tm.tm_year) ||
		!literally(&at, end, '-') ||
		!digits(&at, end, 2, &tm.tm_mon) || !literally(&at, end, '-') ||
		!digits(&at, end, 2, &tm.tm_mday) || !literally(&at, end, 'T') ||
		!digits(&at, end, 2, &tm.tm_hour) || !literally(&at, end, ':') ||
		!digits(&at, end, 2, &tm.tm_min) || !literally(&at, end, ':') ||
		!digits(&at, end, 2, &tm.tm_sec))
		return false;
	if (at < end && *at == '.')
	{
		for (at++; at < end && isdigit((unsigned char) *at); at++, unit /= 10)
			fraction += (*at - '0') * unit;
	}
	if (!(end - at == 1 && *at == 'Z') &&
		!(end - at == 6 && memcmp(at, "+00:00", 6) == 0))
		return false;
	if (tm.tm_year == 0 || tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR ||
		tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1] ||
		tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
		return false;
	return tm2timestamp(&tm, fraction, &zone, instant) == 0;
}

/* Look up a key of an object.  Returns false if it is not there. */
static JsonbValue *
get_key(Jsonb *attributes, const char *key, JsonbValue *value)
{
	if (!JB_ROOT_IS_OBJECT(attributes))
		return NULL;
	return getKeyJsonValueFromContainer(&attributes->root, key,
										(int) strlen(key), value);
}

/*
 * Read the instant that a key names.  Returns false and leaves *instant alone
 * if it names none.
 */
bool
meter_observation_instant_of(Jsonb *attributes, const char *key, int64 *instant)
{
	JsonbValue	value;
	int64		parsed;

	if (get_key(attributes, key, &value) == NULL || value.type != jbvString ||
		!parse_instant(value.val.string.val,
					   value.val.string.val + value.val.string.len, &parsed))
		return false;
	*instant = parsed;
	return true;
}

/*
 * Return by how much `since` may be off, in microseconds: a minute by default.
 */
int64
meter_observation_tolerance(Jsonb *attributes)
{
	JsonbValue	value;
	double		seconds;

	if (get_key(attributes, "tolerance", &value) == NULL ||
		value.type != jbvNumeric)
		return METER_MINUTE;
	seconds = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												 NumericGetDatum(value.val.numeric)));
	if (!(seconds >= 0 && seconds < 1e9))
		return METER_MINUTE;
	return (int64) (seconds * METER_SECOND + 0.5);
}

/*
 * Return the instant from which on an observation at `time` may change a
 * timeline: METER_REACH in C.
 */
int64
meter_observation_reach(Jsonb *attributes, int64 time, bool absent)
{
	JsonbValue	value;
	int64		alive = METER_BEGIN;

	if (!absent && get_key(attributes, "since", &value) == NULL)
		return time;
	(void) meter_observation_instant_of(attributes, "alive", &alive);
	return alive;
}

PG_FUNCTION_INFO_V1(meter_observation_instant);

/* observation_instant(attributes, key) */
Datum
meter_observation_instant(PG_FUNCTION_ARGS)
{
	int64		instant;

	if (!meter_observation_instant_of(PG_GETARG_JSONB_P(0),
									  text_to_cstring(PG_GETARG_TEXT_PP(1)),
									  &instant))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(instant);
}
