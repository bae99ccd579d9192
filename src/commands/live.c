/*
 * live.c
 *	  Live usage: what is not settled yet, computed from the carried states and
 *	  the rows since, as a step would.  Nothing is written: on a standby, too.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/fold.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "engine/usage_kind.h"
#include "engine/views.h"
#include "pg/arguments.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"

/* Find up to when a meter has live usage.  Returns false if it has none. */
static bool
find_end(const MeterDefinition *definition, const MeterProgress *progress,
		 TimestampTz *end)
{
	TimestampTz clock;

	if (!progress->has_watermark)
		return false;
	*end = Min(meter_now(), definition->until);
	if (definition->clock == METER_CLOCK_EVENT)
	{
		if (!progress->has_event_clock)
			return false;
		*end = Min(*end, progress->event_clock);
	}
	else if (definition->clock == METER_CLOCK_SOURCE)
	{
		if (!meter_source_clock(definition->stream, true, &clock))
			return false;
		*end = Min(*end, clock);
	}
	return progress->watermark < *end;
}

/* Return a usage row. */
static void
return_row(MeterFold *fold, const MeterUsageRow *row)
{
	ReturnSetInfo *info = fold->emit_arg;
	Datum		values[6];
	bool		nulls[6] = {false, false, false, false, false, false};

	values[0] = CStringGetTextDatum(fold->definition->name);
	values[1] = meter_text_from_attr(row->account);
	values[2] = meter_text_from_attr(fold->resource);
	values[3] = row->dimensions;
	values[4] = TimestampTzGetDatum(row->period_start);
	values[5] = NumericGetDatum(row->quantity);
	tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
}

/*
 * Begin a pass over live usage up to `end`, from the states, or of resources of
 * which these do not tell enough.
 */
static MeterFold *
begin_pass(FunctionCallInfo fcinfo, const MeterDefinition *definition,
		   const MeterProgress *progress, TimestampTz end,
		   MeterResources *behind)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);

	fold->from = progress->watermark;
	fold->to = end;
	fold->scope.to = end;
	fold->scope.settled_to = DT_NOEND;
	fold->scope.late_from = meter_late_from(definition, progress);
	fold->emit = return_row;
	fold->emit_arg = fcinfo->resultinfo;
	if (behind != NULL)
	{
		fold->asked = behind;
		fold->scope.resources = meter_resources_names(behind);
		meter_fold_find_places(fold);
		return fold;
	}
	fold->carried = true;
	fold->scope.from = progress->watermark;
	fold->scope.stored = true;
	fold->states = meter_states_begin(definition, "_resource_state", false);
	fold->behind = meter_resources_begin();
	return fold;
}

/* Return the live usage of a meter. */
static void
return_live_usage(FunctionCallInfo fcinfo, const MeterDefinition *definition,
				  const MeterProgress *progress)
{
	MeterSession session;
	MeterResources *behind;
	MeterFold  *fold;
	TimestampTz end;

	if (!find_end(definition, progress, &end))
		return;
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	meter_session_bulk();
	fold = begin_pass(fcinfo, definition, progress, end, NULL);
	behind = fold->behind;
	meter_fold_run(fold);
	(void) meter_states_end(fold->states);
	meter_fold_end(fold);
	if (behind->count > 0)
	{
		fold = begin_pass(fcinfo, definition, progress, end, behind);
		meter_fold_run(fold);
		meter_fold_end(fold);
	}
	meter_session_end(&session);
}

/* Return the live usage of all meters of a stream. */
static void
return_all(void *arg)
{
	FunctionCallInfo fcinfo = arg;
	ListCell   *cell;

	foreach(cell, meter_list_meters(meter_text_arg(fcinfo, 0, "stream"), NULL,
									false))
	{
		MeterRef   *ref = lfirst(cell);
		MeterDefinition *definition = meter_load(ref->stream, ref->meter,
												 METER_LOCK_NONE);

		/* one zone that is gone must not hide the other meters */
		if (meter_calendar_has_rules(definition->calendar))
			return_live_usage(fcinfo, definition, meter_load_progress(definition));
		else
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("current usage of meter \"%s\" of stream \"%s\" is left out: time zone \"%s\" not recognized",
							ref->meter, ref->stream, definition->timezone)));
	}
}

PG_FUNCTION_INFO_V1(meter_live_usage);

/* live_usage(stream, key) */
Datum
meter_live_usage(PG_FUNCTION_ARGS)
{
	meter_check_may_read(meter_text_arg(fcinfo, 0, "stream"), "current_usage",
						 PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1));
	meter_return_begin(fcinfo);
	/* what the query sees, not what is there at this moment */
	meter_with_one_snapshot(return_all, fcinfo);
	return (Datum) 0;
}
