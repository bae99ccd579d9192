/*
 * create_meter.c
 *	  Making and dropping meters: meter.create_meter(), meter.drop_meter().
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "commands/create_meter.h"
#include "core/core.h"
#include "core/grid.h"
#include "core/rounding.h"
#include "engine/beginning.h"
#include "engine/retention.h"
#include "engine/scatter.h"
#include "engine/state_counts.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/timezone.h"
#include "pg/wake.h"

#define MAX_NAME_BYTES	200

/*
 * Tell whether value_from may name a column of the measure log for the
 * aggregate unique only.
 */
static bool
is_text_column(const char *name)
{
	return strcmp(name, "source") == 0 || strcmp(name, "id") == 0 ||
		strcmp(name, "entity") == 0;
}

/* Check what a meter of measures takes its values from. */
static void
check_measure_value(const char *value_from, MeterAggregate aggregate)
{
	static const char *const columns[] = {
		"", "arrival", "source", "id", "start_time", "end_time", "resource",
		"account", "entity", "attributes"
	};
	int			i;

	if (aggregate == METER_COUNT && strcmp(value_from, "value") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"value_from\" means nothing to aggregate count"),
				 errhint("Aggregate count counts measures, whatever they say. Leave \"value_from\" out, or use aggregate unique.")));
	if (aggregate == METER_UNIQUE && is_text_column(value_from))
		return;
	for (i = 0; i < (int) lengthof(columns); i++)
	{
		if (strcmp(value_from, columns[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("values cannot be taken from \"%s\"", value_from),
					 aggregate == METER_UNIQUE ?
					 errhint("\"value_from\" is value, source, id, entity or a key of attributes.") :
					 errhint("\"value_from\" is value, or a key of attributes that is a number.")));
	}
}

/* Check what a meter takes its values from: the value, or an attribute. */
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
		check_measure_value(value_from, aggregate);
		return;
	}
	for (i = 0; i < (int) lengthof(columns_without); i++)
	{
		if (strcmp(value_from, columns_without[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("values cannot be taken from \"%s\"", value_from),
					 errhint("\"value_from\" is value, or a key of attributes that is a number.")));
	}
}

/* Check that two lists have no action in common. */
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
						 errhint("An action has one effect only for a meter.")));
		}
	}
}

/* Check that a list has no action that the engine keeps for itself. */
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

/*
 * Check the lists of actions.  What neither stops nor ends needs a sign of life,
 * or it would be billed for ever.
 */
static void
check_actions(const Datum *values, bool may_go_on)
{
	static const int columns[] = {METER_COLUMN_STARTS, METER_COLUMN_STOPS, METER_COLUMN_CHANGES, METER_COLUMN_ENDS};
	static const char *const names[] = {"starts", "stops", "changes", "ends"};
	char	  **actions[lengthof(columns)];
	int			count[lengthof(columns)];
	int			i;
	int			j;

	for (i = 0; i < (int) lengthof(columns); i++)
	{
		count[i] = meter_text_elements(values[columns[i]], names[i],
									   &actions[i]);
		check_not_reserved(actions[i], count[i]);
	}
	if (count[0] == 0 || (count[1] + count[3] == 0 && !may_go_on))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must name at least one action",
						count[0] == 0 ? "starts" : "stops"),
				 errhint("For example: starts => '{create,start}', stops => '{delete,stop}'.")));
	for (i = 0; i < (int) lengthof(columns); i++)
	{
		for (j = i + 1; j < (int) lengthof(columns); j++)
			check_disjoint(actions[i], count[i], names[i],
						   actions[j], count[j], names[j]);
	}
}

/*
 * Check the dimensions: they are columns that describe usage, or attributes.
 */
static void
check_dimensions(Datum dimensions, MeterAggregate aggregate)
{
	static const char *const unusable[] = {
		"arrival", "id", "time", "resource", "account", "action", "value",
		"attributes", "start_time", "end_time"
	};

	/* events have no such columns */
	int			nunusable = (int) lengthof(unusable) -
	(METER_OF_MEASURES(aggregate) ? 0 : 2);
	char	  **names;
	int			count = meter_text_elements(dimensions, "dimensions", &names);
	int			i;
	int			j;

	if (count > METER_MAX_DIMENSIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a meter can have %d dimensions at most, not %d",
						METER_MAX_DIMENSIONS, count)));
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

