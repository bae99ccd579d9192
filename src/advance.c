/*
 * advance.c
 *	  Advancing: one bounded step of one meter is one transaction.
 *
 * A step looks at what arrived since the last one, computes the resources
 * anew that got rows from before the watermark, settles the periods that the
 * clock has closed, and writes usage, states, watermark and position.  Usage
 * is compared with what the ledger says wherever it may say something, so a
 * step that is repeated, whatever was lost, writes nothing.
 *
 * The meter's row is locked first and until the transaction ends: steps of
 * one meter never overlap.  Queries over the stream's tables run as their
 * owner, those over the catalog as the extension's.
 */
#include "advance.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "position.h"
#include "query.h"
#include "spi.h"
#include "stream.h"

/* Ledger rows are looked up one by one up to so many periods of resources. */
#define FEW_PROBES	100000

/* After failures a meter is left alone for 10 s, then twice as long, ... */
#define RETRY_FIRST_SECONDS	10
#define RETRY_LAST_SECONDS	3600

/* Run a query whose one row has int8 and timestamptz columns. */
static void
query_row(const char *sql)
{
	meter_execute(sql, SPI_OK_SELECT);
	if (SPI_processed != 1)
		elog(ERROR, "one row expected of: %s", sql);
}

/* A count in the row of query_row(). */
static int64
row_count(int column)
{
	bool		isnull;
	Datum		value = meter_result(0, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* An instant in the row of query_row(); false if it is null. */
static bool
row_instant(int column, TimestampTz *instant)
{
	bool		isnull;
	Datum		value = meter_result(0, column, &isnull);

	if (!isnull)
		*instant = DatumGetTimestampTz(value);
	return !isnull;
}

/* Later by so many microseconds, within what a timestamp can be. */
static TimestampTz
later_by(TimestampTz instant, int64 usec)
{
	if (instant < MIN_TIMESTAMP + Max(-usec, 0))
		return MIN_TIMESTAMP;
	return instant + usec;
}

/*
 * Move the event clock on to the greatest time that is not in the future.
 * Events of the future are looked at again, so it never passes them by.
 */
static void
move_event_clock(MeterDefinition *definition, int64 safe)
{
	TimestampTz greatest;
	const char *now = meter_timestamp_literal(meter_now());
	int64		future;

	query_row(psprintf("SELECT max(\"time\") FILTER (WHERE \"time\" <= %s), "
					   "min(arrival) FILTER (WHERE \"time\" > %s) "
					   "FROM %s.event WHERE arrival > " INT64_FORMAT,
					   now, now, quote_identifier(definition->stream),
					   definition->clock_position));
	if (row_instant(1, &greatest) &&
		(!definition->has_event_clock || greatest > definition->event_clock))
	{
		definition->has_event_clock = true;
		definition->event_clock = greatest;
	}
	future = row_count(2);
	definition->clock_position = Max(definition->clock_position,
									 future > 0 ? Min(future - 1, safe) : safe);
}

/* Where the clock lets the watermark go; false: nowhere yet. */
static bool
clock_target(MeterDefinition *definition, int64 safe, TimestampTz *target)
{
	if (definition->clock == METER_CLOCK_EVENT)
	{
		move_event_clock(definition, safe);
		if (!definition->has_event_clock)
			return false;
		*target = later_by(definition->event_clock, -definition->lateness);
	}
	else
		*target = later_by(meter_now(), -definition->lateness);
	*target = Min(*target, definition->until);
	*target = meter_grid_period_begin(&definition->grid, *target);
	return true;
}

/* The first event of a meter without a watermark gives it one. */
static bool
first_watermark(MeterDefinition *definition)
{
	StringInfoData sql;
	TimestampTz first;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT min(at) FROM (");
	meter_append_events(&sql, definition, NULL);
	appendStringInfoString(&sql, ") e");
	query_row(sql.data);
	if (!row_instant(1, &first))
		return false;
	definition->has_watermark = true;
	definition->watermark = meter_grid_period_begin(&definition->grid, first);
	return true;
}

/* About how many periods there are between two instants. */
static double
count_periods(const MeterDefinition *definition, TimestampTz from,
			  TimestampTz to)
{
	const MeterGrid *grid = &definition->grid;
	int64		length = grid->period_usec > 0 ? grid->period_usec :
		grid->period_days > 0 ? grid->period_days * METER_DAY :
		grid->period_months * 28 * METER_DAY;

	return Max((double) (to - from) / length, 1);
}

/*
 * Compute resources anew from all their events before `horizon`, and write
 * how usage up to the watermark differs from the ledger.  `touched` is a
 * query of them and of the instant from which they are affected (resource,
 * first).  The number of adjustments.
 */
static int64
recompute(MeterDefinition *definition, const char *touched,
		  int64 ntouched, TimestampTz first, TimestampTz horizon,
		  bool write_states)
{
	StringInfoData sql;
	StringInfoData difference;
	const char *end = meter_timestamp_literal(definition->watermark);
	const char *since = TIMESTAMP_IS_NOBEGIN(definition->since) ? NULL :
		meter_timestamp_literal(definition->since);
	bool		few;

	first = meter_grid_period_begin(&definition->grid,
									Max(first, definition->since));
	few = first >= definition->watermark ||
		count_periods(definition, first, definition->watermark) *
		ntouched <= FEW_PROBES;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH touched AS MATERIALIZED (SELECT t.resource, "
					 "%smeter.settle_period_begin(%s, t.first)%s%s AS begin_at FROM (%s) t), "
					 "timelines AS MATERIALIZED (SELECT e.resource, "
					 "meter.settle_timeline(e.kind, e.at, e.account, e.dimensions, e.value, e.alive) AS timeline, "
					 "min(e.at) AS earliest, min(t.begin_at) AS begin_at "
					 "FROM touched t JOIN (",
					 since ? "greatest(" : "", definition->spec,
					 since ? ", " : "", since ? psprintf("%s)", since) : "",
					 touched);
	meter_append_events(&sql, definition,
						psprintf("e.\"time\" < %s",
								 meter_timestamp_literal(horizon)));
	appendStringInfoString(&sql, ") e ON e.resource = t.resource GROUP BY e.resource)");
	if (write_states)
	{
		appendStringInfoString(&sql, ", states AS (");
		meter_append_upsert_state(&sql, definition,
								  psprintf("SELECT resource, meter.settle_state(timeline) AS state, "
										   "meter.settle_period_begin(%s, earliest) AS unnamed_since "
										   "FROM timelines ORDER BY resource",
										   definition->spec));
		appendStringInfoString(&sql, ") ");
	}
	initStringInfo(&difference);
	meter_append_difference(&difference, definition, "timelines", end,
							meter_ledger_of_touched(definition, "touched",
													meter_timestamp_literal(first),
													end, few));
	meter_append_insert_difference(&sql, definition,
								   definition->settlement + 1,
								   difference.data);
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}

/*
 * Look at what arrived between the position and `safe`: rows of settled
 * periods make adjustments.  False if there were more than one step takes;
 * the position is then where it got to.
 */
static bool
settle_late(MeterDefinition *definition, int64 safe, MeterStep *step)
{
	StringInfoData late;
	TimestampTz first;
	int64		nrows;
	int64		ntouched;
	int64		upto = safe;

	if (safe <= definition->position || !definition->has_watermark)
	{
		definition->position = safe;
		return true;
	}

	/* one row more than a step takes tells that there are more */
	initStringInfo(&late);
	appendStringInfoString(&late, "SELECT count(*), max(arrival) FROM (SELECT arrival FROM (");
	meter_append_events(&late, definition,
						psprintf("e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT
								 " AND e.\"time\" < %s", definition->position, safe,
								 meter_timestamp_literal(definition->watermark)));
	appendStringInfo(&late, ") e ORDER BY arrival LIMIT %d) e", meter_batch_rows);
	query_row(late.data);
	nrows = row_count(1);
	if (nrows >= meter_batch_rows)
		upto = row_count(2);
	if (nrows > 0)
	{
		resetStringInfo(&late);
		appendStringInfoString(&late, "SELECT resource, min(at) AS first FROM (");
		meter_append_events(&late, definition,
							psprintf("e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT
									 " AND e.\"time\" < %s", definition->position, upto,
									 meter_timestamp_literal(definition->watermark)));
		appendStringInfoString(&late, ") l GROUP BY resource");
		query_row(psprintf("SELECT count(*), min(first) FROM (%s) t", late.data));
		ntouched = row_count(1);
		if (row_instant(2, &first))
			step->adjustments += recompute(definition, late.data, ntouched,
										   first, definition->watermark, true);
		step->late_rows = nrows;
	}
	definition->position = upto;
	return upto == safe;
}

/*
 * Resources whose account was unknown so far and is named before `end`: what
 * was billed to nobody, from the first such period on, is theirs who is named.
 */
static void
settle_named(MeterDefinition *definition, TimestampTz end, MeterStep *step)
{
	StringInfoData named;
	TimestampTz first;
	int64		ntouched;

	query_row(psprintf("SELECT count(*) FROM %s.resource_state WHERE meter = %s "
					   "AND account IS NULL AND unnamed_since < %s",
					   quote_identifier(definition->stream),
					   quote_literal_cstr(definition->name),
					   meter_timestamp_literal(definition->watermark)));
	if (row_count(1) == 0)
		return;

	initStringInfo(&named);
	appendStringInfo(&named,
					 "SELECT r.resource, r.unnamed_since AS first FROM %s.resource_state r "
					 "WHERE r.meter = %s AND r.account IS NULL AND r.unnamed_since < %s "
					 "AND r.resource IN (SELECT e.resource FROM (",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 meter_timestamp_literal(definition->watermark));
	meter_append_events(&named, definition,
						psprintf("e.\"time\" >= %s AND e.\"time\" < %s AND e.account <> ''",
								 meter_timestamp_literal(definition->watermark),
								 meter_timestamp_literal(end)));
	appendStringInfoString(&named, ") e)");
	query_row(psprintf("SELECT count(*), min(first) FROM (%s) t", named.data));
	ntouched = row_count(1);
	if (row_instant(2, &first))
		step->adjustments += recompute(definition, named.data, ntouched,
									   first, end, false);
}

/* As much of what is due as one step takes: ends with a period. */
static TimestampTz
bound_step(MeterDefinition *definition, TimestampTz target)
{
	double		periods = count_periods(definition, definition->watermark,
										target);
	double		rows;
	StringInfoData sql;

	if (periods <= 1)
		return target;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT (SELECT count(*) FROM %s.resource_state "
					 "WHERE meter = %s AND active), (SELECT count(*) FROM (",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name));
	meter_append_events(&sql, definition,
						psprintf("e.\"time\" >= %s AND e.\"time\" < %s",
								 meter_timestamp_literal(definition->watermark),
								 meter_timestamp_literal(target)));
	appendStringInfoString(&sql, ") e)");
	query_row(sql.data);
	rows = row_count(1) * periods + row_count(2);
	if (rows > meter_batch_rows)
	{
		int64		span = (int64) ((target - definition->watermark) *
									(meter_batch_rows / rows));
		TimestampTz end = meter_grid_period_begin(&definition->grid,
												  definition->watermark + span);

		if (end <= definition->watermark)
			end = meter_grid_period_end(&definition->grid,
										definition->watermark);
		target = Min(target, end);
	}
	return target;
}

/* Settle the periods from the watermark to `end`, all resources at once. */
static void
settle_periods(MeterDefinition *definition, TimestampTz end, MeterStep *step)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from = meter_timestamp_literal(definition->watermark);
	const char *to = meter_timestamp_literal(end);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH events AS MATERIALIZED (");
	meter_append_events(&sql, definition,
						psprintf("e.\"time\" >= %s AND e.\"time\" < %s", from, to));
	appendStringInfo(&sql,
					 "), timelines AS MATERIALIZED (SELECT x.resource, "
					 "meter.settle_timeline(x.kind, x.at, x.account, x.dimensions, x.value, x.alive) AS timeline, "
					 "bool_or(x.arrival IS NOT NULL) AS touched, %s AS begin_at FROM ("
					 "SELECT * FROM events UNION ALL "
					 "SELECT r.resource, 'o'::\"char\", r.since, r.account, r.dimensions, r.value, r.alive, NULL "
					 "FROM %s.resource_state r WHERE r.meter = %s AND r.active UNION ALL "
					 "SELECT r.resource, 'x'::\"char\", NULL, r.account, r.dimensions, r.value, NULL, NULL "
					 "FROM %s.resource_state r WHERE r.meter = %s AND NOT r.active "
					 "AND r.resource IN (SELECT e.resource FROM events e)"
					 ") x GROUP BY x.resource), states AS (",
					 from, schema, meter, schema, meter);
	meter_append_upsert_state(&sql, definition,
							  psprintf("SELECT resource, meter.settle_state(timeline) AS state, "
									   "%s AS unnamed_since FROM timelines WHERE touched "
									   "ORDER BY resource", from));
	appendStringInfoString(&sql, ") ");
	if (definition->watermark > definition->ledger_until)
		/* the ledger has nothing from here on: no difference to look for */
		appendStringInfo(&sql,
						 "INSERT INTO %s.usage (transaction_id, meter, account, resource, "
						 "dimensions, period_start, quantity, revision, settlement, recorded_at) "
						 "SELECT (w.row).transaction_id, %s, (w.row).account, w.resource, "
						 "(w.row).dimensions, (w.row).period_start, (w.row).quantity, 0, "
						 INT64_FORMAT ", now() "
						 "FROM (SELECT t.resource, meter.settle_rows(%s, t.resource, "
						 "t.timeline, %s, %s) AS \"row\" FROM timelines t OFFSET 0) w ORDER BY 1",
						 schema, meter, definition->settlement + 1,
						 definition->spec, from, to);
	else
	{
		StringInfoData difference;

		initStringInfo(&difference);
		meter_append_difference(&difference, definition, "timelines", to,
								meter_ledger_of_range(definition, from, to));
		meter_append_insert_difference(&sql, definition,
									   definition->settlement + 1,
									   difference.data);
	}
	meter_execute(sql.data, SPI_OK_INSERT);
	step->usage_rows += SPI_processed;
	definition->watermark = end;
}

/*
 * Usage was written: it is a settlement, which listeners hear of.  The caller
 * stores the number.
 */
static void
count_settlement(MeterDefinition *definition)
{
	definition->settlement++;
	Async_Notify("meter", psprintf("%s.%s", definition->stream,
								   definition->name));
}

/* Write how far the meter has come. */
static void
store_progress(const MeterDefinition *definition, bool wrote_usage)
{
	MeterSession session;
	Oid			types[11] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID,
		INT8OID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID,
	INT8OID, BOOLOID};
	Datum		values[11];
	char		nulls[11];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = TimestampTzGetDatum(definition->watermark);
	nulls[2] = definition->has_watermark ? ' ' : 'n';
	values[3] = Int64GetDatum(definition->position);
	values[4] = Int64GetDatum(definition->note_bound);
	values[5] = definition->note_writers;
	values[6] = TimestampTzGetDatum(definition->note_server);
	nulls[4] = nulls[5] = nulls[6] = definition->has_note ? ' ' : 'n';
	values[7] = TimestampTzGetDatum(definition->event_clock);
	nulls[7] = definition->has_event_clock ? ' ' : 'n';
	values[8] = Int64GetDatum(definition->clock_position);
	values[9] = Int64GetDatum(definition->settlement);
	values[10] = BoolGetDatum(wrote_usage);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET watermark = $3, \"position\" = $4, "
						 "note_bound = $5, note_writers = $6, note_server = $7, "
						 "event_clock = $8, clock_position = $9, settlement = $10, "
						 "settled_at = CASE WHEN $11 THEN now() ELSE settled_at END, "
						 "failures = 0, last_error = NULL, last_error_at = NULL, retry_at = NULL "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 11, types, values, nulls);
	meter_session_end(&session);
}

