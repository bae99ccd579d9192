/*
 * measures.c
 *	  Measures: the queries over the measure log, and over events as far as they
 *	  say who owns what.
 *
 * As in events.c, every part names each table with its schema, and instants
 * are written into the text where they bound a whole query.  All parts call the
 * row of the measure log e.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/duplicate_keys.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/measures.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "log/segment.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"

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

/* Append the value of a row e: a number, or for unique a text or a number. */
static void
append_value(StringInfo sql, const MeterDefinition *definition)
{
	const char *from = definition->value_from;
	const char *key = quote_literal_cstr(from);

	if (strcmp(from, "value") == 0)
		appendStringInfoString(sql, definition->aggregate == METER_UNIQUE ?
							   "trim_scale(e.value)" : "e.value");
	else if (definition->aggregate != METER_UNIQUE)
		meter_append_number_attribute(sql, from);
	else if (strcmp(from, "entity") == 0)
		appendStringInfoString(sql, METER_ENTITY_OF("e"));
	else if (is_text_column(from))
		appendStringInfo(sql, "e.%s", from);
	else
		appendStringInfo(sql, "CASE jsonb_typeof(e.attributes -> %s) WHEN 'number' "
						 "THEN trim_scale((e.attributes ->> %s)::numeric)::text "
						 "ELSE e.attributes ->> %s END", key, key, key);
}

/* Append a dimension of a row e, after a comma: a column, or an attribute. */
static void
append_dimension(StringInfo sql, const char *name)
{
	if (strcmp(name, "entity") == 0)
		appendStringInfoString(sql, ", " METER_ENTITY_OF("e"));
	else if (strcmp(name, "source") == 0)
		appendStringInfoString(sql, ", e.source");
	else
		appendStringInfo(sql, ", e.attributes ->> %s", quote_literal_cstr(name));
}

/* Return the time of a row of the measure log. */
static char *
row_time(const MeterDefinition *definition, const char *row)
{
	return meter_row_time(meter_placing(definition, METER_LOG_MEASURE), row);
}

/* Return the parameters of the queries of a scope. */
void
meter_measure_params(const MeterMeasureScope *scope, Oid *types, Datum *values)
{
	types[0] = TEXTARRAYOID;
	types[1] = types[2] = TIMESTAMPTZARRAYOID;
	if (scope->resources == NULL)
		values[0] = values[1] = values[2] = (Datum) 0;
	else
		meter_resources_arrays(scope->resources, &values[0], &values[1],
							   &values[2]);
	if (scope->begin_at_readings)
		values[1] = meter_resources_begins(scope->resources);
}

/*
 * Return more conditions, with AND, on rows e in sealed segments of resources t
 * that bear on usage between begin_at and end_at, or with `duplicates` of which
 * these may be duplicates: by their end, of which there is an index.
 */
static const char *
sealed_conditions(const MeterDefinition *definition,
				  const MeterMeasureScope *scope, bool duplicates)
{
	int64		window = duplicates ? definition->deduplication_window : 0;
	int64		longest;

	if (scope->places.sealed == 0)
		return "";
	/* a counter needs the readings before, unless it begins at them */
	if (definition->aggregate == METER_COUNTER)
		return !scope->begin_at_readings && !scope->carried ? "" :
			psprintf(" AND e.end_time >= %s",
					 meter_earlier_by("t.begin_at", window));
	longest = meter_sealed_longest(definition->stream, "measure");
	if (longest < 0)
		return duplicates ? "" : " AND e.end_time >= t.begin_at";
	return psprintf(" AND e.end_time >= %s AND e.end_time <= %s",
					duplicates ? meter_earlier_by(meter_earlier_by("t.begin_at", window), longest) :
					"t.begin_at", meter_later_than("t.end_at", longest));
}

/*
 * Return where the rows of a scope are: the log, or a subquery over its
 * resources t, of each between begin_at and end_at; with `duplicates` those
 * that these may be duplicates of, too.
 */
static const char *
scope_log(const MeterDefinition *definition, const MeterMeasureScope *scope,
		  bool duplicates)
{
	if (scope->resources == NULL)
		return psprintf("%s.measure", quote_identifier(definition->stream));
	return meter_rows_at(&scope->places, definition, METER_LOG_MEASURE,
						 "unnest($1, $2, $3) t (resource, begin_at, end_at)",
						 "e.*, t.begin_at",
						 psprintf("e.resource = t.resource COLLATE \"C\" AND %s < t.end_at",
								  row_time(definition, "e")),
						 sealed_conditions(definition, scope, duplicates));
}

