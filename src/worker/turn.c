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
 * Segments of logs are rolled and sealed in steps, too, each a transaction.
 * One worker at a time does that for a stream, the one that has locked the
 * stream's row; the others leave the stream to it.
 *
 * Meters and streams take turns, step by step, so that one with a backlog does
 * not keep the others waiting; a turn is limited in time, so that a database
 * does not keep other databases waiting.  The next turn goes on with the meter
 * after the one that had a step last.  A step is limited in time, too: an
 * owner's triggers may do anything, but a worker that one of them holds up is
 * missed by all.
 *
 * What is slow takes turns less often.  The slots keep how long steps of a
 * stream took lately.  In a round all streams that are not slow come first,
 * then one job of one that is.  What is not slow so waits for one slow step at
 * most, and not even that where a database may have several workers: slow
 * streams leave one of them to the others.
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

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/forget.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "commands/advance.h"
#include "core/core.h"
#include "engine/step.h"
#include "engine/step_state.h"
#include "log/month.h"
#include "log/segment.h"
#include "pg/settings.h"
#include "pg/worker_slot.h"
#include "worker/turn.h"

/* Seconds after which a turn makes room for another database */
#define TURN_SECONDS 60

/* Streams whose times differ by less come in the order of the list */
#define BUSY_MICROSECONDS 250000

/* What a turn knows of itself; there is one in a process */
typedef struct Turn
{
	MeterSlotRef slot;
	TimestampTz started;
	TimestampTz listed;			/* when the jobs were listed */
	MeterTurnResult result;
	bool		over;			/* no further step */
	List	   *jobs;			/* of Job: meters, then streams */
	List	   *given_up;		/* of Job: those that the turn leaves alone */
	int			meters;			/* of these */
	int			due_meters;		/* with which the turn is not done */
	int			round;			/* over the jobs, from 1 */
	bool		several_streams;	/* the database has */
	bool		stepped;		/* the current step found something to do */
	MeterTally	step;			/* what the current step did */
	MeterTally	total;
	bool		expired;		/* the last transaction took too long */
	MemoryContext turn_context;
	MemoryContext list_context; /* of the jobs */
	MemoryContext step_context;
} Turn;

/* A meter or a stream to maintain, and whether there may be something to do */
typedef struct Job
{
	char	   *stream;
	char	   *meter;			/* NULL: segments of the stream's logs */
	int			index;			/* of a meter, in the order of names */
	int			steps;			/* in this turn */
	int			round;			/* in which it had the last one */
	int			position;		/* in the list, as turns take it up */
	int64		busy;			/* how long its stream took lately, about */
	bool		more;
	bool		lacks_months;	/* its last step did */
} Job;

typedef void (*TurnBody) (Turn *turn, void *arg);

static Turn turn_of_process;
static volatile sig_atomic_t told_to_stop = false;
static TimeoutId step_timeout;

/*
 * A person's cancel ends the step.  The launcher sees to it that it does: the
 * code of an owner's can catch it.
 */
static void
cancel_on_signal(SIGNAL_ARGS)
{
	meter_slot_note_cancel();
	StatementCancelHandler(postgres_signal_arg);
}

