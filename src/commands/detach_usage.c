/*
 * detach_usage.c
 *	  meter.detach_usage() takes months out of the ledger; meter.attach_usage()
 *	  takes them back.
 *
 * A month may go when nothing that is still to come changes it: rows that would
 * are held.  The table _detached says which months are gone; from the end of the
 * last one on usage is computed (ledger_from of MeterDefinition).  What the
 * settlements wrote into such a month they count as detached, so the ledger can
 * still be compared with them.
 *
 * Both hold the locks on the stream and on all its meters, so no step is under
 * way.  Readers are waited for in short attempts only: others queue behind the
 * lock that DETACH waits for.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/consumer.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "engine/usage_kind.h"
#include "log/month.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/now.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

/* How often, and for how long each time, users of the ledger are waited for. */
#define ATTEMPTS	10
#define ATTEMPT_TIMEOUT	"200ms"
#define PAUSE_USEC	100000L

/* The only table whose months are detached. */
#define LEDGER	"usage"

/* The number of a table's rows, and a hash of them in any order. */
#define CONTENT_COLUMNS \
	"count(*), coalesce(sum(hashtextextended(meter_internal.row_text(ROW(u.transaction_id, u.meter, u.account, u.resource, u.dimensions, " \
	"u.period_start, u.quantity, u.revision, u.settlement, u.recorded_at)) COLLATE \"C\", 0)::numeric), 0)"

/* A month of the ledger. */
typedef struct Month
{
	int			month;			/* or METER_MONTH_OLDER */
	char	   *name;			/* of the partition, with its schema */
	char	   *apart;			/* of the table when it is none, without */
	TimestampTz begin;
	TimestampTz end;
} Month;

/* Describe a month of a stream, the first of which is known. */
static Month *
make_month(const char *stream, int month, int first)
{
	Month	   *result = palloc(sizeof(Month));
	char	   *name = meter_month_name(LEDGER, month);

	result->month = month;
	result->name = psprintf("%s.%s", quote_identifier(stream), name);
	result->apart = name + 1;
	result->begin = meter_month_begin(month);
	result->end = meter_month_begin(month == METER_MONTH_OLDER ? first :
									month + 1);
	return result;
}

/* List the months of a ledger that end at or before an instant, in order. */
static List *
months_before(const char *stream, TimestampTz before)
{
	int			first = meter_first_month(stream);
	List	   *months = NIL;
	ListCell   *cell;
	int			number;

	foreach(cell, meter_list_months(stream, LEDGER))
	{
		Month	   *month;

		if (!meter_is_month_of(lfirst(cell), LEDGER, &number))
			continue;
		month = make_month(stream, number, first);
		if (month->end <= before)
			months = lappend(months, month);
	}
	return months;
}

/*
 * Return how a meter may still change usage from before an instant, or NULL: as
 * a step would hold rows, from the watermark that was noted with the position.
 */
static char *
meter_behind(const MeterDefinition *definition, TimestampTz end)
{
	MeterProgress *progress = meter_load_progress(definition);
	TimestampTz needed = meter_first_period_from(definition, end);
	TimestampTz noted_at = progress->watermark;
	MeterLog	log;

	if (definition->boundary >= needed)
		return NULL;
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		noted_at = Min(noted_at, progress->logs[log].position_watermark);
	if (!progress->has_watermark || TIMESTAMP_IS_NOBEGIN(noted_at))
		return psprintf("meter \"%s\" has not read its log to the end yet",
						definition->name);
	if (progress->watermark < needed)
		return psprintf("meter \"%s\" has not settled the month: its watermark is %s",
						definition->name,
						pstrdup(timestamptz_to_str(progress->watermark)));
	if (noted_at < needed)
		return psprintf("meter \"%s\" has not read its log to the end since its watermark was %s",
						definition->name,
						pstrdup(timestamptz_to_str(noted_at)));
	if (!definition->has_max_lateness)
		return psprintf("meter \"%s\" takes rows however late: its max_lateness is null",
						definition->name);
	/* a void that is not too late reaches rows a window earlier */
	noted_at = meter_later_by(meter_later_by(noted_at, -definition->max_lateness),
							  -definition->deduplication_window);
	if (noted_at < needed)
		return psprintf("late rows of meter \"%s\" may change usage from %s on",
						definition->name,
						pstrdup(timestamptz_to_str(noted_at)));
	return NULL;
}

/* Return which resource is set aside since before an instant, or NULL. */
static char *
resource_aside(const char *stream, TimestampTz end)
{
	meter_execute(psprintf("SELECT resource, meter FROM %s.quarantine WHERE since < %s ORDER BY 2, 1 LIMIT 1",
						   quote_identifier(stream),
						   meter_timestamp_literal(end)), SPI_OK_SELECT);
	return SPI_processed == 0 ? NULL :
		psprintf("resource \"%s\" is set aside for meter \"%s\"",
				 meter_result_text(0, 1), meter_result_text(0, 2));
}

