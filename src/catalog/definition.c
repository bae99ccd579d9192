/*
 * definition.c
 *	  Meters: their definitions, and how far each is settled.
 *
 * A definition never changes, since usage is a function of it; drop and
 * create is the way.  Whoever changes a meter, or settles it, holds the lock
 * on its row of meter.meter, and takes it before any lock on the stream's
 * tables.
 */
#include "catalog/definition.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/arguments.h"
#include "commands/expire.h"
#include "engine/measures.h"
#include "pg/quantity.h"
#include "engine/events.h"
#include "pg/spi.h"
#include "catalog/stream.h"
#include "pg/timezone.h"
#include "engine/views.h"
#include "worker/worker.h"

#define MAX_NAME_BYTES	200

/* Positions of create_meter()'s arguments. */
enum
{
	ARG_STREAM,
	ARG_NAME,
	ARG_AGGREGATE,
	ARG_ENTITY,
	ARG_STARTS,
	ARG_STOPS,
	ARG_CHANGES,
	ARG_DIMENSIONS,
	ARG_PERIOD,
	ARG_PRECISION,
	ARG_ROUNDING,
	ARG_UNIT,
	ARG_CLOCK,
	ARG_LATENESS,
	ARG_MAX_LATENESS,
	ARG_VALUE_FROM,
	ARG_TIMEZONE,
	ARG_SINCE,
	ARG_UNTIL,
	NARGS
};

/* The columns of meter.meter in the order of the arguments. */
static const char *const columns =
"stream, name, aggregate, entity, starts, stops, changes, dimensions, "
"period, \"precision\", rounding, unit, clock, lateness, max_lateness, "
"value_from, timezone, since, until";

static const Oid column_types[NARGS] = {
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
static MeterAggregate
parse_aggregate(const char *name)
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
static MeterClock
parse_clock(const char *name)
{
	if (strcmp(name, "wall") == 0)
		return METER_CLOCK_WALL;
	if (strcmp(name, "event") == 0)
		return METER_CLOCK_EVENT;
	if (strcmp(name, "source") != 0)
		not_recognized("clock", name, "wall, event or source");
	return METER_CLOCK_SOURCE;
}

/* The elements of a text[], none of which may be null or empty. */
static int
array_elements(Datum array, const char *what, char ***elements)
{
	ArrayType  *value = DatumGetArrayTypeP(array);
	Datum	   *datums;
	bool	   *nulls;
	int			count;
	int			i;
	int			j;

	if (ARR_NDIM(value) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", what)));
	deconstruct_array(value, TEXTOID, -1, false, TYPALIGN_INT,
					  &datums, &nulls, &count);
	*elements = palloc(Max(count, 1) * sizeof(char *));
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", what)));
		(*elements)[i] = TextDatumGetCString(datums[i]);
		if ((*elements)[i][0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not contain an empty name", what)));
		for (j = 0; j < i; j++)
		{
			if (strcmp((*elements)[i], (*elements)[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("%s name \"%s\" twice", what,
								(*elements)[i])));
		}
	}
	return count;
}

/* What a meter takes its values from: the value, or an attribute. */
static void
check_value_from(const char *value_from, MeterAggregate aggregate)
{
	static const char *const columns_without[] = {
		"", "arrival", "source", "id", "time", "resource", "account", "entity",
		"action", "offering", "attributes"
	};
	int			i;

	if (METER_OF_MEASURES(aggregate))
	{
		meter_check_measure_value(value_from, aggregate);
		return;
	}
	for (i = 0; i < (int) lengthof(columns_without); i++)
	{
		if (strcmp(value_from, columns_without[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("values cannot be taken from \"%s\"", value_from),
					 errhint("value_from is value, or a key of attributes that is a number.")));
	}
}

/* Actions in two lists that exclude each other. */
static void
check_disjoint(char **a, int na, const char *awhat,
			   char **b, int nb, const char *bwhat)
{
	int			i;
	int			j;

	for (i = 0; i < na; i++)
	{
		for (j = 0; j < nb; j++)
		{
			if (strcmp(a[i], b[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("action \"%s\" is in both %s and %s",
								a[i], awhat, bwhat),
						 errhint("An action can do one thing only for a meter.")));
		}
	}
}

/* Actions that the engine keeps for itself. */
static void
check_not_reserved(char **actions, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		if (strcmp(actions[i], "void") == 0 ||
			strncmp(actions[i], "reconciled:", 11) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("action \"%s\" is reserved", actions[i])));
	}
}

/* Check the three lists of actions. */
static void
check_actions(const Datum *values)
{
	char	  **starts;
	char	  **stops;
	char	  **changes;
	int			nstarts = array_elements(values[ARG_STARTS], "starts", &starts);
	int			nstops = array_elements(values[ARG_STOPS], "stops", &stops);
	int			nchanges = array_elements(values[ARG_CHANGES], "changes",
										  &changes);

	if (nstarts == 0 || nstops == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must name at least one action",
						nstarts == 0 ? "starts" : "stops"),
				 errhint("For example: starts => '{create,start}', stops => '{delete,stop}'.")));
	check_disjoint(starts, nstarts, "starts", stops, nstops, "stops");
	check_disjoint(starts, nstarts, "starts", changes, nchanges, "changes");
	check_disjoint(stops, nstops, "stops", changes, nchanges, "changes");
	check_not_reserved(starts, nstarts);
	check_not_reserved(stops, nstops);
	check_not_reserved(changes, nchanges);
}

/* Check the dimensions: columns that say something of usage, or attributes. */
static void
check_dimensions(Datum dimensions, MeterAggregate aggregate)
{
	static const char *const unusable[] = {
		"arrival", "id", "time", "resource", "account", "action", "value",
		"attributes", "start_time", "end_time"
	};
	/* these are no columns of events */
	int			nunusable = (int) lengthof(unusable) -
		(METER_OF_MEASURES(aggregate) ? 0 : 2);
	char	  **names;
	int			count = array_elements(dimensions, "dimensions", &names);
	int			i;
	int			j;

	if (count > 32)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a meter can have 32 dimensions at most, not %d",
						count)));
	for (i = 0; i < count; i++)
	{
		for (j = 0; j < nunusable; j++)
		{
			if (strcmp(names[i], unusable[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("column \"%s\" cannot be a dimension",
								names[i]),
						 METER_OF_MEASURES(aggregate) ?
						 errhint("A dimension can be source, entity or any key of attributes.") :
						 errhint("A dimension can be source, entity, offering or any key of attributes.")));
		}
	}
}

