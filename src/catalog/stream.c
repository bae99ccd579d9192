/*
 * stream.c
 *	  Streams: schemas with logs and a ledger.
 *
 * A stream's tables are ordinary tables of its owner, of built-in types only,
 * and never members of the extension: whatever happens to that, logs and
 * ledger stay.  Their shape is made in create_stream.c, and checked here
 * before it is relied upon.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "catalog/stream.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"

/* What tells a stream's schema from any other: table, column, type. */
static const char *const shape =
"('event','arrival','bigint'),('event','source','text'),('event','id','text'),"
"('event','time','timestamp with time zone'),('event','resource','text'),"
"('event','account','text'),('event','entity','text'),('event','action','text'),"
"('event','offering','text'),('event','value','numeric'),"
"('event','attributes','jsonb'),"
"('measure','arrival','bigint'),('measure','source','text'),"
"('measure','id','text'),"
"('measure','start_time','timestamp with time zone'),"
"('measure','end_time','timestamp with time zone'),"
"('measure','resource','text'),('measure','account','text'),"
"('measure','entity','text'),('measure','value','numeric'),"
"('measure','attributes','jsonb'),"
"('usage','transaction_id','uuid'),('usage','meter','text'),"
"('usage','account','text'),('usage','resource','text'),"
"('usage','dimensions','jsonb'),"
"('usage','period_start','timestamp with time zone'),"
"('usage','quantity','numeric'),('usage','revision','integer'),"
"('usage','settlement','bigint'),"
"('usage','recorded_at','timestamp with time zone'),"
"('resource_state','meter','text'),('resource_state','resource','text'),"
"('resource_state','active','boolean'),('resource_state','account','text'),"
"('resource_state','dimensions','text[]'),('resource_state','value','numeric'),"
"('resource_state','since','timestamp with time zone'),"
"('resource_state','alive','timestamp with time zone'),"
"('resource_state','unnamed_since','timestamp with time zone'),"
"('resource_state','absent','timestamp with time zone'),"
"('resource_state','source','text'),"
"('resource_state','straddles','timestamp with time zone'),"
"('inventory','source','text'),('inventory','at','timestamp with time zone'),"
"('inventory','resource','text'),('inventory','account','text'),"
"('inventory','entity','text'),('inventory','offering','text'),"
"('inventory','value','numeric'),"
"('inventory','since','timestamp with time zone'),"
"('inventory','meter','text'),('inventory','attributes','jsonb'),"
"('snapshot','source','text'),('snapshot','at','timestamp with time zone'),"
"('snapshot','reconciled_at','timestamp with time zone'),"
"('snapshot','rows','bigint'),('snapshot','content','numeric'),"
"('snapshot','tolerance','interval'),('snapshot','running','bigint'),"
"('snapshot','starts','bigint'),('snapshot','stops','bigint'),"
"('snapshot','changes','bigint'),('snapshot','pruned','boolean'),"
"('compared','meter','text'),('compared','source','text'),"
"('compared','at','timestamp with time zone'),"
"('floor','meter','text'),('floor','log','text'),('floor','time','timestamp with time zone'),('floor','definition','text'),"
"('floor_state','meter','text'),('floor_state','resource','text'),"
"('expired','log','text'),('expired','segment','bigint'),('expired','last_arrival','bigint'),"
"('held','meter','text'),('held','log','text'),('held','arrival','bigint'),"
"('held','time','timestamp with time zone'),"
"('held','held_at','timestamp with time zone'),('held','reason','text'),"
"('voided','meter','text'),('voided','resource','text'),('voided','source','text'),('voided','id','text'),"
"('future','meter','text'),('future','time','timestamp with time zone'),"
"('settlement','meter','text'),('settlement','settlement','bigint'),"
"('settlement','watermark_before','timestamp with time zone'),"
"('settlement','watermark','timestamp with time zone'),"
"('settlement','position_before','bigint'),('settlement','position','bigint'),"
"('settlement','measure_position_before','bigint'),('settlement','measure_position','bigint'),"
"('measure_key','meter','text'),('measure_key','period_start','timestamp with time zone'),"
"('measure_key','block','bigint'),('measure_key','keys','bytea'),"
"('counter_state','meter','text'),('counter_state','resource','text'),"
"('counter_state','dimensions','text[]'),('counter_state','time','timestamp with time zone'),"
"('counter_state','value','numeric'),"
"('settlement','usage_rows','bigint'),('settlement','aggregate','text'),"
"('settlement','unit','interval'),('settlement','period','interval'),"
"('settlement','timezone','text'),"
"('settlement','recorded_at','timestamp with time zone'),"
"('rejected','rejection','bigint'),('rejected','received_at','timestamp with time zone'),"
"('rejected','sender','text'),('rejected','raw','text'),('rejected','reason','text')";

