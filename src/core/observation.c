/*
 * observation.c
 *	  Observations: what snapshots say of a resource, and what follows.
 *
 * An observation takes effect after the events of its instant, and only while
 * the resource belongs to its source.  One that agrees with the timeline
 * changes nothing but what is known: so a lost event that arrives after all
 * wins by making it agree.
 *
 * Observations that might be logged (candidates) take part as if they were
 * logged.  Each one that makes a difference, to the timeline or to what a
 * logged one makes of it, is marked: it has to be logged, with what other
 * snapshots say that bears on it.  The timeline is the same without the others.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/timeline_builder.h"

/*
 * Order observations by time; those of one instant by source, candidates last.
 */
static int
observation_cmp(const MeterEvents *events, const MeterObservation *a,
				const MeterObservation *b)
{
	int			cmp;

	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	if (a->source != b->source)
	{
		cmp = meter_attr_cmp(events->sources[a->source - 1],
							 events->sources[b->source - 1]);
		if (cmp != 0)
			return cmp;
	}
	if (a->standing != b->standing)
		return a->standing < b->standing ? -1 : 1;
	if (a->present != b->present)
		return a->present ? 1 : -1;
	if (a->since != b->since)
		return a->since < b->since ? -1 : 1;
	if (a->alive != b->alive)
		return a->alive < b->alive ? -1 : 1;
	if (a->absent != b->absent)
		return a->absent < b->absent ? -1 : 1;
	return meter_record_cmp(events, a->attrs, b->attrs);
}

/*
 * Add an observation.  Returns false if there are too many, as
 * meter_events_add() does.
 */
bool
meter_observations_add(MeterEvents *events, const MeterObservation *observation,
					   const MeterAttr *attrs)
{
	uint32		record;

	if (!meter_events_record(events, attrs, &record))
		return false;
	if (events->nobservations == events->maxobservations)
	{
		if (events->maxobservations >= METER_MAX_EVENTS / 4)
			return false;
		events->maxobservations = Max(4, events->maxobservations * 2);
		if (events->observations == NULL)
			events->observations = palloc(events->maxobservations *
										  sizeof(MeterObservation));
		else
			events->observations = repalloc(events->observations,
											events->maxobservations *
											sizeof(MeterObservation));
	}
	events->observations[events->nobservations] = *observation;
	events->observations[events->nobservations].attrs = record;
	events->nobservations++;
	return true;
}

/* Sift the observation at `parent` down the heap of `count`. */
static void
sift_down(MeterEvents *events, int32 parent, int32 count)
{
	MeterObservation *heap = events->observations;

	for (;;)
	{
		int32		child = 2 * parent + 1;
		MeterObservation swap;

		if (child >= count)
			return;
		if (child + 1 < count &&
			observation_cmp(events, &heap[child], &heap[child + 1]) < 0)
			child++;
		if (observation_cmp(events, &heap[parent], &heap[child]) >= 0)
			return;
		swap = heap[parent];
		heap[parent] = heap[child];
		heap[child] = swap;
		parent = child;
	}
}

/* Sort the observations. */
void
meter_observations_sort(MeterEvents *events)
{
	int32		count = events->nobservations;
	int32		i;

	for (i = count / 2 - 1; i >= 0; i--)
		sift_down(events, i, count);
	while (--count > 0)
	{
		MeterObservation swap = events->observations[0];

		events->observations[0] = events->observations[count];
		events->observations[count] = swap;
		sift_down(events, 0, count);
	}
}

/*
 * Note a moment at which the run is known to go on.  A moment that is not
 * later than the last one noted changes nothing.
 */
void
meter_walk_moment(MeterWalk *walk, int64 time, int32 witness)
{
	MeterMoment *last = walk->nmoments == 0 ? NULL :
	&walk->moments[walk->nmoments - 1];

	if (walk->events->nobservations == 0)
		return;
	if (last != NULL && last->time >= time)
		return;
	if (walk->nmoments == walk->maxmoments)
	{
		walk->maxmoments = Max(8, walk->maxmoments * 2);
		walk->moments = walk->moments == NULL ?
			palloc(walk->maxmoments * sizeof(MeterMoment)) :
			repalloc(walk->moments, walk->maxmoments * sizeof(MeterMoment));
	}
	walk->moments[walk->nmoments].time = time;
	walk->moments[walk->nmoments].witness = witness;
	walk->nmoments++;
}

