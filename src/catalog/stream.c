/*
 * stream.c
 *	  Streams: schemas with logs and a ledger.
 *
 * A stream's tables are ordinary tables of its owner, of built-in types only,
 * and never members of the extension: logs and ledger stay, whatever happens
 * to the extension.  create_stream.c makes their shape, which is checked here
 * before anything relies upon it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "catalog/home.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "pg/catalog_watch.h"
#include "pg/cluster.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* Return the owner of a stream's schema; raises an error if that is gone. */
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
				 errhint("Restore the schema, rename it back if it was renamed, or forget the stream with meter.drop_stream(%s).",
						 quote_literal_cstr(stream))));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Look up whether a stream is in the catalog, and whether it is worked on. */
void
meter_look_up_stream(const char *stream, bool *exists, bool *active)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_catalog("SELECT EXISTS (SELECT FROM meter.stream WHERE name = $1), "
						  "EXISTS (SELECT FROM meter.active_stream a WHERE a.name = $1 AND " METER_IS_HOME("a") ")",
						  1, types, values);
	*exists = DatumGetBool(meter_result(0, 1, &isnull));
	*active = DatumGetBool(meter_result(0, 2, &isnull));
	meter_session_end(&session);
}

/* Tell whether a stream is worked on. */
bool
meter_stream_is_active(const char *stream)
{
	bool		exists;
	bool		active;

	meter_look_up_stream(stream, &exists, &active);
	return active;
}

/*
 * Tell whether the caller may see how things are in streams and databases of
 * others: numbers and states, no contents.
 */
bool
meter_sees_all(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/*
 * Lock a stream: one transaction at a time changes a stream, or which meters
 * it has.  This is the first of all locks.  In a session of the extension's
 * owner.
 */
void
meter_lock_stream(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params("SELECT FROM meter.stream WHERE name = $1 FOR UPDATE",
						 SPI_OK_SELECT, 1, types, values, NULL);
	/* whoever had it locked may have dropped it, and made another one */
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", stream)));
}

/* Delete what tables of a stream have of a meter.  Within a session. */
void
meter_delete_of_meter(const char *stream, const char *meter,
					  const char *const *tables, int ntables)
{
	int			i;

	for (i = 0; i < ntables; i++)
		meter_execute(psprintf("DELETE FROM %s.%s WHERE meter = %s",
							   quote_identifier(stream), tables[i],
							   quote_literal_cstr(meter)),
					  SPI_OK_DELETE);
}

/* Raise that there is no such stream. */
void
meter_no_stream(const char *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" does not exist", stream),
			 meter_cluster_is_worker() ?
			 errhint("This node is a worker of a cluster. Call the function on the coordinator, and not in a query that selects from distributed tables: that is computed here.") :
			 errhint("meter.create_stream(%s) makes the stream.", quote_literal_cstr(stream))));
}

/* Raise that a stream is not worked on. */
void
meter_not_active(const char *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" is not active", stream),
			 errhint("After a restore, or in a copy of the database, meter.resume(%s) checks the stream and makes it active again.",
					 quote_literal_cstr(stream))));
}

/* Return over how many shards a stream is distributed; 0: it is not. */
int
meter_stream_shards(const char *stream)
{
	return meter_cluster_shards(stream, meter_placements[0].table);
}

/* Raise that something does not work on a distributed stream, if this is one. */
void
meter_refuse_distributed(const char *stream, const char *what)
{
	if (meter_stream_shards(stream) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s does not work on a distributed stream", what),
			 errdetail("Stream \"%s\" is distributed over a cluster.", stream)));
}

/*
 * Check that the caller is a member of the stream's owner, as for any DDL.
 * Only superusers may change a stream whose schema is gone.
 */
void
meter_check_stream_permission(const char *stream)
{
	bool		exists;
	bool		active;
	Oid			schema;

	meter_look_up_stream(stream, &exists, &active);
	if (!exists)
		meter_no_stream(stream);
	schema = get_namespace_oid(stream, true);
	if (OidIsValid(schema) ? !meter_schema_ownercheck(schema, GetUserId()) :
		!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream \"%s\"", stream),
				 OidIsValid(schema) ?
				 errhint("The owner is role \"%s\".",
						 GetUserNameFromId(meter_stream_owner(stream), true)) : 0));
}

/* Return the columns that a stream has, as VALUES (table, column, type). */
static char *
shape_values(void)
{
	const MeterTableColumn *column;
	StringInfoData values;

	initStringInfo(&values);
	for (column = meter_table_columns; column->table != NULL; column++)
		appendStringInfo(&values, "%s('%s','%s','%s')",
						 values.len > 0 ? "," : "", column->table,
						 column->name, column->type);
	return values.data;
}

/*
 * Return the shape of a stream's tables, or that of this version if the catalog
 * does not have it yet.
 */
int
meter_stream_shape(const char *stream)
{
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(stream)};
	int			shape;
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_catalog("SELECT coalesce((SELECT shape FROM meter.stream WHERE name = $1), " CppAsString2(METER_SHAPE) ")",
						  lengthof(types), types, values);
	shape = DatumGetInt32(meter_result(0, 1, &isnull));
	meter_session_end(&session);
	return shape;
}

