/*
 * late.c
 *	  Late rows: which arrivals change settled periods, which are held, and
 *	  computing anew what is affected.
 *
 * A step looks at what arrived in each log since its position.  Mostly nothing
 * of it is late, and one look over the rows tells that.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "engine/beginning.h"
#include "engine/duplicate_keys.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/late.h"
#include "engine/late_rows.h"
#include "engine/measures.h"
#include "engine/places.h"
#include "engine/reconcile.h"
#include "engine/resources.h"
#include "engine/scatter.h"
#include "engine/settle.h"
#include "engine/step_state.h"
#include "engine/usage.h"
#include "engine/usage_kind.h"
#include "log/segment.h"
#include "pg/now.h"
#include "pg/shard.h"
#include "pg/spi.h"

/*
 * Note the voids among rows e of the event log that meet a condition, but for
 * those that are held.  Each meter has its own notes, so that steps of two
 * meters do not wait for each other.  Returns how many are new.
 */
static uint64
note_voids(const MeterDefinition *definition, const char *condition)
{
	const char *schema = quote_identifier(definition->stream);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s._voided (meter, resource, source, id, \"time\") "
					 "SELECT DISTINCT %s, e.resource, coalesce(e.source, ''), e.id, e.\"time\" FROM %s.event e "
					 "WHERE %s AND e.action = 'void' AND e.id IS NOT NULL", schema,
					 quote_literal_cstr(definition->name), schema, condition);
	meter_append_none_held(&sql, definition, METER_LOG_EVENT, "e");
	appendStringInfoString(&sql, " ORDER BY 2, 3, 4, 5 ON CONFLICT DO NOTHING");
	meter_execute(sql.data, SPI_OK_INSERT);
	return SPI_processed;
}

/* Note the voids that arrived between two positions. */
void
meter_note_voids(const MeterDefinition *definition, int64 after, int64 upto)
{
	(void) note_voids(definition,
					  psprintf("e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT,
							   after, upto));
}

