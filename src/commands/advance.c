/*
 * advance.c
 *	  meter.advance(): one bounded step of each meter asked for.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/forget.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "commands/advance.h"
#include "core/core.h"
#include "engine/step.h"
#include "engine/step_state.h"
#include "log/month.h"
#include "pg/meter_compat.h"

/*
 * Milliseconds that a step waits for a lock on a table, if no stream was named:
 * as long as a worker's.
 */
#define ALL_LOCK_TIMEOUT 10000

/* The columns of advance_step(): one more than those of advance(). */
#define ADVANCE_NCOLUMNS 7

/* List the meters that are worked on. */
List *
meter_active_meters(void)
{
	return meter_list_meters(NULL, NULL, true);
}

/*
 * List the meters to advance.  The stream or the meter asked for must be
 * there, active, and the caller's.
 */
static List *
meters_asked_for(char *stream, char *meter)
{
	List	   *refs;
	List	   *allowed = NIL;
	ListCell   *cell;

	if (stream == NULL)
		meter_forget_gone_streams();
	refs = meter_list_meters(stream, meter, true);
	if (stream != NULL)
	{
		meter_check_access(stream, METER_ACCESS_OPERATOR);
		if (!meter_stream_is_active(stream))
			meter_not_active(stream);
		if (meter != NULL && refs == NIL &&
			meter_list_meters(stream, meter, false) != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("meter \"%s\" of stream \"%s\" is paused",
							meter, stream),
					 errhint("meter.resume(%s, %s) lets the meter make steps again.",
							 quote_literal_cstr(stream), quote_literal_cstr(meter))));
		if (meter != NULL && refs == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("meter \"%s\" of stream \"%s\" does not exist",
							meter, stream)));
		return refs;
	}

	/* without a stream, advance those that the caller operates */
	foreach(cell, refs)
	{
		MeterRef   *ref = lfirst(cell);

		if (meter_has_access(ref->stream, METER_ACCESS_OPERATOR) ||
			(superuser() && !OidIsValid(get_namespace_oid(ref->stream, true))))
			allowed = lappend(allowed, ref);
	}
	if (allowed == NIL && refs != NIL)
		ereport(NOTICE,
				(errmsg("no meter is advanced: you own or operate no stream that has one")));
	return allowed;
}

/* What advance() has done, which it returns row by row. */
typedef struct Advanced
{
	List	   *refs;
	MeterStep  *steps;
} Advanced;

/*
 * Let no lock of somebody's on a table of one stream keep the others waiting.
 * Holds until the GUC nest level ends.
 */
static void
limit_waits(void)
{
	if (LockTimeout == 0 || LockTimeout > ALL_LOCK_TIMEOUT)
		(void) set_config_option("lock_timeout",
								 psprintf("%d", ALL_LOCK_TIMEOUT),
								 PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Make the months that steps of these meters lacked in the transaction before.
 * The next call goes on.  Returns false if none was lacking.
 */
static bool
make_months(Advanced *advanced, List *asked)
{
	ListCell   *cell;
	int			i = 0;

	foreach(cell, asked)
	{
		MeterRef   *ref = lfirst(cell);
		MeterStep  *step = &advanced->steps[i];

		if (!meter_lacks_months(ref->stream, ref->meter))
			continue;
		memset(step, 0, sizeof(*step));
		step->more = meter_step_make_months(ref->stream, ref->meter, step);
		advanced->refs = lappend(advanced->refs, ref);
		i++;
	}
	return i > 0;
}

/*
 * Make a step of each meter asked for; those that were made remain in refs.
 * With `by_steps` the caller commits after each call, so months are made by the
 * next one; otherwise once the step that lacks them is undone, with its lock.
 */
static void
step_all(Advanced *advanced, List *asked, MeterStepFor whom, bool by_steps)
{
	int			level = NewGUCNestLevel();
	int			i = 0;
	ListCell   *cell;

	if (whom == METER_STEP_ALL)
		limit_waits();
	/* before what steps write that others wait for: days of the calendar */
	else if (list_length(asked) > 1)
		meter_lock_meters(((MeterRef *) linitial(asked))->stream);
	foreach(cell, asked)
	{
		MeterRef   *ref = lfirst(cell);

		do
			meter_step(ref->stream, ref->meter, whom, &advanced->steps[i]);
		while (!by_steps && advanced->steps[i].lacks_months &&
			   meter_step_make_months(ref->stream, ref->meter,
									  &advanced->steps[i]));
		if (advanced->steps[i].skipped)
			continue;			/* locked, or dropped meanwhile */
		advanced->refs = lappend(advanced->refs, ref);
		i++;
	}
	AtEOXact_GUC(false, level);
}

/* Make one step of each meter asked for, and return a row for each. */
static Datum
advance(FunctionCallInfo fcinfo, bool by_steps)
{
	FuncCallContext *call;
	Advanced   *advanced;
	MeterRef   *ref;
	MeterStep  *step;
	Datum		values[ADVANCE_NCOLUMNS];
	bool		nulls[ADVANCE_NCOLUMNS] = {false};

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		TupleDesc	descriptor;
		List	   *asked;

		PreventCommandIfReadOnly("meter.advance()");
		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(descriptor);
		meter_confirm_home();
		advanced = palloc(sizeof(Advanced));
		asked = meters_asked_for(PG_ARGISNULL(0) ? NULL :
								 text_to_cstring(PG_GETARG_TEXT_PP(0)),
								 PG_ARGISNULL(1) ? NULL :
								 text_to_cstring(PG_GETARG_TEXT_PP(1)));
		advanced->refs = NIL;
		advanced->steps = palloc(Max(list_length(asked), 1) *
								 sizeof(MeterStep));
		call->user_fctx = advanced;

		/* make all steps now, even if not all rows are fetched */
		if (!by_steps || !make_months(advanced, asked))
			step_all(advanced, asked,
					 PG_ARGISNULL(0) ? METER_STEP_ALL : METER_STEP_NAMED,
					 by_steps);
		call->max_calls = list_length(advanced->refs);
		MemoryContextSwitchTo(before);
	}
	call = SRF_PERCALL_SETUP();
	if (call->call_cntr >= call->max_calls)
		SRF_RETURN_DONE(call);

	advanced = call->user_fctx;
	ref = list_nth(advanced->refs, (int) call->call_cntr);
	step = &advanced->steps[call->call_cntr];
	values[0] = CStringGetTextDatum(ref->stream);
	values[1] = CStringGetTextDatum(ref->meter);
	values[2] = TimestampTzGetDatum(step->watermark);
	nulls[2] = !step->has_watermark;
	values[3] = Int64GetDatum(step->usage_rows);
	values[4] = Int64GetDatum(step->adjustments);
	values[5] = Int64GetDatum(step->late_rows);
	values[6] = BoolGetDatum(step->more);
	SRF_RETURN_NEXT(call,
					HeapTupleGetDatum(heap_form_tuple(call->tuple_desc,
													  values, nulls)));
}

PG_FUNCTION_INFO_V1(meter_advance);

/* advance(stream, meter) */
Datum
meter_advance(PG_FUNCTION_ARGS)
{
	return advance(fcinfo, false);
}

PG_FUNCTION_INFO_V1(meter_advance_step);

/*
 * advance_step(stream, meter), for a caller who commits after each call: its
 * column "more" tells whether to call again
 */
Datum
meter_advance_step(PG_FUNCTION_ARGS)
{
	return advance(fcinfo, true);
}
