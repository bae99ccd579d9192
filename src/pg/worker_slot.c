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

#include <signal.h>

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "pg/meter_compat.h"
#include "pg/settings.h"
#include "pg/shared_memory.h"
#include "pg/worker_slot.h"

/* The longest waits, in seconds, of doubling ones that start at the naptime */
#define QUIET_LIMIT 3600		/* while there is nothing to do */
#define FAILED_LIMIT 600		/* after failures */

/*
 * A stream is slow whose steps took more than this part of a naptime lately,
 * and more than a second.
 */
#define SLOW_PART 4
#define SLOW_MICROSECONDS INT64CONST(1000000)

/* After a crash the slots are made again, and all are free. */
typedef struct SharedSlots
{
	LWLock	   *lock;
	uint64		last_serial;
	int			launcher_pid;	/* 0: none */
	bool		room_is_missing;	/* the server had none for a worker */
	Latch	   *launcher_latch;
	MeterSlot	slots[METER_SLOTS];
} SharedSlots;

static SharedSlots *shared = NULL;
static MeterSlot *own_slot = NULL;	/* of this worker, for signal handlers */

/* Names the memory of the slots. */
void
meter_slots_share(void)
{
	meter_share("meter worker slots", "meter", sizeof(SharedSlots),
				(void **) &shared);
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

/*
 * Returns a text of shared memory as it can be read in this database.  It may
 * come from one with another encoding.
 */
char *
meter_slot_readable(const char *text)
{
	char	   *copy = pstrdup(text);
	char	   *at;

	if (!pg_verifymbstr(copy, strlen(copy), true))
	{
		for (at = copy; *at != '\0'; at++)
		{
			if (IS_HIGHBIT_SET(*at))
				*at = '?';
		}
	}
	return copy;
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
		case METER_TURN_TERMINATED:
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

/* Says whether the server had room for the worker that was asked for last. */
bool
meter_slots_have_room(void)
{
	bool		room;

	LWLockAcquire(shared->lock, LW_SHARED);
	room = !shared->room_is_missing;
	LWLockRelease(shared->lock);
	return room;
}

/* Notes whether the server had room for a worker. */
void
meter_slots_set_room(bool room)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->room_is_missing = !room;
	LWLockRelease(shared->lock);
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

/* Takes out of a slot what its worker was at.  Needs the lock. */
static void
clear_step(MeterSlot *slot)
{
	if (!slot->unrecorded)
		slot->step.stream[0] = slot->step.meter[0] = '\0';
	slot->step.canceled = false;
	slot->step.canceled_at = 0;
	slot->step.terminated_at = 0;
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
		clear_step(slot);
		own_slot = slot;
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

/* The name of a stream, as its time is kept under. */
static uint32
hash_stream(const char *stream)
{
	return hash_bytes((const unsigned char *) stream, (int) strlen(stream));
}

/* Halves a stream's time for each naptime that has passed. */
static void
halve_time(MeterStreamTime *time, TimestampTz now)
{
	int64		naptime = (int64) meter_naptime * USECS_PER_SEC;
	int64		naps = now > time->at ? (now - time->at) / naptime : 0;

	time->microseconds = naps > 62 ? 0 : time->microseconds >> naps;
	time->at += naps * naptime;
}

/*
 * Returns for how long workers have been at a stream lately, those included
 * that are at it now.  Needs the lock.
 */
static int64
stream_time(Oid database, const char *stream, TimestampTz now)
{
	MeterSlot  *first = first_slot(database);
	uint32		hash = hash_stream(stream);
	int64		microseconds = 0;
	int			i;

	for (i = 0; first != NULL && i < METER_SLOW_STREAMS; i++)
	{
		if (first->times[i].microseconds > 0 && first->times[i].stream == hash)
		{
			halve_time(&first->times[i], now);
			microseconds += first->times[i].microseconds;
		}
	}
	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database == database && slot->state == METER_SLOT_RUNNING &&
			strcmp(slot->step.stream, stream) == 0)
			microseconds += Max(now - slot->step.began, 0);
	}
	return microseconds;
}

/*
 * Says whether steps that took so long lately are slow.  A stream that takes
 * its part of the time of one worker is not.
 */
static bool
is_slow(int64 microseconds)
{
	return microseconds > Max((int64) meter_naptime * USECS_PER_SEC / SLOW_PART,
							  SLOW_MICROSECONDS);
}

/* Adds the time of a step that ends to that of its stream.  Needs the lock. */
static void
count_time(MeterSlot *slot)
{
	MeterSlot  *first = first_slot(slot->database);
	TimestampTz now = GetCurrentTimestamp();
	MeterStreamTime *least = NULL;
	uint32		hash = hash_stream(slot->step.stream);
	int64		taken = now - slot->step.began;
	int			i;

	if (first == NULL || slot->step.stream[0] == '\0' || taken <= 0)
		return;
	for (i = 0; i < METER_SLOW_STREAMS; i++)
	{
		MeterStreamTime *time = &first->times[i];

		halve_time(time, now);
		if (time->microseconds > 0 && time->stream == hash)
		{
			time->microseconds += taken;
			return;
		}
		if (least == NULL || time->microseconds < least->microseconds)
			least = time;
	}
	/* who took less than all that are known is as good as unknown */
	if (least->microseconds < taken)
	{
		least->stream = hash;
		least->microseconds = taken;
		least->at = now;
	}
}

/* Notes that a step begins, of a meter or (NULL) of maintenance. */
void
meter_slot_begin_step(const MeterSlotRef *ref, const char *stream,
					  const char *meter)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
	{
		slot->unrecorded = false;
		clear_step(slot);
		strlcpy(slot->step.stream, stream, sizeof(slot->step.stream));
		strlcpy(slot->step.meter, meter ? meter : "",
				sizeof(slot->step.meter));
		slot->step.began = GetCurrentTimestamp();
	}
	LWLockRelease(shared->lock);
}

