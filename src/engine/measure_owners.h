/*
 * measure_owners.h
 *	  Who owns a resource, for its measures: of a meter without an entity each
 *	  kind of thing that the resource's name stands for has owners of its own.
 *
 * The calls of a resource, in this order: begin; what is carried; the names, by
 * instant; then what is asked.
 *
 * What is known at an instant is the owner to measures without an entity, and
 * where kinds of things have others, a jsonb object: of each entity its owner,
 * of "" that of all others.  An owner of null is not named yet.  An entity whose
 * owner is null is there because usage of it was billed to nobody.
 */
#ifndef METER_MEASURE_OWNERS_H
#define METER_MEASURE_OWNERS_H

#include "datatype/timestamp.h"

#include "core/core.h"

typedef struct MeterOwners MeterOwners;
typedef struct MeterOwnerChain MeterOwnerChain;

/* A name that an event says, or an observation. */
typedef struct MeterName
{
	TimestampTz time;
	bool		sequenced;
	int64		sequence;
	bool		observed;		/* by an observation, of this source */
	MeterAttr	source;
	MeterAttr	entity;			/* NULL: the name is of all */
	MeterAttr	name;
} MeterName;

extern MeterOwners *meter_owners_begin(MemoryContext context, bool by_entity);
extern void meter_owners_carry(MeterOwners *owners, MeterAttr account,
							   Datum known);
extern void meter_owners_take(MeterOwners *owners, const MeterName *name);
extern void meter_owners_end(MeterOwners *owners);

/* After the names. */
extern MeterOwnerChain *meter_owners_of(MeterOwners *owners, MeterAttr entity);
extern MeterAttr meter_owners_at(MeterOwnerChain *chain, TimestampTz at,
								 TimestampTz *until);
extern bool meter_owners_unknown(const MeterOwnerChain *chain);
extern void meter_owners_bill_nobody(MeterOwners *owners, MeterAttr entity,
									 TimestampTz since);

/* What is known at the end. */
extern MeterAttr meter_owners_account(const MeterOwners *owners);
extern Datum meter_owners_known(const MeterOwners *owners);
extern bool meter_owners_unnamed(const MeterOwners *owners,
								 TimestampTz *since);
extern void meter_owners_still_unnamed(MeterOwners *owners, MeterAttr account,
									   Datum known);
extern bool meter_owners_has_named(const MeterOwners *owners);

#endif							/* METER_MEASURE_OWNERS_H */
