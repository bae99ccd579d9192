/*
 * scatter.c
 *	  Work that is done shard by shard, on the nodes that have them.
 *
 * Of a distributed stream each node has shards: tables with the rows of some of
 * the resources, logs, states and ledger alike.  What a pass does to a stream is
 * done to each of them where it is, in one distributed transaction, by the code
 * that does it to a stream that is not distributed (see shard_work.c).  What comes
 * of all resources together stays here: totals, settlement, progress.
 *
 * A transaction that only selects is committed on the other nodes before it is
 * committed here; if that fails then, shards would be ahead of the watermark.
 * So a row of each shard, in table _shard, is updated first: what the node does
 * then within the same transaction is prepared there before it is committed here.
 * That row is locked on its node until the transaction is committed there, which
 * comes after the commit here; so the next pass of the meter waits for it, and
 * sees all of what the last one wrote.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/stream.h"
#include "core/core.h"
#include "engine/fold.h"
#include "engine/scatter.h"
#include "engine/totals.h"
#include "log/month.h"
#include "pg/cluster.h"
#include "pg/shard.h"
#include "pg/spi.h"

/*
 * Return the tables of a stream, each followed by the one that has the shard of a
 * key, as a literal.
 */
static char *
names_of_shard(const char *stream, const char *key)
{
	List	   *tables = meter_cluster_shard_tables(stream, meter_log_names[METER_LOG_EVENT], key);
	Datum	   *names = palloc(2 * list_length(tables) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, tables)
	{
		const MeterShardTable *table = lfirst(cell);

		names[n++] = CStringGetTextDatum(table->table);
		names[n++] = CStringGetTextDatum(table->shard);
	}
	return meter_text_array_literal(PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* Return the name of the transaction, which the coordinator knows it by, as a literal. */
static char *
transaction_literal(void)
{
	return psprintf("'" UINT64_FORMAT "'::xid8",
					U64FromFullTransactionId(GetTopFullTransactionId()));
}

/*
 * Make the rows of table _shard of a meter: one in each shard.  With NULL those of
 * all meters of a stream, and of none: of what is asked of the shard whatever
 * meters there are.
 */
void
meter_shards_begin(const char *stream, const char *meter)
{
	List	   *keys = meter_cluster_shard_keys(stream, meter_log_names[METER_LOG_EVENT]);
	List	   *names = meter == NULL ? list_make1("") : NIL;
	MeterSession session;
	ListCell   *cell;
	ListCell   *key;

	foreach(cell, meter_list_meters(stream, meter, false))
		names = lappend(names, ((MeterRef *) lfirst(cell))->meter);

	meter_session_begin(&session, meter_stream_owner(stream));
	foreach(cell, names)
	{
		foreach(key, keys)
			meter_execute(psprintf("INSERT INTO %s._shard (meter, resource, tables, writer) VALUES (%s, %s, %s, %s)",
								   quote_identifier(stream),
								   quote_literal_cstr(lfirst(cell)),
								   quote_literal_cstr(lfirst(key)),
								   names_of_shard(stream, lfirst(key)),
								   transaction_literal()),
						  SPI_OK_INSERT);
	}
	meter_session_end(&session);
}

/*
 * Say anew in table _shard what the tables of each shard are called: the stream
 * has got some.  Within a session.
 */
void
meter_shards_name_tables(const char *stream)
{
	ListCell   *key;

	foreach(key, meter_cluster_shard_keys(stream, meter_log_names[METER_LOG_EVENT]))
		meter_execute(psprintf("UPDATE %s._shard SET tables = %s WHERE resource = %s",
							   quote_identifier(stream),
							   names_of_shard(stream, lfirst(key)),
							   quote_literal_cstr(lfirst(key))),
					  SPI_OK_UPDATE);
}

/* Raise that the shards of a meter are not those that it was made with. */
static void
raise_shards(const MeterDefinition *definition, int64 found)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" has %d shards, but meter \"%s\" was computed on " INT64_FORMAT,
					definition->stream, definition->shards, definition->name,
					found),
			 errhint("Shards may be moved, but not split.")));
}