/* Forget the voids that reach no row from an instant on. */
void
meter_prune_voids(const MeterDefinition *definition, TimestampTz from)
{
	meter_execute(psprintf("DELETE FROM %s._voided WHERE meter = %s AND \"time\" < %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(meter_later_by(from, -definition->deduplication_window))),
				  SPI_OK_DELETE);
}

/*
 * Hold the rows that came too late, of those that arrived up to `upto`.  Returns
 * how many.
 */
static int64
hold(const MeterDefinition *definition, const MeterProgress *progress,
	 MeterLog log, int64 upto)
{
	bool		events = log == METER_LOG_EVENT;
	bool		of_shard = meter_current_shard() != NULL;
	const char *time = meter_row_time(meter_placing(definition, log), "e");
	TimestampTz limit = meter_hold_limit(definition, progress, log);
	StringInfoData counted;

	if (TIMESTAMP_IS_NOBEGIN(limit))
		return 0;
	initStringInfo(&counted);
	if (events)
		appendStringInfoString(&counted, " AND e.action NOT LIKE 'reconciled:%'");
	/* who owns what may have been said long before a meter is made */
	if (events && progress->logs[log].position == 0 &&
		meter_usage_of(definition)->log == log)
	{
		appendStringInfoString(&counted, " AND (e.action = 'void' OR ");
		meter_append_event_filter(&counted, definition);
		appendStringInfoString(&counted, ")");
	}
	meter_execute(psprintf("INSERT INTO %s.held (meter, log, arrival, \"time\", reason%s) "
						   "SELECT %s, '%s', e.arrival, %s, %s%s FROM %s AND e.arrival > " INT64_FORMAT " AND %s < %s%s ON CONFLICT DO NOTHING",
						   quote_identifier(definition->stream),
						   of_shard ? ", resource" : "",
						   quote_literal_cstr(definition->name),
						   meter_log_names[log], time,
						   !events ? "'too late'" :
						   psprintf("CASE WHEN e.action = ANY (%s) THEN 'stop, too late' ELSE 'too late' END",
									meter_text_array_literal(definition->stops)),
						   of_shard ? ", e.resource" : "",
						   meter_late_in(definition, progress, log, upto),
						   progress->logs[log].held_after,
						   time, meter_timestamp_literal(limit),
						   counted.data),
				  SPI_OK_INSERT);
	return SPI_processed;
}

/*
 * Append a query of what rows e of a log affect, by FROM and WHERE: resource,
 * from when to when usage may change, from when on owners may, from when on what
 * is known of it, and from when on owners of all kinds of things may.
 */
static void
append_affected(StringInfo sql, const MeterDefinition *definition,
				MeterLog log, const char *rows)
{
	appendStringInfo(sql, "%sSELECT e.resource, %s FROM %s",
					 sql->len > 0 ? " UNION ALL " : "",
					 log == METER_LOG_EVENT ?
					 "e.\"time\" AS first, 'infinity'::timestamptz AS last, e.\"time\" AS named_from, "
					 METER_REACHES("e") " AS known_from, "
					 "CASE WHEN " METER_ENTITY_OF("e") " IS NULL THEN e.\"time\" END AS named_all_from" :
					 psprintf("%s AS first, e.end_time AS last, NULL::timestamptz AS named_from, "
							  "NULL::timestamptz AS known_from, NULL::timestamptz AS named_all_from",
							  meter_row_time(meter_placing(definition, log), "e")),
					 rows);
}

/*
 * Append what measures affect that duplicates of late ones are, by FROM and
 * WHERE of the late ones: those no longer count.
 */
static void
append_silenced(StringInfo sql, const MeterDefinition *definition,
				const char *rows, const MeterPlaces *places)
{
	const char *schema = quote_identifier(definition->stream);
	int64		window = definition->deduplication_window;
	int64		sealed = places->sealed;

	const char *column = meter_time_column(definition, METER_LOG_MEASURE);
	int64		longest = sealed > 0 && definition->aggregate != METER_COUNTER ?
	meter_sealed_longest(definition->stream, "measure") : 0;
	const char *time = psprintf("d.%s", column);

	/* late ones of one name together: they may be many */
	char	   *late = psprintf("(SELECT e.resource, coalesce(e.source, '') AS source, e.id, "
								"array_agg(e.%1$s ORDER BY e.%1$s) AS times, min(e.%1$s) AS first, max(e.%1$s) AS last "
								"FROM %2$s AND e.id IS NOT NULL GROUP BY 1, 2, 3) e", column, rows);
	char	   *alike = psprintf("d.resource = e.resource AND d.id = e.id AND coalesce(d.source, '') = e.source "
								 "AND %s >= e.first AND %s <= %s AND d.end_time >= e.first "
								 "AND meter_internal.any_between(e.times, %s, %s)",
								 time, time, meter_later_than("e.last", window),
								 meter_earlier_by(time, window), time);

	if (sealed > 0)
		appendStringInfo(sql, " UNION ALL SELECT d.resource, %s, d.end_time, NULL, NULL, NULL "
						 "FROM %s CROSS JOIN LATERAL ("
						 "SELECT * FROM %s.measure d WHERE d.arrival < " INT64_FORMAT " AND %s%s OFFSET 0) d",
						 time, late, schema, sealed, alike,
						 longest < 0 ? "" :
						 psprintf(" AND d.end_time <= %s",
								  meter_later_than(meter_later_than("e.last", window), longest)));
	appendStringInfo(sql, " UNION ALL SELECT d.resource, %s, d.end_time, NULL, NULL, NULL "
					 "FROM %s JOIN %s d ON %s WHERE d.arrival >= " INT64_FORMAT,
					 time, late, meter_newest_rows(places, definition, METER_LOG_MEASURE),
					 alike, sealed);
}

/* Append what voids affect, by FROM and WHERE of them: what they take back. */
static void
append_voided(StringInfo sql, const MeterDefinition *definition,
			  const MeterProgress *progress, const char *rows,
			  const MeterPlaces *places)
{
	const char *voids = psprintf("(%s) v",
								 meter_voids_by_name(psprintf("(SELECT e.* FROM %s AND e.action = 'void') v",
															  rows)));
	const char *resources = psprintf("(SELECT DISTINCT e.resource FROM %s AND e.action = 'void')",
									 rows);
	int64		window = definition->deduplication_window;
	const char *watermark = meter_timestamp_literal(progress->watermark);

	appendStringInfo(sql, " UNION ALL SELECT b.resource, " METER_REACHES("b") ", 'infinity', b.\"time\", "
					 METER_REACHES("b") ", b.\"time\" FROM %s b JOIN %s ON %s",
					 meter_rows_of_resources(definition,
											 resources,
											 &places[METER_LOG_EVENT], NULL,
											 meter_may_straddle(definition, progress->watermark) ? NULL : watermark),
					 voids, meter_takes_back(METER_BY_TIME, "b", window));
	if (meter_usage_of(definition)->log == METER_LOG_MEASURE)
	{
		MeterPlacing placing = meter_placing(definition, METER_LOG_MEASURE);

		appendStringInfo(sql, " UNION ALL SELECT b.resource, %s, b.end_time, NULL, NULL, NULL FROM %s b JOIN %s ON %s",
						 meter_row_time(placing, "b"),
						 meter_measures_of_resources(definition, resources,
													 &places[METER_LOG_MEASURE],
													 watermark),
						 voids, meter_takes_back(placing, "b", window));
	}
}

/*
 * Return the query that meter_recompute() takes, of what these rows of a log
 * affect.
 */
static char *
group_affected(const char *affected)
{
	return psprintf("SELECT resource, min(first), max(last), min(named_from), min(known_from), min(named_all_from) FROM (%s) l "
					"GROUP BY resource ORDER BY resource", affected);
}

/*
 * Let rows of the table held count that meet a condition.  Arrivals of the two
 * logs have nothing to do with each other.
 */
void
meter_take_held(const MeterDefinition *definition, const char *condition,
				MeterReleased *released)
{
	meter_execute(psprintf("WITH gone AS (DELETE FROM %s.held WHERE meter = %s AND %s RETURNING arrival, log) "
						   "SELECT count(*), array_agg(arrival) FILTER (WHERE log = '%s'), "
						   "array_agg(arrival) FILTER (WHERE log = '%s') FROM gone",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name), condition,
						   meter_log_names[METER_LOG_EVENT],
						   meter_log_names[METER_LOG_MEASURE]),
				  SPI_OK_SELECT);
	released->count = meter_result_count(1);
	released->arrivals[METER_LOG_EVENT] = meter_result_text(0, 2);
	released->arrivals[METER_LOG_MEASURE] = meter_result_text(0, 3);
}

