/*
 * usage.h
 *	  The contract of usage: what differs between usage of events and usage of
 *	  measures.
 */
#ifndef METER_USAGE_H
#define METER_USAGE_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

struct MeterFold;

typedef struct MeterUsage
{
	/* Usage is made of rows of this log.  The event log is read in any case. */
	MeterLog	log;

	/* Do events from before the earliest usage count? */
	bool		begins_late;

	/* Has a resource usage in periods in which nothing happens to it? */
	bool		runs_on;

	/* Return a query for the instant of the earliest usage. */
	char	   *(*earliest) (const MeterDefinition *definition,
							 const MeterProgress *progress);

	/* Append the condition that a row e of the event log counts. */
	void		(*append_event_filter) (StringInfo sql,
										const MeterDefinition *definition);

	/*
	 * Return about up to where meter.batch_rows rows go, of what is due up to
	 * `target`.
	 */
	TimestampTz (*bound) (const MeterDefinition *definition,
						  const MeterProgress *progress, TimestampTz target);

	/* Put what is asked for into the order. */
	void		(*scan) (struct MeterFold *fold);

	/* Walk a resource: begin it, take its rows one by one, and end it. */
	void		(*begin) (struct MeterFold *fold);
	void		(*row) (struct MeterFold *fold, const TupleTableSlot *slot);
	void		(*end) (struct MeterFold *fold);

	/* Let go of what the walks needed; write what they have kept. */
	void		(*finish) (struct MeterFold *fold);
} MeterUsage;

extern const MeterUsage meter_usage_of_events;
extern const MeterUsage meter_usage_of_measures;

#endif							/* METER_USAGE_H */