/*
 * Return a subquery for the rows e of the measure log, from before an instant,
 * of the resources t in a list (resource).
 */
char *
meter_measures_of_resources(const MeterDefinition *definition,
							const char *resources, const MeterPlaces *places,
							const char *to)
{
	return meter_rows_at(places, definition, METER_LOG_MEASURE,
						 psprintf("%s t", resources), "e.*",
						 psprintf("e.resource = t.resource AND %s < %s",
								  row_time(definition, "e"), to),
						 "");
}

/* Append conditions, with AND, that a row of the log lies in a scope. */
static void
append_scope(StringInfo sql, const MeterDefinition *definition,
			 const MeterMeasureScope *scope, const char *alias)
{
	const char *time = row_time(definition, alias);

	if (!TIMESTAMP_IS_NOEND(scope->to))
		appendStringInfo(sql, " AND %s < %s", time,
						 meter_timestamp_literal(scope->to));
	if (scope->late_from != NULL)
		appendStringInfo(sql, " AND (%s.arrival <= " INT64_FORMAT
						 " OR %s >= %s)",
						 alias, scope->safe, time, scope->late_from);
	meter_append_none_held(sql, definition, METER_LOG_MEASURE, alias);
}

/* Append the condition, with AND, that a row e bears on usage of a scope. */
static void
append_bears(StringInfo sql, const MeterDefinition *definition,
			 const MeterMeasureScope *scope)
{
	const char *from = scope->resources != NULL ? "e.begin_at" :
	meter_timestamp_literal(scope->from);
	const char *time = row_time(definition, "e");

	if (scope->resources == NULL && TIMESTAMP_IS_NOBEGIN(scope->from))
		return;
	if (definition->aggregate == METER_SUM)
		appendStringInfo(sql, " AND (e.end_time > %s OR e.start_time >= %s)",
						 from, from);
	/* of a counter the readings before count, too, but for a carried one */
	else if (definition->aggregate == METER_COUNTER && !scope->carried &&
			 !TIMESTAMP_IS_NOBEGIN(definition->boundary))
		appendStringInfo(sql, " AND %s >= %s%s", time,
						 meter_timestamp_literal(definition->boundary),
						 scope->begin_at_readings ? psprintf(" AND %s >= e.begin_at", time) : "");
	else if (definition->aggregate != METER_COUNTER || scope->carried ||
			 scope->begin_at_readings)
		appendStringInfo(sql, " AND %s >= %s", time, from);
}

/* Return a query of the voids that bear on measures of a scope, or NULL. */
static const char *
scope_voids(const MeterDefinition *definition, const MeterProgress *progress,
			const MeterMeasureScope *scope)
{
	bool		asked = scope->resources != NULL;

	if (scope->voids_from_log)
		return meter_logged_voids(definition, &scope->events, scope->late_from,
								  meter_known_to_count(progress, METER_LOG_EVENT),
								  asked);
	return meter_noted_voids(definition,
							 scope->carried && !asked ? scope->least_start : DT_NOBEGIN,
							 scope->to, asked);
}

/*
 * Return a query of the measures of a meter in a scope, with the columns of
 * the fold: the time is the start, of a counter the end; the source is the text
 * whose values unique counts; then arrival, entity, end, and start.
 */
char *
meter_measures_query(const MeterDefinition *definition,
					 const MeterProgress *progress,
					 const MeterMeasureScope *scope)
{
	bool		unique = definition->aggregate == METER_UNIQUE;
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, " METER_SQL_KIND(MEASURE) "::\"char\", e.resource, e.account, ",
					 row_time(definition, "e"));
	if (unique)
		appendStringInfoString(&sql, "NULL::numeric, (");
	append_value(&sql, definition);
	appendStringInfo(&sql, "%s, NULL::jsonb, NULL::bigint, %s, %s, e.end_time, e.start_time",
					 unique ? ")::text" : ", NULL::text",
					 scope->arrivals ? "e.arrival" : "NULL::bigint",
					 definition->entity == NULL ? METER_ENTITY_OF("e") : "NULL::text");
	for (i = 0; i < definition->ndimensions; i++)
		append_dimension(&sql, definition->dimension_names[i]);
	appendStringInfo(&sql, " FROM %s e WHERE true",
					 scope_log(definition, scope, false));
	append_scope(&sql, definition, scope, "e");
	append_bears(&sql, definition, scope);
	if (definition->entity != NULL)
		appendStringInfo(&sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
	meter_append_not_voided(&sql, definition, METER_LOG_MEASURE,
							scope_voids(definition, progress, scope));
	if (scope->duplicates.count > 0)
		appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s d WHERE d.arrival = e.arrival)",
						 scope->duplicates.name);
	return sql.data;
}

