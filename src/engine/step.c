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
 *
 * After an error of the environment (disk, memory, time) the next step of the
 * meter takes half the rows, down to one period or one late row, to which the
 * time limit does not apply.  Each step that succeeds doubles them again.
 *
 * A step that lacks a month of the ledger ends, and nothing of it remains.  Its
 * caller has the month made, and makes the step again (see month.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/calendar.h"
#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/beginning.h"
#include "engine/clock.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/reconcile.h"
#include "engine/settle.h"
#include "engine/step.h"
#include "engine/step_state.h"
#include "engine/usage_kind.h"
#include "log/month.h"
#include "log/position.h"
#include "pg/catalog_watch.h"
#include "pg/now.h"
#include "pg/operation.h"
#include "pg/spi.h"

/*
 * After a failure a meter is left alone for so many seconds, then for twice as
 * long, and so on.
 */
#define RETRY_FIRST_SECONDS	10
#define RETRY_LAST_SECONDS	3600

/* The current step took longer than it may, and was canceled for that. */
volatile sig_atomic_t meter_step_expired = false;

/* The current step takes longer than it may. */
static volatile sig_atomic_t took_too_long = false;

/* The current step is one period, or one late row: no time limit holds. */
static volatile sig_atomic_t no_smaller_step = false;

/* Return a transaction ID as a literal, or NULL where no row was written. */
static char *
id_literal(const MeterIdRange *written, const pg_uuid_t *id)
{
	return !written->any ? "NULL" :
		psprintf("'%s'", DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(id))));
}

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
						   "watermark, position_before, \"position\", measure_position_before, measure_position, usage_rows, first_transaction_id, last_transaction_id, aggregate, unit, period, timezone, recorded_at) "
						   "VALUES (%s, " INT64_FORMAT ", %s, %s, " INT64_FORMAT ", "
						   INT64_FORMAT ", %s, " INT64_FORMAT ", %s, %s, '%s', '" INT64_FORMAT " microseconds', %s, %s, now())",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   progress->settlement,
						   before->has_watermark ?
						   meter_timestamp_literal(before->watermark) : "NULL",
						   meter_timestamp_literal(progress->watermark),
						   before->logs[METER_LOG_EVENT].position, progress->logs[METER_LOG_EVENT].position,
						   meter_usage_of(definition)->log == METER_LOG_MEASURE ?
						   psprintf(INT64_FORMAT ", " INT64_FORMAT,
									before->logs[METER_LOG_MEASURE].position,
									progress->logs[METER_LOG_MEASURE].position) :
						   "NULL, NULL",
						   usage_rows,
						   id_literal(&progress->written,
									  &progress->written.first),
						   id_literal(&progress->written,
									  &progress->written.last),
						   meter_aggregate_name(definition->aggregate),
						   definition->unit,
						   quote_literal_cstr(definition->period),
						   quote_literal_cstr(definition->timezone)),
				  SPI_OK_INSERT);
	meter_session_end(&session);
	progress->written.any = false;
	Async_Notify("meter", psprintf("%s.%s", definition->stream,
								   definition->name));
}

/*
 * Count usage that was written otherwise than by a step as a settlement, and
 * store the progress.  `before` is the progress before it.
 */
void
meter_store_settlement(const MeterDefinition *definition,
					   MeterProgress *progress, const MeterProgress *before,
					   int64 usage_rows)
{
	count_settlement(definition, progress, before, usage_rows);
	meter_store_progress(definition, progress, true);
}

/* The arguments of a step, where it may leave its memory, and its stage. */
typedef struct StepCall
{
	const char *stream;
	const char *meter;
	MeterStepFor whom;
	MeterStep  *step;
	MemoryContext scratch;
	const char *stage;			/* what is done to the meter, as an error says
								 * it */
	const char *end;			/* up to which instant, or NULL */
} StepCall;

/* Say in errors and warnings what a step was doing. */
static void
describe_stage(void *arg)
{
	StepCall   *call = arg;

	if (call->end == NULL)
		errcontext("%s meter \"%s\" of stream \"%s\"",
				   call->stage, call->meter, call->stream);
	else
		errcontext("%s meter \"%s\" of stream \"%s\" up to %s",
				   call->stage, call->meter, call->stream, call->end);
}

/*
 * Process what arrived since the last step.  Returns false if one step does
 * not process all of it.
 */