/* So does the end of the step's time. */
static void
cancel_on_timeout(void)
{
	meter_step_expire();
	if (meter_step_expired)
		meter_slot_note_cancel();
}

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
	meter_step_start_clock();
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

	turn->expired = false;
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
		meter_slot_note_error(&turn->slot,
							  meter_step_expired ?
							  "canceled, since it took longer than \"meter.step_timeout\"" :
							  error->message);
		turn->expired = meter_step_expired;
		RESUME_INTERRUPTS();
		done = false;
	}
	PG_END_TRY();

	stop_step_clock();
	meter_slot_end_step(&turn->slot);
	MemoryContextSwitchTo(turn->turn_context);
	MemoryContextReset(turn->step_context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/* Says whether a turn leaves a meter, or the segments of a stream, alone. */
static bool
is_given_up(Turn *turn, const char *stream, const char *meter)
{
	ListCell   *cell;

	foreach(cell, turn->given_up)
	{
		Job		   *job = lfirst(cell);

		if (strcmp(job->stream, stream) == 0 &&
			(job->meter == NULL ? meter == NULL :
			 meter != NULL && strcmp(job->meter, meter) == 0))
			return true;
	}
	return false;
}

/*
 * Leaves a job alone for the rest of a turn: what a person has canceled, or
 * what failed without a record of it, is not tried again at once.
 */
static void
give_up(Turn *turn, const Job *job)
{
	MemoryContext before = MemoryContextSwitchTo(turn->turn_context);
	Job		   *copy = palloc0(sizeof(Job));

	copy->stream = pstrdup(job->stream);
	copy->meter = job->meter ? pstrdup(job->meter) : NULL;
	turn->given_up = lappend(turn->given_up, copy);
	MemoryContextSwitchTo(before);
}

/* Adds a job to those of a turn. */
static void
add_job(Turn *turn, char *stream, char *meter, int index)
{
	Job		   *job = palloc0(sizeof(Job));

	job->stream = stream;
	job->meter = meter;
	job->index = index;
	job->position = list_length(turn->jobs);
	job->more = !is_given_up(turn, stream, meter);
	turn->jobs = lappend(turn->jobs, job);
}

/*
 * Puts meters before streams, and first those of streams that took little time
 * lately: who was slow a while ago is likely to be slow again.
 */
static int
compare_jobs(const ListCell *a, const ListCell *b)
{
	const Job  *left = lfirst(a);
	const Job  *right = lfirst(b);

	if ((left->meter == NULL) != (right->meter == NULL))
		return left->meter == NULL ? 1 : -1;
	if (left->busy != right->busy)
		return left->busy < right->busy ? -1 : 1;
	return left->position - right->position;
}

/* Puts the jobs of a turn in order. */
static void
sort_jobs(Turn *turn)
{
	ListCell   *cell;

	foreach(cell, turn->jobs)
	{
		Job		   *job = lfirst(cell);
		MeterStreamLoad load;

		meter_slot_stream_load(&turn->slot, job->stream, &load);
		job->busy = load.microseconds / BUSY_MICROSECONDS;
	}
	list_sort(turn->jobs, compare_jobs);
}

/*
 * Lists the active meters, from the one on with which turns go on, then the
 * active streams, whose logs grow without meters, too.
 */
static void
list_jobs(Turn *turn, void *arg pg_attribute_unused())
{
	List	   *refs;
	List	   *streams;
	int			from = meter_slot_next_meter(&turn->slot);
	int			i;

	pgstat_report_activity(STATE_RUNNING, "listing meters");
	MemoryContextReset(turn->list_context);
	MemoryContextSwitchTo(turn->list_context);
	turn->jobs = NIL;
	meter_confirm_home();
	refs = meter_active_meters();
	for (i = 0; i < list_length(refs); i++)
	{
		int			index = (from + i) % list_length(refs);
		MeterRef   *ref = list_nth(refs, index);

		add_job(turn, ref->stream, ref->meter, index);
	}
	streams = meter_active_streams(false);
	for (i = 0; i < list_length(streams); i++)
		add_job(turn, list_nth(streams, (from + i) % list_length(streams)),
				NULL, 0);
	turn->meters = turn->due_meters = list_length(refs);
	turn->several_streams = list_length(streams) > 1;
	if (turn->several_streams)
		sort_jobs(turn);
	turn->listed = GetCurrentTimestamp();
}

/* Frees the names of streams whose schema was dropped. */
static void
forget_streams(Turn *turn pg_attribute_unused(),
			   void *arg pg_attribute_unused())
{
	meter_forget_gone_streams();
}

/* Records the failure of a step that was terminated; arg is that step. */
static void
record_terminated(Turn *turn pg_attribute_unused(), void *arg)
{
	MeterSlotStep *step = arg;

	if (step->meter[0] != '\0')
		meter_step_terminated(step->stream, step->meter);
	else
		meter_maintenance_failed(step->stream,
								 "the step did not obey a cancel, and the worker was terminated");
}

/* Records that maintenance took too long; arg is the Job. */
static void
record_expired(Turn *turn pg_attribute_unused(), void *arg)
{
	Job		   *job = arg;

	meter_maintenance_failed(job->stream,
							 "canceled, since it took longer than \"meter.step_timeout\"");
}

/* Says in pg_stat_activity whose turn it is: names as far as they fit. */
static void
show_job(const Job *job)
{
	char	   *name = job->meter == NULL ?
	psprintf("meter worker: %s", job->stream) :
	psprintf("meter worker: %s.%s", job->stream, job->meter);

	pgstat_report_appname(name);
	pfree(name);
}

/* Makes one step of a meter; arg is its Job. */
static void
step_meter(Turn *turn, void *arg)
{
	Job		   *job = arg;
	MeterStep	step = {0};

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("advancing meter \"%s\" of stream \"%s\"",
									job->meter, job->stream));
	start_step_clock();
	meter_step(job->stream, job->meter, METER_STEP_WORKER, &step);
	stop_step_clock();

	job->more = step.more && !step.failed;
	job->lacks_months = step.lacks_months;
	turn->stepped = !step.skipped;
	turn->step.steps = step.skipped || step.lacks_months ? 0 : 1;
	turn->step.usage_rows = step.usage_rows;
	turn->step.adjustments = step.adjustments;
	turn->step.late_rows = step.late_rows;
	turn->step.errors = step.failed ? 1 : 0;
}

