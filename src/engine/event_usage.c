/*
 * event_usage.c
 *	  Usage of events: what a step settles, and computing resources anew that
 *	  late rows have affected.
 *
 * Settling starts from the states at the watermark and the events since;
 * computing anew starts from all events of a resource.  Both write expected
 * usage where the ledger can have nothing, and elsewhere its difference to the
 * ledger.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/duplicate_keys.h"
#include "engine/event_usage.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/ledger.h"
#include "engine/payer.h"
#include "engine/row_kind.h"
#include "engine/step_state.h"
#include "pg/spi.h"

/*
 * Ledger rows are looked up one by one for up to so many periods of resources.
 */
#define FEW_PROBES	100000

/*
 * Compute resources anew from all their events before `horizon`, and write how
 * usage up to the watermark differs from the ledger.  `affected` is a query
 * (resource, first) of these resources and of the instant from which each is
 * affected.  Returns the number of adjustments.
 */
int64
meter_recompute(const MeterDefinition *definition, const MeterProgress *progress, const char *affected,
				int64 safe, TimestampTz horizon, bool write_states)
{
	StringInfoData sql;
	StringInfoData difference;
	MeterScope	scope = {0};
	const char *end = meter_timestamp_literal(progress->watermark);
	TimestampTz begin = Max(definition->since, definition->boundary);
	const char *since = TIMESTAMP_IS_NOBEGIN(begin) ? NULL :
	meter_timestamp_literal(begin);
	bool		straddling = meter_may_straddle(definition,
												progress->watermark);
	TimestampTz first;
	int64		naffected;
	bool		few;

	meter_execute_row(psprintf("SELECT count(*), min(first) FROM (%s) t", affected));
	naffected = meter_result_count(1);
	if (!meter_result_instant(2, &first))
		return 0;
	first = Max(first, begin);
	few = first >= progress->watermark ||
		(!TIMESTAMP_NOT_FINITE(first) &&
		 meter_grid_count_periods(definition->grid,
								  meter_grid_period_begin(definition->grid, first),
								  progress->watermark) * naffected <= FEW_PROBES);

	scope.to = meter_timestamp_literal(horizon);
	scope.affected = "affected";
	scope.sealed = meter_sealed_for(definition, naffected);
	scope.straddling = straddling ? "straddling" : NULL;
	scope.late_from = meter_late_from(definition, progress);
	scope.safe = safe;
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH affected AS MATERIALIZED (SELECT t.resource, t.first, "
					 "%smeter_internal.settle_period_begin(%s, t.first)%s AS begin_at FROM (%s) t), ",
					 since ? "greatest(" : "", definition->spec,
					 since ? psprintf(", %s)", since) : "",
					 affected);
	if (straddling)
	{
		appendStringInfoString(&sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(&sql, definition, "affected", end);
		appendStringInfoString(&sql, "), ");
	}
	meter_append_events(&sql, definition, &scope);

	/*
	 * A row at or before the first that names an account may be why that is
	 * the first: then all of the resource is affected.  A row before a
	 * observation may change what that makes of all it reaches back to.  A
	 * resource of which no event is left has a timeline without a run.
	 */
	appendStringInfo(&sql,
					 ", timelines AS MATERIALIZED (SELECT n.resource, n.timeline, %sn.earliest, "
					 "%sCASE WHEN n.begin_at <= coalesce(n.named, 'infinity') "
					 "THEN least(n.begin_at, meter_internal.settle_period_begin(%s, n.earliest)) "
					 "WHEN n.reach IS NOT NULL "
					 "THEN least(n.begin_at, meter_internal.settle_period_begin(%s, greatest(n.reach, n.earliest))) "
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
					 "min(least(e.at, meter_internal.observation_instant(e.observation, 'since'))) AS earliest, "
					 "min(" METER_REACH("e.observation", "e.at", METER_IS_KIND("e.kind", LOGGED_ABSENT))
					 ") FILTER (WHERE " METER_IS_LOGGED_OBSERVATION("e.kind") " AND e.at >= e.first) AS reach FROM ("
					 "SELECT v.resource, " METER_EVENT_COLUMNS("v") ", t.first, t.begin_at "
					 "FROM events v JOIN affected t ON t.resource = v.resource UNION ALL "
					 "SELECT t.resource, " METER_SQL_KIND(CARRIED_CLOSED) ", NULL, NULL, array_fill(NULL::text, ARRAY[%d]), NULL, NULL, NULL, NULL, NULL, "
					 "t.first, t.begin_at FROM affected t%s) e GROUP BY e.resource) n)",
					 definition->ndimensions,
					 TIMESTAMP_IS_NOBEGIN(definition->boundary) ? "" :
					 psprintf(" WHERE NOT EXISTS (SELECT FROM %s._retention_state f "
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
							meter_ledger_of_affected(definition, "timelines",
													 end, few));
	appendStringInfoChar(&sql, ' ');
	meter_append_insert_difference(&sql, definition,
								   progress->settlement + 1,
								   difference.data);
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}

/* Note the hashes of rows that have an id, up to the new position. */
static void
note_keys(const MeterDefinition *definition, const MeterProgress *progress,
		  int64 upto)
{
	int64		position = progress->logs[METER_LOG_EVENT].position;
	MeterKeyRange *ranges;
	int			nranges;
	bool		any_late;

	if (upto <= position)
		return;
	ranges = meter_new_rows(definition, METER_LOG_EVENT, position, upto,
							"false", &nranges, &any_late);
	meter_note_duplicate_keys(definition, METER_LOG_EVENT, ranges, nranges,
							  upto);
}

/*
 * Process what arrived between the position and the safe position: rows of
 * settled periods make adjustments.  Returns false if one step does not
 * process all of it; the position is then where the step got to.
 */
bool
meter_settle_late(const MeterDefinition *definition, MeterProgress *progress,
				  MeterStep *step)
{
	int64		safe = step->safe[METER_LOG_EVENT];
	int64		nrows;
	int64		nvoids;
	int64		upto = safe;
	char	   *late;
	char	   *affected;

	if (safe > progress->logs[METER_LOG_EVENT].position && progress->has_watermark)
	{
		/* with as many rows as a step takes there may be more */
		meter_execute_row(psprintf("SELECT count(*), max(arrival), count(*) FILTER (WHERE action = 'void') "
								   "FROM (SELECT e.arrival, e.action FROM %s ORDER BY arrival LIMIT %d) e",
								   meter_late_rows(definition, progress, safe),
								   meter_step_rows(progress)));
		nrows = meter_result_count(1);
		nvoids = meter_result_count(3);
		if (nrows >= meter_step_rows(progress))
			upto = meter_result_count(2);
		if (nrows > 0)
		{
			meter_note_voids(definition, progress->logs[METER_LOG_EVENT].position, upto);
			meter_hold_late_rows(definition, progress, upto);
			late = meter_late_rows(definition, progress, upto);
			affected = psprintf("SELECT e.resource, e.\"time\" AS at FROM %s AND e.action <> 'void'",
								late);
			if (nvoids > 0)
				affected = psprintf("%s UNION ALL SELECT b.resource, CASE WHEN " METER_IS_OBSERVATION("b") " THEN "
									METER_REACH("b.attributes", "b.\"time\"", "b.action = 'reconciled:stop'")
									" ELSE b.\"time\" END FROM %s b "
									"JOIN (SELECT e.resource, coalesce(e.source, '') AS source, e.id "
									"FROM %s AND e.action = 'void') v "
									"ON b.resource = v.resource AND b.id = v.id "
									"AND coalesce(b.source, '') = v.source",
									affected,
									meter_rows_of_resources(definition,
															psprintf("(SELECT DISTINCT e.resource FROM %s AND e.action = 'void')", late),
															meter_sealed_for(definition, nvoids),
															meter_may_straddle(definition, progress->watermark) ? NULL :
															meter_timestamp_literal(progress->watermark)),
									late);
			step->adjustments +=
				meter_recompute(definition, progress,
								psprintf("SELECT resource, min(at) AS first FROM (%s) l GROUP BY resource",
										 affected),
								upto, progress->watermark, true);
			step->late_rows = nrows;
		}
	}
	/* without a watermark no row is late, but voids count */
	else if (safe > progress->logs[METER_LOG_EVENT].position)
		meter_note_voids(definition, progress->logs[METER_LOG_EVENT].position, safe);

	note_keys(definition, progress, upto);
	progress->logs[METER_LOG_EVENT].position = upto;
	/* rows after `upto` drew their arrivals after the note before this one */
	if (upto == safe)
		progress->logs[METER_LOG_EVENT].position_watermark =
			step->noted_at[METER_LOG_EVENT];
	return upto == safe;
}

/*
 * Write the adjustments for resources whose account is named for the first
 * time before `end`.
 */
void
meter_settle_named(const MeterDefinition *definition,
				   const MeterProgress *progress, TimestampTz end,
				   MeterStep *step)
{
	char	   *named = meter_newly_named(definition, progress, end);

	if (named != NULL)
		step->adjustments += meter_recompute(definition, progress, named,
											 progress->logs[METER_LOG_EVENT].position, end,
											 false);
}

/* The time that is due is divided into so many pieces. */
#define PIECES	256

/*
 * Return how far one step settles: up to a period's end, with about
 * meter.batch_rows usage rows and events.  A resource that runs makes a row in
 * each period, and so does one that starts meanwhile, from there on.
 */
TimestampTz
meter_bound_step(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz target)
{
	const char *schema = quote_identifier(definition->stream);
	double		periods = meter_grid_count_periods(definition->grid, progress->watermark,
												   target);
	double		begin = (double) progress->watermark / USECS_PER_SEC;
	double		length = (double) (target - progress->watermark) / PIECES;
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
					 meter_timestamp_literal(progress->watermark),
					 meter_timestamp_literal(target));
	meter_execute(sql.data, SPI_OK_SELECT);
	for (i = 0; i < SPI_processed; i++)
	{
		piece = Max(DatumGetInt32(meter_result(i, 1, &isnull)) - 1, 0);
		events[piece] = DatumGetInt64(meter_result(i, 2, &isnull));
		starts[piece] = DatumGetInt64(meter_result(i, 3, &isnull));
		stops[piece] = DatumGetInt64(meter_result(i, 4, &isnull));
	}

	meter_execute_row(psprintf("SELECT count(*) FROM %s._resource_state WHERE meter = %s AND active",
							   schema, quote_literal_cstr(definition->name)));
	running = meter_result_count(1);
	for (piece = 0; piece < PIECES; piece++)
	{
		double		more = events[piece] +
		(running + starts[piece]) * periods / PIECES;

		if (rows + more > meter_step_rows(progress))
			break;
		rows += more;
		running = Max(running + starts[piece] - stops[piece], 0);
	}
	if (piece == PIECES)
		return target;

	/* the first piece alone may be too much */
	end = progress->watermark +
		(int64) (length * (piece > 0 ? piece :
						   meter_step_rows(progress) /
						   (events[0] + (running + starts[0]) * periods / PIECES)));
	end = meter_grid_period_begin(definition->grid, end);
	if (end <= progress->watermark)
		end = meter_grid_period_end(definition->grid, progress->watermark);
	return Min(target, end);
}

/*
 * Settle the periods from the watermark to `end` by one statement of SQL, all
 * resources at once.
 */
static void
settle_by_statement(const MeterDefinition *definition, MeterProgress *progress,
					TimestampTz end, bool straddling, MeterStep *step)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from = meter_timestamp_literal(progress->watermark);
	const char *to = meter_timestamp_literal(end);
	MeterScope	scope = {0};
	StringInfoData sql;

	scope.from = from;
	scope.to = to;
	scope.straddling = straddling ? "straddling" : NULL;
	scope.late_from = meter_late_from(definition, progress);
	scope.safe = progress->logs[METER_LOG_EVENT].position;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	if (straddling)
	{
		appendStringInfoString(&sql, "straddling AS MATERIALIZED (");
		meter_append_straddling(&sql, definition, NULL, to);
		appendStringInfoString(&sql, "), ");
	}
	meter_append_events(&sql, definition, &scope);
	/* resources without events since need no timeline, see below */
	appendStringInfo(&sql,
					 ", busy AS MATERIALIZED (SELECT DISTINCT resource FROM events), "
					 "timelines AS MATERIALIZED (SELECT e.resource, ");
	if (straddling)
		meter_append_before(&sql, definition, to);
	appendStringInfo(&sql,
					 METER_TIMELINE("e") " AS timeline FROM ("
					 "SELECT * FROM events UNION ALL "
					 "SELECT r.resource, " METER_CARRIED ", NULL FROM busy b "
	/* states are looked up one by one, so closed ones cost nothing */
					 "CROSS JOIN LATERAL (SELECT * FROM %s._resource_state s WHERE s.meter = %s "
					 "AND s.resource = b.resource OFFSET 0) r"
					 ") e GROUP BY e.resource), states AS (",
					 schema, meter);
	meter_append_upsert_state(&sql, definition, from, straddling);
	/* resources that run throughout fill each period: no timeline is needed */
	appendStringInfo(&sql,
					 "), expected AS (SELECT (w.row).transaction_id, w.resource, (w.row).account, "
					 "(w.row).dimensions, (w.row).period_start, (w.row).quantity FROM ("
					 "SELECT t.resource, meter_internal.settle_rows(%s, t.resource, t.timeline, %s, %s) AS \"row\" "
					 "FROM timelines t) w UNION ALL "
					 "SELECT meter_internal.settle_transaction_id(%s, r.resource, r.account, r.dimensions, p.period_start), "
					 "r.resource, coalesce(r.account, ''), meter_internal.settle_dimensions(%s, r.dimensions), "
					 "p.period_start, %s FROM %s._resource_state r CROSS JOIN ",
					 definition->spec, from, to, definition->spec,
					 definition->spec,
					 definition->aggregate == METER_DURATION ? "p.quantity" :
					 psprintf("meter_internal.settle_quantity(%s, r.value, p.period_start)",
							  definition->spec),
					 schema);
	if (meter_grid_period_end(definition->grid, progress->watermark) >= end)
		/* one period: the planner need not join */
		appendStringInfo(&sql, "(SELECT %s AS period_start, meter_internal.settle_quantity(%s, NULL, %s) AS quantity) p",
						 from, definition->spec, from);
	else
		appendStringInfo(&sql, "(SELECT s.period_start, meter_internal.settle_quantity(%s, NULL, s.period_start) AS quantity "
						 "FROM meter_internal.settle_periods(%s, %s, %s) s (period_start) OFFSET 0) p",
						 definition->spec, definition->spec, from, to);
	appendStringInfo(&sql,
					 " WHERE r.meter = %s AND r.active AND NOT EXISTS (SELECT FROM busy b WHERE b.resource = r.resource)%s) ",
					 meter,
					 definition->aggregate == METER_DURATION ? "" :
					 psprintf(" AND meter_internal.settle_quantity(%s, r.value, p.period_start) <> 0",
							  definition->spec));
	if (progress->watermark > progress->ledger_until)
		/* the ledger has nothing from here on: no difference to look for */
		meter_append_insert_new(&sql, definition, progress->settlement + 1,
								"w.transaction_id", "w.quantity");
	else
		meter_append_insert_difference(&sql, definition,
									   progress->settlement + 1,
									   psprintf("SELECT w.resource, w.account, w.dimensions, "
												"w.period_start, w.quantity, 0 FROM expected w "
												"UNION ALL %s",
												meter_ledger_of_range(definition, from, to)));
	meter_execute(sql.data, SPI_OK_INSERT);
	step->usage_rows += SPI_processed;
	progress->watermark = end;
}

/* Settle the periods from the watermark to `end`. */
void
meter_settle_events(const MeterDefinition *definition, MeterProgress *progress,
					TimestampTz end, MeterStep *step)
{
	bool		straddling = meter_may_straddle(definition, end);

	if (straddling || progress->watermark <= progress->ledger_until ||
		!meter_fold_settle(definition, progress, end, step))
		settle_by_statement(definition, progress, end, straddling, step);
	meter_prune_duplicate_keys(definition, progress);
}
