/*
 * progress.c
 *	  Progress: how far a meter has come, as the catalog has it.
 *
 * The progress of the meter as a whole stands in its row of meter.meter,
 * beside the definition, since that row is what is locked.  The progress in one
 * log stands in a row of meter.log_progress.  Both are read and written under
 * that lock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "pg/settings.h"
#include "pg/spi.h"

/* Return an instant of the row that is read, or `none` where it is null. */
static TimestampTz
instant_column(uint64 row, const char *name, TimestampTz none)
{
	bool		isnull;
	Datum		value = meter_result_by_name(row, name, &isnull);

	return isnull ? none : DatumGetTimestampTz(value);
}

/* Return a number of the row that is read, 0 where it is null. */
static int64
number_column(uint64 row, const char *name)
{
	bool		isnull;
	Datum		value = meter_result_by_name(row, name, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Read the progress in a log from a row; what is copied goes to `context`. */
static void
read_log_row(uint64 row, MemoryContext context, MeterLogProgress *log)
{
	MemoryContext before;
	bool		isnull;
	Datum		writers;

	log->position = number_column(row, "position");
	log->position_before = log->position;
	log->read_arrival = number_column(row, "read_arrival");
	log->position_watermark = instant_column(row, "position_watermark",
											 DT_NOBEGIN);
	log->held_after = number_column(row, "held_after");
	log->note_bound = number_column(row, "note_bound");
	log->note_server = instant_column(row, "note_server", 0);
	log->note_watermark = instant_column(row, "note_watermark", DT_NOBEGIN);
	log->clock_position = number_column(row, "clock_position");
	writers = meter_result_by_name(row, "note_writers", &isnull);
	log->has_note = !isnull;
	if (isnull)
		return;
	before = MemoryContextSwitchTo(context);
	log->note_writers = PointerGetDatum(DatumGetArrayTypePCopy(writers));
	MemoryContextSwitchTo(before);
}

/* Load how far a meter has come. */
MeterProgress *
meter_load_progress(const MeterDefinition *definition)
{
	MemoryContext context = CurrentMemoryContext;
	MeterProgress *progress = palloc0(sizeof(MeterProgress));
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[3];
	uint64		row;
	bool		isnull;

	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_catalog("SELECT m.watermark, m.event_clock, m.first_clock, m.settlement, m.ledger_until, m.running, m.states, "
						  "m.failures::bigint AS failures, m.halvings::bigint AS halvings, coalesce(m.retry_at > $3, false) AS retry_later, "
						  "p.log, p.\"position\", p.read_arrival, p.position_watermark, p.held_after, p.note_bound, p.note_writers, "
						  "p.note_server, p.note_watermark, p.clock_position "
						  "FROM meter.meter m JOIN meter.log_progress p ON p.stream = m.stream AND p.meter = m.name "
						  "WHERE m.stream = $1 AND m.name = $2",
						  3, types, values);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the catalog has no progress of meter \"%s\" of stream \"%s\"",
						definition->name, definition->stream),
				 errhint("Restore table meter.log_progress together with meter.meter, or drop the meter and create it again.")));
	progress->watermark = instant_column(0, "watermark", 0);
	(void) meter_result_by_name(0, "watermark", &isnull);
	progress->has_watermark = !isnull;
	progress->settled_from = isnull ? DT_NOEND : progress->watermark;
	progress->event_clock = instant_column(0, "event_clock", 0);
	(void) meter_result_by_name(0, "event_clock", &isnull);
	progress->has_event_clock = !isnull;
	progress->first_clock = instant_column(0, "first_clock", DT_NOBEGIN);
	progress->settlement = number_column(0, "settlement");
	progress->ledger_until = instant_column(0, "ledger_until", DT_NOBEGIN);
	progress->carried.running = number_column(0, "running");
	progress->carried.all = number_column(0, "states");
	progress->failures = (int) number_column(0, "failures");
	progress->halvings = (int) number_column(0, "halvings");
	progress->retry_later =
		DatumGetBool(meter_result_by_name(0, "retry_later", &isnull));
	for (row = 0; row < SPI_processed; row++)
	{
		char	   *name = TextDatumGetCString(meter_result_by_name(row, "log", &isnull));
		int			log;

		for (log = 0; log < METER_NLOGS; log++)
		{
			if (strcmp(name, meter_log_names[log]) == 0)
				read_log_row(row, context, &progress->logs[log]);
		}
	}
	meter_session_end(&session);
	return progress;
}

