/*
 * runs.c
 *	  Promises: what a timeline bills of runs (ends, signs of life, rounding and
 *	  minimum of each run, how many began) is what a reference finds that
 *	  simulates half minutes one by one; from the state carried at any instant,
 *	  and from one instant to the next, what follows is as from the beginning;
 *	  where that is not known, it says so.
 *
 * All sets of what may happen at a few instants, with each rule; then random
 * longer ones.  A first argument sets the seed, a second one says how many of
 * these, a third one at how many instants all sets are (5: 2,239,488 of them).
 */
#include "standalone/unit.h"
#include "core/grid.h"
#include "core/observation.h"
#include "core/pieces.h"
#include "core/runs.h"

#define LONGEST	8				/* instants, each in a minute of its own */
#define TICK	(30 * METER_SECOND)
#define TICKS	(2 * LONGEST + 2)
#define BEFORE	8				/* ticks: what a period before the first has */
#define RANDOM_SETS	40000

/* --- memory: one place, forgotten after each set --------------------------- */

static char arena[1 << 24];
static size_t used;
size_t		memory_in_use;
size_t		memory_peak;

void *
palloc(size_t size)
{
	size_t	   *place = (size_t *) (arena + used);

	used += 16 + ((size + 15) & ~(size_t) 15);
	check(used <= sizeof(arena), "the arena is large enough");
	*place = size;
	return (char *) place + 16;
}

void *
palloc0(size_t size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, size_t size)
{
	size_t		before = *(size_t *) ((char *) pointer - 16);
	void	   *to = palloc(size);

	return memcpy(to, pointer, Min(before, size));
}

void
pfree(void *pointer)
{
	*(size_t *) ((char *) pointer - 16) = 0;
}

/* --- what may happen at an instant ----------------------------------------- */

typedef struct Happening
{
	MeterKind	kind;
	int			sequence;		/* 0: none */
	int			label;			/* 0: names none; so the value */
	int			value;
} Happening;

/* What snapshots say at an instant, after its events. */
typedef enum Said
{
	NOTHING,
	ABSENT,
	PRESENT,
	SINCE_BEFORE				/* present, and has been for so long */
} Said;

typedef struct Combination
{
	const char *name;
	int			count;
	Happening	events[3];
	Said		said;
	int			ticks;			/* SINCE_BEFORE; PRESENT: the label, or 0 */
} Combination;

static const Combination combinations[] = {
	{"nothing", 0, {{0}}, NOTHING, 0},
	{"start a", 1, {{METER_START, 0, 1, 1}}, NOTHING, 0},
	{"stop", 1, {{METER_STOP, 0, 2, 0}}, NOTHING, 0},
	{"change b", 1, {{METER_CHANGE, 0, 2, 0}}, NOTHING, 0},
	{"end", 1, {{METER_FINISH, 0, 0, 0}}, NOTHING, 0},
	{"start and stop", 2, {{METER_START, 0, 0, 2}, {METER_STOP, 0, 0, 0}}, NOTHING, 0},
	{"absent", 0, {{0}}, ABSENT, 0},
	{"present since 3", 0, {{0}}, SINCE_BEFORE, 3},
	{"start and end", 2, {{METER_START, 0, 2, 0}, {METER_FINISH, 0, 0, 0}}, NOTHING, 0},
	{"start, then stop", 2, {{METER_START, 1, 1, 0}, {METER_STOP, 2, 0, 0}}, NOTHING, 0},
	{"present", 0, {{0}}, PRESENT, 0},
	{"stop and change value", 2, {{METER_CHANGE, 0, 0, 2}, {METER_STOP, 0, 0, 0}}, NOTHING, 0},
	/* from here on in random sets only */
	{"stop, then start b", 2, {{METER_STOP, 1, 0, 0}, {METER_START, 2, 2, 2}}, NOTHING, 0},
	{"end, then start", 2, {{METER_FINISH, 1, 0, 0}, {METER_START, 2, 2, 2}}, NOTHING, 0},
	{"present since 1", 0, {{0}}, SINCE_BEFORE, 1},
	{"present since 6", 0, {{0}}, SINCE_BEFORE, 6},
	{"start, stop and end", 3, {{METER_START, 0, 1, 0}, {METER_STOP, 0, 0, 0}, {METER_FINISH, 0, 0, 0}}, NOTHING, 0},
	{"start b", 1, {{METER_START, 0, 2, 2}}, NOTHING, 0},
	{"present, b", 0, {{0}}, PRESENT, 2},
	{"start, stop, start", 3, {{METER_START, 1, 1, 0}, {METER_STOP, 2, 0, 0}, {METER_START, 3, 2, 0}}, NOTHING, 0},
	{"change a, absent", 1, {{METER_CHANGE, 0, 1, 1}}, ABSENT, 0},
};

