/*
 * event_usage.c
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
#include "engine/event_usage.h"

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

#include "engine/clock.h"
#include "engine/measures.h"
#include "log/position.h"
#include "engine/events.h"
#include "engine/reconcile.h"
#include "pg/spi.h"
#include "catalog/stream.h"

/* Ledger rows are looked up one by one up to so many periods of resources. */
#define FEW_PROBES	100000

/* After failures a meter is left alone for 10 s, then twice as long, ... */
#define RETRY_FIRST_SECONDS	10
#define RETRY_LAST_SECONDS	3600

volatile sig_atomic_t meter_step_expired = false;

/* Run a query whose one row has int8 and timestamptz columns. */
static void
query_row(const char *sql)
{
	meter_execute(sql, SPI_OK_SELECT);
	if (SPI_processed != 1)
		elog(ERROR, "one row expected of: %s", sql);
}

/* The first event of a meter, not one of the future, gives it a watermark. */
bool
meter_first_watermark(MeterDefinition *definition)
{
	TimestampTz first;

	query_row(meter_earliest_instant(definition));
	if (!meter_result_instant(1, &first) || first > meter_now())
		return false;
	definition->has_watermark = true;
	definition->watermark = meter_grid_period_begin(&definition->grid, first);
	/* nobody is about to commit something: what comes is later than this */
	if (!definition->has_note && !IsolationUsesXactSnapshot())
		definition->position_watermark = definition->watermark;
	return true;
}

/* About how many periods there are between two instants. */
double
meter_count_periods(const MeterDefinition *definition, TimestampTz from,
			  TimestampTz to)
{
	const MeterGrid *grid = &definition->grid;
	int64		length = grid->period_usec > 0 ? grid->period_usec :
		grid->period_days > 0 ? grid->period_days * METER_DAY :
		grid->period_months * 28 * METER_DAY;

	return Max((double) (to - from) / length, 1);
}

/*
 * From when on rows count that are later than the position is safe for: what
 * is older may have to be held.  NULL: all count.
 */
const char *
meter_late_from(const MeterDefinition *definition)
{
	if (!definition->has_max_lateness || !definition->has_watermark)
		return NULL;
	return meter_timestamp_literal(meter_later_by(definition->watermark,
												  -definition->max_lateness));
}

/*
 * Compute resources anew from all their events before `horizon`, and write
 * how usage up to the watermark differs from the ledger.  `touched` is a
 * query of them and of the instant from which they are affected (resource,
 * first).  The number of adjustments.
 */
