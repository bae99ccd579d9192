/*
 * duplicate_keys.c
 *	  Finding rows that may have duplicates, without reading the log again.
 *
 * _duplicate_key keeps a hash of resource, source and id of each row with an
 * id that a meter has looked at, up to its position in a log: 8 bytes a row, by
 * period and by block of arrivals.  A step that settles compares the hashes of
 * its periods with each other and with those of the deduplication window before
 * them, in memory.  Only rows whose hash is met twice are looked up in the log,
 * in the blocks where they are.  Rows that arrived after the position are read
 * from the log itself: their arrivals are the newest.
 *
 * A hash too many costs a look at the log; one that is missing would bill
 * twice.  So hashes are stored in the transaction that moves the position, and
 * only hashes of periods that no step can need are deleted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "engine/duplicate_keys.h"
#include "engine/period.h"
#include "pg/spi.h"

/* So many arrivals have their hashes gathered at a time: some 10 MB. */
#define ARRIVALS_AT_ONCE	(INT64CONST(1) << 20)

/* So many hashes are compared at a time: a table of 72 MB. */
#define MOST_KEYS	(INT64CONST(1) << 21)

/* So many chunks of hashes are read at a time. */
#define CHUNKS_AT_ONCE	64

/*
 * Up to so many blocks of arrivals are read by themselves; for more the log is
 * read.
 */
#define FEW_BLOCKS	500

/* Mix the bytes of a text, and where it ends, into a hash: FNV-1a. */
static uint64
hash_text(uint64 hash, text * value)
{
	const unsigned char *byte = (unsigned char *) VARDATA_ANY(value);
	const unsigned char *end = byte + VARSIZE_ANY_EXHDR(value);

	for (; byte < end; byte++)
		hash = (hash ^ *byte) * UINT64CONST(0x100000001b3);
	/* no byte of a text is 0xff */
	return (hash ^ 0xff) * UINT64CONST(0x100000001b3);
}

PG_FUNCTION_INFO_V1(meter_duplicate_key);

/* duplicate_key(resource, source, id) */
Datum
meter_duplicate_key(PG_FUNCTION_ARGS)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	hash = hash_text(hash, PG_GETARG_TEXT_PP(0));
	hash = hash_text(hash, PG_GETARG_TEXT_PP(1));
	hash = hash_text(hash, PG_GETARG_TEXT_PP(2));
	/* mix the bits: every bit counts in a table */
	hash ^= hash >> 32;
	hash *= UINT64CONST(0xd6e8feb86659fd93);
	hash ^= hash >> 32;
	/* 0 stands for a free slot in a table */
	PG_RETURN_INT64(hash == 0 ? 1 : (int64) hash);
}

PG_FUNCTION_INFO_V1(meter_duplicate_keys_add);

/* duplicate_keys(hash): adds a hash */
Datum
meter_duplicate_keys_add(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext before;
	StringInfo	keys;
	uint64		key;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "duplicate_keys called in non-aggregate context");
	before = MemoryContextSwitchTo(context);
	keys = PG_ARGISNULL(0) ? makeStringInfo() :
		(StringInfo) PG_GETARG_POINTER(0);
	if (!PG_ARGISNULL(1))
	{
		key = pg_hton64((uint64) PG_GETARG_INT64(1));
		appendBinaryStringInfo(keys, (char *) &key, sizeof(key));
	}
	MemoryContextSwitchTo(before);
	PG_RETURN_POINTER(keys);
}

PG_FUNCTION_INFO_V1(meter_duplicate_keys_final);

/* duplicate_keys(): returns all hashes that were added */
Datum
meter_duplicate_keys_final(PG_FUNCTION_ARGS)
{
	StringInfo	keys;
	bytea	   *result;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "duplicate_keys called in non-aggregate context");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	keys = (StringInfo) PG_GETARG_POINTER(0);
	result = palloc(VARHDRSZ + keys->len);
	SET_VARSIZE(result, VARHDRSZ + keys->len);
	memcpy(VARDATA(result), keys->data, keys->len);
	PG_RETURN_BYTEA_P(result);
}

/* What a hash of a row is kept by: columns of each log. */
static const char *const begin_columns[METER_NLOGS] = {
	"e.\"time\"", "e.start_time"
};
static const char *const end_columns[METER_NLOGS] = {
	"e.\"time\"", "e.end_time"
};

