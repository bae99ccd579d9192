/*
 * pieces.c
 *	  Walking a resource piece by piece, in bounded memory.
 *
 * Events come in order of time, all observations before the first of them.
 * Whenever there is a full piece of them, it is paired, what is final of the
 * timeline is rounded and cut into periods, and the events are forgotten:
 *
 *	meter_pieces_begin(...);
 *	for each event:
 *		if (meter_piece_full(events, time))
 *			meter_pieces_advance(..., false), then meter_cut_next() to its end;
 *		meter_events_add(events, ...);
 *	meter_pieces_advance(..., true), then meter_cut_next() to its end;
 *
 * The parts of a period come in one cut or several, whose times add up; a
 * period has all of its parts when one of a later period comes, or the end.
 *
 * What is in memory: the events of a piece, or of one instant where it has
 * more; the observations; the spans, and with observations the moments, from
 * the least instant to which an observation to come may reach back; and the
 * labels that these have, or that the caller asks to keep (the keys of a period
 * that is not complete).  A resource that is one piece goes the way of
 * meter_pair(), meter_round() and meter_cut_begin(), and pays for nothing else.
 *
 * As long as no event names the first attribute, it is NULL in the keys of the
 * parts; the name that comes is set in them (see meter_build_name_keys), and so
 * in those that the caller keeps.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/pairing.h"
#include "core/pieces.h"
#include "core/rounding.h"
#include "core/runs.h"
#include "core/timeline_builder.h"

/* One allocation, of the server and in our programs. */
#define MAX_ALLOC	((uint64) 0x3fffffff)

/*
 * Begin to walk a resource.  What is in `events` may be all observations alone,
 * or the first piece, too.  The bytes of the carried state must outlive the
 * walk.
 */
void
meter_pieces_begin(MeterPieces *pieces, MeterEvents *events,
				   const MeterState *carried, MeterLookBack look,
				   const MeterCut *cut)
{
	meter_pair_begin(&pieces->walk, events, carried, look);
	meter_round_begin(&pieces->rounded, pieces->walk.builder.timeline,
					  cut->keyed, cut->rounding, cut->grid, METER_END);
	pieces->cutter.rounded = NULL;
	pieces->cut = *cut;
	pieces->last = false;
	pieces->nmarks = 0;
	memset(&pieces->kept, 0, sizeof(pieces->kept));
}

/*
 * Copies attributes to one place.  Those of a key are mostly those of the key
 * before: they stay the same bytes.
 */
typedef struct Copier
{
	char	   *to;				/* NULL: sizes are added up only */
	uint64		size;
} Copier;

/* Copy an attribute, unless it is the one copied last in its place. */
static void
copy_attr(Copier *copier, MeterAttr *attr, MeterAttr *before,
		  MeterAttr *copied)
{
	if (attr->len <= 0)
		return;
	if (before->len == attr->len && before->data == attr->data)
	{
		if (copier->to != NULL)
			*attr = *copied;
		return;
	}
	*before = *attr;
	if (copier->to != NULL)
	{
		memcpy(copier->to + copier->size, attr->data, attr->len);
		attr->data = copier->to + copier->size;
		*copied = *attr;
	}
	copier->size += attr->len;
}

/* Copy the attributes of keys and values from those numbers on. */
static void
copy_labels(MeterTimeline *timeline, int32 first_key, int32 first_value,
			Copier *copier)
{
	int32		natts = timeline->natts;
	MeterAttr  *before = palloc0((natts + 1) * sizeof(MeterAttr));
	MeterAttr  *copied = palloc0((natts + 1) * sizeof(MeterAttr));
	int32		i;
	int32		j;

	for (i = first_key; i < timeline->nkeys; i++)
	{
		for (j = 0; j < natts; j++)
			copy_attr(copier, &timeline->keys[(size_t) i * natts + j],
					  &before[j], &copied[j]);
	}
	for (i = first_value; i < timeline->nvalues; i++)
		copy_attr(copier, &timeline->values[i], &before[natts],
				  &copied[natts]);
	pfree(before);
	pfree(copied);
}

/* Copy the attributes of keys and values into a block. */
static bool
keep_labels(MeterPieces *pieces)
{
	MeterKept  *kept = &pieces->kept;
	MeterTimeline *timeline = pieces->walk.builder.timeline;
	Copier		copier = {NULL, 0};

	copy_labels(timeline, kept->nkeys, kept->nvalues, &copier);
	if (copier.size > MAX_ALLOC)
		return false;
	if (copier.size > 0)
	{
		if (kept->nblocks == kept->maxblocks)
		{
			kept->maxblocks = Max(8, 2 * kept->maxblocks);
			kept->blocks = meter_grow(kept->blocks,
									  kept->maxblocks * sizeof(char *));
		}
		copier.to = meter_grow(NULL, copier.size);
		copier.size = 0;
		copy_labels(timeline, kept->nkeys, kept->nvalues, &copier);
		kept->blocks[kept->nblocks++] = copier.to;
		kept->bytes += copier.size;
	}
	kept->nkeys = timeline->nkeys;
	kept->nvalues = timeline->nvalues;
	return true;
}

