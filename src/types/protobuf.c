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
#include "core/messages.h"
#include "core/record.h"
#include "core/wire.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "types/protobuf.h"
#include "types/record.h"
#include "types/usage.pb-c.h"
#include "types/usage_messages.h"

PG_FUNCTION_INFO_V1(meter_event_recv);
PG_FUNCTION_INFO_V1(meter_measure_recv);
PG_FUNCTION_INFO_V1(meter_record_send);
PG_FUNCTION_INFO_V1(meter_event_from_protobuf);
PG_FUNCTION_INFO_V1(meter_measure_from_protobuf);
PG_FUNCTION_INFO_V1(meter_events_from_protobuf_stream);
PG_FUNCTION_INFO_V1(meter_usage_measures_from_protobuf_stream);
PG_FUNCTION_INFO_V1(meter_events_from_protobuf_batch);
PG_FUNCTION_INFO_V1(meter_measures_from_protobuf_stream);

/* --- messages ----------------------------------------------------------- */

/* Describe what is wrong with a message, in the server's encoding. */
char *
meter_protobuf_reason(MeterProtobuf message, const MeterWireError *error)
{
	MeterAttr	problem = meter_name_attr(meter_protobuf_problem(message, error));

	return TextDatumGetCString(meter_record_text(problem));
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

/* --- records ------------------------------------------------------------ */

/* Read the message in the bytes from begin up to end as a record. */
static Datum
read_record(MeterRecordKind kind, const uint8 *bytes, size_t begin, size_t end)
{
	MeterProtobuf message = meter_protobuf_of(kind);
	MeterRecord record;
	MeterWireError error;

	if (!meter_read_usage_record(meter_protobuf(message), kind, bytes, begin,
								 end, &record, &error))
		refuse(message, &error);
	return PointerGetDatum(meter_record_pack(&record));
}

/* Make a record of a message, as COPY BINARY and clients send it. */
static Datum
receive(FunctionCallInfo fcinfo, MeterRecordKind kind)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	size_t		length = buffer->len - buffer->cursor;
	const uint8 *bytes = (const uint8 *) pq_getmsgbytes(buffer, (int) length);
	MeterProtobuf message = meter_protobuf_of(kind);
	MeterRecord record;
	MeterWireError error;
	char	   *raw;

	if (likely(meter_read_usage_record(meter_protobuf(message), kind, bytes, 0,
									   length, &record, &error)))
		return PointerGetDatum(meter_record_pack(&record));
	raw = meter_on_bad_event == METER_BAD_EVENT_DIVERT ?
		meter_protobuf_hex(bytes, length) : NULL;
	return meter_record_refuse(fcinfo, kind,
							   ERRCODE_INVALID_BINARY_REPRESENTATION,
							   raw, raw == NULL ? 0 : strlen(raw),
							   meter_protobuf_reason(message, &error));
}

/* Make an event of a message UsageEvent. */
Datum
meter_event_recv(PG_FUNCTION_ARGS)
{
	return receive(fcinfo, METER_EVENT_RECORD);
}

/* Make a measure of a message UsageMeasure. */
Datum
meter_measure_recv(PG_FUNCTION_ARGS)
{
	return receive(fcinfo, METER_MEASURE_RECORD);
}

/* event_from_protobuf(message) */
Datum
meter_event_from_protobuf(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);

	return read_record(METER_EVENT_RECORD, bytes, 0, length);
}

/* measure_from_protobuf(message) */
Datum
meter_measure_from_protobuf(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);

	return read_record(METER_MEASURE_RECORD, bytes, 0, length);
}

/* Return a time as a message has it. */
static int64
message_time(int64 time, MeterRecordKind kind, int which)
{
	int64		unix_time;

	if (pg_add_s64_overflow(time, METER_UNIX_EPOCH, &unix_time))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("%s of the %s is out of range for a %s",
						meter_record_forms[kind].times[which],
						meter_record_forms[kind].name,
						meter_protobuf(meter_protobuf_of(kind))->name)));
	return unix_time;
}

/*
 * Fill the fields of a message behind its times from a record; texts are
 * copies.
 */
static void
fill_fields(ProtobufCMessage *message, const MeterRecord *record)
{
	const MeterRecordMessage *layout = &meter_record_messages[record->kind];
	int			i;

	for (i = 0; i < layout->nfields; i++)
	{
		const ProtobufCFieldDescriptor *to = &message->descriptor->fields[layout->ntimes + i];
		MeterAttr	field = record->fields[layout->fields[i]];
		char	   *place = (char *) message + to->offset;

		if (MeterAttrIsNull(field))
			continue;
		if (to->type == PROTOBUF_C_TYPE_INT64)
			*(protobuf_c_boolean *) ((char *) message + to->quantifier_offset) =
				meter_sequence_read(field, (int64 *) place);
		else
			*(char **) place = pnstrdup(field.data, field.len);
	}
}

/*
 * event_to_protobuf(event), measure_to_protobuf(measure): also what COPY
 * BINARY gets, and clients that ask for binary
 */
Datum
meter_record_send(PG_FUNCTION_ARGS)
{
	Meter__UsageEvent event = METER__USAGE_EVENT__INIT;
	Meter__UsageMeasure measure = METER__USAGE_MEASURE__INIT;
	MeterRecord record;

	meter_record_unpack(PG_GETARG_VARLENA_PP(0), &record);
	if (record.kind == METER_EVENT_RECORD)
	{
		event.time = message_time(record.time, record.kind, 0);
		fill_fields(&event.base, &record);
		PG_RETURN_BYTEA_P(pack(&event.base));
	}
	measure.start_time = message_time(record.time, record.kind, 0);
	measure.end_time = message_time(record.end, record.kind, 1);
	fill_fields(&measure.base, &record);
	PG_RETURN_BYTEA_P(pack(&measure.base));
}

/* Return a row with a record, and free the record. */
static void
return_record(ReturnSetInfo *info, Datum record)
{
	bool		isnull = false;

	tuplestore_putvalues(info->setResult, info->setDesc, &record, &isnull);
	pfree(DatumGetPointer(record));
	CHECK_FOR_INTERRUPTS();
}

/* Return the records of a stream of messages. */
static Datum
return_stream(FunctionCallInfo fcinfo, MeterRecordKind kind)
{
	size_t		length;
	const uint8 *bytes = bytes_arg(fcinfo, 0, &length);
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterProtobuf message = meter_protobuf_of(kind);
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;

	meter_return_begin(fcinfo);
	meter_wire_begin(&reader, meter_protobuf(message), bytes, 0, length);
	while ((step = meter_wire_next_delimited(&reader, &value)) == METER_WIRE_FIELD)
		return_record(info, read_record(kind, bytes, value.offset,
										value.offset + value.length));
	if (step == METER_WIRE_WRONG)
		refuse(message, &reader.error);
	PG_RETURN_NULL();
}

/* events_from_protobuf_stream(stream) */
Datum
meter_events_from_protobuf_stream(PG_FUNCTION_ARGS)
{
	return return_stream(fcinfo, METER_EVENT_RECORD);
}

/* usage_measures_from_protobuf_stream(stream) */
Datum
meter_usage_measures_from_protobuf_stream(PG_FUNCTION_ARGS)
{
	return return_stream(fcinfo, METER_MEASURE_RECORD);
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
			return_record(info, read_record(METER_EVENT_RECORD, bytes,
											value.offset,
											value.offset + value.length));
	}
	if (step == METER_WIRE_WRONG)
		refuse(METER_USAGE_BATCH, &reader.error);
	PG_RETURN_NULL();
}

/* --- measures of addresses ---------------------------------------------- */

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
