/*
 * pairing.h
 *	  Pairing: from the set of a resource's events to its timeline.
 */
#ifndef METER_PAIRING_H
#define METER_PAIRING_H

#include "core/core.h"

typedef enum MeterKind
{
	METER_STOP = 0,
	METER_START = 1,
	METER_CHANGE = 2
} MeterKind;

/*
 * An event.  Its attributes are a record in the arena of the events it
 * belongs to (see meter_events_add); 0 is the record in which all are NULL.
 */
typedef struct MeterEvent
{
	int64		time;
	uint32		attrs;
	uint8		kind;
	uint16		source;			/* see meter_events_source(), or 0 */
} MeterEvent;

struct MeterStatement;

/* So many events, and bytes of attributes, are held at most. */
#define METER_MAX_EVENTS	(1 << 25)
#define METER_MAX_ARENA		(UINT64_C(1) << 28)
#define METER_MAX_SOURCES	0xffff

/*
 * Events being collected.  `natts` counts the text attributes; the value (a
 * canonical decimal) is the attribute after them.
 */
typedef struct MeterEvents
{
	int32		natts;
	int32		nevents;
	int32		maxevents;
	bool		sorted;			/* by time, so far */
	MeterEvent *events;
	uint32		last_record;	/* the record added last, or 0 */
	uint32		arena_used;
	uint32		arena_size;
	char	   *arena;
	int32		nsources;
	int32		maxsources;
	MeterAttr  *sources;		/* by number - 1 */
	int32		nstatements;	/* see statement.h */
	int32		maxstatements;
	struct MeterStatement *statements;
} MeterEvents;

/* What is known of a resource at an instant, before the events of it. */
typedef struct MeterState
{
	bool		open;
	int64		since;			/* start of the run, if open */
	int64		alive;			/* last moment known alive, if open */
	int64		absent;			/* last moment known not running, or
								 * METER_BEGIN */
	MeterAttr	source;			/* whose it is; NULL: nobody's yet */
	MeterAttr  *attrs;			/* natts, then the value */
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

/* How meter_pair() is to treat the first text attribute. */
typedef enum MeterLookBack
{
	METER_LOOK_BACK_NONE,
	METER_LOOK_BACK_FIRST		/* it owns the time before it was named */
} MeterLookBack;

extern void meter_events_init(MeterEvents *events, int32 natts);
extern bool meter_events_add(MeterEvents *events, MeterKind kind, int64 time,
							 const MeterAttr *attrs);
extern bool meter_events_record(MeterEvents *events, const MeterAttr *attrs,
								uint32 *record);
extern uint16 meter_events_source(MeterEvents *events, MeterAttr source);
extern int	meter_record_cmp(const MeterEvents *events, uint32 a, uint32 b);
extern bool meter_record_differs(const MeterEvents *events, uint32 record,
								 const MeterAttr *attrs);
extern void meter_events_sort(MeterEvents *events);
extern const char *meter_event_attr(const char *record, MeterAttr *attr);
extern MeterTimeline *meter_pair(MeterEvents *events,
								 const MeterState *carried,
								 MeterLookBack look_back);
extern MeterAttr meter_timeline_attr(const MeterTimeline *timeline,
									 int32 label, int32 att);
extern MeterAttr meter_timeline_value(const MeterTimeline *timeline,
									  int32 label);

/* Finds what has been seen by its hash; only begun once a few are there. */
typedef struct MeterIndex
{
	uint32		nslots;			/* a power of two, or 0 */
	int32	   *slots;			/* number + 1; 0: free */
	int32		maxhashes;
	uint32	   *hashes;			/* by number */
} MeterIndex;

/* Building a timeline span by span, for all that makes one. */
typedef struct MeterTimelineBuilder
{
	MeterTimeline *timeline;
	int32		maxspans;
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

extern int	meter_attr_cmp(MeterAttr a, MeterAttr b);
extern bool meter_attr_equal(MeterAttr a, MeterAttr b);

#endif							/* METER_PAIRING_H */
