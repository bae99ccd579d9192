/*
 * definition.c
 *	  Meters: their definitions, and how far each is settled.
 *
 * A definition never changes, since usage is a function of it; drop and
 * create is the way.  Whoever changes a meter, or settles it, holds the lock
 * on its row of meter.meter, and takes it before any lock on the stream's
 * tables.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "pg/arguments.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/timezone.h"

/* The columns of meter.meter in the order of the arguments. */
const char *const meter_definition_columns =
"stream, name, aggregate, entity, starts, stops, changes, dimensions, "
"period, \"precision\", rounding, unit, clock, lateness, max_lateness, "
"value_from, timezone, since, until";

const Oid	meter_definition_types[METER_NCOLUMNS] = {
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, INTERVALOID, INTERVALOID, TEXTOID,
	INTERVALOID, TEXTOID, INTERVALOID, INTERVALOID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID
};

/* Raise that an argument is not one of a few words. */
static void
not_recognized(const char *what, const char *value, const char *choices)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s \"%s\" not recognized", what, value),
			 errhint("It can be %s.", choices)));
}

/* The words for aggregates, in the order of MeterAggregate. */
static const char *const aggregate_names[] = {
	"duration", "weighted", "sum", "count", "min", "max", "latest", "unique",
	"counter"
};

/* Look up an aggregate. */
MeterAggregate
meter_parse_aggregate(const char *name)
{
	int			i;

	for (i = 0; i < (int) lengthof(aggregate_names); i++)
	{
		if (strcmp(name, aggregate_names[i]) == 0)
			return (MeterAggregate) i;
	}
	not_recognized("aggregate", name,
				   "duration or weighted, of events, or sum, count, min, max, latest, unique or counter, of measures");
	return METER_DURATION;
}

/* The word for an aggregate. */
const char *
meter_aggregate_name(MeterAggregate aggregate)
{
	return aggregate_names[aggregate];
}

/* Look up a clock. */
MeterClock
meter_parse_clock(const char *name)
{
	if (strcmp(name, "wall") == 0)
		return METER_CLOCK_WALL;
	if (strcmp(name, "event") == 0)
		return METER_CLOCK_EVENT;
	if (strcmp(name, "source") != 0)
		not_recognized("clock", name, "wall, event or source");
	return METER_CLOCK_SOURCE;
}

/*
 * Note what the ledger has of a meter already: its settlements go on from
 * there, and settles look for rows up to there.
 */
void
meter_note_ledger(const char *stream, const char *name)
{
	MeterSession session;
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	bool		isnull;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(name);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT coalesce(max(settlement), 0), max(period_start) "
						   "FROM %s.usage WHERE meter = %s",
						   quote_identifier(stream), quote_literal_cstr(name)),
				  SPI_OK_SELECT);
	values[2] = meter_result(0, 1, &isnull);
	values[3] = meter_result(0, 2, &isnull);
	if (isnull)
		nulls[3] = 'n';
	meter_session_end(&session);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET settlement = greatest(settlement, $3), "
						 "ledger_until = $4 WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 4, types, values, nulls);
	meter_session_end(&session);
}

/* A column of the row being loaded, copied to where it may stay. */
static Datum
copy_result(MemoryContext context, int column, Oid type, bool *isnull)
{
	Datum		value = meter_result(0, column, isnull);
	MemoryContext before = MemoryContextSwitchTo(context);

	if (!*isnull && type == TEXTARRAYOID)
		value = PointerGetDatum(DatumGetArrayTypePCopy(value));
	else if (!*isnull && type == TEXTOID)
		value = PointerGetDatum(TextDatumGetCString(value));
	MemoryContextSwitchTo(before);
	return value;
}

/* The literal from which meter.settle_rows() learns what to do. */
static void
make_spec(MeterDefinition *definition, const char *aggregate,
		  const char *period, const char *precision, const char *rounding,
		  const char *zone)
{
	ArrayBuildState *array = initArrayResult(TEXTOID, CurrentMemoryContext,
											 false);
	const char *fixed[8];
	int			i;

	fixed[0] = definition->stream;
	fixed[1] = definition->name;
	fixed[2] = aggregate;
	fixed[3] = period;
	fixed[4] = precision;
	fixed[5] = rounding;
	fixed[6] = psprintf(INT64_FORMAT, definition->unit);
	fixed[7] = zone;
	for (i = 0; i < (int) lengthof(fixed); i++)
		array = accumArrayResult(array, CStringGetTextDatum(fixed[i]), false,
								 TEXTOID, CurrentMemoryContext);
	for (i = 0; i < definition->ndimensions; i++)
		array = accumArrayResult(array,
								 CStringGetTextDatum(definition->dimension_names[i]),
								 false, TEXTOID, CurrentMemoryContext);
	definition->spec =
		meter_text_array_literal(makeArrayResult(array, CurrentMemoryContext));
}

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

/*
 * Load a meter, and lock it if asked to.  An error if there is none, or NULL,
 * as the lock says.
 */
