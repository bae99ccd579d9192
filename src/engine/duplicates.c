/*
 * duplicates.c
 *	  What duplicates are, which of them counts, and what voids take back: as
 *	  parts of queries.
 *
 * This is the only place that says what names a row, in which order the least
 * of several duplicates is found, and how far a void reaches.  All of it is
 * about elapsed time, within what a timestamp can be.
 *
 * A row may have many duplicates, and many voids its name.  So neither is
 * compared one by one: duplicates are sorted, and the voids of one name are an
 * array in order, which a row searches.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "engine/duplicates.h"
#include "pg/now.h"

/* When a row was: a column. */
static const char *const times[METER_NPLACINGS] = {
	"\"time\"", "start_time", "end_time"
};

/* What duplicates have in common, columns of a row %1$s. */
static const char *const names[METER_NLOGS] = {
	"%1$s.resource, coalesce(%1$s.source, ''), %1$s.id, %1$s.action",
	"%1$s.resource, coalesce(%1$s.source, ''), %1$s.id"
};

/* In which order the least measure is found, after its times. */
#define ORDER_OF_MEASURES \
	"%1$s.value NULLS FIRST, " \
	"%1$s.account NULLS FIRST, " \
	"nullif(%1$s.entity, '') NULLS FIRST, " \
	"%1$s.attributes::text COLLATE \"C\" NULLS FIRST, " \
	"%1$s.source NULLS FIRST, " \
	"%1$s.value::text COLLATE \"C\", " \
	"%1$s.arrival"

/* In which order the least of them is found, from time to arrival. */
static const char *const orders[METER_NPLACINGS] = {
	"%1$s.\"time\", "
	"%1$s.value NULLS FIRST, "
	"%1$s.account NULLS FIRST, "
	"nullif(%1$s.entity, '') NULLS FIRST, "
	"%1$s.offering NULLS FIRST, "
	"%1$s.sequence NULLS FIRST, "
	"%1$s.attributes::text COLLATE \"C\" NULLS FIRST, "
	"%1$s.source NULLS FIRST, "
	"%1$s.value::text COLLATE \"C\", "
	"%1$s.arrival",
	"%1$s.start_time, %1$s.end_time, " ORDER_OF_MEASURES,
	"%1$s.end_time, %1$s.start_time, " ORDER_OF_MEASURES
};

PG_FUNCTION_INFO_V1(meter_later_by_sql);

/* later_by(at, microseconds) */
Datum
meter_later_by_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(meter_later_by(PG_GETARG_TIMESTAMPTZ(0),
										 PG_GETARG_INT64(1)));
}

PG_FUNCTION_INFO_V1(meter_any_between);

/* any_between(times, first, last) */
Datum
meter_any_between(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	TimestampTz first = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz last = PG_GETARG_TIMESTAMPTZ(2);
	int			low = 0;
	int			high = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int			count = high;
	const TimestampTz *instants = (const TimestampTz *) ARR_DATA_PTR(array);

	if (ARR_ELEMTYPE(array) != TIMESTAMPTZOID || ARR_HASNULL(array))
		elog(ERROR, "these are no instants");
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (instants[middle] < first)
			low = middle + 1;
		else
			high = middle;
	}
	PG_RETURN_BOOL(low < count && instants[low] <= last);
}

/*
 * Return by which of its times a row of a log is placed for a meter: everywhere,
 * in the order, where it is late or held, before and after since.
 */
MeterPlacing
meter_placing(const MeterDefinition *definition, MeterLog log)
{
	return log == METER_LOG_EVENT ? METER_BY_TIME :
		definition->aggregate == METER_COUNTER ? METER_BY_END :
		METER_BY_START;
}

/* Return the column of a log that has this time. */
const char *
meter_time_column(const MeterDefinition *definition, MeterLog log)
{
	return times[meter_placing(definition, log)];
}

/* Return the time of a row. */
char *
meter_row_time(MeterPlacing placing, const char *row)
{
	return psprintf("%s.%s", row, times[placing]);
}

/* Return the log of rows that are placed so. */
static MeterLog
log_of(MeterPlacing placing)
{
	return placing == METER_BY_TIME ? METER_LOG_EVENT : METER_LOG_MEASURE;
}

/* Return the columns that duplicates of a row have in common. */
char *
meter_row_name(MeterLog log, const char *row)
{
	return psprintf(names[log], row);
}

