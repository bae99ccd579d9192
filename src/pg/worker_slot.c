/*
 * worker_slot.c
 *	  What launcher and workers know of each other, in shared memory.
 *
 * One LWLock protects everything here: shared to look, exclusive to change.
 * It is held for a walk over the slots at most, never while something waits,
 * allocates shared resources or raises an error, and no other lock is taken
 * under it; so it may be taken in a commit callback and while a process exits.
 *
 * A slot is free, or belongs to a worker of a database: to the first, which is
 * started when the database is due, or to a further one, which is started when
 * it helps.  The launcher reserves a slot for a turn, the worker attaches to it
 * and finishes it; each reservation has a serial number of its own, so that a
 * worker that comes too late, or a launcher that was restarted, never touches a
 * turn of somebody else's.
 *
 * There are METER_SLOTS slots for any number of databases: when none is free, a
 * waiting slot is given up, that of a further worker rather than of a first
 * one, and among these the one that is due last.  The launcher remembers by
 * itself when each database is due, so what is lost is history only.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "pg/meter_compat.h"
#include "pg/settings.h"
#include "pg/worker_slot.h"

/* The longest waits, in seconds, of doubling ones that start at the naptime */
#define QUIET_LIMIT 3600		/* while there is nothing to do */
#define FAILED_LIMIT 600		/* after failures */

typedef struct SharedSlots
{
	LWLock	   *lock;
	uint64		last_serial;
	int			launcher_pid;	/* 0: none */
	Latch	   *launcher_latch;
	MeterSlot	slots[METER_SLOTS];
} SharedSlots;

static SharedSlots *shared = NULL;
static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

/* Asks for the memory and the lock. */
static void
request_memory(void)
{
	if (previous_shmem_request != NULL)
		previous_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedSlots)));
	RequestNamedLWLockTranche("meter", 1);
}

/*
 * Makes the slots, or finds them.  After a crash they are made again, and all
 * are free.
 */
static void
attach_memory(void)
{
	bool		found;

	if (previous_shmem_startup != NULL)
		previous_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("meter worker slots", sizeof(SharedSlots),
							 &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedSlots));
		shared->lock = &(GetNamedLWLockTranche("meter"))->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Arranges for the slots to exist; only while libraries are preloaded. */
void
meter_slots_request(void)
{
	METER_CHAIN_SHMEM_REQUEST(previous_shmem_request, request_memory);
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
}

/* Says whether the library was preloaded. */
bool
meter_slots_exist(void)
{
	return shared != NULL;
}

/* Copies the slots in use into the current memory context. */
int
meter_slots_copy(MeterSlot **slots)
{
	int			count = 0;
	int			i;

	*slots = palloc(sizeof(MeterSlot) * METER_SLOTS);
	LWLockAcquire(shared->lock, LW_SHARED);
	for (i = 0; i < METER_SLOTS; i++)
	{
		if (OidIsValid(shared->slots[i].database))
			(*slots)[count++] = shared->slots[i];
	}
	LWLockRelease(shared->lock);
	return count;
}

/* Returns the serial number that was given out last. */
uint64
meter_slots_serial(void)
{
	uint64		serial;

	LWLockAcquire(shared->lock, LW_SHARED);
	serial = shared->last_serial;
	LWLockRelease(shared->lock);
	return serial;
}

/*
 * Frees the waiting slots of databases that do not exist, but for those
 * claimed after the serial number "until": they may be newer than what the
 * caller knows of the databases.
 */
void
meter_slots_forget(bool (*exists) (Oid database), uint64 until)
{
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (OidIsValid(slot->database) && slot->serial <= until &&
			slot->state == METER_SLOT_WAITING && !exists(slot->database))
			memset(slot, 0, sizeof(MeterSlot));
	}
	LWLockRelease(shared->lock);
}

/* Returns the naptime, doubled for each quiet turn, up to a limit. */
static TimestampTz
after_naptime(TimestampTz from, int doublings, int limit)
{
	int64		seconds = meter_naptime;

	while (doublings-- > 0 && seconds < limit)
		seconds *= 2;
	seconds = Max(Min(seconds, limit), meter_naptime);
	return from + seconds * USECS_PER_SEC;
}

/* Says when the turn after the last one of a slot is due. */
static TimestampTz
due_after_turn(const MeterSlot *slot)
{
	switch (slot->result)
	{
		case METER_TURN_NONE:
		case METER_TURN_SETTLED:
		case METER_TURN_NOTHING_DUE:
		case METER_TURN_METER_FAILED:
		case METER_TURN_GAVE_WAY:
		case METER_TURN_STOPPED:
			break;
		case METER_TURN_UNFINISHED:
			return slot->last_end;
		case METER_TURN_NO_EXTENSION:
		case METER_TURN_NO_METER:
			return after_naptime(slot->last_end, slot->quiet_turns,
								 QUIET_LIMIT);
		case METER_TURN_READ_ONLY:
		case METER_TURN_FAILED:
			return after_naptime(slot->last_end, slot->quiet_turns,
								 FAILED_LIMIT);
	}
	return after_naptime(slot->last_end, 0, 0);
}

