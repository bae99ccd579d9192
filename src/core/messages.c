/*
 * messages.c
 *	  What the messages of usage.proto say.
 */
#include "core/core.h"
#include "core/eventform.h"
#include "core/jsontext.h"
#include "core/messages.h"
#include "core/problem.h"
#include "core/wire.h"

/* Seconds of the Unix epoch: the years 1, 1971 and 10000 begin. */
#define YEAR_1		(-INT64_C(62135596800))
#define YEAR_1971	INT64_C(31536000)
#define YEAR_10000	UINT64_C(253402300800)

/* Fields of UsageEvent by their order in usage.proto. */
enum
{
	EVENT_TIME,
	EVENT_RESOURCE,
	EVENT_ACTION,
	EVENT_SOURCE,
	EVENT_ID,
	EVENT_ACCOUNT,
	EVENT_ENTITY,
	EVENT_OFFERING,
	EVENT_VALUE,
	EVENT_ATTRIBUTES,
	EVENT_FIELDS
};

/*
 * The fields of an event that the fields of UsageEvent after the time stand
 * for.
 */
const MeterField meter_event_field_order[METER_NFIELDS] = {
	METER_RESOURCE, METER_ACTION, METER_SOURCE, METER_ID, METER_ACCOUNT,
	METER_ENTITY, METER_OFFERING, METER_VALUE, METER_ATTRIBUTES
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
 * Say what is wrong with the time of a UsageEvent; NULL: nothing.  Seconds and
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

/*
 * Read a UsageEvent from the bytes of begin up to end.  Texts of the event
 * point into these bytes, or are allocated.
 */
bool
meter_read_usage_event(const MeterWireMessage *message, const uint8 *bytes,
					   size_t begin, size_t end, MeterUsageEvent *event,
					   MeterWireError *error)
{
	MeterWireValue values[METER_WIRE_FIELDS];
	MeterProblem problem;
	const char *reason;
	uint32		present;
	int64		time;
	bool		integer;
	int			i;

	if (!meter_wire_read(message, bytes, begin, end, values, &present, error))
		return false;

	meter_event_init(event);
	time = (int64) values[EVENT_TIME].number;
	reason = wrong_time(time);
	if (reason != NULL)
		return wrong(error, message, EVENT_TIME, values[EVENT_TIME].offset,
					 reason);
	event->time = time - METER_UNIX_EPOCH;
	for (i = EVENT_RESOURCE; i < EVENT_FIELDS; i++)
	{
		MeterAttr  *field = &event->fields[meter_event_field_order[i - 1]];
		const MeterWireValue *value = &values[i];

		if (!MeterWireHas(present, i))
			continue;
		if (value->length > METER_MAX_EVENT)
			return wrong(error, message, i, value->offset, "is too long");
		field->data = (const char *) value->data;
		field->len = (int32) value->length;
		if (i <= EVENT_ACTION && field->len == 0)
			return wrong(error, message, i, value->offset, "is empty");
	}
	if (MeterWireHas(present, EVENT_VALUE))
	{
		reason = meter_number_parse((const char *) values[EVENT_VALUE].data,
									values[EVENT_VALUE].length,
									&event->fields[METER_VALUE], &integer);
		if (reason != NULL)
			return wrong(error, message, EVENT_VALUE,
						 values[EVENT_VALUE].offset,
						 "is not a decimal number");
	}
	if (MeterWireHas(present, EVENT_ATTRIBUTES))
	{
		const MeterWireValue *value = &values[EVENT_ATTRIBUTES];

		if (!meter_attributes_from_json((const char *) value->data,
										value->length,
										&event->fields[METER_ATTRIBUTES],
										&problem))
			return wrong(error, message, EVENT_ATTRIBUTES,
						 value->offset + problem.position,
						 keep_reason(problem.reason));
	}
	if (!meter_event_check(event, &problem))
	{
		/* all fields are right, so the event is too long as a whole */
		error->field = NULL;
		error->subject = "the event";
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
