/*
 * beginning.c
 *	  The beginning of a meter: its earliest usage, and its first watermark.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/grid.h"
#include "engine/beginning.h"
#include "engine/events.h"
#include "engine/measures.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Return a query for the instant where a meter begins: that of its earliest
 * event, or of the earliest usage of its name in the ledger.
 */
char *
meter_earliest_instant(const MeterDefinition *definition)
{
	StringInfoData sql;

	if (METER_OF_MEASURES(definition->aggregate))
		return psprintf("SELECT least((%s), (SELECT min(u.period_start) FROM %s.usage u WHERE u.meter = %s))",
						meter_earliest_measure(definition),
						quote_identifier(definition->stream),
						quote_literal_cstr(definition->name));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT least((SELECT min(least(e.\"time\", CASE WHEN "
					 METER_IS_OBSERVATION("e")
					 " THEN meter_internal.observation_instant(e.attributes, 'since') END)) FROM %s.event e WHERE ",
					 quote_identifier(definition->stream));
	meter_append_action_filter(&sql, definition);
	appendStringInfoString(&sql, " AND ");
	meter_append_not_held(&sql, definition, "event", "e");
	appendStringInfo(&sql, "), (SELECT min(u.period_start) FROM %s.usage u WHERE u.meter = %s))",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name));
	return sql.data;
}

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
