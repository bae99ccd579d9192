/*
 * reconcile.h
 *	  Snapshots: comparing them with what meters make of the log.
 */
#ifndef METER_RECONCILE_H
#define METER_RECONCILE_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern bool meter_compare_arrived(const MeterDefinition *definition, const MeterProgress *progress,
								  int64 after, int64 upto);
extern bool meter_compare_affected(const MeterDefinition *definition, const MeterProgress *progress,
								   const char *affected, const char *from);
extern bool meter_compare_new(const MeterDefinition *definition, const MeterProgress *progress);
extern bool meter_any_snapshot(const MeterDefinition *definition);

/* on a shard */
extern void meter_compare_into(const MeterDefinition *definition,
							   const MeterProgress *progress,
							   const char *affected, const char *from,
							   int64 *found);
extern void meter_compare_snapshot(const MeterDefinition *definition,
								   const MeterProgress *progress,
								   const char *source, const int64 *asks,
								   int64 *found);

#endif							/* METER_RECONCILE_H */
