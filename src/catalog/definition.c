/*
 * definition.c
 *	  Meters: their definitions.
 *
 * A definition never changes, since usage is a function of it; to change it,
 * drop the meter and create it again.  A transaction that changes a meter, or
 * settles it, holds the lock on its row of meter.meter, and takes it before
 * any lock on the stream's tables.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "pg/arguments.h"
#include "pg/cluster.h"
#include "pg/quantity.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* The columns of meter.meter in the order of MeterColumn. */
const char *const meter_definition_columns =
"stream, name, aggregate, entity, starts, stops, changes, ends, dimensions, "
"period, increment, rounding, rounding_of, minimum, liveness, unit, "
"begins, modulus, drops, clock, lateness, max_lateness, value_from, "
"timezone, since, until";

const Oid	meter_definition_types[METER_NCOLUMNS] = {
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INTERVALOID, INTERVALOID,
	TEXTOID, TEXTOID, INTERVALOID, INTERVALOID, INTERVALOID, TEXTOID,
	NUMERICOID, TEXTOID, TEXTOID, INTERVALOID, INTERVALOID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID
};

/* Raise that the value of an argument is not one of a few words. */
static void
not_recognized(const char *what, const char *value, const char *choices)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s \"%s\" not recognized", what, value),
			 errhint("Use %s.", choices)));
}

/* The names of the logs, in the order of MeterLog. */
const char *const meter_log_names[METER_NLOGS] = {"event", "measure"};

/* The words for aggregates, in the order of MeterAggregate. */
static const char *const aggregate_names[] = {
	"duration", "weighted", "runs", "sum", "count", "min", "max", "latest", "unique",
	"counter"
};

/* Look up an aggregate by its word; raises an error if there is none. */
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
				   "duration, weighted or runs, of events, or sum, count, min, max, latest, unique or counter, of measures");
	return METER_DURATION;
}

/* Return the word for an aggregate. */
const char *
meter_aggregate_name(MeterAggregate aggregate)
{
	return aggregate_names[aggregate];
}

/* Look up a clock by its word; raises an error if there is none. */
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

/* Look up what is rounded by its word; raises an error if there is none. */
MeterRoundingOf
meter_parse_rounding_of(const char *name)
{
	if (strcmp(name, "clock") == 0)
		return METER_ROUND_CLOCK;
	if (strcmp(name, "run") != 0)
		not_recognized("rounding_of", name, "clock or run");
	return METER_ROUND_RUN;
}

/* Look up where a counter begins by its word; raises an error if there is none. */
MeterBegins
meter_parse_begins(const char *name)
{
	if (strcmp(name, "zero") == 0)
		return METER_BEGINS_ZERO;
	if (strcmp(name, "start") != 0)
		not_recognized("begins", name, "zero or start, or leave it out");
	return METER_BEGINS_START;
}

/* Look up what drops mean by their word; raises an error if there is none. */
MeterDrops
meter_parse_drops(const char *name)
{
	if (strcmp(name, "reset") == 0)
		return METER_DROPS_RESET;
	if (strcmp(name, "ignore") != 0)
		not_recognized("drops", name, "reset or ignore");
	return METER_DROPS_IGNORE;
}

/*
 * Look up from when on there is something to compute from and to compare with:
 * the retention boundary of the logs for a meter (the meter's own, or for a meter
 * that has none the latest boundary of those that have one), and the end of the
 * months of the ledger that were detached.  DT_NOBEGIN: nothing is gone.
 */
static void
look_up_limits(const char *stream, const char *meter, TimestampTz *boundary,
			   TimestampTz *detached_until)
{
	MeterSession session;
	const char *schema = quote_identifier(stream);

	*boundary = *detached_until = DT_NOBEGIN;
	if (!OidIsValid(get_namespace_oid(stream, true)))
		return;
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT coalesce(max(\"time\") FILTER (WHERE meter = %s), max(\"time\")), "
						   "(SELECT max(month_end) FROM %s._detached) FROM %s._retention",
						   quote_literal_cstr(meter), schema, schema),
				  SPI_OK_SELECT);
	(void) meter_result_instant(1, boundary);
	(void) meter_result_instant(2, detached_until);
	meter_session_end(&session);
}

