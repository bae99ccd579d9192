/*
 * pairing.c
 *	  Pairing: from the set of a resource's events to its timeline.
 *
 * The result depends on the set of events only, never on the order in which
 * they were added.  Within an instant they act in the order of their sequence,
 * those of one sequence together: first all starts, then all changes set
 * attributes, each in ascending order of what they carry; a start and a stop
 * together leave the timeline open or closed as it was; an event that ends the
 * resource for good is the last.  Who owns the resource is not among these
 * attributes: any event may say that (owners.c).  The carried state is not an
 * event: it holds before the instant of any event.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/pairing.h"
#include "core/runs.h"
#include "core/timeline_builder.h"

/* Let all events of a kind in [from, to) take effect, least first. */
static void
apply_kind(MeterWalk *walk, MeterKind kind, int32 from, int32 to, int32 count)
{
	const MeterEvents *events = walk->events;
	int32		first = walk->owned ? 1 : 0;
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

			if (meter_record_cmp(events, swap, order[child], first) <= 0)
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
				meter_record_cmp(events, order[child + 1], order[child],
								 first) < 0)
				child++;
			if (meter_record_cmp(events, order[parent], order[child],
								 first) <= 0)
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

		if (event->source != 0 && event->kind != METER_IGNORED &&
			(!starts || event->kind == METER_START))
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
 * Note when changes of an instant named what, and that a name was, where the
 * resource does not run after it: an observation to come may find that it ran.
 * `before` are the attributes before that, or NULL.
 */
static void
note_changes(MeterWalk *walk, int32 from, int32 to, const MeterAttr *before)
{
	const MeterEvents *events = walk->events;
	bool		any = false;
	int32		i;
	int32		j;

	for (i = from; i < to; i++)
	{
		const MeterEvent *event = &events->events[i];
		const char *record = events->arena + event->attrs;

		any |= event->kind == METER_CHANGE;

		for (j = 0; event->kind == METER_CHANGE && event->attrs != 0 &&
			 j <= events->natts; j++)
		{
			MeterAttr	attr;

			record = meter_event_attr(record, &attr);
			if (!MeterAttrIsNull(attr) && (j > 0 || !walk->owned))
				walk->state.changed[j] = event->time;
		}
	}
	if (before != NULL)
		meter_walk_change(walk, events->events[from].time, before, any);
}

/* Return a copy of the attributes there are. */
static MeterAttr *
copy_attrs(const MeterWalk *walk)
{
	size_t		size = (walk->events->natts + 1) * sizeof(MeterAttr);

	return memcpy(palloc(size), walk->state.attrs, size);
}

/* What the ties of an instant come to. */
typedef struct Instant
{
	bool		observed;		/* observations of it follow */
	bool		starts;			/* any event started the resource */
	bool		stops;
	int32		began;			/* so many runs did */
} Instant;

/*
 * Let starts of a tie that come after the end of the resource be ignored: of
 * what they say, the name of the account alone counts.
 */
static void
ignore_starts(MeterWalk *walk, int32 from, int32 to, int32 *count)
{
	MeterEvents *events = walk->events;
	int32		i;

	for (i = from; i < to; i++)
	{
		if (events->events[i].kind == METER_START)
			events->events[i].kind = METER_IGNORED;
	}
	count[METER_START] = 0;
}

/* Let runs end and begin as the starts and stops of a tie say. */
static void
turn_runs(MeterWalk *walk, int64 now, const int32 *count, bool was_open,
		  Instant *instant)
{
	bool		starts = count[METER_START] > 0;
	bool		stops = count[METER_STOP] > 0;
	MeterSpan	current = meter_walk_current(walk);

	if (was_open && (stops || count[METER_FINISH] > 0))
		meter_runs_close(&walk->runs, now, &current);
	if (starts && (stops || !was_open))
	{
		instant->began++;
		meter_runs_open(&walk->runs, now);
	}
	else if (starts || count[METER_CHANGE] > 0)
		meter_runs_sign(&walk->runs, now);
}

/* Note what the open run, or that it does not run, is known by after a tie. */
static void
note_moments(MeterWalk *walk, int64 now, const int32 *count, bool was_open)
{
	MeterState *state = &walk->state;

	/* a restart begins a run: an observation may tell since when it has run */
	if (state->open &&
		(!was_open || (count[METER_START] > 0 && count[METER_STOP] > 0)))
	{
		state->since = now;
		walk->nmoments = 0;
	}
	if (state->open && (count[METER_START] > 0 || count[METER_CHANGE] > 0))
	{
		state->alive = now;
		meter_walk_moment(walk, now, -1);
	}
	if (!state->open && (count[METER_STOP] > 0 || count[METER_FINISH] > 0))
	{
		state->absent = now;
		walk->absent_witness = -1;
		state->holder = METER_NULL_ATTR;
	}
}

/*
 * Let the events [from, to), all of one instant and one sequence, take effect.
 */
