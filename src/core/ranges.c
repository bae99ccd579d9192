/*
 * ranges.c
 *	  What ranges of time cover together.
 */
#include "core/core.h"
#include "core/ranges.h"

#define SORT_NAME	sort_ranges
#define SORT_TYPE	MeterRange
#define SORT_KEY(element)	((element).begin)
#include "core/sort_impl.h"

/*
 * Sort ranges and join those that overlap or touch; returns how many remain.
 */
uint32
meter_ranges_join(MeterRange *ranges, uint32 nranges)
{
	uint32		n = 0;
	uint32		i;

	sort_ranges(ranges, nranges);
	for (i = 0; i < nranges; i++)
	{
		if (n > 0 && ranges[i].begin <= ranges[n - 1].end)
			ranges[n - 1].end = Max(ranges[n - 1].end, ranges[i].end);
		else
			ranges[n++] = ranges[i];
	}
	return n;
}
