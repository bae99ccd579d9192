/*
 * segment.c
 *	  Segments: a log is partitioned by arrival, into segments of which the
 *	  newest takes writes and the others never change.
 *
 * Segment k has the arrivals [k << 32, (k + 1) << 32), so to roll to the next
 * segment is to move the log's sequence on to the next multiple; no bound is
 * computed and no partition is split.  The next segment must be there before,
 * visible to every transaction: earlier transactions make some ahead.
 *
 * A rolled segment may still get rows from transactions that drew an arrival
 * before.  These transactions are noted after the sequence has moved; once all
 * of them have ended the segment is closed.  Then it is sealed: it gets the
 * indexes that would slow writers down, and a constraint that lets the planner
 * skip it.  Each of these steps can be repeated, is a transaction of its own,
 * and gives up rather than wait.
 *
 * A transaction that rolls or seals holds the lock on the stream.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "log/month.h"
#include "log/position.h"
#include "log/segment.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/now.h"
#include "pg/operation.h"
#include "pg/quantity.h"
#include "pg/settings.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* Rows and minutes after which a segment makes room; 0: never. */

/* A log, and the times by which the planner can tell its segments apart. */
typedef struct Log
{
	const char *name;
	const char *key;			/* columns of the index after resource */
	const char *begins;
	const char *ends;
} Log;

static const Log logs[] = {
	{"event", "\"time\"", "\"time\"", "\"time\""},
	{"measure", "end_time", "start_time", "end_time"}
};

/* A segment as a step of maintenance finds it. */
typedef struct Segment
{
	int64		number;
	char	   *name;			/* quoted, with its schema */
	bool		ours;			/* made by the current transaction */
	bool		has_started;
	TimestampTz started;
	bool		has_note;
	bool		closed;
	bool		sealed;
	bool		has_index;
	bool		has_check;
	bool		check_is_valid;
	char	   *numbers;		/* a query of rows and times, once counted */
} Segment;

/* Have a segment, of a name with its schema, refuse what does not go through its log. */
static void
guard_segment(const char *stream, const char *name)
{
	meter_execute(psprintf("CREATE OR REPLACE TRIGGER guard_segment BEFORE INSERT OR TRUNCATE ON %s "
						   "FOR EACH STATEMENT EXECUTE FUNCTION %s.guard_log()",
						   name, quote_identifier(stream)), SPI_OK_UTILITY);
}

/*
 * Make a segment of a log as a table of its own, and attach it: that waits for
 * nobody.
 */
void
meter_create_segment(const char *stream, const char *log, int64 segment)
{
	const char *schema = quote_identifier(stream);
	char	   *name = psprintf("%s.%s_" INT64_FORMAT, schema, log, segment);

	meter_execute(psprintf("CREATE TABLE %s (LIKE %s.%s INCLUDING CONSTRAINTS INCLUDING GENERATED)",
						   name, schema, log), SPI_OK_UTILITY);
	meter_execute(psprintf("CREATE INDEX %s_" INT64_FORMAT "_arrival ON %s "
						   "USING brin (arrival) WITH (pages_per_range = 32)",
						   log, segment, name), SPI_OK_UTILITY);
	/* on a cluster, privileges guard */
	if (meter_cluster_shards(stream, log) == 0)
		guard_segment(stream, name);
	meter_execute(psprintf("ALTER TABLE %s.%s ATTACH PARTITION %s "
						   "FOR VALUES FROM (" INT64_FORMAT ") TO (" INT64_FORMAT ")",
						   schema, log, name,
						   segment << METER_SEGMENT_BITS,
						   (segment + 1) << METER_SEGMENT_BITS),
				  SPI_OK_UTILITY);
}

/*
 * Return the number of the newest segment of a log, and how many arrivals were
 * drawn from it.
 */
