/*
 * clock.c
 *	  Clocks: how far the watermark of a meter may go.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/source.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/clock.h"
#include "pg/now.h"
#include "pg/spi.h"

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
 * The latest end, not one of the future, of measures that came since this was
 * asked the last time; false: there is none.  Those of the future are
 * remembered apart, as those of events (see clock.c).
 */
static bool
latest_measure(MeterDefinition *definition, TimestampTz *latest)
{
	MeterLogProgress *measures = &definition->measures;
	const char *schema = quote_identifier(definition->stream);
	const char *now = meter_timestamp_literal(meter_now());
	bool		found;

	/* nothing came since, and nobody is about to commit something */
	if (measures->clock_position >= measures->safe && !measures->has_note &&
		!IsolationUsesXactSnapshot())
		return false;

	meter_execute(psprintf("SELECT max(end_time) FILTER (WHERE end_time <= %s), "
						   "count(*) FILTER (WHERE end_time > %s) "
						   "FROM %s.measure WHERE arrival > " INT64_FORMAT,
						   now, now, schema, measures->clock_position),
				  SPI_OK_SELECT);
	found = meter_result_instant(1, latest);
	if (meter_result_count(2) > 0)
		meter_execute(psprintf("INSERT INTO %s.future (meter, \"time\") "
							   "SELECT DISTINCT %s, end_time FROM %s.measure "
							   "WHERE arrival > " INT64_FORMAT " AND end_time > %s "
							   "ORDER BY 2 ON CONFLICT DO NOTHING",
							   schema, quote_literal_cstr(definition->name),
							   schema, measures->clock_position, now),
					  SPI_OK_INSERT);
	measures->clock_position = Max(measures->clock_position, measures->safe);
	return found;
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
		latest_measure(definition, &measured))
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
