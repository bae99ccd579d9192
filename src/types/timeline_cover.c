/*
 * timeline_cover.c
 *	  Aggregates over stretches of time: meter.heartbeats and meter.merge.
 *
 * The state of a group is a set of ranges and stands for what they cover
 * together.  So its ranges can be joined at any time: a range that comes in
 * order extends the last one, and a full state is joined before it grows.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/ranges.h"
#include "core/timeline_builder.h"
#include "pg/quantity.h"
#include "types/timeline.h"
#include "types/timeline_agg.h"

PG_FUNCTION_INFO_V1(meter_heartbeats_accum);
PG_FUNCTION_INFO_V1(meter_merge_accum);
PG_FUNCTION_INFO_V1(meter_cover_combine);
PG_FUNCTION_INFO_V1(meter_cover_serialize);
PG_FUNCTION_INFO_V1(meter_cover_deserialize);
PG_FUNCTION_INFO_V1(meter_cover_timeline);

/* The most ranges of a group that do not touch: 256 MB. */
#define MAX_RANGES	(1 << 24)

typedef struct CoverState
{
	uint32		nranges;
	uint32		maxranges:31;
	uint32		joined:1;		/* ranges are in order, and none touch */
	int64		last;			/* last event; METER_BEGIN: none is known */
	MeterRange	ranges[FLEXIBLE_ARRAY_MEMBER];
} CoverState;

#define STATE_SIZE(nranges) \
	(offsetof(CoverState, ranges) + (nranges) * sizeof(MeterRange))

/* Make a state without ranges. */
static CoverState *
make_state(MemoryContext context)
{
	CoverState *state = MemoryContextAlloc(context, STATE_SIZE(3));

	state->nranges = 0;
	state->maxranges = 3;
	state->joined = true;
	state->last = METER_BEGIN;
	return state;
}

/* Join the ranges of a state. */
static void
join_state(CoverState *state)
{
	if (!state->joined)
		state->nranges = meter_ranges_join(state->ranges, state->nranges);
	state->joined = true;
}

/* Add a range to a state. */
static CoverState *
add_range(CoverState *state, int64 begin, int64 end)
{
	MeterRange *last;

	if (state->nranges == state->maxranges)
	{
		join_state(state);
		if (state->nranges > state->maxranges / 2)
		{
			size_t		size = STATE_SIZE(state->maxranges);

			if (state->nranges >= MAX_RANGES)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("too many separate stretches of time in one group"),
						 errdetail("A group holds up to %d.", MAX_RANGES),
						 errhint("Group by resource, or aggregate shorter stretches of time.")));
			/* small blocks are powers of two in any case */
			size += size < 8192 ? size : size / 2;
			state = repalloc(state, size);
			state->maxranges = (size - STATE_SIZE(0)) / sizeof(MeterRange);
		}
	}
	if (state->nranges > 0)
	{
		last = &state->ranges[state->nranges - 1];
		if (begin >= last->begin && begin <= last->end)
		{
			last->end = Max(last->end, end);
			return state;
		}
		if (begin < last->begin)
			state->joined = false;
	}
	last = &state->ranges[state->nranges++];
	last->begin = begin;
	last->end = end;
	return state;
}

/*
 * Transition function of heartbeats(time, liveness).  A row without a time or
 * a liveness does not count.
 */
Datum
meter_heartbeats_accum(PG_FUNCTION_ARGS)
{
	CoverState *state = PG_ARGISNULL(0) ? NULL :
	(CoverState *) PG_GETARG_POINTER(0);
	int64		time;
	int64		liveness;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	time = meter_check_time(PG_GETARG_TIMESTAMPTZ(1));
	liveness = meter_interval_usec(PG_GETARG_INTERVAL_P(2), "liveness");
	if (liveness <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"liveness\" must be positive")));
	if (liveness >= METER_LIMIT - Max(time, 0))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	if (state == NULL)
		state = make_state(meter_aggregate_context(fcinfo));
	PG_RETURN_POINTER(add_range(state, time, time + liveness));
}

/*
 * Transition function of merge(timeline).  A row without a timeline does not
 * count.
 */
