/*
 * consumer.c
 *	  Consumers: named readers of a ledger, and how far each has read.
 *
 * A position is a settlement of a meter, all of it or its rows up to a
 * transaction ID.  Settlements of a meter have no gaps and are in the order of
 * commits, and the usage of one is committed with its row in the table
 * settlement: so what a position has passed will never get another row.  Bounds
 * of batches name only settlements that a snapshot has shown.
 *
 * Whoever changes positions has locked the consumer's row, and changes that,
 * too: a transaction with one snapshot that has locked the row as it sees it,
 * sees the positions as they are.
 *
 * What next_batch() asks each time, whether there is anything new, is read
 * directly: queries would take longer than everything else together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "catalog/consumer.h"
#include "catalog/stream.h"
#include "pg/arguments.h"
#include "pg/key_scan.h"
#include "pg/spi.h"

/* The columns of meter.consumer, its key first. */
enum
{
	CONSUMER_STREAM,
	CONSUMER_NAME,
	CONSUMER_METERS,
	CONSUMER_BATCH,
	CONSUMER_OPENED_AT,
	CONSUMER_NCOLUMNS
};

static const MeterWriterColumn consumer_columns[CONSUMER_NCOLUMNS] = {
	{"stream", TEXTOID},
	{"name", TEXTOID},
	{"meters", TEXTARRAYOID},
	{"batch", INT8OID},
	{"opened_at", TIMESTAMPTZOID}
};

/* The columns of meter.consumer_position, its key first. */
enum
{
	POSITION_STREAM,
	POSITION_CONSUMER,
	POSITION_METER,
	POSITION_SETTLEMENT,
	POSITION_TRANSACTION_ID,
	POSITION_ROWS,
	POSITION_BATCH_SETTLEMENT,
	POSITION_BATCH_TRANSACTION_ID,
	POSITION_BATCH_ROWS,
	POSITION_NCOLUMNS
};

static const MeterWriterColumn position_columns[POSITION_NCOLUMNS] = {
	{"stream", TEXTOID},
	{"consumer", TEXTOID},
	{"meter", TEXTOID},
	{"settlement", INT8OID},
	{"transaction_id", UUIDOID},
	{"rows", INT8OID},
	{"batch_settlement", INT8OID},
	{"batch_transaction_id", UUIDOID},
	{"batch_rows", INT8OID}
};

/* The key of a stream's table settlement. */
enum
{
	SETTLEMENT_METER,
	SETTLEMENT_SETTLEMENT,
	SETTLEMENT_NCOLUMNS
};

static const MeterWriterColumn settlement_columns[SETTLEMENT_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"settlement", INT8OID}
};

/* Read a position from three columns.  Returns false if there is none. */
static bool
read_position(const MeterKeyScan *scan, int settlement, int id, int rows,
			  MeterReadUpTo *position)
{
	bool		isnull;
	Datum		value = meter_key_scan_value(scan, settlement, &isnull);

	memset(position, 0, sizeof(*position));
	if (isnull)
		return false;
	position->settlement = DatumGetInt64(value);
	value = meter_key_scan_value(scan, id, &isnull);
	position->part = !isnull;
	if (!isnull)
		position->id = *DatumGetUUIDP(value);
	value = meter_key_scan_value(scan, rows, &isnull);
	position->rows = isnull ? 0 : DatumGetInt64(value);
	return true;
}

/*
 * Load a consumer and its positions, as the active snapshot sees them.  Returns
 * false if there is none.
 */
bool
meter_consumer_load(MeterConsumer *consumer, const char *stream,
					const char *name)
{
	MeterKeyScan *scan = meter_key_scan_begin("meter", "consumer",
											  consumer_columns,
											  CONSUMER_NCOLUMNS);
	Datum		key[2] = {CStringGetTextDatum(stream), CStringGetTextDatum(name)};
	bool		found;
	bool		isnull;
	Datum		value;

	memset(consumer, 0, sizeof(*consumer));
	consumer->stream = stream;
	consumer->name = name;
	meter_key_scan_seek(scan, 2, key);
	found = meter_key_scan_next(scan);
	if (found)
	{
		value = meter_key_scan_value(scan, CONSUMER_METERS, &isnull);
		if (!isnull)
			consumer->nmeters = meter_text_elements(value, "meters",
													&consumer->meters);
		value = meter_key_scan_value(scan, CONSUMER_BATCH, &isnull);
		consumer->any_batch = !isnull;
		consumer->batch = isnull ? 0 : DatumGetInt64(value);
		(void) meter_key_scan_value(scan, CONSUMER_OPENED_AT, &isnull);
		consumer->open = !isnull;
	}
	meter_key_scan_end(scan);
	if (!found)
		return false;

	scan = meter_key_scan_begin("meter", "consumer_position", position_columns,
								POSITION_NCOLUMNS);
	meter_key_scan_seek(scan, 2, key);
	while (meter_key_scan_next(scan))
	{
		MeterReading *reading = palloc0(sizeof(MeterReading));

		reading->meter = TextDatumGetCString(meter_key_scan_value(scan, POSITION_METER, &isnull));
		(void) read_position(scan, POSITION_SETTLEMENT, POSITION_TRANSACTION_ID,
							 POSITION_ROWS, &reading->read);
		reading->in_batch = read_position(scan, POSITION_BATCH_SETTLEMENT,
										  POSITION_BATCH_TRANSACTION_ID,
										  POSITION_BATCH_ROWS,
										  &reading->batch);
		consumer->readings = lappend(consumer->readings, reading);
	}
	meter_key_scan_end(scan);
	return true;
}

