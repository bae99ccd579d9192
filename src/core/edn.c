/*
 * edn.c
 *	  Reading EDN, into canonical JSON text.
 *
 * Keywords, strings, characters, #inst and #uuid become strings, vectors and
 * lists become lists, and so do sets, in the order of their elements as they
 * are written.  What has no counterpart is refused: symbols, ratios, other
 * tags, keys that are neither keywords nor strings.  What #_ discards must
 * be well formed, and nothing more.
 */
#include "core/core.h"
#include "core/instant.h"
#include "core/jsontext.h"

static void put_value(MeterReader *reader, MeterWriter *writer);

/* Tell whether a byte is white space, as a comma is. */
static inline bool
is_space(char byte)
{
	return byte == ' ' || byte == ',' || (byte >= '\t' && byte <= '\r');
}

/* Tell whether a byte ends a word. */
static inline bool
is_delimiter(char byte)
{
	return is_space(byte) || byte == '"' || byte == ';' || byte == '\\' ||
		byte == '(' || byte == ')' || byte == '[' || byte == ']' ||
		byte == '{' || byte == '}';
}

/* Return the byte that lies `further` on, or a zero byte at the end. */
static inline char
peek(const MeterReader *reader, int further)
{
	return reader->end - reader->at > further ? reader->at[further] : '\0';
}

/* Go past the value that #_ discards. */
static void
discard(MeterReader *reader)
{
	MeterWriter scratch;

	if (!meter_read_enter(reader))
		return;
	reader->at += 2;
	reader->discarded++;
	meter_edn_skip_space(reader);
	if (!reader->failed)
	{
		meter_writer_init(&scratch, 64);
		put_value(reader, &scratch);
		if (scratch.too_long)
			meter_fail(reader, reader->at, "what is discarded is too long");
		pfree(scratch.text);
	}
	reader->discarded--;
	reader->depth--;
}

/* Go past white space, commas, comments and discarded values. */
void
meter_edn_skip_space(MeterReader *reader)
{
	while (!reader->failed && reader->at < reader->end)
	{
		if (is_space(*reader->at))
			reader->at++;
		else if (*reader->at == ';')
		{
			while (reader->at < reader->end && *reader->at != '\n' &&
				   *reader->at != '\r')
				reader->at++;
		}
		else if (*reader->at == '#' && peek(reader, 1) == '_')
			discard(reader);
		else
			break;
	}
}

/* Read a word: all up to a delimiter. */
static MeterAttr
get_word(MeterReader *reader)
{
	const char *from = reader->at;

	while (reader->at < reader->end && !is_delimiter(*reader->at))
		reader->at++;
	return meter_attr(from, (int32) (reader->at - from));
}

/* Read a keyword whose colon is next; its name is the text. */
static bool
get_keyword(MeterReader *reader, MeterAttr *text)
{
	MeterAttr	word = get_word(reader);

	text->data = word.data + 1;
	text->len = word.len - 1;
	if (text->len == 0 || text->data[0] == ':')
	{
		meter_fail(reader, word.data, "expected a name after the colon");
		return false;
	}
	if (!meter_text_is_valid(text->data, text->len))
	{
		meter_fail(reader, word.data, "the keyword is not UTF-8");
		return false;
	}
	return true;
}

