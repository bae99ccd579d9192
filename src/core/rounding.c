/*
 * rounding.c
 *	  Rounding of timelines to units of increment, and cutting into periods.
 *
 * Rounding is a function of the timeline alone: it comes first and never sees
 * a window.  Windows and periods then cut the rounded spans exactly, so the
 * parts of any cut add up to the whole.
 */
#include "core/core.h"
#include "core/grid.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"

/*
 * Round the spans of a timeline.  A span that lasts to METER_END is taken to
 * end at open_end before rounding (METER_END: the span goes on).  Without
 * rounding the grid may be NULL.
 */
void
meter_round(MeterRounded *rounded, const MeterTimeline *timeline,
			MeterKeyed keyed, MeterRounding rounding,
			MeterGrid *grid, int64 open_end)
{
	int64		claimed = METER_BEGIN;	/* units before it belong to spans
										 * already */
	int32		n = 0;
	int32		i;

	rounded->timeline = timeline;
	rounded->nlabels = keyed == METER_KEYED_BY_KEY ?
		timeline->nkeys : timeline->nlabels;
	rounded->spans = palloc(Max(timeline->nspans, 1) * sizeof(MeterSpan));

	/* first join spans that need not be told apart */
	for (i = 0; i < timeline->nspans; i++)
	{
		MeterSpan	span = timeline->spans[i];

		if (span.end == METER_END)
			span.end = open_end;
		if (span.begin >= span.end)
			continue;
		if (keyed == METER_KEYED_BY_KEY)
			span.label = timeline->labels[span.label].key;
		if (n > 0 && rounded->spans[n - 1].end == span.begin &&
			rounded->spans[n - 1].label == span.label)
			rounded->spans[n - 1].end = span.end;
		else
			rounded->spans[n++] = span;
	}
	rounded->nspans = n;
	if (rounding == METER_ROUND_NONE)
		return;

	n = 0;
	for (i = 0; i < rounded->nspans; i++)
	{
		MeterSpan	span = rounded->spans[i];

		switch (rounding)
		{
			case METER_ROUND_UP:
				span.begin = meter_grid_unit_floor(grid, span.begin);
				span.end = meter_grid_unit_ceil(grid, span.end);
				/* a unit belongs to the span that touched it first */
				span.begin = Max(span.begin, claimed);
				claimed = Max(span.end, claimed);
				break;
			case METER_ROUND_DOWN:
				span.begin = meter_grid_unit_ceil(grid, span.begin);
				span.end = meter_grid_unit_floor(grid, span.end);
				break;
			default:
				span.begin = meter_grid_unit_round(grid, span.begin);
				span.end = meter_grid_unit_round(grid, span.end);
				break;
		}
		if (span.begin < span.end)
			rounded->spans[n++] = span;
	}
	rounded->nspans = n;
}

/*
 * Begin to cut [from, to).  The caller then cuts it into periods with
 * meter_cut_next(), or takes it whole with meter_cut_window().  Both ends may
 * be infinite only where the spans are not.  Time billed beyond what int64
 * holds (spans of more than 290,000 years) comes out negative.
 */
void
meter_cut_begin(MeterCutter *cutter, const MeterRounded *rounded,
				MeterGrid *grid, int64 from, int64 to)
{
	int32		low = 0;
	int32		high = rounded->nspans;

	/* the first span that ends after the window begins */
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (rounded->spans[middle].end <= from)
			low = middle + 1;
		else
			high = middle;
	}

	memset(cutter, 0, sizeof(*cutter));
	cutter->rounded = rounded;
	cutter->grid = grid;
	cutter->from = from;
	cutter->to = to;
	cutter->next = low;
	cutter->cut_end = from;
	cutter->parts = palloc(Max(rounded->nlabels, 1) * sizeof(MeterPart));
	cutter->part_of = palloc0(Max(rounded->nlabels, 1) * sizeof(int32));
}

/* Add up the time of each label in [cut_begin, cut_end). */
static void
collect_parts(MeterCutter *cutter)
{
	const MeterRounded *rounded = cutter->rounded;
	int32		i;

	for (i = 0; i < cutter->nparts; i++)
		cutter->part_of[cutter->parts[i].label] = 0;
	cutter->nparts = 0;

	while (cutter->next < rounded->nspans)
	{
		const MeterSpan *span = &rounded->spans[cutter->next];
		int64		begin = Max(span->begin, cutter->cut_begin);
		int64		end = Min(span->end, cutter->cut_end);

		if (begin < end)
		{
			int32	   *part = &cutter->part_of[span->label];

			if (*part == 0)
			{
				*part = ++cutter->nparts;
				cutter->parts[*part - 1].label = span->label;
				cutter->parts[*part - 1].billed = 0;
			}
			/* unsigned sums of time do not overflow */
			cutter->parts[*part - 1].billed = (int64)
				((uint64) cutter->parts[*part - 1].billed +
				 (uint64) end - (uint64) begin);
		}
		if (span->end > cutter->cut_end)
			break;
		cutter->next++;
	}
}

/*
 * Go on to the next period in which there is something.  Returns false if
 * there is none.
 */
bool
meter_cut_next(MeterCutter *cutter)
{
	const MeterRounded *rounded = cutter->rounded;

	while (cutter->cut_end < cutter->to && cutter->next < rounded->nspans)
	{
		int64		at = Max(rounded->spans[cutter->next].begin,
							 cutter->cut_end);

		if (at >= cutter->to)
			break;
		cutter->period_begin = meter_grid_period_begin(cutter->grid, at);
		cutter->cut_begin = Max(cutter->period_begin, cutter->from);
		cutter->cut_end = Min(meter_grid_period_end(cutter->grid, at),
							  cutter->to);
		collect_parts(cutter);
		if (cutter->nparts > 0)
			return true;
	}
	return false;
}

/*
 * Take the whole window as one cut.  Returns false if there is nothing in it.
 */
bool
meter_cut_window(MeterCutter *cutter)
{
	if (cutter->from >= cutter->to)
		return false;
	cutter->cut_begin = cutter->from;
	cutter->cut_end = cutter->to;
	collect_parts(cutter);
	return cutter->nparts > 0;
}