/* Makes the months that a step lacked; arg is its Job. */
static void
make_months(Turn *turn, void *arg)
{
	Job		   *job = arg;
	MeterStep	step = {0};

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("making months for meter \"%s\" of stream \"%s\"",
									job->meter, job->stream));
	start_step_clock();
	job->more = meter_step_make_months(job->stream, job->meter, &step);
	stop_step_clock();
	turn->stepped = true;
	turn->step.errors = step.failed ? 1 : 0;
}

/*
 * Makes one step of rolling and sealing; arg is the Job.  A stream that another
 * worker maintains is left out.
 */
static void
step_stream(Turn *turn, void *arg)
{
	Job		   *job = arg;
	bool		failed;

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("maintaining the segments of stream \"%s\"",
									job->stream));
	start_step_clock();
	job->more = meter_maintain_stream(job->stream, true, true, &failed);
	stop_step_clock();
	turn->stepped = job->more || failed;
	turn->step.errors = failed ? 1 : 0;
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
 * Looks up how slow the stream of a job is, and says whether this worker may
 * take a step of it.  Where there are several streams, a place is kept for
 * them: one stream never has all workers, nor have those that are slow.
 */
static bool
may_step(Turn *turn, const Job *job, MeterStreamLoad *load)
{
	int			places = Max(meter_max_workers_per_database - 1, 1);

	memset(load, 0, sizeof(*load));
	if (!turn->several_streams)
		return true;
	meter_slot_stream_load(&turn->slot, job->stream, load);
	return load->workers < places &&
		(!load->slow || load->slow_workers < places);
}

/* Brings the summaries of a ledger up to date; arg is the Job of a meter. */
static void
summarize(Turn *turn pg_attribute_unused(), void *arg)
{
	Job		   *job = arg;

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("summarizing the ledger of stream \"%s\"",
									job->stream));
	start_step_clock();
	meter_summarize_months(job->stream);
	stop_step_clock();
}

/* Makes one step of a job, and counts what it did. */
static void
take_step(Turn *turn, Job *job)
{
	TurnBody	body;

	if (job->meter != NULL)
		meter_slot_note_turn(&turn->slot, turn->meters, turn->due_meters,
							 job->index + 1);
	meter_slot_begin_step(&turn->slot, job->stream, job->meter);
	job->more = false;
	job->steps++;
	job->round = turn->round;
	memset(&turn->step, 0, sizeof(turn->step));
	turn->stepped = false;
	show_job(job);
	body = job->meter == NULL ? step_stream :
		job->lacks_months ? make_months : step_meter;
	job->lacks_months = false;
	if (run_transaction(turn, body, job))
	{
		count_step(turn);
		if (!job->more && turn->step.usage_rows + turn->step.adjustments > 0)
		{
			meter_slot_begin_step(&turn->slot, job->stream, NULL);
			(void) run_transaction(turn, summarize, job);
		}
	}
	else
	{
		turn->total.errors++;
		turn->stepped = true;	/* that may have taken its time */
		give_up(turn, job);
		if (job->meter == NULL && turn->expired)
			(void) run_transaction(turn, record_expired, job);
	}
	if (job->meter != NULL && !job->more)
		turn->due_meters--;
	pgstat_report_appname("meter worker");
}

