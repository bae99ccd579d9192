/*
 * measure_usage.c
 *	  Usage of measures: what a step settles of them, and computing resources
 *	  anew that late rows have affected.
 *
 * The same stages as in event_usage.c, over two logs: measures make usage, and
 * events say who owns what was used.  A late row of either leads to the
 * resource being computed anew, from the first period that it may change.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/beginning.h"
#include "engine/duplicate_keys.h"
#include "engine/events.h"
#include "engine/late.h"
#include "engine/ledger.h"
#include "engine/measure_usage.h"
#include "engine/measures.h"
#include "engine/payer.h"
#include "engine/period.h"
#include "engine/step_state.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Ledger rows are looked up one by one for up to so many periods of resources.
 */
#define FEW_PROBES	100000

/* Hold measures that came too late, of those that arrived up to `upto`. */
static void
hold_late_measures(const MeterDefinition *definition, const MeterProgress *progress, int64 upto)
{
	const char *schema = quote_identifier(definition->stream);
	TimestampTz limit;

	if (!meter_hold_limit(definition, progress, METER_LOG_MEASURE, &limit))
		return;
	meter_execute(psprintf("INSERT INTO %s.held (meter, log, arrival, \"time\", reason) "
						   "SELECT %s, 'measure', e.arrival, e.start_time, 'too late' FROM %s "
						   "AND e.start_time < %s ON CONFLICT DO NOTHING", schema,
						   quote_literal_cstr(definition->name),
						   meter_late_measures(definition, progress, upto),
						   meter_timestamp_literal(limit)),
				  SPI_OK_INSERT);
	meter_tell_held(definition);
}

/*
 * Process what arrived between the positions and the safe positions.  Returns
 * false if one step does not process all of it.
 */
bool
meter_measure_late(const MeterDefinition *definition, MeterProgress *progress,
				   MeterStep *step)
{
	int64		safe = step->safe[METER_LOG_EVENT];
	int64		measures_safe = step->safe[METER_LOG_MEASURE];
	TimestampTz noted_at = step->noted_at[METER_LOG_EVENT];
	TimestampTz measures_noted_at = step->noted_at[METER_LOG_MEASURE];
	MeterLogProgress *measures = &progress->logs[METER_LOG_MEASURE];
	int64		upto = safe;
	int64		measures_upto = measures_safe;
	const char *schema = quote_identifier(definition->stream);
	const char *watermark;
	int64		nevents = 0;
	int64		nmeasures = 0;
	char	   *late;
	StringInfoData affected;

	if (!progress->has_watermark)
	{
		/* events from before the first measure count as owners */
		if (!meter_first_watermark(definition, progress))
			return true;
		noted_at = progress->logs[METER_LOG_EVENT].position_watermark;
		if (!measures->has_note && !IsolationUsesXactSnapshot())
			measures_noted_at = progress->watermark;
	}
	watermark = meter_timestamp_literal(progress->watermark);

	if (safe > progress->logs[METER_LOG_EVENT].position)
	{
		meter_execute(psprintf("SELECT count(*), max(arrival) FROM (SELECT e.arrival FROM %s "
							   "ORDER BY arrival LIMIT %d) e",
							   meter_late_rows(definition, progress, safe),
							   meter_step_rows(progress)), SPI_OK_SELECT);
		nevents = meter_result_count(1);
		if (nevents >= meter_step_rows(progress))
			upto = meter_result_count(2);
	}
	if (measures_safe > measures->position)
	{
		MeterKeyRange *ranges;
		int			nranges;
		bool		any_late;

		/* mostly nothing is late, and one look over the rows tells that */
		ranges = meter_new_rows(definition, METER_LOG_MEASURE, measures->position,
								measures_safe,
								psprintf("e.start_time < %s", watermark),
								&nranges, &any_late);
		if (any_late)
		{
			meter_execute(psprintf("SELECT count(*), max(arrival) FROM (SELECT e.arrival FROM %s "
								   "ORDER BY arrival LIMIT %d) e",
								   meter_late_measures(definition, progress, measures_safe),
								   meter_step_rows(progress)), SPI_OK_SELECT);
			nmeasures = meter_result_count(1);
			if (nmeasures >= meter_step_rows(progress))
				measures_upto = meter_result_count(2);
		}
		meter_note_duplicate_keys(definition, METER_LOG_MEASURE, ranges, nranges, measures_upto);
	}

	initStringInfo(&affected);
	if (nevents > 0)
	{
		meter_note_voids(definition, progress->logs[METER_LOG_EVENT].position, upto);
		meter_hold_late_rows(definition, progress, upto);
		late = meter_late_rows(definition, progress, upto);
		appendStringInfo(&affected,
						 "SELECT e.resource, e.\"time\" AS first, e.\"time\" AS named_from FROM %s AND e.action <> 'void'",
						 late);
		/* rows of either log that were taken back */
		appendStringInfo(&affected,
						 " UNION ALL SELECT b.resource, b.first, b.named_from FROM ("
						 "SELECT e.resource, coalesce(e.source, '') AS source, e.id FROM %s AND e.action = 'void') v "
						 "JOIN (SELECT e.resource, coalesce(e.source, '') AS source, e.id, e.\"time\" AS first, "
						 "e.\"time\" AS named_from FROM %s.event e WHERE e.id IS NOT NULL AND e.\"time\" < %s "
						 "UNION ALL SELECT e.resource, coalesce(e.source, ''), e.id, e.start_time, NULL "
						 "FROM %s.measure e WHERE e.id IS NOT NULL AND e.start_time < %s) b "
						 "ON b.resource = v.resource AND b.source = v.source AND b.id = v.id",
						 late, schema, watermark, schema, watermark);
	}
	if (nmeasures > 0)
	{
		hold_late_measures(definition, progress, measures_upto);
		appendStringInfo(&affected, "%sSELECT e.resource, e.start_time AS first, NULL::timestamptz AS named_from FROM %s",
						 affected.len > 0 ? " UNION ALL " : "",
						 meter_late_measures(definition, progress, measures_upto));
	}

	progress->logs[METER_LOG_EVENT].position = upto;
	measures->position = measures_upto;
	if (affected.len > 0)
		step->adjustments +=
			meter_measure_recompute(definition, progress,
									psprintf("SELECT resource, min(first) AS first, "
											 "min(named_from) AS named_from FROM (%s) l GROUP BY resource",
											 affected.data),
									progress->watermark, true);
	step->late_rows = nevents + nmeasures;
	/* rows after these drew their arrivals after the note before this one */
	if (upto == safe)
		progress->logs[METER_LOG_EVENT].position_watermark = noted_at;
	if (measures_upto == measures_safe)
		measures->position_watermark = measures_noted_at;
	return upto == safe && measures_upto == measures_safe;
}

