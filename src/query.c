/*
 * query.c
 *	  The parts that the engine's queries are made of.
 *
 * Every part names each table with its schema and relies on the search_path
 * of a session (see spi.c) for everything else.  Instants are written into
 * the text, so that the planner can leave out segments that do not hold them.
 */
#include "query.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "spi.h"

/* A key of attributes that must be a number: NULL where it is none. */
static void
append_number_attribute(StringInfo sql, const char *key)
{
	const char *literal = quote_literal_cstr(key);

	appendStringInfo(sql,
					 "CASE WHEN e.attributes ->> %s ~ '^-?[0-9]{1,30}([.][0-9]{1,30})?$' "
					 "THEN (e.attributes ->> %s)::numeric END",
					 literal, literal);
}

/* A dimension: a column, or a key of attributes. */
static void
append_dimension(StringInfo sql, const char *name)
{
	if (strcmp(name, "source") == 0 || strcmp(name, "entity") == 0 ||
		strcmp(name, "offering") == 0)
		appendStringInfo(sql, "e.%s", name);
	else
		appendStringInfo(sql, "e.attributes ->> %s", quote_literal_cstr(name));
}

/* The condition under which a row e of the event log is one to a meter. */
void
meter_append_action_filter(StringInfo sql, const MeterDefinition *definition)
{
	appendStringInfo(sql, "(e.action = ANY (%s) OR e.action = ANY (%s) OR e.action = ANY (%s))",
					 meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->changes));
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
}

/*
 * The events of a meter, as meter.settle_timeline() takes them, with their
 * arrival; `condition` (or NULL) limits the rows e of the log.
 */
void
meter_append_events(StringInfo sql, const MeterDefinition *definition,
					const char *condition)
{
	int			i;

	appendStringInfo(sql,
					 "SELECT e.resource, CASE WHEN e.action = ANY (%s) THEN 's' "
					 "WHEN e.action = ANY (%s) THEN 'p' ELSE 'c' END::\"char\" AS kind, "
					 "e.\"time\" AS at, e.account, ARRAY[",
					 meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops));
	for (i = 0; i < definition->ndimensions; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		append_dimension(sql, definition->dimension_names[i]);
	}
	appendStringInfoString(sql, "]::text[] AS dimensions, ");
	if (definition->aggregate == METER_DURATION)
		appendStringInfoString(sql, "NULL::numeric");
	else if (strcmp(definition->value_from, "value") == 0)
		appendStringInfoString(sql, "e.value");
	else
		append_number_attribute(sql, definition->value_from);
	appendStringInfo(sql,
					 " AS value, NULL::timestamptz AS alive, e.arrival "
					 "FROM %s.event e WHERE ",
					 quote_identifier(definition->stream));
	meter_append_action_filter(sql, definition);
	if (condition != NULL)
		appendStringInfo(sql, " AND %s", condition);
}

/*
 * Write the states that `from` gives (resource, state, unnamed_since: the
 * first period billed to nobody, should the account still be unknown).
 */
void
meter_append_upsert_state(StringInfo sql, const MeterDefinition *definition,
						  const char *from)
{
	appendStringInfo(sql,
					 "INSERT INTO %s.resource_state AS r (meter, resource, active, account, "
					 "dimensions, value, since, alive, unnamed_since) "
					 "SELECT %s, n.resource, (n.state).active, (n.state).account, "
					 "(n.state).dimensions, (n.state).value, (n.state).since, (n.state).alive, "
					 "CASE WHEN (n.state).account IS NULL THEN n.unnamed_since END "
					 "FROM (%s) n "
					 "ON CONFLICT (meter, resource) DO UPDATE SET "
					 "active = excluded.active, account = excluded.account, "
					 "dimensions = excluded.dimensions, value = excluded.value, "
					 "since = excluded.since, alive = excluded.alive, "
					 "unnamed_since = CASE WHEN excluded.account IS NULL THEN "
					 "least(r.unnamed_since, excluded.unnamed_since) END",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name), from);
}

/* The view current_usage, to which branches for meters are added. */
void
meter_append_current_usage(StringInfo sql, const char *stream)
{
	const char *schema = quote_identifier(stream);

	appendStringInfo(sql,
					 "CREATE OR REPLACE VIEW %s.current_usage AS "
					 "SELECT meter, account, resource, dimensions, period_start, "
					 "sum(quantity) AS quantity, true AS settled FROM %s.usage "
					 "GROUP BY meter, account, resource, dimensions, period_start",
					 schema, schema);
}

/*
 * A branch for the periods of a meter that are not settled: the state before
 * the watermark and the events since, as a settle takes them, up to now.
 */
