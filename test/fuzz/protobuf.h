/*
 * protobuf.h
 *	  Promise: whatever the bytes, reading a message from them gives what it
 *	  says, or the position and reason why not; what is read is what
 *	  protobuf-c's own unpack reads, and packs again to the same.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "core/messages.h"
#include "types/usage.pb-c.h"
#include "types/wire_descriptor.h"

/* Messages in this order: the first two are records, by their kind. */
enum
{
	USAGE_EVENT = METER_EVENT_RECORD,
	USAGE_MEASURE = METER_MEASURE_RECORD,
	IP_MEASURE,
	USAGE_BATCH,
	MESSAGES
};

static const ProtobufCMessageDescriptor *const descriptors[MESSAGES] = {
	&meter__usage_event__descriptor,
	&meter__usage_measure__descriptor,
	&meter__ipmeasure__descriptor,
	&meter__usage_batch__descriptor
};

static MeterWireMessage messages[MESSAGES];

/* Stop, and say which promise is broken. */
static void
promise(bool kept, const char *what)
{
	if (!kept)
	{
		printf("broken: %s\n", what);
		fflush(stdout);
		abort();
	}
}

static void
describe_messages(void)
{
	int			i;
	int			kind;

	for (i = 0; i < MESSAGES; i++)
		promise(meter_wire_describe(&messages[i], descriptors[i]),
				"a message can be described");
	for (kind = 0; kind < METER_RECORD_KINDS; kind++)
	{
		const MeterRecordMessage *layout = &meter_record_messages[kind];
		uint32		fields = 0;

		promise(layout->ntimes + layout->nfields == messages[kind].nfields,
				"all fields of a message are times or fields of records");
		for (i = 0; i < layout->ntimes; i++)
			promise(strcmp(messages[kind].fields[i].name,
						   meter_record_forms[kind].times[i]) == 0,
					"times of a message are those of records");
		for (i = 0; i < layout->nfields; i++)
		{
			promise(strcmp(messages[kind].fields[layout->ntimes + i].name,
						   meter_field_names[layout->fields[i]]) == 0,
					"fields of a message are those of records");
			fields |= UINT32_C(1) << layout->fields[i];
		}
		promise(fields == meter_record_forms[kind].fields,
				"records have no others");
	}
}

/* A refusal says why, and where. */
static void
check_error(const MeterWireError *error, size_t begin, size_t end)
{
	promise(error->problem != NULL && error->problem[0] != '\0', "a reason");
	promise(error->field != NULL || error->subject != NULL, "of what");
	promise(error->offset >= begin && error->offset <= end, "a position");
}

/* A message of protobuf-c's for a record of any kind. */
typedef union UsageMessage
{
	ProtobufCMessage base;
	Meter__UsageEvent event;
	Meter__UsageMeasure measure;
} UsageMessage;

/* The place of a field of a message of protobuf-c's. */
static void *
message_field(const ProtobufCMessage *message, int field)
{
	return (char *) message + message->descriptor->fields[field].offset;
}

/* A record as bytes. */
static uint8 *
pack_record(const MeterRecord *record, size_t *length)
{
	const MeterRecordMessage *layout = &meter_record_messages[record->kind];
	UsageMessage message;
	uint8	   *bytes;
	int			i;

	protobuf_c_message_init(descriptors[record->kind], &message);
	*(int64 *) message_field(&message.base, 0) = record->time + METER_UNIX_EPOCH;
	if (layout->ntimes == 2)
		*(int64 *) message_field(&message.base, 1) = record->end + METER_UNIX_EPOCH;
	for (i = 0; i < layout->nfields; i++)
	{
		MeterAttr	field = record->fields[layout->fields[i]];
		void	   *place = message_field(&message.base, layout->ntimes + i);
		char	   *text;

		if (MeterAttrIsNull(field))
			continue;
		if (layout->fields[i] == METER_SEQUENCE)
		{
			message.event.has_sequence = meter_sequence_read(field, (int64 *) place);
			continue;
		}
		text = palloc((size_t) field.len + 1);
		memcpy(text, field.data, field.len);
		text[field.len] = '\0';
		*(char **) place = text;
	}
	bytes = palloc(protobuf_c_message_get_packed_size(&message.base) + 1);
	*length = protobuf_c_message_pack(&message.base, bytes);
	return bytes;
}

/* A field of a record is what protobuf-c says. */
static void
check_field(const ProtobufCMessage *message, int place, MeterField which,
			MeterAttr field)
{
	int64		sequence;
	const char *text;

	if (which == METER_SEQUENCE)
	{
		const Meter__UsageEvent *event = (const Meter__UsageEvent *) message;

		promise(MeterAttrIsNull(field) ? !event->has_sequence :
				event->has_sequence && meter_sequence_read(field, &sequence) &&
				sequence == event->sequence, "and the same sequence");
		return;
	}
	text = *(char *const *) message_field(message, place);
	/* these are made canonical */
	if (which == METER_VALUE || which == METER_ATTRIBUTES)
		promise(MeterAttrIsNull(field) || text != NULL, "and the same");
	else
		promise(text == NULL ? MeterAttrIsNull(field) :
				(strlen(text) == (size_t) field.len &&
				 memcmp(text, field.data, field.len) == 0),
				"and the same texts");
}

