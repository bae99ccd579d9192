/*
 * verify.c
 *	  meter.verify() and meter.resettle(): compare the ledger with expected
 *	  usage, and correct it.
 *
 * Both compute usage anew from all events and take the difference to the
 * ledger: verify returns it, resettle writes it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/late.h"
#include "engine/ledger.h"
#include "engine/measure_usage.h"
#include "engine/measures.h"
#include "engine/step.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/*
 * Return the settled periods of a meter that overlap a range (NULL: all), as
 * literals.  The range is widened to whole periods.  Returns false if there
 * are none.
 */
static bool
settled_window(const MeterDefinition *definition, const MeterProgress *progress, RangeType *during,
			   TimestampTz *from, TimestampTz *end)
{
	*from = Max(definition->since, definition->boundary);
	if (!progress->has_watermark)
		return false;
	*end = progress->watermark;
	if (during != NULL)
	{
		TypeCacheEntry *typcache = lookup_type_cache(TSTZRANGEOID,
													 TYPECACHE_RANGE_INFO);
		RangeBound	lower;
		RangeBound	upper;
		bool		empty;

		range_deserialize(typcache, during, &lower, &upper, &empty);
		if (empty)
			return false;
		if (!lower.infinite &&
			!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(lower.val)))
			*from = Max(*from,
						meter_grid_period_begin(definition->grid,
												DatumGetTimestampTz(lower.val)));
		if (!upper.infinite &&
			!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(upper.val)))
		{
			TimestampTz last = DatumGetTimestampTz(upper.val);
			TimestampTz begin = meter_grid_period_begin(definition->grid,
														last);

			if (begin < last || upper.inclusive)
				begin = meter_grid_period_end(definition->grid, last);
			*end = Min(*end, begin);
		}
	}
	return *from < *end;
}

/* Return the range in an argument, or NULL for everything. */
static RangeType *
range_arg(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_RANGE_P(argument);
}

/*
 * Append CTEs that end with "timelines": those of all resources from their
 * events before the watermark.
 */
