/*
 * asking.c
 *	  Questions about a distributed stream, which its shards answer.
 *
 * A question is put to each shard, or to the one that has a resource, where the
 * shard is.  A function answers it there by the code that answers it where the
 * stream is not distributed (see shard_asking.c), and returns nothing but rows
 * of the answer.
 *
 * Nodes have no snapshot in common, and whoever asks keeps no step from being
 * made.  So a question is of a snapshot of the coordinator, taken for it: what the
 * catalog says of the meters, and what the coordinator has itself, is read by that.
 * Each shard is told the snapshot.  The last step that it sees of a meter has the
 * name of its transaction on the coordinator in the row of table _shard, so it
 * can tell whether it has come as far as the snapshot:
 *
 * - What the snapshot sees and the node has only prepared is waited for.
 * - If the shard sees a step that the snapshot does not, it says so, and all is
 *   asked anew, by a new snapshot.
 *
 * So an answer has of each meter the states, the ledger, the totals and the
 * progress of one instant, which is that of the question and not of the query that
 * it is asked in.  Rows of the logs that no step has looked at yet are those that
 * the node has committed when it is asked; what came before the question was
 * committed on all nodes before whoever wrote it was told so.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "engine/asking.h"
#include "engine/scatter.h"
#include "log/segment.h"
#include "pg/cluster.h"
#include "pg/now.h"
#include "pg/spi.h"

/* So often a question is asked before that is given up. */
#define MOST_ATTEMPTS	10

/* Return all meters of a stream, as they are asked about. */
List *
meter_asked_about(const char *stream)
{
	List	   *meters = NIL;
	ListCell   *cell;

	foreach(cell, meter_list_meters(stream, NULL, false))
	{
		const MeterRef *ref = lfirst(cell);
		MeterAskedMeter *meter = palloc0(sizeof(MeterAskedMeter));

		meter->definition = meter_load(ref->stream, ref->meter, METER_LOCK_NONE);
		meter->progress = meter_load_progress(meter->definition);
		meters = lappend(meters, meter);
	}
	return meters;
}

/* What is asked, and whether it was answered. */
typedef struct Attempt
{
	bool		(*body) (void *arg);
	void	   *arg;
	bool		answered;
} Attempt;

/* Ask once, as meter_with_one_snapshot() calls it. */
static void
attempt_once(void *arg)
{
	Attempt    *attempt = arg;

	attempt->answered = attempt->body(attempt->arg);
}

/*
 * Run a function that asks the shards of a distributed stream, and returns whether
 * all of them have answered; if one has not, what was returned to the function
 * that is called (NULL: nothing) is forgotten, and it is run again.
 */
void
meter_ask(const char *stream, FunctionCallInfo fcinfo,
		  bool (*body) (void *arg), void *arg)
{
	Attempt		attempt = {body, arg, false};
	int			i;

	meter_cluster_check_coordinator();
	for (i = 0; i < MOST_ATTEMPTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		PushActiveSnapshot(GetLatestSnapshot());
		meter_with_one_snapshot(attempt_once, &attempt);
		PopActiveSnapshot();
		if (attempt.answered)
			return;
		if (fcinfo != NULL)
			tuplestore_clear(((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("stream \"%s\" was settled each time that it was asked",
					stream),
			 errhint("Ask again, or ask for less: for one resource, or one account.")));
}

/* --- what shards are told ------------------------------------------------- */

/* Return the numbers that go with a question, as a literal. */
static char *
numbers_literal(const MeterQuestion *question)
{
	int64		head[METER_QUESTION_NUMBERS];
	MeterLog	log;
	StringInfoData numbers;
	ListCell   *cell;
	int			shards = Max(meter_stream_shards(question->stream), 1);
	int			i;

	head[METER_QUESTION_BEGAN] = GetCurrentTransactionStartTimestamp();
	head[METER_QUESTION_NOW] = meter_now();
	head[METER_QUESTION_WRITER] =
		(int64) U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	head[METER_QUESTION_WATCHES] = !question->writes_nothing;
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		int64	   *sealed = &head[METER_QUESTION_SEALED + 3 * log];
		double		rows;
		int			segments;

		sealed[0] = meter_sealed_until(question->stream, meter_log_names[log],
									   &rows, &segments);
		sealed[1] = segments;
		sealed[2] = (int64) (rows / shards);
	}
	initStringInfo(&numbers);
	for (i = 0; i < METER_QUESTION_NUMBERS; i++)
		appendStringInfo(&numbers, "%s" INT64_FORMAT, i > 0 ? "," : "", head[i]);
	foreach(cell, question->meters)
	{
		const MeterAskedMeter *meter = lfirst(cell);
		int64		asks[METER_NASKS] = {0};

		meter_scatter_progress(meter->progress, asks);
		asks[METER_ASK_FROM] = meter->from;
		asks[METER_ASK_TO] = meter->to;
		for (i = 0; i < METER_NASKS; i++)
			appendStringInfo(&numbers, "," INT64_FORMAT, asks[i]);
	}
	return psprintf("'{%s}'::bigint[]", numbers.data);
}

/* Return the meters of a question, as an expression. */
static char *
meters_expression(const MeterQuestion *question)
{
	StringInfoData rows;
	ListCell   *cell;

	initStringInfo(&rows);
	foreach(cell, question->meters)
	{
		const MeterAskedMeter *meter = lfirst(cell);
		const char *row = meter->row != NULL ? meter->row :
		meter_row_of_definition(question->stream, meter->definition->name);

		appendStringInfo(&rows, "%s%s", rows.len > 0 ? ", " : "",
						 quote_literal_cstr(row));
	}
	return psprintf("ARRAY[%s]::jsonb[]", rows.data);
}

/*
 * Return a value as a question says it, or NULL: 0 is none.  The form of the text
 * is fixed.
 */
char *
meter_said_text(Datum value, Oid type)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			output;
	bool		varlena;
	char	   *text;

	if (value == (Datum) 0)
		return NULL;
	meter_session_begin(&session, InvalidOid);
	getTypeOutputInfo(type, &output, &varlena);
	text = MemoryContextStrdup(context, OidOutputFunctionCall(output, value));
	meter_session_end(&session);
	return text;
}

