/*
 * events.c
 *	  Events: the parts of queries over the event log.
 *
 * Every part names each table with its schema and relies on the search_path of
 * a session (see spi.c) for everything else.  Instants are written into the
 * text, so that the planner can leave out segments that do not have them.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/duplicate_keys.h"
#include "engine/events.h"
#include "engine/row_kind.h"
#include "log/segment.h"
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
	if (strcmp(name, "source") == 0 || strcmp(name, "entity") == 0 ||
		strcmp(name, "offering") == 0)
		appendStringInfo(sql, "e.%s", name);
	else
		appendStringInfo(sql, "e.attributes ->> %s", quote_literal_cstr(name));
}

/*
 * Append the condition that a row e of the event log is an observation for a
 * meter.
 */
void
meter_append_observation_filter(StringInfo sql,
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

/*
 * Append the condition that a row e of the event log is an event for a meter.
 */
void
meter_append_action_filter(StringInfo sql, const MeterDefinition *definition)
{
	if (METER_OF_MEASURES(definition->aggregate))
	{
		/* every event that names an account */
		appendStringInfoString(sql, "e.account <> '' AND e.action <> 'void' "
							   "AND NOT starts_with(e.action, 'reconciled:')");
		return;
	}
	appendStringInfo(sql, "(((e.action = ANY (%s) OR e.action = ANY (%s) OR e.action = ANY (%s))",
					 meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->changes));
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
	appendStringInfoString(sql, ") OR (");
	meter_append_observation_filter(sql, definition);
	appendStringInfoString(sql, "))");
}

/*
 * What a row of the log says beyond its key and time, in an order of its own.
 */
#define CONTENT(alias) \
	"ROW(" alias ".account, " alias ".entity, " alias ".action, " \
	alias ".offering, " alias ".attributes)::text COLLATE \"C\""

/* The time since the next lesser duplicate of a row that has an id. */
#define SINCE_DUPLICATE(alias) \
	alias ".\"time\" - lag(" alias ".\"time\") OVER (PARTITION BY " \
	alias ".resource, coalesce(" alias ".source, ''), " alias ".id ORDER BY " \
	alias ".\"time\", coalesce(" alias ".value, '-Infinity'), CASE WHEN " \
	alias ".id IS NOT NULL THEN " CONTENT(alias) " END, " alias ".arrival) AS since_duplicate"

/*
 * Append the condition that a row of the log "event" or "measure" is not held
 * for the meter.  No other code has this condition.
 */
void
meter_append_not_held(StringInfo sql, const MeterDefinition *definition,
					  const char *log, const char *alias)
{
	appendStringInfo(sql,
					 "NOT EXISTS (SELECT FROM %s.held h WHERE h.meter = %s "
					 "AND h.log = '%s' AND h.arrival = %s.arrival)",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name), log, alias);
}

/*
 * Append the condition that a row of the log is not later than rows of a scope
 * may be.
 */
static void
append_not_late(StringInfo sql, const MeterScope *scope, const char *alias)
{
	if (scope->late_from != NULL)
		appendStringInfo(sql, " AND (%s.arrival <= " INT64_FORMAT
						 " OR %s.\"time\" >= %s OR %s.action LIKE 'reconciled:%%')",
						 alias, scope->safe, alias, scope->late_from, alias);
}

/*
 * Append the condition that a row of the log, of that source, was not taken
 * back by a void that the meter has noted.
 */
static void
append_not_voided(StringInfo sql, const MeterDefinition *definition,
				  const char *alias, const char *source)
{
	appendStringInfo(sql,
					 "NOT EXISTS (SELECT FROM %s._voided v WHERE v.meter = %s "
					 "AND v.resource = %s.resource AND v.source = %s AND v.id = %s.id)",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name), alias, source, alias);
}

/*
 * Append the condition that a row of the log lies in a scope.  The scope's
 * `to` is left out where some resources have rows beyond it.
 */
