/*
 * owners.h
 *	  Who owns a resource: what the names that events and observations say make
 *	  of it, in their order.
 */
#ifndef METER_OWNERS_H
#define METER_OWNERS_H

#include "core/core.h"
#include "core/event_set.h"

/*
 * Who owns a resource, instant by instant.  NULL: nothing has named an account
 * yet; '': it was released, nobody does.
 */
typedef struct MeterOwner
{
	MeterAttr  *now;			/* where the owner is kept */
	bool		observed;		/* observations of the instant at hand follow */
	int32		npassed;		/* the owners that it passes through, if so */
	int32		maxpassed;
	MeterAttr  *passed;
} MeterOwner;

extern void meter_owner_begin(MeterOwner *owner, MeterAttr *now);
extern MeterAttr meter_owner_greater(MeterAttr a, MeterAttr b);
extern MeterAttr meter_tie_name(const MeterEvents *events, int32 from,
								int32 to);
extern void meter_owner_instant(MeterOwner *owner, bool observed);
extern bool meter_owner_name(MeterOwner *owner, MeterAttr name);
extern bool meter_owner_agrees(const MeterOwner *owner, MeterAttr name);

#endif							/* METER_OWNERS_H */