static void
apply_tie(MeterWalk *walk, int32 from, int32 to, Instant *instant)
{
	const MeterEvents *events = walk->events;
	int64		now = events->events[from].time;
	bool		was_open = walk->state.open;
	int32		count[METER_NKINDS] = {0};
	MeterAttr	name = walk->owned ? meter_tie_name(events, from, to) :
	METER_NULL_ATTR;
	MeterAttr  *before_changes = NULL;
	int32		i;

	for (i = from; i < to; i++)
		count[events->events[i].kind]++;
	if (walk->state.ended && count[METER_START] > 0)
		ignore_starts(walk, from, to, count);
	if (count[METER_START] > 0)
		apply_kind(walk, METER_START, from, to, count[METER_START]);
	if ((count[METER_CHANGE] > 0 || !MeterAttrIsNull(name)) &&
		walk->least_since <= now)
		before_changes = copy_attrs(walk);
	if (count[METER_CHANGE] > 0)
		apply_kind(walk, METER_CHANGE, from, to, count[METER_CHANGE]);
	(void) meter_walk_own(walk, name, now, now);

	if (count[METER_START] > 0 && count[METER_STOP] == 0)
		walk->state.open = true;
	else if (count[METER_STOP] > 0 && count[METER_START] == 0)
		walk->state.open = false;
	if (count[METER_FINISH] > 0)
	{
		walk->state.open = false;
		walk->state.ended = true;
	}
	if (walk->runs.rules != NULL)
		turn_runs(walk, now, count, was_open, instant);
	note_moments(walk, now, count, was_open);
	if ((count[METER_CHANGE] > 0 || before_changes != NULL) &&
		(!walk->state.open || instant->observed))
		note_changes(walk, from, to, before_changes);
	if (before_changes != NULL)
		pfree(before_changes);
	meter_walk_turn(walk, now);
	instant->starts |= count[METER_START] > 0;
	instant->stops |= count[METER_STOP] + count[METER_FINISH] > 0;
}

/* Count the runs that began at an instant, with what it has come to. */
static void
count_runs(MeterWalk *walk, int64 now, int32 began)
{
	if (walk->runs.rules->counts)
		meter_runs_count(&walk->runs, now,
						 meter_build_label(&walk->builder, walk->state.attrs),
						 began);
}

/*
 * Note what the events [from, to) say of who owns the resource, which are
 * observations for other meters: of the greatest source that names somebody, or
 * nobody, the greatest name.
 */
static void
note_told(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	int32		i;

	walk->told_name = walk->told_source = METER_NULL_ATTR;
	for (i = from; i < to && walk->owned; i++)
	{
		MeterAttr	source = events->sources[events->events[i].source - 1];
		MeterAttr	name = meter_tie_name(events, i, i + 1);
		int			cmp = meter_attr_cmp(source, walk->told_source);

		if (cmp < 0 || MeterAttrIsNull(name))
			continue;
		walk->told_name = cmp > 0 ? name :
			meter_owner_greater(walk->told_name, name);
		walk->told_source = source;
	}
}

/*
 * Let the observations of an instant take effect after its events [from, to).
 */
static void
observe_instant(MeterWalk *walk, int32 from, int32 to, int64 now,
				bool was_open, const Instant *instant)
{
	walk->passed.from = from;
	walk->passed.to = to;
	walk->passed.open = was_open || instant->starts;
	walk->passed.closed = !was_open || instant->stops;
	meter_walk_observations(walk, now + 1);
	pfree(walk->passed.before);
	walk->passed.before = NULL;
}

/*
 * Let the events [from, to), all of one instant, take effect: those of one
 * sequence together.
 */
static void
apply_instant(MeterWalk *walk, int32 from, int32 to)
{
	MeterEvents *events = walk->events;
	int64		now = events->events[from].time;
	bool		was_open = walk->state.open;
	Instant		instant = {false, false, false, 0};
	int32		at = from;
	int32		told = meter_instant_observed(events, from, to);

	if (walk->observation < events->nobservations &&
		events->observations[walk->observation].time == now)
	{
		instant.observed = true;
		walk->passed.before = copy_attrs(walk);
	}
	meter_owner_instant(&walk->owner, instant.observed || told < to);
	note_told(walk, told, to);
	meter_instant_sort(events, from, told);
	while (at < told)
	{
		int32		end = meter_tie_end(events, at, told);

		apply_tie(walk, at, end, &instant);
		at = end;
	}
	if (events->nsources > 0 && from < told)
		apply_sources(walk, from, told, instant.starts);
	if (!instant.observed)
		meter_walk_told(walk, now);
	else
		observe_instant(walk, from, told, now, was_open, &instant);
	walk->told_name = METER_NULL_ATTR;
	if (instant.began > 0)
		count_runs(walk, now, instant.began);
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
	walk->state.absent = walk->state.started = walk->state.sign = METER_BEGIN;
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
	walk->owned = look == METER_LOOK_BACK_FIRST;
	walk->named = !walk->owned || !MeterAttrIsNull(walk->state.attrs[0]);
	meter_owner_begin(&walk->owner, &walk->state.attrs[0]);
	walk->told_name = METER_NULL_ATTR;
	if (walk->state.open)
	{
		walk->label = meter_build_label(&walk->builder, walk->state.attrs);
		meter_walk_moment(walk, walk->state.since, -1);
		meter_walk_moment(walk, walk->state.alive, -1);
	}
	meter_runs_begin(&walk->runs, events->rules, &walk->builder, &walk->state,
					 walk->label);
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

/* Fill in what the state carries of the open run: there are rules of runs. */
void
meter_pair_carry(MeterWalk *walk)
{
	MeterSpan	current = meter_walk_current(walk);

	meter_runs_carry(&walk->runs, &current);
}

/* End: return the timeline, of which gaps are a part. */
MeterTimeline *
meter_pair_end(MeterWalk *walk)
{
	meter_walk_observations(walk, METER_END);
	walk->events->deep = walk->deep;
	if (walk->runs.rules != NULL)
		meter_pair_carry(walk);
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
	MeterTimeline *timeline;

	meter_pair_begin(&walk, events, carried, look);
	meter_pair_events(&walk);
	timeline = meter_pair_end(&walk);
	if (walk.runs.rules != NULL)
		meter_runs_find_gaps(&walk.runs);
	return timeline;
}
