/*
 * measure_fold.c
 *	  Usage of measures, in the fold: those of each resource are cut into
 *	  periods and added up; events say who owns what was used.
 *
 * Of a resource, its carried state knows the owners just before the watermark,
 * and since when usage has been billed to nobody, if the owner is not known.
 * Counters carry readings, too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "engine/bound.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/measure_fold.h"
#include "engine/measure_owners.h"
#include "engine/measure_walk.h"
#include "engine/measures.h"
#include "engine/readings.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "engine/usage.h"
#include "engine/usage_rows.h"
#include "pg/spi.h"

/* What the walks of a pass share, and the resource at hand. */
typedef struct MeasureFold
{
	MeterMeasureWalk *walk;
	MeterReadings *readings;	/* of a counter, or NULL */
	MeterMeasureScope scope;
	MeterMeasureTrace trace;	/* or NULL */
	MeterMeasureIncrease increase;	/* or NULL */
	bool		begun;
	bool		asked;
	bool		partly;			/* not up to the end: later readings are the
								 * carried ones */
} MeasureFold;

/* Return what the walks of a pass share, which may be new. */
static MeasureFold *
shared(MeterFold *fold)
{
	if (fold->walk == NULL)
		fold->walk = MemoryContextAllocZero(fold->context,
											sizeof(MeasureFold));
	return fold->walk;
}

/*
 * Have the parts of measures told, with the fold as argument.  Before the pass
 * is run.
 */
void
meter_measure_fold_trace(MeterFold *fold, MeterMeasureTrace trace)
{
	shared(fold)->trace = trace;
}

/* The same for what readings of a counter add. */
void
meter_measure_fold_increases(MeterFold *fold, MeterMeasureIncrease increase)
{
	shared(fold)->increase = increase;
}

/* Hand usage on. */
static void
emit(void *arg, MeterAttr account, const MeterAttr *dimensions,
	 TimestampTz period_start, Numeric quantity)
{
	MeterFold  *fold = arg;
	MeterUsageRow row;

	row.account = account;
	row.attrs = dimensions;
	row.dimensions = meter_usage_dimensions(fold->spec, dimensions);
	row.period_start = period_start;
	row.quantity = quantity;
	meter_fold_emit(fold, &row);
}

/*
 * Have the resources that are asked for begin and end with the periods that may
 * change.
 */
static MeterResources *
affected_periods(MeterFold *fold, const char *owners, const Oid *types,
				 const Datum *values)
{
	MeterGrid  *grid = &fold->spec->grid;
	MeterResources *affected = meter_resources_begin();
	int64		i;

	for (i = 0; i < fold->asked->count; i++)
	{
		const MeterResource *asked = &fold->asked->list[i];

		*meter_resources_add(affected, asked->name) = *asked;
	}
	meter_look_back_to_owners(fold->definition, affected, &fold->measure_places,
							  fold->to, owners,
							  fold->scope.duplicates.count > 0, types, values);
	for (i = 0; i < affected->count; i++)
	{
		MeterResource *resource = &affected->list[i];

		if (!TIMESTAMP_NOT_FINITE(resource->from))
			resource->from = meter_grid_period_begin(grid, resource->from);
		resource->from = Max(resource->from, fold->from);
		/* what a reading of a counter adds depends on those around it */
		if (!TIMESTAMP_NOT_FINITE(resource->to) &&
			fold->definition->aggregate != METER_COUNTER)
			resource->to = meter_grid_period_end(grid, resource->to);
		resource->to = Min(resource->to, fold->to);
	}
	return affected;
}

/* Begin with the readings at the watermark, or at the retention boundary. */
static MeterReadings *
begin_readings(const MeterFold *fold)
{
	return meter_readings_begin(fold->definition,
								fold->carried ? "_counter_state" :
								TIMESTAMP_IS_NOBEGIN(fold->definition->boundary) ? NULL :
								"_retention_reading",
								!fold->writes_states ? NULL :
								fold->at_boundary ? "_retention_reading" :
								"_counter_state");
}

