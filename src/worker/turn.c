/*
 * turn.c
 *	  One turn of a worker in one database: it advances each meter until
 *	  nothing is due there, then the process ends.
 *
 * A database may have several workers.  Nothing says whose a meter is: the step
 * that has locked the meter's row has it, and is passed over by the others,
 * which come back to it as long as they find something to do elsewhere.  When
 * all that is left is in the hands of others, the turn is over.
 *
 * Each step of a meter is a transaction of its own.  It begins with two locks
 * that are taken without waiting, or the turn ends: RowExclusiveLock on the
 * database, which conflicts with DROP DATABASE and CREATE DATABASE … TEMPLATE,
 * and AccessShareLock on the extension, which conflicts with DROP EXTENSION.
 * So these commands wait for one step at most, find the worker gone when they
 * go on, and never meet it half-way with locks in another order.
 *
 * Then segments of logs are rolled and sealed, each step a transaction, too.
 * One worker at a time does that for a stream, the one that has locked the
 * stream's row; the others leave the stream to it.
 *
 * Meters take turns, step by step, so that one with a backlog does not keep
 * the others waiting; a turn is limited in time, so that a database does not
 * keep other databases waiting.  The next turn goes on with the meter after the
 * one that had a step last.  A step is limited in time, too: an owner's
 * triggers may do anything, but a worker that one of them holds up is missed
 * by all.
 *
 * What lasts for the turn lives in one memory context, what a step allocates
 * in another one, which is reset after each step.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/pmsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "commands/advance.h"
#include "core/core.h"
#include "engine/step.h"
#include "engine/step_state.h"
#include "log/segment.h"
#include "pg/settings.h"
#include "pg/worker_slot.h"
#include "worker/turn.h"

/* Seconds after which a turn makes room for another database */
#define TURN_SECONDS 60

/* What a turn knows of itself; there is one in a process */
typedef struct Turn
{
	MeterSlotRef slot;
	TimestampTz started;
	MeterTurnResult result;
	bool		over;			/* no further step */
	int			due_meters;		/* with which the turn is not done */
	MeterTally	step;			/* what the current step did */
	MeterTally	total;
	MemoryContext turn_context;
	MemoryContext step_context;
} Turn;

/* A meter, and whether there may be something to do */
typedef struct MeterTurn
{
	MeterRef   *ref;
	int			index;			/* in the order of names */
	bool		more;
} MeterTurn;

typedef void (*TurnBody) (Turn *turn, void *arg);

static Turn turn_of_process;
static volatile sig_atomic_t told_to_stop = false;
static TimeoutId step_timeout;

/* SIGTERM ends the turn after the step, or the step where it can be ended. */
static void
stop_on_signal(SIGNAL_ARGS)
{
	told_to_stop = true;
	die(postgres_signal_arg);
}

/* Ends the turn's loop with a result. */
static void
stop_turn(Turn *turn, MeterTurnResult result)
{
	turn->result = result;
	turn->over = true;
}

/* Finishes the slot on every way out of the process. */
static void
finish_at_exit(int code pg_attribute_unused(), Datum arg)
{
	Turn	   *turn = (Turn *) DatumGetPointer(arg);

	if (!turn->over)
	{
		turn->result = told_to_stop ? METER_TURN_STOPPED : METER_TURN_FAILED;
		if (turn->result == METER_TURN_FAILED)
			meter_slot_note_error(&turn->slot,
								  "the worker ended early, see the server log");
	}
	meter_slot_finish(&turn->slot, turn->result);
}

/*
 * Makes the session one that settles the same way whatever the configuration
 * of the server, the database or the role says.
 */
static void
set_session(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"session_replication_role", "origin"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"lock_timeout", "10s"},
		{"max_parallel_workers_per_gather", "0"},
		{"max_parallel_maintenance_workers", "0"},
	};
	size_t		i;

	for (i = 0; i < lengthof(settings); i++)
	{
		/* not every version of the server has each setting */
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1],
							PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* Takes a lock on a database object until commit, if nobody is in its way. */
