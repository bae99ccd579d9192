/*
 * clock.c
 *	  Clocks: how far the watermark of a meter may go.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/clock.h"
#include "engine/step_state.h"
#include "engine/usage_kind.h"
#include "pg/now.h"
#include "pg/spi.h"

/* The column and the rows of each log by which the event clock goes. */
static const char *const clock_columns[METER_NLOGS] = {
	"\"time\"", "end_time"
};
static const char *const clock_rows[METER_NLOGS] = {
	"action NOT LIKE 'reconciled:%'", "true"
};

/* Move the event clock on to an instant, if that is later. */
static void
move_to(MeterProgress *progress, TimestampTz instant)
{
	if (progress->has_event_clock && instant <= progress->event_clock)
		return;
	progress->has_event_clock = true;
	progress->event_clock = instant;
}

/*
 * Find the greatest time that is not in the future of the rows of a log that
 * arrived after a position.  Returns false if there is none; *more is whether
 * some are in the future.
 */
static bool
read_latest(const MeterDefinition *definition, MeterLog log, int64 after,
			TimestampTz *latest, bool *more)
{
	const char *column = clock_columns[log];
	const char *now = meter_timestamp_literal(meter_now());

	meter_execute_row(psprintf("SELECT max(%s) FILTER (WHERE %s <= %s), "
							   "count(*) FILTER (WHERE %s > %s) "
							   "FROM %s.%s WHERE %s AND arrival > " INT64_FORMAT,
							   column, column, now, column, now,
							   quote_identifier(definition->stream),
							   meter_log_names[log], clock_rows[log], after));
	*more = meter_result_count(2) > 0;
	return meter_result_instant(1, latest);
}

/*
 * Move the event clock by the rows of a log that came since the last time.
 * Times of the future are remembered apart, so that no row has to be read
 * again.
 */
static void
read_new_rows(const MeterDefinition *definition, MeterProgress *progress,
			  MeterLog log, int64 safe)
{
	MeterLogProgress *of_log = &progress->logs[log];
	const char *schema = quote_identifier(definition->stream);
	const char *column = clock_columns[log];
	const char *now = meter_timestamp_literal(meter_now());
	TimestampTz latest;
	bool		in_future;

	/* no rows came since, and nobody is about to commit some */
	if (of_log->clock_position >= safe && !of_log->has_note &&
		!IsolationUsesXactSnapshot())
		return;

	if (read_latest(definition, log, of_log->clock_position, &latest,
					&in_future))
		move_to(progress, latest);
	if (in_future)
		meter_execute(psprintf("INSERT INTO %s._future (meter, \"time\") "
							   "SELECT DISTINCT %s, %s FROM %s.%s "
							   "WHERE arrival > " INT64_FORMAT " AND %s > %s "
							   "ORDER BY 2 ON CONFLICT DO NOTHING",
							   schema, quote_literal_cstr(definition->name),
							   column, schema, meter_log_names[log],
							   of_log->clock_position, column, now),
					  SPI_OK_INSERT);
	of_log->clock_position = Max(of_log->clock_position, safe);
}

/*
 * Move the event clock on to the greatest time that is not in the future:
 * of what came since, and of what was in the future when it came.
 */
static void
move_event_clock(const MeterDefinition *definition, MeterProgress *progress,
				 const MeterStep *step)
{
	MeterLog	log;
	TimestampTz latest;

	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		read_new_rows(definition, progress, log, step->safe[log]);
	meter_execute_row(psprintf("WITH past AS (DELETE FROM %s._future "
							   "WHERE meter = %s AND \"time\" <= %s RETURNING \"time\") "
							   "SELECT max(\"time\") FROM past",
							   quote_identifier(definition->stream),
							   quote_literal_cstr(definition->name),
							   meter_timestamp_literal(meter_now())));
	if (meter_result_instant(1, &latest))
		move_to(progress, latest);
}

/* Return where a clock that is at an instant lets the watermark go. */
TimestampTz
meter_clock_cut(const MeterDefinition *definition, TimestampTz clock)
{
	TimestampTz target = meter_later_by(Min(clock, meter_now()),
										-definition->lateness);

	return meter_grid_period_begin(definition->grid,
								   Min(target, definition->until));
}

/*
 * Find where the clock lets the watermark go.  Returns false if there is no
 * such instant yet.
 */
bool
meter_clock_target(const MeterDefinition *definition, MeterProgress *progress,
				   const MeterStep *step, TimestampTz *target)
{
	TimestampTz clock = meter_now();

	if (definition->clock == METER_CLOCK_EVENT)
	{
		move_event_clock(definition, progress, step);
		if (!progress->has_event_clock)
			return false;
		clock = progress->event_clock;
	}
	else if (definition->clock == METER_CLOCK_SOURCE &&
			 !meter_source_clock(definition->stream, false, &clock))
		return false;
	*target = meter_clock_cut(definition, clock);
	return true;
}

/*
 * Find where the clock would let the watermark of a meter go that is not there
 * yet.  Returns false if there is no such instant yet.
 */
bool
meter_clock_ahead(const MeterDefinition *definition, TimestampTz *target)
{
	TimestampTz clock = meter_now();
	TimestampTz latest;
	bool		in_future;
	bool		found = definition->clock == METER_CLOCK_WALL;
	MeterLog	log;

	if (definition->clock == METER_CLOCK_SOURCE)
		found = meter_source_clock(definition->stream, false, &clock);
	for (log = METER_LOG_EVENT; definition->clock == METER_CLOCK_EVENT &&
		 log <= meter_usage_of(definition)->log; log++)
	{
		if (!read_latest(definition, log, 0, &latest, &in_future))
			continue;
		clock = found ? Max(clock, latest) : latest;
		found = true;
	}
	*target = meter_clock_cut(definition, clock);
	return found;
}