Datum
meter_merge_accum(PG_FUNCTION_ARGS)
{
	CoverState *state = PG_ARGISNULL(0) ? NULL :
	(CoverState *) PG_GETARG_POINTER(0);
	MeterTimeline *timeline;
	int32		i;

	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	timeline = meter_timeline_read(PG_GETARG_DATUM(1));
	if (state == NULL)
		state = make_state(meter_aggregate_context(fcinfo));
	for (i = 0; i < timeline->nspans; i++)
		state = add_range(state, timeline->spans[i].begin,
						  timeline->spans[i].end);
	if (timeline->has_last)
		state->last = Max(state->last, timeline->last);
	else if (timeline->nspans > 0 &&
			 timeline->spans[timeline->nspans - 1].end != METER_END)
		state->last = Max(state->last,
						  timeline->spans[timeline->nspans - 1].end);
	PG_RETURN_POINTER(state);
}

/* Combine two partial states; the result keeps nothing of the second. */
Datum
meter_cover_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = meter_aggregate_context(fcinfo);
	CoverState *state = PG_ARGISNULL(0) ? NULL :
	(CoverState *) PG_GETARG_POINTER(0);
	CoverState *other = PG_ARGISNULL(1) ? NULL :
	(CoverState *) PG_GETARG_POINTER(1);
	uint32		i;

	if (other == NULL)
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
		state = make_state(context);
	for (i = 0; i < other->nranges; i++)
		state = add_range(state, other->ranges[i].begin, other->ranges[i].end);
	state->last = Max(state->last, other->last);
	PG_RETURN_POINTER(state);
}

#define STATE_VERSION	1

/* Serialize a partial state, for another process. */
Datum
meter_cover_serialize(PG_FUNCTION_ARGS)
{
	CoverState *state = (CoverState *) PG_GETARG_POINTER(0);
	StringInfoData bytes;
	uint32		i;

	(void) meter_aggregate_context(fcinfo);
	join_state(state);
	pq_begintypsend(&bytes);
	pq_sendbyte(&bytes, STATE_VERSION);
	pq_sendint64(&bytes, state->last);
	pq_sendint32(&bytes, state->nranges);
	enlargeStringInfo(&bytes, (int) (state->nranges * sizeof(MeterRange)));
	for (i = 0; i < state->nranges; i++)
	{
		pq_writeint64(&bytes, state->ranges[i].begin);
		pq_writeint64(&bytes, state->ranges[i].end);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&bytes));
}

/* Make a partial state of bytes. */
Datum
meter_cover_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	StringInfoData bytes;
	CoverState *state;
	uint32		nranges;
	uint32		i;

	(void) meter_aggregate_context(fcinfo);
	bytes.data = VARDATA_ANY(value);
	bytes.len = (int) VARSIZE_ANY_EXHDR(value);
	bytes.maxlen = bytes.len;
	bytes.cursor = 0;

	meter_check_partial(pq_getmsgbyte(&bytes) == STATE_VERSION);
	state = make_state(CurrentMemoryContext);
	state->last = pq_getmsgint64(&bytes);
	nranges = pq_getmsgint(&bytes, 4);
	meter_check_partial((uint64) nranges * sizeof(MeterRange) ==
						(uint64) (bytes.len - bytes.cursor));
	for (i = 0; i < nranges; i++)
	{
		int64		begin = pq_getmsgint64(&bytes);
		int64		end = pq_getmsgint64(&bytes);

		meter_check_partial(begin < end);
		state = add_range(state, begin, end);
	}
	pq_getmsgend(&bytes);
	PG_RETURN_POINTER(state);
}

/* Final function of heartbeats() and merge(): NULL without a row. */
Datum
meter_cover_timeline(PG_FUNCTION_ARGS)
{
	CoverState *state;
	MeterTimelineBuilder builder;
	MeterAttr	nothing[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
	uint32		i;

	(void) meter_aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (CoverState *) PG_GETARG_POINTER(0);
	join_state(state);
	meter_build_begin(&builder, 1);
	for (i = 0; i < state->nranges; i++)
		meter_build_span(&builder, state->ranges[i].begin,
						 state->ranges[i].end,
						 meter_build_label(&builder, nothing));
	builder.timeline->has_last = state->last != METER_BEGIN;
	builder.timeline->last = state->last;
	PG_RETURN_DATUM(meter_timeline_datum(builder.timeline));
}
