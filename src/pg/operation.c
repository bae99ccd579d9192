/*
 * operation.c
 *	  How far long operations are, for other sessions to see: meter.progress.
 *
 * Where the library is preloaded, a process has a place in shared memory while
 * it makes such an operation; else nothing is shown, and all of this does
 * nothing.  One LWLock protects the places.  It is held to copy a few words,
 * never while anything is allocated, waited for or raised.
 *
 * A process shows one operation: what runs within it, such as a step within a
 * trigger of another one, is part of it.  An operation ends with the
 * transaction, or with the subtransaction that is rolled back, in which it
 * began; so an error needs no care.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "pg/meter_compat.h"
#include "pg/operation.h"
#include "pg/shared_memory.h"

typedef struct SharedOperations
{
	LWLock	   *lock;
	MeterOperation operations[METER_OPERATIONS];
} SharedOperations;

static SharedOperations *shared = NULL;
static MeterOperation *own = NULL;	/* of this process */
static int	own_level;			/* the nesting of transactions it is part of */

int64		meter_operation_rows = 0;

/* Frees the place of this process. */
static void
give_up_place(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	own->pid = 0;
	LWLockRelease(shared->lock);
	own = NULL;
}

/* Ends the operation with its transaction. */
static void
end_with_transaction(XactEvent event pg_attribute_unused(),
					 void *arg pg_attribute_unused())
{
	if (own != NULL && event != XACT_EVENT_PRE_COMMIT &&
		event != XACT_EVENT_PRE_PREPARE)
		give_up_place();
}

/* Ends the operation with its subtransaction, if that is rolled back. */
static void
end_with_subtransaction(SubXactEvent event,
						SubTransactionId id pg_attribute_unused(),
						SubTransactionId parent pg_attribute_unused(),
						void *arg pg_attribute_unused())
{
	if (own == NULL || own_level < GetCurrentTransactionNestLevel())
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		give_up_place();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		own_level = GetCurrentTransactionNestLevel() - 1;
}

/* Names the memory of the places. */
void
meter_operations_share(void)
{
	meter_share("meter progress", "meter progress", sizeof(SharedOperations),
				(void **) &shared);
}

/* Copies the operations that run into the current memory context. */
int
meter_operations_copy(MeterOperation **operations)
{
	int			count = 0;
	int			i;

	*operations = palloc(sizeof(MeterOperation) * METER_OPERATIONS);
	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (i = 0; i < METER_OPERATIONS; i++)
	{
		if (shared->operations[i].pid != 0)
			(*operations)[count++] = shared->operations[i];
	}
	LWLockRelease(shared->lock);
	return count;
}

/*
 * Begins an operation on a meter, or (NULL) on a stream.  Returns whether it is
 * shown as one of its own, for meter_operation_end().
 */
bool
meter_operation_begin(const char *kind, const char *stream, const char *meter)
{
	static bool registered = false;
	int			i;

	if (shared == NULL || own != NULL)
		return false;
	if (!registered)
	{
		RegisterXactCallback(end_with_transaction, NULL);
		RegisterSubXactCallback(end_with_subtransaction, NULL);
		registered = true;
	}
	meter_operation_rows = 0;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < METER_OPERATIONS && own == NULL; i++)
	{
		MeterOperation *place = &shared->operations[i];

		if (place->pid != 0)
			continue;
		memset(place, 0, sizeof(MeterOperation));
		place->pid = MyProcPid;
		place->database = MyDatabaseId;
		strlcpy(place->kind, kind, sizeof(place->kind));
		strlcpy(place->stream, stream, sizeof(place->stream));
		strlcpy(place->meter, meter ? meter : "", sizeof(place->meter));
		strlcpy(place->phase, "initializing", sizeof(place->phase));
		place->total = METER_TOTAL_UNKNOWN;
		place->began = place->phase_began = GetCurrentTimestamp();
		own = place;
	}
	LWLockRelease(shared->lock);
	own_level = GetCurrentTransactionNestLevel();
	return own != NULL;
}

/* Begins a phase of the operation at hand, if there is one. */
void
meter_operation_phase(const char *phase, int64 total)
{
	meter_operation_rows = 0;
	if (own == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(own->phase, phase, sizeof(own->phase));
	own->done = 0;
	own->total = total;
	own->phase_began = GetCurrentTimestamp();
	LWLockRelease(shared->lock);
}

/* Tells how much of the phase at hand is done. */
void
meter_operation_done(int64 done)
{
	if (own == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	own->done = done;
	LWLockRelease(shared->lock);
}

/* Ends an operation: `own_one` is what its begin returned. */
void
meter_operation_end(bool own_one)
{
	if (own_one && own != NULL)
		give_up_place();
}
