/*
 * release.c
 *	  meter.release(): lets rows that are held count; meter.discard(): says that
 *	  they never will; and meter.release_resource(): computes a resource that was
 *	  set aside anew.
 *
 * A step holds a row when it meets it too late (see late.c), and sets a resource
 * aside that it cannot compute (see quarantine.c); a person releases it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "engine/late.h"
#include "engine/reconcile.h"
#include "engine/settle.h"
#include "engine/step.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/*
 * Check that no row asked for by its arrival lies before the retention
 * boundary, or in a month that was detached.  Within a session.
 */
static void
check_release(const MeterDefinition *definition, const char *arrivals)
{
	TimestampTz limit = Max(definition->boundary, definition->ledger_from);
	TimestampTz time;

	if (arrivals == NULL || TIMESTAMP_IS_NOBEGIN(limit))
		return;
	meter_execute(psprintf("SELECT arrival, \"time\" FROM %s.held WHERE meter = %s "
						   "AND arrival = ANY (%s::bigint[]) "
						   "AND \"time\" < %s ORDER BY 1 LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   quote_literal_cstr(arrivals),
						   meter_timestamp_literal(limit)),
				  SPI_OK_SELECT);
	if (SPI_processed == 0)
		return;
	(void) meter_result_instant(2, &time);
	if (time >= definition->boundary)
		meter_refuse_detached(definition, time);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("arrival %s of \"%s\" cannot count any more: its time lies before the log's retention boundary",
					meter_result_text(0, 1), meter_result_text(0, 2)),
			 errdetail("What the log had before %s was expired, and its usage stays as it is.",
					   timestamptz_to_str(definition->boundary))));
}

/*
 * Append the condition, with AND, that rows are those of an array of arrivals,
 * or, if that is NULL, those that wait for a person.
 */
static void
append_which(StringInfo sql, const char *arrivals)
{
	if (arrivals == NULL)
		appendStringInfoString(sql, " AND discarded_at IS NULL");
	else
		appendStringInfo(sql, " AND arrival = ANY (%s::bigint[])",
						 quote_literal_cstr(arrivals));
}

/* Return the array of arrivals that a call names, as text, or NULL. */
static char *
arrivals_arg(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(2) ? NULL :
		OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(2));
}

/* A call that writes usage: its meter, and the session of the stream's owner. */
typedef struct ReleaseCall
{
	const char *stream;
	const char *meter;
	const char *arrivals;		/* of release(): NULL: all */
	const char *resource;		/* of release_resource() */
	int64		released;		/* rows that count now */
	bool		settled;		/* the resource is not set aside any more */

	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
} ReleaseCall;

/* Load and lock the meter of a call, and begin its session. */
static void
begin(ReleaseCall *call)
{
	call->definition = meter_load_to_write(call->stream, call->meter);
	call->progress = meter_load_progress(call->definition);
	meter_session_begin(&call->session, meter_stream_owner(call->stream));
	meter_check_stream(call->stream);
	meter_session_bulk();
}

/* End the session, and store what the call has come to. */
static void
end(ReleaseCall *call, int64 usage_rows)
{
	meter_session_end(&call->session);
	if (usage_rows > 0)
		meter_store_settlement(call->definition, call->progress,
							   call->progress, usage_rows);
	else
		meter_store_state_counts(call->definition, call->progress);
}

/* Release rows that are held, as meter_with_months() calls it. */
static void
release(void *arg)
{
	ReleaseCall *call = arg;
	StringInfoData which;
	TimestampTz limit;
	int64		written;

	begin(call);
	check_release(call->definition, call->arrivals);
	limit = Max(call->definition->boundary, call->definition->ledger_from);
	initStringInfo(&which);
	appendStringInfoString(&which, "true");
	append_which(&which, call->arrivals);
	if (!TIMESTAMP_IS_NOBEGIN(limit))
		appendStringInfo(&which, " AND \"time\" >= %s",
						 meter_timestamp_literal(limit));
	call->released = meter_release_held(call->definition, call->progress,
										which.data, &written);
	end(call, written);
}

