/*
 * views.c
 *	  The views of a stream that depend on its meters: current_usage and
 *	  anomaly.
 *
 * They are made anew whenever a meter comes or goes, with a branch for each,
 * so that a filter on meter or resource reaches the logs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/stream.h"
#include "engine/events.h"
#include "engine/measure_views.h"
#include "engine/measures.h"
#include "engine/row_kind.h"
#include "engine/views.h"
#include "pg/spi.h"

/* Append the view current_usage, to which branches for meters are added. */
static void
append_current_usage(StringInfo sql, const char *stream)
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
 * Append a branch for the periods of a meter that are not settled: from the
 * state before the watermark and the events since, up to now, as a step would
 * compute it.
 */
static void
append_live_usage(StringInfo sql, const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from;
	const char *to;
	char	   *window = psprintf("meter_internal.live_window(%s, %s)",
								  quote_literal_cstr(definition->stream),
								  meter);

	from = psprintf("(SELECT lower(%s))", window);
	to = psprintf("(SELECT upper(%s))", window);
	if (METER_OF_MEASURES(definition->aggregate))
	{
		appendStringInfo(sql, " UNION ALL SELECT %s::text, u.account, u.resource, "
						 "u.dimensions, u.period_start, u.quantity, false FROM (", meter);
		meter_append_measures_in_view(sql, definition, from, to);
		appendStringInfoString(sql, ") u");
		return;
	}
	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT %s::text, (u.row).account, u.resource, (u.row).dimensions, "
					 "(u.row).period_start, (u.row).quantity, false "
					 "FROM (SELECT t.resource, meter_internal.settle_rows(%s, t.resource, t.timeline, "
					 "%s, %s) AS \"row\" FROM ("
					 "SELECT x.resource, " METER_TIMELINE("x") " AS timeline FROM (",
					 meter, definition->spec, from, to);
	meter_append_events_in_view(sql, definition, from, to);
	appendStringInfo(sql,
					 " UNION ALL SELECT r.resource, " METER_CARRIED ", NULL "
					 "FROM %s._resource_state r WHERE r.meter = %s"
					 ") x GROUP BY x.resource) t) u",
					 schema, meter);
}

/* What duplicates must agree in. */
#define DUPLICATE_CONTENT \
	"ROW(e.\"time\", e.account, e.entity, e.action, e.offering, e.value, e.attributes)::text"

/*
 * Append the view anomaly, to which branches for meters are added: rows that
 * are held, stops first, and rows of the future.
 */
static void
append_anomaly(StringInfo sql, const char *stream, const char *deduplication_window)
{
	const char *schema = quote_identifier(stream);

	appendStringInfo(sql,
					 "CREATE OR REPLACE VIEW %s.anomaly AS "
					 "SELECT 'too late'::text AS class, h.meter, h.resource, h.\"time\", h.arrival, "
					 "format('%%s, held since %%s: meter.release(%%L, %%L, ARRAY[%%s]) lets it count', "
					 "h.action, h.held_at, %s::text, h.meter, h.arrival) AS detail "
					 "FROM (SELECT h.*, e.resource, e.action FROM %s.held h "
					 "JOIN %s.event e ON e.arrival = h.arrival WHERE h.log = 'event' "
					 "AND NOT EXISTS (SELECT FROM %s._voided v WHERE v.meter = h.meter AND v.resource = e.resource "
					 "AND v.source = coalesce(e.source, '') AND v.id = e.id) "
					 "ORDER BY h.reason <> 'stop, too late', h.arrival) h ",
					 schema, quote_literal_cstr(stream), schema, schema, schema);
	appendStringInfo(sql,
					 "UNION ALL "
					 "SELECT 'in the future', NULL, e.resource, e.\"time\", e.arrival, "
					 "format('%%s: counts when the watermark gets there', e.action) "
					 "FROM %s.event e WHERE e.\"time\" > meter_internal.clock_now() + '5 minutes'::interval ",
					 schema);
	appendStringInfo(sql,
					 "UNION ALL "
					 "SELECT 'conflicting duplicate', NULL, c.resource, c.\"time\", c.arrival, "
					 "format('arrival %%s has the same source and id, and says something else', c.other) "
					 "FROM (SELECT e.resource, e.\"time\", e.arrival, %s AS content, "
					 "lag(%s) OVER w AS content_before, lag(e.arrival) OVER w AS other, "
					 "e.\"time\" - lag(e.\"time\") OVER w AS since_other "
					 "FROM %s.event e WHERE e.id IS NOT NULL AND e.action <> 'void' "
					 "WINDOW w AS (PARTITION BY e.resource, coalesce(e.source, ''), e.id "
					 "ORDER BY e.\"time\", e.arrival)) c "
					 "WHERE c.content <> c.content_before AND c.since_other <= %s::interval",
					 DUPLICATE_CONTENT, DUPLICATE_CONTENT, schema,
					 quote_literal_cstr(deduplication_window));
	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT 'reconciled', e.attributes ->> 'meter', e.resource, e.\"time\", e.arrival, "
					 "meter_internal.observation_text(e.action, e.source, e.\"time\", e.attributes) "
					 "FROM %s.event e WHERE " METER_IS_OBSERVATION("e"), schema);
}

