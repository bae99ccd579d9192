/*
 * totals.h
 *	  Totals: what the ledger comes to by account, period and dimensions.
 */
#ifndef METER_TOTALS_H
#define METER_TOTALS_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"

typedef struct MeterTotals MeterTotals;

/* Takes a sum, which is `fresh` where totals have nothing yet. */
typedef void (*MeterTakeTotal) (void *arg, Datum account,
								TimestampTz period_start, Datum dimensions,
								Datum quantity, bool fresh);

extern void meter_totals_hand_over(MeterTakeTotal take, void *arg);
extern MeterTotals *meter_totals_begin(const MeterDefinition *definition,
									   bool fresh);
extern void meter_totals_add(MeterTotals *totals, Datum account,
							 Datum dimensions, TimestampTz period_start,
							 Numeric quantity);
extern void meter_totals_end(MeterTotals *totals);
extern char *meter_totals_differences(const MeterDefinition *definition,
									  TimestampTz from, TimestampTz to);
extern void meter_totals_repair(const MeterDefinition *definition,
								TimestampTz from, TimestampTz to);

#endif							/* METER_TOTALS_H */