/* Return FROM and WHERE of the rows e of a log that are released. */
static char *
released_of(const MeterDefinition *definition, const MeterReleased *released,
			MeterLog log)
{
	return psprintf("%s.%s e WHERE e.arrival = ANY (%s::bigint[])",
					quote_identifier(definition->stream), meter_log_names[log],
					quote_literal_cstr(released->arrivals[log]));
}

/*
 * Compare resources with the snapshots again of which events are released.
 * What comes of it is logged, and read by the next step.
 */
void
meter_compare_released(const MeterDefinition *definition,
					   const MeterProgress *progress,
					   const MeterReleased *released)
{
	char	   *events;

	if (released->arrivals[METER_LOG_EVENT] == NULL)
		return;
	events = released_of(definition, released, METER_LOG_EVENT);
	(void) meter_compare_affected(definition, progress,
								  psprintf("SELECT DISTINCT e.resource FROM %s",
										   events),
								  psprintf("(SELECT min(%s) FROM %s)",
										   meter_least_time("e", definition->deduplication_window),
										   events));
}

/*
 * Return that query for rows that are released.  Voids among them are noted.
 * Without a watermark nothing is settled that they could affect.
 */
static char *
released_rows(const MeterDefinition *definition,
			  const MeterProgress *progress, const MeterReleased *released)
{
	const char *watermark = meter_timestamp_literal(progress->has_watermark ?
													progress->watermark : DT_NOBEGIN);
	MeterPlaces places[METER_NLOGS];
	StringInfoData affected;
	MeterLog	log;

	memset(places, 0, sizeof(places));
	initStringInfo(&affected);
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		places[log].sealed = meter_sealed_for(definition, log, released->count);
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		char	   *rows;
		char	   *late;

		if (released->arrivals[log] == NULL)
			continue;
		rows = released_of(definition, released, log);
		late = psprintf("%s AND %s < %s%s", rows, meter_row_time(meter_placing(definition, log), "e"),
						watermark,
						log == METER_LOG_EVENT ? " AND e.action <> 'void'" : "");
		append_affected(&affected, definition, log, late);
		if (log == METER_LOG_EVENT &&
			note_voids(definition, psprintf("e.arrival = ANY (%s::bigint[])",
											quote_literal_cstr(released->arrivals[log]))) > 0 &&
			progress->has_watermark)
			append_voided(&affected, definition, progress, rows, places);
		if (log == METER_LOG_MEASURE)
			append_silenced(&affected, definition, late, &places[log]);
	}
	return group_affected(affected.data);
}

