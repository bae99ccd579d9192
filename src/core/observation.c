/*
 * observation.c
 *	  Observations: what snapshots say of a resource, and what follows.
 *
 * Those of one instant take effect together, after its events, and agree with
 * any state that these pass through.  One that says that the resource ran
 * speaks whosever it is; that it did not, only while the resource belongs to its
 * source, and not if that of another was the last to hold it.  One that agrees
 * with the timeline changes nothing but what is known: so a lost event that
 * arrives after all wins by making it agree.
 *
 * Observations that might be logged (candidates) take part as if they were
 * logged.  Each one that makes a difference, to the timeline or to what a
 * logged one makes of it, is marked: it has to be logged, with what other
 * snapshots say that bears on it.  The timeline is the same without the others.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/runs.h"
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
	return meter_record_cmp(events, a->attrs, b->attrs, 0);
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
		events->observations = meter_grow(events->observations,
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
		walk->moments = meter_grow(walk->moments,
								   walk->maxmoments * sizeof(MeterMoment));
	}
	walk->moments[walk->nmoments].time = time;
	walk->moments[walk->nmoments].witness = witness;
	walk->nmoments++;
}

/* Return the source of an observation. */
static MeterAttr
source_of(const MeterWalk *walk, const MeterObservation *observation)
{
	return walk->events->sources[observation->source - 1];
}

/* Let something start the resource, which then belongs to a source. */
void
meter_walk_started(MeterWalk *walk, MeterAttr source, int64 time)
{
	walk->state.source = source;
	walk->state.started = time;
	walk->state.holder = METER_NULL_ATTR;
	walk->held_witness = walk->gone_witness = -1;
	walk->foreign = false;
}

/* Note that the snapshot of an observation holds the resource, which runs. */
static void
hold(MeterWalk *walk, int32 witness)
{
	const MeterObservation *observation = &walk->events->observations[witness];

	walk->state.alive = Max(walk->state.alive, observation->time);
	meter_walk_moment(walk, observation->time, witness);
	walk->state.holder = source_of(walk, observation);
	walk->held_witness = witness;
	walk->gone_witness = -1;
	if (!meter_attr_equal(walk->state.holder, walk->state.source))
		walk->foreign = walk->deep = true;
}

/* Note that the source that held the resource last is without it. */
static void
let_go(MeterWalk *walk, int32 witness)
{
	const MeterObservation *observation = &walk->events->observations[witness];

	if (MeterAttrIsNull(walk->state.holder) ||
		!meter_attr_equal(walk->state.holder, source_of(walk, observation)))
		return;
	walk->state.holder = METER_NULL_ATTR;
	walk->gone_witness = witness;
}

/* Return the end of the observations of an instant, from the first of them. */
static int32
instant_end(const MeterEvents *events, int32 from)
{
	int32		to = from + 1;

	while (to < events->nobservations &&
		   events->observations[to].time == events->observations[from].time)
		to++;
	return to;
}

/* Tell whether any observation of [from, to) says that the resource ran. */
static bool
any_present(const MeterEvents *events, int32 from, int32 to)
{
	int32		i;

	for (i = from; i < to; i++)
	{
		if (events->observations[i].present)
			return true;
	}
	return false;
}

/*
 * Take over what snapshots of one instant from before the carried state have
 * shown.
 */
static void
know(MeterWalk *walk, int32 from, int32 to)
{
	bool		present = any_present(walk->events, from, to);
	int32		i;

	for (i = from; i < to; i++)
	{
		MeterObservation *known = &walk->events->observations[i];

		if (known->present != present || known->time < walk->state.started)
			continue;
		if (present && walk->state.open)
			hold(walk, i);
		else if (!present)
		{
			let_go(walk, i);
			if (!walk->state.open && known->time > walk->state.absent &&
				meter_attr_equal(walk->state.source, source_of(walk, known)))
			{
				walk->state.absent = known->time;
				walk->absent_witness = i;
			}
		}
	}
}

