/*
 * protobuf.c
 *	  Promises: random events and measures that protobuf-c packs are read as
 *	  what they are, alone, in streams and in batches, whatever unknown fields
 *	  are among them; what is cut short or damaged is refused with position
 *	  and reason, or says something else, and nothing worse.
 *
 * The seed is printed; a first argument sets it.
 */
#include "standalone/unit.h"

#include "test/fuzz/protobuf.h"

#define RECORDS		1000
#define DAMAGES		40

static MeterAttr
attr(const char *text)
{
	return (MeterAttr)
	{
		text, (int32) strlen(text)
	};
}

static void
random_record(MeterRecord *record)
{
	static const char *const texts[] = {"a", "start", "7a070a3d-66ff-4658-ab08-fe3cecd7c70f", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "x\"y\\z", "a longer text, of more than one hundred and twenty-seven bytes, so that its length is no longer one byte but two of them, is it not"};
	static const char *const values[] = {"0", "1", "-2.5", "1000000000000000000000", "0.000001"};
	static const char *const sequences[] = {"0", "7", "-300", "9223372036854775807", "-9223372036854775808"};
	static const char *const attributes[] = {"{\"a\":1}", "{\"a\":{\"b\":[1,\"x\",null,true]},\"c\":\"\xc3\xa4\"}"};
	const MeterRecordForm *form;
	int			i;

	meter_record_init(record, (MeterRecordKind) below(METER_RECORD_KINDS));
	form = &meter_record_forms[record->kind];
	record->time = (int64) (random_number() % UINT64_C(4000000000000000)) - INT64_C(2000000000000000);
	/* not in 1970, which would be milliseconds */
	if (record->time + METER_UNIX_EPOCH >= 0 &&
		record->time + METER_UNIX_EPOCH < 366 * METER_DAY)
		record->time += 366 * METER_DAY;
	if (form->times[1] != NULL)
		record->end = Max(record->time, 366 * METER_DAY - METER_UNIX_EPOCH) +
			(int64) below(1000000) * 1000;
	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (!MeterHasField(form->fields, i) ||
			(!MeterHasField(form->required, i) && below(2)))
			continue;
		if (i == METER_VALUE)
			record->fields[i] = attr(values[below(5)]);
		else if (i == METER_SEQUENCE)
			record->fields[i] = attr(sequences[below(5)]);
		else if (i == METER_ATTRIBUTES)
			record->fields[i] = attr(attributes[below(2)]);
		else
			record->fields[i] = attr(texts[below(6)]);
	}
}

/* A field that no message has. */
static size_t
add_unknown(uint8 *bytes)
{
	static const uint8 fields[4][12] = {
		{0xd8, 0x02, 0xff, 0x01},
		{0xd9, 0x02, 1, 2, 3, 4, 5, 6, 7, 8},
		{0xda, 0x02, 0x02, 'x', 'y'},
		{0xdd, 0x02, 1, 2, 3, 4}
	};
	static const size_t lengths[4] = {4, 10, 5, 6};
	int			which = below(4);

	memcpy(bytes, fields[which], lengths[which]);
	return lengths[which];
}

/* Whatever is done to the bytes, they are read without harm. */
static void
damage(const uint8 *bytes, size_t length)
{
	MeterRecord record;
	MeterIPMeasure measure;
	size_t		i;
	int			times;

	for (i = 0; i < length; i++)
	{
		(void) try_record(METER_EVENT_RECORD, copy(bytes, i), 0, i, &record);
		(void) try_record(METER_MEASURE_RECORD, copy(bytes, i), 0, i, &record);
	}
	for (times = 0; times < DAMAGES; times++)
	{
		uint8	   *damaged = copy(bytes, length);
		int			hits = 1 + below(3);

		while (hits-- > 0)
			damaged[below((int) length)] ^= (uint8) (1 << below(8));
		(void) try_record((MeterRecordKind) below(METER_RECORD_KINDS), damaged, 0, length, &record);
		(void) try_measure(damaged, 0, length, below(2), &measure);
		(void) try_stream(damaged, length, below(USAGE_BATCH));
		try_batch(damaged, length);
	}
}

/* Write a length as a varint; returns how many bytes. */
static size_t
write_length(size_t value, uint8 *bytes)
{
	size_t		length = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[length++] = (uint8) (value | 0x80);
	bytes[length++] = (uint8) value;
	return length;
}

