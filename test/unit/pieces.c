/*
 * pieces.c
 *	  Promises: a resource that is walked piece by piece has the parts, the
 *	  state and the findings of one that is walked at once, wherever pieces end
 *	  and whatever is forgotten between them; the memory of a walk does not
 *	  grow with the events; what does grow is told before it is asked for; a
 *	  source has one number, up to the most that there can be.
 *
 * Random histories of one resource: events, ties among them, snapshots, a
 * carried state.  The seed is printed.  A first argument sets it, a second one
 * says how many seconds to go on with the histories alone.
 */
#include <setjmp.h>
#include <time.h>

#include "core/grid.h"
#include "core/pieces.h"
#include "standalone/unit.h"

#define HISTORIES	10000
#define MINUTES		300
#define MAX_EVENTS	200
#define MAX_SAID	8
#define NATTS		2			/* name and label, then the value */
#define MAX_PARTS	4000
#define EVENTS		3000000		/* of the resources that are large */

/* --- random histories ----------------------------------------------------- */

typedef struct Event
{
	int64		time;
	MeterKind	kind;
	int			sequence;		/* 0: it has none */
	int			source;
	MeterAttr	attrs[NATTS + 1];
} Event;

/* A part of a period, with what its label says. */
typedef struct Part
{
	int64		period;
	char		label[32];
	int64		billed;
} Part;

typedef struct Parts
{
	int			n;
	Part		parts[MAX_PARTS];
} Parts;

static const char *const names[] = {"ann", "bob", ""};
static const char *const sources[] = {"a", "b"};

static Event events[MAX_EVENTS];
static int	nevents;
static MeterObservation saids[MAX_SAID];
static MeterAttr said_attrs[MAX_SAID][NATTS + 1];
static int	nsaids;
static MeterRunRules rules;		/* of runs, if any */
static bool has_rules;
static MeterState carried;
static MeterAttr carried_billed[NATTS + 1];
static MeterAttr carried_attrs[NATTS + 1];
static bool has_carried;
static bool name_all;			/* all events and snapshots have a name */
static int	name_rate;			/* or one in so many */
static int	nlabels;			/* of labels, and of values */
static char labels[20][8];

static int
cmp_events(const void *a, const void *b)
{
	const Event *x = a;
	const Event *y = b;

	return x->time < y->time ? -1 : x->time > y->time;
}

static void
random_attrs(MeterAttr *attrs)
{
	int			i;

	attrs[0] = attrs[1] = attrs[2] = METER_NULL_ATTR;
	if (name_all || below(name_rate) == 0)
	{
		i = name_all ? below(2) : below(COUNT(names));
		attrs[0] = meter_attr(names[i], (int32) strlen(names[i]));
	}
	if (below(2))
	{
		i = below(nlabels);
		attrs[1] = meter_attr(labels[i], (int32) strlen(labels[i]));
	}
	if (below(3) == 0)
	{
		i = below(nlabels);
		attrs[2] = meter_attr(labels[i], (int32) strlen(labels[i]));
	}
}

static int64
random_time(int64 from, int64 to)
{
	int64		step = below(3) ? METER_MINUTE : METER_SECOND;

	return from >= to ? from :
		from + below((int) ((to - from) / step) + 1) * step;
}

