/*
 * aggregate.h
 *	  What aggregates have in common.
 */
#ifndef METER_AGGREGATE_H
#define METER_AGGREGATE_H

#include "meter.h"

#include "pairing.h"

extern Datum meter_events_collect(FunctionCallInfo fcinfo, MeterKind kind,
								  int64 time, const MeterAttr *attrs);
extern MemoryContext meter_aggregate_context(FunctionCallInfo fcinfo);
extern int64 meter_check_time(TimestampTz time);
extern void meter_check_partial(bool good);

#endif							/* METER_AGGREGATE_H */
