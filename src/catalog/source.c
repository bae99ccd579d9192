/*
 * source.c
 *	  Sources of a stream: how far each has told what happened.
 *
 * A source says by a heartbeat, or by a snapshot of its inventory, that the
 * log has everything it had to tell up to an instant.  The greatest of these
 * instants is its clock.  A heartbeat locks only the source's row of
 * meter.source, and a step reads these rows without a lock: neither waits for
 * the other.  A transaction that locks several rows of the catalog takes this
 * one last.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/limits.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/wake.h"

/*
 * The condition that a source s is waited for: unless it has been silent for
 * too long; $2 is the time.
 */
#define WAITED_FOR "(s.idle_limit IS NULL OR $2 - s.heard_at <= s.idle_limit)"

/* The most sources of a stream. */
#define MAX_SOURCES	10000
/* A source's clock may be so far ahead of the server's. */
#define AHEAD	USECS_PER_MINUTE

/*
 * Return the name of a source, which may be empty, as it is for rows that name
 * none.
 */
static char *
source_arg(FunctionCallInfo fcinfo)
{
	char	   *source = meter_text_arg(fcinfo, 1, "source");

	meter_check_source_name(source);
	return source;
}

/*
 * Find the clock of the sources of a stream: the least of those that are not
 * idle.  Returns false if one of these has not said anything yet, or if all
 * are idle.  With `even_idle` the greatest clock counts where all are idle.
 */
bool
meter_source_clock(const char *stream, bool even_idle, TimestampTz *clock)
{
	MeterSession session;
	Oid			types[3] = {TEXTOID, TIMESTAMPTZOID, BOOLOID};
	Datum		values[3] = {CStringGetTextDatum(stream),
	TimestampTzGetDatum(meter_now()), BoolGetDatum(even_idle)};
	Datum		least;
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT CASE WHEN bool_and(clock IS NOT NULL) FILTER (WHERE waited_for) "
						 "THEN min(clock) FILTER (WHERE waited_for) "
						 "WHEN $3 AND bool_and(NOT waited_for) THEN max(clock) END "
						 "FROM (SELECT s.clock, " WAITED_FOR " AS waited_for "
						 "FROM meter.source s WHERE s.stream = $1) s",
						 SPI_OK_SELECT, 3, types, values, NULL);
	least = meter_result(0, 1, &isnull);
	if (!isnull)
		*clock = DatumGetTimestampTz(least);
	meter_session_end(&session);
	return !isnull;
}

/*
 * Wake a worker if a period of a meter may be due.  This is a hint that knows
 * no time zones: the worker looks by itself in time.  Within a session of the
 * extension's owner.
 */
static void
wake_if_due(const char *stream)
{
	Oid			types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[2] = {CStringGetTextDatum(stream),
	TimestampTzGetDatum(meter_now())};
	bool		isnull;

	meter_execute_params("SELECT EXISTS (SELECT FROM meter.meter m WHERE m.stream = $1 AND m.clock = 'source' "
						 "AND m.watermark + m.period <= (SELECT min(s.clock) FROM meter.source s "
						 "WHERE s.stream = $1 AND " WAITED_FOR ") - m.lateness)",
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (DatumGetBool(meter_result(0, 1, &isnull)))
		meter_worker_wake();
}

/*
 * Refuse to make a source known if a stream has as many as it can have: each of
 * them is looked at in each step.  Within a session of the extension's owner;
 * the first two parameters name stream and source.
 */
static void
check_room(const char *stream, const char *source, Oid *types, Datum *values)
{
	bool		isnull;

	meter_execute_params("SELECT EXISTS (SELECT FROM meter.source WHERE stream = $1 AND source = $2) "
						 "OR (SELECT count(*) FROM meter.source WHERE stream = $1) < " CppAsString2(MAX_SOURCES),
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (!DatumGetBool(meter_result(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("stream \"%s\" cannot have source \"%s\", too: it has %d, which is the limit",
						stream, source, MAX_SOURCES),
				 errhint("meter.drop_source() forgets a source that is gone. A source is what sends events, not what they are about.")));
}

/*
 * Note that a source has told everything up to an instant.  An instant before
 * its clock changes nothing, and one that is a little ahead counts as now.  A
 * source that was not known and begins more than a day back is waited for as
 * long as its idle limit, and no longer before its clock has come as near as
 * that.
 */
void
meter_source_seen(const char *stream, const char *source, TimestampTz at)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[4];
	TimestampTz now = meter_time_of_day();

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a source cannot have told all up to \"%s\"",
						timestamptz_to_str(at))));
	if (at > now && at - now <= AHEAD)
		at = now;
	if (at > now)
	{
		char	   *said = pstrdup(timestamptz_to_str(at));

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source \"%s\" of stream \"%s\" is in the future: \"%s\"",
						source, stream, said),
				 errdetail("The time is \"%s\" now.", timestamptz_to_str(now)),
				 errhint("Look at the clock of the source's machine.")));
	}

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(source);
	values[2] = TimestampTzGetDatum(at);
	values[3] = TimestampTzGetDatum(now);
	meter_session_begin(&session, meter_extension_owner());
	check_room(stream, source, types, values);
	meter_execute_params("INSERT INTO meter.source AS s (stream, source, clock, heard_at, came_near) "
						 "VALUES ($1, $2, $3, $4, $4 - $3 <= '1 day') "
						 "ON CONFLICT (stream, source) DO UPDATE SET clock = excluded.clock, "
						 "came_near = s.came_near OR coalesce($4 - $3 <= s.idle_limit, true), "
						 "heard_at = CASE WHEN s.came_near OR coalesce($4 - $3 <= s.idle_limit, true) "
						 "THEN greatest(s.heard_at, excluded.heard_at) ELSE s.heard_at END "
						 "WHERE s.clock IS NULL OR s.clock < excluded.clock",
						 SPI_OK_INSERT, 4, types, values, NULL);
	if (SPI_processed > 0)
		wake_if_due(stream);
	meter_session_end(&session);
}

