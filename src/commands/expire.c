/*
 * expire.c
 *	  meter.expire(): drops old segments, and leaves a retention boundary.
 *
 * The retention boundary is the instant before which the logs are incomplete.
 * What is known of each resource at it is kept in the stream's schema (of a
 * meter of measures: who owns it, and the last readings of counters), and
 * replaces what the logs had before: nothing that lies before the retention
 * boundary is computed anew, verified or counted.  Each meter has its own, at
 * the begin of one of its periods, never later than its watermark less
 * max_lateness and the deduplication window, which a void reaches back; so no
 * bill that can still change lies before it.
 *
 * A transaction that moves a retention boundary holds the locks on the stream
 * and on all its meters.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/late.h"
#include "engine/quarantine.h"
#include "engine/retention.h"
#include "engine/usage_kind.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/operation.h"
#include "pg/spi.h"

/* What is known at the retention boundary. */
static const char *const boundary_tables[] = {
	"_retention_state", "_retention_reading"
};

/* Return up to which arrival all meters have looked at a log. */
static int64
least_position(List *definitions, MeterLog log)
{
	int64		least = PG_INT64_MAX;
	ListCell   *cell;

	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);
		MeterProgress *progress = meter_load_progress(definition);

		least = Min(least, progress->logs[log].position);
	}
	return least;
}

/* Drop a segment, and what refers to its rows. */
static void
drop_segment(const char *stream, const MeterSegment *segment)
{
	const char *schema = quote_identifier(stream);
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[3];
	char	   *row;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(segment->log);
	values[2] = Int64GetDatum(segment->number);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.segment WHERE stream = $1 AND log = $2 AND segment = $3 "
						 "RETURNING format('%L, %s, %s, %L, %L, %L, %L', log, segment, rows, first_arrival, "
						 "last_arrival, least_time, greatest_time)",
						 SPI_OK_DELETE_RETURNING, 3, types, values, NULL);
	row = meter_result_text(0, 1);
	row = MemoryContextStrdup(context, row);
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("INSERT INTO %s._expired (log, segment, rows, first_arrival, last_arrival, "
						   "least_time, greatest_time) VALUES (%s)", schema, row),
				  SPI_OK_INSERT);
	meter_execute(psprintf("DELETE FROM %s.held WHERE log = '%s' AND arrival >= " INT64_FORMAT
						   " AND arrival < " INT64_FORMAT, schema, segment->log,
						   segment->number << METER_SEGMENT_BITS,
						   (segment->number + 1) << METER_SEGMENT_BITS),
				  SPI_OK_DELETE);
	meter_execute(psprintf("DROP TABLE %s.%s_" INT64_FORMAT, schema,
						   segment->log, segment->number), SPI_OK_UTILITY);
	meter_session_end(&session);
	pfree(row);
}

/*
 * Find the segments of a log that no meter needs: those before the least
 * retention boundary, but for the deduplication window before it, in which
 * duplicates of what is kept may be.
 */
static List *
old_segments(const char *stream, MeterLog log, List *definitions,
			 TimestampTz least)
{
	const MeterDefinition *definition = linitial(definitions);

	return meter_segments_before(stream, meter_log_names[log],
								 meter_later_by(least,
												-definition->deduplication_window),
								 least_position(definitions, log));
}

/* The retention boundaries of meters, which are about to be moved. */
typedef struct BoundaryCall
{
	const char *stream;
	List	   *definitions;
	const TimestampTz *boundaries;
	MeterQuarantine *failed;	/* resources that have no state there */
} BoundaryCall;

