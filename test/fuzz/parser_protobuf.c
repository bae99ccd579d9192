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
	MeterUsageEvent event;
	MeterIPMeasure measure;

	if (messages[0].name == NULL)
		describe_messages();
	(void) try_event(data, 0, size, &event);
	(void) try_measure(data, 0, size, false, &measure);
	(void) try_measure(data, 0, size, true, &measure);
	try_batch(data, size);
	(void) try_stream(data, size, true);
	(void) try_stream(data, size, false);
	fuzz_free_all();
	return 0;
}
