/*
 * timeline_agg.c
 *	  Aggregates over events: meter.timeline, meter.billed and meter.levels.
 *
 * The state of a group is the multiset of its events, so rows may come in any
 * order and partial states may be combined in any.  Events without label and
 * value are eight bytes each (packed.h).  The last few stand in the state
 * itself, which is one cache line; when they are too many they go to a block
 * that grows, all at once: most rows touch nothing else, however many groups
 * there are and however large they get.  A group that meets a label, a value
 * or a time too late to be packed goes on with MeterEvents.
 *
 * The final functions sort a state in place, which changes its meaning for
 * nobody: they are read only, also in windows.
 *
 * Everything lives in the aggregate's memory context.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/levels.h"
#include "core/packed.h"
#include "core/pairing.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"
#include "pg/arguments.h"
#include "pg/quantity.h"
#include "types/timeline.h"
#include "types/timeline_agg.h"

PG_FUNCTION_INFO_V1(meter_events_accum);
PG_FUNCTION_INFO_V1(meter_events_accum_window);
PG_FUNCTION_INFO_V1(meter_events_combine);
PG_FUNCTION_INFO_V1(meter_events_serialize);
PG_FUNCTION_INFO_V1(meter_events_deserialize);
PG_FUNCTION_INFO_V1(meter_events_timeline);
PG_FUNCTION_INFO_V1(meter_events_billed);
PG_FUNCTION_INFO_V1(meter_levels_accum);
PG_FUNCTION_INFO_V1(meter_levels_timeline);

/* The window and increment of billed(), the same for all rows of a group. */
typedef struct BilledWindow
{
	int64		from;
	int64		to;
	int64		unit;			/* 0: exact */
	bool		given;			/* false: there is no window */
} BilledWindow;

typedef struct EventState
{
	uint32		nblock:26;		/* events in the block */
	uint32		nstaged:4;		/* events after those, in words */
	uint32		sorted:1;		/* all events so far are in order */
	uint32		unpacked:1;		/* events are in MeterEvents */
	uint32		maxblock:26;	/* room in the block */
	uint32		windowed:1;		/* words begin with a window */
	uint32		window_given:1;
	union
	{
		int64	   *block;		/* NULL: there is none yet */
		MeterEvents *events;
	}			u;
	int64		words[6];		/* from, to and unit, if any; staged events */
} EventState;

#define WINDOW_WORDS	3
#define FIRST_BLOCK		8		/* events */

/* Return where the staged events of a state stand. */
static inline int64 *
staged_events(EventState *state)
{
	return state->words + (state->windowed ? WINDOW_WORDS : 0);
}

/* Return how many staged events a state has room for. */
static inline uint32
max_staged(const EventState *state)
{
	return lengthof(state->words) - (state->windowed ? WINDOW_WORDS : 0);
}

/* Return the memory context of the aggregate, in which its states live. */
MemoryContext
meter_aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

/* Raise that a group has too many events. */
static void
too_many_events(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("too many events in one group"),
			 errdetail("A group holds up to %d events, and 256 MB of labels and values.",
					   METER_MAX_EVENTS),
			 errhint("Group by resource, or aggregate shorter stretches of time.")));
}

/* Make a state without events. */
static EventState *
make_state(MemoryContext context, const BilledWindow *window)
{
	EventState *state = MemoryContextAllocZero(context, sizeof(EventState));

	StaticAssertStmt(sizeof(EventState) == 64, "a state is one cache line");
	state->sorted = true;
	if (window != NULL)
	{
		state->windowed = true;
		state->window_given = window->given;
		state->words[0] = window->from;
		state->words[1] = window->to;
		state->words[2] = window->unit;
	}
	return state;
}

/* Append events to the block of a state, which already has the staged ones. */
static void
append_block(EventState *state, MemoryContext context,
			 const int64 *events, uint32 nevents)
{
	uint32		max = Max(state->maxblock, FIRST_BLOCK);

	if (nevents > (uint32) METER_MAX_EVENTS - state->nblock)
		too_many_events();
	while (state->nblock + nevents > max)
		max *= 2;
	if (state->u.block == NULL)
		state->u.block = MemoryContextAlloc(context, max * sizeof(int64));
	else if (max > state->maxblock)
		state->u.block = repalloc(state->u.block, max * sizeof(int64));
	state->maxblock = max;
	if (state->nblock > 0 && nevents > 0 &&
		events[0] < state->u.block[state->nblock - 1])
		state->sorted = false;
	memcpy(state->u.block + state->nblock, events, nevents * sizeof(int64));
	state->nblock += nevents;
}

