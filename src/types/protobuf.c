/*
 * protobuf.c
 *	  Events and measures as protobuf messages.
 *
 * protobuf-c writes messages and wire.c reads them, which can say what is
 * wrong with a message and where.  Both know the messages from usage.proto
 * alone.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/eventform.h"
#include "core/messages.h"
#include "core/wire.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "types/event.h"
#include "types/protobuf.h"
#include "types/usage.pb-c.h"
#include "types/wire_descriptor.h"

PG_FUNCTION_INFO_V1(meter_event_recv);
PG_FUNCTION_INFO_V1(meter_event_send);
PG_FUNCTION_INFO_V1(meter_event_from_protobuf);
PG_FUNCTION_INFO_V1(meter_event_to_protobuf);
PG_FUNCTION_INFO_V1(meter_events_from_protobuf_stream);
PG_FUNCTION_INFO_V1(meter_events_from_protobuf_batch);
PG_FUNCTION_INFO_V1(meter_measures_from_protobuf_stream);

/* --- messages ----------------------------------------------------------- */

/* Return the description of a message, as wire.c reads it. */
const MeterWireMessage *
meter_protobuf(MeterProtobuf message)
{
	static const ProtobufCMessageDescriptor *const descriptors[METER_PROTOBUFS] = {
		&meter__usage_event__descriptor,
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

/* Describe what is wrong with a message. */
char *
meter_protobuf_reason(MeterProtobuf message, const MeterWireError *error)
{
	MeterAttr	utf8 = {error->problem, (int32) strlen(error->problem)};
	char	   *problem = TextDatumGetCString(meter_event_text(utf8));

	if (error->field == NULL)
		return psprintf("protobuf message %s: %s %s, at byte %zu",
						meter_protobuf(message)->name, error->subject,
						problem, error->offset);
	return psprintf("protobuf message %s: field \"%s\" %s, at byte %zu",
					meter_protobuf(message)->name, error->field, problem,
					error->offset);
}

/* Raise what is wrong with a message. */
pg_noreturn static void
refuse(MeterProtobuf message, const MeterWireError *error)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid %s", meter_protobuf_reason(message, error)),
			 errdetail("Bytes are counted from 0.")));
}

/* Write bytes as bytea shows them. */
char *
meter_protobuf_hex(const uint8 *bytes, size_t length)
{
	char	   *text = palloc_extended(2 * length + 3, MCXT_ALLOC_HUGE);

	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode((const char *) bytes, length, text + 2)] = '\0';
	return text;
}

/* Return the bytes of a bytea argument, and their number. */
static const uint8 *
bytes_arg(FunctionCallInfo fcinfo, int argument, size_t *length)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(argument);

	*length = VARSIZE_ANY_EXHDR(value);
	return (const uint8 *) VARDATA_ANY(value);
}

/* Make a bytea of a message. */
static bytea *
pack(const ProtobufCMessage *message)
{
	size_t		length = protobuf_c_message_get_packed_size(message);
	bytea	   *bytes = palloc(VARHDRSZ + length);

	SET_VARSIZE(bytes, VARHDRSZ + length);
	protobuf_c_message_pack(message, (uint8_t *) VARDATA(bytes));
	return bytes;
}

/* --- events ------------------------------------------------------------- */

/* Read the message in the bytes from begin up to end as an event. */
static Datum
read_event(const uint8 *bytes, size_t begin, size_t end)
{
	MeterUsageEvent event;
	MeterWireError error;

	if (!meter_read_usage_event(meter_protobuf(METER_USAGE_EVENT), bytes,
								begin, end, &event, &error))
		refuse(METER_USAGE_EVENT, &error);
	return PointerGetDatum(meter_event_pack(&event));
}

/*
 * Make an event of a message UsageEvent, as COPY BINARY and clients send it.
 */
Datum
meter_event_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	size_t		length = message->len - message->cursor;
	const uint8 *bytes = (const uint8 *) pq_getmsgbytes(message, (int) length);
	MeterUsageEvent event;
	MeterWireError error;
	char	   *raw;

	if (likely(meter_read_usage_event(meter_protobuf(METER_USAGE_EVENT),
									  bytes, 0, length, &event, &error)))
		return PointerGetDatum(meter_event_pack(&event));
	raw = meter_on_bad_event == METER_BAD_EVENT_DIVERT ?
		meter_protobuf_hex(bytes, length) : NULL;
	return meter_event_refuse(fcinfo, ERRCODE_INVALID_BINARY_REPRESENTATION,
							  raw, raw == NULL ? 0 : strlen(raw),
							  meter_protobuf_reason(METER_USAGE_EVENT, &error));
}

/* event_from_protobuf(message) */
Datum
meter_event_from_protobuf(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);

	return read_event(bytes, 0, length);
}

