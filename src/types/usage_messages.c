/*
 * usage_messages.c
 *	  The messages of usage.proto, as the core reads them.
 */
#include "postgres.h"

#include "core/core.h"
#include "core/messages.h"
#include "core/record.h"
#include "core/wire.h"
#include "types/usage.pb-c.h"
#include "types/usage_messages.h"
#include "types/wire_descriptor.h"

/* Return the description of a message, as wire.c reads it. */
const MeterWireMessage *
meter_protobuf(MeterProtobuf message)
{
	static const ProtobufCMessageDescriptor *const descriptors[METER_PROTOBUFS] = {
		&meter__usage_event__descriptor,
		&meter__usage_measure__descriptor,
		&meter__ipmeasure__descriptor,
		&meter__usage_batch__descriptor
	};
	static MeterWireMessage messages[METER_PROTOBUFS];

	if (messages[message].name == NULL &&
		!meter_wire_describe(&messages[message], descriptors[message]))
	{
		messages[message].name = NULL;
		elog(ERROR, "message %s has fields that cannot be read",
			 descriptors[message]->name);
	}
	return &messages[message];
}

/* Return the message that is a record of a kind. */
MeterProtobuf
meter_protobuf_of(MeterRecordKind kind)
{
	return kind == METER_EVENT_RECORD ? METER_USAGE_EVENT : METER_USAGE_MEASURE;
}

/* Describe what is wrong with a message, in UTF-8. */
char *
meter_protobuf_problem(MeterProtobuf message, const MeterWireError *error)
{
	if (error->field == NULL)
		return psprintf("protobuf message %s: %s %s, at byte %zu",
						meter_protobuf(message)->name, error->subject,
						error->problem, error->offset);
	return psprintf("protobuf message %s: field \"%s\" %s, at byte %zu",
					meter_protobuf(message)->name, error->field,
					error->problem, error->offset);
}

/*
 * Read the message that a CloudEvent carries.  Returns NULL, or what is wrong
 * with it, in UTF-8.
 */
const char *
meter_protobuf_payload(const uint8 *bytes, size_t length, MeterRecord *record)
{
	MeterProtobuf message = meter_protobuf_of(record->kind);
	MeterWireError error;

	if (meter_read_usage_record(meter_protobuf(message), record->kind, bytes,
								0, length, record, &error))
		return NULL;
	return meter_protobuf_problem(message, &error);
}
