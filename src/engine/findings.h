/*
 * findings.h
 *	  What shards find of resources, on its way to the coordinator.
 */
#ifndef METER_FINDINGS_H
#define METER_FINDINGS_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "catalog/definition.h"
#include "engine/scatter.h"

typedef struct MeterFindings MeterFindings;

/* on a shard */
extern void meter_findings_hand_over(MeterTakeShardRow take, void *arg);
extern void meter_tell_found(Datum resource, TimestampTz at, int64 pass,
							 Datum what);
extern void meter_tell_least(TimestampTz instant);

/* on the coordinator */
extern MeterFindings *meter_findings_begin(void);
extern void meter_findings_take(void *arg, MeterShardRow kind,
								const Datum *values, const bool *nulls);
extern TimestampTz meter_findings_least(const MeterFindings *findings);
extern void meter_findings_return(MeterFindings *findings,
								  FunctionCallInfo fcinfo);
extern void meter_findings_log(MeterFindings *findings, const char *stream);
extern void meter_findings_end(MeterFindings *findings);

#endif							/* METER_FINDINGS_H */