static bool
lock_without_waiting(const LOCKTAG *tag, LOCKMODE mode)
{
	if (LockAcquire(tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

/* Says whether this database was made a template meanwhile. */
static bool
is_template(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	bool		template;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return template;
}

/*
 * Takes the locks of a transaction.  False when the turn is to end: nobody
 * expects a worker here, or somebody waits for its end.
 */
static bool
enter_database(Turn *turn)
{
	Oid			extension;
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	if (!lock_without_waiting(&tag, RowExclusiveLock))
	{
		stop_turn(turn, METER_TURN_GAVE_WAY);
		return false;
	}
	extension = get_extension_oid("meter", true);
	if (!OidIsValid(extension) || is_template())
	{
		stop_turn(turn, METER_TURN_NO_EXTENSION);
		return false;
	}
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (!lock_without_waiting(&tag, AccessShareLock))
	{
		stop_turn(turn, METER_TURN_GAVE_WAY);
		return false;
	}
	if (get_extension_oid("meter", true) != extension)
	{
		stop_turn(turn, METER_TURN_NO_EXTENSION);
		return false;
	}
	if (XactReadOnly)
	{
		stop_turn(turn, METER_TURN_READ_ONLY);
		return false;
	}
	return true;
}

/* Limits the time of the step that begins. */
static void
start_step_clock(void)
{
	meter_step_expired = false;
	if (meter_step_timeout > 0)
		enable_timeout_after(step_timeout, meter_step_timeout);
}

/*
 * Stops the clock of a step that is over.  If the step expired in its last
 * instant, nothing is canceled.
 */
static void
stop_step_clock(void)
{
	disable_timeout(step_timeout, false);
	if (meter_step_expired)
		QueryCancelPending = false;
	meter_step_expired = false;
}

/*
 * Runs something in a transaction of its own, in the step's context.  An error
 * is logged and recorded, and false returned.
 */
static bool
run_transaction(Turn *turn, TurnBody body, void *arg)
{
	bool		done;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		if (enter_database(turn))
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			MemoryContextSwitchTo(turn->step_context);
			body(turn, arg);
			PopActiveSnapshot();
		}
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		EmitErrorReport();
		MemoryContextSwitchTo(turn->step_context);
		error = CopyErrorData();
		AbortOutOfAnyTransaction();
		FlushErrorState();
		meter_slot_note_error(&turn->slot, error->message);
		RESUME_INTERRUPTS();
		done = false;
	}
	PG_END_TRY();

	stop_step_clock();
	MemoryContextSwitchTo(turn->turn_context);
	MemoryContextReset(turn->step_context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/*
 * Lists the active meters, from the one on with which turns go on; arg is the
 * List of MeterTurn to fill.
 */
static void
list_meters(Turn *turn, void *arg)
{
	List	  **meters = arg;
	int			from = meter_slot_next_meter(&turn->slot);
	List	   *refs;
	int			i;

	pgstat_report_activity(STATE_RUNNING, "listing meters");
	MemoryContextSwitchTo(turn->turn_context);
	meter_confirm_home();
	refs = meter_active_meters();
	for (i = 0; i < list_length(refs); i++)
	{
		MeterTurn  *meter = palloc0(sizeof(MeterTurn));

		meter->index = (from + i) % list_length(refs);
		meter->ref = list_nth(refs, meter->index);
		meter->more = true;
		*meters = lappend(*meters, meter);
	}
	turn->due_meters = list_length(refs);
}

/* Makes one step of a meter; arg is its MeterTurn. */
static void
step_meter(Turn *turn, void *arg)
{
	MeterTurn  *meter = arg;
	MeterRef   *ref = meter->ref;
	MeterStep	step = {0};

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("advancing meter \"%s\" of stream \"%s\"",
									ref->meter, ref->stream));
	start_step_clock();
	meter_step(ref->stream, ref->meter, true, &step);
	stop_step_clock();

	meter->more = step.more && !step.failed;
	turn->step.steps = step.skipped ? 0 : 1;
	turn->step.usage_rows = step.usage_rows;
	turn->step.adjustments = step.adjustments;
	turn->step.late_rows = step.late_rows;
	turn->step.errors = step.failed ? 1 : 0;
}

/* Adds up what a step did that was committed. */
static void
count_step(Turn *turn)
{
	meter_slot_count(&turn->slot, &turn->step);
	turn->total.steps += turn->step.steps;
	turn->total.usage_rows += turn->step.usage_rows;
	turn->total.adjustments += turn->step.adjustments;
	turn->total.late_rows += turn->step.late_rows;
	turn->total.errors += turn->step.errors;
}

/* Says whether the turn may take another step. */
static bool
may_go_on(Turn *turn)
{
	if (turn->over)
		return false;
	if (told_to_stop)
	{
		stop_turn(turn, METER_TURN_STOPPED);
		return false;
	}
	if (!PostmasterIsAlive())
		proc_exit(1);			/* after a crash the server cannot restart
								 * before this process ends */
	QueryCancelPending = false; /* the cancel came too late: the step is over */
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!meter_enabled ||
		TimestampDifferenceExceeds(turn->started, GetCurrentTimestamp(),
								   TURN_SECONDS * 1000))
		stop_turn(turn, METER_TURN_UNFINISHED);
	return !turn->over;
}

/*
 * Makes one step of each meter that may have more to do.  Returns whether to go
 * on: one of them still has, and not all of those are passed over because they
 * are locked.
 */
static bool
step_round(Turn *turn, List *meters)
{
	bool		more = false;
	bool		stepped = false;
	ListCell   *cell;

	foreach(cell, meters)
	{
		MeterTurn  *meter = lfirst(cell);

		if (!meter->more)
			continue;
		if (!may_go_on(turn))
			return false;
		meter_slot_begin_step(&turn->slot, list_length(meters),
							  turn->due_meters, meter->index + 1);
		meter->more = false;
		memset(&turn->step, 0, sizeof(turn->step));
		if (run_transaction(turn, step_meter, meter))
			count_step(turn);
		else
			turn->total.errors++;
		stepped |= turn->step.steps > 0;
		more |= meter->more;
		if (!meter->more)
			turn->due_meters--;
	}
	return more && stepped;
}

/* Lists the active streams; arg is the List of their names to fill. */
static void
list_streams(Turn *turn, void *arg)
{
	List	  **streams = arg;

	MemoryContextSwitchTo(turn->turn_context);
	*streams = meter_active_streams(false);
}

/* A stream, and whether the last step found something to do there */
typedef struct StreamTurn
{
	char	   *stream;
	bool		more;
} StreamTurn;

/* Makes one step of rolling and sealing; arg is a StreamTurn. */
static void
step_stream(Turn *turn, void *arg)
{
	StreamTurn *stream = arg;
	bool		failed;

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("maintaining the segments of stream \"%s\"",
									stream->stream));
	stream->more = meter_maintain_stream(stream->stream, true, true,
										 &failed);
	turn->total.errors += failed;
}

