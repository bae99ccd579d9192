/*
 * owners.c
 *	  Promises: who owns a resource is what the rule says, over all small sets of
 *	  names; settling from a carried state, at any cut, gives the owners that
 *	  computing from the beginning does; time before the first name is that
 *	  one's; the order in which names are added does not matter.
 *
 * All sets of up to three names, at two instants, with or without sequences, by
 * events of each kind and by observations for other meters, which may name
 * nobody, too; the resource runs from before to after.  The oracle reads the rule
 * as it is written.
 */
#include "core/event_set.h"
#include "core/owners.h"
#include "core/pairing.h"
#include "standalone/unit.h"

#define NAMES	3
#define FROM	0				/* instants, in minutes */
#define TO		5
#define SILENT	3				/* an observation without a name */

typedef struct Name
{
	int			time;			/* 1 or 3 */
	int			place;			/* 0: no sequence, 1, 2; 3: observed by "a",
								 * 4: by "b" */
	int			text;			/* of texts, or SILENT */
	MeterKind	kind;			/* of an event */
} Name;

static const char *const texts[] = {"ann", "bob", ""};
static Name names[NAMES];
static int	nnames;

/* Return the owner of each minute by the rule, -1: nobody known. */
static void
by_rule(int *owners)
{
	int			owner = -1;
	int			first = -1;
	int			time;
	int			place;
	int			i;

	for (time = FROM; time < TO; time++)
	{
		int			passed[8];
		int			npassed = 0;

		passed[npassed++] = owner;
		for (place = 0; place <= 2; place++)
		{
			int			greatest = -1;

			for (i = 0; i < nnames; i++)
			{
				if (names[i].time == time && names[i].place == place &&
					(greatest < 0 || strcmp(texts[names[i].text], texts[greatest]) > 0))
					greatest = names[i].text;
			}
			/* before the first name '' says nothing */
			if (greatest < 0 || (greatest == 2 && owner < 0))
				continue;
			owner = greatest;
			passed[npassed++] = owner;
			if (first < 0)
				first = owner;
		}
		/* the greatest source's counts, where no owner passed agrees */
		for (place = 4; place >= 3; place--)
		{
			int			greatest = -1;
			bool		agrees = false;

			for (i = 0; i < nnames; i++)
			{
				if (names[i].time == time && names[i].place == place &&
					names[i].text != SILENT &&
					(greatest < 0 || strcmp(texts[names[i].text], texts[greatest]) > 0))
					greatest = names[i].text;
			}
			if (greatest < 0)
				continue;
			for (i = 0; i < npassed; i++)
				agrees |= passed[i] == greatest;
			if (!agrees && !(greatest == 2 && owner < 0))
			{
				owner = greatest;
				if (first < 0)
					first = owner;
			}
			break;
		}
		owners[time] = owner;
	}
	for (time = FROM; time < TO && owners[time] < 0; time++)
		owners[time] = first;
}

/* Collect the names in [from, to), the last one first if asked for. */
static void
collect(MeterEvents *events, int from, int to, bool backwards)
{
	int			i;

	meter_events_init(events, 1);
	for (i = 0; i < nnames; i++)
	{
		const Name *name = &names[backwards ? nnames - 1 - i : i];
		MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};

		if (name->time < from || name->time >= to)
			continue;
		if (name->text != SILENT)
			attrs[0] = meter_attr(texts[name->text], (int32) strlen(texts[name->text]));
		check(meter_events_add(events, name->place > 2 ? METER_OBSERVED : name->kind,
							   name->time * METER_MINUTE, attrs), "a name fits");
		if (name->place == 1 || name->place == 2)
			meter_events_sequence(events, name->place);
		if (name->place > 2)
			events->events[events->nevents - 1].source =
				meter_events_source(events, meter_attr(name->place == 3 ? "a" : "b", 1));
	}
}

/* Note the owner of each minute that a timeline has. */
static void
note(const MeterTimeline *timeline, int from, int to, int *owners)
{
	int			time;
	int			i;
	int			j;

	for (time = from; time < to; time++)
	{
		owners[time] = -2;
		for (i = 0; i < timeline->nspans; i++)
		{
			MeterAttr	name = meter_timeline_attr(timeline, timeline->spans[i].label, 0);

			if (timeline->spans[i].begin > time * METER_MINUTE ||
				timeline->spans[i].end <= time * METER_MINUTE)
				continue;
			owners[time] = -1;
			for (j = 0; j < 3 && !MeterAttrIsNull(name); j++)
			{
				if (meter_attr_equal(name, meter_attr(texts[j], (int32) strlen(texts[j]))))
					owners[time] = j;
			}
		}
	}
}

/* Show the set at hand. */
static void
show(void)
{
	int			i;

	for (i = 0; i < nnames; i++)
		printf("  minute %d, place %d, kind %d: \"%s\"\n", names[i].time,
			   names[i].place, names[i].kind,
			   names[i].text == SILENT ? "(none)" : texts[names[i].text]);
}

/* Check the set at hand, in all orders and at all cuts. */
static void
check_set(void)
{
	MeterState	running = {0};
	MeterAttr	attrs[2] = {METER_NULL_ATTR, METER_NULL_ATTR};
	int			right[TO];
	int			got[TO];
	int			cut;

	running.open = true;
	running.since = running.alive = running.absent = running.started = METER_BEGIN;
	running.source = running.holder = METER_NULL_ATTR;
	running.attrs = attrs;
	by_rule(right);
	for (cut = FROM; cut <= TO; cut++)
	{
		MeterEvents before;
		MeterEvents after;
		MeterTimeline *timeline;
		MeterState	carried;
		int			time;

		collect(&before, FROM, cut, cut % 2);
		timeline = meter_pair(&before, &running, METER_LOOK_BACK_FIRST);
		note(timeline, FROM, cut, got);
		carried = timeline->state;
		collect(&after, cut, TO, cut % 2);
		timeline = meter_pair(&after, &carried, METER_LOOK_BACK_FIRST);
		note(timeline, cut, TO, got);
		/* whoever settles computes anew what a first name looks back to */
		for (time = FROM; time < cut; time++)
		{
			if (got[time] == -1)
				got[time] = right[time];
			check(got[time] == right[time], "the owner before a cut is right");
		}
		for (time = cut; time < TO; time++)
			check(got[time] == right[time], "the owner after a cut is right");
		check(cut != TO || MeterAttrIsNull(carried.attrs[0]) == (right[TO - 1] < 0),
			  "the state knows whether anybody was named");
	}
}

/* Choose the names from one on in all ways. */
static void
choose(int at)
{
	static const MeterKind kinds[] = {METER_CHANGE, METER_NAMES, METER_START};
	Name	   *name = &names[at];
	int			which;

	nnames = at;
	check_set();
	for (which = 0; at < NAMES && which < 2 * 5 * 3; which++)
	{
		name->time = which % 2 ? 3 : 1;
		name->place = which / 2 % 5;
		name->text = which / 10;
		name->kind = kinds[(at + which) % 3];
		choose(at + 1);
	}
	for (which = 0; at < NAMES && which < 2 * 2; which++)
	{
		name->time = which % 2 ? 3 : 1;
		name->place = 3 + which / 2;
		name->text = SILENT;
		choose(at + 1);
	}
}

int
main(void)
{
	show_case = show;
	choose(0);
	printf("all sets of up to %d names\n", NAMES);
	return 0;
}
