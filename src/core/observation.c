/*
 * observation.c
 *	  Statements: what snapshots say of a resource, and what follows.
 *
 * A statement holds after the events of its instant, and only while the
 * resource is its source's.  One that agrees changes nothing but what is
 * known: so a lost event that arrives after all wins by making it agree.
 *
 * Statements that might be logged (candidates) take part as if they were.
 * Those that make a difference, to the timeline or to what a logged one makes
 * of it, are told: they are to be logged, with what other snapshots say that
 * bears on them, and without the rest the timeline is the same.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/timeline_builder.h"

/* Order of statements: those of one instant by source, candidates last. */
static int
statement_cmp(const MeterEvents *events, const MeterStatement *a,
			  const MeterStatement *b)
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
	if (a->held != b->held)
		return a->held ? 1 : -1;
	if (a->since != b->since)
		return a->since < b->since ? -1 : 1;
	if (a->alive != b->alive)
		return a->alive < b->alive ? -1 : 1;
	if (a->absent != b->absent)
		return a->absent < b->absent ? -1 : 1;
	return meter_record_cmp(events, a->attrs, b->attrs);
}

/* Add a statement; false if there are too many, as for events. */
bool
meter_statements_add(MeterEvents *events, const MeterStatement *statement,
					 const MeterAttr *attrs)
{
	uint32		record;

	if (!meter_events_record(events, attrs, &record))
		return false;
	if (events->nstatements == events->maxstatements)
	{
		if (events->maxstatements >= METER_MAX_EVENTS / 4)
			return false;
		events->maxstatements = Max(4, events->maxstatements * 2);
		if (events->statements == NULL)
			events->statements = palloc(events->maxstatements *
										sizeof(MeterStatement));
		else
			events->statements = repalloc(events->statements,
										  events->maxstatements *
										  sizeof(MeterStatement));
	}
	events->statements[events->nstatements] = *statement;
	events->statements[events->nstatements].attrs = record;
	events->nstatements++;
	return true;
}

/* Sift the statement at `parent` down the heap of `count`. */
static void
sift_down(MeterEvents *events, int32 parent, int32 count)
{
	MeterStatement *heap = events->statements;

	for (;;)
	{
		int32		child = 2 * parent + 1;
		MeterStatement swap;

		if (child >= count)
			return;
		if (child + 1 < count &&
			statement_cmp(events, &heap[child], &heap[child + 1]) < 0)
			child++;
		if (statement_cmp(events, &heap[parent], &heap[child]) >= 0)
			return;
		swap = heap[parent];
		heap[parent] = heap[child];
		heap[child] = swap;
		parent = child;
	}
}

/* Put statements in their order. */
void
meter_statements_sort(MeterEvents *events)
{
	int32		count = events->nstatements;
	int32		i;

	for (i = count / 2 - 1; i >= 0; i--)
		sift_down(events, i, count);
	while (--count > 0)
	{
		MeterStatement swap = events->statements[0];

		events->statements[0] = events->statements[count];
		events->statements[count] = swap;
		sift_down(events, 0, count);
	}
}

