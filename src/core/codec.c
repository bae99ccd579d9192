/*
 * codec.c
 *	  Timelines as bytes: how they are stored, sent and handed on.
 *
 * All integers are varints (seven bits a byte, least first), signed ones in
 * zigzag.  Format 1:
 *
 *	version		one byte
 *	flags		bit 0: the last span has no end; bit 1: a last event is known;
 *				bit 2: there are labels; bits 3 and 4: scale
 *	natts		number of text attributes
 *	keys		if there are labels: their number, then of each the natts texts
 *	values		their number, then each as a canonical decimal
 *	labels		their number, then of each key and value (0: NULL, else + 1)
 *	last		if known: the last event, in microseconds
 *	nspans		number of spans
 *	spans		of each: begin (the first: signed, from 2000; others: from the
 *				end of the one before), length (left out where there is no
 *				end), and the label if there are two or more
 *
 * A text is its length + 1 (0: NULL) and its bytes.  Times of spans count in
 * the greatest of 1 microsecond, 1 ms, 1 s and 1 min that divides them all.
 * Without labels all spans have the one label in which everything is NULL.
 * A begin at -infinity, which only the engine's timelines have, is written
 * as a flag (bit 5) in front of a first span that begins at its end.
 */
#include "core/codec.h"
#include "core/core.h"
#include "core/decimal.h"
#include "core/timeline_builder.h"

#define FORMAT_VERSION	1

#define FLAG_OPEN		0x01
#define FLAG_LAST		0x02
#define FLAG_LABELS		0x04
#define FLAG_SCALE		0x18
#define SCALE_SHIFT		3
#define FLAG_BEGIN		0x20
#define FLAG_ALL		0x3f

#define VARINT_MAX		10

static const int64 scales[4] = {1, 1000, METER_SECOND, METER_MINUTE};