/*
 * Return the instant from which it is measured now how late rows are that are
 * still to come: the watermark, or how far the clock was when the meter began,
 * since a meter that works off history has a watermark of long ago.  Returns
 * DT_NOBEGIN if it has neither.
 */
TimestampTz
meter_lateness_from(const MeterProgress *progress)
{
	return Max(progress->has_watermark ? progress->watermark : DT_NOBEGIN,
			   progress->first_clock);
}

/*
 * Return the arrival up to which it is known of the rows of a log whether they
 * count: they were looked at, or are never held.
 */
int64
meter_known_to_count(const MeterProgress *progress, MeterLog log)
{
	return Max(progress->logs[log].position, progress->logs[log].held_after);
}

/*
 * Return about how many rows a step of the meter processes: meter.batch_rows,
 * or less after errors of the environment.  With the least of them a step is
 * one period, or one late row.
 */
int
meter_step_rows(const MeterProgress *progress)
{
	return progress->whole_steps ? PG_INT32_MAX :
		Max(meter_batch_rows >> Min(progress->halvings, 30), 1);
}

/* Tell whether what is stored of the progress in a log differs. */
static bool
log_differs(const MeterLogProgress *a, const MeterLogProgress *b)
{
	return a->position != b->position ||
		a->read_arrival != b->read_arrival ||
		a->position_watermark != b->position_watermark ||
		a->held_after != b->held_after ||
		a->has_note != b->has_note ||
		(a->has_note && (a->note_bound != b->note_bound ||
						 a->note_server != b->note_server ||
						 a->note_writers != b->note_writers)) ||
		a->clock_position != b->clock_position;
}

/* Tell whether what is stored of the progress of a meter differs. */
bool
meter_progress_differs(const MeterProgress *a, const MeterProgress *b)
{
	return a->has_watermark != b->has_watermark ||
		a->watermark != b->watermark ||
		a->has_event_clock != b->has_event_clock ||
		a->event_clock != b->event_clock ||
		a->first_clock != b->first_clock ||
		a->settlement != b->settlement || a->failures != 0 ||
		a->carried.running != b->carried.running ||
		a->carried.all != b->carried.all ||
		a->halvings != b->halvings ||
		log_differs(&a->logs[METER_LOG_EVENT], &b->logs[METER_LOG_EVENT]) ||
		log_differs(&a->logs[METER_LOG_MEASURE], &b->logs[METER_LOG_MEASURE]);
}

/* Store how far a meter has looked at a log.  Within a session. */
static void
store_log(const MeterDefinition *definition, MeterLog log,
		  const MeterLogProgress *progress)
{
	Oid			types[9] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID,
	INT8OID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[9];
	char		nulls[9];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = CStringGetTextDatum(meter_log_names[log]);
	values[3] = Int64GetDatum(progress->position);
	values[4] = TimestampTzGetDatum(progress->position_watermark);
	nulls[4] = TIMESTAMP_IS_NOBEGIN(progress->position_watermark) ? 'n' : ' ';
	values[5] = Int64GetDatum(progress->note_bound);
	values[6] = progress->note_writers;
	values[7] = TimestampTzGetDatum(progress->note_server);
	nulls[5] = nulls[6] = nulls[7] = progress->has_note ? ' ' : 'n';
	values[8] = TimestampTzGetDatum(progress->note_watermark);
	nulls[8] = !progress->has_note ||
		TIMESTAMP_IS_NOBEGIN(progress->note_watermark) ? 'n' : ' ';
	meter_execute_params(psprintf("UPDATE meter.log_progress SET \"position\" = $4, position_watermark = $5, "
								  "note_bound = $6, note_writers = $7, note_server = $8, note_watermark = $9, "
								  "clock_position = " INT64_FORMAT ", held_after = " INT64_FORMAT
								  ", read_arrival = " INT64_FORMAT
								  " WHERE stream = $1 AND meter = $2 AND log = $3",
								  progress->clock_position,
								  progress->held_after,
								  progress->read_arrival),
						 SPI_OK_UPDATE, 9, types, values, nulls);
}

