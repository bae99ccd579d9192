/*
 * rewind.c
 *	  meter.rewind(): takes the watermark of a meter back.
 *
 * A server whose clock was ahead has settled periods that had not been yet.
 * What the ledger has of them is adjusted to 0; the states, the kept states
 * and the hashes of rows that may have duplicates are made anew from the log, as
 * they are at the earlier watermark.  Rows that arrived meanwhile were held if
 * they were late by the wrong watermark: those that would not be by this one
 * count.
 *
 * When the watermark went wrong is not recorded.  The last settlement that was
 * made with a watermark as early as this one says when it was still right: what
 * was held until then stays so.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/clock.h"
#include "engine/late.h"
#include "engine/losses.h"
#include "engine/resettle.h"
#include "engine/settle.h"
#include "engine/step.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* Check that a watermark can be taken back to an instant. */
static void
check_watermark(const MeterDefinition *definition,
				const MeterProgress *progress, TimestampTz watermark)
{
	if (TIMESTAMP_NOT_FINITE(watermark))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"watermark\" must be finite")));
	if (!progress->has_watermark)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("meter \"%s\" of stream \"%s\" has settled nothing yet",
						definition->name, definition->stream)));
	if (watermark > progress->watermark)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"watermark\" must not be after that of meter \"%s\", \"%s\"",
						definition->name,
						timestamptz_to_str(progress->watermark)),
				 errhint("meter.advance() moves a watermark on.")));
	if (watermark < definition->boundary)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"watermark\" must not be before the retention boundary of meter \"%s\", \"%s\"",
						definition->name,
						timestamptz_to_str(definition->boundary)),
				 errdetail("What the log had before the boundary was expired, and its usage stays as it is.")));
	if (watermark < definition->ledger_from)
		meter_refuse_detached(definition, watermark);
	if (watermark < definition->since)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"watermark\" must not be before \"since\" of meter \"%s\", \"%s\"",
						definition->name,
						timestamptz_to_str(definition->since))));
	meter_check_period_begin(definition->grid, watermark, "watermark");
}

/* Go back to a watermark, and to a clock that was no further. */
static void
go_back(const MeterDefinition *definition, MeterProgress *progress,
		TimestampTz watermark)
{
	TimestampTz late_from;
	MeterLog	log;

	progress->watermark = watermark;
	/* nor does a clock hold anything that was ahead when the meter was made */
	progress->first_clock = Min(progress->first_clock,
								meter_clock_cut(definition, meter_now()));
	late_from = meter_lateness_from(progress);
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		MeterLogProgress *of_log = &progress->logs[log];

		/* by what was noted, rows are held that arrive from now on */
		of_log->position_watermark = Min(of_log->position_watermark, late_from);
		of_log->note_watermark = Min(of_log->note_watermark, late_from);
		of_log->clock_position = 0;
	}
	progress->has_event_clock = false;
}

/* Let the rows count that are held by no watermark as early as this one. */
static void
release_held(const MeterDefinition *definition, const MeterProgress *progress)
{
	MeterReleased released;
	TimestampTz limit;
	TimestampTz settled_at = DT_NOBEGIN;

	if (!definition->has_max_lateness)
		return;
	meter_execute_row(psprintf("SELECT max(recorded_at) FROM %s.settlement WHERE meter = %s AND watermark <= %s",
							   quote_identifier(definition->stream),
							   quote_literal_cstr(definition->name),
							   meter_timestamp_literal(progress->watermark)));
	(void) meter_result_instant(1, &settled_at);
	limit = Max(Max(definition->boundary, definition->ledger_from),
				meter_later_by(meter_lateness_from(progress),
							   -definition->max_lateness));
	meter_take_held(definition,
					psprintf("\"time\" >= %s AND discarded_at IS NULL AND held_at > %s",
							 meter_timestamp_literal(limit),
							 meter_timestamp_literal(settled_at)),
					&released);
	meter_compare_released(definition, progress, &released);
}

/*
 * Forget what is known of resources at the watermark.  Kept states, and the
 * readings of counters, are made anew with usage.
 */
static void
forget_states(const MeterDefinition *definition)
{
	static const char *const tables[] = {"_resource_state", "_future"};

	meter_delete_of_meter(definition->stream, definition->name, tables,
						  lengthof(tables));
}

/*
 * What is set aside is not settled from the watermark on, at the latest.  What
 * the ledger has of it after that is taken back when it is released.
 */
static void
take_back_quarantine(const MeterDefinition *definition, TimestampTz watermark)
{
	meter_execute(psprintf("UPDATE %s.quarantine SET since = %s WHERE meter = %s AND since > %s",
						   quote_identifier(definition->stream),
						   meter_timestamp_literal(watermark),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(watermark)),
				  SPI_OK_UPDATE);
}

/* A call of rewind(), and how many rows it wrote. */
typedef struct RewindCall
{
	const char *stream;
	const char *meter;
	TimestampTz watermark;
	int64		written;
} RewindCall;

/* Take a watermark back, as meter_with_months() calls it. */
static void
rewind_meter(void *arg)
{
	RewindCall *call = arg;
	const char *stream = call->stream;
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterProgress before;
	MeterSession session;
	bool		missing;

	/* other meters of the time zone have to stand still, too */
	meter_lock_all(stream);
	definition = meter_load_to_repair(stream, call->meter);
	progress = meter_load_progress(definition);
	check_watermark(definition, progress, call->watermark);
	before = *progress;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	meter_refuse_empty_log(definition, progress);
	meter_accept_log(definition, progress);
	go_back(definition, progress, call->watermark);
	release_held(definition, progress);
	forget_states(definition);
	take_back_quarantine(definition, call->watermark);
	meter_renew_rows(definition, progress);
	call->written = meter_settle_anew(definition, progress,
									  meter_usage_from(definition),
									  call->watermark, DT_NOEND);
	missing = meter_accept_ledger(definition, progress);
	meter_session_end(&session);

	if (call->written > 0 || missing)
		meter_store_settlement(definition, progress, &before, call->written);
	else
		meter_store_progress(definition, progress, false);
	meter_calendar_forget(stream, definition->timezone);
	/* periods that are settled again are compared with the ledger */
	meter_note_ledger(stream, call->meter);
}

PG_FUNCTION_INFO_V1(meter_rewind);

/* rewind(stream, meter, watermark): returns how many usage rows were written */
Datum
meter_rewind(PG_FUNCTION_ARGS)
{
	RewindCall	call = {
		meter_text_arg(fcinfo, 0, "stream"), meter_text_arg(fcinfo, 1, "meter"),
		0, 0
	};

	PreventCommandIfReadOnly("meter.rewind()");
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"watermark\" must not be null")));
	call.watermark = PG_GETARG_TIMESTAMPTZ(2);
	meter_check_access(call.stream, METER_ACCESS_OPERATOR);
	meter_with_months(call.stream, call.meter, rewind_meter, &call);
	meter_worker_wake();
	PG_RETURN_INT64(call.written);
}
