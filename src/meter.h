/*
 * meter.h
 *	  What all files of the server layer share: settings and the clock.
 */
#ifndef METER_H
#define METER_H

#include "pg/meter_compat.h"

#include "fmgr.h"
#include "utils/timestamp.h"

/* settings, defined in meter.c */
extern int	meter_batch_rows;

extern TimestampTz meter_now(void);
extern TimestampTz meter_time_of_day(void);

#endif							/* METER_H */
