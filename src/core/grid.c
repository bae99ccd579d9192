/*
 * grid.c
 *	  The grid of days, units of increment and periods in a time zone.
 *
 * A local day begins at the first instant whose local date is that date or a
 * later one.  Units of increment, and periods shorter than a day, count in
 * elapsed time from there; the last one of a day ends where the day ends.  So
 * each day, week and month is made of whole rows whatever the clocks do: a
 * day of 23 hours has 23, and a date that a zone skipped is empty.
 *
 * All functions take finite instants, except that the unit functions pass
 * -infinity and infinity through.
 */
#include "core/core.h"
#include "core/grid.h"

/*
 * No timestamptz lies beyond these days, and their midnights do not overflow.
 */
#define FIRST_DAY	(-2500000)
#define LAST_DAY	(106751990)

#define EPOCH_2000	10957		/* 2000-01-01 in days since 1970-01-01 */

/* Set up a grid in a zone (NULL: UTC) without unit and period. */
void
meter_grid_init(MeterGrid *grid, const MeterZone *zone)
{
	memset(grid, 0, sizeof(*grid));
	grid->zone = zone;
}

/* Divide and round down, below zero, too. */
static inline int64
floor_div(int64 value, int64 by)
{
	int64		quotient = value / by;

	return quotient - (value % by < 0 ? 1 : 0);
}

/*
 * Return the number of the day of a date of the proleptic Gregorian calendar.
 */
int32
meter_day_from_date(int32 year, int32 month, int32 mday)
{
	int64		y = (int64) year - (month <= 2 ? 1 : 0);
	int64		era = floor_div(y, 400);
	int64		yoe = y - era * 400;
	int64		doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + mday - 1;
	int64		doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return (int32) (era * 146097 + doe - 719468 - EPOCH_2000);
}

/* Return the date of a day. */
void
meter_day_to_date(int32 day, int32 *year, int32 *month, int32 *mday)
{
	int64		z = (int64) day + EPOCH_2000 + 719468;
	int64		era = floor_div(z, 146097);
	int64		doe = z - era * 146097;
	int64		yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64		doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64		mp = (5 * doy + 2) / 153;

	*mday = (int32) (doy - (153 * mp + 2) / 5 + 1);
	*month = (int32) (mp < 10 ? mp + 3 : mp - 9);
	*year = (int32) (yoe + era * 400 + (*month <= 2 ? 1 : 0));
}

/* Return the first instant of a local day, or infinity beyond the last day. */
static int64
midnight(const MeterGrid *grid, int32 day)
{
	if (day > LAST_DAY)
		return METER_END;
	if (grid->zone == NULL)
		return (int64) day * METER_DAY;
	return grid->zone->midnight(grid->zone->arg, day);
}

/* Look up the local day that holds an instant. */
static void
find_day(MeterGrid *grid, int64 instant)
{
	int32		day;
	int64		begin;
	int64		end;

	if (grid->day_known &&
		instant >= grid->day_begin && instant < grid->day_end)
		return;

	if (grid->zone == NULL)
	{
		day = (int32) floor_div(instant, METER_DAY);
		begin = midnight(grid, day);
		end = midnight(grid, day + 1);
	}
	else
	{
		day = grid->zone->day_near(grid->zone->arg, instant);
		day = Max(Min(day, LAST_DAY), FIRST_DAY);
		while (day > FIRST_DAY && midnight(grid, day) > instant)
			day--;
		begin = midnight(grid, day);
		end = midnight(grid, day + 1);
		while (end <= instant && day < LAST_DAY)
		{
			day++;
			begin = end;
			end = midnight(grid, day + 1);
		}
	}
	grid->day_known = true;
	grid->day = day;
	grid->day_begin = begin;
	grid->day_end = end;
}

/* Return the number of the local day that holds an instant. */
int32
meter_grid_day(MeterGrid *grid, int64 instant)
{
	find_day(grid, instant);
	return grid->day;
}

/*
 * Return the begin of the slice that holds an instant, where each local day is
 * cut into slices of `length`.  A slice of a day is that day, of however many
 * hours.
 */