/* Return the start of the earliest measure that straddles the scope's begin. */
static TimestampTz
first_straddler(const MeterDefinition *definition,
				const MeterMeasureScope *scope)
{
	const char *from = meter_timestamp_literal(scope->from);
	TimestampTz first = DT_NOEND;

	if (definition->aggregate != METER_SUM)
		return first;
	meter_execute_row(psprintf("SELECT min(e.start_time) FROM %s.measure e WHERE e.start_time < %s AND e.end_time > %s",
							   quote_identifier(definition->stream), from,
							   from));
	(void) meter_result_instant(1, &first);
	return first;
}

/*
 * Find the rows of a scope that are duplicates, as meter_find_duplicates()
 * does among events.
 */
void
meter_find_measure_duplicates(const MeterDefinition *definition,
							  const MeterProgress *progress,
							  MeterMeasureScope *scope)
{
	int64		window = definition->deduplication_window;
	const char *log = scope_log(definition, scope, true);
	Oid			types[METER_MEASURE_NPARAMS + 1];
	Datum		values[METER_MEASURE_NPARAMS + 1];
	StringInfoData conditions;
	const char *suspects_query = NULL;
	char	   *rows = NULL;

	meter_measure_params(scope, types, values);
	types[METER_MEASURE_NPARAMS] = INT8ARRAYOID;
	values[METER_MEASURE_NPARAMS] = (Datum) 0;
	initStringInfo(&conditions);
	appendStringInfoString(&conditions, "c.id IS NOT NULL");
	append_scope(&conditions, definition, scope, "c");
	/* of few resources, the rows themselves tell */
	if (scope->carried && scope->resources == NULL)
	{
		TimestampTz first = first_straddler(definition, scope);
		MeterSuspects suspects;

		scope->least_start = Min(scope->from, first);
		meter_find_suspects(definition, progress, METER_LOG_MEASURE,
							scope->from, scope->to, first, &suspects);
		if (suspects.count == 0)
			return;
		values[METER_MEASURE_NPARAMS] = suspects.hashes;
		appendStringInfo(&conditions, " AND %s >= %s",
						 row_time(definition, "c"),
						 meter_timestamp_literal(meter_later_by(scope->least_start, -window)));
		suspects_query = "SELECT unnest($4)";
		rows = meter_suspect_rows(definition, progress, METER_LOG_MEASURE,
								  &suspects);
	}
	meter_keep_rows(&scope->duplicates, "measure_duplicates",
					meter_duplicates_query(meter_placing(definition, METER_LOG_MEASURE),
										   rows != NULL ? rows : log,
										   conditions.data, suspects_query,
										   scope->resources != NULL, window),
					lengthof(types), types, values);
}

/*
 * Tell whether each reading that is a number of the counter counts, whatever was
 * read before, and whether what follows depends on it alone: none but these is
 * ever passed over.
 */
static bool
each_reading_counts(const MeterDefinition *definition)
{
	return definition->drops == METER_DROPS_RESET &&
		definition->begins != METER_BEGINS_START;
}

/*
 * Tell whether a reading counts if none before it is greater, and what follows
 * then depends on it alone.
 */
static bool
each_greatest_counts(const MeterDefinition *definition)
{
	return definition->drops == METER_DROPS_IGNORE &&
		definition->modulus == NULL && definition->begins != METER_BEGINS_START;
}

