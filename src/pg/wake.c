/*
 * wake.c
 *	  Waking the launcher once a transaction has committed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "pg/wake.h"
#include "pg/worker_slot.h"

static bool wake_at_commit = false;

/*
 * Wakes the launcher once the transaction has committed.  A prepared
 * transaction wakes it at PREPARE: the worker then looks for rows with growing
 * pauses, and finds them some time after COMMIT PREPARED.  A subtransaction
 * that is rolled back does not take its wake back: a turn without work is
 * cheap.
 */
static void
wake_after_commit(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (wake_at_commit)
				meter_slot_wake(MyDatabaseId);
			wake_at_commit = false;
			break;
		case XACT_EVENT_ABORT:
			wake_at_commit = false;
			break;
		default:
			break;
	}
}

/*
 * Has a worker look at this database as soon as the current transaction has
 * committed.
 */
void
meter_worker_wake(void)
{
	static bool registered = false;

	if (!meter_slots_exist())
		return;
	if (!registered)
	{
		RegisterXactCallback(wake_after_commit, NULL);
		registered = true;
	}
	wake_at_commit = true;
}
