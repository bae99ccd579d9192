/*
 * html.c
 *	  Promises: what is data in a page stays data, and the page is well-formed,
 *	  ASCII and complete, whatever bytes the data are.
 *
 * Texts of random bytes, mostly such as mean something to HTML, XML and UTF-8,
 * are written and read back; and pages of random reports are read by a reader of
 * tags that lets nothing pass.
 */
#include "core/html.h"
#include "core/report_page.h"
#include "standalone/unit.h"

#define TEXTS	200000
#define PAGES	300

static char text[64];

/* Show the case at hand. */
static void
show(void)
{
	size_t		i;

	for (i = 0; text[i] != '\0'; i++)
		printf("%02x ", (unsigned char) text[i]);
}

/* Make a text of bytes that may mean something. */
static const char *
random_text(void)
{
	static const char *const parts[] = {
		"<", ">", "&", "\"", "'", "&amp;", "<script>", "</title>", "]]>", "<!--", "-->", "\x01", "\t", "\n", "\x7f",
		"\xc3\xa9", "\xe2\x80\xae", "\xe2\x81\xa9", "\xef\xbf\xbe", "\xef\xbf\xbf", "\xed\xa0\x80", "\xf0\x9f\x98\x80", "\xc2\x85",
		"\xc0\xbc", "\xe0\x80\xbc", "\xf4\x90\x80\x80", "\xf0\x9f", "\xe2", "\xff", "\xd7\x90", "a", "vm-1", " "
	};
	char	   *made = palloc(sizeof(text));
	size_t		length = 0;
	int			count = below(8);

	while (count-- > 0)
	{
		const char *part = parts[below(COUNT(parts))];

		if (below(4) == 0)
			made[length++] = (char) (1 + below(255));
		else
		{
			memcpy(made + length, part, strlen(part));
			length += strlen(part);
		}
	}
	made[length] = '\0';
	memcpy(text, made, length + 1);
	return made;
}

/* Is a page ASCII that may stand in XML? */
static bool
is_plain(const MeterHtml *html)
{
	size_t		i;

	for (i = 0; i < html->length; i++)
	{
		char		c = html->data[i];

		if ((c < 0x20 && c != '\n') || c >= 0x7f)
			return false;
	}
	return strlen(html->data) == html->length;
}

