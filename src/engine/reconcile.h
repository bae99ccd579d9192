/*
 * reconcile.h
 *	  Snapshots: comparing them with what meters make of the log.
 */
#ifndef METER_RECONCILE_H
#define METER_RECONCILE_H

#include "catalog/definition.h"

extern bool meter_compare_arrived(const MeterDefinition *definition,
								  int64 after, int64 upto);
extern bool meter_compare_touched(const MeterDefinition *definition,
								  const char *touched, const char *from);
extern bool meter_compare_new(const MeterDefinition *definition);

#endif							/* METER_RECONCILE_H */
