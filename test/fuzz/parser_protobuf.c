/*
 * parser_protobuf.c
 *	  Protobuf messages and streams of them for libFuzzer; protobuf.h has the
 *	  promise.
 */
#include "protobuf.h"

extern void fuzz_free_all(void);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MeterRecord record;
	MeterIPMeasure measure;

	if (messages[0].name == NULL)
		describe_messages();
	(void) try_record(METER_EVENT_RECORD, data, 0, size, &record);
	(void) try_record(METER_MEASURE_RECORD, data, 0, size, &record);
	(void) try_measure(data, 0, size, false, &measure);
	(void) try_measure(data, 0, size, true, &measure);
	try_batch(data, size);
	(void) try_stream(data, size, USAGE_EVENT);
	(void) try_stream(data, size, USAGE_MEASURE);
	(void) try_stream(data, size, IP_MEASURE);
	fuzz_free_all();
	return 0;
}
