/*
 * late.h
 *	  Late rows: which arrivals change settled periods, and which are held.
 */
#ifndef METER_LATE_H
#define METER_LATE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

extern const char *meter_late_from(const MeterDefinition *definition, const MeterProgress *progress);
extern void meter_note_voids(const MeterDefinition *definition, int64 after,
							 int64 upto);
extern bool meter_hold_limit(const MeterDefinition *definition,
							 const MeterProgress *progress, MeterLog log,
							 TimestampTz *limit);
extern void meter_hold_late_rows(const MeterDefinition *definition, const MeterProgress *progress,
								 int64 safe);
extern void meter_tell_held(const MeterDefinition *definition);

#endif							/* METER_LATE_H */
