/*
 * pairing.c
 *	  Pairing: from the set of a resource's events to its timeline.
 *
 * The result depends on the set of events only, never on the order in which
 * they were added.  Events of one instant act together: first all starts, then
 * all changes set attributes, each in ascending order of what they carry; a
 * start and a stop together leave the timeline open or closed as it was.  The
 * carried state is not an event: it holds before the instant of any event.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/pairing.h"
#include "core/timeline_builder.h"

/* Let all events of a kind in [from, to) take effect, least first. */
static void
apply_kind(MeterWalk *walk, MeterKind kind, int32 from, int32 to, int32 count)
{
	const MeterEvents *events = walk->events;
	uint32	   *order;
	int32		n = 0;
	int32		i;

	if (count == 1)
	{
		for (i = from; events->events[i].kind != kind;)
			i++;
		meter_walk_apply(walk, events->events[i].attrs);
		return;
	}

	/* sort with a heap: bad data does have ties of thousands of events */
	order = meter_grow(NULL, count * sizeof(uint32));
	for (i = from; i < to; i++)
	{
		int32		child;

		if (events->events[i].kind != kind || events->events[i].attrs == 0)
			continue;
		order[n] = events->events[i].attrs;
		for (child = n++; child > 0;)
		{
			int32		parent = (child - 1) / 2;
			uint32		swap = order[parent];

			if (meter_record_cmp(events, swap, order[child]) <= 0)
				break;
			order[parent] = order[child];
			order[child] = swap;
			child = parent;
		}
	}
	while (n > 0)
	{
		int32		parent = 0;

		meter_walk_apply(walk, order[0]);
		order[0] = order[--n];
		for (;;)
		{
			int32		child = 2 * parent + 1;
			uint32		swap;

			if (child >= n)
				break;
			if (child + 1 < n &&
				meter_record_cmp(events, order[child + 1],
								 order[child]) < 0)
				child++;
			if (meter_record_cmp(events, order[parent], order[child]) <= 0)
				break;
			swap = order[parent];
			order[parent] = order[child];
			order[child] = swap;
			parent = child;
		}
	}
	pfree(order);
}

/*
 * Let stops name the account where nothing has named it yet: the least name of
 * this instant counts.
 */
static void
apply_stops(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	MeterAttr	least = METER_NULL_ATTR;
	int32		i;

	for (i = from; i < to; i++)
	{
		MeterAttr	name;

		if (events->events[i].kind != METER_STOP ||
			events->events[i].attrs == 0)
			continue;
		(void) meter_event_attr(events->arena + events->events[i].attrs, &name);
		if (!MeterAttrIsNull(name) &&
			(MeterAttrIsNull(least) || meter_attr_cmp(name, least) < 0))
			least = name;
	}
	if (!MeterAttrIsNull(least))
	{
		meter_walk_name(walk, least);
		walk->state.attrs[0] = least;
	}
}

/*
 * Give the resource to the greatest source of the starts of an instant; as long
 * as nothing has started it, of all events.
 */
static void
apply_sources(MeterWalk *walk, int32 from, int32 to, bool starts)
{
	const MeterEvents *events = walk->events;
	MeterAttr	greatest = METER_NULL_ATTR;
	int32		i;

	if (!starts && walk->state.started != METER_BEGIN)
		return;
	for (i = from; i < to; i++)
	{
		const MeterEvent *event = &events->events[i];

		if (event->source != 0 && (!starts || event->kind == METER_START))
		{
			MeterAttr	source = events->sources[event->source - 1];

			if (meter_attr_cmp(greatest, source) < 0)
				greatest = source;
		}
	}
	if (starts)
		meter_walk_started(walk, greatest, events->events[from].time);
	else if (!MeterAttrIsNull(greatest))
		walk->state.source = greatest;
}

/*
 * Note when changes of an instant named what, where the resource does not run
 * after it: an observation to come may find that it ran.  `before` are the
 * attributes before the changes, or NULL.
 */
