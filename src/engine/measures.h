/*
 * measures.h
 *	  Meters of measures: the parts of their queries.
 */
#ifndef METER_MEASURES_H
#define METER_MEASURES_H

#include "lib/stringinfo.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/events.h"

/*
 * Which measures a query is about.  Texts are expressions; NULL sets no limit.
 */
typedef struct MeterMeasureScope
{
	const char *from;			/* usage from then on */
	const char *to;				/* usage before then */
	const char *named_to;		/* events before then say who owns what */
	bool		affected;		/* only of the resources in "affected", each
								 * from its begin_at on */
	int64		sealed;			/* look those up one by one among arrivals
								 * before this; 0: read everything */
	bool		carried;		/* what was before `from` is in the states */
	const char *late_from;		/* rows that arrived after the positions count
								 * from then on only */
	bool		voids_from_log; /* not from the table _voided */
	const char *duplicates;		/* condition on rows c that may be duplicates;
								 * NULL: there are none */
	const char *duplicates_from;	/* where to find these rows; NULL: the log */
	const char *suspects;		/* bigint[] literal of hashes that may be met
								 * twice; NULL: look for them */
	bool		all_simple;		/* none has to be cut, all say who pays */
	bool		any_held;
	bool		any_voided;
} MeterMeasureScope;

extern char *meter_earliest_measure(const MeterDefinition *definition);
extern char *meter_complex_condition(const MeterDefinition *definition,
									 const char *from);
extern char *meter_late_measures(const MeterDefinition *definition, const MeterProgress *progress,
								 int64 safe);
extern int64 meter_sealed_measures_for(const MeterDefinition *definition,
									   double nresources);
extern void meter_look_up_scope(const MeterDefinition *definition,
								MeterMeasureScope *scope);
extern void meter_append_owner_events(StringInfo sql,
									  const MeterDefinition *definition,
									  const MeterScope *scope);
extern void meter_append_measures(StringInfo sql,
								  const MeterDefinition *definition, const MeterProgress *progress,
								  const MeterMeasureScope *scope);
extern void meter_append_measures_of_all(StringInfo sql,
										 const MeterDefinition *definition, const MeterProgress *progress,
										 const char *from, const char *to,
										 const char *late_from);
extern void meter_append_measure_states(StringInfo sql,
										const MeterDefinition *definition,
										const MeterMeasureScope *scope);
extern void meter_append_measures_behind(StringInfo sql,
										 const MeterDefinition *definition, const MeterProgress *progress,
										 const MeterMeasureScope *scope);
extern char *meter_measure_difference(const char *ledger);
extern void meter_append_measures_in_view(StringInfo sql,
										  const MeterDefinition *definition,
										  const char *from, const char *to);

#endif							/* METER_MEASURES_H */
