/*
 * progress.h
 *	  Progress: how far a meter has come, as the catalog has it.
 */
#ifndef METER_PROGRESS_H
#define METER_PROGRESS_H

#include "catalog/definition.h"

extern bool meter_progress_differs(const MeterDefinition *a,
								   const MeterDefinition *b);
extern void meter_store_progress(const MeterDefinition *definition,
								 bool wrote_usage);

#endif							/* METER_PROGRESS_H */
