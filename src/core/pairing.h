/*
 * pairing.h
 *	  Pairing: from the set of a resource's events to its timeline.
 */
#ifndef METER_PAIRING_H
#define METER_PAIRING_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/timeline_builder.h"

/* How pairing is to treat the first text attribute. */
typedef enum MeterLookBack
{
	METER_LOOK_BACK_NONE,
	METER_LOOK_BACK_FIRST		/* it is who owns the resource; the first name
								 * owns the time before it */
} MeterLookBack;

extern MeterTimeline *meter_pair(MeterEvents *events,
								 const MeterState *carried,
								 MeterLookBack look_back);

/* The same in steps; pieces.h takes them. */
extern void meter_pair_begin(MeterWalk *walk, MeterEvents *events,
							 const MeterState *carried,
							 MeterLookBack look_back);
extern void meter_pair_events(MeterWalk *walk);
extern void meter_pair_carry(MeterWalk *walk);
extern MeterTimeline *meter_pair_end(MeterWalk *walk);

#endif							/* METER_PAIRING_H */
