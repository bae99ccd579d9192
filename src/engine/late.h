/*
 * late.h
 *	  Late rows: which arrivals change settled periods, which are held, and
 *	  computing anew what is affected.
 */
#ifndef METER_LATE_H
#define METER_LATE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern void meter_note_voids(const MeterDefinition *definition, int64 after,
							 int64 upto);
extern void meter_prune_voids(const MeterDefinition *definition,
							  TimestampTz from);
extern char *meter_released_rows(const MeterDefinition *definition,
								 const MeterProgress *progress,
								 const char *arrivals, int64 count);
extern bool meter_settle_late(const MeterDefinition *definition,
							  MeterProgress *progress, MeterStep *step);

#endif							/* METER_LATE_H */
