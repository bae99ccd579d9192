/*
 * ledger.h
 *	  The ledger: its difference to expected usage, and writing that.
 */
#ifndef METER_LEDGER_H
#define METER_LEDGER_H

#include "lib/stringinfo.h"

#include "catalog/definition.h"

extern void meter_append_difference(StringInfo sql,
									const MeterDefinition *definition,
									const char *timelines, const char *end,
									const char *ledger);
extern char *meter_ledger_of_affected(const MeterDefinition *definition,
									  const char *affected, const char *end,
									  bool few);
extern char *meter_ledger_of_range(const MeterDefinition *definition,
								   const char *from, const char *end);
extern void meter_append_insert_difference(StringInfo sql,
										   const MeterDefinition *definition,
										   int64 settlement,
										   const char *difference);
extern void meter_append_insert_new(StringInfo sql,
									const MeterDefinition *definition,
									int64 settlement,
									const char *transaction_id,
									const char *quantity);

#endif							/* METER_LEDGER_H */
