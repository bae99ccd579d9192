/*
 * launcher.c
 *	  The process that starts workers in the databases where something is due.
 *
 * It is connected to no database, so it blocks nobody, and reads pg_database
 * only when a worker is due or a naptime has passed.  The slots in shared
 * memory say when a database is due next; the launcher keeps a schedule of
 * its own beside them, since there may be more databases than slots.  A
 * database that is new to it, after a restart each one, is due at once.
 *
 * When a database is due, its first worker is started.  A further one joins
 * where it helps: the workers there have been at it for a moment, and more
 * meters are due than there are workers.  A worker that is in the middle of a
 * long step cannot say what became due meanwhile, so after a naptime all of its
 * meters count as due.  Databases without a worker come first.
 *
 * A worker says when a step of its is canceled, by the step's clock or by a
 * person.  The code of an owner's can catch that, so the launcher ends a worker
 * that goes on with the step.  One that does not even obey that, as in a loop
 * in a language that knows no interrupts, keeps its process and its meter's
 * lock; another worker takes its place.
 *
 * It takes the slots' lock for single calls only.  What it keeps, the schedule
 * and the handles of running workers, lives in a context of its own; what a
 * pass over the schedule allocates goes with the pass.  An error ends the
 * process; the postmaster starts it again after a few seconds, and the slots
 * are still there.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "core/core.h"
#include "pg/meter_compat.h"
#include "pg/settings.h"
#include "pg/worker_slot.h"
#include "worker/launcher.h"
#include "worker/worker.h"

/* Seconds until a worker is tried again that found no room in the server */
#define RETRY_SECONDS 5

/* Milliseconds that the workers of a database have before another one joins */
#define JOIN_MILLISECONDS 250

/* Seconds after which a worker that was asked for is no longer expected */
#define START_SECONDS 60

/* A database that may have meters, and when it is due */
typedef struct Scheduled
{
	Oid			database;		/* the key */
	TimestampTz next_due;
	int			quiet_turns;
	int			workers;
	bool		busy;			/* its first worker is there */
	bool		listed;			/* stands in pg_database */
} Scheduled;

/* A worker that was asked for and has not ended */
typedef struct Started
{
	BackgroundWorkerHandle *handle;
	MeterSlotRef slot;
} Started;

/* The slots as a pass over the schedule found them */
typedef struct Slots
{
	MeterSlot  *slots;
	int			count;
	int			busy;			/* with a worker, those started in the pass
								 * among them */
} Slots;

static MemoryContext launcher_context;
static MemoryContext pass_context;
static HTAB *schedule;
static List *started_workers;
static TimestampTz next_listing;
static bool room_is_missing;

/* Adds a number of seconds to an instant. */
static TimestampTz
seconds_after(TimestampTz from, int seconds)
{
	return from + (int64) seconds * USECS_PER_SEC;
}

/* Returns a database's place in the schedule; a new one is due at once. */
static Scheduled *
schedule_database(Oid database)
{
	bool		found;
	Scheduled  *entry = hash_search(schedule, &database, HASH_ENTER, &found);

	if (!found)
	{
		entry->next_due = GetCurrentTimestamp();
		entry->quiet_turns = 0;
		entry->workers = 0;
		entry->busy = false;
		entry->listed = false;
	}
	return entry;
}

/* Says whether pg_database had a database when it was read last. */
static bool
is_listed(Oid database)
{
	Scheduled  *entry = hash_search(schedule, &database, HASH_FIND, NULL);

	return entry != NULL && entry->listed;
}

/*
 * Says whether a worker may look for the extension in a database.  A limit
 * below -1 marks one whose DROP was interrupted.
 */
static bool
may_have_meters(Form_pg_database database)
{
	return database->datallowconn && !database->datistemplate &&
		database->datconnlimit >= -1;
}