/* Append conditions, with AND, that a row e is a number of the counter. */
static void
append_counts(StringInfo sql, const MeterDefinition *definition,
			  const MeterMeasureScope *scope)
{
	appendStringInfoString(sql, " AND ");
	append_value(sql, definition);
	appendStringInfoString(sql, " >= 0");
	if (definition->modulus != NULL)
	{
		appendStringInfoString(sql, " AND ");
		append_value(sql, definition);
		appendStringInfo(sql, " < %s::numeric",
						 quote_literal_cstr(definition->modulus));
	}
	if (!TIMESTAMP_IS_NOBEGIN(definition->boundary))
		appendStringInfo(sql, " AND e.end_time >= %s",
						 meter_timestamp_literal(definition->boundary));
	append_scope(sql, definition, scope, "e");
	if (definition->entity != NULL)
		appendStringInfo(sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
	meter_append_not_voided(sql, definition, METER_LOG_MEASURE,
							meter_noted_voids(definition, DT_NOBEGIN, scope->to, true));
}

/* Return the dimensions of a row e as an array. */
static char *
dimensions_array(const MeterDefinition *definition)
{
	StringInfoData dimensions;
	int			i;

	initStringInfo(&dimensions);
	for (i = 0; i < definition->ndimensions; i++)
		append_dimension(&dimensions, definition->dimension_names[i]);
	return psprintf("ARRAY[%s]::text[]",
					dimensions.len > 0 ? dimensions.data + 2 : "");
}

/*
 * Return a query (resource, dimensions, bound) for what no reading of a series,
 * up to end_at of a resource of a scope, exceeds that counts or did: the last
 * before begin_at that counts, and those that follow it.
 */
static char *
bounds(const MeterDefinition *definition, const MeterMeasureScope *scope,
	   const char *dimensions, const char *value)
{
	return psprintf("SELECT resource, dimensions, max(value) AS bound FROM ("
					"SELECT resource, dimensions, value FROM readings_before UNION ALL "
					"SELECT e.resource, %s, %s FROM %s e) b GROUP BY 1, 2",
					dimensions, value,
					meter_rows_at(&scope->places, definition, METER_LOG_MEASURE,
								  "unnest($1, $2, $3) t (resource, begin_at, end_at)",
								  "e.*",
								  "e.resource = t.resource COLLATE \"C\" AND e.end_time >= t.begin_at AND e.end_time <= t.end_at",
								  ""));
}

/*
 * Return a query (resource, dimensions, end_time, arrival, value) for a reading
 * of each carried series of the resources t of a scope: the last before begin_at
 * on which what follows depends, or the first after end_at that counts whatever
 * changed before.
 */
static char *
nearest_readings(const MeterDefinition *definition,
				 const MeterMeasureScope *scope, bool before)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *dimensions = dimensions_array(definition);
	bool		greatest = each_greatest_counts(definition);
	const char *beyond = before ? "e.end_time < t.begin_at" : "e.end_time > t.end_at";
	const char *bound = "";
	const char *order = !before ? "end_time" :
	greatest ? "value DESC, end_time DESC" : "end_time DESC";
	StringInfoData counts;
	StringInfoData value;

	initStringInfo(&value);
	append_value(&value, definition);
	initStringInfo(&counts);
	append_counts(&counts, definition, scope);
	if (greatest && !before)
	{
		bound = psprintf(", k AS MATERIALIZED (%s)",
						 bounds(definition, scope, dimensions, value.data));
		appendStringInfo(&counts, " AND %s >= coalesce((SELECT k.bound FROM k WHERE k.resource = t.resource AND k.dimensions = %s), 0)",
						 value.data, dimensions);
	}
	return psprintf("WITH t AS MATERIALIZED (SELECT resource COLLATE \"C\" AS resource, begin_at, end_at "
					"FROM unnest($1, $2, $3) t (resource, begin_at, end_at))%s "
					"SELECT DISTINCT ON (resource, dimensions) resource, dimensions, end_time, arrival, value FROM ("
					"SELECT t.resource, c.dimensions, l.end_time, l.arrival, l.value FROM t "
					"CROSS JOIN LATERAL (SELECT c.dimensions FROM %s._counter_state c WHERE c.meter = %s "
					"AND c.hash = meter_internal.resource_hash(%s, %s, t.resource) AND c.resource = t.resource OFFSET 0) c "
					"CROSS JOIN LATERAL (SELECT e.end_time, e.arrival, %s AS value FROM %s.measure e WHERE e.arrival < " INT64_FORMAT
					" AND e.resource = t.resource AND %s AND c.dimensions = %s%s "
					"ORDER BY %s LIMIT 1) l UNION ALL "
					"SELECT t.resource, %s, e.end_time, e.arrival, %s FROM t, %s e "
					"WHERE e.arrival >= " INT64_FORMAT " AND e.resource = t.resource AND %s%s) r "
					"ORDER BY resource, dimensions, %s",
					bound, schema, meter, quote_literal_cstr(definition->stream),
					meter, value.data, schema, scope->places.sealed, beyond,
					dimensions, counts.data, order,
					dimensions, value.data,
					meter_newest_rows(&scope->places, definition, METER_LOG_MEASURE),
					scope->places.sealed, beyond, counts.data, order);
}