int64
meter_recompute(MeterDefinition *definition, const char *touched,
				int64 safe, TimestampTz horizon, bool write_states)
{
	StringInfoData sql;
	StringInfoData difference;
	MeterScope	scope = {0};
	const char *end = meter_timestamp_literal(definition->watermark);
	TimestampTz begin = Max(definition->since, definition->floor);
	const char *since = TIMESTAMP_IS_NOBEGIN(begin) ? NULL :
		meter_timestamp_literal(begin);
	bool		straddling = meter_may_straddle(definition,
												definition->watermark);
	TimestampTz first;
	int64		ntouched;
	bool		few;

	query_row(psprintf("SELECT count(*), min(first) FROM (%s) t", touched));
	ntouched = meter_result_count(1);
	if (!meter_result_instant(2, &first))
		return 0;
	first = Max(first, begin);
	few = first >= definition->watermark ||
		(!TIMESTAMP_NOT_FINITE(first) &&
		 meter_count_periods(definition,
							 meter_grid_period_begin(&definition->grid, first),
							 definition->watermark) * ntouched <= FEW_PROBES);

	scope.to = meter_timestamp_literal(horizon);
	scope.touched = "touched";
	scope.sealed = meter_sealed_for(definition, ntouched);
	scope.straddling = straddling ? "straddling" : NULL;
	scope.late_from = meter_late_from(definition);
	scope.safe = safe;
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH touched AS MATERIALIZED (SELECT t.resource, t.first, "
					 "%smeter.settle_period_begin(%s, t.first)%s AS begin_at FROM (%s) t), ",
					 since ? "greatest(" : "", definition->spec,
					 since ? psprintf(", %s)", since) : "",
					 touched);
	if (straddling)
	{
		appendStringInfoString(&sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(&sql, definition, "touched", end);
		appendStringInfoString(&sql, "), ");
	}
	meter_append_events(&sql, definition, &scope);

	/*
	 * A row at or before the first that names an account may be why that is
	 * the first: then all of the resource is affected.  A row before a
	 * statement may change what that makes of all it reaches back to.  A
	 * resource of which no event is left has a timeline without a run.
	 */
	appendStringInfo(&sql,
					 ", timelines AS MATERIALIZED (SELECT n.resource, n.timeline, %sn.earliest, "
					 "%sCASE WHEN n.begin_at <= coalesce(n.named, 'infinity') "
					 "THEN least(n.begin_at, meter.settle_period_begin(%s, n.earliest)) "
					 "WHEN n.reach IS NOT NULL "
					 "THEN least(n.begin_at, meter.settle_period_begin(%s, greatest(n.reach, n.earliest))) "
					 "ELSE n.begin_at END%s AS begin_at "
					 "FROM (SELECT e.resource, " METER_TIMELINE("e") " AS timeline, ",
					 straddling ? "n.before, n.began, n.straddles, " : "",
					 since ? "greatest(" : "", definition->spec,
					 definition->spec,
					 since ? psprintf(", %s)", since) : "");
	if (straddling)
		meter_append_before(&sql, definition, end);
	appendStringInfo(&sql,
					 "min(e.begin_at) AS begin_at, min(e.at) FILTER (WHERE e.account <> '') AS named, "
					 "min(least(e.at, meter.statement_instant(e.statement, 'since'))) AS earliest, "
					 "min(" METER_REACH("e.statement", "e.at", "e.kind = 'g'")
					 ") FILTER (WHERE e.kind IN ('g', 'h') AND e.at >= e.first) AS reach FROM ("
					 "SELECT v.resource, " METER_EVENT_COLUMNS("v") ", t.first, t.begin_at "
					 "FROM events v JOIN touched t ON t.resource = v.resource UNION ALL "
					 "SELECT t.resource, 'x', NULL, NULL, array_fill(NULL::text, ARRAY[%d]), NULL, NULL, NULL, NULL, NULL, "
					 "t.first, t.begin_at FROM touched t%s) e GROUP BY e.resource) n)",
					 definition->ndimensions,
					 TIMESTAMP_IS_NOBEGIN(definition->floor) ? "" :
					 psprintf(" WHERE NOT EXISTS (SELECT FROM %s.floor_state f "
							  "WHERE f.meter = %s AND f.resource = t.resource)",
							  quote_identifier(definition->stream),
							  quote_literal_cstr(definition->name)));
	if (write_states)
	{
		appendStringInfoString(&sql, ", states AS (");
		meter_append_upsert_state(&sql, definition, NULL, straddling);
		appendStringInfoChar(&sql, ')');
	}
	initStringInfo(&difference);
	meter_append_difference(&difference, definition, "timelines", end,
							meter_ledger_of_touched(definition, "timelines",
													end, few));
	appendStringInfoChar(&sql, ' ');
	meter_append_insert_difference(&sql, definition,
								   definition->settlement + 1,
								   difference.data);
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}

/*
 * Note rows that were taken back, of what arrived between two positions.
 * Each meter has its own notes: steps of two must not wait for each other.
 */
void
meter_note_voids(const MeterDefinition *definition, int64 after, int64 upto)
{
	const char *schema = quote_identifier(definition->stream);

	meter_execute(psprintf("INSERT INTO %s.voided (meter, resource, source, id) "
						   "SELECT DISTINCT %s, e.resource, coalesce(e.source, ''), e.id FROM %s.event e "
						   "WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT
						   " AND e.action = 'void' AND e.id IS NOT NULL "
						   "ORDER BY 2, 3, 4 ON CONFLICT DO NOTHING", schema,
						   quote_literal_cstr(definition->name), schema,
						   after, upto),
				  SPI_OK_INSERT);
}

/* Hold rows that came too late, of what arrived between two positions. */
void
meter_hold_late_rows(const MeterDefinition *definition, int64 safe)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	char	   *late = meter_late_rows(definition, safe);
	/* what was before the floor is forgotten */
	TimestampTz limit = METER_OF_MEASURES(definition->aggregate) ? DT_NOBEGIN :
		definition->floor;

	if (TIMESTAMP_IS_NOBEGIN(definition->position_watermark))
		return;
	if (definition->has_max_lateness)
		limit = Max(limit, meter_later_by(definition->position_watermark,
										  -definition->max_lateness));
	if (TIMESTAMP_IS_NOBEGIN(limit))
		return;
	meter_execute(psprintf("INSERT INTO %s.held (meter, log, arrival, \"time\", reason) "
						   "SELECT %s, 'event', e.arrival, e.\"time\", "
						   "CASE WHEN e.action = ANY (%s) THEN 'stop, too late' ELSE 'too late' END FROM %s "
						   "AND e.action <> 'void' AND e.action NOT LIKE 'reconciled:%%' AND e.\"time\" < %s "
						   "ON CONFLICT DO NOTHING", schema, meter,
						   meter_text_array_literal(definition->stops), late,
						   meter_timestamp_literal(limit)),
				  SPI_OK_INSERT);
	meter_tell_held(definition);
}

