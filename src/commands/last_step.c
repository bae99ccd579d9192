/*
 * last_step.c
 *	  meter.last_step(): what the last step of a meter did.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/stream.h"
#include "pg/spi.h"

PG_FUNCTION_INFO_V1(meter_last_step);

/* last_step(stream, meter) */
Datum
meter_last_step(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *meter = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};

	meter_check_access(stream, METER_ACCESS_ANALYST);
	(void) meter_load(stream, meter, METER_LOCK_NONE);	/* raises an error if
														 * there is none */
	meter_return_begin(fcinfo);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT s.stage, s.rows, s.bytes, round(s.microseconds / 1000.0, 3), s.detail FROM meter.meter m, "
						 "jsonb_to_recordset(m.last_step) s (stage text, rows bigint, bytes bigint, microseconds bigint, detail text) "
						 "WHERE m.stream = $1 AND m.name = $2",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	meter_return_result(fcinfo);
	meter_session_end(&session);
	PG_RETURN_NULL();
}
