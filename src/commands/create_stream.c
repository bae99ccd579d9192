/*
 * create_stream.c
 *	  Making and dropping streams: meter.create_stream(), meter.drop_stream().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/forget.h"
#include "catalog/home.h"
#include "catalog/limits.h"
#include "catalog/progress.h"
#include "catalog/shape.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "commands/access.h"
#include "commands/create_stream.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* Check that a name can be that of a stream. */
static void
check_name(const char *stream)
{
	if (stream[0] == '\0' || strlen(stream) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid stream name: \"%s\"", stream),
				 errdetail("A name has 1 to %d bytes.", NAMEDATALEN - 1)));
	if (strcmp(stream, "meter") == 0 || strcmp(stream, "meter_internal") == 0 ||
		strncmp(stream, "pg_", 3) == 0 ||
		strcmp(stream, "information_schema") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("stream name \"%s\" is reserved", stream)));
}

/* Make a table of a stream from the list of its columns and constraints. */
static void
create_table(const char *stream, const char *table, const char *options)
{
	const char *schema = quote_identifier(stream);
	const char *limits = meter_limits_check(stream, table);
	const MeterTableColumn *column;
	const MeterTableConstraint *constraint;
	const char *separator = "";
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s.%s (", schema, table);
	for (column = meter_table_columns; column->table != NULL; column++)
	{
		if (strcmp(column->table, table) != 0)
			continue;
		appendStringInfo(&sql, "%s%s %s %s", separator,
						 quote_identifier(column->name), column->type,
						 column->rest);
		separator = ", ";
	}
	for (constraint = meter_table_constraints; constraint->table != NULL;
		 constraint++)
	{
		if (strcmp(constraint->table, table) == 0)
			appendStringInfo(&sql, ", %s", constraint->definition);
	}
	if (limits != NULL)
		appendStringInfo(&sql, ", %s", limits);
	appendStringInfo(&sql, ") %s", options);
	meter_make_limits(stream, table);
	meter_execute(sql.data, SPI_OK_UTILITY);
}

/*
 * The functions of the guards.  They outlive the extension, as the whole
 * stream does.
 */
static const char *const guard_functions[] = {
	"CREATE OR REPLACE FUNCTION %1$s.guard_log() RETURNS trigger "
	"LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$"
	"BEGIN\n"
	"  IF TG_OP = 'TRUNCATE' THEN\n"
	"    RAISE EXCEPTION 'log \"%%.%%\" cannot be truncated', TG_TABLE_SCHEMA, TG_TABLE_NAME\n"
	"      USING ERRCODE = '55000', HINT = 'The log is what usage is computed from.';\n"
	"  END IF;\n"
	"  RAISE EXCEPTION 'cannot insert into \"%%.%%\", a segment of a log', TG_TABLE_SCHEMA, TG_TABLE_NAME\n"
	"    USING ERRCODE = '55000', HINT = 'Insert into the log itself: it gives each row its arrival. "
	"To restore data only, use pg_restore --disable-triggers, or a dump made with --load-via-partition-root.';\n"
	"END$guard$",
	"CREATE OR REPLACE FUNCTION %1$s.guard_ledger() RETURNS trigger "
	"LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$"
	"BEGIN\n"
	"  RAISE EXCEPTION 'ledger \"%%.%%\" is append-only: %% refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP\n"
	"    USING ERRCODE = '55000', HINT = 'Log what really happened: the ledger then gets an adjustment.';\n"
	"END$guard$",
	"CREATE OR REPLACE FUNCTION %1$s.guard_state() RETURNS trigger "
	"LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$"
	"BEGIN\n"
	"  RAISE EXCEPTION 'table \"%%.%%\" cannot be truncated', TG_TABLE_SCHEMA, TG_TABLE_NAME\n"
	"    USING ERRCODE = '55000', HINT = 'Bills depend on what is kept in it.';\n"
	"END$guard$"
};

/* How the tables are stored. */
static const char *const storage[] = {
	/* a page has room for each of its states to be written anew */
	"ALTER TABLE %1$s._resource_state SET (fillfactor = 45)",
	/* hashes cannot be compressed */
	"ALTER TABLE %1$s._duplicate_key ALTER COLUMN keys SET STORAGE EXTERNAL",

	/*
	 * rows are deleted, and have no key: where tables are published, all of a
	 * row says which
	 */
	"ALTER TABLE %1$s._duplicate_key REPLICA IDENTITY FULL",
	"ALTER TABLE %1$s._account_resource REPLICA IDENTITY FULL",
	"ALTER TABLE %1$s.inventory REPLICA IDENTITY FULL"
};

/* What stands on the tables. */
static const char *const upon_tables[] = {
	"CREATE OR REPLACE VIEW %1$s.source_quality AS "
	"SELECT source, at, running, starts AS lost_starts, stops AS lost_stops, "
	"changes AS lost_changes, pg_catalog.round(1 - (starts + stops + changes)::numeric "
	"/ nullif(running + starts, 0), 6) AS agreement "
	"FROM %1$s.snapshot"
};

/* Run each of these statements for a stream. */
static void
execute_all(const char *schema, const char *const *statements, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		meter_execute(psprintf(statements[i], schema), SPI_OK_UTILITY);
}

/* Return how a table is partitioned, or an empty string. */
static char *
partitioned_by(const char *table)
{
	const MeterMonthly *monthly;

	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
	{
		if (strcmp(monthly->table, table) == 0)
			return psprintf("PARTITION BY RANGE (%s)", monthly->key);
	}
	return "";
}

/* Tell whether a table is a log. */
static bool
is_log(const char *table)
{
	int			log;

	for (log = 0; log < METER_NLOGS; log++)
	{
		if (strcmp(table, meter_log_names[log]) == 0)
			return true;
	}
	return false;
}

/* Tell whether a table of a stream has a column. */
static bool
has_column(const char *stream, const MeterTableColumn *column)
{
	Oid			table = get_relname_relid(column->table,
										  get_namespace_oid(stream, false));

	return get_attnum(table, column->name) != InvalidAttrNumber;
}

/*
 * Make the tables of a stream, and columns of them, that are not there.  A log
 * gets its first segments at once, and its parent gives out arrivals.
 */
static void
complete_tables(const char *stream)
{
	Oid			schema = get_namespace_oid(stream, false);
	const MeterTableColumn *column;
	const char *table;
	int			segment;

	for (column = meter_table_columns; column->table != NULL; column++)
	{
		table = column->table;
		if (!OidIsValid(get_relname_relid(table, schema)))
		{
			create_table(stream, table,
						 is_log(table) ? "PARTITION BY RANGE (arrival)" :
						 partitioned_by(table));
			for (segment = 0; is_log(table) && segment <= METER_SEGMENTS_AHEAD;
				 segment++)
				meter_create_segment(stream, table, segment);
		}
		else if (!has_column(stream, column))
			meter_execute(psprintf("ALTER TABLE %s.%s ADD COLUMN %s %s %s",
								   quote_identifier(stream), table,
								   quote_identifier(column->name),
								   column->type, column->rest),
						  SPI_OK_UTILITY);
	}
}

/* Comment on each object of a stream, for those who look at it with psql. */
static void
comment_tables(const char *stream)
{
	static const char *const comments[][2] = {
		{"TABLE %s.event", "event log: what happened to resources, append-only; arrivals are made by the server, segments are partitions"},
		{"COLUMN %s.event.arrival", "the order in which rows reached the log; made by the server"},
		{"COLUMN %s.event.source", "the source of the event; source and id name the row, so that a batch may be sent again"},
		{"COLUMN %s.event.id", "the source''s name of the event; null: the row has no duplicates"},
		{"COLUMN %s.event.\"time\"", "when the event happened"},
		{"COLUMN %s.event.sequence", "the order of events of one instant, as their source counts them; null comes first"},
		{"COLUMN %s.event.account", "who pays; null: as known before"},
		{"COLUMN %s.event.action", "what happened; a meter says which actions start, stop or change"},
		{"TABLE %s.measure", "measure log: quantities used by resources between two instants, append-only"},
		{"TABLE %s._detached", "months of the ledger that meter.detach_usage() took out, with the number of their rows and a hash of them; month -infinity: what is older than the first month"},
		{"TABLE %s.usage", "the ledger: usage rows, append-only, partitioned by the month in which their period begins; revision 0 is the first usage of a key, later ones are adjustments"},
		{"COLUMN %s.usage.transaction_id", "computed from what the row is about by meter.transaction_id(): writing it twice is impossible"},
		{"COLUMN %s.usage.quantity", "billed time in the meter''s unit, for weighted meters times value; for meters of measures what the measures add up to, in their own unit; of an adjustment the difference"},
		{"COLUMN %s.usage.settlement", "the number of the meter''s settlement that wrote the row; gap-free and in commit order"},
		{"TABLE %s.account_usage", "totals: the sum of the usage rows of an account, a period and dimensions over all resources, at every commit; written by the engine"},
		{"COLUMN %s.account_usage.quantity", "the sum of their quantities, as they are: for min, max, latest and unique meters a sum over resources, too"},
		{"COLUMN %s.account_usage.dimensions_key", "the first 16 bytes of the SHA-256 of the dimensions as text"},
		{"TABLE %s._retention", "the retention boundary of each meter, and the definition that _retention_state was made by; see meter.expire()"},
		{"TABLE %s._retention_state", "what was known of each resource at the retention boundary, of meters of measures its owner; replaces what the logs had before it"},
		{"TABLE %s._retention_reading", "the last reading of each counter before the retention boundary; replaces what the log had before it"},
		{"TABLE %s._expired", "segments that meter.expire() dropped: their rows, arrivals and times"},
		{"TABLE %s.held", "rows that came too late to count for a meter, until meter.release() lets them count; of those that never will, discarded_at says when meter.discard() was told so"},
		{"TABLE %s.quarantine", "resources that could not be computed and are set aside for a meter, until meter.release_resource() computes them anew"},
		{"COLUMN %s.quarantine.since", "what the resource used from then on is not settled for the meter"},
		{"COLUMN %s.quarantine.sqlstate", "why: the code of the error that its computation raised"},
		{"COLUMN %s.quarantine.message", "that error"},
		{"TABLE %s._voided", "what rows of the action void name, and when, for each meter that has looked at them; derived, kept by the engine"},
		{"TABLE %s._future", "times of events that a meter of the clock event saw when they were in the future; derived, kept by the engine"},
		{"TABLE %s.settlement", "settlements: what each step that wrote usage had read: arrivals after position_before up to position were read for late rows, periods from watermark_before up to watermark were settled"},
		{"COLUMN %s.settlement.first_transaction_id", "the least transaction ID of the usage rows that the settlement wrote"},
		{"COLUMN %s.settlement.last_transaction_id", "the greatest of them"},
		{"TABLE %s._duplicate_key", "hashes of resource, source, id and action of the rows of its log that a meter has looked at, by slice of time and block of arrivals: where duplicates may be; derived, kept by the engine"},
		{"TABLE %s._counter_state", "the last reading of each counter before its meter''s watermark; derived, kept by the engine"},
		{"TABLE %s._calendar", "the first instant of each local day of a time zone that usage was settled with: later changes of the zone''s rules move no day that was billed; kept by the engine"},
		{"TABLE %s._consumer", "stays empty: beside SELECT on usage, UPDATE on it is the right to read batches as a consumer and to finish them; see meter.next_batch()"},
		{"TABLE %s._access", "stays empty: UPDATE on a column of it is the access of that name to the stream; see meter.grant_access()"},
		{"TABLE %s._tenant", "whose usage roles see of a stream that isolates tenants; see meter.map_account()"},
		{"COLUMN %s._tenant.role", "the name of a role; it counts while the role has UPDATE on the column tenant of _access"},
		{"COLUMN %s._tenant.role_id", "the OID of that role, so that no other role gets what is mapped to its name; meter.resume() of a stream that was restored notes it anew"},
		{"TABLE %s._view_key", "what the views current_usage and anomaly hand on: who has it may ask for what they show"},
		{"TABLE %s.rejected", "what came to an inbox or to meter.ingest... while meter.on_bad_event was divert, and could not be logged"},
		{"COLUMN %s.rejected.sender", "the session user"},
		{"COLUMN %s.rejected.raw", "the input as it came: text, or the bytes of protobuf in hexadecimal"},
		{"TABLE %s.inventory", "snapshots of what exists, each row a resource that ran at an instant as a source has it; COPY one in, then call meter.reconcile()"},
		{"COLUMN %s.inventory.since", "since when the resource has been running; null: not known"},
		{"COLUMN %s.inventory.meter", "the one meter that the resource runs for; null: all duration and weighted meters over its entity"},
		{"TABLE %s.snapshot", "the snapshots that were reconciled: when, their rows and a hash of them, how many resources ran, and how many observations of each kind were logged then; pruned: the rows of inventory are gone"},
		{"VIEW %s.source_quality", "how good each source is, snapshot by snapshot: how many resources ran, for how many a start, a stop or a change had been lost, and the part of them that was right"},
		{"TABLE %s._compared", "the snapshots that each meter has been compared with; derived, kept by the engine"},
		{"TABLE %s._resource_state", "what is known of each resource just before its meter''s watermark; derived, kept by the engine"},
		{"TABLE %s._account_resource", "hashes of the resources that are each account''s, or once were, for each meter, by which their states are found; derived, kept by the engine"},
		{"TABLE %s._kept_state", "what was known of resources at earlier instants, so that a late event need not read all of the past; derived, kept by the engine"}
	};
	int			i;

	for (i = 0; i < (int) lengthof(comments); i++)
		meter_execute(psprintf("COMMENT ON %s IS '%s'",
							   psprintf(comments[i][0],
										quote_identifier(stream)),
							   comments[i][1]),
					  SPI_OK_UTILITY);
}

/* Tell whether a table is not the coordinator's alone when a stream is distributed. */
static bool
is_placed(const char *table)
{
	const MeterPlacement *placement;

	for (placement = meter_placements; placement->table != NULL; placement++)
	{
		if (strcmp(placement->table, table) == 0)
			return true;
	}
	return false;
}

/*
 * Make what a stream lacks of its tables, guards and indexes, and what stands on
 * them anew.  On a cluster, privileges guard, and storage is as it was.  Within a
 * session.
 */
void
meter_complete_stream(const char *stream)
{
	const char *schema = quote_identifier(stream);
	Oid			namespace = get_namespace_oid(stream, false);
	const MeterTableIndex *index;
	const MeterGuard *guard;
	bool		distributed = meter_stream_shards(stream) > 0;

	execute_all(schema, guard_functions, lengthof(guard_functions));
	complete_tables(stream);
	for (guard = meter_guards; guard->table != NULL; guard++)
	{
		if (distributed && is_placed(guard->table))
			continue;
		meter_execute(psprintf("CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s.%s "
							   "FOR EACH STATEMENT EXECUTE FUNCTION %s.%s()",
							   guard->name, guard->events, schema,
							   guard->table, schema, guard->function),
					  SPI_OK_UTILITY);
	}
	for (index = meter_table_indexes; index->table != NULL; index++)
	{
		if (!OidIsValid(get_relname_relid(index->name, namespace)))
			meter_execute(psprintf("CREATE INDEX %s ON %s.%s USING %s",
								   index->name, schema, index->table,
								   index->definition), SPI_OK_UTILITY);
	}
	if (!distributed)
		execute_all(schema, storage, lengthof(storage));
	execute_all(schema, upon_tables, lengthof(upon_tables));
	comment_tables(stream);
}

/* Insert a row for a stream into the catalog. */
static void
insert_stream(const char *stream, Datum deduplication_window)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, INTERVALOID};
	Datum		values[2] = {CStringGetTextDatum(stream), deduplication_window};

	meter_sources_forget(stream);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("INSERT INTO meter.stream (name, deduplication_window, shape) "
						 "VALUES ($1, $2, " CppAsString2(METER_SHAPE) ")",
						 SPI_OK_INSERT, 2, types, values, NULL);
	meter_move_in(stream);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_create_stream);

