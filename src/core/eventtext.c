/*
 * eventtext.c
 *	  Usage events from text: JSON, EDN and CloudEvents.
 *
 * In any syntax, a map is read into its members, and these make the event:
 * known keys are its fields, all others its attributes.  In a CloudEvent the
 * members of "data" come first, and the envelope adds what they leave out.
 */
#include "core/core.h"
#include "core/eventform.h"
#include "core/instant.h"
#include "core/jsontext.h"
#include "core/problem.h"

/* What a key stands for; the fields are themselves. */
typedef enum KeyMeaning
{
	KEY_TIME = METER_NFIELDS,
	KEY_UUID,					/* the resource */
	KEY_TYPE,
	KEY_SPECVERSION,
	KEY_ATTRIBUTE
} KeyMeaning;

/* An event that is being made of members. */
typedef struct Mapping
{
	MeterReader *reader;
	MeterReadMap read_map;
	MeterUsageEvent *event;
	MeterWriter attributes;
	MeterItems	parts;			/* the attributes */
} Mapping;

/* Make an attribute of a name in C. */
static MeterAttr
name_attr(const char *name)
{
	return meter_attr(name, (int32) strlen(name));
}

/* Return what a key stands for. */
static int
look_up_key(MeterAttr key)
{
	static const struct
	{
		const char *name;
		int			meaning;
	}			keys[] = {
		{"time", KEY_TIME}, {"resource", METER_RESOURCE},
		{"action", METER_ACTION}, {"account", METER_ACCOUNT},
		{"entity", METER_ENTITY}, {"offering", METER_OFFERING},
		{"value", METER_VALUE}, {"source", METER_SOURCE}, {"id", METER_ID},
		{"attributes", METER_ATTRIBUTES}, {"uuid", KEY_UUID},
		{"type", KEY_TYPE}, {"specversion", KEY_SPECVERSION}
	};
	size_t		i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		/* two bytes tell most keys apart */
		if (key.len >= 2 && key.data[0] == keys[i].name[0] &&
			key.data[1] == keys[i].name[1] && meter_text_is(key, keys[i].name))
			return keys[i].meaning;
	}
	return KEY_ATTRIBUTE;
}

/* --- fields ------------------------------------------------------------- */

/* Report that the value of a member is not what it should be. */
static bool
fail_member(Mapping *mapping, const MeterMember *member, const char *problem)
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

/* Set the time of the event from a member. */
static bool
set_time(Mapping *mapping, const MeterMember *member)
{
	const char *problem = "expected an instant with a zone, such as \"2024-03-05T10:00:00Z\"";

	if (member->kind == METER_JSON_STRING)
		problem = meter_instant_parse(member->value.data, member->value.len,
									  &mapping->event->time);
	return problem == NULL || fail_member(mapping, member, problem);
}

/* Set the value of the event from a member. */
static bool
set_value(Mapping *mapping, const MeterMember *member)
{
	MeterAttr  *value = &mapping->event->fields[METER_VALUE];
	const char *problem = "expected a number, such as 4 or -1.5";
	bool		integer;

	if (member->kind == METER_JSON_NUMBER)
	{
		*value = member->value;
		return true;
	}
	if (member->kind == METER_JSON_STRING)
	{
		problem = meter_number_parse(member->value.data, member->value.len,
									 value, &integer);
		if (problem == NULL)
			return true;
		*value = METER_NULL_ATTR;
		if (meter_text_is(member->value, "NaN") ||
			meter_text_is(member->value, "Infinity") ||
			meter_text_is(member->value, "-Infinity"))
			problem = "a value must be finite";
	}
	return fail_member(mapping, member, problem);
}

/* Set a text field of the event from a member. */
static bool
set_text(Mapping *mapping, MeterField field, const MeterMember *member)
{
	if (member->kind != METER_JSON_STRING && !member->integer)
		return fail_member(mapping, member, "expected a string");
	if (member->value.len == 0 && field < METER_ACCOUNT)
		return fail_member(mapping, member, "expected a text that is not empty");
	mapping->event->fields[field] = member->value;
	return true;
}

