/*
 * timeline.c
 *	  Promises: pairing, rounding and cutting give what a simulation minute by
 *	  minute gives; any cut of a window adds up; eight-byte events pair and
 *	  bill like all others; levels and ranges are what a simulation says; days,
 *	  units and periods of a zone follow each other without gap or overlap;
 *	  each timeline reads back from its text and its bytes.
 *
 * Random histories of one resource.  The seed is printed.  A first argument
 * sets it, a second one says how many seconds to go on.
 */
#include <time.h>

#include "core/codec.h"
#include "core/decimal.h"
#include "core/grid.h"
#include "core/levels.h"
#include "core/packed.h"
#include "core/pairing.h"
#include "core/ranges.h"
#include "core/rounding.h"
#include "standalone/unit.h"
#include "core/textform.h"

#define HISTORIES	10000
#define MINUTES		240			/* of a simulation */
#define UNIT		10			/* minutes */
#define MAX_EVENTS	24

/* --- the simulation ------------------------------------------------------- */

typedef struct Event
{
	int			minute;
	MeterKind	kind;
	int			label;			/* -1: NULL */
	int			value;
} Event;

/* What holds in each minute: 0 closed, else 1 + (label + 1) * 10 + value + 1 */
static void
simulate(const Event *events, int n, int *holds)
{
	bool		open = false;
	int			label = -1;
	int			value = -1;
	int			minute;
	int			i;
	int			kind;

	for (minute = 0; minute < MINUTES; minute++)
	{
		bool		starts = false;
		bool		stops = false;
		bool		any = false;

		for (i = 0; i < n; i++)
		{
			if (events[i].minute == minute)
			{
				any = true;
				starts = starts || events[i].kind == METER_START;
				stops = stops || events[i].kind == METER_STOP;
			}
		}
		/* the greatest (label, value) speaks last; NULL says nothing */
		for (kind = METER_START; any && kind <= METER_CHANGE; kind++)
		{
			int			rank;

			for (rank = 0; rank < 100; rank++)
			{
				for (i = 0; i < n; i++)
				{
					if (events[i].minute == minute &&
						(int) events[i].kind == kind &&
						(events[i].label + 1) * 10 + events[i].value + 1 == rank)
					{
						label = events[i].label >= 0 ? events[i].label : label;
						value = events[i].value >= 0 ? events[i].value : value;
					}
				}
			}
		}
		if (starts != stops)
			open = starts;
		holds[minute] = open ? 1 + (label + 1) * 10 + value + 1 : 0;
	}
}

/* both in the order in which they rank */
static const char *labels[] = {"", "\"\\\n\x01\xc3\xa4", "large", "small"};
static const char *values[] = {"-3.5", "0", "2", "10"};

/* Label and value of an event. */
static void
event_attrs(const Event *event, MeterAttr *attrs)
{
	attrs[0] = attrs[1] = METER_NULL_ATTR;
	if (event->label >= 0)
	{
		attrs[0].data = labels[event->label];
		attrs[0].len = (int32) strlen(labels[event->label]);
	}
	if (event->value >= 0)
	{
		attrs[1].data = values[event->value];
		attrs[1].len = (int32) strlen(values[event->value]);
	}
}

/* What a span of a timeline holds, as the simulation numbers it. */
static int
span_holds(const MeterTimeline *timeline, int32 label)
{
	MeterAttr	text = meter_timeline_attr(timeline, label, 0);
	MeterAttr	value = meter_timeline_value(timeline, label);
	int			l = -1;
	int			v = -1;
	int			i;

	for (i = 0; i < 4; i++)
	{
		if (text.len == (int32) strlen(labels[i]) &&
			memcmp(text.data, labels[i], text.len) == 0)
			l = i;
		if (value.len == (int32) strlen(values[i]) &&
			memcmp(value.data, values[i], value.len) == 0)
			v = i;
	}
	return 1 + (l + 1) * 10 + v + 1;
}

/* The same spans, labels and last event? */
static bool
same_timeline(const MeterTimeline *a, const MeterTimeline *b)
{
	uint8	   *abytes = palloc(meter_encode_bound(a));
	uint8	   *bbytes = palloc(meter_encode_bound(b));
	size_t		alength = meter_encode(a, abytes);
	size_t		blength = meter_encode(b, bbytes);
	bool		same = alength == blength &&
	memcmp(abytes, bbytes, alength) == 0;

	pfree(abytes);
	pfree(bbytes);
	return same;
}

