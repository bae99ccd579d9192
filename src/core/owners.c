/*
 * owners.c
 *	  Who owns a resource: what the names that events and observations say make
 *	  of it, in their order.
 *
 * Every meter reads owners here, of events and of measures.  Of each instant:
 *
 *	meter_owner_instant()
 *	for each sequence:		the greatest of its names to meter_owner_name()
 *	then for observations:	a name with which meter_owner_agrees() does not
 *							agree to meter_owner_name()
 *
 * The first name owns the time before it, too: see to that where usage is.
 */
#include "core/core.h"
#include "core/event_set.h"
#include "core/owners.h"

/* Begin with the owner that is kept somewhere, where it will be changed. */
void
meter_owner_begin(MeterOwner *owner, MeterAttr *now)
{
	memset(owner, 0, sizeof(*owner));
	owner->now = now;
}

/* Return which of two names of one instant and sequence counts, NULL: none. */
MeterAttr
meter_owner_greater(MeterAttr a, MeterAttr b)
{
	return meter_attr_cmp(a, b) < 0 ? b : a;
}

/*
 * Return the name that counts of the events [from, to), all of one instant and
 * one sequence: the greatest.  NULL: there is none.
 */
MeterAttr
meter_tie_name(const MeterEvents *events, int32 from, int32 to)
{
	MeterAttr	greatest = METER_NULL_ATTR;
	int32		i;

	for (i = from; i < to; i++)
	{
		MeterAttr	name;

		if (events->events[i].attrs == 0)
			continue;
		(void) meter_event_attr(events->arena + events->events[i].attrs, &name);
		greatest = meter_owner_greater(greatest, name);
	}
	return greatest;
}

/* Note an owner that the instant passes through. */
static void
pass(MeterOwner *owner)
{
	if (!owner->observed)
		return;
	if (owner->npassed == owner->maxpassed)
	{
		owner->maxpassed = Max(4, owner->maxpassed * 2);
		owner->passed = meter_grow(owner->passed,
								   owner->maxpassed * sizeof(MeterAttr));
	}
	owner->passed[owner->npassed++] = *owner->now;
}

/* Begin an instant; observations of it may follow its events. */
void
meter_owner_instant(MeterOwner *owner, bool observed)
{
	owner->observed = observed;
	owner->npassed = 0;
	pass(owner);
}

/*
 * Take the name that counts of one sequence, or of the observations of the
 * instant.  Returns false if it says nothing: there is none, or nobody is to
 * own what nobody was named to own yet.
 */
bool
meter_owner_name(MeterOwner *owner, MeterAttr name)
{
	if (MeterAttrIsNull(name) ||
		(name.len == 0 && MeterAttrIsNull(*owner->now)))
		return false;
	*owner->now = name;
	pass(owner);
	return true;
}

/*
 * Tell whether what an observation says, or NULL, agrees with any owner that
 * the instant passes through; then it names nobody.
 */
bool
meter_owner_agrees(const MeterOwner *owner, MeterAttr name)
{
	int32		i;

	if (MeterAttrIsNull(name) || meter_attr_equal(*owner->now, name))
		return true;
	for (i = 0; i < owner->npassed; i++)
	{
		if (meter_attr_equal(owner->passed[i], name))
			return true;
	}
	return name.len == 0 && MeterAttrIsNull(*owner->now);
}