static int64
newest_segment(const char *stream, const char *log, int64 *drawn)
{
	MeterSession session;
	int64		next;
	int64		segment;
	bool		isnull;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END "
						   "FROM %s.%s_arrival_seq",
						   quote_identifier(stream), log), SPI_OK_SELECT);
	next = DatumGetInt64(meter_result(0, 1, &isnull));
	meter_session_end(&session);

	segment = next >> METER_SEGMENT_BITS;
	/* the first arrival of all is 1 */
	*drawn = next - Max(segment << METER_SEGMENT_BITS, 1);
	return segment;
}

/* List the segments of a log, in order. */
static List *
list_segments(const char *stream, const Log *log)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	List	   *segments = NIL;
	uint64		i;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log->name);
	values[2] = CStringGetTextDatum(log->key[0] == '"' ? "time" : log->key);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_catalog(
						  "SELECT s.number, format('%I.%I', $1, s.relname), s.xmin, g.started_at, "
						  "g.note_writers IS NOT NULL, coalesce(g.closed, false), g.sealed_at IS NOT NULL, "
	/* such an index may have been there before, under any name */
						  "EXISTS (SELECT FROM pg_index x "
						  "WHERE x.indrelid = s.oid AND x.indisvalid AND x.indpred IS NULL "
						  "AND x.indnkeyatts >= 2 "
	/* no join: of many segments, each would be one */
						  "AND (SELECT c.relam FROM pg_class c WHERE c.oid = x.indexrelid) = (SELECT oid FROM pg_am WHERE amname = 'btree') "
						  "AND x.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = s.oid AND attname = 'resource') "
						  "AND x.indkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = s.oid AND attname = $3)), "
						  "(SELECT k.convalidated FROM pg_constraint k WHERE k.conrelid = s.oid AND k.conname = 'times_of_segment'), "
						  "CASE WHEN g.rows IS NOT NULL THEN "
						  "format('VALUES (%s::bigint, %L::timestamptz, %L::timestamptz)', g.rows, g.least_time, g.greatest_time) END "
						  "FROM (SELECT c.oid, c.relname, i.xmin, "
						  "substring(c.relname FROM '_([0-9]+)$')::bigint AS number "
						  "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
						  "JOIN pg_class p ON p.oid = i.inhparent AND p.relname = $2::name "
						  "JOIN pg_namespace n ON n.oid = p.relnamespace AND n.nspname = $1::name "
	/* other tables that an owner attached are no segments */
						  "WHERE NOT i.inhdetachpending AND c.relnamespace = n.oid "
						  "AND c.relname ~ ('^' || $2 || '_[0-9]{1,10}$')) s "
						  "LEFT JOIN meter.segment g ON g.stream = $1 AND g.log = $2 AND g.segment = s.number "
						  "ORDER BY s.number",
						  3, types, values);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		Segment    *segment = palloc0(sizeof(Segment));
		bool		isnull;
		Datum		value;

		segment->number = DatumGetInt64(meter_result(i, 1, &isnull));
		segment->name = meter_result_text(i, 2);
		segment->ours = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(meter_result(i, 3, &isnull)));
		value = meter_result(i, 4, &isnull);
		segment->has_started = !isnull;
		segment->started = isnull ? 0 : DatumGetTimestampTz(value);
		segment->has_note = DatumGetBool(meter_result(i, 5, &isnull));
		segment->closed = DatumGetBool(meter_result(i, 6, &isnull));
		segment->sealed = DatumGetBool(meter_result(i, 7, &isnull));
		segment->has_index = DatumGetBool(meter_result(i, 8, &isnull));
		value = meter_result(i, 9, &isnull);
		segment->has_check = !isnull;
		segment->check_is_valid = !isnull && DatumGetBool(value);
		segment->numbers = meter_result_text(i, 10);
		segments = lappend(segments, segment);
		MemoryContextSwitchTo(before);
	}
	meter_session_end(&session);
	return segments;
}

