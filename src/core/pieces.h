/*
 * pieces.h
 *	  Walking a resource piece by piece, in bounded memory.
 */
#ifndef METER_PIECES_H
#define METER_PIECES_H

#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/observation.h"
#include "core/pairing.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"

/* A piece is full with so many events or bytes of attributes. */
#define METER_PIECE_EVENTS	8192
#define METER_PIECE_BYTES	(1024 * 1024)

/* How the timeline is rounded, and which part of it is cut. */
typedef struct MeterCut
{
	MeterKeyed	keyed;
	MeterRounding rounding;
	MeterGrid  *grid;
	int64		from;
	int64		to;
} MeterCut;

/* Where attributes are that outlive the events that carried them. */
typedef struct MeterKept
{
	char	   *state;			/* those of the state */
	int32		nblocks;		/* those of keys and values */
	int32		maxblocks;
	char	  **blocks;
	int32		nkeys;			/* so many are in the blocks */
	int32		nvalues;
	uint64		bytes;
	uint32		said;			/* bytes of the arena: those of observations */

	/* what was in use when that was last looked at */
	int32		used;			/* labels and keys */
	uint64		used_bytes;
} MeterKept;

typedef struct MeterPieces
{
	MeterWalk	walk;
	MeterRounded rounded;
	MeterCutter cutter;			/* has the parts, see meter_cut_next() */
	MeterCut	cut;
	bool		last;			/* no piece follows */
	int32		nmarks;			/* so many have been given to the cutter */

	MeterKept	kept;
} MeterPieces;

extern void meter_pieces_begin(MeterPieces *pieces, MeterEvents *events,
							   const MeterState *carried, MeterLookBack look,
							   const MeterCut *cut);
extern bool meter_pieces_advance(MeterPieces *pieces, bool last);
extern bool meter_pieces_crowded(const MeterPieces *pieces);
extern int32 *meter_pieces_keys(const MeterPieces *pieces);
extern void meter_pieces_compact(MeterPieces *pieces, int32 *keys);

/*
 * Tell whether the events there are a full piece, and an event of an instant
 * may not be added before it has been taken.
 */
static inline bool
meter_piece_full(const MeterEvents *events, int64 time)
{
	return (events->nevents >= METER_PIECE_EVENTS ||
			events->arena_used >= METER_PIECE_BYTES) &&
		events->nevents > 0 &&
		events->events[events->nevents - 1].time < time;
}

#endif							/* METER_PIECES_H */
