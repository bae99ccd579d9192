/*
 * event_fold.c
 *	  Usage of events, in the fold: the timeline of each resource is paired,
 *	  rounded and cut into periods.
 *
 * Where observations straddle the end of what is settled, rows up to them count
 * for what is before it; the carried state then comes from a second timeline,
 * without these.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/observation.h"
#include "core/runs.h"
#include "core/timeline_builder.h"
#include "engine/bound.h"
#include "engine/collect.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/row_kind.h"
#include "engine/states.h"
#include "engine/usage.h"
#include "engine/usage_rows.h"
#include "pg/observation_json.h"
#include "pg/quantity.h"
#include "pg/spi.h"

/* The walk of a resource. */
typedef struct EventFold
{
	MeterCollected collected;
	MeterCollected before;		/* the same without what is not yet settled */
	MeterUsageRows rows;
	bool		any_rows;
	bool		any_events;
	bool		any_counted;	/* not only names, or its state is known */
	bool		walking;		/* a piece of it has been walked */
	bool		straddling;		/* there may be rows that are not yet settled */
	bool		asked;
	bool		begun;			/* with a state of before what is asked for */
	bool		began;			/* anything is settled of it */
	TimestampTz first;			/* affected from then on, if asked for */
	TimestampTz named;			/* the first event that names an account */
	TimestampTz earliest;
	TimestampTz reach;			/* what observations may change, at least */
	TimestampTz straddles;		/* the last observation that reaches back
								 * behind the end */
	TimestampTz last;			/* the last settled row; DT_NOBEGIN: none yet;
								 * DT_NOEND: not known */
	TimestampTz kept_time;		/* when its state was kept last, or it began;
								 * DT_NOBEGIN: not known */
	int32		kept_rows;		/* so many rows since then */
} EventFold;

/* Scan the events, and what was known at the retention boundary. */
static void
scan(MeterFold *fold)
{
	const MeterDefinition *definition = fold->definition;
	Oid			types[METER_SCOPE_NPARAMS];
	Datum		values[METER_SCOPE_NPARAMS];

	fold->walk = palloc0(sizeof(EventFold));
	fold->scope.straddling = !TIMESTAMP_IS_NOEND(fold->scope.settled_to) &&
		meter_may_straddle(definition, fold->scope.settled_to);
	meter_find_duplicates(definition, fold->progress, &fold->scope);
	meter_scope_params(&fold->scope, types, values);
	meter_fold_scan(fold, meter_events_query(definition, &fold->scope),
					METER_SCOPE_NPARAMS, types, values, METER_FOLD_NEVENT);
	if (meter_fold_has_boundary(fold))
		meter_fold_scan(fold,
						meter_boundary_states_query(definition, &fold->scope),
						METER_SCOPE_NPARAMS, types, values,
						METER_FOLD_NCOLUMNS);
	if (fold->more_rows != NULL)
		meter_fold_scan(fold, fold->more_rows, METER_SCOPE_NPARAMS, types,
						values, METER_FOLD_NEVENT);
	meter_forget_rows(&fold->scope.duplicates);
}

/* Begin both timelines with a carried state. */
static void
carry(EventFold *walk, const MeterState *state)
{
	meter_collect_carried(&walk->collected, state);
	if (walk->straddling)
		meter_collect_carried(&walk->before, state);
	walk->began |= state->open;
	walk->any_counted = true;
}

/* Begin with a state of before. */
static void
carry_state(MeterFold *fold, const MeterCarried *carried)
{
	EventFold  *walk = fold->walk;
	int			ndimensions = fold->definition->ndimensions;
	MeterAttr	attrs[METER_MAX_DIMENSIONS + 2];
	MeterAttr	billed[METER_MAX_DIMENSIONS + 2];
	int64		changed[METER_MAX_DIMENSIONS + 2];
	MeterState	state;

	meter_states_attrs(carried, attrs, ndimensions);
	meter_changed_from_array(carried->changed, changed, ndimensions + 2);
	state.open = carried->open;
	state.ended = carried->ended;
	state.since = carried->since;
	state.alive = carried->alive;
	state.absent = carried->absent;
	state.started = carried->started;
	state.source = carried->source;
	state.holder = carried->holder;
	state.attrs = attrs;
	state.changed = changed;
	state.sign = carried->sign;
	state.gaps = carried->gaps;
	state.billed = meter_billed_from_array(carried->billed, billed,
										   ndimensions + 2);
	carry(walk, &state);
	walk->last = carried->last_time;
}