/* Move the staged events of a state to its block. */
static void
flush_staged(EventState *state, MemoryContext context)
{
	append_block(state, context, staged_events(state), state->nstaged);
	state->nstaged = 0;
}

/* Return all packed events of a state. */
static int64 *
packed_events(EventState *state, MemoryContext context, uint32 *nevents)
{
	if (state->nblock == 0)
	{
		*nevents = state->nstaged;
		return staged_events(state);
	}
	if (state->nstaged > 0)
		flush_staged(state, context);
	*nevents = state->nblock;
	return state->u.block;
}

/* Turn a state of packed events into one whose events have attributes. */
static void
unpack_state(EventState *state, MemoryContext context)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	uint32		npacked;
	const int64 *packed = packed_events(state, context, &npacked);
	MeterEvents *events = palloc(sizeof(MeterEvents));
	uint32		i;

	meter_events_init(events, 1);
	for (i = 0; i < npacked; i++)
	{
		if (!meter_events_add(events, meter_packed_kind(packed[i]),
							  meter_packed_time(packed[i]), NULL))
			too_many_events();
	}
	if (state->u.block != NULL)
		pfree(state->u.block);
	state->u.events = events;
	state->unpacked = true;
	state->nblock = 0;
	state->nstaged = 0;
	MemoryContextSwitchTo(oldcontext);
}

/* Add an event without attributes to a state. */
static inline void
add_packed(EventState *state, FunctionCallInfo fcinfo, int64 event)
{
	int64	   *staged = staged_events(state);
	uint32		nstaged = state->nstaged;

	if (nstaged > 0)
	{
		int64		before = staged[nstaged - 1];

		if (event == before)
			return;				/* a set: once is enough */
		if (event < before)
			state->sorted = false;
		if (nstaged == max_staged(state))
		{
			flush_staged(state, meter_aggregate_context(fcinfo));
			nstaged = 0;
		}
	}
	staged[nstaged] = event;
	state->nstaged = nstaged + 1;
}

/* Add an event with attributes, or one that cannot be packed, to a state. */
static void
add_event(EventState *state, MemoryContext context, MeterKind kind,
		  int64 time, const MeterAttr *attrs)
{
	MemoryContext oldcontext;

	if (!state->unpacked)
		unpack_state(state, context);
	oldcontext = MemoryContextSwitchTo(context);
	if (!meter_events_add(state->u.events, kind, time, attrs))
		too_many_events();
	MemoryContextSwitchTo(oldcontext);
}

/* Add an event with a label and a value, both of which may be NULL. */
static inline void
collect_event(EventState *state, FunctionCallInfo fcinfo, MeterKind kind,
			  int64 time, const MeterAttr *attrs)
{
	if (!state->unpacked && MeterAttrIsNull(attrs[0]) &&
		MeterAttrIsNull(attrs[1]) && meter_packs(time))
		add_packed(state, fcinfo, meter_pack(time, kind));
	else
		add_event(state, meter_aggregate_context(fcinfo), kind, time, attrs);
}

