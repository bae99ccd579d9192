/*
 * pairing.c
 *	  Pairing: from the set of a resource's events to its timeline.
 *
 * The result depends on the set of events only, never on the order in which
 * they were added.  Events of one instant act together: first all starts,
 * then all changes set attributes, each in ascending order of what they
 * carry; a start and a stop together leave open or closed as it was.  The
 * carried state is not an event: it holds before the instant of any.
 */
#include "core/pairing.h"

#include "core/decimal.h"
#include "core/observation.h"

/* Begin to collect events with so many text attributes. */
void
meter_events_init(MeterEvents *events, int32 natts)
{
	memset(events, 0, sizeof(*events));
	events->natts = natts;
	events->sorted = true;
}

/* Append an attribute to the arena: its length, then its bytes. */
static void
arena_put(MeterEvents *events, MeterAttr attr)
{
	memcpy(events->arena + events->arena_used, &attr.len, sizeof(int32));
	events->arena_used += sizeof(int32);
	if (attr.len > 0)
	{
		memcpy(events->arena + events->arena_used, attr.data, attr.len);
		events->arena_used += attr.len;
	}
}

/* Does a record in the arena hold these attributes? */
static bool
record_equals(const MeterEvents *events, uint32 offset, const MeterAttr *attrs)
{
	const char *record = events->arena + offset;
	int32		i;

	for (i = 0; i <= events->natts; i++)
	{
		MeterAttr	attr;

		record = meter_event_attr(record, &attr);
		if (!meter_attr_equal(attr, attrs[i]))
			return false;
	}
	return true;
}

/*
 * Put natts + 1 attributes (NULL: none is set) into the arena, as a record
 * that is kept once where many in a row say the same.  False if that is more
 * than can be held.
 */
bool
meter_events_record(MeterEvents *events, const MeterAttr *attrs,
					uint32 *record)
{
	uint64		need = 0;
	uint64		size;
	bool		any = false;
	int32		i;

	for (i = 0; attrs != NULL && i <= events->natts; i++)
	{
		need += sizeof(int32) + Max(attrs[i].len, 0);
		any = any || !MeterAttrIsNull(attrs[i]);
	}
	*record = 0;
	if (!any)
		return true;
	if (events->last_record != 0 &&
		record_equals(events, events->last_record, attrs))
	{
		*record = events->last_record;
		return true;
	}

	/* offset 0 means that there is no record */
	size = (uint64) Max(events->arena_used, 1) + need;
	if (size > METER_MAX_ARENA)
		return false;
	if (size > events->arena_size)
	{
		events->arena_size = (uint32) Max(size, 2 * events->arena_size);
		if (events->arena == NULL)
			events->arena = palloc(events->arena_size);
		else
			events->arena = repalloc(events->arena, events->arena_size);
	}
	events->arena_used = Max(events->arena_used, 1);
	events->last_record = events->arena_used;
	for (i = 0; i <= events->natts; i++)
		arena_put(events, attrs[i]);
	*record = events->last_record;
	return true;
}

/*
 * Add an event with its natts + 1 attributes (NULL: none is set).  False if
 * there are more events, or more bytes of attributes, than can be held.
 */
bool
meter_events_add(MeterEvents *events, MeterKind kind, int64 time,
				 const MeterAttr *attrs)
{
	MeterEvent *event;
	uint32		record;

	if (events->nevents == events->maxevents)
	{
		if (events->maxevents >= METER_MAX_EVENTS)
			return false;
		events->maxevents = Max(4, events->maxevents * 2);
		if (events->events == NULL)
			events->events = palloc(events->maxevents * sizeof(MeterEvent));
		else
			events->events = repalloc(events->events,
									  events->maxevents * sizeof(MeterEvent));
	}
	if (!meter_events_record(events, attrs, &record))
		return false;

	if (events->nevents > 0 &&
		events->events[events->nevents - 1].time > time)
		events->sorted = false;
	event = &events->events[events->nevents++];
	event->time = time;
	event->kind = (uint8) kind;
	event->attrs = record;
	event->source = 0;
	return true;
}