/* Tell whether the resource belongs to the source of an observation. */
static bool
is_owner(MeterWalk *walk, const MeterObservation *observation)
{
	MeterAttr	source = walk->events->sources[observation->source - 1];

	/* no event has given the resource an owner: the first observation does */
	if (MeterAttrIsNull(walk->state.source) && observation->present &&
		observation->standing != METER_KNOWN)
		walk->state.source = source;
	return meter_attr_equal(walk->state.source, source);
}

/* Take over what snapshots from before the carried state have shown. */
void
meter_walk_known(MeterWalk *walk)
{
	int32		i;

	for (i = 0; i < walk->events->nobservations; i++)
	{
		MeterObservation *known = &walk->events->observations[i];

		if (known->standing != METER_KNOWN || !is_owner(walk, known))
			continue;
		if (!known->present)
		{
			walk->snapshot_absent = Max(walk->snapshot_absent, known->time);
			if (!walk->state.open && known->time > walk->state.absent)
			{
				walk->state.absent = known->time;
				walk->absent_witness = i;
			}
		}
		else if (walk->state.open && known->time > walk->state.alive)
		{
			walk->state.alive = known->time;
			meter_walk_moment(walk, known->time, i);
		}
	}
}

/*
 * Mark a candidate as evidence: a logged observation would have to know of it.
 */
static void
needed(MeterWalk *walk, int32 witness)
{
	MeterObservation *observation;

	if (witness < 0)
		return;
	observation = &walk->events->observations[witness];
	if (observation->standing == METER_CANDIDATE &&
		observation->effect == METER_AGREES)
		observation->effect = METER_EVIDENCE;
}

/*
 * Find the last snapshot before an instant that had the resource, of those
 * within the run.
 */
static int64
last_seen(const MeterWalk *walk, int64 before)
{
	int32		i;

	for (i = walk->nmoments - 1; i >= 0; i--)
	{
		const MeterMoment *moment = &walk->moments[i];

		if (moment->time < before && moment->witness >= 0 &&
			walk->events->observations[moment->witness].time == moment->time)
			return moment->time;
	}
	return METER_BEGIN;
}

/* Remove what a timeline has from an instant on. */
static void
cut_from(MeterTimelineBuilder *builder, int64 from)
{
	MeterTimeline *timeline = builder->timeline;

	while (timeline->nspans > 0)
	{
		MeterSpan  *last = &timeline->spans[timeline->nspans - 1];

		if (last->end <= from)
			break;
		if (last->begin < from)
		{
			last->end = from;
			break;
		}
		timeline->nspans--;
	}
}

/*
 * Remove [from, to) from a timeline.  What is after it is put aside and built
 * again.
 */
static void
cut_out(MeterTimelineBuilder *builder, int64 from, int64 to)
{
	MeterTimeline *timeline = builder->timeline;
	MeterSpan  *aside;
	int32		naside = 0;
	int32		first = timeline->nspans;
	int32		i;

	while (first > 0 && timeline->spans[first - 1].end > to)
		first--;
	aside = palloc(Max(timeline->nspans - first, 1) * sizeof(MeterSpan));
	for (i = first; i < timeline->nspans; i++)
	{
		aside[naside] = timeline->spans[i];
		aside[naside].begin = Max(aside[naside].begin, to);
		naside++;
	}
	cut_from(builder, from);
	for (i = 0; i < naside; i++)
		meter_build_span(builder, aside[i].begin, aside[i].end,
						 aside[i].label);
	pfree(aside);
}

/* End the span that goes on at an instant. */
static void
end_span(MeterWalk *walk, int64 now)
{
	if (walk->label >= 0)
		meter_build_span(&walk->builder, walk->begin, now, walk->label);
	walk->label = -1;
}