/* Begin a resource. */
static void
begin(MeterFold *fold)
{
	EventFold  *walk = fold->walk;
	int			ndimensions = fold->definition->ndimensions;

	memset(walk, 0, sizeof(*walk));
	walk->straddling = fold->scope.straddling;
	meter_events_init(&walk->collected.events, ndimensions + 1);
	walk->collected.events.rules = fold->spec->rules;
	walk->collected.events.names_end = fold->scope.to;
	if (walk->straddling)
	{
		meter_events_init(&walk->before.events, ndimensions + 1);
		walk->before.events.rules = fold->spec->rules;
	}
	walk->named = walk->earliest = walk->reach = DT_NOEND;
	walk->straddles = walk->last = walk->kept_time = DT_NOBEGIN;
	if (fold->carried && fold->state->exists)
	{
		carry_state(fold, fold->state);
		walk->kept_time = fold->state->kept_time;
		walk->kept_rows = fold->state->kept_rows;
	}
}

/*
 * Begin a resource that is asked for from an instant on, with a state of before
 * if one was found; what was at the retention boundary then does not count.
 */
static void
ask(MeterFold *fold, TimestampTz from, const MeterResource *resource)
{
	EventFold  *walk = fold->walk;
	const MeterCarried *state = fold->state;

	walk->asked = true;
	walk->first = from;
	if (fold->kept == NULL || TIMESTAMP_IS_NOBEGIN(resource->begin))
		return;
	meter_fold_pause();
	if (resource->kept)
		state = meter_kept_states_find(fold->kept, fold->hash, fold->resource,
									   resource->begin);
	meter_fold_go_on();
	if (!state->exists)
		elog(ERROR, "the state of resource \"%.*s\" was not kept",
			 fold->resource.len, fold->resource.data);
	carry_state(fold, state);
	walk->begun = walk->began = true;
	walk->kept_time = resource->kept ? state->at : state->kept_time;
	walk->kept_rows = resource->kept ? 0 : state->kept_rows;
	/* it has a name, and no observation reaches behind that */
	walk->named = DT_NOBEGIN;
	walk->earliest = resource->begin;
}

/* Note what the time depends on from which a resource is affected. */
static void
note_times(EventFold *walk, MeterRowKind kind, TimestampTz time,
		   const Jsonb *said, MeterAttr account, TimestampTz to)
{
	int64		since = METER_END;
	TimestampTz reach;

	/* one names somebody only where it does not agree, which is not known yet */
	if (account.len > 0 && kind != METER_ROW_LOGGED_PRESENT &&
		kind != METER_ROW_LOGGED_ABSENT)
		walk->named = Min(walk->named, time);
	if (said != NULL &&
		!meter_observation_instant_of((Jsonb *) said, "since", &since))
		since = METER_END;
	walk->earliest = Min(walk->earliest, Min(time, since));
	if (kind != METER_ROW_LOGGED_PRESENT && kind != METER_ROW_LOGGED_ABSENT)
		return;
	reach = meter_observation_reach((Jsonb *) said, time,
									kind == METER_ROW_LOGGED_ABSENT);
	if (time >= walk->first)
		walk->reach = Min(walk->reach, reach);
	if (time >= to && reach < to)
		walk->straddles = Max(walk->straddles, time);
}

/* Return the beginning of the period that holds an instant, if it is finite. */
static TimestampTz
period_begin(MeterFold *fold, TimestampTz at)
{
	return TIMESTAMP_NOT_FINITE(at) ? at :
		meter_grid_period_begin(&fold->spec->grid, at);
}

/*
 * Return from which period on usage may change, as far as is known when all
 * rows before `seen` are.  A row at or before the first that names an account
 * may be why that is the first: then all of the resource is affected.  A row
 * before an observation may change what that makes of all it reaches back to.
 */
