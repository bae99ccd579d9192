/*
 * odd_rows.c
 *	  Classes of meter.anomalies() that are about what rows of the logs come to
 *	  beside the meters: rows that count for none, voids that take nothing back,
 *	  rows that say that they are odd, and what counters counted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "commands/asked.h"
#include "commands/odd_rows.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/measure_fold.h"
#include "engine/places.h"
#include "engine/resources.h"
#include "engine/usage_kind.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"

/* --- voids ---------------------------------------------------------------- */

/* Append the condition that a row e of a log counts for a meter, by its kind. */
static void
append_counts_for(StringInfo sql, const MeterDefinition *definition,
				  MeterLog log)
{
	const MeterUsage *usage = meter_usage_of(definition);

	if (log == METER_LOG_EVENT)
		usage->append_event_filter(sql, definition);
	else if (usage->log == METER_LOG_EVENT)
		appendStringInfoString(sql, "false");
	else if (definition->entity == NULL)
		appendStringInfoString(sql, "true");
	else
		appendStringInfo(sql, "e.entity = %s",
						 quote_literal_cstr(definition->entity));
}

/*
 * Append a query (meter, resource, source, id, at) of the rows of a log that
 * have the names n and count for the meters m, of those that place them so, but
 * for voids: those that are not held, and have no lesser duplicate within the
 * window.
 */
static void
append_counted(StringInfo sql, const MeterAsked *asked, List *definitions,
			   MeterPlacing placing, int64 window)
{
	MeterLog	log = placing == METER_BY_TIME ? METER_LOG_EVENT : METER_LOG_MEASURE;
	const char *time = meter_row_time(placing, "c");
	ListCell   *cell;

	appendStringInfo(sql,
					 "SELECT e.meter, e.resource, coalesce(e.source, ''), e.id, e.at "
					 "FROM (SELECT c.*, m.meter, %s AS at, lag(%s) OVER (PARTITION BY m.meter, %s ORDER BY %s) AS before "
					 "FROM %s.%s c JOIN n ON n.resource = c.resource AND n.source = coalesce(c.source, '') AND n.id = c.id "
					 "CROSS JOIN m WHERE %s%sNOT EXISTS (SELECT FROM %s.held h "
					 "WHERE h.meter = m.meter AND h.log = '%s' AND h.arrival = c.arrival)) e "
					 "WHERE (e.before IS NULL OR e.before < %s) AND CASE e.meter",
					 time, time, meter_row_name(log, "c"),
					 meter_row_order(placing, "c"), asked->schema,
					 meter_log_names[log],
					 asked->resource == 0 ? "" : "c.resource = $1 COLLATE \"C\" AND ",
					 log == METER_LOG_MEASURE ? "" :
					 "c.action <> 'void' AND NOT starts_with(c.action, 'reconciled:') AND ",
					 asked->schema, meter_log_names[log],
					 meter_earlier_by("e.at", window));
	foreach(cell, definitions)
	{
		const MeterDefinition *definition = lfirst(cell);

		appendStringInfo(sql, " WHEN %s THEN ",
						 quote_literal_cstr(definition->name));
		if (meter_placing(definition, log) == placing)
			append_counts_for(sql, definition, log);
		else
			appendStringInfoString(sql, "false");
	}
	appendStringInfoString(sql, " END");
}

/*
 * Voids that take back nothing that counted for any meter.  What a void reached
 * behind a retention boundary is not known any more.
 */
