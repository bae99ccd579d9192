/*
 * expire.c
 *	  Forgetting: old segments are dropped, and a floor is left.
 *
 * The floor is the instant before which a log is not whole any more.  What is
 * known of each resource at it is kept in the stream's schema, and takes the
 * place of what the log had before: nothing is computed anew, verified or
 * counted that lies before the floor.  Each meter has its own, where a period
 * of it begins, never later than its watermark less max_lateness, so no bill
 * that can still change lies before it.
 *
 * Whoever moves a floor holds the locks on the stream and on all its meters.
 */
#include "commands/expire.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "engine/clock.h"
#include "engine/events.h"
#include "log/segment.h"
#include "pg/spi.h"
#include "catalog/stream.h"
#include "engine/views.h"

/*
 * The floor of a log for a meter: its own, or for one that has none the latest
 * of those that have; DT_NOBEGIN if the log is whole.
 */
TimestampTz
meter_stream_floor(const char *stream, const char *log, const char *meter)
{
	MeterSession session;
	TimestampTz floor = DT_NOBEGIN;

	if (!OidIsValid(get_namespace_oid(stream, true)))
		return floor;
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT coalesce(max(\"time\") FILTER (WHERE meter = %s), max(\"time\")) "
						   "FROM %s.floor WHERE log = '%s'",
						   quote_literal_cstr(meter), quote_identifier(stream),
						   log), SPI_OK_SELECT);
	(void) meter_result_instant(1, &floor);
	meter_session_end(&session);
	return floor;
}

/* What of a definition the state of a resource depends on. */
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
 * A meter that is made over a log that is not whole: it goes on from the
 * floor, if that knows one of its name that pairs events alike, or begins
 * there or later.  Within a session of the stream's owner.
 */
void
meter_begin_at_floor(const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	meter_execute(psprintf("SELECT FROM %s.floor WHERE meter = %s AND definition = %s "
						   "AND \"time\" = %s", schema, meter,
						   quote_literal_cstr(definition_text(definition)),
						   meter_timestamp_literal(definition->floor)),
				  SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		meter_execute(psprintf("INSERT INTO %s.resource_state (meter, resource, active, account, "
							   "dimensions, value, since, alive, absent, source, unnamed_since) "
							   "SELECT meter, resource, active, account, dimensions, value, since, alive, "
							   "absent, source, CASE WHEN account IS NULL THEN %s END "
							   "FROM %s.floor_state WHERE meter = %s ORDER BY resource",
							   schema, meter_timestamp_literal(definition->floor),
							   schema, meter), SPI_OK_INSERT);
		return;
	}
	if (definition->since < definition->floor)
	{
		TimestampTz begin = meter_grid_period_begin((MeterGrid *) &definition->grid,
													definition->floor);

		if (begin < definition->floor)
			begin = meter_grid_period_end((MeterGrid *) &definition->grid,
										  definition->floor);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("meter \"%s\" cannot begin before the floor of stream \"%s\", %s",
						definition->name, definition->stream,
						timestamptz_to_str(definition->floor)),
				 errdetail("Segments from before it were dropped by meter.expire(), and what ran at it is known to meters that were there only."),
				 errhint("Use since => '%s' or later.", timestamptz_to_str(begin))));
	}
	/* what the floor knows is of another meter */
	meter_execute(psprintf("DELETE FROM %s.floor_state WHERE meter = %s",
						   schema, meter), SPI_OK_DELETE);
}

/*
 * A meter of measures asks all events who owned what.  Within a session of
 * the stream's owner.
 */
void
meter_check_events_are_whole(const MeterDefinition *definition)
{
	if (!TIMESTAMP_IS_NOBEGIN(meter_stream_floor(definition->stream, "event",
												definition->name)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events of stream \"%s\" have been expired: a meter of measures cannot tell who owned what",
						definition->stream),
				 errhint("Log measures, and the events that name owners, into another stream.")));
}

