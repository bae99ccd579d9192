/*
 * textform.c
 *	  Timelines as text that people read and write.
 *
 *	{[2024-03-05T10:00:00Z,2024-03-05T10:30:00Z) "large" 4,
 *	 [2024-03-05T11:00:00Z,) "small" @2024-03-05T12:00:00Z}
 *
 * Spans in order; of each its range, the label as a string with JSON's
 * escapes if there is one, the value as a decimal if there is one.  Behind a
 * span without an end stands the last event.  Instants are always in UTC, so
 * the form depends on no setting.  Only timelines with one text attribute,
 * those of SQL, have a text form.
 */
#include "core/core.h"
#include "core/decimal.h"
#include "core/grid.h"
#include "core/instant.h"
#include "core/textform.h"
#include "core/timeline_builder.h"

/* Nothing longer can be a value of PostgreSQL. */
#define MAX_TEXT	((size_t) 0x3fffffff - 64)

/* --- writing ------------------------------------------------------------ */

typedef struct Writer
{
	char	   *text;
	size_t		used;
	size_t		size;
	bool		too_long;
} Writer;

/* Make room for so many bytes. */
static bool
reserve(Writer *writer, size_t more)
{
	if (writer->too_long || writer->used + more > MAX_TEXT)
	{
		writer->too_long = true;
		return false;
	}
	if (writer->used + more > writer->size)
	{
		writer->size = Min(Max(writer->size * 2, writer->used + more),
						   MAX_TEXT);
		writer->text = repalloc(writer->text, writer->size + 1);
	}
	return true;
}

/* Write bytes as they are. */
static void
put_bytes(Writer *writer, const char *bytes, size_t length)
{
	if (!reserve(writer, length))
		return;
	memcpy(writer->text + writer->used, bytes, length);
	writer->used += length;
}

/* Write a byte as it is. */
static void
put_char(Writer *writer, char byte)
{
	put_bytes(writer, &byte, 1);
}

/*
 * Write an instant in UTC; years before 1 are written as the server shows
 * them.
 */
static void
put_instant(Writer *writer, int64 instant)
{
	char		text[METER_INSTANT_SIZE];

	put_bytes(writer, text, meter_instant_write(instant, text));
}

/* Write a label between quotes. */
static void
put_label(Writer *writer, MeterAttr label)
{
	static const char digits[] = "0123456789abcdef";
	int32		i;

	put_char(writer, '"');
	for (i = 0; i < label.len; i++)
	{
		uint8		byte = (uint8) label.data[i];

		switch (byte)
		{
			case '"':
				put_bytes(writer, "\\\"", 2);
				break;
			case '\\':
				put_bytes(writer, "\\\\", 2);
				break;
			case '\b':
				put_bytes(writer, "\\b", 2);
				break;
			case '\f':
				put_bytes(writer, "\\f", 2);
				break;
			case '\n':
				put_bytes(writer, "\\n", 2);
				break;
			case '\r':
				put_bytes(writer, "\\r", 2);
				break;
			case '\t':
				put_bytes(writer, "\\t", 2);
				break;
			default:
				if (byte < 0x20 || byte == 0x7f)
				{
					put_bytes(writer, "\\u00", 4);
					put_char(writer, digits[byte >> 4]);
					put_char(writer, digits[byte & 15]);
				}
				else
					put_char(writer, (char) byte);
		}
	}
	put_char(writer, '"');
}

/*
 * Return the text form of a timeline, terminated by a zero byte.  Returns NULL
 * if the text would be longer than a value can be.
 */
char *
meter_timeline_to_text(const MeterTimeline *timeline, size_t *length)
{
	Writer		writer = {NULL, 0, 0, false};
	int32		i;

	writer.size = 2 + (size_t) Min(timeline->nspans, 1000) * 64;
	writer.text = palloc(writer.size + 1);
	put_char(&writer, '{');
	for (i = 0; i < timeline->nspans && !writer.too_long; i++)
	{
		const MeterSpan *span = &timeline->spans[i];
		MeterAttr	label = meter_timeline_attr(timeline, span->label, 0);
		MeterAttr	value = meter_timeline_value(timeline, span->label);

		if (i > 0)
			put_bytes(&writer, ", ", 2);
		put_char(&writer, span->begin == METER_BEGIN ? '(' : '[');
		if (span->begin != METER_BEGIN)
			put_instant(&writer, span->begin);
		put_char(&writer, ',');
		if (span->end != METER_END)
			put_instant(&writer, span->end);
		put_char(&writer, ')');
		if (!MeterAttrIsNull(label))
		{
			put_char(&writer, ' ');
			put_label(&writer, label);
		}
		if (!MeterAttrIsNull(value))
		{
			put_char(&writer, ' ');
			put_bytes(&writer, value.data, value.len);
		}
		if (span->end == METER_END && timeline->has_last)
		{
			put_bytes(&writer, " @", 2);
			put_instant(&writer, timeline->last);
		}
	}
	put_char(&writer, '}');
	if (writer.too_long)
	{
		pfree(writer.text);
		return NULL;
	}
	writer.text[writer.used] = '\0';
	*length = writer.used;
	return writer.text;
}

