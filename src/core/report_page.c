/*
 * report_page.c
 *	  The page of a report: what is read, and how it looks.
 *
 * The page needs nothing but itself: no script, no picture, no font from
 * elsewhere, and it forbids all of that to whatever may have got into it.  What
 * a chart draws stands in a table, too.  What is not settled is striped and
 * called so: colour alone tells nothing.
 *
 * Charts are drawn without letters, and stretched to the width that there is.
 * Stripes are level, so that this does not change them.
 */
#include "core/report_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/grid.h"
#include "core/instant.h"

static const char style[] =
"\n:root{color-scheme:light dark;--ink:#1d2530;--soft:#5a6675;--line:#d9dee5;--page:#fff;--tint:#f4f6f8;--bar:#2f5d8a}\n"
"@media (prefers-color-scheme:dark){:root{--ink:#e4e9ef;--soft:#a0abb8;--line:#38424e;--page:#14191f;--tint:#1d242c;--bar:#7fb0dd}}\n"
"*{box-sizing:border-box}\n"
"html{background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",\"Liberation Sans\",sans-serif;-webkit-text-size-adjust:100%}\n"
"body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:52rem;overflow-wrap:anywhere}\n"
"h1{font-size:1.9rem;line-height:1.2;margin:0 0 .25rem;font-weight:600}\n"
"h2{font-size:1.2rem;line-height:1.3;margin:2.75rem 0 .5rem;font-weight:600}\n"
"h3{font-size:1rem;margin:1.75rem 0 .25rem;font-weight:600}\n"
"p{margin:.25rem 0 .75rem}\n"
".soft,caption,figcaption,dt,summary,.axis,.k{color:var(--soft)}\n"
".over{margin:0;color:var(--soft)}\n"
"dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1.25rem;margin:1rem 0}\n"
"dd{margin:0}\n"
".state{border:1px solid var(--line);border-left:4px solid var(--bar);background:var(--tint);padding:.6rem .9rem;margin:1.25rem 0 0}\n"
".state.open{border-left-style:dashed}\n"
"table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
"caption{text-align:left;padding:0 0 .4rem}\n"
"th{text-align:left;font-weight:400}\n"
"th,td{padding:.35rem 0;vertical-align:top;border-top:1px solid var(--line)}\n"
"th+td,td+td,th+th{padding-left:1rem}\n"
"thead th{border-top:0;color:var(--soft);font-size:.875rem}\n"
"tbody+tbody::before{content:\"\";display:block;height:.9rem}\n"
".of{padding-left:1rem}\n"
".meter{font-weight:600}\n"
".meter span{font-weight:400;color:var(--soft);display:block;font-size:.875rem}\n"
".all th,.all td{font-weight:600;border-top-color:var(--ink)}\n"
".number{text-align:right;width:1%}\n"
"data{font-variant-numeric:tabular-nums}\n"
"data:not(.long),time{white-space:nowrap}\n"
"data i{font-style:normal;margin-left:.17em}\n"
".k{font-size:.875rem}\n"
".dimension{display:inline-block;margin-right:.75rem}\n"
"figure{margin:1.5rem 0 0}\n"
"figcaption b{font-weight:600;color:var(--ink)}\n"
"svg{display:block;width:100%}\n"
".days svg{height:8rem;margin-top:.5rem;border-bottom:1px solid var(--soft)}\n"
".runs svg{height:.8rem;margin:.4rem 0 .15rem;background:var(--tint);outline:1px solid var(--line)}\n"
".runs .who{width:30%}\n"
"data.long{display:inline-block;min-width:9rem}\n"
".runs small{color:var(--soft);display:block;font-size:.8125rem;line-height:1.4}\n"
".settled{fill:var(--bar)}\n"
".open{fill:url(#stripes)}\n"
".stripe{fill:var(--bar)}\n"
".zero{stroke:var(--soft);vector-effect:non-scaling-stroke}\n"
".axis{display:flex;justify-content:space-between;font-size:.8125rem;font-variant-numeric:tabular-nums}\n"
".key{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:.5rem 0 0;padding:0;list-style:none;font-size:.875rem}\n"
".key svg{display:inline-block;width:1.6rem;height:.8rem;vertical-align:-.05rem;margin-right:.5rem}\n"
"details{margin:.5rem 0 0}\n"
"summary{cursor:pointer;font-size:.875rem}\n"
"details table{margin-top:.5rem;font-size:.875rem}\n"
".changes{list-style:none;margin:.75rem 0 0;padding:0}\n"
".changes>li{border-top:1px solid var(--line);padding:.6rem 0}\n"
".changes p{margin:0}\n"
".changes .much{font-weight:600}\n"
".changes ul{margin:.2rem 0 0;padding-left:1.2rem}\n"
"footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.75rem;font-size:.875rem;color:var(--soft)}\n"
"@media screen and (max-width:34rem){body{padding-top:1rem}h1{font-size:1.5rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}.of{padding-left:0}details data.long,details data:not(.long){white-space:normal;display:inline-block;min-width:4rem}details th+td,details td+td,details th+th{padding-left:.5rem}"
".runs thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
".runs tbody{display:block}.runs tr{display:grid;grid-template-columns:1fr auto;border-top:1px solid var(--line);padding:.35rem 0}"
".runs tbody th,.runs td{border:0;padding:0}.runs .number{padding-left:1rem}.runs .when{grid-column:1/3;grid-row:2}}\n"
"@media print{@page{margin:18mm 16mm}"
":root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--page:#fff;--tint:#fff;--bar:#333}"
"html{font-size:10.5pt}body{max-width:none;padding:0}h2,h3,caption,figcaption{break-after:avoid}tr,figure.days,.changes>li,.state{break-inside:avoid}thead{display:table-header-group}"
"details:not([open]){display:none}}\n";

