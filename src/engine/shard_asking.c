/*
 * shard_asking.c
 *	  Questions that a shard of a distributed stream answers, on the node that has
 *	  it (see asking.c).
 *
 * The answer is that of a snapshot of the node, in which all is there that the
 * snapshot of the coordinator sees, and no step of a meter that it does not see.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/xid8.h"

#include "catalog/definition.h"
#include "catalog/stream.h"
#include "engine/asking.h"
#include "engine/scatter.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* The arguments of all functions that answer questions. */
enum
{
	ANSWER_STREAM,
	ANSWER_KEY,
	ANSWER_TABLES,
	ANSWER_METERS,				/* jsonb[] */
	ANSWER_NUMBERS,
	ANSWER_SEEN,
	ANSWER_SAID
};

/* A question, and how it is answered. */
typedef struct Answering
{
	MeterShardQuestion question;
	FunctionCallInfo fcinfo;
	void		(*body) (MeterShardQuestion *question);
	const int64 *numbers;
	Datum		seen;			/* by the coordinator: pg_snapshot */
	bool		ahead;
} Answering;

/* --- what the coordinator sees -------------------------------------------- */

/*
 * Tell whether the snapshot of the coordinator sees what a transaction of the
 * coordinator wrote: xid8.
 */
static bool
is_seen(const Answering *answering, Datum writer)
{
	return (int64) U64FromFullTransactionId(DatumGetFullTransactionId(writer)) ==
		answering->numbers[METER_QUESTION_WRITER] ||
		DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot, writer,
										 answering->seen));
}

/*
 * Return a transaction of this node that has not ended, and that the snapshot of
 * the coordinator sees; or none.  Such a one is prepared here, and committed there.
 */
static TransactionId
find_prepared(const Answering *answering)
{
	const char *stream = answering->question.stream;
	Relation	relation = table_openrv(makeRangeVar(pstrdup(stream),
													 pstrdup(meter_table_name(stream, "_shard")), -1),
										AccessShareLock);
	AttrNumber	column = get_attnum(RelationGetRelid(relation), "writer");
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TransactionId found = InvalidTransactionId;
	SnapshotData dirty;
	TableScanDesc scan;

	/* it sees the rows of transactions that have not ended, and says whose */
	InitDirtySnapshot(dirty);
	scan = table_beginscan(relation, &dirty, 0, NULL);
	while (!TransactionIdIsValid(found) &&
		   table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		TransactionId inserter = dirty.xmin;
		bool		isnull;
		Datum		writer = slot_getattr(slot, column, &isnull);

		if (TransactionIdIsValid(inserter) && !isnull &&
			is_seen(answering, writer))
			found = inserter;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, AccessShareLock);
	return found;
}

/* Wait until all is committed here that the snapshot of the coordinator sees. */
static void
await_prepared(const Answering *answering)
{
	TransactionId prepared;

	while (TransactionIdIsValid(prepared = find_prepared(answering)))
		XactLockTableWait(prepared, NULL, NULL, XLTW_None);
}

/* Tell whether a step is seen here that the snapshot of the coordinator does not see. */
static bool
has_come_further(const Answering *answering)
{
	MeterSession session;
	ListCell   *cell;
	bool		further = false;

	meter_session_begin(&session, meter_stream_owner(answering->question.stream));
	foreach(cell, answering->question.meters)
	{
		const MeterDefinition *definition = ((MeterAskedMeter *) lfirst(cell))->definition;
		bool		isnull = true;
		Datum		writer = (Datum) 0;

		meter_execute(psprintf("SELECT writer FROM %s._shard WHERE meter = %s",
							   quote_identifier(definition->stream),
							   quote_literal_cstr(definition->name)),
					  SPI_OK_SELECT);
		if (SPI_processed > 0)
			writer = meter_result(0, 1, &isnull);
		/* a meter that is gone was dropped */
		further |= isnull || !is_seen(answering, writer);
	}
	meter_session_end(&session);
	return further;
}

/* --- the answer ----------------------------------------------------------- */

/* Answer, by one snapshot. */
static void
answer_by_snapshot(void *arg)
{
	Answering  *answering = arg;

	answering->ahead = answering->numbers[METER_QUESTION_WATCHES] != 0 &&
		has_come_further(answering);
	if (!answering->ahead)
		answering->body(&answering->question);
}

/* Return the meters of a question. */
static List *
asked_meters(const Answering *answering)
{
	ArrayType  *array = DatumGetArrayTypeP(answering->fcinfo->args[ANSWER_METERS].value);
	const int64 *asks = answering->numbers + METER_QUESTION_NUMBERS;
	List	   *meters = NIL;
	Datum	   *rows;
	bool	   *nulls;
	int			n;
	int			i;

	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &rows, &nulls, &n);
	for (i = 0; i < n; i++, asks += METER_NASKS)
	{
		MeterAskedMeter *meter = palloc0(sizeof(MeterAskedMeter));

		meter->definition = meter_definition_of_row(rows[i]);
		meter->progress = meter_shard_progress(asks);
		meter->from = asks[METER_ASK_FROM];
		meter->to = asks[METER_ASK_TO];
		meters = lappend(meters, meter);
	}
	return meters;
}

/* Return a row that says whether the shard has answered. */
static void
return_end(const Answering *answering)
{
	ReturnSetInfo *info = (ReturnSetInfo *) answering->fcinfo->resultinfo;
	Datum	   *values = palloc0(info->setDesc->natts * sizeof(Datum));
	bool	   *nulls = palloc(info->setDesc->natts * sizeof(bool));

	memset(nulls, true, info->setDesc->natts * sizeof(bool));
	values[0] = BoolGetDatum(!answering->ahead);
	nulls[0] = false;
	tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
}

