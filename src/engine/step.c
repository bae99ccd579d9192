/*
 * step.c
 *	  A step: one bounded piece of work of one meter, in one transaction.
 *
 * A step reads what arrived since the last step, computes the resources anew
 * that got rows from before the watermark, settles the periods that the clock
 * has closed, and writes usage, states, watermark and position.  Usage is
 * compared with the ledger wherever the ledger may have rows, so a step that
 * is repeated, whatever was lost, writes nothing.
 *
 * The meter's row is locked first and until the transaction ends: steps of one
 * meter never overlap.  Queries over the stream's tables run as their owner,
 * those over the catalog as the extension's owner.
 */
#include "postgres.h"

#include "commands/async.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/beginning.h"
#include "engine/clock.h"
#include "engine/event_usage.h"
#include "engine/measure_usage.h"
#include "engine/reconcile.h"
#include "engine/step.h"
#include "engine/step_state.h"
#include "log/position.h"
#include "pg/spi.h"

/*
 * After a failure a meter is left alone for so many seconds, then for twice as
 * long, and so on.
 */
#define RETRY_FIRST_SECONDS	10
#define RETRY_LAST_SECONDS	3600

volatile sig_atomic_t meter_step_expired = false;

/*
 * Count usage that was written as a settlement, store a record of it, and
 * notify listeners.  `before` is the progress before it.  The caller stores
 * the number.
 */
static void
count_settlement(const MeterDefinition *definition, MeterProgress *progress,
				 const MeterProgress *before, int64 usage_rows)
{
	MeterSession session;

	progress->settlement++;
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_execute(psprintf("INSERT INTO %s.settlement (meter, settlement, watermark_before, "
						   "watermark, position_before, \"position\", measure_position_before, measure_position, usage_rows, aggregate, unit, period, timezone, recorded_at) "
						   "VALUES (%s, " INT64_FORMAT ", %s, %s, " INT64_FORMAT ", "
						   INT64_FORMAT ", %s, " INT64_FORMAT ", '%s', '" INT64_FORMAT " microseconds', (%s)[4]::interval, (%s)[8], now())",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   progress->settlement,
						   before->has_watermark ?
						   meter_timestamp_literal(before->watermark) : "NULL",
						   meter_timestamp_literal(progress->watermark),
						   before->logs[METER_LOG_EVENT].position, progress->logs[METER_LOG_EVENT].position,
						   METER_OF_MEASURES(definition->aggregate) ?
						   psprintf(INT64_FORMAT ", " INT64_FORMAT,
									before->logs[METER_LOG_MEASURE].position,
									progress->logs[METER_LOG_MEASURE].position) :
						   "NULL, NULL",
						   usage_rows,
						   meter_aggregate_name(definition->aggregate),
						   definition->unit, definition->spec,
						   definition->spec),
				  SPI_OK_INSERT);
	meter_session_end(&session);
	Async_Notify("meter", psprintf("%s.%s", definition->stream,
								   definition->name));
}

/*
 * Count usage that was written otherwise than by a step as a settlement, and
 * store the progress.
 */
void
meter_store_settlement(const MeterDefinition *definition,
					   MeterProgress *progress, int64 usage_rows)
{
	count_settlement(definition, progress, progress, usage_rows);
	meter_store_progress(definition, progress, true);
}

/* Make a step; errors are left to the caller. */
static void
do_step(const char *stream, const char *meter, bool skip_locked,
		MeterStep *step)
{
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterProgress before;
	MeterSession session;
	TimestampTz target;
	bool		of_measures;
	bool		caught_up;

	definition = meter_load(stream, meter,
							skip_locked ? METER_LOCK_SKIP : METER_LOCK_WAIT_OR_GONE);
	progress = definition ? meter_load_progress(definition) : NULL;
	if (definition == NULL || (skip_locked && progress->retry_later))
	{
		step->skipped = true;
		step->more = definition == NULL;	/* somebody else may have it */
		return;
	}
	before = *progress;
	of_measures = METER_OF_MEASURES(definition->aggregate);
	step->safe[METER_LOG_EVENT] =
		meter_safe_position(definition, progress, METER_LOG_EVENT,
							&step->noted_at[METER_LOG_EVENT]);
	if (of_measures)
		step->safe[METER_LOG_MEASURE] =
			meter_safe_position(definition, progress, METER_LOG_MEASURE,
								&step->noted_at[METER_LOG_MEASURE]);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	if (of_measures)
	{
		meter_session_memory();
		caught_up = meter_measure_late(definition, progress, step);
	}
	else
	{
		caught_up = meter_settle_late(definition, progress, step);

		/* observations that follow are late, too: the next step reads them */
		step->more = meter_compare_new(definition, progress);
		step->more |=
			meter_compare_arrived(definition, progress,
								  before.logs[METER_LOG_EVENT].position,
								  progress->logs[METER_LOG_EVENT].position);
	}
	if ((progress->has_watermark ||
		 meter_first_watermark(definition, progress)) &&
		meter_clock_target(definition, progress, step, &target) &&
		target > progress->watermark &&
	/* the first state comes from late rows as well */
		(caught_up || progress->settlement > 0))
	{
		TimestampTz end = of_measures ?
		meter_measure_bound(definition, progress, step, target) :
		meter_bound_step(definition, progress, target);

		if (of_measures)
			meter_measure_settle(definition, progress, end, step);
		else
		{
			meter_settle_named(definition, progress, end, step);
			meter_settle_events(definition, progress, end, step);
		}
		step->more |= end < target;
	}
	meter_session_end(&session);
	if (!caught_up)
		step->more = true;

	if (step->usage_rows + step->adjustments > 0)
		count_settlement(definition, progress, &before,
						 step->usage_rows + step->adjustments);
	if (meter_progress_differs(&before, progress))
		meter_store_progress(definition, progress,
							 step->usage_rows + step->adjustments > 0);
	step->has_watermark = progress->has_watermark;
	step->watermark = progress->watermark;
}