static void
random_history(void)
{
	bool		two = below(3) == 0;
	int64		until = (1 + below(MINUTES)) * METER_MINUTE;
	int			i;

	name_all = below(2);
	name_rate = below(2) ? 6 : 60;
	nlabels = below(2) ? 3 : COUNT(labels);
	for (i = 0; i < nlabels; i++)
		sprintf(labels[i], "%d", 1 + i * i);
	nevents = below(below(8) ? 40 : MAX_EVENTS);
	for (i = 0; i < nevents; i++)
	{
		events[i].time = random_time(0, until);
		if (i > 0 && below(4) == 0)
			events[i].time = events[i - 1].time;
		events[i].kind = (MeterKind) (below(3) ? below(below(8) ? 3 : 4) :
									  below(2) ? METER_NAMES : METER_OBSERVED);
		events[i].sequence = below(3);
		events[i].source = two && below(4) == 0;
		random_attrs(events[i].attrs);
		if (events[i].kind >= METER_NAMES)
			events[i].attrs[1] = events[i].attrs[2] = METER_NULL_ATTR;
	}
	qsort(events, nevents, sizeof(Event), cmp_events);

	nsaids = below(2) ? 0 : below(MAX_SAID + 1);
	memset(saids, 0, sizeof(saids));
	for (i = 0; i < nsaids; i++)
	{
		MeterObservation *said = &saids[i];

		said->time = random_time(0, until);
		said->present = below(3) != 0;
		said->standing = (uint8) (below(3) ? METER_LOGGED : METER_CANDIDATE);
		said->source = (uint16) (two && below(2));	/* not the number yet */
		said->since = below(3) ? random_time(said->time / 2, said->time) :
			METER_BEGIN;
		said->since = Min(said->since, said->time);
		said->tolerance = below(2) * METER_MINUTE;
		said->alive = below(3) ? METER_BEGIN : random_time(0, said->time);
		random_attrs(said_attrs[i]);
	}

	has_rules = below(2);
	rules.liveness = below(2) * (1 + below(below(2) ? 20 : 60)) * METER_MINUTE;
	rules.counts = below(4) == 0;
	rules.increment = rules.counts ? 0 : below(2) * (1 + below(20)) * METER_MINUTE;
	rules.minimum = rules.counts ? 0 : below(2) * (1 + below(20)) * METER_MINUTE;

	has_carried = below(2);
	memset(&carried, 0, sizeof(carried));
	carried.ended = below(6) == 0;
	carried.sign = below(4) == 0 ? METER_BEGIN : -below(100) * METER_MINUTE;
	carried.open = below(2);
	carried.since = -below(100) * METER_MINUTE;
	carried.alive = carried.since + below(100) * METER_MINUTE;
	carried.alive = Min(carried.alive, 0);
	carried.absent = below(2) ? METER_BEGIN : carried.since;
	carried.source = below(2) ? METER_NULL_ATTR : meter_attr(sources[0], 1);
	carried.holder = below(2) ? METER_NULL_ATTR : meter_attr(sources[1], 1);
	carried.started = below(2) ? METER_BEGIN : carried.since;
	carried.attrs = carried_attrs;
	random_attrs(carried_attrs);
	if (carried.open)
	{
		carried.ended = false;
		carried.sign = carried.sign == METER_BEGIN ? carried.since :
			Max(carried.sign, carried.since);
		carried.gaps = below(2) * ((carried.sign - carried.since) / 2);
		carried.billed = below(3) ? NULL : carried_billed;
		random_attrs(carried_billed);
	}
}

static void
add_observations(MeterEvents *all)
{
	int			i;

	for (i = 0; i < nsaids; i++)
	{
		MeterObservation said = saids[i];

		said.source = meter_events_source(all, meter_attr(sources[said.source], 1));
		check(meter_observations_add(all, &said, said_attrs[i]),
			  "an observation fits");
	}
}

/* Add an event, whose bytes are nobody's afterwards. */
static void
add_event(MeterEvents *all, const Event *event)
{
	MeterAttr	attrs[NATTS + 1];
	char		bytes[64];
	int			used = 0;
	int			i;

	for (i = 0; i <= NATTS; i++)
	{
		attrs[i] = event->attrs[i];
		if (attrs[i].len > 0)
		{
			memcpy(bytes + used, attrs[i].data, attrs[i].len);
			attrs[i].data = bytes + used;
			used += attrs[i].len;
		}
	}
	check(meter_events_add(all, event->kind, event->time, attrs),
		  "an event fits");
	memset(bytes, 'x', sizeof(bytes));
	if (event->sequence > 0)
		meter_events_sequence(all, event->sequence);
	if (event->kind != METER_NAMES)
		all->events[all->nevents - 1].source =
			meter_events_source(all, meter_attr(sources[event->source], 1));
}

/* Append an attribute to a text. */
static void
put(char *text, MeterAttr attr)
{
	size_t		at = strlen(text);

	sprintf(text + at, "%.*s,", attr.len < 0 ? 1 : attr.len,
			attr.len < 0 ? "-" : attr.data);
}

