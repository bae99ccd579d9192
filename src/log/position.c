/*
 * position.c
 *	  The safe position: the arrival up to which no more rows can appear.
 *
 * A transaction may draw an arrival and commit after one that drew a later
 * arrival.  So a bound is noted first.  A later statement notes all transactions
 * that may have drawn an arrival up to the bound: those that hold
 * RowExclusiveLock on the log or a segment of it, which an insert takes before
 * it draws an arrival.  A session among them that is idle in its transaction,
 * and whose transaction has no ID, has no insert under way and has inserted
 * nothing: it has prepared a statement only, for which no right is needed, and
 * is not noted.  That holds only if it is looked at after the bound was noted:
 * what it inserts later draws a later arrival.  The bound is final once none of
 * them owns any lock; rows are then read in a still later statement, whose snapshot sees what they
 * committed.  The order of these steps makes it right.  No step waits: while a
 * writer is left, the position stays where it is.
 *
 * A note is kept in the catalog with the server's start: after a restart only
 * prepared transactions can be left of the noted ones, under other virtual
 * transaction IDs.  When a backend crashes, every process but the postmaster
 * starts anew, so the checkpointer's start counts.
 *
 * What is written to a log that is distributed over a cluster is prepared on its
 * nodes, committed here, and committed there.  Until then it is invisible, and the
 * transaction has no virtual transaction ID any more, but still its locks: it is
 * noted by its process.  If a node could not be told to commit, it keeps the
 * transaction prepared, and here nothing is left of it.  So once no noted writer
 * is left, those are noted that nodes have prepared; the bound is final once none
 * of these is left.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "log/position.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/spi.h"

/* What a transaction with locks l is noted by that has committed here, but not yet on all nodes. */
#define COMMITTING \
"CASE WHEN l.virtualtransaction LIKE '%/0' THEN " \
"(SELECT 'process ' || a.pid || ' since ' || a.backend_start FROM pg_stat_activity a WHERE a.pid = l.pid) " \
"ELSE l.virtualtransaction END"

/* The query for the transactions that write to a log. */
static const char *const writers_query =
"SELECT coalesce(array_agg(DISTINCT %s) FILTER (WHERE %s IS NOT NULL), '{}') FROM pg_locks l "
"WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted "
"AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
"%s %s "
/* prepared transactions have no process, and count */
"AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid "
"AND a.backend_type = 'client backend' AND a.backend_xid IS NULL "
"AND a.state IN ('idle in transaction', 'idle in transaction (aborted)')) "
"AND l.relation IN ("
"SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
"WHERE n.nspname = $1::name AND c.relname = $2::name "
"UNION ALL "
"SELECT i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent "
"JOIN pg_namespace n ON n.oid = c.relnamespace "
"WHERE n.nspname = $1::name AND c.relname = $2::name)";

/* N/0: it has committed already, its locks are all that is left. */
#define NOT_COMMITTED "AND l.virtualtransaction NOT LIKE '%/0'"

/* The condition that leaves out the own transaction, which sees its rows. */
#define OTHERS "AND l.pid IS DISTINCT FROM pg_backend_pid()"

/*
 * Check that the sequence of a log is as it was made.  Otherwise arrivals
 * would say nothing about the order of things: a session that cached some for
 * later does not show as a writer.  Within a session.
 */
void
meter_check_sequence(const char *stream, const char *log)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(log);
	meter_execute_catalog("SELECT s.seqcache = 1 AND NOT s.seqcycle AND s.seqincrement = 1 "
						  "FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid "
						  "JOIN pg_namespace n ON n.oid = c.relnamespace "
						  "WHERE n.nspname = $1::name AND c.relname = ($2 || '_arrival_seq')::name",
						  2, types, values);
	if (SPI_processed != 1 || !DatumGetBool(meter_result(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s.%s_arrival_seq\" must be there with CACHE 1, INCREMENT 1 and NO CYCLE",
						stream, log),
				 errhint("Correct the sequence with ALTER SEQUENCE; then meter.resettle() repairs what was missed.")));
}

/* Return the last arrival that was drawn. */
int64
meter_last_arrival(const MeterDefinition *definition, MeterLog of_log,
				   int64 position)
{
	const char *log = meter_log_names[of_log];
	MeterSession session;
	bool		isnull;
	int64		last;

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_sequence(definition->stream, log);
	meter_execute(psprintf("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END "
						   "FROM %s.%s_arrival_seq",
						   quote_identifier(definition->stream), log),
				  SPI_OK_SELECT);
	last = DatumGetInt64(meter_result(0, 1, &isnull));
	meter_session_end(&session);

	if (last < position)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("arrivals of stream \"%s\" went back: the last is " INT64_FORMAT
						", but " INT64_FORMAT " have been looked at",
						definition->stream, last, position),
				 errhint("meter.resume(%s) moves the sequence on; then meter.resettle() repairs what was missed.",
						 quote_literal_cstr(definition->stream))));
	return last;
}

/*
 * Return since when virtual transaction IDs mean what they do: a server that
 * starts, also after a crash, gives them out anew.
 */
TimestampTz
meter_server_start(void)
{
	MeterSession session;
	TimestampTz start;
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute("SELECT max(backend_start) FROM pg_stat_activity "
				  "WHERE backend_type = 'checkpointer'", SPI_OK_SELECT);
	start = DatumGetTimestampTz(meter_result(0, 1, &isnull));
	meter_session_end(&session);
	return isnull ? PgStartTime : start;
}

/*
 * Return the transactions that write to a log of a stream as a text[];
 * `condition` limits the rows l of pg_locks.
 */
