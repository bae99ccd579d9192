/*
 * shard.h
 *	  The tables of a shard, in place of those of a stream.
 */
#ifndef METER_SHARD_H
#define METER_SHARD_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* A table of a stream, and the table that has a shard of it. */
typedef struct MeterShardTable
{
	char	   *table;
	char	   *shard;
} MeterShardTable;

/* Up to which arrival the rows of a log are in segments with an index by resource. */
typedef struct MeterShardSealed
{
	int64		until;
	int64		segments;
	int64		rows;			/* of theirs, in the shard, about */
} MeterShardSealed;

/* A shard of a stream. */
typedef struct MeterShard
{
	const char *stream;
	const char *key;			/* a resource, not of anybody's, that would be
								 * in it */
	List	   *tables;			/* of MeterShardTable */
	TimestampTz began;			/* when the transaction that all shards take
								 * part in did */
	bool		tells_now;		/* to whoever asks what time it is for billing */
	TimestampTz now;
	const MeterShardSealed *sealed; /* of each log; NULL: not known */
} MeterShard;

extern void meter_within_shard(const MeterShard *shard,
							   void (*body) (void *arg), void *arg);
extern const MeterShard *meter_current_shard(void);
extern TimestampTz meter_transaction_began(void);
extern const char *meter_table_name(const char *schema, const char *table);
extern const char *meter_shard_statement(const char *sql);

#endif							/* METER_SHARD_H */
