/*
 * bound.h
 *	  How far one step settles.
 */
#ifndef METER_BOUND_H
#define METER_BOUND_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

extern TimestampTz meter_bound_events(const MeterDefinition *definition,
									  const MeterProgress *progress,
									  TimestampTz target);
extern TimestampTz meter_bound_measures(const MeterDefinition *definition,
										const MeterProgress *progress,
										TimestampTz target);

#endif							/* METER_BOUND_H */
