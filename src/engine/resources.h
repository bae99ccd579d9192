/*
 * resources.h
 *	  Lists of resources, each with the time that is asked for of it.
 */
#ifndef METER_RESOURCES_H
#define METER_RESOURCES_H

#include "datatype/timestamp.h"

#include "core/core.h"

/* The instants of a resource; DT_NOBEGIN and DT_NOEND set no limit. */
typedef struct MeterResource
{
	MeterAttr	name;
	TimestampTz from;
	TimestampTz to;
	TimestampTz named_from;		/* DT_NOEND: its owners are not affected */
	TimestampTz named_all_from; /* the same of names without an entity, and of
								 * those that were taken back */
	TimestampTz known_from;		/* what is known of it is affected from then
								 * on; DT_NOEND: it is not */
	TimestampTz begin;			/* walked from then on, with the state of
								 * then; DT_NOBEGIN: all of it */
	uint64		hash;			/* where `begin` was looked for */
	bool		kept;			/* that is a kept state, not the carried one */
} MeterResource;

typedef struct MeterResources
{
	MemoryContext context;
	int64		count;
	int64		size;
	MeterResource *list;
} MeterResources;

extern MeterResources *meter_resources_begin(void);
extern MeterResource *meter_resources_add(MeterResources *resources,
										  MeterAttr name);
extern MeterResources *meter_resources_from_query(const char *sql);
extern MeterResource *meter_resources_search(const MeterResources *resources,
											 MeterAttr name);
extern MeterResource *meter_resources_find(const MeterResources *resources,
										   MeterAttr name);
extern Datum meter_resources_names(const MeterResources *resources);
extern Datum meter_resources_begins(const MeterResources *resources);
extern void meter_resources_arrays(const MeterResources *resources,
								   Datum *names, Datum *from, Datum *to);

#endif							/* METER_RESOURCES_H */