static TimestampTz
affected_from(MeterFold *fold, TimestampTz seen)
{
	EventFold  *walk = fold->walk;
	TimestampTz begin = Max(period_begin(fold, walk->first), fold->from);

	/* a name that is still to come may be too late for that, or not */
	if (begin <= walk->named || walk->named > seen)
		begin = Min(begin, period_begin(fold, walk->earliest));
	else if (!TIMESTAMP_IS_NOEND(walk->reach))
		begin = Min(begin, period_begin(fold, Max(walk->reach, walk->earliest)));
	return Max(begin, fold->from);
}

/* Begin to give out the usage of the resource. */
static void
begin_usage(MeterFold *fold, TimestampTz seen, MeterTimeline *timeline)
{
	EventFold  *walk = fold->walk;
	TimestampTz from = fold->from;

	if (walk->asked)
	{
		MeterResource *walked = meter_resources_add(fold->walked,
													fold->resource);

		from = walked->from = affected_from(fold, seen);
		walked->to = fold->to;
	}
	if (timeline != NULL)
		meter_usage_begin(&walk->rows, fold->spec, timeline, from,
						  Max(from, fold->to));
	else
		meter_usage_walk(&walk->rows, fold->spec, &walk->collected, from,
						 Max(from, fold->to));
	walk->walking = true;
}

/* Give out the usage that is known. */
static void
give_out(MeterFold *fold)
{
	EventFold  *walk = fold->walk;
	MemoryContext before = MemoryContextSwitchTo(fold->row_context);
	MeterUsageRow usage;

	while (meter_usage_next(&walk->rows, &usage))
	{
		meter_fold_emit(fold, &usage);
		MemoryContextReset(fold->row_context);
	}
	MemoryContextSwitchTo(before);
}

/*
 * Walk what has been collected of the resource: all that is left, or a piece
 * that is full, so that memory is bounded.
 */
static void
walk_piece(MeterFold *fold, TimestampTz seen, bool last)
{
	EventFold  *walk = fold->walk;

	if (!walk->walking)
		begin_usage(fold, seen, NULL);
	meter_usage_advance(&walk->rows, last);
	give_out(fold);
}

/* Tell whether somebody looks at the resource as a whole. */
static bool
is_whole(const MeterFold *fold)
{
	return fold->look != NULL && fold->look->timeline != NULL;
}

/* Take the state at the retention boundary. */
static void
take_carried(MeterFold *fold, MeterRowKind kind, TimestampTz time,
			 const TupleTableSlot *slot, MeterAttr source, MeterAttr *attrs)
{
	EventFold  *walk = fold->walk;
	int			ndimensions = fold->definition->ndimensions;
	MeterAttr	billed[METER_MAX_DIMENSIONS + 2];
	int64		changed[METER_MAX_DIMENSIONS + 2];
	MeterState	state;

	if (walk->begun)
		return;
	if (!slot->tts_isnull[METER_FOLD_TIME])
		note_times(walk, kind, time, NULL, attrs[0], fold->scope.settled_to);
	meter_changed_from_array(slot->tts_isnull[METER_FOLD_CHANGED] ? (Datum) 0 :
							 slot->tts_values[METER_FOLD_CHANGED], changed,
							 ndimensions + 2);
	state.open = kind == METER_ROW_CARRIED_OPEN;
	state.ended = DatumGetBool(slot->tts_values[METER_FOLD_ENDED]);
	state.since = time;
	state.alive = meter_fold_instant(slot, METER_FOLD_ALIVE, time);
	state.absent = meter_fold_instant(slot, METER_FOLD_ABSENT, METER_BEGIN);
	state.started = meter_fold_instant(slot, METER_FOLD_STARTED, METER_BEGIN);
	state.source = source;
	state.holder = meter_fold_text(slot, METER_FOLD_HOLDER);
	state.attrs = attrs;
	state.changed = changed;
	state.sign = meter_fold_instant(slot, METER_FOLD_SIGN, METER_BEGIN);
	state.gaps = slot->tts_isnull[METER_FOLD_GAPS] ? 0 :
		DatumGetInt64(slot->tts_values[METER_FOLD_GAPS]);
	state.billed = meter_billed_from_array(slot->tts_isnull[METER_FOLD_BILLED] ? (Datum) 0 :
										   slot->tts_values[METER_FOLD_BILLED],
										   billed, ndimensions + 2);
	carry(walk, &state);
}

