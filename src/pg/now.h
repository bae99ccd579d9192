/*
 * now.h
 *	  What time it is: that of the transaction, or what a test says.
 */
#ifndef METER_NOW_H
#define METER_NOW_H

#include "utils/timestamp.h"

extern TimestampTz meter_now(void);
extern TimestampTz meter_time_of_day(void);
extern TimestampTz meter_later_by(TimestampTz instant, int64 usec);
extern void meter_now_init(void);

#endif							/* METER_NOW_H */
