/*
 * states.h
 *	  The carried states: what is known of each resource just before its meter's
 *	  watermark.
 */
#ifndef METER_STATES_H
#define METER_STATES_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/timeline_builder.h"

/* A state as it is stored.  What it points to lives until the next is read. */
typedef struct MeterCarried
{
	bool		exists;
	uint64		hash;
	MeterAttr	resource;
	bool		open;
	TimestampTz since;
	TimestampTz alive;
	TimestampTz absent;			/* METER_BEGIN: never seen */
	TimestampTz unnamed_since;	/* DT_NOEND: nothing is billed to nobody */
	MeterAttr	source;
	MeterAttr	account;
	Numeric		value;			/* NULL: none */
	Datum		dimensions;		/* text[] */
} MeterCarried;

typedef struct MeterStates MeterStates;

extern void meter_dimensions_from_array(Datum array, MeterAttr *dimensions,
										int count);
extern Datum meter_array_from_dimensions(const MeterAttr *attrs, int count);
extern MeterStates *meter_states_begin(const MeterDefinition *definition,
									   const char *table, bool write);
extern void meter_states_read_all(MeterStates *states);
extern const MeterCarried *meter_states_next(MeterStates *states);
extern const MeterCarried *meter_states_find(MeterStates *states, uint64 hash,
											 MeterAttr resource);
extern void meter_states_attrs(const MeterCarried *carried, MeterAttr *attrs,
							   int ndimensions);
extern void meter_states_put(MeterStates *states, const MeterCarried *before,
							 uint64 hash, MeterAttr resource,
							 const MeterState *state, int ndimensions,
							 TimestampTz unnamed_since, TimestampTz straddles);
extern void meter_states_forget(MeterStates *states,
								const MeterCarried *carried);
extern int64 meter_states_end(MeterStates *states);

#endif							/* METER_STATES_H */
