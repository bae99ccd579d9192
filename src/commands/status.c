/*
 * status.c
 *	  How far a meter has come, for the views that show it.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/late_rows.h"
#include "engine/usage_kind.h"
#include "pg/key_scan.h"
#include "pg/meter_compat.h"
#include "pg/now.h"
#include "pg/spi.h"

PG_FUNCTION_INFO_V1(meter_clock_now);

/* clock_now(): the time as the engine has it */
Datum
meter_clock_now(PG_FUNCTION_ARGS pg_attribute_unused())
{
	PG_RETURN_TIMESTAMPTZ(meter_now());
}

PG_FUNCTION_INFO_V1(meter_rows_of_step);

/* step_rows(halvings) */
Datum
meter_rows_of_step(PG_FUNCTION_ARGS)
{
	MeterProgress progress = {0};

	progress.halvings = PG_GETARG_INT32(0);
	PG_RETURN_INT32(meter_step_rows(&progress));
}

/* How long a row of the view waits for somebody's lock on a table. */
#define LOCK_TIMEOUT	"1s"

/* What a query says of a meter of a stream. */
typedef struct MeterCount
{
	char	   *meter;
	int64		count;
} MeterCount;

/* How far a meter has read a log, as it bears on late rows. */
typedef struct Reading
{
	char	   *meter;
	MeterLog	log;
	int64		position;
	TimestampTz watermark;
	TimestampTz horizon;		/* no row from then on is late */
} Reading;

/* The rows of a log behind a position: from when on they may be late. */
typedef struct Tail
{
	MeterLog	log;
	int64		position;
	bool		empty;
	TimestampTz least;			/* what none of them reaches before */
} Tail;

/*
 * What was read of a stream, for all of its meters.  It lives as long as the
 * query, in which each column of the view has its own.
 */
typedef struct StreamFacts
{
	char		stream[NAMEDATALEN];	/* the key */
	bool		known;			/* the rest is */
	bool		failed;			/* to read it did, and is not tried again */
	MeterCount *counts;			/* in the order of names */
	int			ncounts;
	Reading    *readings;		/* in the order of names */
	int			nreadings;
	char	   *window;			/* in which duplicates are, as text */
	List	   *tails;
	bool		has_snapshot;
	TimestampTz last_snapshot;
	double		row_bytes;		/* of a row of the ledger; 0: not known */
	Datum		problems;		/* text[]; 0: none */
} StreamFacts;

/* A search for facts, as meter_try() calls it. */
typedef struct Search
{
	const char *stream;
	const char *meter;
	StreamFacts *facts;
	MemoryContext context;		/* of the facts */
	char	   *(*query) (const char *stream);
	int64		count;
} Search;

/* Tell whether the caller may know how many rows of a stream there are. */
static bool
may_count(const char *stream)
{
	return OidIsValid(get_namespace_oid(stream, true)) &&
		(meter_has_access(stream, METER_ACCESS_ANALYST) || meter_sees_all());
}

