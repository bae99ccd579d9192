/*
 * home.c
 *	  Where a stream is active: in one database of one server.
 *
 * Whoever copies a database copies the rows of meter.active_stream, and two
 * databases that bill the same are one too many.  So a row says where it was
 * written:
 *
 * - the database: CREATE DATABASE ... TEMPLATE makes another one;
 * - the system identifier: pg_createsubscriber changes it.  pg_upgrade does,
 *	 too, and it alone brings rows to another major version: there the database
 *	 decides, whose OID it keeps;
 * - the base backup from which the data directory was started last, as
 *	 backup_label.old has it.  A standby is started from one, and so is a server
 *	 that is restored to a point in time, but when they come up they begin a
 *	 timeline.  A base backup that is started as it is, goes on in the timeline
 *	 of its server: it is a second one.
 *
 * What cannot be told from the server itself: a copy of its files that is no
 * base backup, and a standby or a restored server that comes up while the other
 * one goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog/home.h"
#include "pg/key_scan.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"

/* The base backup from which the data directory was started last. */
typedef struct BaseBackup
{
	bool		known;			/* the file was read */
	char		name[MAXPGPATH];	/* empty: there is none */
	TimeLineID	timeline;
} BaseBackup;

/* It does not change while a server runs. */
static BaseBackup base_backup;

/* Take what follows a key in a line; returns false if the line has another. */
static bool
take_line(const char *line, const char *key, char *value, size_t size)
{
	size_t		length = strlen(key);

	if (strncmp(line, key, length) != 0)
		return false;
	strlcpy(value, line + length, size);
	value[strcspn(value, "\n")] = '\0';
	return true;
}

/* Find out about the base backup. */
static const BaseBackup *
find_base_backup(void)
{
	char		line[MAXPGPATH];
	char		start[MAXPGPATH / 4] = "";
	char		time[MAXPGPATH / 4] = "";
	const char *file_name;
	FILE	   *file;

	if (base_backup.known)
		return &base_backup;
	file = AllocateFile("backup_label.old", "r");
	if (file == NULL && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", "backup_label.old")));
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		if (!take_line(line, "START WAL LOCATION: ", start, sizeof(start)))
			(void) take_line(line, "START TIME: ", time, sizeof(time));
	}
	if (file != NULL)
		FreeFile(file);
	/* the name of a file of WAL begins with the timeline */
	file_name = strstr(start, "(file ");
	if (file_name != NULL)
	{
		base_backup.timeline = strtoul(pnstrdup(file_name + 6, 8), NULL, 16);
		snprintf(base_backup.name, sizeof(base_backup.name), "%s, %s", start,
				 time);
	}
	base_backup.known = true;
	return &base_backup;
}

PG_FUNCTION_INFO_V1(meter_home);

/* home() */
Datum
meter_home(PG_FUNCTION_ARGS)
{
	const BaseBackup *backup = find_base_backup();
	TupleDesc	descriptor;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = ObjectIdGetDatum(MyDatabaseId);
	values[1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[2] = Int32GetDatum(METER_MAJOR_VERSION);
	nulls[3] = backup->name[0] == '\0';
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(backup->name);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor),
													  values, nulls)));
}

/*
 * Tell whether that was written here; `name` of the base backup may be NULL.
 */
static bool
is_home(Oid database, uint64 system, int version, const char *name)
{
	const BaseBackup *backup;

	if (database != MyDatabaseId)
		return false;
	if (version != METER_MAJOR_VERSION)
		return true;
	if (system != GetSystemIdentifier())
		return false;
	backup = find_base_backup();
	if (backup->name[0] == '\0' || RecoveryInProgress() ||
		(name != NULL && strcmp(name, backup->name) == 0))
		return true;
	return METER_CURRENT_TIMELINE() > backup->timeline;
}

PG_FUNCTION_INFO_V1(meter_is_home);

/* is_home(database, system, version, backup) */
Datum
meter_is_home(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(is_home(PG_GETARG_OID(0), (uint64) PG_GETARG_INT64(1),
						   PG_GETARG_INT32(2), PG_ARGISNULL(3) ? NULL :
						   text_to_cstring(PG_GETARG_TEXT_PP(3))));
}

/* The columns of meter.active_stream, its key first. */
enum
{
	ACTIVE_NAME,
	ACTIVE_DATABASE,
	ACTIVE_SYSTEM,
	ACTIVE_VERSION,
	ACTIVE_BACKUP,
	ACTIVE_NCOLUMNS
};

static const MeterWriterColumn active_columns[ACTIVE_NCOLUMNS] = {
	{"name", TEXTOID},
	{"database", OIDOID},
	{"system", INT8OID},
	{"version", INT4OID},
	{"backup", TEXTOID}
};

/*
 * Tell whether a stream is active here, as the active snapshot sees it: this is
 * meter_stream_is_active() without a query.
 */
bool
meter_is_active_here(const char *stream)
{
	MeterKeyScan *scan = meter_key_scan_begin("meter", "active_stream",
											  active_columns, ACTIVE_NCOLUMNS);
	Datum		key = CStringGetTextDatum(stream);
	bool		active = false;
	bool		isnull;

	meter_key_scan_seek(scan, 1, &key);
	if (meter_key_scan_next(scan))
	{
		Datum		backup = meter_key_scan_value(scan, ACTIVE_BACKUP, &isnull);
		char	   *name = isnull ? NULL : TextDatumGetCString(backup);

		active = is_home(DatumGetObjectId(meter_key_scan_value(scan, ACTIVE_DATABASE, &isnull)),
						 (uint64) DatumGetInt64(meter_key_scan_value(scan, ACTIVE_SYSTEM, &isnull)),
						 DatumGetInt32(meter_key_scan_value(scan, ACTIVE_VERSION, &isnull)),
						 name);
	}
	meter_key_scan_end(scan);
	return active;
}

/* Have a stream be active here.  In a session of the extension's owner. */
void
meter_move_in(const char *stream)
{
	Oid			types[2] = {TEXTOID, OIDOID};
	Datum		values[2];

	values[0] = CStringGetTextDatum(stream);
	values[1] = ObjectIdGetDatum(get_relname_relid("event",
												   get_namespace_oid(stream, false)));
	meter_execute_params("INSERT INTO meter.active_stream (name, event_log, database, system, version, backup) "
						 "SELECT $1, $2, h.database, h.system, h.version, h.backup FROM meter_internal.home() h "
						 "ON CONFLICT (name) DO UPDATE SET event_log = excluded.event_log, database = excluded.database, "
						 "system = excluded.system, version = excluded.version, backup = excluded.backup",
						 SPI_OK_INSERT, 2, types, values, NULL);
}

/*
 * Write anew where streams are active that were brought here by pg_upgrade, or
 * by the end of a recovery: once.
 */
void
meter_confirm_home(void)
{
	MeterSession session;

	if (IsolationUsesXactSnapshot() || RecoveryInProgress())
		return;
	meter_session_begin(&session, meter_extension_owner());
	/* somebody else may be about to, and need not come to an end */
	meter_execute("UPDATE meter.active_stream s SET system = f.system, version = f.version, backup = f.backup "
				  "FROM (SELECT a.name, h.* FROM meter.active_stream a, meter_internal.home() h WHERE a.database = h.database "
				  "AND (a.system, a.version, a.backup) IS DISTINCT FROM (h.system, h.version, h.backup) "
				  "AND " METER_IS_HOME("a") " FOR UPDATE OF a SKIP LOCKED) f WHERE s.name = f.name", SPI_OK_UPDATE);
	meter_session_end(&session);
}