/* Set a field, or the time, from a member that is not null. */
static bool
set_field(Mapping *mapping, int meaning, const MeterMember *member)
{
	switch (meaning)
	{
		case KEY_TIME:
			return set_time(mapping, member);
		case METER_VALUE:
			return set_value(mapping, member);
		default:
			return set_text(mapping, (MeterField) meaning, member);
	}
}

/* --- attributes --------------------------------------------------------- */

/* Add an attribute of a given name. */
static bool
add_attribute(Mapping *mapping, MeterAttr name, const MeterMember *member)
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
		meter_fail(mapping->reader, part.at, "the event is longer than %d MB",
				   METER_MAX_EVENT / 1024 / 1024);
		return false;
	}
	meter_items_add(&mapping->parts, writer, part);
	return true;
}

/*
 * Tell whether the first n attributes, which are sorted, have one of that
 * name.
 */
static bool
has_attribute(const Mapping *mapping, int n, MeterAttr name)
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
static bool
add_attributes(Mapping *mapping, const MeterMembers *members)
{
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];

		if (look_up_key(member->key) != KEY_ATTRIBUTE)
		{
			mapping->reader->key = member->key;
			meter_fail(mapping->reader,
					   mapping->reader->text + member->key_at,
					   "it has a meaning of its own, and cannot be among the attributes");
			return false;
		}
		if (!add_attribute(mapping, member->key, member))
			return false;
	}
	return true;
}

/* Put the attributes in order; none may be there twice. */
static bool
sort_attributes(Mapping *mapping)
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

/* Hand the attributes to the event. */
static bool
finish_attributes(Mapping *mapping)
{
	MeterWriter *writer = &mapping->attributes;

	if (!sort_attributes(mapping))
		return false;
	if (mapping->parts.n > 0)
	{
		meter_put_char(writer, '}');
		mapping->event->fields[METER_ATTRIBUTES].data = writer->text;
		mapping->event->fields[METER_ATTRIBUTES].len = (int32) writer->used;
	}
	return true;
}

/* Read the map that is the value of a member, member by member. */
static bool
read_members(Mapping *mapping, const MeterMember *member,
			 MeterMembers *members)
{
	MeterReader *reader = mapping->reader;
	const char *at = reader->at;
	bool		good;

	if (member->kind != METER_JSON_MAP)
		return fail_member(mapping, member, "expected a map");
	meter_members_init(members);
	reader->at = reader->text + member->value_at;
	good = mapping->read_map(reader, members);
	reader->at = at;
	return good;
}

/* --- maps to events ----------------------------------------------------- */

/* Make an event of the members of a map. */
static bool
map_members(Mapping *mapping, const MeterMembers *members)
{
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];
		int			meaning = look_up_key(member->key);

		if (meaning == KEY_ATTRIBUTE)
		{
			if (!add_attribute(mapping, member->key, member))
				return false;
			continue;
		}
		if (member->kind == METER_JSON_NULL)
			continue;
		if (meaning == KEY_UUID || meaning == METER_RESOURCE)
		{
			meaning = METER_RESOURCE;
			if (!MeterAttrIsNull(mapping->event->fields[METER_RESOURCE]))
			{
				mapping->reader->key = member->key;
				meter_fail(mapping->reader,
						   mapping->reader->text + member->key_at,
						   "\"uuid\" and \"resource\" both name the resource: expected one of them");
				return false;
			}
		}
		if (meaning == KEY_TYPE)
		{
			if (member->kind != METER_JSON_STRING ||
				!meter_text_is(member->value, "usage"))
				return fail_member(mapping, member, "expected \"usage\"");
		}
		else if (meaning == METER_ATTRIBUTES)
		{
			MeterMembers attributes;

			if (!read_members(mapping, member, &attributes) ||
				!add_attributes(mapping, &attributes))
				return false;
		}
		else if (!set_field(mapping, meaning, member))
			return false;
	}
	return true;
}

