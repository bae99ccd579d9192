/*
 * state_counts.h
 *	  How many carried states and readings a meter has: lost ones are noticed.
 */
#ifndef METER_STATE_COUNTS_H
#define METER_STATE_COUNTS_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern void meter_count_states(const MeterDefinition *definition,
							   MeterStateCounts *found);
extern void meter_compare_states(const MeterDefinition *definition,
								 const MeterStateCounts *written,
								 const MeterStateCounts *found);
extern void meter_check_states(const MeterDefinition *definition,
							   const MeterProgress *progress);
extern void meter_check_any_states(const MeterDefinition *definition,
								   const MeterProgress *progress);

#endif							/* METER_STATE_COUNTS_H */
