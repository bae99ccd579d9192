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

#endif							/* METER_RECONCILE_H */
