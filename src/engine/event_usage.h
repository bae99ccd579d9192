/*
 * event_usage.h
 *	  Usage of events: what a step settles, and computing resources anew.
 */
#ifndef METER_EVENT_USAGE_H
#define METER_EVENT_USAGE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern int64 meter_recompute(const MeterDefinition *definition,
							 const MeterProgress *progress,
							 const char *affected, int64 safe,
							 TimestampTz horizon, bool write_states);
extern bool meter_settle_late(const MeterDefinition *definition,
							  MeterProgress *progress, MeterStep *step);
extern void meter_settle_named(const MeterDefinition *definition,
							   const MeterProgress *progress, TimestampTz end,
							   MeterStep *step);
extern void meter_settle_events(const MeterDefinition *definition,
								MeterProgress *progress, TimestampTz end,
								MeterStep *step);
extern TimestampTz meter_bound_step(const MeterDefinition *definition,
									const MeterProgress *progress,
									TimestampTz target);

#endif							/* METER_EVENT_USAGE_H */
