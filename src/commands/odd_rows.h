/*
 * odd_rows.h
 *	  Classes of meter.anomalies() that are about rows of the logs beside what
 *	  meters make of them.
 */
#ifndef METER_ODD_ROWS_H
#define METER_ODD_ROWS_H

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "commands/asked.h"

extern void meter_void_of_nothing(MeterAsked *asked);
extern void meter_not_counted(MeterAsked *asked);
extern void meter_opened_by_another(MeterAsked *asked);
extern void meter_since_too_early(MeterAsked *asked);
extern void meter_other_action(MeterAsked *asked,
							   const MeterDefinition *definition,
							   const MeterProgress *progress);
extern void meter_passed_over(MeterAsked *asked,
							  const MeterDefinition *definition,
							  const MeterProgress *progress);
extern void meter_counter_drop(MeterAsked *asked,
							   const MeterDefinition *definition,
							   const MeterProgress *progress);

#endif							/* METER_ODD_ROWS_H */
