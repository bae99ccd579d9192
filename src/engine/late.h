/*
 * late.h
 *	  Late rows: which arrivals change settled periods, which are held, and
 *	  computing anew what is affected.
 */
#ifndef METER_LATE_H
#define METER_LATE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

/* Rows that were held, and count from now on. */
typedef struct MeterReleased
{
	int64		count;
	char	   *arrivals[METER_NLOGS];	/* arrays as text; NULL: none */
} MeterReleased;

extern void meter_note_voids(const MeterDefinition *definition, int64 after,
							 int64 upto);
extern void meter_prune_voids(const MeterDefinition *definition,
							  TimestampTz from);
extern void meter_take_held(const MeterDefinition *definition,
							const char *condition, MeterReleased *released);
extern void meter_compare_released(const MeterDefinition *definition,
								   const MeterProgress *progress,
								   const MeterReleased *released);
extern int64 meter_release_held(const MeterDefinition *definition,
								MeterProgress *progress,
								const char *condition, int64 *written);
extern int64 meter_recompute_released(const MeterDefinition *definition,
									  MeterProgress *progress,
									  const char *arrivals);
extern void meter_settle_late_rows(const MeterDefinition *definition,
								   MeterProgress *progress, MeterStep *step,
								   MeterLog first);
extern bool meter_settle_late(const MeterDefinition *definition,
							  MeterProgress *progress, MeterStep *step);

#endif							/* METER_LATE_H */
