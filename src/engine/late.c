/*
 * late.c
 *	  Late rows: which arrivals change settled periods, and which are held.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/events.h"
#include "engine/late.h"
#include "engine/usage.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Give a meter its first watermark: the period of its first event that is not
 * in the future.  Returns false if there is none.
 */
bool
meter_first_watermark(const MeterDefinition *definition, MeterProgress *progress)
{
	TimestampTz first;

	meter_execute_row(meter_earliest_instant(definition));
	if (!meter_result_instant(1, &first) || first > meter_now())
		return false;
	progress->has_watermark = true;
	progress->watermark = meter_grid_period_begin(definition->grid, first);
	/* nobody is about to commit rows: those to come arrive after this */
	if (!progress->logs[METER_LOG_EVENT].has_note && !IsolationUsesXactSnapshot())
		progress->logs[METER_LOG_EVENT].position_watermark = progress->watermark;
	return true;
}

/* Return about how many periods there are between two instants. */
double
meter_count_periods(const MeterDefinition *definition, TimestampTz from,
					TimestampTz to)
{
	const MeterGrid *grid = definition->grid;
	int64		length = grid->period_usec > 0 ? grid->period_usec :
	grid->period_days > 0 ? grid->period_days * METER_DAY :
	grid->period_months * 28 * METER_DAY;

	return Max((double) (to - from) / length, 1);
}

/*
 * Return the instant from which on rows count that arrived after the safe
 * position: earlier ones may have to be held.  NULL: all rows count.
 */
const char *
meter_late_from(const MeterDefinition *definition, const MeterProgress *progress)
{
	if (!definition->has_max_lateness || !progress->has_watermark)
		return NULL;
	return meter_timestamp_literal(meter_later_by(progress->watermark,
												  -definition->max_lateness));
}

/*
 * Note which rows were taken back, by voids that arrived between two
 * positions.  Each meter has its own notes, so that steps of two meters do not
 * wait for each other.
 */
void
meter_note_voids(const MeterDefinition *definition, int64 after, int64 upto)
{
	const char *schema = quote_identifier(definition->stream);

	meter_execute(psprintf("INSERT INTO %s._voided (meter, resource, source, id) "
						   "SELECT DISTINCT %s, e.resource, coalesce(e.source, ''), e.id FROM %s.event e "
						   "WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT
						   " AND e.action = 'void' AND e.id IS NOT NULL "
						   "ORDER BY 2, 3, 4 ON CONFLICT DO NOTHING", schema,
						   quote_literal_cstr(definition->name), schema,
						   after, upto),
				  SPI_OK_INSERT);
}

/*
 * Find the instant before which rows are held that arrived after the position:
 * max_lateness before the watermark that was noted with it, or the retention
 * boundary if that is later.  Returns false if nothing is held.
 */
bool
meter_hold_limit(const MeterDefinition *definition,
				 const MeterProgress *progress, MeterLog log,
				 TimestampTz *limit)
{
	TimestampTz noted_at = progress->logs[log].position_watermark;

	if (TIMESTAMP_IS_NOBEGIN(noted_at))
		return false;
	/* the retention boundary is about the log that usage is made of */
	*limit = log == METER_LOG_OF(definition) ? definition->boundary : DT_NOBEGIN;
	if (definition->has_max_lateness)
		*limit = Max(*limit,
					 meter_later_by(noted_at, -definition->max_lateness));
	return !TIMESTAMP_IS_NOBEGIN(*limit);
}

/*
 * Hold the events that came too late, of those that arrived between two
 * positions.
 */
void
meter_hold_late_rows(const MeterDefinition *definition,
					 const MeterProgress *progress, int64 safe)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	TimestampTz limit;

	if (!meter_hold_limit(definition, progress, METER_LOG_EVENT, &limit))
		return;
	meter_execute(psprintf("INSERT INTO %s.held (meter, log, arrival, \"time\", reason) "
						   "SELECT %s, 'event', e.arrival, e.\"time\", "
						   "CASE WHEN e.action = ANY (%s) THEN 'stop, too late' ELSE 'too late' END FROM %s "
						   "AND e.action <> 'void' AND e.action NOT LIKE 'reconciled:%%' AND e.\"time\" < %s "
						   "ON CONFLICT DO NOTHING", schema, meter,
						   meter_text_array_literal(definition->stops),
						   meter_late_rows(definition, progress, safe),
						   meter_timestamp_literal(limit)),
				  SPI_OK_INSERT);
	meter_tell_held(definition);
}

/* Raise a notice of how many rows the last statement held. */
void
meter_tell_held(const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);

	if (SPI_processed > 0)
		ereport(NOTICE,
				(errmsg_plural("meter \"%s\" of stream \"%s\" holds " UINT64_FORMAT " row that came later than \"max_lateness\"",
							   "meter \"%s\" of stream \"%s\" holds " UINT64_FORMAT " rows that came later than \"max_lateness\"",
							   (unsigned long) SPI_processed,
							   definition->name, definition->stream,
							   SPI_processed),
				 errhint("View %s.anomaly lists the rows that are held; meter.release() lets them count.",
						 schema)));
}

/*
 * Return a query (resource, first) for the resources whose account was unknown
 * and is named before `end`; NULL if no account is unknown.  Usage that was
 * billed to nobody, from `first` on, belongs to the account that is named.
 */
char *
meter_newly_named(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz end)
{
	const char *watermark = meter_timestamp_literal(progress->watermark);
	char	   *unnamed = psprintf("%s._resource_state r WHERE r.meter = %s "
								   "AND r.account IS NULL AND r.unnamed_since < %s",
								   quote_identifier(definition->stream),
								   quote_literal_cstr(definition->name),
								   watermark);
	StringInfoData named;

	meter_execute_row(psprintf("SELECT count(*) FROM %s", unnamed));
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