/* Copy the attributes of the state. */
static void
keep_state(MeterPieces *pieces)
{
	MeterState *state = &pieces->walk.state;
	int32		natts = pieces->walk.events->natts;
	size_t		size = 0;
	char	   *bytes;
	int32		i;

	for (i = 0; i <= natts; i++)
		size += Max(state->attrs[i].len, 0);
	bytes = palloc(Max(size, 1));
	for (size = i = 0; i <= natts; i++)
	{
		if (state->attrs[i].len <= 0)
			continue;
		memcpy(bytes + size, state->attrs[i].data, state->attrs[i].len);
		state->attrs[i].data = bytes + size;
		size += state->attrs[i].len;
	}
	if (pieces->kept.state != NULL)
		pfree(pieces->kept.state);
	pieces->kept.state = bytes;
}

/* Return the end of the attributes of observations in the arena. */
static uint32
said_bytes(const MeterEvents *events)
{
	const char *end = events->arena;
	int32		i;
	int32		j;

	for (i = 0; i < events->nobservations; i++)
	{
		const char *record = events->arena + events->observations[i].attrs;
		MeterAttr	attr;

		if (events->observations[i].attrs == 0)
			continue;
		for (j = 0; j <= events->natts; j++)
			record = meter_event_attr(record, &attr);
		end = Max(end, record);
	}
	return (uint32) (end - events->arena);
}

/* Forget the events, which have taken effect. */
static bool
forget_events(MeterPieces *pieces)
{
	MeterWalk  *walk = &pieces->walk;
	MeterEvents *events = walk->events;

	if (!keep_labels(pieces))
		return false;
	keep_state(pieces);
	if (pieces->kept.said == 0 && events->nobservations > 0)
		pieces->kept.said = said_bytes(events);
	events->nevents = 0;
	events->arena_used = pieces->kept.said;
	events->last_record = 0;
	events->sorted = true;
	return true;
}

/* Return how many spans of the timeline are final. */
static int32
final_spans(MeterWalk *walk)
{
	const MeterTimeline *timeline = walk->builder.timeline;
	int64		final = meter_walk_final(walk);
	int32		low = 0;
	int32		high = timeline->nspans;

	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (timeline->spans[middle].end <= final)
			low = middle + 1;
		else
			high = middle;
	}
	/* so that few are moved often where many wait for an observation */
	return low >= timeline->nspans - low ? low : 0;
}

/*
 * Let the span that goes on end where the events do, as far as that is final,
 * and begin anew: so that what is known of its run is not kept until it ends.
 */
static void
split_span(MeterWalk *walk)
{
	const MeterTimeline *timeline = walk->builder.timeline;
	int64		upto = Min(meter_walk_final(walk), timeline->last);

	if (walk->label < 0 || !timeline->has_last || walk->begin >= upto)
		return;
	meter_build_span(&walk->builder, walk->begin, upto, walk->label);
	walk->begin = upto;
}

/* Return from when on the timeline may have more, without its first spans. */
static int64
open_from(const MeterWalk *walk, int32 count)
{
	const MeterTimeline *timeline = walk->builder.timeline;

	if (count < timeline->nspans)
		return timeline->spans[count].begin;
	if (walk->label >= 0)
		return walk->begin;
	/* an observation to come may open a run since the last one ended */
	return walk->observation < walk->events->nobservations ?
		walk->state.absent : METER_END;
}

/* Forget the marks that the cutter has had. */
static void
forget_marks(MeterPieces *pieces)
{
	MeterTimeline *timeline = pieces->walk.builder.timeline;

	timeline->nmarks -= pieces->nmarks;
	if (pieces->nmarks > 0 && timeline->nmarks > 0)
		memmove(timeline->marks, timeline->marks + pieces->nmarks,
				timeline->nmarks * sizeof(MeterMark));
	pieces->nmarks = 0;
	pieces->cutter.nmarks = pieces->cutter.next_mark = 0;
}

/*
 * Round the first spans of a timeline with rules of runs, less the gaps, and
 * find the marks that nothing of before can follow.
 */
static void
take_runs(MeterPieces *pieces, int32 count, bool last)
{
	MeterRuns  *runs = &pieces->walk.runs;
	const MeterTimeline *timeline = pieces->walk.builder.timeline;
	int64		open = last ? METER_END : open_from(&pieces->walk, count);
	int32		nbilled = count;
	const MeterSpan *billed = meter_runs_spans(runs, &nbilled);

	meter_round_spans(&pieces->rounded, billed,
					  runs->rules->counts ? 0 : nbilled, last);
	while (pieces->nmarks < timeline->nmarks &&
		   timeline->marks[pieces->nmarks].time <= open)
		pieces->nmarks++;
	if (!last)
		meter_runs_leave(runs, count, open);
}

