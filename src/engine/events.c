/*
 * events.c
 *	  Events: the parts of queries over the event log.
 *
 * Every part names each table with its schema and relies on the search_path of
 * a session (see spi.c) for everything else.  Instants are written into the
 * text, so that the planner can leave out segments that do not have them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/duplicate_keys.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/places.h"
#include "engine/row_kind.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Append an attribute of a row e that must be a number: NULL where it is none.
 */
void
meter_append_number_attribute(StringInfo sql, const char *key)
{
	const char *literal = quote_literal_cstr(key);

	appendStringInfo(sql,
					 "CASE jsonb_typeof(e.attributes -> %s) WHEN 'number' THEN (e.attributes -> %s)::numeric "
					 "WHEN 'string' THEN CASE WHEN length(e.attributes ->> %s) <= 300 AND e.attributes ->> %s "
					 "~ '^[[:space:]]*[-+]?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,2})?[[:space:]]*$' "
					 "THEN (e.attributes ->> %s)::numeric END END",
					 literal, literal, literal, literal, literal);
}

/* Append a dimension of a row e: a column, or an attribute. */
void
meter_append_dimension(StringInfo sql, const char *name)
{
	if (strcmp(name, "entity") == 0)
		appendStringInfoString(sql, METER_ENTITY_OF("e"));
	else if (strcmp(name, "source") == 0 || strcmp(name, "offering") == 0)
		appendStringInfo(sql, "e.%s", name);
	else
		appendStringInfo(sql, "e.attributes ->> %s", quote_literal_cstr(name));
}

/*
 * Append the condition that a row e of the event log is an observation for a
 * meter.
 */
static void
append_observation_filter(StringInfo sql,
						  const MeterDefinition *definition)
{
	appendStringInfo(sql, METER_IS_OBSERVATION("e")
					 " AND e.attributes ->> 'meter' = %s",
					 quote_literal_cstr(definition->name));
	/* an observation of absence may have no entity */
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND (e.action = 'reconciled:stop' OR e.entity = %s)",
						 quote_literal_cstr(definition->entity));
}

/* Append the condition that a row e starts a resource for a meter. */
static void
append_starts(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfo(sql, "e.action = ANY (%s)",
					 meter_text_array_literal(definition->starts));
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
}

/*
 * Append the condition, with AND, that the entity of a row e, where it says
 * one, is that of a meter, where that has one.
 */
static void
append_entity_fits(StringInfo sql, const MeterDefinition *definition)
{
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND (e.entity = %s OR " METER_ENTITY_OF("e") " IS NULL)",
						 quote_literal_cstr(definition->entity));
}

/*
 * Append the condition that a row e of the event log is an event for a meter:
 * whatever is not a start may leave out the entity that the start said.
 */
void
meter_append_event_filter(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfoString(sql, "((");
	append_starts(sql, definition);
	appendStringInfo(sql, " OR ((e.action = ANY (%s) OR e.action = ANY (%s)",
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->changes));
	if (meter_has_ends(definition))
		appendStringInfo(sql, " OR e.action = ANY (%s)",
						 meter_text_array_literal(definition->ends));
	appendStringInfoChar(sql, ')');
	append_entity_fits(sql, definition);
	appendStringInfoString(sql, ")) OR (");
	append_observation_filter(sql, definition);
	appendStringInfoString(sql, "))");
}

/*
 * Append the condition that a row e of the event log says who owns a resource:
 * every event that names an account does, and every observation that holds the
 * resource.
 */
void
meter_append_owner_filter(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfoString(sql, "(e.account IS NOT NULL AND e.action <> 'void' "
						   "AND (NOT starts_with(e.action, 'reconciled:') OR " METER_IS_PRESENCE("e") ")");
	append_entity_fits(sql, definition);
	appendStringInfoString(sql, ")");
}

/*
 * Append the condition that a row e of the event log bears on a meter of
 * events: it is an event for it, or says who owns a resource.
 */