/* Raise an error for an infinite time. */
int64
meter_check_time(TimestampTz time)
{
	if (unlikely(TIMESTAMP_NOT_FINITE(time)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the time of an event must be finite")));
	return time;
}

/* Read the time and kind of an event in arguments 1 and 2 of a transition. */
static inline int64
get_event(FunctionCallInfo fcinfo, MeterKind *kind)
{
	int64		time = meter_check_time(PG_GETARG_TIMESTAMPTZ(1));

	*kind = PG_ARGISNULL(2) ? METER_CHANGE :
		PG_GETARG_BOOL(2) ? METER_START : METER_STOP;
	return time;
}

/*
 * Transition function of timeline(time, active [, label [, value]]) and of
 * billed(time, active).  A row without a time does not count.
 */
Datum
meter_events_accum(PG_FUNCTION_ARGS)
{
	EventState *state = PG_ARGISNULL(0) ? NULL :
	(EventState *) PG_GETARG_POINTER(0);
	MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
	MeterKind	kind;
	int64		time;

	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	time = get_event(fcinfo, &kind);
	if (state == NULL)
		state = make_state(meter_aggregate_context(fcinfo), NULL);

	if (PG_NARGS() > 3)
	{
		if (!PG_ARGISNULL(3))
		{
			const		text *label = PG_GETARG_TEXT_PP(3);

			attrs[0].data = VARDATA_ANY(label);
			attrs[0].len = (int32) VARSIZE_ANY_EXHDR(label);
		}
		if (PG_NARGS() > 4 && !PG_ARGISNULL(4))
			attrs[1] = meter_attr_from_numeric(PG_GETARG_NUMERIC(4));
	}

	collect_event(state, fcinfo, kind, time, attrs);
	PG_RETURN_POINTER(state);
}

/*
 * Add an event with a label and a value to the state in argument 0, or to a
 * new one, for transition functions in other files.
 */
Datum
meter_events_collect(FunctionCallInfo fcinfo, MeterKind kind, int64 time,
					 const MeterAttr *attrs)
{
	EventState *state = PG_ARGISNULL(0) ?
	make_state(meter_aggregate_context(fcinfo), NULL) :
	(EventState *) PG_GETARG_POINTER(0);

	collect_event(state, fcinfo, kind, time, attrs);
	PG_RETURN_POINTER(state);
}

/* The arguments of billed() as the last call had them, and what they mean. */
typedef struct BilledCache
{
	BilledWindow window;
	bool		valid;
	bool		no_range;
	bool		no_increment;
	Interval	increment;
	Size		range_size;
	char		range[64];		/* a range of two instants has 25 bytes */
} BilledCache;

/* Return the window and increment in arguments 3 and 4 of a transition. */
static const BilledWindow *
get_billed_window(FunctionCallInfo fcinfo)
{
	BilledCache *cache = fcinfo->flinfo->fn_extra;
	struct varlena *range = NULL;
	Interval   *increment = NULL;

	if (!PG_ARGISNULL(3))
		range = PG_GETARG_VARLENA_PP(3);
	if (PG_NARGS() > 4 && !PG_ARGISNULL(4))
		increment = PG_GETARG_INTERVAL_P(4);

	if (cache == NULL)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									   sizeof(BilledCache));
		fcinfo->flinfo->fn_extra = cache;
	}
	if (cache->valid &&
		cache->no_range == (range == NULL) &&
		(range == NULL ||
		 (VARSIZE_ANY(range) == cache->range_size &&
		  memcmp(range, cache->range, cache->range_size) == 0)) &&
		cache->no_increment == (increment == NULL) &&
		(increment == NULL ||
		 memcmp(increment, &cache->increment, sizeof(Interval)) == 0))
		return &cache->window;

	cache->valid = false;
	memset(&cache->window, 0, sizeof(BilledWindow));
	if (range != NULL)
	{
		MeterWindow window = meter_window_from_range(PointerGetDatum(range));

		cache->window.given = true;
		cache->window.from = window.from;
		cache->window.to = window.to;
	}
	else
	{
		cache->window.from = METER_BEGIN;
		cache->window.to = METER_END;
	}
	if (increment != NULL)
	{
		MeterGrid	grid;

		meter_grid_init(&grid, NULL);
		meter_grid_set_increment(&grid, increment);
		cache->window.unit = Min(grid.unit, METER_DAY);
		cache->increment = *increment;
	}
	cache->no_range = range == NULL;
	cache->no_increment = increment == NULL;
	if (range == NULL)
		cache->valid = true;
	else if (VARSIZE_ANY(range) <= sizeof(cache->range))
	{
		cache->range_size = VARSIZE_ANY(range);
		memcpy(cache->range, range, cache->range_size);
		cache->valid = true;
	}
	return &cache->window;
}