/* Skip a reference, which must be one of ours to a character that may be there. */
static const char *
skip_reference(const char *at)
{
	static const char *const named[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"};
	unsigned long number;
	char	   *end;
	int			i;

	for (i = 0; i < COUNT(named); i++)
	{
		if (strncmp(at, named[i], strlen(named[i])) == 0)
			return at + strlen(named[i]);
	}
	check(strncmp(at, "&#x", 3) == 0, "a reference is one that we write");
	number = strtoul(at + 3, &end, 16);
	check(*end == ';', "a reference ends");
	check(number >= 0xA0 && number <= 0x10FFFF && (number < 0xD800 || number > 0xDFFF) &&
		  (number & 0xFFFE) != 0xFFFE, "a reference is to a character");
	check(number != 0x202E && number != 0x2069, "nothing turns the direction of what follows");
	return end + 1;
}

/* Read a tag at <, and keep the stack of what is open. */
static const char *
read_tag(const char *at, char stack[64][16], int *depth)
{
	bool		closes = at[1] == '/';
	const char *name = at + (closes ? 2 : 1);
	size_t		length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	check(length > 0 && length < 16, "a tag has a name");
	at = name + length;
	if (closes)
	{
		check(*at == '>', "a closing tag has nothing but its name");
		check(*depth > 0 && strlen(stack[*depth - 1]) == length &&
			  strncmp(stack[*depth - 1], name, length) == 0, "what closes is what was opened last");
		(*depth)--;
		return at + 1;
	}
	while (*at == ' ')
	{
		at++;
		at += strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:");
		check(at[0] == '=' && at[1] == '"', "an attribute has a value in quotes");
		for (at += 2; *at != '"';)
		{
			check(*at != '\0' && *at != '<', "a value ends");
			at = *at == '&' ? skip_reference(at) : at + 1;
		}
		at++;
	}
	if (at[0] == '/' && at[1] == '>')
		return at + 2;
	check(*at == '>' && *depth < 64, "a tag ends");
	memcpy(stack[*depth], name, length);
	stack[(*depth)++][length] = '\0';
	return at + 1;
}

/* Read a page. */
static void
read_page(const MeterHtml *html)
{
	static const char doctype[] = "<!DOCTYPE html>\n";
	char		stack[64][16];
	int			depth = 0;
	const char *at = html->data;

	check(is_plain(html), "a page is ASCII");
	check(strncmp(at, doctype, strlen(doctype)) == 0, "a page begins with its type");
	for (at += strlen(doctype); *at != '\0';)
	{
		if (*at == '<')
			at = read_tag(at, stack, &depth);
		else if (*at == '&')
			at = skip_reference(at);
		else
			at++;
	}
	check(depth == 0, "all that was opened is closed");
	check(strstr(html->data, "<script") == NULL && strstr(html->data, "<!--") == NULL, "data begin nothing");
}

/* Escape a text, and see that it stays one. */
static void
check_text(void)
{
	MeterHtml	html;
	const char *at;

	meter_html_begin(&html);
	meter_html_text(&html, random_text());
	check(is_plain(&html), "an escaped text is ASCII");
	for (at = html.data; *at != '\0';)
	{
		check(*at != '<' && *at != '>' && *at != '"' && *at != '\'', "nothing of a text is markup");
		at = *at == '&' ? skip_reference(at) : at + 1;
	}
	pfree(html.data);
}

/* --- pages ---------------------------------------------------------------- */

static const char *
random_quantity(void)
{
	static const char *const quantities[] = {NULL, "0", "-1.5", "12345678901234567890.000001", "1e400", "NaN", "1000", "-999999", "0.1", "77"};

	return quantities[below(COUNT(quantities))];
}

static MeterReportUsage
random_usage(void)
{
	MeterReportUsage usage = {random_quantity(), random_quantity()};

	return usage;
}

static MeterReportLabel
random_label(void)
{
	MeterReportLabel label = {palloc(3 * sizeof(MeterReportDimension)), below(3)};
	int			i;

	for (i = 0; i < label.ndimensions; i++)
	{
		label.dimensions[i].name = random_text();
		label.dimensions[i].value = below(3) == 0 ? NULL : random_text();
	}
	return label;
}

static void
random_meter(MeterReportMeter *meter, int64 from, int64 to)
{
	int			i;
	int			j;

	meter->name = random_text();
	meter->measures = random_text();
	meter->timezone = random_text();
	meter->dropped = below(4) == 0;
	meter->has_watermark = below(4) > 0;
	meter->watermark = from + below(1000) * METER_HOUR;
	meter->usage = random_usage();
	meter->nsums = below(4);
	meter->sums = palloc(4 * sizeof(MeterReportSum));
	for (i = 0; i < meter->nsums; i++)
	{
		meter->sums[i].label = random_label();
		meter->sums[i].usage = random_usage();
	}
	meter->first_day = (int32) (from / METER_DAY);
	meter->last_day = (int32) (to / METER_DAY);
	meter->days = palloc(500 * sizeof(MeterReportDay));
	for (i = meter->first_day; i <= meter->last_day; i++)
	{
		meter->days[meter->ndays].day = i;
		meter->days[meter->ndays].usage = random_usage();
		meter->ndays += below(2);
	}
	meter->nresources = below(4);
	meter->resources = palloc(4 * sizeof(MeterReportResource));
	for (i = 0; i < meter->nresources; i++)
	{
		MeterReportResource *resource = &meter->resources[i];

		resource->name = random_text();
		resource->usage = random_usage();
		resource->nspans = below(6);
		resource->spans = palloc(6 * sizeof(MeterReportSpan));
		for (j = 0; j < resource->nspans; j++)
		{
			resource->spans[j].begin = from + (2 * j - 1) * METER_DAY;
			resource->spans[j].end = from + (2 * j + below(3) - 1) * METER_DAY;
			resource->spans[j].open = below(3) == 0;
		}
	}
	meter->more_resources = below(2);
	meter->more_usage = random_usage();
}

static const char *
tell(void *arg, int64 instant)
{
	(void) instant;
	return arg;
}

static void
check_page(void)
{
	MeterReport report;
	MeterReportAdjustment adjustment;
	const char *reasons[2];
	MeterHtml	html;
	int			i;

	memset(&report, 0, sizeof(report));
	memset(&adjustment, 0, sizeof(adjustment));
	report.stream = random_text();
	report.account = random_text();
	report.from = (8000 + below(1000)) * METER_DAY;
	report.to = report.from + 1 + below(400) * METER_DAY;
	report.made_at = report.from;
	report.timezone = random_text();
	report.nmeters = below(4);
	report.meters = palloc0(4 * sizeof(MeterReportMeter));
	for (i = 0; i < report.nmeters; i++)
		random_meter(&report.meters[i], report.from, report.to);
	report.without_rows = below(3) == 0 ? random_text() : NULL;
	report.without_open = below(3) == 0 ? random_text() : NULL;
	reasons[0] = random_text();
	reasons[1] = random_text();
	adjustment.meter = random_text();
	adjustment.resource = random_text();
	adjustment.label = random_label();
	adjustment.periods = 1 + below(2);
	adjustment.change = "+1234.5";
	adjustment.reasons = reasons;
	adjustment.nreasons = below(3);
	adjustment.more_reasons = below(2);
	report.adjustments = &adjustment;
	report.nadjustments = below(2);
	report.more_adjustments = below(2);
	report.tell = tell;
	report.arg = (void *) random_text();
	meter_html_begin(&html);
	meter_report_page(&html, &report);
	check(!html.full, "there is room for a page");
	read_page(&html);
	pfree(html.data);
}

/* Check what stands for what. */
static void
check_examples(void)
{
	static const char *const examples[][2] = {
		{"<a href=\"x\">'&", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "&#xE9;&#x20AC;&#x1F600;"},
		{"\x01\n\x7f\xc2\x85\xe2\x80\xae", "[U+0001][U+000A][U+007F][U+0085][U+202E]"},
		{"\xff\xc0\xbc\xed\xa0\x80\xef\xbf\xbe\xe2\x82", "&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;&#xFFFD;"}
	};
	MeterHtml	html;
	int			i;

	for (i = 0; i < COUNT(examples); i++)
	{
		meter_html_begin(&html);
		meter_html_text(&html, examples[i][0]);
		check(strcmp(html.data, examples[i][1]) == 0, "a character is escaped as it should be");
	}
	meter_html_begin(&html);
	meter_html_format(&html, "%q %q %n %d%%", "-1234567.50", "999.5", "", -3);
	check(strcmp(html.data, "<data value=\"-1234567.50\">-1<i>234</i><i>567</i>.50</data> <data value=\"999.5\">999.5</data> "
				 "<em>(empty)</em> -3%") == 0, "numbers and names are written as they should be");
}

int
main(int argc, char **argv)
{
	(void) unit_seed(argc, argv);
	show_case = show;
	check_examples();
	for (history = 0; history < TEXTS; history++)
		check_text();
	for (history = 0; history < PAGES; history++)
		check_page();
	printf("%d texts, %d pages\n", TEXTS, PAGES);
	return 0;
}