/* Return what the query at hand knows of a stream; first nothing. */
static StreamFacts *
find_facts(FunctionCallInfo fcinfo, const char *stream)
{
	HTAB	   *table = fcinfo->flinfo->fn_extra;
	StreamFacts *facts;
	bool		found;

	if (table == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = NAMEDATALEN;
		control.entrysize = sizeof(StreamFacts);
		control.hcxt = fcinfo->flinfo->fn_mcxt;
		table = hash_create("meter streams", 16, &control,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		fcinfo->flinfo->fn_extra = table;
	}
	facts = hash_search(table, stream, HASH_ENTER, &found);
	if (!found)
		memset((char *) facts + NAMEDATALEN, 0,
			   sizeof(StreamFacts) - NAMEDATALEN);
	return facts;
}

/*
 * Begin to read tables of a stream as its owner.  Somebody who has locked one
 * does not hold up all who look.
 */
static void
begin_reading(MeterSession *session, const char *stream)
{
	meter_session_begin(session, meter_stream_owner(stream));
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Run a search.  Returns false where it fails: one stream that is broken must
 * not hide the others.
 */
static bool
search_succeeds(void (*body) (void *arg), Search *search)
{
	ErrorData  *error;

	if (search->facts != NULL && search->facts->failed)
		return false;
	error = meter_try(body, search);
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	if (error != NULL && search->facts != NULL)
		search->facts->failed = !search->facts->known ||
			error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	return error == NULL;
}

/*
 * Begin a search in a stream, the first argument.  What `once` reads is read for
 * all rows of the view together (NULL: nothing).  Returns false for callers who
 * may not know, and where that fails.
 */
static bool
begin_search(FunctionCallInfo fcinfo, Search *search, void (*once) (void *arg))
{
	search->stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	search->context = fcinfo->flinfo->fn_mcxt;
	if (!may_count(search->stream))
		return false;
	if (once == NULL)
		return true;
	search->facts = find_facts(fcinfo, search->stream);
	return search->facts->known || search_succeeds(once, search);
}

/* Run a search for a meter, the second argument, after beginning it. */
static bool
search_for_meter(FunctionCallInfo fcinfo, Search *search,
				 void (*once) (void *arg), void (*body) (void *arg))
{
	search->meter = text_to_cstring(PG_GETARG_TEXT_PP(1));
	return begin_search(fcinfo, search, once) && search_succeeds(body, search);
}

/* Compare a name with that of an element, which is its first field. */
static int
compare_name(const void *name, const void *element)
{
	return strcmp(name, *(char *const *) element);
}

/* Run a query of meters and counts, as meter_try() calls it. */
static void
read_counts(void *arg)
{
	Search	   *search = arg;
	StreamFacts *facts = search->facts;
	MeterSession session;
	uint64		i;

	begin_reading(&session, search->stream);
	meter_check_stream(search->stream);
	meter_execute(search->query(quote_identifier(search->stream)),
				  SPI_OK_SELECT);
	facts->counts = MemoryContextAlloc(search->context,
									   Max(SPI_processed, 1) * sizeof(MeterCount));
	for (i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		facts->counts[i].meter = MemoryContextStrdup(search->context,
													 meter_result_text(i, 1));
		facts->counts[i].count = DatumGetInt64(meter_result(i, 2, &isnull));
	}
	facts->ncounts = SPI_processed;
	meter_session_end(&session);
	facts->known = true;
}

/*
 * Return what a query of a stream's tables counts for a meter: it is run once
 * for all meters.  NULL for callers who may not know, and where it fails.
 */
static Datum
count_for_meter(FunctionCallInfo fcinfo, const char *meter,
				char *(*query) (const char *stream))
{
	Search		search = {0};
	const MeterCount *count;

	search.query = query;
	if (!begin_search(fcinfo, &search, read_counts))
		PG_RETURN_NULL();
	count = bsearch(meter, search.facts->counts, search.facts->ncounts,
					sizeof(MeterCount), compare_name);
	PG_RETURN_INT64(count != NULL ? count->count : 0);
}

/* Return FROM and WHERE of the late rows that no step has looked at. */
static char *
late_rows(const MeterDefinition *definition, const MeterProgress *progress)
{
	StringInfoData sql;
	MeterLog	log;

	if (!progress->has_watermark)
		return pstrdup("(SELECT WHERE false) l");
	initStringInfo(&sql);
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		appendStringInfo(&sql, "%sSELECT FROM %s",
						 log > METER_LOG_EVENT ? " UNION ALL " : "(",
						 meter_late_in(definition, progress, log, -1));
	appendStringInfoString(&sql, ") l");
	return sql.data;
}

/* Read how far the meters of a stream have read its logs, in order of names. */
static void
read_readings(Search *search)
{
	StreamFacts *facts = search->facts;
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(search->stream)};
	uint64		i;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT w.meter, w.log = 'measure', w.\"position\", m.watermark, "
						 "greatest(m.watermark, m.first_clock, w.position_watermark), t.deduplication_window "
						 "FROM meter.meter m JOIN meter.log_progress w ON w.stream = m.stream AND w.meter = m.name "
						 "JOIN meter.stream t ON t.name = m.stream "
						 "WHERE m.stream = $1 AND m.watermark IS NOT NULL ORDER BY w.meter",
						 SPI_OK_SELECT, 1, types, values, NULL);
	facts->readings = MemoryContextAlloc(search->context,
										 Max(SPI_processed, 1) * sizeof(Reading));
	for (i = 0; i < SPI_processed; i++)
	{
		Reading    *reading = &facts->readings[i];
		bool		isnull;

		reading->meter = MemoryContextStrdup(search->context,
											 meter_result_text(i, 1));
		reading->log = DatumGetBool(meter_result(i, 2, &isnull)) ?
			METER_LOG_MEASURE : METER_LOG_EVENT;
		reading->position = DatumGetInt64(meter_result(i, 3, &isnull));
		reading->watermark = DatumGetTimestampTz(meter_result(i, 4, &isnull));
		reading->horizon = DatumGetTimestampTz(meter_result(i, 5, &isnull));
	}
	facts->nreadings = SPI_processed;
	if (SPI_processed > 0)
		facts->window = MemoryContextStrdup(search->context,
											meter_result_text(0, 6));
	meter_session_end(&session);
}