/* Return a column of the row that is loaded, copied to where it may stay. */
static Datum
copy_column(MemoryContext context, int column, Oid type, bool *isnull)
{
	Datum		value = meter_result(0, column + 1, isnull);
	MemoryContext before = MemoryContextSwitchTo(context);

	if (*isnull)
		value = (Datum) 0;
	else if (type == TEXTARRAYOID)
		value = PointerGetDatum(DatumGetArrayTypePCopy(value));
	else if (type == TEXTOID)
		value = PointerGetDatum(TextDatumGetCString(value));
	else if (type == INTERVALOID)
		value = datumCopy(value, false, sizeof(Interval));
	else if (type == NUMERICOID)
		value = CStringGetDatum(DatumGetCString(DirectFunctionCall1(numeric_out,
																	value)));
	MemoryContextSwitchTo(before);
	return value;
}

/* A row of meter.meter, by the columns that define a meter. */
typedef struct MeterRow
{
	Datum		values[METER_NCOLUMNS];
	bool		isnull[METER_NCOLUMNS];
	char	   *period;			/* as text */
	char	   *increment;
	int64		deduplication_window;
} MeterRow;

/* What a query for a definition has beside its columns. */
#define TEXT_COLUMNS \
	"period::text AS period_text, increment::text AS increment_text, "
#define MORE_COLUMNS \
	TEXT_COLUMNS "(SELECT s.deduplication_window FROM meter.stream s WHERE s.name = stream) AS deduplication_window "

/* Copy the row of the last result, which is a definition. */
static void
copy_row(MemoryContext context, MeterRow *row)
{
	MemoryContext before;
	bool		isnull;
	int			column;

	for (column = 0; column < METER_NCOLUMNS; column++)
		row->values[column] = copy_column(context, column,
										  meter_definition_types[column],
										  &row->isnull[column]);
	row->deduplication_window =
		meter_interval_usec(DatumGetIntervalP(meter_result_by_name(0, "deduplication_window",
																   &isnull)),
							"deduplication_window");
	before = MemoryContextSwitchTo(context);
	row->period = TextDatumGetCString(meter_result_by_name(0, "period_text",
														   &isnull));
	row->increment = TextDatumGetCString(meter_result_by_name(0, "increment_text",
															  &isnull));
	MemoryContextSwitchTo(before);
}

/*
 * Read a row of meter.meter, and lock it if asked to.  Returns false if there
 * is none.
 */
static bool
read_row(const char *stream, const char *name, MeterLock lock, MeterRow *row)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(stream),
	CStringGetTextDatum(name)};
	bool		found;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_catalog(psprintf("SELECT %s, " MORE_COLUMNS
								   "FROM meter.meter WHERE stream = $1 AND name = $2 %s",
								   meter_definition_columns,
								   lock == METER_LOCK_NONE ? "" :
								   lock == METER_LOCK_SKIP ? "FOR UPDATE SKIP LOCKED" : "FOR UPDATE"),
						  2, types, values);
	found = SPI_processed > 0;
	if (found)
		copy_row(context, row);
	meter_session_end(&session);
	return found;
}

/*
 * Return where a meter ends that is to end at an instant.  That was a boundary
 * of periods by the rules of the time zone when it was set.  If these have
 * changed since, the meter ends at the nearest boundary: the same local
 * midnight, as a rule.
 */
static TimestampTz
until_boundary(const MeterDefinition *definition, TimestampTz until)
{
	TimestampTz begin;
	TimestampTz end;

	if (definition->calendar == NULL || TIMESTAMP_NOT_FINITE(until) ||
		!meter_calendar_has_rules(definition->calendar))
		return until;
	begin = meter_grid_period_begin(definition->grid, until);
	end = meter_grid_period_end(definition->grid, until);
	return until - begin < end - until ? begin : end;
}

