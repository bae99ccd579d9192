/*
 * rounding.h
 *	  Rounding of timelines to units of increment, and cutting into periods.
 */
#ifndef METER_ROUNDING_H
#define METER_ROUNDING_H

#include "core/core.h"
#include "core/grid.h"
#include "core/timeline_builder.h"

typedef enum MeterRounding
{
	METER_ROUND_NONE,
	METER_ROUND_UP,
	METER_ROUND_DOWN,
	METER_ROUND_NEAREST
} MeterRounding;

/* What keeps two spans that touch apart when a timeline is rounded. */
typedef enum MeterKeyed
{
	METER_KEYED_BY_LABEL,		/* texts and value */
	METER_KEYED_BY_KEY			/* texts alone */
} MeterKeyed;

/* Spans rounded once; windows and periods then cut them exactly. */
typedef struct MeterRounded
{
	const MeterTimeline *timeline;
	int32		nspans;
	MeterSpan  *spans;			/* label is a label, or with keys a key */
	int32		nlabels;
	int32		maxspans;

	/* how, and what goes on where spans come in pieces */
	MeterKeyed	keyed;
	MeterRounding rounding;
	MeterGrid  *grid;
	int64		open_end;
	int64		claimed;		/* units before it belong to spans already */
	MeterSpan	pending;		/* may be joined yet; empty: there is none */
} MeterRounded;

extern void meter_round(MeterRounded *rounded, const MeterTimeline *timeline,
						MeterKeyed keyed, MeterRounding rounding,
						MeterGrid *grid, int64 open_end);
extern void meter_round_begin(MeterRounded *rounded,
							  const MeterTimeline *timeline, MeterKeyed keyed,
							  MeterRounding rounding, MeterGrid *grid,
							  int64 open_end);
extern void meter_round_spans(MeterRounded *rounded, const MeterSpan *spans,
							  int32 count, bool last);

/* Time per label within one period, and the amounts of its marks. */
typedef struct MeterPart
{
	int32		label;
	int64		billed;
} MeterPart;

/* A reader of the periods of [from, to) in which there is something. */
typedef struct MeterCutter
{
	const MeterRounded *rounded;
	MeterGrid  *grid;
	int64		from;
	int64		to;
	int32		next;			/* first span that may still matter */
	int64		done;			/* where the span at `next` has been cut to */
	int32		nmarks;			/* see meter_cut_marks() */
	int32		next_mark;
	const MeterMark *marks;
	int64		period_begin;
	int64		cut_begin;		/* the period within the window */
	int64		cut_end;
	int32		maxlabels;
	int32		nparts;
	MeterPart  *parts;			/* in order of first appearance */
	int32	   *part_of;		/* by label: number of its part + 1 */
} MeterCutter;

extern void meter_cut_begin(MeterCutter *cutter, const MeterRounded *rounded,
							MeterGrid *grid, int64 from, int64 to);
extern void meter_cut_more(MeterCutter *cutter);
extern void meter_cut_marks(MeterCutter *cutter, int32 count);
extern bool meter_cut_next(MeterCutter *cutter);
extern bool meter_cut_window(MeterCutter *cutter);

#endif							/* METER_ROUNDING_H */