/* What a key says, or a label. */
static void
describe(const MeterTimeline *timeline, MeterKeyed keyed, int32 label,
		 char *text)
{
	int32		key = keyed == METER_KEYED_BY_KEY ? label :
	timeline->labels[label].key;
	int			i;

	text[0] = '\0';
	for (i = 0; i < NATTS; i++)
		put(text, timeline->keys[(size_t) key * NATTS + i]);
	if (keyed == METER_KEYED_BY_LABEL)
		put(text, meter_timeline_value(timeline, label));
}

/* Add a part to those of its period. */
static void
add_part(Parts *parts, int64 period, const char *label, int64 billed)
{
	int			i;

	for (i = parts->n - 1; i >= 0 && parts->parts[i].period == period; i--)
	{
		if (strcmp(parts->parts[i].label, label) == 0)
		{
			parts->parts[i].billed += billed;
			return;
		}
	}
	check(parts->n < MAX_PARTS, "the parts fit");
	parts->parts[parts->n].period = period;
	strcpy(parts->parts[parts->n].label, label);
	parts->parts[parts->n++].billed = billed;
}

/* Take all parts that there are now. */
static void
take_parts(MeterCutter *cutter, const MeterTimeline *timeline, MeterKeyed keyed,
		   Parts *parts)
{
	char		label[32];
	int			i;

	while (meter_cut_next(cutter))
	{
		check(parts->n == 0 ||
			  parts->parts[parts->n - 1].period <= cutter->period_begin,
			  "periods go on");
		for (i = 0; i < cutter->nparts; i++)
		{
			describe(timeline, keyed, cutter->parts[i].label, label);
			add_part(parts, cutter->period_begin, label,
					 cutter->parts[i].billed);
		}
	}
}

/* Check that no key or value is there twice. */
static void
check_distinct(const MeterTimeline *timeline)
{
	char		text[2][32];
	int32		i;
	int32		j;

	for (i = 0; i < timeline->nlabels; i++)
	{
		for (j = 0; j < i; j++)
		{
			describe(timeline, METER_KEYED_BY_LABEL, i, text[0]);
			describe(timeline, METER_KEYED_BY_LABEL, j, text[1]);
			check(strcmp(text[0], text[1]) != 0, "labels are distinct");
		}
	}
	for (i = 0; i < timeline->nkeys; i++)
	{
		for (j = 0; j < i; j++)
		{
			describe(timeline, METER_KEYED_BY_KEY, i, text[0]);
			describe(timeline, METER_KEYED_BY_KEY, j, text[1]);
			check(strcmp(text[0], text[1]) != 0, "keys are distinct");
		}
	}
}

/*
 * Parts of keys that have no name yet are told by their numbers, as the engine
 * does: a name that comes is theirs, too.
 */
typedef struct Unnamed
{
	int64		period;
	int32		key;
	int64		billed;
} Unnamed;

static Unnamed unnamed[MAX_PARTS];
static int	nunnamed;

static void
take_pieces(MeterPieces *pieces, Parts *parts)
{
	const MeterTimeline *timeline = pieces->walk.builder.timeline;
	MeterKeyed	keyed = pieces->rounded.keyed;
	char		label[32];
	int			i;

	check_distinct(timeline);
	if (keyed == METER_KEYED_BY_LABEL)
	{
		/* names that come later are for keys only */
		take_parts(&pieces->cutter, timeline, keyed, parts);
		return;
	}
	if (pieces->walk.named || pieces->last)
	{
		for (i = 0; i < nunnamed; i++)
		{
			describe(timeline, keyed, unnamed[i].key, label);
			add_part(parts, unnamed[i].period, label, unnamed[i].billed);
		}
		nunnamed = 0;
		take_parts(&pieces->cutter, timeline, keyed, parts);
		return;
	}
	while (meter_cut_next(&pieces->cutter))
	{
		for (i = 0; i < pieces->cutter.nparts; i++)
		{
			check(nunnamed < MAX_PARTS, "unnamed parts fit");
			unnamed[nunnamed].period = pieces->cutter.period_begin;
			unnamed[nunnamed].key = pieces->cutter.parts[i].label;
			unnamed[nunnamed++].billed = pieces->cutter.parts[i].billed;
		}
	}
}

