/*
 * chart.c
 *	  Drawing a timeline as a line of characters.
 */
#include "core/chart.h"

/* Return the instant at which a column of a chart begins, without overflow. */
static int64
column_begin(int64 from, int64 to, int32 width, int32 column)
{
	int64		length = to - from;

	return from + length / width * column + length % width * column / width;
}

/*
 * Draw the time [from, to), which has a microsecond for each column at least:
 * `width` characters, each for an equal part of it.
 */
void
meter_chart(const MeterTimeline *timeline, int64 from, int64 to, int32 width,
			char *line)
{
	int32		next = 0;
	int32		column;

	for (column = 0; column < width; column++)
	{
		int64		begin = column_begin(from, to, width, column);
		int64		end = column_begin(from, to, width, column + 1);
		int64		active = 0;
		int32		i;

		/* spans are in order, and apart */
		while (next < timeline->nspans && timeline->spans[next].end <= begin)
			next++;
		for (i = next; i < timeline->nspans && timeline->spans[i].begin < end; i++)
			active += Min(end, timeline->spans[i].end) -
				Max(begin, timeline->spans[i].begin);
		line[column] = active == 0 ? METER_CHART_NONE :
			active < end - begin ? METER_CHART_PART : METER_CHART_FULL;
	}
}
