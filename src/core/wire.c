/*
 * wire.c
 *	  Reading protobuf's wire format, with the reason and place of what is
 *	  wrong.
 *
 * protobuf-c says only that a message is bad.  Here every length is checked
 * against what remains before it is used, nothing is allocated, and values
 * point into the bytes that were read.  Fields that the message does not know
 * are skipped, as protobuf demands; of a field that comes twice the last one
 * counts.  protobuf accepts numbers that are too large, this code does not.
 */
#include "core/wire.h"

/* How a field is written. */
typedef enum WireType
{
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_LENGTH = 2,
	WIRE_32BIT = 5
} WireType;

#define MAX_FIELD_NUMBER	0x1fffffff

/* Begin to read a message, or a stream of such messages. */
void
meter_wire_begin(MeterWireReader *reader, const MeterWireMessage *message,
				 const uint8 *bytes, size_t begin, size_t end)
{
	reader->message = message;
	reader->bytes = bytes;
	reader->at = begin;
	reader->end = end;
	memset(&reader->error, 0, sizeof(reader->error));
}

/* Report what is wrong with a field, or with something else. */
static MeterWireStep
wrong(MeterWireReader *reader, size_t offset, const MeterWireField *field,
	  const char *subject, const char *problem)
{
	reader->error.field = field == NULL ? NULL : field->name;
	reader->error.subject = subject;
	reader->error.problem = problem;
	reader->error.offset = offset;
	return METER_WIRE_WRONG;
}

/* Tags and lengths have 32 bits, and no more bytes than that takes. */
#define MAX_SHORT_VARINT	5

/* Read a number.  Returns NULL, or what is wrong with it. */
static inline const char *
read_varint(MeterWireReader *reader, uint64 *value)
{
	const uint8 *at = reader->bytes + reader->at;
	const uint8 *end = reader->bytes + reader->end;
	uint64		result = 0;
	int			shift;

	for (shift = 0; shift < 64; shift += 7)
	{
		uint8		byte;

		if (at == end)
			return "is cut short";
		byte = *at++;
		if (shift == 63 && byte > 1)
			return "is longer than 64 bits";
		result |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
		{
			reader->at = at - reader->bytes;
			*value = result;
			return NULL;
		}
	}
	return "is longer than 64 bits";
}

/*
 * Read a length, which must fit into what remains.  Returns NULL, or what is
 * wrong with it.
 */
static const char *
read_length(MeterWireReader *reader, MeterWireValue *value)
{
	uint64		length;
	size_t		start = reader->at;
	const char *problem = read_varint(reader, &length);

	if (problem != NULL)
		return problem;
	if (reader->at - start > MAX_SHORT_VARINT)
		return "has a length of more than 32 bits";
	if (length > reader->end - reader->at)
		return "is longer than what remains";
	value->offset = reader->at;
	value->data = reader->bytes + reader->at;
	value->length = (size_t) length;
	reader->at += (size_t) length;
	return NULL;
}

/*
 * Return the position of the first byte that is not UTF-8, or is zero; the
 * length if there is none.
 */
static size_t
first_not_utf8(const uint8 *text, size_t length)
{
	size_t		i = 0;

	while (i < length)
	{
		uint8		first = text[i];
		uint8		least = 0x80;
		uint8		greatest = 0xbf;
		size_t		more;
		size_t		j;

		if (first >= 0x01 && first < 0x80)
		{
			i++;
			continue;
		}
		if (first >= 0xc2 && first <= 0xdf)
			more = 1;
		else if (first >= 0xe0 && first <= 0xef)
			more = 2;
		else if (first >= 0xf0 && first <= 0xf4)
			more = 3;
		else
			return i;
		if (more >= length - i)
			return i;
		/* no overlong forms, no surrogates, nothing beyond U+10FFFF */
		if (first == 0xe0)
			least = 0xa0;
		else if (first == 0xed)
			greatest = 0x9f;
		else if (first == 0xf0)
			least = 0x90;
		else if (first == 0xf4)
			greatest = 0x8f;
		for (j = 1; j <= more; j++)
		{
			if (text[i + j] < least || text[i + j] > greatest)
				return i;
			least = 0x80;
			greatest = 0xbf;
		}
		i += more + 1;
	}
	return length;
}

/* Return the index of the field with a number, or -1. */
static inline int
find_field(const MeterWireMessage *message, uint64 number)
{
	int			i;

	/* where numbers start at 1 without gaps, which is usual */
	if (number <= (uint64) message->nfields &&
		message->fields[number - 1].number == number)
		return (int) number - 1;
	for (i = 0; i < message->nfields; i++)
	{
		if (message->fields[i].number == number)
			return i;
	}
	return -1;
}

