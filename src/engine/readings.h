/*
 * readings.h
 *	  The carried readings: the last one of each series of a counter before its
 *	  meter's watermark.
 */
#ifndef METER_READINGS_H
#define METER_READINGS_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "engine/counter.h"

/* A reading as it is stored. */
typedef struct MeterReading
{
	MeterAttr	dimensions[METER_MAX_DIMENSIONS];
	MeterLastReading last;
} MeterReading;

typedef struct MeterReadings MeterReadings;

extern MeterReadings *meter_readings_begin(const MeterDefinition *definition,
										   const char *known,
										   const char *written);
extern void meter_readings_seek(MeterReadings *readings, uint64 hash,
								MeterAttr resource);
extern bool meter_readings_next(MeterReadings *readings,
								MeterReading *reading);
extern bool meter_readings_writes(const MeterReadings *readings);
extern void meter_readings_seek_written(MeterReadings *readings, uint64 hash,
										MeterAttr resource);
extern bool meter_readings_next_written(MeterReadings *readings,
										MeterReading *reading);
extern void meter_readings_put(MeterReadings *readings, uint64 hash,
							   MeterAttr resource,
							   const MeterAttr *dimensions,
							   const MeterLastReading *last, bool if_later);
extern void meter_readings_forget(MeterReadings *readings);
extern int64 meter_readings_more(const MeterReadings *readings);
extern void meter_readings_end(MeterReadings *readings);
extern void meter_readings_restart(const MeterDefinition *definition);

#endif							/* METER_READINGS_H */