/* Usage was written otherwise than by a step: count it, and store that. */
void
meter_store_settlement(MeterDefinition *definition)
{
	count_settlement(definition);
	store_progress(definition, true);
}

/* Has a step changed what is stored of a meter? */
static bool
progress_differs(const MeterDefinition *a, const MeterDefinition *b)
{
	return a->has_watermark != b->has_watermark ||
		a->watermark != b->watermark || a->position != b->position ||
		a->has_note != b->has_note ||
		(a->has_note && (a->note_bound != b->note_bound ||
						 a->note_server != b->note_server)) ||
		a->has_event_clock != b->has_event_clock ||
		a->event_clock != b->event_clock ||
		a->clock_position != b->clock_position ||
		a->settlement != b->settlement || a->failures != 0;
}

/* The step itself; errors are the caller's. */
static void
do_step(const char *stream, const char *meter, bool skip_locked,
		MeterStep *step)
{
	MeterDefinition *definition;
	MeterDefinition before;
	MeterSession session;
	TimestampTz target;
	int64		safe;
	bool		caught_up;

	definition = meter_load(stream, meter,
							skip_locked ? METER_LOCK_SKIP : METER_LOCK_WAIT);
	if (definition == NULL || (skip_locked && definition->retry_later))
	{
		step->skipped = true;
		return;
	}
	before = *definition;
	safe = meter_safe_position(definition);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	caught_up = settle_late(definition, safe, step);
	if ((definition->has_watermark || first_watermark(definition)) &&
		clock_target(definition, safe, &target) &&
		target > definition->watermark &&
		/* the state at the very beginning comes from late rows as well */
		(caught_up || definition->settlement > 0))
	{
		TimestampTz end = bound_step(definition, target);

		settle_named(definition, end, step);
		settle_periods(definition, end, step);
		step->more = end < target;
	}
	meter_session_end(&session);
	if (!caught_up)
		step->more = true;

	if (step->usage_rows + step->adjustments > 0)
		count_settlement(definition);
	if (progress_differs(&before, definition))
		store_progress(definition,
					   step->usage_rows + step->adjustments > 0);
	step->has_watermark = definition->has_watermark;
	step->watermark = definition->watermark;
}