/*
 * Count all sources of a stream as heard just now, so that none is idle yet.
 */
void
meter_sources_expect(const char *stream)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[2] = {CStringGetTextDatum(stream),
	TimestampTzGetDatum(meter_time_of_day())};

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.source SET heard_at = $2 WHERE stream = $1",
						 SPI_OK_UPDATE, 2, types, values, NULL);
	meter_session_end(&session);
}

/* Delete all sources of a stream. */
void
meter_sources_forget(const char *stream)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.source WHERE stream = $1",
						 SPI_OK_DELETE, 1, types, values, NULL);
	meter_session_end(&session);
}

/* Tell whether the caller may insert into a relation, or some of its columns. */
static bool
may_insert(Oid schema, const char *name)
{
	Oid			relation = get_relname_relid(name, schema);

	return OidIsValid(relation) &&
		(pg_class_aclcheck(relation, GetUserId(), ACL_INSERT) == ACLCHECK_OK ||
		 pg_attribute_aclcheck_all(relation, GetUserId(), ACL_INSERT,
								   ACLMASK_ANY) == ACLCHECK_OK);
}

/*
 * Check that the caller may say how far the events of a stream go.  Whoever
 * may log them may, by columns or through an inbox: at worst, later ones are
 * late.
 */
static void
check_may_report(const char *stream)
{
	static const char *const logs[] = {
		"event", "measure", "inbox", "measure_inbox"
	};
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	Oid			schema = get_namespace_oid(stream, true);
	bool		may = false;
	bool		exists;
	int			i;

	for (i = 0; OidIsValid(schema) && i < (int) lengthof(logs); i++)
		may |= may_insert(schema, logs[i]);
	if (!may)
	{
		meter_check_access(stream, METER_ACCESS_INGEST);
		return;
	}
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT FROM meter.stream WHERE name = $1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	exists = SPI_processed > 0;
	meter_session_end(&session);
	if (!exists)
		meter_no_stream(stream);
}

PG_FUNCTION_INFO_V1(meter_heartbeat);

/* heartbeat(stream, source, at) */
Datum
meter_heartbeat(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *source = source_arg(fcinfo);

	PreventCommandIfReadOnly("meter.heartbeat()");
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"at\" must not be null"),
				 errhint("Leave \"at\" out for the time of now.")));
	check_may_report(stream);
	meter_source_seen(stream, source, PG_GETARG_TIMESTAMPTZ(2));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_set_source);

/* set_source(stream, source, idle_limit) */
Datum
meter_set_source(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *source = source_arg(fcinfo);
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, INTERVALOID, TIMESTAMPTZOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	PreventCommandIfReadOnly("meter.set_source()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(source);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = TimestampTzGetDatum(meter_time_of_day());
	if (PG_ARGISNULL(2))
		nulls[2] = 'n';
	else if (meter_interval_usec(PG_GETARG_INTERVAL_P(2), "idle_limit") <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"idle_limit\" must be positive"),
				 errhint("meter.drop_source() forgets a source; a source with a null \"idle_limit\" is waited for without end.")));

	/* a new source is waited for from now on */
	meter_session_begin(&session, meter_extension_owner());
	check_room(stream, source, types, values);
	meter_execute_params("INSERT INTO meter.source (stream, source, idle_limit, heard_at) VALUES ($1, $2, $3, $4) "
						 "ON CONFLICT (stream, source) DO UPDATE SET idle_limit = excluded.idle_limit",
						 SPI_OK_INSERT, 4, types, values, nulls);
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_source);

/* drop_source(stream, source) */
Datum
meter_drop_source(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *source = source_arg(fcinfo);
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream),
	CStringGetTextDatum(source)};

	PreventCommandIfReadOnly("meter.drop_source()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.source WHERE stream = $1 AND source = $2",
						 SPI_OK_DELETE, 2, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" has no source \"%s\"", stream, source),
				 errhint("View meter.source_status lists the sources.")));
	wake_if_due(stream);
	meter_session_end(&session);
	PG_RETURN_VOID();
}