/* Raise that an argument means nothing to the aggregate. */
static void
means_nothing(const char *what, MeterAggregate aggregate, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" means nothing to aggregate %s", what,
					meter_aggregate_name(aggregate)),
			 errhint("%s", hint)));
}

/* Tell whether an argument is a word other than this one. */
static bool
is_other_word(const Datum *values, const char *nulls, int column,
			  const char *word)
{
	return nulls[column] == ' ' &&
		strcmp(TextDatumGetCString(values[column]), word) != 0;
}

/*
 * Check that a meter that measures no time has no arguments that say how time
 * is rounded and counted.
 */
static void
check_no_time(MeterAggregate aggregate, Datum *values, const char *nulls,
			  const char *of_units, const char *of_increments)
{
	const Interval *increment =
	DatumGetIntervalP(values[METER_COLUMN_INCREMENT]);

	if (is_other_word(values, nulls, METER_COLUMN_ROUNDING, "none"))
		means_nothing("rounding", aggregate,
					  "Quantities are exact. Leave \"rounding\" out, or none.");
	if (is_other_word(values, nulls, METER_COLUMN_ROUNDING_OF, "clock"))
		means_nothing("rounding_of", aggregate,
					  "Quantities are exact. Leave \"rounding_of\" out.");
	if (nulls[METER_COLUMN_MINIMUM] == ' ')
		means_nothing("minimum", aggregate,
					  "It is a time that each run is billed at least. Leave \"minimum\" out.");
	if (meter_interval_usec(DatumGetIntervalP(values[METER_COLUMN_UNIT]),
							"unit") != METER_MINUTE)
		means_nothing("unit", aggregate, of_units);
	if (increment->month != 0 ||
		meter_interval_usec(increment, "increment") != METER_MINUTE)
		means_nothing("increment", aggregate, of_increments);

	/* any period is a multiple of an increment of a second */
	values[METER_COLUMN_INCREMENT] =
		IntervalPGetDatum(meter_interval_from_cstring("1 second"));
}

/*
 * Check that a meter of measures has no arguments that say how events are
 * paired, rounded and counted: its quantities are in the units of the
 * measures.
 */
static void
check_not_of_events(MeterAggregate aggregate, Datum *values, const char *nulls)
{
	static const int lists[] = {METER_COLUMN_STARTS, METER_COLUMN_STOPS, METER_COLUMN_CHANGES, METER_COLUMN_ENDS};
	static const char *const names[] = {"starts", "stops", "changes", "ends"};
	char	  **actions;
	int			i;

	for (i = 0; i < (int) lengthof(lists); i++)
	{
		if (meter_text_elements(values[lists[i]], names[i], &actions) > 0)
			means_nothing(names[i], aggregate,
						  "Measures are quantities that somebody has measured: no action starts or stops them.");
	}
	if (nulls[METER_COLUMN_LIVENESS] == ' ')
		means_nothing("liveness", aggregate,
					  "Measures are quantities that somebody has measured: nothing goes on between them.");
	check_no_time(aggregate, values, nulls,
				  "Quantities are in the unit of the measures. Leave \"unit\" out.",
				  "Measures are cut to the microsecond. Leave \"increment\" out.");
}

/* Check how a counter is read; other meters must not say anything of that. */
static void
check_counter(MeterAggregate aggregate, Datum *values, char *nulls)
{
	static const int columns[] = {METER_COLUMN_BEGINS, METER_COLUMN_MODULUS, METER_COLUMN_DROPS};
	static const char *const names[] = {"begins", "modulus", "drops"};
	int			i;

	for (i = 0; i < (int) lengthof(columns) && aggregate != METER_COUNTER; i++)
	{
		if (nulls[columns[i]] == ' ')
			means_nothing(names[i], aggregate,
						  "It says how a counter is read: see aggregate counter.");
	}
	if (aggregate != METER_COUNTER)
		return;
	if (nulls[METER_COLUMN_BEGINS] == ' ')
		(void) meter_parse_begins(TextDatumGetCString(values[METER_COLUMN_BEGINS]));
	if (nulls[METER_COLUMN_DROPS] == ' ')
		(void) meter_parse_drops(TextDatumGetCString(values[METER_COLUMN_DROPS]));
	else
	{
		values[METER_COLUMN_DROPS] = CStringGetTextDatum("reset");
		nulls[METER_COLUMN_DROPS] = ' ';
	}
	if (nulls[METER_COLUMN_MODULUS] == ' ' &&
		!meter_numeric_is_positive(DatumGetNumeric(values[METER_COLUMN_MODULUS])))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"modulus\" must be positive"),
				 errhint("It is the value at which the counter goes round, for example 4294967296 for one of 32 bits.")));
}

