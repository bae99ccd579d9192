/*
 * query.h
 *	  The parts that the engine's queries are made of.
 */
#ifndef METER_QUERY_H
#define METER_QUERY_H

#include "meter.h"

#include "lib/stringinfo.h"

#include "definition.h"

/* Which rows of the log a query is about; expressions, or NULL: no limit. */
typedef struct MeterScope
{
	const char *from;			/* events from then on */
	const char *to;				/* rows before then */
	const char *touched;		/* CTE: events of its resources only */
	int64		sealed;			/* look those up one by one among arrivals
								 * before this */
	const char *late_from;		/* rows that arrived after `safe` count from
								 * then on only */
	int64		safe;
	bool		voids_from_log; /* and not from what the engine noted */
} MeterScope;

extern void meter_append_events(StringInfo sql,
								const MeterDefinition *definition,
								const MeterScope *scope);
extern char *meter_rows_of_resources(const MeterDefinition *definition,
									 const char *resources, int64 sealed,
									 const char *to);
extern int64 meter_sealed_for(const MeterDefinition *definition,
							  double nresources);
extern void meter_append_events_in_view(StringInfo sql,
										const MeterDefinition *definition,
										const char *from, const char *to);
extern char *meter_earliest_instant(const MeterDefinition *definition);
extern char *meter_late_rows(const MeterDefinition *definition, int64 safe);
extern void meter_append_number_attribute(StringInfo sql, const char *key);
extern void meter_append_action_filter(StringInfo sql,
									   const MeterDefinition *definition);
extern void meter_append_upsert_state(StringInfo sql,
									  const MeterDefinition *definition,
									  const char *unnamed_since);
extern void meter_append_difference(StringInfo sql,
									const MeterDefinition *definition,
									const char *timelines, const char *end,
									const char *ledger);
extern char *meter_ledger_of_touched(const MeterDefinition *definition,
									 const char *touched, const char *end,
									 bool few);
extern char *meter_ledger_of_range(const MeterDefinition *definition,
								   const char *from, const char *end);
extern void meter_append_insert_difference(StringInfo sql,
										   const MeterDefinition *definition,
										   int64 settlement,
										   const char *difference);

#endif							/* METER_QUERY_H */
