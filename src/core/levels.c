/*
 * levels.c
 *	  Timelines from increases and decreases.
 *
 * The value is the running sum of the deltas, those of one instant taken
 * together; the resource is active while it is not zero.
 */
#include "core/core.h"
#include "core/decimal.h"
#include "core/event_set.h"
#include "core/levels.h"
#include "core/timeline_builder.h"

/*
 * Return the timeline of a set of events whose values are deltas, and put the
 * events in order of time.  Returns NULL if a sum has more digits than a value
 * can have.
 */
MeterTimeline *
meter_levels(MeterEvents *deltas)
{
	MeterTimelineBuilder builder;
	MeterTimeline *timeline;
	MeterAttr  *attrs = palloc((deltas->natts + 1) * sizeof(MeterAttr));
	char	   *total = palloc(2);
	char	   *next = palloc(2);
	int			length = 1;
	int			size = 2;
	int32		label = -1;
	int64		begin = METER_BEGIN;
	int32		i;

	for (i = 0; i < deltas->natts; i++)
		attrs[i] = METER_NULL_ATTR;
	meter_events_sort(deltas);
	meter_build_begin(&builder, deltas->natts);
	timeline = builder.timeline;
	total[0] = '0';
	for (i = 0; i < deltas->nevents;)
	{
		int64		now = deltas->events[i].time;
		int32		new_label = -1;

		for (; i < deltas->nevents && deltas->events[i].time == now; i++)
		{
			const char *record = deltas->arena + deltas->events[i].attrs;
			MeterAttr	delta = METER_NULL_ATTR;
			char	   *swap;
			int32		j;

			if (deltas->events[i].attrs == 0)
				continue;
			for (j = 0; j <= deltas->natts; j++)
				record = meter_event_attr(record, &delta);
			if (MeterAttrIsNull(delta))
				continue;
			if (length + delta.len + 3 > size)
			{
				size = 2 * (length + delta.len + 3);
				total = repalloc(total, size);
				next = repalloc(next, size);
			}
			length = meter_decimal_add(next, total, length,
									   delta.data, delta.len);
			swap = total;
			total = next;
			next = swap;
		}

		if (length != 1 || total[0] != '0')
		{
			int32		nvalues = timeline->nvalues;

			if (!meter_decimal_is_canonical(total, length))
				return NULL;
			attrs[deltas->natts].data = total;
			attrs[deltas->natts].len = length;
			new_label = meter_build_label(&builder, attrs);
			if (timeline->nvalues > nvalues)
			{
				/*
				 * the total is overwritten later, so a new value gets a copy
				 * of its digits
				 */
				char	   *copy = palloc(length);

				memcpy(copy, total, length);
				timeline->values[nvalues].data = copy;
			}
		}
		if (new_label != label)
		{
			if (label >= 0)
				meter_build_span(&builder, begin, now, label);
			begin = now;
			label = new_label;
		}
		timeline->has_last = true;
		timeline->last = now;
	}
	if (label >= 0)
		meter_build_span(&builder, begin, METER_END, label);
	timeline->state.open = label >= 0;
	pfree(attrs);
	pfree(total);
	pfree(next);
	return timeline;
}