/*
 * Compute anew what rows affect that are released.  Returns the number of
 * adjustments.
 */
static int64
recompute_released(const MeterDefinition *definition, MeterProgress *progress,
				   const MeterReleased *released)
{
	/* voids among them are noted, also if all they reach is to come */
	char	   *affected = released_rows(definition, progress, released);

	return progress->has_watermark ?
		meter_recompute(definition, progress, affected, NULL) : 0;
}

/* Do so on a shard, for rows of any: `arrivals` has those of each log. */
int64
meter_recompute_released(const MeterDefinition *definition,
						 MeterProgress *progress, const char *arrivals)
{
	MeterReleased released = {0};
	char	   *events = pstrdup(arrivals);
	char	   *measures = strchr(events, ' ');

	*measures++ = '\0';
	released.arrivals[METER_LOG_EVENT] = *events == '\0' ? NULL : events;
	released.arrivals[METER_LOG_MEASURE] = *measures == '\0' ? NULL : measures;
	if (released.arrivals[METER_LOG_EVENT] == NULL &&
		released.arrivals[METER_LOG_MEASURE] == NULL)
		return 0;
	return recompute_released(definition, progress, &released);
}

/*
 * Do so on each shard.  Shards do not release rows themselves where there are
 * snapshots: what these say of the rows has to be logged before.
 */
static int64
scatter_released(const MeterDefinition *definition, MeterProgress *progress,
				 const MeterReleased *released)
{
	const char *events = released->arrivals[METER_LOG_EVENT];
	const char *measures = released->arrivals[METER_LOG_MEASURE];
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	meter_scatter_said(definition, progress, METER_SHARD_RELEASED,
					   psprintf("%s %s", events ? events : "",
								measures ? measures : ""), asks, tells);
	return tells[METER_TELL_ADJUSTMENTS];
}

/*
 * Let rows of the table held count that meet a condition, and compute what they
 * affect anew.  Returns how many rows that are; *written is the number of
 * adjustments.
 */
int64
meter_release_held(const MeterDefinition *definition, MeterProgress *progress,
				   const char *condition, int64 *written)
{
	MeterReleased released;

	*written = 0;
	if (definition->shards > 0 && !meter_any_snapshot(definition))
	{
		int64		asks[METER_NASKS] = {0};
		int64		tells[METER_NTELLS];

		meter_scatter_said(definition, progress, METER_SHARD_RELEASE, condition,
						   asks, tells);
		*written = tells[METER_TELL_ADJUSTMENTS];
		return tells[METER_TELL_LATE_ROWS];
	}
	meter_take_held(definition, condition, &released);
	meter_compare_released(definition, progress, &released);
	if (released.count > 0)
		*written = definition->shards > 0 ?
			scatter_released(definition, progress, &released) :
			recompute_released(definition, progress, &released);
	return released.count;
}

/*
 * Return the condition that a row e of a log may be late, or has to be held,
 * quick to see.
 */
static char *
may_be_late(const MeterDefinition *definition, const MeterProgress *progress,
			MeterLog log)
{
	TimestampTz before = progress->has_watermark ? progress->watermark : DT_NOBEGIN;

	before = Max(before, meter_hold_limit(definition, progress, log));
	if (log == METER_LOG_MEASURE)
		return psprintf("%s < %s", meter_row_time(meter_placing(definition, log), "e"),
						meter_timestamp_literal(before));
	if (progress->has_watermark &&
		meter_may_straddle(definition, progress->watermark))
		return "true";
	/* voids are noted, whatever their time */
	return psprintf("e.action = 'void' OR e.\"time\" < %s",
					meter_timestamp_literal(before));
}

/* Late rows of a log, by FROM and WHERE. */
typedef struct LateRows
{
	int64		count;
	int64		nvoids;			/* of them */
	const char *rows;
} LateRows;