/* Tell whether rows are sealed that arrived after the position of before. */
static bool
any_unread(const MeterDefinition *definition, const MeterLogProgress *log,
		   int64 sealed)
{
	if (sealed <= log->position_before)
		return false;
	meter_execute(psprintf("SELECT FROM %s.measure WHERE arrival > " INT64_FORMAT
						   " AND arrival < " INT64_FORMAT " LIMIT 1",
						   quote_identifier(definition->stream),
						   log->position_before, sealed), SPI_OK_SELECT);
	return SPI_processed > 0;
}

/* Have the resources of a scope begin with the readings before them. */
static void
begin_at_readings(MeterMeasureScope *scope)
{
	uint64		row;
	bool		isnull;
	int64		i;

	for (i = 0; i < scope->resources->count; i++)
		scope->resources->list[i].begin = scope->resources->list[i].from;
	meter_execute("SELECT resource, min(end_time) FROM readings_before GROUP BY 1",
				  SPI_OK_SELECT);
	for (row = 0; row < SPI_processed; row++)
	{
		MeterResource *resource = meter_resources_find(scope->resources,
													   meter_attr_from_text(meter_result(row, 1, &isnull)));

		resource->begin = Min(resource->begin,
							  DatumGetTimestampTz(meter_result(row, 2, &isnull)));
	}
	scope->begin_at_readings = true;
}

/*
 * Have the resources of a scope end with the period of the reading after what is
 * affected, the last of those of its series.  A series whose carried reading is
 * older has none after that.
 */
