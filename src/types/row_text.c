/*
 * row_text.c
 *	  A row as text that no setting changes.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* Return the function that writes a row; the caller keeps it. */
static FmgrInfo *
output_function(FmgrInfo *caller)
{
	if (caller->fn_extra == NULL)
	{
		FmgrInfo   *output = MemoryContextAlloc(caller->fn_mcxt, sizeof(FmgrInfo));

		fmgr_info_cxt(F_RECORD_OUT, output, caller->fn_mcxt);
		caller->fn_extra = output;
	}
	return caller->fn_extra;
}

PG_FUNCTION_INFO_V1(meter_row_text);

/* row_text(value): as the row is written in sessions of this extension */
Datum
meter_row_text(PG_FUNCTION_ARGS)
{
	static pg_tz *utc = NULL;
	pg_tz	   *zone = session_timezone;
	int			date_style = DateStyle;
	int			interval_style = IntervalStyle;
	char	   *volatile row = NULL;

	if (utc == NULL)
		utc = pg_tzset("UTC");
	session_timezone = utc;
	DateStyle = USE_ISO_DATES;
	IntervalStyle = INTSTYLE_POSTGRES;
	PG_TRY();
	{
		row = OutputFunctionCall(output_function(fcinfo->flinfo),
								 PG_GETARG_DATUM(0));
	}
	PG_FINALLY();
	{
		session_timezone = zone;
		DateStyle = date_style;
		IntervalStyle = interval_style;
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(cstring_to_text(row));
}