/* Move the boundaries, as meter_try() calls it. */
static void
move_boundaries(void *arg)
{
	BoundaryCall *call = arg;
	const TimestampTz *boundary = call->boundaries;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext before;
	MeterSession session;
	ListCell   *cell;

	call->failed = NULL;
	meter_session_begin(&session, meter_stream_owner(call->stream));
	meter_session_bulk();
	foreach(cell, call->definitions)
	{
		MeterDefinition *definition = lfirst(cell);

		/* what failed outlives the session, which is undone */
		before = MemoryContextSwitchTo(context);
		call->failed = meter_store_states(definition,
										  meter_load_progress(definition),
										  *boundary);
		MemoryContextSwitchTo(before);
		if (call->failed != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the state of a resource at the retention boundary cannot be computed")));
		meter_store_boundary(definition, meter_usage_of(definition)->log,
							 *boundary);
		meter_prune_voids(definition, *boundary++);
	}
	meter_session_end(&session);
}

/*
 * Move the boundaries.  Returns false if they have to stay, since a resource
 * cannot be computed there: it is set aside.
 */
static bool
store_boundaries(BoundaryCall *call)
{
	ErrorData  *error = meter_try(move_boundaries, call);
	MeterSession session;

	if (error == NULL)
		return true;
	if (call->failed == NULL)
		ReThrowError(error);
	FreeErrorData(error);
	meter_session_begin(&session, meter_stream_owner(call->stream));
	meter_quarantine_write(call->failed);
	meter_session_end(&session);
	return false;
}

/*
 * Expire the logs that these meters read: that of events always, since meters
 * of measures ask it who owns what.  Returns the number of segments dropped.
 */
static int64
expire(const char *stream, List *definitions, TimestampTz before)
{
	const char *schema = quote_identifier(stream);
	TimestampTz *boundaries = palloc(list_length(definitions) * sizeof(TimestampTz));
	TimestampTz least = DT_NOEND;
	List	   *of_measures = NIL;
	List	   *segments;
	ListCell   *cell;
	MeterSession session;
	BoundaryCall call;
	int			i = 0;

	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);

		if (!meter_move_boundary(definition, meter_load_progress(definition),
								 before, &boundaries[i]))
			return 0;
		least = Min(least, boundaries[i]);
		if (meter_usage_of(definition)->log == METER_LOG_MEASURE)
			of_measures = lappend(of_measures, definition);
		i++;
	}
	segments = old_segments(stream, METER_LOG_EVENT, definitions, least);
	if (of_measures != NIL)
		segments = list_concat(segments,
							   old_segments(stream, METER_LOG_MEASURE,
											of_measures, least));
	if (segments == NIL)
		return 0;

	call.stream = stream;
	call.definitions = definitions;
	call.boundaries = boundaries;
	if (!store_boundaries(&call))
		return 0;
	meter_session_begin(&session, meter_stream_owner(stream));
	/* the states of meters that were dropped miss these segments */
	meter_execute(psprintf("DELETE FROM %s._retention f WHERE f.\"time\" < %s",
						   schema, meter_timestamp_literal(least)),
				  SPI_OK_DELETE);
	for (i = 0; i < (int) lengthof(boundary_tables); i++)
		meter_execute(psprintf("DELETE FROM %s.%s s "
							   "WHERE NOT EXISTS (SELECT 1 FROM %s._retention f WHERE f.meter = s.meter)",
							   schema, boundary_tables[i], schema),
					  SPI_OK_DELETE);
	meter_session_end(&session);
	meter_operation_phase("dropping segments", list_length(segments));
	foreach(cell, segments)
	{
		drop_segment(stream, lfirst(cell));
		meter_operation_done(foreach_current_index(cell) + 1);
	}
	return list_length(segments);
}

extern Datum meter_prune_inventory(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(meter_expire);

/* expire(stream, before): returns the number of segments that were dropped */
Datum
meter_expire(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	TimestampTz before;
	List	   *of_events;
	List	   *of_measures;
	List	   *definitions;
	MeterSession session;
	int64		dropped = 0;
	bool		shown;

	PreventCommandIfReadOnly("meter.expire()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"before\" must not be null")));
	before = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(before))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"before\" must be finite")));
	meter_check_stream_permission(stream);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	meter_load_all(stream, &of_events, &of_measures);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_end(&session);

	shown = meter_operation_begin("expire", stream, NULL);
	definitions = list_concat(of_events, of_measures);
	if (definitions != NIL)
		dropped = expire(stream, definitions, before);
	(void) DirectFunctionCall2(meter_prune_inventory, PG_GETARG_DATUM(0),
							   PG_GETARG_DATUM(1));
	meter_operation_end(shown);
	PG_RETURN_INT64(dropped);
}
