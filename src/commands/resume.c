/*
 * resume.c
 *	  meter.resume(): makes a stream active again after a restore, or resumes
 *	  a meter; meter.pause(): lets a meter make no steps.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/access.h"
#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/home.h"
#include "catalog/limits.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "commands/access.h"
#include "commands/resume.h"
#include "core/core.h"
#include "engine/losses.h"
#include "engine/resettle.h"
#include "engine/state_counts.h"
#include "engine/usage_kind.h"
#include "engine/views.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/spi.h"
#include "pg/wake.h"

/*
 * Move the sequence of a log to the greatest arrival and the greatest position
 * or beyond, so that no new row lies behind one.
 */
static void
advance_sequence(const char *stream, const char *log, int64 position)
{
	const char *schema = quote_identifier(stream);
	char	   *sequence;
	bool		isnull;
	int64		greatest;
	int64		last;
	bool		called;

	meter_execute(psprintf("SELECT coalesce(max(arrival), 0) FROM %s.%s",
						   schema, log), SPI_OK_SELECT);
	greatest = Max(DatumGetInt64(meter_result(0, 1, &isnull)), position);
	sequence = psprintf("%s.%s_arrival_seq", schema, log);
	meter_execute(psprintf("SELECT last_value, is_called FROM %s", sequence),
				  SPI_OK_SELECT);
	last = DatumGetInt64(meter_result(0, 1, &isnull));
	called = DatumGetBool(meter_result(0, 2, &isnull));
	if (greatest > last || (greatest == last && !called && greatest > 0))
		meter_execute(psprintf("SELECT setval(%s::regclass, " INT64_FORMAT ")",
							   quote_literal_cstr(sequence), greatest),
					  SPI_OK_SELECT);
}

/*
 * Check that what a meter has read, written and carries is there, and find again
 * what can be made of the log alone.
 */
void
meter_check_meter(const char *stream, const char *meter)
{
	MeterDefinition *definition = meter_load(stream, meter, METER_LOCK_WAIT);
	MeterProgress *progress = meter_load_progress(definition);
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_session_bulk();
	meter_refuse_empty_log(definition, progress);
	meter_check_log(definition, progress);
	meter_check_ledger(definition, progress);
	meter_check_states(definition, progress);
	meter_renew_rows(definition, progress);
	meter_session_end(&session);
}

/* Make a stream active again. */
static void
resume_stream(const char *stream)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	int64		positions[METER_NLOGS];
	ListCell   *cell;
	bool		restored = !meter_stream_is_active(stream);
	int			i;

	meter_lock_all(stream);
	meter_session_begin(&session, meter_extension_owner());
	meter_greatest_positions(stream, positions);
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_check_condition(stream);
	meter_check_limits(stream);
	meter_session_end(&session);
	meter_check_sealed(stream);
	foreach(cell, meter_list_meters(stream, NULL, false))
		meter_check_meter(stream, ((MeterRef *) lfirst(cell))->meter);

	meter_session_begin(&session, meter_stream_owner(stream));
	for (i = 0; i < METER_NLOGS; i++)
		advance_sequence(stream, meter_log_names[i], positions[i]);
	meter_session_end(&session);
	meter_complete_segments(stream);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET failures = 0, retry_at = NULL WHERE stream = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
	meter_execute_params("UPDATE meter.stream SET maintenance_failures = 0, maintenance_retry_at = NULL WHERE name = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
	meter_forget_notes(stream);
	/* forget who wrote to which segment: that is of another server */
	meter_execute_params("UPDATE meter.segment SET note_writers = NULL, note_server = NULL, "
						 "closed = closed AND sealed_at IS NOT NULL WHERE stream = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
	meter_move_in(stream);
	meter_session_end(&session);
	if (restored)
	{
		meter_sources_expect(stream);
		meter_bind_tenants(stream);
	}
	foreach(cell, meter_list_meters(stream, NULL, false))
		meter_note_ledger(stream, ((MeterRef *) lfirst(cell))->meter);
	meter_make_views(stream);
}

/* Pause a meter, or resume it. */
static void
set_paused(const char *stream, const char *meter, bool paused)
{
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3];

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(meter);
	values[2] = BoolGetDatum(paused);
	/* wait for the end of a current step */
	(void) meter_load(stream, meter, METER_LOCK_WAIT);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET paused = $3, "
						 "failures = CASE WHEN $3 THEN failures ELSE 0 END, "
						 "retry_at = CASE WHEN $3 THEN retry_at END "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 3, types, values, NULL);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_pause);

/* pause(stream, meter) */
Datum
meter_pause(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *meter = meter_text_arg(fcinfo, 1, "meter");

	PreventCommandIfReadOnly("meter.pause()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	set_paused(stream, meter, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_resume);

/* resume(stream, meter) */
Datum
meter_resume(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");

	PreventCommandIfReadOnly("meter.resume()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	if (PG_ARGISNULL(1))
		resume_stream(stream);
	else
		set_paused(stream, meter_text_arg(fcinfo, 1, "meter"), false);
	meter_worker_wake();
	PG_RETURN_VOID();
}
