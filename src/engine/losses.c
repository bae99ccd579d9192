/*
 * losses.c
 *	  What a restore may have lost of logs and ledger.
 *
 * A dump that was restored in part, or a table that was restored from an older
 * one, leaves logs, ledger and catalog that do not fit.  The catalog has the last
 * arrival that each meter has read of each log, and how many rows a sealed
 * segment has; the table settlement has how many rows each settlement wrote.
 * meter.resume() compares.  meter.resettle() and meter.rewind() compute usage from
 * the log that is there, and note what was lost.
 *
 * A log that is empty is never taken for what happened, where the ledger is not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/stream.h"
#include "engine/losses.h"
#include "engine/usage_kind.h"
#include "pg/spi.h"

/* Raise that a log is not what a meter has read. */
static void
raise_lost_rows(const MeterDefinition *definition, const char *log,
				const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("log \"%s.%s\" has lost rows that meter \"%s\" has read",
					definition->stream, log, definition->name),
			 errdetail_internal("%s", detail),
			 errhint("Restore the log; a restore of data only needs pg_restore --disable-triggers. "
					 "If the rows are lost for good, meter.resettle(%s, %s) takes back what was billed for them.",
					 quote_literal_cstr(definition->stream), quote_literal_cstr(definition->name))));
}

/*
 * Refuse to compute usage anew from a log that is empty, where there is usage
 * of it.  Within a session.
 */
void
meter_refuse_empty_log(const MeterDefinition *definition,
					   const MeterProgress *progress)
{
	const char *schema = quote_identifier(definition->stream);
	MeterLog	last = meter_usage_of(definition)->log;
	MeterLog	log;

	for (log = METER_LOG_EVENT; log <= last; log++)
	{
		bool		isnull;

		/* events name the owners of what is measured, if they name any */
		if (log < last && progress->logs[log].read_arrival == 0)
			continue;
		meter_execute_row(psprintf("SELECT NOT EXISTS (SELECT 1 FROM %s.%s) "
								   "AND NOT EXISTS (SELECT 1 FROM %s._expired WHERE log = '%s') "
								   "AND EXISTS (SELECT 1 FROM %s.usage WHERE meter = %s)",
								   schema, meter_log_names[log], schema,
								   meter_log_names[log], schema,
								   quote_literal_cstr(definition->name)));
		if (DatumGetBool(meter_result(0, 1, &isnull)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("log \"%s.%s\" is empty, but the ledger has usage of meter \"%s\"",
							definition->stream, meter_log_names[log],
							definition->name),
					 errhint("Restore the log; a restore of data only needs pg_restore --disable-triggers. To take usage back, log voids.")));
	}
}

/*
 * Return the last arrival of a row of a log, those that were expired included.
 * Within a session.
 */
static int64
last_row(const MeterDefinition *definition, MeterLog log)
{
	const char *schema = quote_identifier(definition->stream);

	meter_execute_row(psprintf("SELECT greatest((SELECT max(arrival) FROM %s.%s), "
							   "(SELECT max(last_arrival) FROM %s._expired WHERE log = '%s'), 0)",
							   schema, meter_log_names[log], schema,
							   meter_log_names[log]));
	return meter_result_count(1);
}

/* Check that a meter's logs have all that it has read.  Within a session. */
void
meter_check_log(const MeterDefinition *definition,
				const MeterProgress *progress)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		int64		last = last_row(definition, log);

		if (last < progress->logs[log].read_arrival)
			raise_lost_rows(definition, meter_log_names[log],
							psprintf("The last arrival is " INT64_FORMAT ", but " INT64_FORMAT " has been read.",
									 last, progress->logs[log].read_arrival));
	}
}

/* Check that sealed segments of a stream have the rows that they had. */
void
meter_check_sealed(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(stream)};
	char	   *counts;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT string_agg(format('SELECT %L, (SELECT count(*) FROM %I.%I), %s', log || '_' || segment, "
						 "stream, log || '_' || segment, rows), ' UNION ALL ') "
						 "FROM meter.segment WHERE stream = $1 AND sealed_at IS NOT NULL AND rows IS NOT NULL",
						 SPI_OK_SELECT, 1, types, values, NULL);
	counts = meter_result_text(0, 1);
	if (counts != NULL)
		counts = MemoryContextStrdup(context, counts);
	meter_session_end(&session);
	if (counts == NULL)
		return;
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT * FROM (%s) s (segment, found, noted) WHERE found <> noted ORDER BY 1 LIMIT 1",
						   counts), SPI_OK_SELECT);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("segment \"%s.%s\" has %s rows, but had %s when it was sealed",
						stream, meter_result_text(0, 1),
						meter_result_text(0, 2), meter_result_text(0, 3)),
				 errhint("Restore the segment; a restore of data only needs pg_restore --disable-triggers.")));
	meter_session_end(&session);
}

