/*
 * odd_runs.h
 *	  Classes of meter.anomalies() that are about runs: what came after the end
 *	  of a resource, and where runs had no sign of life.
 */
#ifndef METER_ODD_RUNS_H
#define METER_ODD_RUNS_H

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "commands/asked.h"

extern void meter_after_its_end(MeterAsked *asked,
								const MeterDefinition *definition,
								const MeterProgress *progress);
extern void meter_silent(MeterAsked *asked, const MeterDefinition *definition,
						 const MeterProgress *progress);

#endif							/* METER_ODD_RUNS_H */