PG_FUNCTION_INFO_V1(meter_release);

/* release(stream, meter, arrivals) */
Datum
meter_release(PG_FUNCTION_ARGS)
{
	ReleaseCall call = {0};

	PreventCommandIfReadOnly("meter.release()");
	call.stream = meter_text_arg(fcinfo, 0, "stream");
	call.meter = meter_text_arg(fcinfo, 1, "meter");
	call.arrivals = arrivals_arg(fcinfo);
	meter_with_months(call.stream, call.meter, release, &call);
	PG_RETURN_INT64(call.released);
}

PG_FUNCTION_INFO_V1(meter_discard);

/* discard(stream, meter, arrivals) */
Datum
meter_discard(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = meter_text_arg(fcinfo, 1, "meter");
	MeterSession session;
	StringInfoData sql;
	char	   *arrivals;
	int64		count;

	PreventCommandIfReadOnly("meter.discard()");
	/* locks the meter, as steps do */
	(void) meter_load_to_write(stream, meter);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s.held SET discarded_at = now() WHERE meter = %s AND discarded_at IS NULL",
					 quote_identifier(stream), quote_literal_cstr(meter));
	arrivals = arrivals_arg(fcinfo);
	if (arrivals != NULL)
		append_which(&sql, arrivals);
	meter_execute(sql.data, SPI_OK_UPDATE);
	count = (int64) SPI_processed;
	meter_session_end(&session);
	PG_RETURN_INT64(count);
}

/*
 * Take a resource out of those that are set aside.  Returns since when it has
 * not been settled, as a literal.  Within a session.
 */
static const char *
take_out(const MeterDefinition *definition, const char *resource)
{
	TimestampTz since;

	meter_execute(psprintf("DELETE FROM %s.quarantine WHERE meter = %s AND resource = %s RETURNING resource, since",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   quote_literal_cstr(resource)),
				  SPI_OK_DELETE_RETURNING);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("resource \"%s\" is not set aside for meter \"%s\" of stream \"%s\"",
						resource, definition->name, definition->stream)));
	(void) meter_result_instant(2, &since);
	return meter_timestamp_literal(since);
}

/* Compute a resource that was set aside, as meter_with_months() calls it. */
static void
release_resource(void *arg)
{
	ReleaseCall *call = arg;
	const char *name = psprintf("%s COLLATE \"C\"",
								quote_literal_cstr(call->resource));
	const char *since;
	int64		written = 0;

	begin(call);
	since = take_out(call->definition, call->resource);
	/* no snapshot was compared with it meanwhile, of whatever time */
	(void) meter_compare_affected(call->definition, call->progress,
								  psprintf("SELECT %s AS resource", name),
								  "'-infinity'::timestamptz");
	if (call->progress->has_watermark)
		written = meter_recompute_aside(call->definition, call->progress,
										psprintf("SELECT %s, %s, 'infinity'::timestamptz, %s, %s",
												 name, since, since, since));
	meter_execute(psprintf("SELECT FROM %s.quarantine WHERE meter = %s AND resource = %s",
						   quote_identifier(call->stream),
						   quote_literal_cstr(call->meter), name),
				  SPI_OK_SELECT);
	call->settled = SPI_processed == 0;
	end(call, written);
}

PG_FUNCTION_INFO_V1(meter_release_resource);

/* release_resource(stream, meter, resource) */
Datum
meter_release_resource(PG_FUNCTION_ARGS)
{
	ReleaseCall call = {0};

	PreventCommandIfReadOnly("meter.release_resource()");
	call.stream = meter_text_arg(fcinfo, 0, "stream");
	call.meter = meter_text_arg(fcinfo, 1, "meter");
	call.resource = meter_text_arg(fcinfo, 2, "resource");
	meter_with_months(call.stream, call.meter, release_resource, &call);
	PG_RETURN_BOOL(call.settled);
}