/*
 * Let an observation hold that the resource did not run.  A run that is open
 * ended at the last moment at which it was known alive.
 */
static void
observe_absence(MeterWalk *walk, int32 number)
{
	MeterObservation *observation = &walk->events->observations[number];

	if (walk->state.open)
	{
		int64		end = walk->state.alive;

		if (observation->standing == METER_CANDIDATE)
			observation->alive = last_seen(walk, observation->time);
		if (observation->alive >= walk->state.since &&
			observation->alive <= observation->time)
			end = Max(end, observation->alive);
		if (observation->standing == METER_LOGGED && walk->nmoments > 0 &&
			walk->moments[walk->nmoments - 1].time > observation->alive)
			needed(walk, walk->moments[walk->nmoments - 1].witness);

		end_span(walk, observation->time);
		cut_from(&walk->builder, end);
		walk->state.open = false;
		walk->nmoments = 0;
		observation->effect = METER_ENDS;
		observation->from = end;
		observation->to = observation->time;
	}
	walk->state.absent = observation->time;
	walk->absent_witness = number;
	walk->snapshot_absent = observation->time;
}

/*
 * Let an observation hold that the resource ran, where the timeline is closed:
 * a run opens at `since`, or at the snapshot.
 */
static void
observe_opening(MeterWalk *walk, MeterObservation *observation, int32 number)
{
	int64		absent = walk->state.absent;
	int64		start = observation->time;

	if (observation->since != METER_BEGIN)
	{
		if (observation->standing == METER_CANDIDATE)
			observation->absent = walk->snapshot_absent;
		else if (walk->absent_witness >= 0 && absent > observation->absent &&
				 absent > observation->since)
			needed(walk, walk->absent_witness);
		if (observation->since >= Max(absent, observation->absent))
			start = observation->since;
	}
	meter_walk_apply(walk, observation->attrs);
	walk->state.open = true;
	walk->state.since = start;
	walk->nmoments = 0;
	meter_walk_moment(walk, start, number);
	walk->begin = start;
	walk->label = meter_build_label(&walk->builder, walk->state.attrs);
	observation->effect = METER_OPENS;
	observation->from = start;
	observation->to = observation->time;
}

/*
 * Let an observation hold that the resource ran, where the timeline is open,
 * too: the run may have begun later than known, or have other attributes.
 */
static void
observe_running(MeterWalk *walk, MeterObservation *observation, int32 number)
{
	int32		label;
	int32		i;

	if (observation->since != METER_BEGIN &&
		(walk->state.since < observation->since - observation->tolerance))
	{
		int64		last = walk->state.since;
		int32		witness = -1;

		for (i = walk->nmoments - 1; i >= 0; i--)
		{
			if (walk->moments[i].time < observation->since)
			{
				last = Max(last, walk->moments[i].time);
				witness = walk->moments[i].witness;
				break;
			}
		}
		if (observation->standing == METER_CANDIDATE)
			observation->alive = last_seen(walk, observation->since);
		else if (witness >= 0 && last > observation->alive)
			needed(walk, witness);
		if (observation->alive >= walk->state.since &&
			observation->alive < observation->since)
			last = Max(last, observation->alive);

		label = walk->label;
		end_span(walk, observation->time);
		cut_out(&walk->builder, last, observation->since);
		walk->begin = observation->time;
		walk->label = label;
		walk->state.since = observation->since;

		/* keep the moments of the run that began at `since` */
		for (i = 0; i < walk->nmoments &&
			 walk->moments[i].time < observation->since; i++)
			;
		if (i > 0)
		{
			/* the slot of an earlier moment holds the start of the run */
			memmove(walk->moments + 1, walk->moments + i,
					(walk->nmoments - i) * sizeof(MeterMoment));
			walk->moments[0].time = observation->since;
			walk->moments[0].witness = number;
			walk->nmoments -= i - 1;
			if (walk->nmoments > 1 &&
				walk->moments[1].time == observation->since)
			{
				memmove(walk->moments, walk->moments + 1,
						(walk->nmoments - 1) * sizeof(MeterMoment));
				walk->nmoments--;
			}
		}
		observation->effect = METER_CUTS;
		observation->from = last;
		observation->to = observation->since;
	}

	if (observation->attrs == 0)
		return;
	if (observation->effect == METER_AGREES &&
		meter_record_differs(walk->events, observation->attrs,
							 walk->state.attrs))
	{
		observation->effect = METER_CHANGES;
		observation->from = observation->to = observation->time;
	}
	meter_walk_apply(walk, observation->attrs);
	label = meter_build_label(&walk->builder, walk->state.attrs);
	if (label != walk->label)
	{
		end_span(walk, observation->time);
		walk->begin = observation->time;
		walk->label = label;
	}
}

