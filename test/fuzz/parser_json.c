/*
 * parser_json.c
 *	  The text of records for libFuzzer, as it comes; record.h has the promise.
 */
#include "record.h"

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	MeterRecord event;

	try_text((const char *) data, size);

	/* hostile bytes as a stored record, too */
	if (meter_record_read(data, size, &event))
	{
		MeterAttr	key;
		MeterAttr	value;
		int32		at = 0;

		(void) meter_record_order(&event, &event);
		while (meter_attributes_next(event.fields[METER_ATTRIBUTES], &at,
									 &key, &value))
			;
	}
	fuzz_free_all();
	return 0;
}
