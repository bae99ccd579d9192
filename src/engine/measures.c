/*
 * measures.c
 *	  Meters of measures: the parts of their queries.
 *
 * Usage is made of rows of the measure log.  Rows that lie within a period and
 * name the account go straight into a GROUP BY.  Only rows that have to be cut,
 * by a period or where the owner changes, are cut by functions in C.  Owners
 * come from the event log: there the account is the one attribute of a
 * resource, and every event that names an account changes it.  So a meter of
 * measures reads both logs, and has a position in each.
 *
 * As in events.c, every part names each table with its schema, and instants
 * are written into the text.  All parts call the row of the measure log e.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/measures.h"
#include "engine/period.h"
#include "log/segment.h"
#include "pg/spi.h"

/* What a measure says beyond its key and times, in an order of its own. */
#define CONTENT(alias) \
	"ROW(" alias ".account, " alias ".entity, " alias ".value, " \
	alias ".attributes)::text COLLATE \"C\""

/*
 * The time since the next lesser duplicate of a measure that has an id;
 * `first` may be what duplicates have in common in a form that is quick to
 * compare.
 */
#define SINCE_DUPLICATE(alias, first) \
	alias ".start_time - lag(" alias ".start_time) OVER (PARTITION BY " first \
	alias ".resource, coalesce(" alias ".source, ''), " alias ".id ORDER BY " \
	alias ".start_time, " alias ".end_time, coalesce(" alias ".value, '-Infinity'), " \
	"CASE WHEN " alias ".id IS NOT NULL THEN " CONTENT(alias) " END, " \
	alias ".arrival) AS since_duplicate"

/* The hash of what duplicates have in common. */
#define KEY_OF(alias) \
	"meter_internal.duplicate_key(" alias ".resource, coalesce(" alias ".source, ''), " alias ".id)"

/*
 * Tell whether value_from may name a column of the measure log for the
 * aggregate unique only.
 */
static bool
is_text_column(const char *name)
{
	return strcmp(name, "source") == 0 || strcmp(name, "id") == 0 ||
		strcmp(name, "entity") == 0;
}

/* Return an expression for the end of the period that holds an instant. */
static char *
period_end(const MeterDefinition *definition, const char *at)
{
	const MeterGrid *grid = definition->grid;

	if (grid->zone == NULL && grid->period_usec > 0)
		return psprintf("%s + %s::interval",
						meter_period_of(definition, at),
						quote_literal_cstr(definition->period));
	return psprintf("meter_internal.measure_period_end(%s, %s, %s)",
					quote_literal_cstr(definition->period),
					quote_literal_cstr(definition->timezone), at);
}

/* Append the value of a row e: a number, or for unique a text or a number. */
static void
append_value(StringInfo sql, const MeterDefinition *definition)
{
	const char *from = definition->value_from;
	const char *key = quote_literal_cstr(from);

	if (strcmp(from, "value") == 0)
		appendStringInfoString(sql, "e.value");
	else if (definition->aggregate != METER_UNIQUE)
		meter_append_number_attribute(sql, from);
	else if (is_text_column(from))
		appendStringInfo(sql, "e.%s", from);
	else
		appendStringInfo(sql, "CASE jsonb_typeof(e.attributes -> %s) WHEN 'number' "
						 "THEN trim_scale((e.attributes ->> %s)::numeric)::text "
						 "ELSE e.attributes ->> %s END", key, key, key);
}

/* Return the expression that append_value() appends. */
static char *
value_of(const MeterDefinition *definition)
{
	StringInfoData sql;

	initStringInfo(&sql);
	append_value(&sql, definition);
	return sql.data;
}

/*
 * Append the dimensions of a row e, as columns d1, d2, ..., each with a comma.
 */
static void
append_dimensions(StringInfo sql, const MeterDefinition *definition)
{
	int			i;

	for (i = 0; i < definition->ndimensions; i++)
	{
		const char *name = definition->dimension_names[i];

		if (strcmp(name, "source") == 0 || strcmp(name, "entity") == 0)
			appendStringInfo(sql, ", e.%s AS d%d", name, i + 1);
		else
			appendStringInfo(sql, ", e.attributes ->> %s AS d%d",
							 quote_literal_cstr(name), i + 1);
	}
}

/* Return the dimension columns d1, d2, ... of an alias, each after a comma. */
static char *
columns_of(const MeterDefinition *definition, const char *alias)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	for (i = 0; i < definition->ndimensions; i++)
		appendStringInfo(&sql, ", %s.d%d", alias, i + 1);
	return sql.data;
}

/* Return the dimension columns of an alias as an array. */
static char *
array_of(const MeterDefinition *definition, const char *alias)
{
	const char *columns = columns_of(definition, alias);

	return psprintf("ARRAY[%s]::text[]", columns[0] == ',' ? columns + 2 : "");
}