static void
note_changes(MeterWalk *walk, int32 from, int32 to, const MeterAttr *before)
{
	const MeterEvents *events = walk->events;
	int32		i;
	int32		j;

	for (i = from; i < to; i++)
	{
		const MeterEvent *event = &events->events[i];
		const char *record = events->arena + event->attrs;

		for (j = 0; event->kind == METER_CHANGE && event->attrs != 0 &&
			 j <= events->natts; j++)
		{
			MeterAttr	attr;

			record = meter_event_attr(record, &attr);
			if (!MeterAttrIsNull(attr))
				walk->state.changed[j] = event->time;
		}
	}
	if (before != NULL)
		meter_walk_change(walk, events->events[from].time, before);
}

/* Return a copy of the attributes there are. */
static MeterAttr *
copy_attrs(const MeterWalk *walk)
{
	size_t		size = (walk->events->natts + 1) * sizeof(MeterAttr);

	return memcpy(palloc(size), walk->state.attrs, size);
}

/* Let the events [from, to), all of one instant, take effect. */
static void
apply_instant(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	int64		now = events->events[from].time;
	bool		was_open = walk->state.open;
	int32		count[3] = {0, 0, 0};
	MeterAttr  *before_changes = NULL;
	int32		new_label;
	int32		i;

	for (i = from; i < to; i++)
		count[events->events[i].kind]++;
	if (walk->observation < events->nobservations &&
		events->observations[walk->observation].time == now)
		walk->passed.before = copy_attrs(walk);
	if (count[METER_START] > 0)
		apply_kind(walk, METER_START, from, to, count[METER_START]);
	if (count[METER_CHANGE] > 0)
	{
		if (walk->least_since <= now)
			before_changes = copy_attrs(walk);
		apply_kind(walk, METER_CHANGE, from, to, count[METER_CHANGE]);
	}
	if (count[METER_STOP] > 0 && !walk->named)
		apply_stops(walk, from, to);
	if (events->nsources > 0)
		apply_sources(walk, from, to, count[METER_START] > 0);

	if (count[METER_START] > 0 && count[METER_STOP] == 0)
		walk->state.open = true;
	else if (count[METER_STOP] > 0 && count[METER_START] == 0)
		walk->state.open = false;

	/* a restart begins a run: an observation may tell since when it has run */
	if (walk->state.open &&
		(!was_open || (count[METER_START] > 0 && count[METER_STOP] > 0)))
	{
		walk->state.since = now;
		walk->nmoments = 0;
	}
	if (walk->state.open &&
		(count[METER_START] > 0 || count[METER_CHANGE] > 0))
	{
		walk->state.alive = now;
		meter_walk_moment(walk, now, -1);
	}
	if (!walk->state.open && count[METER_STOP] > 0)
	{
		walk->state.absent = now;
		walk->absent_witness = -1;
		walk->state.holder = METER_NULL_ATTR;
	}
	if (count[METER_CHANGE] > 0 &&
		(!walk->state.open || walk->passed.before != NULL))
		note_changes(walk, from, to, before_changes);
	if (before_changes != NULL)
		pfree(before_changes);

	new_label = walk->state.open ?
		meter_build_label(&walk->builder, walk->state.attrs) : -1;
	if (new_label != walk->label)
	{
		if (walk->label >= 0)
			meter_build_span(&walk->builder, walk->begin, now, walk->label);
		walk->begin = now;
		walk->label = new_label;
	}
	if (walk->passed.before == NULL)
		return;

	walk->passed.from = from;
	walk->passed.to = to;
	walk->passed.open = was_open || count[METER_START] > 0;
	walk->passed.closed = !was_open || count[METER_STOP] > 0;
	meter_walk_observations(walk, now + 1);
	pfree(walk->passed.before);
	walk->passed.before = NULL;
}

/* Return the least instant since when any observation says that it ran. */
static int64
least_since(const MeterEvents *events)
{
	int64		least = METER_END;
	int32		i;

	for (i = 0; i < events->nobservations; i++)
	{
		if (events->observations[i].since != METER_BEGIN)
			least = Min(least, events->observations[i].since);
	}
	return least;
}

