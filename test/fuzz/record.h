/*
 * record.h
 *	  Promise: whatever the text, reading an event or a measure from it gives
 *	  one, or the position and reason why not; what is read is stored, compared
 *	  and written, and reads back the same; and reading it as a list finds
 *	  elements within it, or the position and reason why not.
 */
#include <stdio.h>

#include "core/jsontext.h"
#include "core/record.h"

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
use_attributes(MeterRecordKind kind, MeterAttr attributes)
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
	promise(meter_attributes_from_json(kind, attributes.data, attributes.len, &again,
									   &problem) &&
			again.len == attributes.len &&
			memcmp(again.data, attributes.data, again.len) == 0,
			"attributes are canonical JSON");
}

/* What a CloudEvent may carry as bytes: here, its length and first byte. */
static const char *
read_payload(const uint8 *bytes, size_t length, MeterRecord *record)
{
	if (length == 0)
		return "it is empty";
	record->time = (int64) length;
	record->end = record->time + bytes[0];
	record->fields[METER_ID] = meter_name_attr("inner");
	record->fields[METER_ATTRIBUTES] = meter_name_attr("{\"a\":1,\"b\":\"c\"}");
	return NULL;
}

/* Read a text as a record of a kind. */
static void
try_record(MeterRecordKind kind, const char *text, size_t length)
{
	MeterTextOptions options = {kind, read_payload};
	MeterRecord record;
	MeterRecord stored;
	MeterRecord again;
	MeterProblem problem;
	uint8	   *bytes;
	char	   *canonical;
	char	   *second;
	size_t		size;
	size_t		second_size;

	problem.reason[0] = '\0';
	problem.position = length + 1;
	if (!meter_record_from_text(&options, text, length, &record, &problem))
	{
		promise(problem.position <= length, "a position");
		promise(problem.reason[0] != '\0', "a reason");
		promise(meter_text_is_valid(problem.reason, strlen(problem.reason)),
				"a reason in UTF-8");
		return;
	}
	promise(meter_record_check(&record, &problem), "what is read is a record");

	bytes = palloc(meter_record_bound(&record));
	size = meter_record_write(&record, bytes);
	promise(meter_record_read(bytes, size, &stored), "it is stored");
	promise(stored.kind == kind, "as what it is");
	promise(meter_record_order(&record, &stored) == 0, "it is stored as it is");
	if (length <= 10000)
		use_attributes(kind, stored.fields[METER_ATTRIBUTES]);

	canonical = meter_record_to_text(&stored, &size);
	promise(meter_record_from_text(&options, canonical, size, &again, &problem),
			"its text is one of a record");
	promise(meter_record_order(&record, &again) == 0, "of the same");
	second = meter_record_to_text(&again, &second_size);
	promise(size == second_size && memcmp(canonical, second, size) == 0,
			"there is one text");
}

/* Read a text as a JSON list. */
static void
try_list(const char *text, size_t length)
{
	MeterReader reader;
	MeterProblem problem;
	MeterAttr	element;
	const char *from = text;

	meter_reader_init(&reader, text, length, &problem);
	meter_json_skip_space(&reader);
	if (reader.at == reader.end || *reader.at != '[')
		return;
	while (meter_json_next_element(&reader, &element))
	{
		promise(element.data > from && element.len > 0 &&
				element.data + element.len <= text + length,
				"elements are there, one after the other");
		from = element.data + element.len - 1;
	}
	promise(!reader.failed || (problem.position <= length &&
							   problem.reason[0] != '\0'),
			"a position and a reason");
}

static void
try_text(const char *text, size_t length)
{
	try_record(METER_EVENT_RECORD, text, length);
	try_record(METER_MEASURE_RECORD, text, length);
	try_list(text, length);
}