/* Raise an error for two windows or increments in one group. */
static void
check_same_window(EventState *state, const BilledWindow *window)
{
	if (!state->windowed || state->window_given != window->given ||
		state->words[0] != window->from || state->words[1] != window->to ||
		state->words[2] != window->unit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the window and the increment of meter.billed must be the same for all rows of a group"),
				 errhint("Group by the window and the increment as well, or take meter.timeline and meter.duration.")));
}

/* Transition function of billed(time, active, during [, increment]). */
Datum
meter_events_accum_window(PG_FUNCTION_ARGS)
{
	EventState *state = PG_ARGISNULL(0) ? NULL :
	(EventState *) PG_GETARG_POINTER(0);
	const BilledWindow *window;
	MeterKind	kind;
	int64		time;

	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	time = get_event(fcinfo, &kind);
	window = get_billed_window(fcinfo);
	if (state == NULL)
		state = make_state(meter_aggregate_context(fcinfo), window);
	else
		check_same_window(state, window);

	/* events after the last unit of the window change nothing in it */
	if (window->to < METER_LIMIT && time - METER_DAY >= window->to)
		PG_RETURN_POINTER(state);

	if (!state->unpacked && meter_packs(time))
		add_packed(state, fcinfo, meter_pack(time, kind));
	else
		add_event(state, meter_aggregate_context(fcinfo), kind, time, NULL);
	PG_RETURN_POINTER(state);
}

/* Read the attributes of an event that was collected. */
static void
get_attrs(const MeterEvents *events, const MeterEvent *event,
		  MeterAttr *attrs)
{
	const char *record = events->arena + event->attrs;
	int			i;

	for (i = 0; i < 2; i++)
	{
		attrs[i] = METER_NULL_ATTR;
		if (event->attrs != 0)
			record = meter_event_attr(record, &attrs[i]);
	}
}

/* Return the window of a state: all of time if it has none. */
static BilledWindow
state_window(const EventState *state)
{
	BilledWindow window = {METER_BEGIN, METER_END, 0, false};

	if (state->windowed)
	{
		window.from = state->words[0];
		window.to = state->words[1];
		window.unit = state->words[2];
		window.given = state->window_given;
	}
	return window;
}

/* Add all events of another state, which stays valid. */
static void
add_state(EventState *state, MemoryContext context, EventState *other)
{
	MeterAttr	attrs[2];
	const int64 *packed;
	uint32		npacked;
	uint32		i;

	if (other->unpacked)
	{
		for (i = 0; i < (uint32) other->u.events->nevents; i++)
		{
			const MeterEvent *event = &other->u.events->events[i];

			get_attrs(other->u.events, event, attrs);
			add_event(state, context, (MeterKind) event->kind, event->time,
					  attrs);
		}
		return;
	}

	packed = packed_events(other, context, &npacked);
	if (state->unpacked)
	{
		for (i = 0; i < npacked; i++)
			add_event(state, context, meter_packed_kind(packed[i]),
					  meter_packed_time(packed[i]), NULL);
		return;
	}
	if (npacked == 0)
		return;
	if (!other->sorted)
		state->sorted = false;
	flush_staged(state, context);
	append_block(state, context, packed, npacked);
}

/* Combine two partial states; the result keeps nothing of the second. */
Datum
meter_events_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = meter_aggregate_context(fcinfo);
	EventState *state = PG_ARGISNULL(0) ? NULL :
	(EventState *) PG_GETARG_POINTER(0);
	EventState *other = PG_ARGISNULL(1) ? NULL :
	(EventState *) PG_GETARG_POINTER(1);
	BilledWindow window;

	if (other == NULL)
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	window = state_window(other);
	if (state == NULL)
		state = make_state(context, other->windowed ? &window : NULL);
	else if (other->windowed)
		check_same_window(state, &window);
	add_state(state, context, other);
	PG_RETURN_POINTER(state);
}

#define STATE_VERSION	1
#define STATE_WINDOWED	0x01
#define STATE_UNPACKED	0x02
#define STATE_ALL		0x03