/* The run is known to go on at a moment, not before any noted. */
void
meter_walk_moment(MeterWalk *walk, int64 time, int32 witness)
{
	MeterMoment *last = walk->nmoments == 0 ? NULL :
	&walk->moments[walk->nmoments - 1];

	if (walk->events->nstatements == 0)
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

/* Does the resource belong to the source of a statement? */
static bool
is_owner(MeterWalk *walk, const MeterStatement *statement)
{
	MeterAttr	source = walk->events->sources[statement->source - 1];

	/* nothing real has happened to it: it is theirs who name it first */
	if (MeterAttrIsNull(walk->state.source) && statement->held &&
		statement->standing != METER_KNOWN)
		walk->state.source = source;
	return meter_attr_equal(walk->state.source, source);
}

/* What snapshots of before the carried state have shown. */
void
meter_walk_known(MeterWalk *walk)
{
	int32		i;

	for (i = 0; i < walk->events->nstatements; i++)
	{
		MeterStatement *known = &walk->events->statements[i];

		if (known->standing != METER_KNOWN || !is_owner(walk, known))
			continue;
		if (!known->held)
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

/* A candidate that a logged statement would have to know of is needed. */
static void
needed(MeterWalk *walk, int32 witness)
{
	MeterStatement *statement;

	if (witness < 0)
		return;
	statement = &walk->events->statements[witness];
	if (statement->standing == METER_CANDIDATE &&
		statement->effect == METER_AGREES)
		statement->effect = METER_EVIDENCE;
}

/* The last snapshot in the run that held it, before an instant. */
static int64
last_held(const MeterWalk *walk, int64 before)
{
	int32		i;

	for (i = walk->nmoments - 1; i >= 0; i--)
	{
		const MeterMoment *moment = &walk->moments[i];

		if (moment->time < before && moment->witness >= 0 &&
			walk->events->statements[moment->witness].time == moment->time)
			return moment->time;
	}
	return METER_BEGIN;
}

/* Leave nothing of a timeline from an instant on. */
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
 * Leave nothing of [from, to) in a timeline.  What is after it is put aside
 * and built again.
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

/* End the span that goes on. */
static void
end_span(MeterWalk *walk, int64 now)
{
	if (walk->label >= 0)
		meter_build_span(&walk->builder, walk->begin, now, walk->label);
	walk->label = -1;
}

/* It did not run: a run open then ended at the last moment known alive. */
static void
state_absence(MeterWalk *walk, int32 number)
{
	MeterStatement *statement = &walk->events->statements[number];

	if (walk->state.open)
	{
		int64		end = walk->state.alive;

		if (statement->standing == METER_CANDIDATE)
			statement->alive = last_held(walk, statement->time);
		if (statement->alive >= walk->state.since &&
			statement->alive <= statement->time)
			end = Max(end, statement->alive);
		if (statement->standing == METER_LOGGED && walk->nmoments > 0 &&
			walk->moments[walk->nmoments - 1].time > statement->alive)
			needed(walk, walk->moments[walk->nmoments - 1].witness);

		end_span(walk, statement->time);
		cut_from(&walk->builder, end);
		walk->state.open = false;
		walk->nmoments = 0;
		statement->effect = METER_ENDS;
		statement->from = end;
		statement->to = statement->time;
	}
	walk->state.absent = statement->time;
	walk->absent_witness = number;
	walk->snapshot_absent = statement->time;
}

/* It ran, but is closed: since when? */
static void
state_opening(MeterWalk *walk, MeterStatement *statement, int32 number)
{
	int64		absent = walk->state.absent;
	int64		start = statement->time;

	if (statement->since != METER_BEGIN)
	{
		if (statement->standing == METER_CANDIDATE)
			statement->absent = walk->snapshot_absent;
		else if (walk->absent_witness >= 0 && absent > statement->absent &&
				 absent > statement->since)
			needed(walk, walk->absent_witness);
		if (statement->since >= Max(absent, statement->absent))
			start = statement->since;
	}
	meter_walk_apply(walk, statement->attrs);
	walk->state.open = true;
	walk->state.since = start;
	walk->nmoments = 0;
	meter_walk_moment(walk, start, number);
	walk->begin = start;
	walk->label = meter_build_label(&walk->builder, walk->state.attrs);
	statement->effect = METER_OPENS;
	statement->from = start;
	statement->to = statement->time;
}

/* It ran, and runs: but not since then, or not as it is known to? */
static void
state_running(MeterWalk *walk, MeterStatement *statement, int32 number)
{
	int32		label;
	int32		i;

	if (statement->since != METER_BEGIN &&
		(walk->state.since < statement->since - statement->tolerance))
	{
		int64		last = walk->state.since;
		int32		witness = -1;

		for (i = walk->nmoments - 1; i >= 0; i--)
		{
			if (walk->moments[i].time < statement->since)
			{
				last = Max(last, walk->moments[i].time);
				witness = walk->moments[i].witness;
				break;
			}
		}
		if (statement->standing == METER_CANDIDATE)
			statement->alive = last_held(walk, statement->since);
		else if (witness >= 0 && last > statement->alive)
			needed(walk, witness);
		if (statement->alive >= walk->state.since &&
			statement->alive < statement->since)
			last = Max(last, statement->alive);

		label = walk->label;
		end_span(walk, statement->time);
		cut_out(&walk->builder, last, statement->since);
		walk->begin = statement->time;
		walk->label = label;
		walk->state.since = statement->since;

		/* what is known of the run that began then */
		for (i = 0; i < walk->nmoments &&
			 walk->moments[i].time < statement->since; i++)
			;
		if (i > 0)
		{
			/* the first of those before makes room for its start */
			memmove(walk->moments + 1, walk->moments + i,
					(walk->nmoments - i) * sizeof(MeterMoment));
			walk->moments[0].time = statement->since;
			walk->moments[0].witness = number;
			walk->nmoments -= i - 1;
			if (walk->nmoments > 1 &&
				walk->moments[1].time == statement->since)
			{
				memmove(walk->moments, walk->moments + 1,
						(walk->nmoments - 1) * sizeof(MeterMoment));
				walk->nmoments--;
			}
		}
		statement->effect = METER_CUTS;
		statement->from = last;
		statement->to = statement->since;
	}

	if (statement->attrs == 0)
		return;
	if (statement->effect == METER_AGREES &&
		meter_record_differs(walk->events, statement->attrs,
							 walk->state.attrs))
	{
		statement->effect = METER_CHANGES;
		statement->from = statement->to = statement->time;
	}
	meter_walk_apply(walk, statement->attrs);
	label = meter_build_label(&walk->builder, walk->state.attrs);
	if (label != walk->label)
	{
		end_span(walk, statement->time);
		walk->begin = statement->time;
		walk->label = label;
	}
}

/* Let a statement hold. */
void
meter_walk_state(MeterWalk *walk, int32 number)
{
	MeterStatement *statement = &walk->events->statements[number];

	if (statement->standing == METER_KNOWN)
		return;
	statement->effect = METER_AGREES;
	statement->was_open = walk->state.open;
	statement->spoke = is_owner(walk, statement);
	if (!statement->spoke)
		return;
	if (!statement->held)
		state_absence(walk, number);
	else
	{
		if (!walk->state.open)
			state_opening(walk, statement, number);
		else
			state_running(walk, statement, number);
		walk->state.alive = statement->time;
		meter_walk_moment(walk, statement->time, number);
	}
}

/* Let the attributes that an event names take effect. */
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
		walk->state.attrs[i] = attr;
		if (i == 0 && !walk->named)
		{
			walk->named = true;
			walk->first_name = attr;
		}
	}
}
