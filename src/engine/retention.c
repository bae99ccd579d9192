/*
 * retention.c
 *	  The retention boundary that meter.expire() leaves: the instant before
 *	  which a log is incomplete, and what is known of each resource at it,
 *	  which replaces what the log had before.
 *
 * A transaction that moves a boundary holds the locks on the stream and on all
 * its meters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/duplicates.h"
#include "engine/findings.h"
#include "engine/fold.h"
#include "engine/late_rows.h"
#include "engine/quarantine.h"
#include "engine/readings.h"
#include "engine/retention.h"
#include "engine/scatter.h"
#include "engine/states.h"
#include "engine/usage_kind.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"

/* Return the part of a definition that the state of a resource depends on. */
static char *
definition_text(const MeterDefinition *definition)
{
	const char *counter = definition->aggregate != METER_COUNTER ? "" :
	psprintf(" counter begins %d modulus %s drops %d", definition->begins,
			 definition->modulus == NULL ? "none" : definition->modulus,
			 definition->drops);

	return psprintf("%s of %s: starts %s stops %s changes %s%s dimensions %s%s%s",
					definition->aggregate == METER_DURATION ||
					definition->aggregate == METER_RUNS ? "time" :
					definition->value_from,
					definition->entity ? quote_literal_cstr(definition->entity) : "all",
					meter_text_array_literal(definition->starts),
					meter_text_array_literal(definition->stops),
					meter_text_array_literal(definition->changes),
					meter_has_ends(definition) ?
					psprintf(" ends %s", meter_text_array_literal(definition->ends)) : "",
					meter_text_array_literal(definition->dimensions),
					definition->liveness > 0 ?
					psprintf(" liveness " INT64_FORMAT, definition->liveness) : "",
					counter);
}

/* Tell whether the retention boundary of a meter of that name is known. */
static bool
any_boundary(const MeterDefinition *definition, const char *condition)
{
	meter_execute(psprintf("SELECT FROM %s._retention WHERE meter = %s AND \"time\" = %s AND %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(definition->boundary),
						   condition), SPI_OK_SELECT);
	return SPI_processed > 0;
}

/* Check that a meter does not begin before the retention boundary. */
static void
check_begin(const MeterDefinition *definition)
{
	TimestampTz begin;

	if (definition->since >= definition->boundary)
		return;
	begin = meter_grid_period_begin((MeterGrid *) definition->grid,
									definition->boundary);
	if (begin < definition->boundary)
		begin = meter_grid_period_end((MeterGrid *) definition->grid,
									  definition->boundary);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("meter \"%s\" cannot begin before the retention boundary of stream \"%s\", %s",
					definition->name, definition->stream,
					timestamptz_to_str(definition->boundary)),
			 errdetail("meter.expire() dropped the segments from before the boundary, and only meters that existed then know what ran at the boundary."),
			 errhint("Use since => '%s' or later.", timestamptz_to_str(begin))));
}

/* Forget what was known at the retention boundary, in a table. */
static void
forget(const MeterDefinition *definition, const char *table)
{
	meter_execute(psprintf("DELETE FROM %s.%s WHERE meter = %s",
						   quote_identifier(definition->stream), table,
						   quote_literal_cstr(definition->name)),
				  SPI_OK_DELETE);
}

/* Carry the states that are known at the retention boundary. */
static void
carry_states(const MeterDefinition *definition, bool events)
{
	const char *schema = quote_identifier(definition->stream);

	meter_execute(psprintf("INSERT INTO %s._resource_state (meter, hash, resource, active, account, "
						   "dimensions, value, since, alive, absent, source, started, holder, changed, ended, sign, gaps, billed, owners, unnamed_since) "
						   "SELECT meter, hash, resource, active, account, dimensions, value, since, alive, "
						   "absent, source, started, holder, changed, ended, sign, gaps, billed, owners, CASE WHEN account IS NULL AND %s THEN %s END "
						   "FROM %s._retention_state WHERE meter = %s ORDER BY hash, resource",
						   schema, events ? "true" : "false",
						   meter_timestamp_literal(definition->boundary),
						   schema, quote_literal_cstr(definition->name)),
				  SPI_OK_INSERT);
}

/*
 * Return the condition that a row of _retention is of a meter with an entity,
 * or without one: the same events say to it who owns what.
 */
static char *
names_alike(const char *entity)
{
	return psprintf("strpos(definition, %s) > 0",
					quote_literal_cstr(psprintf(" of %s: starts ",
												entity == NULL ? "all" : quote_literal_cstr(entity))));
}

/*
 * Have a meter of measures know the owners at the retention boundary as another
 * one does: all events that name an account say who owns a resource.
 */