static void
append_scope(StringInfo sql, const MeterDefinition *definition,
			 const MeterScope *scope, const char *alias)
{
	meter_append_not_held(sql, definition, "event", alias);
	if (scope->to != NULL && scope->straddling == NULL)
		appendStringInfo(sql, " AND %s.\"time\" < %s", alias, scope->to);
	append_not_late(sql, scope, alias);
}

/* Append the dimensions of a row e, as the state has them. */
void
meter_append_dimensions(StringInfo sql, const MeterDefinition *definition)
{
	int			i;

	appendStringInfoString(sql, "ARRAY[");
	for (i = 0; i < definition->ndimensions; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		meter_append_dimension(sql, definition->dimension_names[i]);
	}
	appendStringInfoString(sql, "]::text[]");
}

/* Append the value of a row e. */
void
meter_append_value(StringInfo sql, const MeterDefinition *definition)
{
	if (definition->aggregate == METER_DURATION)
		appendStringInfoString(sql, "NULL::numeric");
	else if (strcmp(definition->value_from, "value") == 0)
		appendStringInfoString(sql, "e.value");
	else
		meter_append_number_attribute(sql, definition->value_from);
}

/* What the row of an event e adds as an observation; NULL if it is none. */
#define OBSERVATION "CASE WHEN e.action LIKE 'reconciled:%' THEN e.attributes END"

/* Append the kind of an event e. */
static void
append_kind(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfo(sql,
					 "CASE WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(START)
					 " WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(STOP)
					 " WHEN e.action = ANY (%s) THEN " METER_SQL_KIND(CHANGE)
					 " WHEN e.action = 'reconciled:stop' THEN " METER_SQL_KIND(LOGGED_ABSENT)
					 " ELSE " METER_SQL_KIND(LOGGED_PRESENT) " END::\"char\"",
					 meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->changes));
}

/*
 * Append the columns of an event e that meter_internal.settle_timeline()
 * takes, and its arrival.
 */
static void
append_columns(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfoString(sql, "e.resource, ");
	append_kind(sql, definition);
	appendStringInfoString(sql, " AS kind, e.\"time\" AS at, e.account, ");
	meter_append_dimensions(sql, definition);
	appendStringInfoString(sql, " AS dimensions, ");
	meter_append_value(sql, definition);
	appendStringInfoString(sql, " AS value, NULL::timestamptz AS alive, NULL::timestamptz AS absent, "
						   "coalesce(e.source, '') AS source, "
						   OBSERVATION " AS observation, "
						   "e.arrival");
}

/*
 * Append the condition that a row lies after the retention boundary, for
 * queries over the whole log.
 */
static void
append_from_boundary(StringInfo sql, const MeterDefinition *definition)
{
	if (!TIMESTAMP_IS_NOBEGIN(definition->boundary))
		appendStringInfo(sql, " AND e.\"time\" >= %s",
						 meter_timestamp_literal(definition->boundary));
}

/*
 * Append the query for the rows of a scope that are events for a meter, or for
 * the rows beyond the scope's `to`.
 */
static void
append_raw(StringInfo sql, const MeterDefinition *definition,
		   const MeterScope *scope, const char *log, bool beyond)
{
	appendStringInfoString(sql, "SELECT ");
	append_columns(sql, definition);
	appendStringInfo(sql, ", e.id FROM %s%s e WHERE ",
					 beyond ? psprintf("%s s, ", scope->straddling) : "", log);
	if (beyond)
		appendStringInfo(sql, "e.resource = s.resource AND e.\"time\" <= s.upto "
						 "AND e.\"time\" >= %s AND ", scope->to);
	else if (scope->straddling != NULL)
		appendStringInfo(sql, "e.\"time\" < %s AND ", scope->to);
	meter_append_action_filter(sql, definition);
	appendStringInfoString(sql, " AND ");
	append_scope(sql, definition, scope, "e");
	if (scope->from != NULL)
		appendStringInfo(sql, " AND e.\"time\" >= %s", scope->from);
	else
		append_from_boundary(sql, definition);
}

