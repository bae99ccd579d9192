/*
 * wire_descriptor.h
 *	  Messages as wire.c reads them, from what protoc-c made of the .proto:
 *	  names, numbers and types of fields stand there and nowhere else.
 */
#ifndef METER_WIRE_DESCRIPTOR_H
#define METER_WIRE_DESCRIPTOR_H

#include <protobuf-c/protobuf-c.h>

#include "core/wire.h"

/*
 * Describe a message of protobuf-c for wire.c.  Returns false if it has what
 * wire.c cannot read.
 */
static inline bool
meter_wire_describe(MeterWireMessage *message,
					const ProtobufCMessageDescriptor *descriptor)
{
	unsigned	i;

	message->name = descriptor->short_name;
	message->nfields = (int) descriptor->n_fields;
	message->required = 0;
	if (descriptor->n_fields > METER_WIRE_FIELDS)
		return false;
	for (i = 0; i < descriptor->n_fields; i++)
	{
		const ProtobufCFieldDescriptor *from = &descriptor->fields[i];
		MeterWireField *field = &message->fields[i];

		field->number = from->id;
		field->name = from->name;
		field->required = from->label == PROTOBUF_C_LABEL_REQUIRED;
		if (field->required)
			message->required |= (uint32) 1 << i;
		switch (from->type)
		{
			case PROTOBUF_C_TYPE_UINT32:
				field->kind = METER_WIRE_UINT32;
				break;
			case PROTOBUF_C_TYPE_UINT64:
				field->kind = METER_WIRE_UINT64;
				break;
			case PROTOBUF_C_TYPE_INT64:
				field->kind = METER_WIRE_INT64;
				break;
			case PROTOBUF_C_TYPE_BOOL:
				field->kind = METER_WIRE_BOOL;
				break;
			case PROTOBUF_C_TYPE_STRING:
				field->kind = METER_WIRE_STRING;
				break;
			case PROTOBUF_C_TYPE_MESSAGE:
				field->kind = METER_WIRE_MESSAGE;
				break;
			default:
				return false;
		}
	}
	return true;
}

#endif							/* METER_WIRE_DESCRIPTOR_H */