/* Add to an event what the "data" of a CloudEvent says. */
static bool
map_data(Mapping *mapping, const MeterMembers *members)
{
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];
		int			meaning = look_up_key(member->key);
		MeterWriter name;

		if (meaning == KEY_UUID)
			meaning = METER_RESOURCE;
		switch (meaning)
		{
			case METER_SOURCE:
			case METER_ID:
			case KEY_TYPE:
			case KEY_SPECVERSION:
				/* the envelope's are the event's; these are kept beside them */
				meter_writer_init(&name, 16);
				meter_put(&name, "data.", 5);
				meter_put(&name, member->key.data, member->key.len);
				if (!add_attribute(mapping,
								   meter_attr(name.text, (int32) name.used),
								   member))
					return false;
				break;
			case KEY_ATTRIBUTE:
				if (!add_attribute(mapping, member->key, member))
					return false;
				break;
			case METER_ATTRIBUTES:
				if (member->kind != METER_JSON_NULL)
				{
					MeterMembers attributes;

					if (!read_members(mapping, member, &attributes) ||
						!add_attributes(mapping, &attributes))
						return false;
				}
				break;
			case METER_RESOURCE:
				if (member->kind != METER_JSON_NULL &&
					!MeterAttrIsNull(mapping->event->fields[METER_RESOURCE]))
				{
					mapping->reader->key = member->key;
					meter_fail(mapping->reader,
							   mapping->reader->text + member->key_at,
							   "\"uuid\" and \"resource\" both name the resource: expected one of them");
					return false;
				}
				/* fall through */
			default:
				if (member->kind != METER_JSON_NULL &&
					!set_field(mapping, meaning, member))
					return false;
		}
	}
	return true;
}

/* Return the member of that name, or NULL if there is none or it is null. */
static const MeterMember *
find_member(const MeterMembers *members, const char *name)
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

/* Report that a key is missing. */
static bool
fail_missing(Mapping *mapping, const char *name, const char *problem)
{
	mapping->reader->key = name_attr(name);
	meter_fail(mapping->reader, mapping->reader->text, "%s", problem);
	return false;
}

/* Make an event of the members of a CloudEvent. */
static bool
map_cloud_event(Mapping *mapping, const MeterMembers *members,
				const MeterMember *specversion)
{
	static const char *const required[] = {"id", "source", "type"};
	MeterUsageEvent *event = mapping->event;
	const MeterMember *data = find_member(members, "data");
	MeterMembers inner;
	int			from_data;		/* number of attributes from data, which come
								 * first */
	int			i;

	if (specversion->kind != METER_JSON_STRING ||
		!meter_text_is(specversion->value, "1.0"))
		return fail_member(mapping, specversion, "expected \"1.0\"");
	for (i = 0; i < 3; i++)
	{
		const MeterMember *member = find_member(members, required[i]);

		if (member == NULL)
			return fail_missing(mapping, required[i],
								"a CloudEvent must have it");
		if (member->kind != METER_JSON_STRING || member->value.len == 0)
			return fail_member(mapping, member,
							   "expected a string that is not empty");
	}
	if (data != NULL && (!read_members(mapping, data, &inner) ||
						 !map_data(mapping, &inner) ||
						 !sort_attributes(mapping)))
		return false;
	from_data = mapping->parts.n;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];
		int			meaning = look_up_key(member->key);

		if (meaning == KEY_SPECVERSION || member == data ||
			meter_text_is(member->key, "datacontenttype"))
			continue;
		if (meter_text_is(member->key, "data_base64"))
			return fail_member(mapping, member,
							   "binary data cannot be read: expected JSON in \"data\"");
		if (meaning == KEY_ATTRIBUTE)
		{
			/* the subject is the resource, unless data names one */
			if (meter_text_is(member->key, "subject") &&
				member->kind != METER_JSON_NULL &&
				MeterAttrIsNull(event->fields[METER_RESOURCE]) &&
				find_member(members, "resource") == NULL &&
				find_member(members, "uuid") == NULL)
			{
				if (!set_text(mapping, METER_RESOURCE, member))
					return false;
			}
			else if (!meter_text_is(member->key, "data") &&
					 !has_attribute(mapping, from_data, member->key) &&
					 !add_attribute(mapping, member->key, member))
				return false;
			continue;
		}
		if (member->kind == METER_JSON_NULL)
			continue;
		if (meaning == KEY_TYPE)
		{
			if (!MeterAttrIsNull(event->fields[METER_ACTION]) ||
				find_member(members, "action") != NULL)
			{
				if (!add_attribute(mapping, name_attr("ce-type"), member))
					return false;
			}
			else if (!set_text(mapping, METER_ACTION, member))
				return false;
			continue;
		}
		if (meaning == METER_ATTRIBUTES)
			return fail_member(mapping, member,
							   "a CloudEvent has its attributes in \"data\"");
		if (meaning == KEY_UUID)
			meaning = METER_RESOURCE;
		if (meaning == KEY_TIME ? event->time == METER_END :
			MeterAttrIsNull(event->fields[meaning]))
		{
			if (!set_field(mapping, meaning, member))
				return false;
		}
	}
	if (MeterAttrIsNull(event->fields[METER_RESOURCE]))
		return fail_missing(mapping, "subject",
							"it is missing, and \"data\" names no resource");
	return true;
}

