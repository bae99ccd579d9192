/*
 * release.c
 *	  meter.release(): lets rows that are held count.
 *
 * A step holds a row when it meets it too late (see late.c); a person releases
 * it.
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
	arrivals = PG_ARGISNULL(2) ? NULL :
		OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(2));
	check_release(definition, arrivals);
	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH gone AS (DELETE FROM %s.held WHERE meter = %s",
					 quote_identifier(stream), quote_literal_cstr(meter));
	if (arrivals != NULL)
		appendStringInfo(&sql, " AND arrival = ANY (%s::bigint[])",
						 quote_literal_cstr(arrivals));
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
		meter_store_settlement(definition, progress, written);
	PG_RETURN_INT64(count);
}