/* Give its guard to each segment of a stream.  Within a session of its owner. */
void
meter_guard_segments(const char *stream)
{
	ListCell   *cell;
	int			i;

	for (i = 0; i < (int) lengthof(logs); i++)
	{
		foreach(cell, list_segments(stream, &logs[i]))
			guard_segment(stream, ((Segment *) lfirst(cell))->name);
	}
}

/* Find a segment by its number in a list; NULL if it is not there. */
static Segment *
find_segment(List *segments, int64 number)
{
	ListCell   *cell;

	foreach(cell, segments)
	{
		Segment    *segment = lfirst(cell);

		if (segment->number == number)
			return segment;
	}
	return NULL;
}

/* Update a segment's row in the catalog: "column = expression, …". */
static void
store_segment(const char *stream, const Log *log, int64 segment,
			  const char *columns, const char *expressions,
			  Datum writers, TimestampTz server)
{
	MeterSession session;
	Oid			types[5] = {TEXTOID, TEXTOID, INT8OID, TEXTARRAYOID, TIMESTAMPTZOID};
	Datum		values[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log->name);
	values[2] = Int64GetDatum(segment);
	values[3] = writers;
	values[4] = TimestampTzGetDatum(server);
	if (writers == (Datum) 0)
		nulls[3] = nulls[4] = 'n';
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(
						 psprintf("INSERT INTO meter.segment AS s (stream, log, segment, %s) "
								  "VALUES ($1, $2, $3, %s) ON CONFLICT (stream, log, segment) "
								  "DO UPDATE SET (%s) = ROW (%s)",
								  columns, expressions, columns, expressions),
						 SPI_OK_INSERT, 5, types, values, nulls);
	meter_session_end(&session);
}

/*
 * Note which transactions may still write to a segment that was rolled, the
 * own one among them.
 */
static void
note_writers(const char *stream, const Log *log, int64 segment,
			 const char *condition)
{
	Datum		writers = meter_find_writers(stream, log->name, condition);

	store_segment(stream, log, segment, "note_writers, note_server",
				  "$4, $5", writers, meter_server_start());
}

/*
 * Tell whether the segments ahead of the newest are there for every
 * transaction.  A statement sees only the segments that were committed when it
 * began, however many arrivals it draws.  So a log is not rolled into the last
 * of those segments, and not twice while one statement lasts: all transactions
 * that wrote before the last roll must have ended (previous_is_closed), and
 * all segments ahead must have been committed before this roll.
 */
static bool
ahead_are_there(List *segments, int64 newest)
{
	int			i;

	for (i = 1; i <= METER_SEGMENTS_AHEAD; i++)
	{
		Segment    *segment = find_segment(segments, newest + i);

		if (segment == NULL || segment->ours)
			return false;
	}
	return true;
}

/* Tell whether no transaction can write to the segment before the newest. */
static bool
previous_is_closed(List *segments, int64 newest)
{
	Segment    *previous = find_segment(segments, newest - 1);

	return previous == NULL || previous->closed || previous->sealed;
}

/*
 * Roll a log: whoever draws an arrival from now on writes to the next segment.
 */
static void
roll(const char *stream, const Log *log, int64 newest)
{
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_sequence(stream, log->name);
	meter_execute(psprintf("SELECT setval(%s::regclass, " INT64_FORMAT ", false)",
						   quote_literal_cstr(psprintf("%s.%s_arrival_seq",
													   quote_identifier(stream),
													   log->name)),
						   (newest + 1) << METER_SEGMENT_BITS),
				  SPI_OK_SELECT);
	meter_session_end(&session);
	note_writers(stream, log, newest, "");
	store_segment(stream, log, newest + 1, "started_at", "meter_internal.clock_now()",
				  0, 0);
}

/*
 * Close a rolled segment if the last of its writers has ended: then nothing
 * more comes to it.
 */