/*
 * Skip the value of a field that is not known.  Returns NULL, or what is wrong
 * with it.
 */
static const char *
skip_value(MeterWireReader *reader, int type)
{
	MeterWireValue value;
	uint64		number;
	size_t		length;

	switch (type)
	{
		case WIRE_VARINT:
			return read_varint(reader, &number);
		case WIRE_LENGTH:
			return read_length(reader, &value);
		default:
			length = type == WIRE_64BIT ? 8 : 4;
			if (length > reader->end - reader->at)
				return "is cut short";
			reader->at += length;
			return NULL;
	}
}

/* Read the next field that the message knows; *field is its index. */
MeterWireStep
meter_wire_next(MeterWireReader *reader, int *field, MeterWireValue *value)
{
	while (reader->at < reader->end)
	{
		size_t		start = reader->at;
		const MeterWireField *known;
		const char *problem;
		uint64		tag;
		int			type;
		int			found;

		problem = read_varint(reader, &tag);
		if (problem == NULL && reader->at - start > MAX_SHORT_VARINT)
			problem = "is longer than 32 bits";
		if (problem != NULL)
			return wrong(reader, start, NULL, "a tag", problem);
		type = (int) (tag & 7);
		tag >>= 3;
		if (tag == 0 || tag > MAX_FIELD_NUMBER)
			return wrong(reader, start, NULL, "a tag", "has no valid field number");
		found = find_field(reader->message, tag);
		known = found < 0 ? NULL : &reader->message->fields[found];
		if (type != WIRE_VARINT && type != WIRE_LENGTH && type != WIRE_64BIT &&
			type != WIRE_32BIT)
			return wrong(reader, start, known, "an unknown field",
						 "is of a wire type that is not supported");
		start = reader->at;
		if (known == NULL)
		{
			problem = skip_value(reader, type);
			if (problem != NULL)
				return wrong(reader, start, NULL, "an unknown field", problem);
			continue;
		}

		if (type != (known->kind >= METER_WIRE_STRING ? WIRE_LENGTH :
					 WIRE_VARINT))
			return wrong(reader, start, known, NULL, "is of another wire type");
		if (type == WIRE_LENGTH)
		{
			problem = read_length(reader, value);
			if (problem != NULL)
				return wrong(reader, start, known, NULL, problem);
			if (known->kind == METER_WIRE_STRING)
			{
				size_t		bad = first_not_utf8(value->data, value->length);

				if (bad < value->length)
					return wrong(reader, value->offset + bad, known, NULL,
								 value->data[bad] == 0 ?
								 "holds a null byte" : "is not UTF-8");
			}
		}
		else
		{
			problem = read_varint(reader, &value->number);
			if (problem != NULL)
				return wrong(reader, start, known, NULL, problem);
			if ((known->kind == METER_WIRE_UINT32 &&
				 value->number > UINT32_MAX) ||
				(known->kind == METER_WIRE_BOOL && value->number > 1))
				return wrong(reader, start, known, NULL, "is out of range");
			value->offset = start;
		}
		*field = found;
		return METER_WIRE_FIELD;
	}
	return METER_WIRE_END;
}

/* Read the next message of a stream in which each has its length before it. */
MeterWireStep
meter_wire_next_delimited(MeterWireReader *reader, MeterWireValue *value)
{
	size_t		start = reader->at;
	const char *problem;

	if (reader->at == reader->end)
		return METER_WIRE_END;
	problem = read_length(reader, value);
	if (problem != NULL)
		return wrong(reader, start, NULL, "the length of a message", problem);
	return METER_WIRE_FIELD;
}

/*
 * Read a message whose fields do not repeat.  Bit i of *present says that
 * values[i] is there.
 */
bool
meter_wire_read(const MeterWireMessage *message, const uint8 *bytes,
				size_t begin, size_t end, MeterWireValue *values,
				uint32 *present, MeterWireError *error)
{
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	int			field;
	uint32		missing;

	meter_wire_begin(&reader, message, bytes, begin, end);
	*present = 0;
	while ((step = meter_wire_next(&reader, &field, &value)) == METER_WIRE_FIELD)
	{
		values[field] = value;
		*present |= (uint32) 1 << field;
	}
	missing = message->required & ~*present;
	if (step == METER_WIRE_END && missing != 0)
	{
		for (field = 0; !MeterWireHas(missing, field); field++)
			;
		step = wrong(&reader, end, &message->fields[field], NULL, "is missing");
	}
	*error = reader.error;
	return step == METER_WIRE_END;
}