/*
 * Append a branch for a meter: starts while open, stops while closed, unknown
 * accounts, and values that are no numbers.
 */
static void
append_meter_anomaly(StringInfo sql, const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	if (METER_OF_MEASURES(definition->aggregate))
	{
		meter_append_measure_meter_anomaly(sql, definition);
		return;
	}
	appendStringInfo(sql,
					 " UNION ALL "
					 "SELECT CASE WHEN i.starts THEN 'duplicate start' ELSE 'orphan stop' END, %s::text, "
					 "i.resource, i.at, i.arrival, "
					 "CASE WHEN i.starts THEN 'it was running already' ELSE 'it was not running' END "
					 "FROM (SELECT s.*, coalesce(lag(s.starts) OVER (PARTITION BY s.resource ORDER BY s.at), "
					 "(SELECT f.active FROM %s._retention_state f WHERE f.meter = %s AND f.resource = s.resource), false) AS was_open "
					 "FROM (SELECT v.resource, v.at, bool_or(" METER_IS_KIND("v.kind", START) ") AS starts, "
					 "min(v.arrival) AS arrival FROM (", meter, schema, meter);
	meter_append_events_in_view(sql, definition, NULL, NULL);
	appendStringInfo(sql,
					 ") v WHERE " METER_IS_START_OR_STOP("v.kind") " GROUP BY v.resource, v.at "
					 "HAVING bool_and(" METER_IS_KIND("v.kind", START) ") OR bool_and(" METER_IS_KIND("v.kind", STOP) ")) s) i "
					 "WHERE i.starts = i.was_open "
					 "UNION ALL "
					 "SELECT 'unknown account', %s::text, r.resource, r.unnamed_since, NULL, "
					 "'no event has named its account: what it uses is billed to nobody' "
					 "FROM %s._resource_state r WHERE r.meter = %s AND r.account IS NULL "
					 "AND r.unnamed_since IS NOT NULL",
					 meter, schema, meter);
	if (definition->aggregate == METER_WEIGHTED &&
		strcmp(definition->value_from, "value") != 0)
	{
		const char *key = quote_literal_cstr(definition->value_from);

		appendStringInfo(sql,
						 " UNION ALL "
						 "SELECT 'not a number', %s::text, e.resource, e.\"time\", e.arrival, "
						 "format('attribute %%I says %%s, which changes nothing', %s, e.attributes -> %s) "
						 "FROM %s.event e WHERE e.attributes ->> %s IS NOT NULL AND ",
						 meter, key, key, schema, key);
		meter_append_action_filter(sql, definition);
		appendStringInfoString(sql, " AND ");
		meter_append_number_attribute(sql, definition->value_from);
		appendStringInfoString(sql, " IS NULL");
	}
}

/* Return the deduplication window of a stream, as text. */
static char *
deduplication_window(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	char	   *window;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT deduplication_window FROM meter.stream WHERE name = $1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	MemoryContextSwitchTo(context);
	window = SPI_processed > 0 ? meter_result_text(0, 1) : NULL;
	meter_session_end(&session);
	return window;
}

/* Make the views of a stream anew. */
void
meter_rebuild_views(const char *stream)
{
	MeterSession session;
	StringInfoData usage;
	StringInfoData anomaly;
	List	   *refs = meter_list_meters(stream, NULL, false);
	ListCell   *cell;

	initStringInfo(&usage);
	append_current_usage(&usage, stream);
	initStringInfo(&anomaly);
	append_anomaly(&anomaly, stream, deduplication_window(stream));
	meter_append_measure_anomaly(&anomaly, stream, deduplication_window(stream));
	foreach(cell, refs)
	{
		MeterRef   *ref = lfirst(cell);
		MeterDefinition *definition = meter_load(ref->stream, ref->meter,
												 METER_LOCK_NONE);

		append_live_usage(&usage, definition);
		append_meter_anomaly(&anomaly, definition);
	}
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(usage.data, SPI_OK_UTILITY);
	meter_execute(psprintf("COMMENT ON VIEW %s.current_usage IS "
						   "'usage up to now: the ledger summed over revisions, and the periods that are not settled yet, computed live (settled: false)'",
						   quote_identifier(stream)),
				  SPI_OK_UTILITY);
	meter_execute(anomaly.data, SPI_OK_UTILITY);
	meter_execute(psprintf("COMMENT ON VIEW %s.anomaly IS "
						   "'what was odd, by class: too late (held; stops first), in the future, conflicting duplicate, duplicate start, orphan stop, unknown account, not a number, reconciled (what snapshots found)'",
						   quote_identifier(stream)),
				  SPI_OK_UTILITY);
	meter_session_end(&session);
}