/* Return the value that such a text says, or 0. */
Datum
meter_said_value(const char *text, Oid type)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			input;
	Oid			parameter;
	Datum		value;

	if (text == NULL)
		return (Datum) 0;
	meter_session_begin(&session, InvalidOid);
	getTypeInputInfo(type, &input, &parameter);
	MemoryContextSwitchTo(context);
	value = OidInputFunctionCall(input, (char *) text, parameter, -1);
	meter_session_end(&session);
	return value;
}

/* Return what a question says, as a literal. */
static char *
said_literal(const MeterQuestion *question)
{
	Datum	   *values = palloc0(Max(question->nsaid, 1) * sizeof(Datum));
	bool	   *nulls = palloc0(Max(question->nsaid, 1) * sizeof(bool));
	int			lower = 1;
	int			i;

	for (i = 0; i < question->nsaid; i++)
	{
		nulls[i] = question->said[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(question->said[i]);
	}
	return meter_text_array_literal(PointerGetDatum(construct_md_array(values, nulls, 1, (int *) &question->nsaid, &lower,
																	   TEXTOID, -1, false, TYPALIGN_INT)));
}

/* Return what the active snapshot sees, as a literal. */
static char *
seen_literal(void)
{
	meter_execute("SELECT pg_current_snapshot()", SPI_OK_SELECT);
	return quote_literal_cstr(meter_result_text(0, 1));
}

/*
 * Return the query that asks the shards.  The condition on the key of a shard has
 * Citus ask no other.
 */
static char *
question_query(const MeterQuestion *question)
{
	return psprintf("SELECT a.* FROM %s._shard s CROSS JOIN LATERAL meter_internal.%s(%s, s.resource, s.tables, %s, %s, %s, %s) a "
					"WHERE s.meter = ''%s",
					quote_identifier(question->stream), question->function,
					quote_literal_cstr(question->stream),
					meters_expression(question), numbers_literal(question),
					seen_literal(), said_literal(question),
					question->resource == 0 ? "" :
					psprintf(" AND s.resource = %s",
							 quote_literal_cstr(meter_cluster_shard_key(question->stream, meter_log_names[METER_LOG_EVENT],
																		TextDatumGetCString(question->resource)))));
}

/* --- what they say -------------------------------------------------------- */

/* What came of a question. */
typedef struct Answers
{
	MeterTakeRow take;
	void	   *arg;
	int			complete;		/* shards whose answer is */
	bool		ahead;			/* one has come further */
} Answers;

/* Take a row of a shard. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	Answers    *answers = arg;

	if (slot->tts_isnull[0])
		answers->take(answers->arg, slot);
	else if (DatumGetBool(slot->tts_values[0]))
		answers->complete++;
	else
		answers->ahead = true;
}

/*
 * Ask the shards of a stream, in what meter_ask() runs, and hand the rows of their
 * answers to a function; the first column is that of all answers.  Returns false
 * if one has come further than the snapshot by which it was asked.
 */
bool
meter_ask_shards(const MeterQuestion *question, MeterTakeRow take, void *arg)
{
	Answers		answers = {take, arg, 0, false};
	int			shards = meter_stream_shards(question->stream);
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(question->stream));
	meter_check_stream(question->stream);
	meter_scan(question_query(question), 0, NULL, NULL, NULL, take_row, &answers);
	meter_session_end(&session);
	if (!answers.ahead &&
		answers.complete != (question->resource == 0 ? shards : 1))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" has %d shards, but %d answered",
						question->stream, shards, answers.complete),
				 errhint("Shards may be moved, but not split.")));
	return !answers.ahead;
}

/* Return a row of an answer from a function that is called. */
void
meter_return_answer(void *fcinfo, TupleTableSlot *slot)
{
	ReturnSetInfo *info = (ReturnSetInfo *) ((FunctionCallInfo) fcinfo)->resultinfo;

	tuplestore_putvalues(info->setResult, info->setDesc,
						 slot->tts_values + 1, slot->tts_isnull + 1);
}