/* The triggers that guard a stream: table (or segments of a log), name. */
static const char *const guards =
"('event','guard_truncate'),('measure','guard_truncate'),"
"('usage','guard_ledger'),('usage','guard_ledger_truncate')";

/* Owner of a stream's schema; an error if that is gone. */
Oid
meter_stream_owner(const char *stream)
{
	Oid			schema = get_namespace_oid(stream, true);
	HeapTuple	tuple;
	Oid			owner;

	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" of the stream does not exist", stream),
				 errhint("Restore it, rename it back if it was renamed, or forget the stream with meter.drop_stream('%s').",
						 stream)));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Is there such a stream in the catalog, and is it worked on? */
void
meter_look_up_stream(const char *stream, bool *exists, bool *active)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT EXISTS (SELECT FROM meter.stream WHERE name = $1), "
						 "EXISTS (SELECT FROM meter.active_stream WHERE name = $1)",
						 SPI_OK_SELECT, 1, types, values, NULL);
	*exists = DatumGetBool(meter_result(0, 1, &isnull));
	*active = DatumGetBool(meter_result(0, 2, &isnull));
	meter_session_end(&session);
}

/* Is a stream worked on? */
bool
meter_stream_is_active(const char *stream)
{
	bool		exists;
	bool		active;

	meter_look_up_stream(stream, &exists, &active);
	return active;
}

/*
 * Lock a stream: one at a time changes it, or which meters it has.  The
 * first of all locks, in a session of the extension's owner.
 */
void
meter_lock_stream(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params("SELECT FROM meter.stream WHERE name = $1 FOR UPDATE",
						 SPI_OK_SELECT, 1, types, values, NULL);
}

/* The active streams, of all owners or of those whom the caller is a member of. */
List *
meter_active_streams(bool own)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	List	   *all = NIL;
	List	   *streams = NIL;
	ListCell   *cell;
	uint64		i;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute("SELECT name FROM meter.active_stream ORDER BY name",
				  SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		all = lappend(all, meter_result_text(i, 1));
	meter_session_end(&session);

	foreach(cell, all)
	{
		Oid			schema = get_namespace_oid(lfirst(cell), true);

		if (!own || (OidIsValid(schema) &&
					 meter_schema_ownercheck(schema, GetUserId())))
			streams = lappend(streams, lfirst(cell));
	}
	return streams;
}

/* Raise that a stream is not worked on. */
void
meter_not_active(const char *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" is not active", stream),
			 errhint("After a restore, meter.resume('%s') checks it and takes it up again.",
					 stream)));
}

/*
 * The caller must be a member of the stream's owner, as for any DDL.  A
 * stream whose schema is gone may be touched by superusers only.
 */
void
meter_check_stream_permission(const char *stream)
{
	bool		exists;
	bool		active;
	Oid			schema;

	meter_look_up_stream(stream, &exists, &active);
	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", stream),
				 errhint("meter.create_stream('%s') makes it.", stream)));
	schema = get_namespace_oid(stream, true);
	if (OidIsValid(schema) ? !meter_schema_ownercheck(schema, GetUserId()) :
		!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream \"%s\"", stream)));
}

/*
 * Check what the engine relies upon, each time: all tables of the stream are
 * there and belong to the schema's owner, and none has a deferrable trigger,
 * which would run later, outside of what holds the owner's code in.  Within
 * a session.
 */