/* Reads pg_database: new ones enter the schedule, dropped ones leave it. */
static void
list_databases(void)
{
	uint64		serial = meter_slots_serial();
	HASH_SEQ_STATUS scan;
	Scheduled  *entry;
	Relation	relation;
	TableScanDesc tables;
	HeapTuple	tuple;

	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->listed = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	tables = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(tables, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (may_have_meters(database))
			schedule_database(database->oid)->listed = true;
	}
	table_endscan(tables);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(pass_context);

	meter_slots_forget(is_listed, serial);
	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!entry->listed && entry->workers == 0)
			hash_search(schedule, &entry->database, HASH_REMOVE, NULL);
	}
}

/* Copies the slots, and takes over into the schedule what they say. */
static void
read_slots(TimestampTz now, Slots *slots)
{
	TimestampTz latest = seconds_after(now, Max(meter_naptime, 3600));
	HASH_SEQ_STATUS scan;
	Scheduled  *entry;
	int			i;

	meter_slots_hasten();
	slots->count = meter_slots_copy(&slots->slots);
	slots->busy = 0;

	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->workers = 0;
		entry->busy = false;
	}

	for (i = 0; i < slots->count; i++)
	{
		MeterSlot  *slot = &slots->slots[i];

		/* no wait is that long, so the system's clock was set back */
		if (slot->next_due > latest)
			slot->next_due = now;

		entry = schedule_database(slot->database);
		if (slot->state == METER_SLOT_STARTING ||
			slot->state == METER_SLOT_RUNNING)
		{
			entry->workers++;
			slots->busy++;
		}
		if (slot->number != 1)
			continue;
		entry->next_due = slot->next_due;
		entry->quiet_turns = slot->quiet_turns;
		entry->busy = slot->state != METER_SLOT_WAITING;
	}
}

/*
 * Returns the database that is due first and can have its first worker, or
 * NULL.
 */
static Scheduled *
first_due(void)
{
	HASH_SEQ_STATUS scan;
	Scheduled  *entry;
	Scheduled  *first = NULL;

	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!entry->busy && entry->workers < meter_max_workers_per_database &&
			(first == NULL || entry->next_due < first->next_due))
			first = entry;
	}
	return first;
}

/* Lets go of the workers that have ended, or never started. */
static void
reap_workers(TimestampTz now)
{
	ListCell   *cell;

	foreach(cell, started_workers)
	{
		Started    *started = lfirst(cell);
		TimestampTz before = seconds_after(now, -START_SECONDS);
		bool		stopped;
		pid_t		pid;

		stopped = GetBackgroundWorkerPid(started->handle,
										 &pid) == BGWH_STOPPED;
		if (meter_slot_abandon(&started->slot, stopped ? DT_NOEND : before))
			ereport(LOG,
					(errmsg("meter worker for database %u could not be started",
							started->slot.database)));
		if (stopped)
		{
			pfree(started->handle);
			pfree(started);
			started_workers = foreach_delete_current(started_workers, cell);
		}
	}
}

/*
 * Logs once that the server has no room for workers, until it has some again,
 * and lets meter.worker_status say so.
 */
static void
report_room(bool room)
{
	meter_slots_set_room(room);
	if (!room && !room_is_missing)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("meter launcher found no free background worker slot"),
				 errhint("Increase \"max_worker_processes\".")));
	room_is_missing = !room;
}

/*
 * Asks for a worker of a database, by its number there.  False when the server
 * has no room.
 */
static bool
start_worker(Scheduled *entry, int number, Slots *slots)
{
	MemoryContext caller = MemoryContextSwitchTo(launcher_context);
	Started    *started = palloc(sizeof(Started));
	BackgroundWorker worker;
	bool		registered = false;

	if (meter_slot_reserve(entry->database, number, entry->quiet_turns,
						   &started->slot))
	{
		meter_worker_describe(&worker, &started->slot);
		registered = RegisterDynamicBackgroundWorker(&worker,
													 &started->handle);
		report_room(registered);
		if (!registered)
			meter_slot_release(&started->slot);
	}
	if (registered)
	{
		started_workers = lappend(started_workers, started);
		entry->workers++;
		slots->busy++;
	}
	else
		pfree(started);
	MemoryContextSwitchTo(caller);
	return registered;
}

