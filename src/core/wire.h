/*
 * wire.h
 *	  Reading protobuf's wire format, with the reason and place of what is
 *	  wrong.
 */
#ifndef METER_WIRE_H
#define METER_WIRE_H

#include "core/core.h"

/* What the fields of our messages hold. */
typedef enum MeterWireKind
{
	METER_WIRE_UINT32,
	METER_WIRE_UINT64,
	METER_WIRE_INT64,
	METER_WIRE_BOOL,
	METER_WIRE_STRING,
	METER_WIRE_MESSAGE
} MeterWireKind;

typedef struct MeterWireField
{
	uint32		number;
	MeterWireKind kind;
	bool		required;
	const char *name;
} MeterWireField;

#define METER_WIRE_FIELDS	16

/* A kind of message; fields in the order of their numbers. */
typedef struct MeterWireMessage
{
	const char *name;
	int			nfields;
	uint32		required;		/* bit i: fields[i] is required */
	MeterWireField fields[METER_WIRE_FIELDS];
} MeterWireMessage;

/* A field's value, in the bytes that were read. */
typedef struct MeterWireValue
{
	uint64		number;			/* numbers */
	const uint8 *data;			/* strings and messages */
	size_t		length;
	size_t		offset;			/* of the value, from the first byte */
} MeterWireValue;

/*
 * What is wrong with a message: the field, or if that is NULL the subject; the
 * problem; and where.
 */
typedef struct MeterWireError
{
	const char *field;
	const char *subject;
	const char *problem;
	size_t		offset;
} MeterWireError;

/* A reader of the bytes from `at` up to `end`. */
typedef struct MeterWireReader
{
	const MeterWireMessage *message;
	const uint8 *bytes;
	size_t		at;
	size_t		end;
	MeterWireError error;
} MeterWireReader;

typedef enum MeterWireStep
{
	METER_WIRE_FIELD,
	METER_WIRE_END,
	METER_WIRE_WRONG
} MeterWireStep;

extern void meter_wire_begin(MeterWireReader *reader,
							 const MeterWireMessage *message,
							 const uint8 *bytes, size_t begin, size_t end);
extern MeterWireStep meter_wire_next(MeterWireReader *reader, int *field,
									 MeterWireValue *value);
extern MeterWireStep meter_wire_next_delimited(MeterWireReader *reader,
											   MeterWireValue *value);
extern bool meter_wire_read(const MeterWireMessage *message,
							const uint8 *bytes, size_t begin, size_t end,
							MeterWireValue *values, uint32 *present,
							MeterWireError *error);

#define MeterWireHas(present, field) (((present) >> (field)) & 1)

#endif							/* METER_WIRE_H */