/*
 * Look what a stream has that late rows depend on, for all meters, as
 * meter_try() calls it.
 */
static void
look_at_stream(void *arg)
{
	Search	   *search = arg;
	StreamFacts *facts = search->facts;
	MeterSession session;

	read_readings(search);
	begin_reading(&session, search->stream);
	meter_check_stream(search->stream);
	meter_execute(psprintf("SELECT max(at) FROM %s.snapshot",
						   quote_identifier(search->stream)), SPI_OK_SELECT);
	facts->has_snapshot = meter_result_instant(1, &facts->last_snapshot);
	meter_session_end(&session);
	facts->known = true;
}

/* Return from when on the rows behind a position may be late. */
static const Tail *
find_tail(Search *search, const Reading *reading)
{
	StreamFacts *facts = search->facts;
	const char *schema = quote_identifier(search->stream);
	MemoryContext before;
	MeterSession session;
	ListCell   *cell;
	Tail	   *tail;

	foreach(cell, facts->tails)
	{
		tail = lfirst(cell);
		if (tail->log == reading->log && tail->position == reading->position)
			return tail;
	}
	before = MemoryContextSwitchTo(search->context);
	tail = palloc0(sizeof(Tail));
	MemoryContextSwitchTo(before);
	tail->log = reading->log;
	tail->position = reading->position;
	begin_reading(&session, search->stream);
	if (reading->log == METER_LOG_MEASURE)
		meter_execute(psprintf("SELECT least(min(start_time), min(end_time)) FROM %s.measure WHERE arrival > " INT64_FORMAT,
							   schema, reading->position), SPI_OK_SELECT);
	else
		meter_execute(psprintf("SELECT least(min(\"time\"), min(\"time\") FILTER (WHERE action = 'void') - interval %s) "
							   "FROM %s.event WHERE arrival > " INT64_FORMAT,
							   quote_literal_cstr(facts->window), schema,
							   reading->position), SPI_OK_SELECT);
	tail->empty = !meter_result_instant(1, &tail->least);
	meter_session_end(&session);
	before = MemoryContextSwitchTo(search->context);
	facts->tails = lappend(facts->tails, tail);
	MemoryContextSwitchTo(before);
	return tail;
}

/*
 * Tell whether there may be late rows of a meter: most have none, and to know
 * that, one look at the rows behind the position is enough for all meters.
 */
