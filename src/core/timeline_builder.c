/*
 * timeline_builder.c
 *	  Building a timeline span by span.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/timeline_builder.h"

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
	return meter_grow(array, *max * size);
}

/* Tells whether element `number` equals what is sought. */
typedef bool (*MatchFunction) (const MeterTimeline *timeline, int32 number,
							   const void *sought);

/* Up to so many elements are searched one by one. */
#define INDEX_FROM	8

/* Put an element into its slot of the index. */
static void
index_put(MeterIndex *index, int32 number)
{
	uint32		slot = index->hashes[number] & (index->nslots - 1);

	while (index->slots[slot] != 0)
		slot = (slot + 1) & (index->nslots - 1);
	index->slots[slot] = number + 1;
}

/* Forget where elements are: slots are made anew when they are needed. */
static void
index_clear(MeterIndex *index)
{
	if (index->slots != NULL)
		pfree(index->slots);
	index->slots = NULL;
	index->nslots = 0;
}

/*
 * Return the number of the element that is sought.  Where there is none,
 * `count` is put into the index and returned: the caller then adds the
 * element.
 */
static int32
index_find(MeterIndex *index, const MeterTimeline *timeline, int32 count,
		   uint32 hash, MatchFunction match, const void *sought)
{
	int32		i;

	if (count < INDEX_FROM)
	{
		for (i = count - 1; i >= 0; i--)
		{
			if (index->hashes[i] == hash && match(timeline, i, sought))
				return i;
		}
	}
	else
	{
		uint32		slot;

		if ((uint32) count * 2 >= index->nslots)
		{
			uint32		nslots = Max(4 * INDEX_FROM, index->nslots * 2);

			while ((uint32) count * 2 >= nslots)
				nslots *= 2;
			index_clear(index);
			index->nslots = nslots;
			meter_ask_growth(index->nslots * sizeof(int32));
			index->slots = palloc0(index->nslots * sizeof(int32));
			for (i = 0; i < count; i++)
				index_put(index, i);
		}
		slot = hash & (index->nslots - 1);
		for (; index->slots[slot] != 0; slot = (slot + 1) & (index->nslots - 1))
		{
			i = index->slots[slot] - 1;
			if (index->hashes[i] == hash && match(timeline, i, sought))
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

/* Tell whether a key has these attributes. */
static bool
key_matches(const MeterTimeline *timeline, int32 number, const void *sought)
{
	const MeterAttr *key = timeline->keys + (size_t) number * timeline->natts;
	const MeterAttr *attrs = sought;
	int32		i;

	for (i = 0; i < timeline->natts; i++)
	{
		if (!meter_attr_equal(key[i], attrs[i]))
			return false;
	}
	return true;
}

/* Tell whether a value is this one. */
static bool
value_matches(const MeterTimeline *timeline, int32 number, const void *sought)
{
	return meter_attr_equal(timeline->values[number],
							*(const MeterAttr *) sought);
}

/* Tell whether a label is this one. */
static bool
label_matches(const MeterTimeline *timeline, int32 number, const void *sought)
{
	const MeterLabel *label = &timeline->labels[number];
	const MeterLabel *other = sought;

	return label->key == other->key && label->value == other->value;
}

/* Return the hash of a key. */
static uint32
hash_key(const MeterAttr *attrs, int32 natts)
{
	uint32		hash = 2166136261u;
	int32		i;

	for (i = 0; i < natts; i++)
		hash = meter_attr_hash(hash, attrs[i]);
	return hash;
}

/* Return the hash of a label. */
static uint32
hash_label(MeterLabel label)
{
	uint32		hash = ((uint32) label.key * 2654435761u) ^
	((uint32) (label.value + 1) * 2246822519u);

	return hash ^ (hash >> 15);
}

/*
 * Return the index of the label with these natts + 1 attributes, and make the
 * label if it is new.  The bytes stay where they are and must outlive the
 * timeline.
 */
int32
meter_build_label(MeterTimelineBuilder *builder, const MeterAttr *attrs)
{
	MeterTimeline *timeline = builder->timeline;
	int32		natts = timeline->natts;
	MeterLabel	label = {-1, -1};
	int32		number;
	int32		i;

	label.key = index_find(&builder->key_index, timeline, timeline->nkeys,
						   hash_key(attrs, natts), key_matches, attrs);
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
								 meter_attr_hash(METER_HASH_BEGIN, attrs[natts]),
								 value_matches, &attrs[natts]);
		if (label.value == timeline->nvalues)
		{
			timeline->values = grow(timeline->values, label.value,
									&builder->maxvalues, sizeof(MeterAttr));
			timeline->values[timeline->nvalues++] = attrs[natts];
		}
	}

	number = index_find(&builder->label_index, timeline, timeline->nlabels,
						hash_label(label), label_matches, &label);
	if (number == timeline->nlabels)
	{
		timeline->labels = grow(timeline->labels, number,
								&builder->maxlabels, sizeof(MeterLabel));
		timeline->labels[timeline->nlabels++] = label;
	}
	return number;
}

/*
 * Append a span.  A span that begins where the last one ended, with the same
 * label, joins it.
 */
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

/* Append a mark, which is not earlier than those before. */
void
meter_build_mark(MeterTimelineBuilder *builder, int64 time, int32 label,
				 int64 amount)
{
	MeterTimeline *timeline = builder->timeline;
	MeterMark  *mark;

	timeline->marks = grow(timeline->marks, timeline->nmarks,
						   &builder->maxmarks, sizeof(MeterMark));
	mark = &timeline->marks[timeline->nmarks++];
	mark->time = time;
	mark->label = label;
	mark->amount = amount;
}

/*
 * Set the first attribute of all keys, in which it is NULL.  So they stay
 * distinct.
 */
void
meter_build_name_keys(MeterTimelineBuilder *builder, MeterAttr name)
{
	MeterTimeline *timeline = builder->timeline;
	int32		natts = timeline->natts;
	int32		i;

	for (i = 0; i < timeline->nkeys; i++)
	{
		MeterAttr  *key = timeline->keys + (size_t) i * natts;

		key[0] = name;
		builder->key_index.hashes[i] = hash_key(key, natts);
	}
	index_clear(&builder->key_index);
}

/*
 * Remove labels, keys, and the values that no label has then.  The arrays say
 * what stays, other than 0, and are set to the new number of what does, or to
 * -1; keys of labels that stay do, too.  Spans have to be given their new
 * labels by the caller.
 */
void
meter_build_compact(MeterTimelineBuilder *builder, int32 *labels, int32 *keys)
{
	MeterTimeline *timeline = builder->timeline;
	size_t		key_size = timeline->natts * sizeof(MeterAttr);
	int32	   *values = palloc0(Max(timeline->nvalues, 1) * sizeof(int32));
	int32		n = 0;
	int32		i;

	for (i = 0; i < timeline->nlabels; i++)
	{
		if (labels[i] == 0)
			continue;
		keys[timeline->labels[i].key] = 1;
		if (timeline->labels[i].value >= 0)
			values[timeline->labels[i].value] = 1;
	}

	for (i = 0; i < timeline->nkeys; i++)
	{
		if (keys[i] == 0)
		{
			keys[i] = -1;
			continue;
		}
		memmove((char *) timeline->keys + n * key_size,
				(char *) timeline->keys + i * key_size, key_size);
		builder->key_index.hashes[n] = builder->key_index.hashes[i];
		keys[i] = n++;
	}
	timeline->nkeys = n;

	for (n = i = 0; i < timeline->nvalues; i++)
	{
		if (values[i] == 0)
			continue;
		timeline->values[n] = timeline->values[i];
		builder->value_index.hashes[n] = builder->value_index.hashes[i];
		values[i] = n++;
	}
	timeline->nvalues = n;

	for (n = i = 0; i < timeline->nlabels; i++)
	{
		MeterLabel	label = timeline->labels[i];

		if (labels[i] == 0)
		{
			labels[i] = -1;
			continue;
		}
		label.key = keys[label.key];
		if (label.value >= 0)
			label.value = values[label.value];
		timeline->labels[n] = label;
		builder->label_index.hashes[n] = hash_label(label);
		labels[i] = n++;
	}
	timeline->nlabels = n;
	index_clear(&builder->key_index);
	index_clear(&builder->value_index);
	index_clear(&builder->label_index);
	pfree(values);
}

/* Return a text attribute of a label. */
MeterAttr
meter_timeline_attr(const MeterTimeline *timeline, int32 label, int32 att)
{
	return timeline->keys[timeline->labels[label].key * timeline->natts + att];
}

/* Return the value of a label. */
MeterAttr
meter_timeline_value(const MeterTimeline *timeline, int32 label)
{
	int32		value = timeline->labels[label].value;

	return value < 0 ? METER_NULL_ATTR : timeline->values[value];
}
