/*
 * alter_meter.c
 *	  meter.alter_meter(): changes of what is operational of a meter.
 *
 * What was settled, held or released stays as it is.  A smaller max_lateness
 * must not hold rows that a recompute has counted already, since a recompute
 * counts rows beyond the position.  So the next step holds nothing, like the
 * step of a meter whose position was lost.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* Positions of the arguments. */
enum
{
	ARG_STREAM,
	ARG_METER,
	ARG_LATENESS,
	ARG_MAX_LATENESS,
	ARG_CLOCK,
	ARG_UNTIL,
	NARGS
};

/*
 * Check that a max_lateness does not reach behind the retention boundary, nor
 * voids that are as late; nor into a month that was detached.
 */
static void
check_max_lateness(const MeterDefinition *definition,
				   const MeterProgress *progress, bool limited, int64 usec)
{
	TimestampTz from = limited && progress->has_watermark ?
	meter_later_by(meter_later_by(progress->watermark, -usec),
				   -definition->deduplication_window) : DT_NOBEGIN;

	if (progress->has_watermark && from < definition->ledger_from)
		meter_refuse_detached(definition, from);
	if (TIMESTAMP_IS_NOBEGIN(definition->boundary) || !progress->has_watermark ||
		from >= definition->boundary)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"max_lateness\" reaches behind the retention boundary of meter \"%s\"",
					definition->name),
			 errdetail("What the log had before \"%s\" was expired.",
					   timestamptz_to_str(definition->boundary)),
			 errhint("Rows from before the retention boundary are held, whatever \"max_lateness\" is.")));
}

/* Check that a period begins at an until, and that it is not settled yet. */
static void
check_until(const MeterDefinition *definition, const MeterProgress *progress,
			TimestampTz until)
{
	meter_check_period_begin(definition->grid, until, "until");
	if (until <= definition->since)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since\" must be before \"until\"")));
	if (progress->has_watermark && until < progress->watermark)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"until\" must not be before the watermark of meter \"%s\"",
						definition->name),
				 errdetail("Periods up to \"%s\" are settled.",
						   timestamptz_to_str(progress->watermark))));
}

PG_FUNCTION_INFO_V1(meter_alter_meter);

/* alter_meter(stream, meter, lateness, max_lateness, clock, until) */
Datum
meter_alter_meter(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, ARG_STREAM, "stream");
	char	   *meter = meter_text_arg(fcinfo, ARG_METER, "meter");
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;
	Oid			types[NARGS] = {TEXTOID, TEXTOID, INTERVALOID, INTERVALOID,
	TEXTOID, TIMESTAMPTZOID};
	Datum		values[NARGS];
	char		nulls[NARGS];
	bool		keep_max_lateness = false;
	bool		keep_until = false;
	bool		shrinks = false;
	int			i;

	PreventCommandIfReadOnly("meter.alter_meter()");
	meter_check_stream_permission(stream);
	definition = meter_load(stream, meter, METER_LOCK_WAIT);
	progress = meter_load_progress(definition);
	for (i = 0; i < NARGS; i++)
	{
		values[i] = fcinfo->args[i].value;
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (!PG_ARGISNULL(ARG_LATENESS))
		(void) meter_interval_not_negative(values[ARG_LATENESS], "lateness");
	if (!PG_ARGISNULL(ARG_CLOCK))
		(void) meter_parse_clock(TextDatumGetCString(values[ARG_CLOCK]));

	if (PG_ARGISNULL(ARG_MAX_LATENESS))
		check_max_lateness(definition, progress, false, 0);
	else
	{
		int64		usec = meter_interval_usec(DatumGetIntervalP(values[ARG_MAX_LATENESS]),
											   "max_lateness");

		keep_max_lateness = usec < 0;
		if (!keep_max_lateness)
			check_max_lateness(definition, progress, true, usec);
		shrinks = !keep_max_lateness &&
			(!definition->has_max_lateness || usec < definition->max_lateness);
	}
	if (!PG_ARGISNULL(ARG_UNTIL))
	{
		keep_until = TIMESTAMP_IS_NOBEGIN(DatumGetTimestampTz(values[ARG_UNTIL]));
		if (!keep_until)
			check_until(definition, progress,
						DatumGetTimestampTz(values[ARG_UNTIL]));
	}

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(psprintf("UPDATE meter.meter SET lateness = coalesce($3, lateness), "
								  "max_lateness = %s, clock = coalesce($5, clock), until = %s "
								  "WHERE stream = $1 AND name = $2",
								  keep_max_lateness ? "max_lateness" : "$4",
								  keep_until ? "until" : "$6"),
						 SPI_OK_UPDATE, NARGS, types, values, nulls);
	if (shrinks)
		meter_hold_nothing(stream, meter);
	meter_session_end(&session);
	meter_worker_wake();
	PG_RETURN_VOID();
}
