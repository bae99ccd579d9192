/*
 * jsontext.c
 *	  Canonical JSON text: what its readers and writers share.
 *
 * Canonical text is one line without white space; the keys of a map are in the
 * order of their bytes as written; numbers are canonical decimals; strings
 * have escapes only where these are needed.  Equal values are equal bytes.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/core.h"
#include "core/jsontext.h"
#include "core/problem.h"

/* No text of an event is longer: an escape takes six bytes at most. */
#define MAX_TEXT	((size_t) 8 * METER_MAX_RECORD)

/* --- writing ------------------------------------------------------------ */

/* Begin a text of about that size. */
void
meter_writer_init(MeterWriter *writer, size_t size)
{
	writer->size = Min(Max(size, 32), MAX_TEXT);
	writer->used = 0;
	writer->too_long = false;
	writer->text = palloc(writer->size);
}

/* Make room for so many bytes. */
static bool
reserve(MeterWriter *writer, size_t more)
{
	if (writer->too_long || more > MAX_TEXT - writer->used)
	{
		writer->too_long = true;
		return false;
	}
	if (writer->used + more > writer->size)
	{
		writer->size = Min(Max(writer->size * 2, writer->used + more),
						   MAX_TEXT);
		writer->text = repalloc(writer->text, writer->size);
	}
	return true;
}

/* Write bytes as they are. */
void
meter_put(MeterWriter *writer, const char *bytes, size_t length)
{
	if (writer->used + length > writer->size && !reserve(writer, length))
		return;
	if (length > 0)
		memcpy(writer->text + writer->used, bytes, length);
	writer->used += length;
}

/* Write a byte as it is. */
void
meter_put_char(MeterWriter *writer, char byte)
{
	if (writer->used == writer->size && !reserve(writer, 1))
		return;
	writer->text[writer->used++] = byte;
}

/* Write a string between quotes, with the escapes it needs. */
void
meter_put_string(MeterWriter *writer, const char *text, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = text;
	const char *end = text + length;

	meter_put_char(writer, '"');
	while (at < end)
	{
		const char *from = at;

		while (at < end && (uint8) *at >= 0x20 && *at != '"' && *at != '\\')
			at++;
		meter_put(writer, from, at - from);
		if (at == end)
			break;
		meter_put_char(writer, '\\');
		switch (*at)
		{
			case '"':
			case '\\':
				meter_put_char(writer, *at);
				break;
			case '\b':
				meter_put_char(writer, 'b');
				break;
			case '\f':
				meter_put_char(writer, 'f');
				break;
			case '\n':
				meter_put_char(writer, 'n');
				break;
			case '\r':
				meter_put_char(writer, 'r');
				break;
			case '\t':
				meter_put_char(writer, 't');
				break;
			default:
				meter_put(writer, "u00", 3);
				meter_put_char(writer, digits[(uint8) *at >> 4]);
				meter_put_char(writer, digits[*at & 15]);
		}
		at++;
	}
	meter_put_char(writer, '"');
}

/* Write a character in UTF-8.  Returns false if no text can have it. */
bool
meter_put_code_point(MeterWriter *writer, uint32 code_point)
{
	char		bytes[4];
	int			n = 0;

	if (code_point == 0 || code_point > 0x10ffff ||
		(code_point >= 0xd800 && code_point <= 0xdfff))
		return false;
	if (code_point < 0x80)
		bytes[n++] = (char) code_point;
	else if (code_point < 0x800)
		bytes[n++] = (char) (0xc0 | code_point >> 6);
	else if (code_point < 0x10000)
	{
		bytes[n++] = (char) (0xe0 | code_point >> 12);
		bytes[n++] = (char) (0x80 | (code_point >> 6 & 0x3f));
	}
	else
	{
		bytes[n++] = (char) (0xf0 | code_point >> 18);
		bytes[n++] = (char) (0x80 | (code_point >> 12 & 0x3f));
		bytes[n++] = (char) (0x80 | (code_point >> 6 & 0x3f));
	}
	if (code_point >= 0x80)
		bytes[n++] = (char) (0x80 | (code_point & 0x3f));
	meter_put(writer, bytes, n);
	return true;
}

