/*
 * levels.h
 *	  Timelines from increases and decreases.
 */
#ifndef METER_LEVELS_H
#define METER_LEVELS_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/timeline_builder.h"

extern MeterTimeline *meter_levels(MeterEvents *deltas);

#endif							/* METER_LEVELS_H */