/* The height of a chart of days, and the width of a day, as drawn. */
#define CHART_HEIGHT	200
#define DAY_WIDTH		10

/* The width of a bar of a timeline, and what can just be seen of it. */
#define BAR_WIDTH		1000
#define BAR_LEAST		3

/* So many days leave space between them. */
#define APART_UP_TO		100

/* So many stretches of a resource are named. */
#define STRETCHES		3

/* --- parts ---------------------------------------------------------------- */

/* Write an instant, in the time zone of the report. */
static void
write_instant(MeterHtml *html, const MeterReport *report, int64 instant)
{
	char		utc[METER_INSTANT_SIZE + 1];

	utc[meter_instant_write(instant, utc)] = '\0';
	meter_html_format(html, "<time datetime=\"%t\">%t</time>", utc,
					  report->tell(report->arg, instant));
}

/* Write a date. */
static void
write_day(MeterHtml *html, int32 day)
{
	int32		year;
	int32		month;
	int32		mday;
	char		text[40];

	meter_day_to_date(day, &year, &month, &mday);
	snprintf(text, sizeof(text), "%04d-%02d-%02d", (int) year, (int) month,
			 (int) mday);
	meter_html_text(html, text);
}

/* Write what usage is of. */
static void
write_label(MeterHtml *html, const MeterReportLabel *label)
{
	int			i;

	if (label->ndimensions == 0)
		meter_html_raw(html, "all");
	for (i = 0; i < label->ndimensions; i++)
	{
		const MeterReportDimension *dimension = &label->dimensions[i];

		meter_html_format(html, "%s<span class=\"dimension\"><span class=\"k\">%t</span> ",
						  i > 0 ? " " : "", dimension->name);
		if (dimension->value == NULL)
			meter_html_raw(html, "<em>(none)</em>");
		else
			meter_html_format(html, "%n", dimension->value);
		meter_html_raw(html, "</span>");
	}
}

/* Write a cell with a quantity, or with a dash. */
static void
write_cell(MeterHtml *html, const char *quantity)
{
	if (quantity == NULL)
		meter_html_raw(html, "<td class=\"number\">-</td>");
	else
		meter_html_format(html, "<td class=\"number\">%q</td>", quantity);
}

