/*
 * clock.h
 *	  Clocks: how far the watermark of a meter may go.
 */
#ifndef METER_CLOCK_H
#define METER_CLOCK_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern TimestampTz meter_clock_cut(const MeterDefinition *definition,
								   TimestampTz clock);
extern bool meter_clock_ahead(const MeterDefinition *definition,
							  TimestampTz *target);
extern bool meter_clock_target(const MeterDefinition *definition,
							   MeterProgress *progress,
							   const MeterStep *step, TimestampTz *target);

#endif							/* METER_CLOCK_H */
