/*
 * batch.c
 *	  Batches: the usage that a consumer gets at a time.
 *
 * The ledger has no index on settlements.  The rows of one are found by what
 * the table settlement says of it: the least and the greatest of their
 * transaction IDs, and when they were recorded, which is the same instant for
 * the rows and for the settlement, the start of their transaction.  Small
 * settlements are read together.  Of a large one that is read in parts most rows
 * are of the periods that it settled, where the ledger has only other meters'
 * rows beside them: these are read in the order of the key, so that a part of
 * them costs no more than itself.  What it adjusted before those periods is read
 * apart: it may lie anywhere.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/consumer.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/batch.h"
#include "pg/spi.h"

/* Settlements of so many rows or more are read one by one. */
#define LARGE_ROWS	1000

/* Of so many rows or more, they are read in the order of the key. */
#define ORDERED_ROWS	100000

/* So many settlements of a meter are looked at for one batch, at most. */
#define MOST_SETTLEMENTS	1000

/* The columns of a batch: its number, then those of usage. */
#define BATCH_COLUMNS \
	"u.transaction_id, u.meter, u.account, u.resource, u.dimensions, u.period_start, " \
	"u.quantity, u.revision, u.settlement, u.recorded_at"
#define BATCH_NCOLUMNS	11

/* What is known of a settlement. */
typedef struct Settlement
{
	char	   *meter;
	int64		settlement;
	int64		rows;
	pg_uuid_t	first;			/* its rows are between these */
	pg_uuid_t	last;
	TimestampTz recorded_at;
	pg_uuid_t	settled_from;	/* the rows of the periods it settled */
} Settlement;

/* A stretch of the ledger, and how it is read. */
typedef struct Stretch
{
	const Settlement *settlements;	/* of one meter, one after the other */
	int			count;
	pg_uuid_t	low;
	bool		low_excluded;
	pg_uuid_t	high;
	bool		high_excluded;
	bool		in_order;
} Stretch;

/* A batch that is read. */
typedef struct Batch
{
	MeterConsumer *consumer;
	int64		number;
	Tuplestorestate *store;
	TupleDesc	descriptor;
	int64		rows;
	pg_uuid_t	last;			/* the last row's ID */
} Batch;

/* Check that the ledger has columns of the types that a batch has. */
static void
check_columns(void *arg, TupleDesc descriptor)
{
	Batch	   *batch = arg;
	int			i;

	for (i = 0; i < descriptor->natts; i++)
	{
		if (TupleDescAttr(descriptor, i)->atttypid !=
			TupleDescAttr(batch->descriptor, i + 1)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of the ledger of stream \"%s\" does not have the type it was made with",
							NameStr(TupleDescAttr(descriptor, i)->attname),
							batch->consumer->stream)));
	}
}