/* Tell whether a meter has usage that is not settled. */
static bool
has_open(const MeterReportMeter *meter)
{
	return meter->usage.open != NULL;
}

/* Tell whether any meter has. */
static bool
any_open(const MeterReport *report)
{
	int			i;

	for (i = 0; i < report->nmeters; i++)
	{
		if (has_open(&report->meters[i]))
			return true;
	}
	return false;
}

/* --- the head ------------------------------------------------------------- */

/* Write what stands before the page. */
static void
write_head(MeterHtml *html, const MeterReport *report)
{
	meter_html_format(html,
					  "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
					  "<meta charset=\"utf-8\"/>\n"
					  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
					  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
					  "<meta name=\"referrer\" content=\"no-referrer\"/>\n"
					  "<meta name=\"robots\" content=\"noindex\"/>\n"
					  "<title>Usage of %t, %t to %t</title>\n<style>%s</style>\n</head>\n",
					  report->account[0] == '\0' ? "(empty)" : report->account,
					  report->tell(report->arg, report->from),
					  report->tell(report->arg, report->to), style);
}

/* Write up to when a meter is settled, where that is not the whole period. */
static void
write_settled_up_to(MeterHtml *html, const MeterReport *report,
					const MeterReportMeter *meter)
{
	if (meter->dropped)
		meter_html_raw(html, "dropped: what it had settled stands");
	else if (!meter->has_watermark)
		meter_html_raw(html, "nothing is settled yet");
	else if (meter->watermark < report->to)
	{
		meter_html_raw(html, "settled up to ");
		write_instant(html, report, meter->watermark);
	}
	else
		meter_html_raw(html, "all settled");
}

/* Write whether the page is the last word. */
static void
write_state(MeterHtml *html, const MeterReport *report)
{
	int			behind = 0;
	int			i;

	for (i = 0; i < report->nmeters; i++)
	{
		const MeterReportMeter *meter = &report->meters[i];

		if (!meter->dropped &&
			(!meter->has_watermark || meter->watermark < report->to))
			behind++;
	}
	if (report->nmeters == 0)
		meter_html_raw(html, "<p class=\"state\" id=\"state\">The account has no usage in this period.</p>\n");
	else if (behind == 0)
		meter_html_raw(html, "<p class=\"state\" id=\"state\"><strong>All of this period is settled.</strong> "
					   "Events that arrive late can still change it, by adjustments.</p>\n");
	else
		meter_html_format(html, "<p class=\"state open\" id=\"state\"><strong>Not all of this period is settled.</strong> "
						  "The totals are what is settled so far. %s</p>\n",
						  report->without_open != NULL ? "What is not settled yet is left out." :
						  any_open(report) ? "What is not settled yet stands apart from them, and can change." : "");
	if (report->without_open != NULL)
		meter_html_format(html, "<p class=\"soft\" id=\"without-open\">Usage that is not settled yet is left out: %t.</p>\n",
						  report->without_open);
	if (report->without_rows != NULL)
		meter_html_format(html, "<p class=\"soft\" id=\"without-rows\">Resources and adjustments are left out: %t.</p>\n",
						  report->without_rows);
}

/* Write what the page is about. */
static void
write_header(MeterHtml *html, const MeterReport *report)
{
	meter_html_format(html, "<header>\n<p class=\"over\">Usage of account</p>\n<h1>%n</h1>\n"
					  "<dl>\n<dt>Stream</dt><dd>%n</dd>\n<dt>Period</dt><dd>",
					  report->account, report->stream);
	write_instant(html, report, report->from);
	meter_html_raw(html, " up to ");
	write_instant(html, report, report->to);
	meter_html_format(html, "</dd>\n<dt>Time zone</dt><dd>%t</dd>\n<dt>Made at</dt><dd>",
					  report->timezone);
	write_instant(html, report, report->made_at);
	meter_html_raw(html, "</dd>\n</dl>\n");
	write_state(html, report);
	meter_html_raw(html, "</header>\n<main>\n");
}

