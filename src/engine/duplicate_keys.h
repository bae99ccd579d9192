/*
 * duplicate_keys.h
 *	  Which measures may have duplicates.
 */
#ifndef METER_DUPLICATE_KEYS_H
#define METER_DUPLICATE_KEYS_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

/* The measures that may have duplicates, as conditions on the log. */
typedef struct MeterSuspects
{
	int64		count;
	char	   *hashes;			/* bigint[] literal */
	int64		nblocks;		/* where they are */
	char	   *blocks;			/* bigint[] literal */
} MeterSuspects;

/* A block has so many bits of arrivals. */
#define METER_KEY_BLOCK_BITS	13

/*
 * A range of arrivals of a segment, among which there are measures with an id.
 */
typedef struct MeterKeyRange
{
	int64		first;
	int64		last;
} MeterKeyRange;

extern MeterKeyRange *meter_new_measures(const MeterDefinition *definition,
										 int64 after, int64 upto,
										 const char *late, int *nranges,
										 bool *any_late);
extern void meter_note_measure_keys(const MeterDefinition *definition,
									const MeterKeyRange *ranges, int nranges,
									int64 upto);
extern void meter_prune_measure_keys(const MeterDefinition *definition, const MeterProgress *progress);
extern void meter_find_suspects(const MeterDefinition *definition, const MeterProgress *progress,
								TimestampTz from, TimestampTz to,
								TimestampTz first_straddler,
								MeterSuspects *suspects);

#endif							/* METER_DUPLICATE_KEYS_H */