/* Check that an argument, if it is there, is a positive time. */
static void
check_positive(const Datum *values, const char *nulls, int column,
			   const char *name)
{
	if (nulls[column] == ' ' &&
		meter_interval_usec(DatumGetIntervalP(values[column]), name) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be positive", name)));
}

/*
 * Check what is said of runs, and set the rounding, if it was not said.
 */
static void
check_rounding(MeterAggregate aggregate, Datum *values, char *nulls)
{
	bool		of_run = meter_parse_rounding_of(TextDatumGetCString(values[METER_COLUMN_ROUNDING_OF])) == METER_ROUND_RUN;

	if (aggregate == METER_RUNS)
	{
		check_no_time(aggregate, values, nulls,
					  "Runs are counted. Leave \"unit\" out.",
					  "Runs are counted. Leave \"increment\" out.");
		if (is_other_word(values, nulls, METER_COLUMN_VALUE_FROM, "value"))
			means_nothing("value_from", aggregate,
						  "Runs are counted. Leave \"value_from\" out.");
	}
	check_positive(values, nulls, METER_COLUMN_MINIMUM, "minimum");
	check_positive(values, nulls, METER_COLUMN_LIVENESS, "liveness");
	if (of_run && is_other_word(values, nulls, METER_COLUMN_ROUNDING, "up"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("runs are rounded up, not \"%s\"",
						TextDatumGetCString(values[METER_COLUMN_ROUNDING])),
				 errhint("With rounding_of => 'run' leave \"rounding\" out, or up.")));
	if (nulls[METER_COLUMN_ROUNDING] != ' ')
	{
		values[METER_COLUMN_ROUNDING] =
			CStringGetTextDatum(aggregate == METER_DURATION || of_run ?
								"up" : "none");
		nulls[METER_COLUMN_ROUNDING] = ' ';
	}
	if (nulls[METER_COLUMN_MINIMUM] == ' ' && !of_run &&
		is_other_word(values, nulls, METER_COLUMN_ROUNDING, "none"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"minimum\" is of each run, and \"rounding\" of the clock's units"),
				 errhint("Add rounding_of => 'run', or rounding => 'none'.")));
}

/*
 * Check every argument of create_meter().  Arguments that may be NULL, and
 * are, are left out.
 */