#define EXHAUSTIVE	12			/* of them in all sets */
#define ALL_OF		4			/* instants of these, if not said */

static const MeterRunRules rules[] = {
	{0, 0, 0, false},
	{3 * TICK, 0, 0, false},
	{0, 5 * TICK, 0, false},
	{0, 5 * TICK, 7 * TICK, false},
	{0, 0, 3 * TICK, false},
	{3 * TICK, 5 * TICK, 4 * TICK, false},
	{TICK, 4 * TICK, 0, false},
	{0, 0, 0, true},
	{3 * TICK, 0, 0, true}
};

static int	ninstants;
static int	chosen[LONGEST];
static const MeterRunRules *rule;

static int64
instant(int number)
{
	return number * METER_MINUTE;
}

static void
show(void)
{
	int			i;

	printf("liveness %d increment %d minimum %d counts %d\n",
		   (int) (rule->liveness / TICK), (int) (rule->increment / TICK),
		   (int) (rule->minimum / TICK), rule->counts);
	for (i = 0; i < ninstants; i++)
		printf("  %d ticks: %s\n", 2 * i, combinations[chosen[i]].name);
}

/* What is billed: by the minute of the amount, label and value. */
typedef struct Billed
{
	int64		amounts[LONGEST + 2][3][3];
} Billed;

/* --- the reference ---------------------------------------------------------- */

/* A run, as the reference knows it. */
typedef struct Run
{
	bool		open;
	int			begin;			/* ticks; so all */
	bool		signs[TICKS];
	bool		alive[TICKS];	/* events or snapshots */
} Run;

typedef struct Reference
{
	bool		ended;
	bool		owned;			/* by the source: an absence counts */
	Run			run;
	int			label;
	int			value;
	int			labels[TICKS];	/* what was in force in each tick so far */
	int			values[TICKS];
	int			absent;			/* tick, or -1 */
	bool		changes[TICKS]; /* while it did not run */
	Billed	   *billed;
} Reference;

/* Bill a run up to a tick, as far as its signs of life reach. */
static int
bill_run(Reference *reference, int end, bool whole)
{
	const Run  *run = &reference->run;
	int			lasts = (int) (rule->liveness / TICK);
	int			length = 0;
	int			last = -1;
	int			tick;

	for (tick = run->begin; tick < end; tick++)
	{
		bool		live = lasts == 0;
		int			sign;

		for (sign = Max(run->begin, tick - lasts + 1); sign <= tick && !live; sign++)
			live = run->signs[sign];
		if (!live)
			continue;
		length++;
		last = tick;
		if (!rule->counts)
			reference->billed->amounts[tick / 2][reference->labels[tick]][reference->values[tick]] += TICK;
	}
	if (whole && length > 0 && (rule->increment > 0 || rule->minimum > 0))
	{
		int64		owed = length * TICK;

		while (rule->increment > 0 && owed % rule->increment != 0)
			owed += TICK;
		owed = Max(owed, rule->minimum);
		reference->billed->amounts[end / 2][reference->labels[last]][reference->values[last]] += owed - length * TICK;
	}
	return length;
}

static void
begin_run(Reference *reference, int tick)
{
	memset(&reference->run, 0, sizeof(Run));
	reference->run.open = true;
	reference->run.begin = tick;
	reference->run.signs[tick] = reference->run.alive[tick] = true;
}

static void
count_run(Reference *reference, int tick, int label, int value)
{
	if (rule->counts)
		reference->billed->amounts[tick / 2][label][value]++;
}

static void
set(Reference *reference, const Happening *event)
{
	if (event->label > 0)
		reference->label = event->label;
	if (event->value > 0)
		reference->value = event->value;
}