/*
 * Return the dimension columns of an alias as jsonb, as the ledger has them.
 */
static const char *
jsonb_of(const MeterDefinition *definition, const char *alias)
{
	StringInfoData sql;
	int			i;

	if (definition->ndimensions == 0)
		return "'{}'::jsonb";
	initStringInfo(&sql);
	appendStringInfoString(&sql, "jsonb_build_object(");
	for (i = 0; i < definition->ndimensions; i++)
		appendStringInfo(&sql, "%s%s, %s.d%d", i > 0 ? ", " : "",
						 quote_literal_cstr(definition->dimension_names[i]),
						 alias, i + 1);
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/*
 * Return FROM and WHERE of the rows of a stream's table that belong to a
 * meter.
 */
static char *
of_meter(const MeterDefinition *definition, const char *table,
		 const char *alias)
{
	return psprintf("%s.%s %s WHERE %s.meter = %s",
					quote_identifier(definition->stream), table, alias,
					alias, quote_literal_cstr(definition->name));
}

/*
 * Append conditions, with AND, that a row of the measure log lies in a scope.
 */
static void
append_scope(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
			 const MeterMeasureScope *scope, const char *alias)
{
	if (scope->to != NULL)
		appendStringInfo(sql, " AND %s.start_time < %s", alias, scope->to);
	if (scope->late_from != NULL)
		appendStringInfo(sql, " AND (%s.arrival <= " INT64_FORMAT
						 " OR %s.start_time >= %s)",
						 alias, progress->logs[METER_LOG_MEASURE].position, alias,
						 scope->late_from);
	if (scope->any_held)
	{
		appendStringInfoString(sql, " AND ");
		meter_append_not_held(sql, definition, "measure", alias);
	}
}

/* Return the instant from which on the usage of a row e is asked for. */
static const char *
scope_from(const MeterMeasureScope *scope)
{
	return scope->affected ? "t.begin_at" : scope->from;
}

/* About so many rows are scanned in the time of a look into an index. */
#define ROWS_A_PROBE	30

/*
 * Return up to which arrival to look the measures of so many resources up one
 * by one: 0 if reading everything is faster.
 */
int64
meter_sealed_measures_for(const MeterDefinition *definition,
						  double nresources)
{
	double		rows;
	int			segments;
	int64		sealed = meter_sealed_until(definition->stream, "measure",
											&rows, &segments);

	return nresources * segments * ROWS_A_PROBE < rows ? sealed : 0;
}

/* Return where the measures of a scope are. */
static char *
scope_log(const MeterDefinition *definition, const MeterMeasureScope *scope)
{
	return scope->sealed > 0 ? "measure_log" :
		psprintf("%s.measure", quote_identifier(definition->stream));
}

/*
 * Append the CTE "measure_log": the measures of "affected", looked up in
 * sealed segments.
 */
static void
append_log(StringInfo sql, const MeterDefinition *definition,
		   const MeterMeasureScope *scope)
{
	const char *schema = quote_identifier(definition->stream);

	appendStringInfo(sql,
					 "measure_log AS MATERIALIZED (SELECT e.* FROM affected t CROSS JOIN LATERAL ("
					 "SELECT * FROM %s.measure m WHERE m.arrival < " INT64_FORMAT
					 " AND m.resource = t.resource AND m.start_time < %s OFFSET 0) e UNION ALL "
					 "SELECT e.* FROM affected t, %s.measure e WHERE e.arrival >= " INT64_FORMAT
					 " AND e.resource = t.resource AND e.start_time < %s), ",
					 schema, scope->sealed, scope->to, schema, scope->sealed,
					 scope->to);
}

/*
 * Append FROM and WHERE of the measures e that count for a meter and lie in a
 * scope.  For counters the scope has all that came before, too.
 */
static void
append_rows(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
			const MeterMeasureScope *scope)
{
	const char *schema = quote_identifier(definition->stream);
	const char *from = scope_from(scope);

	appendStringInfo(sql, "FROM %s%s e WHERE %s",
					 scope->affected ? "affected t, " : "",
					 scope_log(definition, scope),
					 scope->affected ? "e.resource = t.resource" : "true");
	append_scope(sql, definition, progress, scope, "e");
	if (definition->aggregate == METER_SUM && from != NULL)
		appendStringInfo(sql, " AND (e.end_time > %s OR e.start_time >= %s)",
						 from, from);
	else if (from != NULL &&
			 (definition->aggregate != METER_COUNTER || scope->carried))
		appendStringInfo(sql, " AND e.start_time >= %s", from);
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
	if (scope->duplicates != NULL)
		appendStringInfoString(sql, " AND NOT EXISTS (SELECT FROM measure_duplicates c WHERE c.arrival = e.arrival)");
	if (scope->voids_from_log)
		appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s.event v WHERE v.action = 'void' "
						 "AND v.resource = e.resource AND coalesce(v.source, '') = coalesce(e.source, '') "
						 "AND v.id = e.id)", schema);
	else if (scope->any_voided)
		appendStringInfo(sql, " AND NOT EXISTS (SELECT FROM %s "
						 "AND v.resource = e.resource AND v.source = coalesce(e.source, '') "
						 "AND v.id = e.id)", of_meter(definition, "_voided", "v"));
}

