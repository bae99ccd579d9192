/*
 * shape.h
 *	  The shape of a stream: its tables, their columns and constraints.
 */
#ifndef METER_SHAPE_H
#define METER_SHAPE_H

/* A column of a table; the columns of a table follow each other. */
typedef struct MeterTableColumn
{
	const char *table;			/* NULL after the last */
	const char *name;
	const char *type;			/* as format_type() says it */
	const char *rest;			/* the rest of its definition */
} MeterTableColumn;

typedef struct MeterTableConstraint
{
	const char *table;			/* NULL after the last */
	const char *definition;
} MeterTableConstraint;

/* A trigger that refuses changes to a table. */
typedef struct MeterGuard
{
	const char *table;			/* NULL after the last */
	const char *name;
	const char *events;
	const char *function;
} MeterGuard;

/* An index beyond those of constraints. */
typedef struct MeterTableIndex
{
	const char *table;			/* NULL after the last */
	const char *name;
	const char *definition;		/* after USING */
} MeterTableIndex;

/*
 * The shape of a stream that this version makes.  Whoever changes what
 * create_stream() makes counts it up; meter.upgrade_stream() brings older
 * streams up to date.
 */
#define METER_SHAPE	1

/*
 * A table that is partitioned by the month in which a period begins, by range
 * of a column.
 */
typedef struct MeterMonthly
{
	const char *table;			/* NULL after the last */
	const char *key;
	const char *bound;			/* the least key of an instant, of its literal */
	bool		detachable;		/* months of it may be taken out */
} MeterMonthly;

/* Where the rows of a table are when a stream is distributed over a cluster. */
typedef struct MeterPlacement
{
	const char *table;			/* NULL after the last; others stay on the
								 * coordinator */
	bool		everywhere;		/* on all nodes; else by resource, in shards */
} MeterPlacement;

extern const MeterPlacement meter_placements[];
extern const MeterMonthly meter_monthly_tables[];
extern const MeterTableColumn meter_table_columns[];
extern const MeterTableConstraint meter_table_constraints[];
extern const MeterGuard meter_guards[];
extern const MeterTableIndex meter_table_indexes[];

#endif							/* METER_SHAPE_H */
