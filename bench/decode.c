/*
 * decode.c
 *	  Decoding a stream of measures: messages.c against a plain loop over
 *	  protobuf-c's own unpack.
 *
 * The argument is a file of messages IPMeasure, each with its length before
 * it.  Both take turns, nine rounds; prints the median milliseconds of each.
 * Ours also checks the times and writes the address as text.
 */
#include <stdio.h>
#include <time.h>

#include "core/messages.h"
#include "types/usage.pb-c.h"
#include "types/wire_descriptor.h"

#define ROUNDS	9

static MeterWireMessage description;

static double
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec * 1e3 + (double) now.tv_nsec / 1e6;
}

static uint64
unpack_all(const uint8 *bytes, size_t size)
{
	size_t		at = 0;
	uint64		sum = 0;

	while (at < size)
	{
		Meter__IPMeasure *measure;
		size_t		length = 0;
		int			shift = 0;
		uint8		byte;

		do
		{
			byte = bytes[at++];
			length |= (size_t) (byte & 0x7f) << shift;
			shift += 7;
		} while (byte & 0x80);
		measure = meter__ipmeasure__unpack(NULL, length, bytes + at);
		if (measure == NULL)
			exit(1);
		sum += measure->bytes;
		meter__ipmeasure__free_unpacked(measure, NULL);
		at += length;
	}
	return sum;
}

static uint64
read_all(const uint8 *bytes, size_t size)
{
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireError error;
	MeterIPMeasure measure;
	char		address[METER_ADDRESS_LENGTH];
	uint64		sum = 0;

	meter_wire_begin(&reader, &description, bytes, 0, size);
	while (meter_wire_next_delimited(&reader, &value) == METER_WIRE_FIELD)
	{
		if (!meter_read_ip_measure(&description, bytes, value.offset,
								   value.offset + value.length, false,
								   &measure, &error))
			exit(1);
		sum += measure.bytes + (meter_write_address(measure.address, address) < 7);
	}
	return sum;
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
	FILE	   *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	uint8	   *bytes;
	size_t		size;
	double		theirs[ROUNDS];
	double		ours[ROUNDS];
	int			round;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		return 1;
	size = (size_t) ftell(file);
	rewind(file);
	bytes = malloc(size);
	if (bytes == NULL || fread(bytes, 1, size, file) != size ||
		!meter_wire_describe(&description, &meter__ipmeasure__descriptor))
		return 1;
	for (round = 0; round < ROUNDS; round++)
	{
		double		begin = milliseconds();
		uint64		sum = unpack_all(bytes, size);

		theirs[round] = milliseconds() - begin;
		begin = milliseconds();
		if (read_all(bytes, size) != sum)
			return 1;
		ours[round] = milliseconds() - begin;
	}
	qsort(theirs, ROUNDS, sizeof(double), compare);
	qsort(ours, ROUNDS, sizeof(double), compare);
	printf("%.0f %.0f\n", ours[ROUNDS / 2], theirs[ROUNDS / 2]);
	return 0;
}
