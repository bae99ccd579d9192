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
#include "engine/places.h"
#include "engine/row_kind.h"
#include "pg/spi.h"

/* The condition that a row e of the event log is an observation. */
#define METER_IS_OBSERVATION(e) \
	e ".action IN ('reconciled:start', 'reconciled:stop', 'reconciled:change')"

/* The condition that a row e of the log is an observation of a presence. */
#define METER_IS_PRESENCE(e) \
	e ".action IN ('reconciled:start', 'reconciled:change')"

/* The entity of a row of a log or the inventory: '' is none. */
#define METER_ENTITY_OF(e) \
	"nullif(" e ".entity, '')"

/*
 * The instant from which on an observation may change a timeline, from its
 * attributes, its time and whether it is a stop: meter_observation_reach() in
 * SQL.
 */
#define METER_REACH(attributes, at, is_stop) \
	"(CASE WHEN " is_stop " OR " attributes " ? 'since' THEN " \
	"coalesce(meter_internal.observation_instant(" attributes ", 'alive'), '-infinity') " \
	"ELSE " at " END)"

/* The same of a row of the event log that is no void. */
#define METER_REACHES(e) \
	"(CASE WHEN " METER_IS_OBSERVATION(e) " THEN " \
	METER_REACH(e ".attributes", e ".\"time\"", e ".action = 'reconciled:stop'") \
	" ELSE " e ".\"time\" END)"

/*
 * Which rows of the event log are asked for.  Queries of a scope take the
 * parameters that meter_scope_params() gives.
 */
typedef struct MeterScope
{
	TimestampTz from;			/* events from then on; DT_NOBEGIN: from the
								 * retention boundary on */
	TimestampTz to;				/* rows before then; DT_NOEND: all */
	bool		stored;			/* the hashes of rows that have an id are in
								 * store, a deduplication window before `from`
								 * included */
	Datum		resources;		/* text[]: events of these only; 0: of all */
	Datum		begins;			/* timestamptz[]: of each from then on; 0: all */
	TimestampTz least_begin;	/* the least of these */
	MeterPlaces places;			/* where these are */
	const char *late_from;		/* rows that arrived after `safe` count from
								 * then on only; NULL: all do */
	int64		safe;
	bool		straddling;		/* rows from `settled_to` on count, too, up to
								 * the last observation that reaches back
								 * behind it */
	TimestampTz settled_to;
	bool		voids_from_log; /* not from the table _voided */
	bool		arrivals;		/* they are asked for, too */
	bool		owners;			/* only who owns what, for usage of measures */
	MeterRows	duplicates;		/* arrivals that do not count */
} MeterScope;

#define METER_SCOPE_NPARAMS	2

extern void meter_scope_params(const MeterScope *scope, Oid *types,
							   Datum *values);
extern char *meter_events_query(const MeterDefinition *definition,
								const MeterScope *scope);
extern void meter_check_observed(const MeterDefinition *definition,
								 const MeterScope *scope);
extern char *meter_boundary_states_query(const MeterDefinition *definition,
										 const MeterScope *scope);
extern void meter_find_duplicates(const MeterDefinition *definition,
								  const MeterProgress *progress,
								  MeterScope *scope);
extern char *meter_rows_of_resources(const MeterDefinition *definition,
									 const char *resources,
									 const MeterPlaces *places,
									 const char *condition, const char *to);
extern void meter_append_dimension(StringInfo sql, const char *name);
extern void meter_append_value(StringInfo sql,
							   const MeterDefinition *definition);
extern bool meter_may_straddle(const MeterDefinition *definition,
							   TimestampTz instant);
extern const char *meter_late_from(const MeterDefinition *definition, const MeterProgress *progress);
extern TimestampTz meter_hold_limit(const MeterDefinition *definition,
									const MeterProgress *progress,
									MeterLog log);
extern void meter_append_too_late(StringInfo sql,
								  const MeterDefinition *definition,
								  const MeterProgress *progress, MeterLog log);
extern void meter_append_owner_filter(StringInfo sql,
									  const MeterDefinition *definition);
extern void meter_append_not_held(StringInfo sql,
								  const MeterDefinition *definition,
								  MeterLog log, const char *alias);
extern void meter_append_none_held(StringInfo sql,
								   const MeterDefinition *definition,
								   MeterLog log, const char *alias);
extern const char *meter_noted_voids(const MeterDefinition *definition,
									 TimestampTz from, TimestampTz to,
									 bool asked);
extern const char *meter_logged_voids(const MeterDefinition *definition,
									  const MeterPlaces *places,
									  const char *late_from, int64 safe,
									  bool asked);
extern void meter_append_not_voided(StringInfo sql,
									const MeterDefinition *definition,
									MeterLog log, const char *voids);
extern char *meter_earliest_event(const MeterDefinition *definition,
								  const MeterProgress *progress);
extern void meter_append_number_attribute(StringInfo sql, const char *key);
extern void meter_append_event_filter(StringInfo sql,
									  const MeterDefinition *definition);
extern void meter_append_bearing_filter(StringInfo sql,
										const MeterDefinition *definition);

#endif							/* METER_EVENTS_H */
