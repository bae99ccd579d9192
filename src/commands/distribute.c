/*
 * distribute.c
 *	  meter.distribute_stream(): a stream's tables over the nodes of a cluster.
 *
 * Logs, ledger and states are distributed by resource, each with its shards
 * beside those of the others: what is known of a resource is on one node.  Small
 * tables that every node reads are on all of them.  The catalog, totals,
 * settlements and consumers stay on the coordinator.
 *
 * A distributed table has no triggers, so guards become privileges; and each of
 * its keys has the column that it is distributed by.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "commands/distribute.h"
#include "engine/scatter.h"
#include "engine/state_counts.h"
#include "engine/views.h"
#include "log/month.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/spi.h"

/* As many shards as Citus makes. */
#define MOST_SHARDS	64000

/*
 * What changes in the tables of a stream: rows that no resource is in get one
 * that is in their shard, and keys the column.
 */
static const char *const changes[] = {
	"ALTER TABLE %1$s.held ADD COLUMN resource text COLLATE \"C\", DROP CONSTRAINT held_pkey",
	"UPDATE %1$s.held h SET resource = e.resource FROM %1$s.event e WHERE h.log = 'event' AND e.arrival = h.arrival",
	"UPDATE %1$s.held h SET resource = e.resource FROM %1$s.measure e WHERE h.log = 'measure' AND e.arrival = h.arrival",
	"DELETE FROM %1$s.held WHERE resource IS NULL",
	"ALTER TABLE %1$s.held ADD PRIMARY KEY (meter, log, arrival, resource)",
	"ALTER TABLE %1$s.usage DROP CONSTRAINT usage_pkey, ADD PRIMARY KEY (transaction_id, resource)",
	/* what it had is made anew, on each shard */
	"DELETE FROM %1$s._duplicate_key",
	"ALTER TABLE %1$s._duplicate_key ADD COLUMN resource text COLLATE \"C\" NOT NULL",
	"ALTER TABLE %1$s._account_resource ADD COLUMN resource text COLLATE \"C\"",
	"CREATE TABLE %1$s._shard (meter text COLLATE \"C\" NOT NULL, resource text COLLATE \"C\" NOT NULL, "
	"tables text[] COLLATE \"C\" NOT NULL, step bigint NOT NULL DEFAULT 0, writer xid8, running bigint, states bigint, PRIMARY KEY (meter, resource))",
	"COMMENT ON TABLE %1$s._shard IS 'the shards of each meter, by a resource that would be in them: what their tables are called, how often they were written and by which transaction of the coordinator, and how many carried states they have, null before anything was computed on them; meter '''' is none, by which shards are asked; kept by the engine'"
};

/* What the guards refused. */
static const char *const privileges[] = {
	"REVOKE TRUNCATE ON %1$s.event, %1$s.measure FROM %2$s",
	"REVOKE UPDATE, DELETE, TRUNCATE ON %1$s.usage FROM %2$s",
	"REVOKE TRUNCATE ON %1$s._resource_state, %1$s._account_resource, %1$s._kept_state, %1$s._retention_state, "
	"%1$s._retention_reading, %1$s.held, %1$s.quarantine, %1$s._voided, %1$s._duplicate_key, %1$s._counter_state, %1$s._shard FROM %2$s",
	"REVOKE TRUNCATE ON %1$s._retention, %1$s._expired, %1$s._detached, %1$s._calendar, %1$s.snapshot FROM %2$s"
};

/* Run a statement of a list, whatever it is. */
static void
run(const char *sql)
{
	int			code = SPI_execute(sql, false, 0);

	if (code < 0)
		elog(ERROR, "unexpected SPI result %s", SPI_result_code_string(code));
}

/* Refuse a stream with what does not work yet on more than one node. */
static void
check_contents(const char *stream)
{
	if (meter_is_isolated(stream))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("stream \"%s\" cannot be distributed: its tenants are isolated",
						stream)));
}

/* Drop the guards of a table, and of what is a part of it. */
static void
drop_guards(const char *stream, const char *table)
{
	char	   *name = quote_literal_cstr(psprintf("%s.%s",
												   quote_identifier(stream), table));
	const MeterGuard *guard;
	StringInfoData names;
	char	   *drops;
	bool		isnull;

	initStringInfo(&names);
	appendStringInfoString(&names, "'guard_segment'");
	for (guard = meter_guards; guard->table != NULL; guard++)
		appendStringInfo(&names, ", '%s'", guard->name);
	meter_execute(psprintf("SELECT string_agg(format('DROP TRIGGER %%I ON %%s', t.tgname, t.tgrelid::regclass), '; ') FROM pg_trigger t "
						   "WHERE t.tgname IN (%s) AND (t.tgrelid = %s::regclass "
						   "OR t.tgrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass))",
						   names.data, name, name), SPI_OK_SELECT);
	(void) meter_result(0, 1, &isnull);
	if (isnull)
		return;
	drops = meter_result_text(0, 1);
	run(drops);
}

/*
 * Divide the lists of resources that are each account's by shards, of which
 * these are keys.
 */