/* Return which consumer has not read all usage of a month, or NULL. */
static char *
consumer_behind(const char *stream, const Month *month)
{
	pg_uuid_t	low;
	pg_uuid_t	high;
	char	   *consumer;

	meter_least_id(month->begin, &low);
	meter_least_id(month->end, &high);
	consumer = meter_consumer_that_needs(stream, &low, &high);
	return consumer == NULL ? NULL :
		psprintf("consumer \"%s\" has not read the month yet", consumer);
}

/*
 * Return who still needs a month, or NULL: whoever does is asked here.  Within a
 * session.
 */
static char *
find_holder(const char *stream, List *definitions, const Month *month)
{
	ListCell   *cell;
	char	   *holder;

	foreach(cell, definitions)
	{
		holder = meter_behind(lfirst(cell), month->end);
		if (holder != NULL)
			return holder;
	}
	holder = resource_aside(stream, month->end);
	return holder != NULL ? holder : consumer_behind(stream, month);
}

/*
 * Run statements that need a lock on the ledger that its users are in the way
 * of, in short attempts.  Returns false if they were in the way to the last.
 * Within a session.
 */
static bool
attempt(void (*body) (void *arg), void *arg)
{
	int			i;

	for (i = 0; i < ATTEMPTS; i++)
	{
		int			level = NewGUCNestLevel();
		ErrorData  *error;

		(void) set_config_option("lock_timeout", ATTEMPT_TIMEOUT, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		error = meter_try(body, arg);
		AtEOXact_GUC(false, level);
		if (error == NULL)
			return true;
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
		FreeErrorData(error);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(PAUSE_USEC);
	}
	return false;
}

/* What detach() and attach() are called for. */
typedef struct MonthCall
{
	const char *stream;
	const Month *month;
	int			first;
} MonthCall;

/*
 * Add the rows that settlements have in a table to those that were detached of
 * them, or take them away.
 */
static void
count_detached(const char *stream, const char *table, const char *sign)
{
	meter_execute(psprintf("UPDATE %s.settlement t SET detached_rows = t.detached_rows %s u.count "
						   "FROM (SELECT meter, settlement, count(*) FROM %s GROUP BY 1, 2) u "
						   "WHERE t.meter = u.meter AND t.settlement = u.settlement",
						   quote_identifier(stream), sign, table),
				  SPI_OK_UPDATE);
}

/* Keep writers away from a month, as attempt() calls it. */
static void
lock_month(void *arg)
{
	MonthCall  *call = arg;

	meter_execute(psprintf("LOCK TABLE %s IN SHARE MODE", call->month->name),
				  SPI_OK_UTILITY);
}

/* Detach a month, as attempt() calls it. */
static void
detach(void *arg)
{
	MonthCall  *call = arg;
	const char *schema = quote_identifier(call->stream);
	const Month *month = call->month;

	meter_execute(psprintf("ALTER TABLE %s." LEDGER " DETACH PARTITION %s",
						   schema, month->name), SPI_OK_UTILITY);
	meter_execute(psprintf("ALTER TABLE %s RENAME TO %s", month->name,
						   month->apart), SPI_OK_UTILITY);
}

/*
 * Detach a month that nobody needs, and record it.  Returns false if users of
 * the ledger are in the way.  Within a session.
 */
static bool
detach_month(MonthCall *call)
{
	const char *schema = quote_identifier(call->stream);
	const Month *month = call->month;

	/* nobody adds rows while they are counted, which may take long */
	if (!attempt(lock_month, call))
		return false;
	meter_execute(psprintf("INSERT INTO %s._detached (month, month_end, rows, content) "
						   "SELECT %s, %s, " CONTENT_COLUMNS " FROM %s u",
						   schema, meter_timestamp_literal(month->begin),
						   meter_timestamp_literal(month->end), month->name),
				  SPI_OK_INSERT);
	count_detached(call->stream, month->name, "+");
	if (attempt(detach, call))
		return true;
	meter_execute(psprintf("DELETE FROM %s._detached WHERE month = %s", schema,
						   meter_timestamp_literal(month->begin)),
				  SPI_OK_DELETE);
	count_detached(call->stream, month->name, "-");
	return false;
}

/* Return a row about a month.  Within a session. */
static void
return_month(FunctionCallInfo fcinfo, const Month *month,
			 const char *held_back_by)
{
	meter_execute(psprintf("SELECT %s, %s, %s::text",
						   meter_timestamp_literal(month->begin),
						   held_back_by == NULL ? "true" : "false",
						   held_back_by == NULL ? "NULL" :
						   quote_literal_cstr(held_back_by)), SPI_OK_SELECT);
	meter_return_result(fcinfo);
}

/* Check a call, and lock the stream and its meters, which are returned. */
static List *
begin(const char *stream)
{
	List	   *of_events;
	List	   *of_measures;

	meter_check_stream_permission(stream);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	meter_load_all(stream, &of_events, &of_measures);
	return list_concat(of_events, of_measures);
}

PG_FUNCTION_INFO_V1(meter_detach_usage);

/* detach_usage(stream, before): a row for each month that ends by then */
Datum
meter_detach_usage(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterSession session;
	MonthCall	call = {stream, NULL, 0};
	List	   *definitions;
	ListCell   *cell;
	char	   *holder = NULL;

	PreventCommandIfReadOnly("meter.detach_usage()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"before\" must not be null")));
	meter_return_begin(fcinfo);
	definitions = begin(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	call.first = meter_first_month(stream);
	foreach(cell, months_before(stream, PG_GETARG_TIMESTAMPTZ(1)))
	{
		call.month = lfirst(cell);
		/* what holds one back holds back those that follow */
		if (holder == NULL)
			holder = find_holder(stream, definitions, call.month);
		if (holder == NULL && !detach_month(&call))
			holder = "transactions that have not ended use the ledger";
		return_month(fcinfo, call.month, holder);
	}
	meter_session_end(&session);
	return (Datum) 0;
}

