/*
 * timeline_agg.h
 *	  What aggregates have in common.
 */
#ifndef METER_TIMELINE_AGG_H
#define METER_TIMELINE_AGG_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "core/core.h"
#include "core/event_set.h"

extern Datum meter_events_collect(FunctionCallInfo fcinfo, MeterKind kind,
								  int64 time, const MeterAttr *attrs);
extern MemoryContext meter_aggregate_context(FunctionCallInfo fcinfo);
extern int64 meter_check_time(TimestampTz time);
extern void meter_check_partial(bool good);

#endif							/* METER_TIMELINE_AGG_H */