/*
 * Rolls and seals segments where that is due, each step committed.  A stream
 * that another worker maintains is left out.
 */
static void
maintain_streams(Turn *turn)
{
	List	   *streams = NIL;
	ListCell   *cell;

	if (!may_go_on(turn) || !run_transaction(turn, list_streams, &streams))
		return;
	foreach(cell, streams)
	{
		StreamTurn	stream = {lfirst(cell), true};

		while (stream.more && may_go_on(turn))
		{
			stream.more = false;
			if (!run_transaction(turn, step_stream, &stream))
				turn->total.errors++;
		}
	}
}

/*
 * Advances the meters of this database until nothing is due.  A wake brings
 * meters that were made meanwhile.
 */
static void
take_turn(Turn *turn)
{
	bool		more = true;
	List	   *meters = NIL;

	if (!run_transaction(turn, list_meters, &meters))
		stop_turn(turn, METER_TURN_FAILED);
	else if (!turn->over && meters == NIL)
	{
		/* logs grow without meters, too */
		maintain_streams(turn);
		if (!turn->over)
			stop_turn(turn, METER_TURN_NO_METER);
	}

	while (more && may_go_on(turn))
	{
		more = step_round(turn, meters);
		if (!turn->over && meter_slot_take_wake(&turn->slot))
		{
			meters = NIL;
			more = run_transaction(turn, list_meters, &meters);
		}
	}

	maintain_streams(turn);

	if (!turn->over)
		stop_turn(turn,
				  turn->total.errors > 0 ? METER_TURN_METER_FAILED :
				  turn->total.usage_rows > 0 || turn->total.adjustments > 0 ?
				  METER_TURN_SETTLED : METER_TURN_NOTHING_DUE);
	ereport(DEBUG1,
			(errmsg_internal("meter worker made " INT64_FORMAT " steps, wrote "
							 INT64_FORMAT " usage rows and " INT64_FORMAT
							 " adjustments in %ld ms",
							 turn->total.steps, turn->total.usage_rows,
							 turn->total.adjustments,
							 TimestampDifferenceMilliseconds(turn->started,
															 GetCurrentTimestamp()))));
}

/* A worker's main function. */
void
meter_worker_main(Datum arg pg_attribute_unused())
{
	Turn	   *turn = &turn_of_process;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, stop_on_signal);
	BackgroundWorkerUnblockSignals();

	memcpy(&turn->slot, MyBgworkerEntry->bgw_extra, sizeof(turn->slot));
	turn->started = GetCurrentTimestamp();
	if (!meter_slot_attach(&turn->slot))
		proc_exit(0);
	before_shmem_exit(finish_at_exit, PointerGetDatum(turn));

	BackgroundWorkerInitializeConnectionByOid(turn->slot.database,
											  InvalidOid, 0);
	pgstat_report_appname("meter worker");
	set_session();
	step_timeout = RegisterTimeout(USER_TIMEOUT, meter_step_expire);
	turn->turn_context = AllocSetContextCreate(TopMemoryContext,
											   "meter turn",
											   ALLOCSET_DEFAULT_SIZES);
	turn->step_context = AllocSetContextCreate(turn->turn_context,
											   "meter step",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn->turn_context);
	take_turn(turn);
	proc_exit(0);
}