/*
 * Arguments that say how events are paired, rounded and counted mean nothing
 * to a meter of measures, whose quantities are in the measures' own units.
 */
static void
check_not_of_events(MeterAggregate aggregate, Datum *values, const char *nulls)
{
	static const int lists[] = {ARG_STARTS, ARG_STOPS, ARG_CHANGES};
	static const char *const names[] = {"starts", "stops", "changes"};
	const char *what = NULL;
	const char *hint = NULL;
	char	  **actions;
	int			i;

	for (i = 0; i < (int) lengthof(lists); i++)
	{
		if (array_elements(values[lists[i]], names[i], &actions) > 0)
		{
			what = names[i];
			hint = "Measures are quantities that somebody has measured: no action starts or stops them.";
		}
	}
	if (nulls[ARG_ROUNDING] == ' ' &&
		strcmp(TextDatumGetCString(values[ARG_ROUNDING]), "none") != 0)
	{
		what = "rounding";
		hint = "Quantities are exact. Leave it out, or none.";
	}
	if (meter_interval_usec(DatumGetIntervalP(values[ARG_UNIT]),
							"unit") != METER_MINUTE)
	{
		what = "unit";
		hint = "Quantities are in the unit of the measures. Leave it out.";
	}
	if (DatumGetIntervalP(values[ARG_PRECISION])->month != 0 ||
		meter_interval_usec(DatumGetIntervalP(values[ARG_PRECISION]),
							"precision") != METER_MINUTE)
	{
		what = "precision";
		hint = "Measures are cut to the microsecond. Leave it out.";
	}
	if (what != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s means nothing to aggregate %s", what,
						meter_aggregate_name(aggregate)),
				 errhint("%s", hint)));

	/* any period will do */
	values[ARG_PRECISION] = DirectFunctionCall3(interval_in,
												CStringGetDatum("1 second"),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1));
}