/* --- totals --------------------------------------------------------------- */

/* Write the name of a meter, and what it measures, above its rows. */
static void
write_meter_row(MeterHtml *html, const MeterReport *report,
				const MeterReportMeter *meter)
{
	meter_html_format(html, "<tr><th scope=\"rowgroup\" colspan=\"2\" class=\"meter\">%n<span>%t; ",
					  meter->name, meter->measures);
	write_settled_up_to(html, report, meter);
	meter_html_raw(html, "</span></th></tr>\n");
}

/* Write the sums of a meter: what is settled, or what is not. */
static void
write_sums(MeterHtml *html, const MeterReport *report,
		   const MeterReportMeter *meter, bool open)
{
	const char *total = open ? meter->usage.open : meter->usage.settled;
	int			count = 0;
	int			i;

	if (total == NULL)
		return;
	meter_html_raw(html, "<tbody>\n");
	write_meter_row(html, report, meter);
	for (i = 0; i < meter->nsums; i++)
	{
		const MeterReportSum *sum = &meter->sums[i];
		const char *quantity = open ? sum->usage.open : sum->usage.settled;

		if (quantity == NULL)
			continue;
		meter_html_raw(html, "<tr><th scope=\"row\" class=\"of\">");
		write_label(html, &sum->label);
		meter_html_raw(html, "</th>");
		write_cell(html, quantity);
		meter_html_raw(html, "</tr>\n");
		count++;
	}
	if (count > 1)
		meter_html_format(html, "<tr class=\"all\"><th scope=\"row\" class=\"of\">all of %n</th><td class=\"number\">%q</td></tr>\n",
						  meter->name, total);
	meter_html_raw(html, "</tbody>\n");
}

/* Tell whether any meter has usage that is settled. */
static bool
any_settled(const MeterReport *report)
{
	int			i;

	for (i = 0; i < report->nmeters; i++)
	{
		if (report->meters[i].usage.settled != NULL)
			return true;
	}
	return false;
}

/* Write a section of sums. */
static void
write_totals(MeterHtml *html, const MeterReport *report, bool open)
{
	int			i;

	if (!open && !any_settled(report))
	{
		meter_html_raw(html, "<section id=\"totals\">\n<h2>Totals</h2>\n<p>Nothing of this period is settled yet.</p>\n</section>\n");
		return;
	}
	if (open)
		meter_html_raw(html, "<section id=\"open\">\n<h2>Not settled yet</h2>\n"
					   "<p>Usage of the periods that are still open, computed when this page was made. It is not in the totals, "
					   "it grows, and it can change until it is settled.</p>\n"
					   "<table>\n<caption>Usage that is not settled yet</caption>\n");
	else
		meter_html_raw(html, "<section id=\"totals\">\n<h2>Totals</h2>\n"
					   "<table>\n<caption>Settled usage of the periods that begin in this time, adjustments included</caption>\n");
	meter_html_raw(html, "<thead><tr><th scope=\"col\">Meter, and of what</th>"
				   "<th scope=\"col\" class=\"number\">Quantity</th></tr></thead>\n");
	for (i = 0; i < report->nmeters; i++)
		write_sums(html, report, &report->meters[i], open);
	meter_html_raw(html, "</table>\n</section>\n");
}

/* --- days ----------------------------------------------------------------- */

/* Return a quantity as it is drawn; what is no number is not drawn. */
static double
drawn(const char *quantity)
{
	double		value = quantity == NULL ? 0 : strtod(quantity, NULL);

	return isfinite(value) ? value : 0;
}

/* The least and the greatest that is drawn; 0 lies between. */
typedef struct Scale
{
	double		least;
	double		greatest;
} Scale;

/* Return how far below the top of a chart a quantity lies. */
static int
height_of(const Scale *scale, double quantity)
{
	double		span = scale->greatest - scale->least;

	return span <= 0 || !isfinite(span) ? CHART_HEIGHT :
		(int) ((scale->greatest - quantity) / span * CHART_HEIGHT + 0.5);
}