/* The number of a source, from 1, its name kept; 0 if there are too many. */
uint16
meter_events_source(MeterEvents *events, MeterAttr source)
{
	char	   *name;
	int32		i;

	for (i = 0; i < events->nsources; i++)
	{
		if (meter_attr_equal(events->sources[i], source))
			return (uint16) (i + 1);
	}
	if (events->nsources == METER_MAX_SOURCES)
		return 0;
	if (events->nsources == events->maxsources)
	{
		events->maxsources = Max(2, events->maxsources * 2);
		if (events->sources == NULL)
			events->sources = palloc(events->maxsources * sizeof(MeterAttr));
		else
			events->sources = repalloc(events->sources,
									   events->maxsources * sizeof(MeterAttr));
	}
	name = palloc(Max(source.len, 1));
	if (source.len > 0)
		memcpy(name, source.data, source.len);
	events->sources[events->nsources].data = name;
	events->sources[events->nsources].len = source.len;
	return (uint16) ++events->nsources;
}

/* Read the next attribute of a record in the arena; where the one after is. */
const char *
meter_event_attr(const char *record, MeterAttr *attr)
{
	memcpy(&attr->len, record, sizeof(int32));
	attr->data = record + sizeof(int32);
	return attr->data + Max(attr->len, 0);
}

/* Order two attributes as text by bytes, NULL first. */
int
meter_attr_cmp(MeterAttr a, MeterAttr b)
{
	int			cmp;

	if (MeterAttrIsNull(a) || MeterAttrIsNull(b))
		return (int) MeterAttrIsNull(b) - (int) MeterAttrIsNull(a);
	cmp = memcmp(a.data, b.data, Min(a.len, b.len));
	if (cmp != 0)
		return cmp < 0 ? -1 : 1;
	return a.len == b.len ? 0 : (a.len < b.len ? -1 : 1);
}

