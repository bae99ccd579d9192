/*
 * spread.h
 *	  A value that is spread evenly over a stretch of time.
 */
#ifndef METER_SPREAD_H
#define METER_SPREAD_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

typedef struct MeterSpread
{
	TimestampTz start;
	int64		length;			/* microseconds */
	int			scale;
	bool		is_small;
	int64		small;			/* value times 10^scale, if small */
	Numeric		large;			/* the same, if it is not small */
	Numeric		value;
} MeterSpread;

extern void meter_spread_init(MeterSpread *spread, TimestampTz start,
							  TimestampTz end, Numeric value);
extern bool meter_spread_small_part(const MeterSpread *spread,
									TimestampTz from, TimestampTz to,
									int64 *part);
extern Numeric meter_spread_part(const MeterSpread *spread, TimestampTz from,
								 TimestampTz to);

#endif							/* METER_SPREAD_H */
