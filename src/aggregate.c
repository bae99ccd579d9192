/*
 * aggregate.c
 *	  Aggregates over events: meter.timeline, meter.billed and meter.levels.
 *
 * The state of a group is the multiset of its events, so rows may come in any
 * order and partial states may be combined in any.  Events without label and
 * value are eight bytes each, in one block that grows (packed.h); a group
 * that meets a label, a value or a time too late for that goes on with
 * MeterEvents.  The final functions sort a state in place, which changes its
 * meaning for nobody: they are read only, also in windows.
 *
 * Everything lives in the aggregate's memory context.
 */
#include "meter.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "aggregate.h"
#include "arguments.h"
#include "levels.h"
#include "packed.h"
#include "quantity.h"
#include "timeline.h"

PG_FUNCTION_INFO_V1(meter_events_accum);
PG_FUNCTION_INFO_V1(meter_events_accum_window);
PG_FUNCTION_INFO_V1(meter_events_combine);
PG_FUNCTION_INFO_V1(meter_events_serialize);
PG_FUNCTION_INFO_V1(meter_events_deserialize);
PG_FUNCTION_INFO_V1(meter_events_timeline);
PG_FUNCTION_INFO_V1(meter_events_billed);
PG_FUNCTION_INFO_V1(meter_levels_accum);
PG_FUNCTION_INFO_V1(meter_levels_timeline);

/* What billed() is to bill, the same for all rows of a group. */
typedef struct BilledWindow
{
	MeterWindow window;
	int64		unit;			/* 0: exact */
} BilledWindow;

typedef struct EventState
{
	uint32		nevents;
	uint32		maxevents:30;
	uint32		sorted:1;		/* so far */
	uint32		windowed:1;		/* the first words are a BilledWindow */
	MeterEvents *events;		/* NULL: they are packed */
	int64		words[FLEXIBLE_ARRAY_MEMBER];
} EventState;

#define WINDOW_WORDS	(sizeof(BilledWindow) / sizeof(int64))

#define STATE_SIZE(nwords) \
	(offsetof(EventState, words) + (nwords) * sizeof(int64))

/* What is made for a group at first, in bytes: a power of two. */
#define FIRST_SIZE	64

/* The packed events of a state. */
static inline int64 *
packed_events(EventState *state)
{
	return state->words + (state->windowed ? WINDOW_WORDS : 0);
}

/* The aggregate's memory context, which states live in. */
MemoryContext
meter_aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

/* Refuse to collect more. */
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

/* A state without events. */
static EventState *
make_state(MemoryContext context, const BilledWindow *window)
{
	EventState *state;
	size_t		words = window ? WINDOW_WORDS : 0;

	StaticAssertStmt(STATE_SIZE(WINDOW_WORDS) + sizeof(int64) <= FIRST_SIZE,
					 "a first event must fit");
	state = MemoryContextAlloc(context, FIRST_SIZE);
	state->nevents = 0;
	state->maxevents = (FIRST_SIZE - STATE_SIZE(words)) / sizeof(int64);
	state->sorted = true;
	state->windowed = window != NULL;
	state->events = NULL;
	if (window != NULL)
		memcpy(state->words, window, sizeof(BilledWindow));
	return state;
}

/* Make room for so many more packed events. */
static EventState *
grow_state(EventState *state, uint32 more)
{
	size_t		words = state->windowed ? WINDOW_WORDS : 0;
	size_t		size = STATE_SIZE(words + state->maxevents);

	if (more > METER_MAX_EVENTS - state->nevents)
		too_many_events();
	while (STATE_SIZE(words + state->nevents + more) > size)
		size *= 2;
	state = repalloc(state, size);
	state->maxevents = (size - STATE_SIZE(words)) / sizeof(int64);
	return state;
}

/* Go on with events that have attributes. */
static void
unpack_state(EventState *state, MemoryContext context)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	const int64 *packed = packed_events(state);
	uint32		i;

	state->events = palloc(sizeof(MeterEvents));
	meter_events_init(state->events, 1);
	for (i = 0; i < state->nevents; i++)
	{
		if (!meter_events_add(state->events, meter_packed_kind(packed[i]),
							  meter_packed_time(packed[i]), NULL))
			too_many_events();
	}
	state->nevents = 0;
	MemoryContextSwitchTo(oldcontext);
}

