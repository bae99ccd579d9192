/*
 * event.h
 *	  Promise: whatever the text, reading an event from it gives an event, or
 *	  the position and reason why not; what is read is stored, compared and
 *	  written, and reads back the same.
 */
#include <stdio.h>

#include "core/eventform.h"

extern void fuzz_free_all(void);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

/* Stop, and say which promise is broken. */
static void
promise(bool kept, const char *what)
{
	if (!kept)
	{
		printf("broken: %s\n", what);
		fflush(stdout);
		abort();
	}
}

/* All attributes can be gone through, and found by their names. */
static void
use_attributes(MeterAttr attributes)
{
	MeterAttr	key;
	MeterAttr	value;
	MeterAttr	again;
	MeterProblem problem;
	int32		at = 0;

	if (MeterAttrIsNull(attributes))
		return;
	while (meter_attributes_next(attributes, &at, &key, &value))
	{
		promise(meter_attributes_find(attributes, key, &again) &&
				again.data == value.data && again.len == value.len,
				"an attribute is found");
		(void) meter_json_text(value);
	}
	promise(meter_attributes_from_json(attributes.data, attributes.len, &again,
									   &problem) &&
			again.len == attributes.len &&
			memcmp(again.data, attributes.data, again.len) == 0,
			"attributes are canonical JSON");
}

static void
try_text(const char *text, size_t length)
{
	MeterUsageEvent event;
	MeterUsageEvent stored;
	MeterUsageEvent again;
	MeterProblem problem;
	uint8	   *bytes;
	char	   *canonical;
	char	   *second;
	size_t		size;
	size_t		second_size;

	problem.reason[0] = '\0';
	problem.position = length + 1;
	if (!meter_event_from_text(text, length, &event, &problem))
	{
		promise(problem.position <= length, "a position");
		promise(problem.reason[0] != '\0', "a reason");
		return;
	}
	promise(meter_event_check(&event, &problem), "what is read is an event");

	bytes = palloc(meter_event_bound(&event));
	size = meter_event_write(&event, bytes);
	promise(meter_event_read(bytes, size, &stored), "it is stored");
	promise(meter_event_cmp(&event, &stored) == 0, "it is stored as it is");
	promise(meter_event_read_time(bytes) == event.time, "its time");
	if (length <= 10000)
		use_attributes(stored.fields[METER_ATTRIBUTES]);

	canonical = meter_event_to_text(&stored, &size);
	promise(meter_event_from_text(canonical, size, &again, &problem),
			"its text is one of an event");
	promise(meter_event_cmp(&event, &again) == 0, "of the same");
	second = meter_event_to_text(&again, &second_size);
	promise(size == second_size && memcmp(canonical, second, size) == 0,
			"there is one text");
}