/* Check that a stream has the shape of this version. */
void
meter_check_shape(const char *stream)
{
	int			shape = meter_stream_shape(stream);

	if (shape == METER_SHAPE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" was made by %s version of meter", stream,
					shape < METER_SHAPE ? "an older" : "a newer"),
			 errdetail("Its shape is %d, and that of this version %d.", shape,
					   METER_SHAPE),
			 shape < METER_SHAPE ?
			 errhint("meter.upgrade_stream(%s) brings it up to date.", quote_literal_cstr(stream)) :
			 errhint("Install that version.")));
}

/* A stream that was found to be as it should be. */
typedef struct Checked
{
	char	   *stream;
	uint64		changes;		/* those of the catalog up to then */
} Checked;

static List *checked = NIL;

/* Find what is known of a check of a stream, or NULL. */
static Checked *
find_checked(const char *stream)
{
	ListCell   *cell;

	foreach(cell, checked)
	{
		if (strcmp(((Checked *) lfirst(cell))->stream, stream) == 0)
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Tell whether all of a stream's tables were found to be as they should be, and
 * no table has changed since.
 */
bool
meter_stream_is_checked(const char *stream)
{
	Checked    *entry = find_checked(stream);

	return entry != NULL && entry->changes == meter_catalog_changes();
}

/*
 * Note that a stream was found to be as it should be, by queries that saw at
 * least these changes of the catalog.
 */
void
meter_note_checked(const char *stream, uint64 changes)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
	Checked    *entry = find_checked(stream);

	if (entry == NULL)
	{
		entry = palloc(sizeof(Checked));
		entry->stream = pstrdup(stream);
		checked = lappend(checked, entry);
	}
	entry->changes = changes;
	MemoryContextSwitchTo(before);
}

/*
 * Check that all tables of a stream are there and belong to the schema's owner,
 * and that none has a deferrable trigger.  Within a session.
 */
static void
check_tables(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_catalog(
						  "SELECT c.relname, c.relowner <> n.nspowner, t.tgname "
						  "FROM pg_namespace n "
						  "JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p') "
						  "LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgdeferrable "
						  "WHERE n.nspname = $1::name "
						  "AND (c.relowner <> n.nspowner OR t.oid IS NOT NULL) "
						  "ORDER BY c.relname LIMIT 1",
						  1, types, values);
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

	meter_execute_catalog(
						  psprintf("SELECT s.tab, s.col, s.typ, format_type(a.atttypid, NULL) "
								   "FROM (VALUES %s) s (tab, col, typ) "
								   "LEFT JOIN (pg_attribute a "
								   "JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') "
								   "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name) "
								   "ON c.relname = s.tab AND a.attname = s.col AND NOT a.attisdropped "
								   "WHERE a.attname IS NULL OR format_type(a.atttypid, NULL) <> s.typ "
								   "ORDER BY 1, 2 LIMIT 1", shape_values()),
						  1, types, values);
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
}

/* The logs of which a segment seems to be missing; $1 is the stream. */
#define SEEM_INCOMPLETE \
"SELECT l.log FROM (VALUES ('event'), ('measure')) l (log) " \
"JOIN pg_class p ON p.relname = l.log " \
"JOIN pg_namespace n ON n.oid = p.relnamespace AND n.nspname = $1::name " \
"LEFT JOIN (SELECT i.inhparent, substring(c.relname FROM '_([0-9]+)$')::bigint AS k " \
"FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid " \
"WHERE NOT i.inhdetachpending) s ON s.inhparent = p.oid " \
"GROUP BY l.log HAVING count(s.k) <> coalesce(max(s.k), 0) + 1"

/*
 * Check that no segment is missing: without a detached one, its events would
 * seem never to have been.  Where none has expired, the catalog says it, at a
 * tenth of the price.  What expires between the two looks does not go unseen.
 */
static void
check_segments(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	bool		expired;

	meter_execute(psprintf("SELECT FROM %s._expired LIMIT 1",
						   quote_identifier(stream)), SPI_OK_SELECT);
	expired = SPI_processed > 0;
	if (!expired)
		meter_execute_catalog(SEEM_INCOMPLETE, 1, types, values);
	if (!expired && SPI_processed == 0)
		return;

	meter_execute_params(psprintf(SEEM_INCOMPLETE " - (SELECT count(*) FROM %s._expired x WHERE x.log = l.log)",
								  quote_identifier(stream)),
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("log \"%s.%s\" is incomplete: a segment is missing",
						stream, meter_result_text(0, 1)),
				 errhint("Attach the segment again with ALTER TABLE ... ATTACH PARTITION.")));
}

/*
 * Check what the engine relies upon: all tables of the stream are there and
 * belong to the schema's owner, and none has a deferrable trigger, which would
 * run after the session that confines the owner's code.  Within a session.
 */
void
meter_check_stream(const char *stream)
{
	/* whoever asks of a shard has checked the stream that it is of */
	if (meter_current_shard() != NULL)
		return;
	meter_check_shape(stream);
	if (!meter_stream_is_checked(stream))
		check_tables(stream);
	check_segments(stream);
}
