/*
 * places.c
 *	  Where the rows of few resources are: in sealed segments by an index, and
 *	  among the newest rows, which have none.
 *
 * What is about few resources reads their rows several times.  So the newest
 * ones are scanned once, and those of the resources kept meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "engine/places.h"
#include "log/log_rows.h"
#include "log/segment.h"
#include "pg/spi.h"

/* About so many rows are scanned in the time of a look into an index. */
#define ROWS_A_PROBE	30

/* The newest rows are kept of up to so many resources. */
#define FEW_RESOURCES	10000

static const char *const newest_names[METER_NLOGS] = {
	"newest_event", "newest_measure"
};

/*
 * Return up to which arrival of a log to look so many resources or rows up one
 * by one: 0 if reading everything is faster.
 */
int64
meter_sealed_for(const MeterDefinition *definition, MeterLog log, double nprobes)
{
	double		rows;
	int			segments;
	int64		sealed = meter_sealed_until(definition->stream,
											meter_log_names[log], &rows,
											&segments);

	return nprobes * segments * ROWS_A_PROBE < rows ? sealed : 0;
}

/* Find where the rows of these resources, text[], are. */
void
meter_find_places(MeterPlaces *places, const MeterDefinition *definition,
				  MeterLog log, Datum resources, int64 count)
{
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[] = {resources};

	memset(places, 0, sizeof(*places));
	places->sealed = meter_sealed_for(definition, log, count);
	/* without an index, they may be as many as there are rows */
	if (places->sealed == 0 || count > FEW_RESOURCES)
		return;
	meter_keep_rows(&places->newest, newest_names[log],
					psprintf("SELECT e.* FROM unnest($1) r, %s.%s e WHERE e.resource = r COLLATE \"C\" "
							 "AND e.arrival >= " INT64_FORMAT,
							 quote_identifier(definition->stream),
							 meter_log_names[log], places->sealed),
					lengthof(types), types, values);
}

/*
 * The same of these resources from an instant on, which is of the end of
 * measures: the newest rows are kept in any case.  So are other rows e that meet
 * a condition, if there is one.
 */
void
meter_find_places_from(MeterPlaces *places, const MeterDefinition *definition,
					   MeterLog log, Datum resources, int64 count,
					   TimestampTz from, const char *others)
{
	Oid			types[] = {TEXTARRAYOID, TIMESTAMPTZOID};
	Datum		values[] = {resources, TimestampTzGetDatum(from)};

	memset(places, 0, sizeof(*places));
	places->sealed = meter_sealed_for(definition, log, count);
	meter_keep_rows(&places->newest, newest_names[log],
					psprintf("SELECT e.* FROM %s.%s e WHERE e.arrival >= " INT64_FORMAT " AND e.%s >= $2 "
							 "AND (e.resource = ANY ($1 COLLATE \"C\")%s%s)",
							 quote_identifier(definition->stream),
							 meter_log_names[log], places->sealed,
							 log == METER_LOG_EVENT ? "\"time\"" : "end_time",
							 others != NULL ? " OR " : "",
							 others != NULL ? others : ""),
					lengthof(types), types, values);
}

/*
 * Read all rows of a resource, so that no query has to look for them.  Where
 * that cannot be, find where they are.
 */
void
meter_read_places(MeterPlaces *places, const MeterDefinition *definition,
				  MeterLog log, const char *resource)
{
	memset(places, 0, sizeof(*places));
	places->all_read = meter_read_log_rows(definition->stream,
										   meter_log_names[log],
										   CStringGetTextDatum(resource),
										   &places->newest);
	if (!places->all_read)
	{
		places->sealed = meter_sealed_for(definition, log, 1);
		return;
	}
	places->newest.name = newest_names[log];
	meter_register_rows(&places->newest);
}

/* Return where the rows are that no index finds. */
const char *
meter_newest_rows(const MeterPlaces *places,
				  const MeterDefinition *definition, MeterLog log)
{
	return places->newest.store != NULL ? newest_names[log] :
		psprintf("%s.%s", quote_identifier(definition->stream),
				 meter_log_names[log]);
}

/* Return where the rows are, sealed or not. */
const char *
meter_any_rows(const MeterPlaces *places, const MeterDefinition *definition,
			   MeterLog log)
{
	static const MeterPlaces unread = {0};

	return meter_newest_rows(places->all_read ? places : &unread, definition,
							 log);
}

/*
 * Return a subquery for columns of rows e of the log that belong to resources,
 * an item of FROM, by conditions.  Rows in sealed segments are looked up one
 * resource at a time, by more conditions; the others are found by a scan.
 */
char *
meter_rows_at(const MeterPlaces *places, const MeterDefinition *definition,
			  MeterLog log, const char *resources, const char *columns,
			  const char *conditions, const char *sealed_conditions)
{
	char	   *scan = psprintf("SELECT %s FROM %s, %s e WHERE %s", columns,
								resources,
								meter_newest_rows(places, definition, log),
								conditions);

	if (places->sealed == 0)
		return psprintf("(%s)", scan);
	return psprintf("(SELECT %s FROM %s CROSS JOIN LATERAL (SELECT * FROM %s.%s e WHERE e.arrival < " INT64_FORMAT
					" AND %s%s OFFSET 0) e UNION ALL %s AND e.arrival >= " INT64_FORMAT ")",
					columns, resources, quote_identifier(definition->stream),
					meter_log_names[log], places->sealed, conditions,
					sealed_conditions, scan, places->sealed);
}

/* Let go of the rows that were kept. */
void
meter_forget_places(MeterPlaces *places)
{
	meter_forget_rows(&places->newest);
}
