/*
 * period.c
 *	  The period that holds an instant, as an expression of SQL.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "catalog/definition.h"
#include "core/grid.h"
#include "engine/period.h"

/*
 * Return an expression for the begin of the period that holds an instant, as
 * cheap as possible.
 */
char *
meter_period_of(const MeterDefinition *definition, const char *at)
{
	const MeterGrid *grid = definition->grid;

	/* the first day is a Monday */
	if (grid->zone == NULL && (grid->period_usec > 0 || grid->period_days > 0))
		return psprintf("date_bin(%s::interval, %s, '0001-01-01 00:00:00+00'::timestamptz)",
						quote_literal_cstr(definition->period), at);
	return psprintf("meter_internal.measure_period_begin(%s, %s, %s)",
					quote_literal_cstr(definition->period),
					quote_literal_cstr(definition->timezone), at);
}