void
meter_check_stream(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params(
						 "SELECT c.relname, c.relowner <> n.nspowner, t.tgname "
						 "FROM pg_namespace n "
						 "JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p') "
						 "LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgdeferrable "
						 "WHERE n.nspname = $1::name "
						 "AND (c.relowner <> n.nspowner OR t.oid IS NOT NULL) "
						 "ORDER BY c.relname LIMIT 1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
	{
		char	   *table = meter_result_text(0, 1);
		char	   *trigger = meter_result_text(0, 3);

		if (trigger == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("table \"%s\" of stream \"%s\" does not belong to the owner of the schema",
							table, stream),
					 errhint("Give all tables of the stream to one role with ALTER TABLE ... OWNER TO.")));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" of stream \"%s\" has a deferrable trigger \"%s\"",
						table, stream, trigger),
				 errhint("Use a trigger that is not deferrable, or listen to NOTIFY.")));
	}

	meter_execute_params(
						 psprintf("SELECT s.tab, s.col, s.typ, format_type(a.atttypid, NULL) "
								  "FROM (VALUES %s) s (tab, col, typ) "
								  "LEFT JOIN (pg_attribute a "
								  "JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') "
								  "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name) "
								  "ON c.relname = s.tab AND a.attname = s.col AND NOT a.attisdropped "
								  "WHERE a.attname IS NULL OR format_type(a.atttypid, NULL) <> s.typ "
								  "ORDER BY 1, 2 LIMIT 1", shape),
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("schema \"%s\" does not have the shape of a stream", stream),
				 meter_result_text(0, 4) == NULL ?
				 errdetail("There is no column \"%s\" of a table \"%s\".",
						   meter_result_text(0, 2), meter_result_text(0, 1)) :
				 errdetail("Column \"%s\" of table \"%s\" must be of type %s, not %s.",
						   meter_result_text(0, 2), meter_result_text(0, 1),
						   meter_result_text(0, 3), meter_result_text(0, 4))));

	/* a segment that is detached would look as if its events never were */
	meter_execute_params(
						 psprintf("SELECT l.log, count(s.k), max(s.k) FROM (VALUES ('event'), ('measure')) l (log) "
								  "JOIN pg_class p ON p.relname = l.log "
								  "JOIN pg_namespace n ON n.oid = p.relnamespace AND n.nspname = $1::name "
								  "LEFT JOIN (SELECT i.inhparent, substring(c.relname FROM '_([0-9]+)$')::bigint AS k "
								  "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
								  "WHERE NOT i.inhdetachpending) s ON s.inhparent = p.oid "
								  "GROUP BY l.log HAVING count(s.k) + (SELECT count(*) FROM %s.expired x WHERE x.log = l.log) "
								  "<> coalesce(max(s.k), 0) + 1", quote_identifier(stream)),
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("log \"%s.%s\" is not whole: a segment is missing",
						stream, meter_result_text(0, 1)),
				 errhint("Attach it again with ALTER TABLE ... ATTACH PARTITION.")));
}

/* The guards must be there and on, before anything relies on them again. */
void
meter_check_guards(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params(
						 psprintf("SELECT g.tab, g.trg FROM ("
								  "SELECT tab, trg FROM (VALUES %s) v (tab, trg) "
								  "UNION ALL "
								  "SELECT s.relname, 'guard_segment' "
								  "FROM pg_inherits i JOIN pg_class s ON s.oid = i.inhrelid "
								  "JOIN pg_class p ON p.oid = i.inhparent "
								  "AND p.relname IN ('event', 'measure') "
								  "JOIN pg_namespace n ON n.oid = p.relnamespace "
								  "AND n.nspname = $1::name) g "
								  "WHERE NOT EXISTS (SELECT FROM pg_trigger t "
								  "JOIN pg_class c ON c.oid = t.tgrelid AND c.relname = g.tab "
								  "JOIN pg_namespace n ON n.oid = c.relnamespace "
								  "AND n.nspname = $1::name "
								  "WHERE t.tgname = g.trg AND t.tgenabled IN ('O', 'A')) "
								  "ORDER BY 1, 2 LIMIT 1", guards),
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("trigger \"%s\" of table \"%s.%s\" is missing or disabled",
						meter_result_text(0, 2), stream,
						meter_result_text(0, 1)),
				 errhint("Restore it from the dump, or enable it with ALTER TABLE ... ENABLE TRIGGER.")));
}