/* Return the condition that a row e needs no cutting and no owner. */
static char *
simple_condition(const MeterDefinition *definition,
				 const MeterMeasureScope *scope, bool simple)
{
	const char *from = scope_from(scope);
	const char *end;

	if (definition->aggregate != METER_SUM)
		return simple ? "e.account <> ''" : "coalesce(e.account, '') = ''";
	end = period_end(definition, "e.start_time");
	if (from == NULL)
		return psprintf(simple ? "e.account <> '' AND e.end_time <= %s" :
						"(coalesce(e.account, '') = '' OR e.end_time > %s)",
						end);
	return psprintf(simple ?
					"e.account <> '' AND e.start_time >= %s AND e.end_time <= %s" :
					"(coalesce(e.account, '') = '' OR e.start_time < %s OR e.end_time > %s)",
					from, end);
}

/*
 * Return the condition that a row e needs cutting or an owner, of the periods
 * from an instant on.
 */
char *
meter_complex_condition(const MeterDefinition *definition, const char *from)
{
	MeterMeasureScope scope = {0};

	scope.from = from;
	return simple_condition(definition, &scope, false);
}

/*
 * Return a meter for the event log that stands for who owns what: all events
 * that name an account.
 */
static MeterDefinition *
owners_definition(const MeterDefinition *definition)
{
	MeterDefinition *owners = palloc(sizeof(MeterDefinition));

	*owners = *definition;
	owners->ndimensions = 0;
	owners->value_from = "value";
	/* the retention boundary is that of the measures */
	owners->boundary = DT_NOBEGIN;
	return owners;
}

/* Append CTEs that end with "events": the events that name owners. */
void
meter_append_owner_events(StringInfo sql, const MeterDefinition *definition,
						  const MeterScope *scope)
{
	meter_append_events(sql, owners_definition(definition), scope);
}

/* The owner at an instant, where owners o are. */
#define OWNER_AT(at) "meter_internal.measure_owner(o.since, o.accounts, " at ")"

/*
 * Append the CTEs that all queries begin with: "events" that name owners, and
 * "measure_duplicates".
 */
static void
append_sources(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
			   const MeterMeasureScope *scope)
{
	MeterScope	events = {0};

	if (!scope->affected)
	{
		events.from = scope->carried ? scope->from : NULL;
		events.to = scope->named_to;
		events.late_from = scope->late_from;
		events.safe = progress->logs[METER_LOG_EVENT].position;
		events.voids_from_log = scope->voids_from_log;
		meter_append_owner_events(sql, definition, &events);
		appendStringInfoString(sql, ", ");
	}
	if (scope->sealed > 0)
		append_log(sql, definition, scope);
	if (scope->duplicates != NULL)
	{
		/*
		 * if any lesser duplicate lies within the window, the one next to it
		 * does
		 */
		if (scope->suspects == NULL)
		{
			/* without a hash that is met twice, nothing has to be compared */
			appendStringInfo(sql, "suspects AS MATERIALIZED (SELECT " KEY_OF("c") " AS key FROM %s c "
							 "WHERE c.id IS NOT NULL AND %s",
							 scope_log(definition, scope), scope->duplicates);
			append_scope(sql, definition, progress, scope, "c");
			appendStringInfoString(sql, " GROUP BY 1 HAVING count(*) > 1), ");
		}
		else
			appendStringInfo(sql, "suspects AS MATERIALIZED (SELECT unnest(%s) AS key), ",
							 scope->suspects);
		appendStringInfo(sql, "measure_duplicates AS MATERIALIZED (SELECT c.arrival FROM (SELECT c.arrival, "
						 SINCE_DUPLICATE("c", "s.key, ") " FROM %s c JOIN suspects s ON s.key = " KEY_OF("c")
						 " WHERE c.id IS NOT NULL AND %s",
						 scope->duplicates_from ? scope->duplicates_from :
						 scope_log(definition, scope), scope->duplicates);
		append_scope(sql, definition, progress, scope, "c");
		appendStringInfo(sql, ") c WHERE c.since_duplicate <= '" INT64_FORMAT " microseconds'::interval), ",
						 definition->deduplication_window);
	}
}

/*
 * Append the CTEs "nameless", resources with measures that do not name the
 * account, each with its first such period; and "owners", who owns what from
 * when on, for these resources and all for which an event names an owner.
 */
