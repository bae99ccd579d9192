/*
 * expire.h
 *	  Forgetting what a log had before its floor.
 */
#ifndef METER_EXPIRE_H
#define METER_EXPIRE_H

#include "catalog/definition.h"

extern TimestampTz meter_stream_floor(const char *stream, const char *log,
									  const char *meter);
extern void meter_check_events_are_whole(const MeterDefinition *definition);
extern void meter_begin_at_floor(const MeterDefinition *definition);

#endif							/* METER_EXPIRE_H */
