/*
 * kept_states.h
 *	  Kept states: where computing a resource anew may begin.
 */
#ifndef METER_KEPT_STATES_H
#define METER_KEPT_STATES_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/resources.h"

extern TimestampTz meter_keep_from(const MeterDefinition *definition,
								   TimestampTz watermark);
extern void meter_begin_at_kept(const MeterDefinition *definition,
								const MeterProgress *progress,
								MeterResources *affected);
extern void meter_forget_kept(const char *stream, const char *meter);
extern void meter_prune_kept(const MeterDefinition *definition,
							 TimestampTz before, TimestampTz watermark);

#endif							/* METER_KEPT_STATES_H */