/* create_stream(stream, deduplication_window, if_not_exists) */
Datum
meter_create_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	bool		if_not_exists = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	MeterSession session;
	Oid			schema;
	bool		exists;
	bool		active;

	PreventCommandIfReadOnly("meter.create_stream()");
	check_name(stream);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"deduplication_window\" must not be null")));
	if (meter_interval_usec(PG_GETARG_INTERVAL_P(1), "deduplication_window") < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"deduplication_window\" must not be negative")));
	meter_look_up_stream(stream, &exists, &active);
	if (exists && if_not_exists)
	{
		ereport(NOTICE,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" already exists, skipping", stream)));
		PG_RETURN_VOID();
	}
	if (exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" already exists", stream),
				 meter_stream_is_gone(stream) ?
				 errhint("The schema of the stream was dropped: meter.drop_stream(%s, if_exists => true) frees the name.", quote_literal_cstr(stream)) :
				 active ? 0 :
				 errhint("The stream is not active: meter.resume(%s) makes it active again.", quote_literal_cstr(stream))));

	schema = get_namespace_oid(stream, true);
	if (OidIsValid(schema))
	{
		/* take over a stream that a dropped extension left */
		if (!meter_schema_ownercheck(schema, GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SCHEMA, stream);
		meter_session_begin(&session, meter_stream_owner(stream));
		meter_check_stream(stream);
		meter_check_condition(stream);
		meter_check_limits(stream);
		meter_session_end(&session);
		ereport(NOTICE,
				(errmsg("schema \"%s\" exists: the stream goes on with its logs and ledger", stream)));
		meter_bind_tenants(stream);
	}
	else
	{
		if (meter_database_aclcheck(MyDatabaseId, GetUserId(),
									ACL_CREATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_DATABASE,
						   get_database_name(MyDatabaseId));
		meter_session_begin(&session, InvalidOid);
		meter_execute(psprintf("CREATE SCHEMA %s", quote_identifier(stream)),
					  SPI_OK_UTILITY);
		meter_complete_stream(stream);
		meter_session_end(&session);
	}

	insert_stream(stream, PG_GETARG_DATUM(1));
	meter_make_views(stream);
	meter_worker_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_stream);

/* drop_stream(stream, delete_data, if_exists) */
Datum
meter_drop_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	bool		delete_data = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	bool		if_exists = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	bool		exists;
	bool		active;
	bool		gone;
	MeterSession session;

	PreventCommandIfReadOnly("meter.drop_stream()");
	meter_look_up_stream(stream, &exists, &active);
	if (!exists && if_exists)
	{
		ereport(NOTICE,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist, skipping", stream)));
		PG_RETURN_VOID();
	}
	/* a name that stands for nothing is anybody's to free */
	if (!meter_stream_is_gone(stream))
		meter_check_stream_permission(stream);

	/* lock the catalog first, as a step does: no deadlock */
	meter_lock_all(stream);
	/* the schema may have been made anew while others had the locks */
	gone = meter_stream_is_gone(stream);
	if (!gone)
		meter_check_stream_permission(stream);
	meter_forget_stream(stream);

	if (!gone && OidIsValid(get_namespace_oid(stream, true)))
	{
		meter_session_begin(&session, meter_stream_owner(stream));
		if (delete_data)
			meter_execute_utility(stream, psprintf("DROP SCHEMA %s CASCADE",
												   quote_identifier(stream)));
		else
			meter_execute_utility(stream,
								  psprintf("DROP VIEW IF EXISTS %s.current_usage, %s.anomaly, %s.inbox, %s.measure_inbox",
										   quote_identifier(stream),
										   quote_identifier(stream),
										   quote_identifier(stream),
										   quote_identifier(stream)));
		meter_session_end(&session);
	}
	PG_RETURN_VOID();
}