static void
compact(MeterPieces *pieces)
{
	int32	   *keys = meter_pieces_keys(pieces);
	int			i;

	for (i = 0; i < nunnamed; i++)
		keys[unnamed[i].key] = 1;
	meter_pieces_compact(pieces, keys);
	for (i = 0; i < nunnamed; i++)
		unnamed[i].key = keys[unnamed[i].key];
	pfree(keys);
}

static int
cmp_parts(const void *a, const void *b)
{
	const Part *x = a;
	const Part *y = b;

	return x->period != y->period ? (x->period < y->period ? -1 : 1) :
		strcmp(x->label, y->label);
}

static bool
same_state(const MeterState *a, const MeterState *b)
{
	int			i;

	for (i = 0; i <= NATTS; i++)
	{
		if (!meter_attr_equal(a->attrs[i], b->attrs[i]) ||
			a->changed[i] != b->changed[i])
			return false;
	}
	if (a->billed != NULL && b->billed != NULL)
	{
		for (i = 0; i <= NATTS; i++)
		{
			if (!meter_attr_equal(a->billed[i], b->billed[i]))
				return false;
		}
	}
	return a->started == b->started && a->ended == b->ended &&
		a->sign == b->sign && (a->billed == NULL) == (b->billed == NULL) &&
		(!a->open || a->gaps == b->gaps) &&
		meter_attr_equal(a->holder, b->holder) &&
		a->open == b->open && a->absent == b->absent &&
		meter_attr_equal(a->source, b->source) &&
		(!a->open || (a->since == b->since && a->alive == b->alive));
}

/* Where an event comes within its instant. */
static int
place(const Event *event)
{
	return event->kind == METER_OBSERVED ? 10 : event->sequence;
}

/* Which of two names of one place counts: that of the greater source, if any. */
static int
name_cmp(const Event *a, const Event *b)
{
	if (a->kind == METER_OBSERVED && a->source != b->source)
		return a->source - b->source;
	return meter_attr_cmp(a->attrs[0], b->attrs[0]);
}

/* Check that time before the first name goes to that name. */
static void
check_names(const MeterTimeline *timeline)
{
	const Event *first = NULL;
	int			i;

	for (i = 0; i < timeline->nspans; i++)
		check(!MeterAttrIsNull(meter_timeline_attr(timeline,
												   timeline->spans[i].label, 0)) ||
			  MeterAttrIsNull(timeline->state.attrs[0]),
			  "where there is a name, nothing is without one");
	if (nsaids > 0 || (has_carried && !MeterAttrIsNull(carried_attrs[0])))
		return;
	for (i = 0; i < nevents; i++)
	{
		const Event *event = &events[i];

		if (first != NULL && first->time < event->time)
		{
			if (first->attrs[0].len > 0)
				break;
			first = NULL;		/* it was said to be nobody's */
		}
		/* the greatest of the least sequence; what was observed comes last */
		if (event->attrs[0].len >= (event->kind == METER_OBSERVED ? 0 : 1) &&
			(first == NULL || place(event) < place(first) ||
			 (place(event) == place(first) &&
			  name_cmp(event, first) > 0)))
			first = event;
	}
	if (first != NULL && first->attrs[0].len == 0)
		return;
	for (i = 0; first != NULL && i < timeline->nspans &&
		 timeline->spans[i].begin < first->time; i++)
		check(meter_attr_equal(first->attrs[0],
							   meter_timeline_attr(timeline,
												   timeline->spans[i].label, 0)),
			  "the first name owns the time before it");
}

static Parts at_once;
static Parts in_pieces;

static void
show(void)
{
	static const Parts *const both[] = {&at_once, &in_pieces};
	int			i;
	int			j;

	for (j = 0; j < 2; j++)
	{
		printf("%s:\n", j == 0 ? "at once" : "in pieces");
		for (i = 0; i < both[j]->n; i++)
			printf("  %lld %s %lld\n",
				   (long long) (both[j]->parts[i].period / METER_MINUTE),
				   both[j]->parts[i].label,
				   (long long) (both[j]->parts[i].billed / METER_SECOND));
	}
}

/* How many events end the resource for good? */
static int
nfinishing(void)
{
	int			n = has_carried && carried.ended;
	int			i;

	for (i = 0; i < nevents; i++)
		n += events[i].kind == METER_FINISH;
	return n;
}