/* Take a row of the ledger into a batch. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	Batch	   *batch = arg;
	Datum		values[BATCH_NCOLUMNS];
	bool		nulls[BATCH_NCOLUMNS];

	values[0] = Int64GetDatum(batch->number);
	nulls[0] = false;
	memcpy(values + 1, slot->tts_values,
		   (BATCH_NCOLUMNS - 1) * sizeof(Datum));
	memcpy(nulls + 1, slot->tts_isnull, (BATCH_NCOLUMNS - 1) * sizeof(bool));
	tuplestore_putvalues(batch->store, batch->descriptor, values, nulls);
	batch->last = *DatumGetUUIDP(values[1]);
	batch->rows++;
}

/* Read the rows of a stretch, `limit` at most.  Returns how many there were. */
static int64
read_stretch(Batch *batch, const Stretch *stretch, int64 limit)
{
	const Settlement *first = &stretch->settlements[0];
	const Settlement *last = &stretch->settlements[stretch->count - 1];
	const char *stream = batch->consumer->stream;
	TimestampTz recorded_from = first->recorded_at;
	TimestampTz recorded_to = first->recorded_at;
	int64		before = batch->rows;
	MeterSession session;
	Oid			types[] = {TEXTOID, INT8OID, INT8OID, UUIDOID, UUIDOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	int			i;

	/* the order of commits need not be that of beginnings */
	for (i = 1; i < stretch->count; i++)
	{
		recorded_from = Min(recorded_from, stretch->settlements[i].recorded_at);
		recorded_to = Max(recorded_to, stretch->settlements[i].recorded_at);
	}
	meter_session_begin(&session, meter_stream_owner(stream));
	if (stretch->in_order)
		meter_session_in_order();
	{
		Datum		values[lengthof(types)] = {
			CStringGetTextDatum(first->meter),
			Int64GetDatum(first->settlement), Int64GetDatum(last->settlement),
			UUIDPGetDatum(&stretch->low), UUIDPGetDatum(&stretch->high),
			TimestampTzGetDatum(recorded_from),
			TimestampTzGetDatum(recorded_to), Int64GetDatum(limit)
		};

		meter_scan(psprintf("SELECT " BATCH_COLUMNS " FROM %s.usage u "
							"WHERE u.meter = $1 AND u.settlement %s AND u.transaction_id %s $4 AND u.transaction_id %s $5 "
							"%s ORDER BY %su.transaction_id LIMIT $8",
							quote_identifier(stream),
							stretch->count == 1 ? "= $2" : "BETWEEN $2 AND $3",
							stretch->low_excluded ? ">" : ">=",
							stretch->high_excluded ? "<" : "<=",
							stretch->in_order ? "" :
							"AND u.recorded_at >= $6 AND u.recorded_at <= $7",
							stretch->count == 1 ? "" : "u.settlement, "),
				   lengthof(types), types, values, check_columns, take_row,
				   batch);
	}
	meter_session_end(&session);
	return batch->rows - before;
}

/* Compare two transaction IDs. */
static int
compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(*a));
}

/*
 * Read settlements of one meter, whole ones, or of a single one what is after
 * an ID and up to another (NULL: all), `limit` rows at most.  Returns how many
 * there were.
 */
static int64
read_settlements(Batch *batch, const Settlement *settlements, int count,
				 const pg_uuid_t *after, const pg_uuid_t *up_to, int64 limit)
{
	Stretch		stretch = {0};
	const pg_uuid_t *middle = &settlements[0].settled_from;
	bool		whole;
	int64		rows;
	int			i;

	stretch.settlements = settlements;
	stretch.count = count;
	stretch.low = settlements[0].first;
	stretch.high = settlements[0].last;
	for (i = 1; i < count; i++)
	{
		if (compare(&settlements[i].first, &stretch.low) < 0)
			stretch.low = settlements[i].first;
		if (compare(&settlements[i].last, &stretch.high) > 0)
			stretch.high = settlements[i].last;
	}
	if (after != NULL)
	{
		stretch.low = *after;
		stretch.low_excluded = true;
	}
	if (up_to != NULL)
		stretch.high = *up_to;
	whole = after == NULL && up_to == NULL && settlements[0].rows <= limit;
	if (count > 1 || settlements[0].rows < (whole ? ORDERED_ROWS : LARGE_ROWS) ||
		compare(&stretch.high, middle) < 0)
		return read_stretch(batch, &stretch, limit);

	rows = 0;
	if (compare(&stretch.low, middle) < 0)
	{
		Stretch		adjusted = stretch;

		adjusted.high = *middle;
		adjusted.high_excluded = true;
		rows = read_stretch(batch, &adjusted, limit);
		stretch.low = *middle;
		stretch.low_excluded = false;
	}
	stretch.in_order = true;
	return rows < limit ?
		rows + read_stretch(batch, &stretch, limit - rows) : rows;
}

/* Read a column of IDs; where there is none, all bytes are `none`. */
static void
take_id(uint64 row, int column, int none, pg_uuid_t *id)
{
	bool		isnull;
	Datum		value = meter_result(row, column, &isnull);

	if (isnull)
		memset(id, none, sizeof(*id));
	else
		*id = *DatumGetUUIDP(value);
}

/*
 * Return arrays of the meters whose usage is to be read, of the settlements after
 * which that begins, and of those with which it ends: what was not read yet, or
 * `repeat` what is in the open batch.
 */