/*
 * Store how far a meter has come, and record the days that usage up to there
 * was computed with.
 */
void
meter_store_progress(const MeterDefinition *definition,
					 const MeterProgress *progress, bool wrote_usage)
{
	MeterSession session;
	Oid			types[11] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	INT8OID, BOOLOID, INT4OID, TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum		values[11];
	char		nulls[11];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = TimestampTzGetDatum(progress->watermark);
	nulls[2] = progress->has_watermark ? ' ' : 'n';
	values[3] = TimestampTzGetDatum(progress->event_clock);
	nulls[3] = progress->has_event_clock ? ' ' : 'n';
	values[4] = Int64GetDatum(progress->settlement);
	values[5] = BoolGetDatum(wrote_usage);
	values[6] = Int32GetDatum(progress->halvings);
	nulls[7] = progress->last_step == NULL ? 'n' : ' ';
	values[7] = progress->last_step == NULL ? (Datum) 0 :
		CStringGetTextDatum(progress->last_step);
	values[8] = TimestampTzGetDatum(progress->first_clock);
	nulls[8] = TIMESTAMP_IS_NOBEGIN(progress->first_clock) ? 'n' : ' ';
	values[9] = Int64GetDatum(progress->carried.running);
	values[10] = Int64GetDatum(progress->carried.all);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET watermark = $3, event_clock = $4, settlement = $5, "
						 "settled_at = CASE WHEN $6 THEN now() ELSE settled_at END, "
						 "failures = 0, last_error = NULL, last_error_context = NULL, last_error_at = NULL, "
						 "retry_at = NULL, halvings = $7, last_step = coalesce($8::jsonb, last_step), first_clock = $9, "
						 "running = $10, states = $11 "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 11, types, values, nulls);
	store_log(definition, METER_LOG_EVENT, &progress->logs[METER_LOG_EVENT]);
	if (METER_OF_MEASURES(definition->aggregate))
		store_log(definition, METER_LOG_MEASURE,
				  &progress->logs[METER_LOG_MEASURE]);
	meter_session_end(&session);
	if (progress->has_watermark)
		meter_calendar_record(definition->calendar, progress->settled_from,
							  progress->watermark);
}

/* Store how many states a meter carries, where nothing else has changed. */
void
meter_store_state_counts(const MeterDefinition *definition,
						 const MeterProgress *progress)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = Int64GetDatum(progress->carried.running);
	values[3] = Int64GetDatum(progress->carried.all);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET running = $3, states = $4 "
						 "WHERE stream = $1 AND name = $2 AND (running, states) <> ($3, $4)",
						 SPI_OK_UPDATE, 4, types, values, NULL);
	meter_session_end(&session);
}

/*
 * Store the progress of a new meter, with a row for each log that it reads.
 * Within a session.
 */
