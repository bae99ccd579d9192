/*
 * resources.c
 *	  Lists of resources, each with the time that is asked for of it.
 *
 * A list lies in memory: it has at most as many resources as a step takes
 * rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/event_set.h"
#include "engine/resources.h"
#include "pg/attr.h"
#include "pg/spi.h"

/* Begin a list in the current memory context. */
MeterResources *
meter_resources_begin(void)
{
	MeterResources *resources = palloc0(sizeof(MeterResources));

	resources->context = CurrentMemoryContext;
	return resources;
}

/* Add a resource, whose name is copied; without limits of time. */
MeterResource *
meter_resources_add(MeterResources *resources, MeterAttr name)
{
	MeterResource *resource;
	char	   *copy;

	if (resources->count == resources->size)
	{
		Size		bytes;

		resources->size = Max(64, resources->size * 2);
		bytes = resources->size * sizeof(MeterResource);
		resources->list = resources->list == NULL ?
			MemoryContextAllocHuge(resources->context, bytes) :
			repalloc_huge(resources->list, bytes);
	}
	copy = MemoryContextAlloc(resources->context, Max(name.len, 1));
	memcpy(copy, name.data, name.len);
	resource = &resources->list[resources->count++];
	resource->name = meter_attr(copy, name.len);
	resource->from = DT_NOBEGIN;
	resource->to = DT_NOEND;
	resource->named_from = DT_NOEND;
	resource->named_all_from = DT_NOEND;
	resource->known_from = DT_NOEND;
	resource->begin = DT_NOBEGIN;
	resource->kept = false;
	return resource;
}

/*
 * Return a resource of a list that is in the order of names, or NULL.
 */
MeterResource *
meter_resources_search(const MeterResources *resources, MeterAttr name)
{
	int64		low = 0;
	int64		high = resources->count;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;
		int			cmp = meter_attr_cmp(resources->list[middle].name, name);

		if (cmp == 0)
			return &resources->list[middle];
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The same of a resource that must be there. */
MeterResource *
meter_resources_find(const MeterResources *resources, MeterAttr name)
{
	MeterResource *resource = meter_resources_search(resources, name);

	if (resource == NULL)
		elog(ERROR, "resource \"%.*s\" is not in the list", name.len, name.data);
	return resource;
}

/* Return an instant of a row of the last result, or what stands for NULL. */
static TimestampTz
instant(uint64 row, int column, TimestampTz none)
{
	bool		isnull;
	Datum		value;

	if (column > SPI_tuptable->tupdesc->natts)
		return none;
	value = meter_result(row, column, &isnull);
	return isnull ? none : DatumGetTimestampTz(value);
}

/*
 * Return the list that a query gives, in the order of names: resource and from;
 * then, if it has them, to, named_from, known_from and named_all_from.
 */
MeterResources *
meter_resources_from_query(const char *sql)
{
	MeterResources *resources = meter_resources_begin();
	uint64		row;

	meter_execute(sql, SPI_OK_SELECT);
	for (row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		MeterAttr	name = meter_attr_from_text(meter_result(row, 1, &isnull));
		MeterResource *resource;

		CHECK_FOR_INTERRUPTS();
		resource = meter_resources_add(resources, name);
		resource->from = instant(row, 2, DT_NOBEGIN);
		resource->to = instant(row, 3, DT_NOEND);
		resource->named_from = instant(row, 4, DT_NOEND);
		resource->known_from = instant(row, 5, DT_NOEND);
		resource->named_all_from = instant(row, 6, DT_NOEND);
	}
	SPI_freetuptable(SPI_tuptable);
	return resources;
}

/* Make an array of as many elements as a list has. */
static Datum
make_array(Datum *elements, int64 count, Oid type)
{
	bool		instants = type == TIMESTAMPTZOID;

	return PointerGetDatum(construct_array(elements, (int) count, type,
										   instants ? 8 : -1,
										   instants ? FLOAT8PASSBYVAL : false,
										   instants ? TYPALIGN_DOUBLE :
										   TYPALIGN_INT));
}

/* Return the names of a list as text[]. */
Datum
meter_resources_names(const MeterResources *resources)
{
	Datum	   *names = palloc(Max(resources->count, 1) * sizeof(Datum));
	int64		i;

	for (i = 0; i < resources->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		names[i] = meter_text_from_attr(resources->list[i].name);
	}
	return make_array(names, resources->count, TEXTOID);
}

/* Return where resources of a list begin, as timestamptz[]. */
Datum
meter_resources_begins(const MeterResources *resources)
{
	Datum	   *begins = palloc(Max(resources->count, 1) * sizeof(Datum));
	int64		i;

	for (i = 0; i < resources->count; i++)
		begins[i] = TimestampTzGetDatum(resources->list[i].begin);
	return make_array(begins, resources->count, TIMESTAMPTZOID);
}

/* Return a list as arrays: text[] and two timestamptz[]. */
void
meter_resources_arrays(const MeterResources *resources, Datum *names,
					   Datum *from, Datum *to)
{
	Datum	   *begins = palloc(Max(resources->count, 1) * sizeof(Datum));
	Datum	   *ends = palloc(Max(resources->count, 1) * sizeof(Datum));
	int64		i;

	for (i = 0; i < resources->count; i++)
	{
		begins[i] = TimestampTzGetDatum(resources->list[i].from);
		ends[i] = TimestampTzGetDatum(resources->list[i].to);
	}
	*names = meter_resources_names(resources);
	*from = make_array(begins, resources->count, TIMESTAMPTZOID);
	*to = make_array(ends, resources->count, TIMESTAMPTZOID);
}
