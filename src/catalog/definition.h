/*
 * definition.h
 *	  Meters: their definitions.
 */
#ifndef METER_DEFINITION_H
#define METER_DEFINITION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "catalog/calendar.h"
#include "core/grid.h"
#include "core/rounding.h"

/* A meter can have so many dimensions. */
#define METER_MAX_DIMENSIONS	32

typedef enum MeterAggregate
{
	METER_DURATION,
	METER_WEIGHTED,
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
	int64		unit;
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
	METER_COLUMN_DIMENSIONS,
	METER_COLUMN_PERIOD,
	METER_COLUMN_INCREMENT,
	METER_COLUMN_ROUNDING,
	METER_COLUMN_UNIT,
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
extern MeterDefinition *meter_define(Datum *values, const char *nulls);
extern MeterDefinition *meter_load_to_write(const char *stream,
											const char *name);
extern MeterDefinition *meter_load_to_repair(const char *stream,
											 const char *name);
extern MeterAggregate meter_parse_aggregate(const char *name);
extern MeterClock meter_parse_clock(const char *name);
extern const char *meter_aggregate_name(MeterAggregate aggregate);
extern void meter_lock_meters(const char *stream);
extern void meter_lock_all(const char *stream);
extern void meter_load_all(const char *stream, List **of_events,
						   List **of_measures);
extern List *meter_list_meters(const char *stream, const char *name,
							   bool active_only);

#endif							/* METER_DEFINITION_H */
