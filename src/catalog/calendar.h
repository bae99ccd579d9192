/*
 * calendar.h
 *	  The recorded days of a stream: when each local day of a zone begins.
 */
#ifndef METER_CALENDAR_H
#define METER_CALENDAR_H

#include "datatype/timestamp.h"

#include "core/grid.h"

typedef struct MeterCalendar MeterCalendar;

extern MeterCalendar *meter_calendar_load(const char *stream,
										  const char *timezone);
extern const MeterZone *meter_calendar_zone(const MeterCalendar *calendar);
extern bool meter_calendar_has_rules(const MeterCalendar *calendar);
extern void meter_calendar_require(const MeterCalendar *calendar);
extern void meter_calendar_record(MeterCalendar *calendar, TimestampTz from,
								  TimestampTz watermark);
extern void meter_calendar_take_over(const char *stream, const char *meter,
									 const char *timezone);
extern void meter_calendar_forget(const char *stream, const char *timezone);

#endif							/* METER_CALENDAR_H */