void
meter_append_bearing_filter(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfoString(sql, "(");
	meter_append_event_filter(sql, definition);
	appendStringInfoString(sql, " OR ");
	meter_append_owner_filter(sql, definition);
	appendStringInfoString(sql, ")");
}

/*
 * Append the condition that a row of a log is not held for the meter.  No other
 * code has this condition.
 */
void
meter_append_not_held(StringInfo sql, const MeterDefinition *definition,
					  MeterLog log, const char *alias)
{
	appendStringInfo(sql,
					 "NOT EXISTS (SELECT FROM %s.held h WHERE h.meter = %s "
					 "AND h.log = '%s' AND h.arrival = %s.arrival%s)",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 meter_log_names[log], alias,
	/* it is in the same shard */
					 definition->shards > 0 ?
					 psprintf(" AND h.resource = %s.resource", alias) : "");
}

/* Tell whether there are rows of a meter in one of the tables kept for it. */
static bool
any_rows(const MeterDefinition *definition, const char *table)
{
	meter_execute(psprintf("SELECT FROM %s.%s WHERE meter = %s LIMIT 1",
						   quote_identifier(definition->stream), table,
						   quote_literal_cstr(definition->name)),
				  SPI_OK_SELECT);
	return SPI_processed > 0;
}

/*
 * Append the same condition, with AND, but nothing while no row is held, as is
 * mostly so.
 */
void
meter_append_none_held(StringInfo sql, const MeterDefinition *definition,
					   MeterLog log, const char *alias)
{
	if (!any_rows(definition, "held"))
		return;
	appendStringInfoString(sql, " AND ");
	meter_append_not_held(sql, definition, log, alias);
}

/*
 * Return the instant from which on rows count that arrived after the safe
 * position: earlier ones may have to be held.  NULL: all rows count.
 */
const char *
meter_late_from(const MeterDefinition *definition, const MeterProgress *progress)
{
	TimestampTz from = meter_lateness_from(progress);

	if (!definition->has_max_lateness || TIMESTAMP_IS_NOBEGIN(from))
		return NULL;
	return meter_timestamp_literal(meter_later_by(from,
												  -definition->max_lateness));
}

/*
 * Return the instant before which rows are held that arrived after the
 * position: max_lateness before the watermark that was noted with it, or the
 * retention boundary, or the end of the months that were detached, if one is
 * later.  DT_NOBEGIN: nothing is held.
 */
TimestampTz
meter_hold_limit(const MeterDefinition *definition,
				 const MeterProgress *progress, MeterLog log)
{
	TimestampTz noted_at = progress->logs[log].position_watermark;
	TimestampTz limit = Max(definition->boundary, definition->ledger_from);

	if (TIMESTAMP_IS_NOBEGIN(noted_at))
		return DT_NOBEGIN;
	if (definition->has_max_lateness)
		limit = Max(limit, meter_later_by(noted_at, -definition->max_lateness));
	return limit;
}

/*
 * Append the condition, with OR, that a row e of a log is to be held although
 * it is not from before the watermark: the meter still works off history, or
 * has no watermark.
 */
void
meter_append_too_late(StringInfo sql, const MeterDefinition *definition,
					  const MeterProgress *progress, MeterLog log)
{
	TimestampTz limit = meter_hold_limit(definition, progress, log);

	if (TIMESTAMP_IS_NOBEGIN(limit) ||
		(progress->has_watermark && limit <= progress->watermark))
		return;
	appendStringInfo(sql, " OR (e.%s < %s AND e.arrival > " INT64_FORMAT "%s)",
					 meter_time_column(definition, log),
					 meter_timestamp_literal(limit),
					 progress->logs[log].held_after,
					 log == METER_LOG_EVENT ? " AND e.action NOT LIKE 'reconciled:%'" : "");
}

/*
 * Append the condition that a row of the log is not later than rows of a scope
 * may be.
 */