static bool
close_segment(const char *stream, const Log *log, const Segment *segment)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[3];
	Datum		writers;
	TimestampTz server;
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log->name);
	values[2] = Int64GetDatum(segment->number);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT note_writers, note_server FROM meter.segment "
						 "WHERE stream = $1 AND log = $2 AND segment = $3",
						 SPI_OK_SELECT, 3, types, values, NULL);
	writers = meter_result(0, 1, &isnull);
	MemoryContextSwitchTo(context);
	writers = PointerGetDatum(DatumGetArrayTypePCopy(writers));
	server = DatumGetTimestampTz(meter_result(0, 2, &isnull));
	meter_session_end(&session);

	if (server != meter_server_start())
	{
		note_writers(stream, log, segment->number, METER_PREPARED_WRITERS);
		return false;
	}
	if (meter_any_left(writers))
		return false;
	if (!meter_committed_everywhere(stream, log->name, &writers))
	{
		store_segment(stream, log, segment->number, "note_writers, note_server",
					  "$4, $5", writers, server);
		return false;
	}
	store_segment(stream, log, segment->number,
				  "closed, note_writers, note_server", "true, NULL, NULL", 0, 0);
	return true;
}

/*
 * Count the rows of a closed segment, and add the constraint that tells the
 * planner their times.
 */
static void
add_check(const char *stream, const Log *log, const Segment *segment)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	char	   *numbers;
	char	   *constraint;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT format('%%s, %%L, %%L, %%L, %%L, %%L, %%s', count(*), min(arrival), max(arrival), min(%s), max(%s), max(%s - %s), "
						   "CASE WHEN count(*) = 0 THEN 'now()' ELSE 'NULL' END), "
						   "format('%s >= %%L AND %s <= %%L%s', min(%s), max(%s), min(%s), max(%s)), "
						   "count(*) > 0 FROM %s",
						   log->begins, log->ends, log->ends, log->begins,
						   log->begins, log->begins,
						   log->begins == log->ends ? "" :
						   psprintf(" AND %s >= %%L AND %s <= %%L",
									log->ends, log->ends),
						   log->begins, log->begins, log->ends, log->ends,
						   segment->name),
				  SPI_OK_SELECT);
	numbers = meter_result_text(0, 1);
	constraint = meter_result_text(0, 2);
	if (!segment->has_check && strcmp(meter_result_text(0, 3), "t") == 0)
		meter_execute(psprintf("ALTER TABLE %s ADD CONSTRAINT times_of_segment CHECK (%s) NOT VALID",
							   segment->name, constraint), SPI_OK_UTILITY);
	numbers = MemoryContextStrdup(context, numbers);
	meter_session_end(&session);
	/* an empty segment is sealed as it is */
	store_segment(stream, log, segment->number,
				  "rows, first_arrival, last_arrival, least_time, greatest_time, longest, sealed_at",
				  numbers, 0, 0);
}

/* Take one step to seal a closed segment. */
static void
seal(const char *stream, const Log *log, const Segment *segment)
{
	MeterSession session;
	bool		last = segment->has_index && segment->check_is_valid;

	bool		shown = meter_operation_begin("seal", stream, NULL);

	if (segment->has_index &&
		(!segment->has_check || segment->numbers == NULL))
	{
		meter_operation_phase("counting rows", METER_TOTAL_UNKNOWN);
		add_check(stream, log, segment);
		meter_operation_end(shown);
		return;
	}
	meter_operation_phase(!segment->has_index ? "building indexes" :
						  "validating the constraint", METER_TOTAL_UNKNOWN);
	meter_session_begin(&session, meter_stream_owner(stream));
	if (!segment->has_index)
	{
		/* let the server name the index: a name of our own may be taken */
		meter_execute(psprintf("CREATE INDEX ON %s (resource, %s)",
							   segment->name, log->key), SPI_OK_UTILITY);
		meter_execute(psprintf("CREATE INDEX IF NOT EXISTS %s_" INT64_FORMAT "_time ON %s "
							   "USING brin (%s) WITH (pages_per_range = 32)",
							   log->name, segment->number, segment->name,
							   log->key), SPI_OK_UTILITY);
	}
	else if (!segment->check_is_valid)
		meter_execute(psprintf("ALTER TABLE %s VALIDATE CONSTRAINT times_of_segment",
							   segment->name), SPI_OK_UTILITY);
	else						/* the next vacuum is the last one */
		meter_execute(psprintf("ALTER TABLE %s SET (autovacuum_freeze_min_age = 0, "
							   "autovacuum_vacuum_insert_threshold = 0, "
							   "autovacuum_vacuum_insert_scale_factor = 0)",
							   segment->name), SPI_OK_UTILITY);
	meter_session_end(&session);
	if (last)
		store_segment(stream, log, segment->number, "sealed_at", "now()", 0, 0);
	meter_operation_end(shown);
}

