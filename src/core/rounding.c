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
 * Prepare to round spans of a timeline.  A span that lasts to METER_END is
 * taken to end at open_end before rounding (METER_END: the span goes on).
 * Without rounding the grid may be NULL.
 */
void
meter_round_begin(MeterRounded *rounded, const MeterTimeline *timeline,
				  MeterKeyed keyed, MeterRounding rounding,
				  MeterGrid *grid, int64 open_end)
{
	memset(rounded, 0, sizeof(*rounded));
	rounded->timeline = timeline;
	rounded->keyed = keyed;
	rounded->rounding = rounding;
	rounded->grid = grid;
	rounded->open_end = open_end;
	rounded->claimed = METER_BEGIN;
	rounded->pending.begin = rounded->pending.end = METER_BEGIN;
}

/* Round a span that has been joined with all that need not be told apart. */
static inline void
round_span(MeterRounded *rounded, MeterSpan span)
{
	MeterGrid  *grid = rounded->grid;

	switch (rounded->rounding)
	{
		case METER_ROUND_NONE:
			break;
		case METER_ROUND_UP:
			span.begin = meter_grid_unit_floor(grid, span.begin);
			span.end = meter_grid_unit_ceil(grid, span.end);
			/* a unit belongs to the span that touched it first */
			span.begin = Max(span.begin, rounded->claimed);
			rounded->claimed = Max(span.end, rounded->claimed);
			break;
		case METER_ROUND_DOWN:
			span.begin = meter_grid_unit_ceil(grid, span.begin);
			span.end = meter_grid_unit_floor(grid, span.end);
			break;
		case METER_ROUND_NEAREST:
			span.begin = meter_grid_unit_round(grid, span.begin);
			span.end = meter_grid_unit_round(grid, span.end);
			break;
	}
	if (span.begin < span.end)
		rounded->spans[rounded->nspans++] = span;
}

/*
 * Round spans of the timeline, which follow those rounded before.  The result
 * has what is final of them, and what was not before.
 */
void
meter_round_spans(MeterRounded *rounded, const MeterSpan *spans, int32 count,
				  bool last)
{
	const MeterTimeline *timeline = rounded->timeline;
	MeterSpan	pending = rounded->pending;
	int32		i;

	if (count >= rounded->maxspans)
	{
		if (rounded->spans != NULL)
			pfree(rounded->spans);
		rounded->maxspans = count + 1;
		rounded->spans = meter_grow(NULL,
									rounded->maxspans * sizeof(MeterSpan));
	}
	rounded->nspans = 0;
	rounded->nlabels = rounded->keyed == METER_KEYED_BY_KEY ?
		timeline->nkeys : timeline->nlabels;

	/* first join spans that need not be told apart */
	for (i = 0; i < count; i++)
	{
		MeterSpan	span = spans[i];

		if (span.end == METER_END)
			span.end = rounded->open_end;
		if (span.begin >= span.end)
			continue;
		if (rounded->keyed == METER_KEYED_BY_KEY)
			span.label = timeline->labels[span.label].key;
		if (pending.begin < pending.end)
		{
			if (pending.end == span.begin && pending.label == span.label)
			{
				pending.end = span.end;
				continue;
			}
			round_span(rounded, pending);
		}
		pending = span;
	}
	/* what is not rounded need not be joined */
	if ((last || rounded->rounding == METER_ROUND_NONE) &&
		pending.begin < pending.end)
	{
		round_span(rounded, pending);
		pending.begin = pending.end;
	}
	rounded->pending = pending;
}

/* Round all spans of a timeline. */
void
meter_round(MeterRounded *rounded, const MeterTimeline *timeline,
			MeterKeyed keyed, MeterRounding rounding,
			MeterGrid *grid, int64 open_end)
{
	meter_round_begin(rounded, timeline, keyed, rounding, grid, open_end);
	meter_round_spans(rounded, timeline->spans, timeline->nspans, true);
}