/*
 * Return a subquery for the rows of the event log of the resources in a list
 * (resource), before an instant (NULL: all).  Rows that arrived before
 * `sealed` are looked up one resource at a time, the others are found by a
 * scan.
 */
char *
meter_rows_of_resources(const MeterDefinition *definition,
						const char *resources, int64 sealed, const char *to)
{
	const char *schema = quote_identifier(definition->stream);
	const char *before = to == NULL ? "" :
	psprintf(" AND e.\"time\" < %s", to);
	char	   *scan = psprintf("SELECT e.* FROM %s t, %s.event e "
								"WHERE e.resource = t.resource%s",
								resources, schema, before);

	if (sealed == 0)
		return psprintf("(%s)", scan);
	return psprintf("(SELECT e.* FROM %s t CROSS JOIN LATERAL ("
					"SELECT * FROM %s.event e WHERE e.arrival < " INT64_FORMAT
					" AND e.resource = t.resource%s OFFSET 0) e "
					"UNION ALL %s AND e.arrival >= " INT64_FORMAT ")",
					resources, schema, sealed, before, scan, sealed);
}

/* About so many rows are scanned in the time of a look into an index. */
#define ROWS_A_PROBE	30

/*
 * Return up to which arrival to look so many resources up one by one: 0 if
 * reading everything is faster.
 */
int64
meter_sealed_for(const MeterDefinition *definition, double nresources)
{
	double		rows;
	int			segments;
	int64		sealed = meter_sealed_until(definition->stream, "event",
											&rows, &segments);

	return nresources * segments * ROWS_A_PROBE < rows ? sealed : 0;
}

/*
 * The events of a meter as a list of CTEs, the last of which, "events", has
 * the columns that meter_internal.settle_timeline() takes, and arrival.
 * Duplicates are dropped among all rows of the log, before the meter's
 * filters: of those within the deduplication window only the least counts,
 * and none that was taken back.  Where no row has an id that costs nothing.
 */
void
meter_append_events(StringInfo sql, const MeterDefinition *definition,
					const MeterScope *scope)
{
	const char *schema = quote_identifier(definition->stream);
	const char *log = scope->affected ? "log" : psprintf("%s.event", schema);
	char	   *window = psprintf("'" INT64_FORMAT " microseconds'::interval",
								  definition->deduplication_window);

	if (scope->affected != NULL)
		appendStringInfo(sql, "log AS MATERIALIZED (SELECT * FROM %s l), ",
						 scope->from != NULL ?
						 psprintf("(SELECT e.* FROM %s t, %s.event e WHERE e.resource = t.resource "
								  "AND e.\"time\" >= %s - %s)",
								  scope->affected, schema, scope->from, window) :
						 meter_rows_of_resources(definition, scope->affected,
												 scope->sealed,
												 scope->straddling ? NULL : scope->to));
	appendStringInfoString(sql, "raw AS MATERIALIZED (");
	append_raw(sql, definition, scope, log, false);
	if (scope->straddling != NULL)
	{
		appendStringInfoString(sql, " UNION ALL ");
		append_raw(sql, definition, scope, log, true);
	}

	/* if any lesser duplicate lies within the window, the one next to it does */
	appendStringInfo(sql,
					 "), duplicates AS MATERIALIZED (SELECT c.arrival FROM (SELECT c.arrival, "
					 SINCE_DUPLICATE("c") " FROM %s c WHERE c.id IS NOT NULL AND c.action <> 'void' "
					 "AND EXISTS (SELECT FROM raw r WHERE r.id = c.id AND r.resource = c.resource "
					 "AND r.source = coalesce(c.source, '')) AND ", log);
	append_scope(sql, definition, scope, "c");
	if (scope->from != NULL)
		appendStringInfo(sql, " AND c.\"time\" >= %s - %s", scope->from, window);
	appendStringInfo(sql, ") c WHERE c.since_duplicate <= %s", window);

	appendStringInfoString(sql,
						   "), events AS (SELECT r.resource, " METER_EVENT_COLUMNS("r")
						   ", r.arrival FROM raw r "
						   "WHERE NOT EXISTS (SELECT FROM duplicates c WHERE c.arrival = r.arrival) "
						   "AND ");
	if (scope->voids_from_log)
		appendStringInfo(sql, "NOT EXISTS (SELECT FROM %s.event v WHERE v.action = 'void' "
						 "AND v.resource = r.resource AND coalesce(v.source, '') = r.source "
						 "AND v.id = r.id)", schema);
	else
		append_not_voided(sql, definition, "r", "r.source");
	appendStringInfoChar(sql, ')');
	/* the state at the retention boundary replaces what lay before it */
	if (scope->from == NULL && !TIMESTAMP_IS_NOBEGIN(definition->boundary))
	{
		sql->len--;
		appendStringInfo(sql, " UNION ALL SELECT r.resource, " METER_CARRIED
						 ", NULL FROM %s%s._retention_state r WHERE r.meter = %s%s)",
						 scope->affected ? psprintf("%s t, ", scope->affected) : "",
						 schema, quote_literal_cstr(definition->name),
						 scope->affected ? " AND r.resource = t.resource" : "");
	}
}