/*
 * Move the floor of a meter on to the latest instant up to `before` that can
 * be one: before it the meter cannot change anything, and a period begins
 * there.  False if there is none yet.
 */
static bool
move_floor(MeterDefinition *definition, TimestampTz before,
		   TimestampTz *floor)
{
	TimestampTz limit = definition->watermark;

	if (!definition->has_watermark)
	{
		ereport(NOTICE,
				(errmsg("nothing is expired: meter \"%s\" has not settled anything yet",
						definition->name)));
		return false;
	}
	if (definition->has_max_lateness)
		limit = meter_later_by(limit, -definition->max_lateness);
	*floor = Max(definition->floor,
				 meter_grid_period_begin(&definition->grid,
										 Min(before, limit)));
	return true;
}

/* Write where the floor of a meter's log is. */
static void
store_floor(const MeterDefinition *definition, const char *log,
			TimestampTz floor)
{
	meter_execute(psprintf("INSERT INTO %s.floor (meter, log, \"time\", definition) "
						   "VALUES (%s, '%s', %s, %s) ON CONFLICT (meter) DO UPDATE SET "
						   "log = excluded.log, \"time\" = excluded.\"time\", "
						   "definition = excluded.definition",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name), log,
						   meter_timestamp_literal(floor),
						   quote_literal_cstr(definition_text(definition))),
				  SPI_OK_INSERT);
}

/*
 * Keep what is known of each resource just before a new floor, from what the
 * meter has looked at, and what was known at the floor before.
 */
static void
store_states(MeterDefinition *definition, TimestampTz floor)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	MeterScope	scope = {0};
	StringInfoData sql;

	scope.to = meter_timestamp_literal(floor);
	scope.late_from = "'infinity'::timestamptz";
	scope.safe = definition->position;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	meter_append_events(&sql, definition, &scope);
	appendStringInfo(&sql,
					 " INSERT INTO %s.floor_state AS f (meter, resource, active, account, "
					 "dimensions, value, since, alive, absent, source) "
					 "SELECT %s, n.resource, (n.state).active, (n.state).account, "
					 "(n.state).dimensions, (n.state).value, (n.state).since, "
					 "(n.state).alive, (n.state).absent, (n.state).source "
					 "FROM (SELECT e.resource, meter.settle_state(" METER_TIMELINE("e") ") AS state "
					 "FROM events e GROUP BY e.resource ORDER BY e.resource) n "
					 "ON CONFLICT (meter, resource) DO UPDATE SET "
					 "active = excluded.active, account = excluded.account, "
					 "dimensions = excluded.dimensions, value = excluded.value, "
					 "since = excluded.since, alive = excluded.alive, "
					 "absent = excluded.absent, source = excluded.source",
					 schema, meter);
	meter_execute(sql.data, SPI_OK_INSERT);
}

/* Up to which arrival all meters have looked at a log. */
static int64
least_position(List *definitions)
{
	int64		least = PG_INT64_MAX;
	ListCell   *cell;

	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);

		least = Min(least, METER_OF_MEASURES(definition->aggregate) ?
					definition->measures.position : definition->position);
	}
	return least;
}

/* Drop a segment, and what refers to its rows. */
static void
drop_segment(const char *stream, const MeterSegment *segment)
{
	const char *schema = quote_identifier(stream);
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[3];
	char	   *row;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(segment->log);
	values[2] = Int64GetDatum(segment->number);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.segment WHERE stream = $1 AND log = $2 AND segment = $3 "
						 "RETURNING format('%L, %s, %s, %L, %L, %L, %L', log, segment, rows, first_arrival, "
						 "last_arrival, least_time, greatest_time)",
						 SPI_OK_DELETE_RETURNING, 3, types, values, NULL);
	row = meter_result_text(0, 1);
	row = MemoryContextStrdup(context, row);
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("INSERT INTO %s.expired (log, segment, rows, first_arrival, last_arrival, "
						   "least_time, greatest_time) VALUES (%s)", schema, row),
				  SPI_OK_INSERT);
	meter_execute(psprintf("DELETE FROM %s.held WHERE log = '%s' AND arrival >= " INT64_FORMAT
						   " AND arrival < " INT64_FORMAT, schema, segment->log,
						   segment->number << METER_SEGMENT_BITS,
						   (segment->number + 1) << METER_SEGMENT_BITS),
				  SPI_OK_DELETE);
	meter_execute(psprintf("DROP TABLE %s.%s_" INT64_FORMAT, schema,
						   segment->log, segment->number), SPI_OK_UTILITY);
	meter_session_end(&session);
	pfree(row);
}