/*
 * Brings turns forward that were scheduled by a longer naptime than this
 * process knows.  A worker may end its turn before it reads a new one.
 */
void
meter_slots_hasten(void)
{
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (OidIsValid(slot->database) && slot->state == METER_SLOT_WAITING)
			slot->next_due = Min(slot->next_due, due_after_turn(slot));
	}
	LWLockRelease(shared->lock);
}

/* Sets the launcher's latch, if there is a launcher.  Needs the lock. */
static void
notify_launcher(void)
{
	if (shared->launcher_latch != NULL)
		SetLatch(shared->launcher_latch);
}

/* Takes the launcher's latch away while it exits. */
static void
launcher_detach(int code pg_attribute_unused(),
				Datum arg pg_attribute_unused())
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = 0;
	shared->launcher_latch = NULL;
	LWLockRelease(shared->lock);
}

/* Makes the calling process the launcher: wakes reach its latch. */
void
meter_launcher_attach(Latch *latch)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	shared->launcher_latch = latch;
	LWLockRelease(shared->lock);
	before_shmem_exit(launcher_detach, 0);
}

/* Returns the launcher's process id, 0 when there is none. */
int
meter_launcher_pid(void)
{
	int			pid;

	LWLockAcquire(shared->lock, LW_SHARED);
	pid = shared->launcher_pid;
	LWLockRelease(shared->lock);
	return pid;
}

/*
 * Says whether a waiting slot is given up rather than another: a free one
 * before others, that of a further worker before that of a first one.
 */
static bool
is_spared_less(const MeterSlot *slot, const MeterSlot *other)
{
	if (OidIsValid(slot->database) != OidIsValid(other->database))
		return !OidIsValid(slot->database);
	if ((slot->number > 1) != (other->number > 1))
		return slot->number > 1;
	return slot->next_due > other->next_due;
}

/*
 * Finds the slot of a worker of a database, or makes one of a slot that is
 * free or waits.  NULL when all are busy.  Needs the lock.
 */
static MeterSlot *
claim_slot(Oid database, int number)
{
	MeterSlot  *room = NULL;
	int			i;

	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database == database && slot->number == number)
			return slot;
		if (slot->state == METER_SLOT_WAITING &&
			(room == NULL || is_spared_less(slot, room)))
			room = slot;
	}
	if (room != NULL)
	{
		memset(room, 0, sizeof(MeterSlot));
		room->database = database;
		room->number = number;
		room->serial = ++shared->last_serial;
	}
	return room;
}

/* Returns the slot if the reference still names its claim.  Needs the lock. */
static MeterSlot *
referenced_slot(const MeterSlotRef *ref)
{
	MeterSlot  *slot = &shared->slots[ref->index];

	return slot->database == ref->database && slot->serial == ref->serial ?
		slot : NULL;
}

/*
 * Reserves the slot of a worker of a database for a turn.  A new slot starts
 * with the number of quiet turns that the launcher remembers.  False when that
 * worker has a turn already, or all slots are busy.
 */
bool
meter_slot_reserve(Oid database, int number, int quiet_turns,
				   MeterSlotRef *ref)
{
	MeterSlot  *slot;
	bool		reserved = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = claim_slot(database, number);
	if (slot != NULL && slot->state == METER_SLOT_WAITING)
	{
		if (slot->result == METER_TURN_NONE && !slot->woken)
			slot->quiet_turns = quiet_turns;
		slot->serial = ++shared->last_serial;
		slot->state = METER_SLOT_STARTING;
		slot->reserved_at = GetCurrentTimestamp();
		ref->index = slot - shared->slots;
		ref->serial = slot->serial;
		ref->database = database;
		reserved = true;
	}
	LWLockRelease(shared->lock);
	return reserved;
}

/* Gives the reservation of a turn back: the turn stays due. */
void
meter_slot_release(const MeterSlotRef *ref)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL && slot->state == METER_SLOT_STARTING)
		slot->state = METER_SLOT_WAITING;
	LWLockRelease(shared->lock);
}

/* Copies a message into a slot, cut at a character.  Needs the lock. */
static void
set_error(MeterSlot *slot, const char *text)
{
	int			length = pg_mbcliplen(text, strlen(text), METER_SLOT_TEXT - 1);

	memcpy(slot->last_error, text, length);
	slot->last_error[length] = '\0';
	slot->last_error_at = GetCurrentTimestamp();
	slot->tally.errors++;
}

