/*
 * readings.c
 *	  The carried readings: the last one of each series of a counter before its
 *	  meter's watermark.
 *
 * A series is what the readings of a resource with the same dimensions are.
 * Readings are kept as carried states are: see states.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "engine/readings.h"
#include "engine/states.h"
#include "pg/attr.h"
#include "pg/key_scan.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

enum
{
	READING_METER,
	READING_HASH,
	READING_RESOURCE,
	READING_DIMENSIONS,
	READING_TIME,
	READING_VALUE,
	READING_NCOLUMNS
};

static const MeterWriterColumn reading_columns[READING_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"hash", INT8OID},
	{"resource", TEXTOID},
	{"dimensions", TEXTARRAYOID},
	{"time", TIMESTAMPTZOID},
	{"value", NUMERICOID}
};

struct MeterReadings
{
	int			ndimensions;
	Datum		meter;			/* text */
	MeterKeyScan *of_resource;
	MeterKeyScan *of_series;
	MeterTableWriter *writer;	/* NULL: they are only read */
	ArrayBuildState *ended;		/* tid: those to delete */
	MemoryContext context;
	const char *schema;
};

/* Begin to read the readings of a meter, and with `write` to write them. */
MeterReadings *
meter_readings_begin(const MeterDefinition *definition, bool write)
{
	MeterReadings *readings = palloc0(sizeof(MeterReadings));

	readings->context = CurrentMemoryContext;
	readings->schema = quote_identifier(definition->stream);
	readings->ndimensions = definition->ndimensions;
	readings->meter = CStringGetTextDatum(definition->name);
	readings->of_resource = meter_key_scan_begin(definition->stream,
												 "_counter_state",
												 reading_columns,
												 READING_NCOLUMNS);
	if (!write)
		return readings;
	readings->of_series = meter_key_scan_begin(definition->stream,
											   "_counter_state",
											   reading_columns,
											   READING_NCOLUMNS);
	readings->writer = meter_writer_begin(definition->stream, "_counter_state",
										  reading_columns, READING_NCOLUMNS,
										  "meter, hash, resource, dimensions");
	return readings;
}

/* Return the key of a resource. */
static void
key_of(const MeterReadings *readings, uint64 hash, MeterAttr resource,
	   Datum *keys)
{
	keys[READING_METER] = readings->meter;
	keys[READING_HASH] = Int64GetDatum((int64) hash);
	keys[READING_RESOURCE] = meter_text_from_attr(resource);
}

/* Go to the readings of a resource. */
void
meter_readings_seek(MeterReadings *readings, uint64 hash, MeterAttr resource)
{
	Datum		keys[READING_NCOLUMNS];

	key_of(readings, hash, resource, keys);
	meter_key_scan_seek(readings->of_resource, READING_DIMENSIONS, keys);
}

/* Read the next one.  Returns false if there is none. */
bool
meter_readings_next(MeterReadings *readings, MeterReading *reading)
{
	MeterKeyScan *scan = readings->of_resource;
	bool		isnull;

	if (!meter_key_scan_next(scan))
		return false;
	meter_dimensions_from_array(meter_key_scan_value(scan, READING_DIMENSIONS,
													 &isnull),
								reading->dimensions, readings->ndimensions);
	reading->time = DatumGetTimestampTz(meter_key_scan_value(scan,
															 READING_TIME,
															 &isnull));
	reading->value = DatumGetNumeric(meter_key_scan_value(scan, READING_VALUE,
														  &isnull));
	return true;
}

/* Write the last reading of a series, in place of the one that was stored. */
void
meter_readings_put(MeterReadings *readings, uint64 hash, MeterAttr resource,
				   const MeterAttr *dimensions, TimestampTz time,
				   Numeric value)
{
	Datum		values[READING_NCOLUMNS];
	bool		nulls[READING_NCOLUMNS];

	memset(nulls, false, sizeof(nulls));
	key_of(readings, hash, resource, values);
	values[READING_DIMENSIONS] =
		meter_array_from_dimensions(dimensions, readings->ndimensions);
	values[READING_TIME] = TimestampTzGetDatum(time);
	values[READING_VALUE] = NumericGetDatum(value);
	meter_key_scan_seek(readings->of_series, READING_TIME, values);
	if (meter_key_scan_next(readings->of_series))
		meter_writer_update(readings->writer,
							meter_key_scan_place(readings->of_series), values,
							nulls);
	else
		meter_writer_insert(readings->writer, values, nulls);
}

/* Forget the reading that was read, when writing ends. */
void
meter_readings_forget(MeterReadings *readings)
{
	readings->ended =
		accumArrayResult(readings->ended,
						 PointerGetDatum(meter_key_scan_place(readings->of_resource)),
						 false, TIDOID, readings->context);
}

/* End reading and writing. */
void
meter_readings_end(MeterReadings *readings)
{
	Oid			types[] = {get_array_type(TIDOID)};
	Datum		values[1];

	meter_key_scan_end(readings->of_resource);
	if (readings->writer != NULL)
	{
		meter_key_scan_end(readings->of_series);
		(void) meter_writer_end(readings->writer, NULL);
	}
	if (readings->ended != NULL)
	{
		values[0] = makeArrayResult(readings->ended, CurrentMemoryContext);
		meter_execute_params(psprintf("DELETE FROM %s._counter_state WHERE ctid = ANY ($1)",
									  readings->schema),
							 SPI_OK_DELETE, lengthof(types), types, values,
							 NULL);
	}
	pfree(readings);
}

/* Forget all readings of a meter, before they are computed anew. */
void
meter_readings_forget_all(const MeterDefinition *definition)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(definition->name)};

	meter_execute_params(psprintf("DELETE FROM %s._counter_state WHERE meter = $1",
								  quote_identifier(definition->stream)),
						 SPI_OK_DELETE, lengthof(types), types, values, NULL);
}
