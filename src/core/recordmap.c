/*
 * recordmap.c
 *	  Usage records from the members of maps, whatever syntax these were read
 *	  from: known keys are the fields of a record, all others its attributes.
 */
#include <stdio.h>

#include "core/core.h"
#include "core/instant.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "core/record.h"
#include "core/recordmap.h"

typedef struct Key
{
	const char *name;
	int			meaning;
} Key;

static const Key event_keys[] = {
	{"time", METER_KEY_TIME}, {"resource", METER_RESOURCE},
	{"action", METER_ACTION}, {"account", METER_ACCOUNT},
	{"entity", METER_ENTITY}, {"offering", METER_OFFERING},
	{"value", METER_VALUE}, {"source", METER_SOURCE}, {"id", METER_ID},
	{"sequence", METER_SEQUENCE}, {"attributes", METER_ATTRIBUTES},
	{"uuid", METER_RESOURCE}, {"type", METER_KEY_TYPE},
	{"specversion", METER_KEY_SPECVERSION}, {NULL, METER_KEY_ATTRIBUTE}
};

static const Key measure_keys[] = {
	{"start_time", METER_KEY_START}, {"end_time", METER_KEY_END}, {"time", METER_KEY_TIME},
	{"resource", METER_RESOURCE}, {"account", METER_ACCOUNT},
	{"entity", METER_ENTITY}, {"value", METER_VALUE},
	{"source", METER_SOURCE}, {"id", METER_ID},
	{"attributes", METER_ATTRIBUTES}, {"uuid", METER_RESOURCE},
	{"specversion", METER_KEY_SPECVERSION}, {NULL, METER_KEY_ATTRIBUTE}
};

static const Key *const record_keys[METER_RECORD_KINDS] = {
	event_keys, measure_keys
};

/* Return what a key of a record stands for. */
int
meter_record_key(MeterRecordKind kind, MeterAttr key)
{
	const Key  *known;

	for (known = record_keys[kind]; known->name != NULL; known++)
	{
		/* two bytes tell most keys apart */
		if (key.len >= 2 && key.data[0] == known->name[0] &&
			key.data[1] == known->name[1] && meter_text_is(key, known->name))
			return known->meaning;
	}
	return METER_KEY_ATTRIBUTE;
}

/* --- fields ------------------------------------------------------------- */

/* Report that the value of a member is not what it should be. */
bool
meter_map_fail(MeterMapping *mapping, const MeterMember *member, const char *problem)
{
	const char *at = mapping->reader->text + member->value_at;
	MeterAttr	clipped = meter_clip(member->value.data, member->value.len);
	const char *more = clipped.len < member->value.len ? "..." : "";

	mapping->reader->key = member->key;
	switch (member->kind)
	{
		case METER_JSON_MAP:
			meter_fail(mapping->reader, at, "%s, found a map", problem);
			break;
		case METER_JSON_LIST:
			meter_fail(mapping->reader, at, "%s, found a list", problem);
			break;
		case METER_JSON_STRING:
			meter_fail(mapping->reader, at, "%s, found \"%.*s%s\"", problem,
					   (int) clipped.len, clipped.data, more);
			break;
		default:
			meter_fail(mapping->reader, at, "%s, found %.*s%s", problem,
					   (int) clipped.len, clipped.data, more);
	}
	return false;
}

/*
 * Set the time, or times, of the record from a member.  A measure has a start
 * and an end, or one time that is both.
 */