/* Begin to make an event. */
static void
begin_mapping(Mapping *mapping, MeterReader *reader, MeterReadMap read_map,
			  MeterUsageEvent *event)
{
	mapping->reader = reader;
	mapping->read_map = read_map;
	mapping->event = event;
	meter_items_init(&mapping->parts);
	meter_event_init(event);
}

/* Tell whether a word is null, true or false. */
static bool
is_json_word(const char *at, const char *end)
{
	MeterAttr	word = {at, 0};

	while (at + word.len < end && at[word.len] >= 'a' && at[word.len] <= 'z')
		word.len++;
	return meter_text_is(word, "null") || meter_text_is(word, "true") ||
		meter_text_is(word, "false");
}

/*
 * Tell whether a text is EDN: it begins with a comment, or with a map whose
 * first key is not a string, or is not followed by a colon, or is followed by
 * a keyword.
 */
static bool
looks_like_edn(const char *text, size_t length)
{
	MeterProblem problem;
	MeterReader reader;
	const char *behind;

	meter_reader_init(&reader, text, length, &problem);
	meter_json_skip_space(&reader);
	if (reader.at == reader.end)
		return false;
	if (*reader.at != '{')
		return *reader.at == ';' || *reader.at == '#' || *reader.at == ',';
	reader.at++;
	meter_json_skip_space(&reader);
	if (reader.at == reader.end || *reader.at == '}')
		return false;
	if (*reader.at != '"')
		return strchr(":;#,({[\\", *reader.at) != NULL && *reader.at != '\0';
	for (reader.at++; reader.at < reader.end && *reader.at != '"'; reader.at++)
	{
		if (*reader.at == '\\' && reader.at + 1 < reader.end)
			reader.at++;
	}
	if (reader.at == reader.end)
		return false;
	reader.at++;
	behind = reader.at;
	meter_json_skip_space(&reader);
	if (reader.at == reader.end || *reader.at == '}')
		return false;
	if (*reader.at != ':')
		return true;
	return reader.at > behind && reader.end - reader.at > 1 &&
		((reader.at[1] >= 'a' && reader.at[1] <= 'z') ||
		 (reader.at[1] >= 'A' && reader.at[1] <= 'Z')) &&
		!is_json_word(reader.at + 1, reader.end);
}

