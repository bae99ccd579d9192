/*
 * events.h
 *	  Events: the parts of queries over the event log.
 */
#ifndef METER_EVENTS_H
#define METER_EVENTS_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/row_kind.h"

/*
 * The columns of "events" but for resource and arrival, which come first and
 * last; what they are handed to; and the carried state r in their form.
 */
#define METER_EVENT_COLUMNS(x) \
	x ".kind, " x ".at, " x ".account, " x ".dimensions, " x ".value, " \
	x ".alive, " x ".absent, " x ".source, " x ".observation"
#define METER_TIMELINE(x) \
	"meter_internal.settle_timeline(" METER_EVENT_COLUMNS(x) ")"
#define METER_CARRIED \
	"CASE WHEN r.active THEN " METER_SQL_KIND(CARRIED_OPEN) " ELSE " METER_SQL_KIND(CARRIED_CLOSED) \
	" END::\"char\" AS kind, r.since AS at, " \
	"r.account, r.dimensions, r.value, r.alive, r.absent, r.source, NULL::jsonb"

/* The condition that a row e of the event log is an observation. */
#define METER_IS_OBSERVATION(e) \
	e ".action IN ('reconciled:start', 'reconciled:stop', 'reconciled:change')"

/*
 * The instant from which on an observation may change a timeline, from its
 * attributes, its time and whether it is a stop.
 */
#define METER_REACH(attributes, at, is_stop) \
	"(CASE WHEN " is_stop " OR " attributes " ? 'since' THEN " \
	"coalesce(meter_internal.observation_instant(" attributes ", 'alive'), '-infinity') " \
	"ELSE " at " END)"

/*
 * Which rows of the log a query is about.  Texts are expressions; NULL sets no
 * limit.
 */
typedef struct MeterScope
{
	const char *from;			/* events from then on */
	const char *to;				/* rows before then */
	const char *affected;		/* CTE: events of its resources only */
	int64		sealed;			/* look those up one by one among arrivals
								 * before this */
	const char *late_from;		/* rows that arrived after `safe` count from
								 * then on only */
	int64		safe;
	const char *straddling;		/* CTE: of these resources (resource, upto)
								 * also rows from `to` up to then */
	bool		voids_from_log; /* not from the table _voided */
} MeterScope;

extern char *meter_plain_events(const MeterDefinition *definition,
								const MeterScope *scope,
								const char *duplicates);
extern char *meter_find_duplicates(const MeterDefinition *definition,
								   const MeterProgress *progress,
								   const MeterScope *scope, TimestampTz from,
								   TimestampTz to);
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
extern void meter_append_dimension(StringInfo sql, const char *name);
extern void meter_append_dimensions(StringInfo sql,
									const MeterDefinition *definition);
extern void meter_append_value(StringInfo sql,
							   const MeterDefinition *definition);
extern bool meter_may_straddle(const MeterDefinition *definition,
							   TimestampTz instant);
extern void meter_append_observation_filter(StringInfo sql,
											const MeterDefinition *definition);
extern void meter_append_straddling(StringInfo sql,
									const MeterDefinition *definition,
									const char *affected, const char *instant);
extern void meter_append_before(StringInfo sql,
								const MeterDefinition *definition,
								const char *instant);
extern char *meter_late_rows(const MeterDefinition *definition, const MeterProgress *progress, int64 safe);
extern void meter_append_not_held(StringInfo sql,
								  const MeterDefinition *definition,
								  const char *log, const char *alias);
extern void meter_append_number_attribute(StringInfo sql, const char *key);
extern void meter_append_action_filter(StringInfo sql,
									   const MeterDefinition *definition);
extern void meter_append_upsert_state(StringInfo sql,
									  const MeterDefinition *definition,
									  const char *unnamed_since,
									  bool straddling);

#endif							/* METER_EVENTS_H */
