/*
 * usage_messages.h
 *	  The messages of usage.proto, as the core reads them.
 */
#ifndef METER_USAGE_MESSAGES_H
#define METER_USAGE_MESSAGES_H

#include "core/messages.h"
#include "core/wire.h"

/* The messages of usage.proto that wire.c reads. */
typedef enum MeterProtobuf
{
	METER_USAGE_EVENT,
	METER_USAGE_MEASURE,
	METER_IP_MEASURE,
	METER_USAGE_BATCH,
	METER_PROTOBUFS
} MeterProtobuf;

extern const MeterWireMessage *meter_protobuf(MeterProtobuf message);
extern MeterProtobuf meter_protobuf_of(MeterRecordKind kind);
extern char *meter_protobuf_problem(MeterProtobuf message,
									const MeterWireError *error);
extern const char *meter_protobuf_payload(const uint8 *bytes, size_t length,
										  MeterRecord *record);

#endif							/* METER_USAGE_MESSAGES_H */