void
meter_append_live_usage(StringInfo sql, const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	char	   *window = psprintf("meter.live_window(%s, %s)",
								  quote_literal_cstr(definition->stream),
								  meter);

	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT %s::text, (u.row).account, u.resource, (u.row).dimensions, "
					 "(u.row).period_start, (u.row).quantity, false "
					 "FROM (SELECT t.resource, meter.settle_rows(%s, t.resource, t.timeline, "
					 "(SELECT lower(%s)), (SELECT upper(%s))) AS \"row\" "
					 "FROM (SELECT x.resource, meter.settle_timeline(x.kind, x.at, x.account, "
					 "x.dimensions, x.value, x.alive) AS timeline FROM (",
					 meter, definition->spec, window, window);
	meter_append_events(sql, definition,
						psprintf("e.\"time\" >= (SELECT lower(%s)) AND "
								 "e.\"time\" < (SELECT upper(%s))",
								 window, window));
	appendStringInfo(sql,
					 " UNION ALL SELECT r.resource, "
					 "CASE WHEN r.active THEN 'o' ELSE 'x' END::\"char\", "
					 "r.since, r.account, r.dimensions, r.value, r.alive, NULL "
					 "FROM %s.resource_state r WHERE r.meter = %s"
					 ") x GROUP BY x.resource) t) u",
					 schema, meter);
}

/*
 * What usage should be and what the ledger says, as rows (resource, account,
 * dimensions, period_start, quantity, revisions): usage from `timelines`
 * (resource, timeline, begin_at) up to `end`, and the negated ledger rows
 * that `ledger` gives.  Grouped and summed, what remains is the difference.
 */
void
meter_append_difference(StringInfo sql, const MeterDefinition *definition,
						const char *timelines, const char *end,
						const char *ledger)
{
	appendStringInfo(sql,
					 "SELECT w.resource, (w.row).account, (w.row).dimensions, "
					 "(w.row).period_start, (w.row).quantity, 0 AS revisions "
					 "FROM (SELECT t.resource, meter.settle_rows(%s, t.resource, "
					 "t.timeline, t.begin_at, %s) AS \"row\" FROM %s t) w "
					 "UNION ALL %s",
					 definition->spec, end, timelines, ledger);
}

/*
 * The ledger rows of the resources in `touched` (resource, begin_at) from
 * there up to `end`, negated.  Few are looked up one (period, resource) at a
 * time by ranges of the key, many are met in one scan of it from `from` on.
 */
char *
meter_ledger_of_touched(const MeterDefinition *definition,
						const char *touched, const char *from,
						const char *end, bool few)
{
	const char *schema = quote_identifier(definition->stream);
	const char *stream = quote_literal_cstr(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	if (few)
		return psprintf("SELECT t.resource, l.account, l.dimensions, "
						"l.period_start, - l.quantity, 1 FROM %s t "
						"CROSS JOIN LATERAL meter.settle_periods(%s, t.begin_at, %s) p "
						"CROSS JOIN LATERAL (SELECT * FROM %s.usage u "
						"WHERE u.transaction_id >= meter.transaction_id_low(%s, %s, t.resource, p) "
						"AND u.transaction_id <= meter.transaction_id_high(%s, %s, t.resource, p) "
						"AND u.meter = %s AND u.resource = t.resource "
						"AND u.period_start = p OFFSET 0) l",
						touched, definition->spec, end, schema,
						stream, meter, stream, meter, meter);
	return psprintf("SELECT l.resource, l.account, l.dimensions, "
					"l.period_start, - l.quantity, 1 FROM %s.usage l JOIN %s t "
					"ON l.resource = t.resource AND l.period_start >= t.begin_at "
					"WHERE l.transaction_id >= meter.transaction_id_from(%s) "
					"AND l.meter = %s AND l.period_start < %s",
					schema, touched, from, meter, end);
}

/* All ledger rows of a meter in [from, end), negated. */
char *
meter_ledger_of_range(const MeterDefinition *definition, const char *from,
					  const char *end)
{
	return psprintf("SELECT l.resource, l.account, l.dimensions, "
					"l.period_start, - l.quantity, 1 FROM %s.usage l "
					"WHERE l.transaction_id >= meter.transaction_id_from(%s) "
					"AND l.meter = %s AND l.period_start >= %s AND l.period_start < %s",
					quote_identifier(definition->stream), from,
					quote_literal_cstr(definition->name), from, end);
}

/* Write what remains of a difference as usage rows of a settlement. */
void
meter_append_insert_difference(StringInfo sql,
							   const MeterDefinition *definition,
							   int64 settlement, const char *difference)
{
	appendStringInfo(sql,
					 "INSERT INTO %s.usage (transaction_id, meter, account, resource, "
					 "dimensions, period_start, quantity, revision, settlement, recorded_at) "
					 "SELECT meter.transaction_id(%s, %s, d.resource, d.account, d.dimensions, "
					 "d.period_start, d.revision), %s, d.account, d.resource, d.dimensions, "
					 "d.period_start, d.quantity, d.revision, " INT64_FORMAT ", now() "
					 "FROM (SELECT x.resource, x.account, x.dimensions, x.period_start, "
					 "trim_scale(sum(x.quantity)) AS quantity, sum(x.revisions)::integer AS revision "
					 "FROM (%s) x (resource, account, dimensions, period_start, quantity, revisions) "
					 "GROUP BY 1, 2, 3, 4 HAVING sum(x.quantity) <> 0) d ORDER BY 1",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->stream),
					 quote_literal_cstr(definition->name),
					 quote_literal_cstr(definition->name),
					 settlement, difference);
}
