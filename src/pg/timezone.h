/*
 * timezone.h
 *	  The server's time zones, as the grid wants them.
 */
#ifndef METER_TIMEZONE_H
#define METER_TIMEZONE_H

#include "core/grid.h"

extern const MeterZone *meter_zone_lookup(const char *name);

#endif							/* METER_TIMEZONE_H */
