/*
 * observation.c
 *	  Promises: what snapshots say counts in any order; of all that they say,
 *	  logging what is found to make a difference is enough, at once or in
 *	  parts with events arriving in between, also where the resource goes from
 *	  one source to another; from the state carried at any instant, what follows
 *	  is as from the beginning.
 *
 * Random histories of one resource and of the snapshots of three sources.  The
 * seed is printed.  A first argument sets it, a second one says how many
 * histories.
 */
#include "standalone/unit.h"
#include "core/observation.h"
#include "core/pairing.h"

#define HISTORIES	20000
#define MINUTES		60
#define MAX_EVENTS	12
#define MAX_SAID	12

typedef struct Event
{
	int			minute;
	MeterKind	kind;
	int			label;			/* -1: NULL */
	int			source;
} Event;

typedef struct Said
{
	int			minute;
	int			source;
	bool		present;
	int			since;			/* -1: not said */
	int			label;
	int			tolerance;
	/* as it was logged */
	bool		logged;
	int64		alive;
} Said;

static const char *const sources[] = {"a", "b", "c"};
static const char *const labels[] = {"s", "m", "l"};

/* How snapshots take part. */
typedef enum Part
{
	ALL_LOGGED,					/* all, as if logged */
	ONLY_LOGGED,				/* those that are */
	LOGGED_AND_CANDIDATES
} Part;

static void
set_attrs(MeterAttr *attrs, int label)
{
	attrs[0] = label < 0 ? METER_NULL_ATTR : meter_attr(labels[label], 1);
	attrs[1] = METER_NULL_ATTR;
}

/* Collect them in random order; what came of them goes back to `saids`. */
static MeterTimeline *
timeline_of(const Event *events, int nevents, Said *saids, int nsaids,
			Part part, int from, int to, const MeterState *carried,
			bool *found)
{
	MeterEvents *all = palloc0(sizeof(MeterEvents));
	MeterTimeline *timeline;
	MeterAttr	attrs[2];
	int			total = nevents + nsaids;
	int			first = total ? below(total) : 0;
	int			step = below(2) ? 1 : -1;
	int			i;

	meter_events_init(all, 1);
	for (i = 0; i < total; i++)
	{
		int			n = ((first + i * step) % total + total) % total;

		if (n < nevents)
		{
			if (events[n].minute < from || events[n].minute >= to)
				continue;
			set_attrs(attrs, events[n].label);
			check(meter_events_add(all, events[n].kind,
								   events[n].minute * METER_MINUTE, attrs),
				  "an event fits");
			all->events[all->nevents - 1].source =
				meter_events_source(all, meter_attr(sources[events[n].source], 1));
		}
		else
		{
			const Said *said = &saids[n - nevents];
			MeterObservation observation;

			if (said->minute < from || said->minute >= to ||
				(part == ONLY_LOGGED && !said->logged))
				continue;
			memset(&observation, 0, sizeof(observation));
			observation.time = said->minute * METER_MINUTE;
			observation.present = said->present;
			observation.source = meter_events_source(all, meter_attr(sources[said->source], 1));
			observation.since = said->since < 0 ? METER_BEGIN :
				said->since * METER_MINUTE;
			observation.alive = said->logged ? said->alive : METER_BEGIN;
			observation.tolerance = said->tolerance * METER_MINUTE;
			observation.standing = part != LOGGED_AND_CANDIDATES || said->logged ?
				METER_LOGGED : METER_CANDIDATE;
			set_attrs(attrs, said->present ? said->label : -1);
			check(meter_observations_add(all, &observation, attrs),
				  "an observation fits");
		}
	}
	timeline = meter_pair(all, carried, METER_LOOK_BACK_NONE);

	for (i = 0; found != NULL && i < all->nobservations; i++)
	{
		const MeterObservation *observation = &all->observations[i];
		int			j;

		if (observation->standing != METER_CANDIDATE ||
			observation->effect == METER_AGREES)
			continue;
		for (j = 0; j < nsaids; j++)
		{
			if (saids[j].minute * METER_MINUTE == observation->time &&
				meter_attr_equal(all->sources[observation->source - 1],
								 meter_attr(sources[saids[j].source], 1)))
			{
				saids[j].logged = true;
				saids[j].alive = observation->alive;
				*found = true;
			}
		}
	}
	return timeline;
}

