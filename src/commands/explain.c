/*
 * explain.c
 *	  meter.explain(): why a usage row is what it is.
 *
 * The resource is computed anew from its events, and each stage is shown: the
 * events that count, the spans that they make, how these are rounded and cut,
 * and what the ledger has.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/measure_views.h"
#include "engine/row_kind.h"
#include "pg/spi.h"

/* What the ledger says of the usage row in question. */
typedef struct Row
{
	char	   *meter;
	char	   *account;
	char	   *resource;
	char	   *dimensions;
	TimestampTz period_start;
	int64		settlement;
} Row;

/* Look up the usage row; raises an error if there is none. */
static void
find_row(const char *stream, Datum transaction_id, Row *row)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	char	   *uuid = DatumGetCString(DirectFunctionCall1(uuid_out,
														   transaction_id));
	bool		isnull;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT meter, account, resource, dimensions::text, period_start, settlement "
						   "FROM %s.usage WHERE transaction_id = '%s'",
						   quote_identifier(stream), uuid), SPI_OK_SELECT);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" has no usage row \"%s\"", stream, uuid)));
	row->period_start = DatumGetTimestampTz(meter_result(0, 5, &isnull));
	row->settlement = DatumGetInt64(meter_result(0, 6, &isnull));
	MemoryContextSwitchTo(context);
	row->meter = meter_result_text(0, 1);
	row->account = meter_result_text(0, 2);
	row->resource = meter_result_text(0, 3);
	row->dimensions = meter_result_text(0, 4);
	meter_session_end(&session);
}

/*
 * Append CTEs after "events": the resource's timeline up to the end of the
 * period, its runs, their spans as they are and as they are billed, and the
 * total.
 */
static void
append_spans(StringInfo sql, const MeterDefinition *definition,
			 const Row *row, const char *begin_literal,
			 const char *end_literal)
{
	appendStringInfo(sql,
					 ", timeline AS MATERIALIZED (SELECT " METER_TIMELINE("e") " AS timeline FROM events e), "
	/* spans that touch are one run; a number tells runs apart */
					 "runs AS (SELECT s.*, sum(s.gap) OVER (ORDER BY s.span_begin) AS run FROM "
					 "(SELECT s.*, CASE WHEN s.span_begin = lag(s.span_end) OVER (ORDER BY s.span_begin) "
					 "THEN 0 ELSE 1 END AS gap FROM timeline t, "
					 "meter_internal.settle_spans(%s, t.timeline, false, '-infinity', %s) s) s), "
					 "spans AS MATERIALIZED (SELECT * FROM runs WHERE span_end > %s), "

	/*
	 * where what ran in the period began; if nothing did, where the last run
	 * ended
	 */
					 "since AS (SELECT coalesce(min(r.span_begin) FILTER (WHERE r.run IN (SELECT s.run FROM spans s)), "
					 "max(r.span_end)) AS at FROM runs r), "
					 "billed AS MATERIALIZED (SELECT s.*, greatest(s.span_begin, %s) AS cut_begin, "
					 "least(s.span_end, %s) AS cut_end FROM timeline t, "
					 "meter_internal.settle_spans(%s, t.timeline, true, %s, %s) s), "
					 "total AS (SELECT coalesce((SELECT (r).quantity FROM (SELECT meter_internal.settle_rows(%s, "
					 "%s, t.timeline, %s, %s) AS r FROM timeline t) s "
					 "WHERE (r).account = %s AND (r).dimensions = %s::jsonb), 0) AS quantity) ",
					 definition->spec, end_literal, begin_literal,
					 begin_literal, end_literal,
					 definition->spec, begin_literal, end_literal,
					 definition->spec, quote_literal_cstr(row->resource),
					 begin_literal, end_literal,
					 quote_literal_cstr(row->account),
					 quote_literal_cstr(row->dimensions));
}

/*
 * Append rows for the events of what ran in the period, and for the event that
 * names the account.
 */
