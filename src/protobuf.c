/*
 * protobuf.c
 *	  Events and measures as protobuf messages.
 *
 * Messages are written by protobuf-c and read by wire.c, which can say what
 * is wrong with one and where.  Both know them from usage.proto alone.
 */
#include "protobuf.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "spi.h"
#include "usage.pb-c.h"
#include "wire_descriptor.h"

PG_FUNCTION_INFO_V1(meter_measures_from_protobuf_stream);
PG_FUNCTION_INFO_V1(meter_measure_to_protobuf);
PG_FUNCTION_INFO_V1(meter_protobuf_delimited);

/* --- messages ----------------------------------------------------------- */

/* A message, described for wire.c. */
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

/* What is wrong with a message, as a sentence's end. */
char *
meter_protobuf_reason(MeterProtobuf message, const MeterWireError *error)
{
	if (error->field == NULL)
		return psprintf("protobuf message %s: %s %s, at byte %zu",
						meter_protobuf(message)->name, error->subject,
						error->problem, error->offset);
	return psprintf("protobuf message %s: field \"%s\" %s, at byte %zu",
					meter_protobuf(message)->name, error->field,
					error->problem, error->offset);
}

/* Raise it. */
static void pg_attribute_noreturn()
refuse(MeterProtobuf message, const MeterWireError *error)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid %s", meter_protobuf_reason(message, error)),
			 errdetail("Bytes are counted from 0.")));
}

/* Bytes as bytea shows them. */
char *
meter_protobuf_hex(const uint8 *bytes, size_t length)
{
	char	   *text = palloc_extended(2 * length + 3, MCXT_ALLOC_HUGE);

	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode((const char *) bytes, length, text + 2)] = '\0';
	return text;
}

/* The bytes of an argument; length of them. */
static const uint8 *
bytes_arg(FunctionCallInfo fcinfo, int argument, size_t *length)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(argument);

	*length = VARSIZE_ANY_EXHDR(value);
	return (const uint8 *) VARDATA_ANY(value);
}

/* A message as bytes. */
static bytea *
pack(const ProtobufCMessage *message)
{
	size_t		length = protobuf_c_message_get_packed_size(message);
	bytea	   *bytes = palloc(VARHDRSZ + length);

	SET_VARSIZE(bytes, VARHDRSZ + length);
	protobuf_c_message_pack(message, (uint8_t *) VARDATA(bytes));
	return bytes;
}

/* protobuf_delimited(message) */
Datum
meter_protobuf_delimited(PG_FUNCTION_ARGS)
{
	size_t		length;
	const uint8 *message = bytes_arg(fcinfo, 0, &length);
	uint8		prefix[10];
	int			prefixlen = meter_wire_length(length, prefix);
	bytea	   *bytes = palloc(VARHDRSZ + prefixlen + length);

	SET_VARSIZE(bytes, VARHDRSZ + prefixlen + length);
	memcpy(VARDATA(bytes), prefix, prefixlen);
	memcpy(VARDATA(bytes) + prefixlen, message, length);
	PG_RETURN_BYTEA_P(bytes);
}

/* --- measures ----------------------------------------------------------- */

/* An address in its dotted form. */
Datum
meter_address_text(uint32 address, MeterAddressText *buffer)
{
	SET_VARSIZE(&buffer->text,
				VARHDRSZ + meter_write_address(address, VARDATA(&buffer->text)));
	return PointerGetDatum(buffer);
}

/* A number that may be beyond int64. */
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

/* An instant as a field of IPMeasure. */
static uint64
unix_time(TimestampTz instant, bool milliseconds, const char *what)
{
	int64		unit = milliseconds ? 1000 : USECS_PER_SEC;
	int64		micros;

	if (pg_add_s64_overflow(instant, METER_UNIX_EPOCH, &micros) || micros < 0 ||
		TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range for an IPMeasure", what)));
	if (micros % unit != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a whole number of %s", what,
						milliseconds ? "milliseconds" : "seconds")));
	return (uint64) (micros / unit);
}

/* A number that an uint64 can hold. */
static uint64
parse_bytes(Datum numeric)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, numeric));
	char	   *end;
	uint64		number;

	errno = 0;
	number = strtoull(text, &end, 10);
	while (end > text && (*end == '.' || *end == '0'))
		end++;
	if (text[0] < '0' || text[0] > '9' || errno != 0 || *end != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value %s is not a number of bytes", text),
				 errdetail("It must be whole, from 0 to 18446744073709551615.")));
	return number;
}

/* measure_to_protobuf(resource, value, start_time, end_time, header, milliseconds) */
Datum
meter_measure_to_protobuf(PG_FUNCTION_ARGS)
{
	Meter__IPMeasure measure = METER__IPMEASURE__INIT;
	char	   *resource = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz start = PG_GETARG_TIMESTAMPTZ(2);
	TimestampTz end = PG_GETARG_TIMESTAMPTZ(3);
	int64		header = PG_GETARG_INT64(4);
	bool		milliseconds = PG_GETARG_BOOL(5);

	if (header < 0 || header > (int64) PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("header " INT64_FORMAT " is out of range for an IPMeasure",
						header)));
	if (end < start)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("end_time lies before start_time")));
	measure.header = (uint32) header;
	if (!meter_parse_address(resource, &measure.saddr))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("not an IPv4 address in dotted form: \"%s\"", resource)));
	measure.bytes = parse_bytes(PG_GETARG_DATUM(1));
	measure.start = unix_time(start, milliseconds, "start_time");
	measure.end = unix_time(end, milliseconds, "end_time");
	PG_RETURN_BYTEA_P(pack(&measure.base));
}