/* The label that holds in each minute from `from` on; 0: none. */
static void
holds(const MeterTimeline *timeline, int from, char *minutes)
{
	int			minute;
	int32		i;

	memset(minutes, '-', MINUTES + 1);
	minutes[MINUTES] = '\0';
	for (i = 0; i < timeline->nspans; i++)
	{
		const MeterSpan *span = &timeline->spans[i];
		MeterAttr	label = meter_timeline_attr(timeline, span->label, 0);

		check(span->begin < span->end, "a span has a length");
		check(i == 0 || timeline->spans[i - 1].end < span->begin ||
			  (timeline->spans[i - 1].end == span->begin &&
			   timeline->spans[i - 1].label != span->label),
			  "spans are in order, and apart or different");
		for (minute = from; minute < MINUTES; minute++)
		{
			if (span->begin <= minute * METER_MINUTE &&
				minute * METER_MINUTE < span->end)
				minutes[minute] = MeterAttrIsNull(label) ? '?' : label.data[0];
		}
	}
}

static void
same(const MeterTimeline *a, const MeterTimeline *b, int from,
	 const char *promise)
{
	char		in_a[MINUTES + 1];
	char		in_b[MINUTES + 1];

	holds(a, from, in_a);
	holds(b, from, in_b);
	if (memcmp(in_a, in_b, MINUTES) != 0)
		printf("%s\n%s\n", in_a, in_b);
	check(memcmp(in_a, in_b, MINUTES) == 0, promise);
	check(a->state.open == b->state.open, promise);
}

static void
one_history(void)
{
	Event		events[MAX_EVENTS];
	Said		saids[MAX_SAID];
	int			nevents = below(MAX_EVENTS + 1);
	int			nsaids = below(MAX_SAID + 1);
	int			nsources = 1 + below(3);
	int			known;
	int			saids_known = 0;
	int			i;
	int			j;
	bool		found;
	MeterTimeline *full;
	MeterTimeline *logged;
	MeterTimeline *before;
	int			cut = below(MINUTES);

	for (i = 0; i < nevents; i++)
	{
		events[i].minute = below(MINUTES);
		events[i].kind = (MeterKind) below(3);
		events[i].label = below(4) - 1;
		events[i].source = below(3) ? 0 : below(nsources);
		if (i > 0 && below(4) == 0)
			events[i].minute = events[i - 1].minute;
	}
	for (i = 0; i < nsaids; i++)
	{
		saids[i].minute = below(MINUTES);
		saids[i].source = below(nsources);
		saids[i].tolerance = below(2);
		if (nevents > 0 && below(4) == 0)
			saids[i].minute = events[below(nevents)].minute;
		else if (i > 0 && below(4) == 0)
			saids[i].minute = saids[i - 1].minute;
		saids[i].present = below(3) != 0;
		saids[i].since = below(2) ? below(saids[i].minute + 1) : -1;
		saids[i].label = below(4) - 1;
		if (nevents > 0 && below(3) == 0)
		{
			j = events[below(nevents)].minute;
			if (j <= saids[i].minute)
				saids[i].since = j;
		}
		saids[i].logged = false;
		for (j = 0; j < i; j++)
		{
			if (saids[j].minute == saids[i].minute &&
				saids[j].source == saids[i].source)
			{
				nsaids = i;		/* one snapshot at an instant */
				break;
			}
		}
	}

	full = timeline_of(events, nevents, saids, nsaids, ALL_LOGGED, 0,
					   MINUTES, NULL, NULL);
	same(full, timeline_of(events, nevents, saids, nsaids, ALL_LOGGED, 0,
						   MINUTES, NULL, NULL), 0,
		 "the order in which they arrive makes no difference");

	/* events and snapshots become known bit by bit */
	for (known = 0; known <= nevents;)
	{
		saids_known += below(nsaids + 1 - saids_known);
		if (known == nevents)
			saids_known = nsaids;
		do
		{
			found = false;
			(void) timeline_of(events, known, saids, saids_known,
							   LOGGED_AND_CANDIDATES, 0, MINUTES, NULL,
							   &found);
		} while (found && below(2));
		if (known == nevents)
			break;
		known += 1 + below(nevents - known);
	}
	logged = timeline_of(events, nevents, saids, nsaids, ONLY_LOGGED, 0,
						 MINUTES, NULL, NULL);
	same(full, logged, 0, "what was found to make a difference is enough");
	found = false;
	(void) timeline_of(events, nevents, saids, nsaids, LOGGED_AND_CANDIDATES,
					   0, MINUTES, NULL, &found);
	check(!found, "once that is logged, nothing more is found");

	/* carried over */
	before = timeline_of(events, nevents, saids, nsaids, ONLY_LOGGED, 0, cut,
						 NULL, NULL);
	same(logged, timeline_of(events, nevents, saids, nsaids, ONLY_LOGGED, cut,
							 MINUTES, &before->state, NULL), cut,
		 "what follows a carried state is as from the beginning");
}

int
main(int argc, char **argv)
{
	uint64		seed = unit_seed(argc, argv);
	long		count = argc > 2 ? atol(argv[2]) : HISTORIES;

	for (history = 0; history < count; history++)
	{
		random_from(seed + (uint64) history * UINT64_C(1000003));
		one_history();
	}
	printf("%ld histories\n", count);
	return 0;
}