static void
append_not_late(StringInfo sql, const char *late_from, int64 safe,
				const char *alias)
{
	if (late_from != NULL)
		appendStringInfo(sql, " AND (%s.arrival <= " INT64_FORMAT
						 " OR %s.\"time\" >= %s OR %s.action LIKE 'reconciled:%%')",
						 alias, safe, alias, late_from, alias);
}

/*
 * Return a query of the voids that a meter has noted, by name, or NULL if there
 * are none: all that reach rows in [from, to).  `asked`: only resources of the
 * array $1 are asked for.
 */
const char *
meter_noted_voids(const MeterDefinition *definition, TimestampTz from,
				  TimestampTz to, bool asked)
{
	int64		window = definition->deduplication_window;
	StringInfoData voids;

	if (!any_rows(definition, "_voided"))
		return NULL;
	initStringInfo(&voids);
	appendStringInfo(&voids, "%s._voided v WHERE v.meter = %s%s",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 asked ? " AND v.resource = ANY ($1 COLLATE \"C\")" : "");
	if (!TIMESTAMP_NOT_FINITE(from))
		appendStringInfo(&voids, " AND v.\"time\" >= %s",
						 meter_timestamp_literal(meter_later_by(from, -window)));
	if (!TIMESTAMP_NOT_FINITE(to))
		appendStringInfo(&voids, " AND v.\"time\" <= %s",
						 meter_timestamp_literal(meter_later_by(to, window)));
	return meter_voids_by_name(voids.data);
}

/*
 * Return a query of the voids in the log, by name.  Those that arrived after
 * `safe` count from `late_from` on only, unless that is NULL.
 */
const char *
meter_logged_voids(const MeterDefinition *definition, const MeterPlaces *places,
				   const char *late_from, int64 safe, bool asked)
{
	StringInfoData voids;

	initStringInfo(&voids);
	appendStringInfo(&voids, "%s v WHERE v.action = 'void' AND v.id IS NOT NULL%s",
					 meter_any_rows(places, definition, METER_LOG_EVENT),
					 asked ? " AND v.resource = ANY ($1 COLLATE \"C\")" : "");
	meter_append_none_held(&voids, definition, METER_LOG_EVENT, "v");
	append_not_late(&voids, late_from, safe, "v");
	return meter_voids_by_name(voids.data);
}

/*
 * Append the condition, with AND, that a row e of a log was not taken back by
 * voids that a query gives by name; NULL: none.
 */
void
meter_append_not_voided(StringInfo sql, const MeterDefinition *definition,
						MeterLog log, const char *voids)
{
	if (voids != NULL)
		appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM (%s) v WHERE %s)",
						 voids,
						 meter_takes_back(meter_placing(definition, log), "e",
										  definition->deduplication_window));
}

/*
 * Append the condition that a row of the log lies in a scope, but for the
 * scope's time.
 */
static void
append_scope(StringInfo sql, const MeterDefinition *definition,
			 const MeterScope *scope, const char *alias)
{
	appendStringInfoString(sql, "true");
	meter_append_none_held(sql, definition, METER_LOG_EVENT, alias);
	append_not_late(sql, scope->late_from, scope->safe, alias);
}

/* Append the value of a row e. */
void
meter_append_value(StringInfo sql, const MeterDefinition *definition)
{
	if (definition->aggregate == METER_DURATION ||
		definition->aggregate == METER_RUNS)
		appendStringInfoString(sql, "NULL::numeric");
	else if (strcmp(definition->value_from, "value") == 0)
		appendStringInfoString(sql, "e.value");
	else
		meter_append_number_attribute(sql, definition->value_from);
}