/* Scan the events that name owners, and the measures. */
static void
scan(MeterFold *fold)
{
	const MeterDefinition *definition = fold->definition;
	MeasureFold *measures = shared(fold);
	MeterMeasureScope *scope = &measures->scope;
	Oid			types[METER_MEASURE_NPARAMS];
	Datum		values[METER_MEASURE_NPARAMS];
	char	   *owners;

	measures->walk = meter_measure_walk_create(definition, emit, fold);
	fold->walk_context = meter_measure_walk_memory(measures->walk);
	if (measures->trace != NULL)
		meter_measure_walk_trace(measures->walk, measures->trace, fold);
	if (measures->increase != NULL)
		meter_measure_walk_increases(measures->walk, measures->increase, fold);
	if (definition->aggregate == METER_COUNTER)
		measures->readings = begin_readings(fold);

	fold->scope.owners = true;
	meter_find_duplicates(definition, fold->progress, &fold->scope);
	meter_scope_params(&fold->scope, types, values);
	owners = meter_events_query(definition, &fold->scope);
	meter_fold_scan(fold, owners, METER_SCOPE_NPARAMS, types, values,
					METER_FOLD_NEVENT);
	if (fold->asked != NULL)
		fold->walked = affected_periods(fold, owners, types, values);

	scope->from = fold->from;
	scope->to = fold->to;
	scope->resources = fold->asked != NULL ? fold->walked : fold->only;
	scope->places = fold->measure_places;
	scope->events = fold->scope.places;
	scope->carried = fold->carried;
	scope->late_from = fold->scope.late_from;
	scope->safe = fold->measures_safe;
	scope->voids_from_log = fold->scope.voids_from_log;
	scope->arrivals = fold->scope.arrivals;
	if (measures->readings != NULL && fold->asked != NULL)
		meter_bound_by_readings(definition, fold->progress, scope,
								meter_readings_writes(measures->readings));
	else
		meter_find_measure_duplicates(definition, fold->progress, scope);
	meter_measure_params(scope, types, values);
	meter_fold_scan(fold, meter_measures_query(definition, fold->progress, scope),
					METER_MEASURE_NPARAMS, types, values, METER_FOLD_NMEASURE);
	meter_forget_rows(&scope->duplicates);
	meter_forget_rows(&fold->scope.duplicates);
}

/* Begin to walk a resource, with what is carried of it. */
static void
begin_walk(MeterFold *fold, TimestampTz from, TimestampTz to)
{
	MeasureFold *measures = fold->walk;
	MeterReading reading;
	bool		found;

	measures->begun = true;
	meter_measure_walk_begin(measures->walk, fold->resource, from, to);
	if (fold->carried && fold->state->exists)
		meter_measure_walk_carry(measures->walk, fold->state->account,
								 fold->state->owners);
	if (measures->readings == NULL)
		return;
	meter_fold_pause();
	meter_readings_seek(measures->readings, fold->hash, fold->resource);
	for (;;)
	{
		meter_fold_pause();
		found = meter_readings_next(measures->readings, &reading);
		meter_fold_go_on();
		if (!found)
			break;
		meter_measure_walk_reading(measures->walk, reading.dimensions,
								   &reading.last);
	}
}

/* Begin a resource. */
static void
begin(MeterFold *fold)
{
	MeasureFold *measures = fold->walk;

	measures->begun = measures->asked = measures->partly = false;
}

/* Take a name that says who owns the resource. */
static void
take_name(MeterFold *fold, MeterRowKind kind, const TupleTableSlot *slot)
{
	MeasureFold *measures = fold->walk;
	MeterName	name;

	name.time = meter_fold_instant(slot, METER_FOLD_TIME, 0);
	name.sequenced = !slot->tts_isnull[METER_FOLD_SEQUENCE];
	name.sequence = !name.sequenced ? 0 :
		DatumGetInt64(slot->tts_values[METER_FOLD_SEQUENCE]);
	name.observed = kind == METER_ROW_OBSERVED_OWNER;
	name.source = meter_fold_text(slot, METER_FOLD_SOURCE);
	if (MeterAttrIsNull(name.source))
		name.source = meter_attr("", 0);
	name.entity = meter_fold_text(slot, METER_FOLD_ENTITY);
	name.name = meter_fold_text(slot, METER_FOLD_ACCOUNT);
	meter_fold_look(fold, kind, name.time, slot);
	meter_measure_walk_owner(measures->walk, &name);
}

