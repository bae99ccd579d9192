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

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/grid.h"
#include "engine/fold.h"
#include "engine/retention.h"
#include "engine/states.h"
#include "engine/usage_kind.h"
#include "pg/now.h"
#include "pg/spi.h"

/* Return the part of a definition that the state of a resource depends on. */
static char *
definition_text(const MeterDefinition *definition)
{
	return psprintf("%s of %s: starts %s stops %s changes %s dimensions %s",
					definition->aggregate == METER_DURATION ? "time" :
					definition->value_from,
					definition->entity ? quote_literal_cstr(definition->entity) : "all",
					meter_text_array_literal(definition->starts),
					meter_text_array_literal(definition->stops),
					meter_text_array_literal(definition->changes),
					meter_text_array_literal(definition->dimensions));
}

/*
 * Begin a meter over a log that is not complete: it goes on from the retention
 * boundary, if that has states of a meter of that name that pairs events
 * alike; otherwise it must begin there or later.  Within a session of the
 * stream's owner.
 */
void
meter_begin_at_boundary(const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	meter_execute(psprintf("SELECT FROM %s._retention WHERE meter = %s AND definition = %s "
						   "AND \"time\" = %s", schema, meter,
						   quote_literal_cstr(definition_text(definition)),
						   meter_timestamp_literal(definition->boundary)),
				  SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		meter_execute(psprintf("INSERT INTO %s._resource_state (meter, hash, resource, active, account, "
							   "dimensions, value, since, alive, absent, source, unnamed_since) "
							   "SELECT meter, hash, resource, active, account, dimensions, value, since, alive, "
							   "absent, source, CASE WHEN account IS NULL THEN %s END "
							   "FROM %s._retention_state WHERE meter = %s ORDER BY hash, resource",
							   schema, meter_timestamp_literal(definition->boundary),
							   schema, meter), SPI_OK_INSERT);
		return;
	}
	if (definition->since < definition->boundary)
	{
		TimestampTz begin = meter_grid_period_begin((MeterGrid *) definition->grid,
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
	/* the states at the retention boundary are of another meter */
	meter_execute(psprintf("DELETE FROM %s._retention_state WHERE meter = %s",
						   schema, meter), SPI_OK_DELETE);
}

/*
 * Check that the event log is complete: a meter of measures asks all events
 * who owned what.  Within a session of the stream's owner.
 */
void
meter_check_events_are_complete(const MeterDefinition *definition)
{
	if (!TIMESTAMP_IS_NOBEGIN(meter_retention_boundary(definition->stream, "event",
													   definition->name)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events of stream \"%s\" have been expired: a meter of measures cannot know the owners",
						definition->stream),
				 errhint("Log measures, and the events that name owners, into another stream.")));
}

/*
 * Find the latest retention boundary of a meter up to `before`: an instant
 * before which the meter cannot change anything, and at which a period begins.
 * Returns false if there is none yet.
 */
bool
meter_move_boundary(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz before,
					TimestampTz *boundary)
{
	TimestampTz limit = progress->watermark;

	if (!progress->has_watermark)
	{
		ereport(NOTICE,
				(errmsg("nothing is expired: meter \"%s\" has not settled anything yet",
						definition->name)));
		return false;
	}
	if (definition->has_max_lateness)
		limit = meter_later_by(limit, -definition->max_lateness);
	*boundary = Max(definition->boundary,
					meter_grid_period_begin(definition->grid,
											Min(before, limit)));
	return true;
}

/* Store the retention boundary of a meter's log. */
void
meter_store_boundary(const MeterDefinition *definition, const char *log,
					 TimestampTz boundary)
{
	meter_execute(psprintf("INSERT INTO %s._retention (meter, log, \"time\", definition) "
						   "VALUES (%s, '%s', %s, %s) ON CONFLICT (meter) DO UPDATE SET "
						   "log = excluded.log, \"time\" = excluded.\"time\", "
						   "definition = excluded.definition",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name), log,
						   meter_timestamp_literal(boundary),
						   quote_literal_cstr(definition_text(definition))),
				  SPI_OK_INSERT);
}

/*
 * Store what is known of each resource just before a new retention boundary,
 * from what the meter has looked at, and from what was known at the boundary
 * before.
 */
void
meter_store_states(const MeterDefinition *definition,
				   const MeterProgress *progress, TimestampTz boundary)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);

	fold->from = fold->to = boundary;	/* no usage is asked for */
	fold->scope.to = boundary;
	fold->scope.settled_to = DT_NOEND;
	/* what no step has looked at does not count */
	fold->scope.late_from = "'infinity'::timestamptz";
	fold->states = meter_states_begin(definition, "_retention_state", true);
	fold->writes_states = true;
	fold->own_snapshot = true;
	meter_fold_run(fold);
	(void) meter_states_end(fold->states);
	meter_fold_end(fold);
}
