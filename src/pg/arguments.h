/*
 * arguments.h
 *	  Arguments that many functions take: increment, period, rounding.
 */
#ifndef METER_ARGUMENTS_H
#define METER_ARGUMENTS_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "core/grid.h"
#include "core/rounding.h"

extern char *meter_text_arg(FunctionCallInfo fcinfo, int argument,
							const char *what);
extern int	meter_text_elements(Datum array, const char *what, char ***elements);
extern int64 meter_interval_not_negative(Datum interval, const char *what);
extern Interval *meter_interval_from_cstring(const char *string);
extern void meter_check_period_begin(MeterGrid *grid, TimestampTz instant,
									 const char *what);
extern void meter_grid_set_increment(MeterGrid *grid,
									 const Interval *increment);
extern void meter_grid_set_period(MeterGrid *grid, const Interval *period);
extern int64 meter_grid_set_units(MeterGrid *grid, bool of_run,
								  const Interval *increment,
								  const Interval *period);
extern bool meter_parse_rounding(const char *name, MeterRounding *rounding);
extern MeterRounding meter_rounding_by_name(const char *name);

#endif							/* METER_ARGUMENTS_H */