/*
 * Check that all shards were written equally often, as UPDATE has returned it.  One
 * was not if it was moved while its node had a transaction prepared: Citus copies
 * what is committed there.
 */
static void
check_none_lost(const MeterDefinition *definition)
{
	bool		isnull;
	int64		first = DatumGetInt64(meter_result(0, 1, &isnull));
	uint64		i;

	for (i = 1; i < SPI_processed; i++)
	{
		if (DatumGetInt64(meter_result(i, 1, &isnull)) != first)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a shard of stream \"%s\" has lost what a step of meter \"%s\" wrote",
							definition->stream, definition->name),
					 errdetail("It was moved before its node had committed the step."),
					 errhint("meter.resettle(%s, %s) computes the meter anew.",
							 quote_literal_cstr(definition->stream),
							 quote_literal_cstr(definition->name))));
	}
}

/*
 * Have the transaction prepare on the nodes, and wait for the last one of the
 * meter.  If all of it is to be computed anew, nothing that was lost matters.
 */
static void
begin_writing(const MeterDefinition *definition, MeterShardWork work)
{
	const char *schema = quote_identifier(definition->stream);
	char	   *of_meter = psprintf("WHERE meter = %s",
									quote_literal_cstr(definition->name));

	if (work == METER_SHARD_RESETTLE)
	{
		meter_execute_row(psprintf("SELECT max(step) FROM %s._shard %s", schema,
								   of_meter));
		meter_execute(psprintf("UPDATE %s._shard SET step = " INT64_FORMAT ", writer = %s %s RETURNING step",
							   schema, meter_result_count(1) + 1,
							   transaction_literal(), of_meter),
					  SPI_OK_UPDATE_RETURNING);
	}
	else
		meter_execute(psprintf("UPDATE %s._shard SET step = step + 1, writer = %s %s RETURNING step",
							   schema, transaction_literal(), of_meter),
					  SPI_OK_UPDATE_RETURNING);
	if (SPI_processed != (uint64) definition->shards)
		raise_shards(definition, (int64) SPI_processed);
	if (work != METER_SHARD_RENEW && work != METER_SHARD_ANEW)
		check_none_lost(definition);
}

/* Say in what a shard is asked how far the meter has come. */
void
meter_scatter_progress(const MeterProgress *progress, int64 *asks)
{
	int			log;

	asks[METER_ASK_BEGAN] = GetCurrentTransactionStartTimestamp();
	asks[METER_ASK_WATERMARK] = progress->has_watermark ?
		progress->watermark : DT_NOBEGIN;
	asks[METER_ASK_FIRST_CLOCK] = progress->first_clock;
	asks[METER_ASK_SETTLEMENT] = progress->settlement;
	asks[METER_ASK_LEDGER_UNTIL] = progress->ledger_until;
	for (log = 0; log < METER_NLOGS; log++)
	{
		const MeterLogProgress *of_log = &progress->logs[log];

		asks[METER_ASK_POSITION + log] = of_log->position;
		asks[METER_ASK_READ + log] = of_log->read_arrival;
		asks[METER_ASK_NOTED_AT + log] = of_log->position_watermark;
		asks[METER_ASK_HELD_AFTER + log] = of_log->held_after;
	}
}

/* Return the query that has a work done on each shard. */
static char *
work_query(const MeterDefinition *definition, MeterShardWork work,
		   const char *said, const int64 *asks)
{
	StringInfoData numbers;
	int			i;

	initStringInfo(&numbers);
	for (i = 0; i < METER_NASKS; i++)
		appendStringInfo(&numbers, "%s" INT64_FORMAT, i > 0 ? "," : "", asks[i]);
	return psprintf("SELECT w.* FROM %s._shard s CROSS JOIN LATERAL meter_internal.work_on_shard(%s, s.resource, s.tables, '%c', %s, %s::jsonb, '{%s}'::bigint[]) w "
					"WHERE s.meter = %s",
					quote_identifier(definition->stream),
					quote_literal_cstr(definition->stream), (char) work,
					quote_literal_cstr(said),
					quote_literal_cstr(meter_row_of_definition(definition->stream, definition->name)),
					numbers.data,
					quote_literal_cstr(definition->name));
}

