/*
 * cloudevent.h
 *	  Usage records from CloudEvents.
 */
#ifndef METER_CLOUDEVENT_H
#define METER_CLOUDEVENT_H

#include "core/recordmap.h"

extern bool meter_map_cloud_event(MeterMapping *mapping,
								  const MeterMember *specversion);

#endif							/* METER_CLOUDEVENT_H */
