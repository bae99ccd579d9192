/*
 * status.c
 *	  How far a meter has come, for the views that show it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "catalog/condition.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "engine/late_rows.h"
#include "engine/usage_kind.h"
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

/* What to count for a meter, and the count. */
typedef struct Count
{
	const char *stream;
	const char *meter;
	char	   *(*source) (const MeterDefinition *definition,
						   const MeterProgress *progress);
	int64		rows;
} Count;

/* Run the count of count_for_owner(), as meter_try() calls it. */
static void
count_rows(void *arg)
{
	Count	   *count = arg;
	MeterDefinition *definition = meter_load(count->stream, count->meter,
											 METER_LOCK_NONE);
	MeterProgress *progress = meter_load_progress(definition);
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(count->stream));
	meter_check_stream(count->stream);
	meter_execute(psprintf("SELECT count(*) FROM %s",
						   count->source(definition, progress)), SPI_OK_SELECT);
	count->rows = meter_result_count(1);
	meter_session_end(&session);
}

/*
 * Count rows of a stream's table or log for a meter.  Returns NULL to callers
 * who may not read the stream, and where the count fails.
 */
static Datum
count_for_owner(FunctionCallInfo fcinfo,
				char *(*source) (const MeterDefinition *definition,
								 const MeterProgress *progress))
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *meter = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			schema = get_namespace_oid(stream, true);
	Count		count = {stream, meter, source, 0};
	ErrorData  *error;

	if (!OidIsValid(schema) || !meter_schema_ownercheck(schema, GetUserId()) ||
		meter_list_meters(stream, meter, false) == NIL)
		PG_RETURN_NULL();

	/* one stream that is broken must not hide the others */
	error = meter_try(count_rows, &count);
	if (error == NULL)
		PG_RETURN_INT64(count.rows);
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	PG_RETURN_NULL();
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

/* Return FROM and WHERE of the rows that are held and wait for a person. */
static char *
held_rows(const MeterDefinition *definition,
		  const MeterProgress *progress pg_attribute_unused())
{
	return psprintf("%s.held WHERE meter = %s AND discarded_at IS NULL",
					quote_identifier(definition->stream),
					quote_literal_cstr(definition->name));
}

/* Return FROM and WHERE of the resources that are set aside. */
static char *
quarantined(const MeterDefinition *definition,
			const MeterProgress *progress pg_attribute_unused())
{
	return psprintf("%s.quarantine WHERE meter = %s",
					quote_identifier(definition->stream),
					quote_literal_cstr(definition->name));
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
	ArrayBuildState *texts = NULL;
	ErrorData  *error;
	ListCell   *cell;

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
	if (texts == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(makeArrayResult(texts, CurrentMemoryContext));
}

PG_FUNCTION_INFO_V1(meter_late_backlog);

/* late_backlog(stream, meter) */
Datum
meter_late_backlog(PG_FUNCTION_ARGS)
{
	return count_for_owner(fcinfo, late_rows);
}

PG_FUNCTION_INFO_V1(meter_held_rows);

/* held_rows(stream, meter) */
Datum
meter_held_rows(PG_FUNCTION_ARGS)
{
	return count_for_owner(fcinfo, held_rows);
}

PG_FUNCTION_INFO_V1(meter_quarantined_resources);

/* quarantined_resources(stream, meter) */
Datum
meter_quarantined_resources(PG_FUNCTION_ARGS)
{
	return count_for_owner(fcinfo, quarantined);
}