/* Begin to take rows of the answer: those of the function without its first column. */
static void
begin_rows(MeterShardQuestion *question, const ReturnSetInfo *outer)
{
	ReturnSetInfo *info = palloc(sizeof(ReturnSetInfo));
	int			natts = outer->setDesc->natts - 1;
	int			i;

	*info = *outer;
	info->setDesc = CreateTemplateTupleDesc(natts);
	for (i = 1; i <= natts; i++)
		TupleDescCopyEntry(info->setDesc, i, outer->setDesc, i + 1);
	info->setResult = tuplestore_begin_heap(false, false, work_mem);
	question->fcinfo = palloc0(SizeForFunctionCallInfo(0));
	question->fcinfo->resultinfo = (fmNodePtr) info;
}

/* Return the rows of the answer. */
static void
return_rows(const MeterShardQuestion *question, const ReturnSetInfo *outer)
{
	const ReturnSetInfo *info = (ReturnSetInfo *) question->fcinfo->resultinfo;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(info->setDesc, &TTSOpsMinimalTuple);
	int			natts = outer->setDesc->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc0(natts * sizeof(bool));

	nulls[0] = true;
	while (tuplestore_gettupleslot(info->setResult, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		memcpy(values + 1, slot->tts_values, (natts - 1) * sizeof(Datum));
		memcpy(nulls + 1, slot->tts_isnull, (natts - 1) * sizeof(bool));
		tuplestore_putvalues(outer->setResult, outer->setDesc, values, nulls);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(info->setResult);
}

/* Answer, where the tables of the shard stand for those of the stream. */
static void
answer(void *arg)
{
	Answering  *answering = arg;
	const ReturnSetInfo *outer = (ReturnSetInfo *) answering->fcinfo->resultinfo;

	answering->question.meters = asked_meters(answering);
	begin_rows(&answering->question, outer);
	if (answering->numbers[METER_QUESTION_WATCHES] != 0)
		await_prepared(answering);
	PushActiveSnapshot(GetLatestSnapshot());
	meter_with_one_snapshot(answer_by_snapshot, answering);
	PopActiveSnapshot();
	return_rows(&answering->question, outer);
	return_end(answering);
}

/* Take the numbers of a question. */
static void
take_numbers(Answering *answering, MeterShard *shard, MeterShardSealed *sealed)
{
	ArrayType  *array = DatumGetArrayTypeP(answering->fcinfo->args[ANSWER_NUMBERS].value);
	ArrayType  *meters = DatumGetArrayTypeP(answering->fcinfo->args[ANSWER_METERS].value);
	int			expected = METER_QUESTION_NUMBERS +
	METER_NASKS * ArrayGetNItems(ARR_NDIM(meters), ARR_DIMS(meters));
	const int64 *numbers = (const int64 *) ARR_DATA_PTR(array);
	MeterLog	log;

	if (ARR_HASNULL(array) || ARR_HASNULL(meters) ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d numbers expected", expected)));
	answering->numbers = numbers;
	shard->began = numbers[METER_QUESTION_BEGAN];
	shard->tells_now = true;
	shard->now = numbers[METER_QUESTION_NOW];
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		const int64 *of_log = &numbers[METER_QUESTION_SEALED + 3 * log];

		sealed[log].until = of_log[0];
		sealed[log].segments = of_log[1];
		sealed[log].rows = of_log[2];
	}
	shard->sealed = sealed;
}

/* Take what a question says. */
static void
take_said(Answering *answering, int nsaid)
{
	MeterShardQuestion *question = &answering->question;
	Datum	   *elements;
	bool	   *nulls;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(answering->fcinfo->args[ANSWER_SAID].value),
					  TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls,
					  &question->nsaid);
	if (question->nsaid != nsaid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d texts expected", nsaid)));
	question->said = palloc0(Max(nsaid, 1) * sizeof(char *));
	for (i = 0; i < nsaid; i++)
		question->said[i] = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
}

/*
 * Answer the question that a function is called with, which says so many texts.
 * The function's first column is that of all answers: null in rows of the answer,
 * and in a last one whether the shard has answered, or has come further.
 */
Datum
meter_answer(FunctionCallInfo fcinfo, int nsaid,
			 void (*body) (MeterShardQuestion *question))
{
	Answering	answering = {0};
	MeterShard	shard = {0};
	MeterShardSealed sealed[METER_NLOGS];
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(ANSWER_STREAM));

	if (!meter_schema_ownercheck(get_namespace_oid(stream, false), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SCHEMA, stream);
	answering.question.stream = stream;
	answering.fcinfo = fcinfo;
	answering.body = body;
	answering.seen = DirectFunctionCall1(pg_snapshot_in,
										 CStringGetDatum(text_to_cstring(PG_GETARG_TEXT_PP(ANSWER_SEEN))));
	take_numbers(&answering, &shard, sealed);
	take_said(&answering, nsaid);
	meter_return_begin(fcinfo);
	shard.stream = stream;
	shard.key = text_to_cstring(PG_GETARG_TEXT_PP(ANSWER_KEY));
	shard.tables = meter_shard_tables(PG_GETARG_DATUM(ANSWER_TABLES));
	meter_within_shard(&shard, answer, &answering);
	return (Datum) 0;
}