/* Add up what a shard tells. */
static void
add_tells(int64 *tells, Datum numbers)
{
	ArrayType  *array = DatumGetArrayTypeP(numbers);
	const int64 *values = (const int64 *) ARR_DATA_PTR(array);
	int			i;

	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != METER_NTELLS)
		elog(ERROR, "a shard tells something else");
	for (i = 0; i < METER_NTELLS; i++)
	{
		if (i >= METER_TELL_READ && i < METER_TELL_READ + METER_NLOGS)
			tells[i] = Max(tells[i], values[i]);
		else
			tells[i] += values[i];
	}
}

/* Where the rows that shards return go. */
typedef struct Gathering
{
	const MeterDefinition *definition;
	int64	   *tells;
	MeterIdRange *written;
	MeterTotals *fresh;			/* NULL: nothing is written */
	MeterTotals *totals;
	MeterTellDifference tell;
	MeterTakeShardRow take;
	void	   *arg;
	int64		done;
	bool		lacks_months;
} Gathering;

/* Take a sum into totals. */
static void
take_total(MeterTotals *totals, const Datum *values)
{
	meter_totals_add(totals, values[METER_SHARD_ACCOUNT],
					 values[METER_SHARD_DIMENSIONS],
					 DatumGetTimestampTz(values[METER_SHARD_PERIOD_START]),
					 DatumGetNumeric(values[METER_SHARD_QUANTITY]));
}

/* Take a row that a shard has returned. */
static void
take_row(Gathering *gathering, const TupleTableSlot *slot)
{
	const Datum *values = slot->tts_values;
	MeterIdRange written = {false};
	MeterDifference difference;

	switch ((MeterShardRow) DatumGetChar(values[METER_SHARD_KIND]))
	{
		case METER_SHARD_DONE:
			gathering->done++;
			add_tells(gathering->tells, values[METER_SHARD_NUMBERS]);
			if (slot->tts_isnull[METER_SHARD_FIRST_ID])
				break;
			meter_id_range_add(&written, DatumGetUUIDP(values[METER_SHARD_FIRST_ID]));
			meter_id_range_add(&written, DatumGetUUIDP(values[METER_SHARD_LAST_ID]));
			meter_id_range_merge(gathering->written, &written);
			break;
		case METER_SHARD_NEW_TOTAL:
			take_total(gathering->fresh, values);
			break;
		case METER_SHARD_TOTAL:
			take_total(gathering->totals, values);
			break;
		case METER_SHARD_LACKS:
			gathering->lacks_months = true;
			meter_lack_month(gathering->definition->stream,
							 gathering->definition->name,
							 DatumGetTimestampTz(values[METER_SHARD_PERIOD_START]));
			break;
		case METER_SHARD_DIFFERS:
			difference = meter_difference_of(values + METER_SHARD_DIFFERENCE,
											 slot->tts_isnull + METER_SHARD_DIFFERENCE);
			gathering->tell(gathering->arg, &difference);
			break;
		case METER_SHARD_FOUND:
		case METER_SHARD_LEAST:
			gathering->take(gathering->arg, DatumGetChar(values[METER_SHARD_KIND]),
							values, slot->tts_isnull);
			break;
	}
}

/*
 * Have a work done on each shard of a distributed stream, about what a text says:
 * a condition, or a query.  `asks` has what the work needs beside the progress;
 * `tells` gets what came of it.  Totals of what was written, and the counts of
 * states, are changed here.  Raises METER_ERRCODE_NO_MONTH if rows had no month.
 * Differences are told to whoever asks.
 */