/*
 * Keep the state of the resource just before an event, if it is the first of
 * its period, and comes late enough after what was kept before.
 */
static void
keep(MeterFold *fold, TimestampTz time)
{
	EventFold  *walk = fold->walk;
	const MeterState *state = &walk->collected.state;
	TimestampTz at;

	if (walk->kept_rows == 0 || time >= fold->scope.settled_to ||
		!meter_kept_states_due(time - walk->kept_time, walk->kept_rows))
		return;
	at = meter_grid_period_begin(&fold->spec->grid, time);
	if (at <= walk->last || at < fold->keep_from || walk->straddling ||
		walk->collected.events.nobservations > 0)
		return;
	if (walk->collected.events.nevents > 0)
		walk_piece(fold, time, false);
	if (walk->walking)
		state = &walk->rows.pieces.walk.state;
	if (MeterAttrIsNull(state->attrs[0]))
		return;
	meter_fold_pause();
	meter_kept_states_add(fold->kept, fold->hash, fold->resource, at, state,
						  fold->definition->ndimensions, walk->last);
	meter_fold_go_on();
	walk->kept_time = at;
	walk->kept_rows = 0;
}

/*
 * Make room for an event: walk those before, if they are a piece, or if the
 * state before it is to be kept.
 */
static void
make_room(MeterFold *fold, TimestampTz time)
{
	EventFold  *walk = fold->walk;

	if (!walk->any_events)
	{
		walk->any_events = true;
		/* all observations are known now */
		walk->straddling &= !TIMESTAMP_IS_NOBEGIN(walk->straddles);
	}
	if (fold->kept != NULL)
		keep(fold, time);
	if (!walk->straddling && !is_whole(fold) &&
		meter_piece_full(&walk->collected.events, time))
		walk_piece(fold, time, false);
}

/* Take an event or an observation. */
static void
take_row(MeterFold *fold, MeterRowKind kind, TimestampTz time,
		 const int64 *sequence, MeterAttr source, const Jsonb *said,
		 const MeterAttr *attrs)
{
	EventFold  *walk = fold->walk;

	walk->any_rows = true;
	walk->any_counted |= kind != METER_ROW_OWNER &&
		kind != METER_ROW_OBSERVED_OWNER;
	fold->observed |= kind == METER_ROW_LOGGED_PRESENT ||
		kind == METER_ROW_LOGGED_ABSENT;
	note_times(walk, kind, time, said, attrs[0], fold->scope.settled_to);
	if (MeterAttrIsNull(source))
		source = meter_attr("", 0);
	(void) meter_collect_row(&walk->collected, kind, time, sequence, source,
							 said, attrs);
	if (time >= fold->scope.settled_to)
		return;
	walk->began = true;
	walk->last = TIMESTAMP_IS_NOEND(walk->last) ? time : Max(walk->last, time);
	if (TIMESTAMP_IS_NOBEGIN(walk->kept_time))
		walk->kept_time = time;
	walk->kept_rows = Min(walk->kept_rows, PG_INT32_MAX - 1) + 1;
	if (walk->straddling)
		(void) meter_collect_row(&walk->before, kind, time, sequence, source,
								 said, attrs);
}

