/*
 * report_page.h
 *	  The page of a report: an account's usage in a period.
 */
#ifndef METER_REPORT_PAGE_H
#define METER_REPORT_PAGE_H

#include "core/core.h"
#include "core/html.h"

/* Names and numbers are data, terminated; an instant is told by `tell`. */

/* A dimension of usage, and what it says (NULL: nothing). */
typedef struct MeterReportDimension
{
	const char *name;
	const char *value;
} MeterReportDimension;

typedef struct MeterReportLabel
{
	MeterReportDimension *dimensions;
	int			ndimensions;
} MeterReportLabel;

/* Usage: what is settled, and what is not yet (NULL: there is none). */
typedef struct MeterReportUsage
{
	const char *settled;
	const char *open;
} MeterReportUsage;

typedef struct MeterReportSum
{
	MeterReportLabel label;
	MeterReportUsage usage;
} MeterReportSum;

/* A day, counted from 2000-01-01. */
typedef struct MeterReportDay
{
	int32		day;
	MeterReportUsage usage;
} MeterReportDay;

/* A stretch of periods with usage. */
typedef struct MeterReportSpan
{
	int64		begin;
	int64		end;
	bool		open;			/* not settled yet */
} MeterReportSpan;

typedef struct MeterReportResource
{
	const char *name;
	MeterReportUsage usage;
	MeterReportSpan *spans;		/* in order, and apart */
	int			nspans;
} MeterReportResource;

typedef struct MeterReportMeter
{
	const char *name;
	const char *measures;		/* what it measures, and in what */
	const char *timezone;		/* of its days */
	bool		dropped;		/* only its usage is left */
	bool		has_watermark;
	int64		watermark;
	MeterReportUsage usage;
	MeterReportSum *sums;
	int			nsums;
	int32		first_day;
	int32		last_day;
	MeterReportDay *days;		/* that have usage, in order */
	int			ndays;
	MeterReportResource *resources; /* with the most usage first */
	int			nresources;
	int			more_resources; /* that are left out */
	MeterReportUsage more_usage;	/* of these */
} MeterReportMeter;

/* What one settlement changed in the settled periods of a resource. */
typedef struct MeterReportAdjustment
{
	int64		recorded_at;
	const char *meter;
	const char *resource;
	MeterReportLabel label;
	int64		first;			/* the periods that begin from then */
	int64		last;			/* to then */
	int			periods;
	const char *change;			/* with its sign */
	const char **reasons;
	int			nreasons;
	int			more_reasons;	/* that are left out */
} MeterReportAdjustment;

typedef struct MeterReport
{
	const char *stream;
	const char *account;
	int64		from;
	int64		to;
	int64		made_at;
	const char *timezone;
	MeterReportMeter *meters;	/* with usage of the account */
	int			nmeters;
	const char *without_rows;	/* why there are no timelines and adjustments;
								 * NULL: there are */
	const char *without_open;	/* why there is no open usage; NULL: there is */
	MeterReportAdjustment *adjustments; /* the latest first */
	int			nadjustments;
	int			more_adjustments;	/* that are left out */

	/* writes an instant in the report's time zone as text */
	const char *(*tell) (void *arg, int64 instant);
	void	   *arg;
} MeterReport;

extern void meter_report_page(MeterHtml *html, const MeterReport *report);

#endif							/* METER_REPORT_PAGE_H */
