/*
 * cloudevent.c
 *	  Usage records from CloudEvents.
 *
 * What the data says comes first, and the envelope adds what it leaves out.
 */
#include "core/cloudevent.h"
#include "core/core.h"
#include "core/jsontext.h"
#include "core/record.h"
#include "core/recordmap.h"

/*
 * Return what a key of a CloudEvent stands for, in its envelope or its data:
 * the envelope's type is always one of the keys.
 */
static int
look_up_cloud_key(MeterRecordKind kind, MeterAttr key)
{
	return meter_text_is(key, "type") ? METER_KEY_TYPE : meter_record_key(kind, key);
}

/* Add an attribute for what the envelope of a CloudEvent has, too. */
static bool
add_beside(MeterMapping *mapping, MeterAttr key, const MeterMember *member)
{
	MeterWriter name;

	meter_writer_init(&name, 16);
	meter_put(&name, "data.", 5);
	meter_put(&name, key.data, key.len);
	return meter_map_attribute(mapping, meter_attr(name.text, (int32) name.used),
							   member);
}

/* Add to a record what the "data" of a CloudEvent says. */
static bool
map_data(MeterMapping *mapping)
{
	const MeterMembers *members = &mapping->data;
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];
		int			meaning = look_up_cloud_key(mapping->record->kind,
												member->key);
		bool		good = true;

		switch (meaning)
		{
			case METER_SOURCE:
			case METER_ID:
			case METER_KEY_TYPE:
			case METER_KEY_SPECVERSION:
				/* the envelope's are the record's; these are kept beside them */
				good = add_beside(mapping, member->key, member);
				break;
			case METER_KEY_ATTRIBUTE:
				good = meter_map_attribute(mapping, member->key, member);
				break;
			case METER_ATTRIBUTES:
				good = member->kind == METER_JSON_NULL ||
					meter_map_attributes(mapping, member);
				break;
			default:
				good = member->kind == METER_JSON_NULL ||
					meter_map_field(mapping, meaning, member);
		}
		if (!good)
			return false;
	}
	return true;
}

/* Return the value of a digit of base 64, -1: it is none. */
static int
base64_value(char digit)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *found = digit == '\0' ? NULL : strchr(digits, digit);

	return found == NULL ? -1 : (int) (found - digits);
}

/* Decode base 64.  Returns NULL, or what is wrong with it. */
static const char *
decode_base64(MeterAttr text, uint8 **bytes, size_t *length)
{
	int32		len = text.len;
	uint32		bits = 0;
	int32		i;

	*bytes = palloc((size_t) len / 4 * 3 + 3);
	*length = 0;
	for (i = 0; i < 2 && len > 0 && text.len % 4 == 0; i++)
	{
		if (text.data[len - 1] == '=')
			len--;
	}
	if (len % 4 == 1)
		return "expected a text in base 64";
	for (i = 0; i < len; i++)
	{
		int			value = base64_value(text.data[i]);

		if (value < 0)
			return "expected a text in base 64";
		bits = bits << 6 | (uint32) value;
		if (i % 4 > 0)
			(*bytes)[(*length)++] = (uint8) (bits >> (6 - 2 * (i % 4)));
	}
	return NULL;
}

/* Tell whether a content type is that of a protobuf message. */
static bool
is_protobuf(const MeterMember *type)
{
	static const char word[] = "protobuf";
	int32		i;
	int32		j;

	if (type == NULL || type->kind != METER_JSON_STRING)
		return false;
	for (i = 0; i + (int32) sizeof(word) - 1 <= type->value.len; i++)
	{
		for (j = 0; word[j] != '\0' && (type->value.data[i + j] | 0x20) == word[j]; j++)
			;
		if (word[j] == '\0')
			return true;
	}
	return false;
}

/* Add to a record what another one says, which was the data of a CloudEvent. */
static bool
map_payload(MeterMapping *mapping, const MeterRecord *payload,
			const MeterMember *data)
{
	MeterMember member = *data;
	int32		at = 0;
	int			i;

	mapping->record->time = payload->time;
	mapping->record->end = payload->end;
	mapping->end_at = mapping->reader->text + data->value_at;
	member.kind = METER_JSON_STRING;
	for (i = 0; i < METER_ATTRIBUTES; i++)
	{
		if (MeterAttrIsNull(payload->fields[i]))
			continue;
		if (i != METER_SOURCE && i != METER_ID)
		{
			mapping->record->fields[i] = payload->fields[i];
			continue;
		}
		member.value = payload->fields[i];
		if (!add_beside(mapping, meter_name_attr(meter_field_names[i]), &member))
			return false;
	}
	member.kind = METER_JSON_MAP;	/* as it is written, whatever it is */
	while (meter_attributes_next(payload->fields[METER_ATTRIBUTES], &at,
								 &member.key, &member.value))
	{
		if (!meter_map_attribute(mapping, member.key, &member))
			return false;
	}
	return true;
}