/* Return an interval of a row in microseconds; 0 if it is NULL. */
static int64
interval_or_none(const MeterRow *row, MeterColumn column, const char *name)
{
	return row->isnull[column] ? 0 :
		meter_interval_usec(DatumGetIntervalP(row->values[column]), name);
}

/* Make a definition of a row of meter.meter. */
static MeterDefinition *
make_definition(const MeterRow *row)
{
	const Datum *values = row->values;
	const bool *isnull = row->isnull;
	MeterDefinition *definition = palloc0(sizeof(MeterDefinition));
	TimestampTz detached_until;

	definition->stream = DatumGetCString(values[METER_COLUMN_STREAM]);
	definition->name = DatumGetCString(values[METER_COLUMN_NAME]);
	definition->aggregate =
		meter_parse_aggregate(DatumGetCString(values[METER_COLUMN_AGGREGATE]));
	definition->entity = isnull[METER_COLUMN_ENTITY] ? NULL :
		DatumGetCString(values[METER_COLUMN_ENTITY]);
	definition->starts = values[METER_COLUMN_STARTS];
	definition->stops = values[METER_COLUMN_STOPS];
	definition->changes = values[METER_COLUMN_CHANGES];
	definition->ends = values[METER_COLUMN_ENDS];
	definition->dimensions = values[METER_COLUMN_DIMENSIONS];
	definition->ndimensions =
		meter_text_elements(values[METER_COLUMN_DIMENSIONS], "dimensions",
							&definition->dimension_names);
	definition->period = row->period;
	definition->timezone = DatumGetCString(values[METER_COLUMN_TIMEZONE]);
	definition->grid = palloc(sizeof(MeterGrid));
	definition->calendar = meter_calendar_load(definition->stream,
											   definition->timezone);
	meter_grid_init(definition->grid,
					meter_calendar_zone(definition->calendar));
	definition->rounding_of =
		meter_parse_rounding_of(DatumGetCString(values[METER_COLUMN_ROUNDING_OF]));
	definition->increment_usec =
		meter_grid_set_units(definition->grid,
							 definition->rounding_of == METER_ROUND_RUN,
							 DatumGetIntervalP(values[METER_COLUMN_INCREMENT]),
							 DatumGetIntervalP(values[METER_COLUMN_PERIOD]));
	definition->rounding =
		meter_rounding_by_name(DatumGetCString(values[METER_COLUMN_ROUNDING]));
	definition->minimum = interval_or_none(row, METER_COLUMN_MINIMUM,
										   "minimum");
	definition->liveness = interval_or_none(row, METER_COLUMN_LIVENESS,
											"liveness");
	definition->of_runs = definition->aggregate == METER_RUNS ||
		definition->rounding_of == METER_ROUND_RUN || definition->minimum > 0;
	definition->begins = isnull[METER_COLUMN_BEGINS] ? METER_BEGINS_BASE :
		meter_parse_begins(DatumGetCString(values[METER_COLUMN_BEGINS]));
	definition->modulus = isnull[METER_COLUMN_MODULUS] ? NULL :
		DatumGetCString(values[METER_COLUMN_MODULUS]);
	definition->drops = isnull[METER_COLUMN_DROPS] ? METER_DROPS_RESET :
		meter_parse_drops(DatumGetCString(values[METER_COLUMN_DROPS]));
	definition->unit =
		meter_interval_usec(DatumGetIntervalP(values[METER_COLUMN_UNIT]),
							"unit");
	definition->clock =
		meter_parse_clock(DatumGetCString(values[METER_COLUMN_CLOCK]));
	definition->lateness =
		meter_interval_usec(DatumGetIntervalP(values[METER_COLUMN_LATENESS]),
							"lateness");
	definition->has_max_lateness = !isnull[METER_COLUMN_MAX_LATENESS];
	if (definition->has_max_lateness)
		definition->max_lateness =
			meter_interval_usec(DatumGetIntervalP(values[METER_COLUMN_MAX_LATENESS]),
								"max_lateness");
	definition->deduplication_window = row->deduplication_window;
	definition->value_from = DatumGetCString(values[METER_COLUMN_VALUE_FROM]);
	definition->since = isnull[METER_COLUMN_SINCE] ? DT_NOBEGIN :
		DatumGetTimestampTz(values[METER_COLUMN_SINCE]);
	definition->until = isnull[METER_COLUMN_UNTIL] ? DT_NOEND :
		until_boundary(definition,
					   DatumGetTimestampTz(values[METER_COLUMN_UNTIL]));
	meter_check_shape(definition->stream);
	look_up_limits(definition->stream, definition->name, &definition->boundary,
				   &detached_until);
	definition->ledger_from = meter_first_period_from(definition,
													  detached_until);
	definition->increment = row->increment;
	definition->rounding_name = DatumGetCString(values[METER_COLUMN_ROUNDING]);
	definition->shards = meter_current_shard() != NULL ? 0 :
		meter_cluster_shards(definition->stream, meter_log_names[METER_LOG_EVENT]);
	return definition;
}

