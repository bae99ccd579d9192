/*
 * period.c
 *	  The period that holds an instant, as an expression of SQL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/grid.h"
#include "engine/period.h"
#include "pg/arguments.h"
#include "pg/timezone.h"

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
	return psprintf("meter_internal.period_begin(%s, %s, %s)",
					quote_literal_cstr(definition->period),
					quote_literal_cstr(definition->timezone), at);
}

/* The grid of the period and time zone that were asked for last. */
static struct
{
	text	   *period;			/* NULL: none yet */
	text	   *timezone;
	MeterGrid	grid;
}			known;

/* Tell whether an argument is a known text. */
static bool
is_text(FunctionCallInfo fcinfo, int argument, const text * known_text)
{
	text	   *given = PG_GETARG_TEXT_PP(argument);

	return VARSIZE_ANY_EXHDR(given) == VARSIZE_ANY_EXHDR(known_text) &&
		memcmp(VARDATA_ANY(given), VARDATA_ANY(known_text),
			   VARSIZE_ANY_EXHDR(given)) == 0;
}

/* Return the grid of the first two arguments: period and time zone. */
static MeterGrid *
grid_from_args(FunctionCallInfo fcinfo)
{
	MemoryContext before;
	text	   *period;
	text	   *timezone;
	MeterGrid	grid;

	if (known.period != NULL && is_text(fcinfo, 0, known.period) &&
		is_text(fcinfo, 1, known.timezone))
		return &known.grid;

	meter_grid_init(&grid,
					meter_zone_lookup(text_to_cstring(PG_GETARG_TEXT_PP(1))));
	meter_grid_set_increment(&grid,
							 meter_interval_from_cstring("1 second"));
	meter_grid_set_period(&grid,
						  meter_interval_from_cstring(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	before = MemoryContextSwitchTo(TopMemoryContext);
	period = PG_GETARG_TEXT_P_COPY(0);
	timezone = PG_GETARG_TEXT_P_COPY(1);
	MemoryContextSwitchTo(before);
	if (known.period != NULL)
	{
		pfree(known.period);
		pfree(known.timezone);
	}
	known.period = period;
	known.timezone = timezone;
	known.grid = grid;
	return &known.grid;
}

PG_FUNCTION_INFO_V1(meter_period_begin);

/* period_begin(period, timezone, at) */
Datum
meter_period_begin(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_TIMESTAMPTZ(at);
	PG_RETURN_TIMESTAMPTZ(meter_grid_period_begin(grid_from_args(fcinfo), at));
}