/* Take a name, what is known at the retention boundary, or a measure. */
static void
take_row(MeterFold *fold, MeterRowKind kind, const TupleTableSlot *slot)
{
	MeasureFold *measures = fold->walk;
	MeterAttr	dimensions[METER_MAX_DIMENSIONS];
	TimestampTz start;
	bool		unique = fold->definition->aggregate == METER_UNIQUE;
	int			column = unique ? METER_FOLD_SOURCE : METER_FOLD_VALUE;
	int			i;

	if (kind == METER_ROW_CARRIED_CLOSED)
	{
		meter_measure_walk_carry(measures->walk,
								 meter_fold_text(slot, METER_FOLD_ACCOUNT),
								 slot->tts_isnull[METER_FOLD_SAID] ? (Datum) 0 :
								 slot->tts_values[METER_FOLD_SAID]);
		return;
	}
	if (kind != METER_ROW_MEASURE)
	{
		take_name(fold, kind, slot);
		return;
	}
	for (i = 0; i < fold->definition->ndimensions; i++)
		dimensions[i] = meter_fold_text(slot, fold->first_dimension + i);
	start = meter_fold_instant(slot, METER_FOLD_ABSENT, 0);
	meter_fold_look(fold, kind,
					meter_fold_instant(slot, METER_FOLD_TIME, 0), slot);
	meter_measure_walk_measure(measures->walk, start,
							   meter_fold_instant(slot, METER_FOLD_ALIVE, 0),
							   meter_fold_text(slot, METER_FOLD_ACCOUNT),
							   meter_fold_text(slot, METER_FOLD_ENTITY),
							   slot->tts_values[column],
							   slot->tts_isnull[column], dimensions,
							   slot->tts_isnull[METER_FOLD_ARRIVAL] ? 0 :
							   DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL]));
}

/* Take a row of the resource, which is unpacked where it is forgotten at once. */
static void
row(MeterFold *fold, const TupleTableSlot *slot)
{
	MeasureFold *measures = fold->walk;
	MeterRowKind kind = (MeterRowKind) DatumGetChar(slot->tts_values[METER_FOLD_KIND]);
	MemoryContext before;

	if (kind == METER_ROW_ASKED)
	{
		const MeterResource *resource =
		&fold->walked->list[DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL])];

		measures->asked = true;
		measures->partly = resource->to < fold->to;
		begin_walk(fold, resource->from, resource->to);
		return;
	}
	if (!measures->begun)
		begin_walk(fold, fold->from, fold->to);
	before = MemoryContextSwitchTo(fold->row_context);
	take_row(fold, kind, slot);
	MemoryContextSwitchTo(before);
	MemoryContextReset(fold->row_context);
}

/* Tell whether two jsonb are the same, or both 0. */
static bool
same_jsonb(Datum a, Datum b)
{
	if (a == (Datum) 0 || b == (Datum) 0)
		return a == b;
	return DatumGetBool(DirectFunctionCall2(jsonb_eq, a, b));
}

/*
 * Note that what was billed to nobody before is named now, if it is: then it is
 * computed anew.
 */
static void
note_named(MeterFold *fold, MeterOwners *owners)
{
	const MeterCarried *before = fold->state;
	MeterResource *named;

	if (fold->named == NULL || !before->exists ||
		before->unnamed_since >= fold->from)
		return;
	if (!meter_owners_has_named(owners) &&
		(!MeterAttrIsNull(before->account) ||
		 MeterAttrIsNull(meter_owners_account(owners))))
		return;
	named = meter_resources_add(fold->named, fold->resource);
	named->from = before->unnamed_since;
	named->to = fold->from;
}

