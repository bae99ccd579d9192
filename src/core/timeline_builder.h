/*
 * timeline_builder.h
 *	  Timelines, and building one span by span.
 */
#ifndef METER_TIMELINE_BUILDER_H
#define METER_TIMELINE_BUILDER_H

#include "core/core.h"

/*
 * What is known of a resource at an instant, before the events of that
 * instant.
 */
typedef struct MeterState
{
	bool		open;
	bool		ended;			/* for good: no start opens it */
	int64		since;			/* start of the run, if open */
	int64		alive;			/* last moment known alive, if open */
	int64		absent;			/* last moment known not running, or
								 * METER_BEGIN */
	int64		started;		/* what last started it, a start or an
								 * observation, did so then; METER_BEGIN:
								 * nothing has yet */
	MeterAttr	source;			/* the source that the resource belongs to;
								 * NULL: none yet */
	MeterAttr	holder;			/* the source whose snapshot was the last to
								 * hold it since it was started, and has not
								 * been without it since; NULL: none */
	MeterAttr  *attrs;			/* natts, then the value */
	int64	   *changed;		/* of each, when a change named it last, as
								 * far as that matters; NULL: METER_BEGIN */

	/* where signs of life last for some time */
	int64		sign;			/* the last one, or of what did not run the
								 * last change; METER_BEGIN: none */
	int64		gaps;			/* of the run before that, if open */
	MeterAttr  *billed;			/* what attrs were when the run was billed
								 * last, if they have changed in a gap since;
								 * or NULL */
} MeterState;

/* What a span is keyed by: indexes into keys and values; value < 0: NULL. */
typedef struct MeterLabel
{
	int32		key;
	int32		value;
} MeterLabel;

typedef struct MeterSpan
{
	int64		begin;
	int64		end;
	int32		label;
} MeterSpan;

/*
 * An amount at an instant, beside the time of spans: time that a run which
 * ended lacks, or how many runs began.
 */
typedef struct MeterMark
{
	int64		time;
	int64		amount;
	int32		label;
} MeterMark;

/*
 * A step function of time: spans in order that do not overlap, each with a
 * label.  No two that touch have the same label.  Distinct labels, keys and
 * values have distinct indexes.  The last span of an open run ends at
 * METER_END.
 */
typedef struct MeterTimeline
{
	int32		natts;
	int32		nspans;
	MeterSpan  *spans;
	int32		nmarks;			/* in order of time */
	MeterMark  *marks;
	int32		ngaps;			/* gaps in runs: not billed, and in no span */
	const MeterSpan *gaps;
	int32		nlabels;
	MeterLabel *labels;
	int32		nkeys;
	MeterAttr  *keys;			/* natts each */
	int32		nvalues;
	MeterAttr  *values;
	bool		has_last;
	int64		last;			/* time of the last event */
	MeterState	state;			/* at the end */
} MeterTimeline;

/* Finds elements by their hashes; it is made once a few elements are there. */
typedef struct MeterIndex
{
	uint32		nslots;			/* a power of two, or 0 */
	int32	   *slots;			/* number + 1; 0: free */
	int32		maxhashes;
	uint32	   *hashes;			/* by number */
} MeterIndex;

/* Builds a timeline span by span; everything that makes timelines uses it. */
typedef struct MeterTimelineBuilder
{
	MeterTimeline *timeline;
	int32		maxspans;
	int32		maxmarks;
	int32		maxlabels;
	int32		maxkeys;
	int32		maxvalues;
	MeterIndex	label_index;
	MeterIndex	key_index;
	MeterIndex	value_index;
} MeterTimelineBuilder;

extern void meter_build_begin(MeterTimelineBuilder *builder, int32 natts);
extern int32 meter_build_label(MeterTimelineBuilder *builder,
							   const MeterAttr *attrs);
extern void meter_build_span(MeterTimelineBuilder *builder,
							 int64 begin, int64 end, int32 label);
extern void meter_build_mark(MeterTimelineBuilder *builder, int64 time,
							 int32 label, int64 amount);
extern void meter_build_name_keys(MeterTimelineBuilder *builder,
								  MeterAttr name);
extern void meter_build_compact(MeterTimelineBuilder *builder,
								int32 *labels, int32 *keys);
extern MeterAttr meter_timeline_attr(const MeterTimeline *timeline,
									 int32 label, int32 att);
extern MeterAttr meter_timeline_value(const MeterTimeline *timeline,
									  int32 label);

#endif							/* METER_TIMELINE_BUILDER_H */
