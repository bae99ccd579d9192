/*
 * event_timeline.c
 *	  The aggregate meter.timeline(event, starts, stops).
 *
 * It collects what its namesake over columns does (timeline_agg.c): the offering
 * is the label.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/record.h"
#include "types/record.h"
#include "types/timeline_agg.h"

PG_FUNCTION_INFO_V1(meter_events_accum_event);

/* A list of actions as the last call had it, and what is in it. */
typedef struct ActionList
{
	bool		known;
	struct varlena *array;		/* NULL: there is none */
	int			n;
	MeterAttr  *actions;		/* UTF-8 */
} ActionList;

typedef struct ActionLists
{
	ActionList	starts;
	ActionList	stops;
} ActionLists;

/* Tell whether an action is in a list. */
static bool
has_action(const ActionList *list, MeterAttr action)
{
	int			i;

	for (i = 0; i < list->n; i++)
	{
		if (meter_attr_equal(list->actions[i], action))
			return true;
	}
	return false;
}

/*
 * Make the list be what argument n says; returns true if it was not.  What is
 * kept lives as long as the function's FmgrInfo.
 */
static bool
load_list(FunctionCallInfo fcinfo, int n, ActionList *list)
{
	struct varlena *array = PG_ARGISNULL(n) ? NULL :
	(struct varlena *) PG_GETARG_ARRAYTYPE_P(n);
	MemoryContext oldcontext;
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			i;

	if (list->known && (array == NULL || list->array == NULL ?
						array == list->array :
						VARSIZE(array) == VARSIZE(list->array) &&
						memcmp(array, list->array, VARSIZE(array)) == 0))
		return false;

	if (list->array != NULL)
	{
		pfree(list->array);
		pfree(list->actions);
	}
	list->known = false;
	list->n = 0;
	list->array = NULL;
	if (array != NULL)
	{
		oldcontext = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		list->array = palloc(VARSIZE(array));
		memcpy(list->array, array, VARSIZE(array));
		deconstruct_array((ArrayType *) list->array, TEXTOID, -1, false,
						  TYPALIGN_INT, &elements, &nulls, &count);
		list->actions = palloc(Max(count, 1) * sizeof(MeterAttr));
		for (i = 0; i < count; i++)
		{
			struct varlena *action = (struct varlena *) DatumGetPointer(elements[i]);

			if (!nulls[i])
				list->actions[list->n++] =
					meter_record_from_server(VARDATA_ANY(action),
											 VARSIZE_ANY_EXHDR(action));
		}
		MemoryContextSwitchTo(oldcontext);
	}
	list->known = true;
	return true;
}

/* Return the lists in arguments 2 and 3. */
static const ActionLists *
get_lists(FunctionCallInfo fcinfo)
{
	ActionLists *lists = fcinfo->flinfo->fn_extra;
	bool		changed;
	int			i;

	if (lists == NULL)
	{
		lists = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									   sizeof(ActionLists));
		fcinfo->flinfo->fn_extra = lists;
	}
	changed = load_list(fcinfo, 2, &lists->starts);
	changed |= load_list(fcinfo, 3, &lists->stops);
	for (i = 0; changed && i < lists->stops.n; i++)
	{
		MeterAttr	action = lists->stops.actions[i];

		if (!has_action(&lists->starts, action))
			continue;
		lists->stops.known = false;
		action = meter_record_to_server(action);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("action \"%s\" is in both %s and %s",
						pnstrdup(action.data, action.len), "starts", "stops"),
				 errhint("An action starts, stops or changes.")));
	}
	return lists;
}

/*
 * Transition function of timeline(event, starts, stops).  An action in neither
 * list is a change.  A void does not count, since it is about another row
 * only.
 */
Datum
meter_events_accum_event(PG_FUNCTION_ARGS)
{
	MeterRecord event;
	const ActionLists *lists;
	MeterAttr	action;
	MeterAttr	attrs[2];
	MeterKind	kind = METER_CHANGE;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	meter_record_unpack(PG_GETARG_VARLENA_PP(1), &event);
	lists = get_lists(fcinfo);
	action = event.fields[METER_ACTION];
	if (has_action(&lists->starts, action))
		kind = METER_START;
	else if (has_action(&lists->stops, action))
		kind = METER_STOP;
	else if (action.len == 4 && memcmp(action.data, "void", 4) == 0)
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	attrs[0] = meter_record_to_server(event.fields[METER_OFFERING]);
	attrs[1] = event.fields[METER_VALUE];
	return meter_events_collect(fcinfo, kind, event.time, attrs);
}
