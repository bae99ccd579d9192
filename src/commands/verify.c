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
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/duplicate_keys.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/late_rows.h"
#include "engine/ledger.h"
#include "engine/losses.h"
#include "engine/settle.h"
#include "engine/state_counts.h"
#include "engine/step.h"
#include "engine/totals.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/attr.h"
#include "pg/operation.h"
#include "pg/spi.h"

/*
 * Find the settled periods of a meter that overlap a range (NULL: all that the
 * ledger has), and up to where the range goes.  It is widened to whole periods,
 * and must not begin in a month that was detached.  Returns false if there are
 * none.
 */
static bool
settled_window(const MeterDefinition *definition, const MeterProgress *progress, RangeType *during,
			   TimestampTz *from, TimestampTz *end, TimestampTz *beyond)
{
	*from = meter_usage_from(definition);
	*end = progress->has_watermark ? progress->watermark : DT_NOBEGIN;
	*beyond = DT_NOEND;
	if (during != NULL)
	{
		TypeCacheEntry *typcache = lookup_type_cache(TSTZRANGEOID,
													 TYPECACHE_RANGE_INFO);
		RangeBound	lower;
		RangeBound	upper;
		bool		empty;

		range_deserialize(typcache, during, &lower, &upper, &empty);
		if (empty)
		{
			*end = *beyond = *from;
			return false;
		}
		if (!lower.infinite &&
			!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(lower.val)))
		{
			TimestampTz begin = meter_grid_period_begin(definition->grid,
														DatumGetTimestampTz(lower.val));

			if (begin < definition->ledger_from && begin >= definition->boundary)
				meter_refuse_detached(definition, begin);
			*from = Max(*from, begin);
		}
		if (!upper.infinite &&
			!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(upper.val)))
		{
			TimestampTz last = DatumGetTimestampTz(upper.val);
			TimestampTz begin = meter_grid_period_begin(definition->grid,
														last);

			if (begin < last || upper.inclusive)
				begin = meter_grid_period_end(definition->grid, last);
			*end = Min(*end, begin);
			*beyond = begin;
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

/* What the ledger and expectation differ in, as it is sorted and returned. */
typedef struct Differences
{
	MeterRows	rows;
	Datum		meter;			/* text */
} Differences;

/* Note what differs of a key. */
static void
note_difference(void *arg, const MeterDifference *difference)
{
	Differences *differences = arg;
	Datum		values[7];
	bool		nulls[7] = {false, false, false, false, false, false, false};

	values[0] = differences->meter;
	values[1] = meter_text_from_attr(difference->account);
	values[2] = meter_text_from_attr(difference->resource);
	values[3] = difference->dimensions;
	values[4] = TimestampTzGetDatum(difference->period_start);
	nulls[5] = difference->ledger == NULL;
	values[5] = NumericGetDatum(difference->ledger);
	nulls[6] = difference->expected == NULL;
	values[6] = NumericGetDatum(difference->expected);
	meter_add_row(&differences->rows, values, nulls);
}

/*
 * Return what differs of a meter, in order.  Late rows that no step has looked
 * at yet are no fault.
 */
static void
return_differences(FunctionCallInfo fcinfo, const MeterDefinition *definition,
				   const MeterProgress *progress,
				   const MeterRows *differences)
{
	bool		keeps_zero = METER_KEEPS_ZERO(definition->aggregate);
	StringInfoData sql;
	MeterLog	log;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT d.meter, d.account, d.resource, d.dimensions, d.period_start, "
					 "trim_scale(%s), trim_scale(coalesce(d.expected, 0)) FROM differences d WHERE true",
	/* nothing is due where a first row of 0 is missing */
					 keeps_zero ? "d.ledger" : "coalesce(d.ledger, 0)");
	for (log = METER_LOG_EVENT; progress->has_watermark &&
		 log <= meter_usage_of(definition)->log; log++)
		appendStringInfo(&sql, " AND (d.period_start >= %s OR NOT EXISTS (SELECT FROM %s AND e.resource = d.resource COLLATE \"C\"))",
						 meter_timestamp_literal(progress->watermark),
						 meter_late_in(definition, progress, log, -1));
	/* of what is set aside, nothing is known after the watermark, either */
	appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s.quarantine q WHERE q.meter = d.meter AND q.resource = d.resource COLLATE \"C\")",
					 quote_identifier(definition->stream));
	appendStringInfoString(&sql, " ORDER BY d.period_start, d.resource COLLATE \"C\", d.account COLLATE \"C\", d.dimensions");
	meter_register_rows(differences);
	meter_execute(sql.data, SPI_OK_SELECT);
	meter_return_result(fcinfo);
}

/* Compare the ledger with usage that is computed anew. */
static void
compare_settled(const MeterDefinition *definition,
				const MeterProgress *progress, TimestampTz from,
				TimestampTz end, Differences *differences)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);

	fold->from = from;
	fold->to = end;
	fold->scope.voids_from_log = true;
	fold->ledger = meter_ledger_begin(definition, fold->spec,
									  METER_LEDGER_COMPARE, 0, false);
	meter_ledger_tell(fold->ledger, note_difference, differences);
	meter_fold_run(fold);
	(void) meter_ledger_end(fold->ledger, NULL, NULL);
	meter_fold_end(fold);
}