/* Let an observation take effect on the timeline. */
void
meter_walk_observation(MeterWalk *walk, int32 number)
{
	MeterObservation *observation = &walk->events->observations[number];

	if (observation->standing == METER_KNOWN)
		return;
	observation->effect = METER_AGREES;
	observation->was_open = walk->state.open;
	observation->spoke = is_owner(walk, observation);
	if (!observation->spoke)
		return;
	if (!observation->present)
		observe_absence(walk, number);
	else
	{
		if (!walk->state.open)
			observe_opening(walk, observation, number);
		else
			observe_running(walk, observation, number);
		walk->state.alive = observation->time;
		meter_walk_moment(walk, observation->time, number);
	}
}

/* Find the first moment that is not before an instant. */
static int32
find_moment(const MeterWalk *walk, int64 time)
{
	int32		low = 0;
	int32		high = walk->nmoments;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (walk->moments[middle].time < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Forget moments before `first` that only events tell of.  The last one is
 * asked for by an absence.
 */
static void
forget_moments(MeterWalk *walk, int32 first)
{
	int32		n = 0;
	int32		i;

	/* so that each is looked at a few times only, however many stay */
	if (walk->nmoments <= 2 * walk->asked)
		return;
	for (i = 0; i < walk->nmoments; i++)
	{
		if (i >= first || i == walk->nmoments - 1 ||
			walk->moments[i].witness >= 0)
			walk->moments[n++] = walk->moments[i];
	}
	walk->nmoments = walk->asked = n;
}

/*
 * Return an instant before which the spans that have ended are final, whatever
 * the observations to come.  Moments that none of them asks for are forgotten.
 *
 * An observation of absence, or one that opens a run, changes nothing but what
 * comes after those spans.  One by which the run began later than known cuts
 * from the last moment before that.
 */
int64
meter_walk_final(MeterWalk *walk)
{
	const MeterEvents *events = walk->events;
	int64		since = METER_END;
	int64		final;
	int32		first;
	int32		i;

	if (!walk->state.open)
		return METER_END;
	for (i = walk->observation; i < events->nobservations; i++)
	{
		const MeterObservation *observation = &events->observations[i];

		if (observation->present && observation->standing != METER_KNOWN &&
			observation->since != METER_BEGIN &&
			walk->state.since < observation->since - observation->tolerance)
			since = Min(since, observation->since);
	}
	first = find_moment(walk, since) - 1;
	final = since == METER_END ? METER_END :
		first < 0 ? walk->state.since :
		Max(walk->state.since, walk->moments[first].time);
	forget_moments(walk, first);
	return final;
}

/* Let the attributes that an event or observation names take effect. */
void
meter_walk_apply(MeterWalk *walk, uint32 attrs)
{
	const char *record = walk->events->arena + attrs;
	int32		natts = walk->events->natts;
	int32		i;

	if (attrs == 0)
		return;
	for (i = 0; i <= natts; i++)
	{
		MeterAttr	attr;

		record = meter_event_attr(record, &attr);
		if (MeterAttrIsNull(attr))
			continue;
		if (i == 0 && !walk->named)
			meter_walk_name(walk, attr);
		walk->state.attrs[i] = attr;
	}
}

/* Take the first name: it owns the time before it, too. */
void
meter_walk_name(MeterWalk *walk, MeterAttr name)
{
	walk->named = true;
	meter_build_name_keys(&walk->builder, name);
}