/* Finds the slot of a worker of a database, NULL when it has none. */
static const MeterSlot *
find_slot(const Slots *slots, Oid database, int number)
{
	int			i;

	for (i = 0; i < slots->count; i++)
	{
		if (slots->slots[i].database == database &&
			slots->slots[i].number == number)
			return &slots->slots[i];
	}
	return NULL;
}

/*
 * Says when one more worker is to join those of a database, and its number
 * there.  DT_NOEND: it would not help.
 */
static TimestampTz
join_due(const Slots *slots, const Scheduled *entry, TimestampTz now,
		 int *number)
{
	const MeterSlot *joining;
	TimestampTz earliest;
	TimestampTz newest = 0;
	int			meters = 0;
	int			due_meters = 0;
	int			i;

	*number = 2;
	while ((joining = find_slot(slots, entry->database, *number)) != NULL &&
		   joining->state != METER_SLOT_WAITING)
		(*number)++;
	earliest = joining != NULL ? joining->next_due : now;

	for (i = 0; i < slots->count; i++)
	{
		const MeterSlot *slot = &slots->slots[i];

		if (slot->database != entry->database ||
			slot->state == METER_SLOT_WAITING ||
			slot->state == METER_SLOT_STUCK)
			continue;
		/* look again once the worker has listed its meters */
		if (slot->state == METER_SLOT_STARTING || slot->meters == 0)
			return now + JOIN_MILLISECONDS * INT64CONST(1000);
		newest = Max(newest, slot->last_start);
		meters = Max(meters, slot->meters);
		due_meters = Max(due_meters, slot->due_meters);
		/* what it is woken for, it does not know yet */
		if (slot->woken)
			due_meters = INT_MAX;
	}
	if (due_meters > entry->workers)
		return Max(earliest, newest + JOIN_MILLISECONDS * INT64CONST(1000));
	if (meters > entry->workers)
		return Max(earliest, seconds_after(newest, meter_naptime));
	return DT_NOEND;
}

/*
 * Starts further workers where they help.  Returns the instant at which to look
 * again.
 */
static TimestampTz
start_joining(Slots *slots, TimestampTz now)
{
	TimestampTz next = DT_NOEND;
	HASH_SEQ_STATUS scan;
	Scheduled  *entry;

	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		TimestampTz due;
		int			number;

		if (!entry->busy || entry->workers >= meter_max_workers_per_database)
			continue;
		due = join_due(slots, entry, now, &number);
		if (due > now)
			next = Min(next, due);
		else if (slots->busy < meter_max_workers)
			next = Min(next, start_worker(entry, number, slots) ?
					   now + JOIN_MILLISECONDS * INT64CONST(1000) :
					   seconds_after(now, RETRY_SECONDS));
	}
	return next;
}

/*
 * Starts what is due, in the order in which it became due.  Returns the
 * instant at which to look again if nothing happens until then.
 */
static TimestampTz
pass_over_schedule(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	Scheduled  *first;
	Slots		slots;

	reap_workers(now);
	read_slots(now, &slots);
	first = first_due();
	if (now >= next_listing ||
		(slots.busy < meter_max_workers &&
		 first != NULL && first->next_due <= now))
	{
		list_databases();
		next_listing = seconds_after(now, meter_naptime);
	}

	while (slots.busy < meter_max_workers)
	{
		first = first_due();
		if (first == NULL || first->next_due > now)
			break;
		if (!start_worker(first, 1, &slots))
			return seconds_after(now, RETRY_SECONDS);
		first->busy = true;
	}
	next = start_joining(&slots, now);
	if (slots.busy < meter_max_workers && first != NULL)
		next = Min(next, first->next_due);
	return Min(next, next_listing);
}

