/*
 * clock.c
 *	  Clocks: how far the watermark of a meter may go.
 */
#include "clock.h"

#include "access/xact.h"
#include "utils/builtins.h"

#include "spi.h"

/* Later by so many microseconds, within what a timestamp can be. */
TimestampTz
meter_later_by(TimestampTz instant, int64 usec)
{
	if (instant < MIN_TIMESTAMP + Max(-usec, 0))
		return MIN_TIMESTAMP;
	return instant + usec;
}

/*
 * Move the event clock on to the greatest time that is not in the future.
 * Events of the future are looked at again, so it never passes them by.
 */
static void
move_event_clock(MeterDefinition *definition, int64 safe)
{
	bool		no_past;
	bool		no_future;
	Datum		greatest;
	const char *now = meter_timestamp_literal(meter_now());
	Datum		future;

	/* nothing came since, and nobody is about to commit something */
	if (definition->clock_position >= safe && !definition->has_note &&
		!IsolationUsesXactSnapshot())
		return;

	meter_execute(psprintf("SELECT max(\"time\") FILTER (WHERE \"time\" <= %s), "
						   "min(arrival) FILTER (WHERE \"time\" > %s) "
						   "FROM %s.event WHERE arrival > " INT64_FORMAT,
						   now, now, quote_identifier(definition->stream),
						   definition->clock_position), SPI_OK_SELECT);
	greatest = meter_result(0, 1, &no_past);
	future = meter_result(0, 2, &no_future);
	if (!no_past && (!definition->has_event_clock ||
					 DatumGetTimestampTz(greatest) > definition->event_clock))
	{
		definition->has_event_clock = true;
		definition->event_clock = DatumGetTimestampTz(greatest);
	}
	definition->clock_position = Max(definition->clock_position,
									 no_future ? safe :
									 Min(DatumGetInt64(future) - 1, safe));
}

/* Where the clock lets the watermark go; false: nowhere yet. */
bool
meter_clock_target(MeterDefinition *definition, int64 safe, TimestampTz *target)
{
	if (definition->clock == METER_CLOCK_EVENT)
	{
		move_event_clock(definition, safe);
		if (!definition->has_event_clock)
			return false;
		*target = meter_later_by(definition->event_clock, -definition->lateness);
	}
	else
		*target = meter_later_by(meter_now(), -definition->lateness);
	*target = Min(*target, definition->until);
	*target = meter_grid_period_begin(&definition->grid, *target);
	return true;
}
