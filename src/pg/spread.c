/*
 * spread.c
 *	  A value that is spread evenly over a stretch of time.
 *
 * The part of [x, y) is cum(y) - cum(x), where cum(t) is the value times the
 * share of the time up to t, truncated toward zero in the value's own scale.
 * So the parts of any cut add up to the value, to the last digit.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "pg/spread.h"

/*
 * Values of up to so many digits are cut in 128 bits, with any length of time.
 */
#define SMALL_DIGITS	18

/* Read a number as the server does. */
static Numeric
numeric_from_cstring(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in,
											   CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/*
 * Begin to spread a value over a stretch of time.  The value is not copied.
 */
void
meter_spread_init(MeterSpread *spread, TimestampTz start, TimestampTz end,
				  Numeric value)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(value)));
	char	   *digits = palloc(strlen(text) + 1);
	const char *point = strchr(text, '.');
	const char *from;
	int			count = 0;

	if (numeric_is_nan(value) || numeric_is_inf(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a value must be finite, not %s", text)));
	for (from = text; *from != '\0'; from++)
	{
		if (*from != '.')
			digits[count++] = *from;
	}
	digits[count] = '\0';

	spread->start = start;
	spread->length = end - start;
	spread->value = value;
	spread->scale = point == NULL ? 0 : (int) strlen(point + 1);
#ifdef HAVE_INT128
	spread->is_small = count - (digits[0] == '-') <= SMALL_DIGITS;
#else
	spread->is_small = false;
#endif
	if (spread->is_small)
		spread->small = strtoll(digits, NULL, 10);
	else
		spread->large = numeric_from_cstring(digits);
}

/*
 * Find the part of a small value that falls on [from, to), both within its
 * stretch, times 10^scale.  Returns false if the value is not small.
 */
bool
meter_spread_small_part(const MeterSpread *spread, TimestampTz from,
						TimestampTz to, int64 *part)
{
#ifdef HAVE_INT128
	int64		low;
	int64		high;

	if (!spread->is_small)
		return false;
	if (spread->length == 0)
	{
		*part = spread->small;
		return true;
	}
	low = (int64) ((int128) spread->small * (from - spread->start) /
				   spread->length);
	high = (int64) ((int128) spread->small * (to - spread->start) /
					spread->length);
	*part = high - low;
	return true;
#else
	return false;
#endif
}

/*
 * Return the part of a value that falls on [from, to), both within its
 * stretch.
 */
Numeric
meter_spread_part(const MeterSpread *spread, TimestampTz from, TimestampTz to)
{
	int64		elapsed[2];
	Datum		cumulated[2];
	int64		part;
	int			i;

	if (spread->length == 0 ||
		(from == spread->start && to == spread->start + spread->length))
		return spread->value;
	if (meter_spread_small_part(spread, from, to, &part))
		return int64_div_fast_to_numeric(part, spread->scale);
	elapsed[0] = from - spread->start;
	elapsed[1] = to - spread->start;
	for (i = 0; i < 2; i++)
		cumulated[i] =
			DirectFunctionCall2(numeric_div_trunc,
								DirectFunctionCall2(numeric_mul,
													NumericGetDatum(spread->large),
													NumericGetDatum(int64_to_numeric(elapsed[i]))),
								NumericGetDatum(int64_to_numeric(spread->length)));
	return DatumGetNumeric(
						   DirectFunctionCall2(numeric_mul,
											   DirectFunctionCall2(numeric_sub, cumulated[1],
																   cumulated[0]),
											   NumericGetDatum(numeric_from_cstring(psprintf("1e-%d",
																							 spread->scale)))));
}