/* Find the scale of a chart, and the day with the most. */
static Scale
find_scale(const MeterReportMeter *meter, int *most)
{
	Scale		scale = {0, 0};
	int			i;

	*most = 0;
	for (i = 0; i < meter->ndays; i++)
	{
		double		settled = drawn(meter->days[i].usage.settled);
		double		open = drawn(meter->days[i].usage.open);

		if (Max(settled, 0) + Max(open, 0) > scale.greatest)
		{
			scale.greatest = Max(settled, 0) + Max(open, 0);
			*most = i;
		}
		scale.least = Min(scale.least, Min(settled, 0) + Min(open, 0));
	}
	return scale;
}

/* Draw the usage of a day, from one quantity to another. */
static void
draw_day(MeterHtml *html, const Scale *scale, const MeterReportMeter *meter,
		 int32 day, bool open, double from, double to)
{
	bool		apart = meter->last_day - meter->first_day < APART_UP_TO;
	int			top = height_of(scale, Max(from, to));
	int			bottom = height_of(scale, Min(from, to));

	if (from == to)
		return;
	/* little is more than nothing */
	if (top == bottom && top > 0)
		top--;
	meter_html_format(html, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>",
					  open ? "open" : "settled",
					  (int) (day - meter->first_day) * DAY_WIDTH + (apart ? 1 : 0),
					  top, DAY_WIDTH - (apart ? 2 : 0), Max(bottom - top, 1));
}

/* Draw the days of a meter. */
static void
draw_days(MeterHtml *html, const MeterReportMeter *meter, int number,
		  const Scale *scale)
{
	int			width = (int) (meter->last_day - meter->first_day + 1) * DAY_WIDTH;
	int			zero = height_of(scale, 0);
	int			i;

	meter_html_format(html, "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"d%d-title d%d-desc\" "
					  "viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">\n"
					  "<title id=\"d%d-title\">Usage a day of meter %t</title>\n<desc id=\"d%d-desc\">A bar for each day from ",
					  number, number, width, CHART_HEIGHT, number, meter->name, number);
	write_day(html, meter->first_day);
	meter_html_raw(html, " to ");
	write_day(html, meter->last_day);
	meter_html_raw(html, ". Striped is what is not settled yet. The table after this chart has the numbers.</desc>\n");
	for (i = 0; i < meter->ndays; i++)
	{
		const MeterReportDay *day = &meter->days[i];
		double		settled = drawn(day->usage.settled);
		double		open = drawn(day->usage.open);
		double		base = (settled < 0) == (open < 0) ? settled : 0;

		draw_day(html, scale, meter, day->day, false, 0, settled);
		draw_day(html, scale, meter, day->day, true, base, base + open);
	}
	if (scale->least < 0)
		meter_html_format(html, "<line class=\"zero\" x1=\"0\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>",
						  width, zero, zero);
	meter_html_raw(html, "\n</svg>\n");
}

/* Write the dates below a chart. */
static void
write_axis(MeterHtml *html, const MeterReportMeter *meter)
{
	int32		length = meter->last_day - meter->first_day;

	meter_html_raw(html, "<div class=\"axis\" aria-hidden=\"true\"><span>");
	write_day(html, meter->first_day);
	if (length >= 2)
	{
		meter_html_raw(html, "</span><span>");
		write_day(html, meter->first_day + length / 2);
	}
	if (length >= 1)
	{
		meter_html_raw(html, "</span><span>");
		write_day(html, meter->last_day);
	}
	meter_html_raw(html, "</span></div>\n");
}