static void
check_definition(Datum *values, char *nulls)
{
	MeterGrid	grid;
	MeterRounding rounding;
	MeterAggregate aggregate;
	bool		of_run;
	int64		unit;
	int			length = (int) strlen(TextDatumGetCString(values[METER_COLUMN_NAME]));

	if (length == 0 || length > MAX_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid meter name: \"%s\"",
						TextDatumGetCString(values[METER_COLUMN_NAME])),
				 errdetail("A name has 1 to %d bytes.", MAX_NAME_BYTES)));
	if (nulls[METER_COLUMN_ENTITY] == ' ' &&
		TextDatumGetCString(values[METER_COLUMN_ENTITY])[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"entity\" must not be empty"),
				 errhint("Leave \"entity\" out, or null, for all entities.")));
	aggregate = meter_parse_aggregate(TextDatumGetCString(values[METER_COLUMN_AGGREGATE]));
	(void) meter_parse_clock(TextDatumGetCString(values[METER_COLUMN_CLOCK]));
	check_value_from(TextDatumGetCString(values[METER_COLUMN_VALUE_FROM]), aggregate);
	check_counter(aggregate, values, nulls);
	if (METER_OF_MEASURES(aggregate))
		check_not_of_events(aggregate, values, nulls);
	else
		check_actions(values, nulls[METER_COLUMN_LIVENESS] == ' ');
	check_dimensions(values[METER_COLUMN_DIMENSIONS], aggregate);
	check_rounding(aggregate, values, nulls);
	rounding = meter_rounding_by_name(TextDatumGetCString(values[METER_COLUMN_ROUNDING]));
	of_run = meter_parse_rounding_of(TextDatumGetCString(values[METER_COLUMN_ROUNDING_OF])) == METER_ROUND_RUN;

	meter_grid_init(&grid,
					meter_zone_lookup(TextDatumGetCString(values[METER_COLUMN_TIMEZONE])));
	meter_grid_set_units(&grid, of_run,
						 DatumGetIntervalP(values[METER_COLUMN_INCREMENT]),
						 DatumGetIntervalP(values[METER_COLUMN_PERIOD]));

	unit = meter_interval_usec(DatumGetIntervalP(values[METER_COLUMN_UNIT]), "unit");
	if (unit <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"unit\" must be positive")));
	(void) meter_interval_not_negative(values[METER_COLUMN_LATENESS], "lateness");
	if (nulls[METER_COLUMN_MAX_LATENESS] == ' ')
		(void) meter_interval_not_negative(values[METER_COLUMN_MAX_LATENESS], "max_lateness");

	if (nulls[METER_COLUMN_SINCE] == ' ' && nulls[METER_COLUMN_UNTIL] == ' ' &&
		DatumGetTimestampTz(values[METER_COLUMN_SINCE]) >=
		DatumGetTimestampTz(values[METER_COLUMN_UNTIL]))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since\" must be before \"until\"")));

	if (!METER_OF_MEASURES(aggregate) &&
		aggregate != METER_RUNS &&
		!meter_unit_is_finite(unit, of_run || rounding == METER_ROUND_NONE ? 1 :
							  Min(grid.unit, 15 * METER_MINUTE)))
		ereport(NOTICE,
				(errmsg("some quantities in this unit have no finite decimal and are rounded at the 12th digit"),
				 errhint("A unit that divides the increment, such as '1 minute' or '1 second', keeps quantities exact.")));
}

/*
 * Check that a meter begins and ends at boundaries of periods, by the days that
 * are recorded for its time zone.
 */
void
meter_check_boundaries(const MeterDefinition *definition,
					   const Datum *values, const char *nulls)
{
	if (nulls[METER_COLUMN_SINCE] == ' ')
		meter_check_period_begin(definition->grid,
								 DatumGetTimestampTz(values[METER_COLUMN_SINCE]), "since");
	if (nulls[METER_COLUMN_UNTIL] == ' ')
		meter_check_period_begin(definition->grid,
								 DatumGetTimestampTz(values[METER_COLUMN_UNTIL]), "until");
}

/*
 * Insert a definition.  Returns false if there is a meter of that name
 * already.
 */
static bool
insert_definition(const char *stream, const char *name, Datum *values,
				  const char *nulls, bool if_not_exists)
{
	MeterSession session;
	StringInfoData sql;
	int			i;

	meter_session_begin(&session, meter_extension_owner());

	/*
	 * one transaction at a time makes a meter of this stream: no race for the
	 * name
	 */
	meter_lock_stream(stream);
	meter_execute_params("SELECT FROM meter.meter WHERE stream = $1 AND name = $2",
						 SPI_OK_SELECT, 2, (Oid *) meter_definition_types, values, NULL);
	if (SPI_processed > 0 && if_not_exists)
	{
		meter_session_end(&session);
		ereport(NOTICE,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" already exists, skipping",
						name, stream)));
		return false;
	}
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" already exists",
						name, stream),
				 errhint("A definition never changes: drop the meter and create it again, and its usage is settled anew.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO meter.meter (%s) VALUES (", meter_definition_columns);
	for (i = 0; i < METER_NCOLUMNS; i++)
		appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(&sql, ')');
	meter_execute_params(sql.data, SPI_OK_INSERT, METER_NCOLUMNS,
						 (Oid *) meter_definition_types, values, nulls);
	meter_session_end(&session);
	return true;
}

