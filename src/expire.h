/*
 * expire.h
 *	  Forgetting what a log had before its floor.
 */
#ifndef METER_EXPIRE_H
#define METER_EXPIRE_H

#include "definition.h"

extern TimestampTz meter_stream_floor(const char *stream);
extern void meter_begin_at_floor(const MeterDefinition *definition);

#endif							/* METER_EXPIRE_H */
