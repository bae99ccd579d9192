/*
 * settle.c
 *	  Settling, and computing anew what is settled.
 *
 * Settling starts from the states at the watermark and the rows since;
 * computing anew starts from all rows of a resource, or of all.  Both are a
 * pass of the fold that writes: expected usage where the ledger can have
 * nothing, and elsewhere its difference to the ledger.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/account_resources.h"
#include "engine/duplicate_keys.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/kept_states.h"
#include "engine/ledger.h"
#include "engine/losses.h"
#include "engine/places.h"
#include "engine/readings.h"
#include "engine/resources.h"
#include "engine/scatter.h"
#include "engine/settle.h"
#include "engine/state_counts.h"
#include "engine/states.h"
#include "engine/step_state.h"
#include "engine/usage_kind.h"
#include "pg/now.h"
#include "pg/spi.h"

/* Begin a pass that writes, and with `states` the states, too. */
static MeterFold *
begin(const MeterDefinition *definition, MeterProgress *progress,
	  TimestampTz from, TimestampTz to, MeterLedgerUse use, bool states)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);
	MemoryContext before = MemoryContextSwitchTo(fold->context);
	bool		one_period = !TIMESTAMP_NOT_FINITE(from) &&
	meter_grid_period_end(definition->grid, from) >= to;

	fold->own_snapshot = true;
	fold->failure = METER_FOLD_SETS_ASIDE;
	fold->from = from;
	fold->to = to;
	fold->scope.late_from = meter_late_from(definition, progress);
	fold->ledger = meter_ledger_begin(definition, fold->spec, use,
									  progress->settlement + 1, one_period);
	fold->accounts = meter_accounts_begin(definition);
	if (states)
	{
		fold->states = meter_states_begin(definition, "_resource_state", true);
		fold->writes_states = true;
		fold->counts = &progress->carried;
		if (fold->usage->log == METER_LOG_EVENT)
		{
			fold->kept = meter_kept_states_begin(definition, true);
			fold->keep_from = meter_keep_from(definition, to);
		}
	}
	MemoryContextSwitchTo(before);
	return fold;
}

/* Make the pass.  Returns how many usage rows it wrote. */
static int64
run(MeterFold *fold, MeterProgress *progress)
{
	MeterFoldCount *count = meter_fold_count();
	int64		began;
	int64		rows;

	meter_fold_run(fold);
	began = meter_fold_clock();
	rows = meter_ledger_end(fold->ledger, &count->usage_bytes,
							&progress->written);
	count->usage_rows += rows;
	meter_accounts_end(fold->accounts);
	if (fold->states != NULL)
	{
		fold->counts->running += meter_states_more(fold->states)->running;
		fold->counts->all += meter_states_more(fold->states)->all;
		count->states_written += meter_states_end(fold->states);
	}
	if (fold->kept != NULL)
		count->states_written += meter_states_end(fold->kept);
	count->write_time += meter_fold_clock() - began;
	meter_fold_end(fold);
	return rows;
}

/*
 * Compute resources anew, with `states` from where they begin, else from all
 * their rows, and write how usage up to `settled_to` differs from the ledger.
 * Rows before `horizon` say who owns what.  Of each log, `places` says where the
 * rows of the resources are, or NULL.  What the ledger has of them from
 * `settled_to` on, up to `ledger_to`, is taken back.  Returns the number of
 * adjustments.
 */
static int64
recompute(const MeterDefinition *definition, MeterProgress *progress,
		  MeterResources *affected, const MeterPlaces *places,
		  TimestampTz settled_to, TimestampTz horizon, TimestampTz ledger_to,
		  bool states)
{
	MeterFold  *fold;
	MemoryContext before;
	int64		i;

	if (affected->count == 0)
		return 0;
	if (states && meter_usage_of(definition)->log == METER_LOG_EVENT)
		meter_begin_at_kept(definition, progress, affected);
	fold = begin(definition, progress, meter_usage_from(definition),
				 settled_to, METER_LEDGER_CORRECT, states);
	before = MemoryContextSwitchTo(fold->context);
	fold->asked = affected;
	fold->ledger_to = ledger_to;
	fold->scope.to = horizon;
	fold->scope.settled_to = settled_to;
	fold->scope.resources = meter_resources_names(affected);
	if (places != NULL)
	{
		fold->scope.places = places[METER_LOG_EVENT];
		fold->measure_places = places[METER_LOG_MEASURE];
	}
	else
		meter_fold_find_places(fold);
	if (fold->kept != NULL)
	{
		fold->scope.begins = meter_resources_begins(affected);
		fold->scope.least_begin = DT_NOEND;
		for (i = 0; i < affected->count; i++)
			fold->scope.least_begin = Min(fold->scope.least_begin,
										  affected->list[i].begin);
	}
	MemoryContextSwitchTo(before);
	return run(fold, progress);
}