/*
 * Check that what the ledger has under a meter's name is in the same unit:
 * quantities of two units cannot be added.  Within a session.
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
				 METER_OF_MEASURES(meter_parse_aggregate(meter_result_text(0, 1))) ?
				 errmsg("the ledger has usage of meter \"%s\" by aggregate %s",
						definition->name, meter_result_text(0, 1)) :
				 errmsg("the ledger has usage of meter \"%s\" by aggregate %s in units of \"%s\"",
						definition->name, meter_result_text(0, 1),
						meter_result_text(0, 2)),
				 errhint("Use the same aggregate and unit, or another name for the meter.")));

	if (TIMESTAMP_IS_NOBEGIN(definition->since))
		return;
	meter_execute(psprintf("SELECT FROM %s.settlement s WHERE s.meter = %s "
						   "AND (s.period <> %s::interval OR s.timezone <> %s) "
						   "AND EXISTS (SELECT 1 FROM %s.usage u WHERE u.meter = %s "
						   "AND u.period_start < %s) LIMIT 1",
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   quote_literal_cstr(definition->period),
						   quote_literal_cstr(definition->timezone),
						   quote_identifier(definition->stream),
						   quote_literal_cstr(definition->name),
						   meter_timestamp_literal(definition->since)),
				  SPI_OK_SELECT);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the ledger has usage of meter \"%s\" from before \"since\" in other periods",
						definition->name),
				 errhint("A period of that usage may reach beyond \"since\". Leave \"since\" out, so that all usage is settled anew, or use another name for the meter.")));
}

/*
 * Delete what the engine keeps of a meter of that name for the steps to come.
 * Within a session.
 */
static void
forget_rest(const char *stream, const char *meter)
{
	static const char *const tables[] = {
		"_resource_state", "_kept_state", "_counter_state", "_duplicate_key",
		"_future", "_compared", "quarantine", "_shard"
	};
	bool		distributed = meter_stream_shards(stream) > 0;

	meter_delete_of_meter(stream, meter, tables,
						  lengthof(tables) - (distributed ? 0 : 1));
}

/* Say where a meter without since begins, and how much lies behind it. */
static void
tell_beginning(const MeterDefinition *definition,
			   const MeterProgress *progress)
{
	TimestampTz end = !TIMESTAMP_IS_NOBEGIN(progress->first_clock) ?
	progress->first_clock :
	meter_grid_period_begin(definition->grid, meter_now());
	int64		periods = meter_count_periods(definition,
											  progress->watermark, end);
	char	   *upto = pstrdup(timestamptz_to_str(end));

	ereport(NOTICE,
			(errmsg("meter \"%s\" starts at %s, %s", definition->name,
					timestamptz_to_str(progress->watermark),
					!TIMESTAMP_IS_NOBEGIN(definition->boundary) ?
					"where the log's retention boundary is" :
					METER_OF_MEASURES(definition->aggregate) ?
					"the period of the earliest measure" :
					"the period of the earliest event"),
			 errdetail_plural(INT64_FORMAT " period from there up to %s is to be settled.",
							  INT64_FORMAT " periods from there up to %s are to be settled.",
							  (unsigned long) periods, periods, upto)));
}

/* Warn of usage in the ledger that lies in the future. */
static void
warn_of_future(const MeterDefinition *definition)
{
	const MeterProgress *progress = meter_load_progress(definition);

	if (progress->ledger_until > meter_now())
		ereport(WARNING,
				(errmsg("the ledger has usage of meter \"%s\" from the future, up to the period of %s",
						definition->name,
						timestamptz_to_str(progress->ledger_until)),
				 errhint("meter.verify() shows the usage. If the clock of the server was ahead, meter.rewind(%s, %s, ...) adjusts it to 0.",
						 quote_literal_cstr(definition->stream), quote_literal_cstr(definition->name))));
}