MeterDefinition *
meter_load(const char *stream, const char *name, MeterLock lock)
{
	MemoryContext context = CurrentMemoryContext;
	MeterDefinition *definition = palloc0(sizeof(MeterDefinition));
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[3];
	Datum		row[METER_NCOLUMNS + 23];
	bool		isnull[METER_NCOLUMNS + 23];
	int			column;
	char	   *zone;

	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(name);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(
						 psprintf("SELECT %s, watermark, \"position\", event_clock, "
								  "clock_position, settlement, failures, "
								  "coalesce(retry_at > $3, false), ledger_until, period::text, "
								  "\"precision\"::text, note_bound, note_writers, note_server, "
								  "position_watermark, note_watermark, "
								  "(SELECT s.identity_window FROM meter.stream s WHERE s.name = stream), "
								  "measure_position, measure_position_watermark, "
								  "measure_note_bound, measure_note_writers, measure_note_server, "
								  "measure_note_watermark, measure_clock_position "
								  "FROM meter.meter WHERE stream = $1 AND name = $2 %s",
								  meter_definition_columns,
								  lock == METER_LOCK_NONE ? "" :
								  lock == METER_LOCK_SKIP ? "FOR UPDATE SKIP LOCKED" : "FOR UPDATE"),
						 SPI_OK_SELECT, 3, types, values, NULL);
	if (SPI_processed == 0)
	{
		if (lock == METER_LOCK_SKIP || lock == METER_LOCK_WAIT_OR_GONE)
			definition = NULL;
		else
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("meter \"%s\" of stream \"%s\" does not exist",
							name, stream)));
	}
	for (column = 0; definition != NULL && column < METER_NCOLUMNS + 23; column++)
	{
		Oid			type = column < METER_NCOLUMNS ? meter_definition_types[column] :
		column == METER_NCOLUMNS + 8 || column == METER_NCOLUMNS + 9 ? TEXTOID :
		column == METER_NCOLUMNS + 11 || column == METER_NCOLUMNS + 19 ? TEXTARRAYOID :
		column == METER_NCOLUMNS + 15 ? INTERVALOID : INT8OID;

		row[column] = copy_result(context, column + 1, type, &isnull[column]);
		if (!isnull[column] && type == INTERVALOID)
		{
			Interval   *copy = MemoryContextAlloc(context, sizeof(Interval));

			*copy = *DatumGetIntervalP(row[column]);
			row[column] = IntervalPGetDatum(copy);
		}
	}
	meter_session_end(&session);
	if (definition == NULL)
		return NULL;

	definition->stream = DatumGetCString(row[METER_COLUMN_STREAM]);
	definition->name = DatumGetCString(row[METER_COLUMN_NAME]);
	definition->aggregate = meter_parse_aggregate(DatumGetCString(row[METER_COLUMN_AGGREGATE]));
	definition->entity = isnull[METER_COLUMN_ENTITY] ? NULL :
		DatumGetCString(row[METER_COLUMN_ENTITY]);
	definition->starts = row[METER_COLUMN_STARTS];
	definition->stops = row[METER_COLUMN_STOPS];
	definition->changes = row[METER_COLUMN_CHANGES];
	definition->dimensions = row[METER_COLUMN_DIMENSIONS];
	definition->ndimensions = meter_text_elements(row[METER_COLUMN_DIMENSIONS], "dimensions",
												  &definition->dimension_names);
	zone = DatumGetCString(row[METER_COLUMN_TIMEZONE]);
	meter_grid_init(&definition->grid, meter_zone_lookup(zone));
	meter_grid_set_precision(&definition->grid,
							 DatumGetIntervalP(row[METER_COLUMN_PRECISION]));
	meter_grid_set_period(&definition->grid,
						  DatumGetIntervalP(row[METER_COLUMN_PERIOD]));
	definition->rounding = meter_rounding_by_name(DatumGetCString(row[METER_COLUMN_ROUNDING]));
	definition->unit = meter_interval_usec(DatumGetIntervalP(row[METER_COLUMN_UNIT]),
										   "unit");
	definition->clock = meter_parse_clock(DatumGetCString(row[METER_COLUMN_CLOCK]));
	definition->lateness = meter_interval_usec(DatumGetIntervalP(row[METER_COLUMN_LATENESS]),
											   "lateness");
	definition->has_max_lateness = !isnull[METER_COLUMN_MAX_LATENESS];
	if (definition->has_max_lateness)
		definition->max_lateness =
			meter_interval_usec(DatumGetIntervalP(row[METER_COLUMN_MAX_LATENESS]),
								"max_lateness");
	definition->identity_window =
		meter_interval_usec(DatumGetIntervalP(row[METER_NCOLUMNS + 15]),
							"identity_window");
	definition->value_from = DatumGetCString(row[METER_COLUMN_VALUE_FROM]);
	definition->since = isnull[METER_COLUMN_SINCE] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_COLUMN_SINCE]);
	definition->until = isnull[METER_COLUMN_UNTIL] ? DT_NOEND :
		DatumGetTimestampTz(row[METER_COLUMN_UNTIL]);

	definition->floor =
		meter_stream_floor(stream, METER_OF_MEASURES(definition->aggregate) ?
						   "measure" : "event", name);

	definition->has_watermark = !isnull[METER_NCOLUMNS];
	definition->watermark = isnull[METER_NCOLUMNS] ? 0 : DatumGetTimestampTz(row[METER_NCOLUMNS]);
	definition->position = DatumGetInt64(row[METER_NCOLUMNS + 1]);
	definition->has_event_clock = !isnull[METER_NCOLUMNS + 2];
	definition->event_clock = isnull[METER_NCOLUMNS + 2] ? 0 :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 2]);
	definition->clock_position = DatumGetInt64(row[METER_NCOLUMNS + 3]);
	definition->settlement = DatumGetInt64(row[METER_NCOLUMNS + 4]);
	definition->failures = DatumGetInt32(row[METER_NCOLUMNS + 5]);
	definition->retry_later = DatumGetBool(row[METER_NCOLUMNS + 6]);
	definition->ledger_until = isnull[METER_NCOLUMNS + 7] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 7]);
	definition->position_watermark = isnull[METER_NCOLUMNS + 13] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 13]);
	definition->note_watermark = isnull[METER_NCOLUMNS + 14] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 14]);
	definition->has_note = !isnull[METER_NCOLUMNS + 10];
	if (definition->has_note)
	{
		definition->note_bound = DatumGetInt64(row[METER_NCOLUMNS + 10]);
		definition->note_writers = row[METER_NCOLUMNS + 11];
		definition->note_server = DatumGetTimestampTz(row[METER_NCOLUMNS + 12]);
	}
	definition->measures.position = DatumGetInt64(row[METER_NCOLUMNS + 16]);
	definition->measures.position_watermark = isnull[METER_NCOLUMNS + 17] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 17]);
	definition->measures.has_note = !isnull[METER_NCOLUMNS + 18];
	if (definition->measures.has_note)
	{
		definition->measures.note_bound = DatumGetInt64(row[METER_NCOLUMNS + 18]);
		definition->measures.note_writers = row[METER_NCOLUMNS + 19];
		definition->measures.note_server = DatumGetTimestampTz(row[METER_NCOLUMNS + 20]);
	}
	definition->measures.note_watermark = isnull[METER_NCOLUMNS + 21] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[METER_NCOLUMNS + 21]);
	definition->measures.clock_position = DatumGetInt64(row[METER_NCOLUMNS + 22]);
	definition->period = DatumGetCString(row[METER_NCOLUMNS + 8]);
	definition->timezone = zone;
	make_spec(definition, DatumGetCString(row[METER_COLUMN_AGGREGATE]),
			  DatumGetCString(row[METER_NCOLUMNS + 8]), DatumGetCString(row[METER_NCOLUMNS + 9]),
			  DatumGetCString(row[METER_COLUMN_ROUNDING]), zone);
	return definition;
}

