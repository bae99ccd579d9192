/*
 * kept_states.c
 *	  Kept states: where computing a resource anew may begin.
 *
 * A late event changes its resource from its instant on, so what the resource
 * was at the begin of that period is enough to compute the rest.  That is its
 * carried state, if the last row in it is older than the period; or else the
 * latest kept state with that property.  While a resource is walked, its state
 * is kept before the first row of a period, meter.keep_interval after the
 * one before; those from before max_lateness are deleted, as what is older is
 * held.
 *
 * A state that is kept is of a resource that has a name (an earlier name would
 * be that of all before it), and was kept in a walk that saw no observation:
 * so none reaches back behind it but such as come later.  What comes later and
 * changes a resource from an instant on ends all of its kept states after it.
 *
 * Kept states are an optimization: without one, all of the resource is walked.
 * Verifying uses none, and so checks them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/kept_states.h"
#include "engine/late_rows.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

/* Without max_lateness, states are kept for so long. */
#define KEPT_FOR	(35 * USECS_PER_DAY)

/* Return from when on states are kept, with a watermark. */
TimestampTz
meter_keep_from(const MeterDefinition *definition, TimestampTz watermark)
{
	int64		back = definition->has_max_lateness ?
	definition->max_lateness : KEPT_FOR;

	return meter_later_by(meter_later_by(watermark, -back),
						  -meter_keep_interval * USECS_PER_MINUTE);
}

/*
 * Have a resource begin with what was known of it at the begin of the period
 * that holds an instant, or somewhat before.  Returns false if that is not
 * known.
 */
static bool
begin_at_kept(const MeterDefinition *definition, MeterStates *carried,
			  MeterStates *kept, MeterResource *resource, TimestampTz from)
{
	const MeterCarried *state;

	resource->begin = DT_NOBEGIN;
	resource->hash = meter_hash_resource(meter_attr_from_cstring(definition->stream),
										 meter_attr_from_cstring(definition->name),
										 resource->name);
	if (TIMESTAMP_NOT_FINITE(from))
		return false;
	from = meter_grid_period_begin(definition->grid, from);
	state = meter_states_find(carried, resource->hash, resource->name);
	if (!state->exists || MeterAttrIsNull(state->account))
		return false;
	resource->kept = state->last_time >= from;
	if (resource->kept)
	{
		state = meter_kept_states_find(kept, resource->hash, resource->name,
									   from);
		if (!state->exists)
			return false;
		from = Min(from, state->at);
	}
	if (from < definition->boundary)
		return false;
	resource->begin = from;
	return true;
}

/*
 * Have resources begin before the rows that arrived after the position and
 * count, too.
 */
static void
look_at_new_rows(const MeterDefinition *definition,
				 const MeterProgress *progress, MeterStates *carried,
				 MeterStates *kept, MeterResources *affected)
{
	MeterResources *new_rows;
	int64		i;

	new_rows = meter_resources_from_query(psprintf("SELECT e.resource, min(" METER_REACHES("e") ") FROM %s GROUP BY 1",
												   meter_late_rows(definition, progress, -1)));
	for (i = 0; i < new_rows->count; i++)
	{
		MeterResource *resource = meter_resources_search(affected,
														 new_rows->list[i].name);

		CHECK_FOR_INTERRUPTS();
		if (resource != NULL && new_rows->list[i].from < resource->begin)
			(void) begin_at_kept(definition, carried, kept, resource,
								 new_rows->list[i].from);
	}
}

/*
 * Have the resources of a list, each affected from an instant on, begin with
 * what was known of them before, where something is; and forget what was known
 * of them later.
 */
void
meter_begin_at_kept(const MeterDefinition *definition,
					const MeterProgress *progress, MeterResources *affected)
{
	MeterStates *carried;
	MeterStates *kept;
	bool		any = false;
	int64		i;

	/* not what the caller's query sees: a step may have been waited for since */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	carried = meter_states_begin(definition, "_resource_state", false);
	kept = meter_kept_states_begin(definition, false);
	for (i = 0; i < affected->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		any |= begin_at_kept(definition, carried, kept, &affected->list[i],
							 Min(affected->list[i].from,
								 affected->list[i].known_from));
	}
	if (any)
		look_at_new_rows(definition, progress, carried, kept, affected);
	for (i = 0; i < affected->count; i++)
	{
		MeterResource *resource = &affected->list[i];

		CHECK_FOR_INTERRUPTS();
		meter_kept_states_forget(kept, resource->hash, resource->name,
								 resource->begin);
	}
	(void) meter_states_end(carried);
	(void) meter_states_end(kept);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* Forget all kept states of a meter. */
void
meter_forget_kept(const char *stream, const char *meter)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(meter)};

	meter_execute_params(psprintf("DELETE FROM %s._kept_state WHERE meter = $1",
								  quote_identifier(stream)),
						 SPI_OK_DELETE, lengthof(types), types, values, NULL);
}

/*
 * Forget the kept states that no row can need that is not held, once a day of
 * the watermark.
 */
void
meter_prune_kept(const MeterDefinition *definition, TimestampTz before,
				 TimestampTz watermark)
{
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(definition->name),
	TimestampTzGetDatum(meter_keep_from(definition, watermark))};

	if (before / USECS_PER_DAY == watermark / USECS_PER_DAY)
		return;
	meter_execute_params(psprintf("DELETE FROM %s._kept_state WHERE meter = $1 AND at < $2",
								  quote_identifier(definition->stream)),
						 SPI_OK_DELETE, lengthof(types), types, values, NULL);
}