/*
 * Compute resources anew, and write how usage up to the watermark differs from
 * the ledger.  `affected` is a query (resource, first, named_from) of these
 * resources, of the instant from which each is affected, and of the instant
 * from which its owners are (NULL: they are not); events before `horizon` name
 * owners.  Returns the number of adjustments.
 */
int64
meter_measure_recompute(const MeterDefinition *definition, const MeterProgress *progress, const char *affected,
						TimestampTz horizon, bool write_states)
{
	StringInfoData sql;
	MeterMeasureScope scope = {0};
	MeterScope	events = {0};
	const char *end = meter_timestamp_literal(progress->watermark);
	const char *schema = quote_identifier(definition->stream);
	TimestampTz first;
	TimestampTz begin = Max(definition->since, definition->boundary);
	int64		naffected;
	bool		few;

	meter_execute(psprintf("SELECT count(*), min(first) FROM (%s) t", affected),
				  SPI_OK_SELECT);
	naffected = meter_result_count(1);
	if (!meter_result_instant(2, &first))
		return 0;
	first = meter_grid_period_begin(definition->grid,
									Max(first, begin));
	few = first >= progress->watermark ||
		meter_grid_count_periods(definition->grid, first, progress->watermark) *
		naffected <= FEW_PROBES;

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH asked AS MATERIALIZED (%s), ", affected);
	events.to = meter_timestamp_literal(horizon);
	events.affected = "asked";
	events.sealed = meter_sealed_for(definition, naffected);
	events.late_from = meter_late_from(definition, progress);
	events.safe = progress->logs[METER_LOG_EVENT].position;
	meter_append_owner_events(&sql, definition, &events);

	/*
	 * An event at or before the first that names an owner may be why that is
	 * the first: then all of the resource is affected.
	 */
	appendStringInfo(&sql,
					 ", named AS (SELECT a.resource, min(v.at) AS at FROM asked a "
					 "LEFT JOIN events v ON v.resource = a.resource WHERE a.named_from IS NOT NULL "
					 "GROUP BY a.resource, a.named_from HAVING a.named_from <= coalesce(min(v.at), 'infinity')), "
					 "looked_back AS (SELECT e.resource, min(e.start_time) AS first FROM %s.measure e "
					 "JOIN named n ON n.resource = e.resource GROUP BY e.resource), "
					 "affected AS MATERIALIZED (SELECT a.resource, greatest(%s, %s) AS begin_at "
					 "FROM asked a LEFT JOIN looked_back l ON l.resource = a.resource), ",
					 schema,
					 TIMESTAMP_IS_NOBEGIN(begin) ? "NULL" :
					 meter_timestamp_literal(begin),
					 meter_period_of(definition, "least(a.first, l.first)"));

	meter_look_up_scope(definition, &scope);
	scope.to = end;
	scope.affected = true;
	scope.sealed = meter_sealed_measures_for(definition, naffected);
	scope.late_from = meter_late_from(definition, progress);
	scope.duplicates = "c.resource IN (SELECT resource FROM affected)";
	meter_append_measures(&sql, definition, progress, &scope);
	if (write_states)
		meter_append_measure_states(&sql, definition, &scope);
	appendStringInfoChar(&sql, ' ');
	meter_append_insert_difference(&sql, definition,
								   progress->settlement + 1,
								   meter_measure_difference(meter_ledger_of_affected(definition,
																					 "affected",
																					 end, few)));
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}