/*
 * Applies a shorter naptime to what the launcher keeps by itself; the slots
 * are brought forward in each pass.  Of a database that has lost its slot it
 * is not known why its turns were quiet: such a wait is left as it is.
 */
static void
hasten_schedule(void)
{
	TimestampTz latest = seconds_after(GetCurrentTimestamp(), meter_naptime);
	HASH_SEQ_STATUS scan;
	Scheduled  *entry;

	next_listing = Min(next_listing, latest);
	hash_seq_init(&scan, schedule);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->quiet_turns == 0)
			entry->next_due = Min(entry->next_due, latest);
	}
}

/* Reads the configuration again; a shorter naptime holds from now on. */
static void
reload_configuration(void)
{
	bool		enabled = meter_enabled;
	int			naptime = meter_naptime;

	ProcessConfigFile(PGC_SIGHUP);
	if (meter_naptime < naptime)
		hasten_schedule();
	if (meter_enabled != enabled)
		ereport(LOG,
				(meter_enabled ? errmsg("meter launcher resumed") :
				 errmsg("meter launcher paused"),
				 errdetail("\"meter.enabled\" was changed.")));
}

/* Says in a message what a worker was at. */
static int
errdetail_step(const MeterSlot *slot)
{
	if (slot->step.meter[0] == '\0')
		return errdetail("It was maintaining segments.");
	return errdetail("It was advancing meter \"%s\".", slot->step.meter);
}

/*
 * Ends what workers do that were told to cancel it, and did not.  Returns the
 * instant at which to look again.  Processes are never killed: that would end
 * all sessions of the server.
 */
static TimestampTz
enforce_cancels(void)
{
	TimestampTz next = DT_NOEND;

	for (;;)
	{
		MeterSlot	slot;

		switch (meter_slots_enforce(GetCurrentTimestamp(), &slot, &next))
		{
			case METER_ENFORCED_NOTHING:
				return next;
			case METER_ENFORCED_TERMINATION:
				ereport(LOG,
						(errmsg("terminating meter worker with PID %d: stream \"%s\" did not obey a cancel within \"meter.cancel_grace\"",
								slot.pid, slot.step.stream),
						 errdetail_step(&slot)));
				break;
			case METER_ENFORCED_PLACE:
				ereport(LOG,
						(errmsg("meter worker with PID %d obeys no signal: stream \"%s\" keeps the process, another worker takes its place",
								slot.pid, slot.step.stream),
						 errdetail_step(&slot)));
				break;
		}
	}
}

/* Sleeps until an instant, or until something happens. */
static void
wait_until(TimestampTz instant)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		timeout = -1;

	if (instant != DT_NOEND)
	{
		events |= WL_TIMEOUT;
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												  instant);
	}
	(void) WaitLatch(MyLatch, events, timeout,
					 METER_WAIT_EVENT("MeterLauncherMain"));
	ResetLatch(MyLatch);
}

/* The launcher's main function. */
void
meter_launcher_main(Datum arg pg_attribute_unused())
{
	HASHCTL		control = {0};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(InvalidOid, InvalidOid, 0);
	pgstat_report_appname("meter launcher");

	launcher_context = AllocSetContextCreate(TopMemoryContext,
											 "meter launcher",
											 ALLOCSET_DEFAULT_SIZES);
	pass_context = AllocSetContextCreate(launcher_context,
										 "meter launcher pass",
										 ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Scheduled);
	control.hcxt = launcher_context;
	schedule = hash_create("meter schedule", 64, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	meter_launcher_attach(MyLatch);
	ereport(LOG, (errmsg("meter launcher started")));

	for (;;)
	{
		TimestampTz until;

		/* SIGTERM is no error, and needs no line in the log */
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			reload_configuration();
		}
		MemoryContextReset(pass_context);
		MemoryContextSwitchTo(pass_context);
		until = enforce_cancels();
		if (meter_enabled)
			until = Min(until, pass_over_schedule());
		wait_until(until);
	}
}
