/*
 * measure_views.c
 *	  What people ask about measures: anomalies, and why a usage row is what
 *	  it is.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/measure_views.h"
#include "engine/measures.h"
#include "pg/spi.h"

/* What duplicates must agree in. */
#define DUPLICATE_CONTENT \
	"ROW(e.start_time, e.end_time, e.account, e.entity, e.value, e.attributes)::text"

/*
 * Append branches of the view anomaly about the measure log: rows that are
 * held, rows of the future, and duplicates that differ.
 */
void
meter_append_measure_anomaly(StringInfo sql, const char *stream,
							 const char *deduplication_window)
{
	const char *schema = quote_identifier(stream);

	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT 'too late', h.meter, e.resource, h.\"time\", h.arrival, "
					 "format('measure, held since %%s: meter.release(%%L, %%L, ARRAY[%%s]) lets it count', "
					 "h.held_at, %s::text, h.meter, h.arrival) "
					 "FROM %s.held h JOIN %s.measure e ON e.arrival = h.arrival WHERE h.log = 'measure' "
					 "AND NOT EXISTS (SELECT FROM %s._voided v WHERE v.meter = h.meter AND v.resource = e.resource "
					 "AND v.source = coalesce(e.source, '') AND v.id = e.id) ",
					 quote_literal_cstr(stream), schema, schema, schema);
	appendStringInfo(sql,
					 "UNION ALL "
					 "SELECT 'in the future', NULL, e.resource, e.start_time, e.arrival, "
					 "'measure: counts when the watermark gets there' "
					 "FROM %s.measure e WHERE e.start_time > meter_internal.clock_now() + '5 minutes'::interval ",
					 schema);
	appendStringInfo(sql,
					 "UNION ALL "
					 "SELECT 'conflicting duplicate', NULL, c.resource, c.start_time, c.arrival, "
					 "format('measure: arrival %%s has the same source and id, and says something else', c.other) "
					 "FROM (SELECT e.resource, e.start_time, e.arrival, %s AS content, "
					 "lag(%s) OVER w AS content_before, lag(e.arrival) OVER w AS other, "
					 "e.start_time - lag(e.start_time) OVER w AS since_other "
					 "FROM %s.measure e WHERE e.id IS NOT NULL "
					 "WINDOW w AS (PARTITION BY e.resource, coalesce(e.source, ''), e.id "
					 "ORDER BY e.start_time, e.end_time, e.arrival)) c "
					 "WHERE c.content <> c.content_before AND c.since_other <= %s::interval",
					 DUPLICATE_CONTENT, DUPLICATE_CONTENT, schema,
					 quote_literal_cstr(deduplication_window));
}

/*
 * Append branches of the view anomaly about a meter of measures: unknown
 * accounts, and values that are no numbers.
 */
void
meter_append_measure_meter_anomaly(StringInfo sql,
								   const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT 'unknown account', %s::text, r.resource, r.unnamed_since, NULL, "
					 "'neither its measures nor an event has named its account: what it uses is billed to nobody' "
					 "FROM %s._resource_state r WHERE r.meter = %s AND r.account IS NULL "
					 "AND r.unnamed_since IS NOT NULL",
					 meter, schema, meter);
	if (definition->aggregate != METER_UNIQUE &&
		strcmp(definition->value_from, "value") != 0)
	{
		const char *key = quote_literal_cstr(definition->value_from);

		appendStringInfo(sql,
						 " UNION ALL "
						 "SELECT 'not a number', %s::text, e.resource, e.start_time, e.arrival, "
						 "format('attribute %%I says %%s, which counts for nothing', %s, e.attributes -> %s) "
						 "FROM %s.measure e WHERE e.attributes ->> %s IS NOT NULL AND ",
						 meter, key, key, schema, key);
		if (definition->entity != NULL)
			appendStringInfo(sql, "e.entity = %s AND ",
							 quote_literal_cstr(definition->entity));
		meter_append_number_attribute(sql, definition->value_from);
		appendStringInfoString(sql, " IS NULL");
	}
}

/*
 * Implement explain() for a row of a meter of measures.  The whole resource is
 * computed as a recompute does it, from the period of the row on.
 */
