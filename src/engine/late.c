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
#include "engine/events.h"
#include "engine/late.h"
#include "pg/now.h"
#include "pg/spi.h"

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