/* --- back ------------------------------------------------------------------ */

/*
 * Find a month that was detached by an instant in it, and what was recorded of
 * its table.  Within a session.
 */
static Month *
find_detached(const char *stream, TimestampTz instant, char **rows,
			  char **content)
{
	MemoryContext context = CurrentMemoryContext;
	int			first = meter_first_month(stream);
	int			month = meter_month_of(instant);

	meter_execute(psprintf("SELECT rows, content FROM %s._detached WHERE month = %s",
						   quote_identifier(stream),
						   meter_timestamp_literal(meter_month_begin(month))),
				  SPI_OK_SELECT);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("month \"%s\" of the ledger of stream \"%s\" was not detached",
						timestamptz_to_str(instant), stream)));
	*rows = MemoryContextStrdup(context, meter_result_text(0, 1));
	*content = MemoryContextStrdup(context, meter_result_text(0, 2));
	return make_month(stream, month, first);
}

/*
 * Check that the table of a month is there, and as it was when it was
 * detached.  Within a session.
 */
static void
check_detached(const char *stream, const Month *month, const char *table,
			   const char *rows, const char *content)
{
	const char *schema = quote_literal_cstr(stream);

	meter_execute(psprintf("SELECT c.relkind = 'r' AND NOT c.relispartition AND c.relowner = n.nspowner AND c.relpersistence = 'p', "
						   "(SELECT array_agg((a.attname, a.atttypid, a.attnotnull)::text ORDER BY a.attnum) FROM pg_attribute a "
						   "WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = "
						   "(SELECT array_agg((a.attname, a.atttypid, a.attnotnull)::text ORDER BY a.attnum) FROM pg_attribute a "
						   "JOIN pg_class p ON p.oid = a.attrelid AND p.relname = '" LEDGER "' AND p.relnamespace = n.oid "
						   "WHERE a.attnum > 0 AND NOT a.attisdropped) "
						   "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %s WHERE c.relname = '%s'",
						   schema, month->apart), SPI_OK_SELECT);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", stream, month->apart),
				 errhint("Restore the table from the dump that was made of it.")));
	if (strcmp(meter_result_text(0, 1), "t") != 0 ||
		strcmp(meter_result_text(0, 2), "t") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not as the ledger is", stream,
						month->apart),
				 errdetail("It must be an ordinary, logged table of the stream's owner, with the columns of \"%s." LEDGER "\".",
						   stream)));
	meter_execute(psprintf("LOCK TABLE %s IN SHARE MODE", table), SPI_OK_UTILITY);
	meter_execute_row(psprintf("SELECT " CONTENT_COLUMNS " FROM %s u", table));
	if (strcmp(meter_result_text(0, 1), rows) != 0 ||
		strcmp(meter_result_text(0, 2), content) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not have the rows that it had when it was detached",
						stream, month->apart),
				 errdetail("It has %s rows, and had %s.",
						   meter_result_text(0, 1), rows)));
}

/*
 * Attach a month, as attempt() calls it.  A constraint that says the same as
 * the bounds spares the scan while the ledger is locked.
 */
