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
#include "engine/duplicates.h"
#include "engine/late.h"
#include "engine/reconcile.h"
#include "engine/settle.h"
#include "engine/step.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/*
 * Check that no row asked for by its arrival lies before the retention
 * boundary.  Within a session.
 */
static void
check_release(const MeterDefinition *definition, const char *arrivals)
{
	if (arrivals == NULL || TIMESTAMP_IS_NOBEGIN(definition->boundary))
		return;
	meter_execute(psprintf("SELECT arrival, \"time\" FROM %s.held WHERE meter = %s "
						   "AND arrival = ANY (%s::bigint[]) "
						   "AND \"time\" < %s ORDER BY 1 LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   quote_literal_cstr(arrivals),
						   meter_timestamp_literal(definition->boundary)),
				  SPI_OK_SELECT);
	if (SPI_processed > 0)
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

PG_FUNCTION_INFO_V1(meter_release);

/* release(stream, meter, arrivals) */
Datum
meter_release(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = meter_text_arg(fcinfo, 1, "meter");
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
	StringInfoData sql;
	char	   *arrivals;
	char	   *released;
	int64		count;
	int64		written = 0;
	bool		isnull;

	PreventCommandIfReadOnly("meter.release()");
	definition = meter_load_to_write(stream, meter);
	progress = meter_load_progress(definition);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	arrivals = arrivals_arg(fcinfo);
	check_release(definition, arrivals);
	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH gone AS (DELETE FROM %s.held WHERE meter = %s",
					 quote_identifier(stream), quote_literal_cstr(meter));
	append_which(&sql, arrivals);
	if (!TIMESTAMP_IS_NOBEGIN(definition->boundary))
		appendStringInfo(&sql, " AND \"time\" >= %s",
						 meter_timestamp_literal(definition->boundary));
	appendStringInfoString(&sql, " RETURNING arrival) SELECT count(*), array_agg(arrival) FROM gone");
	meter_execute(sql.data, SPI_OK_SELECT);
	count = DatumGetInt64(meter_result(0, 1, &isnull));
	released = meter_result_text(0, 2);

	if (count > 0)
		(void) meter_compare_affected(definition, progress,
									  psprintf("SELECT DISTINCT e.resource FROM %s.event e "
											   "WHERE e.arrival = ANY (%s::bigint[])",
											   quote_identifier(stream),
											   quote_literal_cstr(released)),
									  psprintf("(SELECT min(%s) FROM %s.event e "
											   "WHERE e.arrival = ANY (%s::bigint[]))",
											   meter_least_time("e", definition->deduplication_window),
											   quote_identifier(stream),
											   quote_literal_cstr(released)));
	if (count > 0 && progress->has_watermark)
		written = meter_recompute(definition, progress,
								  meter_released_rows(definition, progress,
													  released, count),
								  NULL);
	meter_session_end(&session);
	if (written > 0)
		meter_store_settlement(definition, progress, progress, written);
	else
		meter_store_state_counts(definition, progress);
	PG_RETURN_INT64(count);
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
	int64		count;

	PreventCommandIfReadOnly("meter.discard()");
	/* locks the meter, as steps do */
	(void) meter_load_to_write(stream, meter);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s.held SET discarded_at = now() WHERE meter = %s AND discarded_at IS NULL",
					 quote_identifier(stream), quote_literal_cstr(meter));
	append_which(&sql, arrivals_arg(fcinfo));
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

PG_FUNCTION_INFO_V1(meter_release_resource);

/* release_resource(stream, meter, resource) */
Datum
meter_release_resource(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = meter_text_arg(fcinfo, 1, "meter");
	char	   *resource = meter_text_arg(fcinfo, 2, "resource");
	const char *name = psprintf("%s COLLATE \"C\"", quote_literal_cstr(resource));
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
	const char *since;
	int64		written = 0;
	bool		settled;

	PreventCommandIfReadOnly("meter.release_resource()");
	definition = meter_load_to_write(stream, meter);
	progress = meter_load_progress(definition);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	since = take_out(definition, resource);
	/* no snapshot was compared with it meanwhile, of whatever time */
	(void) meter_compare_affected(definition, progress,
								  psprintf("SELECT %s AS resource", name),
								  "'-infinity'::timestamptz");
	if (progress->has_watermark)
		written = meter_recompute(definition, progress,
								  psprintf("SELECT %s, %s, 'infinity'::timestamptz, %s, %s",
										   name, since, since, since),
								  NULL);
	meter_execute(psprintf("SELECT FROM %s.quarantine WHERE meter = %s AND resource = %s",
						   quote_identifier(stream), quote_literal_cstr(meter),
						   name), SPI_OK_SELECT);
	settled = SPI_processed == 0;
	meter_session_end(&session);
	if (written > 0)
		meter_store_settlement(definition, progress, progress, written);
	else
		meter_store_state_counts(definition, progress);
	PG_RETURN_BOOL(settled);
}