/* Let a new meter begin at its since, or where the log begins. */
static void
begin_progress(MeterDefinition *definition)
{
	MeterSession session;
	MeterProgress *progress;
	TimestampTz begin = definition->since;

	meter_session_begin(&session, meter_extension_owner());
	meter_create_progress(definition);
	meter_session_end(&session);
	progress = meter_load_progress(definition);

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	check_unit(definition);
	forget_rest(definition->stream, definition->name);
	if (TIMESTAMP_IS_NOBEGIN(definition->since))
		meter_note_beginning(definition, progress);
	if (!TIMESTAMP_IS_NOBEGIN(definition->boundary))
	{
		meter_begin_at_boundary(definition);
		begin = Max(begin, definition->boundary);
	}
	else if (TIMESTAMP_IS_NOBEGIN(begin))
		(void) meter_earliest_period(definition, progress, &begin);
	if (!TIMESTAMP_IS_NOBEGIN(begin) && begin < definition->ledger_from)
		meter_refuse_detached(definition, begin);
	meter_count_states(definition, &progress->carried);
	meter_session_end(&session);
	progress->has_watermark = !TIMESTAMP_IS_NOBEGIN(begin);
	if (progress->has_watermark)	/* else with the first event */
		progress->watermark = progress->settled_from = begin;
	if (definition->shards > 0)
		meter_shards_begin(definition->stream, definition->name);
	meter_store_progress(definition, progress, false);
	meter_note_ledger(definition->stream, definition->name);
	warn_of_future(definition);
	if (progress->has_watermark && TIMESTAMP_IS_NOBEGIN(definition->since))
		tell_beginning(definition, progress);
}

/*
 * Take the arguments of create_meter() as the columns that define a meter, and
 * check them.
 */
void
meter_definition_arguments(FunctionCallInfo fcinfo, Datum *values, char *nulls)
{
	static const char *const names[METER_NCOLUMNS] = {
		"stream", "meter", "aggregate", NULL, "starts", "stops", NULL, NULL,
		"dimensions", "period", "increment", NULL, "rounding_of", NULL, NULL,
		"unit", NULL, NULL, NULL, "clock", "lateness", NULL, "value_from",
		"timezone", NULL, NULL
	};
	int			i;

	for (i = 0; i < METER_NCOLUMNS; i++)
	{
		values[i] = fcinfo->args[i].value;
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		if (meter_definition_types[i] == TEXTARRAYOID && PG_ARGISNULL(i) &&
			i != METER_COLUMN_DIMENSIONS)
		{
			values[i] = PointerGetDatum(construct_empty_array(TEXTOID));
			nulls[i] = ' ';
		}
		else if (PG_ARGISNULL(i) && names[i] != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"%s\" must not be null", names[i])));
	}
	meter_check_stream_permission(meter_text_arg(fcinfo, METER_COLUMN_STREAM, "stream"));
	check_definition(values, nulls);
}

PG_FUNCTION_INFO_V1(meter_create_meter);

/* create_meter(stream, meter, ..., if_not_exists) */
Datum
meter_create_meter(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, METER_COLUMN_STREAM, "stream");
	char	   *name = meter_text_arg(fcinfo, METER_COLUMN_NAME, "meter");
	bool		if_not_exists = !PG_ARGISNULL(METER_NCOLUMNS) &&
	PG_GETARG_BOOL(METER_NCOLUMNS);
	MeterDefinition *definition;
	Datum		values[METER_NCOLUMNS];
	char		nulls[METER_NCOLUMNS];

	PreventCommandIfReadOnly("meter.create_meter()");
	meter_definition_arguments(fcinfo, values, nulls);
	if (!insert_definition(stream, name, values, nulls, if_not_exists))
		PG_RETURN_VOID();
	meter_calendar_take_over(stream, name,
							 TextDatumGetCString(values[METER_COLUMN_TIMEZONE]));
	definition = meter_load(stream, name, METER_LOCK_WAIT);
	meter_check_boundaries(definition, values, nulls);
	begin_progress(definition);
	meter_worker_wake();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_meter);

/* drop_meter(stream, meter, if_exists) */
Datum
meter_drop_meter(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "meter");
	bool		if_exists = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	PreventCommandIfReadOnly("meter.drop_meter()");
	meter_check_stream_permission(stream);
	values[0] = CStringGetTextDatum(stream);
	values[1] = CStringGetTextDatum(name);

	/*
	 * one transaction at a time changes which meters there are, and so the
	 * views
	 */
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);
	if (meter_load(stream, name, if_exists ? METER_LOCK_WAIT_OR_GONE :
				   METER_LOCK_WAIT) == NULL)
	{
		ereport(NOTICE,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" does not exist, skipping",
						name, stream)));
		PG_RETURN_VOID();
	}

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("DELETE FROM meter.meter WHERE stream = $1 AND name = $2",
						 SPI_OK_DELETE, 2, types, values, NULL);
	meter_forget_progress(stream, name);
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	forget_rest(stream, name);
	meter_session_end(&session);
	PG_RETURN_VOID();
}
