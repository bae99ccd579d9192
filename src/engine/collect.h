/*
 * collect.h
 *	  Collecting what is known of one resource: its carried state, its events,
 *	  and what snapshots say of it.
 */
#ifndef METER_COLLECT_H
#define METER_COLLECT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/pieces.h"
#include "core/timeline_builder.h"
#include "engine/row_kind.h"

/* What is known of one resource; lives in one memory context. */
typedef struct MeterCollected
{
	MeterEvents events;
	bool		carried;
	MeterState	state;
} MeterCollected;

extern MeterAttr *meter_copy_attrs(MemoryContext context,
								   const MeterAttr *attrs, int32 count);
extern bool meter_collect_row(MeterCollected *collected, MeterRowKind kind,
							  TimestampTz time, const int64 *sequence,
							  MeterAttr source, const Jsonb *said,
							  const MeterAttr *attrs);
extern void meter_collect_carried(MeterCollected *collected,
								  const MeterState *state);
extern MeterTimeline *meter_collected_pair(MeterCollected *collected);
extern void meter_collected_begin(MeterCollected *collected,
								  MeterPieces *pieces, const MeterCut *cut);
extern void meter_too_many_events(void) pg_attribute_noreturn();

#endif							/* METER_COLLECT_H */