/* Ends the turn of a slot and says when the next one is due.  Needs the lock. */
static void
end_turn(MeterSlot *slot, MeterTurnResult result)
{
	TimestampTz now = GetCurrentTimestamp();

	slot->state = METER_SLOT_WAITING;
	slot->pid = 0;
	slot->last_end = now;
	slot->result = result;

	switch (result)
	{
		case METER_TURN_NO_EXTENSION:
		case METER_TURN_NO_METER:
		case METER_TURN_READ_ONLY:
		case METER_TURN_FAILED:
			slot->quiet_turns++;
			break;
		default:
			slot->quiet_turns = 0;
			break;
	}
	slot->next_due = due_after_turn(slot);
	if (slot->woken)
	{
		slot->woken = false;
		slot->quiet_turns = 0;
		slot->next_due = now;
	}
}

/*
 * Ends a turn whose worker never came, if it was reserved before an instant.
 * True when that was so.
 */
bool
meter_slot_abandon(const MeterSlotRef *ref, TimestampTz before)
{
	MeterSlot  *slot;
	bool		abandoned = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL && slot->state == METER_SLOT_STARTING &&
		slot->reserved_at < before)
	{
		set_error(slot, "the worker could not be started");
		end_turn(slot, METER_TURN_FAILED);
		abandoned = true;
	}
	LWLockRelease(shared->lock);
	return abandoned;
}

/* Begins the turn that was reserved.  False when the turn is no longer to be made. */
bool
meter_slot_attach(const MeterSlotRef *ref)
{
	MeterSlot  *slot;
	bool		attached = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL && slot->state == METER_SLOT_STARTING)
	{
		slot->state = METER_SLOT_RUNNING;
		slot->pid = MyProcPid;
		slot->woken = false;
		slot->meters = 0;
		slot->due_meters = 0;
		slot->last_start = GetCurrentTimestamp();
		slot->turns++;
		attached = true;
	}
	LWLockRelease(shared->lock);
	return attached;
}

/* Says whether the database was woken since the last call. */
bool
meter_slot_take_wake(const MeterSlotRef *ref)
{
	MeterSlot  *slot;
	bool		woken = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
	{
		woken = slot->woken;
		slot->woken = false;
	}
	LWLockRelease(shared->lock);
	return woken;
}

/* Finds the slot of the first worker of a database.  Needs the lock. */
static MeterSlot *
first_slot(Oid database)
{
	int			i;

	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database == database && slot->number == 1)
			return slot;
	}
	return NULL;
}

/*
 * Returns with which of the meters of a database, counted from 0, turns go on:
 * the one after the meter that any of its workers has begun a step of last.
 */
int
meter_slot_next_meter(const MeterSlotRef *ref)
{
	MeterSlot  *first;
	int			next;

	LWLockAcquire(shared->lock, LW_SHARED);
	first = first_slot(ref->database);
	next = first != NULL ? first->next_meter : 0;
	LWLockRelease(shared->lock);
	return next;
}

/*
 * Notes that a step begins: how many meters the turn has, with how many of them
 * it is not done, and where other turns of the database go on.
 */
void
meter_slot_begin_step(const MeterSlotRef *ref, int meters, int due_meters,
					  int next_meter)
{
	MeterSlot  *slot;
	MeterSlot  *first;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
	{
		slot->meters = meters;
		slot->due_meters = due_meters;
	}
	first = first_slot(ref->database);
	if (first != NULL)
		first->next_meter = next_meter;
	LWLockRelease(shared->lock);
}

/* Adds what a step did to the turn's tally. */
void
meter_slot_count(const MeterSlotRef *ref, const MeterTally *step)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
	{
		slot->tally.steps += step->steps;
		slot->tally.usage_rows += step->usage_rows;
		slot->tally.adjustments += step->adjustments;
		slot->tally.late_rows += step->late_rows;
		slot->tally.errors += step->errors;
	}
	LWLockRelease(shared->lock);
}

/* Records an error of the turn, cut to what fits. */
void
meter_slot_note_error(const MeterSlotRef *ref, const char *text)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
		set_error(slot, text);
	LWLockRelease(shared->lock);
}

/* Ends the turn, schedules the next one and tells the launcher. */
void
meter_slot_finish(const MeterSlotRef *ref, MeterTurnResult result)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL && slot->state == METER_SLOT_RUNNING)
		end_turn(slot, result);
	notify_launcher();
	LWLockRelease(shared->lock);
}

/*
 * Makes a database due now, also when turns are running there already: these
 * list their meters once more.
 */
void
meter_slot_wake(Oid database)
{
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	(void) claim_slot(database, 1);
	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database != database)
			continue;
		slot->woken = true;
		slot->quiet_turns = 0;
		if (slot->state == METER_SLOT_WAITING)
			slot->next_due = GetCurrentTimestamp();
	}
	notify_launcher();
	LWLockRelease(shared->lock);
}
