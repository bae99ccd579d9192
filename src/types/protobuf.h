/*
 * protobuf.h
 *	  Events and measures as protobuf messages.
 */
#ifndef METER_PROTOBUF_H
#define METER_PROTOBUF_H

#include "core/messages.h"
#include "core/wire.h"
#include "types/usage_messages.h"

/* A varlena with room for an IPv4 address in its dotted form. */
typedef union MeterAddressText
{
	struct varlena text;
	char		data[VARHDRSZ + METER_ADDRESS_LENGTH];
} MeterAddressText;

extern char *meter_protobuf_reason(MeterProtobuf message,
								   const MeterWireError *error);
extern char *meter_protobuf_hex(const uint8 *bytes, size_t length);
extern Datum meter_address_text(uint32 address, MeterAddressText *buffer);
extern Datum meter_uint64_numeric(uint64 number);

#endif							/* METER_PROTOBUF_H */