static void
attach(void *arg)
{
	MonthCall  *call = arg;
	const char *schema = quote_identifier(call->stream);
	const Month *month = call->month;

	meter_execute(psprintf("ALTER TABLE %s." LEDGER " ATTACH PARTITION %s FOR VALUES %s",
						   schema, month->name,
						   meter_month_bounds(LEDGER, month->month,
											  call->first)),
				  SPI_OK_UTILITY);
}

/* Give a table the constraint that it has the keys of a month only. */
static void
constrain(const Month *month, const char *table)
{
	char	   *check;

	meter_execute_row(psprintf("SELECT format('%stransaction_id < %%L', %smeter_internal.transaction_id_from(%s))",
							   month->month == METER_MONTH_OLDER ? "" : "transaction_id >= %L AND ",
							   month->month == METER_MONTH_OLDER ? "" :
							   psprintf("meter_internal.transaction_id_from(%s), ",
										meter_timestamp_literal(month->begin)),
							   meter_timestamp_literal(month->end)));
	check = meter_result_text(0, 1);
	meter_execute(psprintf("ALTER TABLE %s ADD CONSTRAINT meter_month CHECK (%s)",
						   table, check), SPI_OK_UTILITY);
}

/*
 * Distribute the table of a month beside the ledger, if that is distributed and
 * the table is not: it comes from a dump, or from before.  Its key is that of
 * the ledger then.
 */
static void
distribute(const char *stream, const Month *month, const char *table)
{
	const MeterGuard *guard;

	if (meter_stream_shards(stream) == 0 ||
		meter_cluster_shards(stream, month->apart) > 0)
		return;
	meter_execute(psprintf("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'",
						   quote_literal_cstr(table)), SPI_OK_SELECT);
	if (SPI_processed > 0)
		meter_execute(psprintf("ALTER TABLE %s DROP CONSTRAINT %s", table,
							   quote_identifier(meter_result_text(0, 1))),
					  SPI_OK_UTILITY);
	meter_execute(psprintf("ALTER TABLE %s ADD PRIMARY KEY (transaction_id, resource)",
						   table), SPI_OK_UTILITY);
	for (guard = meter_guards; guard->table != NULL; guard++)
	{
		if (strcmp(guard->table, LEDGER) == 0)
			meter_execute(psprintf("DROP TRIGGER IF EXISTS %s ON %s",
								   guard->name, table), SPI_OK_UTILITY);
	}
	meter_cluster_distribute(stream, month->apart, "resource", 0, LEDGER);
	meter_cluster_forget_local(stream, month->apart);
}

PG_FUNCTION_INFO_V1(meter_attach_usage);

/* attach_usage(stream, month) */
Datum
meter_attach_usage(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	const char *schema = quote_identifier(stream);
	MeterSession session;
	MonthCall	call = {stream, NULL, 0};
	Month	   *month;
	char	   *table;
	char	   *rows;
	char	   *content;

	PreventCommandIfReadOnly("meter.attach_usage()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"month\" must not be null")));
	(void) begin(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	call.first = meter_first_month(stream);
	call.month = month = find_detached(stream, PG_GETARG_TIMESTAMPTZ(1), &rows,
									   &content);
	table = psprintf("%s.%s", schema, month->apart);
	check_detached(stream, month, table, rows, content);
	distribute(stream, month, table);
	constrain(month, table);
	meter_guard_month(stream, LEDGER, month->apart);
	meter_execute(psprintf("ALTER TABLE %s RENAME TO _%s", table, month->apart),
				  SPI_OK_UTILITY);
	if (!attempt(attach, &call))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the ledger of stream \"%s\" is in use", stream),
				 errhint("Try again: ANALYZE, VACUUM or a command that makes months has it locked.")));
	meter_execute(psprintf("ALTER TABLE %s DROP CONSTRAINT meter_month",
						   month->name), SPI_OK_UTILITY);
	meter_execute(psprintf("DELETE FROM %s._detached WHERE month = %s", schema,
						   meter_timestamp_literal(month->begin)),
				  SPI_OK_DELETE);
	count_detached(stream, month->name, "-");
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_summarize_usage);

/* summarize_usage(stream) */
Datum
meter_summarize_usage(PG_FUNCTION_ARGS)
{
	List	   *streams;
	ListCell   *cell;

	PreventCommandIfReadOnly("meter_internal.summarize_usage()");
	if (!PG_ARGISNULL(0))
	{
		char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));

		meter_check_access(stream, METER_ACCESS_OPERATOR);
		streams = list_make1(stream);
	}
	else
		streams = meter_active_streams(true);
	foreach(cell, streams)
		meter_summarize_months(lfirst(cell));
	PG_RETURN_VOID();
}