static void
unread_arrays(const MeterConsumer *consumer, bool repeat, Datum *arrays)
{
	ArrayBuildState *built[3] = {
		initArrayResult(TEXTOID, CurrentMemoryContext, false),
		initArrayResult(INT8OID, CurrentMemoryContext, false),
		initArrayResult(INT8OID, CurrentMemoryContext, false)
	};
	ListCell   *cell;
	int			i;

	foreach(cell, consumer->readings)
	{
		MeterReading *reading = lfirst(cell);

		if (repeat ? !reading->in_batch : !meter_has_unread(reading))
			continue;
		accumArrayResult(built[0], CStringGetTextDatum(reading->meter), false,
						 TEXTOID, CurrentMemoryContext);
		accumArrayResult(built[1], Int64GetDatum(reading->read.settlement - (reading->read.part ? 1 : 0)),
						 false, INT8OID, CurrentMemoryContext);
		accumArrayResult(built[2], Int64GetDatum(repeat ? reading->batch.settlement : reading->last),
						 false, INT8OID, CurrentMemoryContext);
	}
	for (i = 0; i < 3; i++)
		arrays[i] = makeArrayResult(built[i], CurrentMemoryContext);
}

/*
 * Find settlements of the meters of a batch that come after what was read: those
 * that there are, or `repeat` those that are in the open batch.  The meter
 * whose usage has waited longest comes first.
 */
