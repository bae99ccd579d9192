/*
 * measure_views.h
 *	  What people ask about measures: anomalies, and why a usage row is what
 *	  it is.
 */
#ifndef METER_MEASURE_VIEWS_H
#define METER_MEASURE_VIEWS_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

extern void meter_append_measure_anomaly(StringInfo sql, const char *stream,
										 const char *deduplication_window);
extern void meter_append_measure_meter_anomaly(StringInfo sql,
											   const MeterDefinition *definition);
extern void meter_explain_measures(FunctionCallInfo fcinfo,
								   const MeterDefinition *definition, const MeterProgress *progress,
								   const char *uuid, const char *account,
								   const char *resource,
								   const char *dimensions,
								   TimestampTz period_start,
								   int64 settlement);

#endif							/* METER_MEASURE_VIEWS_H */