/* Let the events of one sequence happen.  Returns how many runs began. */
static int
happen(Reference *reference, int tick, const Happening *events, int count)
{
	bool		start = false;
	bool		stop = false;
	bool		change = false;
	bool		end = false;
	bool		was_open = reference->run.open;
	int			began = 0;
	int			i;

	for (i = 0; i < count; i++)
	{
		if (events[i].kind == METER_START && !reference->ended)
		{
			start = true;
			set(reference, &events[i]);
		}
	}
	for (i = 0; i < count; i++)
	{
		if (events[i].kind == METER_CHANGE)
		{
			change = true;
			set(reference, &events[i]);
		}
		stop |= events[i].kind == METER_STOP;
		end |= events[i].kind == METER_FINISH;
	}
	if (was_open && (stop || end))
	{
		bill_run(reference, tick, true);
		reference->run.open = false;
	}
	if (start && (stop || !was_open))
	{
		began = 1;
		if (!end && stop == was_open)
			begin_run(reference, tick);
	}
	if (reference->run.open && (start || change))
		reference->run.signs[tick] = reference->run.alive[tick] = true;
	if (!reference->run.open && change)
		reference->changes[tick] = true;
	if (!reference->run.open && (stop || end))
	{
		reference->absent = tick;
		memset(reference->changes, 0, sizeof(reference->changes));
		reference->changes[tick] = change;
	}
	reference->ended |= end;
	return began;
}

/* Let a snapshot say that it runs, perhaps since a tick (or -1). */
static void
be_present(Reference *reference, int tick, int since)
{
	Run		   *run = &reference->run;
	int			i;

	if (!run->open)
	{
		bool		changes[TICKS];
		int			begin = since >= 0 && since >= reference->absent ? since : tick;

		memcpy(changes, reference->changes, sizeof(changes));
		begin_run(reference, begin);
		for (i = begin; i <= tick; i++)
		{
			if (changes[i])
				run->signs[i] = run->alive[i] = true;
		}
		reference->ended = false;
		/* the tick at hand has not been noted yet */
		count_run(reference, begin,
				  begin == tick ? reference->label : reference->labels[begin],
				  begin == tick ? reference->value : reference->values[begin]);
	}
	else if (since >= 0 && run->begin < since)
	{
		Run			before = *run;
		int			last = run->begin;

		for (i = run->begin; i < since; i++)
		{
			if (run->alive[i])
				last = i;
		}
		bill_run(reference, last, true);
		begin_run(reference, since);
		for (i = since; i <= tick; i++)
		{
			run->signs[i] |= before.signs[i];
			run->alive[i] |= before.alive[i];
		}
		count_run(reference, since,
				  since == tick ? reference->label : reference->labels[since],
				  since == tick ? reference->value : reference->values[since]);
	}
	run->alive[tick] = reference->owned = true;
}

/* Let a snapshot say that it does not run. */
static void
be_absent(Reference *reference, int tick, bool passed_closed)
{
	Run		   *run = &reference->run;
	int			last = run->begin;
	int			i;

	if (!reference->owned || (run->open && passed_closed))
		return;
	if (run->open)
	{
		for (i = run->begin; i <= tick; i++)
		{
			if (run->alive[i])
				last = i;
		}
		bill_run(reference, last, true);
		run->open = false;
	}
	reference->absent = tick;
	memset(reference->changes, 0, sizeof(reference->changes));
}

/* Find what is billed, up to the end of the last instant's minute. */
static void
simulate(Billed *billed)
{
	Reference	reference;
	int			tick;

	memset(billed, 0, sizeof(*billed));
	memset(&reference, 0, sizeof(reference));
	reference.billed = billed;
	reference.absent = -1;
	for (tick = 0; tick < 2 * ninstants; tick++)
	{
		const Combination *now = &combinations[chosen[tick / 2]];
		int			from = 0;
		int			began = 0;
		bool		passed_open = reference.run.open;
		bool		passed_closed = !reference.run.open;

		while (tick % 2 == 0 && from < now->count)
		{
			int			to = from + 1;
			int			i;

			while (to < now->count &&
				   now->events[to].sequence == now->events[from].sequence)
				to++;
			for (i = from; i < to; i++)
			{
				passed_open |= now->events[i].kind == METER_START && !reference.ended;
				passed_closed |= now->events[i].kind == METER_STOP || now->events[i].kind == METER_FINISH;
			}
			began += happen(&reference, tick, now->events + from, to - from);
			from = to;
		}
		reference.owned |= from > 0;
		for (; began > 0; began--)
			count_run(&reference, tick, reference.label, reference.value);
		if (tick % 2 == 0 && now->said == ABSENT)
			be_absent(&reference, tick, passed_closed);
		else if (tick % 2 == 0 && now->said != NOTHING &&
				 (reference.run.open || !passed_open))
		{
			/* no sign of life, but it applies from then on */
			if (now->said == PRESENT && now->ticks > 0)
				reference.label = now->ticks;
			be_present(&reference, tick, now->said == SINCE_BEFORE &&
					   tick >= now->ticks ? tick - now->ticks : -1);
		}
		reference.labels[tick] = reference.label;
		reference.values[tick] = reference.value;
	}
	if (reference.run.open)
		bill_run(&reference, 2 * ninstants, false);
}

