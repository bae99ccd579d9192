/*
 * create_stream.c
 *	  Making, resuming and dropping streams: meter.create_stream(),
 *	  meter.resume(), meter.drop_stream().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "commands/inbox.h"
#include "core/core.h"
#include "engine/views.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* The logs, and what a row of each has after arrival, source and id. */
typedef struct Log
{
	const char *name;
	const char *columns;
	const char *checks;
} Log;

static const Log logs[] = {
	{
		"event",
		"\"time\" timestamptz NOT NULL, "
		"resource text COLLATE \"C\" NOT NULL, "
		"account text COLLATE \"C\", "
		"entity text COLLATE \"C\", "
		"action text COLLATE \"C\" NOT NULL, "
		"offering text COLLATE \"C\", "
		"value numeric, "
		"attributes jsonb",
		"CONSTRAINT time_is_finite CHECK (isfinite(\"time\"))"
	},
	{
		"measure",
		"start_time timestamptz NOT NULL, "
		"end_time timestamptz NOT NULL, "
		"resource text COLLATE \"C\" NOT NULL, "
		"account text COLLATE \"C\", "
		"entity text COLLATE \"C\", "
		"value numeric, "
		"attributes jsonb",
		"CONSTRAINT time_is_finite "
		"CHECK (isfinite(start_time) AND isfinite(end_time)), "
		"CONSTRAINT end_not_before_start CHECK (end_time >= start_time)"
	}
};

/* A name that can be a stream's. */
static void
check_name(const char *stream)
{
	if (stream[0] == '\0' || strlen(stream) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid stream name: \"%s\"", stream),
				 errdetail("It must have 1 to %d bytes.", NAMEDATALEN - 1)));
	if (strcmp(stream, "meter") == 0 || strncmp(stream, "pg_", 3) == 0 ||
		strcmp(stream, "information_schema") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("stream name \"%s\" is reserved", stream)));
}

/*
 * Make a log: its parent, which gives out arrivals, and the first segments.
 */
static void
create_log(const char *stream, const Log *log)
{
	const char *schema = quote_identifier(stream);
	int			segment;

	meter_execute(
				  psprintf("CREATE TABLE %s.%s ("
						   "arrival bigint GENERATED ALWAYS AS IDENTITY (CACHE 1 NO CYCLE) NOT NULL, "
						   "source text COLLATE \"C\", id text COLLATE \"C\", %s, %s, "
						   "CONSTRAINT value_is_finite "
						   "CHECK (value <> 'NaN' AND value < 'Infinity' AND value > '-Infinity')) "
						   "PARTITION BY RANGE (arrival)",
						   schema, log->name, log->columns, log->checks),
				  SPI_OK_UTILITY);
	for (segment = 0; segment <= METER_SEGMENTS_AHEAD; segment++)
		meter_create_segment(stream, log->name, segment);
	meter_execute(
				  psprintf("CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON %s.%s "
						   "FOR EACH STATEMENT EXECUTE FUNCTION %s.guard_log()",
						   schema, log->name, schema),
				  SPI_OK_UTILITY);
}

/* Make the table of what came to the doors and could not be logged. */
static void
create_rejected(const char *schema)
{
	meter_execute(
				  psprintf("CREATE TABLE %s.rejected ("
						   "rejection bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
						   "received_at timestamptz NOT NULL DEFAULT now(), "
						   "sender text COLLATE \"C\" NOT NULL, "
						   "raw text, "
						   "reason text NOT NULL)", schema),
				  SPI_OK_UTILITY);
}