static bool
set_time(MeterMapping *mapping, int meaning, const MeterMember *member)
{
	const char *problem = "expected an instant with a zone, such as \"2024-03-05T10:00:00Z\"";
	MeterRecord *record = mapping->record;
	int64		time;

	if (member->kind == METER_JSON_STRING)
		problem = meter_instant_parse(member->value.data, member->value.len,
									  &time);
	if (problem != NULL)
		return meter_map_fail(mapping, member, problem);
	if (mapping->form->times[1] != NULL &&
		(meaning == METER_KEY_TIME ? record->time != METER_END || record->end != METER_END :
		 mapping->time_key != NULL))
	{
		mapping->reader->key = member->key;
		meter_fail(mapping->reader, mapping->reader->text + member->key_at,
				   "\"time\" is both times: expected it, or \"start_time\" and \"end_time\"");
		return false;
	}
	if (meaning == METER_KEY_TIME)
		mapping->time_key = "time";
	if (meaning != METER_KEY_END)
		record->time = time;
	if (meaning != METER_KEY_START && mapping->form->times[1] != NULL)
	{
		record->end = time;
		mapping->end_at = mapping->reader->text + member->value_at;
	}
	return true;
}

/* Read a member that is a number, or a string that is one. */
static bool
read_number(MeterMapping *mapping, const MeterMember *member, MeterAttr *number)
{
	const char *problem = "expected a number, such as 4 or -1.5";
	bool		integer;

	if (member->kind == METER_JSON_NUMBER)
	{
		*number = member->value;
		return true;
	}
	if (member->kind == METER_JSON_STRING)
	{
		problem = meter_number_parse(member->value.data, member->value.len,
									 number, &integer);
		if (problem == NULL)
			return true;
		if (meter_text_is(member->value, "NaN") ||
			meter_text_is(member->value, "Infinity") ||
			meter_text_is(member->value, "-Infinity"))
			problem = "a value must be finite";
	}
	return meter_map_fail(mapping, member, problem);
}

/*
 * Set the sequence of the record from a member: an integer, or a string that
 * is one, which may have zeros in front.
 */
static bool
set_sequence(MeterMapping *mapping, const MeterMember *member)
{
	MeterAttr	number = member->value;
	int64		sequence;
	bool		integer = member->kind == METER_JSON_NUMBER;

	if (member->kind == METER_JSON_NUMBER || member->kind == METER_JSON_STRING)
	{
		if (meter_sequence_read(number, &sequence))
		{
			mapping->record->fields[METER_SEQUENCE] =
				meter_sequence_write(sequence, palloc(METER_SEQUENCE_SIZE));
			return true;
		}
		if (meter_number_parse(number.data, number.len, &number, &integer) != NULL)
			integer = false;
	}
	return meter_map_fail(mapping, member, integer ?
						  "expected an integer of 64 bits: from -9223372036854775808 to 9223372036854775807" :
						  "expected an integer, such as 42");
}

/* Set a text field of the record from a member. */
bool
meter_map_text(MeterMapping *mapping, MeterField field, const MeterMember *member)
{
	MeterAttr  *text = &mapping->record->fields[field];

	if (member->kind != METER_JSON_STRING && !member->integer)
		return meter_map_fail(mapping, member, "expected a string");
	if (member->value.len == 0 &&
		MeterHasField(mapping->form->required, field))
		return meter_map_fail(mapping, member, "expected a text that is not empty");
	if (field == METER_RESOURCE && !MeterAttrIsNull(*text))
	{
		mapping->reader->key = member->key;
		meter_fail(mapping->reader, mapping->reader->text + member->key_at,
				   "\"uuid\" and \"resource\" both name the resource: expected one of them");
		return false;
	}
	*text = member->value;
	return true;
}

/* Set a field, or a time, from a member that is not null. */
bool
meter_map_field(MeterMapping *mapping, int meaning, const MeterMember *member)
{
	switch (meaning)
	{
		case METER_KEY_TIME:
		case METER_KEY_START:
		case METER_KEY_END:
			return set_time(mapping, meaning, member);
		case METER_VALUE:
			return read_number(mapping, member,
							   &mapping->record->fields[METER_VALUE]);
		case METER_SEQUENCE:
			return set_sequence(mapping, member);
		default:
			return meter_map_text(mapping, (MeterField) meaning, member);
	}
}

/* --- attributes --------------------------------------------------------- */

/* Report that the record is too long. */
static void
fail_length(MeterMapping *mapping, const char *at)
{
	meter_fail(mapping->reader, at, "the %s is longer than %d MB",
			   mapping->form->name, METER_MAX_RECORD / 1024 / 1024);
}