static void
divide_accounts(const char *stream, List *keys)
{
	const char *schema = quote_identifier(stream);
	Oid			types[] = {TEXTARRAYOID, TEXTOID};
	Datum		values[lengthof(types)];
	Datum	   *elements = palloc(list_length(keys) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, keys)
		elements[n++] = CStringGetTextDatum(lfirst(cell));
	values[0] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[1] = CStringGetTextDatum(psprintf("%s.event", schema));
	meter_execute_params(psprintf("WITH k AS MATERIALIZED (SELECT key, get_shard_id_for_distribution_column($2::regclass, key) AS shard FROM unnest($1) key) "
								  "INSERT INTO %s._account_resource (meter, account, hashes, resource) "
								  "SELECT a.meter, a.account, array_agg(DISTINCT s.hash), k.key FROM %s._account_resource a "
								  "CROSS JOIN unnest(a.hashes) h (hash) JOIN %s._resource_state s ON s.meter = a.meter AND s.hash = h.hash "
								  "JOIN k ON k.shard = get_shard_id_for_distribution_column($2::regclass, s.resource) GROUP BY 1, 2, 4",
								  schema, schema, schema),
						 SPI_OK_INSERT, lengthof(types), types, values, NULL);
	meter_execute(psprintf("DELETE FROM %s._account_resource WHERE resource IS NULL",
						   schema), SPI_OK_DELETE);
	meter_execute(psprintf("ALTER TABLE %s._account_resource ALTER COLUMN resource SET NOT NULL",
						   schema), SPI_OK_UTILITY);
}

/* Take from the owner what the guards refused. */
static void
take_privileges(const char *stream)
{
	const char *owner = quote_identifier(GetUserNameFromId(GetUserId(), false));
	int			i;

	for (i = 0; i < (int) lengthof(privileges); i++)
		run(psprintf(privileges[i], quote_identifier(stream), owner));
}

/* Distribute a table of a stream, beside the first one. */
static void
distribute_table(const char *stream, const MeterPlacement *placement)
{
	if (placement->everywhere)
		meter_cluster_replicate(stream, placement->table);
	else
		meter_cluster_distribute(stream, placement->table, "resource", 0,
								 meter_placements[0].table);
}

/*
 * Distribute the tables that a distributed stream has got since: an older version
 * did not make them.  Within a session.
 */
void
meter_distribute_new_tables(const char *stream)
{
	List	   *tables = meter_cluster_tables(stream);
	const MeterPlacement *placement;
	bool		any = false;

	for (placement = meter_placements; placement->table != NULL; placement++)
	{
		if (meter_cluster_has(tables, placement->table))
			continue;
		distribute_table(stream, placement);
		meter_cluster_forget_local(stream, placement->table);
		any = true;
	}
	take_privileges(stream);
	if (any)
		meter_shards_name_tables(stream);
}

/* Distribute the tables of a stream, with the rows that they have. */
static void
distribute_tables(const char *stream, int shards)
{
	const char *schema = quote_identifier(stream);
	const char *first = meter_placements[0].table;
	const MeterPlacement *placement;
	int			i;

	for (placement = meter_placements; placement->table != NULL; placement++)
		drop_guards(stream, placement->table);
	for (i = 0; i < (int) lengthof(changes); i++)
		run(psprintf(changes[i], schema));
	meter_cluster_distribute(stream, first, "resource", shards, NULL);
	divide_accounts(stream, meter_cluster_shard_keys(stream, first));
	for (placement = meter_placements + 1; placement->table != NULL; placement++)
		distribute_table(stream, placement);
	meter_cluster_distribute(stream, "_shard", "resource", 0, first);
	for (placement = meter_placements; placement->table != NULL; placement++)
		meter_cluster_forget_local(stream, placement->table);
	take_privileges(stream);
}

/* Check that the meters of a stream have the states that were written. */
static void
check_states(const char *stream)
{
	ListCell   *cell;

	foreach(cell, meter_list_meters(stream, NULL, false))
	{
		MeterRef   *ref = lfirst(cell);
		MeterDefinition *definition = meter_load(stream, ref->meter, METER_LOCK_WAIT);

		meter_check_states(definition, meter_load_progress(definition));
	}
}

PG_FUNCTION_INFO_V1(meter_distribute_stream);

/* distribute_stream(stream, shard_count) */
Datum
meter_distribute_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	int			shards = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	MeterSession session;

	PreventCommandIfReadOnly("meter.distribute_stream()");
	meter_check_stream_permission(stream);
	if (!PG_ARGISNULL(1) && (shards < 1 || shards > MOST_SHARDS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"shard_count\" must be from 1 to %d, not %d",
						MOST_SHARDS, shards)));
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	meter_cluster_require();
	if (meter_stream_shards(stream) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" is distributed already", stream)));
	meter_lock_all(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_check_condition(stream);
	check_contents(stream);
	check_states(stream);
	distribute_tables(stream, shards);
	meter_session_end(&session);
	meter_shards_begin(stream, NULL);
	meter_create_views(stream);
	PG_RETURN_VOID();
}
