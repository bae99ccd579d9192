/*
 * counter.h
 *	  What a reading of a counter adds to the one before.
 */
#ifndef METER_COUNTER_H
#define METER_COUNTER_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"

/* How the readings of a counter are read. */
typedef struct MeterCounter
{
	MeterBegins begins;
	MeterDrops	drops;
	Numeric		modulus;		/* NULL: none */
	TimestampTz since;			/* of the meter */
} MeterCounter;

/* The last reading of a series that counted, or of what it was carried. */
typedef struct MeterLastReading
{
	TimestampTz time;
	Numeric		value;			/* NULL: there is none yet */
	TimestampTz start;			/* of the last one that counted and had its
								 * start before its end; DT_NOBEGIN: none */
} MeterLastReading;

/* What becomes of a reading.  Those from METER_PASSED_NEGATIVE on are passed over. */
typedef enum MeterCounted
{
	METER_COUNTED_BASE,			/* the base: adds nothing */
	METER_COUNTED_DIFFERENCE,
	METER_COUNTED_WRAP,
	METER_COUNTED_RESET,		/* all of it */
	METER_COUNTED_ZERO,			/* the first one: all of it */
	METER_COUNTED_START,		/* all of it, since its start */
	METER_PASSED_NEGATIVE,
	METER_PASSED_MODULUS,
	METER_PASSED_DROP,
	METER_PASSED_START
} MeterCounted;

#define MeterIsPassedOver(counted)	((counted) >= METER_PASSED_NEGATIVE)
#define MeterIsDrop(counted)	((counted) == METER_COUNTED_WRAP || (counted) == METER_COUNTED_RESET)

extern void meter_counter_init(MeterCounter *counter,
							   const MeterDefinition *definition);
extern MeterCounted meter_count_reading(const MeterCounter *counter,
										const MeterLastReading *last,
										TimestampTz start, TimestampTz end,
										Numeric value, Numeric *added);
extern TimestampTz meter_last_start(const MeterLastReading *last,
									TimestampTz start, TimestampTz end);

#endif							/* METER_COUNTER_H */
