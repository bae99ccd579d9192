/*
 * ranges.h
 *	  What ranges of time cover together.
 */
#ifndef METER_RANGES_H
#define METER_RANGES_H

#include "core/core.h"

typedef struct MeterRange
{
	int64		begin;
	int64		end;
} MeterRange;

extern uint32 meter_ranges_join(MeterRange *ranges, uint32 nranges);

#endif							/* METER_RANGES_H */