static bool
may_have_late_rows(Search *search)
{
	const StreamFacts *facts = search->facts;
	const Reading *reading = bsearch(search->meter, facts->readings,
									 facts->nreadings, sizeof(Reading),
									 compare_name);
	const Reading *end = facts->readings + facts->nreadings;

	/* without a watermark there are none */
	if (reading == NULL)
		return false;
	while (reading > facts->readings &&
		   strcmp(reading[-1].meter, search->meter) == 0)
		reading--;
	for (; reading < end && strcmp(reading->meter, search->meter) == 0; reading++)
	{
		const Tail *tail = find_tail(search, reading);

		if (tail->empty)
			continue;
		if (tail->least < reading->horizon)
			return true;
		/* observations reach back, and what lies before one */
		if (reading->log == METER_LOG_EVENT && facts->has_snapshot &&
			facts->last_snapshot >= reading->watermark)
			return true;
	}
	return false;
}

/* Count the late rows of a meter, as meter_try() calls it. */
static void
count_late_rows(void *arg)
{
	Search	   *search = arg;
	MeterDefinition *definition;
	MeterProgress *progress;
	MeterSession session;

	search->count = 0;
	if (!may_have_late_rows(search))
		return;
	definition = meter_load(search->stream, search->meter, METER_LOCK_NONE);
	progress = meter_load_progress(definition);
	begin_reading(&session, search->stream);
	meter_execute(psprintf("SELECT count(*) FROM %s",
						   late_rows(definition, progress)), SPI_OK_SELECT);
	search->count = meter_result_count(1);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_late_backlog);

/* late_backlog(stream, meter) */
Datum
meter_late_backlog(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	if (!search_for_meter(fcinfo, &search, look_at_stream, count_late_rows))
		PG_RETURN_NULL();
	PG_RETURN_INT64(search.count);
}

/* Return the query of the rows that are held and wait for a person. */
static char *
held_query(const char *schema)
{
	return psprintf("SELECT meter, count(*) FROM %s.held WHERE discarded_at IS NULL GROUP BY meter ORDER BY meter",
					schema);
}

PG_FUNCTION_INFO_V1(meter_held_rows);

/* held_rows(stream, meter) */
Datum
meter_held_rows(PG_FUNCTION_ARGS)
{
	return count_for_meter(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(1)),
						   held_query);
}

/* Return the query of the resources that are set aside. */
static char *
quarantined_query(const char *schema)
{
	return psprintf("SELECT meter, count(*) FROM %s.quarantine GROUP BY meter ORDER BY meter",
					schema);
}

PG_FUNCTION_INFO_V1(meter_quarantined_resources);

/* quarantined_resources(stream, meter) */
Datum
meter_quarantined_resources(PG_FUNCTION_ARGS)
{
	return count_for_meter(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(1)),
						   quarantined_query);
}

/* Return the query of the rows that could not be logged, whatever the meter. */
static char *
rejected_query(const char *schema)
{
	return psprintf("SELECT '', count(*) FROM %s.rejected", schema);
}

PG_FUNCTION_INFO_V1(meter_rejected_rows);

/* rejected_rows(stream) */
Datum
meter_rejected_rows(PG_FUNCTION_ARGS)
{
	return count_for_meter(fcinfo, "", rejected_query);
}

/* The columns that are read of settlements, first those of the key. */
enum
{
	SETTLEMENT_METER,
	SETTLEMENT_SETTLEMENT,
	SETTLEMENT_USAGE_ROWS,
	SETTLEMENT_RECORDED_AT,
	SETTLEMENT_NCOLUMNS
};

static const MeterWriterColumn settlement_columns[SETTLEMENT_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"settlement", INT8OID},
	{"usage_rows", INT8OID},
	{"recorded_at", TIMESTAMPTZOID}
};

/*
 * Find how many bytes a row of a stream's ledger takes with its entries in
 * indexes, as VACUUM or ANALYZE has counted them last.
 */