/* Write the owners that are known at the end, if that is news. */
static void
put_owners(MeterFold *fold)
{
	MeasureFold *measures = fold->walk;
	MeterOwners *owners = meter_measure_walk_owners(measures->walk);
	const MeterCarried *before = fold->state;
	MeterAttr	attrs[2] = {meter_owners_account(owners), METER_NULL_ATTR};
	MeterState	state = {0};
	MeterStateTimes times = {DT_NOEND, DT_NOEND, DT_NOEND, DT_NOBEGIN, DT_NOBEGIN, 0, false, 0};
	bool		nothing;

	note_named(fold, owners);
	/* some of the time may not have been asked for */
	if (before->exists && (fold->carried || measures->asked) &&
		!TIMESTAMP_IS_NOEND(before->unnamed_since))
		meter_owners_still_unnamed(owners, before->account, before->owners);
	times.unnamed = meter_owners_unnamed(owners, &times.unnamed_since);
	times.owners = meter_owners_known(owners);
	nothing = MeterAttrIsNull(attrs[0]) && times.owners == (Datum) 0 &&
		!times.unnamed;
	if (nothing && !before->exists)
		return;
	/* the last name was taken back */
	if (nothing && !measures->asked)
	{
		meter_states_forget(fold->states, before);
		return;
	}
	if (before->exists && meter_attr_equal(before->account, attrs[0]) &&
		same_jsonb(before->owners, times.owners) &&
		(times.unnamed ? before->unnamed_since <= times.unnamed_since :
		 TIMESTAMP_IS_NOEND(before->unnamed_since)))
		return;
	if (fold->accounts != NULL)
	{
		meter_accounts_note(fold->accounts, before, fold->hash, attrs[0]);
		meter_accounts_note_known(fold->accounts, before, fold->hash,
								  times.owners);
	}
	state.absent = state.started = METER_BEGIN;
	state.holder = METER_NULL_ATTR;
	state.changed = NULL;
	state.source = METER_NULL_ATTR;
	state.attrs = attrs;
	meter_states_put(fold->states, before, fold->hash, fold->resource, &state,
					 0, &times);
}

/*
 * Write the readings that are the last; of a resource that is asked for up to
 * the end, all series that have a reading are known.
 */
static void
put_readings(MeterFold *fold)
{
	MeasureFold *measures = fold->walk;
	MeterMeasureReading reading;
	MeterReading before;

	if (measures->asked && !measures->partly)
	{
		meter_readings_seek_written(measures->readings, fold->hash,
									fold->resource);
		while (meter_readings_next_written(measures->readings, &before))
		{
			if (!meter_measure_walk_has_series(measures->walk,
											   before.dimensions))
				meter_readings_forget(measures->readings);
		}
	}

	while (meter_measure_walk_next_reading(measures->walk, &reading))
	{
		if (reading.walked || (measures->asked && !measures->partly))
			meter_readings_put(measures->readings, fold->hash, fold->resource,
							   reading.dimensions, &reading.last,
							   measures->partly);
	}
}

/* Give out what is left of a resource, and write what is known of it. */
static void
end(MeterFold *fold)
{
	MeasureFold *measures = fold->walk;

	if (!measures->begun)
	{
		/* neither a measure nor an event that names the owner is left */
		if (fold->writes_states && !fold->carried)
			meter_states_forget(fold->states, fold->state);
		return;
	}
	meter_measure_walk_end(measures->walk);
	if (!fold->writes_states)
		return;
	meter_fold_pause();
	put_owners(fold);
	if (measures->readings != NULL)
		put_readings(fold);
}

/* End the pass. */
static void
finish(MeterFold *fold)
{
	MeasureFold *measures = fold->walk;

	if (measures->readings != NULL)
	{
		if (fold->counts != NULL)
		{
			fold->counts->running += meter_readings_more(measures->readings);
			fold->counts->all += meter_readings_more(measures->readings);
		}
		meter_readings_end(measures->readings);
	}
	meter_measure_walk_destroy(measures->walk);
}

const MeterUsage meter_usage_of_measures = {
	.log = METER_LOG_MEASURE,
	.begins_late = true,
	.earliest = meter_earliest_measure,
	.append_event_filter = meter_append_owner_filter,
	.bound = meter_bound_measures,
	.scan = scan,
	.begin = begin,
	.row = row,
	.end = end,
	.finish = finish
};
