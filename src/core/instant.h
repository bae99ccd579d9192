/*
 * instant.h
 *	  Instants as text.
 */
#ifndef METER_INSTANT_H
#define METER_INSTANT_H

#include "core/core.h"

#define METER_INSTANT_SIZE	40	/* bytes that one takes at most */

extern int64 meter_days_of_month(int64 year, int64 month);
extern int	meter_instant_write(int64 instant, char *text);
extern const char *meter_instant_parse(const char *text, size_t length,
									   int64 *instant);

#endif							/* METER_INSTANT_H */