static void
find_row_bytes(void *arg)
{
	Search	   *search = arg;
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(search->stream)};
	bool		isnull;
	Datum		bytes;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT current_setting('block_size')::float8 * sum(c.relpages + coalesce(t.relpages, 0) + coalesce(x.pages, 0)) "
						 "/ sum(c.reltuples) FROM pg_namespace n "
						 "JOIN pg_class p ON p.relnamespace = n.oid AND p.relname = 'usage' "
						 "JOIN pg_inherits i ON i.inhparent = p.oid "
						 "JOIN pg_class c ON c.oid = i.inhrelid AND c.reltuples > 0 "
						 "LEFT JOIN pg_class t ON t.oid = c.reltoastrelid "
						 "LEFT JOIN LATERAL (SELECT sum(ic.relpages) AS pages FROM pg_index ix "
						 "JOIN pg_class ic ON ic.oid = ix.indexrelid WHERE ix.indrelid = c.oid) x ON true "
						 "WHERE n.nspname = $1::name",
						 SPI_OK_SELECT, 1, types, values, NULL);
	bytes = meter_result(0, 1, &isnull);
	search->facts->row_bytes = isnull ? 0 : DatumGetFloat8(bytes);
	meter_session_end(&session);
	search->facts->known = true;
}

/*
 * Count the usage rows of a meter's settlements of the last day, from the last
 * one back.
 */
static void
count_rows_of_day(void *arg)
{
	Search	   *search = arg;
	TimestampTz day_ago = GetCurrentTransactionStartTimestamp() - USECS_PER_DAY;
	MeterSession session;
	MeterKeyScan *scan;
	Datum		key = CStringGetTextDatum(search->meter);
	bool		isnull;

	begin_reading(&session, search->stream);
	scan = meter_key_scan_begin(search->stream, "settlement",
								settlement_columns, SETTLEMENT_NCOLUMNS);
	search->count = 0;
	meter_key_scan_seek(scan, 1, &key);
	while (meter_key_scan_previous(scan) &&
		   DatumGetTimestampTz(meter_key_scan_value(scan, SETTLEMENT_RECORDED_AT,
													&isnull)) >= day_ago)
	{
		CHECK_FOR_INTERRUPTS();
		search->count +=
			DatumGetInt64(meter_key_scan_value(scan, SETTLEMENT_USAGE_ROWS,
											   &isnull));
	}
	meter_key_scan_end(scan);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_ledger_bytes_per_day);

/* ledger_bytes_per_day(stream, meter) */
Datum
meter_ledger_bytes_per_day(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	if (!search_for_meter(fcinfo, &search, find_row_bytes, count_rows_of_day))
		PG_RETURN_NULL();
	if (search.count == 0)
		PG_RETURN_INT64(0);
	/* a ledger that was not looked at yet is small */
	if (search.facts->row_bytes == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) rint(search.count * search.facts->row_bytes));
}

/* Find when a settlement was recorded; its number is in the count. */
static void
find_settlement(void *arg)
{
	Search	   *search = arg;
	MeterSession session;
	MeterKeyScan *scan;
	Datum		key[2] = {CStringGetTextDatum(search->meter),
	Int64GetDatum(search->count)};
	bool		isnull;

	begin_reading(&session, search->stream);
	scan = meter_key_scan_begin(search->stream, "settlement",
								settlement_columns, SETTLEMENT_NCOLUMNS);
	search->count = DT_NOBEGIN;
	meter_key_scan_seek(scan, 2, key);
	if (meter_key_scan_next(scan))
		search->count = DatumGetTimestampTz(meter_key_scan_value(scan, SETTLEMENT_RECORDED_AT,
																 &isnull));
	meter_key_scan_end(scan);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_settlement_recorded_at);

/* settlement_recorded_at(stream, meter, settlement) */
Datum
meter_settlement_recorded_at(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	search.count = PG_GETARG_INT64(2);
	if (!search_for_meter(fcinfo, &search, NULL, find_settlement) ||
		search.count == DT_NOBEGIN)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(search.count);
}

