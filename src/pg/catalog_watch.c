/*
 * catalog_watch.c
 *	  Whether tables, or what is on them, may have changed.
 *
 * PostgreSQL tells each process of every change of a relation, its columns,
 * triggers and indexes, and of schemas, once the change is committed.  As long
 * as nothing was told, what a look at the catalog has found still holds.
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/syscache.h"

#include "pg/catalog_watch.h"

static uint64 changes = 0;

/* Count a change of a relation. */
static void
count_relation(Datum arg pg_attribute_unused(),
			   Oid relation pg_attribute_unused())
{
	changes++;
}

/* Count a change of a schema. */
static void
count_schema(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
			 uint32 hash pg_attribute_unused())
{
	changes++;
}

/* Return a number that is another one after each change that is visible by now. */
uint64
meter_catalog_changes(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(count_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, count_schema, (Datum) 0);
		registered = true;
	}
	AcceptInvalidationMessages();
	return changes;
}
