/*
 * parser_json.c
 *	  The text of events for libFuzzer, as it comes; event.h has the promise.
 */
#include "event.h"

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MeterUsageEvent event;

	try_text((const char *) data, size);

	/* hostile bytes as a stored event, too */
	if (meter_event_read(data, size, &event))
	{
		MeterAttr	key;
		MeterAttr	value;
		int32		at = 0;

		(void) meter_event_cmp(&event, &event);
		while (meter_attributes_next(event.fields[METER_ATTRIBUTES], &at,
									 &key, &value))
			;
	}
	fuzz_free_all();
	return 0;
}
