/*
 * source.h
 *	  Sources of a stream: how far each has told what happened.
 */
#ifndef METER_SOURCE_H
#define METER_SOURCE_H

#include "datatype/timestamp.h"

extern void meter_source_seen(const char *stream, const char *source,
							  TimestampTz at);
extern bool meter_source_clock(const char *stream, bool even_idle,
							   TimestampTz *clock);
extern void meter_sources_expect(const char *stream);
extern void meter_sources_forget(const char *stream);

#endif							/* METER_SOURCE_H */
