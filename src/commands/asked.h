/*
 * asked.h
 *	  What is asked of meter.anomalies(), as parts of queries, and what queries
 *	  find, returned.
 */
#ifndef METER_ASKED_H
#define METER_ASKED_H

#include "fmgr.h"
#include "nodes/pg_list.h"

#include "catalog/definition.h"
#include "engine/duplicates.h"
#include "engine/fold.h"

/* What is asked for, and where it is returned. */
typedef struct MeterAsked
{
	FunctionCallInfo fcinfo;
	const char *stream;
	const char *schema;			/* quoted */
	const char *class;			/* NULL: all; so the others */
	const char *meter;
	Datum		resource;		/* text, or 0 */
	Datum		during;			/* tstzrange, or 0 */
	List	   *meters;			/* of the stream: of MeterAskedMeter */
	int64		window;			/* in which rows are duplicates */
	bool		of_shard;		/* rows have a place and a number of rows, too */
} MeterAsked;

/* A detail with how many rows it is about. */
#define METER_COUNTED(detail, count) \
	detail " || ' (rows: ' || " count " || ')'"

extern void meter_put_anomaly(const MeterAsked *asked, const char *class,
							  const MeterFold *fold, TimestampTz time,
							  const int64 *arrival, const char *detail);
extern void meter_return_anomalies(const MeterAsked *asked, const char *class,
								   const char *query);
extern void meter_return_counted_anomalies(const MeterAsked *asked,
										   const char *class,
										   const char *query);
extern void meter_return_placed_anomalies(const MeterAsked *asked,
										  const char *class,
										  const char *query);
extern List *meter_asked_meters(const MeterAsked *asked);
extern MeterPlacing meter_asked_placing(const MeterAsked *asked, MeterLog log);
extern const char *meter_asked_resource(const MeterAsked *asked);
extern const char *meter_asked_rows(const MeterAsked *asked,
									const char *time);

#endif							/* METER_ASKED_H */