/* --- UTF-8 -------------------------------------------------------------- */

/*
 * Return the number of bytes of the character at a place; 0 if it is not
 * UTF-8.
 */
size_t
meter_utf8_length(const char *at, const char *end)
{
	uint8		first = (uint8) *at;
	uint8		least = 0x80;	/* least value of the second byte */
	uint8		most = 0xbf;
	size_t		length;
	size_t		i;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	length = first < 0xe0 ? 2 : (first < 0xf0 ? 3 : 4);
	if ((size_t) (end - at) < length)
		return 0;
	if (first == 0xe0)
		least = 0xa0;			/* no overlong form */
	else if (first == 0xed)
		most = 0x9f;			/* no surrogates */
	else if (first == 0xf0)
		least = 0x90;
	else if (first == 0xf4)
		most = 0x8f;
	if ((uint8) at[1] < least || (uint8) at[1] > most)
		return 0;
	for (i = 2; i < length; i++)
	{
		if (((uint8) at[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

/* Tell whether a text is UTF-8 without zero bytes. */
bool
meter_text_is_valid(const char *text, size_t length)
{
	const char *at = text;
	const char *end = text + length;

	while (at < end)
	{
		size_t		n = *at == '\0' ? 0 : meter_utf8_length(at, end);

		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* --- problems ----------------------------------------------------------- */

/*
 * Return the beginning of a text that fits into a message, cut where a
 * character ends.
 */
MeterAttr
meter_clip(const char *from, size_t length)
{
	MeterAttr	clipped = {from, 0};
	const char *end = from + length;

	while (clipped.len < 60 && from + clipped.len < end)
	{
		const char *at = from + clipped.len;
		size_t		n = (uint8) *at < 0x20 ? 0 : meter_utf8_length(at, end);

		if (n == 0)
			break;
		clipped.len += (int32) n;
	}
	return clipped;
}

static void
METER_PRINTF(4, 0)
set_problem(MeterProblem *problem, size_t position, MeterAttr key,
			const char *format, va_list args)
{
	size_t		used = 0;

	problem->position = position;
	if (!MeterAttrIsNull(key))
	{
		MeterAttr	clipped = meter_clip(key.data, key.len);

		used = snprintf(problem->reason, sizeof(problem->reason),
						"key \"%.*s\"%s: ", (int) clipped.len, clipped.data,
						clipped.len < key.len ? "..." : "");
	}
	vsnprintf(problem->reason + used, sizeof(problem->reason) - used,
			  format, args);
}

/*
 * Report what is wrong at a place of the text; only the first report counts.
 */
void
meter_fail(MeterReader *reader, const char *at, const char *format,...)
{
	va_list		args;

	if (reader->failed)
		return;
	reader->failed = true;
	va_start(args, format);
	set_problem(reader->problem, at - reader->text, reader->key, format,
				args);
	va_end(args);
}

/* Report what should be at a place, and what is. */
void
meter_fail_expected(MeterReader *reader, const char *at,
					const char *expected)
{
	MeterAttr	found = meter_clip(at, reader->end - at);
	int32		i;

	if (at == reader->end)
	{
		meter_fail(reader, at, "expected %s, found the end of the text",
				   expected);
		return;
	}
	/* show a word, or the character that stands there */
	for (i = 0; i < found.len &&
		 ((found.data[i] >= 'a' && found.data[i] <= 'z') ||
		  (found.data[i] >= 'A' && found.data[i] <= 'Z') ||
		  (found.data[i] >= '0' && found.data[i] <= '9') ||
		  strchr("+-._:#", found.data[i]) != NULL); i++)
		;
	if (i == 0 && found.len > 0)
		i = (int32) meter_utf8_length(found.data, found.data + found.len);
	if (i == 0)
		meter_fail(reader, at, "expected %s, found the byte 0x%02x", expected,
				   (uint8) *at);
	else
		meter_fail(reader, at, "expected %s, found \"%.*s\"", expected,
				   (int) i, found.data);
}

/* Report what is wrong with a number, and show it. */
void
meter_fail_number(MeterReader *reader, const char *at, size_t length,
				  const char *problem)
{
	MeterAttr	found = meter_clip(at, length);

	meter_fail(reader, at, "%s, found \"%.*s%s\"", problem,
			   (int) found.len, found.data,
			   (size_t) found.len < length ? "..." : "");
}

/* Report that something within a map or set is there twice. */
void
meter_fail_twice(MeterReader *reader, const MeterWriter *writer,
				 const MeterItem *part, const char *where)
{
	MeterAttr	key = meter_clip(writer->text + part->key, part->key_length);

	meter_fail(reader, part->at, "\"%.*s%s\" is there twice in one %s",
			   (int) key.len, key.data,
			   (size_t) key.len < part->key_length ? "..." : "", where);
}

/* Report what is wrong with the value of a key. */
void
meter_fail_key(MeterProblem *problem, size_t position, MeterAttr key,
			   const char *format,...)
{
	va_list		args;

	va_start(args, format);
	set_problem(problem, position, key, format, args);
	va_end(args);
}

/* --- reading ------------------------------------------------------------ */

/* Begin to read a text. */
void
meter_reader_init(MeterReader *reader, const char *text, size_t length,
				  MeterProblem *problem)
{
	memset(reader, 0, sizeof(*reader));
	reader->text = text;
	reader->at = text;
	reader->end = text + length;
	reader->key = METER_NULL_ATTR;
	reader->problem = problem;
	problem->position = 0;
	problem->reason[0] = '\0';
}

/* Go into a map or a list. */
bool
meter_read_enter(MeterReader *reader)
{
	if (reader->depth == METER_MAX_DEPTH)
	{
		meter_fail(reader, reader->at,
				   "maps and lists are nested deeper than %d",
				   METER_MAX_DEPTH);
		return false;
	}
	reader->depth++;
	return true;
}

/* Read four hexadecimal digits. */
bool
meter_read_hex(MeterReader *reader, uint32 *code_unit)
{
	int			i;

	*code_unit = 0;
	if (reader->end - reader->at < 4)
		return false;
	for (i = 0; i < 4; i++)
	{
		char		byte = *reader->at++;

		if (byte >= '0' && byte <= '9')
			*code_unit = *code_unit * 16 + (byte - '0');
		else if (byte >= 'a' && byte <= 'f')
			*code_unit = *code_unit * 16 + (byte - 'a' + 10);
		else if (byte >= 'A' && byte <= 'F')
			*code_unit = *code_unit * 16 + (byte - 'A' + 10);
		else
			return false;
	}
	return true;
}

/*
 * Read what follows \\u in a string: a character, or one half of a pair and
 * the other after it.
 */
static void
read_unicode(MeterReader *reader, MeterWriter *writer, const char *from)
{
	uint32		code_point;
	uint32		low;

	if (!meter_read_hex(reader, &code_point))
	{
		meter_fail(reader, from, "expected four hexadecimal digits after \\u");
		return;
	}
	if (code_point >= 0xd800 && code_point <= 0xdbff)
	{
		if (reader->end - reader->at >= 2 && reader->at[0] == '\\' &&
			reader->at[1] == 'u')
		{
			reader->at += 2;
			if (meter_read_hex(reader, &low) && low >= 0xdc00 && low <= 0xdfff)
				code_point = 0x10000 + ((code_point - 0xd800) << 10) +
					(low - 0xdc00);
		}
	}
	if (meter_put_code_point(writer, code_point))
		return;
	if (code_point == 0)
		meter_fail(reader, from, "\\u0000 cannot be part of a text");
	else
		meter_fail(reader, from, "half of a surrogate pair cannot be part of a text");
}

/* Read what follows a backslash in a string. */
void
meter_read_escaped(MeterReader *reader, MeterWriter *writer)
{
	const char *from = reader->at - 1;

	if (reader->at == reader->end)
		return;					/* a string without its end */
	switch (*reader->at++)
	{
		case '"':
			meter_put_char(writer, '"');
			break;
		case '\\':
			meter_put_char(writer, '\\');
			break;
		case '/':
			meter_put_char(writer, '/');
			break;
		case 'b':
			meter_put_char(writer, '\b');
			break;
		case 'f':
			meter_put_char(writer, '\f');
			break;
		case 'n':
			meter_put_char(writer, '\n');
			break;
		case 'r':
			meter_put_char(writer, '\r');
			break;
		case 't':
			meter_put_char(writer, '\t');
			break;
		case 'u':
			read_unicode(reader, writer, from);
			break;
		default:
			meter_fail(reader, from, "there is no such escape in a string");
	}
}

/*
 * Read a string whose opening quote is next.  Without escapes the text is
 * where it was read.  With `controls` the string may have control characters
 * as they are, except the zero byte.
 */
bool
meter_read_string(MeterReader *reader, MeterAttr *text, bool controls)
{
	const char *opening = reader->at++;
	const char *from = reader->at;
	MeterWriter writer;
	bool		escaped = false;

	for (;;)
	{
		uint8		byte;

		if (reader->at == reader->end)
		{
			meter_fail(reader, opening, "the string has no closing quote");
			return false;
		}
		byte = (uint8) *reader->at;
		if (byte == '"')
			break;
		if (byte == '\\')
		{
			if (!escaped)
				meter_writer_init(&writer, reader->at - from + 64);
			escaped = true;
			meter_put(&writer, from, reader->at - from);
			reader->at++;
			meter_read_escaped(reader, &writer);
			if (reader->failed)
				return false;
			from = reader->at;
		}
		else if (byte < 0x20 && !controls)
		{
			meter_fail(reader, reader->at,
					   "a string has control characters as escapes only, such as \\n");
			return false;
		}
		else if (byte > 0 && byte < 0x80)
			reader->at++;
		else
		{
			size_t		n = byte == 0 ? 0 :
			meter_utf8_length(reader->at, reader->end);

			if (n == 0)
			{
				meter_fail(reader, reader->at, controls ?
						   "the byte 0x%02x is no part of a text in UTF-8" :
						   "the byte 0x%02x is not UTF-8", byte);
				return false;
			}
			reader->at += n;
		}
	}
	if (escaped)
	{
		meter_put(&writer, from, reader->at - from);
		if (writer.too_long)
		{
			meter_fail(reader, opening, "the string is too long");
			return false;
		}
		text->data = writer.text;
		text->len = (int32) writer.used;
	}
	else
	{
		text->data = from;
		text->len = (int32) (reader->at - from);
	}
	reader->at++;
	return true;
}

/*
 * Check that no key is there twice.  Few keys are compared each with each,
 * many are sorted.
 */
bool
meter_members_unique(MeterReader *reader, const MeterMembers *members)
{
	const MeterMember *all = members->members;
	const MeterMember *twice = NULL;
	int			i;
	int			j;

	if (members->n <= METER_FEW_MEMBERS)
	{
		for (i = 1; i < members->n && twice == NULL; i++)
		{
			for (j = 0; j < i; j++)
			{
				if (all[i].key.len == all[j].key.len &&
					memcmp(all[i].key.data, all[j].key.data,
						   all[i].key.len) == 0)
				{
					twice = &all[i];
					break;
				}
			}
		}
	}
	else
	{
		MeterWriter writer;
		MeterItems	parts;
		const MeterItem *part;

		meter_writer_init(&writer, (size_t) members->n * 16);
		meter_items_init(&parts);
		for (i = 0; i < members->n; i++)
		{
			MeterItem	key = {writer.used, 0, writer.used,
			all[i].key.len, reader->text + all[i].key_at};

			meter_put(&writer, all[i].key.data, all[i].key.len);
			key.to = writer.used;
			meter_items_add(&parts, &writer, key);
			meter_put_char(&writer, ',');
		}
		part = meter_items_sort(&parts, &writer);
		for (i = 0; part != NULL && twice == NULL; i++)
		{
			if (reader->text + all[i].key_at == part->at)
				twice = &all[i];
		}
		pfree(writer.text);
	}
	if (twice != NULL)
	{
		reader->key = twice->key;
		meter_fail(reader, reader->text + twice->key_at, "it is there twice");
	}
	return twice == NULL;
}

/* --- numbers ------------------------------------------------------------ */

/* numeric holds so many digits before and after the point. */
#define MAX_INTEGER_DIGITS	131072
#define MAX_FRACTION_DIGITS	16383

/*
 * Read a number of JSON into its canonical form.  Returns NULL, or what is
 * wrong with it.
 */
const char *
meter_number_parse(const char *text, size_t length, MeterAttr *number,
				   bool *integer)
{
	static const char *form = "expected a number, such as 4 or -1.5";
	const char *at = text;
	const char *end = text + length;
	bool		negative = false;
	const char *whole;
	const char *fraction;
	int			nwhole;
	int			nfraction = 0;
	int			nzeros;
	int			ndigits;
	int			point;			/* digits before the point */
	int			exponent = 0;
	int			i;
	char	   *to;

	if (at < end && *at == '-')
	{
		negative = true;
		at++;
	}
	whole = at;
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	if (at == whole || (*whole == '0' && at - whole > 1))
		return form;
	if (at == end && *whole != '0' && length <= MAX_INTEGER_DIGITS)
	{
		number->data = text;
		number->len = (int32) length;
		*integer = true;
		return NULL;
	}
	if (at - whole > METER_MAX_RECORD)
		return "the number is out of range";
	nwhole = (int) (at - whole);
	*integer = at == end;
	fraction = at;
	if (at < end && *at == '.')
	{
		fraction = ++at;
		while (at < end && *at >= '0' && *at <= '9')
			at++;
		if (at == fraction)
			return form;
		if (at - fraction > METER_MAX_RECORD)
			return "the number is out of range";
		nfraction = (int) (at - fraction);
	}
	if (at < end && (*at == 'e' || *at == 'E'))
	{
		bool		minus = false;
		const char *digits;

		at++;
		if (at < end && (*at == '+' || *at == '-'))
			minus = *at++ == '-';
		digits = at;
		while (at < end && *at >= '0' && *at <= '9')
		{
			if (exponent < 100000000)
				exponent = exponent * 10 + (*at - '0');
			at++;
		}
		if (at == digits)
			return form;
		if (minus)
			exponent = -exponent;
	}
	if (at != end)
		return form;

	/* take all digits as one sequence with the point somewhere in it */
#define DIGIT(i) ((i) < nwhole ? whole[i] : fraction[(i) - nwhole])
	ndigits = nwhole + nfraction;
	point = nwhole + exponent;
	for (nzeros = 0; nzeros < ndigits && DIGIT(nzeros) == '0'; nzeros++)
		;
	while (ndigits > nzeros && DIGIT(ndigits - 1) == '0')
		ndigits--;
	if (ndigits == nzeros)
	{
		number->data = "0";
		number->len = 1;
		return NULL;
	}
	if (point - nzeros > MAX_INTEGER_DIGITS ||
		ndigits - point > MAX_FRACTION_DIGITS)
		return "the number is out of range";
	to = palloc((size_t) Max(point - nzeros, 1) +
				(size_t) Max(ndigits - point, 0) + 2);
	number->data = to;
	if (negative)
		*to++ = '-';
	if (point <= nzeros)
		*to++ = '0';
	for (i = nzeros; i < point; i++)
		*to++ = i < ndigits ? DIGIT(i) : '0';
	if (ndigits > point)
	{
		*to++ = '.';
		for (i = point; i < nzeros; i++)
			*to++ = '0';
		for (i = Max(point, nzeros); i < ndigits; i++)
			*to++ = DIGIT(i);
	}
#undef DIGIT
	number->len = (int32) (to - number->data);
	return NULL;
}

/* --- members and parts -------------------------------------------------- */

/* Make an empty list of members. */
void
meter_members_init(MeterMembers *members)
{
	members->n = 0;
	members->size = METER_FEW_MEMBERS;
	members->members = members->few;
}

MeterMember *
meter_members_add(MeterMembers *members)
{
	if (members->n == members->size)
	{
		size_t		size = (size_t) members->size * 2 * sizeof(MeterMember);

		if (members->members == members->few)
		{
			members->members = palloc(size);
			memcpy(members->members, members->few, sizeof(members->few));
		}
		else
			members->members = repalloc(members->members, size);
		members->size *= 2;
	}
	return &members->members[members->n++];
}

/* Make an empty list of items. */
void
meter_items_init(MeterItems *parts)
{
	parts->n = 0;
	parts->size = sizeof(parts->few) / sizeof(parts->few[0]);
	parts->sorted = true;
	parts->parts = parts->few;
}

/* Order members by their keys, and elements of sets, which are all key. */
static int
compare_parts(const char *text, const MeterItem *a, const MeterItem *b)
{
	size_t		alen = a->key_length;
	size_t		blen = b->key_length;
	int			cmp = memcmp(text + a->key, text + b->key, Min(alen, blen));

	if (cmp != 0)
		return cmp;
	return alen < blen ? -1 : alen > blen;
}

/* Add a member or element that was written just now. */
void
meter_items_add(MeterItems *parts, const MeterWriter *writer, MeterItem part)
{
	if (parts->n == parts->size)
	{
		size_t		size = (size_t) parts->size * 2 * sizeof(MeterItem);

		if (parts->parts == parts->few)
		{
			parts->parts = palloc(size);
			memcpy(parts->parts, parts->few, sizeof(parts->few));
		}
		else
			parts->parts = repalloc(parts->parts, size);
		parts->size *= 2;
	}
	if (parts->n > 0 && parts->sorted && !writer->too_long &&
		compare_parts(writer->text, &parts->parts[parts->n - 1], &part) >= 0)
		parts->sorted = false;
	parts->parts[parts->n++] = part;
}

/* Merge two sorted runs of members or elements. */
static void
merge_parts(const char *text, const MeterItem *a, int na,
			const MeterItem *b, int nb, MeterItem *to)
{
	while (na > 0 && nb > 0)
	{
		if (compare_parts(text, a, b) <= 0)
		{
			*to++ = *a++;
			na--;
		}
		else
		{
			*to++ = *b++;
			nb--;
		}
	}
	memcpy(to, a, na * sizeof(MeterItem));
	memcpy(to + na, b, nb * sizeof(MeterItem));
}

/* Tell whether the first n items, which are sorted, have one of that key. */
bool
meter_items_have(const MeterItems *parts, int n, const MeterWriter *writer,
				 const char *key, size_t length)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const MeterItem *part = &parts->parts[middle];
		int			cmp = memcmp(writer->text + part->key, key,
								 Min(part->key_length, length));

		if (cmp == 0 && part->key_length == length)
			return true;
		if (cmp < 0 || (cmp == 0 && part->key_length < length))
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/*
 * Sort the items, which stand one after the other, separated by commas, at the
 * end of what is written.  Returns NULL, or the latter of two that are the
 * same.
 */
const MeterItem *
meter_items_sort(MeterItems *parts, MeterWriter *writer)
{
	MeterItem  *from = parts->parts;
	MeterItem  *to;
	size_t		begin;
	size_t		used = 0;
	char	   *copy;
	int			width;
	int			i;

	if (parts->sorted || writer->too_long)
		return NULL;
	to = palloc(parts->n * sizeof(MeterItem));
	for (width = 1; width < parts->n; width *= 2)
	{
		MeterItem  *swap = from;

		for (i = 0; i < parts->n; i += 2 * width)
			merge_parts(writer->text, from + i, Min(width, parts->n - i),
						from + Min(i + width, parts->n),
						Min(width, Max(parts->n - i - width, 0)), to + i);
		from = to;
		to = swap;
	}
	for (i = 1; i < parts->n; i++)
	{
		if (compare_parts(writer->text, &from[i - 1], &from[i]) == 0)
			return &from[from[i].at > from[i - 1].at ? i : i - 1];
	}

	begin = parts->parts[0].from;
	for (i = 1; i < parts->n; i++)
		begin = Min(begin, from[i].from);
	copy = palloc(writer->used - begin);
	for (i = 0; i < parts->n; i++)
	{
		MeterItem  *part = &from[i];
		size_t		length = part->to - part->from;

		if (i > 0)
			copy[used++] = ',';
		memcpy(copy + used, writer->text + part->from, length);
		part->key = begin + used + (part->key - part->from);
		part->from = begin + used;
		part->to = part->from + length;
		used += length;
	}
	memcpy(writer->text + begin, copy, used);
	pfree(copy);
	if (from != parts->parts)
	{
		parts->parts = from;
		parts->size = parts->n;
	}
	parts->sorted = true;
	return NULL;
}
