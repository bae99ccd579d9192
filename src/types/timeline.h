/*
 * timeline.h
 *	  The type meter.timeline, and the arguments that billing takes.
 */
#ifndef METER_TIMELINE_H
#define METER_TIMELINE_H

#include "datatype/timestamp.h"

#include "core/grid.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"

/* A window of time, from a tstzrange. */
typedef struct MeterWindow
{
	bool		given;			/* false: no window, count what there is */
	int64		from;			/* from >= to: empty */
	int64		to;
} MeterWindow;

extern MeterTimeline *meter_timeline_read(Datum datum);
extern Datum meter_timeline_datum(const MeterTimeline *timeline);

extern MeterWindow meter_window_from_range(Datum range);
extern int64 meter_timeline_billed(const MeterTimeline *timeline,
								   const MeterWindow *window,
								   MeterRounding rounding, MeterGrid *grid);
extern int64 meter_check_billed(int64 billed);
extern Interval *meter_interval_from_usec(int64 usec);

#endif							/* METER_TIMELINE_H */