/* Take a row of the resource. */
static void
row(MeterFold *fold, const TupleTableSlot *slot)
{
	MeterRowKind kind = (MeterRowKind) DatumGetChar(slot->tts_values[METER_FOLD_KIND]);
	TimestampTz time = meter_fold_instant(slot, METER_FOLD_TIME, 0);
	MeterAttr	attrs[METER_MAX_DIMENSIONS + 2];
	int			ndimensions = fold->definition->ndimensions;
	MemoryContext before;
	MeterAttr	source;
	const Jsonb *said = NULL;
	int64		sequence = 0;
	bool		only_names = kind == METER_ROW_OWNER ||
	kind == METER_ROW_OBSERVED_OWNER;
	int			i;

	if (kind == METER_ROW_ASKED)
	{
		ask(fold, time,
			&fold->asked->list[DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL])]);
		return;
	}
	meter_fold_look(fold, kind, time, slot);
	if (fold->look != NULL && fold->look->timeline == NULL)
		return;					/* nothing else is asked for */

	if (meter_fold_class(fold, kind) == METER_FOLD_HAPPENED)
		make_room(fold, time);
	MemoryContextReset(fold->row_context);
	before = MemoryContextSwitchTo(fold->row_context);
	source = meter_fold_text(slot, METER_FOLD_SOURCE);
	attrs[0] = meter_fold_text(slot, METER_FOLD_ACCOUNT);
	for (i = 0; i < ndimensions; i++)
		attrs[i + 1] = only_names ? METER_NULL_ATTR :
			meter_fold_text(slot, fold->first_dimension + i);
	attrs[ndimensions + 1] = only_names || slot->tts_isnull[METER_FOLD_VALUE] ?
		METER_NULL_ATTR :
		meter_attr_from_numeric(DatumGetNumeric(slot->tts_values[METER_FOLD_VALUE]));
	if (!slot->tts_isnull[METER_FOLD_SAID])
		said = DatumGetJsonbP(slot->tts_values[METER_FOLD_SAID]);
	if (!slot->tts_isnull[METER_FOLD_SEQUENCE])
		sequence = DatumGetInt64(slot->tts_values[METER_FOLD_SEQUENCE]);
	MemoryContextSwitchTo(before);

	if (kind == METER_ROW_CARRIED_OPEN || kind == METER_ROW_CARRIED_CLOSED)
		take_carried(fold, kind, time, slot, source, attrs);
	else
		take_row(fold, kind, time,
				 slot->tts_isnull[METER_FOLD_SEQUENCE] ? NULL : &sequence,
				 source, said, attrs);
}

/*
 * Tell whether a resource to which nothing happened falls silent before the end
 * of what is asked for.
 */
static bool
falls_silent(const MeterFold *fold)
{
	int64		liveness = fold->definition->liveness;

	return liveness > 0 && fold->state->active &&
		meter_lasts_until(fold->state->sign, liveness) <= fold->to;
}

/*
 * Give out the usage of a resource to which nothing happened: if it is billed
 * on, each period is whole.
 */
static void
undisturbed(MeterFold *fold)
{
	EventFold  *walk = fold->walk;
	const MeterState *state = &walk->collected.state;
	MeterUsageSpec *spec = fold->spec;
	MeterUsageRow usage;
	TimestampTz at;

	if (!fold->state->exists || !fold->state->active ||
		fold->definition->aggregate == METER_RUNS)
		return;
	usage.account = MeterAttrIsNull(state->attrs[0]) ? meter_attr("", 0) :
		state->attrs[0];
	usage.attrs = state->attrs + 1;
	usage.dimensions = meter_usage_dimensions(spec, usage.attrs);
	for (at = fold->from; at < fold->to;
		 at = meter_grid_period_end(&spec->grid, at))
	{
		TimestampTz end = Min(meter_grid_period_end(&spec->grid, at), fold->to);

		CHECK_FOR_INTERRUPTS();
		usage.period_start = meter_grid_period_begin(&spec->grid, at);
		usage.quantity = meter_usage_whole(spec, end - at, fold->state->value);
		/* a quantity of 0 makes no row */
		if (usage.quantity == NULL ||
			(fold->definition->aggregate == METER_WEIGHTED &&
			 meter_numeric_is_zero(usage.quantity)))
			continue;
		meter_fold_emit(fold, &usage);
	}
}

/* Note whose the resource is, and who was billed for it last. */
static void
note_accounts(MeterFold *fold, const MeterState *state)
{
	meter_accounts_note(fold->accounts, fold->state, fold->hash,
						state->attrs[0]);
	if (state->billed != NULL)
		meter_accounts_note(fold->accounts, fold->state, fold->hash,
							state->billed[0]);
}