/* Return rows without a resource that show where totals of a meter differ. */
static void
return_wrong_totals(FunctionCallInfo fcinfo, const MeterDefinition *definition,
					TimestampTz from, TimestampTz to)
{
	meter_execute(psprintf("SELECT %s, account, NULL::text, dimensions, period_start, trim_scale(coalesce(total, 0)), trim_scale(coalesce(expected, 0)) "
						   "FROM (%s) d ORDER BY period_start, account, dimensions",
						   quote_literal_cstr(definition->name),
						   meter_totals_differences(definition, from, to)),
				  SPI_OK_SELECT);
	meter_return_result(fcinfo);
}

/* Return rows that show where the ledger of a meter differs. */
static void
verify_meter(FunctionCallInfo fcinfo, const MeterDefinition *definition,
			 const MeterProgress *progress, RangeType *during)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterSession session;
	MeterLedger *ledger;
	Differences differences = {0};
	TimestampTz from;
	TimestampTz end;
	TimestampTz beyond;
	bool		settled = settled_window(definition, progress, during, &from,
										 &end, &beyond);
	TimestampTz totals_from = from;
	bool		shown = meter_operation_begin("verify", definition->stream,
											  definition->name);

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	meter_check_states(definition, progress);
	meter_session_bulk();
	differences.meter = CStringGetTextDatum(definition->name);
	differences.rows.name = "differences";
	differences.rows.descriptor = info->setDesc;
	differences.rows.store = tuplestore_begin_heap(true, false, work_mem);

	if (settled)
		compare_settled(definition, progress, from, end, &differences);
	/* after the watermark there is no usage yet */
	from = Max(from, progress->has_watermark ? progress->watermark : DT_NOBEGIN);
	if (from < beyond)
	{
		ledger = meter_ledger_begin(definition, meter_usage_spec(definition),
									METER_LEDGER_COMPARE, 0, false);
		meter_ledger_tell(ledger, note_difference, &differences);
		meter_ledger_read(ledger, from, beyond);
		(void) meter_ledger_end(ledger, NULL, NULL);
	}

	if (differences.rows.count > 0)
		return_differences(fcinfo, definition, progress, &differences.rows);
	meter_operation_phase("verifying totals", METER_TOTAL_UNKNOWN);
	return_wrong_totals(fcinfo, definition,
						during == NULL ? definition->ledger_from : totals_from, beyond);
	tuplestore_end(differences.rows.store);
	meter_session_end(&session);
	meter_operation_end(shown);
}

/* Return rows that show where the ledger differs. */
static void
verify(void *arg)
{
	FunctionCallInfo fcinfo = arg;
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = PG_ARGISNULL(1) ? NULL :
	text_to_cstring(PG_GETARG_TEXT_PP(1));
	ListCell   *cell;

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

PG_FUNCTION_INFO_V1(meter_verify);

/* verify(stream, meter, during) */
Datum
meter_verify(PG_FUNCTION_ARGS)
{
	meter_check_access(meter_text_arg(fcinfo, 0, "stream"),
					   METER_ACCESS_OPERATOR);
	meter_return_begin(fcinfo);
	/* a step that settles meanwhile must not change the answer */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_with_one_snapshot(verify, fcinfo);
	PopActiveSnapshot();
	return (Datum) 0;
}

/* A call of resettle(), and how many rows it wrote. */
typedef struct ResettleCall
{
	const char *stream;
	const char *meter;
	RangeType  *during;			/* NULL: everything */
	int64		written;
} ResettleCall;

/* Compute a meter's usage anew, as meter_with_months() calls it. */
static void
resettle(void *arg)
{
	ResettleCall *call = arg;
	const char *stream = call->stream;
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterProgress before;
	MeterSession session;
	MeterLog	log;
	TimestampTz from;
	TimestampTz end;
	TimestampTz beyond;
	bool		missing = false;
	bool		shown;

	call->written = 0;
	definition = meter_load_to_repair(stream, call->meter);
	progress = meter_load_progress(definition);
	if (!settled_window(definition, progress, call->during, &from, &end,
						&beyond))
		return;
	before = *progress;
	shown = meter_operation_begin("resettle", stream, call->meter);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	meter_refuse_empty_log(definition, progress);
	if (call->during == NULL)
	{
		meter_accept_log(definition, progress);
		for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
			meter_renew_duplicate_keys(definition, progress, log);
	}
	/* what a step has not read may have to be held */
	meter_note_voids(definition, -1, progress->logs[METER_LOG_EVENT].position);
	call->written = meter_settle_anew(definition, progress, from, end, DT_NOBEGIN);
	meter_totals_repair(definition, call->during == NULL ? definition->ledger_from : from, beyond);
	if (call->during == NULL)
		missing = meter_accept_ledger(definition, progress);
	meter_session_end(&session);

	if (call->written > 0 || missing)
		meter_store_settlement(definition, progress, progress, call->written);
	else if (meter_progress_differs(&before, progress))
		meter_store_progress(definition, progress, false);
	meter_operation_end(shown);
}

PG_FUNCTION_INFO_V1(meter_resettle);

/* resettle(stream, meter, during) */
Datum
meter_resettle(PG_FUNCTION_ARGS)
{
	ResettleCall call = {
		meter_text_arg(fcinfo, 0, "stream"), meter_text_arg(fcinfo, 1, "meter"),
		range_arg(fcinfo, 2), 0
	};

	PreventCommandIfReadOnly("meter.resettle()");
	meter_with_months(call.stream, call.meter, resettle, &call);
	PG_RETURN_INT64(call.written);
}