/*
 * Load and lock a meter for its stream's owner, who is to be the caller, to
 * write usage by hand.
 */
MeterDefinition *
meter_load_to_write(const char *stream, const char *name)
{
	meter_check_stream_permission(stream);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	return meter_load(stream, name, METER_LOCK_WAIT);
}

/*
 * Lock a stream, then all its meters, so that nobody settles: those of events
 * and those of measures.
 */
void
meter_lock_meters(const char *stream, List **of_events, List **of_measures)
{
	MeterSession session;
	ListCell   *cell;

	*of_events = *of_measures = NIL;
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);
	foreach(cell, meter_list_meters(stream, NULL, false))
	{
		MeterRef   *ref = lfirst(cell);
		MeterDefinition *definition = meter_load(stream, ref->meter,
												 METER_LOCK_WAIT);

		if (METER_OF_MEASURES(definition->aggregate))
			*of_measures = lappend(*of_measures, definition);
		else
			*of_events = lappend(*of_events, definition);
	}
}

/* The meters of one stream, or one meter (NULL: all), of active streams or any. */
List *
meter_list_meters(const char *stream, const char *name, bool active_only)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3] = {0, 0, BoolGetDatum(active_only)};
	char		nulls[3] = {'n', 'n', ' '};
	List	   *refs = NIL;
	uint64		i;

	if (stream != NULL)
	{
		values[0] = CStringGetTextDatum(stream);
		nulls[0] = ' ';
	}
	if (name != NULL)
	{
		values[1] = CStringGetTextDatum(name);
		nulls[1] = ' ';
	}
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT m.stream, m.name FROM meter.meter m "
						 "WHERE ($1 IS NULL OR m.stream = $1) "
						 "AND ($2 IS NULL OR m.name = $2) "
						 "AND (NOT $3 OR EXISTS (SELECT FROM meter.active_stream a "
						 "WHERE a.name = m.stream)) "
						 "ORDER BY 1, 2",
						 SPI_OK_SELECT, 3, types, values, nulls);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		MeterRef   *ref = palloc(sizeof(MeterRef));

		ref->stream = meter_result_text(i, 1);
		ref->meter = meter_result_text(i, 2);
		refs = lappend(refs, ref);
		MemoryContextSwitchTo(before);
	}
	meter_session_end(&session);
	return refs;
}