void
meter_void_of_nothing(MeterAsked *asked)
{
	List	   *definitions = meter_asked_meters(asked);
	TimestampTz boundary = DT_NOBEGIN;
	StringInfoData sql;
	ListCell   *cell;
	int64		window;

	if (definitions == NIL || asked->meter != NULL)
		return;
	window = ((MeterDefinition *) linitial(definitions))->deduplication_window;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH m (meter) AS (VALUES ");
	foreach(cell, definitions)
	{
		const MeterDefinition *definition = lfirst(cell);

		appendStringInfo(&sql, "%s(%s::text COLLATE \"C\")",
						 cell == list_head(definitions) ? "" : ", ",
						 quote_literal_cstr(definition->name));
		boundary = Max(boundary, definition->boundary);
	}
	appendStringInfo(&sql, "), v AS MATERIALIZED (SELECT e.resource, coalesce(e.source, '') AS source, e.id, e.\"time\", e.arrival "
					 "FROM %s.event e WHERE e.action = 'void'%s",
					 asked->schema, meter_asked_rows(asked, "e.\"time\""));
	if (!TIMESTAMP_IS_NOBEGIN(boundary))
		appendStringInfo(&sql, " AND e.\"time\" >= %s",
						 meter_timestamp_literal(meter_later_by(boundary, window)));
	appendStringInfoString(&sql, "), n AS MATERIALIZED (SELECT DISTINCT v.resource, v.source, v.id FROM v WHERE v.id IS NOT NULL), "
						   "counted AS MATERIALIZED (SELECT meter, resource, source, id, array_agg(at ORDER BY at) AS times FROM (");
	append_counted(&sql, asked, definitions, METER_BY_TIME, window);
	appendStringInfoString(&sql, " UNION ALL ");
	append_counted(&sql, asked, definitions, METER_BY_START, window);
	appendStringInfoString(&sql, " UNION ALL ");
	append_counted(&sql, asked, definitions, METER_BY_END, window);
	appendStringInfo(&sql, ") c (meter, resource, source, id, at) GROUP BY 1, 2, 3, 4), "
	/* voids that are held act on nothing, and are told of as such */
					 "acts AS MATERIALIZED (SELECT v.*, m.meter FROM v CROSS JOIN m WHERE NOT EXISTS (SELECT FROM %s.held h "
					 "WHERE h.meter = m.meter AND h.log = 'event' AND h.arrival = v.arrival)) "
					 "SELECT NULL::text, a.resource, a.\"time\", a.arrival, CASE WHEN a.id IS NULL "
					 "THEN 'it names no id, so it takes back nothing' "
					 "ELSE format('it takes back nothing: no row of source %%L and id %%L counts that is at most the deduplication window away', a.source, a.id) END "
					 "FROM acts a LEFT JOIN counted c ON c.meter = a.meter AND c.resource = a.resource AND c.source = a.source AND c.id = a.id "
					 "GROUP BY a.resource, a.source, a.id, a.\"time\", a.arrival "
					 "HAVING NOT bool_or(coalesce(meter_internal.any_between(c.times, %s, %s), false)) ORDER BY a.arrival",
					 asked->schema, meter_earlier_by("a.\"time\"", window),
					 meter_later_than("a.\"time\"", window));
	meter_return_anomalies(asked, "void of nothing", sql.data);
}

/* --- what no meter counts ------------------------------------------------- */

/* Append an array of what all meters' arrays of texts have. */
static void
append_actions(StringInfo sql, List *definitions)
{
	ListCell   *cell;

	appendStringInfoString(sql, "('{}'::text[]");
	foreach(cell, definitions)
	{
		const MeterDefinition *definition = lfirst(cell);

		if (meter_usage_of(definition)->log == METER_LOG_EVENT)
			appendStringInfo(sql, " || %s || %s || %s || %s",
							 meter_text_array_literal(definition->starts),
							 meter_text_array_literal(definition->stops),
							 meter_text_array_literal(definition->changes),
							 meter_text_array_literal(definition->ends));
	}
	appendStringInfoString(sql, ")");
}

/*
 * Actions and entities that no meter counts: a row for each, with the last of
 * their times and arrivals.  Where no meter lists an action, its entities do
 * not matter.
 */
void
meter_not_counted(MeterAsked *asked)
{
	List	   *definitions = meter_asked_meters(asked);
	MeterLog	log;

	if (definitions == NIL || asked->meter != NULL)
		return;
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		bool		events = log == METER_LOG_EVENT;
		const char *time = meter_row_time(meter_asked_placing(asked, log), "e");
		StringInfoData sql;
		ListCell   *cell;

		initStringInfo(&sql);
		appendStringInfo(&sql,
						 "SELECT NULL::text, $1::text, max(e.at), max(e.arrival), "
						 "format('no meter counts %s%%s', %sCASE WHEN e.whole THEN '' "
						 "WHEN e.of_entity IS NULL THEN ' without an entity' ELSE format(' of entity %%I', e.of_entity) END), count(*) FROM ("
						 "SELECT %s AS at, e.arrival, c.action, c.whole, CASE WHEN NOT c.whole THEN " METER_ENTITY_OF("e") " END AS of_entity "
						 "FROM %s.%s e CROSS JOIN LATERAL (SELECT ",
						 events ? "action %I" : "measures",
						 events ? "e.action, " : "", time,
						 asked->schema, meter_log_names[log]);
		if (events)
		{
			appendStringInfoString(&sql, "e.action, e.action <> ALL ");
			append_actions(&sql, definitions);
		}
		else
			appendStringInfoString(&sql, "NULL::text, false");
		appendStringInfo(&sql, ") c (action, whole) WHERE %s(",
						 events ? "e.action <> 'void' AND NOT starts_with(e.action, 'reconciled:') AND " : "");
		foreach(cell, definitions)
		{
			appendStringInfoString(&sql, cell == list_head(definitions) ? "(" : " OR (");
			append_counts_for(&sql, lfirst(cell), log);
			appendStringInfoString(&sql, ")");
		}
		appendStringInfo(&sql, ") IS NOT TRUE%s) e GROUP BY e.action, e.whole, e.of_entity ORDER BY e.action, e.of_entity",
						 meter_asked_rows(asked, time));
		meter_return_counted_anomalies(asked, "not counted", sql.data);
	}
}