/* Say how many rows the last statement held. */
void
meter_tell_held(const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);

	if (SPI_processed > 0)
		ereport(NOTICE,
				(errmsg_plural("meter \"%s\" of stream \"%s\" holds " UINT64_FORMAT " row that came later than its max_lateness",
							   "meter \"%s\" of stream \"%s\" holds " UINT64_FORMAT " rows that came later than its max_lateness",
							   (unsigned long) SPI_processed,
							   definition->name, definition->stream,
							   SPI_processed),
				 errhint("View %s.anomaly lists them; meter.release() lets them count.",
						 schema)));
}

/*
 * Look at what arrived between the position and `safe`: rows of settled
 * periods make adjustments.  False if there were more than one step takes;
 * the position is then where it got to.
 */
static bool
settle_late(MeterDefinition *definition, int64 safe, TimestampTz noted_at,
			MeterStep *step)
{
	int64		nrows;
	int64		nvoids;
	int64		upto = safe;
	char	   *late;
	char	   *touched;

	if (safe > definition->position && definition->has_watermark)
	{
		/* as many rows as a step takes tell that there may be more */
		query_row(psprintf("SELECT count(*), max(arrival), count(*) FILTER (WHERE action = 'void') "
						   "FROM (SELECT e.arrival, e.action FROM %s ORDER BY arrival LIMIT %d) e",
						   meter_late_rows(definition, safe),
						   meter_batch_rows));
		nrows = meter_result_count(1);
		nvoids = meter_result_count(3);
		if (nrows >= meter_batch_rows)
			upto = meter_result_count(2);
		if (nrows > 0)
		{
			meter_note_voids(definition, definition->position, upto);
			meter_hold_late_rows(definition, upto);
			late = meter_late_rows(definition, upto);
			touched = psprintf("SELECT e.resource, e.\"time\" AS at FROM %s AND e.action <> 'void'",
							   late);
			if (nvoids > 0)
				touched = psprintf("%s UNION ALL SELECT b.resource, CASE WHEN " METER_IS_STATEMENT("b") " THEN "
								   METER_REACH("b.attributes", "b.\"time\"", "b.action = 'reconciled:stop'")
								   " ELSE b.\"time\" END FROM %s b "
								   "JOIN (SELECT e.resource, coalesce(e.source, '') AS source, e.id "
								   "FROM %s AND e.action = 'void') v "
								   "ON b.resource = v.resource AND b.id = v.id "
								   "AND coalesce(b.source, '') = v.source",
								   touched,
								   meter_rows_of_resources(definition,
														   psprintf("(SELECT DISTINCT e.resource FROM %s AND e.action = 'void')", late),
														   meter_sealed_for(definition, nvoids),
														   meter_may_straddle(definition, definition->watermark) ? NULL :
														   meter_timestamp_literal(definition->watermark)),
								   late);
			step->adjustments +=
				meter_recompute(definition,
								psprintf("SELECT resource, min(at) AS first FROM (%s) l GROUP BY resource",
										 touched),
								upto, definition->watermark, true);
			step->late_rows = nrows;
		}
	}
	/* before the first period there is nothing late but what is taken back */
	else if (safe > definition->position)
		meter_note_voids(definition, definition->position, safe);

	definition->position = upto;
	/* what is after `upto` drew its arrival after the note before this one */
	if (upto == safe)
		definition->position_watermark = noted_at;
	return upto == safe;
}

