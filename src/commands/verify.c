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
#include "engine/late_rows.h"
#include "engine/ledger.h"
#include "engine/losses.h"
#include "engine/resettle.h"
#include "engine/scatter.h"
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

/* Return what differs of a meter, in order. */
static void
return_differences(FunctionCallInfo fcinfo, const MeterDefinition *definition,
				   const MeterRows *differences)
{
	meter_register_rows(differences);
	/* nothing is due where a first row of 0 is missing */
	meter_execute(psprintf("SELECT d.meter, d.account, d.resource, d.dimensions, d.period_start, "
						   "trim_scale(%s), trim_scale(coalesce(d.expected, 0)) FROM differences d "
						   "ORDER BY d.period_start, d.resource COLLATE \"C\", d.account COLLATE \"C\", d.dimensions",
						   METER_KEEPS_ZERO(definition->aggregate) ?
						   "d.ledger" : "coalesce(d.ledger, 0)"),
				  SPI_OK_SELECT);
	meter_return_result(fcinfo);
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
	Differences differences = {0};
	TimestampTz from;
	TimestampTz end;
	TimestampTz beyond;
	bool		settled = settled_window(definition, progress, during, &from,
										 &end, &beyond);
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

	meter_find_faults(definition, progress, from, settled ? end : from, beyond,
					  note_difference, &differences);
	if (differences.rows.count > 0)
		return_differences(fcinfo, definition, &differences.rows);
	meter_operation_phase("verifying totals", METER_TOTAL_UNKNOWN);
	return_wrong_totals(fcinfo, definition,
						during == NULL ? definition->ledger_from : from, beyond);
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

/* Keep steps of a distributed stream away, once all nodes have committed the last ones. */
static void
stop_steps(const char *stream)
{
	ListCell   *cell;

	meter_lock_meters(stream);
	foreach(cell, meter_list_meters(stream, NULL, false))
		meter_await_shards(stream, ((MeterRef *) lfirst(cell))->meter);
}

PG_FUNCTION_INFO_V1(meter_verify);

/* verify(stream, meter, during) */
Datum
meter_verify(PG_FUNCTION_ARGS)
{
	meter_check_access(meter_text_arg(fcinfo, 0, "stream"),
					   METER_ACCESS_OPERATOR);
	meter_return_begin(fcinfo);
	/* nodes have no snapshot in common: no step settles meanwhile */
	if (meter_stream_shards(meter_text_arg(fcinfo, 0, "stream")) > 0)
		stop_steps(meter_text_arg(fcinfo, 0, "stream"));
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
	if (call->during == NULL)
		meter_accept_log(definition, progress);
	call->written = meter_resettle_rows(definition, progress,
										call->during == NULL, from, end);
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