/* Expire a log, which these meters read: the number of segments dropped. */
static int64
expire_log(const char *stream, const char *log, List *definitions,
		   TimestampTz before)
{
	const char *schema = quote_identifier(stream);
	TimestampTz *floors = palloc(list_length(definitions) * sizeof(TimestampTz));
	TimestampTz least = DT_NOEND;
	List	   *segments;
	ListCell   *cell;
	MeterSession session;
	int			i = 0;

	foreach(cell, definitions)
	{
		if (!move_floor(lfirst(cell), before, &floors[i]))
			return 0;
		least = Min(least, floors[i]);
		i++;
	}
	/* copies of what is kept may lie a window before the floor */
	segments = meter_segments_before(stream, log, meter_later_by(least,
																 - ((MeterDefinition *) linitial(definitions))->identity_window),
									 least_position(definitions));
	if (segments == NIL)
		return 0;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_session_bulk();
	i = 0;
	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);

		/* usage of measures depends on none that end before it */
		if (!METER_OF_MEASURES(definition->aggregate))
			store_states(definition, floors[i]);
		store_floor(definition, log, floors[i++]);
	}
	/* what was kept of meters that are gone misses these segments */
	meter_execute(psprintf("DELETE FROM %s.floor f WHERE f.log = '%s' AND f.\"time\" < %s",
						   schema, log, meter_timestamp_literal(least)),
				  SPI_OK_DELETE);
	meter_execute(psprintf("DELETE FROM %s.floor_state s "
						   "WHERE NOT EXISTS (SELECT FROM %s.floor f WHERE f.meter = s.meter)",
						   schema, schema), SPI_OK_DELETE);
	meter_session_end(&session);
	foreach(cell, segments)
		drop_segment(stream, lfirst(cell));
	return list_length(segments);
}

/* Is there a counter?  It needs the reading before. */
static bool
any_counter(List *definitions)
{
	ListCell   *cell;

	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);

		if (definition->aggregate == METER_COUNTER)
		{
			ereport(NOTICE,
					(errmsg("measures are not expired: meter \"%s\" of aggregate counter needs the readings before",
							definition->name)));
			return true;
		}
	}
	return false;
}

extern Datum meter_prune_inventory(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(meter_expire);

/* expire(stream, before): the number of segments that were dropped */
Datum
meter_expire(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	TimestampTz before;
	List	   *of_events;
	List	   *of_measures;
	MeterSession session;
	int64		dropped = 0;

	PreventCommandIfReadOnly("meter.expire()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("before must not be null")));
	before = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(before))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("before must be finite")));
	meter_check_stream_permission(stream);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	meter_lock_meters(stream, &of_events, &of_measures);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_end(&session);

	if (of_measures != NIL)
	{
		if (of_events != NIL)
			ereport(NOTICE,
					(errmsg("events are not expired: meter \"%s\" of measures asks all of them who owned what",
							((MeterDefinition *) linitial(of_measures))->name)));
		if (!any_counter(of_measures))
			dropped = expire_log(stream, "measure", of_measures, before);
	}
	else if (of_events != NIL)
		dropped = expire_log(stream, "event", of_events, before);
	(void) DirectFunctionCall2(meter_prune_inventory, PG_GETARG_DATUM(0),
							   PG_GETARG_DATUM(1));
	if (dropped > 0)
		meter_rebuild_views(stream);
	PG_RETURN_INT64(dropped);
}
