/*
 * messages.c
 *	  What the messages of usage.proto say.
 */
#include "core/core.h"
#include "core/jsontext.h"
#include "core/messages.h"
#include "core/problem.h"
#include "core/record.h"
#include "core/wire.h"

/* Seconds of the Unix epoch: the years 1, 1971 and 10000 begin. */
#define YEAR_1		(-INT64_C(62135596800))
#define YEAR_1971	INT64_C(31536000)
#define YEAR_10000	UINT64_C(253402300800)

const MeterRecordMessage meter_record_messages[METER_RECORD_KINDS] = {
	{
		1, 10,
		{METER_RESOURCE, METER_ACTION, METER_SOURCE, METER_ID, METER_ACCOUNT,
			METER_ENTITY, METER_OFFERING, METER_VALUE, METER_ATTRIBUTES,
		METER_SEQUENCE}
	},
	{
		2, 7,
		{METER_RESOURCE, METER_SOURCE, METER_ID, METER_ACCOUNT, METER_ENTITY,
		METER_VALUE, METER_ATTRIBUTES}
	}
};

/* Fields of IPMeasure by their order in usage.proto. */
enum
{
	MEASURE_HEADER,
	MEASURE_SADDR,
	MEASURE_BYTES,
	MEASURE_START,
	MEASURE_END
};

/* Report what is wrong with a field. */
static bool
wrong(MeterWireError *error, const MeterWireMessage *message, int field,
	  size_t offset, const char *problem)
{
	error->field = message->fields[field].name;
	error->problem = problem;
	error->offset = offset;
	return false;
}

/* Keep what is wrong with attributes. */
static const char *
keep_reason(const char *reason)
{
	static const char start[] = "is not a JSON object: ";
	size_t		length = strlen(reason) + 1;
	char	   *text = palloc(sizeof(start) - 1 + length);

	memcpy(text, start, sizeof(start) - 1);
	memcpy(text + sizeof(start) - 1, reason, length);
	return text;
}

/* Of the years after 2001, seconds that are taken for microseconds. */
#define LEAST_SECONDS	INT64_C(1000000000)

/*
 * Say what is wrong with a time of a record; NULL: nothing.  Seconds and
 * milliseconds that are taken for microseconds lie in 1970, nanoseconds far in
 * the future.  What they name would be billed from there on, or never: so they
 * are refused.  The first minutes of 1970 are those of a clock that was not set.
 */
static const char *
wrong_time(int64 time)
{
	if (time >= (int64) YEAR_10000 * METER_SECOND)
		return "is past the year 9999: it is taken for microseconds";
	if (time >= LEAST_SECONDS && time < YEAR_1971 * METER_SECOND)
		return "is in the year 1970: it is taken for microseconds, and looks like milliseconds or seconds";
	if (time < YEAR_1 * METER_SECOND)
		return "is before the year 1: it is taken for microseconds";
	return NULL;
}

/* Read the times of a record, which come first in its message. */
static bool
read_times(const MeterWireMessage *message, const MeterWireValue *values,
		   int ntimes, MeterRecord *record, MeterWireError *error)
{
	int			i;

	for (i = 0; i < ntimes; i++)
	{
		int64		time = (int64) values[i].number;
		const char *reason = wrong_time(time);

		if (reason == NULL && i > 0 && time - METER_UNIX_EPOCH < record->time)
			reason = "lies before start_time";
		if (reason != NULL)
			return wrong(error, message, i, values[i].offset, reason);
		if (i == 0)
			record->time = time - METER_UNIX_EPOCH;
		else
			record->end = time - METER_UNIX_EPOCH;
	}
	return true;
}

/* Read a field of a record.  Returns NULL, or what is wrong with it. */
static const char *
read_field(MeterRecord *record, MeterField field, const MeterWireValue *value,
		   size_t *offset)
{
	MeterAttr  *to = &record->fields[field];
	MeterProblem problem;
	bool		integer;

	*offset = value->offset;
	if (field == METER_SEQUENCE)
	{
		*to = meter_sequence_write((int64) value->number,
								   palloc(METER_SEQUENCE_SIZE));
		return NULL;
	}
	if (value->length > METER_MAX_RECORD)
		return "is too long";
	to->data = (const char *) value->data;
	to->len = (int32) value->length;
	if (to->len == 0 &&
		MeterHasField(meter_record_forms[record->kind].required, field))
		return "is empty";
	if (field == METER_VALUE &&
		meter_number_parse(to->data, value->length, to, &integer) != NULL)
		return "is not a decimal number";
	if (field == METER_ATTRIBUTES &&
		!meter_attributes_from_json(record->kind, to->data, value->length, to,
									&problem))
	{
		*offset += problem.position;
		return keep_reason(problem.reason);
	}
	return NULL;
}