static int64
slice_begin(MeterGrid *grid, int64 instant, int64 length)
{
	find_day(grid, instant);
	if (length >= METER_DAY)
		return grid->day_begin;
	return instant - (instant - grid->day_begin) % length;
}

/*
 * Return the end of the slice that begins at `begin`, in the day that
 * find_day() looked up last.
 */
static inline int64
slice_end(MeterGrid *grid, int64 begin, int64 length)
{
	if (length >= METER_DAY)
		return grid->day_end;
	return Min(begin + length, grid->day_end);
}

/* Return the begin of the unit that holds an instant. */
int64
meter_grid_unit_floor(MeterGrid *grid, int64 instant)
{
	if (instant == METER_BEGIN || instant == METER_END)
		return instant;
	return slice_begin(grid, instant, grid->unit);
}

/* Return the least boundary of a unit at or after an instant. */
int64
meter_grid_unit_ceil(MeterGrid *grid, int64 instant)
{
	int64		begin;

	if (instant == METER_BEGIN || instant == METER_END)
		return instant;
	begin = slice_begin(grid, instant, grid->unit);
	return begin == instant ? instant : slice_end(grid, begin, grid->unit);
}

/*
 * Return the nearest boundary of a unit; of two equally near ones the later.
 */
int64
meter_grid_unit_round(MeterGrid *grid, int64 instant)
{
	int64		begin;
	int64		end;

	if (instant == METER_BEGIN || instant == METER_END)
		return instant;
	begin = slice_begin(grid, instant, grid->unit);
	end = slice_end(grid, begin, grid->unit);
	return instant - begin < end - instant ? begin : end;
}

/* Return the first day of the period of days or months that holds a day. */
static int32
period_first_day(const MeterGrid *grid, int32 day)
{
	int32		year;
	int32		month;
	int32		mday;

	if (grid->period_days == 1)
		return day;
	if (grid->period_days == 7) /* 2000-01-03 was a Monday */
		return day - (int32) (day - 2 - 7 * floor_div(day - 2, 7));
	meter_day_to_date(day, &year, &month, &mday);
	month -= (month - 1) % grid->period_months;
	return meter_day_from_date(year, month, 1);
}

/*
 * Return the first day of the period after the one that begins with `first`.
 */
static int32
period_next_day(const MeterGrid *grid, int32 first)
{
	int32		year;
	int32		month;
	int32		mday;

	if (grid->period_days > 0)
		return first + grid->period_days;
	meter_day_to_date(first, &year, &month, &mday);
	month += grid->period_months;
	if (month > 12)
	{
		month -= 12;
		year++;
	}
	return meter_day_from_date(year, month, 1);
}

/* Return the begin of the period that holds an instant. */
int64
meter_grid_period_begin(MeterGrid *grid, int64 instant)
{
	if (grid->period_usec > 0)
		return slice_begin(grid, instant, grid->period_usec);
	find_day(grid, instant);
	return midnight(grid, period_first_day(grid, grid->day));
}

/*
 * Return the end of the period that holds an instant, always later than the
 * instant.
 */
int64
meter_grid_period_end(MeterGrid *grid, int64 instant)
{
	int32		first;
	int64		end;

	if (grid->period_usec > 0)
		return slice_end(grid,
						 slice_begin(grid, instant, grid->period_usec),
						 grid->period_usec);
	find_day(grid, instant);
	if (grid->period_days == 1)
		return grid->day_end;
	first = period_first_day(grid, grid->day);
	do
	{
		first = period_next_day(grid, first);
		end = midnight(grid, first);
	} while (end <= instant);
	return end;
}

/* Return about how many periods there are between two instants, at least 1. */
double
meter_grid_count_periods(const MeterGrid *grid, int64 from,
						 int64 to)
{
	int64		length = grid->period_usec > 0 ? grid->period_usec :
	grid->period_days > 0 ? grid->period_days * METER_DAY :
	grid->period_months * 28 * METER_DAY;

	return Max((double) (to - from) / length, 1);
}
