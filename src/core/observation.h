/*
 * observation.h
 *	  Observations: what snapshots say of a resource, and what follows.
 */
#ifndef METER_OBSERVATION_H
#define METER_OBSERVATION_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/owners.h"
#include "core/runs.h"
#include "core/timeline_builder.h"

/* What an observation does to a timeline. */
typedef enum MeterEffect
{
	METER_AGREES,				/* changes nothing */
	METER_EVIDENCE,				/* changes nothing, but a later one needs it */
	METER_MOVES,				/* the resource belongs to another source from
								 * its time on */
	METER_CHANGES,				/* changes attributes, from its time on */
	METER_ENDS,					/* a run ended at `from` */
	METER_OPENS,				/* a run began at `from` */
	METER_CUTS					/* nothing ran from `from` to `to` */
} MeterEffect;

/* Where an observation comes from. */
typedef enum MeterStanding
{
	METER_KNOWN,				/* from before the carried state: takes no
								 * effect */
	METER_LOGGED,
	METER_CANDIDATE				/* not logged: is there a need to? */
} MeterStanding;

/*
 * The snapshot of a source at `time` had the resource, or had not.  Instants
 * of which nothing is known are METER_BEGIN.
 */
typedef struct MeterObservation
{
	int64		time;
	bool		present;
	uint8		standing;		/* MeterStanding */
	uint16		source;			/* number, see meter_events_source() */
	uint32		attrs;			/* record in the arena of the events */
	int64		since;			/* present: when the run began */
	int64		tolerance;		/* by which `since` may be off */
	int64		alive;			/* the last snapshot that had the resource,
								 * before `since`, or where the resource is
								 * not present before `time` */

	/* what came of the observation */
	bool		own;			/* the resource belonged to its source */
	bool		was_open;
	uint8		effect;			/* MeterEffect */
	int64		from;
	int64		to;
	MeterAttr	other;			/* the source that the resource belonged to
								 * before, if to another; METER_MOVES: belongs
								 * to from then on */
} MeterObservation;

/* A moment at which a run is known to have been going. */
typedef struct MeterMoment
{
	int64		time;
	int32		witness;		/* the observation that says so, or -1 */
} MeterMoment;

/* What was said of a resource that did not run, at one instant. */
typedef struct MeterClosedChange
{
	int64		time;
	bool		alive;			/* it ran then, if it is found to have run */
	MeterAttr  *before;			/* the attributes just before */
	MeterAttr  *named;			/* those that were named */
	char	   *bytes;			/* of both */
} MeterClosedChange;

/*
 * The states that the events of an instant pass through, those just before and
 * just after included.
 */
typedef struct MeterPassed
{
	bool		open;			/* one of them is */
	bool		closed;
	MeterAttr  *before;			/* attributes; NULL: no events */
	int32		from;			/* the events */
	int32		to;
} MeterPassed;

/* What pairing knows while it goes through the instants. */
typedef struct MeterWalk
{
	MeterEvents *events;
	MeterTimelineBuilder builder;
	MeterState	state;
	int32		label;			/* of the span that goes on, or -1 */
	int64		begin;			/* of that span */
	MeterRuns	runs;
	bool		owned;			/* the first attribute is who owns it */
	bool		named;			/* if so, somebody has been named */
	MeterAttr	first_name;		/* that, where there are observations */
	MeterOwner	owner;
	MeterAttr	told_name;		/* what observations for other meters say of
								 * who owns it at the instant at hand, or NULL */
	MeterAttr	told_source;	/* the source of these */
	int32		observation;	/* the next one to take effect */

	/* kept only where there are observations */
	int32		nmoments;		/* moments of the open run, in order */
	int32		maxmoments;
	int32		asked;			/* those left when it was last asked which */
	MeterMoment *moments;
	int32		nchanges;		/* changes while it did not run, in order */
	int32		maxchanges;
	MeterClosedChange *changes;
	int32		absent_witness; /* the observation state.absent is from, or -1 */
	int32		held_witness;	/* the last one that held the resource since
								 * it was started, or -1 */
	int32		gone_witness;	/* the one by which state.holder was without
								 * it then, or -1 */
	bool		foreign;		/* a snapshot has held it, since it was
								 * started, to whose source it did not belong */
	bool		deep;			/* what snapshots said long before bears on it */
	MeterPassed passed;
	int64	   *carried_changed;	/* `changed` of the carried state */
	int64		least_since;	/* of all observations, or METER_END */
	MeterAttr  *said;			/* room for what an instant's say */
	int32	   *sayers;			/* and for which of them do */
} MeterWalk;

extern MeterSpan meter_walk_current(const MeterWalk *walk);
extern void meter_walk_apply(MeterWalk *walk, uint32 attrs);
extern bool meter_walk_own(MeterWalk *walk, MeterAttr name, int64 now,
						   int64 from);
extern void meter_walk_told(MeterWalk *walk, int64 now);
extern void meter_walk_turn(MeterWalk *walk, int64 now);
extern bool meter_observations_add(MeterEvents *events,
								   const MeterObservation *observation,
								   const MeterAttr *attrs);
extern void meter_observations_sort(MeterEvents *events);
extern void meter_walk_known(MeterWalk *walk);
extern void meter_walk_moment(MeterWalk *walk, int64 time, int32 witness);
extern void meter_walk_started(MeterWalk *walk, MeterAttr source, int64 time);
extern void meter_walk_observations(MeterWalk *walk, int64 before);
extern void meter_walk_change(MeterWalk *walk, int64 time,
							  const MeterAttr *before, bool alive);
extern int64 meter_walk_final(MeterWalk *walk);

#endif							/* METER_OBSERVATION_H */