/* An interval that must not be negative. */
static int64
check_not_negative(Datum interval, const char *what)
{
	int64		usec = meter_interval_usec(DatumGetIntervalP(interval), what);

	if (usec < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative: \"%s\"", what,
						DatumGetCString(DirectFunctionCall1(interval_out,
															interval)))));
	return usec;
}

/* An instant must be one where a period begins. */
static void
check_boundary(MeterGrid *grid, TimestampTz instant, const char *what)
{
	if (TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("%s must be finite", what),
				 errhint("Leave it out for no limit.")));
	if (meter_grid_period_begin(grid, instant) != instant)
	{
		char	   *before = pstrdup(timestamptz_to_str(meter_grid_period_begin(grid, instant)));

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be the beginning of a period, not \"%s\"",
						what, timestamptz_to_str(instant)),
				 errhint("The periods around it begin at \"%s\" and \"%s\".",
						 before,
						 timestamptz_to_str(meter_grid_period_end(grid, instant)))));
	}
}

/* Check every argument of create_meter(); NULLs that are let be are not here. */
static void
check_definition(Datum *values, char *nulls)
{
	MeterGrid	grid;
	MeterRounding rounding;
	MeterAggregate aggregate;
	int64		unit;
	int			length = (int) strlen(TextDatumGetCString(values[ARG_NAME]));

	if (length == 0 || length > MAX_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid meter name: \"%s\"",
						TextDatumGetCString(values[ARG_NAME])),
				 errdetail("It must have 1 to %d bytes.", MAX_NAME_BYTES)));
	if (nulls[ARG_ENTITY] == ' ' &&
		TextDatumGetCString(values[ARG_ENTITY])[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("entity must not be empty"),
				 errhint("Leave it out, or null, for all entities.")));
	aggregate = parse_aggregate(TextDatumGetCString(values[ARG_AGGREGATE]));
	(void) parse_clock(TextDatumGetCString(values[ARG_CLOCK]));
	check_value_from(TextDatumGetCString(values[ARG_VALUE_FROM]), aggregate);
	if (METER_OF_MEASURES(aggregate))
		check_not_of_events(aggregate, values, nulls);
	else
		check_actions(values);
	check_dimensions(values[ARG_DIMENSIONS], aggregate);

	if (nulls[ARG_ROUNDING] != ' ')
	{
		values[ARG_ROUNDING] =
			CStringGetTextDatum(aggregate == METER_DURATION ? "up" : "none");
		nulls[ARG_ROUNDING] = ' ';
	}
	rounding = meter_rounding_by_name(TextDatumGetCString(values[ARG_ROUNDING]));

	meter_grid_init(&grid,
					meter_zone_lookup(TextDatumGetCString(values[ARG_TIMEZONE])));
	meter_grid_set_precision(&grid, DatumGetIntervalP(values[ARG_PRECISION]));
	meter_grid_set_period(&grid, DatumGetIntervalP(values[ARG_PERIOD]));

	unit = meter_interval_usec(DatumGetIntervalP(values[ARG_UNIT]), "unit");
	if (unit <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unit must be positive")));
	(void) check_not_negative(values[ARG_LATENESS], "lateness");
	if (nulls[ARG_MAX_LATENESS] == ' ')
		(void) check_not_negative(values[ARG_MAX_LATENESS], "max_lateness");

	if (nulls[ARG_SINCE] == ' ')
		check_boundary(&grid, DatumGetTimestampTz(values[ARG_SINCE]), "since");
	if (nulls[ARG_UNTIL] == ' ')
		check_boundary(&grid, DatumGetTimestampTz(values[ARG_UNTIL]), "until");
	if (nulls[ARG_SINCE] == ' ' && nulls[ARG_UNTIL] == ' ' &&
		DatumGetTimestampTz(values[ARG_SINCE]) >=
		DatumGetTimestampTz(values[ARG_UNTIL]))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("since must be before until")));

	if (!METER_OF_MEASURES(aggregate) &&
		!meter_unit_is_finite(unit, rounding == METER_ROUND_NONE ? 1 :
							  Min(grid.unit, 15 * METER_MINUTE)))
		ereport(NOTICE,
				(errmsg("some quantities in this unit have no finite decimal and are rounded at the 12th digit"),
				 errhint("A unit such as '1 minute' or '1 second' that the precision is a multiple of keeps them exact.")));
}

