/*
 * codec.c
 *	  Promises: a timeline does not depend on the order of its events; as bytes
 *	  and read back it is the same; bytes that are damaged are refused or make
 *	  another timeline, and nothing worse.
 *
 * Random histories of one resource.  The seed is printed; a first argument
 * sets it.
 */
#include "core/codec.h"
#include "core/pairing.h"
#include "standalone/unit.h"

#define HISTORIES	2000
#define DAMAGES		50
#define MAX_EVENTS	12

/* One of few texts, so that some are met again; often NULL. */
static MeterAttr
some_text(void)
{
	static const char *const texts[] = {"", "small", "large", "x\"y", "\xc3\xa9"};
	const char *text;

	if (below(3) == 0)
		return METER_NULL_ATTR;
	text = texts[below((int) (sizeof(texts) / sizeof(texts[0])))];
	return (MeterAttr)
	{
		text, (int32) strlen(text)
	};
}

static MeterAttr
some_value(void)
{
	static const char *const values[] = {"0", "1", "-2.5", "1000000000000000000000", "0.000001"};
	const char *value;

	if (below(3) == 0)
		return METER_NULL_ATTR;
	value = values[below((int) (sizeof(values) / sizeof(values[0])))];
	return (MeterAttr)
	{
		value, (int32) strlen(value)
	};
}

typedef struct Event
{
	MeterKind	kind;
	int64		time;
	MeterAttr	attrs[4];
} Event;

static MeterTimeline *
pair(const Event *events, int nevents, int32 natts)
{
	MeterEvents collected;
	int			i;

	meter_events_init(&collected, natts);
	for (i = 0; i < nevents; i++)
		(void) meter_events_add(&collected, events[i].kind, events[i].time, events[i].attrs);
	return meter_pair(&collected, NULL, natts > 0 && natts % 2 == 0 ? METER_LOOK_BACK_FIRST : METER_LOOK_BACK_NONE);
}

static uint8 *
encode(const MeterTimeline *timeline, size_t *length)
{
	size_t		bound = meter_encode_bound(timeline);
	uint8	   *bytes = palloc(bound);

	*length = meter_encode(timeline, bytes);
	check(*length <= bound, "the bound holds");
	return bytes;
}

static bool
same(const uint8 *a, size_t alen, const uint8 *b, size_t blen)
{
	return alen == blen && memcmp(a, b, alen) == 0;
}

static void
one_history(void)
{
	static const int64 steps[] = {1, 1000, METER_SECOND, METER_MINUTE, METER_HOUR};
	Event		events[MAX_EVENTS];
	int			nevents = below(MAX_EVENTS + 1);
	int32		natts = below(4);
	int64		step = steps[below(5)];
	MeterTimeline *timeline;
	uint8	   *bytes;
	uint8	   *other;
	size_t		length;
	size_t		otherlen;
	const char *problem = NULL;
	size_t		position;
	int			i;

	for (i = 0; i < nevents; i++)
	{
		int			att;

		events[i].kind = (MeterKind) below(3);
		events[i].time = (int64) (below(40) - 10) * step;
		for (att = 0; att < natts; att++)
			events[i].attrs[att] = some_text();
		events[i].attrs[natts] = some_value();
	}
	timeline = pair(events, nevents, natts);
	bytes = encode(timeline, &length);

	for (i = nevents - 1; i > 0; i--)
	{
		int			j = below(i + 1);
		Event		event = events[i];

		events[i] = events[j];
		events[j] = event;
	}
	other = encode(pair(events, nevents, natts), &otherlen);
	check(same(bytes, length, other, otherlen), "the order of events does not matter");

	timeline = meter_decode(copy(bytes, length), length, &problem, &position);
	check(timeline != NULL, "what was written can be read");
	other = encode(timeline, &otherlen);
	check(same(bytes, length, other, otherlen), "and is the same");

	for (i = 0; i < (int) length; i++)
		check(meter_decode(copy(bytes, i), i, &problem, &position) == NULL, "what is cut short is refused");

	for (i = 0; i < DAMAGES; i++)
	{
		uint8	   *damaged = copy(bytes, length);
		int			hits = 1 + below(3);

		while (hits-- > 0)
			damaged[below((int) length)] ^= (uint8) (1 << below(8));
		timeline = meter_decode(damaged, length, &problem, &position);
		if (timeline == NULL)
		{
			check(problem != NULL && position <= length, "a refusal says what and where");
			continue;
		}
		other = encode(timeline, &otherlen);
		check(meter_decode(other, otherlen, &problem, &position) != NULL, "what was accepted can be written");
	}
}

int
main(int argc, char **argv)
{
	unit_seed(argc, argv);
	for (history = 0; history < HISTORIES; history++)
		one_history();
	return 0;
}