/*
 * Look at what arrived in a log up to the safe position: hold what is too
 * late, and move the position, if more is late than one step takes not all the
 * way.
 */
static void
look_at(const MeterDefinition *definition, MeterProgress *progress,
		MeterStep *step, MeterLog log, LateRows *late)
{
	MeterLogProgress *of_log = &progress->logs[log];
	int64		safe = step->safe[log];
	int64		upto = safe;
	int64		after = of_log->position;
	MeterNewRows *rows;
	bool		any_late;

	memset(late, 0, sizeof(*late));
	if (safe <= of_log->position)
		return;
	rows = meter_new_rows(definition, log, after, safe,
						  may_be_late(definition, progress, log), &any_late);
	if (any_late)
	{
		/* with as many rows as a step takes there may be more */
		meter_execute_row(psprintf("SELECT count(*), max(arrival), count(*) FILTER (WHERE void) "
								   "FROM (SELECT e.arrival, %s AS void FROM %s ORDER BY 1 LIMIT %d) e",
								   log == METER_LOG_EVENT ? "e.action = 'void'" : "false",
								   meter_late_in(definition, progress, log, safe),
								   meter_step_rows(progress)));
		late->count = meter_result_count(1);
		late->nvoids = meter_result_count(3);
		if (late->count >= meter_step_rows(progress))
			upto = meter_result_count(2);
	}
	if (late->count > 0)
	{
		step->held[log] = hold(definition, progress, log, upto);
		late->rows = meter_late_in(definition, progress, log, upto);
	}
	/* also those that are not late: what they reach is still to come */
	if (log == METER_LOG_EVENT && any_late)
		meter_note_voids(definition, after, upto);
	if (upto < safe)
		of_log->read_arrival = upto;
	else
		of_log->read_arrival = Max(of_log->read_arrival,
								   meter_last_new_row(rows));
	meter_note_duplicate_keys(rows, upto == safe, after, upto);
	of_log->position = upto;
}

/*
 * Compute anew what late rows affect, of each log.  Returns the number of
 * adjustments.
 */
static int64
recompute(const MeterDefinition *definition, MeterProgress *progress,
		  const LateRows *late)
{
	MeterLog	last = meter_usage_of(definition)->log;
	MeterPlaces places[METER_NLOGS];
	StringInfoData resources;
	StringInfoData affected;
	MeterResources *list;
	MeterLog	log;
	int64		rows;

	initStringInfo(&resources);
	for (log = METER_LOG_EVENT; log <= last; log++)
	{
		if (late[log].count > 0)
			appendStringInfo(&resources, "%sSELECT e.resource FROM %s",
							 resources.len > 0 ? " UNION ALL " : "",
							 late[log].rows);
	}
	list = meter_resources_from_query(psprintf("SELECT DISTINCT resource, NULL::timestamptz FROM (%s) r",
											   resources.data));
	memset(places, 0, sizeof(places));
	for (log = METER_LOG_EVENT; log <= last; log++)
		meter_find_places(&places[log], definition, log,
						  meter_resources_names(list), list->count);

	initStringInfo(&affected);
	for (log = METER_LOG_EVENT; log <= last; log++)
	{
		if (late[log].count == 0)
			continue;
		append_affected(&affected, definition, log, log == METER_LOG_EVENT ?
						psprintf("%s AND e.action <> 'void'", late[log].rows) :
						late[log].rows);
		if (late[log].nvoids > 0)
			append_voided(&affected, definition, progress, late[log].rows,
						  places);
		if (log == METER_LOG_MEASURE)
			append_silenced(&affected, definition, late[log].rows,
							&places[log]);
	}
	rows = meter_recompute(definition, progress, group_affected(affected.data),
						   places);
	for (log = METER_LOG_EVENT; log <= last; log++)
		meter_forget_places(&places[log]);
	return rows;
}

/*
 * Let events that only say who owns what count, however old they are, if they
 * are there in the first step of a meter of measures.
 */
static void
let_owners_count(const MeterUsage *usage, MeterProgress *progress,
				 const MeterStep *step)
{
	MeterLogProgress *events = &progress->logs[METER_LOG_EVENT];

	if (usage->log == METER_LOG_MEASURE && events->position == 0)
		events->held_after = Max(events->held_after,
								 step->safe[METER_LOG_EVENT]);
}

