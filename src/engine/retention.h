/*
 * retention.h
 *	  The retention boundary that meter.expire() leaves.
 */
#ifndef METER_RETENTION_H
#define METER_RETENTION_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/quarantine.h"

extern bool meter_move_boundary(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz before,
								TimestampTz *boundary);
extern TimestampTz meter_first_unread(const MeterDefinition *definition,
									  const MeterProgress *progress);
extern void meter_store_boundary(const MeterDefinition *definition,
								 MeterLog log, TimestampTz boundary);
extern MeterQuarantine *meter_store_states(const MeterDefinition *definition,
										   const MeterProgress *progress,
										   TimestampTz boundary);
extern void meter_begin_at_boundary(MeterDefinition *definition);

#endif							/* METER_RETENTION_H */