/* Return how far a meter was read; NULL: it was not yet. */
static MeterReading *
find_reading(const MeterConsumer *consumer, const char *meter)
{
	ListCell   *cell;

	foreach(cell, consumer->readings)
	{
		MeterReading *reading = lfirst(cell);

		if (strcmp(reading->meter, meter) == 0)
			return reading;
	}
	return NULL;
}

/* Return how far a meter was read, or that it was not yet. */
MeterReading *
meter_consumer_reading(MeterConsumer *consumer, const char *meter)
{
	MeterReading *reading = find_reading(consumer, meter);

	if (reading == NULL)
	{
		reading = palloc0(sizeof(MeterReading));
		reading->meter = pstrdup(meter);
		consumer->readings = lappend(consumer->readings, reading);
	}
	return reading;
}

/* Take the settlement that a scan is at as the last one of its meter. */
static char *
take_last(MeterConsumer *consumer, const MeterKeyScan *scan)
{
	bool		isnull;
	char	   *meter = TextDatumGetCString(meter_key_scan_value(scan, SETTLEMENT_METER, &isnull));

	meter_consumer_reading(consumer, meter)->last =
		DatumGetInt64(meter_key_scan_value(scan, SETTLEMENT_SETTLEMENT,
										   &isnull));
	return meter;
}

/*
 * Look for the last settlement of each meter that a consumer reads, as the
 * active snapshot sees them: whether the catalog has the meter or not, what the
 * ledger has of it is to be read.  It takes a look at the index for each meter.
 */
void
meter_consumer_look(MeterConsumer *consumer)
{
	MeterKeyScan *scan = meter_key_scan_begin(consumer->stream, "settlement",
											  settlement_columns,
											  SETTLEMENT_NCOLUMNS);
	int			i;

	if (consumer->meters == NULL)
	{
		meter_key_scan_seek(scan, 0, NULL);
		while (meter_key_scan_previous(scan))
			meter_key_scan_seek_before(scan,
									   CStringGetTextDatum(take_last(consumer, scan)));
	}
	for (i = 0; i < consumer->nmeters; i++)
	{
		Datum		key = CStringGetTextDatum(consumer->meters[i]);

		meter_key_scan_seek(scan, 1, &key);
		if (meter_key_scan_previous(scan))
			(void) take_last(consumer, scan);
	}
	meter_key_scan_end(scan);
}

/* Tell whether there is usage of a meter that was in no finished batch. */
bool
meter_has_unread(const MeterReading *reading)
{
	return reading->last > reading->read.settlement ||
		(reading->last == reading->read.settlement && reading->read.part);
}

/* Return arrays of the positions of a consumer, as store_positions() takes them. */
static void
position_arrays(const MeterConsumer *consumer, bool of_batch, Datum *arrays)
{
	ArrayBuildState *built[4] = {
		initArrayResult(TEXTOID, CurrentMemoryContext, false),
		initArrayResult(INT8OID, CurrentMemoryContext, false),
		initArrayResult(UUIDOID, CurrentMemoryContext, false),
		initArrayResult(INT8OID, CurrentMemoryContext, false)
	};
	ListCell   *cell;
	int			i;

	foreach(cell, consumer->readings)
	{
		MeterReading *reading = lfirst(cell);
		MeterReadUpTo *up_to = of_batch ? &reading->batch : &reading->read;

		if (of_batch && !reading->in_batch)
			continue;
		accumArrayResult(built[0], CStringGetTextDatum(reading->meter), false,
						 TEXTOID, CurrentMemoryContext);
		accumArrayResult(built[1], Int64GetDatum(up_to->settlement), false,
						 INT8OID, CurrentMemoryContext);
		accumArrayResult(built[2], UUIDPGetDatum(&up_to->id), !up_to->part,
						 UUIDOID, CurrentMemoryContext);
		accumArrayResult(built[3], Int64GetDatum(up_to->rows), false, INT8OID,
						 CurrentMemoryContext);
	}
	for (i = 0; i < 4; i++)
		arrays[i] = makeArrayResult(built[i], CurrentMemoryContext);
}

