/*
 * clock.c
 *	  Clocks: how far the watermark of a meter may go.
 */
#include "engine/clock.h"

#include "access/xact.h"
#include "utils/builtins.h"

#include "engine/measures.h"
#include "catalog/source.h"
#include "pg/spi.h"

/* Later by so many microseconds, within what a timestamp can be. */
TimestampTz
meter_later_by(TimestampTz instant, int64 usec)
{
	if (instant < MIN_TIMESTAMP + Max(-usec, 0))
		return MIN_TIMESTAMP;
	return instant + usec;
}

/* Move the event clock on to an instant, if that is later. */
static void
reach(MeterDefinition *definition, TimestampTz instant)
{
	if (definition->has_event_clock && instant <= definition->event_clock)
		return;
	definition->has_event_clock = true;
	definition->event_clock = instant;
}

/*
 * Look at events that came since the last time.  Those of the future are
 * remembered apart, so that none has to be looked at again.
 */
static void
read_new_events(MeterDefinition *definition, int64 safe)
{
	const char *schema = quote_identifier(definition->stream);
	const char *now = meter_timestamp_literal(meter_now());
	bool		future;
	bool		isnull;
	Datum		value;

	meter_execute(psprintf("SELECT max(\"time\") FILTER (WHERE \"time\" <= %s), "
						   "coalesce(bool_or(\"time\" > %s), false) "
						   "FROM %s.event WHERE action NOT LIKE 'reconciled:%%' AND arrival > " INT64_FORMAT,
						   now, now, schema, definition->clock_position),
				  SPI_OK_SELECT);
	value = meter_result(0, 1, &isnull);
	if (!isnull)
		reach(definition, DatumGetTimestampTz(value));
	future = DatumGetBool(meter_result(0, 2, &isnull));
	if (future)
		meter_execute(psprintf("INSERT INTO %s.future (meter, \"time\") "
							   "SELECT DISTINCT %s, \"time\" FROM %s.event "
							   "WHERE arrival > " INT64_FORMAT " AND \"time\" > %s "
							   "ORDER BY 2 ON CONFLICT DO NOTHING",
							   schema, quote_literal_cstr(definition->name),
							   schema, definition->clock_position, now),
					  SPI_OK_INSERT);
	definition->clock_position = Max(definition->clock_position, safe);
}

/*
 * Move the event clock on to the greatest time that is not in the future:
 * of what came since, and of what was in the future when it came.
 */
static void
move_event_clock(MeterDefinition *definition, int64 safe)
{
	TimestampTz measured;
	bool		isnull;
	Datum		value;

	/* unless nothing came since, and nobody is about to commit something */
	if (definition->clock_position < safe || definition->has_note ||
		IsolationUsesXactSnapshot())
		read_new_events(definition, safe);
	if (METER_OF_MEASURES(definition->aggregate) &&
		meter_latest_measure(definition, &measured))
		reach(definition, measured);

	meter_execute(psprintf("WITH past AS (DELETE FROM %s.future "
						   "WHERE meter = %s AND \"time\" <= %s RETURNING \"time\") "
						   "SELECT max(\"time\") FROM past",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(meter_now())),
				  SPI_OK_SELECT);
	value = meter_result(0, 1, &isnull);
	if (!isnull)
		reach(definition, DatumGetTimestampTz(value));
}

/* Where the clock lets the watermark go; false: nowhere yet. */
bool
meter_clock_target(MeterDefinition *definition, int64 safe, TimestampTz *target)
{
	TimestampTz clock = meter_now();

	if (definition->clock == METER_CLOCK_EVENT)
	{
		move_event_clock(definition, safe);
		if (!definition->has_event_clock)
			return false;
		clock = definition->event_clock;
	}
	else if (definition->clock == METER_CLOCK_SOURCE &&
			 !meter_source_clock(definition->stream, false, &clock))
		return false;
	*target = meter_later_by(Min(clock, meter_now()), -definition->lateness);
	*target = Min(*target, definition->until);
	*target = meter_grid_period_begin(&definition->grid, *target);
	return true;
}