/*
 * Append the events of a meter as meter_append_events() does, but as one query
 * for a view: a filter on the resource reaches the log, and no plan is far off
 * where there are no statistics.  `from` and `to`, both or neither, are
 * expressions.
 */
void
meter_append_events_in_view(StringInfo sql, const MeterDefinition *definition,
							const char *from, const char *to)
{
	const char *schema = quote_identifier(definition->stream);
	char	   *window = psprintf("'" INT64_FORMAT " microseconds'::interval",
								  definition->deduplication_window);

	appendStringInfoString(sql, "SELECT ");
	append_columns(sql, definition);
	appendStringInfo(sql,
					 " FROM (SELECT l.*, " SINCE_DUPLICATE("l")
					 " FROM %s.event l WHERE l.action <> 'void' AND ", schema);
	meter_append_not_held(sql, definition, "event", "l");
	if (from != NULL)
		appendStringInfo(sql, " AND l.\"time\" >= %s - %s AND l.\"time\" < %s",
						 from, window, to);
	appendStringInfoString(sql, ") e WHERE ");
	meter_append_action_filter(sql, definition);
	if (from != NULL)
		appendStringInfo(sql, " AND e.\"time\" >= %s", from);
	else
		append_from_boundary(sql, definition);
	appendStringInfo(sql,
					 " AND (e.id IS NULL OR coalesce(e.since_duplicate > %s, true)) "
					 "AND NOT EXISTS (SELECT FROM %s._voided v WHERE v.meter = %s "
					 "AND v.resource = e.resource "
					 "AND v.source = coalesce(e.source, '') AND v.id = e.id)",
					 window, schema, quote_literal_cstr(definition->name));
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

/*
 * Append a query (resource, upto) for the resources with observations that
 * straddle an instant, and the latest such observation.  The rows up to it
 * bear on what was before the instant.
 */
void
meter_append_straddling(StringInfo sql, const MeterDefinition *definition,
						const char *affected, const char *instant)
{
	appendStringInfo(sql,
					 "SELECT e.resource, max(e.\"time\") AS upto FROM %s%s.event e "
					 "WHERE e.\"time\" >= %s AND %s",
					 affected ? psprintf("%s t, ", affected) : "",
					 quote_identifier(definition->stream), instant,
					 affected ? "e.resource = t.resource AND " : "");
	meter_append_observation_filter(sql, definition);
	appendStringInfo(sql, " AND " METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'")
					 " < %s GROUP BY e.resource", instant);
}

/*
 * Append columns of `timelines`, aggregated from events e, that tell apart
 * what is before an instant: the timeline without the rest, whether there is
 * any of it, and the latest observation that straddles it.
 */
void
meter_append_before(StringInfo sql, const MeterDefinition *definition,
					const char *instant)
{
	appendStringInfo(sql,
					 "coalesce(" METER_TIMELINE("e") " FILTER (WHERE " METER_IS_CARRIED("e.kind") " OR e.at < %s), "
					 "(SELECT meter_internal.settle_timeline(" METER_SQL_KIND(CARRIED_CLOSED) ", NULL, NULL, array_fill(NULL::text, ARRAY[%d]), "
					 "NULL, NULL, NULL, NULL, NULL))) AS before, bool_or(" METER_IS_KIND("e.kind", CARRIED_OPEN) " OR e.at < %s) AS began, "
					 "max(e.at) FILTER (WHERE " METER_IS_LOGGED_OBSERVATION("e.kind") " AND e.at >= %s AND "
					 METER_REACH("e.observation", "e.at", METER_IS_KIND("e.kind", LOGGED_ABSENT)) " < %s) AS straddles, ",
					 instant, definition->ndimensions, instant, instant,
					 instant);
}

/*
 * Return FROM and WHERE of the rows e of the event log that arrived after the
 * position, up to `safe` (all, if it is negative), and may change settled
 * periods of the meter: events from before the watermark and duplicates of
 * them, voids, observations that reach back behind the watermark, and what
 * lies before such an observation.
 */
char *
meter_late_rows(const MeterDefinition *definition, const MeterProgress *progress, int64 safe)
{
	const char *schema = quote_identifier(definition->stream);
	const char *watermark = meter_timestamp_literal(progress->watermark);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s.event e WHERE e.arrival > " INT64_FORMAT,
					 schema, progress->logs[METER_LOG_EVENT].position);
	if (safe >= 0)
		appendStringInfo(&sql, " AND e.arrival <= " INT64_FORMAT, safe);
	appendStringInfo(&sql, " AND (e.action = 'void' OR ((e.\"time\" < %s OR "
					 "(EXISTS (SELECT FROM %s.snapshot n WHERE n.at >= %s) AND (("
					 METER_IS_OBSERVATION("e") " AND "
					 METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'")
					 " < %s) OR EXISTS (SELECT FROM %s._resource_state r WHERE r.meter = %s "
					 "AND r.resource = e.resource AND r.straddles >= e.\"time\")))) "
					 "AND (e.id IS NOT NULL OR ",
					 watermark, schema, watermark, watermark, schema,
					 quote_literal_cstr(definition->name));
	meter_append_action_filter(&sql, definition);
	appendStringInfoString(&sql, "))) AND ");
	meter_append_not_held(&sql, definition, "event", "e");
	return sql.data;
}