/*
 * Process what arrived in the logs from one on between the positions and the
 * safe positions, or as much of it as a step takes.
 */
void
meter_settle_late_rows(const MeterDefinition *definition,
					   MeterProgress *progress, MeterStep *step,
					   MeterLog first)
{
	LateRows	late[METER_NLOGS] = {0};
	int64		late_rows = 0;
	MeterLog	log;

	for (log = first; log <= meter_usage_of(definition)->log; log++)
	{
		look_at(definition, progress, step, log, &late[log]);
		late_rows += late[log].count;
	}
	step->late_rows += late_rows;
	if (late_rows > 0 && progress->has_watermark)
		step->adjustments += recompute(definition, progress, late);
}

/*
 * Return up to which arrival shards process what arrived in a log: the safe
 * position, unless there may be more late rows than a step takes.
 */
static int64
how_far(const MeterDefinition *definition, const MeterProgress *progress,
		const MeterStep *step, MeterLog log)
{
	int64		safe = step->safe[log];
	int			rows = meter_step_rows(progress);
	const char *late;

	if (safe <= progress->logs[log].position)
		return progress->logs[log].position;
	late = psprintf("%s.%s e WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT " AND (%s)",
					quote_identifier(definition->stream), meter_log_names[log],
					progress->logs[log].position, safe,
					may_be_late(definition, progress, log));
	meter_execute_row(psprintf("SELECT count(*) FROM %s", late));
	if (meter_result_count(1) < rows)
		return safe;
	meter_execute(psprintf("SELECT e.arrival FROM %s ORDER BY 1 OFFSET %d LIMIT 1",
						   late, rows - 1), SPI_OK_SELECT);
	return SPI_processed == 0 ? safe : meter_result_count(1);
}

/* Do so on each shard. */
static void
scatter_late_rows(const MeterDefinition *definition, MeterProgress *progress,
				  MeterStep *step, MeterLog first)
{
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];
	int64	   *upto = &asks[METER_ASK_UPTO];
	bool		any = false;
	MeterLog	log;

	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		upto[log] = log < first || log > meter_usage_of(definition)->log ?
			progress->logs[log].position :
			how_far(definition, progress, step, log);
		any |= upto[log] > progress->logs[log].position;
	}
	if (!any)
		return;
	meter_scatter(definition, progress, METER_SHARD_LATE, asks, tells, NULL, NULL);
	step->adjustments += tells[METER_TELL_ADJUSTMENTS];
	step->late_rows += tells[METER_TELL_LATE_ROWS];
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		MeterLogProgress *of_log = &progress->logs[log];

		step->held[log] = tells[METER_TELL_HELD + log];
		of_log->read_arrival = Max(of_log->read_arrival,
								   tells[METER_TELL_READ + log]);
		of_log->position = upto[log];
	}
}

/*
 * Process what arrived between the positions and the safe positions: rows of
 * settled periods make adjustments.  Returns false if one step does not
 * process all of it; the positions are then where the step got to.
 */
bool
meter_settle_late(const MeterDefinition *definition, MeterProgress *progress,
				  MeterStep *step)
{
	const MeterUsage *usage = meter_usage_of(definition);
	bool		first_step = !progress->has_watermark ||
	progress->logs[usage->log].position == 0;
	MeterLog	first = METER_LOG_EVENT;
	bool		all = true;
	MeterLog	log;

	/* without a clock nobody can say what is too late, and nothing is due */
	if (!meter_first_clock(definition, progress, step))
		return true;
	/* until there is a measure, it is not known which events are late */
	if (!progress->has_watermark && usage->begins_late &&
		!meter_first_watermark(definition, progress))
		first = usage->log;
	else if (first_step)
		let_owners_count(usage, progress, step);

	if (definition->shards > 0)
		scatter_late_rows(definition, progress, step, first);
	else
		meter_settle_late_rows(definition, progress, step, first);
	for (log = first; log <= usage->log; log++)
	{
		/* rows after these drew their arrivals after the note before this one */
		if (progress->logs[log].position == step->safe[log])
			progress->logs[log].position_watermark = step->noted_at[log];
		else
			all = false;
	}
	return all;
}
