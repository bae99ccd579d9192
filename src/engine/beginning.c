/*
 * beginning.c
 *	  The beginning of a meter: what is there when it is made, how far its clock
 *	  is then, its earliest usage, and its first watermark.
 *
 * A meter without since begins with the earliest row that counts.  What is in
 * the logs when it is made counts however old it is; what comes later is judged
 * by the clock of then, as by a watermark.  So a row from 1970 in the first
 * batch is held, as it would be a day later.  Where the clock cannot say
 * anything yet, it is the first that it says.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/grid.h"
#include "engine/beginning.h"
#include "engine/clock.h"
#include "engine/step_state.h"
#include "engine/usage_kind.h"
#include "log/position.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Find the period with which a meter begins that has no since: that of its
 * earliest row that counts, or of the earliest usage of its name in the ledger;
 * not one of a month that was detached.
 * Returns false if there is none, or only in the future.
 */
bool
meter_earliest_period(const MeterDefinition *definition,
					  const MeterProgress *progress, TimestampTz *begin)
{
	TimestampTz first;

	meter_execute_row(psprintf("SELECT least((%s), (SELECT min(u.period_start) FROM %s.usage u WHERE u.meter = %s))",
							   meter_usage_of(definition)->earliest(definition, progress),
							   quote_identifier(definition->stream),
							   quote_literal_cstr(definition->name)));
	if (!meter_result_instant(1, &first) || first > meter_now())
		return false;
	*begin = Max(meter_grid_period_begin(definition->grid, first),
				 definition->ledger_from);
	return true;
}

/*
 * Return how many periods of a meter lie between two instants; more than a
 * million are not counted one by one.
 */
int64
meter_count_periods(const MeterDefinition *definition, TimestampTz from,
					TimestampTz to)
{
	int64		count = 0;

	if (from >= to)
		return 0;
	if (meter_grid_count_periods(definition->grid, from, to) > 1000000)
		return (int64) meter_grid_count_periods(definition->grid, from, to);
	for (; from < to; from = meter_grid_period_end(definition->grid, from))
		count++;
	return count;
}

/* Give a meter its first watermark.  Returns false if there is none yet. */
bool
meter_first_watermark(const MeterDefinition *definition, MeterProgress *progress)
{
	progress->has_watermark = meter_earliest_period(definition, progress,
													&progress->watermark);
	if (progress->has_watermark)
		progress->settled_from = progress->watermark;
	return progress->has_watermark;
}

/*
 * Judge the rows of a log by a clock from here on, in place of `before`, by
 * which they were judged so far.
 */
static void
judge_by(MeterLogProgress *log, TimestampTz *noted_at, TimestampTz before,
		 TimestampTz clock)
{
	if (log->position_watermark == before)
		log->position_watermark = clock;
	if (log->note_watermark == before)
		log->note_watermark = clock;
	if (*noted_at == before)
		*noted_at = clock;
}

/*
 * Note how far the clock is in the beginning of a meter without since, unless
 * that is noted: what is not known to count is judged by it.  Returns false if
 * the clock does not say anything yet.  A clock that was ahead of the time, as
 * it turns out, is taken back: all that is to come would be held otherwise.
 */
bool
meter_first_clock(const MeterDefinition *definition, MeterProgress *progress,
				  MeterStep *step)
{
	TimestampTz before = progress->first_clock;
	TimestampTz clock;
	MeterLog	log;

	if (!TIMESTAMP_IS_NOBEGIN(definition->since))
		return true;
	if (!TIMESTAMP_IS_NOBEGIN(before))
	{
		clock = meter_clock_cut(definition, meter_now());
		if (before <= clock)
			return true;
	}
	else if (!meter_clock_target(definition, progress, step, &clock))
		return false;
	progress->first_clock = clock;
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		judge_by(&progress->logs[log], &step->noted_at[log], before, clock);
	return true;
}

/*
 * Note of a new meter without since which rows are there, and how far the clock
 * is.  Within a session of the stream's owner.
 */
void
meter_note_beginning(const MeterDefinition *definition,
					 MeterProgress *progress)
{
	MeterStep	step = {0};
	MeterLog	log;

	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		step.safe[log] = meter_safe_position(definition, progress, log,
											 &step.noted_at[log]);
		progress->logs[log].held_after = meter_last_arrival(definition, log, 0);
	}
	(void) meter_first_clock(definition, progress, &step);
}