static bool
process_arrivals(StepCall *call, const MeterDefinition *definition,
				 MeterProgress *progress)
{
	MeterStep  *step = call->step;
	int64		position = progress->logs[METER_LOG_EVENT].position;
	bool		caught_up;

	call->stage = "processing late rows of";
	caught_up = meter_settle_late(definition, progress, step);

	/* observations that follow are late, too: the next step reads them */
	call->stage = "comparing snapshots with";
	step->more = meter_compare_new(definition, progress);
	step->more |=
		meter_compare_arrived(definition, progress, position,
							  progress->logs[METER_LOG_EVENT].position);
	return caught_up;
}

/* Say how many rows a step holds. */
static void
tell_held(const MeterDefinition *definition, const MeterStep *step)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		if (step->held[log] > 0)
			ereport(NOTICE,
					(errmsg_plural("meter \"%s\" of stream \"%s\" holds " INT64_FORMAT " row that came later than \"max_lateness\"",
								   "meter \"%s\" of stream \"%s\" holds " INT64_FORMAT " rows that came later than \"max_lateness\"",
								   (unsigned long) step->held[log],
								   definition->name, definition->stream,
								   step->held[log]),
					 errhint("View %s.anomaly lists the rows that are held; meter.release() lets them count.",
							 quote_identifier(definition->stream))));
	}
}

/* Settle the periods that the clock has closed, or as many as a step takes. */
static void
settle_due(StepCall *call, const MeterDefinition *definition,
		   MeterProgress *progress, TimestampTz target)
{
	MeterStep  *step = call->step;
	TimestampTz end = meter_usage_of(definition)->bound(definition, progress,
														target);

	call->stage = "settling";
	call->end = pstrdup(timestamptz_to_str(end));
	/* not when the work is done, and all of it to be done again */
	meter_require_months(call->stream, call->meter, progress->watermark, end);
	meter_settle(definition, progress, end, step);
	call->end = NULL;
	step->more |= end < target;
}

/* Return what the passes of a step did, as meter.last_step() tells it; NULL: nothing. */
static char *
account(void)
{
	const MeterFoldCount *count = meter_fold_count();

	if (count->rows + count->resources == 0)
		return NULL;
	return psprintf("[{\"stage\": \"scan\", \"rows\": " INT64_FORMAT ", \"microseconds\": " INT64_FORMAT "}, "
					"{\"stage\": \"sort\", \"rows\": " INT64_FORMAT ", \"bytes\": " INT64_FORMAT ", \"microseconds\": " INT64_FORMAT ", \"detail\": \"%s\"}, "
					"{\"stage\": \"walk\", \"rows\": " INT64_FORMAT ", \"microseconds\": " INT64_FORMAT ", \"detail\": \"resources, " INT64_FORMAT " of them with a carried state\"}, "
					"{\"stage\": \"write\", \"rows\": " INT64_FORMAT ", \"bytes\": " INT64_FORMAT ", \"microseconds\": " INT64_FORMAT ", \"detail\": \"usage rows, and " INT64_FORMAT " carried states\"}]",
					count->rows, count->scan_time, count->rows,
					count->sorted_bytes, count->sort_time,
					count->sorted_on_disk ? "on disk" : "in memory",
					count->resources, count->walk_time, count->states,
					count->usage_rows, count->usage_bytes, count->write_time,
					count->states_written);
}

/*
 * Warn of a watermark that lies in the future, once a statement: until then,
 * rows of now are late.
 */
static void
warn_of_future(const MeterDefinition *definition,
			   const MeterProgress *progress)
{
	static TimestampTz told_in = 0;
	static List *told = NIL;
	char	   *name = psprintf("%s.%s", definition->stream, definition->name);
	MemoryContext before;
	ListCell   *cell;

	if (!progress->has_watermark || progress->watermark <= meter_now())
		return;
	before = MemoryContextSwitchTo(TopMemoryContext);
	if (told_in != GetCurrentStatementStartTimestamp())
	{
		list_free_deep(told);
		told = NIL;
		told_in = GetCurrentStatementStartTimestamp();
	}
	foreach(cell, told)
	{
		if (strcmp(lfirst(cell), name) == 0)
			break;
	}
	if (cell == NULL)
		told = lappend(told, pstrdup(name));
	MemoryContextSwitchTo(before);
	if (cell == NULL)
		ereport(WARNING,
				(errmsg("the watermark of meter \"%s\" of stream \"%s\" lies in the future: %s",
						definition->name, definition->stream,
						timestamptz_to_str(progress->watermark)),
				 errhint("If the clock of the server was ahead, meter.rewind(%s, %s, ...) takes the watermark back.",
						 quote_literal_cstr(definition->stream), quote_literal_cstr(definition->name))));
}

