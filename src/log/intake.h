/*
 * intake.h
 *	  Rows on their way into a stream.
 */
#ifndef METER_INTAKE_H
#define METER_INTAKE_H

#include "core/messages.h"

typedef struct MeterIntake MeterIntake;

extern MeterIntake *meter_intake_begin(const char *stream,
									   MemoryContext parent);
extern bool meter_intake_record(MeterIntake *intake, MeterRecordKind kind,
								const struct varlena *value);
extern void meter_intake_ip_measure(MeterIntake *intake, Datum source,
									const MeterIPMeasure *measure);
extern void meter_intake_reject(MeterIntake *intake, const char *raw,
								size_t length, const char *reason);
extern void meter_intake_flush(MeterIntake *intake);
extern int64 meter_intake_pending(const MeterIntake *intake);
extern int64 meter_intake_end(MeterIntake *intake);
extern const char *meter_intake_stream(const MeterIntake *intake);
extern void meter_intake_forget(MeterIntake *intake);

#endif							/* METER_INTAKE_H */