Datum
meter_find_writers(const char *stream, const char *log, const char *condition)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream), CStringGetTextDatum(log)};
	bool		distributed = meter_stream_shards(stream) > 0;
	const char *name = distributed ? COMMITTING : "l.virtualtransaction";
	Datum		writers;
	bool		isnull;

	/* what sessions do now, not when the transaction looked first */
	pgstat_clear_backend_activity_snapshot();
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(psprintf(writers_query, name, name,
								  distributed ? "" : NOT_COMMITTED, condition),
						 SPI_OK_SELECT, 2, types, values, NULL);
	writers = meter_result(0, 1, &isnull);
	MemoryContextSwitchTo(context);
	writers = PointerGetDatum(DatumGetArrayTypePCopy(writers));
	meter_session_end(&session);
	return writers;
}

/* Tell whether any of these transactions is still there. */
bool
meter_any_left(Datum writers)
{
	MeterSession session;
	Oid			types[1] = {TEXTARRAYOID};
	Datum		values[1] = {writers};
	bool		left;
	bool		isnull;

	pgstat_clear_backend_activity_snapshot();
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT EXISTS (SELECT FROM pg_locks l WHERE l.virtualtransaction = ANY ($1)) "
						 "OR EXISTS (SELECT FROM unnest($1) w WHERE w LIKE 'process %' AND w IN "
						 "(SELECT " COMMITTING " FROM pg_locks l WHERE l.virtualtransaction LIKE '%/0'))",
						 SPI_OK_SELECT, 1, types, values, NULL);
	left = DatumGetBool(meter_result(0, 1, &isnull));
	meter_session_end(&session);
	return left;
}

/* Tell whether a list of transactions is empty. */
static bool
is_empty(Datum writers)
{
	ArrayType  *array = DatumGetArrayTypeP(writers);

	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0;
}

/*
 * Find what nodes have prepared of writes to a log of a stream, as a text[].
 * Returns false if that is not known of all nodes.
 */
static bool
find_prepared(const char *stream, const char *log, Datum *prepared)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	bool		known;

	meter_session_begin(&session, meter_stream_owner(stream));
	known = meter_cluster_prepared(stream, log, prepared);
	MemoryContextSwitchTo(context);
	*prepared = PointerGetDatum(DatumGetArrayTypePCopy(*prepared));
	meter_session_end(&session);
	return known;
}

/* Tell whether two text[] have an element in common. */
static bool
overlap(Datum a, Datum b)
{
	char	  **some;
	char	  **others;
	int			nsome = meter_text_elements(a, "writers", &some);
	int			nothers = meter_text_elements(b, "writers", &others);
	int			i;
	int			j;

	for (i = 0; i < nsome; i++)
	{
		for (j = 0; j < nothers; j++)
		{
			if (strcmp(some[i], others[j]) == 0)
				return true;
		}
	}
	return false;
}

/*
 * Tell whether all nodes have committed what the noted writers wrote, who are
 * gone here.  If not, what they have prepared is noted in place of the writers.
 */
bool
meter_committed_everywhere(const char *stream, const char *log, Datum *writers)
{
	Datum		prepared;

	if (meter_stream_shards(stream) == 0)
		return true;
	if (!find_prepared(stream, log, &prepared))
		return false;
	if (is_empty(prepared))
		return true;
	if (meter_cluster_are_prepared(*writers))
		return !overlap(prepared, *writers);
	*writers = prepared;
	return false;
}

/*
 * Return the safe position of a log: all rows up to that arrival are visible
 * to statements from now on, or never will be.  It is at least the position
 * that was reached before.  *noted_at is from where lateness was measured when
 * it was noted.
 */
int64
meter_safe_position(const MeterDefinition *definition,
					MeterProgress *progress, MeterLog log,
					TimestampTz *noted_at)
{
	const char *name = meter_log_names[log];
	MeterLogProgress *of_log = &progress->logs[log];
	int64		last = meter_last_arrival(definition, log, of_log->position);
	int64		safe = of_log->position;
	TimestampTz lateness_from = meter_lateness_from(progress);

	*noted_at = of_log->position_watermark;

	/*
	 * One snapshot for the whole transaction may be older than the end of a
	 * writer that is gone by now.
	 */
	if (IsolationUsesXactSnapshot())
		return safe;

	if (of_log->has_note)
	{
		TimestampTz start = meter_server_start();

		if (of_log->note_server != start)
		{
			of_log->note_writers =
				meter_find_writers(definition->stream, name,
								   METER_PREPARED_WRITERS);
			of_log->note_server = start;
		}
		if (meter_any_left(of_log->note_writers) ||
			!meter_committed_everywhere(definition->stream, name,
										&of_log->note_writers))
			return safe;
		if (of_log->note_bound > safe)
		{
			safe = of_log->note_bound;
			*noted_at = of_log->note_watermark;
		}
		of_log->has_note = false;
	}

	/* rows that are inserted later draw later arrivals */
	if (last == safe && !TIMESTAMP_IS_NOBEGIN(lateness_from))
		*noted_at = lateness_from;

	if (last > safe)
	{
		of_log->note_bound = last;
		of_log->note_writers =
			meter_find_writers(definition->stream, name, OTHERS);
		of_log->note_server = meter_server_start();
		of_log->note_watermark = lateness_from;
		if (is_empty(of_log->note_writers) &&
			meter_committed_everywhere(definition->stream, name,
									   &of_log->note_writers))
		{
			safe = last;
			*noted_at = of_log->note_watermark;
		}
		else
			of_log->has_note = true;
	}
	return safe;
}
