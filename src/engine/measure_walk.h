/*
 * measure_walk.h
 *	  The walk of measures: from those of one resource, in order, to its usage.
 *
 * The calls of a resource, in this order:
 *
 *	begin
 *	carry		who owns it, as carried
 *	owner		names of who does, by instant
 *	reading		of a counter: the carried reading of each series
 *	measure		by start; unique: by the period that holds the start, then by
 *				value in the order of bytes; readings of a counter: by end
 *	end
 *
 * Usage is given out as soon as no later measure can add to it, by period.
 * What the callbacks are handed, and what they allocate in the context that is
 * current when they are called, is gone when they return.
 */
#ifndef METER_MEASURE_WALK_H
#define METER_MEASURE_WALK_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "engine/counter.h"
#include "engine/measure_owners.h"

typedef struct MeterMeasureWalk MeterMeasureWalk;

/*
 * Takes usage: account ('': nobody's) and dimensions, in the meter's order,
 * are its key within the period.  The quantity is as sum(), max() and so on
 * return it: whoever writes it into the ledger trims its scale.
 */
typedef void (*MeterMeasureEmit) (void *arg, MeterAttr account,
								  const MeterAttr *dimensions,
								  TimestampTz period_start,
								  Numeric quantity);

/* What a part of a measure says. */
typedef enum MeterMeasurePart
{
	METER_MEASURE_WHOLE,		/* of sums: all of the measure */
	METER_MEASURE_CUT,			/* of sums: what falls on the part */
	METER_MEASURE_SAYS,			/* the value, or nothing */
	METER_MEASURE_BASE			/* of counters: the reading before */
} MeterMeasurePart;

/*
 * Takes the parts of the measure that is being walked, as they are found; the
 * quantity, of sums only, is not trimmed.
 */
typedef void (*MeterMeasureTrace) (void *arg, MeterMeasurePart part,
								   TimestampTz begin, TimestampTz end,
								   MeterAttr payer, Numeric quantity);

/* What became of a reading of a counter. */
typedef struct MeterMeasureCounted
{
	MeterCounted counted;
	const MeterAttr *dimensions;
	TimestampTz start;
	TimestampTz time;
	int64		arrival;
	Numeric		value;
	const MeterLastReading *before;
	Numeric		added;			/* NULL: nothing */
	bool		billed;			/* it lies in the time that is asked for */
} MeterMeasureCounted;

/*
 * Takes what became of a reading of a counter, instant by instant: of several at
 * one that which counts, and those that were passed over before it was found.
 */
typedef void (*MeterMeasureIncrease) (void *arg,
									  const MeterMeasureCounted *counted);

/* The last reading of a series: of a counter's readings of like dimensions. */
typedef struct MeterMeasureReading
{
	const MeterAttr *dimensions;
	MeterLastReading last;
	bool		walked;			/* not only carried: a measure was walked */
} MeterMeasureReading;

extern MeterMeasureWalk *meter_measure_walk_create(const MeterDefinition *definition,
												   MeterMeasureEmit emit,
												   void *arg);
extern void meter_measure_walk_trace(MeterMeasureWalk *walk,
									 MeterMeasureTrace trace, void *arg);
extern void meter_measure_walk_increases(MeterMeasureWalk *walk,
										 MeterMeasureIncrease increase,
										 void *arg);
extern void meter_measure_walk_begin(MeterMeasureWalk *walk,
									 MeterAttr resource, TimestampTz from,
									 TimestampTz to);
extern void meter_measure_walk_carry(MeterMeasureWalk *walk,
									 MeterAttr account, Datum known);
extern void meter_measure_walk_owner(MeterMeasureWalk *walk,
									 const MeterName *name);
extern void meter_measure_walk_reading(MeterMeasureWalk *walk,
									   const MeterAttr *dimensions,
									   const MeterLastReading *last);
extern void meter_measure_walk_measure(MeterMeasureWalk *walk,
									   TimestampTz start, TimestampTz end,
									   MeterAttr account, MeterAttr entity,
									   Datum value, bool isnull,
									   const MeterAttr *dimensions,
									   int64 arrival);
extern void meter_measure_walk_end(MeterMeasureWalk *walk);
extern MemoryContext meter_measure_walk_memory(const MeterMeasureWalk *walk);
extern void meter_measure_walk_destroy(MeterMeasureWalk *walk);

/* After the end, until the next begin. */
extern MeterOwners *meter_measure_walk_owners(MeterMeasureWalk *walk);
extern bool meter_measure_walk_has_series(MeterMeasureWalk *walk,
										  const MeterAttr *dimensions);
extern bool meter_measure_walk_next_reading(MeterMeasureWalk *walk,
											MeterMeasureReading *reading);

#endif							/* METER_MEASURE_WALK_H */