/* Make room for the parts of all labels. */
static void
make_room(MeterCutter *cutter)
{
	size_t		size = cutter->maxlabels * sizeof(int32);

	cutter->parts = meter_grow(NULL, cutter->maxlabels * sizeof(MeterPart));
	meter_ask_growth(size);
	cutter->part_of = palloc0(size);
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
	cutter->done = from;
	cutter->maxlabels = Max(rounded->nlabels, 1);
	make_room(cutter);
}

/* Forget the parts of the cut before. */
static inline void
clear_parts(MeterCutter *cutter)
{
	int32		i;

	for (i = 0; i < cutter->nparts; i++)
		cutter->part_of[cutter->parts[i].label] = 0;
	cutter->nparts = 0;
}

/*
 * Go on with rounded spans that follow those cut before.  What is in the
 * period cut last comes as another cut of that period.
 */
void
meter_cut_more(MeterCutter *cutter)
{
	int32		nlabels = cutter->rounded->nlabels;

	clear_parts(cutter);
	cutter->next = 0;
	if (nlabels > cutter->maxlabels)
	{
		cutter->maxlabels = Max(nlabels, 2 * cutter->maxlabels);
		pfree(cutter->parts);
		pfree(cutter->part_of);
		make_room(cutter);
	}
}

/*
 * Have marks of the timeline take part, the first so many that were not taken
 * before: their amounts are added to the time of their labels.
 */
void
meter_cut_marks(MeterCutter *cutter, int32 count)
{
	cutter->marks = cutter->rounded->timeline->marks;
	cutter->nmarks = count;
	for (cutter->next_mark = 0;
		 cutter->next_mark < count &&
		 cutter->marks[cutter->next_mark].time < cutter->from;)
		cutter->next_mark++;
}

/* Add to a label's part.  Unsigned sums do not overflow. */
static inline void
add_part(MeterCutter *cutter, int32 label, uint64 amount)
{
	int32	   *part = &cutter->part_of[label];

	if (*part == 0)
	{
		*part = ++cutter->nparts;
		cutter->parts[*part - 1].label = label;
		cutter->parts[*part - 1].billed = 0;
	}
	cutter->parts[*part - 1].billed = (int64)
		((uint64) cutter->parts[*part - 1].billed + amount);
}

/* Add up the amounts of the marks in [cut_begin, cut_end). */
static void
collect_marks(MeterCutter *cutter)
{
	const MeterRounded *rounded = cutter->rounded;

	for (; cutter->next_mark < cutter->nmarks &&
		 cutter->marks[cutter->next_mark].time < cutter->cut_end;
		 cutter->next_mark++)
	{
		const MeterMark *mark = &cutter->marks[cutter->next_mark];

		add_part(cutter, rounded->keyed == METER_KEYED_BY_KEY ?
				 rounded->timeline->labels[mark->label].key : mark->label,
				 (uint64) mark->amount);
	}
}

/* Add up the time of each label in [cut_begin, cut_end). */
static void
collect_parts(MeterCutter *cutter)
{
	const MeterRounded *rounded = cutter->rounded;

	clear_parts(cutter);
	while (cutter->next < rounded->nspans)
	{
		const MeterSpan *span = &rounded->spans[cutter->next];
		int64		begin = Max(span->begin, cutter->cut_begin);
		int64		end = Min(span->end, cutter->cut_end);

		if (begin < end)
			add_part(cutter, span->label, (uint64) end - (uint64) begin);
		if (span->end > cutter->cut_end)
		{
			cutter->done = cutter->cut_end;
			break;
		}
		cutter->next++;
	}
	collect_marks(cutter);
}

/* Return where there is something next, or METER_END. */
static inline int64
next_instant(const MeterCutter *cutter)
{
	int64		at = METER_END;

	if (cutter->next < cutter->rounded->nspans)
		at = Max(cutter->rounded->spans[cutter->next].begin, cutter->done);
	if (cutter->next_mark < cutter->nmarks)
		at = Min(at, cutter->marks[cutter->next_mark].time);
	return at;
}

/*
 * Go on to the next period in which there is something.  Returns false if
 * there is none.
 */
bool
meter_cut_next(MeterCutter *cutter)
{
	int64		at;

	while ((at = next_instant(cutter)) < cutter->to)
	{
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