void
meter_create_progress(const MeterDefinition *definition)
{
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[3];
	Datum		logs[METER_NLOGS];
	int			nlogs = METER_OF_MEASURES(definition->aggregate) ?
	METER_NLOGS : 1;
	int			log;

	for (log = 0; log < nlogs; log++)
		logs[log] = CStringGetTextDatum(meter_log_names[log]);
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = PointerGetDatum(construct_array(logs, nlogs, TEXTOID, -1,
												false, TYPALIGN_INT));
	meter_execute_params("INSERT INTO meter.log_progress (stream, meter, log) "
						 "SELECT $1, $2, log FROM unnest($3) log",
						 SPI_OK_INSERT, 3, types, values, NULL);
}

/*
 * Delete the progress of a meter, or with NULL of all meters of a stream.
 * Within a session.
 */
void
meter_forget_progress(const char *stream, const char *meter)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream), 0};
	char		nulls[2] = {' ', 'n'};

	if (meter != NULL)
	{
		values[1] = CStringGetTextDatum(meter);
		nulls[1] = ' ';
	}
	meter_execute_params("DELETE FROM meter.log_progress "
						 "WHERE stream = $1 AND ($2 IS NULL OR meter = $2)",
						 SPI_OK_DELETE, 2, types, values, nulls);
}

/*
 * Forget which transactions the meters of a stream wait for: in another server
 * these names mean nothing.  Within a session.
 */
void
meter_forget_notes(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params("UPDATE meter.log_progress SET note_bound = NULL, note_writers = NULL, "
						 "note_server = NULL, note_watermark = NULL WHERE stream = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
}

/*
 * Let rows count however late they are, if they arrive before the next note.
 * Within a session.
 */
void
meter_hold_nothing(const char *stream, const char *meter)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(meter);
	meter_execute_params("UPDATE meter.log_progress SET position_watermark = NULL, note_watermark = NULL "
						 "WHERE stream = $1 AND meter = $2",
						 SPI_OK_UPDATE, 2, types, values, NULL);
}

/* Return the greatest position of any meter in each log.  Within a session. */
void
meter_greatest_positions(const char *stream, int64 positions[METER_NLOGS])
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream), 0};
	bool		isnull;
	int			log;

	for (log = 0; log < METER_NLOGS; log++)
	{
		values[1] = CStringGetTextDatum(meter_log_names[log]);
		meter_execute_params("SELECT coalesce(max(\"position\"), 0) FROM meter.log_progress "
							 "WHERE stream = $1 AND log = $2",
							 SPI_OK_SELECT, 2, types, values, NULL);
		positions[log] = DatumGetInt64(meter_result(0, 1, &isnull));
	}
}

/*
 * Note what the ledger and its totals have of a new meter already: its
 * settlements go on from there, and from what consumers have read, whatever was
 * lost since; up to there steps compare usage with the ledger.
 */
void
meter_note_ledger(const char *stream, const char *name)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(name);
	meter_session_begin(&session, meter_stream_owner(stream));
	/* the rows of a settlement may have been detached, their totals not */
	meter_execute(psprintf("SELECT greatest(u.settlement, (SELECT max(s.settlement) FROM %s.settlement s WHERE s.meter = %s), 0), "
						   "greatest(u.until, (SELECT max(period_start) FROM %s.account_usage WHERE meter = %s)) "
						   "FROM (SELECT max(settlement) AS settlement, max(period_start) AS until FROM %s.usage WHERE meter = %s) u",
						   quote_identifier(stream), quote_literal_cstr(name),
						   quote_identifier(stream), quote_literal_cstr(name),
						   quote_identifier(stream), quote_literal_cstr(name)),
				  SPI_OK_SELECT);
	values[2] = meter_result(0, 1, &isnull);
	values[3] = meter_result(0, 2, &isnull);
	if (isnull)
		nulls[3] = 'n';
	meter_session_end(&session);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET settlement = greatest(settlement, $3, "
						 "(SELECT max(greatest(p.settlement, p.batch_settlement)) FROM meter.consumer_position p "
						 "WHERE p.stream = $1 AND p.meter = $2)), "
						 "ledger_until = $4 WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 4, types, values, nulls);
	meter_session_end(&session);
}