/* Return a query for a row of columns that define a meter, as d. */
static char *
columns_query(const char *what)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM (VALUES (", what);
	for (i = 0; i < METER_NCOLUMNS; i++)
		appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfo(&sql, ")) d (%s)", meter_definition_columns);
	return sql.data;
}

/*
 * Return the definition of a meter that is not in the catalog, by the columns
 * that define it.  Its stream must be there.
 */
MeterDefinition *
meter_define(Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	MeterRow	row;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(columns_query("d.*, " MORE_COLUMNS), SPI_OK_SELECT,
						 METER_NCOLUMNS, (Oid *) meter_definition_types,
						 values, nulls);
	copy_row(context, &row);
	meter_session_end(&session);
	return make_definition(&row);
}

/* What another node is told of a row d that defines a meter of the stream s. */
#define ROW_TO_TELL \
	"to_jsonb(d) - 'last_step' || jsonb_build_object('deduplication_window', s.deduplication_window) "

/*
 * Return what meter_definition_of_row() makes the definition of: that of a meter
 * of the catalog.
 */
char *
meter_row_of_definition(const char *stream, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(stream), CStringGetTextDatum(name)};
	char	   *row;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT " ROW_TO_TELL "FROM meter.meter d JOIN meter.stream s ON s.name = d.stream "
						 "WHERE d.stream = $1 AND d.name = $2",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	if (SPI_processed != 1)
		elog(ERROR, "the catalog has no meter \"%s\"", name);
	row = MemoryContextStrdup(context, meter_result_text(0, 1));
	meter_session_end(&session);
	return row;
}

/* The same of a meter that is not in the catalog, by the columns that define it. */
char *
meter_row_of_columns(Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	char	   *row;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(psprintf("%s JOIN meter.stream s ON s.name = d.stream",
								  columns_query(ROW_TO_TELL)),
						 SPI_OK_SELECT, METER_NCOLUMNS,
						 (Oid *) meter_definition_types, values, nulls);
	row = MemoryContextStrdup(context, meter_result_text(0, 1));
	meter_session_end(&session);
	return row;
}

/*
 * Return the definition of a meter by its row of the catalog, and the stream's
 * deduplication_window, as jsonb: the catalog may be that of another node.
 */
MeterDefinition *
meter_definition_of_row(Datum jsonb)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	MeterRow	row;
	Oid			types[] = {JSONBOID};
	Datum		values[] = {jsonb};

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(psprintf("SELECT %s, " TEXT_COLUMNS "($1 ->> 'deduplication_window')::interval AS deduplication_window "
								  "FROM jsonb_populate_record(NULL::meter.meter, $1)",
								  meter_definition_columns),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	copy_row(context, &row);
	meter_session_end(&session);
	return make_definition(&row);
}

/* Return the begin of the first period at or after an instant. */
TimestampTz
meter_first_period_from(const MeterDefinition *definition, TimestampTz instant)
{
	TimestampTz begin;

	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	begin = meter_grid_period_begin(definition->grid, instant);
	return begin < instant ? meter_grid_period_end(definition->grid, instant) :
		begin;
}

