/*
 * scatter.h
 *	  Work that is done shard by shard, on the nodes that have them.
 */
#ifndef METER_SCATTER_H
#define METER_SCATTER_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/fold.h"
#include "engine/ledger.h"
#include "types/transaction_id.h"

/* What is done to each shard. */
typedef enum MeterShardWork
{
	METER_SHARD_LATE = 'l',		/* what arrived is processed */
	METER_SHARD_SETTLE = 's',	/* periods are settled */
	METER_SHARD_RENEW = 'r',	/* what is made of logs alone is found again */
	METER_SHARD_ANEW = 'a',		/* what is settled is computed anew */
	METER_SHARD_RESETTLE = 'c', /* the same, to correct the ledger */
	METER_SHARD_RELEASE = 'h',	/* rows that are held count */
	METER_SHARD_RELEASED = 'j', /* rows that were held are computed */
	METER_SHARD_ASIDE = 'q',	/* what was set aside is computed */
	METER_SHARD_VERIFY = 'v',	/* the ledger is compared with that */
	METER_SHARD_AWAIT = 'w',	/* nothing but to wait for the last one */
	METER_SHARD_RECONCILE = 'i',	/* a snapshot is compared */
	METER_SHARD_COMPARE = 'm',	/* resources are compared with snapshots again */
	METER_SHARD_BOUNDARY = 'b', /* states at a retention boundary are stored */
	METER_SHARD_UNREAD = 'n'	/* the earliest row is found that is late, and
								 * that no step has read */
} MeterShardWork;

/* What a shard is told of the progress, and of what to do, in a bigint[]. */
typedef enum MeterShardAsk
{
	METER_ASK_BEGAN,			/* when the transaction did */
	METER_ASK_WATERMARK,		/* DT_NOBEGIN: none */
	METER_ASK_FIRST_CLOCK,
	METER_ASK_SETTLEMENT,
	METER_ASK_LEDGER_UNTIL,
	METER_ASK_POSITION,			/* of each log, as the next ones */
	METER_ASK_READ = METER_ASK_POSITION + METER_NLOGS,
	METER_ASK_NOTED_AT = METER_ASK_READ + METER_NLOGS,
	METER_ASK_HELD_AFTER = METER_ASK_NOTED_AT + METER_NLOGS,
	METER_ASK_UPTO = METER_ASK_HELD_AFTER + METER_NLOGS,
	METER_ASK_FROM = METER_ASK_UPTO + METER_NLOGS,
	METER_ASK_TO,
	METER_ASK_BEYOND,
	METER_ASK_WHOLE,			/* everything, not a part */
	METER_ASK_BOUNDARY,			/* the retention boundary so far */
	METER_NASKS
} MeterShardAsk;

/* What a comparison with snapshots counts. */
typedef enum MeterFound
{
	METER_FOUND_RUNNING,
	METER_FOUND_STARTS,
	METER_FOUND_STOPS,
	METER_FOUND_CHANGES,
	METER_FOUND_OBSERVATIONS,	/* of all snapshots */
	METER_NFOUND
} MeterFound;

/* What a shard tells, in a bigint[]; of all shards together the sums. */
typedef enum MeterShardTell
{
	METER_TELL_USAGE_ROWS,
	METER_TELL_ADJUSTMENTS,
	METER_TELL_LATE_ROWS,
	METER_TELL_RUNNING,			/* states that the shard then has */
	METER_TELL_STATES,
	METER_TELL_HELD,			/* of each log */
	METER_TELL_READ = METER_TELL_HELD + METER_NLOGS,	/* the greatest arrival
														 * of each log that was
														 * read */
	METER_TELL_COUNT = METER_TELL_READ + METER_NLOGS,	/* what passes did */
	METER_TELL_COMPARED = METER_TELL_COUNT + METER_FOLD_NCOUNTS,	/* what a comparison
																	 * found */
	METER_NTELLS = METER_TELL_COMPARED + METER_NFOUND
} MeterShardTell;

/* The kinds of rows that a shard returns. */
typedef enum MeterShardRow
{
	METER_SHARD_DONE = 'd',		/* numbers, and the IDs of what was written */
	METER_SHARD_NEW_TOTAL = 'n',	/* a sum, where totals have nothing yet */
	METER_SHARD_TOTAL = 't',	/* a sum */
	METER_SHARD_LACKS = 'm',	/* there is no month for a period */
	METER_SHARD_DIFFERS = 'x',	/* the ledger differs */
	METER_SHARD_FOUND = 'f',	/* what else was found of a resource */
	METER_SHARD_LEAST = 'e'		/* an instant: of all shards, the least */
} MeterShardRow;

/* The columns of these rows. */
enum
{
	METER_SHARD_KIND,
	METER_SHARD_NUMBERS,
	METER_SHARD_FIRST_ID,
	METER_SHARD_LAST_ID,
	METER_SHARD_DIFFERENCE,		/* as the columns of a difference are */
	METER_SHARD_ACCOUNT = METER_SHARD_DIFFERENCE,
	METER_SHARD_RESOURCE,
	METER_SHARD_DIMENSIONS,
	METER_SHARD_PERIOD_START,
	METER_SHARD_QUANTITY,
	METER_SHARD_EXPECTED,
	METER_SHARD_NCOLUMNS
};

/* Take a row of kind FOUND or LEAST, as a shard has returned it. */
typedef void (*MeterTakeShardRow) (void *arg, MeterShardRow kind,
								   const Datum *values, const bool *nulls);

extern void meter_scatter(const MeterDefinition *definition,
						  MeterProgress *progress, MeterShardWork work,
						  int64 *asks, int64 *tells, MeterTellDifference tell,
						  void *arg);
extern void meter_scatter_said(const MeterDefinition *definition,
							   MeterProgress *progress, MeterShardWork work,
							   const char *said, int64 *asks, int64 *tells);
extern void meter_scatter_progress(const MeterProgress *progress, int64 *asks);
extern MeterProgress *meter_shard_progress(const int64 *asks);
extern List *meter_shard_tables(Datum array);
extern void meter_scatter_taking(const MeterDefinition *definition,
								 MeterProgress *progress, MeterShardWork work,
								 const char *said, int64 *asks, int64 *tells,
								 MeterTakeShardRow take, void *arg);
extern int64 meter_scatter_span(const MeterDefinition *definition,
								MeterProgress *progress, MeterShardWork work,
								TimestampTz from, TimestampTz to,
								TimestampTz beyond, bool whole,
								int64 *usage_rows);
extern void meter_await_shards(const char *stream, const char *meter);
extern void meter_shards_begin(const char *stream, const char *meter);
extern void meter_shards_name_tables(const char *stream);

#endif							/* METER_SCATTER_H */