static void
scatter(const MeterDefinition *definition, MeterProgress *progress,
		MeterShardWork work, const char *said, int64 *asks, int64 *tells,
		MeterTellDifference tell, MeterTakeShardRow take, void *arg)
{
	Gathering	gathering = {definition, tells, &progress->written, NULL, NULL, tell, take, arg, 0, false};
	bool		writes = work != METER_SHARD_VERIFY && work != METER_SHARD_AWAIT;
	Tuplestorestate *store = tuplestore_begin_heap(true, false, work_mem);
	TupleDesc	descriptor;
	TupleTableSlot *slot;
	MeterSession session;

	memset(tells, 0, METER_NTELLS * sizeof(int64));
	meter_scatter_progress(progress, asks);
	/* that of another meter may have moved meanwhile */
	asks[METER_ASK_BOUNDARY] = definition->boundary;
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	if (writes)
	{
		begin_writing(definition, work);
		gathering.fresh = meter_totals_begin(definition, true);
		gathering.totals = meter_totals_begin(definition, false);
	}
	(void) meter_store(work_query(definition, work, said, asks), 0, NULL, NULL,
					   store, &descriptor);
	slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		take_row(&gathering, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
	if (gathering.done != definition->shards)
		raise_shards(definition, gathering.done);
	if (gathering.lacks_months)
		meter_check_months(definition->stream, definition->name, "usage");
	if (writes)
	{
		meter_totals_end(gathering.fresh);
		meter_totals_end(gathering.totals);
	}
	meter_session_end(&session);
	meter_fold_count_add(tells + METER_TELL_COUNT);
	if (writes)
	{
		progress->carried.running = tells[METER_TELL_RUNNING];
		progress->carried.all = tells[METER_TELL_STATES];
	}
}

/* Have a work done on each shard of a distributed stream: see scatter(). */
void
meter_scatter(const MeterDefinition *definition, MeterProgress *progress,
			  MeterShardWork work, int64 *asks, int64 *tells,
			  MeterTellDifference tell, void *arg)
{
	scatter(definition, progress, work, "", asks, tells, tell, NULL, arg);
}

/* The same about what a text says. */
void
meter_scatter_said(const MeterDefinition *definition, MeterProgress *progress,
				   MeterShardWork work, const char *said, int64 *asks,
				   int64 *tells)
{
	scatter(definition, progress, work, said, asks, tells, NULL, NULL, NULL);
}

/* The same, where rows that shards return are taken by a function. */
void
meter_scatter_taking(const MeterDefinition *definition,
					 MeterProgress *progress, MeterShardWork work,
					 const char *said, int64 *asks, int64 *tells,
					 MeterTakeShardRow take, void *arg)
{
	scatter(definition, progress, work, said, asks, tells, NULL, take, arg);
}

/*
 * Have a work done to a span of time on each shard.  Returns the number of
 * adjustments; *usage_rows, if it is asked for, is that of other usage rows.
 */
int64
meter_scatter_span(const MeterDefinition *definition, MeterProgress *progress,
				   MeterShardWork work, TimestampTz from, TimestampTz to,
				   TimestampTz beyond, bool whole, int64 *usage_rows)
{
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	asks[METER_ASK_FROM] = from;
	asks[METER_ASK_TO] = to;
	asks[METER_ASK_BEYOND] = beyond;
	asks[METER_ASK_WHOLE] = whole;
	meter_scatter(definition, progress, work, asks, tells, NULL, NULL);
	if (usage_rows != NULL)
		*usage_rows = tells[METER_TELL_USAGE_ROWS];
	return tells[METER_TELL_ADJUSTMENTS];
}

/*
 * Wait until all nodes have committed the last transaction of a meter that is
 * committed here, if there is such a meter and its stream is distributed.
 */
void
meter_await_shards(const char *stream, const char *meter)
{
	MeterDefinition *definition;
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	if (meter_stream_shards(stream) == 0 ||
		meter_list_meters(stream, meter, false) == NIL)
		return;
	definition = meter_load(stream, meter, METER_LOCK_NONE);
	meter_scatter(definition, meter_load_progress(definition),
				  METER_SHARD_AWAIT, asks, tells, NULL, NULL);
}
