/*
 * late_rows.c
 *	  Which rows may change settled periods, as parts of queries.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/late_rows.h"
#include "engine/measures.h"
#include "engine/usage_kind.h"
#include "pg/now.h"

/*
 * Return FROM and WHERE of the rows e of the event log that arrived after the
 * position, up to `safe` (all, if it is negative), and may change settled
 * periods of the meter: events from before the watermark and duplicates of
 * them, observations that reach back behind the watermark, what lies before
 * such an observation, and voids that reach any of this; and of those that are
 * to be held.
 */
char *
meter_late_rows(const MeterDefinition *definition, const MeterProgress *progress, int64 safe)
{
	const char *schema = quote_identifier(definition->stream);
	TimestampTz settled = progress->has_watermark ? progress->watermark : DT_NOBEGIN;
	const char *watermark = meter_timestamp_literal(settled);
	int64		window = definition->deduplication_window;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s.event e WHERE e.arrival > " INT64_FORMAT,
					 schema, progress->logs[METER_LOG_EVENT].position);
	if (safe >= 0)
		appendStringInfo(&sql, " AND e.arrival <= " INT64_FORMAT, safe);
	appendStringInfo(&sql, " AND (e.\"time\" < %s OR (e.action = 'void' AND e.\"time\" < %s) OR "
					 "(EXISTS (SELECT FROM %s.snapshot n WHERE n.at >= %s) AND (("
					 METER_IS_OBSERVATION("e") " AND "
					 METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'")
					 " < %s) OR EXISTS (SELECT FROM %s._resource_state r WHERE r.meter = %s "
					 "AND r.resource = e.resource AND r.straddles >= %s)))",
					 watermark,
					 meter_timestamp_literal(meter_later_by(settled, window)),
					 schema, watermark, watermark, schema,
					 quote_literal_cstr(definition->name),
					 meter_least_time("e", window));
	meter_append_too_late(&sql, definition, progress, METER_LOG_EVENT);
	appendStringInfoString(&sql, ") AND (e.id IS NOT NULL OR (e.action <> 'void' AND ");
	meter_usage_of(definition)->append_event_filter(&sql, definition);
	appendStringInfoString(&sql, ")) AND ");
	meter_append_not_held(&sql, definition, METER_LOG_EVENT, "e");
	return sql.data;
}

/*
 * Return FROM and WHERE of the rows e of a log that arrived after the position,
 * up to `safe` (all, if it is negative), and may change settled periods.
 */
char *
meter_late_in(const MeterDefinition *definition, const MeterProgress *progress,
			  MeterLog log, int64 safe)
{
	return log == METER_LOG_EVENT ?
		meter_late_rows(definition, progress, safe) :
		meter_late_measures(definition, progress, safe);
}