/* Write an unsigned integer. */
static uint8 *
put_varint(uint8 *at, uint64 value)
{
	while (value >= 0x80)
	{
		*at++ = (uint8) (value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8) value;
	return at;
}

/* Write a signed integer. */
static uint8 *
put_zigzag(uint8 *at, int64 value)
{
	return put_varint(at, ((uint64) value << 1) ^ (uint64) (value >> 63));
}

/* Write a text. */
static uint8 *
put_attr(uint8 *at, MeterAttr attr)
{
	at = put_varint(at, (uint64) (MeterAttrIsNull(attr) ? 0 : attr.len + 1));
	if (attr.len > 0)
	{
		memcpy(at, attr.data, attr.len);
		at += attr.len;
	}
	return at;
}

/* Tell whether the only label is the one in which everything is NULL. */
static bool
has_no_labels(const MeterTimeline *timeline)
{
	int32		i;

	if (timeline->nlabels == 0)
		return true;
	if (timeline->nlabels > 1 || timeline->labels[0].value >= 0)
		return false;
	for (i = 0; i < timeline->natts; i++)
	{
		if (!MeterAttrIsNull(timeline->keys[i]))
			return false;
	}
	return true;
}

/* Return the greatest scale that divides all times of the spans. */
static int
find_scale(const MeterTimeline *timeline)
{
	int			scale = 3;
	int32		i;

	for (i = 0; i < timeline->nspans && scale > 0; i++)
	{
		int64		begin = timeline->spans[i].begin;
		int64		end = timeline->spans[i].end;

		while (scale > 0 &&
			   ((begin != METER_BEGIN && begin % scales[scale] != 0) ||
				(end != METER_END && end % scales[scale] != 0)))
			scale--;
	}
	return scale;
}

/* Return an upper bound of the bytes that meter_encode() writes. */
size_t
meter_encode_bound(const MeterTimeline *timeline)
{
	size_t		bound = 2 + 6 * VARINT_MAX;
	int32		i;

	for (i = 0; i < timeline->nkeys * timeline->natts; i++)
		bound += VARINT_MAX + Max(timeline->keys[i].len, 0);
	for (i = 0; i < timeline->nvalues; i++)
		bound += VARINT_MAX + timeline->values[i].len;
	return bound + (size_t) timeline->nlabels * 2 * VARINT_MAX +
		(size_t) timeline->nspans * 3 * VARINT_MAX;
}

/* Write a timeline; returns the number of bytes. */
size_t
meter_encode(const MeterTimeline *timeline, uint8 *bytes)
{
	uint8	   *at = bytes;
	uint8		flags = 0;
	bool		labels = !has_no_labels(timeline);
	int			scale = find_scale(timeline);
	int64		divide = scales[scale];
	int64		before = 0;
	int32		i;

	if (timeline->nspans > 0)
	{
		if (timeline->spans[timeline->nspans - 1].end == METER_END)
			flags |= FLAG_OPEN;
		if (timeline->spans[0].begin == METER_BEGIN)
			flags |= FLAG_BEGIN;
	}
	if (timeline->has_last)
		flags |= FLAG_LAST;
	if (labels)
		flags |= FLAG_LABELS;
	flags |= (uint8) (scale << SCALE_SHIFT);

	*at++ = FORMAT_VERSION;
	*at++ = flags;
	at = put_varint(at, timeline->natts);
	if (labels)
	{
		at = put_varint(at, timeline->nkeys);
		for (i = 0; i < timeline->nkeys * timeline->natts; i++)
			at = put_attr(at, timeline->keys[i]);
		at = put_varint(at, timeline->nvalues);
		for (i = 0; i < timeline->nvalues; i++)
			at = put_attr(at, timeline->values[i]);
		at = put_varint(at, timeline->nlabels);
		for (i = 0; i < timeline->nlabels; i++)
		{
			at = put_varint(at, timeline->labels[i].key);
			at = put_varint(at, timeline->labels[i].value + 1);
		}
	}
	if (timeline->has_last)
		at = put_zigzag(at, timeline->last);
	at = put_varint(at, timeline->nspans);
	for (i = 0; i < timeline->nspans; i++)
	{
		const MeterSpan *span = &timeline->spans[i];
		int64		begin = span->begin;

		if (begin == METER_BEGIN)
			begin = span->end == METER_END ? 0 : span->end;
		begin /= divide;
		if (i == 0)
			at = put_zigzag(at, begin);
		else
			at = put_varint(at, (uint64) begin - (uint64) before);
		if (span->end != METER_END)
		{
			at = put_varint(at, (uint64) (span->end / divide) - (uint64) begin);
			before = span->end / divide;
		}
		if (timeline->nlabels > 1)
			at = put_varint(at, span->label);
	}
	return at - bytes;
}

/* Reading: where, how far, and the first thing that was wrong. */
typedef struct Reader
{
	const uint8 *bytes;
	const uint8 *at;
	const uint8 *end;
	const char *problem;
	size_t		position;
} Reader;

/* Note the first problem; from then on reads give zero. */
static void
fail(Reader *reader, const char *problem)
{
	if (reader->problem == NULL)
	{
		reader->problem = problem;
		reader->position = reader->at - reader->bytes;
	}
}

/* Read an unsigned integer, which must be in its shortest form. */
static uint64
get_varint(Reader *reader)
{
	uint64		value = 0;
	int			shift;

	if (reader->problem != NULL)
		return 0;
	for (shift = 0; shift < 64; shift += 7)
	{
		uint8		byte;

		if (reader->at == reader->end)
		{
			fail(reader, "ends within a number");
			return 0;
		}
		byte = *reader->at++;
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
		{
			if (byte == 0 && shift > 0)
				break;
			return value;
		}
	}
	fail(reader, "holds a malformed number");
	return 0;
}

/* Read a signed integer. */
static int64
get_zigzag(Reader *reader)
{
	uint64		value = get_varint(reader);

	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

/* Read a count of things, each of which takes `each` bytes or more. */
static int32
get_count(Reader *reader, size_t each)
{
	uint64		count = get_varint(reader);

	if (reader->problem == NULL &&
		count > (size_t) (reader->end - reader->at) / each)
	{
		fail(reader, "counts more than there is");
		return 0;
	}
	return (int32) count;
}

/* Read a text; its bytes stay where they are. */
static MeterAttr
get_attr(Reader *reader)
{
	uint64		length = get_varint(reader);
	MeterAttr	attr = METER_NULL_ATTR;

	if (reader->problem != NULL || length == 0)
		return attr;
	length--;
	if (length > (size_t) (reader->end - reader->at))
	{
		fail(reader, "ends within a text");
		return attr;
	}
	attr.data = (const char *) reader->at;
	attr.len = (int32) length;
	reader->at += length;
	return attr;
}

/* Read keys, values and labels through a builder, which finds repetitions. */
static void
get_labels(Reader *reader, MeterTimelineBuilder *builder, bool labels)
{
	MeterTimeline *timeline = builder->timeline;
	int32		natts = timeline->natts;
	MeterAttr  *attrs = palloc((natts + 1) * sizeof(MeterAttr));
	MeterAttr  *keys;
	MeterAttr  *values;
	int32		nkeys;
	int32		nvalues;
	int32		nlabels;
	int32		i;
	int32		j;

	if (!labels)
	{
		for (i = 0; i <= natts; i++)
			attrs[i] = METER_NULL_ATTR;
		(void) meter_build_label(builder, attrs);
		pfree(attrs);
		return;
	}

	nkeys = get_count(reader, Max(natts, 1));
	keys = palloc(Max((size_t) nkeys * natts, 1) * sizeof(MeterAttr));
	for (i = 0; i < nkeys * natts; i++)
		keys[i] = get_attr(reader);
	nvalues = get_count(reader, 1);
	values = palloc(Max(nvalues, 1) * sizeof(MeterAttr));
	for (i = 0; i < nvalues; i++)
	{
		values[i] = get_attr(reader);
		if (reader->problem == NULL &&
			(MeterAttrIsNull(values[i]) ||
			 !meter_decimal_is_canonical(values[i].data, values[i].len)))
			fail(reader, "holds a value that is no canonical decimal");
	}
	nlabels = get_count(reader, 2);
	for (i = 0; i < nlabels && reader->problem == NULL; i++)
	{
		uint64		key = get_varint(reader);
		uint64		value = get_varint(reader);

		if (reader->problem != NULL)
			break;
		if (key >= (uint64) nkeys || value > (uint64) nvalues)
		{
			fail(reader, "has a label with a key or value that is not there");
			break;
		}
		for (j = 0; j < natts; j++)
			attrs[j] = keys[key * natts + j];
		attrs[natts] = value == 0 ? METER_NULL_ATTR : values[value - 1];
		/* numbers must be in order of appearance, as the writer has them */
		if (meter_build_label(builder, attrs) != i ||
			timeline->labels[i].key != (int32) key ||
			timeline->labels[i].value != (int32) value - 1)
			fail(reader, "has a label twice or out of order");
	}
	if (reader->problem == NULL &&
		(timeline->nkeys != nkeys || timeline->nvalues != nvalues))
		fail(reader, "has a key or value that no label uses");
	pfree(keys);
	pfree(values);
	pfree(attrs);
}

/* Read the spans, which must be in order and joined where they can be. */
static void
get_spans(Reader *reader, MeterTimelineBuilder *builder, uint8 flags)
{
	MeterTimeline *timeline = builder->timeline;
	int64		divide = scales[(flags & FLAG_SCALE) >> SCALE_SHIFT];
	int64		first = METER_FIRST / divide;
	int64		limit = (METER_LIMIT - 1) / divide;
	int32		nspans = get_count(reader, 1);
	int64		before = 0;
	int32		i;

	for (i = 0; i < nspans && reader->problem == NULL; i++)
	{
		bool		open = i == nspans - 1 && (flags & FLAG_OPEN);
		bool		unbegun = i == 0 && (flags & FLAG_BEGIN);
		int64		begin;
		uint64		length;
		uint64		label = 0;

		/* lengths are compared unsigned, so nothing overflows */
		if (i == 0)
		{
			begin = get_zigzag(reader);
			if (begin < first || begin > limit)
				fail(reader, "has a span that is out of range");
		}
		else
		{
			uint64		gap = get_varint(reader);

			if (gap > (uint64) limit - (uint64) before)
				fail(reader, "has a span that is out of range");
			begin = (int64) ((uint64) before + gap);
		}
		length = open ? 0 : get_varint(reader);
		if (timeline->nlabels > 1)
			label = get_varint(reader);
		if (reader->problem != NULL)
			return;

		if (label >= (uint64) timeline->nlabels)
			fail(reader, "has a span with a label that is not there");
		else if (length > (uint64) limit - (uint64) begin)
			fail(reader, "has a span that is out of range");
		else if (!open && (length == 0) != unbegun)
			fail(reader, "has a span that is empty");
		else
		{
			before = (int64) ((uint64) begin + length);
			meter_build_span(builder,
							 unbegun ? METER_BEGIN : begin * divide,
							 open ? METER_END : before * divide,
							 (int32) label);
			if (timeline->nspans != i + 1)
				fail(reader, "has two spans that should be one");
		}
	}
	if (reader->problem == NULL && nspans == 0 &&
		(flags & (FLAG_OPEN | FLAG_BEGIN)))
		fail(reader, "is open without a span");
}

/*
 * Read a timeline, whose texts stay where they are in `bytes`.  Returns NULL
 * if the bytes are no timeline: then *problem says why and *position where.
 */
MeterTimeline *
meter_decode(const uint8 *bytes, size_t length,
			 const char **problem, size_t *position)
{
	MeterTimelineBuilder builder;
	Reader		reader = {bytes, bytes, bytes + length, NULL, 0};
	uint8		flags = 0;
	uint64		natts;

	meter_build_begin(&builder, 0);
	if (length < 3)
		fail(&reader, "is too short");
	else if (*reader.at++ != FORMAT_VERSION)
		fail(&reader, "has an unknown format version");
	else
	{
		flags = *reader.at++;
		if (flags & ~FLAG_ALL)
			fail(&reader, "has unknown flags");
	}

	natts = get_varint(&reader);
	if (natts > 1000)
		fail(&reader, "has too many attributes");
	if (reader.problem == NULL)
	{
		builder.timeline->natts = (int32) natts;
		get_labels(&reader, &builder, (flags & FLAG_LABELS) != 0);
	}
	if (reader.problem == NULL && (flags & FLAG_LAST))
	{
		builder.timeline->has_last = true;
		builder.timeline->last = get_zigzag(&reader);
		if (builder.timeline->last < METER_FIRST ||
			builder.timeline->last >= METER_LIMIT)
			fail(&reader, "has a last event that is out of range");
	}
	if (reader.problem == NULL)
		get_spans(&reader, &builder, flags);
	if (reader.problem == NULL && reader.at != reader.end)
		fail(&reader, "goes on after its end");

	if (reader.problem != NULL)
	{
		*problem = reader.problem;
		*position = reader.position;
		return NULL;
	}
	builder.timeline->state.open = (flags & FLAG_OPEN) != 0;
	return builder.timeline;
}