/* Add an event without attributes. */
static inline EventState *
add_packed(EventState *state, int64 event)
{
	int64	   *packed = packed_events(state);

	if (state->nevents > 0)
	{
		int64		before = packed[state->nevents - 1];

		if (event == before)
			return state;		/* a set: once is enough */
		if (event < before)
			state->sorted = false;
	}
	if (state->nevents == state->maxevents)
	{
		state = grow_state(state, 1);
		packed = packed_events(state);
	}
	packed[state->nevents++] = event;
	return state;
}

/* Add an event with attributes, or one that cannot be packed. */
static void
add_event(EventState *state, MemoryContext context, MeterKind kind,
		  int64 time, const MeterAttr *attrs)
{
	MemoryContext oldcontext;

	if (state->events == NULL)
		unpack_state(state, context);
	oldcontext = MemoryContextSwitchTo(context);
	if (!meter_events_add(state->events, kind, time, attrs))
		too_many_events();
	MemoryContextSwitchTo(oldcontext);
}

/* Refuse infinite times. */
int64
meter_check_time(TimestampTz time)
{
	if (unlikely(TIMESTAMP_NOT_FINITE(time)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the time of an event must be finite")));
	return time;
}

/* Arguments 1 and 2 of a transition: an event's time and kind. */
static inline int64
get_event(FunctionCallInfo fcinfo, MeterKind *kind)
{
	int64		time = meter_check_time(PG_GETARG_TIMESTAMPTZ(1));

	*kind = PG_ARGISNULL(2) ? METER_CHANGE :
		PG_GETARG_BOOL(2) ? METER_START : METER_STOP;
	return time;
}

/*
 * Transition of timeline(time, active [, label [, value]]) and of
 * billed(time, active).  A row without a time is none.
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
			const text *label = PG_GETARG_TEXT_PP(3);

			attrs[0].data = VARDATA_ANY(label);
			attrs[0].len = (int32) VARSIZE_ANY_EXHDR(label);
		}
		if (PG_NARGS() > 4 && !PG_ARGISNULL(4))
			attrs[1] = meter_attr_from_numeric(PG_GETARG_NUMERIC(4));
	}

	if (state->events == NULL && attrs[0].len < 0 && attrs[1].len < 0 &&
		meter_packs(time))
		state = add_packed(state, meter_pack(time, kind));
	else
		add_event(state, meter_aggregate_context(fcinfo), kind, time, attrs);
	PG_RETURN_POINTER(state);
}

/* The arguments of billed() as they came last, and what they mean. */
typedef struct BilledCache
{
	BilledWindow window;
	bool		valid;
	bool		no_range;
	bool		no_precision;
	Interval	precision;
	Size		range_size;
	char		range[64];		/* a range of two instants has 25 bytes */
} BilledCache;

/* Arguments 3 and 4 of a transition: the window and the precision. */
static const BilledWindow *
get_billed_window(FunctionCallInfo fcinfo)
{
	BilledCache *cache = fcinfo->flinfo->fn_extra;
	struct varlena *range = NULL;
	Interval   *precision = NULL;

	if (!PG_ARGISNULL(3))
		range = PG_GETARG_VARLENA_PP(3);
	if (PG_NARGS() > 4 && !PG_ARGISNULL(4))
		precision = PG_GETARG_INTERVAL_P(4);

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
		cache->no_precision == (precision == NULL) &&
		(precision == NULL ||
		 memcmp(precision, &cache->precision, sizeof(Interval)) == 0))
		return &cache->window;

	cache->valid = false;
	memset(&cache->window, 0, sizeof(BilledWindow));
	if (range != NULL)
	{
		MeterWindow window = meter_window_from_range(PointerGetDatum(range));

		cache->window.window.given = true;
		cache->window.window.from = window.from;
		cache->window.window.to = window.to;
	}
	else
	{
		cache->window.window.from = METER_BEGIN;
		cache->window.window.to = METER_END;
	}
	if (precision != NULL)
	{
		MeterGrid	grid;

		meter_grid_init(&grid, NULL);
		meter_grid_set_precision(&grid, precision);
		cache->window.unit = Min(grid.unit, METER_DAY);
		cache->precision = *precision;
	}
	cache->no_range = range == NULL;
	cache->no_precision = precision == NULL;
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

/* Refuse two windows or precisions in one group. */
static void
check_same_window(EventState *state, const BilledWindow *window)
{
	if (!state->windowed ||
		memcmp(state->words, window, sizeof(BilledWindow)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the window and the precision of meter.billed must be the same for all rows of a group"),
				 errhint("Group by them as well, or take meter.timeline and meter.duration.")));
}

/* Transition of billed(time, active, during [, precision]). */
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

	/* what comes later than the last unit of the window changes nothing in it */
	if (window->window.to < METER_LIMIT &&
		time - METER_DAY >= window->window.to)
		PG_RETURN_POINTER(state);

	if (state->events == NULL && meter_packs(time))
		state = add_packed(state, meter_pack(time, kind));
	else
		add_event(state, meter_aggregate_context(fcinfo), kind, time, NULL);
	PG_RETURN_POINTER(state);
}

/* Read the attributes of an event that was collected; its record's. */
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

/* Add all events of another state, which stays as it is. */
static EventState *
add_state(EventState *state, MemoryContext context, EventState *other)
{
	MeterAttr	attrs[2];
	int32		i;

	if (other->events != NULL)
	{
		for (i = 0; i < other->events->nevents; i++)
		{
			const MeterEvent *event = &other->events->events[i];

			get_attrs(other->events, event, attrs);
			add_event(state, context, (MeterKind) event->kind, event->time,
					  attrs);
		}
	}
	else if (state->events != NULL)
	{
		const int64 *packed = packed_events(other);

		for (i = 0; i < (int32) other->nevents; i++)
			add_event(state, context, meter_packed_kind(packed[i]),
					  meter_packed_time(packed[i]), NULL);
	}
	else if (other->nevents > 0)
	{
		if (state->nevents + other->nevents > state->maxevents)
			state = grow_state(state, other->nevents);
		if (!other->sorted ||
			(state->nevents > 0 &&
			 packed_events(state)[state->nevents - 1] >
			 packed_events(other)[0]))
			state->sorted = false;
		memcpy(packed_events(state) + state->nevents, packed_events(other),
			   other->nevents * sizeof(int64));
		state->nevents += other->nevents;
	}
	return state;
}

/* Combine two partial states; nothing of the second is kept. */
Datum
meter_events_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = meter_aggregate_context(fcinfo);
	EventState *state = PG_ARGISNULL(0) ? NULL :
	(EventState *) PG_GETARG_POINTER(0);
	EventState *other = PG_ARGISNULL(1) ? NULL :
	(EventState *) PG_GETARG_POINTER(1);

	if (other == NULL)
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
		state = make_state(context, other->windowed ?
						   (BilledWindow *) other->words : NULL);
	else if (other->windowed)
		check_same_window(state, (BilledWindow *) other->words);
	PG_RETURN_POINTER(add_state(state, context, other));
}

