/*
 * observation_json.h
 *	  What an observation in the event log says, from its attributes.
 */
#ifndef METER_OBSERVATION_JSON_H
#define METER_OBSERVATION_JSON_H

#include "utils/jsonb.h"

extern bool meter_observation_instant_of(Jsonb *attributes, const char *key,
										 int64 *instant);
extern int64 meter_observation_tolerance(Jsonb *attributes);
extern int64 meter_observation_reach(Jsonb *attributes, int64 time,
									 bool absent);

#endif							/* METER_OBSERVATION_JSON_H */