static void
take_owners(MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *stream = quote_literal_cstr(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *entity = definition->entity == NULL ? "NULL" :
	quote_literal_cstr(definition->entity);
	const char *other;
	bool		isnull;

	/* one without an entity knows the owners of each */
	meter_execute(psprintf("SELECT meter, \"time\" FROM %s._retention WHERE log = 'measure' AND (%s OR %s) "
						   "ORDER BY \"time\" DESC, meter LIMIT 1", schema,
						   names_alike(definition->entity),
						   names_alike(NULL)),
				  SPI_OK_SELECT);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events of stream \"%s\" have been expired: a meter of measures cannot know the owners",
						definition->stream),
				 errhint("Log measures, and the events that name owners, into another stream.")));
	other = quote_literal_cstr(meter_result_text(0, 1));
	definition->boundary = DatumGetTimestampTz(meter_result(0, 2, &isnull));
	forget(definition, "_retention_state");
	meter_execute(psprintf("INSERT INTO %s._retention_state (meter, hash, resource, active, account, dimensions, ended, owners) "
						   "SELECT %s, meter_internal.resource_hash(%s, %s, resource), resource, false, "
						   "CASE WHEN %s IS NULL OR owners IS NULL THEN account WHEN owners ? %s THEN owners ->> %s ELSE owners ->> '' END, "
						   "'{}', false, CASE WHEN %s IS NULL THEN owners END "
						   "FROM %s._retention_state WHERE meter = %s ORDER BY 2, 3",
						   schema, meter, stream, meter, entity, entity,
						   entity, entity, schema, other),
				  SPI_OK_INSERT);
}

/*
 * Begin a meter of measures over logs that are not complete, at the retention
 * boundary or later.
 */
static void
begin_measures_at_boundary(MeterDefinition *definition)
{
	if (!any_boundary(definition, psprintf("log = 'measure' AND %s",
										   names_alike(definition->entity))))
		take_owners(definition);
	if (definition->aggregate != METER_COUNTER ||
		!any_boundary(definition, psprintf("definition = %s",
										   quote_literal_cstr(definition_text(definition)))))
		forget(definition, "_retention_reading");
	meter_store_boundary(definition, METER_LOG_MEASURE, definition->boundary);
	carry_states(definition, false);
	meter_readings_restart(definition);
}

/*
 * Begin a meter over logs that are not complete: it goes on from the retention
 * boundary, if that has states of a meter of that name that pairs events
 * alike; otherwise it must begin there or later.  Within a session of the
 * stream's owner.
 */
void
meter_begin_at_boundary(MeterDefinition *definition)
{
	if (meter_usage_of(definition)->log == METER_LOG_MEASURE)
		begin_measures_at_boundary(definition);
	else if (any_boundary(definition, psprintf("definition = %s",
											   quote_literal_cstr(definition_text(definition)))))
		carry_states(definition, true);
	else
	{
		check_begin(definition);
		/* the states at the retention boundary are of another meter */
		forget(definition, "_retention_state");
		if (any_boundary(definition, "true"))
			meter_store_boundary(definition, METER_LOG_EVENT,
								 definition->boundary);
	}
}

/* Have each shard find that, and return the least. */
static TimestampTz
first_unread_on_shards(const MeterDefinition *definition,
					   const MeterProgress *progress)
{
	MeterProgress copy = *progress;
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];
	TimestampTz first;
	MeterFindings *findings;
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	findings = meter_findings_begin();
	meter_scatter_taking(definition, &copy, METER_SHARD_UNREAD, "", asks,
						 tells, meter_findings_take, findings);
	first = meter_findings_least(findings);
	meter_findings_end(findings);
	meter_session_end(&session);
	return first;
}

/*
 * Return the time of the earliest late row that no step has looked at, though a
 * recompute may have counted it; DT_NOEND: none.
 */
TimestampTz
meter_first_unread(const MeterDefinition *definition,
				   const MeterProgress *progress)
{
	TimestampTz first = DT_NOEND;
	MeterSession session;
	MeterLog	log;

	if (definition->shards > 0)
		return first_unread_on_shards(definition, progress);
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
	{
		TimestampTz of_log;

		meter_execute_row(psprintf("SELECT min(%s) FROM %s",
								   log == METER_LOG_MEASURE ?
								   meter_row_time(meter_placing(definition, log), "e") :
								   meter_least_time("e", definition->deduplication_window),
								   meter_late_in(definition, progress, log, -1)));
		if (meter_result_instant(1, &of_log))
			first = Min(first, of_log);
	}
	meter_session_end(&session);
	return first;
}

/*
 * Return from when on a resource of a meter is not settled, since it is set
 * aside: what happened since then is needed when it is released.  DT_NOEND:
 * none is.
 */
static TimestampTz
first_unsettled(const MeterDefinition *definition, TimestampTz before)
{
	MeterSession session;
	char	   *resource;
	TimestampTz first;

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	first = meter_quarantine_least(definition, &resource);
	if (first < before)
		ereport(NOTICE,
				(errmsg("resource \"%s\" of meter \"%s\" holds expiry back: it has been set aside since %s",
						resource, definition->name, timestamptz_to_str(first)),
				 errhint("meter.release_resource() computes it anew.")));
	meter_session_end(&session);
	return first;
}