/* Serialize a partial state, for another process. */
Datum
meter_events_serialize(PG_FUNCTION_ARGS)
{
	EventState *state = (EventState *) PG_GETARG_POINTER(0);
	StringInfoData bytes;
	uint32		i;
	int			j;

	pq_begintypsend(&bytes);
	pq_sendbyte(&bytes, STATE_VERSION);
	pq_sendbyte(&bytes, (state->windowed ? STATE_WINDOWED : 0) |
				(state->unpacked ? STATE_UNPACKED : 0));
	if (state->windowed)
	{
		pq_sendbyte(&bytes, state->window_given);
		for (j = 0; j < WINDOW_WORDS; j++)
			pq_sendint64(&bytes, state->words[j]);
	}
	if (!state->unpacked)
	{
		uint32		npacked;
		const int64 *packed = packed_events(state,
											meter_aggregate_context(fcinfo),
											&npacked);

		pq_sendint32(&bytes, npacked);
		enlargeStringInfo(&bytes, (int) (npacked * sizeof(int64)));
		for (i = 0; i < npacked; i++)
			pq_writeint64(&bytes, packed[i]);
	}
	else
	{
		pq_sendint32(&bytes, state->u.events->nevents);
		for (i = 0; i < (uint32) state->u.events->nevents; i++)
		{
			const MeterEvent *event = &state->u.events->events[i];
			MeterAttr	attrs[2];

			pq_sendbyte(&bytes, event->kind);
			pq_sendint64(&bytes, event->time);
			get_attrs(state->u.events, event, attrs);
			for (j = 0; j < 2; j++)
			{
				pq_sendint32(&bytes, attrs[j].len);
				if (attrs[j].len > 0)
					pq_sendbytes(&bytes, attrs[j].data, attrs[j].len);
			}
		}
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&bytes));
}

/* Raise an error unless bytes are a partial state. */
void
meter_check_partial(bool good)
{
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid partial state of a meter aggregate")));
}

/* Make a partial state of bytes. */
Datum
meter_events_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	StringInfoData bytes;
	EventState *state;
	BilledWindow window;
	uint32		nevents;
	uint32		i;
	int			flags;
	int			j;

	(void) meter_aggregate_context(fcinfo);
	bytes.data = VARDATA_ANY(value);
	bytes.len = (int) VARSIZE_ANY_EXHDR(value);
	bytes.maxlen = bytes.len;
	bytes.cursor = 0;

	meter_check_partial(pq_getmsgbyte(&bytes) == STATE_VERSION);
	flags = pq_getmsgbyte(&bytes);
	meter_check_partial((flags & ~STATE_ALL) == 0);
	if (flags & STATE_WINDOWED)
	{
		window.given = pq_getmsgbyte(&bytes) != 0;
		window.from = pq_getmsgint64(&bytes);
		window.to = pq_getmsgint64(&bytes);
		window.unit = pq_getmsgint64(&bytes);
		meter_check_partial(window.unit >= 0 && window.unit <= METER_DAY);
	}
	state = make_state(CurrentMemoryContext,
					   flags & STATE_WINDOWED ? &window : NULL);
	nevents = pq_getmsgint(&bytes, 4);
	meter_check_partial(nevents <= METER_MAX_EVENTS);
	if (!(flags & STATE_UNPACKED))
	{
		int64	   *packed;

		meter_check_partial((size_t) (bytes.len - bytes.cursor) ==
							nevents * sizeof(int64));
		packed = nevents <= max_staged(state) ? staged_events(state) :
			palloc(nevents * sizeof(int64));
		for (i = 0; i < nevents; i++)
		{
			packed[i] = pq_getmsgint64(&bytes);
			meter_check_partial((packed[i] & 3) <= METER_CHANGE);
			if (i > 0 && packed[i] < packed[i - 1])
				state->sorted = false;
		}
		if (nevents <= max_staged(state))
			state->nstaged = nevents;
		else
		{
			state->u.block = packed;
			state->nblock = nevents;
			state->maxblock = nevents;
		}
	}
	else
	{
		unpack_state(state, CurrentMemoryContext);
		for (i = 0; i < nevents; i++)
		{
			int			kind = pq_getmsgbyte(&bytes);
			int64		time = pq_getmsgint64(&bytes);
			MeterAttr	attrs[2];

			meter_check_partial(kind <= METER_CHANGE);
			for (j = 0; j < 2; j++)
			{
				attrs[j] = METER_NULL_ATTR;
				attrs[j].len = (int32) pq_getmsgint(&bytes, 4);
				meter_check_partial(attrs[j].len >= -1);
				if (attrs[j].len > 0)
					attrs[j].data = pq_getmsgbytes(&bytes, attrs[j].len);
				else if (attrs[j].len == 0)
					attrs[j].data = "";
			}
			add_event(state, CurrentMemoryContext, (MeterKind) kind, time,
					  attrs);
		}
	}
	pq_getmsgend(&bytes);
	PG_RETURN_POINTER(state);
}