/* Read a character whose backslash is next. */
static bool
get_character(MeterReader *reader, MeterAttr *text)
{
	static const struct
	{
		const char *name;
		const char *text;
	}			names[] = {
		{"newline", "\n"}, {"return", "\r"}, {"space", " "}, {"tab", "\t"},
		{"formfeed", "\f"}, {"backspace", "\b"}
	};
	const char *from = reader->at++;
	MeterAttr	word = {reader->at, 0};
	size_t		n = 0;
	size_t		i;

	if (reader->at < reader->end && (uint8) *reader->at > 0x20)
		n = meter_utf8_length(reader->at, reader->end);
	reader->at += n;
	if (n == 1)
		get_word(reader);
	word.len = (int32) (reader->at - word.data);
	if (n > 0 && (size_t) word.len == n)
	{
		*text = word;
		return true;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (meter_text_is(word, names[i].name))
		{
			text->data = names[i].text;
			text->len = 1;
			return true;
		}
	}
	if (word.len == 5 && word.data[0] == 'u')
	{
		const char *after = reader->at;
		MeterWriter writer;
		uint32		code_point;

		meter_writer_init(&writer, 4);
		reader->at = word.data + 1;
		if (meter_read_hex(reader, &code_point) &&
			meter_put_code_point(&writer, code_point))
		{
			reader->at = after;
			text->data = writer.text;
			text->len = (int32) writer.used;
			return true;
		}
	}
	meter_fail(reader, from,
			   "expected a character, such as \\a, \\space or \\u00e4");
	return false;
}

/* Read a number, which may end with N or M. */
static bool
get_number(MeterReader *reader, MeterMember *member)
{
	MeterAttr	word = get_word(reader);
	MeterAttr	digits = word;
	char		suffix = word.data[word.len - 1];
	const char *problem;

	member->kind = METER_JSON_NUMBER;
	if (digits.data[0] == '+')
	{
		digits.data++;
		digits.len--;
	}
	if (suffix == 'N' || suffix == 'M')
		digits.len--;
	problem = meter_number_parse(digits.data, digits.len, &member->value,
								 &member->integer);
	if (problem == NULL && suffix == 'N' && !member->integer)
		problem = "only integers end in N";
	if (problem != NULL && memchr(word.data, '/', word.len) != NULL)
		problem = "ratios have no exact decimal: expected a number, such as 4 or -1.5";
	if (problem != NULL)
	{
		meter_fail_number(reader, word.data, word.len, problem);
		return false;
	}
	if (suffix == 'M')
		member->integer = false;
	return true;
}

/* Tell whether a text is a UUID, and write it in small letters. */
static bool
get_uuid(MeterAttr text, MeterAttr *uuid)
{
	char	   *to;
	int			i;

	if (text.len != 36)
		return false;
	to = palloc(36);
	for (i = 0; i < 36; i++)
	{
		char		byte = text.data[i];

		if (byte >= 'A' && byte <= 'F')
			byte += 'a' - 'A';
		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (byte != '-')
				return false;
		}
		else if (!((byte >= '0' && byte <= '9') ||
				   (byte >= 'a' && byte <= 'f')))
			return false;
		to[i] = byte;
	}
	uuid->data = to;
	uuid->len = 36;
	return true;
}

/* Read a tagged value whose # is next. */
static bool
get_tagged(MeterReader *reader, MeterAttr *text)
{
	MeterAttr	tag = get_word(reader);
	const char *from;
	const char *problem = NULL;
	MeterAttr	string;
	bool		inst = meter_text_is(tag, "#inst");

	if (meter_text_is(tag, "##NaN") || meter_text_is(tag, "##Inf") ||
		meter_text_is(tag, "##-Inf"))
	{
		meter_fail_number(reader, tag.data, tag.len,
						  "a number must be finite");
		return false;
	}
	if (!inst && !meter_text_is(tag, "#uuid"))
	{
		MeterAttr	clipped = meter_clip(tag.data, tag.len);

		meter_fail(reader, tag.data,
				   "expected #inst, #uuid or #{, found \"%.*s\"",
				   (int) clipped.len, clipped.data);
		return false;
	}
	meter_edn_skip_space(reader);
	if (reader->failed)
		return false;
	from = reader->at;
	if (peek(reader, 0) != '"')
	{
		meter_fail_expected(reader, from, inst ? "a string after #inst" :
							"a string after #uuid");
		return false;
	}
	if (!meter_read_string(reader, &string, true))
		return false;
	if (inst)
	{
		int64		instant;

		problem = meter_instant_parse(string.data, string.len, &instant);
		if (problem == NULL)
		{
			char	   *to = palloc(METER_INSTANT_SIZE);

			text->data = to;
			text->len = meter_instant_write(instant, to);
		}
	}
	else if (!get_uuid(string, text))
		problem = "expected a UUID, such as \"7a070a3d-66ff-4658-ab08-fe3cecd7c70f\"";
	if (problem != NULL)
	{
		MeterAttr	clipped = meter_clip(string.data, string.len);

		meter_fail(reader, from, "%s, found \"%.*s\"", problem,
				   (int) clipped.len, clipped.data);
		return false;
	}
	return true;
}