/* Return the hash of these columns, as meter_new_rows() computes it. */
char *
meter_row_key(MeterLog log, const char *row)
{
	return psprintf("meter_internal.duplicate_key(%s%s)",
					meter_row_name(log, row),
					log == METER_LOG_EVENT ? "" : ", ''");
}

/* Return the columns by which the least of several duplicates is found. */
char *
meter_row_order(MeterPlacing placing, const char *row)
{
	return psprintf(orders[placing], row);
}

/* Return the instant that is so much earlier than another. */
char *
meter_earlier_by(const char *time, int64 window)
{
	return psprintf("meter_internal.later_by(%s, -" INT64_FORMAT "::bigint)",
					time, window);
}

/* Return the instant that is so much later than another. */
char *
meter_later_than(const char *time, int64 window)
{
	return psprintf("meter_internal.later_by(%s, " INT64_FORMAT "::bigint)",
					time, window);
}

/*
 * Return the least time of what an event is about: of a void, the least that it
 * can reach.
 */
char *
meter_least_time(const char *event, int64 window)
{
	const char *time = meter_row_time(METER_BY_TIME, event);

	return psprintf("(CASE WHEN %s.action = 'void' THEN %s ELSE %s END)", event,
					meter_earlier_by(time, window), time);
}

/*
 * Return a query for the arrivals of duplicates among rows c that meet
 * conditions: those with a lesser one at most the deduplication window before
 * them.  If there is any, the next lesser one is that near.  `suspects` is a
 * query of hashes that are met twice, or NULL: then the rows themselves tell; if
 * they are of few resources, they are looked up once and kept meanwhile.
 */
char *
meter_duplicates_query(MeterPlacing placing, const char *rows,
					   const char *conditions, const char *suspects, bool few,
					   int64 window)
{
	MeterLog	log = log_of(placing);
	const char *time = meter_row_time(placing, "c");
	const char *key = meter_row_key(log, "c");
	char	   *columns = psprintf("c.arrival, %s AS at, lag(%s) OVER (PARTITION BY s.key, %s ORDER BY %s) AS before",
								   time, time, meter_row_name(log, "c"),
								   meter_row_order(placing, "c"));
	char	   *duplicates;

	if (suspects == NULL && few)
		return psprintf("WITH c AS MATERIALIZED (SELECT c.*, %s AS key_of_row FROM %s c WHERE %s) "
						"SELECT d.arrival FROM (SELECT %s FROM c "
						"JOIN (SELECT key_of_row FROM c GROUP BY 1 HAVING count(*) > 1) s (key) ON s.key = c.key_of_row) d "
						"WHERE d.before >= %s",
						key, rows, conditions, columns,
						meter_earlier_by("d.at", window));
	if (suspects == NULL)
		suspects = psprintf("SELECT %s FROM %s c WHERE %s GROUP BY 1 HAVING count(*) > 1",
							key, rows, conditions);
	duplicates = psprintf("SELECT %s FROM %s c JOIN (%s) s (key) ON s.key = %s WHERE %s",
						  columns, rows, suspects, key, conditions);
	return psprintf("SELECT d.arrival FROM (%s) d WHERE d.before >= %s",
					duplicates, meter_earlier_by("d.at", window));
}

/*
 * Return voids v by what they name, from FROM and WHERE of them: a query
 * (resource, source, id, times).
 */
char *
meter_voids_by_name(const char *voids)
{
	return psprintf("SELECT v.resource, coalesce(v.source, '') AS source, v.id, array_agg(v.\"time\" ORDER BY v.\"time\") AS times "
					"FROM %s GROUP BY 1, 2, 3", voids);
}

/*
 * Return the condition that voids v of one name, as meter_voids_by_name() gives
 * them, name a row of this time: one of them is at most the deduplication window
 * away.
 */
char *
meter_takes_back_at(const char *row, const char *time, int64 window)
{
	return psprintf("v.resource = %1$s.resource AND v.source = coalesce(%1$s.source, '') AND v.id = %1$s.id "
					"AND meter_internal.any_between(v.times, %2$s, %3$s)",
					row, meter_earlier_by(time, window),
					meter_later_than(time, window));
}

/*
 * Return the condition that they take it back.  Nothing takes back a void or an
 * observation.
 */
char *
meter_takes_back(MeterPlacing placing, const char *row, int64 window)
{
	char	   *named = meter_takes_back_at(row, meter_row_time(placing, row),
											window);

	return placing != METER_BY_TIME ? named :
		psprintf("%s AND %s.action <> 'void' AND NOT starts_with(%s.action, 'reconciled:')",
				 named, row, row);
}