void
meter_explain_measures(FunctionCallInfo fcinfo, const MeterDefinition *definition, const MeterProgress *progress,
					   const char *uuid, const char *account,
					   const char *resource, const char *dimensions,
					   TimestampTz period_start, int64 settlement)
{
	MeterMeasureScope scope = {0};
	MeterScope	events = {0};
	StringInfoData sql;
	TimestampTz period_end = meter_grid_period_end(definition->grid,
												   period_start);
	const char *schema = quote_identifier(definition->stream);
	const char *begin = meter_timestamp_literal(period_start);
	const char *end = meter_timestamp_literal(period_end);
	const char *meter = quote_literal_cstr(definition->name);
	const char *who = quote_literal_cstr(account);
	const char *what = quote_literal_cstr(resource);
	const char *key = quote_literal_cstr(dimensions);
	const char *names = psprintf("%s, %s, %s, %s",
								 quote_literal_cstr(definition->stream),
								 meter, what, begin);

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH affected AS MATERIALIZED (SELECT %s::text COLLATE \"C\" AS resource, %s AS begin_at), ",
					 what, begin);
	events.to = meter_timestamp_literal(progress->has_watermark ?
										progress->watermark : period_end);
	events.affected = "affected";
	events.sealed = meter_sealed_for(definition, 1);
	events.voids_from_log = true;
	meter_append_owner_events(&sql, definition, &events);
	appendStringInfoString(&sql, ", ");
	meter_look_up_scope(definition, &scope);
	scope.to = end;
	scope.affected = true;
	scope.sealed = meter_sealed_measures_for(definition, 1);
	scope.voids_from_log = true;
	scope.duplicates = "c.resource IN (SELECT resource FROM affected)";
	meter_append_measures(&sql, definition, progress, &scope);

	/* the measures themselves, and the part of each that falls to this key */
	appendStringInfoString(&sql, ", behind AS (");
	meter_append_measures_behind(&sql, definition, progress, &scope);
	appendStringInfo(&sql,
					 ") SELECT part, \"time\", until, arrival, source, id, action, account, dimensions, "
					 "value, quantity, explanation FROM ("
					 "SELECT 1 AS section, 'ledger' AS part, u.period_start AS \"time\", %s AS until, "
					 "NULL::bigint AS arrival, NULL::text AS source, NULL::text AS id, NULL::text AS action, "
					 "u.account, u.dimensions, NULL::numeric AS value, u.quantity, "
					 "format('%%s, settlement %%s of meter %%s, recorded at %%s%%s', "
					 "CASE u.revision WHEN 0 THEN 'first usage' ELSE format('adjustment %%s', u.revision) END, "
					 "u.settlement, u.meter, u.recorded_at, "
					 "CASE WHEN u.transaction_id = '%s' THEN ': the row asked for' END) AS explanation, "
					 "u.revision::bigint AS place FROM %s.usage u "
					 "WHERE u.transaction_id >= meter_internal.transaction_id_low(%s) "
					 "AND u.transaction_id <= meter_internal.transaction_id_high(%s) "
					 "AND u.meter = %s AND u.resource = %s AND u.account = %s AND u.dimensions = %s::jsonb ",
					 end, uuid, schema, names, names, meter, what, who, key);

	/* events that name an owner: those of the period, and the one before */
	appendStringInfo(&sql,
					 "UNION ALL SELECT 2, 'event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, NULL, NULL, 'says who pays from then on', e.arrival "
					 "FROM events v JOIN %s.event e ON e.arrival = v.arrival "
					 "WHERE EXISTS (SELECT FROM behind b WHERE b.account = '') AND v.at < %s "
					 "AND v.at >= coalesce((SELECT max(n.at) FROM events n WHERE n.at <= %s), "
					 "(SELECT min(n.at) FROM events n)) "
					 "OR EXISTS (SELECT FROM behind b WHERE b.account = '') "
					 "AND v.at = (SELECT min(n.at) FROM events n) AND v.at >= %s ",
					 schema, end, begin, end);
	appendStringInfo(&sql,
					 "UNION ALL SELECT 3, 'measure', b.start_time, b.end_time, b.arrival, m.source, m.id, NULL, "
					 "m.account, NULL, m.value, b.quantity, b.explanation, b.arrival "
					 "FROM behind b JOIN %s.measure m ON m.arrival = b.arrival "
					 "WHERE b.payer = %s AND b.dimensions = %s::jsonb%s ",
					 schema, who, key,
					 definition->aggregate == METER_COUNTER ?
					 psprintf(" OR (b.start_time < %s AND b.dimensions = %s::jsonb)", begin, key) : "");
	appendStringInfo(&sql,
					 "UNION ALL SELECT 5, 'total', %s, %s, NULL, NULL, NULL, NULL, %s, %s::jsonb, NULL, "
					 "coalesce((SELECT trim_scale(w.quantity) FROM expected w WHERE w.account = %s "
					 "AND w.dimensions = %s::jsonb AND w.period_start = %s), 0), "
					 "'%s of these: what the rows of this key in the ledger add up to', NULL ",
					 begin, end, who, key, who, key, begin,
					 meter_aggregate_name(definition->aggregate));

	/* the rows that made a step compute a settled period again */
	appendStringInfo(&sql,
					 "UNION ALL SELECT 6, 'late event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, e.value, NULL, "
					 "format('arrived after the period was settled up to %%s', s.watermark_before), e.arrival "
					 "FROM %s.settlement s JOIN %s.event e ON e.arrival > s.position_before "
					 "AND e.arrival <= s.\"position\" AND e.resource = %s "
					 "AND (e.\"time\" < s.watermark_before AND e.account <> '' OR e.action = 'void') "
					 "WHERE s.meter = %s AND s.settlement = " INT64_FORMAT " AND s.watermark_before >= %s "
					 "UNION ALL SELECT 6, 'late measure', e.start_time, e.end_time, e.arrival, e.source, e.id, NULL, "
					 "e.account, NULL, e.value, NULL, "
					 "format('arrived after the period was settled up to %%s', s.watermark_before), e.arrival "
					 "FROM %s.settlement s JOIN %s.measure e ON e.arrival > s.measure_position_before "
					 "AND e.arrival <= s.measure_position AND e.resource = %s "
					 "AND e.start_time < s.watermark_before "
					 "WHERE s.meter = %s AND s.settlement = " INT64_FORMAT " AND s.watermark_before >= %s",
					 schema, schema, what, meter, settlement, end,
					 schema, schema, what, meter, settlement, end);
	appendStringInfoString(&sql, ") x ORDER BY section, \"time\", place");
	meter_execute(sql.data, SPI_OK_SELECT);
	meter_return_result(fcinfo);
}