/* Write the days of a meter as a table. */
static void
write_day_table(MeterHtml *html, const MeterReportMeter *meter)
{
	bool		open = has_open(meter);
	int			i;

	meter_html_format(html, "<details>\n<summary>The days of %n as a table</summary>\n"
					  "<table>\n<caption>Usage a day of meter %n, days without usage left out</caption>\n"
					  "<thead><tr><th scope=\"col\">Day</th><th scope=\"col\" class=\"number\">Settled</th>%s</tr></thead>\n<tbody>\n",
					  meter->name, meter->name,
					  open ? "<th scope=\"col\" class=\"number\">Not settled yet</th>" : "");
	for (i = 0; i < meter->ndays; i++)
	{
		meter_html_raw(html, "<tr><th scope=\"row\"><time>");
		write_day(html, meter->days[i].day);
		meter_html_raw(html, "</time></th>");
		write_cell(html, meter->days[i].usage.settled);
		if (open)
			write_cell(html, meter->days[i].usage.open);
		meter_html_raw(html, "</tr>\n");
	}
	meter_html_raw(html, "</tbody>\n</table>\n</details>\n");
}

/* Write the chart of a meter's days. */
static void
write_days(MeterHtml *html, const MeterReportMeter *meter, int number)
{
	int			most;
	Scale		scale = find_scale(meter, &most);
	const MeterReportDay *day = &meter->days[most];

	meter_html_format(html, "<figure class=\"days\">\n<figcaption><b>%n</b>, %t; days in %t.",
					  meter->name, meter->measures, meter->timezone);
	if (scale.greatest > 0)
	{
		meter_html_raw(html, " The tallest bar is <time>");
		write_day(html, day->day);
		meter_html_raw(html, "</time>: ");
		if (day->usage.settled != NULL)
			meter_html_format(html, "%q", day->usage.settled);
		if (day->usage.open != NULL)
			meter_html_format(html, "%s%q not settled yet",
							  day->usage.settled == NULL ? "" : ", and ",
							  day->usage.open);
		meter_html_raw(html, ".");
	}
	meter_html_raw(html, "</figcaption>\n");
	draw_days(html, meter, number, &scale);
	write_axis(html, meter);
	write_day_table(html, meter);
	meter_html_raw(html, "</figure>\n");
}

/* Write what the bars of charts mean. */
static void
write_key(MeterHtml *html, bool open)
{
	meter_html_raw(html, "<ul class=\"key\">\n<li><svg xmlns=\"http://www.w3.org/2000/svg\" aria-hidden=\"true\" viewBox=\"0 0 32 16\">"
				   "<rect class=\"settled\" width=\"32\" height=\"16\"/></svg>solid: settled</li>\n");
	if (open)
		meter_html_raw(html, "<li><svg xmlns=\"http://www.w3.org/2000/svg\" aria-hidden=\"true\" viewBox=\"0 0 32 16\">"
					   "<rect class=\"open\" width=\"32\" height=\"16\"/></svg>striped: not settled yet</li>\n");
	meter_html_raw(html, "</ul>\n");
}

/* Write the charts of days. */
static void
write_all_days(MeterHtml *html, const MeterReport *report)
{
	int			i;

	meter_html_raw(html, "<section id=\"days\">\n<h2>Day by day</h2>\n"
				   "<p class=\"soft\">Usage stands on the day on which its period begins.</p>\n");
	write_key(html, any_open(report));
	for (i = 0; i < report->nmeters; i++)
		write_days(html, &report->meters[i], i + 1);
	meter_html_raw(html, "</section>\n");
}

/* --- resources ------------------------------------------------------------ */

/* Return where on a bar an instant lies. */
static int
place_of(const MeterReport *report, int64 instant)
{
	double		length = (double) report->to - (double) report->from;
	double		place = ((double) instant - (double) report->from) / length * BAR_WIDTH;

	return place <= 0 ? 0 : place >= BAR_WIDTH ? BAR_WIDTH : (int) place;
}