static void
append_owners(StringInfo sql, const MeterDefinition *definition,
			  const MeterMeasureScope *scope, const char *rows)
{
	appendStringInfo(sql,
					 ", nameless AS MATERIALIZED (SELECT n.resource, min(%s) AS unnamed_since "
					 "FROM %s n WHERE n.account = '' GROUP BY n.resource), "
					 "owners AS MATERIALIZED (SELECT o.resource, array_agg(o.since ORDER BY o.since) AS since, "
					 "array_agg(o.account ORDER BY o.since) AS accounts, bool_or(o.named) AS named FROM ("
					 "SELECT v.resource, v.at AS since, max(v.account) AS account, true AS named "
					 "FROM events v GROUP BY v.resource, v.at",
					 meter_period_of(definition, "greatest(n.start_time, n.begin_at)"),
					 rows);
	if (scope->carried)
		appendStringInfo(sql,
						 " UNION ALL SELECT r.resource, '-infinity', r.account, false FROM nameless b "
						 "CROSS JOIN LATERAL (SELECT * FROM %s AND s.resource = b.resource "
						 "AND s.account IS NOT NULL OFFSET 0) r",
						 of_meter(definition, "_resource_state", "s"));
	appendStringInfoString(sql, ") o GROUP BY o.resource)");
}

/*
 * Return what a meter's aggregate makes of the rows x of a key, and which
 * results are kept.
 */
static const char *
aggregate_of(const MeterDefinition *definition, const char **having)
{
	*having = METER_KEEPS_ZERO(definition->aggregate) ? "IS NOT NULL" : "<> 0";
	switch (definition->aggregate)
	{
		case METER_COUNT:
			return "count(*)::numeric";
		case METER_MIN:
			return "min(x.quantity)";
		case METER_MAX:
			return "max(x.quantity)";
		case METER_LATEST:
			return "(max(ARRAY[extract(epoch FROM x.start_time), x.quantity]) FILTER (WHERE x.quantity IS NOT NULL))[2]";
		case METER_UNIQUE:
			return "count(DISTINCT x.quantity)::numeric";
		default:
			return "sum(x.quantity)";
	}
}

/*
 * Append the CTE "expected" of counters: what was added from each reading to
 * the next.
 */
static void
append_counter(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
			   const MeterMeasureScope *scope)
{
	const char *r = columns_of(definition, "r");
	const char *i = columns_of(definition, "i");
	const char *from = scope_from(scope);
	int			d;

	appendStringInfoString(sql, "readings AS MATERIALIZED (SELECT e.resource, "
						   "coalesce(e.account, '') AS account, e.start_time, e.end_time, ");
	append_value(sql, definition);
	appendStringInfo(sql, " AS value, %s AS begin_at", from ? from : "'-infinity'::timestamptz");
	append_dimensions(sql, definition);
	appendStringInfoChar(sql, ' ');
	append_rows(sql, definition, progress, scope);
	appendStringInfoString(sql, " AND ");
	append_value(sql, definition);
	appendStringInfoString(sql, " IS NOT NULL)");
	append_owners(sql, definition, scope, "readings");

	/* of several readings of one instant the greatest counts */
	appendStringInfo(sql, ", instants AS MATERIALIZED (SELECT DISTINCT ON (r.resource%s, r.start_time) r.* FROM ("
					 "SELECT r.resource, CASE WHEN r.account <> '' THEN r.account ELSE " OWNER_AT("r.start_time")
					 " END AS account, r.start_time, r.value, r.begin_at%s FROM readings r "
					 "LEFT JOIN owners o ON o.resource = r.resource AND r.account = '') r "
					 "ORDER BY r.resource%s, r.start_time, r.value DESC, r.account DESC), ",
					 r, r, r);
	appendStringInfo(sql, "expected AS (SELECT x.resource, x.account, %s AS dimensions, %s AS period_start, "
					 "sum(CASE WHEN x.value < x.before THEN x.value ELSE x.value - x.before END) AS quantity "
					 "FROM (SELECT i.*, lag(i.value) OVER (PARTITION BY i.resource%s ORDER BY i.start_time) AS before "
					 "FROM (SELECT r.resource, r.account, r.start_time, r.value, r.begin_at%s FROM instants r",
					 jsonb_of(definition, "x"),
					 meter_period_of(definition, "x.start_time"),
					 i, r);
	if (scope->carried)
	{
		appendStringInfoString(sql, " UNION ALL SELECT s.resource, '', s.\"time\", s.value, 'infinity'::timestamptz");
		for (d = 1; d <= definition->ndimensions; d++)
			appendStringInfo(sql, ", s.dimensions[%d]", d);
		appendStringInfo(sql, " FROM (SELECT DISTINCT resource FROM readings) b CROSS JOIN LATERAL "
						 "(SELECT * FROM %s AND c.resource = b.resource OFFSET 0) s",
						 of_meter(definition, "_counter_state", "c"));
	}
	appendStringInfo(sql, ") i) x WHERE x.before IS NOT NULL AND x.start_time >= x.begin_at "
					 "GROUP BY x.resource, x.account%s, 4 HAVING "
					 "sum(CASE WHEN x.value < x.before THEN x.value ELSE x.value - x.before END) <> 0)",
					 columns_of(definition, "x"));
}