/*
 * Finds the job of a slow stream that gets the step of the round: of the stream
 * that took the least time lately, the one that had the fewest steps.  NULL
 * when there is none.
 */
static Job *
find_slow(Turn *turn)
{
	Job		   *found = NULL;
	int64		least = 0;
	ListCell   *cell;

	foreach(cell, turn->jobs)
	{
		Job		   *job = lfirst(cell);
		MeterStreamLoad load;

		if (!job->more || job->round == turn->round ||
			!may_step(turn, job, &load) || !load.slow)
			continue;
		if (found == NULL ||
			(strcmp(job->stream, found->stream) == 0 ?
			 job->steps < found->steps : load.microseconds < least))
		{
			found = job;
			least = load.microseconds;
		}
	}
	return found;
}

/*
 * Makes one step of each job that may have more to do, but for those of slow
 * streams: of all these, one.  A stream that shows itself to be slow ends the
 * round.  Returns whether to go on: one job still has more to do, and not all
 * of those are in the hands of others.
 */
static bool
step_round(Turn *turn)
{
	bool		more = false;
	bool		stepped = false;
	Job		   *slow;
	MeterStreamLoad load;
	ListCell   *cell;

	turn->round++;
	foreach(cell, turn->jobs)
	{
		Job		   *job = lfirst(cell);

		if (!job->more)
			continue;
		if (!may_go_on(turn))
			return false;
		if (!may_step(turn, job, &load) || load.slow)
			continue;
		take_step(turn, job);
		stepped |= turn->stepped;
		/* that was the slow step of the round */
		(void) may_step(turn, job, &load);
		if (load.slow)
			return true;
	}

	/* one that somebody else has locked takes no time */
	turn->stepped = false;
	while (!turn->stepped && may_go_on(turn) &&
		   (slow = find_slow(turn)) != NULL)
		take_step(turn, slow);
	stepped |= turn->stepped;

	foreach(cell, turn->jobs)
		more |= ((Job *) lfirst(cell))->more;
	return more && stepped;
}

/* Lists the jobs of a turn.  False when that fails, or the turn is over. */
static bool
begin_listing(Turn *turn)
{
	MeterSlotStep step;

	while (meter_slot_take_unrecorded(&turn->slot, &step))
		(void) run_transaction(turn, record_terminated, &step);
	if (!turn->over)
		(void) run_transaction(turn, forget_streams, NULL);
	return !turn->over && run_transaction(turn, list_jobs, NULL) &&
		!turn->over;
}

/*
 * Advances the meters of this database, and maintains its streams, until
 * nothing is due.  A wake brings meters that were made meanwhile, a naptime
 * what became due.
 */
static void
take_turn(Turn *turn)
{
	bool		more;
	bool		no_meter;

	more = begin_listing(turn);
	if (!more && !turn->over)
		stop_turn(turn, METER_TURN_FAILED);
	no_meter = more && turn->meters == 0;

	while (more && may_go_on(turn))
	{
		more = step_round(turn);
		if (!turn->over &&
			(meter_slot_take_wake(&turn->slot) ||
			 (more && TimestampDifferenceExceeds(turn->listed, GetCurrentTimestamp(),
												 meter_naptime * 1000))))
			more = begin_listing(turn);
	}

	if (!turn->over)
		stop_turn(turn,
				  turn->total.errors > 0 ? METER_TURN_METER_FAILED :
				  no_meter && turn->meters == 0 ? METER_TURN_NO_METER :
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
	pqsignal(SIGINT, cancel_on_signal);
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
	step_timeout = RegisterTimeout(USER_TIMEOUT, cancel_on_timeout);
	turn->turn_context = AllocSetContextCreate(TopMemoryContext,
											   "meter turn",
											   ALLOCSET_DEFAULT_SIZES);
	turn->list_context = AllocSetContextCreate(turn->turn_context,
											   "meter jobs",
											   ALLOCSET_DEFAULT_SIZES);
	turn->step_context = AllocSetContextCreate(turn->turn_context,
											   "meter step",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn->turn_context);
	take_turn(turn);
	proc_exit(0);
}