/* Append the kind of an event e. */
static void
append_kind(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfoString(sql, "CASE WHEN ");
	append_starts(sql, definition);
	appendStringInfo(sql, " THEN " METER_SQL_KIND(START)
					 " WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(STOP)
					 " WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(CHANGE),
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->changes));
	if (meter_has_ends(definition))
		appendStringInfo(sql, " WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(END),
						 meter_text_array_literal(definition->ends));
	appendStringInfoString(sql, " WHEN NOT starts_with(e.action, 'reconciled:') THEN " METER_SQL_KIND(OWNER) " WHEN ");
	append_observation_filter(sql, definition);
	appendStringInfoString(sql, " THEN CASE WHEN e.action = 'reconciled:stop' THEN " METER_SQL_KIND(LOGGED_ABSENT)
						   " ELSE " METER_SQL_KIND(LOGGED_PRESENT) " END ELSE " METER_SQL_KIND(OBSERVED_OWNER) " END::\"char\"");
}

/*
 * Return a subquery for the rows e of the event log of the resources t in a
 * list (resource), before an instant (NULL: all).  With a condition, the list
 * has a column begin_at, too, which the rows get.  Without places, the log is
 * scanned.
 */
char *
meter_rows_of_resources(const MeterDefinition *definition,
						const char *resources, const MeterPlaces *places,
						const char *condition, const char *to)
{
	StringInfoData conditions;

	initStringInfo(&conditions);
	appendStringInfoString(&conditions, "e.resource = t.resource");
	if (condition != NULL)
		appendStringInfo(&conditions, " AND %s", condition);
	if (to != NULL)
		appendStringInfo(&conditions, " AND e.\"time\" < %s", to);
	return meter_rows_at(places, definition, METER_LOG_EVENT,
						 psprintf("%s t", resources),
						 condition == NULL ? "e.*" : "e.*, t.begin_at",
						 conditions.data, "");
}

/*
 * Tell whether observations may straddle an instant: whether they are later,
 * and change what was before it.  Within a session.
 */
bool
meter_may_straddle(const MeterDefinition *definition, TimestampTz instant)
{
	meter_execute(psprintf("SELECT FROM %s.snapshot WHERE at >= %s LIMIT 1",
						   quote_identifier(definition->stream),
						   meter_timestamp_literal(instant)), SPI_OK_SELECT);
	return SPI_processed > 0;
}

/* Return the parameters of the queries of a scope. */
void
meter_scope_params(const MeterScope *scope, Oid *types, Datum *values)
{
	types[0] = TEXTARRAYOID;
	types[1] = TIMESTAMPTZARRAYOID;
	values[0] = scope->resources;
	values[1] = scope->begins;
}

/*
 * Return where the rows of a scope are: the log, or a subquery, with those
 * that these may be duplicates of.
 */
static const char *
scope_log(const MeterDefinition *definition, const MeterScope *scope)
{
	char	   *condition = NULL;

	if (scope->resources == 0)
		return psprintf("%s.event", quote_identifier(definition->stream));
	if (scope->begins != 0)
		condition = psprintf("e.\"time\" >= %s%s",
							 meter_earlier_by("t.begin_at", definition->deduplication_window),
							 TIMESTAMP_IS_NOBEGIN(scope->least_begin) ? "" :
							 psprintf(" AND e.\"time\" >= %s",
									  meter_timestamp_literal(meter_later_by(scope->least_begin,
																			 -definition->deduplication_window))));
	return meter_rows_of_resources(definition, scope->begins == 0 ?
								   "(SELECT r COLLATE \"C\" AS resource FROM unnest($1) r)" :
								   "(SELECT r COLLATE \"C\" AS resource, b AS begin_at FROM unnest($1, $2) u (r, b))",
								   &scope->places, condition,
								   scope->straddling || TIMESTAMP_IS_NOEND(scope->to) ? NULL :
								   meter_timestamp_literal(scope->to));
}

