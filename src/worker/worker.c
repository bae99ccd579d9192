/*
 * worker.c
 *	  The background worker's outside: settings, registration, the wake at
 *	  commit, and what meter.worker_status shows.
 *
 * Only a library that the server preloads has a launcher.  Elsewhere the
 * settings exist, a wake does nothing and the view says so.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/stream.h"
#include "pg/operation.h"
#include "pg/settings.h"
#include "pg/shared_memory.h"
#include "pg/wake.h"
#include "pg/worker_slot.h"
#include "worker/worker.h"

#define RESTART_SECONDS 5

#define STATUS_COLUMNS 16

StaticAssertDecl(sizeof(MeterSlotRef) <= BGW_EXTRALEN,
				 "a slot's reference travels with its worker");

PG_FUNCTION_INFO_V1(meter_worker_wake_sql);
PG_FUNCTION_INFO_V1(meter_worker_processes);

/* Fills in what launcher and workers have in common. */
static void
describe_process(BackgroundWorker *worker, const char *type,
				 const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* on a standby that is when it has been promoted */
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
	strlcpy(worker->bgw_library_name, "meter",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
}

/* Describes the worker that takes the turn for which a slot is reserved. */
void
meter_worker_describe(BackgroundWorker *worker, const MeterSlotRef *slot)
{
	describe_process(worker, "meter worker", "meter_worker_main");
	snprintf(worker->bgw_name, sizeof(worker->bgw_name),
			 "meter worker for database %u", slot->database);
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_notify_pid = MyProcPid;
	memcpy(worker->bgw_extra, slot, sizeof(MeterSlotRef));
}

/* Registers the launcher: it starts when the server takes writes. */
static void
register_launcher(void)
{
	BackgroundWorker launcher;

	describe_process(&launcher, "meter launcher", "meter_launcher_main");
	strlcpy(launcher.bgw_name, "meter launcher", sizeof(launcher.bgw_name));
	launcher.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&launcher);
}

/* Sets the worker up while the library is loaded. */
void
meter_worker_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	meter_slots_share();
	meter_operations_share();
	meter_shared_memory_request();
	register_launcher();
}

/* meter_internal.worker_wake() */
Datum
meter_worker_wake_sql(PG_FUNCTION_ARGS)
{
	meter_worker_wake();
	PG_RETURN_VOID();
}

/* Names the launcher's state. */
static const char *
launcher_state(int pid)
{
	if (!meter_slots_exist())
		return "not preloaded";
	if (RecoveryInProgress())
		return "waiting for promotion";
	if (pid == 0)
		return "stopped";
	if (!meter_enabled)
		return "paused";
	return meter_slots_have_room() ? "running" : "no room";
}

/* Names the state of a worker's slot. */
static const char *
slot_state(MeterSlotState state)
{
	switch (state)
	{
		case METER_SLOT_WAITING:
			return "waiting";
		case METER_SLOT_STARTING:
			return "starting";
		case METER_SLOT_RUNNING:
			return "running";
		case METER_SLOT_STUCK:
			return "stuck";
	}
	return NULL;
}

/* Names the result of a turn, NULL when there was none. */
static const char *
turn_result(MeterTurnResult result)
{
	switch (result)
	{
		case METER_TURN_NONE:
			return NULL;
		case METER_TURN_SETTLED:
			return "settled";
		case METER_TURN_NOTHING_DUE:
			return "nothing due";
		case METER_TURN_UNFINISHED:
			return "unfinished";
		case METER_TURN_METER_FAILED:
			return "meter failed";
		case METER_TURN_GAVE_WAY:
			return "gave way";
		case METER_TURN_STOPPED:
			return "stopped";
		case METER_TURN_TERMINATED:
			return "terminated";
		case METER_TURN_NO_EXTENSION:
			return "no extension";
		case METER_TURN_NO_METER:
			return "no meter";
		case METER_TURN_READ_ONLY:
			return "read only";
		case METER_TURN_FAILED:
			return "failed";
	}
	return NULL;
}

