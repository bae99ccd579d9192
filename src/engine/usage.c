/*
 * usage.c
 *	  Where the usage of a meter begins.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "engine/events.h"
#include "engine/measures.h"
#include "engine/usage.h"

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