/*
 * The resources whose account was unknown so far and is named before `end`, as
 * a query (resource, first); NULL if there is none whose is unknown.  What was
 * billed to nobody, from that first period on, is theirs who is named.
 */
char *
meter_newly_named(MeterDefinition *definition, TimestampTz end)
{
	const char *watermark = meter_timestamp_literal(definition->watermark);
	char	   *unnamed = psprintf("%s.resource_state r WHERE r.meter = %s "
								   "AND r.account IS NULL AND r.unnamed_since < %s",
								   quote_identifier(definition->stream),
								   quote_literal_cstr(definition->name),
								   watermark);
	StringInfoData named;

	query_row(psprintf("SELECT count(*) FROM %s", unnamed));
	if (meter_result_count(1) == 0)
		return NULL;

	initStringInfo(&named);
	appendStringInfo(&named,
					 "SELECT r.resource, r.unnamed_since AS first FROM %s "
					 "AND r.resource IN (SELECT e.resource FROM %s.event e WHERE ",
					 unnamed, quote_identifier(definition->stream));
	meter_append_action_filter(&named, definition);
	appendStringInfo(&named, " AND e.account <> '' AND e.\"time\" >= %s AND e.\"time\" < %s)",
					 watermark, meter_timestamp_literal(end));
	return named.data;
}

/* Write what naming them changes. */
static void
settle_named(MeterDefinition *definition, int64 safe, TimestampTz end,
			 MeterStep *step)
{
	char	   *named = meter_newly_named(definition, end);

	if (named != NULL)
		step->adjustments += meter_recompute(definition, named, safe, end,
											 false);
}

/* The time that is due is looked at in so many pieces. */
#define PIECES	256

/*
 * As much of what is due as one step takes: ends with a period.  What runs
 * gives a row a period, and so does what starts meanwhile, from there on.
 */
