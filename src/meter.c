/*
 * meter.c
 *	  The module: its magic, its settings, its clock.
 */
#include "meter.h"

#include <limits.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "types/event.h"
#include "commands/inbox.h"
#include "log/segment.h"
#include "worker/worker.h"

METER_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

int			meter_batch_rows = 1000000;

static const struct config_enum_entry on_bad_event_options[] = {
	{"error", METER_BAD_EVENT_ERROR, false},
	{"divert", METER_BAD_EVENT_DIVERT, false},
	{NULL, 0, false}
};

/* meter.now: empty, or the instant that tests want it to be */
static char *now_setting = NULL;

/* Is this a timestamp, or nothing? */
static bool
check_now(char **newval, void **extra,
		  GucSource source pg_attribute_unused())
{
	TimestampTz *instant;

	if (*newval == NULL || **newval == '\0')
		return true;

	/* zones are not known yet there, and only the leader asks for the time */
	if (InitializingParallelWorker)
		return true;

	/* an error here would leave the setting half done: look before */
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
		GUC_check_errdetail("It must be a timestamp with time zone, or empty.");
		return false;
	}
	PG_END_TRY();
	return *extra != NULL;
}

static TimestampTz *now_override = NULL;

static void
assign_now(const char *newval pg_attribute_unused(), void *extra)
{
	now_override = extra;
}

/* What time it is for billing: that of the transaction, unless a test says. */
TimestampTz
meter_now(void)
{
	if (now_override != NULL)
		return *now_override;
	return GetCurrentTransactionStartTimestamp();
}

/* The same at this moment: what others say of the time is not of the future. */
TimestampTz
meter_time_of_day(void)
{
	if (now_override != NULL)
		return *now_override;
	return GetCurrentTimestamp();
}

/* Called by the server when it loads the library. */
void
_PG_init(void)
{
	DefineCustomIntVariable("meter.batch_rows",
							"Rows that one step of advancing works on, about.",
							"A step is one transaction; a backlog is worked off in many.",
							&meter_batch_rows,
							1000000, 1, INT_MAX,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.segment_rows",
							"Rows after which a log gets a new segment; 0: never.",
							"The newest segment has no index by resource: late rows read all of it.",
							&meter_segment_rows,
							1000000, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.segment_age",
							"Time after which a log gets a new segment; 0: never.",
							"A segment that is empty is kept.",
							&meter_segment_age,
							30 * 24 * 60, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN,
							NULL, NULL, NULL);
	DefineCustomStringVariable("meter.now",
							   "What time it is for meter; empty: what time it is.",
							   "For tests only: watermarks never move back.",
							   &now_setting,
							   "",
							   PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   check_now, assign_now, NULL);
	DefineCustomEnumVariable("meter.on_bad_event",
							 "What becomes of input that is no event: error, or divert.",
							 "Diverted, it becomes a bad event, which only the inbox of a stream takes, and keeps in its table \"rejected\".",
							 &meter_on_bad_event,
							 METER_BAD_EVENT_ERROR, on_bad_event_options,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	meter_inbox_init();
	meter_worker_init();
	MarkGUCPrefixReserved("meter");
}
