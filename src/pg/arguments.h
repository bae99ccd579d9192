/*
 * arguments.h
 *	  Arguments that many functions take: precision, period, rounding.
 */
#ifndef METER_ARGUMENTS_H
#define METER_ARGUMENTS_H

#include "meter.h"

#include "core/grid.h"
#include "core/rounding.h"

extern void meter_grid_set_precision(MeterGrid *grid,
									 const Interval *precision);
extern void meter_grid_set_period(MeterGrid *grid, const Interval *period);
extern bool meter_parse_rounding(const char *name, MeterRounding *rounding);
extern MeterRounding meter_rounding_by_name(const char *name);

#endif							/* METER_ARGUMENTS_H */