/*
 * Append the usage that measures make, as CTEs that end with "expected"
 * (resource, account, dimensions, period_start, quantity).
 */
void
meter_append_measures(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
					  const MeterMeasureScope *scope)
{
	const char *from = scope_from(scope);
	const char *having;
	const char *aggregate;
	bool		sum = definition->aggregate == METER_SUM;

	append_sources(sql, definition, progress, scope);
	if (definition->aggregate == METER_COUNTER)
	{
		append_counter(sql, definition, progress, scope);
		return;
	}

	/* measures that have to be cut, or name no account */
	appendStringInfoString(sql, "complex AS MATERIALIZED (SELECT e.resource, "
						   "coalesce(e.account, '') AS account, e.start_time, e.end_time, ");
	append_value(sql, definition);
	appendStringInfo(sql, " AS value, %s AS begin_at",
					 from ? from : "'-infinity'::timestamptz");
	append_dimensions(sql, definition);
	appendStringInfoChar(sql, ' ');
	append_rows(sql, definition, progress, scope);
	appendStringInfo(sql, " AND %s)",
					 scope->all_simple ? "false" :
					 simple_condition(definition, scope, false));
	append_owners(sql, definition, scope, "complex");

	aggregate = aggregate_of(definition, &having);
	appendStringInfo(sql, ", expected AS (SELECT x.resource, x.account, %s AS dimensions, "
					 "x.period_start, %s AS quantity FROM (SELECT e.resource, e.account, "
					 "%s AS period_start, ",
					 jsonb_of(definition, "x"), aggregate,
					 meter_period_of(definition, "e.start_time"));
	append_value(sql, definition);
	appendStringInfoString(sql, " AS quantity");
	if (definition->aggregate == METER_LATEST)
		appendStringInfoString(sql, ", e.start_time");
	append_dimensions(sql, definition);
	appendStringInfoChar(sql, ' ');
	append_rows(sql, definition, progress, scope);
	appendStringInfoString(sql, " AND (");
	/* up to the position all are known to be simple, which is quick to see */
	if (scope->all_simple)
		appendStringInfo(sql, "e.arrival <= " INT64_FORMAT " OR ",
						 progress->logs[METER_LOG_MEASURE].position);
	appendStringInfo(sql, "(%s)) UNION ALL SELECT c.resource, ",
					 simple_condition(definition, scope, true));
	if (sum)
		/* no LATERAL: the planner overestimates the cost of its nested loop */
		appendStringInfo(sql, "(c.p).account, (c.p).period_start, (c.p).quantity%s FROM ("
						 "SELECT c.*, meter_internal.measure_parts(%s, %s, c.start_time, c.end_time, c.value, "
						 "c.account, o.since, o.accounts, c.begin_at, %s) AS p FROM complex c "
						 "LEFT JOIN owners o ON o.resource = c.resource AND c.account = '') c",
						 columns_of(definition, "c"),
						 quote_literal_cstr(definition->period),
						 quote_literal_cstr(definition->timezone), scope->to);
	else
		appendStringInfo(sql, OWNER_AT("c.start_time") ", %s, c.value%s%s FROM complex c "
						 "LEFT JOIN owners o ON o.resource = c.resource",
						 meter_period_of(definition, "c.start_time"),
						 definition->aggregate == METER_LATEST ? ", c.start_time" : "",
						 columns_of(definition, "c"));
	appendStringInfo(sql, ") x GROUP BY x.resource, x.account%s, x.period_start HAVING %s %s)",
					 columns_of(definition, "x"), aggregate, having);
}

/* Tell whether a meter has rows in one of its lists. */
static bool
any_rows(const MeterDefinition *definition, const char *table,
		 const char *condition)
{
	bool		isnull;

	meter_execute(psprintf("SELECT EXISTS (SELECT FROM %s%s)",
						   of_meter(definition, table, "l"), condition),
				  SPI_OK_SELECT);
	return DatumGetBool(meter_result(0, 1, &isnull));
}

/* Find out what a scope need not ask for row by row. */
void
meter_look_up_scope(const MeterDefinition *definition,
					MeterMeasureScope *scope)
{
	scope->any_held = any_rows(definition, "held", " AND l.log = 'measure'");
	scope->any_voided = any_rows(definition, "_voided", "");
}

/*
 * Append the usage of all resources in [from, to), from all rows of the logs,
 * as CTEs that end with "expected".  The watermark is where events end.
 */