/* Leaves of the slots those that the current user may see; returns how many. */
static int
visible_slots(MeterSlot *slots, int count)
{
	int			visible = 0;
	int			i;

	if (meter_sees_all())
		return count;
	for (i = 0; i < count; i++)
	{
		if (slots[i].database == MyDatabaseId)
			slots[visible++] = slots[i];
	}
	return visible;
}

/* Returns the last error of a slot as the current user may read it, or NULL. */
static const char *
readable_error(const MeterSlot *slot)
{
	if (slot->last_error_at == 0)
		return NULL;
	return meter_sees_all() ? meter_slot_readable(slot->last_error) :
		"<insufficient privilege>";
}

/* Sets a text column, or leaves it NULL. */
static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

/* Sets a column of an instant, or leaves it NULL: there was none yet. */
static void
set_instant(Datum *values, bool *nulls, int column, TimestampTz instant)
{
	nulls[column] = instant == 0;
	values[column] = TimestampTzGetDatum(instant);
}

/* Sets a process id, or leaves it NULL: there is no process. */
static void
set_pid(Datum *values, bool *nulls, int column, int pid)
{
	nulls[column] = pid == 0;
	values[column] = Int32GetDatum(pid);
}

/* Makes the row of the launcher. */
static HeapTuple
launcher_row(TupleDesc descriptor)
{
	Datum		values[STATUS_COLUMNS] = {0};
	bool		nulls[STATUS_COLUMNS];
	int			pid = meter_slots_exist() ? meter_launcher_pid() : 0;

	memset(nulls, true, sizeof(nulls));
	set_text(values, nulls, 0, "launcher");
	set_pid(values, nulls, 3, pid);
	set_text(values, nulls, 4, launcher_state(pid));
	return heap_form_tuple(descriptor, values, nulls);
}

/* Makes the row of a worker.  Only the first of a database is ever due. */
static HeapTuple
slot_row(TupleDesc descriptor, const MeterSlot *slot)
{
	Datum		values[STATUS_COLUMNS] = {0};
	bool		nulls[STATUS_COLUMNS] = {0};

	set_text(values, nulls, 0, "worker");
	values[1] = ObjectIdGetDatum(slot->database);
	values[2] = Int32GetDatum(slot->number);
	nulls[2] = slot->state == METER_SLOT_STUCK;
	set_pid(values, nulls, 3, slot->pid);
	set_text(values, nulls, 4, slot_state(slot->state));
	set_text(values, nulls, 5, turn_result(slot->result));
	set_instant(values, nulls, 6, slot->last_start);
	set_instant(values, nulls, 7, slot->last_end);
	set_instant(values, nulls, 8, slot->number == 1 ? slot->next_due : 0);
	values[9] = Int64GetDatum(slot->turns);
	values[10] = Int64GetDatum(slot->tally.steps);
	values[11] = Int64GetDatum(slot->tally.usage_rows);
	values[12] = Int64GetDatum(slot->tally.adjustments);
	values[13] = Int64GetDatum(slot->tally.errors);
	set_instant(values, nulls, 14, slot->last_error_at);
	set_text(values, nulls, 15, readable_error(slot));
	return heap_form_tuple(descriptor, values, nulls);
}

/*
 * meter_internal.worker_processes(): the launcher, then each worker that has a slot
 */
Datum
meter_worker_processes(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HeapTuple	row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc	descriptor;
		MeterSlot  *slots = NULL;

		context = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) !=
			TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		context->tuple_desc = BlessTupleDesc(descriptor);
		context->max_calls = 1;
		if (meter_slots_exist())
		{
			int			count = meter_slots_copy(&slots);

			context->max_calls += visible_slots(slots, count);
		}
		context->user_fctx = slots;
		MemoryContextSwitchTo(caller);
	}

	context = SRF_PERCALL_SETUP();
	if (context->call_cntr >= context->max_calls)
		SRF_RETURN_DONE(context);
	if (context->call_cntr == 0)
		row = launcher_row(context->tuple_desc);
	else
		row = slot_row(context->tuple_desc,
					   (MeterSlot *) context->user_fctx +
					   context->call_cntr - 1);
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(row));
}