/*
 * Store positions: those that were read, or those where a batch ends.  In a
 * session of the extension's owner.
 */
static void
store_positions(const MeterConsumer *consumer, bool of_batch)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, INT8ARRAYOID,
	UUIDARRAYOID, INT8ARRAYOID};
	Datum		values[lengthof(types)];

	values[0] = CStringGetTextDatum(consumer->stream);
	values[1] = CStringGetTextDatum(consumer->name);
	position_arrays(consumer, of_batch, &values[2]);
	meter_execute_params(of_batch ?
						 "INSERT INTO meter.consumer_position AS p (stream, consumer, meter, batch_settlement, batch_transaction_id, batch_rows) "
						 "SELECT $1, $2, * FROM unnest($3, $4, $5, $6) "
						 "ON CONFLICT (stream, consumer, meter) DO UPDATE SET batch_settlement = excluded.batch_settlement, "
						 "batch_transaction_id = excluded.batch_transaction_id, batch_rows = excluded.batch_rows" :
						 "INSERT INTO meter.consumer_position AS p (stream, consumer, meter, settlement, transaction_id, rows) "
						 "SELECT $1, $2, * FROM unnest($3, $4, $5, $6) "
						 "ON CONFLICT (stream, consumer, meter) DO UPDATE SET settlement = excluded.settlement, "
						 "transaction_id = excluded.transaction_id, rows = excluded.rows",
						 SPI_OK_INSERT, lengthof(types), types, values, NULL);
}

/*
 * Make a consumer, whose positions are those it has: `meters` is a text[], or 0
 * for all.
 */
void
meter_consumer_create(MeterConsumer *consumer, Datum meters)
{
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[lengthof(types)] = {
		CStringGetTextDatum(consumer->stream),
		CStringGetTextDatum(consumer->name), meters
	};

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("INSERT INTO meter.consumer (stream, name, meters) VALUES ($1, $2, $3)",
						 SPI_OK_INSERT, lengthof(types), types, values, NULL);
	store_positions(consumer, false);
	meter_session_end(&session);
}

/*
 * Run a statement about a consumer: $1 is its stream, $2 its name, and $3 a batch
 * if there is one in it.  In a session of the extension's owner.  Returns whether
 * there were rows.
 */
static bool
execute_for(const char *stream, const char *name, int64 batch, int expected,
			const char *statement)
{
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[lengthof(types)] = {CStringGetTextDatum(stream),
	CStringGetTextDatum(name), Int64GetDatum(batch)};

	meter_execute_params(statement, expected, lengthof(types), types, values,
						 NULL);
	return SPI_processed > 0;
}

/* Forget a consumer.  Returns false if there is none. */
bool
meter_consumer_drop(const char *stream, const char *name)
{
	MeterSession session;
	bool		found;

	meter_session_begin(&session, meter_extension_owner());
	found = execute_for(stream, name, 0, SPI_OK_DELETE,
						"DELETE FROM meter.consumer WHERE stream = $1 AND name = $2");
	(void) execute_for(stream, name, 0, SPI_OK_DELETE,
					   "DELETE FROM meter.consumer_position WHERE stream = $1 AND consumer = $2");
	meter_session_end(&session);
	return found;
}

/* Lock a consumer until the transaction ends.  Returns false if there is none. */
bool
meter_consumer_lock(const char *stream, const char *name)
{
	MeterSession session;
	bool		found;

	meter_session_begin(&session, meter_extension_owner());
	found = execute_for(stream, name, 0, SPI_OK_SELECT,
						"SELECT FROM meter.consumer WHERE stream = $1 AND name = $2 FOR UPDATE");
	meter_session_end(&session);
	return found;
}

/* Return a number that no batch has had. */
int64
meter_next_batch_number(void)
{
	MeterSession session;
	int64		number;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute("SELECT nextval('meter.consumer_batch')", SPI_OK_SELECT);
	number = meter_result_count(1);
	meter_session_end(&session);
	return number;
}

/* Open a batch of a consumer that is locked; its readings say where it ends. */
void
meter_consumer_open(const MeterConsumer *consumer, int64 batch)
{
	MeterSession session;

	meter_session_begin(&session, meter_extension_owner());
	(void) execute_for(consumer->stream, consumer->name, batch, SPI_OK_UPDATE,
					   "UPDATE meter.consumer SET batch = $3, opened_at = clock_timestamp() WHERE stream = $1 AND name = $2");
	store_positions(consumer, true);
	meter_session_end(&session);
}