/* The query of settlements s of a meter, each with the rows u that the ledger has of it. */
#define SETTLEMENTS \
	"%s.settlement s LEFT JOIN (SELECT settlement, count(*) AS found FROM %s.usage " \
	"WHERE meter = %s GROUP BY 1) u ON u.settlement = s.settlement WHERE s.meter = %s"

/* How many rows the ledger should have of a settlement s. */
#define STILL_THERE	"s.usage_rows - s.lost_rows - s.detached_rows"

/*
 * Check that the ledger has the rows that the settlements of a meter wrote.
 * Within a session.
 */
void
meter_check_ledger(const MeterDefinition *definition,
				   const MeterProgress *progress)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	char	   *detail = NULL;

	meter_execute(psprintf("SELECT s.settlement, " STILL_THERE ", coalesce(u.found, 0) FROM " SETTLEMENTS
						   " AND coalesce(u.found, 0) < " STILL_THERE " ORDER BY 1 LIMIT 1",
						   schema, schema, meter, meter), SPI_OK_SELECT);
	if (SPI_processed > 0)
		detail = psprintf("Settlement %s wrote %s usage rows, and %s of them are there.",
						  meter_result_text(0, 1), meter_result_text(0, 2),
						  meter_result_text(0, 3));
	else if (progress->settlement > 0)
	{
		meter_execute(psprintf("SELECT coalesce(max(settlement), 0) FROM %s.settlement WHERE meter = %s",
							   schema, meter), SPI_OK_SELECT);
		if (meter_result_count(1) < progress->settlement)
			detail = psprintf("The last settlement in table \"settlement\" is " INT64_FORMAT ", but there were " INT64_FORMAT ".",
							  meter_result_count(1), progress->settlement);
	}
	if (detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the ledger of stream \"%s\" has lost rows of meter \"%s\"",
						definition->stream, definition->name),
				 errdetail_internal("%s", detail),
				 errhint("Restore tables \"usage\" and \"settlement\", or let meter.resettle(%s, %s) write the usage again.",
						 quote_literal_cstr(definition->stream), quote_literal_cstr(definition->name))));
}

/*
 * Go on with the logs that are there: where rows were lost, the meter has read
 * as far as they go.  Within a session.
 */
void
meter_accept_log(const MeterDefinition *definition, MeterProgress *progress)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		MeterLogProgress *of_log = &progress->logs[log];
		int64		last = last_row(definition, log);

		of_log->read_arrival = Min(of_log->read_arrival, last);
		meter_execute_row(psprintf("SELECT greatest(" INT64_FORMAT ", CASE WHEN is_called THEN last_value ELSE last_value - 1 END) "
								   "FROM %s.%s_arrival_seq", last,
								   quote_identifier(definition->stream),
								   meter_log_names[log]));
		last = meter_result_count(1);
		if (of_log->position <= last)
			continue;
		of_log->position = last;
		of_log->clock_position = Min(of_log->clock_position, last);
		of_log->position_watermark = DT_NOBEGIN;
		of_log->has_note = false;
	}
}

/*
 * Note in the settlements of a meter what the ledger has lost of them, once its
 * usage was computed anew.  Returns whether the last of them is missing itself.
 * Within a session.
 */
bool
meter_accept_ledger(const MeterDefinition *definition,
					const MeterProgress *progress)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	meter_execute(psprintf("UPDATE %s.settlement t SET lost_rows = t.usage_rows - t.detached_rows - l.found "
						   "FROM (SELECT s.settlement, coalesce(u.found, 0) AS found FROM " SETTLEMENTS
						   " AND coalesce(u.found, 0) < " STILL_THERE ") l "
						   "WHERE t.meter = %s AND t.settlement = l.settlement",
						   schema, schema, schema, meter, meter, meter),
				  SPI_OK_UPDATE);
	meter_execute_row(psprintf("SELECT coalesce(max(settlement), 0) FROM %s.settlement WHERE meter = %s",
							   schema, meter));
	return meter_result_count(1) < progress->settlement;
}