/* --- the core --------------------------------------------------------------- */

static const char *const labels[] = {NULL, "a", "b"};
static const char *const values[] = {NULL, "1", "2"};

static MeterAttr
attr(const char *text)
{
	return text == NULL ? METER_NULL_ATTR : meter_attr(text, 1);
}

static int
number(MeterAttr text, const char *const *texts)
{
	return MeterAttrIsNull(text) ? 0 : text.data[0] == texts[1][0] ? 1 : 2;
}

/* Collect what happens at the instants [from, to). */
static MeterEvents *
collect(int from, int to)
{
	MeterEvents *events = palloc0(sizeof(MeterEvents));
	int			i;
	int			j;

	meter_events_init(events, 1);
	events->rules = rule;
	for (i = from; i < to; i++)
	{
		const Combination *now = &combinations[chosen[i]];
		MeterAttr	attrs[2];

		/* the last one first: the order does not matter */
		for (j = now->count - 1; j >= 0; j--)
		{
			const Happening *event = &now->events[j];

			attrs[0] = attr(labels[event->label]);
			attrs[1] = attr(values[event->value]);
			check(meter_events_add(events, event->kind, instant(i), attrs), "an event fits");
			events->events[events->nevents - 1].source = meter_events_source(events, meter_attr("s", 1));
			if (event->sequence > 0)
				meter_events_sequence(events, event->sequence);
		}
		if (now->said != NOTHING)
		{
			MeterObservation said;

			memset(&said, 0, sizeof(said));
			said.time = instant(i);
			said.present = now->said != ABSENT;
			said.standing = METER_LOGGED;
			said.source = meter_events_source(events, meter_attr("s", 1));
			said.since = now->said == SINCE_BEFORE && 2 * i >= now->ticks ?
				instant(i) - now->ticks * TICK : METER_BEGIN;
			said.alive = METER_BEGIN;
			attrs[0] = attr(labels[now->said == PRESENT ? now->ticks : 0]);
			attrs[1] = METER_NULL_ATTR;
			check(meter_observations_add(events, &said, attrs), "a snapshot fits");
		}
	}
	return events;
}

/*
 * Add what is billed of the instants [from, to) from then on, up to an instant,
 * and return the state at `to`.
 */
static MeterState
bill(int from, int to, const MeterState *carried, int upto, Billed *billed,
	 bool *behind)
{
	MeterEvents *events = collect(from, to);
	MeterPieces *pieces = palloc0(sizeof(MeterPieces));
	MeterGrid	grid;
	MeterCut	cut = {METER_KEYED_BY_LABEL, METER_ROUND_NONE, &grid, instant(from), instant(upto)};
	const MeterTimeline *timeline;

	meter_grid_init(&grid, NULL);
	grid.unit = METER_SECOND;
	grid.period_usec = METER_MINUTE;
	meter_pieces_begin(pieces, events, carried, METER_LOOK_BACK_NONE, &cut);
	check(meter_pieces_advance(pieces, true), "a piece fits");
	timeline = pieces->walk.builder.timeline;
	while (meter_cut_next(&pieces->cutter))
	{
		int			i;

		for (i = 0; i < pieces->cutter.nparts; i++)
		{
			const MeterPart *part = &pieces->cutter.parts[i];

			billed->amounts[pieces->cutter.period_begin / METER_MINUTE]
				[number(meter_timeline_attr(timeline, part->label, 0), labels)]
				[number(meter_timeline_value(timeline, part->label), values)] += part->billed;
		}
	}
	*behind |= events->behind;
	return timeline->state;
}

