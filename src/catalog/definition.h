/*
 * definition.h
 *	  Meters: their definitions, and how far each is settled.
 */
#ifndef METER_DEFINITION_H
#define METER_DEFINITION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "core/grid.h"
#include "core/rounding.h"

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

/* Is usage made of measures, not of events? */
#define METER_OF_MEASURES(aggregate)	((aggregate) >= METER_SUM)

/* Does a quantity of 0 make a usage row? */
#define METER_KEEPS_ZERO(aggregate) \
	((aggregate) == METER_MIN || (aggregate) == METER_MAX || \
	 (aggregate) == METER_LATEST)

typedef enum MeterClock
{
	METER_CLOCK_WALL,
	METER_CLOCK_EVENT,
	METER_CLOCK_SOURCE
} MeterClock;

/* How far a log has been looked at: see position.c. */
typedef struct MeterLogProgress
{
	int64		position;
	TimestampTz position_watermark; /* DT_NOBEGIN: nothing is held */
	bool		has_note;
	int64		note_bound;
	Datum		note_writers;	/* text[] */
	TimestampTz note_server;
	TimestampTz note_watermark; /* DT_NOBEGIN: none */
	int64		clock_position;
	int64		safe;			/* of this step; not stored */
} MeterLogProgress;

/* A meter as the catalog has it.  Arrays are text[]. */
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
	char	   *period;			/* as text */
	char	   *timezone;
	MeterGrid	grid;			/* zone, precision, period */
	MeterRounding rounding;
	int64		unit;
	MeterClock	clock;
	int64		lateness;
	bool		has_max_lateness;
	int64		max_lateness;
	int64		identity_window;
	char	   *value_from;
	TimestampTz since;			/* DT_NOBEGIN: none */
	TimestampTz until;			/* DT_NOEND: none */
	TimestampTz floor;			/* the log is not whole before it; DT_NOBEGIN:
								 * it is */
	char	   *spec;			/* literal: what meter.settle_rows() needs */

	/* progress */
	bool		has_watermark;
	TimestampTz watermark;
	int64		position;
	TimestampTz position_watermark; /* DT_NOBEGIN: nothing is held */
	bool		has_note;		/* see position.c */
	int64		note_bound;
	Datum		note_writers;	/* text[] */
	TimestampTz note_server;
	TimestampTz note_watermark; /* DT_NOBEGIN: none */
	bool		has_event_clock;
	TimestampTz event_clock;
	int64		clock_position;
	MeterLogProgress measures;	/* of a meter of measures: their log */
	TimestampTz first_straddler;	/* of this step; DT_NOEND: none */
	bool		all_simple;		/* of this step */
	int64		settlement;
	TimestampTz ledger_until;	/* DT_NOBEGIN: the ledger had nothing */
	int			failures;
	bool		retry_later;	/* workers leave it alone for now */
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
	METER_COLUMN_PRECISION,
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

extern const char *const meter_definition_columns;
extern const Oid meter_definition_types[METER_NCOLUMNS];

typedef enum MeterLock
{
	METER_LOCK_NONE,
	METER_LOCK_WAIT,
	METER_LOCK_WAIT_OR_GONE,	/* NULL if there is none */
	METER_LOCK_SKIP				/* NULL if locked, or there is none */
} MeterLock;

/* Which meter. */
typedef struct MeterRef
{
	char	   *stream;
	char	   *meter;
} MeterRef;

extern MeterDefinition *meter_load(const char *stream, const char *name,
								   MeterLock lock);
extern MeterDefinition *meter_load_to_write(const char *stream,
											const char *name);
extern MeterAggregate meter_parse_aggregate(const char *name);
extern MeterClock meter_parse_clock(const char *name);
extern const char *meter_aggregate_name(MeterAggregate aggregate);
extern void meter_lock_meters(const char *stream, List **of_events,
							  List **of_measures);
extern List *meter_list_meters(const char *stream, const char *name,
							   bool active_only);
extern TimestampTz meter_stream_floor(const char *stream, const char *log,
									  const char *meter);
extern void meter_note_ledger(const char *stream, const char *name);

#endif							/* METER_DEFINITION_H */