/*
 * Return the query that meter_measure_recompute() takes, for rows that are
 * released.
 */
char *
meter_released_measures(const MeterDefinition *definition, const MeterProgress *progress,
						const char *released)
{
	const char *schema = quote_identifier(definition->stream);
	const char *arrivals = quote_literal_cstr(released);
	const char *watermark = meter_timestamp_literal(progress->watermark);

	return psprintf("SELECT resource, min(first) AS first, min(named_from) AS named_from FROM ("
					"SELECT e.resource, e.\"time\" AS first, e.\"time\" AS named_from FROM %s.event e "
					"WHERE e.arrival = ANY (%s::bigint[]) AND e.\"time\" < %s UNION ALL "
					"SELECT e.resource, e.start_time, NULL FROM %s.measure e "
					"WHERE e.arrival = ANY (%s::bigint[]) AND e.start_time < %s) r GROUP BY resource",
					schema, arrivals, watermark, schema, arrivals, watermark);
}

/*
 * Look at the measures of a span of time: returns about how many parts they
 * have, the first one that began before, and whether all of them lie within a
 * period and name the account.
 */
static double
count_due(const MeterDefinition *definition, TimestampTz from, TimestampTz to,
		  TimestampTz *first_straddler, bool *all_simple)
{
	const char *begin = meter_timestamp_literal(from);
	const char *end = meter_timestamp_literal(to);
	const char *complex = meter_complex_condition(definition, begin);
	bool		sum = definition->aggregate == METER_SUM;
	double		parts;
	bool		isnull;

	meter_execute(psprintf("SELECT count(*), min(e.start_time) FILTER (WHERE e.start_time < %s), "
						   "count(*) FILTER (WHERE %s), "
						   "sum(date_part('epoch', least(e.end_time, %s) - greatest(e.start_time, %s))) FILTER (WHERE %s) "
						   "FROM %s.measure e WHERE e.start_time < %s AND %s",
						   begin, complex, end, begin, complex,
						   quote_identifier(definition->stream), end,
						   sum ? psprintf("(e.end_time > %s OR e.start_time >= %s)", begin, begin) :
						   psprintf("e.start_time >= %s", begin)),
				  SPI_OK_SELECT);
	if (!meter_result_instant(2, first_straddler))
		*first_straddler = DT_NOEND;
	*all_simple = meter_result_count(3) == 0;
	parts = meter_result_count(1);
	if (sum && !*all_simple)
	{
		double		seconds = DatumGetFloat8(meter_result(0, 4, &isnull));

		parts += seconds * USECS_PER_SEC / (to - from) *
			meter_grid_count_periods(definition->grid, from, to);
	}
	return parts;
}

/*
 * Return how far one step settles: up to a period's end, with about
 * meter.batch_rows parts of measures.
 */