/* Write bytes in base 64; returns where the text ends. */
static char *
put_base64(char *to, const uint8 *bytes, size_t length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t		i;

	for (i = 0; i < length; i += 3)
	{
		uint32		bits = (uint32) bytes[i] << 16 |
		(i + 1 < length ? (uint32) bytes[i + 1] << 8 : 0) |
		(i + 2 < length ? bytes[i + 2] : 0);

		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = i + 1 < length ? digits[bits >> 6 & 63] : '=';
		*to++ = i + 2 < length ? digits[bits & 63] : '=';
	}
	return to;
}

/* Read the message of a CloudEvent. */
static const char *
read_payload(const uint8 *bytes, size_t length, MeterRecord *record)
{
	MeterWireError error;

	return meter_read_usage_record(&messages[record->kind], record->kind, bytes,
								   0, length, record, &error) ? NULL : error.problem;
}

/* A CloudEvent that carries a message says what the message does. */
static void
carry(const MeterRecord *record, const uint8 *packed, size_t length)
{
	static const char envelope[] = "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"s\",\"type\":\"t\",\"datacontenttype\":\"application/protobuf\",\"data_base64\":\"";
	MeterTextOptions options = {record->kind, read_payload};
	char	   *text = palloc(sizeof(envelope) + 2 * length + 10);
	char	   *end = text + sizeof(envelope) - 1;
	MeterProblem problem;
	MeterRecord read;
	int			i;

	memcpy(text, envelope, sizeof(envelope));
	end = put_base64(end, packed, length);
	*end++ = '"';
	*end++ = '}';
	promise(meter_record_from_text(&options, text, end - text, &read, &problem),
			"a CloudEvent is read");
	promise(read.time == record->time && read.end == record->end,
			"with the times of its message");
	for (i = 0; i < METER_SOURCE; i++)
		promise(read.fields[i].len == record->fields[i].len &&
				(read.fields[i].len <= 0 ||
				 memcmp(read.fields[i].data, record->fields[i].data, read.fields[i].len) == 0),
				"and its fields");
	promise(read.fields[METER_ID].len == 1 && *read.fields[METER_ID].data == 'i',
			"but the envelope's name");
}

static void
one_record(void)
{
	MeterRecord record;
	MeterRecord again;
	uint8	   *packed;
	uint8	   *stream;
	size_t		length;
	size_t		prefix;
	size_t		i;

	random_record(&record);
	packed = pack_record(&record, &length);
	promise(try_record(record.kind, copy(packed, length), 0, length, &again) &&
			meter_record_order(&record, &again) == 0, "a record is read");
	carry(&record, packed, length);

	stream = palloc(2 * (length + 40));
	prefix = write_length(length, stream);
	memcpy(stream + prefix, packed, length);
	memcpy(stream + prefix + length, stream, prefix + length);
	promise(try_stream(copy(stream, 2 * (prefix + length)),
					   2 * (prefix + length), record.kind) == 2, "a stream is read");
	for (i = 0; i < prefix + length; i++)
		promise(try_stream(copy(stream, prefix + length + i),
						   prefix + length + i, record.kind) == 1,
				"what is cut short is not taken");

	i = add_unknown(stream);
	memcpy(stream + i, packed, length);
	i += length;
	i += add_unknown(stream + i);
	promise(try_record(record.kind, copy(stream, i), 0, i, &again) &&
			meter_record_order(&record, &again) == 0, "unknown fields are skipped");
	damage(packed, length);
}

static void
one_measure(void)
{
	Meter__IPMeasure message = METER__IPMEASURE__INIT;
	MeterIPMeasure measure;
	uint8		bytes[60];
	size_t		length;
	size_t		i;

	message.header = (uint32) random_number() >> below(32);
	message.saddr = (uint32) random_number();
	message.bytes = random_number() >> below(64);
	message.start = random_number() % UINT64_C(253402300800) >> below(30);
	message.end = message.start + (uint64) below(3600);
	if (message.end >= UINT64_C(253402300800))
		message.end = message.start;
	length = meter__ipmeasure__pack(&message, bytes);
	promise(try_measure(copy(bytes, length), 0, length, false, &measure),
			"a measure is read");
	promise(measure.bytes == message.bytes && measure.address == message.saddr,
			"as what it is");
	for (i = 0; i < length; i++)
		promise(!try_measure(copy(bytes, i), 0, i, false, &measure),
				"what is cut short is refused");
	damage(bytes, length);
}

int
main(int argc, char **argv)
{
	int			i;

	unit_seed(argc, argv);
	describe_messages();
	for (i = 0; i < RECORDS; i++)
	{
		one_record();
		one_measure();
	}
	return 0;
}
