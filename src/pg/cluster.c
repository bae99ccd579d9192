/*
 * cluster.c
 *	  What Citus knows of the tables of a stream, and does to them.
 *
 * Nothing of Citus is linked: its functions are called, and its catalogs read,
 * in SQL, where it is there.  No other file names them.
 *
 * Every node of the cluster has all of its catalogs.  A distributed table is
 * empty on each of them, and stands for its shards; those are tables beside it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "pg/cluster.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* Tell whether the database is one of a cluster. */
bool
meter_cluster_is_there(void)
{
	return OidIsValid(get_relname_relid("pg_dist_partition",
										PG_CATALOG_NAMESPACE));
}

/* Return the name of a table as a regclass is written, text. */
static Datum
table_datum(const char *schema, const char *table)
{
	return CStringGetTextDatum(psprintf("%s.%s", quote_identifier(schema),
										quote_identifier(table)));
}

/* Call a function of Citus for a table.  Within a session. */
static void
call_for(const char *function, const char *schema, const char *table)
{
	Oid			type = TEXTOID;
	Datum		name = table_datum(schema, table);

	meter_execute_params(psprintf("SELECT %s($1::regclass)", function),
						 SPI_OK_SELECT, 1, &type, &name, NULL);
}

/* Return how many shards a table has; 0: it is not distributed. */
int
meter_cluster_shards(const char *schema, const char *table)
{
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(schema), CStringGetTextDatum(table)};
	int			shards;

	if (!meter_cluster_is_there())
		return 0;
	meter_session_begin(&session, InvalidOid);
	meter_execute_params("SELECT count(*) FROM pg_dist_shard s JOIN pg_dist_partition p ON p.logicalrelid = s.logicalrelid AND p.partmethod = 'h' "
						 "JOIN pg_class c ON c.oid = p.logicalrelid AND c.relname = $2::name "
						 "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	shards = (int) meter_result_count(1);
	meter_session_end(&session);
	return shards;
}

/*
 * Raise that a table is distributed, if it is: here it only stands for what the
 * nodes have, and whoever opens it by its name finds nothing in it.
 */
void
meter_cluster_refuse(const char *schema, const char *table)
{
	if (meter_current_shard() != NULL ||
		meter_cluster_shards(schema, table) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s.%s\" is distributed over a cluster",
					schema, table),
			 errhint("This does not work on a distributed stream.")));
}

/* Raise unless the extension of this version is on all nodes. */
static void
require_extension(void)
{
	meter_execute("SELECT nodename || ':' || nodeport, success, result FROM run_command_on_all_nodes("
				  "$$SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'meter'), '')$$) r "
				  "JOIN pg_dist_node n USING (nodeid) WHERE NOT success OR result <> '" METER_VERSION "' ORDER BY 1 LIMIT 1",
				  SPI_OK_SELECT);
	if (SPI_processed == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 strcmp(meter_result_text(0, 2), "t") != 0 ?
			 errmsg("node %s of the cluster cannot be asked", meter_result_text(0, 1)) :
			 meter_result_text(0, 3)[0] == '\0' ?
			 errmsg("node %s of the cluster does not have extension \"meter\"", meter_result_text(0, 1)) :
			 errmsg("node %s of the cluster has version %s of extension \"meter\"",
					meter_result_text(0, 1), meter_result_text(0, 3)),
			 errdetail("Shards are computed on the nodes that have them, by version " METER_VERSION "."),
			 errhint("Install that version on all nodes, also in shared_preload_libraries, and CREATE EXTENSION meter in this database of each, or ALTER EXTENSION meter UPDATE.")));
}

/* Tell whether this node is a worker of a cluster. */
bool
meter_cluster_is_worker(void)
{
	MeterSession session;
	bool		isnull;
	bool		found;

	if (!meter_cluster_is_there())
		return false;
	meter_session_begin(&session, InvalidOid);
	meter_execute("SELECT groupid FROM pg_dist_local_group", SPI_OK_SELECT);
	found = SPI_processed > 0 && DatumGetInt32(meter_result(0, 1, &isnull)) != 0;
	meter_session_end(&session);
	return found;
}

/* Raise if this node is not the coordinator. */
void
meter_cluster_check_coordinator(void)
{
	if (meter_cluster_is_worker())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node is a worker of the cluster"),
				 errhint("Call the function on the coordinator.")));
}

/*
 * Raise unless tables can be distributed from here: this is the coordinator of a
 * cluster whose nodes have what they need.
 */
