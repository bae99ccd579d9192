/*
 * usage_rows.h
 *	  From the timeline of a resource to its usage rows.
 */
#ifndef METER_USAGE_ROWS_H
#define METER_USAGE_ROWS_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/grid.h"
#include "core/pieces.h"
#include "core/rounding.h"
#include "core/runs.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "types/transaction_id.h"

/* Dimensions that were made into jsonb before: most resources share a few. */
typedef struct MeterKnownDimensions
{
	MeterAttr  *attrs;			/* NULL: free */
	Datum		jsonb;
} MeterKnownDimensions;

#define METER_KNOWN_DIMENSIONS	64	/* a power of two */

/* What of a definition usage rows depend on. */
typedef struct MeterUsageSpec
{
	MemoryContext context;		/* of what is remembered */
	MeterAttr	stream;
	MeterAttr	meter;
	MeterAggregate aggregate;
	MeterGrid	grid;
	MeterRounding rounding;		/* of the clock's units */
	MeterRunRules runs;
	const MeterRunRules *rules; /* these; NULL: a run is no more than its time */
	int64		unit;
	int			ndimensions;
	MeterAttr  *names;			/* in the meter's order */
	int		   *order;			/* positions in byte order of the names */
	MeterKnownDimensions known[METER_KNOWN_DIMENSIONS];
} MeterUsageSpec;

/* A usage row of a resource that is known. */
typedef struct MeterUsageRow
{
	MeterAttr	account;		/* '' if nobody's */
	const MeterAttr *attrs;		/* dimensions in the meter's order */
	Datum		dimensions;		/* jsonb, which may be shared */
	TimestampTz period_start;
	Numeric		quantity;
} MeterUsageRow;

/* What a key has in a period. */
typedef struct MeterUsageSum
{
	TimestampTz period_start;
	int32		key;
	int64		billed;			/* duration; or how many runs */
	Numeric		weighted;		/* weighted: value times time */
} MeterUsageSum;

/*
 * Gives out the usage rows of one resource.  Its timeline is given whole, or
 * walked in pieces: then the parts of a period may come in several.
 */
typedef struct MeterUsageRows
{
	MemoryContext context;
	MeterUsageSpec *spec;
	const MeterTimeline *timeline;
	MeterPieces pieces;
	int32		maxkeys;
	Datum	   *dimensions;		/* by key, once made: jsonb; NULL: there are
								 * many pieces */
	int32	   *sum_of;			/* by key: its sum in the open period, if any */

	/* sums: given out, of periods that are complete, of the open period */
	int32		nsums;
	int32		maxsums;
	MeterUsageSum *sums;
	int32		ncomplete;
	int32		next;			/* to give out */
	bool		in_cut;			/* the cutter's parts are not in the sums yet */
} MeterUsageRows;

extern void meter_usage_spec_names(MeterUsageSpec *spec, int ndimensions,
								   char **names);
extern MeterUsageSpec *meter_usage_spec(const MeterDefinition *definition);
extern Datum meter_usage_dimensions(MeterUsageSpec *spec,
									const MeterAttr *attrs);
extern void meter_usage_name(const MeterUsageSpec *spec,
							 const MeterNaming *naming, MeterAttr account,
							 const MeterAttr *attrs, TimestampTz period_start,
							 pg_uuid_t *name);
extern void meter_usage_begin(MeterUsageRows *rows, MeterUsageSpec *spec,
							  const MeterTimeline *timeline,
							  TimestampTz begin, TimestampTz end);
extern void meter_usage_walk(MeterUsageRows *rows, MeterUsageSpec *spec,
							 MeterCollected *collected,
							 TimestampTz begin, TimestampTz end);
extern void meter_usage_advance(MeterUsageRows *rows, bool last);
extern bool meter_usage_next(MeterUsageRows *rows, MeterUsageRow *row);
extern Numeric meter_usage_whole(const MeterUsageSpec *spec, int64 length,
								 Numeric value);

#endif							/* METER_USAGE_ROWS_H */
