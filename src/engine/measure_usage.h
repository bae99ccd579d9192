/*
 * measure_usage.h
 *	  Usage of measures: what a step settles, and computing resources anew.
 */
#ifndef METER_MEASURE_USAGE_H
#define METER_MEASURE_USAGE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "engine/step_state.h"

extern bool meter_measure_late(MeterDefinition *definition, int64 safe,
							   TimestampTz noted_at,
							   TimestampTz measures_noted_at,
							   MeterStep *step);
extern int64 meter_measure_recompute(MeterDefinition *definition,
									 const char *touched,
									 TimestampTz horizon,
									 bool write_states);
extern void meter_measure_settle(MeterDefinition *definition, TimestampTz end,
								 MeterStep *step);
extern TimestampTz meter_measure_bound(MeterDefinition *definition,
									   TimestampTz target);
extern int64 meter_measure_resettle(MeterDefinition *definition,
									TimestampTz from, TimestampTz to);
extern char *meter_released_measures(const MeterDefinition *definition,
									 const char *released);

#endif							/* METER_MEASURE_USAGE_H */