/*
 * Find the latest retention boundary of a meter up to `before`: an instant
 * before which the meter cannot change anything, and at which a period begins.
 * A void that is not yet held reaches the deduplication window further back
 * than other rows.
 * Returns false if there is none yet.
 */
bool
meter_move_boundary(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz before,
					TimestampTz *boundary)
{
	TimestampTz limit = progress->watermark;
	TimestampTz unsettled;

	if (!progress->has_watermark)
	{
		ereport(NOTICE,
				(errmsg("nothing is expired: meter \"%s\" has not settled anything yet",
						definition->name)));
		return false;
	}
	if (definition->has_max_lateness)
		limit = meter_later_by(meter_later_by(limit, -definition->max_lateness),
							   -definition->deduplication_window);
	limit = Min(limit, meter_first_unread(definition, progress));
	before = Min(before, limit);
	unsettled = first_unsettled(definition, before);
	before = Min(before, unsettled);
	if (TIMESTAMP_IS_NOBEGIN(before))
		return false;
	*boundary = Max(definition->boundary,
					meter_grid_period_begin(definition->grid, before));
	return true;
}

/*
 * Store the retention boundary of a meter, whose usage is made of a log, and
 * see that it stays a boundary of periods.
 */
void
meter_store_boundary(const MeterDefinition *definition, MeterLog log,
					 TimestampTz boundary)
{
	meter_execute(psprintf("INSERT INTO %s._retention (meter, log, \"time\", definition) "
						   "VALUES (%s, '%s', %s, %s) ON CONFLICT (meter) DO UPDATE SET "
						   "log = excluded.log, \"time\" = excluded.\"time\", "
						   "definition = excluded.definition",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_log_names[log],
						   meter_timestamp_literal(boundary),
						   quote_literal_cstr(definition_text(definition))),
				  SPI_OK_INSERT);
	meter_execute(psprintf("DELETE FROM %s._kept_state WHERE meter = %s AND at < %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(boundary)), SPI_OK_DELETE);
	meter_calendar_record(definition->calendar, DT_NOEND, boundary);
}

/* Note a resource of which a shard cannot compute the state at the boundary. */
static void
take_failed(void *arg, MeterShardRow kind pg_attribute_unused(),
			const Datum *values, const bool *nulls pg_attribute_unused())
{
	Oid			type = JSONBOID;
	Datum		what = values[METER_SHARD_DIMENSIONS];
	ErrorData	error = {0};
	bool		isnull;

	meter_execute_params("SELECT ($1 -> 'sqlstate')::integer, $1 ->> 'message'",
						 SPI_OK_SELECT, 1, &type, &what, NULL);
	error.sqlerrcode = DatumGetInt32(meter_result(0, 1, &isnull));
	error.message = meter_result_text(0, 2);
	meter_quarantine_add(arg, meter_attr_from_text(values[METER_SHARD_RESOURCE]),
						 DatumGetTimestampTz(values[METER_SHARD_PERIOD_START]),
						 &error);
}

/* Store that on each shard. */
static MeterQuarantine *
store_on_shards(const MeterDefinition *definition,
				const MeterProgress *progress, TimestampTz boundary)
{
	MeterQuarantine *failed = meter_quarantine_begin(definition);
	MeterProgress copy = *progress;
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	asks[METER_ASK_TO] = boundary;
	meter_scatter_taking(definition, &copy, METER_SHARD_BOUNDARY, "", asks,
						 tells, take_failed, failed);
	return meter_quarantine_was_added(failed) ? failed : NULL;
}

/*
 * Store what is known of each resource just before a new retention boundary,
 * from what the meter has looked at, and from what was known at the boundary
 * before.  Returns the resources of which that cannot be computed, to be set
 * aside when what was stored has been undone, or NULL.
 */
MeterQuarantine *
meter_store_states(const MeterDefinition *definition,
				   const MeterProgress *progress, TimestampTz boundary)
{
	MeterFold  *fold;

	if (definition->shards > 0)
		return store_on_shards(definition, progress, boundary);
	fold = meter_fold_begin(meter_usage_of(definition), definition, progress);
	fold->from = fold->to = boundary;	/* no usage is asked for */
	fold->failure = METER_FOLD_TRIES;
	fold->at_boundary = true;
	fold->scope.to = boundary;
	fold->scope.settled_to = DT_NOEND;
	/* what no step has looked at does not count */
	fold->scope.late_from = "'infinity'::timestamptz";
	fold->scope.safe = progress->logs[METER_LOG_EVENT].position;
	fold->measures_safe = progress->logs[METER_LOG_MEASURE].position;
	fold->states = meter_states_begin(definition, "_retention_state", true);
	fold->writes_states = true;
	fold->own_snapshot = true;
	meter_fold_run(fold);
	if (meter_quarantine_was_added(fold->quarantine))
		return fold->quarantine;
	(void) meter_states_end(fold->states);
	meter_fold_end(fold);
	return NULL;
}
