/*
 * undistribute.c
 *	  meter.undistribute_stream(): a stream of a cluster becomes one of one node.
 *
 * Citus brings the rows of each table back to the coordinator; then keys, guards
 * and what else distribute.c changed is put back.  What is back already is left as
 * it is: so a stream that was taken apart by hand, or came out of a dump of a
 * coordinator, becomes one that steps can go on with.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "commands/access.h"
#include "commands/create_stream.h"
#include "commands/resume.h"
#include "log/month.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/spi.h"

/* Any table of a stream, as a pattern. */
#define ANY_TABLE	"[a-z_]+"

/* What distribute.c changed; columns that are dropped take keys with them. */
static const char *const changes[] = {
	"ALTER TABLE %1$s.held DROP COLUMN IF EXISTS resource",
	"ALTER TABLE %1$s.held DROP CONSTRAINT IF EXISTS held_pkey",
	"ALTER TABLE %1$s.held ADD PRIMARY KEY (meter, log, arrival)",
	"ALTER TABLE %1$s.usage DROP CONSTRAINT IF EXISTS usage_pkey",
	"ALTER TABLE %1$s.usage ADD PRIMARY KEY (transaction_id)",
	"ALTER TABLE %1$s._duplicate_key DROP COLUMN IF EXISTS resource",
	"ALTER TABLE %1$s._account_resource DROP COLUMN IF EXISTS resource",
	"DROP TABLE IF EXISTS %1$s._shard",
	"GRANT UPDATE, DELETE, TRUNCATE ON %1$s.usage TO %2$s"
};

/* The sequence of a log, while the log has no identity. */
typedef struct Sequence
{
	bool		taken;
	char	   *last;			/* as setval() takes it */
} Sequence;

/* Tell whether the schema of a stream has a table. */
static bool
is_there(const char *stream, const char *table)
{
	return OidIsValid(get_relname_relid(table, get_namespace_oid(stream, false)));
}

/* Keep everybody away from a table of a stream until the transaction ends. */
static void
lock_table(const char *stream, const char *name)
{
	Oid			oid = get_relname_relid(name, get_namespace_oid(stream, false));

	if (OidIsValid(oid))
		table_close(table_open(oid, AccessExclusiveLock), NoLock);
}

/*
 * Lock the tables, and check that all nodes have committed what was committed
 * here: rows that they have only prepared would be left behind.
 */
static void
lock_tables(const char *stream)
{
	const MeterPlacement *placement;
	Datum		prepared;

	for (placement = meter_placements; placement->table != NULL; placement++)
		lock_table(stream, placement->table);
	lock_table(stream, "_shard");
	if (meter_stream_shards(stream) == 0)
		return;
	if (!meter_cluster_prepared(stream, ANY_TABLE, &prepared))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("not all nodes of the cluster can be asked"),
				 errhint("Rows of the stream may be there. Start them, and try again.")));
	if (ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(prepared)),
					   ARR_DIMS(DatumGetArrayTypeP(prepared))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a node of the cluster has transactions that it has not committed yet"),
				 errhint("Citus commits them within citus.recover_2pc_interval, or when SELECT recover_prepared_transactions() says so. Try again then.")));
}

/* Take its identity from a distributed log: Citus moves no table that has one. */
static Sequence
take_identity(const char *stream, const char *log, List *tables)
{
	const char *schema = quote_identifier(stream);
	Sequence	sequence = {false, NULL};

	if (!meter_cluster_has(tables, log))
		return sequence;
	meter_execute(psprintf("SELECT format('%%s, %%L', last_value, is_called) FROM %s.%s_arrival_seq",
						   schema, log), SPI_OK_SELECT);
	sequence.last = meter_result_text(0, 1);
	sequence.taken = true;
	meter_cluster_change_here(psprintf("ALTER TABLE %s.%s ALTER COLUMN arrival DROP IDENTITY",
									   schema, log));
	return sequence;
}

