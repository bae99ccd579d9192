/*
 * html.h
 *	  Writing HTML that is well-formed XML, too, in ASCII, whatever the data.
 */
#ifndef METER_HTML_H
#define METER_HTML_H

#include "core/core.h"

/* A page takes so many bytes at most: PostgreSQL's texts end at 1 GB. */
#define METER_HTML_LIMIT	((size_t) 500 * 1000 * 1000)

typedef struct MeterHtml
{
	char	   *data;			/* terminated */
	size_t		length;
	size_t		size;
	bool		full;			/* the limit was reached; the rest is missing */
} MeterHtml;

extern void meter_html_begin(MeterHtml *html);
extern void meter_html_raw(MeterHtml *html, const char *text);
extern void meter_html_text(MeterHtml *html, const char *text);
extern void meter_html_format(MeterHtml *html, const char *format,...);

#endif							/* METER_HTML_H */
