/*
 * retention.h
 *	  The floor that meter.expire() leaves.
 */
#ifndef METER_RETENTION_H
#define METER_RETENTION_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

extern bool meter_move_floor(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz before,
							 TimestampTz *floor);
extern void meter_store_floor(const MeterDefinition *definition,
							  const char *log, TimestampTz floor);
extern void meter_store_states(const MeterDefinition *definition, const MeterProgress *progress,
							   TimestampTz floor);
extern void meter_check_events_are_whole(const MeterDefinition *definition);
extern void meter_begin_at_floor(const MeterDefinition *definition);

#endif							/* METER_RETENTION_H */