/* Read a value that is no map, list or set. */
static bool
get_scalar(MeterReader *reader, MeterMember *member)
{
	char		byte = peek(reader, 0);
	MeterAttr	word;

	member->integer = false;
	member->kind = METER_JSON_STRING;
	if (byte == '"')
		return meter_read_string(reader, &member->value, true);
	if (byte == ':')
		return get_keyword(reader, &member->value);
	if (byte == '\\')
		return get_character(reader, &member->value);
	if (reader->discarded == 0)
	{
		if (byte == '#')
			return get_tagged(reader, &member->value);
		if ((byte >= '0' && byte <= '9') ||
			((byte == '-' || byte == '+') &&
			 peek(reader, 1) >= '0' && peek(reader, 1) <= '9'))
			return get_number(reader, member);
	}

	word = get_word(reader);
	member->value = word;
	if (meter_text_is(word, "nil"))
	{
		member->kind = METER_JSON_NULL;
		member->value.data = "null";
		member->value.len = 4;
	}
	else if (meter_text_is(word, "true") || meter_text_is(word, "false"))
		member->kind = METER_JSON_BOOLEAN;
	else if (word.len == 0)
	{
		meter_fail_expected(reader, reader->at, "a value");
		return false;
	}
	else if (reader->discarded == 0)
	{
		MeterAttr	clipped = meter_clip(word.data, word.len);

		meter_fail(reader, word.data,
				   "expected a value, found the symbol \"%.*s\": write :%.*s or a string",
				   (int) clipped.len, clipped.data,
				   (int) clipped.len, clipped.data);
		return false;
	}
	else if (byte == '#')
	{
		/* discard the value of the tag with it, whatever the tag's name */
		meter_edn_skip_space(reader);
		if (!reader->failed && meter_read_enter(reader))
		{
			MeterWriter scratch;

			meter_writer_init(&scratch, 64);
			put_value(reader, &scratch);
			if (scratch.too_long)
				meter_fail(reader, reader->at, "what is discarded is too long");
			pfree(scratch.text);
			reader->depth--;
		}
		member->value.len = 0;
		return !reader->failed;
	}
	return true;
}

/* Read a key and go on to its value. */
static bool
get_key(MeterReader *reader, MeterAttr *key)
{
	char		byte = peek(reader, 0);

	if (byte == ':' ? !get_keyword(reader, key) :
		byte == '"' && !meter_read_string(reader, key, true))
		return false;
	if (byte != ':' && byte != '"')
	{
		meter_fail_expected(reader, reader->at,
							"a key, which is a keyword or a string");
		return false;
	}
	return true;
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
	for (;;)
	{
		MeterItem	part;
		MeterAttr	key;

		meter_edn_skip_space(reader);
		if (reader->failed || peek(reader, 0) == '}')
			break;
		if (parts.n > 0)
			meter_put_char(writer, ',');
		part.at = reader->at;
		part.from = writer->used;
		if (reader->discarded > 0)
		{
			/* a discarded map may have any keys */
			put_value(reader, writer);
			if (reader->failed || writer->too_long)
				return;
			meter_edn_skip_space(reader);
			if (!reader->failed)
				put_value(reader, writer);
			if (reader->failed || writer->too_long)
				return;
			continue;
		}
		if (!get_key(reader, &key))
			return;
		meter_put_string(writer, key.data, key.len);
		if (writer->too_long)
			return;
		part.key = part.from + 1;
		part.key_length = writer->used - part.from - 2;
		meter_put_char(writer, ':');
		meter_edn_skip_space(reader);
		if (reader->failed)
			return;
		put_value(reader, writer);
		if (reader->failed || writer->too_long)
			return;
		part.to = writer->used;
		meter_items_add(&parts, writer, part);
	}
	if (reader->failed)
		return;
	reader->at++;
	twice = meter_items_sort(&parts, writer);
	if (twice != NULL)
		meter_fail_twice(reader, writer, twice, "map");
	meter_put_char(writer, '}');
	reader->depth--;
}

