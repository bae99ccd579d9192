/*
 * states.h
 *	  The carried states: what is known of each resource just before its meter's
 *	  watermark; and the kept states: what was known of it at earlier instants.
 */
#ifndef METER_STATES_H
#define METER_STATES_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/timeline_builder.h"

/* A state as it is stored.  What it points to lives until the next is read. */
typedef struct MeterCarried
{
	bool		exists;
	uint64		hash;
	MeterAttr	resource;
	bool		active;			/* it runs, and is billed on */
	bool		open;
	bool		ended;
	TimestampTz since;
	TimestampTz alive;
	TimestampTz absent;			/* METER_BEGIN: never seen */
	TimestampTz unnamed_since;	/* DT_NOEND: nothing is billed to nobody */
	MeterAttr	source;
	TimestampTz started;		/* METER_BEGIN: by nothing yet */
	MeterAttr	holder;
	Datum		changed;		/* timestamptz[], or 0 */
	TimestampTz sign;			/* METER_BEGIN: none */
	int64		gaps;
	Datum		billed;			/* text[], or 0 */
	MeterAttr	account;
	Datum		owners;			/* jsonb, or 0: see measure_owners.h */
	Numeric		value;			/* NULL: none */
	Datum		dimensions;		/* text[] */
	TimestampTz last_time;		/* of the last row in it: it holds until the
								 * next; DT_NOEND: not known */
	/* of a kept state */
	TimestampTz at;
	/* of a carried state */
	TimestampTz straddles;		/* DT_NOBEGIN: nothing does */
	TimestampTz kept_time;		/* DT_NOBEGIN: not known */
	int32		kept_rows;
} MeterCarried;

/* The instants of a state that is written, beyond those of MeterState. */
typedef struct MeterStateTimes
{
	TimestampTz at;				/* the state is that of then; DT_NOEND: of a
								 * boundary */
	TimestampTz last_time;		/* of the last row in it; DT_NOEND: not known */
	TimestampTz unnamed_since;	/* what is `unnamed` began then, if not
								 * before; DT_NOEND: nothing is */
	TimestampTz straddles;		/* the last observation that reaches back
								 * behind the state, or DT_NOBEGIN */
	TimestampTz kept_time;		/* of the last state that was kept, or of the
								 * first row; DT_NOBEGIN: not known */
	int32		kept_rows;		/* since then */
	bool		unnamed;		/* something is billed to nobody, as its
								 * account is not known */
	Datum		owners;			/* as in MeterCarried */
} MeterStateTimes;

typedef struct MeterStates MeterStates;

extern void meter_dimensions_from_array(Datum array, MeterAttr *dimensions,
										int count);
extern void meter_changed_from_array(Datum array, int64 *changed, int count);
extern Datum meter_array_from_dimensions(const MeterAttr *attrs, int count);
extern MeterStates *meter_states_begin(const MeterDefinition *definition,
									   const char *table, bool write);
extern void meter_states_read_all(MeterStates *states);
extern const MeterCarried *meter_states_next(MeterStates *states);
extern const MeterCarried *meter_states_find(MeterStates *states, uint64 hash,
											 MeterAttr resource);
extern void meter_states_attrs(const MeterCarried *carried, MeterAttr *attrs,
							   int ndimensions);
extern MeterAttr *meter_billed_from_array(Datum array, MeterAttr *billed,
										  int count);
extern void meter_states_put(MeterStates *states, const MeterCarried *before,
							 uint64 hash, MeterAttr resource,
							 const MeterState *state, int ndimensions,
							 const MeterStateTimes *times);
extern MeterStates *meter_kept_states_begin(const MeterDefinition *definition,
											bool write);
extern const MeterCarried *meter_kept_states_find(MeterStates *states,
												  uint64 hash,
												  MeterAttr resource,
												  TimestampTz before);
extern void meter_kept_states_forget(MeterStates *states, uint64 hash,
									 MeterAttr resource, TimestampTz after);
extern bool meter_kept_states_due(int64 time, int32 rows);
extern void meter_kept_states_add(MeterStates *states, uint64 hash,
								  MeterAttr resource, TimestampTz at,
								  const MeterState *state, int ndimensions,
								  TimestampTz last_time);
extern void meter_states_forget(MeterStates *states,
								const MeterCarried *carried);
extern const MeterStateCounts *meter_states_more(const MeterStates *states);
extern int64 meter_states_end(MeterStates *states);

#endif							/* METER_STATES_H */