static void
one_history(void)
{
	MeterGrid	grid;
	MeterCut	cut;
	MeterLookBack look = (MeterLookBack) below(2);
	MeterEvents whole;
	MeterEvents part;
	MeterTimeline *timeline;
	MeterRounded rounded;
	MeterCutter cutter;
	MeterPieces pieces;
	int			often = 1 + below(below(3) ? 6 : 40);
	bool		begun = below(2);
	int			i;

	random_history();
	meter_grid_init(&grid, NULL);
	grid.unit = (5 + 5 * below(2)) * METER_MINUTE;
	grid.period_usec = (below(3) ? 30 : 60) * METER_MINUTE;
	cut.rounding = (MeterRounding) below(4);
	if (has_rules && (rules.counts || rules.increment + rules.minimum > 0))
		cut.rounding = METER_ROUND_NONE;
	/* labels do not go from one piece to the next: only keys are named */
	cut.keyed = look == METER_LOOK_BACK_NONE || name_all ?
		(MeterKeyed) below(2) : METER_KEYED_BY_KEY;
	if (cut.keyed == METER_KEYED_BY_LABEL && has_carried &&
		look == METER_LOOK_BACK_FIRST && MeterAttrIsNull(carried_attrs[0]))
		carried_attrs[0] = meter_attr(names[0], 3);
	/* a name is one of all before it */
	carried_billed[0] = carried_attrs[0];
	cut.grid = &grid;
	cut.from = below(3) ? 0 : random_time(0, MINUTES * METER_MINUTE);
	cut.to = cut.from + below(MINUTES) * METER_MINUTE;

	meter_events_init(&whole, NATTS);
	whole.rules = has_rules ? &rules : NULL;
	add_observations(&whole);
	for (i = 0; i < nevents; i++)
		add_event(&whole, &events[i]);
	timeline = meter_pair(&whole, has_carried ? &carried : NULL, look);
	if (has_rules && rules.counts)
		timeline->nspans = 0;
	meter_round(&rounded, timeline, cut.keyed, cut.rounding, &grid, METER_END);
	meter_cut_begin(&cutter, &rounded, &grid, cut.from, cut.to);
	meter_cut_marks(&cutter, timeline->nmarks);
	at_once.n = in_pieces.n = 0;
	take_parts(&cutter, timeline, cut.keyed, &at_once);

	nunnamed = 0;
	meter_events_init(&part, NATTS);
	part.rules = whole.rules;
	add_observations(&part);
	if (begun)
		meter_pieces_begin(&pieces, &part, has_carried ? &carried : NULL, look,
						   &cut);
	for (i = 0; i < nevents; i++)
	{
		if (part.nevents > 0 && events[i - 1].time < events[i].time &&
			below(often) == 0)
		{
			if (!begun)
				meter_pieces_begin(&pieces, &part,
								   has_carried ? &carried : NULL, look, &cut);
			begun = true;
			check(meter_pieces_advance(&pieces, false), "a piece fits");
			take_pieces(&pieces, &in_pieces);
			if (below(2))
				compact(&pieces);
		}
		add_event(&part, &events[i]);
	}
	if (!begun)
		meter_pieces_begin(&pieces, &part, has_carried ? &carried : NULL, look,
						   &cut);
	check(meter_pieces_advance(&pieces, true), "the last piece fits");
	take_pieces(&pieces, &in_pieces);
	check_distinct(timeline);
	/* a start that is ignored names somebody, too */
	if (look == METER_LOOK_BACK_FIRST && nfinishing() == 0)
		check_names(timeline);

	qsort(at_once.parts, at_once.n, sizeof(Part), cmp_parts);
	qsort(in_pieces.parts, in_pieces.n, sizeof(Part), cmp_parts);
	check(at_once.n == in_pieces.n, "as many parts");
	for (i = 0; i < at_once.n; i++)
		check(cmp_parts(&at_once.parts[i], &in_pieces.parts[i]) == 0 &&
			  at_once.parts[i].billed == in_pieces.parts[i].billed,
			  "the same parts");
	check(same_state(&timeline->state, &pieces.walk.builder.timeline->state),
		  "the same state");
	check(timeline->has_last == pieces.walk.builder.timeline->has_last &&
		  timeline->last == pieces.walk.builder.timeline->last,
		  "the same last event");
	for (i = 0; i < nsaids; i++)
	{
		const MeterObservation *a = &whole.observations[i];
		const MeterObservation *b = &part.observations[i];

		check(a->time == b->time && a->own == b->own &&
			  a->effect == b->effect && a->was_open == b->was_open &&
			  a->alive == b->alive &&
			  (a->effect <= METER_EVIDENCE ||
			   (a->from == b->from && a->to == b->to)),
			  "the same findings");
	}
}

