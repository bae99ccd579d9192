/*
 * asked.c
 *	  What is asked of meter.anomalies(), as parts of queries, and what queries
 *	  find, returned.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "commands/asked.h"
#include "engine/asking.h"
#include "engine/duplicates.h"
#include "engine/fold.h"
#include "engine/usage_kind.h"
#include "pg/attr.h"
#include "pg/spi.h"

/*
 * Return a row of a class about the resource that a pass is at, if it lies in
 * the time that is asked for; `arrival` may be NULL.  The pass must have paused.
 */
void
meter_put_anomaly(const MeterAsked *asked, const char *class,
				  const MeterFold *fold, TimestampTz time,
				  const int64 *arrival, const char *detail)
{
	ReturnSetInfo *info = (ReturnSetInfo *) asked->fcinfo->resultinfo;
	Datum		values[8] = {0};
	bool		nulls[8] = {false, false, false, false, arrival == NULL, false, true, true};
	static const int texts[] = {0, 1, 2, 5};
	int			i;

	if (asked->during != 0 &&
		!range_contains_elem_internal(lookup_type_cache(TSTZRANGEOID,
														TYPECACHE_RANGE_INFO),
									  DatumGetRangeTypeP(asked->during),
									  TimestampTzGetDatum(time)))
		return;
	values[0] = CStringGetTextDatum(class);
	values[1] = CStringGetTextDatum(fold->definition->name);
	values[2] = meter_text_from_attr(fold->resource);
	values[3] = TimestampTzGetDatum(time);
	values[4] = arrival == NULL ? (Datum) 0 : Int64GetDatum(*arrival);
	values[5] = CStringGetTextDatum(detail);
	tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
	for (i = 0; i < (int) lengthof(texts); i++)
		pfree(DatumGetPointer(values[texts[i]]));
}

/* Return what a query finds, with columns that are chosen of it. */
static void
return_query(const MeterAsked *asked, const char *class, const char *query,
			 const char *columns, const char *chosen)
{
	Oid			types[] = {TEXTOID, TSTZRANGEOID, TEXTOID, TEXTOID};
	Datum		values[] = {asked->resource, asked->during,
		asked->meter == NULL ? (Datum) 0 : CStringGetTextDatum(asked->meter),
	CStringGetTextDatum(class)};
	char		nulls[] = {asked->resource == 0 ? 'n' : ' ',
	asked->during == 0 ? 'n' : ' ', asked->meter == NULL ? 'n' : ' ', ' ', '\0'};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT $4, x.meter, x.resource, x.\"time\", x.arrival, %s FROM (%s) x (meter, resource, \"time\", arrival, detail%s) WHERE true",
					 chosen, query, columns);
	if (asked->during != 0)
		appendStringInfoString(&sql, " AND x.\"time\" <@ $2");
	if (asked->meter != NULL)
		appendStringInfoString(&sql, " AND x.meter = $3");
	meter_execute_params(sql.data, SPI_OK_SELECT, lengthof(types), types,
						 values, nulls);
	meter_return_result(asked->fcinfo);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Return rows of a query: meter, resource, time, arrival, detail.  Its
 * parameters: $1 is the resource, $2 the range of times, $3 the meter; each may
 * be NULL.
 */
void
meter_return_anomalies(const MeterAsked *asked, const char *class,
					   const char *query)
{
	return_query(asked, class, query, "", asked->of_shard ?
				 "x.detail, NULL::bigint, NULL::bigint" : "x.detail");
}

/*
 * The same of a query that has a number more, which is how many rows of a log each
 * is about: those of all shards are counted together.
 */
void
meter_return_counted_anomalies(const MeterAsked *asked, const char *class,
							   const char *query)
{
	return_query(asked, class, query, ", count", asked->of_shard ?
				 "x.detail, NULL::bigint, x.count" :
				 METER_COUNTED("x.detail", "x.count"));
}

/*
 * The same of a query that has a number more, by which its rows are in order.
 */
void
meter_return_placed_anomalies(const MeterAsked *asked, const char *class,
							  const char *query)
{
	return_query(asked, class, query, ", place", asked->of_shard ?
				 "x.detail, x.place, NULL::bigint" : "x.detail");
}

/* Return the definitions of the meters of the stream. */
List *
meter_asked_meters(const MeterAsked *asked)
{
	List	   *definitions = NIL;
	ListCell   *cell;

	foreach(cell, asked->meters)
		definitions = lappend(definitions,
							  ((MeterAskedMeter *) lfirst(cell))->definition);
	return definitions;
}

/*
 * Return how the rows of a log are placed in time where no meter is asked for:
 * measures by their start, unless all meters of measures are counters.
 */
MeterPlacing
meter_asked_placing(const MeterAsked *asked, MeterLog log)
{
	MeterPlacing placing = METER_BY_START;
	ListCell   *cell;

	if (log == METER_LOG_EVENT)
		return METER_BY_TIME;
	foreach(cell, meter_asked_meters(asked))
	{
		const MeterDefinition *definition = lfirst(cell);

		if (meter_usage_of(definition)->log == METER_LOG_EVENT)
			continue;
		placing = meter_placing(definition, log);
		if (placing == METER_BY_START)
			break;
	}
	return placing;
}

/* Return the condition, with AND, on the resource of rows e. */
const char *
meter_asked_resource(const MeterAsked *asked)
{
	return asked->resource == 0 ? "" : " AND e.resource = $1 COLLATE \"C\"";
}

/*
 * Return the conditions, with AND, on the resource and the time of rows e: an
 * expression.
 */
const char *
meter_asked_rows(const MeterAsked *asked, const char *time)
{
	return psprintf("%s%s", meter_asked_resource(asked),
					asked->during == 0 ? "" : psprintf(" AND %s <@ $2", time));
}