/*
 * Append the statement that writes the states in which `timelines` (resource,
 * timeline) end.  Where the account is still unknown, what is billed to nobody
 * begins with the period at `unnamed_since`, or if that is NULL with the
 * period of the resource's earliest event (a column of `timelines`).  Where
 * observations may straddle the end, `timelines` has the timeline without what
 * is later (before), and the latest that straddles (straddles).
 */
void
meter_append_upsert_state(StringInfo sql, const MeterDefinition *definition,
						  const char *unnamed_since, bool straddling)
{
	appendStringInfo(sql,
					 "INSERT INTO %s._resource_state AS r (meter, resource, active, account, "
					 "dimensions, value, since, alive, absent, source, straddles, unnamed_since) "
					 "SELECT %s, n.resource, (n.state).active, (n.state).account, "
					 "(n.state).dimensions, (n.state).value, (n.state).since, (n.state).alive, "
					 "(n.state).absent, (n.state).source, n.straddles, "
					 "CASE WHEN (n.state).account IS NULL AND n.began THEN n.unnamed_since END "
					 "FROM (SELECT resource, meter_internal.settle_state(%s) AS state, %s, "
					 "%s AS unnamed_since FROM timelines ORDER BY resource) n "
					 "ON CONFLICT (meter, resource) DO UPDATE SET "
					 "active = excluded.active, account = excluded.account, "
					 "dimensions = excluded.dimensions, value = excluded.value, "
					 "since = excluded.since, alive = excluded.alive, absent = excluded.absent, "
					 "source = excluded.source, straddles = excluded.straddles, "
					 "unnamed_since = CASE WHEN excluded.account IS NULL THEN "
					 "least(r.unnamed_since, excluded.unnamed_since) END",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 straddling ? "before" : "timeline",
					 straddling ? "straddles, began" :
					 "NULL::timestamptz AS straddles, true AS began",
					 unnamed_since ? unnamed_since :
					 psprintf("meter_internal.settle_period_begin(%s, earliest)",
							  definition->spec));
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
 * Return a query of the events of a meter in a scope, plainly: resource, time,
 * kind, account, value, source, what an observation says, and a column for each
 * dimension.  `duplicates` are arrivals that do not count, a bigint[] literal,
 * or NULL.
 */
char *
meter_plain_events(const MeterDefinition *definition, const MeterScope *scope,
				   const char *duplicates)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT e.resource, e.\"time\", ");
	append_kind(&sql, definition);
	appendStringInfoString(&sql, ", e.account, ");
	meter_append_value(&sql, definition);
	appendStringInfoString(&sql, ", e.source, " OBSERVATION);
	for (i = 0; i < definition->ndimensions; i++)
	{
		appendStringInfoString(&sql, ", ");
		meter_append_dimension(&sql, definition->dimension_names[i]);
	}
	appendStringInfo(&sql, " FROM %s.event e WHERE ",
					 quote_identifier(definition->stream));
	meter_append_action_filter(&sql, definition);
	appendStringInfo(&sql, " AND e.\"time\" >= %s AND e.\"time\" < %s",
					 scope->from, scope->to);
	append_not_late(&sql, scope, "e");
	/* conditions on tables that are mostly empty are left out if they are */
	if (any_rows(definition, "held"))
	{
		appendStringInfoString(&sql, " AND ");
		meter_append_not_held(&sql, definition, "event", "e");
	}
	if (any_rows(definition, "_voided"))
	{
		appendStringInfoString(&sql, " AND ");
		append_not_voided(&sql, definition, "e", "coalesce(e.source, '')");
	}
	if (duplicates != NULL)
		appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM unnest(%s) d (arrival) WHERE d.arrival = e.arrival)",
						 duplicates);
	return sql.data;
}