/* Make the tables of snapshots. */
static void
create_snapshot_tables(const char *schema)
{
	meter_execute(
				  psprintf("CREATE TABLE %s.inventory ("
						   "source text COLLATE \"C\" NOT NULL, "
						   "at timestamptz NOT NULL, "
						   "resource text COLLATE \"C\" NOT NULL, "
						   "account text COLLATE \"C\", "
						   "entity text COLLATE \"C\", "
						   "offering text COLLATE \"C\", "
						   "value numeric, "
						   "since timestamptz, "
						   "meter text COLLATE \"C\", "
						   "attributes jsonb, "
						   "CONSTRAINT time_is_finite CHECK (isfinite(at) AND isfinite(since)), "
						   "CONSTRAINT value_is_finite "
						   "CHECK (value <> 'NaN' AND value < 'Infinity' AND value > '-Infinity'))",
						   schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE INDEX inventory_snapshot ON %s.inventory (source, at, resource)",
						   schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.snapshot ("
						   "source text COLLATE \"C\" NOT NULL, "
						   "at timestamptz NOT NULL, "
						   "reconciled_at timestamptz NOT NULL DEFAULT now(), "
						   "rows bigint NOT NULL, "
						   "content numeric NOT NULL, "
						   "tolerance interval NOT NULL, "
						   "running bigint NOT NULL, "
						   "starts bigint NOT NULL, "
						   "stops bigint NOT NULL, "
						   "changes bigint NOT NULL, "
						   "pruned boolean NOT NULL DEFAULT false, "
						   "PRIMARY KEY (source, at))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.compared ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "source text COLLATE \"C\" NOT NULL, "
						   "at timestamptz NOT NULL, "
						   "PRIMARY KEY (meter, source, at))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE VIEW %s.source_quality AS "
						   "SELECT source, at, running, starts AS lost_starts, stops AS lost_stops, "
						   "changes AS lost_changes, pg_catalog.round(1 - (starts + stops + changes)::numeric "
						   "/ nullif(running + starts, 0), 6) AS agreement "
						   "FROM %s.snapshot", schema, schema),
				  SPI_OK_UTILITY);
}

/* Make the tables of a stream that meters of measures keep their own in. */
static void
create_measure_tables(const char *schema)
{
	meter_execute(psprintf("CREATE TABLE %s.measure_key ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "period_start timestamptz NOT NULL, "
						   "block bigint NOT NULL, "
						   "keys bytea NOT NULL)", schema),
				  SPI_OK_UTILITY);
	/* hashes cannot be compressed */
	meter_execute(psprintf("ALTER TABLE %s.measure_key ALTER COLUMN keys SET STORAGE EXTERNAL",
						   schema), SPI_OK_UTILITY);
	meter_execute(psprintf("CREATE INDEX measure_key_period ON %s.measure_key (meter, period_start)",
						   schema), SPI_OK_UTILITY);
	meter_execute(psprintf("CREATE TABLE %s.counter_state ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "resource text COLLATE \"C\" NOT NULL, "
						   "dimensions text[] COLLATE \"C\" NOT NULL, "
						   "\"time\" timestamptz NOT NULL, "
						   "value numeric NOT NULL, "
						   "PRIMARY KEY (meter, resource, dimensions))", schema),
				  SPI_OK_UTILITY);
}

/* Make all tables of a stream in a schema that is empty. */
static void
create_tables(const char *stream)
{
	const char *schema = quote_identifier(stream);
	int			i;

	/* the guards outlive the extension, so they are in the stream's schema */
	meter_execute(
				  psprintf("CREATE FUNCTION %s.guard_log() RETURNS trigger "
						   "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$"
						   "BEGIN\n"
						   "  IF TG_OP = 'TRUNCATE' THEN\n"
						   "    RAISE EXCEPTION 'log \"%%.%%\" cannot be truncated', TG_TABLE_SCHEMA, TG_TABLE_NAME\n"
						   "      USING ERRCODE = '55000', HINT = 'The log is what usage is computed from.';\n"
						   "  END IF;\n"
						   "  RAISE EXCEPTION 'cannot insert into \"%%.%%\", a segment of a log', TG_TABLE_SCHEMA, TG_TABLE_NAME\n"
						   "    USING ERRCODE = '55000', HINT = 'Insert into the log itself: it gives each row its arrival.';\n"
						   "END$guard$", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE FUNCTION %s.guard_ledger() RETURNS trigger "
						   "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$"
						   "BEGIN\n"
						   "  RAISE EXCEPTION 'ledger \"%%.%%\" is append-only: %% refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP\n"
						   "    USING ERRCODE = '55000', HINT = 'Log what really happened: the ledger then gets an adjustment.';\n"
						   "END$guard$", schema),
				  SPI_OK_UTILITY);

	for (i = 0; i < (int) lengthof(logs); i++)
		create_log(stream, &logs[i]);

	meter_execute(
				  psprintf("CREATE TABLE %s.usage ("
						   "transaction_id uuid PRIMARY KEY, "
						   "meter text COLLATE \"C\" NOT NULL, "
						   "account text COLLATE \"C\" NOT NULL, "
						   "resource text COLLATE \"C\" NOT NULL, "
						   "dimensions jsonb NOT NULL, "
						   "period_start timestamptz NOT NULL, "
						   "quantity numeric NOT NULL, "
						   "revision integer NOT NULL, "
						   "settlement bigint NOT NULL, "
						   "recorded_at timestamptz NOT NULL DEFAULT now())", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TRIGGER guard_ledger BEFORE UPDATE OR DELETE ON %s.usage "
						   "FOR EACH STATEMENT EXECUTE FUNCTION %s.guard_ledger()",
						   schema, schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TRIGGER guard_ledger_truncate BEFORE TRUNCATE ON %s.usage "
						   "FOR EACH STATEMENT EXECUTE FUNCTION %s.guard_ledger()",
						   schema, schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE VIEW %s.usage_total AS "
						   "SELECT meter, account, resource, dimensions, period_start, "
						   "pg_catalog.sum(quantity) AS quantity, "
						   "pg_catalog.max(revision) AS revision, "
						   "pg_catalog.max(recorded_at) AS recorded_at "
						   "FROM %s.usage "
						   "GROUP BY meter, account, resource, dimensions, period_start",
						   schema, schema),
				  SPI_OK_UTILITY);

	meter_execute(
				  psprintf("CREATE TABLE %s.resource_state ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "resource text COLLATE \"C\" NOT NULL, "
						   "active boolean NOT NULL, "
						   "account text COLLATE \"C\", "
						   "dimensions text[] COLLATE \"C\" NOT NULL, "
						   "value numeric, "
						   "since timestamptz, "
						   "alive timestamptz, "
						   "unnamed_since timestamptz, "
						   "absent timestamptz, "
						   "source text COLLATE \"C\", "
						   "straddles timestamptz, "
						   "PRIMARY KEY (meter, resource))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE INDEX resource_state_active ON %s.resource_state "
						   "(meter, resource) WHERE active", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE INDEX resource_state_unnamed ON %s.resource_state "
						   "(meter, resource) WHERE account IS NULL", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.floor_state (LIKE %s.resource_state INCLUDING INDEXES)",
						   schema, schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.floor ("
						   "meter text COLLATE \"C\" PRIMARY KEY, "
						   "log text COLLATE \"C\" NOT NULL, "
						   "\"time\" timestamptz NOT NULL, "
						   "definition text NOT NULL)", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.expired ("
						   "log text COLLATE \"C\" NOT NULL, "
						   "segment bigint NOT NULL, "
						   "rows bigint NOT NULL, "
						   "first_arrival bigint, "
						   "last_arrival bigint, "
						   "least_time timestamptz, "
						   "greatest_time timestamptz, "
						   "expired_at timestamptz NOT NULL DEFAULT now(), "
						   "PRIMARY KEY (log, segment))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.held ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "log text COLLATE \"C\" NOT NULL, "
						   "arrival bigint NOT NULL, "
						   "\"time\" timestamptz NOT NULL, "
						   "held_at timestamptz NOT NULL DEFAULT now(), "
						   "reason text NOT NULL, "
						   "PRIMARY KEY (meter, log, arrival))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.voided ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "resource text COLLATE \"C\" NOT NULL, "
						   "source text COLLATE \"C\" NOT NULL, "
						   "id text COLLATE \"C\" NOT NULL, "
						   "PRIMARY KEY (meter, resource, source, id))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.future ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "\"time\" timestamptz NOT NULL, "
						   "PRIMARY KEY (meter, \"time\"))", schema),
				  SPI_OK_UTILITY);
	meter_execute(
				  psprintf("CREATE TABLE %s.settlement ("
						   "meter text COLLATE \"C\" NOT NULL, "
						   "settlement bigint NOT NULL, "
						   "watermark_before timestamptz, "
						   "watermark timestamptz NOT NULL, "
						   "position_before bigint NOT NULL, "
						   "\"position\" bigint NOT NULL, "
						   "measure_position_before bigint, "
						   "measure_position bigint, "
						   "usage_rows bigint NOT NULL, "
						   "aggregate text NOT NULL, "
						   "unit interval NOT NULL, "
						   "period interval NOT NULL, "
						   "timezone text NOT NULL, "
						   "recorded_at timestamptz NOT NULL DEFAULT now(), "
						   "PRIMARY KEY (meter, settlement))", schema),
				  SPI_OK_UTILITY);
	create_measure_tables(schema);
	create_rejected(schema);
	create_snapshot_tables(schema);
}

/* What each object of a stream is for, for who looks at it with psql. */
static void
comment_tables(const char *stream)
{
	static const char *const comments[][2] = {
		{"TABLE %s.event", "event log: what happened to resources, append-only; arrivals are made by the server, segments are partitions"},
		{"COLUMN %s.event.arrival", "the order in which rows reached the log; made by the server"},
		{"COLUMN %s.event.source", "who says so; with id it names the row, so that a batch may be sent again"},
		{"COLUMN %s.event.id", "the source''s name of the event; null: the row is its own"},
		{"COLUMN %s.event.\"time\"", "when it happened"},
		{"COLUMN %s.event.account", "who pays; null: as known before"},
		{"COLUMN %s.event.action", "what happened; a meter says which actions start, stop or change"},
		{"TABLE %s.measure", "measure log: quantities used by resources between two instants, append-only"},
		{"TABLE %s.usage", "the ledger: usage rows, append-only; revision 0 is the first usage of a key, later ones are adjustments"},
		{"COLUMN %s.usage.transaction_id", "computed from what the row is about by meter.transaction_id(): writing it twice is impossible"},
		{"COLUMN %s.usage.quantity", "billed time in the meter''s unit, for weighted meters times value; for meters of measures what they add up to, in their own unit; of an adjustment the difference"},
		{"COLUMN %s.usage.settlement", "the meter''s running number of the settle that wrote the row; gap-free and in commit order"},
		{"VIEW %s.usage_total", "the ledger summed over revisions"},
		{"TABLE %s.floor", "by meter, the instant before which its log is not whole any more, and the definition that floor_state was made by; see meter.expire()"},
		{"TABLE %s.floor_state", "what was known of each resource at the floor; in place of what the log had before it"},
		{"TABLE %s.expired", "segments that meter.expire() dropped: their rows, arrivals and times"},
		{"TABLE %s.held", "rows that came too late to count for a meter until meter.release() says so"},
		{"TABLE %s.voided", "rows that were taken back by action void, by meter, source and id; derived, kept by the engine"},
		{"TABLE %s.future", "times of events that a meter of the clock event saw when they were in the future; derived, kept by the engine"},
		{"TABLE %s.settlement", "what each settle that wrote usage went by: arrivals after position_before up to position were looked at for late rows, periods from watermark_before up to watermark were settled"},
		{"TABLE %s.measure_key", "hashes of source and id of the measures that a meter has looked at, by period and block of arrivals: where copies may be; derived, kept by the engine"},
		{"TABLE %s.counter_state", "the last reading of each counter before its meter''s watermark; derived, kept by the engine"},
		{"TABLE %s.rejected", "what came to the inbox or to meter.ingest... while meter.on_bad_event was divert, and could not be logged"},
		{"COLUMN %s.rejected.sender", "the session user"},
		{"COLUMN %s.rejected.raw", "as it came: text, or of protobuf the bytes in hexadecimal"},
		{"TABLE %s.inventory", "snapshots of what exists, each row a resource that ran at an instant as a source has it; COPY one in, then call meter.reconcile()"},
		{"COLUMN %s.inventory.since", "since when it has been running; null: not known"},
		{"COLUMN %s.inventory.meter", "the one meter it runs for; null: all duration and weighted meters over its entity"},
		{"TABLE %s.snapshot", "the snapshots that were reconciled: when, their rows and a hash of them, how many resources ran, and how many statements of each kind were logged then; pruned: the rows of inventory are gone"},
		{"VIEW %s.source_quality", "how good each source is, snapshot by snapshot: how many resources ran, for how many a start, a stop or a change had been lost, and the part of them that was right"},
		{"TABLE %s.compared", "the snapshots that each meter has been compared with; derived, kept by the engine"},
		{"TABLE %s.resource_state", "what is known of each resource just before its meter''s watermark; derived, kept by the engine"}
	};
	int			i;

	for (i = 0; i < (int) lengthof(comments); i++)
		meter_execute(psprintf("COMMENT ON %s IS '%s'",
							   psprintf(comments[i][0],
										quote_identifier(stream)),
							   comments[i][1]),
					  SPI_OK_UTILITY);
}

/* Write a row of the catalog that says that there is a stream. */
static void
insert_stream(const char *stream, Datum identity_window)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, INTERVALOID};
	Datum		values[2] = {CStringGetTextDatum(stream), identity_window};

	meter_sources_forget(stream);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("INSERT INTO meter.stream (name, identity_window) VALUES ($1, $2)",
						 SPI_OK_INSERT, 2, types, values, NULL);
	meter_execute_params("INSERT INTO meter.active_stream (name) VALUES ($1)",
						 SPI_OK_INSERT, 1, types, values, NULL);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_create_stream);

/* create_stream(name, identity_window) */
Datum
meter_create_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "name");
	MeterSession session;
	Oid			schema;
	bool		exists;
	bool		active;

	PreventCommandIfReadOnly("meter.create_stream()");
	check_name(stream);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("identity_window must not be null")));
	if (meter_interval_usec(PG_GETARG_INTERVAL_P(1), "identity_window") < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("identity_window must not be negative")));
	meter_look_up_stream(stream, &exists, &active);
	if (exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" already exists", stream),
				 active ? 0 :
				 errhint("It is not worked on: meter.resume('%s') takes it up again.", stream)));

	schema = get_namespace_oid(stream, true);
	if (OidIsValid(schema))
	{
		/* take up again what a dropped extension left */
		if (!meter_schema_ownercheck(schema, GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SCHEMA, stream);
		meter_session_begin(&session, meter_stream_owner(stream));
		meter_check_stream(stream);
		meter_check_guards(stream);
		meter_session_end(&session);
		ereport(NOTICE,
				(errmsg("schema \"%s\" exists: the stream goes on with its logs and ledger", stream)));
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
		create_tables(stream);
		comment_tables(stream);
		meter_session_end(&session);
	}

	insert_stream(stream, PG_GETARG_DATUM(1));
	meter_rebuild_views(stream);
	meter_make_inbox(stream);
	meter_worker_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_stream);

