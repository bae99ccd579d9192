/*
 * asking.h
 *	  Questions about a distributed stream, which its shards answer.
 */
#ifndef METER_ASKING_H
#define METER_ASKING_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "pg/spi.h"

/* A meter that is asked about. */
typedef struct MeterAskedMeter
{
	MeterDefinition *definition;
	MeterProgress *progress;
	const char *row;			/* that the definition is made of; NULL: the
								 * catalog has it */
	TimestampTz from;			/* of what time, as the question has it */
	TimestampTz to;
} MeterAskedMeter;

/* A question. */
typedef struct MeterQuestion
{
	const char *stream;
	const char *function;		/* of meter_internal, that answers it */
	List	   *meters;			/* of MeterAskedMeter */
	bool		writes_nothing; /* none of these meters has written anything */
	Datum		resource;		/* only its shard is asked; 0: all are */
	const char *const *said;	/* as the function has it; each may be NULL */
	int			nsaid;
} MeterQuestion;

/* A question as a shard has it. */
typedef struct MeterShardQuestion
{
	char	   *stream;
	List	   *meters;			/* of MeterAskedMeter */
	char	  **said;
	int			nsaid;
	FunctionCallInfo fcinfo;	/* to which the answer is returned, without
								 * the column of all answers */
} MeterShardQuestion;

/*
 * What a shard is told with each question, in a bigint[] before the numbers of
 * MeterShardAsk for each meter.
 */
typedef enum MeterQuestionNumber
{
	METER_QUESTION_BEGAN,		/* when the transaction did */
	METER_QUESTION_NOW,			/* what time it is for billing */
	METER_QUESTION_WRITER,		/* the transaction, if it has written; 0 */
	METER_QUESTION_WATCHES,		/* what meters wrote must be seen */
	METER_QUESTION_SEALED,		/* of each log, three numbers */
	METER_QUESTION_NUMBERS = METER_QUESTION_SEALED + 3 * METER_NLOGS
} MeterQuestionNumber;

extern List *meter_asked_about(const char *stream);
extern void meter_ask(const char *stream, FunctionCallInfo fcinfo,
					  bool (*body) (void *arg), void *arg);
extern bool meter_ask_shards(const MeterQuestion *question,
							 MeterTakeRow take, void *arg);
extern char *meter_said_text(Datum value, Oid type);
extern Datum meter_said_value(const char *text, Oid type);
extern void meter_return_answer(void *fcinfo, TupleTableSlot *slot);
extern Datum meter_answer(FunctionCallInfo fcinfo, int nsaid,
						  void (*body) (MeterShardQuestion *question));

#endif							/* METER_ASKING_H */