static void
end_at_readings(const MeterDefinition *definition, MeterMeasureScope *scope)
{
	Oid			types[METER_MEASURE_NPARAMS];
	Datum		values[METER_MEASURE_NPARAMS];
	uint64		row;
	bool		isnull;

	meter_measure_params(scope, types, values);
	meter_execute_params(psprintf("SELECT t.resource, coalesce(max(coalesce(n.end_time, 'infinity')), '-infinity') "
								  "FROM unnest($1, $2, $3) t (resource, begin_at, end_at) "
								  "LEFT JOIN %s._counter_state c ON c.meter = %s "
								  "AND c.hash = meter_internal.resource_hash(%s, %s, t.resource) AND c.resource = t.resource COLLATE \"C\" "
								  "AND c.\"time\" >= t.begin_at "
								  "LEFT JOIN readings_after n ON n.resource = c.resource AND n.dimensions = c.dimensions GROUP BY 1",
								  quote_identifier(definition->stream),
								  quote_literal_cstr(definition->name),
								  quote_literal_cstr(definition->stream),
								  quote_literal_cstr(definition->name)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	for (row = 0; row < SPI_processed; row++)
	{
		MeterResource *resource = meter_resources_find(scope->resources,
													   meter_attr_from_text(meter_result(row, 1, &isnull)));
		TimestampTz next = DatumGetTimestampTz(meter_result(row, 2, &isnull));

		resource->to = Max(resource->to, next);
		if (!TIMESTAMP_NOT_FINITE(resource->to))
			resource->to = meter_grid_period_end(definition->grid, resource->to);
		resource->to = Min(resource->to, scope->to);
	}
}

/*
 * Have all that is read of a resource counted: from its first reading on, and
 * up to the end of the scope.
 */
static void
read_whole(const MeterMeasureScope *scope, MeterResource *resource)
{
	resource->begin = DT_NOBEGIN;
	resource->to = scope->to;
}

/*
 * Have resources of a scope read whole whose nearest readings are duplicates:
 * other ones beyond them count.  Returns whether there are any.
 */
static bool
read_past_duplicates(const MeterMeasureScope *scope)
{
	bool		any;
	uint64		row;
	bool		isnull;

	if (scope->duplicates.count == 0)
		return false;
	meter_execute(psprintf("SELECT DISTINCT r.resource FROM (SELECT resource, arrival FROM readings_before "
						   "UNION ALL SELECT resource, arrival FROM readings_after) r JOIN %s d ON d.arrival = r.arrival",
						   scope->duplicates.name), SPI_OK_SELECT);
	any = SPI_processed > 0;
	for (row = 0; row < SPI_processed; row++)
		read_whole(scope, meter_resources_find(scope->resources,
											   meter_attr_from_text(meter_result(row, 1, &isnull))));
	return any;
}

/*
 * Of the resources of a scope, each affected from `from` to its last affected
 * reading, `to`, have those periods computed that may change; and find
 * duplicates.
 *
 * If each reading counts, what a reading adds depends on it and on the one
 * before.  So the resource is read from the last reading of each series before
 * what is affected; and after the first reading behind it, which counts whatever
 * changed, nothing changes: neither usage nor what is carried.
 *
 * If drops are ignored, and nothing else is passed over for what came before, a
 * reading counts unless an earlier one is greater.  So it is read from the
 * greatest before what is affected, of these the last; and the first reading
 * behind it counts whatever changed that is not less than any that did count or
 * does.
 *
 * Where a modulus or a start is compared with what came before, all readings
 * before may matter, and all of the resource is read.  `carried`: what is carried
 * is known, and written.
 */
void
meter_bound_by_readings(const MeterDefinition *definition,
						const MeterProgress *progress,
						MeterMeasureScope *scope, bool carried)
{
	Oid			types[METER_MEASURE_NPARAMS];
	Datum		values[METER_MEASURE_NPARAMS];
	MeterRows	before = {0};
	MeterRows	after = {0};
	int64		i;

	/* of what no step has looked at, the carried readings know nothing */
	if (!carried ||
		!(each_reading_counts(definition) || each_greatest_counts(definition)) ||
		scope->places.sealed == 0 ||
		any_unread(definition, &progress->logs[METER_LOG_MEASURE],
				   scope->places.sealed))
	{
		for (i = 0; i < scope->resources->count; i++)
			read_whole(scope, &scope->resources->list[i]);
		meter_find_measure_duplicates(definition, progress, scope);
		return;
	}
	meter_measure_params(scope, types, values);
	meter_keep_rows(&before, "readings_before",
					nearest_readings(definition, scope, true),
					lengthof(types), types, values);
	meter_keep_rows(&after, "readings_after",
					nearest_readings(definition, scope, false),
					lengthof(types), types, values);
	end_at_readings(definition, scope);
	begin_at_readings(scope);
	meter_find_measure_duplicates(definition, progress, scope);
	if (read_past_duplicates(scope))
	{
		meter_forget_rows(&scope->duplicates);
		meter_find_measure_duplicates(definition, progress, scope);
	}
	meter_forget_rows(&after);
	meter_forget_rows(&before);
}

/*
 * Append a query (resource, at) for when the first owner of resources is named,
 * or the first of those of their kinds of things of which that is latest; of
 * `others`, that of kinds of things that no name has.
 */
static void
append_first_owners(StringInfo sql, const MeterDefinition *definition,
					const char *names, bool others)
{
	if (definition->entity != NULL)
		appendStringInfo(sql, "SELECT resource, min(at) AS at FROM %s GROUP BY 1", names);
	else if (others)
		appendStringInfo(sql, "SELECT resource, min(at) AS at FROM %s WHERE entity = '' GROUP BY 1", names);
	else
		appendStringInfo(sql, "SELECT resource, max(least(at, of_all)) AS at FROM "
						 "(SELECT resource, entity, min(at) AS at, min(min(at)) FILTER (WHERE entity = '') OVER (PARTITION BY resource) AS of_all "
						 "FROM %s GROUP BY 1, 2) f GROUP BY 1", names);
}

/*
 * Of the resources asked for, have those begin with their first measure before
 * `to` whose first owner may have changed: an event at or before the first that
 * names an owner may be why that is the first.  `owners` is a query of the rows
 * that name owners, with the parameters of their scope; where there are
 * duplicates among them, those that do not count may be of another entity.
 */
void
meter_look_back_to_owners(const MeterDefinition *definition,
						  MeterResources *asked,
						  const MeterPlaces *places, TimestampTz to,
						  const char *owners, bool duplicates,
						  const Oid *types, const Datum *values)
{
	MeterResources *named = meter_resources_begin();
	Oid			all_types[4] = {types[0], TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID};
	Datum		all_values[4] = {values[0]};
	StringInfoData sql;
	uint64		row;
	int64		i;
	bool		isnull;

	for (i = 0; i < asked->count; i++)
	{
		MeterResource *resource;

		if (TIMESTAMP_IS_NOEND(asked->list[i].named_from))
			continue;
		resource = meter_resources_add(named, asked->list[i].name);
		resource->from = asked->list[i].named_from;
		resource->to = duplicates ? resource->from :
			asked->list[i].named_all_from;
	}
	if (named->count == 0)
		return;
	meter_resources_arrays(named, &all_values[1], &all_values[2],
						   &all_values[3]);
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH o (at, kind, resource, account, value, source, owners, sequence, arrival, entity) AS MATERIALIZED (%s), "
					 "v AS MATERIALIZED (SELECT o.resource, coalesce(o.entity, '') AS entity, o.at FROM o WHERE %s "
	/* at the retention boundary, kinds of things are told apart already */
					 "UNION ALL SELECT o.resource, k.key, o.at FROM o CROSS JOIN jsonb_each_text(o.owners) k WHERE k.value IS NOT NULL), "
					 "e AS (", owners,
					 definition->entity == NULL ? "o.account <> '' AND " METER_IS_OWNER("o.kind") :
					 "(o.account <> '' OR " METER_IS_KIND("o.kind", CARRIED_CLOSED) ")");
	append_first_owners(&sql, definition, "v", false);
	appendStringInfoString(&sql, "), a AS (");
	append_first_owners(&sql, definition, "v", true);
	/* where the first measure of each begins */
	appendStringInfo(&sql, "), n AS MATERIALIZED (SELECT r.resource COLLATE \"C\" AS resource FROM unnest($2, $3, $4) r (resource, of_some, of_all) "
					 "LEFT JOIN e ON e.resource = r.resource COLLATE \"C\" LEFT JOIN a ON a.resource = r.resource COLLATE \"C\" "
					 "WHERE r.of_some <= coalesce(e.at, 'infinity')%s) "
					 "SELECT m.resource, min(%s) FROM %s m GROUP BY 1",
					 definition->entity != NULL ? "" :
					 " OR (r.of_all < 'infinity' AND r.of_all <= coalesce(a.at, 'infinity'))",
					 row_time(definition, "m"),
					 meter_measures_of_resources(definition, "n", places,
												 meter_timestamp_literal(to)));
	meter_execute_params(sql.data, SPI_OK_SELECT, 4, all_types, all_values,
						 NULL);
	for (row = 0; row < SPI_processed; row++)
	{
		MeterAttr	name = meter_attr_from_text(meter_result(row, 1, &isnull));
		TimestampTz first = DatumGetTimestampTz(meter_result(row, 2, &isnull));
		MeterResource *resource = meter_resources_find(asked, name);

		resource->from = Min(resource->from, first);
		resource->to = DT_NOEND;
	}
}

/* Return a query for the instant of a meter's earliest measure. */
char *
meter_earliest_measure(const MeterDefinition *definition, const MeterProgress *progress)
{
	MeterMeasureScope scope = {
		.to = DT_NOEND,
		.late_from = meter_late_from(definition, progress),
		.safe = meter_known_to_count(progress, METER_LOG_MEASURE)
	};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT min(%s) FROM %s.measure e WHERE true",
					 row_time(definition, "e"),
					 quote_identifier(definition->stream));
	if (definition->entity != NULL)
		appendStringInfo(&sql, " AND e.entity = %s",
						 quote_literal_cstr(definition->entity));
	append_scope(&sql, definition, &scope, "e");
	return sql.data;
}

/*
 * Return FROM and WHERE of the rows e of the measure log that arrived after
 * the position, up to `safe` (all, if it is negative), and may change settled
 * periods of the meter, or are to be held.
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
	appendStringInfo(&sql, " AND (%s < %s", row_time(definition, "e"),
					 meter_timestamp_literal(progress->has_watermark ?
											 progress->watermark : DT_NOBEGIN));
	meter_append_too_late(&sql, definition, progress, METER_LOG_MEASURE);
	appendStringInfoString(&sql, ") AND ");
	if (definition->entity != NULL)
		appendStringInfo(&sql, "(e.id IS NOT NULL OR e.entity = %s) AND ",
						 quote_literal_cstr(definition->entity));
	meter_append_not_held(&sql, definition, METER_LOG_MEASURE, "e");
	return sql.data;
}
