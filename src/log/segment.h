/*
 * segment.h
 *	  Segments of a stream's logs.
 */
#ifndef METER_SEGMENT_H
#define METER_SEGMENT_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* Segment k of a log holds arrivals [k << bits, (k + 1) << bits). */
#define METER_SEGMENT_BITS	32

/* So many segments after the newest one are made before they are needed. */
#define METER_SEGMENTS_AHEAD	2

/* The name of a segment. */
typedef struct MeterSegment
{
	const char *log;
	int64		number;
} MeterSegment;

extern void meter_create_segment(const char *stream, const char *log,
								 int64 segment);
extern void meter_guard_segments(const char *stream);
extern int64 meter_sealed_until(const char *stream, const char *log,
								double *rows, int *segments);
extern int64 meter_sealed_longest(const char *stream, const char *log);
extern void meter_complete_segments(const char *stream);
extern List *meter_segments_before(const char *stream, const char *log,
								   TimestampTz before, int64 position);
extern bool meter_maintain_stream(const char *stream, bool record,
								  bool due_only, bool *failed);
extern void meter_maintenance_failed(const char *stream, const char *error);

#endif							/* METER_SEGMENT_H */