/* Notes that a step has ended, and that no cancel is to be obeyed any more. */
void
meter_slot_end_step(const MeterSlotRef *ref)
{
	MeterSlot  *slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL)
	{
		count_time(slot);
		clear_step(slot);
	}
	LWLockRelease(shared->lock);
}

/* Says how slow a stream is, and who is at it or at others that are slow. */
void
meter_slot_stream_load(const MeterSlotRef *ref, const char *stream,
					   MeterStreamLoad *load)
{
	TimestampTz now = GetCurrentTimestamp();
	int			i;

	memset(load, 0, sizeof(*load));
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	load->microseconds = stream_time(ref->database, stream, now);
	load->slow = is_slow(load->microseconds);
	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database != ref->database || slot->step.stream[0] == '\0' ||
			i == ref->index || slot->state == METER_SLOT_WAITING)
			continue;
		if (strcmp(slot->step.stream, stream) == 0)
			load->workers++;
		if (slot->state == METER_SLOT_RUNNING &&
			is_slow(stream_time(ref->database, slot->step.stream, now)))
			load->slow_workers++;
	}
	LWLockRelease(shared->lock);
}

/*
 * Takes a step of the database that was terminated, and not recorded as a
 * failure of its meter.  False when there is none.
 */
bool
meter_slot_take_unrecorded(const MeterSlotRef *ref, MeterSlotStep *step)
{
	bool		found = false;
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < METER_SLOTS && !found; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->database != ref->database || !slot->unrecorded)
			continue;
		*step = slot->step;
		slot->unrecorded = false;
		clear_step(slot);
		found = true;
	}
	LWLockRelease(shared->lock);
	return found;
}

/*
 * Tells the launcher that this worker was told to cancel its step.  For signal
 * handlers: takes no lock.
 */
void
meter_slot_note_cancel(void)
{
	int			saved_errno = errno;
	Latch	   *launcher = shared->launcher_latch;

	if (own_slot != NULL)
		own_slot->step.canceled = true;
	/* latches of processes stay where they are, whosever they are by now */
	if (launcher != NULL)
		SetLatch(launcher);
	errno = saved_errno;
}

