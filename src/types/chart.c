/*
 * chart.c
 *	  meter.chart(): a timeline as a line of characters, for psql.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "core/chart.h"
#include "core/core.h"
#include "types/timeline.h"

PG_FUNCTION_INFO_V1(meter_timeline_chart);

/* chart(timeline, during, width) */
Datum
meter_timeline_chart(PG_FUNCTION_ARGS)
{
	MeterWindow window = meter_window_from_range(PG_GETARG_DATUM(1));
	int32		width = PG_GETARG_INT32(2);
	char		line[METER_CHART_WIDEST];

	if (width < 1 || width > METER_CHART_WIDEST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"width\" must be from 1 to %d: %d",
						METER_CHART_WIDEST, width)));
	if (window.from < window.to &&
		(window.from <= METER_BEGIN || window.to >= METER_END))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"during\" must have both ends"),
				 errhint("Say from when to when to draw, as in '[2024-03-05, 2024-03-06)'.")));
	if (window.from >= window.to || window.to - window.from < width)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"during\" must be at least a microsecond for each of %d columns",
						width)));
	meter_chart(meter_timeline_read(PG_GETARG_DATUM(0)), window.from, window.to,
				width, line);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(line, width));
}