static void
append_event_rows(StringInfo sql, const MeterDefinition *definition,
				  const char *begin_literal, const char *end_literal)
{
	static const char *const was_open =
	"EXISTS (SELECT FROM runs r WHERE r.span_begin < v.at AND r.span_end >= v.at)";

	appendStringInfo(sql,
					 "UNION ALL SELECT 2, 'event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, v.value, NULL, "
					 "CASE v.kind WHEN " METER_SQL_KIND(START) " THEN 'starts' WHEN " METER_SQL_KIND(STOP)
					 " THEN 'stops' WHEN " METER_SQL_KIND(CHANGE) " THEN 'changes' "
					 "ELSE meter_internal.observation_text(e.action, e.source, e.\"time\", e.attributes) END || "
					 "CASE WHEN " METER_IS_START_OR_STOP("v.kind") " AND EXISTS (SELECT FROM events w WHERE w.at = v.at "
					 "AND " METER_IS_START_OR_STOP("w.kind") " AND w.kind <> v.kind) "
					 "THEN format(', together with a %%s: it goes on as before', CASE v.kind WHEN " METER_SQL_KIND(START) " THEN 'stop' ELSE 'start' END) "
					 "WHEN " METER_IS_KIND("v.kind", START) " AND %s THEN ', but it was running already' "
					 "WHEN " METER_IS_KIND("v.kind", STOP) " AND NOT %s THEN ', but it was not running' ELSE '' END, e.arrival "
					 "FROM events v JOIN %s.event e ON e.arrival = v.arrival "
					 "WHERE (v.at < %s AND v.at >= least((SELECT at FROM since), %s)) "
					 "OR v.at = (SELECT min(n.at) FROM events n WHERE n.account <> '') "
	/* observations that are later, and reach back into the period */
					 "OR (" METER_IS_LOGGED_OBSERVATION("v.kind") " AND v.at >= %s AND "
					 METER_REACH("v.observation", "v.at", METER_IS_KIND("v.kind", LOGGED_ABSENT)) " < %s) ",
					 was_open, was_open, quote_identifier(definition->stream), end_literal,
					 begin_literal, end_literal, end_literal);
}

/* Append rows for the spans as they are, then as they are billed. */
static void
append_span_rows(StringInfo sql, const MeterDefinition *definition,
				 const Row *row)
{
	const char *key;
	const char *measure;

	key = psprintf("s.account = %s AND s.dimensions = %s::jsonb",
				   quote_literal_cstr(row->account),
				   quote_literal_cstr(row->dimensions));
	measure = definition->aggregate == METER_DURATION ? "1" : "coalesce(s.value, 0)";
	appendStringInfoString(sql,
						   "UNION ALL SELECT 3, 'span', s.span_begin, nullif(s.span_end, 'infinity'), NULL, NULL, NULL, NULL, "
						   "s.account, s.dimensions, s.value, NULL, "
						   "CASE WHEN s.span_end = 'infinity' THEN 'runs on' ELSE 'ran' END, NULL FROM spans s ");
	appendStringInfo(sql,
					 "UNION ALL SELECT 4, 'billed', s.cut_begin, s.cut_end, NULL, NULL, NULL, NULL, s.account, "
					 "s.dimensions, s.value, trim_scale(round(extract(epoch FROM s.cut_end - s.cut_begin) * %s * 1000000 / " INT64_FORMAT ", 12)), "
					 "format('%%s s, %%s%%s, divided by %%s s%%s%%s', "
					 "trim_scale(extract(epoch FROM s.cut_end - s.cut_begin)), "
					 "CASE (%s)[6] WHEN 'none' THEN 'not rounded' ELSE format('rounded %%s in units of %%s', (%s)[6], (%s)[5]) END, "
					 "CASE WHEN s.cut_begin > s.span_begin OR s.cut_end < s.span_end THEN ', cut to the period' ELSE '' END, "
					 "trim_scale(" INT64_FORMAT " / 1000000.0), %s, CASE WHEN %s THEN '' ELSE ': another key''s' END), NULL FROM billed s ",
					 measure, definition->unit, definition->spec,
					 definition->spec, definition->spec, definition->unit,
					 definition->aggregate == METER_DURATION ? "''" : "', times the value'",
					 key);
}

PG_FUNCTION_INFO_V1(meter_explain);