/* Fill a message with an event; its texts are copies. */
static void
fill_message(Meter__UsageEvent * message, Datum value)
{
	const ProtobufCMessageDescriptor *descriptor = &meter__usage_event__descriptor;
	MeterUsageEvent event;
	int			i;

	meter_event_unpack(PG_DETOAST_DATUM_PACKED(value), &event);
	meter__usage_event__init(message);
	if (pg_add_s64_overflow(event.time, METER_UNIX_EPOCH, &message->time))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time of the event is out of range for a UsageEvent")));
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = event.fields[meter_event_field_order[i]];

		if (!MeterAttrIsNull(field))
			*(char **) ((char *) message + descriptor->fields[i + 1].offset) =
				pnstrdup(field.data, field.len);
	}
}

/*
 * event_to_protobuf(event), which is also what clients get that ask for binary
 */
Datum
meter_event_to_protobuf(PG_FUNCTION_ARGS)
{
	Meter__UsageEvent message;

	fill_message(&message, PG_GETARG_DATUM(0));
	PG_RETURN_BYTEA_P(pack(&message.base));
}

/* Return an event as a message UsageEvent, as COPY BINARY and clients get it. */
Datum
meter_event_send(PG_FUNCTION_ARGS)
{
	return meter_event_to_protobuf(fcinfo);
}

/* Return a row with an event, and free the event. */
static void
return_event(ReturnSetInfo *info, Datum event)
{
	bool		isnull = false;

	tuplestore_putvalues(info->setResult, info->setDesc, &event, &isnull);
	pfree(DatumGetPointer(event));
	CHECK_FOR_INTERRUPTS();
}

/* events_from_protobuf_stream(stream) */
Datum
meter_events_from_protobuf_stream(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterWireReader reader;
	MeterWireValue message;
	MeterWireStep step;

	meter_return_begin(fcinfo);
	meter_wire_begin(&reader, meter_protobuf(METER_USAGE_EVENT), bytes, 0,
					 length);
	while ((step = meter_wire_next_delimited(&reader, &message)) == METER_WIRE_FIELD)
		return_event(info, read_event(bytes, message.offset,
									  message.offset + message.length));
	if (step == METER_WIRE_WRONG)
		refuse(METER_USAGE_EVENT, &reader.error);
	PG_RETURN_NULL();
}

/* events_from_protobuf_batch(batch) */
Datum
meter_events_from_protobuf_batch(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	int			field;

	meter_return_begin(fcinfo);
	meter_wire_begin(&reader, meter_protobuf(METER_USAGE_BATCH), bytes, 0,
					 length);
	while ((step = meter_wire_next(&reader, &field, &value)) == METER_WIRE_FIELD)
	{
		if (field == METER_BATCH_EVENT)
			return_event(info, read_event(bytes, value.offset,
										  value.offset + value.length));
	}
	if (step == METER_WIRE_WRONG)
		refuse(METER_USAGE_BATCH, &reader.error);
	PG_RETURN_NULL();
}

/* --- measures ----------------------------------------------------------- */

/* Write an address in its dotted form. */
Datum
meter_address_text(uint32 address, MeterAddressText *buffer)
{
	SET_VARSIZE(&buffer->text,
				VARHDRSZ + meter_write_address(address, VARDATA(&buffer->text)));
	return PointerGetDatum(buffer);
}

/* Make a numeric of a number that may be beyond int64. */
Datum
meter_uint64_numeric(uint64 number)
{
	char		text[MAXINT8LEN + 2];

	if (number <= (uint64) PG_INT64_MAX)
		return NumericGetDatum(int64_to_numeric((int64) number));
	snprintf(text, sizeof(text), UINT64_FORMAT, number);
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* measures_from_protobuf_stream(stream, milliseconds) */
Datum
meter_measures_from_protobuf_stream(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);
	bool		milliseconds = PG_GETARG_BOOL(1);
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterWireReader reader;
	MeterWireValue message;
	MeterWireStep step;
	MeterAddressText address;
	MeterIPMeasure measure;
	MeterWireError error;
	bool		nulls[4] = {false, false, false, false};
	Datum		values[4];

	meter_return_begin(fcinfo);
	meter_wire_begin(&reader, meter_protobuf(METER_IP_MEASURE), bytes, 0,
					 length);
	while ((step = meter_wire_next_delimited(&reader, &message)) == METER_WIRE_FIELD)
	{
		if (!meter_read_ip_measure(meter_protobuf(METER_IP_MEASURE), bytes,
								   message.offset,
								   message.offset + message.length,
								   milliseconds, &measure, &error))
			refuse(METER_IP_MEASURE, &error);
		values[0] = meter_address_text(measure.address, &address);
		values[1] = meter_uint64_numeric(measure.bytes);
		values[2] = TimestampTzGetDatum(measure.start);
		values[3] = TimestampTzGetDatum(measure.end);
		tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
		pfree(DatumGetPointer(values[1]));
		CHECK_FOR_INTERRUPTS();
	}
	if (step == METER_WIRE_WRONG)
		refuse(METER_IP_MEASURE, &reader.error);
	PG_RETURN_NULL();
}
