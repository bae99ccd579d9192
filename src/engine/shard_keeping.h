/*
 * shard_keeping.h
 *	  What a shard is asked about snapshots and retention.
 */
#ifndef METER_SHARD_KEEPING_H
#define METER_SHARD_KEEPING_H

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/scatter.h"

extern void meter_keep_shard(const MeterDefinition *definition,
							 const MeterProgress *progress,
							 MeterShardWork work, const char *said,
							 const int64 *asks, int64 *tells);

#endif							/* METER_SHARD_KEEPING_H */
