/*
 * recordtext.c
 *	  Usage records from text: JSON, EDN and CloudEvents.
 */
#include <stdio.h>

#include "core/cloudevent.h"
#include "core/core.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "core/record.h"
#include "core/recordmap.h"

/* Make a record of the members of a map. */
static bool
map_members(MeterMapping *mapping)
{
	const MeterMembers *members = mapping->members;
	int			i;

	for (i = 0; i < members->n; i++)
	{
		const MeterMember *member = &members->members[i];
		int			meaning = meter_record_key(mapping->record->kind, member->key);
		bool		good = true;

		if (meaning == METER_KEY_ATTRIBUTE)
			good = meter_map_attribute(mapping, member->key, member);
		else if (member->kind == METER_JSON_NULL)
			continue;
		else if (meaning == METER_ATTRIBUTES)
			good = meter_map_attributes(mapping, member);
		else if (meaning != METER_KEY_TYPE)
			good = meter_map_field(mapping, meaning, member);
		else if (member->kind != METER_JSON_STRING ||
				 !meter_text_is(member->value, "usage"))
			good = meter_map_fail(mapping, member, "expected \"usage\"");
		if (!good)
			return false;
	}
	return true;
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

/* Read the map that a text is, and nothing around it but white space. */
static bool
read_whole(MeterReader *reader, bool edn, MeterMembers *members,
		   const MeterRecordForm *form)
{
	void		(*skip_space) (MeterReader *) = edn ? meter_edn_skip_space :
	meter_json_skip_space;
	char		expected[64];

	skip_space(reader);
	if (reader->end - reader->text >= 3 &&
		memcmp(reader->text, "\xef\xbb\xbf", 3) == 0)
		meter_fail(reader, reader->text,
				   "the text begins with a byte order mark, which is no part of %s",
				   form->one);
	if (!reader->failed && (reader->at == reader->end || *reader->at != '{'))
	{
		snprintf(expected, sizeof(expected),
				 "%s, which is a map in JSON or EDN", form->one);
		meter_fail_expected(reader, reader->at, expected);
	}
	meter_members_init(members);
	if (reader->failed || !(edn ? meter_edn_read_map : meter_json_read_map) (reader, members))
		return false;
	skip_space(reader);
	if (!reader->failed && reader->at != reader->end)
		meter_fail(reader, reader->at, "the text goes on after the %s",
				   form->name);
	return !reader->failed;
}

/* Read a record.  Returns false and a problem if the text is none. */
bool
meter_record_from_text(const MeterTextOptions *options,
					   const char *text, size_t length,
					   MeterRecord *record, MeterProblem *problem)
{
	bool		edn = looks_like_edn(text, length);
	MeterReader reader;
	MeterMembers members;
	MeterMapping mapping;
	const MeterMember *specversion;

	meter_reader_init(&reader, text, length, problem);
	meter_map_begin(&mapping, options, &reader,
					edn ? meter_edn_read_map : meter_json_read_map, record);
	if (!read_whole(&reader, edn, &members, mapping.form))
		return false;
	mapping.members = &members;
	specversion = meter_map_find(&members, "specversion");
	return (specversion != NULL ? meter_map_cloud_event(&mapping, specversion) :
			map_members(&mapping)) &&
		meter_map_finish(&mapping) && meter_map_complete(&mapping);
}

/*
 * Read a JSON map into attributes of a record.  Returns false and a problem if
 * the text is none.
 */
bool
meter_attributes_from_json(MeterRecordKind kind, const char *text,
						   size_t length, MeterAttr *attributes,
						   MeterProblem *problem)
{
	MeterTextOptions options = {kind, NULL};
	MeterReader reader;
	MeterMembers members;
	MeterMapping mapping;
	MeterRecord record;

	meter_reader_init(&reader, text, length, problem);
	meter_map_begin(&mapping, &options, &reader, meter_json_read_map, &record);
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
	if (!meter_map_members(&mapping, &members) || !meter_map_finish(&mapping))
		return false;
	*attributes = record.fields[METER_ATTRIBUTES];
	return true;
}
