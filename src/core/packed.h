/*
 * packed.h
 *	  Events without attributes, eight bytes each.
 */
#ifndef METER_PACKED_H
#define METER_PACKED_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/timeline_builder.h"

/*
 * An event is its time with its kind in the two lowest bits, so that events
 * order as integers.  Times after the year 75,000 do not fit.
 */
#define METER_PACKED_LIMIT	(INT64_C(1) << 61)
#define meter_packs(time)	((time) < METER_PACKED_LIMIT)
#define meter_pack(time, kind)	((time) * 4 + (int64) (kind))
#define meter_packed_kind(event)	((MeterKind) ((event) & 3))
#define meter_packed_time(event)	((event) >> 2)

/* Stands for a time billed that has no end. */
#define METER_UNBOUNDED		(-1)

extern void meter_packed_sort(int64 *events, uint32 nevents);
extern MeterTimeline *meter_packed_pair(const int64 *events, uint32 nevents);
extern int64 meter_packed_billed(const int64 *events, uint32 nevents,
								 int64 from, int64 to, int64 open_end,
								 int64 unit);

#endif							/* METER_PACKED_H */