/* Give a log its identity again. */
static void
give_identity(const char *stream, const char *log, const Sequence *sequence)
{
	const char *schema = quote_identifier(stream);

	if (!sequence->taken)
		return;
	meter_execute(psprintf("ALTER TABLE %s.%s ALTER COLUMN arrival ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME %s.%s_arrival_seq CACHE 1 NO CYCLE)",
						   schema, log, schema, log), SPI_OK_UTILITY);
	meter_execute(psprintf("SELECT setval(%s::regclass, %s)",
						   quote_literal_cstr(psprintf("%s.%s_arrival_seq",
													   schema, log)),
						   sequence->last), SPI_OK_SELECT);
}

/*
 * Bring back the months that were detached, each with the key that it must have to
 * be attached again.
 */
static void
undistribute_months(const char *stream)
{
	const char *table = meter_monthly_tables[0].table;
	ListCell   *cell;
	int			month;

	foreach(cell, meter_cluster_tables(stream))
	{
		const char *name = lfirst(cell);
		char	   *qualified = psprintf("%s.%s", quote_identifier(stream), name);

		if (!meter_is_month_of(name, table, &month))
			continue;
		meter_cluster_undistribute(stream, name);
		meter_execute(psprintf("SELECT quote_ident(conname) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'",
							   quote_literal_cstr(qualified)), SPI_OK_SELECT);
		if (SPI_processed > 0)
			meter_execute(psprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD PRIMARY KEY (transaction_id)",
								   qualified, meter_result_text(0, 1)),
						  SPI_OK_UTILITY);
	}
}

/* Bring the rows of all tables back. */
static void
undistribute_tables(const char *stream)
{
	List	   *tables = meter_cluster_tables(stream);
	const MeterPlacement *placement;
	Sequence	sequences[METER_NLOGS];
	int			log;

	for (log = 0; log < METER_NLOGS; log++)
		sequences[log] = take_identity(stream, meter_log_names[log], tables);
	if (meter_cluster_has(tables, "_shard"))
		meter_execute(psprintf("DROP TABLE %s._shard", quote_identifier(stream)),
					  SPI_OK_UTILITY);
	for (placement = meter_placements; placement->table != NULL; placement++)
	{
		if (meter_cluster_has(tables, placement->table))
			meter_cluster_undistribute(stream, placement->table);
	}
	undistribute_months(stream);
	for (log = 0; log < METER_NLOGS; log++)
		give_identity(stream, meter_log_names[log], &sequences[log]);
}

/* Make the tables what they are on one node. */
static void
put_back(const char *stream)
{
	const char *schema = quote_identifier(stream);
	const char *owner = quote_identifier(GetUserNameFromId(GetUserId(), false));
	const MeterPlacement *placement;
	int			i;

	for (i = 0; i < (int) lengthof(changes); i++)
		meter_execute(psprintf(changes[i], schema, owner), SPI_OK_UTILITY);
	for (placement = meter_placements; placement->table != NULL; placement++)
		meter_execute(psprintf("GRANT TRUNCATE ON %s.%s TO %s", schema,
							   placement->table, owner), SPI_OK_UTILITY);
	meter_complete_stream(stream);
	meter_guard_months(stream);
}

/* Make the views anew, without Citus saying of each that nodes do not get it. */
static void
make_views(const char *stream)
{
	MeterSession session;

	meter_session_begin(&session, InvalidOid);
	if (meter_cluster_is_there())
		meter_cluster_session_in_order();
	meter_make_views(stream);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_undistribute_stream);

/* undistribute_stream(stream) */
Datum
meter_undistribute_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterSession session;
	ListCell   *cell;

	PreventCommandIfReadOnly("meter.undistribute_stream()");
	meter_check_stream_permission(stream);
	if (meter_stream_shards(stream) == 0 && !is_there(stream, "_shard"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" is not distributed", stream)));
	meter_lock_all(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	if (meter_cluster_is_there())
		meter_cluster_session_in_order();
	meter_check_stream(stream);
	lock_tables(stream);
	undistribute_tables(stream);
	put_back(stream);
	meter_guard_segments(stream);
	meter_session_end(&session);

	meter_session_begin(&session, meter_extension_owner());
	meter_forget_notes(stream);
	meter_session_end(&session);
	if (meter_stream_is_active(stream))
	{
		/* of another stream meter.resume() does that */
		foreach(cell, meter_list_meters(stream, NULL, false))
			meter_check_meter(stream, ((MeterRef *) lfirst(cell))->meter);
	}
	make_views(stream);
	PG_RETURN_VOID();
}