/*
 * Read a list whose bracket is next, and write it; write a set in the order of
 * its elements.
 */
static void
put_list(MeterReader *reader, MeterWriter *writer, char closing, bool set)
{
	MeterItems	parts;
	bool		first = true;

	if (!meter_read_enter(reader))
		return;
	reader->at++;
	meter_put_char(writer, '[');
	meter_items_init(&parts);
	for (;;)
	{
		MeterItem	part;

		meter_edn_skip_space(reader);
		if (reader->failed || peek(reader, 0) == closing)
			break;
		if (!first)
			meter_put_char(writer, ',');
		first = false;
		part.at = reader->at;
		part.from = writer->used;
		put_value(reader, writer);
		if (reader->failed || writer->too_long)
			return;
		part.to = writer->used;
		part.key = part.from;
		part.key_length = part.to - part.from;
		if (set && reader->discarded == 0)
			meter_items_add(&parts, writer, part);
	}
	if (reader->failed)
		return;
	reader->at++;
	if (set)
	{
		const MeterItem *twice = meter_items_sort(&parts, writer);

		if (twice != NULL)
			meter_fail_twice(reader, writer, twice, "set");
	}
	meter_put_char(writer, ']');
	reader->depth--;
}

/* Read a value and write it. */
static void
put_value(MeterReader *reader, MeterWriter *writer)
{
	MeterMember member;

	switch (peek(reader, 0))
	{
		case '{':
			put_map(reader, writer);
			return;
		case '[':
			put_list(reader, writer, ']', false);
			return;
		case '(':
			put_list(reader, writer, ')', false);
			return;
		case '#':
			if (peek(reader, 1) == '{')
			{
				reader->at++;
				put_list(reader, writer, '}', true);
				return;
			}
			break;
		default:
			break;
	}
	if (!get_scalar(reader, &member))
		return;
	if (member.kind == METER_JSON_STRING)
		meter_put_string(writer, member.value.data, member.value.len);
	else
		meter_put(writer, member.value.data, member.value.len);
}

/* Read the value of a member. */
static bool
get_value(MeterReader *reader, MeterMember *member)
{
	char		byte = peek(reader, 0);
	MeterWriter writer;

	member->value_at = reader->at - reader->text;
	if (byte != '{' && byte != '[' && byte != '(' &&
		!(byte == '#' && peek(reader, 1) == '{'))
		return get_scalar(reader, member);

	member->integer = false;
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
meter_edn_read_map(MeterReader *reader, MeterMembers *members)
{
	if (!meter_read_enter(reader))
		return false;
	reader->at++;
	for (;;)
	{
		MeterMember *member;
		MeterAttr	key;

		meter_edn_skip_space(reader);
		if (reader->failed)
			return false;
		if (peek(reader, 0) == '}')
			break;
		member = meter_members_add(members);
		member->key_at = reader->at - reader->text;
		if (!get_key(reader, &key))
			return false;
		member->key = key;
		reader->key = key;
		meter_edn_skip_space(reader);
		if (reader->failed || !get_value(reader, member))
			return false;
		reader->key = METER_NULL_ATTR;
	}
	reader->at++;
	reader->depth--;
	return meter_members_unique(reader, members);
}
