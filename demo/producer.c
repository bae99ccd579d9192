/*
 * producer.c
 *	  A producer in C: events by COPY BINARY into the inbox of a stream,
 *	  measures through meter.ingest_measures(), both as protobuf.
 *
 *	producer CONNECTION STREAM [N]
 *
 * sends that each of N virtual machines (3) was started and stopped, and what
 * as many IPv4 addresses used in a minute.  Each event has an id, and the
 * content of a measure is its id: after a failure, or whenever in doubt, send
 * all of it again.  To build it, in a clone of the project:
 *
 *	protoc-c --proto_path=src/types --c_out=/tmp usage.proto
 *	cc -I/tmp -I$(pg_config --includedir) -o /tmp/producer \
 *		demo/producer.c /tmp/usage.pb-c.c -lprotobuf-c -lpq
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usage.pb-c.h"

#define HOUR	3600

/* 2024-03-05 00:00 UTC */
static const int64_t midnight = INT64_C(1709596800);

/* What goes over the wire next. */
typedef struct Bytes
{
	size_t		used;
	size_t		size;
	uint8_t    *data;
} Bytes;

/* Make room for more. */
static uint8_t *
add_room(Bytes *bytes, size_t more)
{
	uint8_t    *room;

	if (bytes->used + more > bytes->size)
	{
		bytes->size = 2 * (bytes->used + more);
		bytes->data = realloc(bytes->data, bytes->size);
		if (bytes->data == NULL)
			abort();
	}
	room = bytes->data + bytes->used;
	bytes->used += more;
	return room;
}

static void
add_bytes(Bytes *bytes, const void *data, size_t length)
{
	memcpy(add_room(bytes, length), data, length);
}

/* Integers of COPY BINARY have their most significant byte first. */
static void
add_int16(Bytes *bytes, uint16_t value)
{
	uint16_t	network = htons(value);

	add_bytes(bytes, &network, sizeof(network));
}

static void
add_int32(Bytes *bytes, uint32_t value)
{
	uint32_t	network = htonl(value);

	add_bytes(bytes, &network, sizeof(network));
}

/* A row of one column, which is an event. */
static void
add_event(Bytes *bytes, const Meter__UsageEvent *event)
{
	size_t		length = meter__usage_event__get_packed_size(event);

	add_int16(bytes, 1);
	add_int32(bytes, (uint32_t) length);
	meter__usage_event__pack(event, add_room(bytes, length));
}

/* A measure with its length before it, seven bits a byte, least first. */
static void
add_measure(Bytes *bytes, const Meter__IPMeasure *measure)
{
	size_t		length = meter__ipmeasure__get_packed_size(measure);
	size_t		rest = length;

	for (; rest >= 0x80; rest >>= 7)
		*add_room(bytes, 1) = (uint8_t) (rest | 0x80);
	*add_room(bytes, 1) = (uint8_t) rest;
	meter__ipmeasure__pack(measure, add_room(bytes, length));
}

/* Give up, saying why. */
static void
fail(PGconn *connection, const PGresult *result)
{
	fputs(result != NULL ? PQresultErrorMessage(result) :
		  PQerrorMessage(connection), stderr);
	exit(1);
}

/* Send events; all of them are logged, or none. */
static void
send_events(PGconn *connection, const char *stream, int machines)
{
	static const char *const actions[] = {"start", "stop"};
	char	   *schema = PQescapeIdentifier(connection, stream, strlen(stream));
	Bytes		bytes = {0, 0, NULL};
	char		command[200];
	PGresult   *result;
	int			i;

	snprintf(command, sizeof(command), "COPY %s.inbox FROM STDIN (FORMAT binary)",
			 schema);
	result = PQexec(connection, command);
	if (PQresultStatus(result) != PGRES_COPY_IN)
		fail(connection, result);
	PQclear(result);

	add_bytes(&bytes, "PGCOPY\n\377\r\n\0", 11);
	add_int32(&bytes, 0);		/* flags */
	add_int32(&bytes, 0);		/* length of what else a header may have */
	for (i = 0; i < 2 * machines; i++)
	{
		Meter__UsageEvent event = METER__USAGE_EVENT__INIT;
		char		resource[40];
		char		id[40];

		snprintf(resource, sizeof(resource), "vm-%d", i / 2 + 1);
		snprintf(id, sizeof(id), "%d", i + 1);
		event.time = (midnight + (i % 2 + 1) * HOUR + i / 2) * INT64_C(1000000);
		event.resource = resource;
		event.action = (char *) actions[i % 2];
		event.source = (char *) "producer";
		event.id = id;
		event.account = (char *) "geneva-jug";
		event.entity = (char *) "vm";
		event.offering = (char *) "medium";
		event.attributes = (char *) "{\"template\": \"ubuntu-16.04\"}";
		add_event(&bytes, &event);
		if (bytes.used > 65536 || i == 2 * machines - 1)
		{
			if (PQputCopyData(connection, (char *) bytes.data, (int) bytes.used) != 1)
				fail(connection, NULL);
			bytes.used = 0;
		}
	}
	add_int16(&bytes, 0xffff);	/* no more rows */
	if (PQputCopyData(connection, (char *) bytes.data, (int) bytes.used) != 1 ||
		PQputCopyEnd(connection, NULL) != 1)
		fail(connection, NULL);
	while ((result = PQgetResult(connection)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			fail(connection, result);
		printf("events: %s\n", PQcmdTuples(result));
		PQclear(result);
	}
	free(bytes.data);
	PQfreemem(schema);
}

/* Send measures; all of them are logged, or none. */
static void
send_measures(PGconn *connection, const char *stream, int addresses)
{
	Bytes		bytes = {0, 0, NULL};
	const char *values[3] = {stream, "router-1", NULL};
	int			lengths[3] = {0, 0, 0};
	static const int formats[3] = {0, 0, 1};
	PGresult   *result;
	int			i;

	for (i = 0; i < addresses; i++)
	{
		Meter__IPMeasure measure = METER__IPMEASURE__INIT;

		measure.header = 1;
		/* network order: the first octet is the most significant */
		measure.saddr = 0xC0000200 + (uint32_t) i + 1;
		measure.bytes = (uint64_t) (i + 1) * 10485760;
		measure.start = (uint64_t) midnight + HOUR;
		measure.end = measure.start + 60;
		add_measure(&bytes, &measure);
	}
	values[2] = (char *) bytes.data;
	lengths[2] = (int) bytes.used;
	result = PQexecParams(connection,
						  "SELECT meter.ingest_measures($1::text, $2::text, $3::bytea)",
						  3, NULL, values, lengths, formats, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(connection, result);
	printf("measures: %s\n", PQgetvalue(result, 0, 0));
	PQclear(result);
	free(bytes.data);
}

int
main(int argc, char **argv)
{
	int			n = argc > 3 ? atoi(argv[3]) : 3;
	PGconn	   *connection;

	if (argc < 3 || argc > 4 || n < 1)
	{
		fprintf(stderr, "usage: producer CONNECTION STREAM [N]\n");
		return 2;
	}
	connection = PQconnectdb(argv[1]);
	if (PQstatus(connection) != CONNECTION_OK)
		fail(connection, NULL);
	send_events(connection, argv[2], n);
	send_measures(connection, argv[2], n);
	PQfinish(connection);
	return 0;
}