static Settlement *
find_settlements(const MeterConsumer *consumer, bool repeat, int64 most,
				 int *count)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8OID};
	Datum		values[lengthof(types)];
	Settlement *settlements;
	int			i;
	bool		isnull;

	unread_arrays(consumer, repeat, values);
	values[3] = Int64GetDatum(most);

	meter_session_begin(&session, meter_stream_owner(consumer->stream));
	meter_execute_params(psprintf("SELECT s.meter, s.settlement, s.usage_rows, s.first_transaction_id, s.last_transaction_id, s.recorded_at, "
								  "meter_internal.transaction_id_from(coalesce(s.watermark_before, '-infinity')) "
								  "FROM unnest($1, $2, $3) n (meter, after, up_to) CROSS JOIN LATERAL (SELECT * FROM %s.settlement t "
								  "WHERE t.meter = n.meter COLLATE \"C\" AND t.settlement > n.after AND t.settlement <= n.up_to "
								  "ORDER BY t.settlement LIMIT $4) s "
								  "ORDER BY first_value(s.recorded_at) OVER (PARTITION BY s.meter ORDER BY s.settlement), s.meter, s.settlement",
								  quote_identifier(consumer->stream)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	*count = (int) SPI_processed;
	MemoryContextSwitchTo(context);
	settlements = palloc(Max(*count, 1) * sizeof(Settlement));
	for (i = 0; i < *count; i++)
	{
		Settlement *settlement = &settlements[i];

		settlement->meter = meter_result_text(i, 1);
		settlement->settlement = DatumGetInt64(meter_result(i, 2, &isnull));
		settlement->rows = DatumGetInt64(meter_result(i, 3, &isnull));
		take_id(i, 4, 0, &settlement->first);
		take_id(i, 5, 0xFF, &settlement->last);
		settlement->recorded_at = DatumGetTimestampTz(meter_result(i, 6, &isnull));
		take_id(i, 7, 0, &settlement->settled_from);
	}
	meter_session_end(&session);
	return settlements;
}

/* Return how many settlements from one on are small and of `room` rows at most. */
static int
count_together(const Settlement *settlements, int count, int64 room)
{
	int64		rows = 0;
	int			i;

	for (i = 0; i < count; i++)
	{
		rows += settlements[i].rows;
		if (settlements[i].rows >= LARGE_ROWS || rows > room ||
			strcmp(settlements[i].meter, settlements[0].meter) != 0)
			break;
	}
	return Max(i, 1);
}

/*
 * Note that a batch has got these settlements, `rows` of their rows, which are
 * not all if they are `limit`.
 */
static void
move_on(const Batch *batch, const Settlement *last, int count, int64 rows,
		int64 limit, MeterReadUpTo *position)
{
	bool		was_part = position->part &&
	position->settlement == last->settlement;

	position->rows = was_part ? position->rows + rows : rows;
	position->settlement = last->settlement;
	position->part = count == 1 && rows == limit &&
		compare(&batch->last, &last->last) < 0;
	if (position->part)
		position->id = batch->last;
	else
		position->rows = 0;
}

/*
 * Gather a new batch of `max_rows` at most from what meter_consumer_look() has
 * found, and say in the consumer's readings where it ends.  Returns how many
 * rows it has.  If it is 0, the settlements that were looked at have none.
 */
int64
meter_batch_gather(MeterConsumer *consumer, int64 number, int64 max_rows,
				   Tuplestorestate *store, TupleDesc descriptor)
{
	Batch		batch = {consumer, number, store, descriptor, 0, {{0}}};
	int			count;
	Settlement *settlements = find_settlements(consumer, false,
											   Min(max_rows, MOST_SETTLEMENTS),
											   &count);
	int			together;
	int			i;

	for (i = 0; i < count && batch.rows < max_rows; i += together)
	{
		MeterReading *reading = meter_consumer_reading(consumer,
													   settlements[i].meter);
		int64		limit = max_rows - batch.rows;
		bool		part = reading->read.part &&
		reading->read.settlement == settlements[i].settlement;
		int64		rows;

		if (!reading->in_batch)
			reading->batch = reading->read;
		reading->in_batch = true;
		together = part ? 1 :
			count_together(&settlements[i], count - i, limit);
		rows = read_settlements(&batch, &settlements[i], together,
								part ? &reading->read.id : NULL, NULL, limit);
		move_on(&batch, &settlements[i + together - 1], together, rows, limit,
				&reading->batch);
		/* the rest of this one comes first in the next batch */
		if (reading->batch.part)
			break;
	}
	return batch.rows;
}

/* Read the open batch of a consumer once more.  Returns how many rows it has. */
int64
meter_batch_repeat(MeterConsumer *consumer, Tuplestorestate *store,
				   TupleDesc descriptor)
{
	Batch		batch = {consumer, consumer->batch, store, descriptor, 0, {{0}}};
	int			count;
	Settlement *settlements = find_settlements(consumer, true, PG_INT64_MAX,
											   &count);
	int			together;
	int			i;

	for (i = 0; i < count; i += together)
	{
		MeterReading *reading = meter_consumer_reading(consumer,
													   settlements[i].meter);
		int64		settlement = settlements[i].settlement;
		bool		begins = reading->read.part &&
		reading->read.settlement == settlement;
		bool		ends = reading->batch.part &&
		reading->batch.settlement == settlement;

		together = begins || ends ? 1 :
			count_together(&settlements[i], count - i, PG_INT64_MAX);
		/* one of which the batch ends with a part is read apart */
		if (together > 1 && reading->batch.part &&
			settlements[i + together - 1].settlement == reading->batch.settlement)
			together--;
		(void) read_settlements(&batch, &settlements[i], together,
								begins ? &reading->read.id : NULL,
								ends ? &reading->batch.id : NULL,
								PG_INT64_MAX);
	}
	return batch.rows;
}

/*
 * Count the settlements that a consumer has not read all of, and the rows of
 * them that it has not read, and tell when the first of them was recorded.
 * Returns false if there are none.
 */
bool
meter_batch_backlog(const MeterConsumer *consumer, int64 *settlements,
					int64 *rows, TimestampTz *oldest)
{
	MeterSession session;
	Oid			types[] = {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID};
	Datum		values[lengthof(types)];
	int64		read = 0;
	ListCell   *cell;
	bool		any;

	foreach(cell, consumer->readings)
		read += ((MeterReading *) lfirst(cell))->read.rows;
	unread_arrays(consumer, false, values);
	meter_session_begin(&session, meter_stream_owner(consumer->stream));
	meter_execute_params(psprintf("SELECT count(*), coalesce(sum(s.usage_rows - s.lost_rows - s.detached_rows), 0)::bigint, min(s.recorded_at) "
								  "FROM unnest($1, $2, $3) n (meter, after, up_to) JOIN %s.settlement s "
								  "ON s.meter = n.meter COLLATE \"C\" AND s.settlement > n.after AND s.settlement <= n.up_to "
								  "WHERE s.usage_rows - s.lost_rows - s.detached_rows > 0",
								  quote_identifier(consumer->stream)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	*settlements = meter_result_count(1);
	*rows = Max(meter_result_count(2) - read, 0);
	any = meter_result_instant(3, oldest);
	meter_session_end(&session);
	return any;
}