/* Append the columns that the fold takes of an event e. */
static void
append_columns(StringInfo sql, const MeterDefinition *definition,
			   const MeterScope *scope)
{
	int			i;

	const char *arrival = scope->arrivals ? "e.arrival" : "NULL::bigint";

	appendStringInfoString(sql, "SELECT e.\"time\", ");
	if (scope->owners)
	{
		appendStringInfo(sql, "CASE WHEN " METER_IS_PRESENCE("e") " THEN " METER_SQL_KIND(OBSERVED_OWNER) " ELSE " METER_SQL_KIND(OWNER)
						 " END::\"char\", e.resource, e.account, NULL::numeric, e.source, NULL::jsonb, e.sequence, %s, %s",
						 arrival,
						 definition->entity == NULL ? METER_ENTITY_OF("e") : "NULL::text");
		for (i = 0; i < definition->ndimensions; i++)
			appendStringInfoString(sql, ", NULL::text");
		return;
	}
	append_kind(sql, definition);
	appendStringInfoString(sql, ", e.resource, e.account, ");
	meter_append_value(sql, definition);
	appendStringInfo(sql, ", e.source, CASE WHEN e.action LIKE 'reconciled:%%' THEN e.attributes END, e.sequence, %s, NULL::text",
					 arrival);
	for (i = 0; i < definition->ndimensions; i++)
	{
		appendStringInfoString(sql, ", ");

		/*
		 * an observation names whose snapshot it is, not what the resource
		 * has
		 */
		if (strcmp(definition->dimension_names[i], "source") == 0)
			appendStringInfoString(sql, "CASE WHEN e.action NOT LIKE 'reconciled:%' THEN e.source END");
		else
			meter_append_dimension(sql, definition->dimension_names[i]);
	}
}

/* Return a query of the voids that bear on events of a scope, or NULL. */
static const char *
scope_voids(const MeterDefinition *definition, const MeterScope *scope,
			TimestampTz from)
{
	bool		asked = scope->resources != 0;

	if (scope->voids_from_log)
		return meter_logged_voids(definition, &scope->places, scope->late_from,
								  scope->safe, asked);
	if (scope->begins != 0)
		from = Max(from, scope->least_begin);
	return meter_noted_voids(definition, from,
							 scope->straddling ? DT_NOEND : scope->to, asked);
}

/* Append the conditions on an event e in a scope, but for its end. */
static void
append_conditions(StringInfo sql, const MeterDefinition *definition,
				  const MeterScope *scope)
{
	TimestampTz from = TIMESTAMP_IS_NOBEGIN(scope->from) ?
	definition->boundary : scope->from;

	append_scope(sql, definition, scope, "e");
	appendStringInfoString(sql, " AND ");
	if (scope->owners)
		meter_append_owner_filter(sql, definition);
	else
		meter_append_bearing_filter(sql, definition);
	if (!TIMESTAMP_IS_NOBEGIN(from))
		appendStringInfo(sql, " AND e.\"time\" >= %s",
						 meter_timestamp_literal(from));
	if (scope->begins != 0)
		appendStringInfoString(sql, " AND e.\"time\" >= e.begin_at");
	meter_append_not_voided(sql, definition, METER_LOG_EVENT,
							scope_voids(definition, scope, from));
	if (scope->duplicates.count > 0)
		appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s d WHERE d.arrival = e.arrival)",
						 scope->duplicates.name);
}

/*
 * Return a query (resource, upto) for the resources with observations that
 * straddle the end of what is settled, and the latest such observation.  The
 * rows up to it bear on what was before.
 */
static char *
straddling_query(const MeterDefinition *definition, const MeterScope *scope)
{
	const char *instant = meter_timestamp_literal(scope->settled_to);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT e.resource, max(e.\"time\") AS upto FROM %s e WHERE e.\"time\" >= %s AND ",
					 scope_log(definition, scope), instant);
	append_conditions(&sql, definition, scope);
	appendStringInfoString(&sql, " AND ");
	append_observation_filter(&sql, definition);
	appendStringInfo(&sql, " AND " METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'")
					 " < %s GROUP BY e.resource", instant);
	return sql.data;
}