void
meter_append_measures_of_all(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
							 const char *from, const char *to,
							 const char *late_from)
{
	MeterMeasureScope scope = {0};

	meter_look_up_scope(definition, &scope);
	scope.from = from;
	scope.to = to;
	scope.named_to = meter_timestamp_literal(progress->watermark);
	scope.late_from = late_from;
	scope.voids_from_log = true;
	scope.duplicates = "true";
	meter_append_measures(sql, definition, progress, &scope);
}

/* Return rows of expected usage and of the ledger, to be grouped. */
char *
meter_measure_difference(const char *ledger)
{
	return psprintf("SELECT w.resource, w.account, w.dimensions, w.period_start, w.quantity, 0 AS revisions "
					"FROM expected w UNION ALL %s", ledger);
}

/*
 * Append CTEs, each after a comma, that write what is known of resources and
 * counters at the end of the scope.
 */
void
meter_append_measure_states(StringInfo sql, const MeterDefinition *definition,
							const MeterMeasureScope *scope)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	appendStringInfo(sql,
					 ", states AS (INSERT INTO %s._resource_state AS r (meter, resource, active, account, "
					 "dimensions, unnamed_since) SELECT %s, n.resource, false, max(n.account), '{}', "
					 "CASE WHEN max(n.account) IS NULL THEN min(n.unnamed_since) END FROM ("
					 "SELECT o.resource, o.accounts[cardinality(o.accounts)] AS account, "
					 "NULL::timestamptz AS unnamed_since FROM owners o WHERE o.named "
					 "UNION ALL SELECT b.resource, NULL, b.unnamed_since FROM nameless b "
					 "WHERE NOT EXISTS (SELECT FROM owners o WHERE o.resource = b.resource)",
					 schema, meter);
	if (scope->affected)
		/* resources whose last name was taken back */
		appendStringInfo(sql,
						 " UNION ALL SELECT s.resource, NULL, NULL FROM affected t JOIN %s._resource_state s "
						 "ON s.resource = t.resource WHERE s.meter = %s AND s.account IS NOT NULL "
						 "AND NOT EXISTS (SELECT FROM owners o WHERE o.resource = t.resource)",
						 schema, meter);
	appendStringInfo(sql,
					 ") n GROUP BY n.resource ORDER BY n.resource "
					 "ON CONFLICT (meter, resource) DO UPDATE SET account = excluded.account, "
					 "unnamed_since = CASE WHEN excluded.account IS NULL THEN "
					 "least(r.unnamed_since, excluded.unnamed_since) END "
					 "WHERE r.account IS DISTINCT FROM excluded.account "
					 "OR (excluded.account IS NULL AND least(r.unnamed_since, excluded.unnamed_since) "
					 "IS DISTINCT FROM r.unnamed_since))");
	if (definition->aggregate != METER_COUNTER)
		return;

	appendStringInfo(sql,
					 ", counters AS (INSERT INTO %s._counter_state (meter, resource, dimensions, \"time\", value) "
					 "SELECT DISTINCT ON (i.resource%s) %s, i.resource, %s, i.start_time, i.value "
					 "FROM instants i ORDER BY i.resource%s, i.start_time DESC "
					 "ON CONFLICT (meter, resource, dimensions) DO UPDATE SET "
					 "\"time\" = excluded.\"time\", value = excluded.value)",
					 schema, columns_of(definition, "i"), meter,
					 array_of(definition, "i"), columns_of(definition, "i"));
	if (!scope->carried)
		appendStringInfo(sql,
						 ", counters_gone AS (DELETE FROM %s._counter_state s WHERE s.meter = %s%s "
						 "AND NOT EXISTS (SELECT FROM instants i WHERE i.resource = s.resource "
						 "AND %s = s.dimensions))",
						 schema, meter,
						 scope->affected ? " AND s.resource IN (SELECT resource FROM affected)" : "",
						 array_of(definition, "i"));
}

/* Return a query for the instant of a meter's earliest measure. */
char *
meter_earliest_measure(const MeterDefinition *definition)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT min(e.start_time) FROM %s.measure e WHERE ",
					 quote_identifier(definition->stream));
	if (definition->entity != NULL)
		appendStringInfo(&sql, "e.entity = %s AND ",
						 quote_literal_cstr(definition->entity));
	meter_append_not_held(&sql, definition, "measure", "e");
	return sql.data;
}

/*
 * Return FROM and WHERE of the rows e of the measure log that arrived after
 * the position, up to `safe` (all, if it is negative), and may change settled
 * periods of the meter.
 */
char *
meter_late_measures(const MeterDefinition *definition, const MeterProgress *progress, int64 safe)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s.measure e WHERE e.arrival > " INT64_FORMAT,
					 quote_identifier(definition->stream),
					 progress->logs[METER_LOG_MEASURE].position);
	if (safe >= 0)
		appendStringInfo(&sql, " AND e.arrival <= " INT64_FORMAT, safe);
	appendStringInfo(&sql, " AND e.start_time < %s AND ",
					 meter_timestamp_literal(progress->watermark));
	if (definition->entity != NULL)
		appendStringInfo(&sql, "(e.id IS NOT NULL OR e.entity = %s) AND ",
						 quote_literal_cstr(definition->entity));
	meter_append_not_held(&sql, definition, "measure", "e");
	return sql.data;
}

