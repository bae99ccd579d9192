/*
 * arguments.c
 *	  Arguments that many functions take: increment, period, rounding.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/grid.h"
#include "core/rounding.h"
#include "pg/arguments.h"
#include "pg/quantity.h"

/* Return an interval as a user wrote it, for messages. */
static char *
interval_text(const Interval *interval)
{
	return DatumGetCString(DirectFunctionCall1(interval_out,
											   IntervalPGetDatum(interval)));
}

/*
 * Set the unit of increment: a divisor of 24 hours, or '1 day', which is a
 * local day however long it is.
 */
void
meter_grid_set_increment(MeterGrid *grid, const Interval *increment)
{
	if (increment->month == 0 && increment->day == 1 && increment->time == 0)
	{
		grid->unit = 8 * METER_DAY; /* no local day is that long */
		return;
	}
	if (increment->month != 0 || increment->day != 0 ||
		increment->time <= 0 || increment->time >= METER_DAY ||
		METER_DAY % increment->time != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"increment\" must divide a day: \"%s\"",
						interval_text(increment)),
				 errhint("Use a divisor of 24 hours, such as '1 second', '1 minute', '15 minutes' or '1 hour', or '1 day' (not '24 hours': days differ in length).")));
	grid->unit = increment->time;
}

/*
 * Set the period: a divisor of 24 hours, a day, a week, or months that divide
 * a year.  It must be a multiple of the increment, which is set before if
 * there is one.
 */
void
meter_grid_set_period(MeterGrid *grid, const Interval *period)
{
	grid->period_usec = 0;
	grid->period_days = 0;
	grid->period_months = 0;

	if (period->month == 0 && period->day == 0 &&
		period->time >= METER_SECOND && period->time < METER_DAY &&
		METER_DAY % period->time == 0 && period->time % METER_SECOND == 0)
		grid->period_usec = period->time;
	else if (period->month == 0 && period->time == 0 &&
			 (period->day == 1 || period->day == 7))
		grid->period_days = period->day;
	else if (period->day == 0 && period->time == 0 && period->month > 0 &&
			 12 % period->month == 0)
		grid->period_months = period->month;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid period: \"%s\"", interval_text(period)),
				 errhint("Use a divisor of 24 hours in whole seconds, such as '1 minute' or '1 hour', '1 day' (not '24 hours': days differ in length), '1 week', or 1, 2, 3, 4, 6 or 12 months.")));

	if (grid->unit > 0 && grid->period_usec > 0 &&
		grid->period_usec % grid->unit != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("period \"%s\" is not a multiple of the increment",
						interval_text(period)),
				 errhint("Use an increment that divides the period.")));
}

/*
 * Set the increment and the period of a meter.  Where each run is rounded, the
 * increment is any length of time, which this returns; the grid then has
 * seconds, of which every period is a multiple.
 */
int64
meter_grid_set_units(MeterGrid *grid, bool of_run, const Interval *increment,
					 const Interval *period)
{
	if (of_run)
		grid->unit = METER_SECOND;
	else
		meter_grid_set_increment(grid, increment);
	meter_grid_set_period(grid, period);
	if (!of_run)
		return grid->unit;
	if (meter_interval_usec(increment, "increment") <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"increment\" must be positive")));
	return meter_interval_usec(increment, "increment");
}

/* Look up a rounding by its name.  Returns false if there is none. */
bool
meter_parse_rounding(const char *name, MeterRounding *rounding)
{
	if (strcmp(name, "up") == 0)
		*rounding = METER_ROUND_UP;
	else if (strcmp(name, "down") == 0)
		*rounding = METER_ROUND_DOWN;
	else if (strcmp(name, "nearest") == 0)
		*rounding = METER_ROUND_NEAREST;
	else if (strcmp(name, "none") == 0)
		*rounding = METER_ROUND_NONE;
	else
		return false;
	return true;
}

/* Look up a rounding by its name; raises an error if there is none. */
MeterRounding
meter_rounding_by_name(const char *name)
{
	MeterRounding rounding;

	if (!meter_parse_rounding(name, &rounding))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rounding \"%s\" not recognized", name),
				 errhint("Use up, down, nearest or none.")));
	return rounding;
}

/* Return a text argument; raises an error if it is null. */
char *
meter_text_arg(FunctionCallInfo fcinfo, int argument, const char *what)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* Return the elements of a text[], none of which may be null or empty. */
int
meter_text_elements(Datum array, const char *what, char ***elements)
{
	ArrayType  *value = DatumGetArrayTypeP(array);
	Datum	   *datums;
	bool	   *nulls;
	int			count;
	int			i;
	int			j;

	if (ARR_NDIM(value) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("\"%s\" must be a one-dimensional array", what)));
	deconstruct_array(value, TEXTOID, -1, false, TYPALIGN_INT,
					  &datums, &nulls, &count);
	*elements = palloc(Max(count, 1) * sizeof(char *));
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"%s\" must not contain nulls", what)));
		(*elements)[i] = TextDatumGetCString(datums[i]);
		if ((*elements)[i][0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" must not contain an empty name", what)));
		for (j = 0; j < i; j++)
		{
			if (strcmp((*elements)[i], (*elements)[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("\"%s\" names \"%s\" twice", what,
								(*elements)[i])));
		}
	}
	return count;
}

/*
 * Return the microseconds of an interval; raises an error if it is negative.
 */
int64
meter_interval_not_negative(Datum interval, const char *what)
{
	int64		usec = meter_interval_usec(DatumGetIntervalP(interval), what);

	if (usec < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be negative: \"%s\"", what,
						DatumGetCString(DirectFunctionCall1(interval_out,
															interval)))));
	return usec;
}

/* Check that a period begins at an instant. */
void
meter_check_period_begin(MeterGrid *grid, TimestampTz instant, const char *what)
{
	if (TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" must be finite", what),
				 errhint("Leave \"%s\" out for no limit.", what)));
	if (meter_grid_period_begin(grid, instant) != instant)
	{
		char	   *before = pstrdup(timestamptz_to_str(meter_grid_period_begin(grid, instant)));

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be the beginning of a period, not \"%s\"",
						what, timestamptz_to_str(instant)),
				 errhint("The nearest periods begin at \"%s\" and \"%s\".",
						 before,
						 timestamptz_to_str(meter_grid_period_end(grid, instant)))));
	}
}

/* Read an interval as the server does. */
Interval *
meter_interval_from_cstring(const char *string)
{
	return DatumGetIntervalP(DirectFunctionCall3(interval_in,
												 CStringGetDatum(string),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
}
