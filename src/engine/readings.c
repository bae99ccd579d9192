/*
 * readings.c
 *	  The carried readings: the last one of each series of a counter before its
 *	  meter's watermark, or before the retention boundary.
 *
 * A series is what the readings of a resource with the same dimensions are.
 * Readings are kept as carried states are: see states.c.  The key has a hash of
 * the dimensions, which can be longer than an entry of an index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/sha256.h"
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
	READING_SERIES,
	READING_DIMENSIONS,
	READING_TIME,
	READING_VALUE,
	READING_START,
	READING_NCOLUMNS
};

static const MeterWriterColumn reading_columns[READING_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"hash", INT8OID},
	{"resource", TEXTOID},
	{"series", UUIDOID},
	{"dimensions", TEXTARRAYOID},
	{"time", TIMESTAMPTZOID},
	{"value", NUMERICOID},
	{"start_time", TIMESTAMPTZOID}
};

struct MeterReadings
{
	MemoryContext context;
	const char *schema;
	const char *written_table;
	int			ndimensions;
	Datum		meter;			/* text */
	MeterKeyScan *known;		/* those to begin with, or NULL */
	MeterKeyScan *written;		/* where they are written, or NULL */
	MeterTableWriter *writer;
	ArrayBuildState *ended;		/* tid: those to delete */
	int64		more;			/* than before */
};

/* Begin to read a table. */
static MeterKeyScan *
begin_scan(const MeterDefinition *definition, const char *table)
{
	return meter_key_scan_begin(definition->stream, table, reading_columns,
								READING_NCOLUMNS);
}

/*
 * Begin to read the readings that a meter's resources begin with from a table,
 * and to write their last ones into one; either may be NULL.
 */