/* Time billed in a window. */
static int64
billed(const MeterRounded *rounded, MeterGrid *grid, int64 from, int64 to)
{
	MeterCutter cutter;
	int64		sum = 0;
	int32		i;

	meter_cut_begin(&cutter, rounded, grid, from, to);
	if (meter_cut_window(&cutter))
	{
		for (i = 0; i < cutter.nparts; i++)
			sum += cutter.parts[i].billed;
	}
	return sum;
}

/* Check rounding and cutting of a timeline against what holds when. */
static void
check_rounding(const MeterTimeline *timeline, const int *holds)
{
	MeterGrid	grid;
	MeterRounded up;
	MeterRounded down;
	MeterRounded nearest;
	MeterRounded exact;
	int			unit;
	int64		from = below(MINUTES) * METER_MINUTE;
	int64		to = from + below(MINUTES) * METER_MINUTE;
	int64		middle = from + (to > from ? below((int) ((to - from) / METER_SECOND)) * METER_SECOND : 0);
	int64		in_periods = 0;
	MeterRounded *all[4] = {&up, &down, &nearest, &exact};
	int			i;

	meter_grid_init(&grid, NULL);
	grid.unit = UNIT * METER_MINUTE;
	grid.period_usec = METER_HOUR;
	meter_round(&up, timeline, METER_KEYED_BY_LABEL, METER_ROUND_UP, &grid,
				MINUTES * METER_MINUTE);
	meter_round(&down, timeline, METER_KEYED_BY_LABEL, METER_ROUND_DOWN, &grid,
				MINUTES * METER_MINUTE);
	meter_round(&nearest, timeline, METER_KEYED_BY_LABEL, METER_ROUND_NEAREST,
				&grid, MINUTES * METER_MINUTE);
	meter_round(&exact, timeline, METER_KEYED_BY_LABEL, METER_ROUND_NONE,
				&grid, MINUTES * METER_MINUTE);

	for (unit = 0; unit < MINUTES / UNIT; unit++)
	{
		int			first = 0;
		bool		throughout = true;
		int64		begin = unit * grid.unit;

		for (i = unit * UNIT; i < (unit + 1) * UNIT; i++)
		{
			first = first != 0 ? first : holds[i];
			throughout = throughout && holds[i] == holds[unit * UNIT] &&
				holds[i] != 0;
		}
		check(billed(&up, &grid, begin, begin + grid.unit) ==
			  (first != 0 ? grid.unit : 0), "up bills units touched, once");
		check(billed(&down, &grid, begin, begin + grid.unit) ==
			  (throughout ? grid.unit : 0), "down bills units held throughout");
		for (i = 0; i < up.nspans; i++)
			check(up.spans[i].begin > begin || up.spans[i].end <= begin ||
				  span_holds(timeline, up.spans[i].label) == first,
				  "a unit goes to who touched it first");
	}
	check(billed(&up, &grid, 0, METER_DAY) >=
		  billed(&exact, &grid, 0, METER_DAY) &&
		  billed(&exact, &grid, 0, METER_DAY) >=
		  billed(&down, &grid, 0, METER_DAY), "up >= exact >= down");

	for (i = 0; i < 4; i++)
	{
		MeterCutter cutter;
		int32		j;

		check(billed(all[i], &grid, from, middle) +
			  billed(all[i], &grid, middle, to) ==
			  billed(all[i], &grid, from, to), "the parts of a cut add up");
		in_periods = 0;
		meter_cut_begin(&cutter, all[i], &grid, from, to);
		while (meter_cut_next(&cutter))
		{
			check(cutter.cut_begin < cutter.cut_end, "periods go on");
			for (j = 0; j < cutter.nparts; j++)
				in_periods += cutter.parts[j].billed;
		}
		check(in_periods == billed(all[i], &grid, from, to),
			  "the periods of a window add up");
		for (j = 1; j < all[i]->nspans; j++)
			check(all[i]->spans[j].begin >= all[i]->spans[j - 1].end,
				  "rounded spans do not overlap");
	}
}

