/*
 * settle.h
 *	  Settling, and computing anew what is settled.
 */
#ifndef METER_SETTLE_H
#define METER_SETTLE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/places.h"
#include "engine/step_state.h"

extern void meter_settle(const MeterDefinition *definition,
						 MeterProgress *progress, TimestampTz end,
						 MeterStep *step);
extern int64 meter_recompute(const MeterDefinition *definition,
							 MeterProgress *progress,
							 const char *affected,
							 const MeterPlaces *places);
extern int64 meter_recompute_aside(const MeterDefinition *definition,
								   MeterProgress *progress,
								   const char *affected);
extern int64 meter_settle_anew(const MeterDefinition *definition,
							   MeterProgress *progress,
							   TimestampTz from, TimestampTz to,
							   TimestampTz ledger_to);

#endif							/* METER_SETTLE_H */
