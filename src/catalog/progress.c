/*
 * progress.c
 *	  Progress: how far a meter has come, as the catalog has it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "pg/spi.h"

/* Has a step changed what is stored of a meter's measure log? */
static bool
measure_progress_differs(const MeterDefinition *a,
						 const MeterDefinition *b)
{
	const MeterLogProgress *x = &a->measures;
	const MeterLogProgress *y = &b->measures;

	return x->position != y->position ||
		x->position_watermark != y->position_watermark ||
		x->has_note != y->has_note ||
		(x->has_note && (x->note_bound != y->note_bound ||
						 x->note_server != y->note_server)) ||
		x->clock_position != y->clock_position;
}

/* Write how far a meter has come in the measure log. */
static void
store_measure_progress(const MeterDefinition *definition)
{
	const MeterLogProgress *measures = &definition->measures;
	MeterSession session;
	Oid			types[9] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID,
	TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[9];
	char		nulls[9];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = Int64GetDatum(measures->position);
	values[3] = TimestampTzGetDatum(measures->position_watermark);
	nulls[3] = TIMESTAMP_IS_NOBEGIN(measures->position_watermark) ? 'n' : ' ';
	values[4] = Int64GetDatum(measures->note_bound);
	values[5] = measures->note_writers;
	values[6] = TimestampTzGetDatum(measures->note_server);
	nulls[4] = nulls[5] = nulls[6] = measures->has_note ? ' ' : 'n';
	values[7] = TimestampTzGetDatum(measures->note_watermark);
	nulls[7] = !measures->has_note ||
		TIMESTAMP_IS_NOBEGIN(measures->note_watermark) ? 'n' : ' ';
	values[8] = Int64GetDatum(measures->clock_position);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET measure_position = $3, measure_position_watermark = $4, "
						 "measure_note_bound = $5, measure_note_writers = $6, measure_note_server = $7, "
						 "measure_note_watermark = $8, measure_clock_position = $9 "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 9, types, values, nulls);
	meter_session_end(&session);
}

/* Write how far the meter has come. */
void
meter_store_progress(const MeterDefinition *definition, bool wrote_usage)
{
	MeterSession session;
	Oid			types[13] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID,
		INT8OID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID,
	INT8OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[13];
	char		nulls[13];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = TimestampTzGetDatum(definition->watermark);
	nulls[2] = definition->has_watermark ? ' ' : 'n';
	values[3] = Int64GetDatum(definition->position);
	values[4] = Int64GetDatum(definition->note_bound);
	values[5] = definition->note_writers;
	values[6] = TimestampTzGetDatum(definition->note_server);
	nulls[4] = nulls[5] = nulls[6] = definition->has_note ? ' ' : 'n';
	values[7] = TimestampTzGetDatum(definition->event_clock);
	nulls[7] = definition->has_event_clock ? ' ' : 'n';
	values[8] = Int64GetDatum(definition->clock_position);
	values[9] = Int64GetDatum(definition->settlement);
	values[10] = BoolGetDatum(wrote_usage);
	values[11] = TimestampTzGetDatum(definition->position_watermark);
	nulls[11] = TIMESTAMP_IS_NOBEGIN(definition->position_watermark) ? 'n' : ' ';
	values[12] = TimestampTzGetDatum(definition->note_watermark);
	nulls[12] = !definition->has_note ||
		TIMESTAMP_IS_NOBEGIN(definition->note_watermark) ? 'n' : ' ';

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET watermark = $3, \"position\" = $4, "
						 "note_bound = $5, note_writers = $6, note_server = $7, "
						 "event_clock = $8, clock_position = $9, settlement = $10, "
						 "settled_at = CASE WHEN $11 THEN now() ELSE settled_at END, "
						 "position_watermark = $12, note_watermark = $13, "
						 "failures = 0, last_error = NULL, last_error_at = NULL, retry_at = NULL "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 13, types, values, nulls);
	meter_session_end(&session);
	if (METER_OF_MEASURES(definition->aggregate))
		store_measure_progress(definition);
}

/* Has a step changed what is stored of a meter? */
bool
meter_progress_differs(const MeterDefinition *a, const MeterDefinition *b)
{
	return a->has_watermark != b->has_watermark ||
		a->watermark != b->watermark || a->position != b->position ||
		a->position_watermark != b->position_watermark ||
		a->has_note != b->has_note ||
		(a->has_note && (a->note_bound != b->note_bound ||
						 a->note_server != b->note_server)) ||
		a->has_event_clock != b->has_event_clock ||
		a->event_clock != b->event_clock ||
		a->clock_position != b->clock_position ||
		a->settlement != b->settlement || a->failures != 0 ||
		measure_progress_differs(a, b);
}