/* Add to a record what the "data_base64" of a CloudEvent says. */
static bool
map_bytes(MeterMapping *mapping, const MeterMember *data, const MeterMember *type)
{
	MeterReadPayload read_payload = mapping->options->read_payload;
	MeterRecord payload;
	const char *problem;
	uint8	   *bytes;
	size_t		length;

	if (data->kind != METER_JSON_STRING)
		return meter_map_fail(mapping, data, "expected a text in base 64");
	if (read_payload == NULL || !is_protobuf(type))
	{
		mapping->reader->key = data->key;
		meter_fail(mapping->reader, mapping->reader->text + data->key_at,
				   "bytes are read where \"datacontenttype\" is \"application/protobuf\": expected that, or JSON in \"data\"");
		return false;
	}
	problem = decode_base64(data->value, &bytes, &length);
	if (problem != NULL)
		return meter_map_fail(mapping, data, problem);
	meter_record_init(&payload, mapping->record->kind);
	problem = read_payload(bytes, length, &payload);
	if (problem != NULL)
	{
		mapping->reader->key = data->key;
		meter_fail(mapping->reader, mapping->reader->text + data->value_at,
				   "%s", problem);
		return false;
	}
	return map_payload(mapping, &payload, data);
}

/* Check the version and what must be in the envelope of a CloudEvent. */
static bool
check_envelope(MeterMapping *mapping, const MeterMember *specversion)
{
	static const char *const required[] = {"id", "source", "type"};
	int			i;

	if (specversion->kind != METER_JSON_STRING ||
		!meter_text_is(specversion->value, "1.0"))
		return meter_map_fail(mapping, specversion, "expected \"1.0\"");
	for (i = 0; i < 3; i++)
	{
		const MeterMember *member = meter_map_find(mapping->members, required[i]);

		if (member == NULL)
			return meter_map_missing(mapping, required[i],
									 "a CloudEvent must have it");
		if (member->kind != METER_JSON_STRING || member->value.len == 0)
			return meter_map_fail(mapping, member,
								  "expected a string that is not empty");
	}
	return true;
}

/* Add what the data of a CloudEvent says, in JSON or as bytes. */
static bool
map_contents(MeterMapping *mapping)
{
	const MeterMember *data = meter_map_find(mapping->members, "data");
	const MeterMember *bytes = meter_map_find(mapping->members, "data_base64");

	if (data != NULL && bytes != NULL)
		return meter_map_fail(mapping, bytes,
							  "expected \"data\" or \"data_base64\", not both");
	if (bytes != NULL)
		return map_bytes(mapping, bytes,
						 meter_map_find(mapping->members, "datacontenttype"));
	if (data == NULL)
		return true;
	if (!meter_map_read(mapping, data, &mapping->data))
		return false;
	mapping->has_data = true;
	return map_data(mapping);
}

/* Tell whether the envelope of a CloudEvent may set what a key stands for. */
static bool
is_open(const MeterMapping *mapping, int meaning)
{
	const MeterRecord *record = mapping->record;

	switch (meaning)
	{
		case METER_KEY_TIME:
			return record->time == METER_END && record->end == METER_END;
		case METER_KEY_START:
			return record->time == METER_END;
		case METER_KEY_END:
			return record->end == METER_END;
		default:
			return MeterAttrIsNull(record->fields[meaning]);
	}
}

/* Add what a member of the envelope of a CloudEvent says, and data does not. */
static bool
map_envelope(MeterMapping *mapping, const MeterMember *member, int from_data)
{
	const MeterMembers *members = mapping->members;
	int			meaning = look_up_cloud_key(mapping->record->kind, member->key);

	if (meaning == METER_KEY_SPECVERSION || meter_text_is(member->key, "data") ||
		meter_text_is(member->key, "data_base64") ||
		meter_text_is(member->key, "datacontenttype"))
		return true;
	if (meaning == METER_KEY_ATTRIBUTE)
	{
		/* the subject is the resource, unless data names one */
		if (meter_text_is(member->key, "subject") &&
			member->kind != METER_JSON_NULL &&
			is_open(mapping, METER_RESOURCE) &&
			meter_map_find(members, "resource") == NULL &&
			meter_map_find(members, "uuid") == NULL)
			return meter_map_text(mapping, METER_RESOURCE, member);
		return meter_map_has(mapping, from_data, member->key) ||
			meter_map_attribute(mapping, member->key, member);
	}
	if (member->kind == METER_JSON_NULL)
		return true;
	if (meaning == METER_KEY_TYPE)
	{
		/* the action, unless it is named apart or there is none */
		if (!MeterHasField(mapping->form->fields, METER_ACTION) ||
			!is_open(mapping, METER_ACTION) ||
			meter_map_find(members, "action") != NULL)
			return meter_map_attribute(mapping, meter_name_attr("ce-type"), member);
		return meter_map_text(mapping, METER_ACTION, member);
	}
	if (meaning == METER_ATTRIBUTES)
		return meter_map_fail(mapping, member,
							  "a CloudEvent has its attributes in \"data\"");
	return !is_open(mapping, meaning) || meter_map_field(mapping, meaning, member);
}

/* Make a record of the members of a CloudEvent. */
bool
meter_map_cloud_event(MeterMapping *mapping, const MeterMember *specversion)
{
	int			from_data;		/* number of attributes from data, which come
								 * first */
	int			i;

	if (!check_envelope(mapping, specversion) ||
		!map_contents(mapping) || !meter_map_sort(mapping))
		return false;
	from_data = mapping->parts.n;
	for (i = 0; i < mapping->members->n; i++)
	{
		if (!map_envelope(mapping, &mapping->members->members[i], from_data))
			return false;
	}
	if (MeterAttrIsNull(mapping->record->fields[METER_RESOURCE]))
		return meter_map_missing(mapping, "subject",
								 "it is missing, and \"data\" names no resource");
	return true;
}