/*
 * Begin to pair with the carried state, or with nothing, whose bytes must
 * outlive the timeline.  All observations have been added.
 */
void
meter_pair_begin(MeterWalk *walk, MeterEvents *events,
				 const MeterState *carried, MeterLookBack look)
{
	int32		natts = events->natts;
	int32		i;

	meter_observations_sort(events);
	memset(walk, 0, sizeof(*walk));
	meter_build_begin(&walk->builder, natts);
	walk->events = events;
	walk->begin = METER_BEGIN;
	walk->label = -1;
	walk->first_name = METER_NULL_ATTR;
	walk->absent_witness = -1;
	walk->held_witness = walk->gone_witness = -1;
	walk->least_since = least_since(events);
	walk->state.absent = walk->state.started = METER_BEGIN;
	walk->state.source = walk->state.holder = METER_NULL_ATTR;
	if (carried != NULL)
		walk->state = *carried;
	walk->state.attrs = palloc((natts + 1) * sizeof(MeterAttr));
	walk->state.changed = palloc((natts + 1) * sizeof(int64));
	for (i = 0; i <= natts; i++)
	{
		walk->state.attrs[i] = carried ? carried->attrs[i] : METER_NULL_ATTR;
		walk->state.changed[i] = carried && carried->changed ?
			carried->changed[i] : METER_BEGIN;
	}
	walk->look_back = look == METER_LOOK_BACK_FIRST;
	walk->named = !walk->look_back ||
		!MeterAttrIsNull(walk->state.attrs[0]);
	if (walk->state.open)
	{
		walk->label = meter_build_label(&walk->builder, walk->state.attrs);
		meter_walk_moment(walk, walk->state.since, -1);
		meter_walk_moment(walk, walk->state.alive, -1);
	}
	if (events->nobservations == 0)
		return;
	walk->said = palloc((natts + 1) * sizeof(MeterAttr));
	walk->sayers = palloc((natts + 1) * sizeof(int32));
	walk->carried_changed = memcpy(palloc((natts + 1) * sizeof(int64)),
								   walk->state.changed,
								   (natts + 1) * sizeof(int64));
	meter_walk_known(walk);
}

/*
 * Let the events there are take effect, and the observations between them.
 * None of the same instants may follow.
 */
void
meter_pair_events(MeterWalk *walk)
{
	MeterEvents *events = walk->events;
	MeterTimeline *timeline = walk->builder.timeline;
	int32		from;
	int32		to;

	meter_events_sort(events);
	for (from = 0; from < events->nevents; from = to)
	{
		int64		now = events->events[from].time;

		meter_walk_observations(walk, now);
		for (to = from + 1;
			 to < events->nevents && events->events[to].time == now;
			 to++)
			;
		apply_instant(walk, from, to);
	}
	if (events->nevents > 0)
	{
		timeline->has_last = true;
		timeline->last = events->events[events->nevents - 1].time;
	}
}

/* End: return the timeline. */
MeterTimeline *
meter_pair_end(MeterWalk *walk)
{
	meter_walk_observations(walk, METER_END);
	walk->events->deep = walk->deep;
	if (walk->label >= 0)
		meter_build_span(&walk->builder, walk->begin, METER_END, walk->label);
	walk->builder.timeline->state = walk->state;
	return walk->builder.timeline;
}

/*
 * Return the timeline of a set of events and observations.  Both are sorted,
 * and each observation is told what came of it.  With a carried state, a run
 * that is open in it goes back to -infinity.  The bytes of the result's
 * attributes are those of the events and of the carried state, which must
 * outlive it.
 */
MeterTimeline *
meter_pair(MeterEvents *events, const MeterState *carried,
		   MeterLookBack look)
{
	MeterWalk	walk;

	meter_pair_begin(&walk, events, carried, look);
	meter_pair_events(&walk);
	return meter_pair_end(&walk);
}
