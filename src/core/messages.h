/*
 * messages.h
 *	  What the messages of usage.proto say.
 */
#ifndef METER_MESSAGES_H
#define METER_MESSAGES_H

#include "core/core.h"
#include "core/eventform.h"
#include "core/wire.h"

/* The Unix epoch, the other way round: seconds 0 is -METER_UNIX_EPOCH. */
#define METER_UNIX_EPOCH	INT64_C(946684800000000)

/*
 * The fields of an event that the fields of UsageEvent after the time stand
 * for.
 */
extern const MeterField meter_event_field_order[METER_NFIELDS];

/* Fields of UsageBatch by their order in usage.proto. */
typedef enum MeterBatchField
{
	METER_BATCH_EVENT,
	METER_BATCH_MEASURE,
	METER_BATCH_SOURCE,
	METER_BATCH_MILLISECONDS
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

extern bool meter_read_usage_event(const MeterWireMessage *message,
								   const uint8 *bytes, size_t begin,
								   size_t end, MeterUsageEvent *event,
								   MeterWireError *error);
extern bool meter_read_ip_measure(const MeterWireMessage *message,
								  const uint8 *bytes, size_t begin,
								  size_t end, bool milliseconds,
								  MeterIPMeasure *measure,
								  MeterWireError *error);
extern int	meter_write_address(uint32 address, char *text);

#endif							/* METER_MESSAGES_H */
