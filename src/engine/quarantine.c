/*
 * quarantine.c
 *	  The resources of a meter that are set aside.
 *
 * What one resource has can be more than its walk bears: too many sources, too
 * much memory, a number out of range.  The resource is then set aside for that
 * meter, in the table quarantine of the stream, and all others are settled.
 * Its state stays where it was, its usage from `since` on is not settled, and
 * every pass leaves it out until meter.release_resource() computes it anew.
 *
 * A pass reads the list before it walks, adds to it what fails, and writes
 * what it added when it has written all else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "engine/quarantine.h"
#include "pg/attr.h"
#include "pg/spi.h"

/* Messages are kept up to so many bytes. */
#define MESSAGE_BYTES	1000

#define SH_PREFIX aside
#define SH_ELEMENT_TYPE MeterSetAside
#define SH_KEY_TYPE MeterAttr
#define SH_KEY resource
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key).data, (key).len)
#define SH_EQUAL(table, a, b) meter_attr_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MeterQuarantine
{
	const MeterDefinition *definition;
	MemoryContext context;
	aside_hash *list;			/* NULL: it is empty */
	int64		added;			/* by this pass */
	bool		moved;			/* of one before, `since` was */
	MeterSetAside first;		/* the first that was added */
};

/* Begin with an empty list, in the current memory context. */
MeterQuarantine *
meter_quarantine_begin(const MeterDefinition *definition)
{
	MeterQuarantine *quarantine = palloc0(sizeof(MeterQuarantine));

	quarantine->definition = definition;
	quarantine->context = CurrentMemoryContext;
	return quarantine;
}

/* Add a resource to the list; NULL if it is there. */
static MeterSetAside *
insert(MeterQuarantine *quarantine, MeterAttr resource)
{
	MeterSetAside *aside;
	char	   *name = MemoryContextAlloc(quarantine->context,
										  Max(resource.len, 1));
	bool		found;

	memcpy(name, resource.data, resource.len);
	if (quarantine->list == NULL)
		quarantine->list = aside_create(quarantine->context, 16, NULL);
	aside = aside_insert(quarantine->list, meter_attr(name, resource.len),
						 &found);
	if (found)
		return NULL;
	aside->is_new = aside->moved = false;
	return aside;
}

/* Take a row of the table. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	MeterSetAside *aside = insert(arg, meter_attr_from_text(slot->tts_values[0]));

	if (aside != NULL)
		aside->since = DatumGetTimestampTz(slot->tts_values[1]);
}

/* Read what is set aside.  Within a session of the stream's owner. */
void
meter_quarantine_read(MeterQuarantine *quarantine)
{
	const MeterDefinition *definition = quarantine->definition;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(definition->name)};

	meter_scan(psprintf("SELECT resource, since FROM %s.quarantine WHERE meter = $1",
						quote_identifier(definition->stream)),
			   lengthof(types), types, values, NULL, take_row, quarantine);
}

/* Return the entry of a resource, or NULL if it is not set aside. */
MeterSetAside *
meter_quarantine_find(MeterQuarantine *quarantine, MeterAttr resource)
{
	return quarantine->list == NULL ? NULL :
		aside_lookup(quarantine->list, resource);
}

/* Note that a resource that was set aside is not settled from an instant on. */
void
meter_quarantine_extend(MeterQuarantine *quarantine, MeterSetAside *aside,
						TimestampTz since)
{
	if (since >= aside->since)
		return;
	aside->since = since;
	aside->moved = true;
	quarantine->moved |= !aside->is_new;
}

/* Set a resource aside, for an error that its walk has raised. */
void
meter_quarantine_add(MeterQuarantine *quarantine, MeterAttr resource,
					 TimestampTz since, const ErrorData *error)
{
	MeterSetAside *aside = insert(quarantine, resource);

	if (aside == NULL)
		return;
	aside->since = since;
	aside->is_new = true;
	aside->sqlstate = error->sqlerrcode;
	aside->message = MemoryContextStrdup(quarantine->context,
										 meter_cut_text(error->message,
														MESSAGE_BYTES));
	if (quarantine->added++ == 0)
		quarantine->first = *aside;
}

/* Tell whether a resource was added. */
bool
meter_quarantine_was_added(const MeterQuarantine *quarantine)
{
	return quarantine->added > 0;
}

/* Tell each resource that was added. */
void
meter_quarantine_each_new(MeterQuarantine *quarantine,
						  void (*tell) (void *arg, const MeterSetAside *aside),
						  void *arg)
{
	aside_iterator iterator;
	MeterSetAside *aside;

	if (quarantine->list == NULL)
		return;
	aside_start_iterate(quarantine->list, &iterator);
	while ((aside = aside_iterate(quarantine->list, &iterator)) != NULL)
	{
		if (aside->is_new)
			tell(arg, aside);
	}
}