/* Rows that can be duplicates: a void only names one. */
static const char *const row_filters[METER_NLOGS] = {
	"e.id IS NOT NULL AND e.action <> 'void'", "e.id IS NOT NULL"
};

/* The hash of a row e of a log. */
#define ROW_KEY	METER_DUPLICATE_KEY("e")

/*
 * Look over what arrived between two positions.  Returns the arrivals of rows
 * that have an id, as ranges within segments, since arrivals between these do
 * not exist; and whether a condition holds for any row e.
 */
MeterKeyRange *
meter_new_rows(const MeterDefinition *definition, MeterLog log, int64 after,
			   int64 upto, const char *late, int *nranges, bool *any_late)
{
	MemoryContext context = CurrentMemoryContext;
	MeterKeyRange *ranges;
	uint64		row;
	bool		isnull;

	meter_execute(psprintf("SELECT min(e.arrival) FILTER (WHERE e.id IS NOT NULL), "
						   "max(e.arrival) FILTER (WHERE e.id IS NOT NULL), bool_or(%s) "
						   "FROM %s.%s e WHERE e.arrival > " INT64_FORMAT
						   " AND e.arrival <= " INT64_FORMAT " GROUP BY e.tableoid",
						   late, quote_identifier(definition->stream),
						   meter_log_names[log], after, upto), SPI_OK_SELECT);
	ranges = MemoryContextAlloc(context,
								Max(SPI_processed, 1) * sizeof(MeterKeyRange));
	*nranges = 0;
	*any_late = false;
	for (row = 0; row < SPI_processed; row++)
	{
		Datum		value = meter_result(row, 1, &isnull);

		if (!isnull)
		{
			ranges[*nranges].first = DatumGetInt64(value);
			ranges[*nranges].last = DatumGetInt64(meter_result(row, 2, &isnull));
			(*nranges)++;
		}
		value = meter_result(row, 3, &isnull);
		*any_late |= !isnull && DatumGetBool(value);
	}
	return ranges;
}

/* Store the hashes of the rows in these ranges, up to `upto`. */
void
meter_note_duplicate_keys(const MeterDefinition *definition, MeterLog log,
						  const MeterKeyRange *ranges, int nranges,
						  int64 upto)
{
	const char *schema = quote_identifier(definition->stream);
	int			i;

	for (i = 0; i < nranges; i++)
	{
		int64		last = Min(ranges[i].last, upto);
		int64		from;

		for (from = ranges[i].first; from <= last; from += ARRIVALS_AT_ONCE)
			meter_execute(psprintf("INSERT INTO %s._duplicate_key (meter, log, period_start, block, keys) "
								   "SELECT %s, '%s', %s, e.arrival >> %d, meter_internal.duplicate_keys(" ROW_KEY ") "
								   "FROM %s.%s e WHERE e.arrival >= " INT64_FORMAT
								   " AND e.arrival <= " INT64_FORMAT " AND %s "
								   "GROUP BY 3, 4", schema,
								   quote_literal_cstr(definition->name),
								   meter_log_names[log],
								   meter_period_of(definition, begin_columns[log]),
								   METER_KEY_BLOCK_BITS, schema,
								   meter_log_names[log], from,
								   Min(from + ARRIVALS_AT_ONCE - 1, last),
								   row_filters[log]),
						  SPI_OK_INSERT);
	}
}

/*
 * Return the first period whose hashes a step needs that settles from an
 * instant on.
 */
static char *
first_period(const MeterDefinition *definition, TimestampTz from)
{
	int64		back = 2 * Min(definition->deduplication_window,
							   PG_INT64_MAX / 4);
	TimestampTz at = from < MIN_TIMESTAMP + back ? MIN_TIMESTAMP :
	from - back;

	return meter_period_of(definition,
						   meter_timestamp_literal(at));
}