/* Add an attribute of a given name. */
bool
meter_map_attribute(MeterMapping *mapping, MeterAttr name, const MeterMember *member)
{
	MeterWriter *writer = &mapping->attributes;
	MeterItem	part;

	if (mapping->parts.n == 0)
	{
		meter_writer_init(writer, 128);
		meter_put_char(writer, '{');
	}
	else
		meter_put_char(writer, ',');
	part.at = mapping->reader->text + member->key_at;
	part.from = writer->used;
	part.key = part.from + 1;
	meter_put_string(writer, name.data, name.len);
	part.key_length = writer->used - part.key - 1;
	meter_put_char(writer, ':');
	if (member->kind == METER_JSON_STRING)
		meter_put_string(writer, member->value.data, member->value.len);
	else
		meter_put(writer, member->value.data, member->value.len);
	part.to = writer->used;
	if (writer->too_long)
	{
		fail_length(mapping, part.at);
		return false;
	}
	meter_items_add(&mapping->parts, writer, part);
	return true;
}

/*
 * Tell whether the first n attributes, which are sorted, have one of that
 * name.
 */
bool
meter_map_has(const MeterMapping *mapping, int n, MeterAttr name)
{
	MeterWriter key;
	bool		found;

	meter_writer_init(&key, name.len + 2);
	meter_put_string(&key, name.data, name.len);
	found = !key.too_long &&
		meter_items_have(&mapping->parts, n, &mapping->attributes,
						 key.text + 1, key.used - 2);
	pfree(key.text);
	return found;
}

/* Add the members of the map "attributes", each of which is an attribute. */
bool
meter_map_members(MeterMapping *mapping, const MeterMembers *members)
{
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];

		if (meter_record_key(mapping->record->kind, member->key) != METER_KEY_ATTRIBUTE)
		{
			mapping->reader->key = member->key;
			meter_fail(mapping->reader,
					   mapping->reader->text + member->key_at,
					   "it has a meaning of its own, and cannot be among the attributes");
			return false;
		}
		if (!meter_map_attribute(mapping, member->key, member))
			return false;
	}
	return true;
}

/* Put the attributes in order; none may be there twice. */
bool
meter_map_sort(MeterMapping *mapping)
{
	const MeterItem *twice;

	if (mapping->parts.n == 0)
		return true;
	twice = meter_items_sort(&mapping->parts, &mapping->attributes);
	if (twice != NULL)
	{
		MeterAttr	key = {mapping->attributes.text + twice->key,
		(int32) twice->key_length};

		mapping->reader->key = key;
		meter_fail(mapping->reader, twice->at, "it is there twice");
		return false;
	}
	return true;
}

/* Hand the attributes to the record. */
bool
meter_map_finish(MeterMapping *mapping)
{
	MeterWriter *writer = &mapping->attributes;

	if (!meter_map_sort(mapping))
		return false;
	if (mapping->parts.n > 0)
	{
		meter_put_char(writer, '}');
		mapping->record->fields[METER_ATTRIBUTES].data = writer->text;
		mapping->record->fields[METER_ATTRIBUTES].len = (int32) writer->used;
	}
	return true;
}

/* Read the map that is the value of a member, member by member. */
bool
meter_map_read(MeterMapping *mapping, const MeterMember *member,
			   MeterMembers *members)
{
	MeterReader *reader = mapping->reader;
	const char *at = reader->at;
	bool		good;

	if (member->kind != METER_JSON_MAP)
		return meter_map_fail(mapping, member, "expected a map");
	meter_members_init(members);
	reader->at = reader->text + member->value_at;
	good = mapping->read_map(reader, members);
	reader->at = at;
	return good;
}

/* Add the attributes in the map that is the value of a member. */
bool
meter_map_attributes(MeterMapping *mapping, const MeterMember *member)
{
	MeterMembers attributes;

	return meter_map_read(mapping, member, &attributes) &&
		meter_map_members(mapping, &attributes);
}