/* Tell whether what is kept can still grow by a piece. */
static bool
has_room(const MeterPieces *pieces)
{
	const MeterWalk *walk = &pieces->walk;
	const MeterTimeline *timeline = walk->builder.timeline;

	return timeline->nspans <= METER_MAX_EVENTS / 2 &&
		timeline->nmarks <= METER_MAX_EVENTS / 2 &&
		walk->nmoments <= METER_MAX_EVENTS / 2 &&
		timeline->nlabels <= METER_MAX_EVENTS / 2 &&
		pieces->kept.bytes <= MAX_ALLOC &&
		(uint64) timeline->nkeys * Max(timeline->natts, 1) *
		sizeof(MeterAttr) <= MAX_ALLOC / 3;
}

/*
 * Take the piece of events that there is: pair it, and prepare to cut what is
 * final.  The parts of the piece before must have been taken.  At the last one,
 * the state at the end is in the timeline.  Returns false if too much would
 * have to be kept.
 */
bool
meter_pieces_advance(MeterPieces *pieces, bool last)
{
	MeterWalk  *walk = &pieces->walk;
	MeterTimeline *timeline = walk->builder.timeline;
	bool		runs = walk->runs.rules != NULL;
	bool		named = walk->named;
	int32		count;

	if (runs)
		forget_marks(pieces);
	meter_pair_events(walk);
	if (last)
		(void) meter_pair_end(walk);
	else if (runs)
		split_span(walk);
	if (walk->named && !named)
		pieces->kept.nkeys = 0; /* all have got the name */
	count = last ? timeline->nspans : final_spans(walk);
	if (runs)
		take_runs(pieces, count, last);
	else
		meter_round_spans(&pieces->rounded, timeline->spans, count, last);
	if (pieces->cutter.rounded == NULL)
		meter_cut_begin(&pieces->cutter, &pieces->rounded, pieces->cut.grid,
						pieces->cut.from, pieces->cut.to);
	else
		meter_cut_more(&pieces->cutter);
	if (runs)
		meter_cut_marks(&pieces->cutter, pieces->nmarks);
	pieces->last = last;
	if (last)
		return true;

	timeline->nspans -= count;
	if (count > 0 && timeline->nspans > 0)
		memmove(timeline->spans, timeline->spans + count,
				timeline->nspans * sizeof(MeterSpan));
	if (!forget_events(pieces))
		return false;
	if (runs)
		meter_pair_carry(walk);
	return has_room(pieces);
}

/* Tell whether there may be much that is not in use any more. */
bool
meter_pieces_crowded(const MeterPieces *pieces)
{
	const MeterTimeline *timeline = pieces->walk.builder.timeline;

	return timeline->nlabels + timeline->nkeys >
		2 * pieces->kept.used + METER_PIECE_EVENTS ||
		pieces->kept.bytes > 2 * pieces->kept.used_bytes + METER_PIECE_BYTES;
}

/*
 * Return an array of all keys for meter_pieces_compact(): the caller sets those
 * to 1 that it asks to keep.
 */
int32 *
meter_pieces_keys(const MeterPieces *pieces)
{
	return palloc0(Max(pieces->walk.builder.timeline->nkeys, 1) *
				   sizeof(int32));
}

/*
 * Forget labels that are not in use, between pieces, when all parts have been
 * taken.  The keys are told their new numbers; -1 are those that are forgotten.
 */
void
meter_pieces_compact(MeterPieces *pieces, int32 *keys)
{
	MeterWalk  *walk = &pieces->walk;
	MeterTimeline *timeline = walk->builder.timeline;
	MeterSpan  *pending = &pieces->rounded.pending;
	int32	   *labels = palloc0(Max(timeline->nlabels, 1) * sizeof(int32));
	int32	   *pending_in = pieces->rounded.keyed == METER_KEYED_BY_KEY ?
	keys : labels;
	MeterKept	before = pieces->kept;
	int32		i;

	forget_marks(pieces);
	if (walk->label >= 0)
		labels[walk->label] = 1;
	if (walk->runs.billed >= 0)
		labels[walk->runs.billed] = 1;
	for (i = 0; i < timeline->nspans; i++)
		labels[timeline->spans[i].label] = 1;
	for (i = 0; i < timeline->nmarks; i++)
		labels[timeline->marks[i].label] = 1;
	if (pending->begin < pending->end)
		pending_in[pending->label] = 1;

	meter_build_compact(&walk->builder, labels, keys);
	if (walk->label >= 0)
		walk->label = labels[walk->label];
	if (walk->runs.billed >= 0)
		walk->runs.billed = labels[walk->runs.billed];
	for (i = 0; i < timeline->nspans; i++)
		timeline->spans[i].label = labels[timeline->spans[i].label];
	for (i = 0; i < timeline->nmarks; i++)
		timeline->marks[i].label = labels[timeline->marks[i].label];
	if (pending->begin < pending->end)
		pending->label = pending_in[pending->label];
	pfree(labels);

	/* one block then holds what all did */
	memset(&pieces->kept, 0, sizeof(pieces->kept));
	pieces->kept.state = before.state;
	pieces->kept.said = before.said;
	(void) keep_labels(pieces);
	for (i = 0; i < before.nblocks; i++)
		pfree(before.blocks[i]);
	if (before.blocks != NULL)
		pfree(before.blocks);
	pieces->kept.used = timeline->nlabels + timeline->nkeys;
	pieces->kept.used_bytes = pieces->kept.bytes;
}
