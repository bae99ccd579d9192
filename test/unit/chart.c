/*
 * chart.c
 *	  Promises: each column of a chart says how much of its time is active, and
 *	  columns are equal parts of it, whatever the width and the length.
 *
 * All timelines of up to two spans over ten instants, at all widths, are compared
 * with a count of each microsecond.
 */
#include "core/chart.h"
#include "core/timeline_builder.h"
#include "standalone/unit.h"

#define TO		10

static MeterSpan spans[2];
static MeterTimeline timeline;

/* Show the case at hand. */
static void
show(void)
{
	int32		i;

	for (i = 0; i < timeline.nspans; i++)
		printf("[%d, %d) ", (int) spans[i].begin, (int) spans[i].end);
}

/* Check all charts of the timeline. */
static void
check_timeline(void)
{
	int32		width;
	char		line[TO];

	for (width = 1; width <= TO; width++)
	{
		int32		column;

		meter_chart(&timeline, 0, TO, width, line);
		for (column = 0; column < width; column++)
		{
			int			active = 0;
			int			length = 0;
			int			at;
			int32		i;

			for (at = TO * column / width; at < TO * (column + 1) / width; at++)
			{
				length++;
				for (i = 0; i < timeline.nspans; i++)
					active += spans[i].begin <= at && spans[i].end > at;
			}
			check(line[column] == (active == 0 ? '.' : active < length ? '+' : '#'),
				  "a column says how much of its time is active");
		}
	}
}

int
main(void)
{
	int			i;
	char		line[METER_CHART_WIDEST];

	show_case = show;
	timeline.spans = spans;
	for (i = 0; i < 12 * 12 * 12 * 12; i++)
	{
		spans[0].begin = i % 12 - 1;
		spans[0].end = i / 12 % 12 - 1;
		spans[1].begin = i / 144 % 12 - 1;
		spans[1].end = i / 1728 - 1;
		timeline.nspans = spans[0].begin >= spans[0].end ? 0 :
			spans[1].begin < spans[0].end || spans[1].begin >= spans[1].end ? 1 : 2;
		check_timeline();
	}

	/* an open run in the longest time that there is */
	timeline.nspans = 1;
	spans[0].begin = 0;
	spans[0].end = METER_END;
	meter_chart(&timeline, METER_BEGIN / 4, METER_END / 4, 1000, line);
	check(line[0] == '.' && line[999] == '#', "the longest time is drawn");
	printf("all timelines of up to two spans\n");
	return 0;
}