/* drop_stream(name, delete_data) */
Datum
meter_drop_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "name");
	bool		delete_data = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	PreventCommandIfReadOnly("meter.drop_stream()");
	meter_check_stream_permission(stream);

	/* the catalog first, as whoever settles does: no deadlock */
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_execute_params("SELECT FROM meter.meter WHERE stream = $1 ORDER BY name FOR UPDATE",
						 SPI_OK_SELECT, 1, types, values, NULL);
	meter_execute_params("DELETE FROM meter.meter WHERE stream = $1",
						 SPI_OK_DELETE, 1, types, values, NULL);
	meter_execute_params("DELETE FROM meter.segment WHERE stream = $1",
						 SPI_OK_DELETE, 1, types, values, NULL);
	meter_execute_params("DELETE FROM meter.stream WHERE name = $1",
						 SPI_OK_DELETE, 1, types, values, NULL);
	meter_session_end(&session);
	meter_sources_forget(stream);

	if (OidIsValid(get_namespace_oid(stream, true)))
	{
		meter_session_begin(&session, meter_stream_owner(stream));
		if (delete_data)
			meter_execute(psprintf("DROP SCHEMA %s CASCADE",
								   quote_identifier(stream)),
						  SPI_OK_UTILITY);
		else
			meter_execute(psprintf("DROP VIEW IF EXISTS %s.current_usage, %s.anomaly, %s.inbox",
								   quote_identifier(stream),
								   quote_identifier(stream),
								   quote_identifier(stream)),
						  SPI_OK_UTILITY);
		meter_session_end(&session);
	}
	PG_RETURN_VOID();
}

