/*
 * beginning.h
 *	  The beginning of a meter: what is there when it is made, how far its clock
 *	  is then, its earliest usage, and its first watermark.
 */
#ifndef METER_BEGINNING_H
#define METER_BEGINNING_H

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern bool meter_earliest_period(const MeterDefinition *definition,
								  const MeterProgress *progress,
								  TimestampTz *begin);
extern int64 meter_count_periods(const MeterDefinition *definition,
								 TimestampTz from, TimestampTz to);
extern bool meter_first_watermark(const MeterDefinition *definition, MeterProgress *progress);
extern bool meter_first_clock(const MeterDefinition *definition,
							  MeterProgress *progress, MeterStep *step);
extern void meter_note_beginning(const MeterDefinition *definition,
								 MeterProgress *progress);

#endif							/* METER_BEGINNING_H */
