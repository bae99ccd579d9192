/*
 * beginning.c
 *	  The beginning of a meter: its earliest usage, and its first watermark.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/grid.h"
#include "engine/beginning.h"
#include "engine/usage_kind.h"
#include "pg/now.h"
#include "pg/spi.h"

/*
 * Return a query for the instant where a meter begins: that of its earliest
 * row, or of the earliest usage of its name in the ledger.
 */
char *
meter_earliest_instant(const MeterDefinition *definition)
{
	return psprintf("SELECT least((%s), (SELECT min(u.period_start) FROM %s.usage u WHERE u.meter = %s))",
					meter_usage_of(definition)->earliest(definition),
					quote_identifier(definition->stream),
					quote_literal_cstr(definition->name));
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
	progress->settled_from = progress->watermark;
	/* nobody is about to commit rows: those to come arrive after this */
	if (!progress->logs[METER_LOG_EVENT].has_note && !IsolationUsesXactSnapshot())
		progress->logs[METER_LOG_EVENT].position_watermark = progress->watermark;
	return true;
}