/*
 * Return from when on usage is computed: before since, the retention boundary
 * and the end of the months that were detached it stays as it is.
 */
TimestampTz
meter_usage_from(const MeterDefinition *definition)
{
	return Max(Max(definition->since, definition->boundary),
			   definition->ledger_from);
}

/* Raise that the month of an instant was detached, and usage of it is gone. */
void
meter_refuse_detached(const MeterDefinition *definition, TimestampTz instant)
{
	MeterSession session;
	const char *schema = quote_identifier(definition->stream);
	char	   *month;
	char	   *name;

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_execute_row(psprintf("SELECT CASE WHEN isfinite(d.month) THEN to_char(d.month AT TIME ZONE 'UTC', 'YYYY-MM') ELSE 'older' END, "
							   "d.month FROM %s._detached d, (VALUES (%s)) i (instant) ORDER BY d.month_end > i.instant DESC, "
	/* a period may reach from the last month beyond its end */
							   "CASE WHEN d.month_end > i.instant THEN d.month_end END, d.month_end DESC LIMIT 1",
							   schema, meter_timestamp_literal(instant)));
	month = meter_result_text(0, 1);
	name = meter_result_text(0, 2);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the ledger of stream \"%s\" is without the month %s, which was detached",
					definition->stream, month),
			 errdetail("Usage of meter \"%s\" from before \"%s\" stays as it is.",
					   definition->name,
					   timestamptz_to_str(definition->ledger_from)),
			 errhint("meter.attach_usage(%s, %s) takes the month back.",
					 quote_literal_cstr(definition->stream), quote_literal_cstr(name))));
}

/* Tell whether actions end resources for good. */
bool
meter_has_ends(const MeterDefinition *definition)
{
	const ArrayType *ends = DatumGetArrayTypeP(definition->ends);

	return ArrayGetNItems(ARR_NDIM(ends), ARR_DIMS(ends)) > 0;
}

/*
 * Load a meter, and lock it if asked to.  If there is none, raises an error or
 * returns NULL, as the lock says.
 */
MeterDefinition *
meter_load(const char *stream, const char *name, MeterLock lock)
{
	MeterRow	row;

	if (read_row(stream, name, lock, &row))
		return make_definition(&row);
	if (lock != METER_LOCK_SKIP && lock != METER_LOCK_WAIT_OR_GONE)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" does not exist",
						name, stream)));
	return NULL;
}

/*
 * Load and lock a meter so that the caller, who must be an operator of the
 * stream, can write usage.
 */
MeterDefinition *
meter_load_to_write(const char *stream, const char *name)
{
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	return meter_load(stream, name, METER_LOCK_WAIT);
}

/*
 * The same where a stream need not be active: what was lost is repaired before
 * it is worked on again.
 */
MeterDefinition *
meter_load_to_repair(const char *stream, const char *name)
{
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	return meter_load(stream, name, METER_LOCK_WAIT);
}

/* Lock the meters of a stream, in the order of names. */
void
meter_lock_meters(const char *stream)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT FROM meter.meter WHERE stream = $1 ORDER BY name FOR UPDATE",
						 SPI_OK_SELECT, 1, types, values, NULL);
	meter_session_end(&session);
}

/* Lock a stream, then all its meters, so that nobody settles. */
void
meter_lock_all(const char *stream)
{
	MeterSession session;

	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);
	meter_lock_meters(stream);
}

/*
 * Do so, and return the meters of events and those of measures.
 */
void
meter_load_all(const char *stream, List **of_events, List **of_measures)
{
	ListCell   *cell;

	*of_events = *of_measures = NIL;
	meter_lock_all(stream);
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

/*
 * List the meters of one stream, or one meter (NULL: all); only those that are
 * worked on, or any.
 */
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
						 "AND (NOT $3 OR (NOT m.paused AND EXISTS (SELECT FROM meter.active_stream a "
						 "WHERE a.name = m.stream AND " METER_IS_HOME("a") "))) "
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