/* Draw when a resource had usage. */
static void
draw_spans(MeterHtml *html, const MeterReport *report,
		   const MeterReportResource *resource)
{
	int			drawn_to = -1;
	int			i;

	meter_html_format(html, "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %d 20\" preserveAspectRatio=\"none\">"
					  "<title>When %t had usage</title><desc>A bar from the beginning of the period to its end, filled where there was usage. "
					  "The text after it says when.</desc>",
					  BAR_WIDTH, resource->name);
	for (i = 0; i < resource->nspans; i++)
	{
		const MeterReportSpan *span = &resource->spans[i];
		int			begin = Min(place_of(report, span->begin), BAR_WIDTH - BAR_LEAST);
		int			end = Max(place_of(report, span->end), begin + BAR_LEAST);

		/* what lies within what is drawn already would not be seen */
		if (end <= drawn_to)
			continue;
		drawn_to = end;
		meter_html_format(html, "<rect class=\"%s\" x=\"%d\" width=\"%d\" height=\"20\"/>",
						  span->open ? "open" : "settled", begin, end - begin);
	}
	meter_html_raw(html, "</svg>");
}

/* Write when a resource had usage. */
static void
write_spans(MeterHtml *html, const MeterReport *report,
			const MeterReportResource *resource)
{
	int			i;

	meter_html_raw(html, "<small>");
	for (i = 0; i < Min(resource->nspans, STRETCHES); i++)
	{
		const MeterReportSpan *span = &resource->spans[i];

		if (i > 0)
			meter_html_raw(html, "<br/>");
		write_instant(html, report, span->begin);
		meter_html_raw(html, " to ");
		write_instant(html, report, span->end);
		if (span->open)
			meter_html_raw(html, ", not settled yet");
	}
	if (resource->nspans > STRETCHES)
		meter_html_format(html, "<br/>and %d more, the last to ",
						  resource->nspans - STRETCHES);
	if (resource->nspans > STRETCHES)
		write_instant(html, report, resource->spans[resource->nspans - 1].end);
	if (resource->nspans == 0)
		meter_html_raw(html, "nothing is left of its usage");
	meter_html_raw(html, "</small>");
}

/* Write a cell with usage, marked where it is not settled. */
static void
write_usage_cell(MeterHtml *html, const MeterReportUsage *usage)
{
	meter_html_raw(html, "<td role=\"cell\" class=\"number\">");
	if (usage->settled != NULL)
		meter_html_format(html, "%q", usage->settled);
	if (usage->open != NULL)
		meter_html_format(html, "<div class=\"unsettled\">%q<small>not settled yet</small></div>",
						  usage->open);
	meter_html_raw(html, "</td>");
}

/*
 * Write the timelines of a meter's resources.  Where there is little room, rows
 * are laid out anew, which would hide that this is a table: the roles say it.
 */
static void
write_resources(MeterHtml *html, const MeterReport *report,
				const MeterReportMeter *meter)
{
	int			i;

	meter_html_format(html, "<h3>%n</h3>\n<div class=\"runs\">\n<table role=\"table\">\n<caption>When the resources of meter %n had usage, and how much; %t</caption>\n"
					  "<thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\" class=\"who\">Resource</th>"
					  "<th role=\"columnheader\" scope=\"col\">When</th>"
					  "<th role=\"columnheader\" scope=\"col\" class=\"number much\">Quantity</th></tr></thead>\n<tbody role=\"rowgroup\">\n",
					  meter->name, meter->name, meter->measures);
	for (i = 0; i < meter->nresources; i++)
	{
		const MeterReportResource *resource = &meter->resources[i];

		meter_html_format(html, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">%n</th><td role=\"cell\" class=\"when\">", resource->name);
		draw_spans(html, report, resource);
		write_spans(html, report, resource);
		meter_html_raw(html, "</td>");
		write_usage_cell(html, &resource->usage);
		meter_html_raw(html, "</tr>\n");
	}
	if (meter->more_resources > 0)
	{
		meter_html_format(html, "<tr role=\"row\" class=\"more\"><th role=\"rowheader\" scope=\"row\">%d more</th><td role=\"cell\" class=\"when\">left out here, and part of the totals</td>",
						  meter->more_resources);
		write_usage_cell(html, &meter->more_usage);
		meter_html_raw(html, "</tr>\n");
	}
	meter_html_raw(html, "</tbody>\n</table>\n</div>\n");
}