/* explain(stream, transaction_id) */
Datum
meter_explain(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *uuid = DatumGetCString(DirectFunctionCall1(uuid_out,
														   PG_GETARG_DATUM(1)));
	Row			row;
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
	MeterScope	scope = {0};
	StringInfoData sql;
	TimestampTz end;
	const char *begin_literal;
	const char *end_literal;
	const char *watermark;

	meter_check_stream_permission(stream);
	meter_return_begin(fcinfo);
	find_row(stream, PG_GETARG_DATUM(1), &row);
	definition = meter_load(stream, row.meter, METER_LOCK_NONE);
	progress = meter_load_progress(definition);
	end = meter_grid_period_end(definition->grid, row.period_start);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	if (METER_OF_MEASURES(definition->aggregate))
	{
		meter_explain_measures(fcinfo, definition, progress, uuid, row.account,
							   row.resource, row.dimensions, row.period_start,
							   row.settlement);
		meter_session_end(&session);
		return (Datum) 0;
	}
	begin_literal = meter_timestamp_literal(row.period_start);
	end_literal = meter_timestamp_literal(end);
	watermark = meter_timestamp_literal(progress->has_watermark ?
										progress->watermark : end);
	scope.to = watermark;
	scope.affected = "affected";
	scope.sealed = meter_sealed_for(definition, 1);
	scope.late_from = NULL;
	scope.voids_from_log = true;

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH affected AS MATERIALIZED (SELECT %s::text COLLATE \"C\" AS resource), ",
					 quote_literal_cstr(row.resource));
	if (progress->has_watermark &&
		meter_may_straddle(definition, progress->watermark))
	{
		scope.straddling = "straddling";
		appendStringInfoString(&sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(&sql, definition, "affected", watermark);
		appendStringInfoString(&sql, "), ");
	}
	meter_append_events(&sql, definition, &scope);
	append_spans(&sql, definition, &row, begin_literal, end_literal);

	/* the rows of the key in the ledger */
	appendStringInfo(&sql,
					 "SELECT part, \"time\", until, arrival, source, id, action, account, dimensions, "
					 "value, quantity, explanation FROM ("
					 "SELECT 1 AS section, 'ledger' AS part, u.period_start AS \"time\", %s AS until, "
					 "NULL::bigint AS arrival, NULL::text AS source, NULL::text AS id, NULL::text AS action, "
					 "u.account, u.dimensions, NULL::numeric AS value, u.quantity, "
					 "format('%%s, settlement %%s of meter %%s, recorded at %%s%%s', "
					 "CASE u.revision WHEN 0 THEN 'first usage' ELSE format('adjustment %%s', u.revision) END, "
					 "u.settlement, u.meter, u.recorded_at, "
					 "CASE WHEN u.transaction_id = '%s' THEN ': the row asked for' END) AS explanation, "
					 "u.revision::bigint AS place FROM %s.usage u "
					 "WHERE u.transaction_id >= meter_internal.transaction_id_low(%s, %s, %s, %s) "
					 "AND u.transaction_id <= meter_internal.transaction_id_high(%s, %s, %s, %s) "
					 "AND u.meter = %s AND u.resource = %s AND u.account = %s AND u.dimensions = %s::jsonb ",
					 end_literal, uuid, quote_identifier(stream),
					 quote_literal_cstr(stream), quote_literal_cstr(row.meter),
					 quote_literal_cstr(row.resource), begin_literal,
					 quote_literal_cstr(stream), quote_literal_cstr(row.meter),
					 quote_literal_cstr(row.resource), begin_literal,
					 quote_literal_cstr(row.meter),
					 quote_literal_cstr(row.resource),
					 quote_literal_cstr(row.account),
					 quote_literal_cstr(row.dimensions));

	append_event_rows(&sql, definition, begin_literal, end_literal);
	append_span_rows(&sql, definition, &row);
	appendStringInfo(&sql,
					 "UNION ALL SELECT 5, 'total', %s, %s, NULL, NULL, NULL, NULL, %s, %s::jsonb, NULL, t.quantity, "
					 "'what the rows of this key in the ledger add up to', NULL FROM total t ",
					 begin_literal, end_literal,
					 quote_literal_cstr(row.account),
					 quote_literal_cstr(row.dimensions));

	/* the rows that made a step compute a settled period again */
	appendStringInfo(&sql,
					 "UNION ALL SELECT 6, 'late event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, e.value, NULL, "
					 "format('arrived after the period was settled up to %%s', s.watermark_before), e.arrival "
					 "FROM %s.settlement s JOIN %s.event e ON e.arrival > s.position_before "
					 "AND e.arrival <= s.\"position\" AND e.resource = %s "
					 "AND (e.\"time\" < s.watermark_before OR e.action = 'void' OR (" METER_IS_OBSERVATION("e") " AND "
					 METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'") " < s.watermark_before)) "
					 "WHERE s.meter = %s AND s.settlement = " INT64_FORMAT " AND s.watermark_before >= %s",
					 quote_identifier(stream), quote_identifier(stream),
					 quote_literal_cstr(row.resource),
					 quote_literal_cstr(row.meter), row.settlement,
					 end_literal);
	appendStringInfoString(&sql, ") x ORDER BY section, \"time\", place");
	meter_execute(sql.data, SPI_OK_SELECT);
	meter_return_result(fcinfo);
	meter_session_end(&session);
	return (Datum) 0;
}
