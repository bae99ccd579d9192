/*
 * resettle.h
 *	  Computing anew all that is settled: to compare the ledger with it, and to
 *	  correct the ledger.
 */
#ifndef METER_RESETTLE_H
#define METER_RESETTLE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/ledger.h"

extern void meter_find_faults(const MeterDefinition *definition,
							  const MeterProgress *progress, TimestampTz from,
							  TimestampTz to, TimestampTz beyond,
							  MeterTellDifference tell, void *arg);
extern void meter_renew_rows(const MeterDefinition *definition,
							 MeterProgress *progress);
extern int64 meter_resettle_rows(const MeterDefinition *definition,
								 MeterProgress *progress, bool whole,
								 TimestampTz from, TimestampTz to);

#endif							/* METER_RESETTLE_H */