/* Check that text and bytes read back. */
static void
check_forms(const MeterTimeline *timeline)
{
	MeterTimeline plain = *timeline;
	const char *problem = "";
	size_t		position;
	size_t		length;
	char	   *text;
	uint8	   *bytes;
	MeterTimeline *back;

	if (plain.nspans == 0 || plain.spans[plain.nspans - 1].end != METER_END)
		plain.has_last = false;
	text = meter_timeline_to_text(&plain, &length);
	back = meter_timeline_from_text(text, length, &problem, &position);
	if (back == NULL)
		printf("%s at %zu of %s\n", problem, position, text);
	check(back != NULL && same_timeline(&plain, back), "text reads back");
	bytes = palloc(meter_encode_bound(&plain));
	length = meter_encode(&plain, bytes);
	back = meter_decode(bytes, length, &problem, &position);
	check(back != NULL && same_timeline(&plain, back), "bytes read back");
}

/* A history: events to a timeline. */
static void
try_pairing(void)
{
	Event		events[MAX_EVENTS];
	int			holds[MINUTES];
	int64		packed[MAX_EVENTS];
	int			n = below(MAX_EVENTS + 1);
	int			within = 1 + below(MINUTES);
	bool		plain = below(3) == 0;
	MeterEvents collected;
	MeterTimeline *timeline;
	int			minute = 0;
	int			i;

	meter_events_init(&collected, 1);
	for (i = 0; i < n; i++)
	{
		MeterAttr	attrs[2];

		events[i].minute = below(within);
		events[i].kind = (MeterKind) below(3);
		events[i].label = plain ? -1 : below(5) - 1;
		events[i].value = plain ? -1 : below(5) - 1;
		event_attrs(&events[i], attrs);
		check(meter_events_add(&collected, events[i].kind,
							   events[i].minute * METER_MINUTE, attrs),
			  "there is room for an event");
		packed[i] = meter_pack(events[i].minute * METER_MINUTE, events[i].kind);
	}
	simulate(events, n, holds);
	timeline = meter_pair(&collected, NULL, METER_LOOK_BACK_NONE);

	for (i = 0; i < timeline->nspans; i++)
	{
		const MeterSpan *span = &timeline->spans[i];
		int			end = span->end == METER_END ? MINUTES :
		(int) (span->end / METER_MINUTE);

		check(span->begin < span->end && span->begin % METER_MINUTE == 0,
			  "spans are not empty");
		for (; minute < span->begin / METER_MINUTE; minute++)
			check(holds[minute] == 0, "closed between spans");
		for (; minute < end; minute++)
			check(holds[minute] == span_holds(timeline, span->label),
				  "spans hold what the simulation says");
	}
	for (; minute < MINUTES; minute++)
		check(holds[minute] == 0, "closed after the last span");

	check_rounding(timeline, holds);
	check_forms(timeline);

	if (plain)
	{
		MeterTimeline *other;
		MeterRounded rounded;
		MeterGrid	grid;
		int64		from = below(MINUTES) * METER_MINUTE;
		int64		to = from + below(MINUTES) * METER_MINUTE;

		meter_packed_sort(packed, n);
		other = meter_packed_pair(packed, n);
		check(same_timeline(timeline, other), "packed events pair alike");
		meter_grid_init(&grid, NULL);
		grid.unit = (1 + below(3)) * 10 * METER_MINUTE;
		meter_round(&rounded, timeline, METER_KEYED_BY_KEY, METER_ROUND_UP,
					&grid, METER_END);
		check(meter_packed_billed(packed, n, from, to, METER_END, grid.unit) ==
			  billed(&rounded, &grid, from, to), "packed events bill alike");
		meter_round(&rounded, timeline, METER_KEYED_BY_KEY, METER_ROUND_NONE,
					&grid, timeline->last);
		check(meter_packed_billed(packed, n, METER_BEGIN, METER_END,
								  timeline->last, 0) ==
			  billed(&rounded, &grid, METER_BEGIN, METER_END),
			  "packed events bill alike without a window");
	}
}

/* --- sorting -------------------------------------------------------------- */