/* --- what is missing ---------------------------------------------------- */

/* Room for the names of keys in a report. */
#define KEYS_SIZE	360

/* Append the names of the keys of a map, as many as there is room for. */
static void
list_keys(char *list, size_t size, const MeterMembers *members)
{
	static const char more[] = ", ...";
	size_t		used = strlen(list);
	int			i;

	if (members->n == 0)
		(void) snprintf(list + used, size - used, "none");
	for (i = 0; i < members->n; i++)
	{
		MeterAttr	key = members->members[i].key;
		MeterAttr	clipped = meter_clip(key.data, key.len);

		/* with a comma, a space, quotes, and what stands for more */
		if (used + (size_t) clipped.len + 7 + sizeof(more) > size)
		{
			memcpy(list + used, more, sizeof(more));
			return;
		}
		used += (size_t) snprintf(list + used, size - used, "%s\"%.*s%s\"",
								  i > 0 ? ", " : "",
								  (int) clipped.len, clipped.data,
								  clipped.len < key.len ? "..." : "");
	}
}

/* Report that a key is missing, and which are there. */
bool
meter_map_missing(MeterMapping *mapping, const char *name,
				  const char *problem)
{
	static const char within[] = ", and in \"data\" ";
	char		keys[KEYS_SIZE] = "";

	list_keys(keys, mapping->has_data ? KEYS_SIZE / 2 : KEYS_SIZE, mapping->members);
	if (mapping->has_data)
	{
		memcpy(keys + strlen(keys), within, sizeof(within));
		list_keys(keys, KEYS_SIZE, &mapping->data);
	}
	mapping->reader->key = meter_name_attr(name);
	meter_fail(mapping->reader, mapping->reader->text,
			   "%s; keys found: %s", problem, keys);
	return false;
}

/* Check that all is there that a record must have. */
bool
meter_map_complete(MeterMapping *mapping)
{
	const MeterRecord *record = mapping->record;
	const char *const *times = mapping->form->times;
	char		start[METER_INSTANT_SIZE];
	char		end[METER_INSTANT_SIZE];
	int			i;

	if (record->time == METER_END)
		return meter_map_missing(mapping, times[0], "it is required, and missing");
	if (times[1] != NULL && record->end == METER_END)
		return meter_map_missing(mapping, times[1], "it is required, and missing");
	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (MeterHasField(mapping->form->required, i) &&
			MeterAttrIsNull(record->fields[i]))
			return meter_map_missing(mapping, meter_field_names[i],
									 "it is required, and missing");
	}
	if (times[1] != NULL && record->end < record->time)
	{
		mapping->reader->key = meter_name_attr(times[1]);
		meter_fail(mapping->reader, mapping->end_at,
				   "it is %.*s, before \"%s\", %.*s",
				   meter_instant_write(record->end, end), end, times[0],
				   meter_instant_write(record->time, start), start);
		return false;
	}
	if (meter_record_bound(record) > METER_MAX_RECORD)
	{
		mapping->reader->key = METER_NULL_ATTR;
		fail_length(mapping, mapping->reader->text);
		return false;
	}
	return true;
}

/* Return the member of that name, or NULL if there is none or it is null. */
const MeterMember *
meter_map_find(const MeterMembers *members, const char *name)
{
	int			i;

	for (i = 0; i < members->n; i++)
	{
		if (meter_text_is(members->members[i].key, name) &&
			members->members[i].kind != METER_JSON_NULL)
			return &members->members[i];
	}
	return NULL;
}

/* Begin to make a record. */
void
meter_map_begin(MeterMapping *mapping, const MeterTextOptions *options,
				MeterReader *reader, MeterReadMap read_map, MeterRecord *record)
{
	memset(mapping, 0, offsetof(MeterMapping, attributes));
	mapping->options = options;
	mapping->form = &meter_record_forms[options->kind];
	mapping->reader = reader;
	mapping->read_map = read_map;
	mapping->record = record;
	meter_items_init(&mapping->parts);
	meter_record_init(record, options->kind);
}