/*
 * Give a meter its first watermark.  Who owns what may have been said before
 * that, when nothing was to be settled yet: a meter of events then has to know
 * it.  Returns false if there is none yet.
 */
static bool
begin_usage(const MeterDefinition *definition, MeterProgress *progress)
{
	if (!meter_first_watermark(definition, progress))
		return false;
	if (!meter_usage_of(definition)->begins_late)
		(void) meter_settle_anew(definition, progress, progress->watermark,
								 progress->watermark, DT_NOBEGIN);
	return true;
}

/*
 * Check a stream and its condition, unless that was done and no table has changed
 * since.  One snapshot for all of the transaction may be older than changes that
 * the catalog has told of.
 */
static void
check_stream(const char *stream)
{
	uint64		changes = meter_catalog_changes();
	bool		known = meter_stream_is_checked(stream);

	meter_check_stream(stream);
	if (known)
		return;
	meter_check_condition(stream);
	if (!IsolationUsesXactSnapshot())
		meter_note_checked(stream, changes);
}

/* Make a step; errors are left to the caller. */
static void
do_step(StepCall *call)
{
	MeterStep  *step = call->step;
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterProgress before;
	MeterSession session;
	TimestampTz target;
	MeterLog	log;
	bool		caught_up;
	bool		shown;

	meter_fold_count_anew();
	definition = meter_load(call->stream, call->meter,
							call->whom == METER_STEP_NAMED ?
							METER_LOCK_WAIT_OR_GONE : METER_LOCK_SKIP);
	progress = definition ? meter_load_progress(definition) : NULL;
	if (definition == NULL ||
		(call->whom == METER_STEP_WORKER && progress->retry_later))
	{
		step->skipped = true;
		step->more = definition == NULL;	/* somebody else may have it */
		return;
	}
	shown = meter_operation_begin("step", call->stream, call->meter);
	meter_calendar_require(definition->calendar);
	before = *progress;
	warn_of_future(definition, progress);
	no_smaller_step = progress->halvings > 0 && meter_step_rows(progress) == 1;
	call->stage = "looking for what is new to";
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		step->safe[log] = meter_safe_position(definition, progress, log,
											  &step->noted_at[log]);

	meter_session_begin(&session, meter_stream_owner(call->stream));
	check_stream(call->stream);
	meter_session_bulk();
	caught_up = process_arrivals(call, definition, progress);
	call->stage = "looking for what is due to";
	if (meter_clock_target(definition, progress, step, &target) &&
		(progress->has_watermark ||
		 begin_usage(definition, progress)) &&
		target > progress->watermark &&
	/* the first state comes from late rows as well */
		(caught_up || progress->settlement > 0))
		settle_due(call, definition, progress, target);
	meter_session_end(&session);
	if (!caught_up)
		step->more = true;

	call->stage = "recording a step of";
	if (step->usage_rows + step->adjustments > 0)
		count_settlement(definition, progress, &before,
						 step->usage_rows + step->adjustments);
	/* a larger step would take too long as well */
	if (progress->halvings > 0 && !took_too_long)
		progress->halvings--;
	progress->last_step = account();
	if (meter_progress_differs(&before, progress))
		meter_store_progress(definition, progress,
							 step->usage_rows + step->adjustments > 0);
	step->has_watermark = progress->has_watermark;
	step->watermark = progress->watermark;
	tell_held(definition, step);
	meter_operation_end(shown);
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

/*
 * Tell whether a step failed for want of disk, memory or time, or at a limit
 * of the server's: a smaller one may succeed.
 */
static bool
is_of_environment(const ErrorData *error)
{
	if (is_cancel(error))
		return meter_step_expired;
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/*
 * Record that a step failed, unless another session holds the meter.  With
 * `halve` the next one is smaller, if it can be.
 */
static void
record_failure(const StepCall *call, const ErrorData *error, bool halve)
{
	MeterSession session;
	Oid			types[6] = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID};
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	MeterProgress progress = {0};
	int			failures;
	int			wait = RETRY_LAST_SECONDS;
	bool		isnull;

	values[0] = CStringGetTextDatum(call->stream);
	values[1] = CStringGetTextDatum(call->meter);
	values[2] = CStringGetTextDatum(error->message);
	meter_session_begin(&session, meter_extension_owner());
	/* read nothing of the definition, where the fault may be */
	meter_execute_params("SELECT failures, watermark, halvings FROM meter.meter "
						 "WHERE stream = $1 AND name = $2 FOR UPDATE SKIP LOCKED",
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (SPI_processed == 1)
	{
		failures = DatumGetInt32(meter_result(0, 1, &isnull));
		call->step->has_watermark =
			meter_result_instant(2, &call->step->watermark);
		progress.halvings = DatumGetInt32(meter_result(0, 3, &isnull));
		if (failures < 8)
			wait = Min(RETRY_FIRST_SECONDS << failures, RETRY_LAST_SECONDS);
		if (halve &&
			(progress.halvings == 0 || meter_step_rows(&progress) > 1))
			progress.halvings++;
		values[3] = Int32GetDatum(wait);
		values[4] = Int32GetDatum(progress.halvings);
		if (error->context != NULL)
			values[5] = CStringGetTextDatum(error->context);
		else
			nulls[5] = 'n';
		meter_execute_params("UPDATE meter.meter SET failures = failures + 1, "
							 "last_error = $3, last_error_context = $6, last_error_at = clock_timestamp(), "
							 "retry_at = clock_timestamp() + make_interval(secs => $4), halvings = $5 "
							 "WHERE stream = $1 AND name = $2",
							 SPI_OK_UPDATE, 6, types, values, nulls);
	}
	meter_session_end(&session);
}

/* Say in an error that a step was canceled because it took too long. */
static void
describe_expiry(ErrorData *error)
{
	error->message = pstrdup("canceled, since it took longer than \"meter.step_timeout\"");
	error->hint = pstrdup("Look for what takes so long, such as a trigger on a table of the stream. The next step takes half the rows; where it is the step itself, raise the setting, or lower \"meter.batch_rows\".");
}

/*
 * Leave in an error's context what was done within the step: whoever called it
 * adds the rest to the warning.
 */
static void
cut_context(ErrorData *error)
{
	char	   *outer = GetErrorContextStack();
	size_t		outer_length = outer ? strlen(outer) : 0;
	size_t		length = error->context ? strlen(error->context) : 0;

	if (outer_length > 0 && length > outer_length &&
		strcmp(error->context + length - outer_length, outer) == 0 &&
		error->context[length - outer_length - 1] == '\n')
		error->context[length - outer_length - 1] = '\0';
}

/*
 * Tell whether the key of the ledger, or of its totals, refused a row: it has
 * rows where it can have none.
 */
static bool
is_in_ledger(const StepCall *call, const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		return false;

	/*
	 * a node does not say which table it is; the second time it is none of
	 * these
	 */
	if (error->schema_name == NULL)
		return meter_stream_shards(call->stream) > 0;
	return error->table_name != NULL &&
		strcmp(error->schema_name, call->stream) == 0 &&
		(meter_is_month_of(error->table_name, "usage", NULL) ||
		 meter_is_month_of(error->table_name, "account_usage", NULL));
}

/* Make a step that compares with what the ledger has, as meter_try() calls it. */
static void
call_step_again(void *arg)
{
	StepCall   *call = arg;

	meter_note_ledger(call->stream, call->meter);
	MemoryContextSwitchTo(call->scratch);
	do_step(call);
}

/* Make a step, as meter_try() calls it. */
static void
call_step(void *arg)
{
	StepCall   *call = arg;

	MemoryContextSwitchTo(call->scratch);
	do_step(call);
}

/*
 * End the current step, since it takes too long, as a person would who cancels
 * it; but not if it cannot be smaller.  For a signal handler.
 */
void
meter_step_expire(void)
{
	took_too_long = true;
	if (no_smaller_step)
		return;
	meter_step_expired = true;
	QueryCancelPending = true;
	InterruptPending = true;
}

/* Begin the time of a step, or of other work under the same clock. */
void
meter_step_start_clock(void)
{
	meter_step_expired = false;
	took_too_long = false;
	no_smaller_step = false;
}

/*
 * Record as a failure of its meter that a step was ended with its process.
 */
void
meter_step_terminated(const char *stream, const char *meter)
{
	MeterStep	step = {0};
	StepCall	call = {stream, meter, METER_STEP_WORKER, &step, NULL, "recording a failure of", NULL};
	ErrorData	error = {0};

	error.message = "terminated, since it did not obey a cancel within \"meter.cancel_grace\"";
	record_failure(&call, &error, true);
}

/*
 * Record and report that a meter could not be advanced; an order to stop goes
 * on.
 */
static void
fail(StepCall *call, ErrorContextCallback *callback, ErrorData *error)
{
	bool		halve;

	/* an order to stop is no failure of the meter */
	if (is_cancel(error) && !meter_step_expired)
		ReThrowError(error);
	halve = is_of_environment(error);
	if (is_cancel(error))
		describe_expiry(error);
	cut_context(error);
	meter_cut_error(error);
	memset(call->step, 0, sizeof(*call->step));
	call->step->failed = true;
	call->stage = "recording a failure of";
	call->end = NULL;
	error_context_stack = callback;
	record_failure(call, error, halve);
	error_context_stack = callback->previous;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("meter \"%s\" of stream \"%s\" could not be advanced: %s",
					call->meter, call->stream, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0,
			 error->context ? errcontext("%s", error->context) : 0));
	FreeErrorData(error);
}

/*
 * Make one bounded step of one meter, in a subtransaction of the caller's
 * transaction.  An error is caught and recorded on the meter.  If the step lacks
 * months it says so, and did nothing.
 */
void
meter_step(const char *stream, const char *meter, MeterStepFor whom,
		   MeterStep *step)
{
	StepCall	call = {stream, meter, whom, step, NULL, "loading", NULL};
	ErrorContextCallback callback = {error_context_stack, describe_stage, &call};
	ErrorData  *error;

	memset(step, 0, sizeof(*step));
	took_too_long = false;
	no_smaller_step = false;
	call.scratch = AllocSetContextCreate(CurrentMemoryContext, "meter step",
										 ALLOCSET_DEFAULT_SIZES);
	error_context_stack = &callback;
	error = meter_try(call_step, &call);
	if (error != NULL && is_in_ledger(&call, error))
	{
		FreeErrorData(error);
		memset(step, 0, sizeof(*step));
		MemoryContextReset(call.scratch);
		error = meter_try(call_step_again, &call);
	}
	error_context_stack = callback.previous;
	MemoryContextDelete(call.scratch);

	if (error != NULL && error->sqlerrcode == METER_ERRCODE_NO_MONTH)
	{
		FreeErrorData(error);
		memset(step, 0, sizeof(*step));
		step->lacks_months = step->more = true;
	}
	else if (error != NULL)
		fail(&call, &callback, error);
}

/* Make what a step lacked, as meter_try() calls it. */
static void
call_make_months(void *arg)
{
	StepCall   *call = arg;

	meter_make_months(call->stream, call->meter);
}

/*
 * Make the months that a step of a meter lacked, in a subtransaction.  An error
 * is caught, and is the step's.  Returns whether the step can be made again.
 */
bool
meter_step_make_months(const char *stream, const char *meter, MeterStep *step)
{
	StepCall	call = {stream, meter, METER_STEP_NAMED, step, NULL, "making months for", NULL};
	ErrorContextCallback callback = {error_context_stack, describe_stage, &call};
	ErrorData  *error;

	error_context_stack = &callback;
	error = meter_try(call_make_months, &call);
	error_context_stack = callback.previous;
	if (error != NULL)
		fail(&call, &callback, error);
	return error == NULL;
}

/*
 * Call a function that writes usage of a meter, in a subtransaction.  If it
 * lacks months, it is undone with its locks, they are made, and it is called
 * again.
 */
void
meter_with_months(const char *stream, const char *meter,
				  void (*body) (void *arg), void *arg)
{
	ErrorData  *error;

	while ((error = meter_try(body, arg)) != NULL)
	{
		if (error->sqlerrcode != METER_ERRCODE_NO_MONTH)
			ReThrowError(error);
		FreeErrorData(error);
		meter_make_months(stream, meter);
	}
}