void
meter_cluster_require(void)
{
	MeterSession session;
	bool		isnull;
	int32		version;

	if (!meter_cluster_is_there())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"citus\" is not in this database"),
				 errhint("Install Citus on all nodes, CREATE EXTENSION citus, and add the nodes with citus_add_node().")));
	meter_session_begin(&session, InvalidOid);
	meter_execute("SELECT split_part(extversion, '.', 1)::integer * 10000 + split_part(split_part(extversion, '-', 1), '.', 2)::integer * 100, extversion "
				  "FROM pg_extension WHERE extname = 'citus'", SPI_OK_SELECT);
	version = DatumGetInt32(meter_result(0, 1, &isnull));
	if (version < METER_CLUSTER_LEAST)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"citus\" is of version %s", meter_result_text(0, 2)),
				 errhint("meter.distribute_stream() needs version " METER_CLUSTER_LEAST_NAME " or later.")));
	meter_cluster_check_coordinator();
	meter_execute("SELECT FROM pg_dist_node WHERE groupid = 0", SPI_OK_SELECT);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the coordinator is not among the nodes of the cluster"),
				 errhint("citus_set_coordinator_host() adds it: tables that all nodes have are on it, too.")));
	require_extension();
	meter_session_end(&session);
}

/*
 * Distribute a table by a column: over so many shards (0: as many as Citus
 * makes), or beside the shards of another table.  Within a session.
 */
void
meter_cluster_distribute(const char *schema, const char *table,
						 const char *column, int shards, const char *beside)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT4OID};
	Datum		values[] = {
		table_datum(schema, table),
		CStringGetTextDatum(column),
		beside == NULL ? CStringGetTextDatum("none") :
		table_datum(schema, beside),
		Int32GetDatum(shards)
	};

	if (beside == NULL && shards > 0)
		meter_execute_params("SELECT create_distributed_table($1::regclass, $2, colocate_with => $3, shard_count => $4)",
							 SPI_OK_SELECT, 4, types, values, NULL);
	else
		meter_execute_params("SELECT create_distributed_table($1::regclass, $2, colocate_with => $3)",
							 SPI_OK_SELECT, 3, types, values, NULL);
}

/* Have all nodes have a table.  Within a session. */
void
meter_cluster_replicate(const char *schema, const char *table)
{
	call_for("create_reference_table", schema, table);
}

/*
 * Free what a distributed table has left on the coordinator.  Within a session.
 */
void
meter_cluster_forget_local(const char *schema, const char *table)
{
	call_for("truncate_local_data_after_distributing_table", schema, table);
}

/* Return the tables of a schema that are distributed, or on all nodes, as texts. */
List *
meter_cluster_tables(const char *schema)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(schema)};
	List	   *tables = NIL;
	uint64		i;

	if (!meter_cluster_is_there())
		return NIL;
	meter_session_begin(&session, InvalidOid);
	meter_execute_params("SELECT c.relname FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid "
						 "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		tables = lappend(tables, meter_result_text(i, 1));
	meter_session_end(&session);
	return tables;
}

/* Tell whether a name is in such a list. */
bool
meter_cluster_has(List *tables, const char *table)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		if (strcmp(lfirst(cell), table) == 0)
			return true;
	}
	return false;
}

/*
 * Let all kinds of tables, functions and views be changed in one transaction,
 * over one connection to each node, from here to the end of the session; without
 * the four notices that each table and partition is worth to Citus.
 */
void
meter_cluster_session_in_order(void)
{
	meter_set_locally("citus.multi_shard_modify_mode", "sequential");
	meter_set_locally("client_min_messages", "error");
}

/*
 * Bring the rows of a distributed table, or of one that all nodes have, back to
 * the coordinator: in a table of that name, with its indexes, grants and
 * partitions, but without comments.  Within a session.
 */
void
meter_cluster_undistribute(const char *schema, const char *table)
{
	call_for("undistribute_table", schema, table);
}

/*
 * Change what stands for a distributed table on the coordinator, and nothing on
 * the nodes.  Within a session.
 */
void
meter_cluster_change_here(const char *sql)
{
	int			level = NewGUCNestLevel();

	meter_set_locally("citus.enable_ddl_propagation", "off");
	meter_execute(sql, SPI_OK_UTILITY);
	AtEOXact_GUC(false, level);
}

/* What a prepared transaction is noted by begins so. */
#define PREPARED	"prepared "

/*
 * Find the transactions, as a text[], that nodes have prepared after a write to a
 * table, whose name a pattern may stand for, and not committed yet.  Returns
 * false if a node does not answer, which may have one.  Within a session, whose
 * result that is.
 */
