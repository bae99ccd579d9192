/*
 * duplicate_keys.c
 *	  Finding rows that may have duplicates, without reading the log again.
 *
 * _duplicate_key keeps a hash of the name of each row with an id that a meter
 * has looked at, up to its position in a log: resource, source, id, and of an
 * event action; 8 bytes a row, by slice of time and by block of arrivals.  A
 * step that settles compares the hashes of its time with each other and with
 * those of the deduplication window before it, in memory.  Only rows whose hash
 * is met twice are looked up in the log,
 * in the blocks where they are.  Rows that arrived after the position are read
 * from the log itself: their arrivals are the newest.
 *
 * A hash too many costs a look at the log; one that is missing would bill
 * twice.  So hashes are stored in the transaction that moves the position, and
 * only hashes of slices that no step can need are deleted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/duplicate_keys.h"
#include "engine/duplicates.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* In the pass that looks for late rows, hashes are gathered in so much memory. */
#define GATHERED_BYTES	(32 * 1024 * 1024)

/* If that is not enough, those of so many arrivals at a time: 30 MB at most. */
#define ARRIVALS_AT_ONCE	(INT64CONST(1) << 18)

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
hash_text(uint64 hash, MeterAttr value)
{
	const unsigned char *byte = (const unsigned char *) value.data;
	const unsigned char *end = byte + value.len;

	for (; byte < end; byte++)
		hash = (hash ^ *byte) * UINT64CONST(0x100000001b3);
	/* no byte of a text is 0xff */
	return (hash ^ 0xff) * UINT64CONST(0x100000001b3);
}

/* Return the hash of what duplicates of a row have in common. */
static uint64
hash_row(MeterAttr resource, MeterAttr source, MeterAttr id,
		 MeterAttr action)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	hash = hash_text(hash, resource);
	hash = hash_text(hash, source);
	hash = hash_text(hash, id);
	hash = hash_text(hash, action);
	/* mix the bits: every bit counts in a table */
	hash ^= hash >> 32;
	hash *= UINT64CONST(0xd6e8feb86659fd93);
	hash ^= hash >> 32;
	/* 0 stands for a free slot in a table */
	return hash == 0 ? 1 : hash;
}

PG_FUNCTION_INFO_V1(meter_duplicate_key);

/* duplicate_key(resource, source, id, action) */
Datum
meter_duplicate_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) hash_row(meter_attr_from_text(PG_GETARG_DATUM(0)),
									 meter_attr_from_text(PG_GETARG_DATUM(1)),
									 meter_attr_from_text(PG_GETARG_DATUM(2)),
									 meter_attr_from_text(PG_GETARG_DATUM(3))));
}

/* Up to when a row counts: a column of each log. */
static const char *const end_columns[METER_NLOGS] = {
	"e.\"time\"", "e.end_time"
};

/* Rows that can be duplicates: a void only names one. */
static const char *const row_filters[METER_NLOGS] = {
	"e.id IS NOT NULL AND e.action <> 'void'", "e.id IS NOT NULL"
};

/* The hashes of a slice of time and a block of arrivals. */
typedef struct ChunkKey
{
	TimestampTz slice;
	int64		block;
} ChunkKey;

typedef struct Chunk
{
	ChunkKey	key;
	int			count;
	int			room;
	uint64	   *keys;			/* the most significant byte first */
} Chunk;

struct MeterNewRows
{
	const MeterDefinition *definition;
	MeterLog	log;
	const char *only;			/* a condition of the rows e, or NULL */
	bool		limited;		/* gathering ends where it is too much */
	bool		gathers;		/* it has not ended so */
	bool		any_late;
	int64		last_arrival;	/* of all rows; 0: there are none */
	MemoryContext row;			/* what a row is unpacked into */
	MemoryContext context;		/* of the chunks */
	HTAB	   *chunks;
	Chunk	   *last;
};