/* Tell whether it is time for a new segment. */
static bool
roll_is_due(const Segment *newest, int64 drawn)
{
	if (drawn == 0)
		return false;
	return (meter_segment_rows > 0 && drawn >= meter_segment_rows) ||
		(meter_segment_age > 0 && meter_now() - newest->started >=
		 meter_segment_age * USECS_PER_MINUTE);
}

/*
 * Make one of the segments that should be there, up to those ahead of the
 * newest.
 */
static bool
make_ahead(const char *stream, const Log *log, List *segments, int64 newest)
{
	MeterSession session;
	int64		last = -1;
	ListCell   *cell;

	foreach(cell, segments)
		last = Max(last, ((Segment *) lfirst(cell))->number);
	if (last >= newest + METER_SEGMENTS_AHEAD)
		return false;
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_create_segment(stream, log->name, last + 1);
	meter_session_end(&session);
	return true;
}

/*
 * Make all segments that are missing: a dump can have a sequence later than
 * its tables.
 */
void
meter_complete_segments(const char *stream)
{
	int			i;

	for (i = 0; i < (int) lengthof(logs); i++)
	{
		int64		drawn;
		int64		newest = newest_segment(stream, logs[i].name, &drawn);

		while (make_ahead(stream, &logs[i], list_segments(stream, &logs[i]), newest))
			CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Take one step of what is due for a log.  Returns true if something was done.
 */
static bool
maintain_log(const char *stream, const Log *log)
{
	int64		drawn;
	int64		newest = newest_segment(stream, log->name, &drawn);
	List	   *segments = list_segments(stream, log);
	ListCell   *cell;

	/* writers depend on the segments ahead, so these come first */
	if (make_ahead(stream, log, segments, newest))
		return true;
	foreach(cell, segments)
	{
		Segment    *segment = lfirst(cell);

		if (segment->number == newest && !segment->has_started)
		{
			store_segment(stream, log, newest, "started_at",
						  "meter_internal.clock_now()", 0, 0);
			return true;
		}
		if (segment->number == newest && roll_is_due(segment, drawn) &&
			ahead_are_there(segments, newest) &&
			previous_is_closed(segments, newest))
		{
			roll(stream, log, newest);
			return true;
		}
	}

	/* a snapshot of the whole transaction may miss rows of writers that ended */
	if (IsolationUsesXactSnapshot())
		return false;
	foreach(cell, segments)
	{
		Segment    *segment = lfirst(cell);

		if (segment->number >= newest || segment->sealed)
			continue;
		if (segment->closed)
		{
			seal(stream, log, segment);
			return true;
		}
		if (!segment->has_note)
		{
			/* after a restore the row may be missing */
			note_writers(stream, log, segment->number, "");
			return true;
		}
		if (close_segment(stream, log, segment))
			return true;
	}
	return false;
}

/* A step of maintenance: its stream, and whether it did something. */
typedef struct Maintenance
{
	const char *stream;
	bool		due_only;		/* not while it backs off after a failure */
	int			failures;		/* since it last succeeded */
	bool		done;
} Maintenance;

/*
 * Lock an active stream.  Returns false if another transaction holds the lock,
 * or the stream is not active, or is left alone for a while.
 */
static bool
lock_free_stream(Maintenance *step)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, BOOLOID};
	Datum		values[2] = {CStringGetTextDatum(step->stream),
	BoolGetDatum(step->due_only)};
	bool		locked;
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT s.maintenance_failures FROM meter.stream s WHERE s.name = $1 "
						 "AND EXISTS (SELECT FROM meter.active_stream a WHERE a.name = s.name AND " METER_IS_HOME("a") ") "
						 "AND NOT ($2 AND coalesce(s.maintenance_retry_at > clock_timestamp(), false)) "
						 "FOR UPDATE SKIP LOCKED",
						 SPI_OK_SELECT, 2, types, values, NULL);
	locked = SPI_processed == 1;
	if (locked)
		step->failures = DatumGetInt32(meter_result(0, 1, &isnull));
	meter_session_end(&session);
	return locked;
}