static int
cmp_int64(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Sort as the C library does, whatever the keys look like. */
static void
try_sort(void)
{
	uint32		n = below(10) == 0 ? 5000 : (uint32) below(200);
	int64	   *keys = palloc(n * sizeof(int64));
	int64	   *expected = palloc(n * sizeof(int64));
	int			shift = below(63);
	int			cluster = below(4);
	uint32		i;

	for (i = 0; i < n; i++)
	{
		keys[i] = (int64) (((uint64) below(1 << 30) << 33) ^
						   ((uint64) below(1 << 30) << 11) ^ below(4096)) >> shift;
		if (cluster > 0 && below(4) != 0)
			keys[i] = keys[0] + below(cluster * 8);
		expected[i] = keys[i];
	}
	meter_packed_sort(keys, n);
	qsort(expected, n, sizeof(int64), cmp_int64);
	check(n == 0 || memcmp(keys, expected, n * sizeof(int64)) == 0,
		  "sorted like the C library");
	pfree(keys);
	pfree(expected);
}

/* --- decimals and levels -------------------------------------------------- */

/* The canonical decimal of mantissa / 1000. */
static int
thousandths(char *text, long mantissa)
{
	return meter_decimal_trim(text, sprintf(text, "%s%ld.%03ld",
											mantissa < 0 ? "-" : "",
											labs(mantissa) / 1000,
											labs(mantissa) % 1000));
}

static void
try_levels(void)
{
	long		at[MINUTES] = {0};
	long		total = 0;
	MeterEvents deltas;
	MeterTimeline *timeline;
	int			n = below(30);
	int			within = 1 + below(MINUTES);
	int			minute = 0;
	int			i;
	char		text[64];
	char		other[64];
	char		sum[140];

	for (i = 0; i < 20; i++)
	{
		long		a = below(1 << below(31)) - (1 << below(29));
		long		b = below(4) == 0 ? -a : below(1 << below(31)) - (1 << below(29));
		int			alen = thousandths(text, a);
		int			blen = thousandths(other, b);
		int			length = meter_decimal_add(sum, text, alen, other, blen);
		int			cmp = meter_decimal_cmp(text, alen, other, blen);

		check(meter_decimal_is_canonical(text, alen), "a decimal is canonical");
		check((cmp < 0) == (a < b) && (cmp > 0) == (a > b), "decimals order");
		check(length == thousandths(text, a + b) &&
			  memcmp(sum, text, length) == 0, "decimals add");
	}

	meter_events_init(&deltas, 1);
	for (i = 0; i < n; i++)
	{
		MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
		long		delta = (below(7) - 3) * (below(2) ? 1 : 500);
		int			when = below(within);

		attrs[1].data = text;
		attrs[1].len = thousandths(text, delta);
		at[when] += delta;
		check(meter_events_add(&deltas, METER_CHANGE, when * METER_MINUTE, attrs),
			  "there is room for a delta");
	}
	timeline = meter_levels(&deltas);
	check_forms(timeline);
	for (i = 0; i <= timeline->nspans; i++)
	{
		int			begin = i == timeline->nspans ? MINUTES :
		(int) (timeline->spans[i].begin / METER_MINUTE);
		int			end = i == timeline->nspans ||
		timeline->spans[i].end == METER_END ? MINUTES :
		(int) (timeline->spans[i].end / METER_MINUTE);

		for (; minute < begin; minute++)
			check((total += at[minute]) == 0, "not active at level 0");
		for (; minute < end; minute++)
		{
			MeterAttr	value = meter_timeline_value(timeline,
													 timeline->spans[i].label);

			total += at[minute];
			check(value.len == thousandths(text, total) &&
				  memcmp(value.data, text, value.len) == 0 && total != 0,
				  "the level is the sum of the deltas");
		}
	}
}

static void
try_ranges(void)
{
	MeterRange	ranges[80];
	bool		covered[400] = {false};
	uint32		n = (uint32) below(80);
	uint32		i;
	int			at = 0;

	for (i = 0; i < n; i++)
	{
		int			t;

		ranges[i].begin = below(300);
		ranges[i].end = ranges[i].begin + 1 + below(1 + below(40));
		for (t = (int) ranges[i].begin; t < ranges[i].end; t++)
			covered[t] = true;
	}
	n = meter_ranges_join(ranges, n);
	for (i = 0; i < n; i++)
	{
		check(i == 0 || ranges[i].begin > ranges[i - 1].end,
			  "joined ranges do not touch");
		for (; at < ranges[i].begin; at++)
			check(!covered[at], "nothing is covered between ranges");
		for (; at < ranges[i].end; at++)
			check(covered[at], "ranges cover what they did");
	}
	for (; at < 400; at++)
		check(!covered[at], "nothing is covered after ranges");
}

/* --- a zone made up ------------------------------------------------------- */

#define CHANGES	12

/* The clock is set at some instants; minutes of difference to UTC. */
typedef struct Clock
{
	int			changes;
	int			minute[CHANGES];
	int			offset[CHANGES + 1];
} Clock;

static int
offset_at(const Clock *clock, int minute)
{
	int			i = 0;

	while (i < clock->changes && clock->minute[i] <= minute)
		i++;
	return clock->offset[i];
}

/* The first minute whose local date is that day or later, by looking. */
static int64
clock_midnight(void *arg, int32 day)
{
	int			minute = day * 1440 - 2 * 1440;

	while (minute + offset_at(arg, minute) < day * 1440)
		minute++;
	return minute * METER_MINUTE;
}

static int32
clock_day_near(void *arg, int64 instant)
{
	int64		day = instant / METER_DAY;

	(void) arg;
	return (int32) (day - (instant % METER_DAY < 0 ? 1 : 0));
}

static void
try_grid(void)
{
	static const int units[] = {1, 15, 60, 90, 360, 1440};
	Clock		clock;
	MeterZone	zone = {clock_midnight, clock_day_near, &clock};
	MeterGrid	grid;
	int			minute = -3 * 1440;
	int			offset;
	int64		at;
	int64		until;
	int			i;

	clock.changes = below(CHANGES);
	clock.offset[0] = (below(97) - 48) * 15;
	for (i = 0; i < clock.changes; i++)
	{
		minute += 1 + below(2 * 1440);
		clock.minute[i] = minute;
		if (below(6) == 0)
			clock.offset[i + 1] = -clock.offset[i];
		else
		{
			offset = clock.offset[i] + (below(3) - 1) * 30 * (1 + below(3));
			clock.offset[i + 1] = Max(-840, Min(840, offset));
		}
	}
	meter_grid_init(&grid, &zone);
	grid.unit = units[below(6)] * METER_MINUTE;
	switch (below(4))
	{
		case 0:
			grid.period_usec = METER_HOUR;
			break;
		case 1:
			grid.period_days = 1;
			break;
		case 2:
			grid.period_days = 7;
			break;
		default:
			grid.period_months = 1;
	}

	at = -(int64) (4 * 1440 + below(1440)) * METER_MINUTE;
	until = at + 14 * METER_DAY;
	at = meter_grid_period_begin(&grid, at);
	while (at < until)
	{
		int64		end = meter_grid_period_end(&grid, at);
		int64		inside = at + below((int) ((end - at) / METER_MINUTE)) * METER_MINUTE;
		int64		unit = meter_grid_unit_floor(&grid, inside);
		int64		next = meter_grid_unit_ceil(&grid, inside + 1);

		check(end > at, "a period ends after it begins");
		check(meter_grid_period_begin(&grid, inside) == at &&
			  meter_grid_period_end(&grid, inside) == end,
			  "an instant has one period");
		check(unit <= inside && inside < next, "a unit holds its instant");
		check(grid.unit > METER_HOUR || (unit >= at && next <= end) ||
			  grid.period_usec % grid.unit != 0,
			  "periods are made of whole units");
		check(next - unit <= grid.unit || grid.unit >= METER_DAY,
			  "no unit is too long");
		check(meter_grid_unit_floor(&grid, next - 1) == unit &&
			  meter_grid_unit_ceil(&grid, unit) == unit,
			  "units follow each other");
		at = end;
	}
}

int
main(int argc, char **argv)
{
	uint64		seed = unit_seed(argc, argv);
	time_t		until = argc > 2 ? time(NULL) + atol(argv[2]) : 0;

	for (history = 0; until != 0 ? time(NULL) < until : history < HISTORIES;
		 history++)
	{
		random_from(seed * UINT64_C(1000000007) + (uint64) history);
		try_pairing();
		if (history % 8 == 0)
		{
			try_sort();
			try_levels();
			try_ranges();
		}
		if (history % 64 == 0)
			try_grid();
	}
	printf("%ld histories\n", history);
	return 0;
}