/* Return all packed events of a state, in order. */
static const int64 *
sorted_events(EventState *state, MemoryContext context, uint32 *nevents)
{
	int64	   *packed = packed_events(state, context, nevents);

	if (!state->sorted)
	{
		meter_packed_sort(packed, *nevents);
		state->sorted = true;
	}
	return packed;
}

/* Final function of timeline(): NULL without an event. */
Datum
meter_events_timeline(PG_FUNCTION_ARGS)
{
	MemoryContext context = meter_aggregate_context(fcinfo);
	EventState *state;
	MeterTimeline *timeline;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EventState *) PG_GETARG_POINTER(0);
	if (!state->unpacked)
	{
		uint32		nevents;
		const int64 *packed = sorted_events(state, context, &nevents);

		timeline = meter_packed_pair(packed, nevents);
	}
	else
		timeline = meter_pair(state->u.events, NULL, METER_LOOK_BACK_NONE);
	PG_RETURN_DATUM(meter_timeline_datum(timeline));
}

/* Final function of billed(): NULL without an event. */
Datum
meter_events_billed(PG_FUNCTION_ARGS)
{
	MemoryContext context = meter_aggregate_context(fcinfo);
	EventState *state;
	BilledWindow window;
	int64		billed;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EventState *) PG_GETARG_POINTER(0);
	window = state_window(state);

	if (state->unpacked)
	{
		MeterWindow during = {window.given, window.from, window.to};
		MeterGrid	grid;

		meter_grid_init(&grid, NULL);
		grid.unit = window.unit;
		billed = meter_timeline_billed(meter_pair(state->u.events, NULL,
												  METER_LOOK_BACK_NONE),
									   &during,
									   window.unit > 0 ? METER_ROUND_UP :
									   METER_ROUND_NONE, &grid);
	}
	else
	{
		uint32		nevents;
		const int64 *packed = sorted_events(state, context, &nevents);
		int64		open_end = METER_END;

		if (!window.given && nevents > 0)
			open_end = meter_packed_time(packed[nevents - 1]);
		billed = meter_check_billed(meter_packed_billed(packed, nevents,
														window.from,
														window.to, open_end,
														window.unit));
	}
	PG_RETURN_INTERVAL_P(meter_interval_from_usec(billed));
}

/*
 * Transition function of levels(time, delta): events whose value is the delta.
 * A row without a time or a delta does not count.
 */
Datum
meter_levels_accum(PG_FUNCTION_ARGS)
{
	EventState *state = PG_ARGISNULL(0) ? NULL :
	(EventState *) PG_GETARG_POINTER(0);
	MemoryContext context = meter_aggregate_context(fcinfo);
	MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
		state = make_state(context, NULL);
	attrs[1] = meter_attr_from_numeric(PG_GETARG_NUMERIC(2));
	add_event(state, context, METER_CHANGE,
			  meter_check_time(PG_GETARG_TIMESTAMPTZ(1)), attrs);
	PG_RETURN_POINTER(state);
}

/* Final function of levels(): NULL without a delta. */
Datum
meter_levels_timeline(PG_FUNCTION_ARGS)
{
	EventState *state;
	MeterTimeline *timeline;

	(void) meter_aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EventState *) PG_GETARG_POINTER(0);
	if (!state->unpacked)
		unpack_state(state, meter_aggregate_context(fcinfo));
	timeline = meter_levels(state->u.events);
	if (timeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value overflows numeric format")));
	PG_RETURN_DATUM(meter_timeline_datum(timeline));
}
