/*
 * recordjson.c
 *	  Usage records as canonical JSON: writing it, and finding attributes in it.
 */
#include "core/core.h"
#include "core/instant.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "core/record.h"

/* Write a key of a record. */
static void
put_key(MeterWriter *writer, const char *key)
{
	meter_put_char(writer, writer->used == 0 ? '{' : ',');
	meter_put_char(writer, '"');
	meter_put(writer, key, strlen(key));
	meter_put(writer, "\":", 2);
}

/* Write a time of a record. */
static void
put_time(MeterWriter *writer, const char *key, int64 time)
{
	char		instant[METER_INSTANT_SIZE];

	put_key(writer, key);
	meter_put_char(writer, '"');
	meter_put(writer, instant, meter_instant_write(time, instant));
	meter_put_char(writer, '"');
}

/* Return the canonical text of a record, terminated by a zero byte. */
char *
meter_record_to_text(const MeterRecord *record, size_t *length)
{
	const MeterRecordForm *form = &meter_record_forms[record->kind];
	MeterWriter writer;
	int			i;

	meter_writer_init(&writer, meter_record_bound(record) + 160);
	put_time(&writer, form->times[0], record->time);
	if (form->times[1] != NULL)
		put_time(&writer, form->times[1], record->end);
	for (i = 0; i < METER_ATTRIBUTES; i++)
	{
		MeterAttr	field = record->fields[i];

		if (MeterAttrIsNull(field))
			continue;
		put_key(&writer, meter_field_names[i]);
		if (i == METER_VALUE || i == METER_SEQUENCE)
			meter_put(&writer, field.data, field.len);
		else
			meter_put_string(&writer, field.data, field.len);
	}
	if (!MeterAttrIsNull(record->fields[METER_ATTRIBUTES]))
	{
		/* without its opening brace */
		meter_put_char(&writer, ',');
		meter_put(&writer, record->fields[METER_ATTRIBUTES].data + 1,
				  record->fields[METER_ATTRIBUTES].len - 1);
	}
	else
		meter_put_char(&writer, '}');
	meter_put_char(&writer, '\0');
	*length = writer.used - 1;
	return writer.text;
}

/* Return where a value of canonical JSON ends. */
static const char *
skip_value(const char *at, const char *end)
{
	int			depth = 0;

	while (at < end)
	{
		char		byte = *at;

		if (byte == '"')
		{
			for (at++; at < end && *at != '"'; at++)
			{
				if (*at == '\\')
					at++;
			}
		}
		else if (byte == '{' || byte == '[')
			depth++;
		else if (depth == 0 && (byte == ',' || byte == '}' || byte == ':'))
			break;
		else if (byte == '}' || byte == ']')
			depth--;
		at++;
	}
	return Min(at, end);
}

/*
 * Return the text that a canonical string stands for, given without its
 * quotes.
 */
static MeterAttr
read_string(MeterAttr written)
{
	MeterProblem problem;
	MeterReader reader;
	MeterWriter writer;

	if (memchr(written.data, '\\', written.len) == NULL)
		return written;
	meter_reader_init(&reader, written.data, written.len, &problem);
	meter_writer_init(&writer, written.len);
	while (reader.at < reader.end)
	{
		if (*reader.at++ == '\\')
			meter_read_escaped(&reader, &writer);
		else
			meter_put_char(&writer, reader.at[-1]);
	}
	return meter_attr(writer.text, (int32) writer.used);
}

/* Read the next attribute as it is written; *at is 0 for the first one. */
static bool
next_attribute(MeterAttr attributes, int32 *at, MeterAttr *key,
			   MeterAttr *value)
{
	const char *end = attributes.data + attributes.len;
	const char *from = attributes.data + *at + 1;
	const char *colon;
	const char *to;

	if (*at + 1 >= attributes.len)
		return false;
	colon = skip_value(from, end);
	if (colon == end)
		return false;
	to = skip_value(colon + 1, end);
	key->data = from + 1;
	key->len = (int32) (colon - from) - 2;
	value->data = colon + 1;
	value->len = (int32) (to - colon) - 1;
	*at = (int32) (to - attributes.data);
	return key->len >= 0;
}

/*
 * Read the next attribute: its name, and its value as canonical JSON.  *at is
 * 0 for the first one.  Returns false behind the last.
 */
bool
meter_attributes_next(MeterAttr attributes, int32 *at, MeterAttr *key,
					  MeterAttr *value)
{
	if (MeterAttrIsNull(attributes) ||
		!next_attribute(attributes, at, key, value))
		return false;
	*key = read_string(*key);
	return true;
}

/* Find an attribute by name; its value is canonical JSON. */
bool
meter_attributes_find(MeterAttr attributes, MeterAttr name, MeterAttr *value)
{
	MeterAttr	key;
	MeterAttr	written = name;
	int32		at = 0;
	int32		i;

	if (MeterAttrIsNull(attributes))
		return false;
	for (i = 0; i < name.len; i++)
	{
		if ((uint8) name.data[i] < 0x20 || name.data[i] == '"' ||
			name.data[i] == '\\')
		{
			MeterWriter writer;

			meter_writer_init(&writer, name.len + 2);
			meter_put_string(&writer, name.data, name.len);
			written.data = writer.text + 1;
			written.len = (int32) writer.used - 2;
			break;
		}
	}
	while (next_attribute(attributes, &at, &key, value))
	{
		if (meter_attr_same(key, written))
			return true;
	}
	return false;
}

/* Return a value as text: a string without its quotes, NULL for null. */
MeterAttr
meter_json_text(MeterAttr value)
{
	if (value.len >= 2 && value.data[0] == '"')
		return read_string(meter_attr(value.data + 1, value.len - 2));
	if (meter_text_is(value, "null"))
		return METER_NULL_ATTR;
	return value;
}