/* Store how maintenance went; NULL: well. */
static void
store_outcome(const char *stream, const char *error)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream), (Datum) 0};
	char		nulls[2] = {' ', error == NULL ? 'n' : ' '};

	if (error != NULL)
		values[1] = CStringGetTextDatum(error);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.stream SET maintenance_error = $2, "
						 "maintenance_failures = CASE WHEN $2 IS NULL THEN 0 ELSE maintenance_failures + 1 END, "
						 "maintenance_retry_at = CASE WHEN $2 IS NOT NULL THEN clock_timestamp() "
						 "+ make_interval(secs => least(10 * 2 ^ least(maintenance_failures, 9), 3600)) END "
						 "WHERE name IN (SELECT s.name FROM meter.stream s WHERE s.name = $1 FOR UPDATE SKIP LOCKED)",
						 SPI_OK_UPDATE, 2, types, values, nulls);
	meter_session_end(&session);
}

/* Record that maintenance of a stream was ended from outside. */
void
meter_maintenance_failed(const char *stream, const char *error)
{
	store_outcome(stream, error);
}

/* Make a step of maintenance, as meter_try() calls it. */
static void
maintain(void *arg)
{
	Maintenance *step = arg;
	int			level = NewGUCNestLevel();
	int			i;

	(void) set_config_option("lock_timeout", "200ms", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (lock_free_stream(step))
	{
		for (i = 0; i < (int) lengthof(logs) && !step->done; i++)
			step->done = maintain_log(step->stream, &logs[i]);
		if (!step->done)
			step->done = meter_make_months_ahead(step->stream);
		if (step->failures > 0)
			store_outcome(step->stream, NULL);
	}
	AtEOXact_GUC(false, level);
}

/*
 * Take one step to roll and seal the logs of a stream, in a subtransaction.
 * Returns true if something was done, so that there may be more to do.  Locks
 * of others are not waited for.  With `record` an error becomes a warning, so
 * that it does not keep other streams waiting, and is recorded on the stream.
 * With `due_only` a stream is left alone for a while after that.
 */
bool
meter_maintain_stream(const char *stream, bool record, bool due_only,
					  bool *failed)
{
	Maintenance step = {stream, due_only, 0, false};
	ErrorData  *error = meter_try(maintain, &step);

	*failed = false;
	if (error == NULL)
		return step.done;
	meter_cut_error(error);
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		ereport(DEBUG1,
				(errmsg_internal("a segment of stream \"%s\" is in use: %s",
								 stream, error->message)));
	else if (!record || error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	else
	{
		*failed = true;
		store_outcome(stream, error->message);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("segments of stream \"%s\" could not be maintained: %s",
						stream, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
	}
	FreeErrorData(error);
	return false;
}

/*
 * Return from the start of a row to its end, at most, of those in the sealed
 * segments of a log, in microseconds; -1 if that is not known.
 */
int64
meter_sealed_longest(const char *stream, const char *log)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream), CStringGetTextDatum(log)};
	int64		longest = -1;
	bool		isnull = true;
	Datum		interval;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT max(longest) FROM meter.segment "
						 "WHERE stream = $1 AND log = $2 AND sealed_at IS NOT NULL "
						 "HAVING bool_and(longest IS NOT NULL OR rows = 0)",
						 SPI_OK_SELECT, 2, types, values, NULL);
	if (SPI_processed > 0)
	{
		interval = meter_result(0, 1, &isnull);
		if (!isnull)
			longest = meter_interval_usec(DatumGetIntervalP(interval), "longest");
	}
	meter_session_end(&session);
	return longest;
}