/* Write the state in which the resource is at the end of what is settled. */
static void
put_state(MeterFold *fold, const MeterTimeline *timeline)
{
	EventFold  *walk = fold->walk;
	MeterStateTimes times = {fold->scope.settled_to, walk->last, DT_NOEND,
	walk->straddles, walk->kept_time, walk->kept_rows, false, 0};
	bool		began = true;

	if (walk->straddling)
		timeline = meter_collected_pair(&walk->before);
	/* that nobody owns what is not known says nothing */
	if (!walk->any_counted && !fold->state->exists &&
		MeterAttrIsNull(timeline->state.attrs[0]))
		return;
	/* an observation to come may have found that it ran before */
	if (fold->scope.straddling)
		began = walk->began || !TIMESTAMP_IS_NOBEGIN(walk->straddles);
	/* at a retention boundary nothing is billed */
	if (began && walk->any_counted &&
		!TIMESTAMP_IS_NOEND(fold->scope.settled_to))
		times.unnamed_since = fold->carried ? fold->from :
			period_begin(fold, walk->earliest);
	if (TIMESTAMP_IS_NOBEGIN(walk->last) ||
		!TIMESTAMP_IS_NOBEGIN(walk->straddles))
		times.last_time = DT_NOEND;
	times.unnamed = MeterAttrIsNull(timeline->state.attrs[0]);
	meter_fold_pause();
	if (fold->writes_states)
		meter_states_put(fold->states, fold->state, fold->hash, fold->resource,
						 &timeline->state, fold->definition->ndimensions,
						 &times);
	if (fold->accounts != NULL)
		note_accounts(fold, &timeline->state);
	if (fold->named != NULL && fold->state->exists &&
		MeterAttrIsNull(fold->state->account) &&
		fold->state->unnamed_since < fold->from &&
		!MeterAttrIsNull(timeline->state.attrs[0]))
		meter_resources_add(fold->named, fold->resource)->from =
			fold->state->unnamed_since;
}

/*
 * Have all of a resource walked, if a run begins so far before the carried state
 * that it does not tell what ends the run.  Where nothing is written, what was
 * given out is dropped.
 */
static void
look_behind(MeterFold *fold)
{
	const EventFold *walk = fold->walk;

	if (!walk->collected.events.behind || !fold->carried ||
		fold->behind == NULL)
		return;
	meter_fold_pause();
	meter_resources_add(fold->behind, fold->resource)->from = DT_NOBEGIN;
	if (!fold->writes_states)
		meter_fold_drop(fold);
	meter_fold_go_on();
}

/* Give out the usage of the resource, and write its state. */
static void
end(MeterFold *fold)
{
	EventFold  *walk = fold->walk;
	MeterTimeline *timeline;

	if (fold->look != NULL && fold->look->end != NULL)
	{
		meter_fold_pause();
		fold->look->end(fold);
		meter_fold_go_on();
	}
	if (fold->look != NULL && fold->look->timeline == NULL)
		return;
	if (!walk->any_rows && !walk->asked && !walk->collected.carried)
	{
		/* a state of which the log has nothing any more */
		if (fold->writes_states && !fold->carried)
			meter_states_forget(fold->states, fold->state);
		return;
	}
	if (!walk->any_rows && fold->carried && !walk->asked &&
		!falls_silent(fold))
	{
		undisturbed(fold);
		return;
	}
	if (is_whole(fold))
	{
		timeline = meter_collected_pair(&walk->collected);
		begin_usage(fold, DT_NOEND, timeline);
		give_out(fold);
		meter_fold_pause();
		fold->look->timeline(fold, &walk->collected, timeline);
		meter_fold_go_on();
	}
	else
	{
		walk_piece(fold, DT_NOEND, true);
		timeline = (MeterTimeline *) walk->rows.timeline;
	}
	if (fold->states != NULL)
		put_state(fold, timeline);
	look_behind(fold);
}

/* End the pass: what observations say is part of snapshots. */
static void
finish(MeterFold *fold)
{
	/* while a snapshot is reconciled, it is not there yet */
	if (fold->observed && fold->more_rows == NULL)
		meter_check_observed(fold->definition, &fold->scope);
}

const MeterUsage meter_usage_of_events = {
	.log = METER_LOG_EVENT,
	.runs_on = true,
	.earliest = meter_earliest_event,
	.append_event_filter = meter_append_bearing_filter,
	.bound = meter_bound_events,
	.scan = scan,
	.begin = begin,
	.row = row,
	.end = end,
	.finish = finish
};