/* Insert the definition, or say that there is one already. */
static void
insert_definition(const char *stream, const char *name, Datum *values,
				  const char *nulls)
{
	MeterSession session;
	StringInfoData sql;
	int			i;

	meter_session_begin(&session, meter_extension_owner());
	/* one at a time makes a meter of this stream: no race for the name */
	meter_lock_stream(stream);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", stream)));
	meter_execute_params("SELECT FROM meter.meter WHERE stream = $1 AND name = $2",
						 SPI_OK_SELECT, 2, (Oid *) column_types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" already exists",
						name, stream),
				 errhint("A definition never changes: drop the meter and create it again, and its usage is settled anew.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO meter.meter (%s) VALUES (", columns);
	for (i = 0; i < NARGS; i++)
		appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(&sql, ')');
	meter_execute_params(sql.data, SPI_OK_INSERT, NARGS,
						 (Oid *) column_types, values, nulls);
	meter_session_end(&session);
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

/*
 * What the ledger has under a meter's name must be in the same unit: numbers
 * of two would add up to nothing.  Within a session.
 */
static void
check_unit(const MeterDefinition *definition)
{
	const char *aggregate = meter_aggregate_name(definition->aggregate);

	meter_execute(psprintf("SELECT aggregate, unit::text FROM %s.settlement "
						   "WHERE meter = %s AND (aggregate <> '%s' OR unit <> '"
						   INT64_FORMAT " microseconds'::interval) "
						   "ORDER BY settlement DESC LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   aggregate, definition->unit), SPI_OK_SELECT);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 METER_OF_MEASURES(parse_aggregate(meter_result_text(0, 1))) ?
				 errmsg("the ledger has usage of meter \"%s\" by aggregate %s",
						definition->name, meter_result_text(0, 1)) :
				 errmsg("the ledger has usage of meter \"%s\" by aggregate %s in units of \"%s\"",
						definition->name, meter_result_text(0, 1),
						meter_result_text(0, 2)),
				 errhint("Use the same aggregate and unit, or another name for the meter.")));

	if (TIMESTAMP_IS_NOBEGIN(definition->since))
		return;
	meter_execute(psprintf("SELECT FROM %s.settlement s WHERE s.meter = %s "
						   "AND (s.period <> (%s)[4]::interval OR s.timezone <> (%s)[8]) "
						   "AND EXISTS (SELECT FROM %s.usage u WHERE u.meter = %s "
						   "AND u.period_start < %s) LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   definition->spec, definition->spec,
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(definition->since)),
				  SPI_OK_SELECT);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the ledger has usage of meter \"%s\" from before since in other periods",
						definition->name),
				 errhint("A period of it may reach beyond since. Leave since out, so that all of it is settled anew, or use another name for the meter.")));
}

/* Let a new meter begin at its since, or where the log does. */
static void
begin_progress(MeterDefinition *definition)
{
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[3];
	TimestampTz begin = definition->since;
	bool		isnull;

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	check_unit(definition);
	/* what a meter of that name has left */
	meter_execute(psprintf("DELETE FROM %s.resource_state WHERE meter = %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name)),
				  SPI_OK_DELETE);
	meter_forget_measures(definition->stream, definition->name);
	meter_execute(psprintf("DELETE FROM %s.future WHERE meter = %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name)),
				  SPI_OK_DELETE);
	meter_execute(psprintf("DELETE FROM %s.compared WHERE meter = %s",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name)),
				  SPI_OK_DELETE);
	if (METER_OF_MEASURES(definition->aggregate))
		meter_check_events_are_whole(definition);
	if (!TIMESTAMP_IS_NOBEGIN(definition->floor))
	{
		if (!METER_OF_MEASURES(definition->aggregate))
			meter_begin_at_floor(definition);
		begin = Max(begin, definition->floor);
	}
	else if (TIMESTAMP_IS_NOBEGIN(begin))
	{
		meter_execute(meter_earliest_instant(definition), SPI_OK_SELECT);
		values[0] = meter_result(0, 1, &isnull);
		if (!isnull && DatumGetTimestampTz(values[0]) <= meter_now())
			begin = meter_grid_period_begin(&definition->grid,
											DatumGetTimestampTz(values[0]));
	}
	meter_session_end(&session);
	meter_note_ledger(definition->stream, definition->name);
	if (TIMESTAMP_IS_NOBEGIN(begin))
		return;					/* with the first event, then */

	if (TIMESTAMP_IS_NOBEGIN(definition->since))
		ereport(NOTICE,
				(errmsg("meter \"%s\" starts at %s, %s", definition->name,
						timestamptz_to_str(begin),
						!TIMESTAMP_IS_NOBEGIN(definition->floor) ?
						"where the log's floor is" :
						METER_OF_MEASURES(definition->aggregate) ?
						"the period of the earliest measure" :
						"the period of the earliest event")));
	values[0] = CStringGetTextDatum(definition->stream);
	values[1] = CStringGetTextDatum(definition->name);
	values[2] = TimestampTzGetDatum(begin);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.meter SET watermark = $3 "
						 "WHERE stream = $1 AND name = $2",
						 SPI_OK_UPDATE, 3, types, values, NULL);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_create_meter);