/*
 * Compute the resources of a query anew: resource, and from when to when its
 * usage may change; then from when on its owners may have, and what is known of
 * it.  Of each log, `places` says where their rows are, or NULL.  Returns the
 * number of adjustments.
 */
int64
meter_recompute(const MeterDefinition *definition,
				MeterProgress *progress, const char *affected,
				const MeterPlaces *places)
{
	return recompute(definition, progress,
					 meter_resources_from_query(affected), places,
					 progress->watermark, progress->watermark, DT_NOBEGIN,
					 true);
}

/*
 * The same of resources that were set aside.  The watermark may have been taken
 * back meanwhile, and what the ledger has of them since then was left as it is.
 */
int64
meter_recompute_aside(const MeterDefinition *definition,
					  MeterProgress *progress, const char *affected)
{
	if (definition->shards > 0)
	{
		int64		asks[METER_NASKS] = {0};
		int64		tells[METER_NTELLS];

		/* of the resources of others, a shard finds nothing */
		meter_scatter_said(definition, progress, METER_SHARD_ASIDE, affected,
						   asks, tells);
		return tells[METER_TELL_ADJUSTMENTS];
	}
	return recompute(definition, progress,
					 meter_resources_from_query(affected), NULL,
					 progress->watermark, progress->watermark,
					 meter_later_by(progress->ledger_until, 1), true);
}

/*
 * Compute all resources anew, and write how usage in [from, to) differs from
 * the ledger; what that has from `to` on, up to `ledger_to`, is taken back.  Late
 * rows do not count before a step decides which are held.  Returns the number
 * of adjustments.
 */
int64
meter_settle_anew(const MeterDefinition *definition,
				  MeterProgress *progress, TimestampTz from,
				  TimestampTz to, TimestampTz ledger_to)
{
	/* those of measures are known only from all of them */
	bool		states;
	MeterFold  *fold;
	int64		rows;

	if (definition->shards > 0)
		return meter_scatter_span(definition, progress, METER_SHARD_ANEW, from,
								  to, ledger_to, false, NULL);
	states = meter_usage_of(definition)->log == METER_LOG_EVENT ||
		to == progress->watermark;
	fold = begin(definition, progress, from, to, METER_LEDGER_CORRECT, states);
	fold->scope.voids_from_log = true;
	if (states)
		meter_accounts_renew(fold->accounts);
	if (fold->writes_states && definition->aggregate == METER_COUNTER)
		meter_readings_restart(definition);
	if (fold->kept != NULL)
		meter_forget_kept(definition->stream, definition->name);
	fold->ledger_to = ledger_to;
	rows = run(fold, progress);
	if (states)
		meter_count_states(definition, &progress->carried);
	return rows;
}

/* Settle the periods from the watermark to `end` on each shard. */
static void
scatter_settle(const MeterDefinition *definition, MeterProgress *progress,
			   TimestampTz end, MeterStep *step)
{
	int64		usage_rows;

	step->adjustments += meter_scatter_span(definition, progress,
											METER_SHARD_SETTLE, 0, end, 0,
											false, &usage_rows);
	step->usage_rows += usage_rows;
	progress->watermark = end;
}

/*
 * Settle the periods from the watermark to `end`.  Where the account of a
 * resource is named for the first time in them, what was billed to nobody
 * before is that account's.  Where a run begins so far before the watermark that
 * its state does not tell what ends it, all of the resource is computed anew.
 */
void
meter_settle(const MeterDefinition *definition, MeterProgress *progress,
			 TimestampTz end, MeterStep *step)
{
	TimestampTz from = progress->watermark;
	MeterResources *named;
	MeterResources *behind;
	MeterFold  *fold;

	if (definition->shards > 0)
	{
		scatter_settle(definition, progress, end, step);
		return;
	}
	named = meter_resources_begin();
	behind = meter_resources_begin();
	/* from `ledger_until` on there is no difference to look for */
	fold = begin(definition, progress, from, end,
				 from > progress->ledger_until ?
				 METER_LEDGER_APPEND : METER_LEDGER_CORRECT,
				 true);

	if (meter_ledger_compares(fold->ledger))
		meter_refuse_empty_log(definition, progress);
	if (!fold->usage->runs_on)
		meter_check_any_states(definition, progress);
	fold->carried = true;
	fold->scope.from = from;
	fold->scope.to = end;
	fold->scope.settled_to = end;
	fold->scope.stored = true;
	fold->named = named;
	fold->behind = behind;
	step->usage_rows += run(fold, progress);
	step->adjustments += recompute(definition, progress, named, NULL, from, end,
								   DT_NOBEGIN, false);
	step->adjustments += recompute(definition, progress, behind, NULL, end, end,
								   DT_NOBEGIN, true);
	progress->watermark = end;
	meter_prune_duplicate_keys(definition, progress);
	meter_prune_kept(definition, from, end);
}
