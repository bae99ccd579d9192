/*
 * timezone.h
 *	  The server's time zones, as the grid wants them.
 */
#ifndef METER_TIMEZONE_H
#define METER_TIMEZONE_H

#include "core/grid.h"

extern const MeterZone *meter_zone_lookup(const char *name);
extern bool meter_zone_find(const char *name, const MeterZone **found);
extern bool meter_zone_is_fixed(const MeterZone *zone);
extern int32 meter_zone_day_near(int64 instant);

#endif							/* METER_TIMEZONE_H */