/* Move a consumer's positions past what has no rows.  The consumer is locked. */
void
meter_consumer_pass(const MeterConsumer *consumer)
{
	MeterSession session;

	meter_session_begin(&session, meter_extension_owner());
	(void) execute_for(consumer->stream, consumer->name, 0, SPI_OK_UPDATE,
					   "UPDATE meter.consumer SET opened_at = NULL WHERE stream = $1 AND name = $2");
	store_positions(consumer, false);
	meter_session_end(&session);
}

/*
 * Finish the open batch of a consumer, if it is this one.  Returns false if it
 * is not, or there is none.
 */
bool
meter_consumer_finish(const char *stream, const char *name, int64 batch)
{
	MeterSession session;
	bool		found;

	meter_session_begin(&session, meter_extension_owner());
	found = execute_for(stream, name, batch, SPI_OK_UPDATE,
						"UPDATE meter.consumer SET opened_at = NULL "
						"WHERE stream = $1 AND name = $2 AND batch = $3 AND opened_at IS NOT NULL");
	/* in a statement of its own: the one above may have waited */
	if (found)
		(void) execute_for(stream, name, batch, SPI_OK_UPDATE,
						   "UPDATE meter.consumer_position SET settlement = batch_settlement, transaction_id = batch_transaction_id, "
						   "rows = batch_rows, batch_settlement = NULL, batch_transaction_id = NULL, batch_rows = NULL "
						   "WHERE stream = $1 AND consumer = $2 AND batch_settlement IS NOT NULL");
	meter_session_end(&session);
	return found;
}

/* Return the names of a stream's consumers. */
static List *
list_consumers(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[lengthof(types)] = {CStringGetTextDatum(stream)};
	List	   *names = NIL;
	uint64		i;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT name FROM meter.consumer WHERE stream = $1 ORDER BY name",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		names = lappend(names, meter_result_text(i, 1));
	meter_session_end(&session);
	return names;
}

/*
 * Tell whether a consumer has not read all rows of the ledger whose transaction
 * IDs are in [low, high).  What settlements wrote is known by their least and
 * greatest ID: it may be that one has no row there.
 */
static bool
needs(MeterConsumer *consumer, const pg_uuid_t *low, const pg_uuid_t *high)
{
	MeterSession session;
	Oid			types[] = {TEXTARRAYOID, INT8ARRAYOID, UUIDARRAYOID,
	INT8ARRAYOID, UUIDOID, UUIDOID};
	Datum		values[lengthof(types)];
	ListCell   *cell;
	bool		found;

	foreach(cell, consumer->readings)
	{
		if (!meter_has_unread(lfirst(cell)))
			consumer->readings = foreach_delete_current(consumer->readings, cell);
	}
	position_arrays(consumer, false, values);
	values[4] = UUIDPGetDatum(low);
	values[5] = UUIDPGetDatum(high);
	meter_session_begin(&session, meter_stream_owner(consumer->stream));
	meter_execute_params(psprintf("SELECT FROM unnest($1, $2, $3, $4) n (meter, settlement, id, rows) "
								  "JOIN %s.settlement s ON s.meter = n.meter COLLATE \"C\" AND (s.settlement > n.settlement "
								  "OR (s.settlement = n.settlement AND n.id IS NOT NULL AND coalesce(s.last_transaction_id > n.id, true))) "
								  "WHERE s.usage_rows > 0 AND coalesce(s.first_transaction_id < $6 AND s.last_transaction_id >= $5, true) LIMIT 1",
								  quote_identifier(consumer->stream)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	found = SPI_processed > 0;
	meter_session_end(&session);
	return found;
}

/*
 * Return the name of a consumer that has not read all rows of a stream's ledger
 * whose transaction IDs are in [low, high), or NULL.
 */
char *
meter_consumer_that_needs(const char *stream, const pg_uuid_t *low,
						  const pg_uuid_t *high)
{
	char	   *found = NULL;
	ListCell   *cell;

	foreach(cell, list_consumers(stream))
	{
		MeterConsumer consumer;

		PushActiveSnapshot(GetTransactionSnapshot());
		if (meter_consumer_load(&consumer, stream, lfirst(cell)))
			meter_consumer_look(&consumer);
		PopActiveSnapshot();
		if (found == NULL && consumer.readings != NIL &&
			needs(&consumer, low, high))
			found = lfirst(cell);
	}
	return found;
}
