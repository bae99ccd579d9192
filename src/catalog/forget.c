/*
 * forget.c
 *	  Forgetting streams: by a call, or because their schema is gone.
 *
 * DROP SCHEMA tells the extension nothing.  A stream whose schema was dropped
 * has nothing that could be billed, and its name would be taken for ever, so
 * whoever looks at all streams frees it.  A schema that was only renamed is
 * told by the table of events, which the catalog knows by its OID.  Of a stream
 * that is not active, as after a restore, that is not known: it stays.
 *
 * Nothing here relies on triggers, which a session can switch off.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/forget.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "pg/spi.h"

/* The streams that are gone, as a query for their names a.name. */
#define GONE_STREAMS \
	"SELECT a.name FROM meter.active_stream a " \
	"WHERE NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = a.name::name) " \
	"AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.event_log AND c.relname = 'event')"

/* Delete all that the catalog has of a stream.  The caller has locked it. */
void
meter_forget_stream(const char *stream)
{
	static const char *const statements[] = {
		"DELETE FROM meter.meter WHERE stream = $1",
		"DELETE FROM meter.segment WHERE stream = $1",
		"DELETE FROM meter.consumer WHERE stream = $1",
		"DELETE FROM meter.consumer_position WHERE stream = $1",
		"DELETE FROM meter.active_stream WHERE name = $1",
		"DELETE FROM meter.stream WHERE name = $1"
	};
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	int			i;

	meter_lock_meters(stream);
	meter_session_begin(&session, meter_extension_owner());
	for (i = 0; i < (int) lengthof(statements); i++)
		meter_execute_params(statements[i], SPI_OK_DELETE, 1, types, values,
							 NULL);
	meter_forget_progress(stream, NULL);
	meter_session_end(&session);
	meter_sources_forget(stream);
}

/* Tell whether the schema of an active stream was dropped. */
bool
meter_stream_is_gone(const char *stream)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	bool		gone;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(GONE_STREAMS " AND a.name = $1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	gone = SPI_processed > 0;
	meter_session_end(&session);
	return gone;
}

/*
 * Lock the rows of a table of the catalog that are of a stream, in an order.
 * Returns false if another transaction has locked one of them.  In a session of
 * the extension's owner.
 */
static bool
lock_rows(const char *table, const char *column, const char *order,
		  const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	uint64		locked;

	meter_execute_params(psprintf("SELECT FROM %s WHERE %s = $1 ORDER BY %s FOR UPDATE SKIP LOCKED",
								  table, column, order),
						 SPI_OK_SELECT, 1, types, values, NULL);
	locked = SPI_processed;
	meter_execute_params(psprintf("SELECT count(*) FROM %s WHERE %s = $1",
								  table, column),
						 SPI_OK_SELECT, 1, types, values, NULL);
	return (uint64) meter_result_count(1) == locked;
}

/*
 * Lock a stream, its meters and its sources.  Returns false if another
 * transaction has locked any of them.
 */
static bool
lock_all(const char *stream)
{
	MeterSession session;
	bool		all;

	meter_session_begin(&session, meter_extension_owner());
	all = lock_rows("meter.stream", "name", "name", stream) &&
		lock_rows("meter.meter", "stream", "name", stream) &&
		lock_rows("meter.source", "stream", "source", stream);
	meter_session_end(&session);
	return all;
}

/*
 * Note the tables of events anew that were restored under an active stream, so
 * that their schemas are known after a RENAME, too.  In a session of the
 * extension's owner.
 */
static void
note_logs(void)
{
	meter_execute("UPDATE meter.active_stream s SET event_log = f.oid "
				  "FROM (SELECT a.name, c.oid FROM meter.active_stream a "
				  "JOIN pg_namespace n ON n.nspname = a.name::name "
				  "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'event' "
				  "WHERE a.event_log <> c.oid FOR UPDATE OF a SKIP LOCKED) f WHERE s.name = f.name",
				  SPI_OK_UPDATE);
}

/*
 * Forget the active streams whose schema was dropped.  One that another
 * transaction has locked is left for the next time.
 */
void
meter_forget_gone_streams(void)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	List	   *gone = NIL;
	ListCell   *cell;
	uint64		i;

	/* a snapshot of the whole transaction may not see a stream made anew */
	if (IsolationUsesXactSnapshot())
		return;
	meter_session_begin(&session, meter_extension_owner());
	note_logs();
	meter_execute(GONE_STREAMS, SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		gone = lappend(gone, meter_result_text(i, 1));
	meter_session_end(&session);

	foreach(cell, gone)
	{
		char	   *stream = lfirst(cell);

		if (!lock_all(stream) || !meter_stream_is_gone(stream))
			continue;
		meter_forget_stream(stream);
		ereport(LOG,
				(errmsg("stream \"%s\" was forgotten: its schema was dropped",
						stream)));
	}
}