/* Append the owners o (resource, since, accounts) for a view. */
static void
append_owners_in_view(StringInfo sql, const MeterDefinition *definition,
					  const char *from, const char *to)
{
	appendStringInfoString(sql,
						   "(SELECT n.resource, array_agg(n.since ORDER BY n.since) AS since, "
						   "array_agg(n.account ORDER BY n.since) AS accounts FROM ("
						   "SELECT v.resource, v.at AS since, max(v.account) AS account FROM (");
	meter_append_events_in_view(sql, owners_definition(definition), from, to);
	appendStringInfo(sql,
					 ") v GROUP BY v.resource, v.at UNION ALL "
					 "SELECT s.resource, '-infinity', s.account FROM %s AND s.account IS NOT NULL"
					 ") n GROUP BY n.resource) o",
					 of_meter(definition, "_resource_state", "s"));
}

/*
 * Append FROM and WHERE, for a view, of the measures e that count for a meter
 * between two expressions, with their owners o.
 */
static void
append_rows_in_view(StringInfo sql, const MeterDefinition *definition,
					const char *from, const char *to)
{
	const char *schema = quote_identifier(definition->stream);
	bool		sum = definition->aggregate == METER_SUM;
	char	   *first = psprintf("%s", from);

	/* duplicates of earlier measures lie up to a window earlier */
	if (sum)
		first = psprintf("least(%s, (SELECT min(b.start_time) FROM %s.measure b "
						 "WHERE b.start_time < %s AND b.end_time > %s))",
						 from, schema, from, from);
	appendStringInfo(sql,
					 "FROM (SELECT l.*, " SINCE_DUPLICATE("l", "") " FROM %s.measure l WHERE l.start_time < %s "
					 "AND l.start_time >= %s - '" INT64_FORMAT " microseconds'::interval AND ",
					 schema, to, first, definition->deduplication_window);
	meter_append_not_held(sql, definition, "measure", "l");
	appendStringInfoString(sql, ") e LEFT JOIN ");
	append_owners_in_view(sql, definition, from, to);
	appendStringInfo(sql, " ON o.resource = e.resource%s WHERE ",
					 sum ? psprintf(" CROSS JOIN LATERAL meter_internal.measure_parts(%s, %s, e.start_time, e.end_time, %s, "
									"e.account, o.since, o.accounts, %s, %s) p",
									quote_literal_cstr(definition->period),
									quote_literal_cstr(definition->timezone),
									value_of(definition), from, to) : "");
	if (definition->entity != NULL)
		appendStringInfo(sql, "e.entity = %s AND ",
						 quote_literal_cstr(definition->entity));
	if (sum)
		appendStringInfo(sql, "(e.end_time > %s OR e.start_time >= %s)",
						 from, from);
	else
		appendStringInfo(sql, "e.start_time >= %s", from);
	appendStringInfo(sql,
					 " AND (e.id IS NULL OR coalesce(e.since_duplicate > '" INT64_FORMAT " microseconds'::interval, true)) "
					 "AND NOT EXISTS (SELECT FROM %s AND v.resource = e.resource "
					 "AND v.source = coalesce(e.source, '') AND v.id = e.id)",
					 definition->deduplication_window,
					 of_meter(definition, "_voided", "v"));
}

/*
 * Append the usage of a meter between two expressions, from its states and the
 * rows since, as one query (resource, account, dimensions, period_start,
 * quantity): a filter on the resource reaches the logs.
 */
