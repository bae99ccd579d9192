/*
 * html.c
 *	  Writing HTML that is well-formed XML, too, in ASCII, whatever the data.
 *
 * Data are UTF-8, or meant to be.  All of it is escaped, so it can neither end
 * what it stands in nor begin anything.  What is not ASCII becomes a reference
 * to its number, so the page reads the same in every encoding.  What a page
 * cannot have, or a reader not see, is shown: control characters, and those that
 * turn the direction of what follows, as their numbers in brackets, and what is
 * no character as U+FFFD.
 */
#include "core/html.h"

#include <stdarg.h>
#include <stdio.h>

#define REPLACEMENT		0xFFFD

/* A number of more characters may be broken. */
#define LONG_NUMBER		24

/* Begin a page. */
void
meter_html_begin(MeterHtml *html)
{
	html->size = 16384;
	html->data = palloc(html->size);
	html->data[0] = '\0';
	html->length = 0;
	html->full = false;
}

/* Append bytes as they are. */
static void
append(MeterHtml *html, const char *bytes, size_t length)
{
	if (html->full || html->length + length >= METER_HTML_LIMIT)
	{
		html->full = true;
		return;
	}
	while (html->length + length >= html->size)
	{
		html->size *= 2;
		html->data = repalloc(html->data, html->size);
	}
	memcpy(html->data + html->length, bytes, length);
	html->length += length;
	html->data[html->length] = '\0';
}

/* Append markup of ours. */
void
meter_html_raw(MeterHtml *html, const char *text)
{
	append(html, text, strlen(text));
}

/* --- characters ----------------------------------------------------------- */

/*
 * Read a character of UTF-8 at `text`, which is terminated.  Returns how many
 * bytes it takes; of a byte that begins none, 1.
 */
static int
read_character(const unsigned char *text, uint32 *character)
{
	static const uint32 least[] = {0, 0, 0x80, 0x800, 0x10000};
	int			length = text[0] < 0x80 ? 1 : text[0] < 0xC0 ? 0 :
	text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : text[0] < 0xF8 ? 4 : 0;
	int			i;

	*character = REPLACEMENT;
	if (length == 0)
		return 1;
	if (length == 1)
	{
		*character = text[0];
		return 1;
	}
	*character = text[0] & (0x7F >> length);
	for (i = 1; i < length; i++)
	{
		/* the end of the text is no continuation either */
		if ((text[i] & 0xC0) != 0x80)
		{
			*character = REPLACEMENT;
			return 1;
		}
		*character = *character << 6 | (text[i] & 0x3F);
	}
	if (*character < least[length] || *character > 0x10FFFF ||
		(*character >= 0xD800 && *character <= 0xDFFF))
	{
		*character = REPLACEMENT;
		return 1;
	}
	return length;
}

/*
 * Does a character control, or turn the direction of what comes after it, rather
 * than show?
 */
static bool
is_unseen(uint32 character)
{
	return character < 0x20 || (character >= 0x7F && character < 0xA0) ||
		character == 0x061C || character == 0x200E || character == 0x200F ||
		(character >= 0x202A && character <= 0x202E) ||
		(character >= 0x2066 && character <= 0x2069);
}

/* Is there a number without a character, or one that no page may have? */
static bool
is_none(uint32 character)
{
	return (character >= 0xFDD0 && character <= 0xFDEF) ||
		(character & 0xFFFE) == 0xFFFE;
}

/* Append a character that is data. */
static void
append_character(MeterHtml *html, uint32 character)
{
	char		reference[24];

	switch (character)
	{
		case '<':
			meter_html_raw(html, "&lt;");
			return;
		case '>':
			meter_html_raw(html, "&gt;");
			return;
		case '&':
			meter_html_raw(html, "&amp;");
			return;
		case '"':
			meter_html_raw(html, "&quot;");
			return;
		case '\'':
			meter_html_raw(html, "&#39;");
			return;
	}
	if (character >= 0x20 && character < 0x7F)
	{
		reference[0] = (char) character;
		append(html, reference, 1);
		return;
	}
	snprintf(reference, sizeof(reference),
			 is_unseen(character) ? "[U+%04X]" : "&#x%X;",
			 is_none(character) ? REPLACEMENT : character);
	meter_html_raw(html, reference);
}

/* Append data, as content or within the quotes of an attribute. */
void
meter_html_text(MeterHtml *html, const char *text)
{
	const unsigned char *at = (const unsigned char *) text;

	while (*at != '\0' && !html->full)
	{
		uint32		character;

		at += read_character(at, &character);
		append_character(html, character);
	}
}

/* --- what data are -------------------------------------------------------- */

/*
 * Append a name, whose direction is its own.  An empty one can be seen.
 */
static void
append_name(MeterHtml *html, const char *name)
{
	if (name[0] == '\0')
	{
		meter_html_raw(html, "<em>(empty)</em>");
		return;
	}
	meter_html_raw(html, "<bdi>");
	meter_html_text(html, name);
	meter_html_raw(html, "</bdi>");
}

/*
 * Append a decimal number, all of its digits, with the thousands apart: only to
 * the eye, so that what is copied is the number.
 */
static void
append_number(MeterHtml *html, const char *number)
{
	size_t		sign = number[0] == '-' || number[0] == '+';
	size_t		digits = strspn(number + sign, "0123456789");
	size_t		at = digits % 3 == 0 && digits > 0 ? 3 : digits % 3;

	/* a line has room for so many */
	meter_html_format(html, "<data%s value=\"", strlen(number) > LONG_NUMBER ? " class=\"long\"" : "");
	meter_html_text(html, number[0] == '+' ? number + 1 : number);
	meter_html_raw(html, "\">");
	if (digits < 4)
		meter_html_text(html, number);
	else
	{
		append(html, number, sign + at);
		for (; at < digits; at += 3)
		{
			meter_html_raw(html, "<i>");
			append(html, number + sign + at, 3);
			meter_html_raw(html, "</i>");
		}
		meter_html_text(html, number + sign + digits);
	}
	meter_html_raw(html, "</data>");
}

/*
 * Append markup with data in it:
 *		%t	const char *	data, as content or within the quotes of an attribute
 *		%n	const char *	data: a name
 *		%q	const char *	data: a decimal number
 *		%s	const char *	markup of ours
 *		%d	int
 *		%%	a percent sign
 */
void
meter_html_format(MeterHtml *html, const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	for (;;)
	{
		const char *percent = strchr(format, '%');
		char		number[16];

		if (percent == NULL)
			break;
		append(html, format, percent - format);
		switch (percent[1])
		{
			case 't':
				meter_html_text(html, va_arg(arguments, const char *));
				break;
			case 'n':
				append_name(html, va_arg(arguments, const char *));
				break;
			case 'q':
				append_number(html, va_arg(arguments, const char *));
				break;
			case 's':
				meter_html_raw(html, va_arg(arguments, const char *));
				break;
			case 'd':
				snprintf(number, sizeof(number), "%d", va_arg(arguments, int));
				meter_html_raw(html, number);
				break;
			default:
				Assert(percent[1] == '%');
				meter_html_raw(html, "%");
		}
		format = percent + 2;
	}
	va_end(arguments);
	meter_html_raw(html, format);
}