/* Append the owners that are known at the retention boundary. */
static void
append_boundary_owners(StringInfo sql, const MeterDefinition *definition,
					   const MeterScope *scope)
{
	int			i;

	if (TIMESTAMP_IS_NOBEGIN(definition->boundary))
		return;
	appendStringInfoString(sql, " UNION ALL SELECT '-infinity'::timestamptz, " METER_SQL_KIND(CARRIED_CLOSED)
						   "::\"char\", r.resource, r.account, NULL::numeric, NULL::text, r.owners, NULL::bigint, NULL::bigint, NULL::text");
	for (i = 0; i < definition->ndimensions; i++)
		appendStringInfoString(sql, ", NULL::text");
	appendStringInfo(sql, " FROM %s._retention_state r WHERE r.meter = %s AND r.account IS NOT NULL%s",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 scope->resources != 0 ? " AND r.resource = ANY ($1 COLLATE \"C\")" : "");
}

/*
 * Return a query of the events of a meter in a scope: time, kind, resource,
 * account, value, source, what an observation says, sequence, arrival, and a
 * column for each dimension.
 */
char *
meter_events_query(const MeterDefinition *definition, const MeterScope *scope)
{
	const char *log = scope_log(definition, scope);
	StringInfoData sql;

	initStringInfo(&sql);
	append_columns(&sql, definition, scope);
	appendStringInfo(&sql, " FROM %s e WHERE ", log);
	append_conditions(&sql, definition, scope);
	if (!TIMESTAMP_IS_NOEND(scope->to))
		appendStringInfo(&sql, " AND e.\"time\" < %s",
						 meter_timestamp_literal(scope->to));
	if (scope->owners && TIMESTAMP_IS_NOBEGIN(scope->from))
		append_boundary_owners(&sql, definition, scope);
	if (!scope->straddling)
		return sql.data;
	appendStringInfoString(&sql, " UNION ALL ");
	append_columns(&sql, definition, scope);
	appendStringInfo(&sql, " FROM (%s) s, %s e WHERE e.resource = s.resource "
					 "AND e.\"time\" <= s.upto AND e.\"time\" >= %s AND ",
					 straddling_query(definition, scope), log,
					 meter_timestamp_literal(scope->to));
	append_conditions(&sql, definition, scope);
	return sql.data;
}

/*
 * Check that the snapshots are there of which the observations in a scope are:
 * without them, what arrives late would not be compared.  Rows that only look
 * like an observation have other ids.
 */
void
meter_check_observed(const MeterDefinition *definition, const MeterScope *scope)
{
	const char *schema = quote_identifier(definition->stream);
	Oid			types[METER_SCOPE_NPARAMS];
	Datum		values[METER_SCOPE_NPARAMS];
	TimestampTz from = Max(scope->from, definition->boundary);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT e.source, e.\"time\" FROM %s e WHERE ",
					 scope_log(definition, scope));
	append_observation_filter(&sql, definition);
	appendStringInfo(&sql, " AND e.id LIKE 'reconciled:%%' AND NOT EXISTS (SELECT FROM %s.snapshot n "
					 "WHERE n.source = e.source AND n.at = e.\"time\")", schema);
	if (!TIMESTAMP_IS_NOBEGIN(from))
		appendStringInfo(&sql, " AND e.\"time\" >= %s",
						 meter_timestamp_literal(from));
	if (!TIMESTAMP_IS_NOEND(scope->to))
		appendStringInfo(&sql, " AND e.\"time\" < %s",
						 meter_timestamp_literal(scope->to));
	appendStringInfoString(&sql, " LIMIT 1");
	meter_scope_params(scope, types, values);
	meter_execute_params(sql.data, SPI_OK_SELECT,
						 scope->resources != 0 ? METER_SCOPE_NPARAMS : 0,
						 types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the snapshot of \"%s\" at %s is missing in %s.snapshot, and observations of it are in the log",
						meter_result_text(0, 1), meter_result_text(0, 2), schema),
				 errhint("A subscriber that settles needs the tables snapshot and inventory, too: publish them with the log.")));
}

/*
 * Return a query of what was known at the retention boundary of the resources
 * in a scope: the columns of an event, then what is known of a state alone, and
 * the dimensions.
 */
