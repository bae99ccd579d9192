/*
 * shard_work.c
 *	  Work on one shard: what a node is asked to do by the coordinator of a
 *	  distributed stream (see scatter.c).
 *
 * The node has the extension, but nothing of the stream in its catalog: the
 * meter and its progress come with the question.  The tables of the shard stand
 * for those of the stream (see pg/shard.c), and the code is the one that does the
 * same to a stream that is not distributed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/duplicate_keys.h"
#include "engine/findings.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/ledger.h"
#include "engine/resettle.h"
#include "engine/scatter.h"
#include "engine/settle.h"
#include "engine/shard_keeping.h"
#include "engine/state_counts.h"
#include "engine/step_state.h"
#include "engine/totals.h"
#include "engine/usage_kind.h"
#include "log/month.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* A call of work_on_shard(). */
typedef struct ShardCall
{
	ReturnSetInfo *info;
	char	   *stream;
	char	   *key;
	MeterShardWork work;
	const char *said;			/* a condition, or a query */
	Datum		row;			/* of meter.meter, as jsonb */
	const int64 *asks;
	MeterDefinition *definition;
	MeterProgress *progress;
	int64		tells[METER_NTELLS];
} ShardCall;

/* Return a row. */
static void
return_row(ShardCall *call, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(call->info->setResult, call->info->setDesc,
						 (Datum *) values, (bool *) nulls);
}

/* Begin a row of a kind. */
static void
begin_row(MeterShardRow kind, Datum *values, bool *nulls)
{
	memset(values, 0, METER_SHARD_NCOLUMNS * sizeof(Datum));
	memset(nulls, true, METER_SHARD_NCOLUMNS * sizeof(bool));
	values[METER_SHARD_KIND] = CharGetDatum((char) kind);
	nulls[METER_SHARD_KIND] = false;
}