static TimestampTz
bound_step(MeterDefinition *definition, TimestampTz target)
{
	const char *schema = quote_identifier(definition->stream);
	double		periods = meter_count_periods(definition, definition->watermark,
										target);
	double		begin = (double) definition->watermark / USECS_PER_SEC;
	double		length = (double) (target - definition->watermark) / PIECES;
	double		events[PIECES] = {0};
	double		starts[PIECES] = {0};
	double		stops[PIECES] = {0};
	double		running;
	double		rows = 0;
	StringInfoData sql;
	TimestampTz end;
	bool		isnull;
	uint64		i;
	int			piece;

	if (METER_OF_MEASURES(definition->aggregate))
		return meter_measure_bound(definition, target);
	if (periods <= 1)
		return target;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT least(width_bucket(date_part('epoch', e.\"time\" - '2000-01-01 00:00+00'::timestamptz), "
					 "%.17g, %.17g, %d), %d), count(*), count(*) FILTER (WHERE e.action = ANY (%s)), "
					 "count(*) FILTER (WHERE e.action = ANY (%s)) FROM %s.event e WHERE ",
					 begin, begin + length * PIECES / USECS_PER_SEC, PIECES,
					 PIECES, meter_text_array_literal(definition->starts),
					 meter_text_array_literal(definition->stops), schema);
	meter_append_action_filter(&sql, definition);
	appendStringInfo(&sql, " AND e.\"time\" >= %s AND e.\"time\" < %s GROUP BY 1",
					 meter_timestamp_literal(definition->watermark),
					 meter_timestamp_literal(target));
	meter_execute(sql.data, SPI_OK_SELECT);
	for (i = 0; i < SPI_processed; i++)
	{
		piece = Max(DatumGetInt32(meter_result(i, 1, &isnull)) - 1, 0);
		events[piece] = DatumGetInt64(meter_result(i, 2, &isnull));
		starts[piece] = DatumGetInt64(meter_result(i, 3, &isnull));
		stops[piece] = DatumGetInt64(meter_result(i, 4, &isnull));
	}

	query_row(psprintf("SELECT count(*) FROM %s.resource_state WHERE meter = %s AND active",
					   schema, quote_literal_cstr(definition->name)));
	running = meter_result_count(1);
	for (piece = 0; piece < PIECES; piece++)
	{
		double		more = events[piece] +
			(running + starts[piece]) * periods / PIECES;

		if (rows + more > meter_batch_rows)
			break;
		rows += more;
		running = Max(running + starts[piece] - stops[piece], 0);
	}
	if (piece == PIECES)
		return target;

	/* the first piece alone may be too much */
	end = definition->watermark +
		(int64) (length * (piece > 0 ? piece :
						   meter_batch_rows /
						   (events[0] + (running + starts[0]) * periods / PIECES)));
	end = meter_grid_period_begin(&definition->grid, end);
	if (end <= definition->watermark)
		end = meter_grid_period_end(&definition->grid, definition->watermark);
	return Min(target, end);
}

/* Settle the periods from the watermark to `end`, all resources at once. */
static void
settle_periods(MeterDefinition *definition, TimestampTz end, MeterStep *step)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from = meter_timestamp_literal(definition->watermark);
	const char *to = meter_timestamp_literal(end);
	bool		straddling = meter_may_straddle(definition, end);
	MeterScope	scope = {0};
	StringInfoData sql;

	scope.from = from;
	scope.to = to;
	scope.straddling = straddling ? "straddling" : NULL;
	scope.late_from = meter_late_from(definition);
	scope.safe = definition->position;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	if (straddling)
	{
		appendStringInfoString(&sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(&sql, definition, NULL, to);
		appendStringInfoString(&sql, "), ");
	}
	meter_append_events(&sql, definition, &scope);
	/* what happened to nothing since goes another way, see below */
	appendStringInfo(&sql,
					 ", busy AS MATERIALIZED (SELECT DISTINCT resource FROM events), "
					 "timelines AS MATERIALIZED (SELECT e.resource, ");
	if (straddling)
		meter_append_before(&sql, definition, to);
	appendStringInfo(&sql,
					 METER_TIMELINE("e") " AS timeline FROM ("
					 "SELECT * FROM events UNION ALL "
					 "SELECT r.resource, " METER_CARRIED ", NULL FROM busy b "
					 /* looked up one by one: the dead cost nothing */
					 "CROSS JOIN LATERAL (SELECT * FROM %s.resource_state s WHERE s.meter = %s "
					 "AND s.resource = b.resource OFFSET 0) r"
					 ") e GROUP BY e.resource), states AS (",
					 schema, meter);
	meter_append_upsert_state(&sql, definition, from, straddling);
	/* what runs throughout has each period whole: no timeline is needed */
	appendStringInfo(&sql,
					 "), wanted AS (SELECT (w.row).transaction_id, w.resource, (w.row).account, "
					 "(w.row).dimensions, (w.row).period_start, (w.row).quantity FROM ("
					 "SELECT t.resource, meter.settle_rows(%s, t.resource, t.timeline, %s, %s) AS \"row\" "
					 "FROM timelines t) w UNION ALL "
					 "SELECT meter.settle_transaction_id(%s, r.resource, r.account, r.dimensions, p.period_start), "
					 "r.resource, coalesce(r.account, ''), meter.settle_dimensions(%s, r.dimensions), "
					 "p.period_start, %s FROM %s.resource_state r CROSS JOIN ",
					 definition->spec, from, to, definition->spec,
					 definition->spec,
					 definition->aggregate == METER_DURATION ? "p.quantity" :
					 psprintf("meter.settle_quantity(%s, r.value, p.period_start)",
							  definition->spec),
					 schema);
	if (meter_grid_period_end(&definition->grid, definition->watermark) >= end)
		/* one row the planner can do without */
		appendStringInfo(&sql, "(SELECT %s AS period_start, meter.settle_quantity(%s, NULL, %s) AS quantity) p",
						 from, definition->spec, from);
	else
		appendStringInfo(&sql, "(SELECT s.period_start, meter.settle_quantity(%s, NULL, s.period_start) AS quantity "
						 "FROM meter.settle_periods(%s, %s, %s) s (period_start) OFFSET 0) p",
						 definition->spec, definition->spec, from, to);
	appendStringInfo(&sql,
					 " WHERE r.meter = %s AND r.active AND NOT EXISTS (SELECT FROM busy b WHERE b.resource = r.resource)%s) ",
					 meter,
					 definition->aggregate == METER_DURATION ? "" :
					 psprintf(" AND meter.settle_quantity(%s, r.value, p.period_start) <> 0",
							  definition->spec));
	if (definition->watermark > definition->ledger_until)
		/* the ledger has nothing from here on: no difference to look for */
		appendStringInfo(&sql,
						 "INSERT INTO %s.usage (transaction_id, meter, account, resource, "
						 "dimensions, period_start, quantity, revision, settlement, recorded_at) "
						 "SELECT w.transaction_id, %s, w.account, w.resource, w.dimensions, "
						 "w.period_start, w.quantity, 0, " INT64_FORMAT ", now() "
						 "FROM wanted w ORDER BY 1",
						 schema, meter, definition->settlement + 1);
	else
		meter_append_insert_difference(&sql, definition,
									   definition->settlement + 1,
									   psprintf("SELECT w.resource, w.account, w.dimensions, "
												"w.period_start, w.quantity, 0 FROM wanted w "
												"UNION ALL %s",
												meter_ledger_of_range(definition, from, to)));
	meter_execute(sql.data, SPI_OK_INSERT);
	step->usage_rows += SPI_processed;
	definition->watermark = end;
}

/*
 * Usage was written: it is a settlement, of which a record is kept and
 * listeners hear.  `before` is the meter as it was.  The caller stores the
 * number.
 */
static void
count_settlement(MeterDefinition *definition, const MeterDefinition *before,
				 int64 usage_rows)
{
	MeterSession session;

	definition->settlement++;
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_execute(psprintf("INSERT INTO %s.settlement (meter, settlement, watermark_before, "
						   "watermark, position_before, \"position\", measure_position_before, measure_position, usage_rows, aggregate, unit, period, timezone, recorded_at) "
						   "VALUES (%s, " INT64_FORMAT ", %s, %s, " INT64_FORMAT ", "
						   INT64_FORMAT ", %s, " INT64_FORMAT ", '%s', '" INT64_FORMAT " microseconds', (%s)[4]::interval, (%s)[8], now())",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   definition->settlement,
						   before->has_watermark ?
						   meter_timestamp_literal(before->watermark) : "NULL",
						   meter_timestamp_literal(definition->watermark),
						   before->position, definition->position,
						   METER_OF_MEASURES(definition->aggregate) ?
						   psprintf(INT64_FORMAT ", " INT64_FORMAT,
									before->measures.position,
									definition->measures.position) :
						   "NULL, NULL",
						   usage_rows,
						   meter_aggregate_name(definition->aggregate),
						   definition->unit, definition->spec,
						   definition->spec),
				  SPI_OK_INSERT);
	meter_session_end(&session);
	Async_Notify("meter", psprintf("%s.%s", definition->stream,
								   definition->name));
}

/* Write how far the meter has come. */
static void
store_progress(const MeterDefinition *definition, bool wrote_usage)
{
	MeterSession session;
	Oid			types[13] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID,
		INT8OID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID,
	INT8OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[13];
	char		nulls[13];

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
	values[11] = TimestampTzGetDatum(definition->position_watermark);
	nulls[11] = TIMESTAMP_IS_NOBEGIN(definition->position_watermark) ? 'n' : ' ';
	values[12] = TimestampTzGetDatum(definition->note_watermark);
	nulls[12] = !definition->has_note ||
		TIMESTAMP_IS_NOBEGIN(definition->note_watermark) ? 'n' : ' ';

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET watermark = $3, \"position\" = $4, "
						 "note_bound = $5, note_writers = $6, note_server = $7, "
						 "event_clock = $8, clock_position = $9, settlement = $10, "
						 "settled_at = CASE WHEN $11 THEN now() ELSE settled_at END, "
						 "position_watermark = $12, note_watermark = $13, "
						 "failures = 0, last_error = NULL, last_error_at = NULL, retry_at = NULL "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 13, types, values, nulls);
	meter_session_end(&session);
	if (METER_OF_MEASURES(definition->aggregate))
		meter_store_measure_progress(definition);
}

/* Usage was written otherwise than by a step: count it, and store that. */
void
meter_store_settlement(MeterDefinition *definition, int64 usage_rows)
{
	count_settlement(definition, definition, usage_rows);
	store_progress(definition, true);
}

/* Has a step changed what is stored of a meter? */
static bool
progress_differs(const MeterDefinition *a, const MeterDefinition *b)
{
	return a->has_watermark != b->has_watermark ||
		a->watermark != b->watermark || a->position != b->position ||
		a->position_watermark != b->position_watermark ||
		a->has_note != b->has_note ||
		(a->has_note && (a->note_bound != b->note_bound ||
						 a->note_server != b->note_server)) ||
		a->has_event_clock != b->has_event_clock ||
		a->event_clock != b->event_clock ||
		a->clock_position != b->clock_position ||
		a->settlement != b->settlement || a->failures != 0 ||
		meter_measure_progress_differs(a, b);
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
	TimestampTz noted_at;
	TimestampTz measures_noted_at = DT_NOBEGIN;
	int64		safe;
	bool		caught_up;

	definition = meter_load(stream, meter,
							skip_locked ? METER_LOCK_SKIP : METER_LOCK_WAIT_OR_GONE);
	if (definition == NULL || (skip_locked && definition->retry_later))
	{
		step->skipped = true;
		return;
	}
	before = *definition;
	safe = meter_safe_position(definition, &noted_at);
	if (METER_OF_MEASURES(definition->aggregate))
		definition->measures.safe =
			meter_safe_measure_position(definition, &measures_noted_at);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	if (METER_OF_MEASURES(definition->aggregate))
	{
		meter_session_memory();
		caught_up = meter_measure_late(definition, safe, noted_at,
									   measures_noted_at, step);
	}
	else
	{
		caught_up = settle_late(definition, safe, noted_at, step);
		/* what snapshots have to say of that is late as well, for the next step */
		step->more = meter_compare_new(definition);
		step->more |= meter_compare_arrived(definition, before.position,
											definition->position);
	}
	if ((definition->has_watermark || meter_first_watermark(definition)) &&
		meter_clock_target(definition, safe, &target) &&
		target > definition->watermark &&
		/* the state at the very beginning comes from late rows as well */
		(caught_up || definition->settlement > 0))
	{
		TimestampTz end = bound_step(definition, target);

		if (METER_OF_MEASURES(definition->aggregate))
			meter_measure_settle(definition, end, step);
		else
		{
			settle_named(definition, definition->position, end, step);
			settle_periods(definition, end, step);
		}
		step->more |= end < target;
	}
	meter_session_end(&session);
	if (!caught_up)
		step->more = true;

	if (step->usage_rows + step->adjustments > 0)
		count_settlement(definition, &before,
						 step->usage_rows + step->adjustments);
	if (progress_differs(&before, definition))
		store_progress(definition,
					   step->usage_rows + step->adjustments > 0);
	step->has_watermark = definition->has_watermark;
	step->watermark = definition->watermark;
}

/* Record that a step failed, unless somebody else is at the meter. */
static void
record_failure(const char *stream, const char *meter, const char *message,
			   MeterStep *step)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, TEXTOID, INT4OID};
	Datum		values[4];
	int			failures;
	int			wait = RETRY_LAST_SECONDS;
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(meter);
	values[2] = CStringGetTextDatum(message);
	meter_session_begin(&session, meter_extension_owner());
	/* nothing of the definition: what is wrong may be there */
	meter_execute_params("SELECT failures, watermark FROM meter.meter "
						 "WHERE stream = $1 AND name = $2 FOR UPDATE SKIP LOCKED",
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (SPI_processed == 1)
	{
		failures = DatumGetInt32(meter_result(0, 1, &isnull));
		step->has_watermark = meter_result_instant(2, &step->watermark);
		if (failures < 8)
			wait = Min(RETRY_FIRST_SECONDS << failures, RETRY_LAST_SECONDS);
		values[3] = Int32GetDatum(wait);
		meter_execute_params("UPDATE meter.meter SET failures = failures + 1, "
							 "last_error = $3, last_error_at = clock_timestamp(), "
							 "retry_at = clock_timestamp() + make_interval(secs => $4) "
							 "WHERE stream = $1 AND name = $2",
							 SPI_OK_UPDATE, 4, types, values, NULL);
	}
	meter_session_end(&session);
}