/* Rows of one source and id with other actions that the meter counts alike. */
void
meter_other_action(MeterAsked *asked, const MeterDefinition *definition,
				   const MeterProgress *progress pg_attribute_unused())
{
	const Datum actions[] = {definition->starts, definition->stops, definition->changes, definition->ends};
	const char *key = meter_row_key(METER_LOG_MEASURE, "e");
	StringInfoData kind;
	StringInfoData rows;
	bool		alike = false;
	int			i;

	if (meter_usage_of(definition)->log != METER_LOG_EVENT)
		return;
	initStringInfo(&kind);
	appendStringInfoString(&kind, "CASE");
	for (i = 0; i < (int) lengthof(actions); i++)
	{
		ArrayType  *array = DatumGetArrayTypeP(actions[i]);

		alike |= ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > 1;
		appendStringInfo(&kind, " WHEN e.action = ANY (%s) THEN %d",
						 meter_text_array_literal(actions[i]), i);
	}
	appendStringInfoString(&kind, " END");
	if (!alike)
		return;

	/* whatever their time: the other row may lie before what is asked for */
	initStringInfo(&rows);
	appendStringInfo(&rows, "%s.event e WHERE e.id IS NOT NULL AND NOT starts_with(e.action, 'reconciled:')%s AND ",
					 asked->schema, meter_asked_resource(asked));
	meter_append_event_filter(&rows, definition);
	meter_append_none_held(&rows, definition, METER_LOG_EVENT, "e");
	meter_return_anomalies(asked, "same name, other action",
						   psprintf("SELECT %s::text, c.resource, c.\"time\", c.arrival, "
									"format('arrival %%s has the same source and id, and the action %%I, which counts alike', c.other, c.action_before) "
									"FROM (SELECT e.*, lag(e.action) OVER w AS action_before, lag(e.arrival) OVER w AS other, "
									"lag(e.\"time\") OVER w AS before FROM %s AND (%s, %s) IN "
									"(SELECT %s, %s FROM %s GROUP BY 1, 2 HAVING min(e.action) <> max(e.action)) "
									"WINDOW w AS (PARTITION BY %s, %s ORDER BY %s)) c "
									"WHERE c.action <> c.action_before AND c.before >= %s ORDER BY c.arrival",
									quote_literal_cstr(definition->name),
									rows.data, key, kind.data, key, kind.data,
									rows.data, meter_row_name(METER_LOG_MEASURE, "e"),
									kind.data, meter_row_order(METER_BY_TIME, "e"),
									meter_earlier_by("c.\"time\"", definition->deduplication_window)));
}

/* --- observations --------------------------------------------------------- */

/* Return the observations that meet a condition. */
static void
return_observations(MeterAsked *asked, const char *class, const char *condition,
					const char *detail)
{
	meter_return_anomalies(asked, class,
						   psprintf("SELECT e.attributes ->> 'meter', e.resource, e.\"time\", e.arrival, %s "
									"FROM %s.event e WHERE " METER_IS_OBSERVATION("e") " AND %s%s ORDER BY e.arrival",
									detail, asked->schema, condition,
									meter_asked_rows(asked, "e.\"time\"")));
}

/* What the snapshot of a source opened, or took over, that another had. */
void
meter_opened_by_another(MeterAsked *asked)
{
	return_observations(asked, "opened by another source",
						"(e.attributes ? 'belonged_to' OR e.attributes ? 'moved_to')",
						"CASE WHEN e.attributes ? 'moved_to' "
						"THEN format('a snapshot of %I has it, after one of %I did not: it belongs to %1$I from then on', "
						"e.attributes ->> 'moved_to', e.source) "
						"ELSE format('a snapshot of %I has it running, and it belonged to %I', "
						"e.source, e.attributes ->> 'belonged_to') END");
}