/* create_meter(stream, name, ...) */
Datum
meter_create_meter(PG_FUNCTION_ARGS)
{
	static const char *const names[NARGS] = {
		"stream", "name", "aggregate", NULL, "starts", "stops", NULL,
		"dimensions", "period", "precision", NULL, "unit", "clock",
		"lateness", NULL, "value_from", "timezone", NULL, NULL
	};
	char	   *stream = meter_text_arg(fcinfo, ARG_STREAM, "stream");
	char	   *name = meter_text_arg(fcinfo, ARG_NAME, "name");
	Datum		values[NARGS];
	char		nulls[NARGS];
	int			i;

	PreventCommandIfReadOnly("meter.create_meter()");
	for (i = 0; i < NARGS; i++)
	{
		values[i] = fcinfo->args[i].value;
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		if (column_types[i] == TEXTARRAYOID && PG_ARGISNULL(i) &&
			i != ARG_DIMENSIONS)
		{
			values[i] = PointerGetDatum(construct_empty_array(TEXTOID));
			nulls[i] = ' ';
		}
		else if (PG_ARGISNULL(i) && names[i] != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", names[i])));
	}

	meter_check_stream_permission(stream);
	check_definition(values, nulls);
	insert_definition(stream, name, values, nulls);
	begin_progress(meter_load(stream, name, METER_LOCK_WAIT));
	meter_rebuild_views(stream);
	meter_worker_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_meter);

/* drop_meter(stream, name) */
Datum
meter_drop_meter(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "name");
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	PreventCommandIfReadOnly("meter.drop_meter()");
	meter_check_stream_permission(stream);
	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(name);
	/* one at a time changes which meters there are, and so the views */
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);
	(void) meter_load(stream, name, METER_LOCK_WAIT);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.meter WHERE stream = $1 AND name = $2",
						 SPI_OK_DELETE, 2, types, values, NULL);
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("DELETE FROM %s.resource_state WHERE meter = %s",
						   quote_identifier(stream), quote_literal_cstr(name)),
				  SPI_OK_DELETE);
	meter_forget_measures(stream, name);
	meter_execute(psprintf("DELETE FROM %s.future WHERE meter = %s",
						   quote_identifier(stream), quote_literal_cstr(name)),
				  SPI_OK_DELETE);
	meter_session_end(&session);
	meter_rebuild_views(stream);
	PG_RETURN_VOID();
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
	Datum		row[NARGS + 23];
	bool		isnull[NARGS + 23];
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
				 columns,
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
	for (column = 0; definition != NULL && column < NARGS + 23; column++)
	{
		Oid			type = column < NARGS ? column_types[column] :
			column == NARGS + 8 || column == NARGS + 9 ? TEXTOID :
			column == NARGS + 11 || column == NARGS + 19 ? TEXTARRAYOID :
			column == NARGS + 15 ? INTERVALOID : INT8OID;

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

	definition->stream = DatumGetCString(row[ARG_STREAM]);
	definition->name = DatumGetCString(row[ARG_NAME]);
	definition->aggregate = parse_aggregate(DatumGetCString(row[ARG_AGGREGATE]));
	definition->entity = isnull[ARG_ENTITY] ? NULL :
		DatumGetCString(row[ARG_ENTITY]);
	definition->starts = row[ARG_STARTS];
	definition->stops = row[ARG_STOPS];
	definition->changes = row[ARG_CHANGES];
	definition->dimensions = row[ARG_DIMENSIONS];
	definition->ndimensions = array_elements(row[ARG_DIMENSIONS], "dimensions",
											 &definition->dimension_names);
	zone = DatumGetCString(row[ARG_TIMEZONE]);
	meter_grid_init(&definition->grid, meter_zone_lookup(zone));
	meter_grid_set_precision(&definition->grid,
							 DatumGetIntervalP(row[ARG_PRECISION]));
	meter_grid_set_period(&definition->grid,
						  DatumGetIntervalP(row[ARG_PERIOD]));
	definition->rounding = meter_rounding_by_name(DatumGetCString(row[ARG_ROUNDING]));
	definition->unit = meter_interval_usec(DatumGetIntervalP(row[ARG_UNIT]),
										   "unit");
	definition->clock = parse_clock(DatumGetCString(row[ARG_CLOCK]));
	definition->lateness = meter_interval_usec(DatumGetIntervalP(row[ARG_LATENESS]),
											   "lateness");
	definition->has_max_lateness = !isnull[ARG_MAX_LATENESS];
	if (definition->has_max_lateness)
		definition->max_lateness =
			meter_interval_usec(DatumGetIntervalP(row[ARG_MAX_LATENESS]),
								"max_lateness");
	definition->identity_window =
		meter_interval_usec(DatumGetIntervalP(row[NARGS + 15]),
							"identity_window");
	definition->value_from = DatumGetCString(row[ARG_VALUE_FROM]);
	definition->since = isnull[ARG_SINCE] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[ARG_SINCE]);
	definition->until = isnull[ARG_UNTIL] ? DT_NOEND :
		DatumGetTimestampTz(row[ARG_UNTIL]);

	definition->floor =
		meter_stream_floor(stream, METER_OF_MEASURES(definition->aggregate) ?
						   "measure" : "event", name);

	definition->has_watermark = !isnull[NARGS];
	definition->watermark = isnull[NARGS] ? 0 : DatumGetTimestampTz(row[NARGS]);
	definition->position = DatumGetInt64(row[NARGS + 1]);
	definition->has_event_clock = !isnull[NARGS + 2];
	definition->event_clock = isnull[NARGS + 2] ? 0 :
		DatumGetTimestampTz(row[NARGS + 2]);
	definition->clock_position = DatumGetInt64(row[NARGS + 3]);
	definition->settlement = DatumGetInt64(row[NARGS + 4]);
	definition->failures = DatumGetInt32(row[NARGS + 5]);
	definition->retry_later = DatumGetBool(row[NARGS + 6]);
	definition->ledger_until = isnull[NARGS + 7] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[NARGS + 7]);
	definition->position_watermark = isnull[NARGS + 13] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[NARGS + 13]);
	definition->note_watermark = isnull[NARGS + 14] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[NARGS + 14]);
	definition->has_note = !isnull[NARGS + 10];
	if (definition->has_note)
	{
		definition->note_bound = DatumGetInt64(row[NARGS + 10]);
		definition->note_writers = row[NARGS + 11];
		definition->note_server = DatumGetTimestampTz(row[NARGS + 12]);
	}
	definition->measures.position = DatumGetInt64(row[NARGS + 16]);
	definition->measures.position_watermark = isnull[NARGS + 17] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[NARGS + 17]);
	definition->measures.has_note = !isnull[NARGS + 18];
	if (definition->measures.has_note)
	{
		definition->measures.note_bound = DatumGetInt64(row[NARGS + 18]);
		definition->measures.note_writers = row[NARGS + 19];
		definition->measures.note_server = DatumGetTimestampTz(row[NARGS + 20]);
	}
	definition->measures.note_watermark = isnull[NARGS + 21] ? DT_NOBEGIN :
		DatumGetTimestampTz(row[NARGS + 21]);
	definition->measures.clock_position = DatumGetInt64(row[NARGS + 22]);
	definition->period = DatumGetCString(row[NARGS + 8]);
	definition->timezone = zone;
	make_spec(definition, DatumGetCString(row[ARG_AGGREGATE]),
			  DatumGetCString(row[NARGS + 8]), DatumGetCString(row[NARGS + 9]),
			  DatumGetCString(row[ARG_ROUNDING]), zone);
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
