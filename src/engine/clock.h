/*
 * clock.h
 *	  Clocks: how far the watermark of a meter may go.
 */
#ifndef METER_CLOCK_H
#define METER_CLOCK_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"

extern bool meter_clock_target(MeterDefinition *definition, int64 safe,
							   TimestampTz *target);

#endif							/* METER_CLOCK_H */