/* Record that a step failed, unless somebody else is at the meter. */
static void
record_failure(const char *stream, const char *meter, const char *message)
{
	MeterDefinition *definition = meter_load(stream, meter, METER_LOCK_SKIP);
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, INT4OID};
	Datum		values[4];
	int			wait = RETRY_LAST_SECONDS;

	if (definition == NULL)
		return;
	if (definition->failures < 8)
		wait = Min(RETRY_FIRST_SECONDS << definition->failures,
				   RETRY_LAST_SECONDS);
	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(meter);
	values[2] = CStringGetTextDatum(message);
	values[3] = Int32GetDatum(wait);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET failures = failures + 1, "
						 "last_error = $3, last_error_at = clock_timestamp(), "
						 "retry_at = clock_timestamp() + make_interval(secs => $4) "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 4, types, values, NULL);
	meter_session_end(&session);
}

/*
 * One bounded step of one meter, in a subtransaction of the caller's
 * transaction.  An error is caught and recorded on the meter.
 */
void
meter_step(const char *stream, const char *meter, bool skip_locked,
		   MeterStep *step)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	MemoryContext scratch;

	memset(step, 0, sizeof(*step));
	scratch = AllocSetContextCreate(context, "meter step",
									ALLOCSET_DEFAULT_SIZES);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		do_step(stream, meter, skip_locked, step);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_END_TRY();
	MemoryContextDelete(scratch);

	if (error != NULL)
	{
		/* being told to stop is no failure of the meter */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		memset(step, 0, sizeof(*step));
		step->failed = true;
		record_failure(stream, meter, error->message);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("meter \"%s\" of stream \"%s\" could not be advanced: %s",
						meter, stream, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
}

/* The meters that are worked on. */
List *
meter_active_meters(void)
{
	return meter_list_meters(NULL, NULL, true);
}

/* The stream or the meter asked for must be there, active, and the caller's. */
static List *
meters_asked_for(char *stream, char *meter)
{
	List	   *refs = meter_list_meters(stream, meter, true);
	List	   *allowed = NIL;
	ListCell   *cell;

	if (stream != NULL)
	{
		meter_check_stream_permission(stream);
		if (!meter_stream_is_active(stream))
			meter_not_active(stream);
		if (meter != NULL && refs == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("meter \"%s\" of stream \"%s\" does not exist",
							meter, stream)));
		return refs;
	}

	/* of all streams, those that are the caller's */
	foreach(cell, refs)
	{
		MeterRef   *ref = lfirst(cell);
		Oid			schema = get_namespace_oid(ref->stream, true);

		if (OidIsValid(schema) ? meter_schema_ownercheck(schema, GetUserId()) :
			superuser())
			allowed = lappend(allowed, ref);
	}
	return allowed;
}