/* Delete the hashes of periods that lie too far back to be needed. */
void
meter_prune_duplicate_keys(const MeterDefinition *definition, const MeterProgress *progress)
{
	meter_execute(psprintf("DELETE FROM %s._duplicate_key WHERE meter = %s AND period_start < %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   first_period(definition, progress->watermark)),
				  SPI_OK_DELETE);
}

/*
 * A table of hashes, each with the number of times it was met: 0, 1, or 2 and
 * more.
 */
typedef struct KeyTable
{
	uint64	   *keys;			/* 0: free */
	uint8	   *counts;
	int64		mask;			/* slots - 1 */
	int64		used;
	int			npasses;		/* only every so many-th hash is in it */
	int			pass;
} KeyTable;

/* Make a table for so many hashes at most, or empty it. */
static void
table_begin(KeyTable *table, int64 nkeys)
{
	int64		slots = 1024;

	while (slots < nkeys * 2)
		slots *= 2;
	table->mask = slots - 1;
	table->used = 0;
	table->keys = MemoryContextAllocExtended(CurrentMemoryContext,
											 slots * sizeof(uint64),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	table->counts = MemoryContextAllocExtended(CurrentMemoryContext, slots,
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/*
 * Return the slot of a hash, or that where it would be; -1 if this pass leaves
 * it out.
 */
static inline int64
table_slot(const KeyTable *table, uint64 key)
{
	int64		slot;

	if (table->npasses > 1 && (key >> 40) % table->npasses != (uint64) table->pass)
		return -1;
	for (slot = key & table->mask;
		 table->keys[slot] != 0 && table->keys[slot] != key;
		 slot = (slot + 1) & table->mask)
		;
	return slot;
}

/* Add a hash, and count it `count` times. */
static void
table_add(KeyTable *table, uint64 key, int count)
{
	int64		slot = table_slot(table, key);

	if (slot < 0)
		return;
	if (table->keys[slot] == 0)
	{
		if (table->used >= table->mask)
			elog(ERROR, "more hashes than were counted");
		table->keys[slot] = key;
		table->used++;
	}
	table->counts[slot] = Min(table->counts[slot] + count, 2);
}

/* Return the hashes of a chunk, and their number. */
static int
chunk_keys(Datum chunk, const uint8 **bytes)
{
	bytea	   *keys = DatumGetByteaPP(chunk);

	*bytes = (const uint8 *) VARDATA_ANY(keys);
	return VARSIZE_ANY_EXHDR(keys) / sizeof(uint64);
}

/* Return a hash of a chunk by its position. */
static inline uint64
chunk_key(const uint8 *bytes, int i)
{
	uint64		key;

	memcpy(&key, bytes + i * sizeof(uint64), sizeof(key));
	return pg_ntoh64(key);
}

/* What walk_chunks() does with each chunk. */
typedef enum ChunkUse
{
	CHUNK_ADD,					/* put the hashes in */
	CHUNK_COUNT,				/* count those that are there */
	CHUNK_BLOCKS				/* list the blocks that hold one */
} ChunkUse;

/* Do something with each chunk (keys, block) of a meter in [from, to). */
static void
walk_chunks(const MeterDefinition *definition, MeterLog log, KeyTable *table,
			ChunkUse use,
			const char *from, const char *to, StringInfo blocks)
{
	MemoryContext context;
	MemoryContext before;
	Portal		portal;
	uint64		row;

	portal = meter_cursor_open(psprintf("SELECT k.keys, k.block FROM %s._duplicate_key k "
										"WHERE k.meter = %s AND k.log = '%s' AND k.period_start >= %s AND k.period_start < %s",
										quote_identifier(definition->stream),
										quote_literal_cstr(definition->name),
										meter_log_names[log], from, to));
	context = AllocSetContextCreate(CurrentMemoryContext, "duplicate keys",
									ALLOCSET_DEFAULT_SIZES);
	while (meter_cursor_fetch(portal, CHUNKS_AT_ONCE))
	{
		before = MemoryContextSwitchTo(context);
		for (row = 0; row < SPI_processed; row++)
		{
			bool		isnull;
			const uint8 *bytes;
			int			count = chunk_keys(meter_result(row, 1, &isnull),
										   &bytes);
			bool		found = false;
			int			i;

			for (i = 0; i < count && !found; i++)
			{
				uint64		key = chunk_key(bytes, i);
				int64		slot;

				if (use == CHUNK_ADD)
				{
					table_add(table, key, 1);
					continue;
				}
				slot = table_slot(table, key);
				if (slot < 0 || table->keys[slot] == 0)
					continue;
				if (use == CHUNK_COUNT)
					table->counts[slot] = Min(table->counts[slot] + 1, 2);
				else
					found = true;
			}
			if (found)
				appendStringInfo(blocks, "," INT64_FORMAT,
								 DatumGetInt64(meter_result(row, 2, &isnull)));
		}
		MemoryContextSwitchTo(before);
		MemoryContextReset(context);
	}
	meter_cursor_close(portal);
	MemoryContextDelete(context);
}

/*
 * Add the hashes that a query returns one by one, each with how often to count
 * it.
 */
static void
walk_rows(KeyTable *table, const char *sql)
{
	Portal		portal = meter_cursor_open(sql);

	while (meter_cursor_fetch(portal, 10000))
	{
		uint64		row;
		bool		isnull;

		for (row = 0; row < SPI_processed; row++)
			table_add(table,
					  (uint64) DatumGetInt64(meter_result(row, 1, &isnull)),
					  DatumGetInt32(meter_result(row, 2, &isnull)));
	}
	meter_cursor_close(portal);
}

/*
 * Find which rows that count in [from, to) may have duplicates: those whose
 * hash is met twice.  Of measures, `first_straddler` is the start of the earliest
 * measure that began before `from` and ends after it, DT_NOEND if there is
 * none.
 */
void
meter_find_suspects(const MeterDefinition *definition,
					const MeterProgress *progress, MeterLog log,
					TimestampTz from, TimestampTz to,
					TimestampTz first_straddler, MeterSuspects *suspects)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *from_literal = meter_timestamp_literal(from);
	const char *to_literal = meter_timestamp_literal(to);
	const char *first = first_period(definition, from);
	StringInfoData rows;
	ArrayBuildState *hashes;
	StringInfoData blocks;
	KeyTable	table;
	int64		nkeys;
	bool		straddlers = !TIMESTAMP_IS_NOEND(first_straddler);
	bool		anywhere = false;
	bool		isnull;

	initStringInfo(&rows);
	/* what arrived after the position has no chunk yet */
	appendStringInfo(&rows,
					 "SELECT " ROW_KEY ", 1 FROM %s.%s e WHERE e.arrival > " INT64_FORMAT
					 " AND %s AND %s < %s AND %s >= %s",
					 schema, meter_log_names[log],
					 progress->logs[log].position, row_filters[log],
					 begin_columns[log], to_literal, end_columns[log], first);
	if (straddlers)
	{
		/*
		 * those of which no chunk has all duplicates are looked up in any
		 * case
		 */
		TimestampTz oldest = from < MIN_TIMESTAMP + definition->deduplication_window ?
		MIN_TIMESTAMP : from - definition->deduplication_window;

		anywhere = first_straddler < oldest;
		appendStringInfo(&rows,
						 " UNION ALL SELECT " ROW_KEY ", CASE WHEN e.start_time < %s THEN 2 ELSE 0 END "
						 "FROM %s.measure e WHERE e.arrival <= " INT64_FORMAT
						 " AND e.id IS NOT NULL AND e.start_time < %s AND e.end_time > %s",
						 meter_timestamp_literal(oldest), schema,
						 progress->logs[METER_LOG_MEASURE].position,
						 from_literal, from_literal);
	}
	meter_execute(psprintf("SELECT coalesce((SELECT sum(length(k.keys) / 8) FROM %s._duplicate_key k "
						   "WHERE k.meter = %s AND k.log = '%s' AND k.period_start >= %s AND k.period_start < %s), 0)::bigint "
						   "+ (SELECT count(*) FROM (%s) r)",
						   schema, meter, meter_log_names[log], from_literal,
						   to_literal, rows.data),
				  SPI_OK_SELECT);
	nkeys = DatumGetInt64(meter_result(0, 1, &isnull));
	suspects->count = 0;
	suspects->nblocks = 0;
	suspects->hashes = (Datum) 0;
	suspects->blocks = NULL;
	if (nkeys == 0)
		return;

	hashes = initArrayResult(INT8OID, CurrentMemoryContext, false);
	initStringInfo(&blocks);
	table.npasses = (int) (nkeys / MOST_KEYS) + 1;
	for (table.pass = 0; table.pass < table.npasses; table.pass++)
	{
		int64		before = suspects->count;
		int64		slot;

		CHECK_FOR_INTERRUPTS();
		/* all passes have about as many hashes */
		table_begin(&table, nkeys / table.npasses * 5 / 4 + 1024);
		walk_chunks(definition, log, &table, CHUNK_ADD, from_literal, to_literal,
					NULL);
		walk_rows(&table, rows.data);
		walk_chunks(definition, log, &table, CHUNK_COUNT, first, from_literal,
					NULL);
		for (slot = 0; slot <= table.mask; slot++)
		{
			if (table.counts[slot] < 2)
				continue;
			(void) accumArrayResult(hashes,
									Int64GetDatum((int64) table.keys[slot]),
									false, INT8OID, CurrentMemoryContext);
			suspects->count++;
		}
		if (suspects->count > before && !anywhere)
		{
			KeyTable	met = {NULL, NULL, 0, 0, table.npasses, table.pass};

			table_begin(&met, suspects->count - before);
			for (slot = 0; slot <= table.mask; slot++)
			{
				if (table.counts[slot] >= 2)
					table_add(&met, table.keys[slot], 2);
			}
			walk_chunks(definition, log, &met, CHUNK_BLOCKS, first, to_literal,
						&blocks);
			pfree(met.keys);
			pfree(met.counts);
		}
		pfree(table.keys);
		pfree(table.counts);
	}
	if (suspects->count == 0)
		return;
	suspects->hashes = makeArrayResult(hashes, CurrentMemoryContext);
	suspects->nblocks = PG_INT64_MAX;
	if (anywhere)
		return;
	/* a block has a chunk for each period */
	meter_execute(psprintf("SELECT count(DISTINCT b), array_agg(DISTINCT b) FROM unnest('{%s}'::bigint[]) b",
						   blocks.len > 0 ? blocks.data + 1 : ""),
				  SPI_OK_SELECT);
	suspects->nblocks = DatumGetInt64(meter_result(0, 1, &isnull));
	suspects->blocks = psprintf("%s::bigint[]",
								quote_literal_cstr(suspects->nblocks > 0 ?
												   meter_result_text(0, 2) : "{}"));
}

/*
 * Return where to find the suspects in a log, as a subquery: in their blocks
 * and after the position.  Returns NULL if they are in so many blocks that the
 * log is better read from end to end.
 */
char *
meter_suspect_rows(const MeterDefinition *definition,
				   const MeterProgress *progress, MeterLog log,
				   const MeterSuspects *suspects)
{
	const char *schema = quote_identifier(definition->stream);
	const char *name = meter_log_names[log];
	int64		position = progress->logs[log].position;

	if (suspects->nblocks > FEW_BLOCKS)
		return NULL;
	/* the index on arrivals finds one block after the other */
	return psprintf("(SELECT m.* FROM unnest(%s) b CROSS JOIN LATERAL "
					"(SELECT * FROM %s.%s l WHERE l.arrival >= b << %d AND l.arrival < (b + 1) << %d "
					"AND l.arrival <= " INT64_FORMAT " OFFSET 0) m "
					"UNION ALL SELECT m.* FROM %s.%s m WHERE m.arrival > " INT64_FORMAT ")",
					suspects->blocks, schema, name, METER_KEY_BLOCK_BITS,
					METER_KEY_BLOCK_BITS, position, schema, name, position);
}

/*
 * Return a query for the arrivals of duplicates among rows c that meet
 * conditions: those whose time since the next lesser duplicate is at most the
 * deduplication window.  `suspects` is a query of hashes that are met twice, or
 * NULL: then the rows themselves tell; if they are of few resources, they are
 * looked up once and kept meanwhile.
 */
char *
meter_duplicates_query(const char *rows, const char *conditions,
					   const char *suspects, bool few,
					   const char *since_duplicate, const char *window)
{
	if (suspects == NULL && few)
		return psprintf("WITH c AS MATERIALIZED (SELECT c.*, " METER_DUPLICATE_KEY("c") " AS key_of_row FROM %s c WHERE %s) "
						"SELECT c.arrival FROM (SELECT c.arrival, %s AS since_duplicate FROM c "
						"JOIN (SELECT key_of_row FROM c GROUP BY 1 HAVING count(*) > 1) s (key) ON s.key = c.key_of_row) c "
						"WHERE c.since_duplicate <= %s",
						rows, conditions, since_duplicate, window);
	if (suspects == NULL)
		suspects = psprintf("SELECT " METER_DUPLICATE_KEY("c") " FROM %s c WHERE %s GROUP BY 1 HAVING count(*) > 1",
							rows, conditions);
	return psprintf("SELECT c.arrival FROM (SELECT c.arrival, %s AS since_duplicate"
					" FROM %s c JOIN (%s) s (key) ON s.key = " METER_DUPLICATE_KEY("c")
					" WHERE %s) c WHERE c.since_duplicate <= %s",
					since_duplicate, rows, suspects, conditions, window);
}
