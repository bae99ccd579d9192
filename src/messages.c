/*
 * messages.c
 *	  What the messages of usage.proto say.
 */
#include "messages.h"

/* The first second after the year 9999. */
#define YEAR_10000	UINT64_C(253402300800)

/* Fields of IPMeasure by their order in usage.proto. */
enum
{
	MEASURE_HEADER,
	MEASURE_SADDR,
	MEASURE_BYTES,
	MEASURE_START,
	MEASURE_END
};

/*
 * An instant of an IPMeasure.  Milliseconds that are taken for seconds lie
 * far in the future; nobody would notice that they are never billed.
 */
static const char *
read_instant(const MeterWireValue *value, bool milliseconds, int64 *instant)
{
	if (!milliseconds && value->number >= YEAR_10000)
		return "is past the year 9999: it is taken for seconds unless milliseconds are asked for";
	if (milliseconds && value->number >= (uint64) (METER_LIMIT / 1000))
		return "is out of range";
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
	error->problem = problem;
	error->field = message->fields[field].name;
	error->offset = values[field].offset;
	return false;
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

/* Read an address in its dotted form, as it is written. */
bool
meter_parse_address(const char *text, uint32 *address)
{
	int			octets;

	*address = 0;
	for (octets = 1; octets <= 4; octets++)
	{
		uint32		octet = 0;
		int			digits = 0;

		while (*text >= '0' && *text <= '9' && digits < 3)
		{
			octet = octet * 10 + (uint32) (*text++ - '0');
			digits++;
		}
		if (digits == 0 || octet > 255 || (digits > 1 && text[-digits] == '0'))
			return false;
		*address = *address << 8 | octet;
		if (*text++ != (octets == 4 ? '\0' : '.'))
			return false;
	}
	return true;
}