TimestampTz
meter_measure_bound(const MeterDefinition *definition,
					const MeterProgress *progress, MeterStep *step,
					TimestampTz target)
{
	TimestampTz watermark = progress->watermark;
	double		rows = count_due(definition, watermark, target,
								 &step->first_straddler,
								 &step->all_simple);

	if (rows > meter_step_rows(progress))
	{
		int64		span = (int64) ((target - watermark) *
									(meter_step_rows(progress) / rows));
		TimestampTz end = meter_grid_period_begin(definition->grid,
												  watermark + span);

		if (end <= watermark)
			end = meter_grid_period_end(definition->grid, watermark);
		target = Min(target, end);
	}
	return target;
}

/* Settle the periods from the watermark to `end`, all resources at once. */
void
meter_measure_settle(const MeterDefinition *definition, MeterProgress *progress, TimestampTz end,
					 MeterStep *step)
{
	const char *stream = quote_literal_cstr(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from = meter_timestamp_literal(progress->watermark);
	const char *to = meter_timestamp_literal(end);
	char	   *named;
	MeterMeasureScope scope = {0};
	MeterSuspects suspects;
	StringInfoData sql;

	named = meter_newly_named(definition, progress, end);
	if (named != NULL)
		step->adjustments +=
			meter_measure_recompute(definition, progress,
									psprintf("SELECT n.*, NULL::timestamptz AS named_from FROM (%s) n", named),
									end, false);

	meter_look_up_scope(definition, &scope);
	scope.from = from;
	scope.to = to;
	scope.named_to = to;
	scope.carried = true;
	scope.late_from = meter_late_from(definition, progress);
	/* a measure that comes meanwhile is late */
	scope.all_simple = step->all_simple;
	meter_find_suspects(definition, progress, METER_LOG_MEASURE, progress->watermark, end,
						step->first_straddler, &suspects);
	if (suspects.count > 0)
	{
		TimestampTz first = Min(progress->watermark,
								step->first_straddler);

		scope.suspects = suspects.hashes;
		scope.duplicates =
			psprintf("c.start_time >= %s",
					 meter_timestamp_literal(meter_later_by(first,
															-definition->deduplication_window)));
		scope.duplicates_from = meter_suspect_rows(definition, progress,
												   METER_LOG_MEASURE,
												   &suspects);
	}

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	meter_append_measures(&sql, definition, progress, &scope);
	meter_append_measure_states(&sql, definition, &scope);
	appendStringInfoChar(&sql, ' ');
	if (progress->watermark > progress->ledger_until)
		/* the ledger has nothing from here on: no difference to look for */
		meter_append_insert_new(&sql, definition, progress->settlement + 1,
								psprintf("meter.transaction_id(%s, %s, w.resource, w.account, w.dimensions, w.period_start)",
										 stream, meter),
								"trim_scale(w.quantity)");
	else
		meter_append_insert_difference(&sql, definition,
									   progress->settlement + 1,
									   meter_measure_difference(meter_ledger_of_range(definition,
																					  from, to)));
	meter_execute(sql.data, SPI_OK_INSERT);
	step->usage_rows += SPI_processed;
	progress->watermark = end;
	meter_prune_duplicate_keys(definition, progress);
}

/*
 * Write how the ledger differs from expected usage from an instant up to `to`,
 * and all states anew.  Returns the number of adjustments.
 */
int64
meter_measure_resettle(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz from,
					   TimestampTz to)
{
	const char *schema = quote_identifier(definition->stream);
	const char *begin = meter_timestamp_literal(from);
	const char *end = meter_timestamp_literal(to);
	const char *late_from = meter_late_from(definition, progress);
	MeterMeasureScope scope = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	/* late rows do not count before a step decides which are held */
	meter_append_measures_of_all(&sql, definition, progress, begin, end, late_from);
	/* states are those at the watermark */
	if (to == progress->watermark)
		meter_append_measure_states(&sql, definition, &scope);
	/* delete the states of resources that no event names any more */
	appendStringInfo(&sql, ", gone AS (DELETE FROM %s._resource_state r WHERE r.meter = %s "
					 "AND r.account IS NOT NULL "
					 "AND NOT EXISTS (SELECT FROM owners o WHERE o.resource = r.resource) "
					 "AND NOT EXISTS (SELECT FROM nameless n WHERE n.resource = r.resource)) ",
					 schema, quote_literal_cstr(definition->name));
	meter_append_insert_difference(&sql, definition,
								   progress->settlement + 1,
								   meter_measure_difference(meter_ledger_of_range(definition,
																				  begin, end)));
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}
