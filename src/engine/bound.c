/*
 * bound.c
 *	  How far one step settles: up to a period's end, with about as many rows
 *	  as it takes.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/grid.h"
#include "engine/bound.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "pg/spi.h"

/* The time that is due is divided into so many pieces. */
#define PIECES	256

/*
 * Return how far one step settles of events, with about so many of them and of
 * usage rows.  A resource that runs makes a row in each period, and so does one
 * that starts meanwhile, from there on.
 */
TimestampTz
meter_bound_events(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz target)
{
	const char *schema = quote_identifier(definition->stream);
	double		periods = meter_grid_count_periods(definition->grid, progress->watermark,
												   target);
	double		begin = (double) progress->watermark / USECS_PER_SEC;
	double		length = (double) (target - progress->watermark) / PIECES;
	double		events[PIECES] = {0};
	double		starts[PIECES] = {0};
	double		stops[PIECES] = {0};
	double		running;
	double		rows = 0;
	StringInfoData sql;
	TimestampTz end;
	bool		isnull;
	uint64		i;
	int			piece;

	if (periods <= 1)
		return target;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT least(width_bucket(date_part('epoch', e.\"time\" - '2000-01-01 00:00+00'::timestamptz), "
					 "%.17g, %.17g, %d), %d), count(*), count(*) FILTER (WHERE e.action = ANY (%s)), "
					 "count(*) FILTER (WHERE e.action = ANY (%s || %s)) FROM %s.event e WHERE ",
					 begin, begin + length * PIECES / USECS_PER_SEC, PIECES,
					 PIECES, meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops),
					 meter_text_array_literal(definition->ends), schema);
	meter_append_bearing_filter(&sql, definition);
	appendStringInfo(&sql, " AND e.\"time\" >= %s AND e.\"time\" < %s GROUP BY 1",
					 meter_timestamp_literal(progress->watermark),
					 meter_timestamp_literal(target));
	meter_execute(sql.data, SPI_OK_SELECT);
	for (i = 0; i < SPI_processed; i++)
	{
		piece = Max(DatumGetInt32(meter_result(i, 1, &isnull)) - 1, 0);
		events[piece] = DatumGetInt64(meter_result(i, 2, &isnull));
		starts[piece] = DatumGetInt64(meter_result(i, 3, &isnull));
		stops[piece] = DatumGetInt64(meter_result(i, 4, &isnull));
	}

	meter_execute_row(psprintf("SELECT count(*) FROM %s._resource_state WHERE meter = %s AND active",
							   schema, quote_literal_cstr(definition->name)));
	running = meter_result_count(1);
	for (piece = 0; piece < PIECES; piece++)
	{
		double		more = events[piece] +
		(running + starts[piece]) * periods / PIECES;

		if (rows + more > meter_step_rows(progress))
			break;
		rows += more;
		running = Max(running + starts[piece] - stops[piece], 0);
	}
	if (piece == PIECES)
		return target;

	/* the first piece alone may be too much */
	end = progress->watermark +
		(int64) (length * (piece > 0 ? piece :
						   meter_step_rows(progress) /
						   (events[0] + (running + starts[0]) * periods / PIECES)));
	end = meter_grid_period_begin(definition->grid, end);
	if (end <= progress->watermark)
		end = meter_grid_period_end(definition->grid, progress->watermark);
	return Min(target, end);
}

/*
 * Return about how many parts the measures of a span of time have: of sums,
 * each falls into as many as there are periods in it.
 */
static double
count_parts(const MeterDefinition *definition, TimestampTz from,
			TimestampTz to)
{
	const char *begin = meter_timestamp_literal(from);
	const char *end = meter_timestamp_literal(to);
	const char *time = meter_row_time(meter_placing(definition, METER_LOG_MEASURE), "e");
	bool		sum = definition->aggregate == METER_SUM;
	double		parts;
	bool		isnull;
	Datum		seconds;

	meter_execute(psprintf("SELECT count(*), sum(date_part('epoch', least(e.end_time, %s) - greatest(e.start_time, %s))) "
						   "FROM %s.measure e WHERE %s < %s AND %s",
						   end, begin, quote_identifier(definition->stream),
						   time, end,
						   sum ? psprintf("(e.end_time > %s OR e.start_time >= %s)", begin, begin) :
						   psprintf("%s >= %s", time, begin)),
				  SPI_OK_SELECT);
	parts = meter_result_count(1);
	seconds = meter_result(0, 2, &isnull);
	if (sum && !isnull)
		parts += DatumGetFloat8(seconds) * USECS_PER_SEC / (to - from) *
			meter_grid_count_periods(definition->grid, from, to);
	return parts;
}

/* Return how far one step settles of measures, with about so many parts. */
TimestampTz
meter_bound_measures(const MeterDefinition *definition,
					 const MeterProgress *progress, TimestampTz target)
{
	TimestampTz watermark = progress->watermark;
	TimestampTz end;
	double		parts;

	if (meter_grid_count_periods(definition->grid, watermark, target) <= 1)
		return target;
	parts = count_parts(definition, watermark, target);
	if (parts <= meter_step_rows(progress))
		return target;
	end = meter_grid_period_begin(definition->grid,
								  watermark + (int64) ((target - watermark) *
													   (meter_step_rows(progress) / parts)));
	if (end <= watermark)
		end = meter_grid_period_end(definition->grid, watermark);
	return Min(target, end);
}
