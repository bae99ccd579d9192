/*
 * position.h
 *	  The safe position: up to where no more arrivals can appear.
 */
#ifndef METER_POSITION_H
#define METER_POSITION_H

#include "definition.h"

extern int64 meter_safe_position(MeterDefinition *definition,
								 TimestampTz *noted_at);
extern int64 meter_safe_measure_position(MeterDefinition *definition,
										 TimestampTz *noted_at);

#endif							/* METER_POSITION_H */
