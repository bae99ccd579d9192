/*
 * messages.h
 *	  What the messages of usage.proto say.
 */
#ifndef METER_MESSAGES_H
#define METER_MESSAGES_H

#include "core/core.h"
#include "core/record.h"
#include "core/wire.h"

/* The Unix epoch, the other way round: seconds 0 is -METER_UNIX_EPOCH. */
#define METER_UNIX_EPOCH	INT64_C(946684800000000)

/*
 * A message UsageEvent or UsageMeasure: its first fields are the times, the
 * others stand for these fields of a record.
 */
typedef struct MeterRecordMessage
{
	int			ntimes;
	int			nfields;		/* after the times */
	MeterField	fields[METER_NFIELDS];
} MeterRecordMessage;

extern const MeterRecordMessage meter_record_messages[METER_RECORD_KINDS];

/* Fields of UsageBatch by their order in usage.proto. */
typedef enum MeterBatchField
{
	METER_BATCH_EVENT,
	METER_BATCH_MEASURE,
	METER_BATCH_SOURCE,
	METER_BATCH_MILLISECONDS,
	METER_BATCH_USAGE_MEASURE
} MeterBatchField;

/* What an IPMeasure says. */
typedef struct MeterIPMeasure
{
	uint32		header;
	uint32		address;
	uint64		bytes;
	int64		start;
	int64		end;
} MeterIPMeasure;

/* The longest IPv4 address in its dotted form. */
#define METER_ADDRESS_LENGTH	15

extern bool meter_read_usage_record(const MeterWireMessage *message,
									MeterRecordKind kind,
									const uint8 *bytes, size_t begin,
									size_t end, MeterRecord *record,
									MeterWireError *error);
extern bool meter_read_ip_measure(const MeterWireMessage *message,
								  const uint8 *bytes, size_t begin,
								  size_t end, bool milliseconds,
								  MeterIPMeasure *measure,
								  MeterWireError *error);
extern int	meter_write_address(uint32 address, char *text);

#endif							/* METER_MESSAGES_H */
