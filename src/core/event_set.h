/*
 * event_set.h
 *	  The set of a resource's events, as it is collected and sorted.
 */
#ifndef METER_EVENT_SET_H
#define METER_EVENT_SET_H

#include "core/core.h"

typedef enum MeterKind
{
	METER_STOP = 0,
	METER_START = 1,
	METER_CHANGE = 2,
	METER_FINISH = 3,			/* a stop after which no start opens */
	METER_IGNORED = 4,			/* paired: a start after that */
	METER_NAMES = 5,			/* only says who owns the resource */
	METER_OBSERVED = 6			/* so does the observation that was made for
								 * another meter; after all other events of
								 * its instant */
} MeterKind;

#define METER_NKINDS	7

/*
 * An event.  Its attributes are a record in the arena of the events it
 * belongs to (see meter_events_add); 0 is the record in which all are NULL.
 */
typedef struct MeterEvent
{
	int64		time;
	int64		sequence;		/* within the instant; 0 if it has none */
	uint32		attrs;
	uint16		source;			/* see meter_events_source(), or 0 */
	uint8		kind;
	bool		sequenced;		/* it has a sequence: comes after those
								 * without */
} MeterEvent;

struct MeterObservation;
struct MeterRunRules;

/* The most events, bytes of attributes and sources that one set holds. */
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
	int64		names_end;		/* names from then on do not count before it:
								 * none of them is the first */
	const struct MeterRunRules *rules;	/* of their runs, see runs.h; NULL:
										 * none */
	int32		nevents;
	int32		maxevents;
	bool		sorted;			/* by time, so far */
	bool		sequenced;		/* any has a sequence */
	bool		observed;		/* any is METER_OBSERVED */
	MeterEvent *events;
	uint32		last_record;	/* the record added last, or 0 */
	uint32		arena_used;
	uint32		arena_size;
	char	   *arena;
	int32		nsources;
	int32		maxsources;
	MeterAttr  *sources;		/* by number - 1 */
	uint32		nslots;			/* a power of two, or 0: few are searched one
								 * by one */
	uint16	   *slots;			/* numbers of sources, by hash; 0: free */
	int32		nobservations;	/* see observation.h */
	int32		maxobservations;
	struct MeterObservation *observations;
	bool		deep;			/* paired: what snapshots said long before
								 * bears on it */
	bool		behind;			/* paired: a run begins so long before the
								 * carried state that what ends it is not
								 * known */
} MeterEvents;

extern void meter_events_init(MeterEvents *events, int32 natts);
extern bool meter_events_add(MeterEvents *events, MeterKind kind, int64 time,
							 const MeterAttr *attrs);
extern bool meter_events_record(MeterEvents *events, const MeterAttr *attrs,
								uint32 *record);
extern void meter_events_sequence(MeterEvents *events, int64 sequence);
extern uint16 meter_events_source(MeterEvents *events, MeterAttr source);
extern int	meter_record_cmp(const MeterEvents *events, uint32 a, uint32 b,
							 int32 first);
extern bool meter_record_differs(const MeterEvents *events, uint32 record,
								 const MeterAttr *attrs);
extern void meter_events_sort(MeterEvents *events);
extern void meter_instant_sort(MeterEvents *events, int32 from, int32 to);
extern int32 meter_instant_observed(MeterEvents *events, int32 from, int32 to);
extern int32 meter_tie_end(const MeterEvents *events, int32 from, int32 to);
extern const char *meter_event_attr(const char *record, MeterAttr *attr);
extern int	meter_attr_cmp(MeterAttr a, MeterAttr b);
extern bool meter_attr_equal(MeterAttr a, MeterAttr b);

/* What a hash of attributes begins with. */
#define METER_HASH_BEGIN	2166136261u

extern uint32 meter_attr_hash(uint32 hash, MeterAttr attr);

#endif							/* METER_EVENT_SET_H */
