/*
 * packed.c
 *	  Events without attributes, eight bytes each.
 *
 * Pairing and rounding work as in pairing.c and rounding.c, for events that
 * have nothing but a time: aggregates over millions of groups use this.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/packed.h"
#include "core/timeline_builder.h"

#define SORT_NAME	sort_packed
#define SORT_TYPE	int64
#define SORT_KEY(element)	(element)
#include "core/sort_impl.h"

/* Put events in order of time. */
void
meter_packed_sort(int64 *events, uint32 nevents)
{
	sort_packed(events, nevents);
}

/* A reader of runs, which makes them of events in order. */
typedef struct Runs
{
	const int64 *at;
	const int64 *end;
	bool		open;
	int64		since;
} Runs;

/* Return the next run; a run that nothing stops ends at METER_END. */
static inline bool
next_run(Runs *runs, int64 *begin, int64 *end)
{
	while (runs->at < runs->end)
	{
		int64		now = meter_packed_time(*runs->at);
		int			kinds = 0;

		do
			kinds |= 1 << meter_packed_kind(*runs->at);
		while (++runs->at < runs->end && meter_packed_time(*runs->at) == now);

		/* a start and a stop together change nothing */
		kinds &= (1 << METER_START) | (1 << METER_STOP);
		if (kinds == 1 << METER_START && !runs->open)
		{
			runs->open = true;
			runs->since = now;
		}
		else if (kinds == 1 << METER_STOP && runs->open)
		{
			runs->open = false;
			*begin = runs->since;
			*end = now;
			return true;
		}
	}
	if (!runs->open)
		return false;
	runs->open = false;
	*begin = runs->since;
	*end = METER_END;
	return true;
}

/* Return the timeline of events in order. */
MeterTimeline *
meter_packed_pair(const int64 *events, uint32 nevents)
{
	MeterTimelineBuilder builder;
	MeterAttr	nothing[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
	Runs		runs = {events, events + nevents, false, 0};
	int32		label = -1;
	int64		begin;
	int64		end;

	meter_build_begin(&builder, 1);
	while (next_run(&runs, &begin, &end))
	{
		if (label < 0)
			label = meter_build_label(&builder, nothing);
		meter_build_span(&builder, begin, end, label);
	}
	if (nevents > 0)
	{
		builder.timeline->has_last = true;
		builder.timeline->last = meter_packed_time(events[nevents - 1]);
	}
	return builder.timeline;
}

/*
 * Return the begin of the unit that holds an instant; units count from
 * midnight UTC.
 */
static inline int64
unit_floor(int64 instant, int64 unit)
{
	int64		rest = instant % unit;

	return instant - rest - (rest < 0 ? unit : 0);
}

/*
 * Return the time billed in [from, to) for events in order, rounded up to
 * units (0: exact) of at most a day, in UTC.  A run that nothing stops is
 * taken to end at open_end.  Returns METER_UNBOUNDED if the time has no end,
 * and some other negative number if it is beyond what int64 holds.
 */
int64
meter_packed_billed(const int64 *events, uint32 nevents,
					int64 from, int64 to, int64 open_end, int64 unit)
{
	Runs		runs = {events, events + nevents, false, 0};
	int64		claimed = METER_BEGIN;
	uint64		billed = 0;
	int64		begin;
	int64		end;

	while (next_run(&runs, &begin, &end))
	{
		if (end == METER_END)
			end = open_end;
		if (begin >= end)
			continue;
		if (unit > 0)
		{
			begin = unit_floor(begin, unit);
			if (end != METER_END)
				end = unit_floor(end - 1, unit) + unit;
			begin = Max(begin, claimed);
			claimed = end;
		}
		begin = Max(begin, from);
		end = Min(end, to);
		if (begin >= end)
			continue;
		if (end == METER_END)
			return METER_UNBOUNDED;
		billed += (uint64) end - (uint64) begin;
	}
	return (int64) billed;
}