/*
 * Read a UsageEvent or UsageMeasure from the bytes of begin up to end.  Texts
 * of the record point into these bytes, or are allocated.
 */
bool
meter_read_usage_record(const MeterWireMessage *message, MeterRecordKind kind,
						const uint8 *bytes, size_t begin, size_t end,
						MeterRecord *record, MeterWireError *error)
{
	const MeterRecordMessage *layout = &meter_record_messages[kind];
	MeterWireValue values[METER_WIRE_FIELDS];
	MeterProblem problem;
	uint32		present;
	int			i;

	if (!meter_wire_read(message, bytes, begin, end, values, &present, error))
		return false;
	meter_record_init(record, kind);
	if (!read_times(message, values, layout->ntimes, record, error))
		return false;
	for (i = 0; i < layout->nfields; i++)
	{
		int			field = layout->ntimes + i;
		const char *reason;
		size_t		offset;

		if (!MeterWireHas(present, field))
			continue;
		reason = read_field(record, layout->fields[i], &values[field], &offset);
		if (reason != NULL)
			return wrong(error, message, field, offset, reason);
	}
	if (!meter_record_check(record, &problem))
	{
		/* all fields are right, so the record is too long as a whole */
		error->field = NULL;
		error->subject = kind == METER_EVENT_RECORD ? "the event" : "the measure";
		error->problem = "is too long";
		error->offset = begin;
		return false;
	}
	return true;
}

/*
 * Read an instant of an IPMeasure.  Milliseconds that are taken for seconds
 * lie far in the future, and nobody would notice that they are never billed:
 * so they are refused.
 */
static const char *
read_instant(const MeterWireValue *value, bool milliseconds, int64 *instant)
{
	if (!milliseconds && value->number >= YEAR_10000)
		return "is past the year 9999: it is taken for seconds unless milliseconds are asked for";
	if (milliseconds && value->number >= YEAR_10000 * 1000)
		return "is past the year 9999: it is taken for milliseconds";
	*instant = (int64) value->number *
		(milliseconds ? 1000 : METER_SECOND) - METER_UNIX_EPOCH;
	return NULL;
}

/* Read an IPMeasure from the bytes of begin up to end. */
bool
meter_read_ip_measure(const MeterWireMessage *message, const uint8 *bytes,
					  size_t begin, size_t end, bool milliseconds,
					  MeterIPMeasure *measure, MeterWireError *error)
{
	MeterWireValue values[METER_WIRE_FIELDS];
	uint32		present;
	int			field = MEASURE_START;
	const char *problem;

	if (!meter_wire_read(message, bytes, begin, end, values, &present, error))
		return false;
	measure->header = (uint32) values[MEASURE_HEADER].number;
	measure->address = (uint32) values[MEASURE_SADDR].number;
	measure->bytes = values[MEASURE_BYTES].number;
	problem = read_instant(&values[field], milliseconds, &measure->start);
	if (problem == NULL)
	{
		field = MEASURE_END;
		problem = read_instant(&values[field], milliseconds, &measure->end);
	}
	if (problem == NULL && measure->end < measure->start)
		problem = "lies before start";
	if (problem == NULL)
		return true;
	return wrong(error, message, field, values[field].offset, problem);
}

/*
 * Write an address, network order, in its dotted form; returns its length,
 * at most METER_ADDRESS_LENGTH.
 */
int
meter_write_address(uint32 address, char *text)
{
	char	   *at = text;
	int			shift;

	for (shift = 24; shift >= 0; shift -= 8)
	{
		uint32		octet = (address >> shift) & 0xff;

		if (octet >= 100)
			*at++ = (char) ('0' + octet / 100);
		if (octet >= 10)
			*at++ = (char) ('0' + octet / 10 % 10);
		*at++ = (char) ('0' + octet % 10);
		if (shift > 0)
			*at++ = '.';
	}
	return (int) (at - text);
}