/*
 * Return the arrivals of rows in a scope that are duplicates, as a bigint[]
 * literal; NULL if there are none.  Only rows whose hash is met twice are
 * compared.
 */
char *
meter_find_duplicates(const MeterDefinition *definition,
					  const MeterProgress *progress, const MeterScope *scope,
					  TimestampTz from, TimestampTz to)
{
	char	   *window = psprintf("'" INT64_FORMAT " microseconds'::interval",
								  definition->deduplication_window);
	MeterSuspects suspects;
	StringInfoData sql;
	char	   *rows;
	char	   *found;

	meter_find_suspects(definition, progress, METER_LOG_EVENT, from, to,
						DT_NOEND, &suspects);
	if (suspects.count == 0)
		return NULL;
	rows = meter_suspect_rows(definition, progress, METER_LOG_EVENT, &suspects);
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT array_agg(c.arrival) FROM (SELECT c.arrival, " SINCE_DUPLICATE("c")
					 " FROM %s c JOIN unnest(%s) s (key) "
					 "ON s.key = meter_internal.duplicate_key(c.resource, coalesce(c.source, ''), c.id) "
					 "WHERE c.id IS NOT NULL AND c.action <> 'void' AND c.\"time\" >= %s - %s AND ",
					 rows != NULL ? rows :
					 psprintf("%s.event", quote_identifier(definition->stream)),
					 suspects.hashes, scope->from, window);
	append_scope(&sql, definition, scope, "c");
	appendStringInfo(&sql, ") c WHERE c.since_duplicate <= %s", window);
	meter_execute(sql.data, SPI_OK_SELECT);
	found = meter_result_text(0, 1);
	return found == NULL ? NULL :
		psprintf("%s::bigint[]", quote_literal_cstr(found));
}