/* --- large resources ------------------------------------------------------ */

typedef enum Shape
{
	VALUES,						/* each event with another value */
	KEYS,						/* each with another label, over many periods */
	RUNS,						/* starts and stops */
	UNNAMED,					/* changes without a name, which never comes */
	SNAPSHOTS,					/* a snapshot a day reaches back an hour */
	RESTARTS,					/* each ends a run, which is rounded */
	GAPS,						/* each event is a sign of life for a while */
	SHAPES
} Shape;

static const char *const shapes[] = {
	"values", "keys", "runs", "unnamed", "snapshots", "restarts", "gaps"
};

/* Walk a resource of so many events; tell how much memory that took. */
static void
walk_large(Shape shape, int32 count)
{
	int64		step = shape == VALUES ? 300 : METER_SECOND / 2;
	MeterGrid	grid;
	MeterCut	cut;
	MeterEvents part;
	MeterPieces pieces;
	MeterAttr	attrs[NATTS + 1] = {METER_NULL_ATTR, METER_NULL_ATTR,
	METER_NULL_ATTR};
	char		text[32];
	uint64		billed = 0;
	int64		period = METER_BEGIN;
	size_t		before = memory_in_use;
	clock_t		begin = clock();
	int32		pieces_taken = 0;
	int32		i;

	memory_peak = memory_in_use;
	meter_grid_init(&grid, NULL);
	grid.unit = METER_MINUTE;
	grid.period_usec = METER_HOUR;
	cut.keyed = shape == VALUES ? METER_KEYED_BY_LABEL : METER_KEYED_BY_KEY;
	cut.rounding = shape == VALUES || shape >= RESTARTS ?
		METER_ROUND_NONE : METER_ROUND_UP;
	cut.grid = &grid;
	cut.from = 0;
	cut.to = count * step / METER_HOUR * METER_HOUR + METER_HOUR;
	meter_events_init(&part, NATTS);
	memset(&rules, 0, sizeof(rules));
	rules.increment = 4 * step;
	rules.liveness = shape == GAPS ? step / 2 : 0;
	if (shape >= RESTARTS)
		part.rules = &rules;
	for (i = 0; shape == SNAPSHOTS && i < cut.to / METER_DAY; i++)
	{
		MeterObservation said;

		memset(&said, 0, sizeof(said));
		said.time = (i + 1) * METER_DAY;
		said.present = true;
		said.standing = METER_LOGGED;
		said.source = meter_events_source(&part, meter_attr("", 0));
		said.since = said.time - METER_HOUR;
		said.alive = METER_BEGIN;
		check(meter_observations_add(&part, &said, NULL), "a snapshot fits");
	}
	meter_pieces_begin(&pieces, &part, NULL, METER_LOOK_BACK_FIRST, &cut);
	for (i = 0; i <= count; i++)
	{
		bool		last = i == count;
		int64		at = shape == RESTARTS ? i / 2 * step : i * step;

		if (last || meter_piece_full(&part, at))
		{
			pieces_taken++;
			check(meter_pieces_advance(&pieces, last), "a piece fits");
			while (meter_cut_next(&pieces.cutter))
			{
				int			j;

				check(pieces.cutter.period_begin >= period, "periods go on");
				period = pieces.cutter.period_begin;
				for (j = 0; j < pieces.cutter.nparts; j++)
					billed += (uint64) pieces.cutter.parts[j].billed;
			}
			if (!last && meter_pieces_crowded(&pieces))
			{
				int32	   *keys = meter_pieces_keys(&pieces);

				meter_pieces_compact(&pieces, keys);
				pfree(keys);
			}
		}
		if (last)
			break;
		attrs[0] = shape == UNNAMED ? METER_NULL_ATTR : meter_attr("ann", 3);
		if (shape == VALUES)
			attrs[2] = meter_attr(text, sprintf(text, "%d", i + 1));
		else if (shape != RUNS && shape != RESTARTS)
			attrs[1] = meter_attr(text, sprintf(text, "label %d",
												shape == KEYS ? i : i % 7));
		check(meter_events_add(&part,
							   i == 0 || (shape == RUNS && i % 2 == 0) ||
							   (shape == RESTARTS && (i == 1 || i % 2 == 0)) ? METER_START :
							   shape == RUNS || shape == RESTARTS ?
							   METER_STOP : METER_CHANGE,
							   at, attrs), "an event fits");
		if (shape == SNAPSHOTS)
			part.events[part.nevents - 1].source = 1;
	}
	printf("%s: %d events in %d pieces, %.2f s, at most %.1f MB\n",
		   shapes[shape], count, pieces_taken,
		   (double) (clock() - begin) / CLOCKS_PER_SEC,
		   (double) (memory_peak - before) / 1e6);
	if (shape == RUNS)
		cut.to = meter_grid_unit_ceil(&grid, (count - 1) * step);
	if (shape == RESTARTS)
		cut.to += (count / 2 - 1) * 3 * step;
	else if (shape == GAPS)
		cut.to = count * rules.liveness;
	if (shape != SNAPSHOTS)
		check((int64) billed == cut.to, "all of the time is billed");
	check(memory_peak - before < 8000000, "the memory of a walk is bounded");
}