#define STATE_VERSION	1
#define STATE_WINDOWED	0x01
#define STATE_UNPACKED	0x02
#define STATE_ALL		0x03

/* A partial state as bytes, for another process. */
Datum
meter_events_serialize(PG_FUNCTION_ARGS)
{
	EventState *state = (EventState *) PG_GETARG_POINTER(0);
	StringInfoData bytes;
	uint32		i;
	int			j;

	(void) meter_aggregate_context(fcinfo);
	pq_begintypsend(&bytes);
	pq_sendbyte(&bytes, STATE_VERSION);
	pq_sendbyte(&bytes, (state->windowed ? STATE_WINDOWED : 0) |
				(state->events ? STATE_UNPACKED : 0));
	if (state->windowed)
	{
		const BilledWindow *window = (BilledWindow *) state->words;

		pq_sendbyte(&bytes, window->window.given);
		pq_sendint64(&bytes, window->window.from);
		pq_sendint64(&bytes, window->window.to);
		pq_sendint64(&bytes, window->unit);
	}
	if (state->events == NULL)
	{
		const int64 *packed = packed_events(state);

		pq_sendint32(&bytes, state->nevents);
		enlargeStringInfo(&bytes, (int) (state->nevents * sizeof(int64)));
		for (i = 0; i < state->nevents; i++)
			pq_writeint64(&bytes, packed[i]);
	}
	else
	{
		pq_sendint32(&bytes, state->events->nevents);
		for (i = 0; i < (uint32) state->events->nevents; i++)
		{
			const MeterEvent *event = &state->events->events[i];
			MeterAttr	attrs[2];

			pq_sendbyte(&bytes, event->kind);
			pq_sendint64(&bytes, event->time);
			get_attrs(state->events, event, attrs);
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

/* Refuse bytes that are no partial state. */
void
meter_check_partial(bool good)
{
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid partial state of a meter aggregate")));
}

/* A partial state from bytes. */
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
		memset(&window, 0, sizeof(window));
		window.window.given = pq_getmsgbyte(&bytes) != 0;
		window.window.from = pq_getmsgint64(&bytes);
		window.window.to = pq_getmsgint64(&bytes);
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
		if (nevents > state->maxevents)
			state = grow_state(state, nevents);
		packed = packed_events(state);
		for (i = 0; i < nevents; i++)
		{
			packed[i] = pq_getmsgint64(&bytes);
			meter_check_partial((packed[i] & 3) <= METER_CHANGE);
			if (i > 0 && packed[i] < packed[i - 1])
				state->sorted = false;
		}
		state->nevents = nevents;
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

/* Put packed events in order, once. */
static const int64 *
sorted_events(EventState *state)
{
	int64	   *packed = packed_events(state);

	if (!state->sorted)
	{
		meter_packed_sort(packed, state->nevents);
		state->sorted = true;
	}
	return packed;
}

/* Final function of timeline(): NULL without an event. */
Datum
meter_events_timeline(PG_FUNCTION_ARGS)
{
	EventState *state;
	MeterTimeline *timeline;

	(void) meter_aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EventState *) PG_GETARG_POINTER(0);
	if (state->events == NULL)
		timeline = meter_packed_pair(sorted_events(state), state->nevents);
	else
		timeline = meter_pair(state->events, NULL, METER_LOOK_BACK_NONE);
	PG_RETURN_DATUM(meter_timeline_datum(timeline));
}

/* Final function of billed(): NULL without an event. */
Datum
meter_events_billed(PG_FUNCTION_ARGS)
{
	EventState *state;
	BilledWindow window = {{false, METER_BEGIN, METER_END}, 0};
	int64		open_end = METER_END;
	int64		billed;

	(void) meter_aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EventState *) PG_GETARG_POINTER(0);
	if (state->windowed)
		memcpy(&window, state->words, sizeof(window));

	if (state->events != NULL)
	{
		MeterGrid	grid;

		meter_grid_init(&grid, NULL);
		grid.unit = window.unit;
		billed = meter_timeline_billed(meter_pair(state->events, NULL,
												  METER_LOOK_BACK_NONE),
									   &window.window,
									   window.unit > 0 ? METER_ROUND_UP :
									   METER_ROUND_NONE, &grid);
	}
	else
	{
		const int64 *packed = sorted_events(state);

		if (!window.window.given && state->nevents > 0)
			open_end = meter_packed_time(packed[state->nevents - 1]);
		billed = meter_check_billed(meter_packed_billed(packed,
														state->nevents,
														window.window.from,
														window.window.to,
														open_end,
														window.unit));
	}
	PG_RETURN_INTERVAL_P(meter_interval_from_usec(billed));
}

/*
 * Transition of levels(time, delta): events whose value is the delta.  A row
 * without a time or a delta is none.
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
	if (state->events == NULL)
		unpack_state(state, meter_aggregate_context(fcinfo));
	timeline = meter_levels(state->events);
	if (timeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value overflows numeric format")));
	PG_RETURN_DATUM(meter_timeline_datum(timeline));
}