/* Write the timelines. */
static void
write_all_resources(MeterHtml *html, const MeterReport *report)
{
	int			i;

	meter_html_raw(html, "<section id=\"resources\">\n<h2>Resources</h2>\n"
				   "<p class=\"soft\">When each had usage, as exact as the periods of its meter. Those with the most come first.</p>\n");
	write_key(html, any_open(report));
	for (i = 0; i < report->nmeters; i++)
	{
		if (report->meters[i].nresources > 0)
			write_resources(html, report, &report->meters[i]);
	}
	meter_html_raw(html, "</section>\n");
}

/* --- adjustments ---------------------------------------------------------- */

/* Write an adjustment. */
static void
write_adjustment(MeterHtml *html, const MeterReport *report,
				 const MeterReportAdjustment *adjustment)
{
	int			i;

	meter_html_format(html, "<li>\n<p><span class=\"much\">%q</span> of meter %n for resource %n, ",
					  adjustment->change, adjustment->meter,
					  adjustment->resource);
	write_label(html, &adjustment->label);
	meter_html_raw(html, "</p>\n<p class=\"soft\">");
	if (adjustment->periods == 1)
		meter_html_raw(html, "in the period of ");
	else
		meter_html_format(html, "in %d periods, from that of ", adjustment->periods);
	write_instant(html, report, adjustment->first);
	if (adjustment->periods > 1)
	{
		meter_html_raw(html, " to that of ");
		write_instant(html, report, adjustment->last);
	}
	meter_html_raw(html, "; recorded at ");
	write_instant(html, report, adjustment->recorded_at - adjustment->recorded_at % METER_SECOND);
	meter_html_raw(html, "</p>\n<ul>");
	for (i = 0; i < adjustment->nreasons; i++)
		meter_html_format(html, "<li>%n</li>", adjustment->reasons[i]);
	if (adjustment->more_reasons > 0)
		meter_html_format(html, "<li>and %d more</li>", adjustment->more_reasons);
	meter_html_raw(html, "</ul>\n</li>\n");
}

/* Write the adjustments. */
static void
write_adjustments(MeterHtml *html, const MeterReport *report)
{
	int			i;

	meter_html_raw(html, "<section id=\"adjustments\">\n<h2>Adjustments</h2>\n");
	if (report->nadjustments == 0)
		meter_html_raw(html, "<p>There are none: nothing that was settled in this period has changed.</p>\n");
	else
	{
		meter_html_raw(html, "<p class=\"soft\">What changed periods that were settled already, the latest first. The totals include it. "
					   "An event or a measure is late if it arrived after its period was settled.</p>\n"
					   "<ol class=\"changes\">\n");
		for (i = 0; i < report->nadjustments; i++)
			write_adjustment(html, report, &report->adjustments[i]);
		meter_html_raw(html, "</ol>\n");
	}
	if (report->more_adjustments > 0)
		meter_html_format(html, "<p id=\"more-adjustments\">%d more are left out here, and part of the totals.</p>\n",
						  report->more_adjustments);
	meter_html_raw(html, "</section>\n");
}

/* --- the page ------------------------------------------------------------- */

/* Write a report. */
void
meter_report_page(MeterHtml *html, const MeterReport *report)
{
	write_head(html, report);
	meter_html_raw(html, "<body>\n"
				   "<svg xmlns=\"http://www.w3.org/2000/svg\" aria-hidden=\"true\" style=\"position:absolute;width:0;height:0\"><defs>"
				   "<pattern id=\"stripes\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
				   "<rect class=\"stripe\" width=\"8\" height=\"4\"/></pattern></defs></svg>\n");
	write_header(html, report);
	if (report->nmeters > 0)
	{
		write_totals(html, report, false);
		if (any_open(report))
			write_totals(html, report, true);
		write_all_days(html, report);
		if (report->without_rows == NULL)
		{
			write_all_resources(html, report);
			write_adjustments(html, report);
		}
	}
	meter_html_raw(html, "</main>\n<footer>Quantities are exact, as the ledger has them. "
				   "The thousands are set apart for the eye: what is copied is the number.</footer>\n</body>\n</html>\n");
}