/*
 * Return up to which arrival all rows of a log lie in segments that have an
 * index by resource, and the number of these segments and of their rows.
 */
int64
meter_sealed_until(const char *stream, const char *log, double *rows,
				   int *segments)
{
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	bool		isnull;
	int64		until;
	int			i;
	const Log  *which = NULL;
	const MeterShard *shard = meter_current_shard();
	ListCell   *cell;

	for (i = 0; i < (int) lengthof(logs); i++)
	{
		if (strcmp(logs[i].name, log) == 0)
			which = &logs[i];
	}
	Assert(which != NULL);

	/* no node but the coordinator has the catalog of segments */
	if (shard != NULL && shard->sealed != NULL)
	{
		const MeterShardSealed *sealed = &shard->sealed[which - logs];

		*rows = sealed->rows;
		*segments = (int) sealed->segments;
		return sealed->until;
	}
	*rows = 0;
	*segments = 0;
	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log);
	meter_session_begin(&session, meter_extension_owner());
	/* most streams have no sealed segments, which is quick to find out */
	meter_execute_params("SELECT coalesce(sum(rows), 0)::float8 FROM meter.segment "
						 "WHERE stream = $1 AND log = $2 AND sealed_at IS NOT NULL",
						 SPI_OK_SELECT, 2, types, values, NULL);
	*rows = DatumGetFloat8(meter_result(0, 1, &isnull));
	meter_session_end(&session);
	if (*rows == 0)
		return 0;

	until = 0;
	foreach(cell, list_segments(stream, which))
	{
		Segment    *segment = lfirst(cell);

		if (!segment->sealed || !segment->has_index)
			break;
		until = (segment->number + 1) << METER_SEGMENT_BITS;
		(*segments)++;
	}
	return until;
}

/* Make sure that a log can be rolled, or raise why it cannot. */
static void
prepare_roll(const char *stream, const Log *log, int64 newest)
{
	List	   *segments = list_segments(stream, log);
	Segment    *previous = find_segment(segments, newest - 1);

	if (!ahead_are_there(segments, newest))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("log \"%s.%s\" cannot be rolled: other transactions do not see the next segments yet",
						stream, log->name),
				 errhint("Commit first; CALL meter.run(%s) makes segments that are missing.",
						 quote_literal_cstr(stream))));
	if (previous_is_closed(segments, newest))
		return;
	if (!IsolationUsesXactSnapshot())
	{
		if (!previous->has_note)
			note_writers(stream, log, previous->number, "");
		if (close_segment(stream, log, previous))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("log \"%s.%s\" cannot be rolled again: a transaction that wrote to it before the last roll has not ended",
					stream, log->name),
			 errhint("Try again later; pg_locks shows which transactions hold RowExclusiveLock on the log.")));
}

/*
 * List the oldest sealed segments of a log, as long as all rows of one lie
 * before an instant and arrived up to a position.
 */
List *
meter_segments_before(const char *stream, const char *log, TimestampTz before,
					  int64 position)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[4];
	List	   *found = NIL;
	uint64		row;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log);
	values[2] = TimestampTzGetDatum(before);
	values[3] = Int64GetDatum(position);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT segment FROM (SELECT segment, bool_and(sealed_at IS NOT NULL "
						 "AND coalesce(greatest_time < $3, true) AND coalesce(last_arrival <= $4, true)) "
						 "OVER (ORDER BY segment) AS all_before FROM meter.segment "
						 "WHERE stream = $1 AND log = $2) s WHERE all_before ORDER BY segment",
						 SPI_OK_SELECT, 4, types, values, NULL);
	MemoryContextSwitchTo(context);
	for (row = 0; row < SPI_processed; row++)
	{
		MeterSegment *segment = palloc(sizeof(MeterSegment));
		bool		isnull;

		segment->log = log;
		segment->number = DatumGetInt64(meter_result(row, 1, &isnull));
		found = lappend(found, segment);
	}
	meter_session_end(&session);
	return found;
}

