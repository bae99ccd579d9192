/*
 * now.c
 *	  What time it is: that of the transaction, or what a test says.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "pg/meter_compat.h"
#include "pg/now.h"
#include "pg/shard.h"

/* The setting meter.now: empty, or the instant that tests want it to be. */
static char *now_setting = NULL;

/* Check that a value of meter.now is empty or a timestamp. */
static bool
check_now(char **newval, void **extra,
		  GucSource source pg_attribute_unused())
{
	TimestampTz *instant;

	if (*newval == NULL || **newval == '\0')
		return true;

	/*
	 * a parallel worker knows no zones yet, and only the leader asks for the
	 * time
	 */
	if (InitializingParallelWorker)
		return true;

	/* an error would leave the setting half done, so check the value first */
	PG_TRY();
	{
		Datum		value = DirectFunctionCall3(timestamptz_in,
												CStringGetDatum(*newval),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1));

		instant = meter_guc_alloc(sizeof(TimestampTz));
		if (instant != NULL)
			*instant = DatumGetTimestampTz(value);
		*extra = instant;
	}
	PG_CATCH();
	{
		FlushErrorState();
		GUC_check_errdetail("\"meter.now\" must be a timestamp with time zone, or empty.");
		return false;
	}
	PG_END_TRY();
	return *extra != NULL;
}

static TimestampTz *now_override = NULL;

/* Take over a value of meter.now that check_now() accepted. */
static void
assign_now(const char *newval pg_attribute_unused(), void *extra)
{
	now_override = extra;
}

/*
 * Return what time it is for billing: meter.now, or the time of the
 * transaction; on a shard, that of the node that asks.
 */
TimestampTz
meter_now(void)
{
	const MeterShard *shard = meter_current_shard();

	if (shard != NULL && shard->tells_now)
		return shard->now;
	if (now_override != NULL)
		return *now_override;
	return GetCurrentTransactionStartTimestamp();
}

/*
 * Return the time at this moment, or meter.now.  What others say of the time
 * can be compared with it: the transaction may be older.
 */
TimestampTz
meter_time_of_day(void)
{
	if (now_override != NULL)
		return *now_override;
	return GetCurrentTimestamp();
}

/*
 * Return an instant that is later by so many microseconds, within what a
 * timestamp can be.  What is infinite stays so.
 */
TimestampTz
meter_later_by(TimestampTz instant, int64 usec)
{
	int64		later;

	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	if (pg_add_s64_overflow(instant, usec, &later))
		later = usec < 0 ? MIN_TIMESTAMP : END_TIMESTAMP - 1;
	return Max(MIN_TIMESTAMP, Min(later, END_TIMESTAMP - 1));
}

/* Define the setting meter.now, while the library is loaded. */
void
meter_now_init(void)
{
	DefineCustomStringVariable("meter.now",
							   "What time it is for meter; empty: what time it is.",
							   "For tests only: watermarks never move back.",
							   &now_setting,
							   "",
							   PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   check_now, assign_now, NULL);
}
