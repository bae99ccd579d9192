/*
 * counter.c
 *	  What a reading of a counter adds to the one before: the rules of counters,
 *	  for one reading of a series after the last one that counted.
 *
 * A reading that is passed over leaves no trace: the next one is compared with
 * the last that counted.  So that one, its time, value and start, is all that
 * what follows depends on.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "engine/counter.h"
#include "pg/now.h"

/* By so much may the start that a counter says waver. */
#define START_TOLERANCE	USECS_PER_SEC

/* Begin to count the readings of a meter, in the current context. */
void
meter_counter_init(MeterCounter *counter, const MeterDefinition *definition)
{
	counter->begins = definition->begins;
	counter->drops = definition->drops;
	counter->since = definition->since;
	counter->modulus = definition->modulus == NULL ? NULL :
		DatumGetNumeric(DirectFunctionCall3(numeric_in,
											CStringGetDatum(definition->modulus),
											ObjectIdGetDatum(InvalidOid),
											Int32GetDatum(-1)));
}

/* Compare two numbers. */
static int
compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a),
											 NumericGetDatum(b)));
}

/* Return a number with another one added to it. */
static Numeric
add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* Return a number less another one. */
static Numeric
subtract(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* Tell whether a number is less than 0. */
static bool
is_negative(Numeric number)
{
	return compare(number, int64_to_numeric(0)) < 0;
}

/*
 * Find what a reading that is less than the one before adds: if that is less
 * than half the modulus the counter has gone round.
 */
static MeterCounted
count_drop(const MeterCounter *counter, Numeric before, Numeric value,
		   Numeric *added)
{
	Numeric		wrap;

	if (counter->modulus != NULL)
	{
		wrap = subtract(add(value, counter->modulus), before);
		if (compare(add(wrap, wrap), counter->modulus) < 0)
		{
			*added = wrap;
			return METER_COUNTED_WRAP;
		}
	}
	return counter->drops == METER_DROPS_IGNORE ? METER_PASSED_DROP : METER_COUNTED_RESET;
}

/* Find what the first reading of a series adds. */
static MeterCounted
count_first(const MeterCounter *counter, TimestampTz start, TimestampTz end)
{
	if (counter->begins == METER_BEGINS_ZERO)
		return METER_COUNTED_ZERO;
	if (counter->begins == METER_BEGINS_START && start < end &&
		start >= counter->since)
		return METER_COUNTED_START;
	return METER_COUNTED_BASE;
}

/*
 * Find what becomes of a reading, which is later than the last one, and how much
 * it adds: NULL if that is nothing.
 */
MeterCounted
meter_count_reading(const MeterCounter *counter, const MeterLastReading *last,
					TimestampTz start, TimestampTz end, Numeric value,
					Numeric *added)
{
	bool		by_start = counter->begins == METER_BEGINS_START;
	MeterCounted counted;

	*added = NULL;
	if (is_negative(value))
		return METER_PASSED_NEGATIVE;
	if (counter->modulus != NULL && compare(value, counter->modulus) >= 0)
		return METER_PASSED_MODULUS;
	if (last->value == NULL)
		counted = count_first(counter, start, end);
	else if (by_start && start < meter_later_by(last->start, -START_TOLERANCE))
		return METER_PASSED_START;
	else if (by_start && start < end && start > last->time)
		counted = METER_COUNTED_START;
	else if (compare(value, last->value) >= 0)
	{
		*added = subtract(value, last->value);
		return METER_COUNTED_DIFFERENCE;
	}
	else
		counted = count_drop(counter, last->value, value, added);
	if (counted == METER_COUNTED_RESET || counted == METER_COUNTED_ZERO ||
		counted == METER_COUNTED_START)
		*added = value;
	return counted;
}

/*
 * Return the start that readings after one that counted must not be from before:
 * that of this one, if it says one.
 */
TimestampTz
meter_last_start(const MeterLastReading *last, TimestampTz start,
				 TimestampTz end)
{
	return start < end ? start : last->start;
}