/* --- reading ------------------------------------------------------------ */

/* Where the reader is, and the first thing that was wrong. */
typedef struct Reader
{
	const char *text;
	const char *at;
	const char *end;
	const char *problem;
	size_t		position;
} Reader;

/* Note the first problem; from then on nothing is read. */
static void
fail_at(Reader *reader, const char *at, const char *problem)
{
	if (reader->problem == NULL)
	{
		reader->problem = problem;
		reader->position = at - reader->text;
	}
}

/* Return the next byte, or a zero byte at the end. */
static char
peek(const Reader *reader)
{
	return reader->at < reader->end ? *reader->at : '\0';
}

/* Go past white space. */
static void
skip_space(Reader *reader)
{
	while (reader->at < reader->end &&
		   (*reader->at == ' ' || *reader->at == '\t' ||
			*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

/* Go past a byte if it is the next one. */
static bool
take(Reader *reader, char byte)
{
	if (reader->problem != NULL || reader->at == reader->end ||
		*reader->at != byte)
		return false;
	reader->at++;
	return true;
}

/* Go past a byte that must be there. */
static void
expect(Reader *reader, char byte, const char *problem)
{
	if (!take(reader, byte))
		fail_at(reader, reader->at, problem);
}

/* Read an unsigned integer of so many digits. */
static int64
get_digits(Reader *reader, int least, int most)
{
	const char *from = reader->at;
	int64		value = 0;

	while (reader->at < reader->end && reader->at - from < most &&
		   *reader->at >= '0' && *reader->at <= '9')
		value = value * 10 + (*reader->at++ - '0');
	if (reader->at - from < least)
		fail_at(reader, from, "expected an instant like 2024-03-05T10:00:00Z");
	return value;
}

/* Read an instant. */
static int64
get_instant(Reader *reader)
{
	static const char *form = "expected an instant like 2024-03-05T10:00:00Z";
	const char *from = reader->at;
	int64		year;
	int64		month;
	int64		mday;
	int64		hour;
	int64		minute;
	int64		second;
	int64		fraction = 0;
	int64		instant;

	year = get_digits(reader, 4, 6);
	expect(reader, '-', form);
	month = get_digits(reader, 2, 2);
	expect(reader, '-', form);
	mday = get_digits(reader, 2, 2);
	expect(reader, 'T', form);
	hour = get_digits(reader, 2, 2);
	expect(reader, ':', form);
	minute = get_digits(reader, 2, 2);
	expect(reader, ':', form);
	second = get_digits(reader, 2, 2);
	if (take(reader, '.'))
	{
		const char *first = reader->at;
		int			i;

		fraction = get_digits(reader, 1, 6);
		for (i = (int) (reader->at - first); i < 6; i++)
			fraction *= 10;
	}
	expect(reader, 'Z', form);
	if (reader->problem != NULL)
		return 0;
	if (reader->end - reader->at >= 3 && memcmp(reader->at, " BC", 3) == 0)
	{
		reader->at += 3;
		if (year < 1)
			fail_at(reader, from, "there is no year 0");
		year = 1 - year;
	}
	else if (year < 1)
		fail_at(reader, from, "there is no year 0");
	if (month < 1 || month > 12 || mday < 1 ||
		mday > meter_days_of_month(year, month) ||
		hour > 23 || minute > 59 || second > 59)
		fail_at(reader, from, "there is no such instant");
	/* no timestamp has such a year, and the arithmetic does not overflow */
	if (year < -4800 || year > 294280)
		fail_at(reader, from, "the instant is out of range");
	if (reader->problem != NULL)
		return 0;
	instant = meter_day_from_date((int32) year, (int32) month,
								  (int32) mday) * (METER_DAY / METER_SECOND) +
		hour * 3600 + minute * 60 + second;
	if (instant < METER_FIRST / METER_SECOND ||
		instant >= METER_LIMIT / METER_SECOND)
	{
		fail_at(reader, from, "the instant is out of range");
		return 0;
	}
	return instant * METER_SECOND + fraction;
}

/* Return the value of a hexadecimal digit, or -1. */
static int
hex_digit(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

/* Read a label up to its closing quote; the opening one was read before. */
static MeterAttr
get_label(Reader *reader)
{
	const char *from = reader->at - 1;
	const char *closing = reader->at;
	MeterAttr	label = METER_NULL_ATTR;
	char	   *to;

	while (closing < reader->end && *closing != '"')
		closing += *closing == '\\' ? 2 : 1;
	if (closing >= reader->end)
	{
		fail_at(reader, from, "the label has no closing quote");
		return label;
	}
	to = palloc(closing - reader->at + 1);
	label.data = to;
	while (reader->at < closing)
	{
		char		byte = *reader->at++;

		if (byte == '\\')
		{
			byte = *reader->at++;
			switch (byte)
			{
				case '"':
				case '\\':
				case '/':
					break;
				case 'b':
					byte = '\b';
					break;
				case 'f':
					byte = '\f';
					break;
				case 'n':
					byte = '\n';
					break;
				case 'r':
					byte = '\r';
					break;
				case 't':
					byte = '\t';
					break;
				case 'u':
					if (closing - reader->at < 4 ||
						reader->at[0] != '0' || reader->at[1] != '0' ||
						hex_digit(reader->at[2]) < 0 ||
						hex_digit(reader->at[2]) > 7 ||
						hex_digit(reader->at[3]) < 0 ||
						(reader->at[2] == '0' && reader->at[3] == '0'))
					{
						fail_at(reader, reader->at - 2,
								"only \\u0001 to \\u007f are escapes in a label");
						return label;
					}
					byte = (char) (hex_digit(reader->at[2]) * 16 +
								   hex_digit(reader->at[3]));
					reader->at += 4;
					break;
				default:
					fail_at(reader, reader->at - 2,
							"the label has an unknown escape");
					return label;
			}
		}
		else if ((uint8) byte < 0x20)
		{
			fail_at(reader, reader->at - 1,
					"the label has a control character without an escape");
			return label;
		}
		*to++ = byte;
	}
	reader->at = closing + 1;
	label.len = (int32) (to - label.data);
	return label;
}

/* Read a decimal into its canonical form. */
static MeterAttr
get_value(Reader *reader)
{
	const char *from = reader->at;
	MeterAttr	value = METER_NULL_ATTR;
	char	   *copy;
	int			length;

	while (reader->at < reader->end &&
		   ((*reader->at >= '0' && *reader->at <= '9') ||
			*reader->at == '.' || *reader->at == '-'))
		reader->at++;
	length = (int) (reader->at - from);
	copy = palloc(length);
	memcpy(copy, from, length);
	length = meter_decimal_trim(copy, length);
	if (!meter_decimal_is_canonical(copy, length))
	{
		fail_at(reader, from, "expected a decimal number");
		return value;
	}
	value.data = copy;
	value.len = length;
	return value;
}

/* Read a span and append it. */
static void
get_span(Reader *reader, MeterTimelineBuilder *builder)
{
	MeterTimeline *timeline = builder->timeline;
	const char *from = reader->at;
	MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
	int64		begin = METER_BEGIN;
	int64		end = METER_END;
	int32		before = timeline->nspans;

	if (take(reader, '['))
		begin = get_instant(reader);
	else if (!take(reader, '('))
		fail_at(reader, reader->at, "expected a span, as in [begin,end)");
	expect(reader, ',', "expected a comma after the begin of the span");
	if (peek(reader) != ')')
		end = get_instant(reader);
	expect(reader, ')', "expected a closing parenthesis after the end of the span");
	skip_space(reader);
	if (take(reader, '"'))
	{
		attrs[0] = get_label(reader);
		skip_space(reader);
	}
	if (peek(reader) == '-' || (peek(reader) >= '0' && peek(reader) <= '9'))
	{
		attrs[1] = get_value(reader);
		skip_space(reader);
	}
	if (reader->problem != NULL)
		return;

	if (begin >= end)
		fail_at(reader, from, "the span ends before or where it begins");
	else if (before > 0 && timeline->spans[before - 1].end > begin)
		fail_at(reader, from, "the span begins before the one before it ends");
	if (reader->problem != NULL)
		return;
	meter_build_span(builder, begin, end, meter_build_label(builder, attrs));
	if (timeline->nspans == before)
		fail_at(reader, from, "the span and the one before it should be one");

	if (end == METER_END)
	{
		from = reader->at;
		timeline->has_last = begin != METER_BEGIN;
		timeline->last = begin;
		if (take(reader, '@'))
		{
			timeline->last = get_instant(reader);
			timeline->has_last = true;
			if (timeline->last < begin)
				fail_at(reader, from,
						"the last event is before the begin of its span");
		}
		skip_space(reader);
	}
}

/*
 * Read a timeline.  Returns NULL if the text is none: then *problem says why
 * and *position, a number of bytes, where.
 */
MeterTimeline *
meter_timeline_from_text(const char *text, size_t length,
						 const char **problem, size_t *position)
{
	Reader		reader = {text, text, text + length, NULL, 0};
	MeterTimelineBuilder builder;

	meter_build_begin(&builder, 1);
	skip_space(&reader);
	expect(&reader, '{', "expected an opening brace");
	skip_space(&reader);
	if (!take(&reader, '}'))
	{
		while (reader.problem == NULL)
		{
			skip_space(&reader);
			get_span(&reader, &builder);
			if (take(&reader, '}'))
				break;
			expect(&reader, ',', "expected a comma or a closing brace");
		}
	}
	skip_space(&reader);
	if (reader.at != reader.end)
		fail_at(&reader, reader.at, "the text goes on after the timeline");
	if (reader.problem != NULL)
	{
		*problem = reader.problem;
		*position = reader.position;
		return NULL;
	}
	if (builder.timeline->nspans > 0)
		builder.timeline->state.open =
			builder.timeline->spans[builder.timeline->nspans - 1].end ==
			METER_END;
	return builder.timeline;
}