/* What snapshots said of a time that is too early to count. */
void
meter_since_too_early(MeterAsked *asked)
{
	return_observations(asked, "since too early",
						"e.attributes ? 'since_too_early'",
						"format('a snapshot of %I said that it ran since %s, which is more than max_lateness before: it counts as not said', "
						"e.source, e.attributes ->> 'since_too_early')");
}

/* --- counters ------------------------------------------------------------- */

/* What is asked of the readings of a counter. */
typedef struct Readings
{
	MeterAsked *asked;
	bool		drops;			/* else what was passed over */
} Readings;

/* Return a number as text. */
static char *
number_text(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(number)));
}

/* Return why a reading was passed over, or what it added. */
static char *
counted_text(const MeterDefinition *definition,
			 const MeterMeasureCounted *counted)
{
	const char *value = number_text(counted->value);
	const char *start = pstrdup(timestamptz_to_str(counted->start));

	switch (counted->counted)
	{
		case METER_PASSED_NEGATIVE:
			return psprintf("it says %s, which is less than 0", value);
		case METER_PASSED_MODULUS:
			return psprintf("it says %s, and the counter goes round at %s",
							value, definition->modulus);
		case METER_PASSED_DROP:
			return psprintf("it says %s, after %s at %s: drops are ignored",
							value, number_text(counted->before->value),
							timestamptz_to_str(counted->before->time));
		case METER_PASSED_START:
			return psprintf("it counts from %s, after one that counts from %s",
							start, timestamptz_to_str(counted->before->start));
		default:
			return psprintf("it dropped from %s to %s%s: %s was added",
							number_text(counted->before->value), value,
							counted->counted == METER_COUNTED_WRAP ? ", and has gone round" : "",
							number_text(counted->added));
	}
}

/* Return that a counter dropped, or that a reading was passed over, if so. */
static void
take_counted(void *arg, const MeterMeasureCounted *counted)
{
	MeterFold  *fold = arg;
	const Readings *readings = fold->look_arg;

	if (!counted->billed ||
		!(readings->drops ? MeterIsDrop(counted->counted) :
		  MeterIsPassedOver(counted->counted)))
		return;
	/* what is written now is not the resource's doing */
	meter_fold_pause();
	meter_put_anomaly(readings->asked,
					  readings->drops ? "counter drop" : "passed over", fold,
					  counted->time, &counted->arrival,
					  counted_text(fold->definition, counted));
	meter_fold_go_on();
}

/* Have a pass find what is asked of the resource that is asked for. */
static void
ask_for_resource(MeterFold *fold, MeterPlaces *places, Datum name)
{
	MeterResources *resources = meter_resources_begin();
	MeterResource *resource = meter_resources_add(resources,
												  meter_attr_from_text(name));
	MeterLog	log;

	resource->from = fold->from;
	resource->to = fold->to;
	fold->asked = resources;
	fold->scope.resources = meter_resources_names(resources);
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
		meter_find_places(&places[log], fold->definition, log,
						  fold->scope.resources, 1);
	fold->scope.places = places[METER_LOG_EVENT];
	fold->measure_places = places[METER_LOG_MEASURE];
}

/* Walk the readings of a counter. */
static void
walk_readings(MeterAsked *asked, const MeterDefinition *definition,
			  const MeterProgress *progress, bool drops)
{
	Readings	readings = {asked, drops};
	MeterPlaces places[METER_NLOGS];
	MeterFold  *fold;
	MeterLog	log;

	if (definition->aggregate != METER_COUNTER)
		return;
	memset(places, 0, sizeof(places));
	fold = meter_fold_begin(meter_usage_of(definition), definition, progress);
	fold->from = Max(definition->since, definition->boundary);
	fold->to = definition->until;
	fold->scope.to = fold->scope.settled_to = DT_NOEND;
	fold->scope.arrivals = true;
	fold->failure = METER_FOLD_LEAVES_OUT;
	fold->look_arg = &readings;
	meter_measure_fold_increases(fold, take_counted);
	if (asked->resource != 0)
		ask_for_resource(fold, places, asked->resource);
	meter_fold_run(fold);
	meter_fold_end(fold);
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
		meter_forget_places(&places[log]);
}

/* Readings of counters that are less than the ones before, and count. */
void
meter_counter_drop(MeterAsked *asked, const MeterDefinition *definition,
				   const MeterProgress *progress)
{
	walk_readings(asked, definition, progress, true);
}

/* Readings of counters that are treated as if they were not there. */
void
meter_passed_over(MeterAsked *asked, const MeterDefinition *definition,
				  const MeterProgress *progress)
{
	walk_readings(asked, definition, progress, false);
}
