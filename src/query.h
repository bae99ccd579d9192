/*
 * query.h
 *	  The parts that the engine's queries are made of.
 */
#ifndef METER_QUERY_H
#define METER_QUERY_H

#include "meter.h"

#include "lib/stringinfo.h"

#include "definition.h"

extern void meter_append_events(StringInfo sql,
								const MeterDefinition *definition,
								const char *condition);
extern void meter_append_action_filter(StringInfo sql,
									   const MeterDefinition *definition);
extern void meter_append_upsert_state(StringInfo sql,
									  const MeterDefinition *definition,
									  const char *from);
extern void meter_append_difference(StringInfo sql,
									const MeterDefinition *definition,
									const char *timelines, const char *end,
									const char *ledger);
extern char *meter_ledger_of_touched(const MeterDefinition *definition,
									 const char *touched, const char *from,
									 const char *end, bool few);
extern char *meter_ledger_of_range(const MeterDefinition *definition,
								   const char *from, const char *end);
extern void meter_append_insert_difference(StringInfo sql,
										   const MeterDefinition *definition,
										   int64 settlement,
										   const char *difference);
extern void meter_append_current_usage(StringInfo sql, const char *stream);
extern void meter_append_live_usage(StringInfo sql,
									const MeterDefinition *definition);

#endif							/* METER_QUERY_H */