/* What advance() has done, and gives out row by row. */
typedef struct Advanced
{
	List	   *refs;
	MeterStep  *steps;
} Advanced;

PG_FUNCTION_INFO_V1(meter_advance);

/*
 * advance(stream, meter), and advance_step(stream, meter), which tells in a
 * column more if there is more to do: one step of each meter asked for
 */
Datum
meter_advance(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Advanced   *advanced;
	MeterRef   *ref;
	MeterStep  *step;
	Datum		values[7];
	bool		nulls[7] = {false, false, false, false, false, false, false};

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		TupleDesc	descriptor;
		ListCell   *cell;
		int			i = 0;

		PreventCommandIfReadOnly("meter.advance()");
		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(descriptor);
		advanced = palloc(sizeof(Advanced));
		advanced->refs =
			meters_asked_for(PG_ARGISNULL(0) ? NULL :
							 text_to_cstring(PG_GETARG_TEXT_PP(0)),
							 PG_ARGISNULL(1) ? NULL :
							 text_to_cstring(PG_GETARG_TEXT_PP(1)));
		call->max_calls = list_length(advanced->refs);
		advanced->steps = palloc(Max(call->max_calls, 1) * sizeof(MeterStep));
		call->user_fctx = advanced;

		/* all steps are made now, even if not all rows are asked for */
		foreach(cell, advanced->refs)
		{
			ref = lfirst(cell);
			meter_step(ref->stream, ref->meter, false, &advanced->steps[i++]);
		}
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
