/*
 * event_set.c
 *	  The set of a resource's events, as it is collected and sorted.
 */
#include "core/core.h"
#include "core/decimal.h"
#include "core/event_set.h"

/* Begin to collect events with so many text attributes. */
void
meter_events_init(MeterEvents *events, int32 natts)
{
	memset(events, 0, sizeof(*events));
	events->natts = natts;
	events->names_end = METER_END;
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

/* Tell whether a record in the arena holds these attributes. */
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
 * Put natts + 1 attributes (NULL: none is set) into the arena as a record.
 * Equal attributes in a row share one.  Returns false if that is more than can
 * be held.
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
		events->arena = meter_grow(events->arena, events->arena_size);
	}
	events->arena_used = Max(events->arena_used, 1);
	events->last_record = events->arena_used;
	for (i = 0; i <= events->natts; i++)
		arena_put(events, attrs[i]);
	*record = events->last_record;
	return true;
}

/*
 * Add an event with its natts + 1 attributes (NULL: none is set).  Returns
 * false if there are more events, or more bytes of attributes, than can be
 * held.
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
		events->events = meter_grow(events->events,
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
	events->observed |= kind == METER_OBSERVED;
	event->attrs = record;
	event->source = 0;
	event->sequence = 0;
	event->sequenced = false;
	return true;
}

/* Give the event that was added last its place within its instant. */
void
meter_events_sequence(MeterEvents *events, int64 sequence)
{
	MeterEvent *event = &events->events[events->nevents - 1];

	event->sequence = sequence;
	event->sequenced = events->sequenced = true;
}

/* Add an attribute to a hash, FNV-1a; NULL and '' differ. */
uint32
meter_attr_hash(uint32 hash, MeterAttr attr)
{
	int32		i;

	hash = (hash ^ (uint32) attr.len) * 16777619;
	for (i = 0; i < attr.len; i++)
		hash = (hash ^ (uint8) attr.data[i]) * 16777619;
	return hash ^ (hash >> 15);
}

/* So many sources are searched one by one. */
#define FEW_SOURCES	16

/* Return the slot of a source, or the free one where it belongs. */
static uint32
source_slot(const MeterEvents *events, MeterAttr source)
{
	uint32		slot = meter_attr_hash(METER_HASH_BEGIN, source) &
	(events->nslots - 1);

	while (events->slots[slot] != 0 &&
		   !meter_attr_equal(events->sources[events->slots[slot] - 1], source))
		slot = (slot + 1) & (events->nslots - 1);
	return slot;
}

/* Make slots for twice as many sources as there are, and more. */
static void
make_slots(MeterEvents *events)
{
	int32		i;

	events->nslots = Max(4 * FEW_SOURCES, 4 * events->nslots);
	events->slots = meter_grow(events->slots, events->nslots * sizeof(uint16));
	memset(events->slots, 0, events->nslots * sizeof(uint16));
	for (i = 0; i < events->nsources; i++)
		events->slots[source_slot(events, events->sources[i])] = (uint16) (i + 1);
}

/* Return the number of a source, from 1; 0 if it is new. */
static uint16
find_source(MeterEvents *events, MeterAttr source)
{
	int32		i;

	if (events->nsources >= FEW_SOURCES)
	{
		if ((uint32) events->nsources * 2 >= events->nslots)
			make_slots(events);
		return events->slots[source_slot(events, source)];
	}
	for (i = 0; i < events->nsources; i++)
	{
		if (meter_attr_equal(events->sources[i], source))
			return (uint16) (i + 1);
	}
	return 0;
}

/*
 * Return the number of a source, from 1, and keep its name.  Returns 0 if
 * there are too many sources.
 */
uint16
meter_events_source(MeterEvents *events, MeterAttr source)
{
	uint16		number = find_source(events, source);
	char	   *name;

	if (number != 0)
		return number;
	if (events->nsources == METER_MAX_SOURCES)
		return 0;
	if (events->nsources == events->maxsources)
	{
		events->maxsources = Max(2, events->maxsources * 2);
		events->sources = meter_grow(events->sources,
									 events->maxsources * sizeof(MeterAttr));
	}
	name = meter_grow(NULL, Max(source.len, 1));
	if (source.len > 0)
		memcpy(name, source.data, source.len);
	events->sources[events->nsources].data = name;
	events->sources[events->nsources].len = source.len;
	number = (uint16) ++events->nsources;
	if (events->nslots > 0)
		events->slots[source_slot(events, source)] = number;
	return number;
}

/*
 * Read the next attribute of a record in the arena; returns where the one
 * after it begins.
 */
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

/* Tell whether two attributes are the same text, or both NULL. */
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

/*
 * Order two records of attributes: the texts in turn, from one on, then the
 * value.
 */
int
meter_record_cmp(const MeterEvents *events, uint32 a, uint32 b, int32 first)
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
		if (i < first)
			continue;
		cmp = i < events->natts ? meter_attr_cmp(aattr, battr) :
			value_cmp(aattr, battr);
		if (cmp != 0)
			return cmp;
	}
	return 0;
}

/* Tell whether a record names an attribute that differs from these. */
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

/* Put events in order of time, unless they are in that order already. */
void
meter_events_sort(MeterEvents *events)
{
	if (!events->sorted)
		sort_events(events->events, (uint32) events->nevents);
	events->sorted = true;
}

#define SORT_NAME	sort_sequences
#define SORT_TYPE	MeterEvent
#define SORT_KEY(element)	((element).sequence)
#include "core/sort_impl.h"

/*
 * Put the events [from, to), all of one instant, in the order of their
 * sequences: those without one come first.
 */
void
meter_instant_sort(MeterEvents *events, int32 from, int32 to)
{
	MeterEvent *list = events->events;
	int32		i;

	if (!events->sequenced || to - from < 2)
		return;
	for (i = from; i < to; i++)
	{
		MeterEvent	event = list[i];

		if (event.sequenced)
			continue;
		list[i] = list[from];
		list[from++] = event;
	}
	sort_sequences(list + from, (uint32) (to - from));
}

/*
 * Put the observations among the events [from, to), all of one instant, last.
 * Returns where they begin.
 */
int32
meter_instant_observed(MeterEvents *events, int32 from, int32 to)
{
	MeterEvent *list = events->events;
	int32		i;

	if (!events->observed)
		return to;
	for (i = to; i-- > from;)
	{
		MeterEvent	event = list[i];

		if (event.kind != METER_OBSERVED)
			continue;
		list[i] = list[--to];
		list[to] = event;
	}
	return to;
}

/*
 * Return the end of the tie that begins at `from`: of events of one instant and
 * one sequence.
 */
int32
meter_tie_end(const MeterEvents *events, int32 from, int32 to)
{
	const MeterEvent *first = &events->events[from];
	int32		end = from + 1;

	if (!events->sequenced)
		return to;
	while (end < to && events->events[end].sequenced == first->sequenced &&
		   events->events[end].sequence == first->sequence)
		end++;
	return end;
}
