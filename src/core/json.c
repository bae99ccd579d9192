/*
 * json.c
 *	  Reading JSON (RFC 8259), into canonical JSON text.
 *
 * No tree is built: the members of one map are returned one after the other,
 * and nested values as canonical text.
 */
#include "core/core.h"
#include "core/jsontext.h"

static void put_value(MeterReader *reader, MeterWriter *writer);

/* Go past white space. */
void
meter_json_skip_space(MeterReader *reader)
{
	while (reader->at < reader->end &&
		   (*reader->at == ' ' || *reader->at == '\t' ||
			*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

/*
 * Go past white space, and past a byte if that is the one; tells whether it
 * was.
 */
static bool
take(MeterReader *reader, char byte)
{
	meter_json_skip_space(reader);
	if (reader->at == reader->end || *reader->at != byte)
		return false;
	reader->at++;
	return true;
}

/* Read a number, true, false or null. */
static bool
get_word(MeterReader *reader, MeterMember *member)
{
	const char *from = reader->at;
	const char *at = from;
	size_t		length;
	const char *problem;

	while (at < reader->end &&
		   ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
			(*at >= 'A' && *at <= 'Z') || *at == '-' || *at == '+' ||
			*at == '.' || *at == '_'))
		at++;
	length = at - from;
	reader->at = at;
	member->integer = false;
	member->value.data = from;
	member->value.len = (int32) length;
	if (length > 0 && (*from == '-' || (*from >= '0' && *from <= '9')))
	{
		member->kind = METER_JSON_NUMBER;
		problem = meter_number_parse(from, length, &member->value,
									 &member->integer);
		if (problem == NULL)
			return true;
		if (length > 1 && *from == '-' && (from[1] == 'I' || from[1] == 'i'))
			problem = "a number must be finite";
		meter_fail_number(reader, from, length, problem);
		return false;
	}
	if (length == 4 && memcmp(from, "null", 4) == 0)
		member->kind = METER_JSON_NULL;
	else if ((length == 4 && memcmp(from, "true", 4) == 0) ||
			 (length == 5 && memcmp(from, "false", 5) == 0))
		member->kind = METER_JSON_BOOLEAN;
	else
	{
		if ((length == 3 && memcmp(from, "NaN", 3) == 0) ||
			(length == 8 && memcmp(from, "Infinity", 8) == 0))
			meter_fail_number(reader, from, length,
							  "a number must be finite");
		else
			meter_fail_expected(reader, from, "a value");
		return false;
	}
	return true;
}

/* Read a key and the colon after it. */
static bool
get_key(MeterReader *reader, MeterAttr *key)
{
	meter_json_skip_space(reader);
	if (reader->at == reader->end || *reader->at != '"')
	{
		meter_fail_expected(reader, reader->at, "a key between quotes");
		return false;
	}
	return meter_read_string(reader, key, false);
}

/* Go past a colon, which must be there. */
static bool
expect_colon(MeterReader *reader)
{
	if (take(reader, ':'))
	{
		meter_json_skip_space(reader);
		return true;
	}
	meter_fail_expected(reader, reader->at, "a colon after the key");
	return false;
}

/* Tell whether another member follows, or the end of the map or list. */
static bool
next_part(MeterReader *reader, char closing)
{
	if (take(reader, ','))
		return true;
	if (!take(reader, closing))
		meter_fail_expected(reader, reader->at,
							closing == '}' ? "a comma or the end of the map" :
							"a comma or the end of the list");
	return false;
}

/* Write a string that was read before. */
static void
put_text(MeterReader *reader, MeterWriter *writer, MeterAttr text)
{
	if (text.data >= reader->text && text.data <= reader->end)
	{
		/* as it was read, so it needs no escapes */
		meter_put_char(writer, '"');
		meter_put(writer, text.data, text.len);
		meter_put_char(writer, '"');
	}
	else
		meter_put_string(writer, text.data, text.len);
}

/* Read a map whose brace is next, and write it. */
static void
put_map(MeterReader *reader, MeterWriter *writer)
{
	MeterItems	parts;
	const MeterItem *twice;

	if (!meter_read_enter(reader))
		return;
	reader->at++;
	meter_put_char(writer, '{');
	meter_items_init(&parts);
	if (!take(reader, '}'))
	{
		do
		{
			MeterItem	part;
			MeterAttr	key;

			if (parts.n > 0)
				meter_put_char(writer, ',');
			meter_json_skip_space(reader);
			part.at = reader->at;
			part.from = writer->used;
			if (!get_key(reader, &key))
				return;
			put_text(reader, writer, key);
			part.key = part.from + 1;
			part.key_length = writer->used - part.from - 2;
			if (!expect_colon(reader))
				return;
			meter_put_char(writer, ':');
			put_value(reader, writer);
			if (reader->failed || writer->too_long)
				return;
			part.to = writer->used;
			meter_items_add(&parts, writer, part);
		} while (next_part(reader, '}'));
	}
	if (reader->failed)
		return;
	twice = meter_items_sort(&parts, writer);
	if (twice != NULL)
		meter_fail_twice(reader, writer, twice, "map");
	meter_put_char(writer, '}');
	reader->depth--;
}

/* Read a list whose bracket is next, and write it. */
static void
put_list(MeterReader *reader, MeterWriter *writer)
{
	bool		first = true;

	if (!meter_read_enter(reader))
		return;
	reader->at++;
	meter_put_char(writer, '[');
	if (!take(reader, ']'))
	{
		do
		{
			if (!first)
				meter_put_char(writer, ',');
			first = false;
			meter_json_skip_space(reader);
			put_value(reader, writer);
			if (reader->failed || writer->too_long)
				return;
		} while (next_part(reader, ']'));
	}
	meter_put_char(writer, ']');
	reader->depth--;
}

/* Read a value and write it. */
static void
put_value(MeterReader *reader, MeterWriter *writer)
{
	char		byte = reader->at < reader->end ? *reader->at : '\0';

	if (byte == '"')
	{
		MeterAttr	text;

		if (meter_read_string(reader, &text, false))
			put_text(reader, writer, text);
	}
	else if (byte == '{')
		put_map(reader, writer);
	else if (byte == '[')
		put_list(reader, writer);
	else
	{
		MeterMember member;

		if (get_word(reader, &member))
			meter_put(writer, member.value.data, member.value.len);
	}
}

/* Read the value of a member. */
static bool
get_value(MeterReader *reader, MeterMember *member)
{
	char		byte = reader->at < reader->end ? *reader->at : '\0';
	MeterWriter writer;

	member->integer = false;
	member->value_at = reader->at - reader->text;
	if (byte == '"')
	{
		member->kind = METER_JSON_STRING;
		return meter_read_string(reader, &member->value, false);
	}
	if (byte != '{' && byte != '[')
		return get_word(reader, member);

	member->kind = byte == '{' ? METER_JSON_MAP : METER_JSON_LIST;
	meter_writer_init(&writer, 256);
	put_value(reader, &writer);
	if (writer.too_long)
		meter_fail(reader, reader->text + member->value_at,
				   "the value is too long");
	member->value.data = writer.text;
	member->value.len = (int32) writer.used;
	return !reader->failed;
}

/*
 * Read a map whose brace is next, member by member.  Returns false if
 * something is wrong with it.
 */
bool
meter_json_read_map(MeterReader *reader, MeterMembers *members)
{
	if (!meter_read_enter(reader))
		return false;
	reader->at++;
	if (!take(reader, '}'))
	{
		do
		{
			MeterAttr	key;
			MeterMember *member;

			meter_json_skip_space(reader);
			member = meter_members_add(members);
			member->key_at = reader->at - reader->text;
			if (!get_key(reader, &key))
				return false;
			member->key = key;
			reader->key = key;
			if (!expect_colon(reader) || !get_value(reader, member))
				return false;
			reader->key = METER_NULL_ATTR;
		} while (next_part(reader, '}'));
	}
	reader->depth--;
	return !reader->failed && meter_members_unique(reader, members);
}

/* Go past a string, of which only the end is looked for. */
static void
skip_string(MeterReader *reader)
{
	for (reader->at++; reader->at < reader->end && *reader->at != '"'; reader->at++)
	{
		if (*reader->at == '\\' && reader->at + 1 < reader->end)
			reader->at++;
	}
	if (reader->at < reader->end)
		reader->at++;
}

/*
 * Find the next element of a list whose bracket, or the comma or bracket
 * behind whose last element, is next: its text, which is not looked at but for
 * where it ends.  Returns false behind the last one, or if the list is not
 * well formed.
 */
bool
meter_json_next_element(MeterReader *reader, MeterAttr *element)
{
	bool		first = reader->at < reader->end && *reader->at == '[';
	const char *from;
	int			depth = 0;

	if (!first && !next_part(reader, ']'))
		return false;
	if (first)
	{
		reader->at++;
		if (take(reader, ']'))
			return false;
	}
	meter_json_skip_space(reader);
	from = reader->at;
	while (reader->at < reader->end &&
		   (depth > 0 || (*reader->at != ',' && *reader->at != ']')))
	{
		char		byte = *reader->at;

		if (byte == '"')
		{
			skip_string(reader);
			continue;
		}
		if (byte == '{' || byte == '[')
			depth++;
		else if (byte == '}' || byte == ']')
			depth--;
		reader->at++;
	}
	element->data = from;
	element->len = (int32) (reader->at - from);
	while (element->len > 0 && strchr(" \t\r\n", from[element->len - 1]) != NULL)
		element->len--;
	if (element->len == 0)
		meter_fail_expected(reader, reader->at, "a value");
	else if (reader->at == reader->end)
		meter_fail_expected(reader, reader->at, "the end of the list");
	return !reader->failed;
}