/*
 * Gives the place of a worker that obeys no signal to another one: its slot
 * stays with it, and the history goes to a slot that is free or waits.  False
 * when there is none, or as many workers are stuck as there may be at all.
 * Needs the lock.
 */
static bool
give_place(MeterSlot *stuck)
{
	MeterSlot  *room = NULL;
	int			count = 0;
	int			i;

	for (i = 0; i < METER_SLOTS; i++)
	{
		MeterSlot  *slot = &shared->slots[i];

		if (slot->state == METER_SLOT_STUCK)
			count++;
		if (slot->state == METER_SLOT_WAITING &&
			(room == NULL || is_spared_less(slot, room)))
			room = slot;
	}
	if (room == NULL || count >= meter_max_workers)
		return false;
	count_time(stuck);
	*room = *stuck;
	room->serial = ++shared->last_serial;
	clear_step(room);
	set_error(room, "a worker obeys no signal");
	end_turn(room, METER_TURN_TERMINATED);
	stuck->number = 0;
	stuck->state = METER_SLOT_STUCK;
	return true;
}

/*
 * Enforces a cancel upon a worker that has not obeyed it within the grace
 * period: tells it to end, and, where that does not help, either, gives its
 * place away.  Says what was done to which one; *next is brought forward to
 * when there may be more to do.
 */
MeterEnforced
meter_slots_enforce(TimestampTz now, MeterSlot *copy, TimestampTz *next)
{
	int64		grace = meter_cancel_grace * INT64CONST(1000);
	MeterEnforced done = METER_ENFORCED_NOTHING;
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < METER_SLOTS && done == METER_ENFORCED_NOTHING; i++)
	{
		MeterSlot  *slot = &shared->slots[i];
		MeterSlotStep *step = &slot->step;

		if (slot->state != METER_SLOT_RUNNING || !step->canceled ||
			step->stream[0] == '\0')
			continue;
		if (step->canceled_at == 0)
			step->canceled_at = now;
		if (step->terminated_at == 0 && now - step->canceled_at >= grace)
		{
			/* it cannot be gone: to finish, it needs the lock */
			step->terminated_at = now;
			(void) kill(slot->pid, SIGTERM);
			done = METER_ENFORCED_TERMINATION;
		}
		else if (step->terminated_at != 0 &&
				 now - step->terminated_at >= grace && give_place(slot))
			done = METER_ENFORCED_PLACE;
		if (done != METER_ENFORCED_NOTHING)
			*copy = *slot;
		if (slot->state == METER_SLOT_RUNNING)
		{
			TimestampTz due = Max(step->canceled_at, step->terminated_at) + grace;

			/* where no place can be given, look again in a while */
			*next = Min(*next, due > now ? due : now + USECS_PER_SEC);
		}
	}
	LWLockRelease(shared->lock);
	return done;
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
 * Notes how a turn goes: how many meters it has, with how many of them it is
 * not done, and where other turns of the database go on.
 */
void
meter_slot_note_turn(const MeterSlotRef *ref, int meters, int due_meters,
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

/*
 * Ends the turn, schedules the next one and tells the launcher.  A worker that
 * was stuck has no turn any more.
 */
void
meter_slot_finish(const MeterSlotRef *ref, MeterTurnResult result)
{
	MeterSlot  *slot;

	own_slot = NULL;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = referenced_slot(ref);
	if (slot != NULL && slot->state == METER_SLOT_STUCK)
		memset(slot, 0, sizeof(MeterSlot));
	else if (slot != NULL && slot->state == METER_SLOT_RUNNING)
	{
		if (slot->step.stream[0] != '\0' && slot->step.terminated_at != 0)
		{
			result = METER_TURN_TERMINATED;
			slot->unrecorded = true;
			set_error(slot, "a step did not obey a cancel, and the worker was terminated");
		}
		count_time(slot);
		clear_step(slot);
		end_turn(slot, result);
	}
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