/* Read bytes as a record; false if they are none. */
static bool
try_record(MeterRecordKind kind, const uint8 *bytes, size_t begin, size_t end,
		   MeterRecord *record)
{
	const MeterRecordMessage *layout = &meter_record_messages[kind];
	ProtobufCMessage *message;
	MeterRecord again;
	MeterWireError error;
	MeterProblem problem;
	uint8	   *packed;
	size_t		length;
	int			i;

	if (!meter_read_usage_record(&messages[kind], kind, bytes, begin, end,
								 record, &error))
	{
		check_error(&error, begin, end);
		return false;
	}
	promise(meter_record_check(record, &problem), "what is read is a record");
	message = protobuf_c_message_unpack(descriptors[kind], NULL, end - begin,
										bytes + begin);
	promise(message != NULL, "protobuf-c takes what is taken");
	promise(*(int64 *) message_field(message, 0) == record->time + METER_UNIX_EPOCH &&
			(layout->ntimes == 1 ||
			 *(int64 *) message_field(message, 1) == record->end + METER_UNIX_EPOCH),
			"and reads the same times");
	for (i = 0; i < layout->nfields; i++)
		check_field(message, layout->ntimes + i, layout->fields[i],
					record->fields[layout->fields[i]]);
	protobuf_c_message_free_unpacked(message, NULL);

	packed = pack_record(record, &length);
	promise(meter_read_usage_record(&messages[kind], kind, packed, 0, length,
									&again, &error) &&
			meter_record_order(record, &again) == 0,
			"what is packed again says the same");
	return true;
}

/* Read bytes as a measure; false if they are none. */
static bool
try_measure(const uint8 *bytes, size_t begin, size_t end, bool milliseconds,
			MeterIPMeasure *measure)
{
	Meter__IPMeasure *message;
	MeterWireError error;
	char		text[METER_ADDRESS_LENGTH + 1];
	struct in_addr address;
	int64		unit = milliseconds ? 1000 : METER_SECOND;

	if (!meter_read_ip_measure(&messages[IP_MEASURE], bytes, begin, end, milliseconds,
							   measure, &error))
	{
		check_error(&error, begin, end);
		return false;
	}
	message = meter__ipmeasure__unpack(NULL, end - begin, bytes + begin);
	promise(message != NULL, "protobuf-c takes what is taken");
	promise(message->header == measure->header &&
			message->saddr == measure->address &&
			message->bytes == measure->bytes &&
			(int64) message->start * unit - METER_UNIX_EPOCH == measure->start &&
			(int64) message->end * unit - METER_UNIX_EPOCH == measure->end,
			"and reads the same");
	promise(measure->start <= measure->end && measure->end < METER_LIMIT,
			"a measure does not end before it starts");
	meter__ipmeasure__free_unpacked(message, NULL);
	text[meter_write_address(measure->address, text)] = '\0';
	promise(inet_pton(AF_INET, text, &address) == 1 &&
			ntohl(address.s_addr) == measure->address,
			"its address reads back");
	return true;
}

/* Read bytes as a batch; what it holds, too. */
static void
try_batch(const uint8 *bytes, size_t size)
{
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	MeterRecord record;
	MeterIPMeasure measure;
	int			field;
	bool		good = true;
	size_t		found[MESSAGES] = {0};

	meter_wire_begin(&reader, &messages[USAGE_BATCH], bytes, 0, size);
	while ((step = meter_wire_next(&reader, &field, &value)) == METER_WIRE_FIELD)
	{
		size_t		end = value.offset + value.length;

		if (field == METER_BATCH_EVENT)
		{
			found[USAGE_EVENT]++;
			good &= try_record(METER_EVENT_RECORD, bytes, value.offset, end, &record);
		}
		else if (field == METER_BATCH_USAGE_MEASURE)
		{
			found[USAGE_MEASURE]++;
			good &= try_record(METER_MEASURE_RECORD, bytes, value.offset, end, &record);
		}
		else if (field == METER_BATCH_MEASURE)
		{
			found[IP_MEASURE]++;
			good &= try_measure(bytes, value.offset, end, false, &measure);
		}
	}
	if (step == METER_WIRE_WRONG)
		check_error(&reader.error, 0, size);
	else if (good)
	{
		Meter__UsageBatch *batch = meter__usage_batch__unpack(NULL, size, bytes);

		promise(batch != NULL && batch->n_event == found[USAGE_EVENT] &&
				batch->n_usage_measure == found[USAGE_MEASURE] &&
				batch->n_measure == found[IP_MEASURE],
				"protobuf-c finds as many");
		meter__usage_batch__free_unpacked(batch, NULL);
	}
}

/* Read bytes as a stream; the number of messages that could be read. */
static int
try_stream(const uint8 *bytes, size_t size, int message)
{
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	MeterRecord record;
	MeterIPMeasure measure;
	int			good = 0;

	meter_wire_begin(&reader, &messages[message], bytes, 0, size);
	while ((step = meter_wire_next_delimited(&reader, &value)) == METER_WIRE_FIELD)
	{
		size_t		end = value.offset + value.length;

		promise(end <= size, "a message ends where the stream does, or before");
		good += message == IP_MEASURE ?
			try_measure(bytes, value.offset, end, false, &measure) :
			try_record((MeterRecordKind) message, bytes, value.offset, end, &record);
	}
	if (step == METER_WIRE_WRONG)
		check_error(&reader.error, 0, size);
	return good;
}