/* Was the session told to stop?  A trigger can raise the same code. */
static bool
is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->filename != NULL &&
		strcmp(error->filename, "postgres.c") == 0;
}

/* Say why a step was canceled that took too long. */
static void
describe_expiry(ErrorData *error)
{
	error->message = pstrdup("canceled, since it took longer than \"meter.step_timeout\"");
	error->hint = pstrdup("Look for what takes so long, such as a trigger on a table of the stream; where it is the step itself, raise the setting, or lower \"meter.batch_rows\".");
}

/* The arguments of a step, and where it may leave its memory. */
typedef struct StepCall
{
	const char *stream;
	const char *meter;
	bool		skip_locked;
	MeterStep  *step;
	MemoryContext scratch;
} StepCall;

static void
call_step(void *arg)
{
	StepCall   *call = arg;

	MemoryContextSwitchTo(call->scratch);
	do_step(call->stream, call->meter, call->skip_locked, call->step);
}

/*
 * One bounded step of one meter, in a subtransaction of the caller's
 * transaction.  An error is caught and recorded on the meter.
 */
void
meter_step(const char *stream, const char *meter, bool skip_locked,
		   MeterStep *step)
{
	StepCall	call = {stream, meter, skip_locked, step, NULL};
	ErrorData  *error;

	memset(step, 0, sizeof(*step));
	call.scratch = AllocSetContextCreate(CurrentMemoryContext, "meter step",
										 ALLOCSET_DEFAULT_SIZES);
	error = meter_try(call_step, &call);
	MemoryContextDelete(call.scratch);

	if (error != NULL)
	{
		/* being told to stop is no failure of the meter */
		if (is_cancel(error) && !meter_step_expired)
			ReThrowError(error);
		if (is_cancel(error))
			describe_expiry(error);
		memset(step, 0, sizeof(*step));
		step->failed = true;
		record_failure(stream, meter, error->message, step);
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
	if (allowed == NIL && refs != NIL)
		ereport(NOTICE,
				(errmsg("no meter is advanced: no stream that has one is yours")));
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
		List	   *asked;
		ListCell   *cell;
		int			i = 0;

		PreventCommandIfReadOnly("meter.advance()");
		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(descriptor);
		advanced = palloc(sizeof(Advanced));
		asked = meters_asked_for(PG_ARGISNULL(0) ? NULL :
								 text_to_cstring(PG_GETARG_TEXT_PP(0)),
								 PG_ARGISNULL(1) ? NULL :
								 text_to_cstring(PG_GETARG_TEXT_PP(1)));
		advanced->refs = NIL;
		advanced->steps = palloc(Max(list_length(asked), 1) *
								 sizeof(MeterStep));
		call->user_fctx = advanced;

		/* all steps are made now, even if not all rows are asked for */
		foreach(cell, asked)
		{
			ref = lfirst(cell);
			meter_step(ref->stream, ref->meter, false, &advanced->steps[i]);
			if (advanced->steps[i].skipped)
				continue;		/* dropped meanwhile */
			advanced->refs = lappend(advanced->refs, ref);
			i++;
		}
		call->max_calls = i;
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