/* Say why a meter has no usage yet, as meter_try() calls it. */
static void
say_why_no_usage(void *arg)
{
	Search	   *search = arg;
	MeterDefinition *definition = meter_load(search->stream, search->meter,
											 METER_LOCK_NONE);
	MeterProgress *progress = meter_load_progress(definition);
	MemoryContext before = MemoryContextSwitchTo(search->context);
	TimestampTz end;
	TimestampTz due;

	if (!progress->has_watermark)
		search->meter = "no event counted yet";
	else if (!TIMESTAMP_NOT_FINITE(definition->since) &&
			 progress->watermark > definition->since)
		search->meter = "no event counted yet: no usage up to the watermark";
	else
	{
		end = meter_grid_period_end(definition->grid, progress->watermark);
		due = definition->clock == METER_CLOCK_SOURCE ? end :
			meter_later_by(end, definition->lateness);
		search->meter =
			definition->clock == METER_CLOCK_EVENT ?
			psprintf("first period open until an event of %s or later",
					 timestamptz_to_str(due)) :
			definition->clock == METER_CLOCK_SOURCE ?
			psprintf("first period open until all sources have told up to %s",
					 timestamptz_to_str(due)) :
			due <= meter_now() ?
			psprintf("first period due since %s", timestamptz_to_str(due)) :
			psprintf("first period open until %s", timestamptz_to_str(due));
	}
	MemoryContextSwitchTo(before);
}

PG_FUNCTION_INFO_V1(meter_why_no_usage);

/* why_no_usage(stream, meter) */
Datum
meter_why_no_usage(PG_FUNCTION_ARGS)
{
	Search		search = {0};

	if (!search_for_meter(fcinfo, &search, NULL, say_why_no_usage))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(search.meter));
}

/* The stream to look for problems in, and what was found. */
typedef struct ProblemSearch
{
	const char *stream;
	MemoryContext context;
	List	   *problems;		/* of MeterProblem */
} ProblemSearch;

/* Check the shape of a stream, as meter_try() calls it. */
static void
check_shape(void *arg)
{
	ProblemSearch *search = arg;
	MeterSession session;

	(void) meter_stream_owner(search->stream);
	meter_session_begin(&session, meter_extension_owner());
	meter_check_stream(search->stream);
	meter_session_end(&session);
}

/* Look at the condition of a stream, as meter_try() calls it. */
static void
look_for_problems(void *arg)
{
	ProblemSearch *search = arg;

	MemoryContextSwitchTo(search->context);
	search->problems = meter_find_problems(search->stream);
}

PG_FUNCTION_INFO_V1(meter_problems);

/* problems(stream) */
Datum
meter_problems(PG_FUNCTION_ARGS)
{
	ProblemSearch search = {text_to_cstring(PG_GETARG_TEXT_PP(0)),
	CurrentMemoryContext, NIL};
	StreamFacts *facts = find_facts(fcinfo, search.stream);
	ArrayBuildState *texts = NULL;
	ErrorData  *error;
	ListCell   *cell;

	if (facts->known && facts->problems == (Datum) 0)
		PG_RETURN_NULL();
	if (facts->known)
		PG_RETURN_DATUM(facts->problems);
	error = meter_try(check_shape, &search);
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	if (error != NULL)
		texts = accumArrayResult(texts,
								 CStringGetTextDatum(error->detail == NULL ? error->message :
													 psprintf("%s: %s", error->message, error->detail)),
								 false, TEXTOID, CurrentMemoryContext);
	error = meter_try(look_for_problems, &search);
	if (error != NULL)
		ReThrowError(error);
	foreach(cell, search.problems)
		texts = accumArrayResult(texts,
								 CStringGetTextDatum(((MeterProblem *) lfirst(cell))->message),
								 false, TEXTOID, CurrentMemoryContext);
	facts->known = true;
	if (texts == NULL)
		PG_RETURN_NULL();
	facts->problems = makeArrayResult(texts, fcinfo->flinfo->fn_mcxt);
	PG_RETURN_DATUM(facts->problems);
}