void
meter_append_measures_in_view(StringInfo sql,
							  const MeterDefinition *definition,
							  const char *from, const char *to)
{
	const char *x = columns_of(definition, "x");
	const char *having;
	const char *aggregate = aggregate_of(definition, &having);
	const char *account = "CASE WHEN e.account <> '' THEN e.account ELSE " OWNER_AT("e.start_time") " END AS account";
	int			d;

	appendStringInfo(sql, "SELECT x.resource, x.account, %s AS dimensions, x.period_start, %s AS quantity FROM (",
					 jsonb_of(definition, "x"), aggregate);
	if (definition->aggregate == METER_SUM)
	{
		appendStringInfoString(sql, "SELECT e.resource, p.account, p.period_start, p.quantity");
		append_dimensions(sql, definition);
		appendStringInfoChar(sql, ' ');
		append_rows_in_view(sql, definition, from, to);
	}
	else if (definition->aggregate != METER_COUNTER)
	{
		appendStringInfo(sql, "SELECT e.resource, %s, %s AS period_start, %s AS quantity, e.start_time",
						 account,
						 meter_period_of(definition, "e.start_time"),
						 value_of(definition));
		append_dimensions(sql, definition);
		appendStringInfoChar(sql, ' ');
		append_rows_in_view(sql, definition, from, to);
	}
	else
	{
		appendStringInfo(sql,
						 "SELECT i.*, %s AS period_start, CASE WHEN i.value < i.before THEN i.value ELSE i.value - i.before END AS quantity "
						 "FROM (SELECT r.*, lag(r.value) OVER (PARTITION BY r.resource%s ORDER BY r.start_time) AS before "
						 "FROM ((SELECT DISTINCT ON (r.resource%s, r.start_time) r.* FROM ("
						 "SELECT e.resource, %s, e.start_time, %s AS value",
						 meter_period_of(definition, "i.start_time"),
						 columns_of(definition, "r"),
						 columns_of(definition, "r"), account,
						 value_of(definition));
		append_dimensions(sql, definition);
		appendStringInfoChar(sql, ' ');
		append_rows_in_view(sql, definition, from, to);
		appendStringInfo(sql, " AND %s IS NOT NULL) r ORDER BY r.resource%s, r.start_time, r.value DESC, r.account DESC) "
						 "UNION ALL SELECT c.resource, '', c.\"time\", c.value",
						 value_of(definition),
						 columns_of(definition, "r"));
		for (d = 1; d <= definition->ndimensions; d++)
			appendStringInfo(sql, ", c.dimensions[%d]", d);
		appendStringInfo(sql, " FROM %s) r) i WHERE i.before IS NOT NULL",
						 of_meter(definition, "_counter_state", "c"));
	}
	appendStringInfo(sql, ") x GROUP BY x.resource, x.account%s, x.period_start HAVING %s %s",
					 x, aggregate, having);
}

/*
 * Append the measures e behind the usage of "affected" that
 * meter_append_measures() asked for before: arrival, start_time, end_time,
 * account as it is or empty, payer, dimensions, part_begin, part_end, quantity
 * and explanation.
 */
void
meter_append_measures_behind(StringInfo sql,
							 const MeterDefinition *definition, const MeterProgress *progress,
							 const MeterMeasureScope *scope)
{
	bool		sum = definition->aggregate == METER_SUM;

	appendStringInfo(sql,
					 "SELECT b.arrival, b.start_time, b.end_time, b.account, b.payer, %s AS dimensions, b.part_begin, b.part_end, b.quantity, b.explanation "
					 "FROM (SELECT e.arrival, e.start_time, e.end_time, coalesce(e.account, '') AS account",
					 jsonb_of(definition, "b"));
	append_dimensions(sql, definition);
	if (sum)
		appendStringInfoString(sql, ", p.account AS payer, p.part_begin, p.part_end, trim_scale(p.quantity) AS quantity, "
							   "CASE WHEN p.part_begin = e.start_time AND p.part_end = e.end_time THEN 'all of it' "
							   "ELSE format('from %s to %s: trunc(%s * %s / %s, %s) - trunc(%s * %s / %s, %s)', "
							   "p.part_begin, p.part_end, e.spread, "
							   "trim_scale(extract(epoch FROM p.part_end - e.start_time)), e.seconds, scale(e.spread), e.spread, "
							   "trim_scale(extract(epoch FROM p.part_begin - e.start_time)), e.seconds, scale(e.spread)) END AS explanation ");
	else
		appendStringInfo(sql, ", CASE WHEN e.account <> '' THEN e.account ELSE " OWNER_AT("e.start_time")
						 " END AS payer, e.start_time AS part_begin, e.end_time AS part_end, NULL::numeric AS quantity, "
						 "CASE WHEN e.start_time < e.begin_at THEN format('says %%s: the reading before', e.spread) "
						 "ELSE format('says %%s', coalesce(e.spread::text, 'nothing')) END AS explanation ");
	appendStringInfo(sql, "FROM (SELECT e.*, t.begin_at, %s AS spread, trim_scale(extract(epoch FROM e.end_time - e.start_time)) AS seconds ",
					 value_of(definition));
	append_rows(sql, definition, progress, scope);
	if (definition->aggregate == METER_COUNTER)
		appendStringInfoString(sql, " AND e.start_time >= coalesce((SELECT max(i.start_time) FROM instants i "
							   "WHERE i.start_time < t.begin_at), t.begin_at)");
	appendStringInfoString(sql, ") e LEFT JOIN owners o ON o.resource = e.resource");
	if (sum)
		appendStringInfo(sql, " CROSS JOIN LATERAL meter_internal.measure_parts(%s, %s, e.start_time, e.end_time, e.spread, "
						 "e.account, o.since, o.accounts, e.begin_at, %s) p",
						 quote_literal_cstr(definition->period),
						 quote_literal_cstr(definition->timezone), scope->to);
	appendStringInfoString(sql, ") b");
}
