/*
 * observation.h
 *	  Observations: what snapshots say of a resource, and what follows.
 */
#ifndef METER_OBSERVATION_H
#define METER_OBSERVATION_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/timeline_builder.h"

/* What an observation does to a timeline. */
typedef enum MeterEffect
{
	METER_AGREES,				/* changes nothing */
	METER_EVIDENCE,				/* changes nothing, but a later one needs it */
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
	int64		absent;			/* present: the last snapshot without it */

	/* what came of the observation */
	bool		spoke;			/* the resource belongs to its source */
	bool		was_open;
	uint8		effect;			/* MeterEffect */
	int64		from;
	int64		to;
} MeterObservation;

/* A moment at which a run is known to have been going. */
typedef struct MeterMoment
{
	int64		time;
	int32		witness;		/* the observation that says so, or -1 */
} MeterMoment;

/* What pairing knows while it goes through the instants. */
typedef struct MeterWalk
{
	MeterEvents *events;
	MeterTimelineBuilder builder;
	MeterState	state;
	int32		label;			/* of the span that goes on, or -1 */
	int64		begin;			/* of that span */
	bool		named;			/* the first attribute has been named */
	int32		observation;	/* the next one to take effect */

	/* kept only where there are observations */
	int32		nmoments;		/* moments of the open run, in order */
	int32		maxmoments;
	int32		asked;			/* those left when it was last asked which */
	MeterMoment *moments;
	int32		absent_witness; /* the observation state.absent is from, or -1 */
	int64		snapshot_absent;	/* the last snapshot without the resource */
} MeterWalk;

extern void meter_walk_apply(MeterWalk *walk, uint32 attrs);
extern void meter_walk_name(MeterWalk *walk, MeterAttr name);
extern bool meter_observations_add(MeterEvents *events,
								   const MeterObservation *observation,
								   const MeterAttr *attrs);
extern void meter_observations_sort(MeterEvents *events);
extern void meter_walk_known(MeterWalk *walk);
extern void meter_walk_moment(MeterWalk *walk, int64 time, int32 witness);
extern void meter_walk_observation(MeterWalk *walk, int32 number);
extern int64 meter_walk_final(MeterWalk *walk);

#endif							/* METER_OBSERVATION_H */
