/*
 * definition.h
 *	  Meters: their definitions.
 */
#ifndef METER_DEFINITION_H
#define METER_DEFINITION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "pg/meter_compat.h"

#include "catalog/calendar.h"
#include "core/grid.h"
#include "core/rounding.h"

/* A meter can have so many dimensions. */
#define METER_MAX_DIMENSIONS	32

typedef enum MeterAggregate
{
	METER_DURATION,
	METER_WEIGHTED,
	METER_RUNS,
	METER_SUM,
	METER_COUNT,
	METER_MIN,
	METER_MAX,
	METER_LATEST,
	METER_UNIQUE,
	METER_COUNTER
} MeterAggregate;

/* Is usage made of measures rather than of events? */
#define METER_OF_MEASURES(aggregate)	((aggregate) >= METER_SUM)

/* Does a quantity of 0 make a usage row? */
#define METER_KEEPS_ZERO(aggregate) \
	((aggregate) == METER_MIN || (aggregate) == METER_MAX || \
	 (aggregate) == METER_LATEST)

/* The logs of a stream. */
typedef enum MeterLog
{
	METER_LOG_EVENT,
	METER_LOG_MEASURE,
	METER_NLOGS
} MeterLog;

/* What is rounded: units of the clock, or each run. */
typedef enum MeterRoundingOf
{
	METER_ROUND_CLOCK,
	METER_ROUND_RUN
} MeterRoundingOf;

/* What a counter makes of a reading that is less than the one before. */
typedef enum MeterDrops
{
	METER_DROPS_RESET,
	METER_DROPS_IGNORE
} MeterDrops;

/* What the first reading of a counter counts from. */
typedef enum MeterBegins
{
	METER_BEGINS_BASE,			/* from itself: it is the base */
	METER_BEGINS_ZERO,
	METER_BEGINS_START			/* from zero, at the start that it says */
} MeterBegins;

typedef enum MeterClock
{
	METER_CLOCK_WALL,
	METER_CLOCK_EVENT,
	METER_CLOCK_SOURCE
} MeterClock;

/*
 * What a meter is, as the catalog has it.  A definition does not change once
 * it is loaded; how far the meter has come is in MeterProgress.  Arrays are
 * text[].
 */
typedef struct MeterDefinition
{
	char	   *stream;
	char	   *name;
	MeterAggregate aggregate;
	char	   *entity;			/* or NULL */
	Datum		starts;
	Datum		stops;
	Datum		changes;
	Datum		ends;
	Datum		dimensions;
	int			ndimensions;
	char	  **dimension_names;	/* in the order they were given */
	char	   *period;			/* as text; so the next two */
	char	   *increment;
	char	   *rounding_name;
	char	   *timezone;
	MeterCalendar *calendar;	/* the recorded days of the zone; NULL: UTC */
	MeterGrid  *grid;			/* zone, increment, period; what it remembers
								 * of days may change */
	MeterRounding rounding;
	MeterRoundingOf rounding_of;
	int64		increment_usec; /* that a run is rounded to */
	int64		minimum;		/* that each run is billed; 0: none */
	int64		liveness;		/* how long a sign of life lasts; 0: for ever */
	bool		of_runs;		/* usage depends on where runs end or begin */
	int64		unit;
	MeterBegins begins;
	char	   *modulus;		/* a numeric as text; NULL: none */
	MeterDrops	drops;
	MeterClock	clock;
	int64		lateness;
	bool		has_max_lateness;
	int64		max_lateness;
	int64		deduplication_window;
	char	   *value_from;
	TimestampTz since;			/* DT_NOBEGIN: none */
	TimestampTz until;			/* a boundary of periods; DT_NOEND: none */
	TimestampTz boundary;		/* retention boundary: the log is incomplete
								 * before it; DT_NOBEGIN: it is complete */
	TimestampTz ledger_from;	/* the first period behind the months that
								 * were detached; DT_NOBEGIN: none were */
	int			shards;			/* that the stream is distributed over; 0:
								 * none */
} MeterDefinition;

/*
 * The columns of meter.meter that define a meter, in the order of
 * create_meter()'s arguments.
 */
typedef enum MeterColumn
{
	METER_COLUMN_STREAM,
	METER_COLUMN_NAME,
	METER_COLUMN_AGGREGATE,
	METER_COLUMN_ENTITY,
	METER_COLUMN_STARTS,
	METER_COLUMN_STOPS,
	METER_COLUMN_CHANGES,
	METER_COLUMN_ENDS,
	METER_COLUMN_DIMENSIONS,
	METER_COLUMN_PERIOD,
	METER_COLUMN_INCREMENT,
	METER_COLUMN_ROUNDING,
	METER_COLUMN_ROUNDING_OF,
	METER_COLUMN_MINIMUM,
	METER_COLUMN_LIVENESS,
	METER_COLUMN_UNIT,
	METER_COLUMN_BEGINS,
	METER_COLUMN_MODULUS,
	METER_COLUMN_DROPS,
	METER_COLUMN_CLOCK,
	METER_COLUMN_LATENESS,
	METER_COLUMN_MAX_LATENESS,
	METER_COLUMN_VALUE_FROM,
	METER_COLUMN_TIMEZONE,
	METER_COLUMN_SINCE,
	METER_COLUMN_UNTIL,
	METER_NCOLUMNS
} MeterColumn;

extern const char *const meter_log_names[METER_NLOGS];
extern const char *const meter_definition_columns;
extern const Oid meter_definition_types[METER_NCOLUMNS];

typedef enum MeterLock
{
	METER_LOCK_NONE,
	METER_LOCK_WAIT,
	METER_LOCK_WAIT_OR_GONE,	/* NULL if there is none */
	METER_LOCK_SKIP				/* NULL if locked, or there is none */
} MeterLock;

/* The name of a meter. */
typedef struct MeterRef
{
	char	   *stream;
	char	   *meter;
} MeterRef;

extern MeterDefinition *meter_load(const char *stream, const char *name,
								   MeterLock lock);
extern MeterDefinition *meter_definition_of_row(Datum jsonb);
extern char *meter_row_of_definition(const char *stream, const char *name);
extern char *meter_row_of_columns(Datum *values, const char *nulls);
extern MeterDefinition *meter_define(Datum *values, const char *nulls);
extern MeterDefinition *meter_load_to_write(const char *stream,
											const char *name);
extern MeterDefinition *meter_load_to_repair(const char *stream,
											 const char *name);
extern TimestampTz meter_usage_from(const MeterDefinition *definition);
extern TimestampTz meter_first_period_from(const MeterDefinition *definition,
										   TimestampTz instant);
pg_noreturn extern void meter_refuse_detached(const MeterDefinition *definition,
											  TimestampTz instant);
extern bool meter_has_ends(const MeterDefinition *definition);
extern MeterAggregate meter_parse_aggregate(const char *name);
extern MeterClock meter_parse_clock(const char *name);
extern MeterRoundingOf meter_parse_rounding_of(const char *name);
extern MeterBegins meter_parse_begins(const char *name);
extern MeterDrops meter_parse_drops(const char *name);
extern const char *meter_aggregate_name(MeterAggregate aggregate);
extern void meter_lock_meters(const char *stream);
extern void meter_lock_all(const char *stream);
extern void meter_load_all(const char *stream, List **of_events,
						   List **of_measures);
extern List *meter_list_meters(const char *stream, const char *name,
							   bool active_only);

#endif							/* METER_DEFINITION_H */