char *
meter_boundary_states_query(const MeterDefinition *definition,
							const MeterScope *scope)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT r.since, CASE WHEN r.active THEN " METER_SQL_KIND(CARRIED_OPEN)
						   " ELSE " METER_SQL_KIND(CARRIED_CLOSED) " END::\"char\", r.resource, r.account, r.value, r.source, "
						   "NULL::jsonb, NULL::bigint, NULL::bigint, NULL::text, r.alive, r.absent, r.started, r.holder, r.changed, "
						   "r.ended, r.sign, r.gaps, r.billed");
	for (i = 1; i <= definition->ndimensions; i++)
		appendStringInfo(&sql, ", r.dimensions[%d]", i);
	appendStringInfo(&sql, " FROM %s._retention_state r WHERE r.meter = %s%s",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 scope->resources != 0 ? " AND r.resource = ANY ($1 COLLATE \"C\")" : "");
	return sql.data;
}

/*
 * Find the rows of a scope that are duplicates: among all rows of the log, of
 * those within the deduplication window only the least counts.  If any lesser
 * duplicate lies within the window, the one next to it does.  Only rows whose
 * hash is met twice are compared.
 */
void
meter_find_duplicates(const MeterDefinition *definition,
					  const MeterProgress *progress, MeterScope *scope)
{
	const char *log = scope_log(definition, scope);
	int64		window = definition->deduplication_window;
	Oid			types[METER_SCOPE_NPARAMS + 1];
	Datum		values[METER_SCOPE_NPARAMS + 1];
	StringInfoData conditions;
	const char *suspects_query = NULL;
	char	   *rows = NULL;

	meter_scope_params(scope, types, values);
	types[METER_SCOPE_NPARAMS] = INT8ARRAYOID;
	values[METER_SCOPE_NPARAMS] = (Datum) 0;
	initStringInfo(&conditions);
	appendStringInfoString(&conditions, "c.id IS NOT NULL AND c.action <> 'void' AND ");
	append_scope(&conditions, definition, scope, "c");
	if (!TIMESTAMP_IS_NOEND(scope->to) && !scope->straddling)
		appendStringInfo(&conditions, " AND c.\"time\" < %s",
						 meter_timestamp_literal(scope->to));
	if (!TIMESTAMP_IS_NOBEGIN(scope->from))
		appendStringInfo(&conditions, " AND c.\"time\" >= %s",
						 meter_timestamp_literal(meter_later_by(scope->from, -window)));
	if (scope->stored)
	{
		MeterSuspects suspects;

		meter_find_suspects(definition, progress, METER_LOG_EVENT, scope->from,
							scope->straddling ? DT_NOEND : scope->to, DT_NOEND,
							&suspects);
		if (suspects.count == 0)
			return;
		values[METER_SCOPE_NPARAMS] = suspects.hashes;
		suspects_query = "SELECT unnest($3)";
		rows = meter_suspect_rows(definition, progress, METER_LOG_EVENT,
								  &suspects);
	}
	meter_keep_rows(&scope->duplicates, "event_duplicates",
					meter_duplicates_query(METER_BY_TIME,
										   rows != NULL ? rows : log,
										   conditions.data, suspects_query,
										   scope->resources != 0, window),
					lengthof(types), types, values);
}

/*
 * Return a query for the instant of a meter's earliest event, or of what an
 * observation says if that is earlier.
 */
char *
meter_earliest_event(const MeterDefinition *definition, const MeterProgress *progress)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT min(least(e.\"time\", CASE WHEN " METER_IS_OBSERVATION("e")
					 " THEN meter_internal.observation_instant(e.attributes, 'since') END)) FROM %s.event e WHERE ",
					 quote_identifier(definition->stream));
	meter_append_event_filter(&sql, definition);
	appendStringInfoString(&sql, " AND ");
	meter_append_not_held(&sql, definition, METER_LOG_EVENT, "e");
	append_not_late(&sql, meter_late_from(definition, progress),
					meter_known_to_count(progress, METER_LOG_EVENT), "e");
	return sql.data;
}
