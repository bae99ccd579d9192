/*
 * event_usage.h
 *	  Usage of events: what a step settles, and computing resources anew.
 */
#ifndef METER_EVENT_USAGE_H
#define METER_EVENT_USAGE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "engine/step_state.h"

extern int64 meter_recompute(MeterDefinition *definition, const char *touched,
							 int64 safe, TimestampTz horizon,
							 bool write_states);
extern bool meter_settle_late(MeterDefinition *definition, int64 safe,
							  TimestampTz noted_at, MeterStep *step);
extern void meter_settle_named(MeterDefinition *definition, int64 safe,
							   TimestampTz end, MeterStep *step);
extern void meter_settle_events(MeterDefinition *definition, TimestampTz end,
								MeterStep *step);
extern TimestampTz meter_bound_step(MeterDefinition *definition,
									TimestampTz target);

#endif							/* METER_EVENT_USAGE_H */