/* Return an array of texts or instants. */
static Datum
array_of(Datum *values, int count, Oid type)
{
	return type == TEXTOID ?
		PointerGetDatum(construct_array(values, count, TEXTOID, -1, false,
										TYPALIGN_INT)) :
		PointerGetDatum(construct_array(values, count, TIMESTAMPTZOID, 8,
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Write what the pass has added, or has noted of those that were there.  What
 * was kept of the resources is forgotten: they are computed anew as a whole.
 */
void
meter_quarantine_write(MeterQuarantine *quarantine)
{
	const MeterDefinition *definition = quarantine->definition;
	const char *schema = quote_identifier(definition->stream);
	Oid			types[] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTOID};
	Datum		values[lengthof(types)];
	Datum	   *columns[4];
	aside_iterator iterator;
	MeterSetAside *aside;
	int			count = 0;
	int			i;

	if (quarantine->added == 0 && !quarantine->moved)
		return;
	for (i = 0; i < (int) lengthof(columns); i++)
		columns[i] = palloc(quarantine->list->members * sizeof(Datum));
	aside_start_iterate(quarantine->list, &iterator);
	while ((aside = aside_iterate(quarantine->list, &iterator)) != NULL)
	{
		if (!aside->is_new && !aside->moved)
			continue;
		columns[0][count] = meter_text_from_attr(aside->resource);
		columns[1][count] = TimestampTzGetDatum(aside->since);
		columns[2][count] = CStringGetTextDatum(aside->is_new ?
												unpack_sql_state(aside->sqlstate) : "");
		columns[3][count++] = CStringGetTextDatum(aside->is_new ?
												  aside->message : "");
	}
	values[0] = CStringGetTextDatum(definition->name);
	values[1] = array_of(columns[0], count, TEXTOID);
	values[2] = array_of(columns[1], count, TIMESTAMPTZOID);
	values[3] = array_of(columns[2], count, TEXTOID);
	values[4] = array_of(columns[3], count, TEXTOID);
	values[5] = CStringGetTextDatum(definition->stream);
	meter_execute_params(psprintf("INSERT INTO %s.quarantine AS q (meter, resource, since, sqlstate, message) "
								  "SELECT $1, n.resource, n.since, n.sqlstate, n.message "
								  "FROM unnest($2, $3, $4, $5) n (resource, since, sqlstate, message) ORDER BY 2 "
								  "ON CONFLICT (meter, resource) DO UPDATE SET since = least(q.since, excluded.since)",
								  schema),
						 SPI_OK_INSERT, 5, types, values, NULL);
	if (quarantine->added > 0)
		meter_execute_params(psprintf("DELETE FROM %s._kept_state k USING unnest($2) n (resource) WHERE k.meter = $1 "
									  "AND k.hash = meter_internal.resource_hash($6, $1, n.resource) "
									  "AND k.resource = n.resource COLLATE \"C\"", schema),
							 SPI_OK_DELETE, lengthof(types), types, values,
							 NULL);
	meter_quarantine_warn(quarantine, false);
}

/*
 * Say which resources the pass could not compute: the first, and how many; or
 * only that there are such, to who may not know those of others.
 */
void
meter_quarantine_warn(const MeterQuarantine *quarantine, bool anonymous)
{
	const MeterDefinition *definition = quarantine->definition;
	const MeterSetAside *first = &quarantine->first;

	if (quarantine->added == 0)
		return;
	if (anonymous)
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("meter \"%s\" of stream \"%s\" leaves out resources that cannot be computed",
						definition->name, definition->stream)));
		return;
	}
	ereport(WARNING,
			(errcode(first->sqlstate),
			 errmsg("meter \"%s\" of stream \"%s\" leaves out resource \"%.*s\": %s",
					definition->name, definition->stream,
					pg_mbcliplen(first->resource.data, first->resource.len, 200),
					first->resource.data, first->message),
			 quarantine->added == 1 ? 0 :
			 errdetail_plural("So it does " INT64_FORMAT " more resource.",
							  "So it does " INT64_FORMAT " more resources.",
							  (unsigned long) (quarantine->added - 1),
							  quarantine->added - 1),
			 errhint("View %s.anomaly lists the resources that are set aside; meter.release_resource() computes one anew.",
					 quote_identifier(definition->stream))));
}

/*
 * Return the least instant from which on a resource of a meter is not settled,
 * since it is set aside, and which one it is; DT_NOEND: none is.  Within a
 * session.
 */
TimestampTz
meter_quarantine_least(const MeterDefinition *definition, char **resource)
{
	TimestampTz least;

	meter_execute(psprintf("SELECT resource, since FROM %s.quarantine WHERE meter = %s "
						   "ORDER BY since, resource LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name)),
				  SPI_OK_SELECT);
	if (SPI_processed == 0)
		return DT_NOEND;
	*resource = meter_result_text(0, 1);
	(void) meter_result_instant(2, &least);
	return least;
}
