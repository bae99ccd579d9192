/*
 * duplicate_keys.h
 *	  Finding rows that may have duplicates.
 */
#ifndef METER_DUPLICATE_KEYS_H
#define METER_DUPLICATE_KEYS_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

/* The rows that may have duplicates, as conditions on the log. */
typedef struct MeterSuspects
{
	int64		count;
	Datum		hashes;			/* bigint[] */
	int64		nblocks;		/* where they are */
	char	   *blocks;			/* bigint[] literal */
} MeterSuspects;

/* A block has so many bits of arrivals. */
#define METER_KEY_BLOCK_BITS	13

typedef struct MeterNewRows MeterNewRows;

extern MeterNewRows *meter_new_rows(const MeterDefinition *definition,
									MeterLog log, int64 after, int64 upto,
									const char *late, bool *any_late);
extern int64 meter_last_new_row(const MeterNewRows *rows);
extern void meter_renew_duplicate_keys(const MeterDefinition *definition,
									   const MeterProgress *progress,
									   MeterLog log);
extern void meter_note_duplicate_keys(MeterNewRows *rows, bool all,
									  int64 after, int64 upto);
extern void meter_prune_duplicate_keys(const MeterDefinition *definition,
									   const MeterProgress *progress);
extern void meter_find_suspects(const MeterDefinition *definition,
								const MeterProgress *progress, MeterLog log,
								TimestampTz from, TimestampTz to,
								TimestampTz first_straddler,
								MeterSuspects *suspects);
extern char *meter_suspect_rows(const MeterDefinition *definition,
								const MeterProgress *progress, MeterLog log,
								const MeterSuspects *suspects);

#endif							/* METER_DUPLICATE_KEYS_H */
