/*
 * arguments.h
 *	  Arguments that many functions take: precision, period, rounding.
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
extern void meter_grid_set_precision(MeterGrid *grid,
									 const Interval *precision);
extern void meter_grid_set_period(MeterGrid *grid, const Interval *period);
extern bool meter_parse_rounding(const char *name, MeterRounding *rounding);
extern MeterRounding meter_rounding_by_name(const char *name);

#endif							/* METER_ARGUMENTS_H */