/* Set a column of a row. */
static void
set(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

/* Return a sum of what was written. */
static void
return_total(void *arg, Datum account, TimestampTz period_start,
			 Datum dimensions, Datum quantity, bool fresh)
{
	Datum		values[METER_SHARD_NCOLUMNS];
	bool		nulls[METER_SHARD_NCOLUMNS];

	begin_row(fresh ? METER_SHARD_NEW_TOTAL : METER_SHARD_TOTAL, values, nulls);
	set(values, nulls, METER_SHARD_ACCOUNT, account);
	set(values, nulls, METER_SHARD_PERIOD_START,
		TimestampTzGetDatum(period_start));
	set(values, nulls, METER_SHARD_DIMENSIONS, dimensions);
	set(values, nulls, METER_SHARD_QUANTITY, quantity);
	return_row(arg, values, nulls);
}

/* Return a row that has all but its kind. */
static void
return_found(void *arg, MeterShardRow kind, const Datum *values,
			 const bool *nulls)
{
	Datum		row[METER_SHARD_NCOLUMNS];
	bool		none[METER_SHARD_NCOLUMNS];

	memcpy(row, values, sizeof(row));
	memcpy(none, nulls, sizeof(none));
	set(row, none, METER_SHARD_KIND, CharGetDatum((char) kind));
	return_row(arg, row, none);
}

/* Return where the ledger differs. */
static void
return_difference(void *arg, const MeterDifference *difference)
{
	Datum		values[METER_SHARD_NCOLUMNS];
	bool		nulls[METER_SHARD_NCOLUMNS];

	begin_row(METER_SHARD_DIFFERS, values, nulls);
	meter_difference_values(difference, values + METER_SHARD_DIFFERENCE,
							nulls + METER_SHARD_DIFFERENCE);
	return_row(arg, values, nulls);
}

/* Return for which months there are no partitions. */
static void
return_lacking(ShardCall *call)
{
	Datum		values[METER_SHARD_NCOLUMNS];
	bool		nulls[METER_SHARD_NCOLUMNS];
	TimestampTz begin;

	while (meter_next_lacking_month(call->stream, call->definition->name, &begin))
	{
		begin_row(METER_SHARD_LACKS, values, nulls);
		set(values, nulls, METER_SHARD_PERIOD_START, TimestampTzGetDatum(begin));
		return_row(call, values, nulls);
	}
}

/* Return what was done. */
static void
return_done(ShardCall *call)
{
	const MeterIdRange *written = &call->progress->written;
	Datum		numbers[METER_NTELLS];
	Datum		values[METER_SHARD_NCOLUMNS];
	bool		nulls[METER_SHARD_NCOLUMNS];
	int			i;

	meter_fold_count_tell(call->tells + METER_TELL_COUNT);
	for (i = 0; i < METER_NTELLS; i++)
		numbers[i] = Int64GetDatum(call->tells[i]);
	begin_row(METER_SHARD_DONE, values, nulls);
	set(values, nulls, METER_SHARD_NUMBERS,
		PointerGetDatum(construct_array(numbers, METER_NTELLS, INT8OID, 8,
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	if (written->any)
	{
		set(values, nulls, METER_SHARD_FIRST_ID, UUIDPGetDatum(&written->first));
		set(values, nulls, METER_SHARD_LAST_ID, UUIDPGetDatum(&written->last));
	}
	return_row(call, values, nulls);
}

/* Return the progress as the question says it. */
MeterProgress *
meter_shard_progress(const int64 *asks)
{
	MeterProgress *progress = palloc0(sizeof(MeterProgress));
	int			log;

	progress->watermark = asks[METER_ASK_WATERMARK];
	progress->has_watermark = !TIMESTAMP_IS_NOBEGIN(progress->watermark);
	progress->settled_from = DT_NOEND;
	progress->first_clock = asks[METER_ASK_FIRST_CLOCK];
	progress->settlement = asks[METER_ASK_SETTLEMENT];
	progress->ledger_until = asks[METER_ASK_LEDGER_UNTIL];
	progress->whole_steps = true;
	for (log = 0; log < METER_NLOGS; log++)
	{
		MeterLogProgress *of_log = &progress->logs[log];

		of_log->position = of_log->position_before = asks[METER_ASK_POSITION + log];
		of_log->read_arrival = asks[METER_ASK_READ + log];
		of_log->position_watermark = asks[METER_ASK_NOTED_AT + log];
		of_log->held_after = asks[METER_ASK_HELD_AFTER + log];
	}
	return progress;
}

/* Return the condition on the row of the shard in table _shard. */
static char *
is_row_of_shard(const ShardCall *call)
{
	return psprintf("meter = %s AND resource = %s",
					quote_literal_cstr(call->definition->name),
					quote_literal_cstr(call->key));
}

/*
 * Read how many states the shard has.  Before anything was computed on it, count
 * them, and make what is kept of the rows of its log.
 */
static void
read_counts(ShardCall *call)
{
	MeterLog	log;
	bool		isnull;

	meter_execute_row(psprintf("SELECT running, states FROM %s._shard WHERE %s",
							   quote_identifier(call->stream),
							   is_row_of_shard(call)));
	call->progress->carried.running = meter_result_count(1);
	call->progress->carried.all = meter_result_count(2);
	(void) meter_result(0, 2, &isnull);
	if (!isnull)
		return;
	meter_count_states(call->definition, &call->progress->carried);
	if (call->work == METER_SHARD_VERIFY || call->work == METER_SHARD_AWAIT)
		return;
	for (log = METER_LOG_EVENT; log <= meter_usage_of(call->definition)->log; log++)
		meter_renew_duplicate_keys(call->definition, call->progress, log);
}

/* Store how many states the shard has, and tell it. */
static void
store_counts(ShardCall *call)
{
	const MeterStateCounts *carried = &call->progress->carried;

	meter_execute(psprintf("UPDATE %s._shard SET running = " INT64_FORMAT ", states = " INT64_FORMAT " WHERE %s",
						   quote_identifier(call->stream), carried->running,
						   carried->all, is_row_of_shard(call)),
				  SPI_OK_UPDATE);
	call->tells[METER_TELL_RUNNING] = carried->running;
	call->tells[METER_TELL_STATES] = carried->all;
}

/* Process what arrived. */
static void
process_late(ShardCall *call)
{
	MeterStep	step = {0};
	int			log;

	for (log = 0; log < METER_NLOGS; log++)
		step.safe[log] = call->asks[METER_ASK_UPTO + log];
	meter_settle_late_rows(call->definition, call->progress, &step,
						   METER_LOG_EVENT);
	call->tells[METER_TELL_ADJUSTMENTS] = step.adjustments;
	call->tells[METER_TELL_LATE_ROWS] = step.late_rows;
	for (log = 0; log < METER_NLOGS; log++)
	{
		call->tells[METER_TELL_HELD + log] = step.held[log];
		call->tells[METER_TELL_READ + log] = call->progress->logs[log].read_arrival;
	}
}

/* Settle periods. */
static void
settle(ShardCall *call)
{
	MeterStep	step = {0};

	meter_settle(call->definition, call->progress, call->asks[METER_ASK_TO],
				 &step);
	call->tells[METER_TELL_USAGE_ROWS] = step.usage_rows;
	call->tells[METER_TELL_ADJUSTMENTS] = step.adjustments;
}

/* Compute anew what is settled. */
static void
settle_anew(ShardCall *call)
{
	TimestampTz from = call->asks[METER_ASK_FROM];
	TimestampTz to = call->asks[METER_ASK_TO];

	call->tells[METER_TELL_ADJUSTMENTS] = call->work == METER_SHARD_ANEW ?
		meter_settle_anew(call->definition, call->progress, from, to,
						  call->asks[METER_ASK_BEYOND]) :
		meter_resettle_rows(call->definition, call->progress,
							call->asks[METER_ASK_WHOLE] != 0, from, to);
}

/* Compare the ledger with usage that is computed anew. */
static void
verify(void *arg)
{
	ShardCall  *call = arg;

	meter_check_states(call->definition, call->progress);
	meter_find_faults(call->definition, call->progress,
					  call->asks[METER_ASK_FROM], call->asks[METER_ASK_TO],
					  call->asks[METER_ASK_BEYOND], return_difference, call);
}

/* What lets a lock go that was had. */
#define LET_GO	MAKE_SQLSTATE('M', 'E', '0', '0', '2')

/* Lock the row of the shard, and let it go, as meter_try() calls it. */
static void
lock_and_let_go(void *arg)
{
	const ShardCall *call = arg;

	meter_execute(psprintf("SELECT FROM %s._shard WHERE %s FOR SHARE",
						   quote_identifier(call->stream),
						   is_row_of_shard(call)),
				  SPI_OK_SELECT);
	ereport(ERROR, (errcode(LET_GO), errmsg_internal("the row was locked")));
}

/*
 * Wait until the last transaction of the meter is committed on this node, too: it
 * may be so on the others.
 */
static void
await_last(ShardCall *call)
{
	ErrorData  *error = meter_try(lock_and_let_go, call);

	if (error->sqlerrcode != LET_GO)
		ReThrowError(error);
	FreeErrorData(error);
}

/* Verify, by one snapshot: the caller has waited for the last transaction. */
static void
verify_shard(ShardCall *call)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_with_one_snapshot(verify, call);
	PopActiveSnapshot();
}

/* Do the work, where the tables of the shard stand for those of the stream. */
static void
work(void *arg)
{
	ShardCall  *call = arg;

	/* the shard may be on the coordinator, and this in the midst of its step */
	MeterFoldCount before = *meter_fold_count();
	MeterSession session;

	meter_fold_count_anew();
	call->definition = meter_definition_of_row(call->row);
	call->definition->boundary = call->asks[METER_ASK_BOUNDARY];
	call->progress = meter_shard_progress(call->asks);
	meter_session_begin(&session, meter_stream_owner(call->stream));
	meter_session_bulk();
	read_counts(call);
	meter_totals_hand_over(return_total, call);
	meter_findings_hand_over(return_found, call);
	switch (call->work)
	{
		case METER_SHARD_LATE:
			process_late(call);
			break;
		case METER_SHARD_SETTLE:
			settle(call);
			break;
		case METER_SHARD_RELEASE:
			call->tells[METER_TELL_LATE_ROWS] =
				meter_release_held(call->definition, call->progress,
								   call->said,
								   &call->tells[METER_TELL_ADJUSTMENTS]);
			break;
		case METER_SHARD_RELEASED:
			call->tells[METER_TELL_ADJUSTMENTS] =
				meter_recompute_released(call->definition, call->progress,
										 call->said);
			break;
		case METER_SHARD_ASIDE:
			call->tells[METER_TELL_ADJUSTMENTS] =
				meter_recompute_aside(call->definition, call->progress,
									  call->said);
			break;
		case METER_SHARD_RENEW:
			meter_renew_rows(call->definition, call->progress);
			break;
		case METER_SHARD_ANEW:
		case METER_SHARD_RESETTLE:
			settle_anew(call);
			break;
		case METER_SHARD_VERIFY:
			verify_shard(call);
			break;
		case METER_SHARD_AWAIT:
			await_last(call);
			break;
		case METER_SHARD_RECONCILE:
		case METER_SHARD_COMPARE:
		case METER_SHARD_BOUNDARY:
		case METER_SHARD_UNREAD:
			meter_keep_shard(call->definition, call->progress, call->work,
							 call->said, call->asks, call->tells);
			break;
	}
	meter_totals_hand_over(NULL, NULL);
	if (call->work != METER_SHARD_VERIFY && call->work != METER_SHARD_AWAIT)
		store_counts(call);
	meter_session_end(&session);
	return_lacking(call);
	return_done(call);
	*meter_fold_count() = before;
}

/* Return the tables of the shard, of which an array has the names in pairs. */
List *
meter_shard_tables(Datum array)
{
	char	  **names;
	int			n = meter_text_elements(array, "tables", &names);
	List	   *tables = NIL;
	int			i;

	for (i = 0; i + 1 < n; i += 2)
	{
		MeterShardTable *table = palloc(sizeof(MeterShardTable));

		table->table = names[i];
		table->shard = names[i + 1];
		tables = lappend(tables, table);
	}
	return tables;
}

PG_FUNCTION_INFO_V1(meter_work_on_shard);

/* work_on_shard(stream, key, tables, work, said, meter, asks) */
Datum
meter_work_on_shard(PG_FUNCTION_ARGS)
{
	ShardCall	call = {0};
	MeterShard	shard = {0};
	ArrayType  *asks = PG_GETARG_ARRAYTYPE_P(6);

	call.info = (ReturnSetInfo *) fcinfo->resultinfo;
	call.stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	call.key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	call.work = (MeterShardWork) PG_GETARG_CHAR(3);
	call.said = text_to_cstring(PG_GETARG_TEXT_PP(4));
	call.row = PG_GETARG_DATUM(5);
	if (!meter_schema_ownercheck(get_namespace_oid(call.stream, false),
								 GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SCHEMA, call.stream);
	if (ARR_HASNULL(asks) ||
		ArrayGetNItems(ARR_NDIM(asks), ARR_DIMS(asks)) != METER_NASKS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d numbers expected", METER_NASKS)));
	call.asks = (const int64 *) ARR_DATA_PTR(asks);
	meter_return_begin(fcinfo);
	shard.stream = call.stream;
	shard.key = call.key;
	shard.began = call.asks[METER_ASK_BEGAN];
	shard.tables = meter_shard_tables(PG_GETARG_DATUM(2));
	meter_within_shard(&shard, work, &call);
	return (Datum) 0;
}