bool
meter_cluster_prepared(const char *schema, const char *table, Datum *prepared)
{
	Oid			types[] = {TEXTOID};
	char	   *query = psprintf("SELECT coalesce(string_agg(DISTINCT p.gid, ' '), '') FROM pg_prepared_xacts p "
								 "JOIN pg_locks l ON l.pid IS NULL AND l.mode = 'RowExclusiveLock' AND l.virtualtransaction = "
								 "(SELECT x.virtualtransaction FROM pg_locks x WHERE x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction) "
								 "JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %s "
								 "WHERE p.database = current_database() AND c.relname ~ %s",
								 quote_literal_cstr(schema),
								 quote_literal_cstr(psprintf("^%s_[0-9]", table)));
	Datum		values[] = {CStringGetTextDatum(query)};
	bool		isnull;

	meter_execute_params("SELECT coalesce(array_agg('" PREPARED "' || r.nodename || ':' || r.nodeport || ' ' || g) FILTER (WHERE g IS NOT NULL), '{}'), "
						 "coalesce(bool_and(r.success), true) FROM run_command_on_workers($1) r "
						 "LEFT JOIN LATERAL unnest(string_to_array(CASE WHEN r.success THEN r.result END, ' ')) g ON true",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	*prepared = meter_result(0, 1, &isnull);
	return DatumGetBool(meter_result(0, 2, &isnull));
}

/* Tell whether what is noted are such transactions: text[]. */
bool
meter_cluster_are_prepared(Datum names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	return n > 0 && strncmp(TextDatumGetCString(elements[0]), PREPARED,
							strlen(PREPARED)) == 0;
}

/*
 * List the tables of a schema that are distributed beside a table, or that all
 * nodes have, each with the table that has the shard that a key is in, whatever
 * node that is on: moving a shard does not change its name.
 */
List *
meter_cluster_shard_tables(const char *schema, const char *table,
						   const char *key)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(schema),
		table_datum(schema, table),
	CStringGetTextDatum(key)};
	List	   *tables = NIL;
	uint64		i;

	meter_session_begin(&session, InvalidOid);
	meter_execute_params("SELECT c.relname, (parse_ident(shard_name(s.logicalrelid, s.shardid)))[2] "
						 "FROM pg_dist_shard s JOIN pg_dist_partition p ON p.logicalrelid = s.logicalrelid "
						 "JOIN pg_class c ON c.oid = p.logicalrelid AND NOT c.relispartition "
						 "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name "
						 "CROSS JOIN (SELECT k.shardminvalue, t.colocationid FROM pg_dist_shard k JOIN pg_dist_partition t ON t.logicalrelid = k.logicalrelid "
						 "WHERE k.shardid = get_shard_id_for_distribution_column($2::regclass, $3)) k "
						 "WHERE (p.partmethod = 'h' AND p.colocationid = k.colocationid AND s.shardminvalue = k.shardminvalue) "
						 "OR (p.partmethod = 'n' AND p.repmodel = 't')",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		MeterShardTable *entry = palloc(sizeof(MeterShardTable));

		entry->table = meter_result_text(i, 1);
		entry->shard = meter_result_text(i, 2);
		tables = lappend(tables, entry);
		MemoryContextSwitchTo(before);
	}
	meter_session_end(&session);
	return tables;
}

/* A key is one of so many names that is in its shard: the first one. */
#define NAMES_A_SHARD	"40"

/* Return the key of the shard that a value is in. */
char *
meter_cluster_shard_key(const char *schema, const char *table,
						const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {table_datum(schema, table),
	CStringGetTextDatum(value)};
	char	   *key;

	meter_session_begin(&session, InvalidOid);
	meter_execute_params("WITH s AS (SELECT count(*)::integer AS shards FROM pg_dist_shard WHERE logicalrelid = $1::regclass) "
						 "SELECT 'shard ' || i FROM s, generate_series(1, s.shards * " NAMES_A_SHARD ") i "
						 "WHERE get_shard_id_for_distribution_column($1::regclass, 'shard ' || i) = "
						 "(SELECT get_shard_id_for_distribution_column($1::regclass, $2)) ORDER BY i LIMIT 1",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	if (SPI_processed == 0)
		elog(ERROR, "no key of a shard of table \"%s.%s\" was found", schema, table);
	key = MemoryContextStrdup(context, meter_result_text(0, 1));
	meter_session_end(&session);
	return key;
}

/* Return a key for each shard of a distributed table, as texts. */
List *
meter_cluster_shard_keys(const char *schema, const char *table)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {table_datum(schema, table)};
	List	   *keys = NIL;
	uint64		i;

	meter_session_begin(&session, InvalidOid);
	meter_execute_params("WITH s AS (SELECT count(*)::integer AS shards FROM pg_dist_shard WHERE logicalrelid = $1::regclass) "
						 "SELECT DISTINCT ON (get_shard_id_for_distribution_column($1::regclass, 'shard ' || i)) 'shard ' || i "
						 "FROM s, generate_series(1, s.shards * " NAMES_A_SHARD ") i ORDER BY get_shard_id_for_distribution_column($1::regclass, 'shard ' || i), i",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		keys = lappend(keys, meter_result_text(i, 1));
	meter_session_end(&session);
	if (list_length(keys) != meter_cluster_shards(schema, table))
		elog(ERROR, "not every shard of table \"%s.%s\" was found", schema, table);
	return keys;
}