/* Take over what snapshots from before the carried state have shown. */
void
meter_walk_known(MeterWalk *walk)
{
	const MeterEvents *events = walk->events;

	if (walk->state.open && !MeterAttrIsNull(walk->state.holder) &&
		!meter_attr_equal(walk->state.holder, walk->state.source))
		walk->foreign = walk->deep = true;
	while (walk->observation < events->nobservations &&
		   events->observations[walk->observation].standing == METER_KNOWN)
	{
		int32		to = instant_end(events, walk->observation);

		know(walk, walk->observation, to);
		walk->observation = to;
	}
}

/* Mark an observation as evidence, if it is not logged. */
static void
mark(MeterWalk *walk, int32 number)
{
	MeterObservation *observation;

	if (number < 0)
		return;
	observation = &walk->events->observations[number];
	if (observation->standing != METER_LOGGED &&
		observation->effect == METER_AGREES)
		observation->effect = METER_EVIDENCE;
}

/*
 * Mark an observation as evidence, with the others of its instant that say the
 * same: a logged observation would have to know of it.
 */
static void
needed(MeterWalk *walk, int32 witness)
{
	const MeterObservation *all = walk->events->observations;
	int32		from = witness;
	int32		i;

	/* what bears on an instant of which anything is logged is marked */
	if (witness < 0 || all[witness].standing == METER_LOGGED)
		return;
	while (from > 0 && all[from - 1].time == all[witness].time)
		from--;
	for (i = instant_end(walk->events, from); i-- > from;)
	{
		if (all[i].present == all[witness].present)
			mark(walk, i);
	}
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
	aside = meter_grow(NULL,
					   Max(timeline->nspans - first, 1) * sizeof(MeterSpan));
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

/* Return the span that goes on; its label is -1 if there is none. */
MeterSpan
meter_walk_current(const MeterWalk *walk)
{
	MeterSpan	span = {walk->begin, METER_END, walk->label};

	return span;
}

/* Let the open run end at an instant, which may be one of the past. */
static void
end_run(MeterWalk *walk, int64 end)
{
	MeterSpan	current = meter_walk_current(walk);

	if (walk->runs.rules != NULL)
		meter_runs_close(&walk->runs, end, &current);
}

/* Note if a run is found to begin before what is known of runs. */
static void
look_behind(MeterWalk *walk, int64 since)
{
	if (walk->runs.rules != NULL)
		walk->events->behind |= meter_runs_unknown(&walk->runs, since);
}

/* Let a run begin that is open from an instant on, which may be of the past. */
static void
begin_run(MeterWalk *walk, int64 since)
{
	walk->state.since = since;
	if (walk->runs.rules == NULL)
		return;
	meter_runs_open(&walk->runs, since);
}

/* Let the span that goes on end at an instant, if its label is another now. */
void
meter_walk_turn(MeterWalk *walk, int64 now)
{
	int32		label = walk->state.open ?
	meter_build_label(&walk->builder, walk->state.attrs) : -1;

	if (label == walk->label)
		return;
	if (walk->label >= 0)
		meter_build_span(&walk->builder, walk->begin, now, walk->label);
	walk->begin = now;
	walk->label = label;
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
 * Tell whether the events of an instant pass through a value of an attribute;
 * as owners, ties pass through the greatest name only.
 */
static bool
passes(const MeterWalk *walk, const MeterAttr *before, int32 att,
	   MeterAttr value)
{
	const MeterEvents *events = walk->events;
	int32		i;

	if (walk->owned && att == 0)
		return meter_owner_agrees(&walk->owner, value);
	if (meter_attr_equal(walk->state.attrs[att], value))
		return true;
	if (walk->passed.before == NULL)
		return false;
	if (meter_attr_equal(before[att], value))
		return true;
	/* of several names the greatest only, which is the one that holds now */
	for (i = walk->passed.from; att > 0 && i < walk->passed.to; i++)
	{
		const MeterEvent *event = &events->events[i];
		const char *record = events->arena + event->attrs;
		MeterAttr	attr = METER_NULL_ATTR;
		int32		j;

		for (j = 0; event->attrs != 0 && j <= att; j++)
			record = meter_event_attr(record, &attr);
		if ((event->kind == METER_START || event->kind == METER_CHANGE) &&
			meter_attr_equal(attr, value))
			return true;
	}
	return false;
}

/*
 * Let the observations [from, to), all of one instant, hold that the resource
 * did not run.  A run that is open ended at the last moment at which it was
 * known alive, unless another source's snapshot was the last to hold it.
 */
static void
observe_absence(MeterWalk *walk, int32 from, int32 to)
{
	MeterObservation *observation;
	int32		own = -1;
	int64		end = walk->state.alive;
	int32		i;

	for (i = from; i < to; i++)
	{
		let_go(walk, i);
		if (own < 0 && walk->events->observations[i].own)
			own = i;
	}
	if (own < 0 || (walk->state.open && walk->passed.closed))
		return;
	observation = &walk->events->observations[own];
	if (walk->state.open && walk->foreign)
	{
		needed(walk, walk->held_witness);
		needed(walk, walk->gone_witness);
	}
	if (walk->state.open && !MeterAttrIsNull(walk->state.holder) &&
		!meter_attr_equal(walk->state.holder, walk->state.source))
	{
		walk->state.source = walk->state.holder;
		observation->effect = METER_MOVES;
		observation->other = walk->state.holder;
		observation->from = observation->to = observation->time;
		return;
	}
	if (walk->state.open)
	{
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
		end_run(walk, end);
		walk->state.open = false;
		walk->state.holder = METER_NULL_ATTR;
		walk->nmoments = 0;
		observation->effect = METER_ENDS;
		observation->from = end;
		observation->to = observation->time;
	}
	walk->state.absent = observation->time;
	walk->absent_witness = own;
}

/* Copy attributes into one piece of memory. */
static MeterAttr *
copy_attrs(const MeterAttr *attrs, int32 count)
{
	MeterAttr  *copy = palloc(count * sizeof(MeterAttr));

	memcpy(copy, attrs, count * sizeof(MeterAttr));
	return copy;
}

/* Forget the changes while the resource did not run from before an instant. */
static void
forget_changes(MeterWalk *walk, int64 before)
{
	int32		n = 0;
	int32		i;

	/* they are in the order of time */
	if (walk->nchanges == 0 || walk->changes[0].time >= before)
		return;
	for (i = 0; i < walk->nchanges; i++)
	{
		MeterClosedChange *change = &walk->changes[i];

		if (change->time >= before)
		{
			walk->changes[n++] = *change;
			continue;
		}
		pfree(change->before);
		pfree(change->named);
		pfree(change->bytes);
	}
	walk->nchanges = n;
}

/*
 * Note what was named at one instant while the resource did not run: an
 * observation may find that it ran then, and `alive` that it did at that
 * instant.  `before` are the attributes before that.
 */
void
meter_walk_change(MeterWalk *walk, int64 time, const MeterAttr *before,
				  bool alive)
{
	int32		natts = walk->events->natts;
	MeterClosedChange *change;
	size_t		size = 0;
	int32		i;

	forget_changes(walk, walk->state.absent);
	if (walk->nchanges == walk->maxchanges)
	{
		walk->maxchanges = Max(4, walk->maxchanges * 2);
		walk->changes = meter_grow(walk->changes,
								   walk->maxchanges * sizeof(MeterClosedChange));
	}
	meter_ask_growth(2 * (natts + 1) * sizeof(MeterAttr));
	change = &walk->changes[walk->nchanges++];
	change->time = time;
	change->alive = alive;
	change->before = copy_attrs(before, natts + 1);
	change->named = copy_attrs(walk->state.attrs, natts + 1);
	for (i = 0; i <= natts; i++)
	{
		if (walk->state.changed[i] != time)
			change->named[i] = METER_NULL_ATTR;
		size += Max(change->before[i].len, 0) + Max(change->named[i].len, 0);
	}
	change->bytes = meter_grow(NULL, Max(size, 1));
	for (size = 0, i = 0; i <= 2 * natts + 1; i++)
	{
		MeterAttr  *attr = i <= natts ? &change->before[i] :
		&change->named[i - natts - 1];

		if (attr->len <= 0)
			continue;
		memcpy(change->bytes + size, attr->data, attr->len);
		attr->data = change->bytes + size;
		size += attr->len;
	}
}

/*
 * Return who owns the resource from where an observation of `now` opens a run
 * on, if `owner` does by names: whom the observation names, where that is
 * another and nothing in between names anybody.
 */
static MeterAttr
owner_since(MeterWalk *walk, int64 start, int64 now, MeterAttr owner)
{
	if (!meter_owner_agrees(&walk->owner, walk->said[0]) &&
		walk->state.changed[0] < start &&
		meter_walk_own(walk, walk->said[0], now, start))
		return walk->said[0];
	/* who is named first owns the time before */
	return MeterAttrIsNull(owner) ? walk->first_name : owner;
}

/*
 * Begin a run at an instant at or before the observation that opens it: it has
 * what the row says from there on, and what changes since said at their times.
 * Returns the attributes just before the changes of the observation's instant,
 * or NULL if there are none.
 */
static MeterAttr *
run_since(MeterWalk *walk, int64 start, int64 now)
{
	int32		natts = walk->events->natts;
	MeterState *state = &walk->state;
	MeterAttr  *just_before = NULL;
	MeterAttr  *attrs;
	int32		first = 0;
	int32		i;
	int32		j;

	while (first < walk->nchanges && walk->changes[first].time < start)
		first++;
	attrs = copy_attrs(first < walk->nchanges ? walk->changes[first].before :
					   state->attrs, natts + 1);
	for (i = walk->owned ? 1 : 0; i <= natts; i++)
	{
		/* changes that the carried state knows of come after the row */
		if (!MeterAttrIsNull(walk->said[i]) && walk->carried_changed[i] < start)
			attrs[i] = walk->said[i];
	}
	if (walk->owned)
		attrs[0] = owner_since(walk, start, now, attrs[0]);
	walk->begin = start;
	for (j = first; j < walk->nchanges; j++)
	{
		MeterClosedChange *change = &walk->changes[j];

		if (change->time > walk->begin)
		{
			meter_build_span(&walk->builder, walk->begin, change->time,
							 meter_build_label(&walk->builder, attrs));
			walk->begin = change->time;
		}
		if (change->time == now && just_before == NULL)
			just_before = copy_attrs(attrs, natts + 1);
		for (i = 0; i <= natts; i++)
		{
			if (!MeterAttrIsNull(change->named[i]))
				attrs[i] = change->named[i];
		}
		if (change->alive)
			meter_walk_moment(walk, change->time, -1);
	}
	for (j = 0; j < walk->nchanges; j++)
	{
		pfree(walk->changes[j].before);
		pfree(walk->changes[j].named);
	}
	/* keep the bytes of the state where they are */
	for (i = 0; i <= natts; i++)
	{
		if (!meter_attr_equal(state->attrs[i], attrs[i]))
			state->attrs[i] = attrs[i];
	}
	walk->label = meter_build_label(&walk->builder, state->attrs);
	pfree(attrs);
	/* labels may have the bytes of these changes */
	walk->nchanges = 0;
	return just_before;
}

/*
 * Let an observation hold that the resource ran, where the timeline is closed:
 * a run opens at `since`, or at the snapshot.  `teller` is the observation that
 * says since when, or NULL.
 */
static MeterAttr *
observe_opening(MeterWalk *walk, MeterObservation *observation, int32 number,
				const MeterObservation *teller)
{
	int64		start = observation->time;
	MeterAttr  *just_before = NULL;
	int32		i;

	if (teller != NULL)
	{
		if (teller->since >= walk->state.absent)
			start = teller->since;
		else
			needed(walk, walk->absent_witness);
		/* whose it was when snapshots did not hold it may have changed */
		if (walk->state.started == METER_BEGIN &&
			!MeterAttrIsNull(walk->state.source))
			walk->deep = true;
	}
	walk->nmoments = 0;
	meter_walk_moment(walk, start, number);
	if (teller != NULL && teller->since == start)
		just_before = run_since(walk, start, observation->time);
	else
	{
		forget_changes(walk, METER_END);
		walk->begin = start;
		walk->label = -1;		/* the attributes of the row are to come */
	}
	for (i = walk->owned ? 1 : 0; i <= walk->events->natts; i++)
		walk->state.changed[i] = METER_BEGIN;
	walk->state.open = true;
	walk->state.ended = false;
	look_behind(walk, start);
	begin_run(walk, start);
	walk->state.alive = start;
	meter_walk_started(walk, source_of(walk, observation), observation->time);
	observation->effect = METER_OPENS;
	observation->from = start;
	observation->to = observation->time;
	return just_before;
}

/* Keep the moments of the run that began at an instant. */
static void
keep_moments(MeterWalk *walk, int64 since, int32 witness)
{
	int32		i;

	for (i = 0; i < walk->nmoments && walk->moments[i].time < since; i++)
		;
	if (i == 0)
		return;
	/* the slot of an earlier moment holds the start of the run */
	memmove(walk->moments + 1, walk->moments + i,
			(walk->nmoments - i) * sizeof(MeterMoment));
	walk->moments[0].time = since;
	walk->moments[0].witness = witness;
	walk->nmoments -= i - 1;
	if (walk->nmoments > 1 && walk->moments[1].time == since)
	{
		memmove(walk->moments, walk->moments + 1,
				(walk->nmoments - 1) * sizeof(MeterMoment));
		walk->nmoments--;
	}
}

/*
 * Let an observation hold that the run that is open began later than known:
 * nothing ran between the last moment before that at which it was known alive,
 * and that.
 */
static void
observe_cut(MeterWalk *walk, MeterObservation *observation, int32 number)
{
	int64		last = walk->state.since;
	int32		witness = -1;
	int32		label = walk->label;
	int32		i;

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

	end_span(walk, observation->time);
	cut_out(&walk->builder, last, observation->since);
	look_behind(walk, observation->since);
	end_run(walk, last);
	walk->begin = observation->time;
	walk->label = label;
	begin_run(walk, observation->since);
	keep_moments(walk, observation->since, number);
	meter_walk_started(walk, source_of(walk, observation), observation->time);
	observation->effect = METER_CUTS;
	observation->from = last;
	observation->to = observation->since;
}

/*
 * Merge what observations for other meters say of who owns the resource: what
 * the greatest source says counts, of what that says the greatest name.
 */
static void
merge_told(MeterWalk *walk)
{
	int			cmp = 1;

	if (MeterAttrIsNull(walk->told_name))
		return;
	if (walk->sayers[0] >= 0)
		cmp = meter_attr_cmp(walk->told_source,
							 source_of(walk, &walk->events->observations[walk->sayers[0]]));
	if (cmp < 0 ||
		(cmp == 0 && meter_attr_cmp(walk->told_name, walk->said[0]) <= 0))
		return;
	walk->said[0] = walk->told_name;
	walk->sayers[0] = -1;
}

/*
 * Merge what the observations [from, to) say that hold the resource: of each
 * attribute, and of since when it has run, what the greatest source says that
 * says anything.  Returns the one of the greatest source, and in *teller the
 * one that says since when, or -1.
 */
static int32
merge_said(MeterWalk *walk, int32 from, int32 to, int32 *teller)
{
	const MeterEvents *events = walk->events;
	uint16		logged = 0;
	int32		greatest = -1;
	int32		i;
	int32		j;

	*teller = -1;
	for (j = 0; j <= events->natts; j++)
	{
		walk->said[j] = METER_NULL_ATTR;
		walk->sayers[j] = -1;
	}
	for (i = from; i < to; i++)
	{
		const MeterObservation *observation = &events->observations[i];
		const char *record = events->arena + observation->attrs;

		if (!observation->present)
			continue;
		if (observation->standing == METER_LOGGED)
			logged = observation->source;
		else if (observation->source == logged)
			continue;			/* it has been logged */
		greatest = i;
		if (observation->since != METER_BEGIN)
			*teller = i;
		for (j = 0; observation->attrs != 0 && j <= events->natts; j++)
		{
			MeterAttr	attr;

			record = meter_event_attr(record, &attr);
			if (MeterAttrIsNull(attr))
				continue;
			walk->said[j] = attr;
			walk->sayers[j] = i;
		}
	}
	merge_told(walk);
	return greatest;
}

/* Let what has been merged apply from an instant on, where it differs. */
static void
apply_said(MeterWalk *walk, int64 now, const MeterAttr *before)
{
	int32		natts = walk->events->natts;
	MeterAttr  *known = NULL;
	int32		i;

	for (i = 0; i <= natts; i++)
	{
		MeterObservation *sayer;

		if (MeterAttrIsNull(walk->said[i]) ||
			passes(walk, before, i, walk->said[i]))
			continue;
		if (known == NULL)
			known = copy_attrs(walk->state.attrs, natts + 1);
		if (walk->owned && i == 0)
			(void) meter_walk_own(walk, walk->said[i], now, now);
		else
		{
			walk->state.attrs[i] = walk->said[i];
			if (!walk->state.open)
				walk->state.changed[i] = now;
		}
		if (walk->sayers[i] < 0)
			continue;			/* it was logged for another meter */
		sayer = &walk->events->observations[walk->sayers[i]];
		if (sayer->effect != METER_AGREES)
			continue;
		sayer->effect = METER_CHANGES;
		sayer->from = sayer->to = now;
	}
	/* what it said then counts as changes do, if it is found to have run */
	if (known != NULL && !walk->state.open && walk->least_since <= now)
		meter_walk_change(walk, now, known, true);
	if (known != NULL)
		pfree(known);
	if (walk->state.open)
		meter_walk_turn(walk, now);
}

/*
 * Let what observations for other meters say of who owns the resource hold from
 * their instant on, where it does not agree.
 */
void
meter_walk_told(MeterWalk *walk, int64 now)
{
	MeterAttr  *known = NULL;

	if (meter_owner_agrees(&walk->owner, walk->told_name))
		return;
	if (!walk->state.open && walk->least_since <= now)
		known = copy_attrs(walk->state.attrs, walk->events->natts + 1);
	(void) meter_walk_own(walk, walk->told_name, now, now);
	if (known != NULL)
	{
		meter_walk_change(walk, now, known, false);
		pfree(known);
	}
	if (walk->state.open)
		meter_walk_turn(walk, now);
}

/*
 * Let the observations [from, to), all of one instant, hold that the resource
 * ran.
 */
static void
observe_presence(MeterWalk *walk, int32 from, int32 to)
{
	MeterObservation *all = walk->events->observations;
	MeterAttr	owner = walk->state.source;
	bool		was_open = walk->state.open;
	int64		was_since = walk->state.since;
	MeterAttr  *just_before = NULL;
	int32		teller;
	int32		greatest = merge_said(walk, from, to, &teller);
	bool		matters = false;
	int32		i;

	if (walk->state.open)
	{
		for (i = from; i < to; i++)
		{
			if (all[i].present && !all[i].own)
				walk->foreign = walk->deep = true;
		}
		if (teller >= 0 &&
			walk->state.since < all[teller].since - all[teller].tolerance)
			observe_cut(walk, &all[teller], teller);
	}
	else if (!walk->passed.open)
		just_before = observe_opening(walk, &all[greatest], greatest,
									  teller < 0 ? NULL : &all[teller]);
	if (!MeterAttrIsNull(owner) &&
		!meter_attr_equal(owner, walk->state.source))
		all[all[greatest].effect == METER_OPENS ? greatest : teller].other = owner;
	apply_said(walk, all[from].time,
			   just_before != NULL ? just_before : walk->passed.before);
	if (just_before != NULL)
		pfree(just_before);
	if (walk->runs.rules != NULL && walk->state.open &&
		(!was_open || walk->state.since != was_since))
	{
		MeterSpan	current = meter_walk_current(walk);

		meter_runs_count(&walk->runs, walk->state.since,
						 meter_runs_label_at(&walk->runs, walk->state.since,
											 &current), 1);
	}
	if (walk->state.open)
		hold(walk, greatest);

	/* what is logged of an instant has to say what all of it does */
	for (i = from; i < to; i++)
		matters |= all[i].standing == METER_LOGGED ||
			all[i].effect > METER_EVIDENCE;
	if (!matters)
		return;
	mark(walk, greatest);
	mark(walk, teller);
	for (i = 0; i <= walk->events->natts; i++)
		mark(walk, walk->sayers[i]);
}

/* Let the observations of all instants before one take effect. */
void
meter_walk_observations(MeterWalk *walk, int64 before)
{
	MeterEvents *events = walk->events;

	while (walk->observation < events->nobservations &&
		   events->observations[walk->observation].time < before)
	{
		int32		from = walk->observation;
		int32		to = instant_end(events, from);
		int32		i;

		if (walk->passed.before == NULL)
		{
			walk->passed.open = walk->state.open;
			walk->passed.closed = !walk->state.open;
			meter_owner_instant(&walk->owner, true);
		}
		for (i = from; i < to; i++)
		{
			MeterObservation *observation = &events->observations[i];

			observation->effect = METER_AGREES;
			observation->was_open = walk->state.open;
			observation->other = METER_NULL_ATTR;
			observation->own = meter_attr_equal(walk->state.source,
												source_of(walk, observation));
		}
		if (any_present(events, from, to))
			observe_presence(walk, from, to);
		else
		{
			observe_absence(walk, from, to);
			meter_walk_told(walk, events->observations[from].time);
		}
		walk->observation = to;
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
 * comes after the last moment at which the run is known alive: a name may have
 * ended a span since.  One by which the run began later than known cuts
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
	final = since == METER_END ?
		(walk->observation < events->nobservations ? walk->state.alive : METER_END) :
		first < 0 ? walk->state.since :
		Max(walk->state.since, walk->moments[first].time);
	forget_moments(walk, first);
	return final;
}

/*
 * Let the attributes that an event names take effect, but for who owns the
 * resource.
 */
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
		if (!MeterAttrIsNull(attr) && (i > 0 || !walk->owned))
			walk->state.attrs[i] = attr;
	}
}

/* Take the first name: it owns the time before it, too. */
static void
take_first_name(MeterWalk *walk, MeterAttr name)
{
	walk->named = true;
	/* a run that opens in the past asks for it; events are forgotten */
	if (walk->events->nobservations > 0)
	{
		char	   *bytes = meter_grow(NULL, Max(name.len, 1));

		memcpy(bytes, name.data, name.len);
		walk->first_name = meter_attr(bytes, name.len);
	}
	meter_build_name_keys(&walk->builder, name);
}

/*
 * Let a name of `now` say who owns the resource, from an instant on that may be
 * one of the past.  Returns false if it says nothing.
 */
bool
meter_walk_own(MeterWalk *walk, MeterAttr name, int64 now, int64 from)
{
	if (!meter_owner_name(&walk->owner, name))
		return false;
	if (!walk->named && from < walk->events->names_end)
		take_first_name(walk, name);
	walk->state.changed[0] = now;
	return true;
}
