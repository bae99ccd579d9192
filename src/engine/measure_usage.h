/*
 * measure_usage.h
 *	  Usage of measures: what a step settles, and computing resources anew.
 */
#ifndef METER_MEASURE_USAGE_H
#define METER_MEASURE_USAGE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern bool meter_measure_late(const MeterDefinition *definition,
							   MeterProgress *progress, MeterStep *step);
extern int64 meter_measure_recompute(const MeterDefinition *definition, const MeterProgress *progress,
									 const char *affected,
									 TimestampTz horizon,
									 bool write_states);
extern void meter_measure_settle(const MeterDefinition *definition, MeterProgress *progress, TimestampTz end,
								 MeterStep *step);
extern TimestampTz meter_measure_bound(const MeterDefinition *definition,
									   const MeterProgress *progress,
									   MeterStep *step, TimestampTz target);
extern int64 meter_measure_resettle(const MeterDefinition *definition, const MeterProgress *progress,
									TimestampTz from, TimestampTz to);
extern char *meter_released_measures(const MeterDefinition *definition, const MeterProgress *progress,
									 const char *released);

#endif							/* METER_MEASURE_USAGE_H */