/*
 * Move a log's sequence to or beyond the greatest arrival and every position,
 * so that no row comes to lie behind one.
 */
static void
advance_sequence(const char *stream, const char *log, int64 position)
{
	const char *schema = quote_identifier(stream);
	char	   *sequence;
	bool		isnull;
	int64		greatest;
	int64		last;
	bool		called;

	meter_execute(psprintf("SELECT coalesce(max(arrival), 0) FROM %s.%s",
						   schema, log), SPI_OK_SELECT);
	greatest = Max(DatumGetInt64(meter_result(0, 1, &isnull)), position);
	sequence = psprintf("%s.%s_arrival_seq", schema, log);
	meter_execute(psprintf("SELECT last_value, is_called FROM %s", sequence),
				  SPI_OK_SELECT);
	last = DatumGetInt64(meter_result(0, 1, &isnull));
	called = DatumGetBool(meter_result(0, 2, &isnull));
	if (greatest > last || (greatest == last && !called && greatest > 0))
		meter_execute(psprintf("SELECT setval(%s::regclass, " INT64_FORMAT ")",
							   quote_literal_cstr(sequence), greatest),
					  SPI_OK_SELECT);
}

PG_FUNCTION_INFO_V1(meter_resume);

/* resume(stream) */
Datum
meter_resume(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	int64		positions[lengthof(logs)];
	ListCell   *cell;
	bool		restored;
	bool		isnull;
	int			i;

	PreventCommandIfReadOnly("meter.resume()");
	meter_check_stream_permission(stream);

	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_execute_params("SELECT FROM meter.meter WHERE stream = $1 ORDER BY name FOR UPDATE",
						 SPI_OK_SELECT, 1, types, values, NULL);
	meter_execute_params("SELECT coalesce(max(\"position\"), 0), coalesce(max(measure_position), 0) "
						 "FROM meter.meter WHERE stream = $1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	for (i = 0; i < (int) lengthof(logs); i++)
		positions[i] = DatumGetInt64(meter_result(0, i + 1, &isnull));
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_check_guards(stream);
	for (i = 0; i < (int) lengthof(logs); i++)
		advance_sequence(stream, logs[i].name, positions[i]);
	meter_session_end(&session);
	meter_complete_segments(stream);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET failures = 0, retry_at = NULL, "
						 "note_bound = NULL, note_writers = NULL, note_server = NULL, "
						 "note_watermark = NULL, "
						 "measure_note_bound = NULL, measure_note_writers = NULL, "
						 "measure_note_server = NULL, measure_note_watermark = NULL "
						 "WHERE stream = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
	/* who wrote to which segment is not known any more */
	meter_execute_params("UPDATE meter.segment SET note_writers = NULL, note_server = NULL, "
						 "closed = closed AND sealed_at IS NOT NULL WHERE stream = $1",
						 SPI_OK_UPDATE, 1, types, values, NULL);
	meter_execute_params("INSERT INTO meter.active_stream (name) VALUES ($1) "
						 "ON CONFLICT (name) DO NOTHING",
						 SPI_OK_INSERT, 1, types, values, NULL);
	restored = SPI_processed > 0;
	meter_session_end(&session);
	if (restored)
		meter_sources_expect(stream);
	foreach(cell, meter_list_meters(stream, NULL, false))
		meter_note_ledger(stream, ((MeterRef *) lfirst(cell))->meter);
	meter_rebuild_views(stream);
	meter_make_inbox(stream);
	meter_worker_wake();
	PG_RETURN_VOID();
}