static void
print(const Billed *billed)
{
	int			i;
	int			j;

	for (i = 0; i < ninstants; i++)
	{
		printf("  minute %d:", i);
		for (j = 0; j < 9; j++)
		{
			if (billed->amounts[i][j / 3][j % 3] != 0)
				printf(" label %d value %d: %lld", j / 3, j % 3,
					   (long long) billed->amounts[i][j / 3][j % 3] / (rule->counts ? 1 : TICK));
		}
		printf("\n");
	}
}

static void
same(const Billed *a, const Billed *b, int from, const char *promise)
{
	int			i;

	for (i = from; i < ninstants; i++)
	{
		if (memcmp(a->amounts[i], b->amounts[i], sizeof(a->amounts[i])) == 0)
			continue;
		print(a);
		printf("as against\n");
		print(b);
		check(false, promise);
	}
}

static long not_known;

/* Does a snapshot at or after an instant say since when, or since before it? */
static bool
says_since(int cut, bool before)
{
	int			i;

	for (i = cut; i < ninstants; i++)
	{
		if (combinations[chosen[i]].said == SINCE_BEFORE &&
			(!before || 2 * i - combinations[chosen[i]].ticks < 2 * cut))
			return true;
	}
	return false;
}

/* Compare what one set comes to. */
static void
one_set(void)
{
	Billed		right;
	Billed		all;
	Billed		steps;
	MeterState	step;
	bool		behind = false;
	bool		any_behind = false;
	int			cut;

	used = 0;
	simulate(&right);
	memset(&all, 0, sizeof(all));
	(void) bill(0, ninstants, NULL, ninstants, &all, &behind);
	same(&right, &all, 0, "what is billed is what the reference finds");
	check(!behind, "from the beginning all is known");

	memset(&steps, 0, sizeof(steps));
	for (cut = 0; cut < ninstants; cut++)
	{
		Billed		rest;
		Billed		before;
		MeterState	state = {0};
		bool		unknown = false;

		if (cut > 0)
		{
			memset(&before, 0, sizeof(before));
			state = bill(0, cut, NULL, cut, &before, &behind);
			memset(&rest, 0, sizeof(rest));
			(void) bill(cut, ninstants, &state, ninstants, &rest, &unknown);
			check(!unknown || says_since(cut, false),
				  "only what says since when leads to what is not known");
			if (unknown)
				not_known++;
			else
				same(&all, &rest, cut, "from a carried state all is as from the beginning");
		}
		any_behind |= says_since(cut, true) ||
			combinations[chosen[cut]].said == ABSENT;
		step = bill(cut, cut + 1, cut > 0 ? &step : NULL, cut + 1, &steps, &unknown);
	}
	if (!any_behind)
		same(&all, &steps, 0, "from step to step all is as from the beginning");
}

int
main(int argc, char **argv)
{
	uint64		seed = unit_seed(argc, argv);
	long		sets = argc > 2 ? atol(argv[2]) : RANDOM_SETS;
	int			all_of = argc > 3 ? atoi(argv[3]) : ALL_OF;
	int			number_of_rule;
	int			i;

	show_case = show;
	check(all_of >= 1 && all_of < LONGEST, "instants of all sets: from 1 to 7");
	ninstants = all_of;
	for (;;)
	{
		for (number_of_rule = 0; number_of_rule < COUNT(rules); number_of_rule++)
		{
			rule = &rules[number_of_rule];
			one_set();
			history++;
		}
		for (i = 0; i < ninstants && ++chosen[i] == EXHAUSTIVE; i++)
			chosen[i] = 0;
		if (i == ninstants)
			break;
	}
	printf("%ld sets\n", history);
	while (sets-- > 0)
	{
		random_from(seed * UINT64_C(1000000007) + (uint64) history);
		ninstants = all_of + 1 + below(LONGEST - all_of);
		for (i = 0; i < ninstants; i++)
			chosen[i] = below(COUNT(combinations));
		rule = &rules[below(COUNT(rules))];
		one_set();
		history++;
	}
	printf("%ld sets, not known %ld times\n", history, not_known);
	return 0;
}
