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

static const ProtobufCMessageDescriptor *const descriptors[] = {
	&meter__usage_event__descriptor,
	&meter__ipmeasure__descriptor,
	&meter__usage_batch__descriptor
};

static MeterWireMessage messages[3];

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

	for (i = 0; i < 3; i++)
		promise(meter_wire_describe(&messages[i], descriptors[i]),
				"a message can be described");
	for (i = 0; i < METER_NFIELDS; i++)
		promise(strcmp(messages[0].fields[i + 1].name,
					   meter_field_names[meter_event_field_order[i]]) == 0,
				"fields of UsageEvent are those of events");
}

/* A refusal says why, and where. */
static void
check_error(const MeterWireError *error, size_t begin, size_t end)
{
	promise(error->problem != NULL && error->problem[0] != '\0', "a reason");
	promise(error->field != NULL || error->subject != NULL, "of what");
	promise(error->offset >= begin && error->offset <= end, "a position");
}

/* The text in a field of a message of protobuf-c's. */
static const char *
message_text(const Meter__UsageEvent * message, int field)
{
	return *(char *const *) ((const char *) message +
							 descriptors[0]->fields[field].offset);
}

/* An event as bytes. */
static uint8 *
pack_event(const MeterUsageEvent *event, size_t *length)
{
	Meter__UsageEvent message = METER__USAGE_EVENT__INIT;
	uint8	   *bytes;
	int			i;

	message.time = event->time + METER_UNIX_EPOCH;
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = event->fields[meter_event_field_order[i]];
		char	   *text;

		if (MeterAttrIsNull(field))
			continue;
		text = palloc((size_t) field.len + 1);
		memcpy(text, field.data, field.len);
		text[field.len] = '\0';
		*(char **) ((char *) &message + descriptors[0]->fields[i + 1].offset) =
			text;
	}
	bytes = palloc(meter__usage_event__get_packed_size(&message) + 1);
	*length = meter__usage_event__pack(&message, bytes);
	return bytes;
}

/* Read bytes as an event; false if they are none. */
static bool
try_event(const uint8 *bytes, size_t begin, size_t end, MeterUsageEvent *event)
{
	Meter__UsageEvent *message;
	MeterUsageEvent again;
	MeterWireError error;
	MeterProblem problem;
	uint8	   *packed;
	size_t		length;
	int			i;

	if (!meter_read_usage_event(&messages[0], bytes, begin, end, event, &error))
	{
		check_error(&error, begin, end);
		return false;
	}
	promise(meter_event_check(event, &problem), "what is read is an event");
	message = meter__usage_event__unpack(NULL, end - begin, bytes + begin);
	promise(message != NULL, "protobuf-c takes what is taken");
	promise(message->time == event->time + METER_UNIX_EPOCH,
			"and reads the same time");
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterField	which = meter_event_field_order[i];
		MeterAttr	field = event->fields[which];
		const char *text = message_text(message, i + 1);

		/* these are made canonical */
		if (which == METER_VALUE || which == METER_ATTRIBUTES)
			promise(MeterAttrIsNull(field) || text != NULL, "and the same");
		else
			promise(text == NULL ? MeterAttrIsNull(field) :
					(strlen(text) == (size_t) field.len &&
					 memcmp(text, field.data, field.len) == 0),
					"and the same texts");
	}
	meter__usage_event__free_unpacked(message, NULL);

	packed = pack_event(event, &length);
	promise(meter_read_usage_event(&messages[0], packed, 0, length, &again,
								   &error) &&
			meter_event_cmp(event, &again) == 0,
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

	if (!meter_read_ip_measure(&messages[1], bytes, begin, end, milliseconds,
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
	MeterUsageEvent event;
	MeterIPMeasure measure;
	int			field;
	bool		good = true;
	size_t		events = 0;
	size_t		measures = 0;

	meter_wire_begin(&reader, &messages[2], bytes, 0, size);
	while ((step = meter_wire_next(&reader, &field, &value)) == METER_WIRE_FIELD)
	{
		size_t		end = value.offset + value.length;

		if (field == METER_BATCH_EVENT)
		{
			events++;
			good &= try_event(bytes, value.offset, end, &event);
		}
		else if (field == METER_BATCH_MEASURE)
		{
			measures++;
			good &= try_measure(bytes, value.offset, end, false, &measure);
		}
	}
	if (step == METER_WIRE_WRONG)
		check_error(&reader.error, 0, size);
	else if (good)
	{
		Meter__UsageBatch *batch = meter__usage_batch__unpack(NULL, size, bytes);

		promise(batch != NULL && batch->n_event == events &&
				batch->n_measure == measures, "protobuf-c finds as many");
		meter__usage_batch__free_unpacked(batch, NULL);
	}
}

/* Read bytes as a stream; the number of messages that could be read. */
static int
try_stream(const uint8 *bytes, size_t size, bool of_events)
{
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	MeterUsageEvent event;
	MeterIPMeasure measure;
	int			good = 0;

	meter_wire_begin(&reader, &messages[of_events ? 0 : 1], bytes, 0, size);
	while ((step = meter_wire_next_delimited(&reader, &value)) == METER_WIRE_FIELD)
	{
		size_t		end = value.offset + value.length;

		promise(end <= size, "a message ends where the stream does, or before");
		good += of_events ? try_event(bytes, value.offset, end, &event) :
			try_measure(bytes, value.offset, end, false, &measure);
	}
	if (step == METER_WIRE_WRONG)
		check_error(&reader.error, 0, size);
	return good;
}