MeterReadings *
meter_readings_begin(const MeterDefinition *definition, const char *known,
					 const char *written)
{
	MeterReadings *readings = palloc0(sizeof(MeterReadings));

	readings->context = CurrentMemoryContext;
	readings->schema = quote_identifier(definition->stream);
	readings->ndimensions = definition->ndimensions;
	readings->meter = CStringGetTextDatum(definition->name);
	if (known != NULL)
		readings->known = begin_scan(definition, known);
	if (written == NULL)
		return readings;
	readings->written_table = written;
	readings->written = begin_scan(definition, written);
	readings->writer = meter_writer_begin(definition->stream, written,
										  reading_columns, READING_NCOLUMNS,
										  "meter, hash, resource, series");
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
static void
seek(MeterReadings *readings, MeterKeyScan *scan, uint64 hash,
	 MeterAttr resource)
{
	Datum		keys[READING_NCOLUMNS];

	key_of(readings, hash, resource, keys);
	meter_key_scan_seek(scan, READING_SERIES, keys);
}

/* Read the next one.  Returns false if there is none. */
static bool
next(MeterReadings *readings, MeterKeyScan *scan, MeterReading *reading)
{
	Datum		start;
	bool		isnull;

	if (!meter_key_scan_next(scan))
		return false;
	meter_dimensions_from_array(meter_key_scan_value(scan, READING_DIMENSIONS,
													 &isnull),
								reading->dimensions, readings->ndimensions);
	reading->last.time = DatumGetTimestampTz(meter_key_scan_value(scan,
																  READING_TIME,
																  &isnull));
	reading->last.value = DatumGetNumeric(meter_key_scan_value(scan,
															   READING_VALUE,
															   &isnull));
	start = meter_key_scan_value(scan, READING_START, &isnull);
	reading->last.start = isnull ? DT_NOBEGIN : DatumGetTimestampTz(start);
	return true;
}

/* Go to the readings that a resource begins with. */
void
meter_readings_seek(MeterReadings *readings, uint64 hash, MeterAttr resource)
{
	if (readings->known != NULL)
		seek(readings, readings->known, hash, resource);
}

/* Read the next one.  Returns false if there is none. */
bool
meter_readings_next(MeterReadings *readings, MeterReading *reading)
{
	return readings->known != NULL &&
		next(readings, readings->known, reading);
}

/* Tell whether readings are written. */
bool
meter_readings_writes(const MeterReadings *readings)
{
	return readings->writer != NULL;
}

/* Go to the readings of a resource that were written before. */
void
meter_readings_seek_written(MeterReadings *readings, uint64 hash,
							MeterAttr resource)
{
	seek(readings, readings->written, hash, resource);
}

/* Read the next one.  Returns false if there is none. */
bool
meter_readings_next_written(MeterReadings *readings, MeterReading *reading)
{
	return next(readings, readings->written, reading);
}

/*
 * Return the name of a series: of each dimension its length, and its bytes, all
 * in a hash that nobody can find another series for.
 */
static Datum
series_of(const MeterAttr *dimensions, int n)
{
	StringInfoData bytes;
	uint8		digest[METER_SHA256_LENGTH];
	pg_uuid_t  *series = palloc(sizeof(pg_uuid_t));
	int			i;

	initStringInfo(&bytes);
	for (i = 0; i < n; i++)
	{
		appendStringInfo(&bytes, "%d:", dimensions[i].len);
		if (dimensions[i].len > 0)
			appendBinaryStringInfo(&bytes, dimensions[i].data,
								   dimensions[i].len);
	}
	meter_sha256((const uint8 *) bytes.data, bytes.len, digest);
	memcpy(series->data, digest, UUID_LEN);
	pfree(bytes.data);
	return UUIDPGetDatum(series);
}

/* Tell whether the written reading that was read is not before an instant. */
static bool
is_written_since(MeterReadings *readings, TimestampTz time)
{
	bool		isnull;

	return DatumGetTimestampTz(meter_key_scan_value(readings->written,
													READING_TIME,
													&isnull)) >= time;
}

/*
 * Write the last reading of a series, in place of the one that was stored; with
 * `if_later` only if that is older.
 */
void
meter_readings_put(MeterReadings *readings, uint64 hash, MeterAttr resource,
				   const MeterAttr *dimensions, const MeterLastReading *last,
				   bool if_later)
{
	Datum		values[READING_NCOLUMNS];
	bool		nulls[READING_NCOLUMNS];

	memset(nulls, false, sizeof(nulls));
	key_of(readings, hash, resource, values);
	values[READING_SERIES] = series_of(dimensions, readings->ndimensions);
	values[READING_DIMENSIONS] =
		meter_array_from_dimensions(dimensions, readings->ndimensions);
	values[READING_TIME] = TimestampTzGetDatum(last->time);
	values[READING_VALUE] = NumericGetDatum(last->value);
	nulls[READING_START] = TIMESTAMP_IS_NOBEGIN(last->start);
	values[READING_START] = TimestampTzGetDatum(last->start);
	meter_key_scan_seek(readings->written, READING_DIMENSIONS, values);
	if (meter_key_scan_next(readings->written))
	{
		if (!if_later || !is_written_since(readings, last->time))
			meter_writer_update(readings->writer,
								meter_key_scan_place(readings->written),
								values, nulls);
	}
	else
	{
		(void) meter_writer_insert(readings->writer, values, nulls);
		readings->more++;
	}
}

/* Forget the written reading that was read, when writing ends. */
void
meter_readings_forget(MeterReadings *readings)
{
	readings->ended =
		accumArrayResult(readings->ended,
						 PointerGetDatum(meter_key_scan_place(readings->written)),
						 false, TIDOID, readings->context);
	readings->more--;
}

/* Return how many more readings there are than before the pass. */
int64
meter_readings_more(const MeterReadings *readings)
{
	return readings->more;
}

/* End reading and writing. */
void
meter_readings_end(MeterReadings *readings)
{
	Oid			types[] = {get_array_type(TIDOID)};
	Datum		values[1];

	if (readings->known != NULL)
		meter_key_scan_end(readings->known);
	if (readings->writer != NULL)
	{
		meter_key_scan_end(readings->written);
		(void) meter_writer_end(readings->writer, NULL);
	}
	if (readings->ended != NULL)
	{
		values[0] = makeArrayResult(readings->ended, CurrentMemoryContext);
		meter_execute_params(psprintf("DELETE FROM %s.%s WHERE ctid = ANY ($1)",
									  readings->schema,
									  readings->written_table),
							 SPI_OK_DELETE, lengthof(types), types, values,
							 NULL);
	}
	pfree(readings);
}

/*
 * Go back to the readings at the retention boundary, before those of all
 * resources are found anew; but of those that are set aside.
 */
void
meter_readings_restart(const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(definition->name)};

	const char *aside = psprintf("(SELECT 1 FROM %s.quarantine q WHERE q.meter = r.meter AND q.resource = r.resource)",
								 schema);

	meter_execute_params(psprintf("DELETE FROM %s._counter_state r WHERE r.meter = $1 AND NOT EXISTS %s",
								  schema, aside),
						 SPI_OK_DELETE, lengthof(types), types, values, NULL);
	meter_execute_params(psprintf("INSERT INTO %s._counter_state (meter, hash, resource, series, dimensions, \"time\", value, start_time) "
								  "SELECT meter, hash, resource, series, dimensions, \"time\", value, start_time FROM %s._retention_reading "
								  "r WHERE r.meter = $1 AND NOT EXISTS %s ORDER BY hash, resource, series", schema, schema, aside),
						 SPI_OK_INSERT, lengthof(types), types, values, NULL);
}