/* Read an event.  Returns false and a problem if the text is no event. */
bool
meter_event_from_text(const char *text, size_t length,
					  MeterUsageEvent *event, MeterProblem *problem)
{
	bool		edn = looks_like_edn(text, length);
	MeterReader reader;
	MeterMembers members;
	Mapping		mapping;
	const MeterMember *specversion;
	int			i;

	meter_reader_init(&reader, text, length, problem);
	begin_mapping(&mapping, &reader,
				  edn ? meter_edn_read_map : meter_json_read_map, event);
	meter_members_init(&members);
	if (edn)
		meter_edn_skip_space(&reader);
	else
		meter_json_skip_space(&reader);
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		meter_fail(&reader, text,
				   "the text begins with a byte order mark, which is no part of an event");
	if (!reader.failed && (reader.at == reader.end || *reader.at != '{'))
		meter_fail_expected(&reader, reader.at,
							"an event, which is a map in JSON or EDN");
	if (reader.failed || !mapping.read_map(&reader, &members))
		return false;
	if (edn)
		meter_edn_skip_space(&reader);
	else
		meter_json_skip_space(&reader);
	if (!reader.failed && reader.at != reader.end)
		meter_fail(&reader, reader.at, "the text goes on after the event");
	if (reader.failed)
		return false;

	specversion = find_member(&members, "specversion");
	if (!(specversion != NULL ?
		  map_cloud_event(&mapping, &members, specversion) :
		  map_members(&mapping, &members)) ||
		!finish_attributes(&mapping))
		return false;

	if (event->time == METER_END)
		return fail_missing(&mapping, "time", "it is required, and missing");
	for (i = 0; i < METER_ACCOUNT; i++)
	{
		if (MeterAttrIsNull(event->fields[i]))
			return fail_missing(&mapping, meter_field_names[i],
								"it is required, and missing");
	}
	if (meter_event_bound(event) > METER_MAX_EVENT)
	{
		reader.key = METER_NULL_ATTR;
		meter_fail(&reader, text, "the event is longer than %d MB",
				   METER_MAX_EVENT / 1024 / 1024);
		return false;
	}
	return true;
}

/*
 * Read a JSON map into attributes.  Returns false and a problem if the text is
 * none.
 */
bool
meter_attributes_from_json(const char *text, size_t length,
						   MeterAttr *attributes, MeterProblem *problem)
{
	MeterReader reader;
	MeterMembers members;
	Mapping		mapping;
	MeterUsageEvent event;

	meter_reader_init(&reader, text, length, problem);
	begin_mapping(&mapping, &reader, meter_json_read_map, &event);
	meter_members_init(&members);
	meter_json_skip_space(&reader);
	if (reader.at == reader.end || *reader.at != '{')
	{
		meter_fail_expected(&reader, reader.at, "a map");
		return false;
	}
	if (!meter_json_read_map(&reader, &members))
		return false;
	meter_json_skip_space(&reader);
	if (reader.at != reader.end)
	{
		meter_fail(&reader, reader.at, "the text goes on after the map");
		return false;
	}
	if (!add_attributes(&mapping, &members) || !finish_attributes(&mapping))
		return false;
	*attributes = event.fields[METER_ATTRIBUTES];
	return true;
}

/*
 * Make attributes of texts in UTF-8.  Returns false and a problem if a name is
 * there twice or is not that of an attribute; the position is the attribute's
 * number.
 */
bool
meter_attributes_from_texts(const MeterAttr *keys, const MeterAttr *values,
							int n, MeterAttr *attributes,
							MeterProblem *problem)
{
	MeterReader reader;
	Mapping		mapping;
	MeterUsageEvent event;
	MeterMember member;
	int			i;

	/* places in a text of n bytes that nobody reads */
	meter_reader_init(&reader, (const char *) keys, (size_t) n, problem);
	begin_mapping(&mapping, &reader, meter_json_read_map, &event);
	for (i = 0; i < n; i++)
	{
		member.kind = values[i].len < 0 ? METER_JSON_NULL : METER_JSON_STRING;
		member.key = keys[i];
		member.value = values[i].len < 0 ? name_attr("null") : values[i];
		member.key_at = (size_t) i;
		reader.key = keys[i];
		if (!meter_text_is_valid(keys[i].data, keys[i].len) ||
			(values[i].len > 0 &&
			 !meter_text_is_valid(values[i].data, values[i].len)))
		{
			reader.key = METER_NULL_ATTR;
			meter_fail(&reader, reader.text + i,
					   "expected attributes in UTF-8 without zero bytes");
			return false;
		}
		if (look_up_key(keys[i]) != KEY_ATTRIBUTE)
		{
			meter_fail(&reader, reader.text + i,
					   "it has a meaning of its own, and cannot be among the attributes");
			return false;
		}
		if (!add_attribute(&mapping, keys[i], &member))
			return false;
	}
	if (!finish_attributes(&mapping))
		return false;
	*attributes = event.fields[METER_ATTRIBUTES];
	return true;
}