/* The columns of a row that is looked at. */
enum
{
	NEW_ARRIVAL,
	NEW_HAS_KEY,
	NEW_LATE,
	NEW_TIME,
	NEW_RESOURCE,
	NEW_SOURCE,
	NEW_ID,
	NEW_ACTION					/* of a measure, none */
};

/* Return what the hash of a row e is kept by: its time. */
static char *
row_time(const MeterDefinition *definition, MeterLog log)
{
	return meter_row_time(meter_placing(definition, log), "e");
}

/* Begin to gather hashes. */
static void
begin_chunks(MeterNewRows *rows)
{
	HASHCTL		control = {.keysize = sizeof(ChunkKey),.entrysize = sizeof(Chunk)};

	rows->context = AllocSetContextCreate(CurrentMemoryContext,
										  "meter duplicate keys",
										  ALLOCSET_DEFAULT_SIZES);
	control.hcxt = rows->context;
	rows->chunks = hash_create("duplicate keys", 256, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rows->last = NULL;
}

/*
 * Return the begin of the slice that holds an instant: of a day in UTC, or of
 * as long as the meter's period if that is shorter.  No calendar is asked, so
 * the slice of a row stays the same.
 */
static TimestampTz
slice_begin(const MeterDefinition *definition, TimestampTz time)
{
	int64		length = definition->grid->period_usec > 0 ?
	definition->grid->period_usec : METER_DAY;
	int64		past = time % length;

	return time - (past < 0 ? past + length : past);
}

/* Return the chunk for the hash of a row. */
static Chunk *
find_chunk(MeterNewRows *rows, TimestampTz time, int64 arrival)
{
	ChunkKey	key;
	bool		found;
	Chunk	   *chunk;

	key.slice = slice_begin(rows->definition, time);
	key.block = arrival >> METER_KEY_BLOCK_BITS;
	if (rows->last != NULL && rows->last->key.slice == key.slice &&
		rows->last->key.block == key.block)
		return rows->last;
	chunk = hash_search(rows->chunks, &key, HASH_ENTER, &found);
	if (!found)
	{
		chunk->count = 0;
		chunk->room = 4;
		chunk->keys = MemoryContextAlloc(rows->context,
										 chunk->room * sizeof(uint64));
	}
	rows->last = chunk;
	return chunk;
}

/* Write what was gathered. */
static void
write_chunks(MeterNewRows *rows)
{
	static const MeterWriterColumn columns[] = {
		{"meter", TEXTOID}, {"log", TEXTOID}, {"period_start", TIMESTAMPTZOID},
		{"block", INT8OID}, {"keys", BYTEAOID}, {"resource", TEXTOID}
	};
	const MeterShard *shard = meter_current_shard();

	/* a shard has one more column, by which its rows are its own */
	int			ncolumns = lengthof(columns) - (shard == NULL ? 1 : 0);
	MeterTableWriter *writer;
	Datum		values[lengthof(columns)];
	bool		nulls[lengthof(columns)] = {false};
	HASH_SEQ_STATUS status;
	Chunk	   *chunk;

	if (hash_get_num_entries(rows->chunks) > 0)
	{
		writer = meter_writer_begin(rows->definition->stream, "_duplicate_key",
									columns, ncolumns, NULL);
		values[0] = CStringGetTextDatum(rows->definition->name);
		values[1] = CStringGetTextDatum(meter_log_names[rows->log]);
		if (shard != NULL)
			values[5] = CStringGetTextDatum(shard->key);
		hash_seq_init(&status, rows->chunks);
		while ((chunk = hash_seq_search(&status)) != NULL)
		{
			int			size = VARHDRSZ + chunk->count * sizeof(uint64);
			bytea	   *keys = palloc(size);

			SET_VARSIZE(keys, size);
			memcpy(VARDATA(keys), chunk->keys, size - VARHDRSZ);
			values[2] = TimestampTzGetDatum(chunk->key.slice);
			values[3] = Int64GetDatum(chunk->key.block);
			values[4] = PointerGetDatum(keys);
			(void) meter_writer_insert(writer, values, nulls);
			pfree(keys);
		}
		(void) meter_writer_end(writer, NULL);
	}
	MemoryContextDelete(rows->context);
}

/* Return a text of a row, or an empty one. */
static MeterAttr
text_of(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? meter_attr("", 0) :
		meter_attr_from_text(slot->tts_values[column]);
}

/* Look at a row. */
static void
look_at(void *arg, TupleTableSlot *slot)
{
	MeterNewRows *rows = arg;
	MemoryContext before;
	Chunk	   *chunk;

	rows->last_arrival = Max(rows->last_arrival,
							 DatumGetInt64(slot->tts_values[NEW_ARRIVAL]));
	rows->any_late |= !slot->tts_isnull[NEW_LATE] &&
		DatumGetBool(slot->tts_values[NEW_LATE]);
	if (!rows->gathers || !DatumGetBool(slot->tts_values[NEW_HAS_KEY]))
		return;
	chunk = find_chunk(rows, DatumGetTimestampTz(slot->tts_values[NEW_TIME]),
					   DatumGetInt64(slot->tts_values[NEW_ARRIVAL]));
	if (chunk->count == chunk->room)
	{
		chunk->room *= 2;
		chunk->keys = repalloc(chunk->keys, chunk->room * sizeof(uint64));
	}
	before = MemoryContextSwitchTo(rows->row);
	chunk->keys[chunk->count++] =
		pg_hton64(hash_row(text_of(slot, NEW_RESOURCE),
						   text_of(slot, NEW_SOURCE), text_of(slot, NEW_ID),
						   text_of(slot, NEW_ACTION)));
	MemoryContextSwitchTo(before);
	MemoryContextReset(rows->row);
	if (rows->limited && chunk->count == 1 &&
		MemoryContextMemAllocated(rows->context, true) >= GATHERED_BYTES)
	{
		rows->gathers = false;
		MemoryContextDelete(rows->context);
	}
}

/*
 * Look at the rows of a log in a range of arrivals.  Nothing can be written
 * meanwhile: the query may be a parallel one.
 */
static void
look_over(MeterNewRows *rows, int64 after, int64 upto, const char *late)
{
	begin_chunks(rows);
	rows->gathers = true;
	meter_scan(psprintf("SELECT e.arrival, %s, %s, %s, e.resource, e.source, e.id, %s FROM %s.%s e "
						"WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT "%s%s",
						row_filters[rows->log], late,
						row_time(rows->definition, rows->log),
						rows->log == METER_LOG_EVENT ? "e.action" : "NULL::text",
						quote_identifier(rows->definition->stream),
						meter_log_names[rows->log], after, upto,
						rows->only ? " AND " : "", rows->only ? rows->only : ""),
			   0, NULL, NULL, NULL, look_at, rows);
}

/*
 * Look over what arrived between two positions.  What is returned knows the
 * hashes of rows that have an id, if that is not too much.  Says whether a
 * condition holds for any row e.
 */
MeterNewRows *
meter_new_rows(const MeterDefinition *definition, MeterLog log, int64 after,
			   int64 upto, const char *late, bool *any_late)
{
	MeterNewRows *rows = palloc0(sizeof(MeterNewRows));

	rows->definition = definition;
	rows->log = log;
	rows->limited = true;
	rows->row = AllocSetContextCreate(CurrentMemoryContext, "meter new row",
									  ALLOCSET_DEFAULT_SIZES);
	look_over(rows, after, upto, late);
	*any_late = rows->any_late;
	return rows;
}

/* Return the arrival of the last row that was looked at; 0: there is none. */
int64
meter_last_new_row(const MeterNewRows *rows)
{
	return rows->last_arrival;
}

/*
 * Gather the hashes of rows between two positions again, and store them: some
 * arrivals at a time, within each segment, since between segments there are
 * none.
 */
static void
note_piece_by_piece(MeterNewRows *rows, int64 after, int64 upto)
{
	MeterRows	ranges = {0};
	TupleTableSlot *slot;
	bool		isnull;

	rows->limited = false;
	meter_keep_rows(&ranges, "new_ranges",
					psprintf("SELECT min(e.arrival), max(e.arrival) FROM %s.%s e WHERE e.arrival > " INT64_FORMAT
							 " AND e.arrival <= " INT64_FORMAT " AND %s%s%s GROUP BY e.tableoid",
							 quote_identifier(rows->definition->stream),
							 meter_log_names[rows->log], after, upto,
							 row_filters[rows->log],
							 rows->only ? " AND " : "",
							 rows->only ? rows->only : ""), 0, NULL, NULL);
	slot = MakeSingleTupleTableSlot(ranges.descriptor, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(ranges.store, true, false, slot))
	{
		int64		from = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		int64		last = DatumGetInt64(slot_getattr(slot, 2, &isnull));

		for (; from <= last; from += ARRIVALS_AT_ONCE)
		{
			look_over(rows, from - 1, Min(from + ARRIVALS_AT_ONCE - 1, last),
					  "false");
			write_chunks(rows);
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	meter_forget_rows(&ranges);
}

/*
 * Store the hashes of these rows; if they are not known, or if only those up to
 * `upto` are asked for, of those between two positions.
 */
void
meter_note_duplicate_keys(MeterNewRows *rows, bool all, int64 after,
						  int64 upto)
{
	if (rows->gathers && all)
		write_chunks(rows);
	else
	{
		if (rows->gathers)
			MemoryContextDelete(rows->context);
		note_piece_by_piece(rows, after, upto);
	}
	MemoryContextDelete(rows->row);
	pfree(rows);
}

/*
 * Return the begin of the first slice whose hashes a step needs that settles
 * from an instant on.
 */
static TimestampTz
first_slice(const MeterDefinition *definition, TimestampTz from)
{
	int64		back = 2 * Min(definition->deduplication_window,
							   PG_INT64_MAX / 4);

	return slice_begin(definition,
					   from < MIN_TIMESTAMP + back ? MIN_TIMESTAMP : from - back);
}

/*
 * Store the hashes of a log up to the position anew, those that a step needs
 * that settles from the watermark on: that was taken back, or the hashes were
 * lost.
 */
void
meter_renew_duplicate_keys(const MeterDefinition *definition,
						   const MeterProgress *progress, MeterLog log)
{
	MeterNewRows *rows = palloc0(sizeof(MeterNewRows));

	meter_execute(psprintf("DELETE FROM %s._duplicate_key WHERE meter = %s AND log = '%s'",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_log_names[log]), SPI_OK_DELETE);
	rows->definition = definition;
	rows->log = log;
	if (progress->has_watermark)
		rows->only = psprintf("%s >= %s", row_time(definition, log),
							  meter_timestamp_literal(first_slice(definition,
																  progress->watermark)));
	rows->row = AllocSetContextCreate(CurrentMemoryContext, "meter new row",
									  ALLOCSET_DEFAULT_SIZES);
	note_piece_by_piece(rows, -1, progress->logs[log].position);
	MemoryContextDelete(rows->row);
	pfree(rows);
}

/* Delete the hashes of slices that lie too far back to be needed. */
void
meter_prune_duplicate_keys(const MeterDefinition *definition, const MeterProgress *progress)
{
	meter_execute(psprintf("DELETE FROM %s._duplicate_key WHERE meter = %s AND period_start < %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(first_slice(definition,
															   progress->watermark))),
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

/* What is asked for: rows of a log that count in [from, to). */
typedef struct Question
{
	const MeterDefinition *definition;
	MeterLog	log;
	const char *from;			/* as literals */
	const char *to;
	const char *from_slice;		/* the first slice of hashes of such rows */
	const char *first;			/* the first slice in which duplicates are */
	char	   *rows;			/* a query of hashes that no chunk has, each
								 * with how often to count it */
} Question;

/*
 * Return a query of the hashes that no chunk has: of what arrived after the
 * position; and of straddlers, those of which no chunk has all duplicates are
 * looked up in any case.
 */
static char *
rows_without_chunk(const Question *question, const MeterProgress *progress,
				   bool straddlers, TimestampTz from)
{
	MeterLog	log = question->log;
	const char *schema = quote_identifier(question->definition->stream);
	int64		position = progress->logs[log].position;
	const char *key = meter_row_key(log, "e");
	StringInfoData rows;

	initStringInfo(&rows);
	appendStringInfo(&rows,
					 "SELECT %s, 1 FROM %s.%s e WHERE e.arrival > " INT64_FORMAT
					 " AND %s AND %s < %s AND %s >= %s",
					 key, schema, meter_log_names[log], position, row_filters[log],
					 row_time(question->definition, log), question->to,
					 end_columns[log],
					 question->first);
	if (straddlers)
		appendStringInfo(&rows,
						 " UNION ALL SELECT %s, CASE WHEN e.start_time < %s THEN 2 ELSE 0 END "
						 "FROM %s.measure e WHERE e.arrival <= " INT64_FORMAT
						 " AND e.id IS NOT NULL AND e.start_time < %s AND e.end_time > %s",
						 key, meter_timestamp_literal(meter_later_by(from, -question->definition->deduplication_window)),
						 schema, position, question->from, question->from);
	return rows.data;
}

/* Return how many hashes there are at most, of the rows in question. */
static int64
count_keys(const Question *question)
{
	bool		isnull;

	meter_execute(psprintf("SELECT coalesce((SELECT sum(length(k.keys) / 8) FROM %s._duplicate_key k "
						   "WHERE k.meter = %s AND k.log = '%s' AND k.period_start >= %s AND k.period_start < %s), 0)::bigint "
						   "+ (SELECT count(*) FROM (%s) r)",
						   quote_identifier(question->definition->stream),
						   quote_literal_cstr(question->definition->name),
						   meter_log_names[question->log],
						   question->from_slice, question->to, question->rows),
				  SPI_OK_SELECT);
	return DatumGetInt64(meter_result(0, 1, &isnull));
}

/* List the blocks that have a hash that was met twice in this pass. */
static void
list_blocks(const Question *question, const KeyTable *table, int64 count,
			StringInfo blocks)
{
	KeyTable	met = {NULL, NULL, 0, 0, table->npasses, table->pass};
	int64		slot;

	table_begin(&met, count);
	for (slot = 0; slot <= table->mask; slot++)
	{
		if (table->counts[slot] >= 2)
			table_add(&met, table->keys[slot], 2);
	}
	walk_chunks(question->definition, question->log, &met, CHUNK_BLOCKS,
				question->first, question->to, blocks);
	pfree(met.keys);
	pfree(met.counts);
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
	Question	question = {definition, log, meter_timestamp_literal(from),
		meter_timestamp_literal(to),
		meter_timestamp_literal(slice_begin(definition, from)),
	meter_timestamp_literal(first_slice(definition, from)), NULL};
	bool		straddlers = !TIMESTAMP_IS_NOEND(first_straddler);
	bool		anywhere = straddlers &&
	first_straddler < meter_later_by(from, -definition->deduplication_window);
	ArrayBuildState *hashes;
	StringInfoData blocks;
	KeyTable	table;
	int64		nkeys;
	bool		isnull;

	memset(suspects, 0, sizeof(*suspects));
	question.rows = rows_without_chunk(&question, progress, straddlers, from);
	nkeys = count_keys(&question);
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
		walk_chunks(definition, log, &table, CHUNK_ADD,
					question.from_slice, question.to, NULL);
		walk_rows(&table, question.rows);
		walk_chunks(definition, log, &table, CHUNK_COUNT,
					question.first, question.from_slice, NULL);
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
			list_blocks(&question, &table, suspects->count - before, &blocks);
		pfree(table.keys);
		pfree(table.counts);
	}
	if (suspects->count == 0)
		return;
	suspects->hashes = makeArrayResult(hashes, CurrentMemoryContext);
	suspects->nblocks = PG_INT64_MAX;
	if (anywhere)
		return;
	/* a block has a chunk for each slice */
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