/* --- what grows ----------------------------------------------------------- */

#define ENOUGH	(1024 * 1024)

static jmp_buf enough;

/* Stop whoever asks for too much. */
static void
stop_growth(size_t size)
{
	if (memory_in_use + size > ENOUGH)
		longjmp(enough, 1);
}

/* All events of one instant, each with a label and a source of its own. */
static void
grow_without_end(void)
{
	MeterEvents events;
	MeterAttr	attrs[NATTS + 1] = {METER_NULL_ATTR, METER_NULL_ATTR, METER_NULL_ATTR};
	char		label[32];
	volatile size_t before = memory_in_use;
	volatile int i = 0;

	meter_events_init(&events, NATTS);
	memory_in_use = memory_peak = 0;
	meter_before_growth = stop_growth;
	if (setjmp(enough) == 0)
	{
		for (;; i++)
		{
			attrs[1] = meter_attr(label, snprintf(label, sizeof(label), "label %d", i));
			check(meter_events_add(&events, METER_START, 0, attrs),
				  "there is room");
			(void) meter_events_source(&events, attrs[1]);
		}
	}
	meter_before_growth = NULL;
	check(i > 1000 && memory_peak <= ENOUGH + 4096,
		  "what grows is told before it is asked for");
	memory_in_use += before;
}

/* A source has one number. */
static void
number_sources(void)
{
	MeterEvents events;
	char		name[32];
	int			i;
	int			again;

	meter_events_init(&events, NATTS);
	for (again = 0; again < 2; again++)
	{
		for (i = 1; i <= METER_MAX_SOURCES; i++)
			check(meter_events_source(&events,
									  meter_attr(name, snprintf(name, sizeof(name), "source %d", i))) == i,
				  "a source has one number");
	}
	check(meter_events_source(&events, meter_attr("one more", 8)) == 0,
		  "there are no more numbers");
}

int
main(int argc, char **argv)
{
	uint64		seed = unit_seed(argc, argv);
	time_t		until = argc > 2 ? time(NULL) + atol(argv[2]) : 0;
	Shape		shape;

	show_case = show;
	for (history = 0; until != 0 ? time(NULL) < until : history < HISTORIES;
		 history++)
	{
		random_from(seed * UINT64_C(1000000007) + (uint64) history);
		one_history();
	}
	show_case = NULL;
	number_sources();
	grow_without_end();
	for (shape = VALUES; until == 0 && shape < SHAPES; shape++)
		walk_large(shape, shape == VALUES ? EVENTS : EVENTS / 5);
	printf("%ld histories\n", history);
	return 0;
}
