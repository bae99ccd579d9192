/*
 * grid.h
 *	  The grid of days, units of increment and periods in a time zone.
 */
#ifndef METER_GRID_H
#define METER_GRID_H

#include "core/core.h"

/*
 * A time zone.  Days are numbered from 2000-01-01 = 0.  midnight() returns the
 * first instant whose local date is `day` or later, and never falls as `day`
 * rises; day_near() returns a day that is at most a few off the one that holds
 * the instant.
 */
typedef struct MeterZone
{
	int64		(*midnight) (void *arg, int32 day);
	int32		(*day_near) (void *arg, int64 instant);
	void	   *arg;
} MeterZone;

/* Exactly one of the three period fields is set, or none (no periods). */
typedef struct MeterGrid
{
	const MeterZone *zone;		/* NULL: UTC */
	int64		unit;			/* increment, microseconds: divides a day */
	int64		period_usec;	/* below a day: divides a day */
	int32		period_days;	/* 1, or 7: weeks from Monday */
	int32		period_months;	/* divides 12 */

	/* the local day looked at last: number, beginning and end */
	bool		day_known;
	int32		day;
	int64		day_begin;
	int64		day_end;
} MeterGrid;

extern void meter_grid_init(MeterGrid *grid, const MeterZone *zone);
extern int32 meter_grid_day(MeterGrid *grid, int64 instant);
extern int64 meter_grid_unit_floor(MeterGrid *grid, int64 instant);
extern int64 meter_grid_unit_ceil(MeterGrid *grid, int64 instant);
extern int64 meter_grid_unit_round(MeterGrid *grid, int64 instant);
extern int64 meter_grid_period_begin(MeterGrid *grid, int64 instant);
extern int64 meter_grid_period_end(MeterGrid *grid, int64 instant);

extern int32 meter_day_from_date(int32 year, int32 month, int32 mday);
extern void meter_day_to_date(int32 day, int32 *year, int32 *month,
							  int32 *mday);
extern double meter_grid_count_periods(const MeterGrid *grid, int64 from,
									   int64 to);

#endif							/* METER_GRID_H */