static void
append_timelines(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
				 TimestampTz from, const char *late_from, bool straddling)
{
	MeterScope	scope = {0};

	scope.to = meter_timestamp_literal(progress->watermark);
	scope.straddling = straddling ? "straddling" : NULL;
	scope.late_from = late_from;
	scope.safe = progress->logs[METER_LOG_EVENT].position;
	scope.voids_from_log = true;
	appendStringInfoString(sql, "WITH ");
	if (straddling)
	{
		appendStringInfoString(sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(sql, definition, NULL, scope.to);
		appendStringInfoString(sql, "), ");
	}
	meter_append_events(sql, definition, &scope);
	appendStringInfoString(sql, ", timelines AS MATERIALIZED (SELECT e.resource, ");
	if (straddling)
		meter_append_before(sql, definition, scope.to);
	appendStringInfo(sql,
					 METER_TIMELINE("e") " AS timeline, "
					 "min(least(e.at, meter_internal.observation_instant(e.observation, 'since'))) AS earliest, "
					 "%s AS begin_at FROM events e GROUP BY e.resource)",
					 meter_timestamp_literal(from));
}

/* Return rows that show where the ledger of a meter differs. */
static void
verify_meter(FunctionCallInfo fcinfo, const MeterDefinition *definition, const MeterProgress *progress,
			 RangeType *during)
{
	MeterSession session;
	StringInfoData sql;
	TimestampTz from;
	TimestampTz end;
	const char *from_literal;
	const char *end_literal;
	char	   *ledger;
	bool		measures;
	bool		keeps_zero = METER_KEEPS_ZERO(definition->aggregate);

	if (!settled_window(definition, progress, during, &from, &end))
		return;
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	meter_session_bulk();
	from_literal = meter_timestamp_literal(from);
	end_literal = meter_timestamp_literal(end);
	initStringInfo(&sql);
	measures = METER_OF_MEASURES(definition->aggregate);
	ledger = meter_ledger_of_range(definition, from_literal, end_literal);
	if (measures)
	{
		appendStringInfoString(&sql, "WITH ");
		meter_append_measures_of_all(&sql, definition, progress, from_literal,
									 end_literal, NULL);
	}
	else
		append_timelines(&sql, definition, progress, from, NULL,
						 meter_may_straddle(definition, progress->watermark));
	appendStringInfo(&sql,
					 " SELECT %s::text, d.account, d.resource, d.dimensions, d.period_start, "
					 "trim_scale(d.ledger), trim_scale(d.expected) FROM ("
					 "SELECT x.resource, x.account, x.dimensions, x.period_start, "
					 "- %s(x.quantity) FILTER (WHERE x.revisions > 0)%s AS ledger, "
					 "coalesce(sum(x.quantity) FILTER (WHERE x.revisions = 0), 0) AS expected FROM (",
					 quote_literal_cstr(definition->name),
	/* nothing is due where a first row of 0 is missing */
					 keeps_zero ? "sum" : "coalesce(sum",
					 keeps_zero ? "" : ", 0)");
	if (measures)
		appendStringInfoString(&sql, meter_measure_difference(ledger));
	else
		meter_append_difference(&sql, definition, "timelines", end_literal,
								ledger);
	appendStringInfo(&sql,
					 ") x (resource, account, dimensions, period_start, quantity, revisions) "
					 "GROUP BY 1, 2, 3, 4 HAVING sum(x.quantity) <> 0%s) d "
	/* late rows that no step has looked at yet are no fault */
					 "WHERE NOT EXISTS (SELECT FROM %s AND e.resource = d.resource) ",
					 keeps_zero ? " OR sum(x.revisions) = 0" : "",
					 meter_late_rows(definition, progress, -1));
	if (measures)
		appendStringInfo(&sql, "AND NOT EXISTS (SELECT FROM %s AND e.resource = d.resource) ",
						 meter_late_measures(definition, progress, -1));
	appendStringInfoString(&sql, "ORDER BY 5, 3, 2, 4");
	meter_execute(sql.data, SPI_OK_SELECT);
	meter_return_result(fcinfo);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_verify);

/* verify(stream, meter, during) */
Datum
meter_verify(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = PG_ARGISNULL(1) ? NULL :
	text_to_cstring(PG_GETARG_TEXT_PP(1));
	ListCell   *cell;

	meter_check_stream_permission(stream);
	meter_return_begin(fcinfo);
	/* a step that settles meanwhile must not change the answer */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_one_snapshot(true);
	PG_TRY();
	{
		if (meter != NULL)
			(void) meter_load(stream, meter, METER_LOCK_NONE);	/* raises an error if
																 * there is none */
		foreach(cell, meter_list_meters(stream, meter, false))
		{
			MeterRef   *ref = lfirst(cell);
			MeterDefinition *definition = meter_load(ref->stream, ref->meter,
													 METER_LOCK_NONE);

			verify_meter(fcinfo, definition, meter_load_progress(definition),
						 range_arg(fcinfo, 2));
		}
	}
	PG_FINALLY();
	{
		meter_one_snapshot(false);
	}
	PG_END_TRY();
	PopActiveSnapshot();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meter_resettle);

/* resettle(stream, meter, during) */
Datum
meter_resettle(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = meter_text_arg(fcinfo, 1, "meter");
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
	StringInfoData sql;
	StringInfoData difference;
	TimestampTz from;
	TimestampTz end;
	const char *end_literal;
	bool		straddling;
	int64		written;

	PreventCommandIfReadOnly("meter.resettle()");
	definition = meter_load_to_write(stream, meter);
	progress = meter_load_progress(definition);
	if (!settled_window(definition, progress, range_arg(fcinfo, 2), &from, &end))
		PG_RETURN_INT64(0);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	meter_note_voids(definition, -1, PG_INT64_MAX);
	end_literal = meter_timestamp_literal(end);
	initStringInfo(&sql);
	if (METER_OF_MEASURES(definition->aggregate))
	{
		written = meter_measure_resettle(definition, progress, from, end);
		meter_session_end(&session);
		if (written > 0)
			meter_store_settlement(definition, progress, written);
		PG_RETURN_INT64(written);
	}
	/* late rows do not count before a step decides which are held */
	straddling = meter_may_straddle(definition, progress->watermark);
	append_timelines(&sql, definition, progress, from, meter_late_from(definition, progress),
					 straddling);
	appendStringInfoString(&sql, ", states AS (");
	meter_append_upsert_state(&sql, definition, NULL, straddling);
	/* delete the states of resources that have no event any more */
	appendStringInfo(&sql, "), gone AS (DELETE FROM %s._resource_state r WHERE r.meter = %s "
					 "AND NOT EXISTS (SELECT FROM timelines t WHERE t.resource = r.resource)) ",
					 quote_identifier(stream), quote_literal_cstr(meter));
	initStringInfo(&difference);
	meter_append_difference(&difference, definition, "timelines", end_literal,
							meter_ledger_of_range(definition,
												  meter_timestamp_literal(from),
												  end_literal));
	meter_append_insert_difference(&sql, definition,
								   progress->settlement + 1,
								   difference.data);
	meter_execute(sql.data, SPI_OK_INSERT);
	written = SPI_processed;
	meter_session_end(&session);

	if (written > 0)
		meter_store_settlement(definition, progress, written);
	PG_RETURN_INT64(written);
}