PG_FUNCTION_INFO_V1(meter_roll);

/* roll(stream): returns the number of logs that were rolled */
Datum
meter_roll(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterSession session;
	int			rolled = 0;
	int			i;

	PreventCommandIfReadOnly("meter.roll()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);

	for (i = 0; i < (int) lengthof(logs); i++)
	{
		int64		drawn;
		int64		newest = newest_segment(stream, logs[i].name, &drawn);

		if (drawn == 0)
			continue;
		prepare_roll(stream, &logs[i], newest);
		roll(stream, &logs[i], newest);
		(void) make_ahead(stream, &logs[i], list_segments(stream, &logs[i]),
						  newest + 1);
		rolled++;
	}
	meter_worker_wake();
	PG_RETURN_INT32(rolled);
}

PG_FUNCTION_INFO_V1(meter_maintain_step);

/* maintain_step(stream): one step for each stream asked for */
Datum
meter_maintain_step(PG_FUNCTION_ARGS)
{
	List	   *streams;
	ListCell   *cell;
	bool		failed;
	bool		done = false;

	PreventCommandIfReadOnly("meter_internal.maintain_step()");
	if (!PG_ARGISNULL(0))
	{
		char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));

		meter_check_access(stream, METER_ACCESS_OPERATOR);
		if (!meter_stream_is_active(stream))
			meter_not_active(stream);
		streams = list_make1(stream);
	}
	else
		streams = meter_active_streams(true);
	foreach(cell, streams)
		done |= meter_maintain_stream(lfirst(cell), PG_ARGISNULL(0), false,
									  &failed);
	PG_RETURN_BOOL(done);
}

PG_FUNCTION_INFO_V1(meter_log_segments);

/* log_segments(stream) */
Datum
meter_log_segments(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	int			i;

	meter_check_access(stream, METER_ACCESS_OPERATOR);
	meter_return_begin(fcinfo);
	for (i = 0; i < (int) lengthof(logs); i++)
	{
		const Log  *log = &logs[i];
		int64		drawn;
		int64		newest = newest_segment(stream, log->name, &drawn);
		MeterSession session;
		ListCell   *cell;

		foreach(cell, list_segments(stream, log))
		{
			Segment    *segment = lfirst(cell);
			const char *state = segment->number > newest ? "ahead" :
			segment->number == newest ? "open" :
			segment->sealed ? "sealed" :
			segment->closed ? "closed" : "rolled";
			char	   *numbers = segment->sealed ? segment->numbers :
			psprintf("SELECT count(*), min(%s), max(%s) FROM %s",
					 log->begins, log->ends, segment->name);

			meter_session_begin(&session, meter_stream_owner(stream));
			meter_execute(psprintf("SELECT '%s'::text, " INT64_FORMAT "::bigint, '%s'::text, int8range("
								   INT64_FORMAT ", " INT64_FORMAT "), "
								   "t.rows, t.least_time, t.greatest_time, pg_total_relation_size(%s::regclass) "
								   "FROM (%s) t (rows, least_time, greatest_time)",
								   log->name, segment->number, state,
								   segment->number << METER_SEGMENT_BITS,
								   (segment->number + 1) << METER_SEGMENT_BITS,
								   quote_literal_cstr(segment->name), numbers),
						  SPI_OK_SELECT);
			meter_return_result(fcinfo);
			meter_session_end(&session);
		}
	}
	return (Datum) 0;
}