/* Record that a step failed, unless another session holds the meter. */
static void
record_failure(const char *stream, const char *meter, const char *message,
			   MeterStep *step)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, INT4OID};
	Datum		values[4];
	int			failures;
	int			wait = RETRY_LAST_SECONDS;
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(meter);
	values[2] = CStringGetTextDatum(message);
	meter_session_begin(&session, meter_extension_owner());
	/* read nothing of the definition, where the fault may be */
	meter_execute_params("SELECT failures, watermark FROM meter.meter "
						 "WHERE stream = $1 AND name = $2 FOR UPDATE SKIP LOCKED",
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (SPI_processed == 1)
	{
		failures = DatumGetInt32(meter_result(0, 1, &isnull));
		step->has_watermark = meter_result_instant(2, &step->watermark);
		if (failures < 8)
			wait = Min(RETRY_FIRST_SECONDS << failures, RETRY_LAST_SECONDS);
		values[3] = Int32GetDatum(wait);
		meter_execute_params("UPDATE meter.meter SET failures = failures + 1, "
							 "last_error = $3, last_error_at = clock_timestamp(), "
							 "retry_at = clock_timestamp() + make_interval(secs => $4) "
							 "WHERE stream = $1 AND name = $2",
							 SPI_OK_UPDATE, 4, types, values, NULL);
	}
	meter_session_end(&session);
}

/*
 * Tell whether an error means that the session was told to stop.  A trigger
 * can raise the same code.
 */
static bool
is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->filename != NULL &&
		strcmp(error->filename, "postgres.c") == 0;
}

/* Say in an error that a step was canceled because it took too long. */
static void
describe_expiry(ErrorData *error)
{
	error->message = pstrdup("canceled, since it took longer than \"meter.step_timeout\"");
	error->hint = pstrdup("Look for what takes so long, such as a trigger on a table of the stream; where it is the step itself, raise the setting, or lower \"meter.batch_rows\".");
}

/* The arguments of a step, and where it may leave its memory. */
typedef struct StepCall
{
	const char *stream;
	const char *meter;
	bool		skip_locked;
	MeterStep  *step;
	MemoryContext scratch;
} StepCall;

/* Make a step, as meter_try() calls it. */
static void
call_step(void *arg)
{
	StepCall   *call = arg;

	MemoryContextSwitchTo(call->scratch);
	do_step(call->stream, call->meter, call->skip_locked, call->step);
}

/*
 * Make one bounded step of one meter, in a subtransaction of the caller's
 * transaction.  An error is caught and recorded on the meter.
 */
void
meter_step(const char *stream, const char *meter, bool skip_locked,
		   MeterStep *step)
{
	StepCall	call = {stream, meter, skip_locked, step, NULL};
	ErrorData  *error;

	memset(step, 0, sizeof(*step));
	call.scratch = AllocSetContextCreate(CurrentMemoryContext, "meter step",
										 ALLOCSET_DEFAULT_SIZES);
	error = meter_try(call_step, &call);
	MemoryContextDelete(call.scratch);

	if (error != NULL)
	{
		/* an order to stop is no failure of the meter */
		if (is_cancel(error) && !meter_step_expired)
			ReThrowError(error);
		if (is_cancel(error))
			describe_expiry(error);
		memset(step, 0, sizeof(*step));
		step->failed = true;
		record_failure(stream, meter, error->message, step);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("meter \"%s\" of stream \"%s\" could not be advanced: %s",
						meter, stream, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
}