/* The same text, or both NULL? */
bool
meter_attr_equal(MeterAttr a, MeterAttr b)
{
	return a.len == b.len &&
		(a.len <= 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Order two attributes as decimals, NULL first. */
static int
value_cmp(MeterAttr a, MeterAttr b)
{
	if (MeterAttrIsNull(a) || MeterAttrIsNull(b))
		return (int) MeterAttrIsNull(b) - (int) MeterAttrIsNull(a);
	return meter_decimal_cmp(a.data, a.len, b.data, b.len);
}

/* Order two records of attributes: the texts in turn, then the value. */
int
meter_record_cmp(const MeterEvents *events, uint32 a, uint32 b)
{
	const char *arecord = events->arena + a;
	const char *brecord = events->arena + b;
	int32		i;

	if (a == b)
		return 0;
	for (i = 0; i <= events->natts; i++)
	{
		MeterAttr	aattr = METER_NULL_ATTR;
		MeterAttr	battr = METER_NULL_ATTR;
		int			cmp;

		if (a != 0)
			arecord = meter_event_attr(arecord, &aattr);
		if (b != 0)
			brecord = meter_event_attr(brecord, &battr);
		cmp = i < events->natts ? meter_attr_cmp(aattr, battr) :
			value_cmp(aattr, battr);
		if (cmp != 0)
			return cmp;
	}
	return 0;
}

/* Does a record name an attribute that is not like these? */
bool
meter_record_differs(const MeterEvents *events, uint32 record,
					 const MeterAttr *attrs)
{
	const char *at = events->arena + record;
	int32		i;

	for (i = 0; record != 0 && i <= events->natts; i++)
	{
		MeterAttr	attr;

		at = meter_event_attr(at, &attr);
		if (!MeterAttrIsNull(attr) && !meter_attr_equal(attr, attrs[i]))
			return true;
	}
	return false;
}

#define SORT_NAME	sort_events
#define SORT_TYPE	MeterEvent
#define SORT_KEY(element)	((element).time)
#include "core/sort_impl.h"

/* Put events in order of time, once. */
void
meter_events_sort(MeterEvents *events)
{
	if (!events->sorted)
		sort_events(events->events, (uint32) events->nevents);
	events->sorted = true;
}

/* Begin to build a timeline with so many text attributes. */
void
meter_build_begin(MeterTimelineBuilder *builder, int32 natts)
{
	memset(builder, 0, sizeof(*builder));
	builder->timeline = palloc0(sizeof(MeterTimeline));
	builder->timeline->natts = natts;
}

/* Make room for one more element of an array. */
static void *
grow(void *array, int32 count, int32 *max, size_t size)
{
	if (count < *max)
		return array;
	*max = Max(4, *max * 2);
	return array == NULL ? palloc(*max * size) : repalloc(array, *max * size);
}

/* FNV-1a over an attribute, NULL and '' told apart. */
static uint32
hash_attr(uint32 hash, MeterAttr attr)
{
	int32		i;

	hash = (hash ^ (uint32) attr.len) * 16777619;
	for (i = 0; i < attr.len; i++)
		hash = (hash ^ (uint8) attr.data[i]) * 16777619;
	return hash ^ (hash >> 15);
}

/* Does element `number` equal what is looked for? */
typedef bool (*MatchFunction) (const MeterTimeline *timeline, int32 number,
							   const void *wanted);

/* Few elements are found by looking at each. */
#define INDEX_FROM	8

/* Put an element into its slot. */
static void
index_put(MeterIndex *index, int32 number)
{
	uint32		slot = index->hashes[number] & (index->nslots - 1);

	while (index->slots[slot] != 0)
		slot = (slot + 1) & (index->nslots - 1);
	index->slots[slot] = number + 1;
}

/*
 * The number of the element looked for, or `count`, which is then taken: the
 * caller adds it.
 */
static int32
index_find(MeterIndex *index, const MeterTimeline *timeline, int32 count,
		   uint32 hash, MatchFunction match, const void *wanted)
{
	int32		i;

	if (count < INDEX_FROM)
	{
		for (i = count - 1; i >= 0; i--)
		{
			if (index->hashes[i] == hash && match(timeline, i, wanted))
				return i;
		}
	}
	else
	{
		uint32		slot;

		if ((uint32) count * 2 >= index->nslots)
		{
			if (index->slots != NULL)
				pfree(index->slots);
			index->nslots = Max(4 * INDEX_FROM, index->nslots * 2);
			index->slots = palloc0(index->nslots * sizeof(int32));
			for (i = 0; i < count; i++)
				index_put(index, i);
		}
		slot = hash & (index->nslots - 1);
		for (; index->slots[slot] != 0; slot = (slot + 1) & (index->nslots - 1))
		{
			i = index->slots[slot] - 1;
			if (index->hashes[i] == hash && match(timeline, i, wanted))
				return i;
		}
	}

	index->hashes = grow(index->hashes, count, &index->maxhashes,
						 sizeof(uint32));
	index->hashes[count] = hash;
	if (index->nslots > 0)
		index_put(index, count);
	return count;
}

static bool
key_matches(const MeterTimeline *timeline, int32 number, const void *wanted)
{
	const MeterAttr *key = timeline->keys + (size_t) number * timeline->natts;
	const MeterAttr *attrs = wanted;
	int32		i;

	for (i = 0; i < timeline->natts; i++)
	{
		if (!meter_attr_equal(key[i], attrs[i]))
			return false;
	}
	return true;
}

static bool
value_matches(const MeterTimeline *timeline, int32 number, const void *wanted)
{
	return meter_attr_equal(timeline->values[number],
							*(const MeterAttr *) wanted);
}

static bool
label_matches(const MeterTimeline *timeline, int32 number, const void *wanted)
{
	const MeterLabel *label = &timeline->labels[number];
	const MeterLabel *other = wanted;

	return label->key == other->key && label->value == other->value;
}

/*
 * The index of the label with these natts + 1 attributes, made if it is new.
 * The bytes stay where they are and must outlive the timeline.
 */
int32
meter_build_label(MeterTimelineBuilder *builder, const MeterAttr *attrs)
{
	MeterTimeline *timeline = builder->timeline;
	int32		natts = timeline->natts;
	MeterLabel	label = {-1, -1};
	uint32		hash = 2166136261u;
	int32		number;
	int32		i;

	for (i = 0; i < natts; i++)
		hash = hash_attr(hash, attrs[i]);
	label.key = index_find(&builder->key_index, timeline, timeline->nkeys,
						   hash, key_matches, attrs);
	if (label.key == timeline->nkeys)
	{
		timeline->keys = grow(timeline->keys, label.key, &builder->maxkeys,
							  Max(natts, 1) * sizeof(MeterAttr));
		for (i = 0; i < natts; i++)
			timeline->keys[(size_t) label.key * natts + i] = attrs[i];
		timeline->nkeys++;
	}

	if (!MeterAttrIsNull(attrs[natts]))
	{
		label.value = index_find(&builder->value_index, timeline,
								 timeline->nvalues,
								 hash_attr(2166136261u, attrs[natts]),
								 value_matches, &attrs[natts]);
		if (label.value == timeline->nvalues)
		{
			timeline->values = grow(timeline->values, label.value,
									&builder->maxvalues, sizeof(MeterAttr));
			timeline->values[timeline->nvalues++] = attrs[natts];
		}
	}

	hash = ((uint32) label.key * 2654435761u) ^
		((uint32) (label.value + 1) * 2246822519u);
	hash ^= hash >> 15;
	number = index_find(&builder->label_index, timeline, timeline->nlabels,
						hash, label_matches, &label);
	if (number == timeline->nlabels)
	{
		timeline->labels = grow(timeline->labels, number,
								&builder->maxlabels, sizeof(MeterLabel));
		timeline->labels[timeline->nlabels++] = label;
	}
	return number;
}

/* Append a span; one that goes on where the last ended, alike, joins it. */
void
meter_build_span(MeterTimelineBuilder *builder, int64 begin, int64 end,
				 int32 label)
{
	MeterTimeline *timeline = builder->timeline;
	MeterSpan  *span;

	if (begin >= end)
		return;
	if (timeline->nspans > 0)
	{
		span = &timeline->spans[timeline->nspans - 1];
		if (span->end == begin && span->label == label)
		{
			span->end = end;
			return;
		}
	}
	timeline->spans = grow(timeline->spans, timeline->nspans,
						   &builder->maxspans, sizeof(MeterSpan));
	span = &timeline->spans[timeline->nspans++];
	span->begin = begin;
	span->end = end;
	span->label = label;
}

/* A text attribute of a label. */
MeterAttr
meter_timeline_attr(const MeterTimeline *timeline, int32 label, int32 att)
{
	return timeline->keys[timeline->labels[label].key * timeline->natts + att];
}

/* The value of a label. */
MeterAttr
meter_timeline_value(const MeterTimeline *timeline, int32 label)
{
	int32		value = timeline->labels[label].value;

	return value < 0 ? METER_NULL_ATTR : timeline->values[value];
}

/* Let the attributes that an event names take effect. */
void
meter_walk_apply(MeterWalk *walk, uint32 attrs)
{
	const char *record = walk->events->arena + attrs;
	int32		natts = walk->events->natts;
	int32		i;

	if (attrs == 0)
		return;
	for (i = 0; i <= natts; i++)
	{
		MeterAttr	attr;

		record = meter_event_attr(record, &attr);
		if (MeterAttrIsNull(attr))
			continue;
		walk->state.attrs[i] = attr;
		if (i == 0 && !walk->named)
		{
			walk->named = true;
			walk->first_name = attr;
		}
	}
}

/* Let all events of a kind in [from, to) take effect, least first. */
static void
apply_kind(MeterWalk *walk, MeterKind kind, int32 from, int32 to, int32 count)
{
	const MeterEvents *events = walk->events;
	uint32	   *order;
	int32		n = 0;
	int32		i;

	if (count == 1)
	{
		for (i = from; events->events[i].kind != kind;)
			i++;
		meter_walk_apply(walk, events->events[i].attrs);
		return;
	}

	/* a heap sort: ties of thousands of events do happen in bad data */
	order = palloc(count * sizeof(uint32));
	for (i = from; i < to; i++)
	{
		int32		child;

		if (events->events[i].kind != kind || events->events[i].attrs == 0)
			continue;
		order[n] = events->events[i].attrs;
		for (child = n++; child > 0;)
		{
			int32		parent = (child - 1) / 2;
			uint32		swap = order[parent];

			if (meter_record_cmp(events, swap, order[child]) <= 0)
				break;
			order[parent] = order[child];
			order[child] = swap;
			child = parent;
		}
	}
	while (n > 0)
	{
		int32		parent = 0;

		meter_walk_apply(walk, order[0]);
		order[0] = order[--n];
		for (;;)
		{
			int32		child = 2 * parent + 1;
			uint32		swap;

			if (child >= n)
				break;
			if (child + 1 < n &&
				meter_record_cmp(events, order[child + 1],
								 order[child]) < 0)
				child++;
			if (meter_record_cmp(events, order[parent], order[child]) <= 0)
				break;
			swap = order[parent];
			order[parent] = order[child];
			order[child] = swap;
			parent = child;
		}
	}
	pfree(order);
}

/* Stops name what nothing has named yet: the least name at this instant. */
static void
apply_stops(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	MeterAttr	least = METER_NULL_ATTR;
	int32		i;

	for (i = from; i < to; i++)
	{
		MeterAttr	name;

		if (events->events[i].kind != METER_STOP ||
			events->events[i].attrs == 0)
			continue;
		(void) meter_event_attr(events->arena + events->events[i].attrs, &name);
		if (!MeterAttrIsNull(name) &&
			(MeterAttrIsNull(least) || meter_attr_cmp(name, least) < 0))
			least = name;
	}
	if (!MeterAttrIsNull(least))
	{
		walk->state.attrs[0] = least;
		walk->named = true;
		walk->first_name = least;
	}
}

/*
 * Give the spans before the first name to it.  They may then go on where
 * another with the same label ends, so the spans are built anew.
 */
static MeterTimeline *
look_back(const MeterTimeline *timeline, MeterAttr name)
{
	MeterTimelineBuilder builder;
	MeterAttr  *attrs = palloc((timeline->natts + 1) * sizeof(MeterAttr));
	int32		i;
	int32		j;

	meter_build_begin(&builder, timeline->natts);
	for (i = 0; i < timeline->nspans; i++)
	{
		const MeterSpan *span = &timeline->spans[i];

		for (j = 0; j < timeline->natts; j++)
			attrs[j] = meter_timeline_attr(timeline, span->label, j);
		attrs[timeline->natts] = meter_timeline_value(timeline, span->label);
		if (MeterAttrIsNull(attrs[0]))
			attrs[0] = name;
		meter_build_span(&builder, span->begin, span->end,
						 meter_build_label(&builder, attrs));
	}
	builder.timeline->has_last = timeline->has_last;
	builder.timeline->last = timeline->last;
	builder.timeline->state = timeline->state;
	pfree(attrs);
	return builder.timeline;
}

/* The sources of the events of an instant: the greatest has the resource. */
static void
apply_sources(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	MeterAttr	greatest = METER_NULL_ATTR;
	int32		i;

	for (i = from; i < to; i++)
	{
		if (events->events[i].source != 0)
		{
			MeterAttr	source = events->sources[events->events[i].source - 1];

			if (meter_attr_cmp(greatest, source) < 0)
				greatest = source;
		}
	}
	if (!MeterAttrIsNull(greatest))
		walk->state.source = greatest;
}

/* Let the events [from, to), which are of one instant, take effect. */
static void
apply_instant(MeterWalk *walk, int32 from, int32 to)
{
	const MeterEvents *events = walk->events;
	int64		now = events->events[from].time;
	bool		was_open = walk->state.open;
	int32		count[3] = {0, 0, 0};
	int32		new_label;
	int32		i;

	for (i = from; i < to; i++)
		count[events->events[i].kind]++;
	if (count[METER_START] > 0)
		apply_kind(walk, METER_START, from, to, count[METER_START]);
	if (count[METER_CHANGE] > 0)
		apply_kind(walk, METER_CHANGE, from, to, count[METER_CHANGE]);
	if (count[METER_STOP] > 0 && !walk->named)
		apply_stops(walk, from, to);
	if (events->nsources > 0)
		apply_sources(walk, from, to);

	if (count[METER_START] > 0 && count[METER_STOP] == 0)
		walk->state.open = true;
	else if (count[METER_STOP] > 0 && count[METER_START] == 0)
		walk->state.open = false;

	/* a restart is a run of its own to whoever says since when it has run */
	if (walk->state.open &&
		(!was_open || (count[METER_START] > 0 && count[METER_STOP] > 0)))
	{
		walk->state.since = now;
		walk->nmoments = 0;
	}
	if (walk->state.open &&
		(count[METER_START] > 0 || count[METER_CHANGE] > 0))
	{
		walk->state.alive = now;
		meter_walk_moment(walk, now, -1);
	}
	if (!walk->state.open && count[METER_STOP] > 0)
	{
		walk->state.absent = now;
		walk->absent_witness = -1;
	}

	new_label = walk->state.open ?
		meter_build_label(&walk->builder, walk->state.attrs) : -1;
	if (new_label != walk->label)
	{
		if (walk->label >= 0)
			meter_build_span(&walk->builder, walk->begin, now, walk->label);
		walk->begin = now;
		walk->label = new_label;
	}
}

/* Begin with what is carried, or with nothing. */
static void
begin_walk(MeterWalk *walk, MeterEvents *events, const MeterState *carried,
		   MeterLookBack look)
{
	int32		natts = events->natts;
	int32		i;

	memset(walk, 0, sizeof(*walk));
	meter_build_begin(&walk->builder, natts);
	walk->events = events;
	walk->begin = METER_BEGIN;
	walk->label = -1;
	walk->absent_witness = -1;
	walk->snapshot_absent = METER_BEGIN;
	walk->state.absent = METER_BEGIN;
	walk->state.source = METER_NULL_ATTR;
	if (carried != NULL)
		walk->state = *carried;
	walk->state.attrs = palloc((natts + 1) * sizeof(MeterAttr));
	for (i = 0; i <= natts; i++)
		walk->state.attrs[i] = carried ? carried->attrs[i] : METER_NULL_ATTR;
	walk->named = look == METER_LOOK_BACK_NONE ||
		!MeterAttrIsNull(walk->state.attrs[0]);
	if (walk->state.open)
	{
		walk->label = meter_build_label(&walk->builder, walk->state.attrs);
		meter_walk_moment(walk, walk->state.since, -1);
		meter_walk_moment(walk, walk->state.alive, -1);
	}
	if (events->nstatements > 0)
		meter_walk_known(walk);
}

/*
 * The timeline of a set of events, which are put in order of time, and of
 * statements, which are told what came of them.  With a carried state a run
 * that is open in it goes back to -infinity.  The bytes of the result's
 * attributes are those of the events and of the carried state, which must
 * outlive it.
 */
MeterTimeline *
meter_pair(MeterEvents *events, const MeterState *carried,
		   MeterLookBack look)
{
	MeterTimeline *timeline;
	MeterWalk	walk;
	bool		unnamed_spans = false;
	int32		statement = 0;
	int32		from;
	int32		to;
	int32		i;

	meter_events_sort(events);
	meter_statements_sort(events);
	begin_walk(&walk, events, carried, look);
	timeline = walk.builder.timeline;

	for (from = 0; from < events->nevents; from = to)
	{
		int64		now = events->events[from].time;

		for (; statement < events->nstatements &&
			 events->statements[statement].time < now; statement++)
			meter_walk_state(&walk, statement);
		for (to = from + 1;
			 to < events->nevents && events->events[to].time == now;
			 to++)
			;
		apply_instant(&walk, from, to);
	}
	for (; statement < events->nstatements; statement++)
		meter_walk_state(&walk, statement);
	if (walk.label >= 0)
		meter_build_span(&walk.builder, walk.begin, METER_END, walk.label);

	timeline->state = walk.state;
	if (events->nevents > 0)
	{
		timeline->has_last = true;
		timeline->last = events->events[events->nevents - 1].time;
	}

	if (look == METER_LOOK_BACK_FIRST && !MeterAttrIsNull(walk.first_name) &&
		walk.named)
	{
		for (i = 0; i < timeline->nspans && !unnamed_spans; i++)
			unnamed_spans = MeterAttrIsNull(
				meter_timeline_attr(timeline, timeline->spans[i].label, 0));
		if (unnamed_spans)
			return look_back(timeline, walk.first_name);
	}
	return timeline;
}
