/*
 * ledger.c
 *	  The ledger: its difference to expected usage, and writing that.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "engine/ledger.h"

#define INSERT_INTO_LEDGER \
	"INSERT INTO %s.usage (transaction_id, meter, account, resource, " \
	"dimensions, period_start, quantity, revision, settlement, recorded_at) "

/*
 * Append rows (resource, account, dimensions, period_start, quantity,
 * revisions) of expected usage and of the ledger: usage from `timelines`
 * (resource, timeline, begin_at) up to `end`, and the negated ledger rows that
 * `ledger` returns.  Grouped and summed, they are the difference.
 */
void
meter_append_difference(StringInfo sql, const MeterDefinition *definition,
						const char *timelines, const char *end,
						const char *ledger)
{
	appendStringInfo(sql,
					 "SELECT w.resource, (w.row).account, (w.row).dimensions, "
					 "(w.row).period_start, (w.row).quantity, 0 AS revisions "
					 "FROM (SELECT t.resource, meter_internal.settle_rows(%s, t.resource, "
					 "t.timeline, t.begin_at, %s) AS \"row\" FROM %s t) w "
					 "UNION ALL %s",
					 definition->spec, end, timelines, ledger);
}

/*
 * Return a query for the ledger rows of the resources in `affected` (resource,
 * begin_at), from begin_at up to `end`, negated.  Few are looked up one
 * (period, resource) at a time by ranges of the key, many are found by one
 * scan.
 */
char *
meter_ledger_of_affected(const MeterDefinition *definition,
						 const char *affected, const char *end, bool few)
{
	const char *schema = quote_identifier(definition->stream);
	const char *stream = quote_literal_cstr(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	if (few)
		return psprintf("SELECT t.resource, l.account, l.dimensions, "
						"l.period_start, - l.quantity, 1 FROM %s t "
						"CROSS JOIN LATERAL meter_internal.settle_periods(%s, t.begin_at, %s) p "
						"CROSS JOIN LATERAL (SELECT * FROM %s.usage u "
						"WHERE u.transaction_id >= meter_internal.transaction_id_low(%s, %s, t.resource, p) "
						"AND u.transaction_id <= meter_internal.transaction_id_high(%s, %s, t.resource, p) "
						"AND u.meter = %s AND u.resource = t.resource "
						"AND u.period_start = p OFFSET 0) l",
						affected, definition->spec, end, schema,
						stream, meter, stream, meter, meter);
	return psprintf("SELECT l.resource, l.account, l.dimensions, "
					"l.period_start, - l.quantity, 1 FROM %s.usage l JOIN %s t "
					"ON l.resource = t.resource AND l.period_start >= t.begin_at "
					"WHERE l.transaction_id >= meter_internal.transaction_id_from((SELECT min(begin_at) FROM %s)) "
					"AND l.meter = %s AND l.period_start < %s",
					schema, affected, affected, meter, end);
}

/* Return a query for all ledger rows of a meter in [from, end), negated. */
char *
meter_ledger_of_range(const MeterDefinition *definition, const char *from,
					  const char *end)
{
	return psprintf("SELECT l.resource, l.account, l.dimensions, "
					"l.period_start, - l.quantity, 1 FROM %s.usage l "
					"WHERE l.transaction_id >= meter_internal.transaction_id_from(%s) "
					"AND l.meter = %s AND l.period_start >= %s AND l.period_start < %s",
					quote_identifier(definition->stream), from,
					quote_literal_cstr(definition->name), from, end);
}

/*
 * Append the statement that inserts what remains of a difference as usage rows
 * of a settlement.
 */
void
meter_append_insert_difference(StringInfo sql,
							   const MeterDefinition *definition,
							   int64 settlement, const char *difference)
{
	appendStringInfo(sql,
					 INSERT_INTO_LEDGER
					 "SELECT meter.transaction_id(%s, %s, d.resource, d.account, d.dimensions, "
					 "d.period_start, d.revision), %s, d.account, d.resource, d.dimensions, "
					 "d.period_start, d.quantity, d.revision, " INT64_FORMAT ", now() "
					 "FROM (SELECT x.resource, x.account, x.dimensions, x.period_start, "
					 "trim_scale(sum(x.quantity)) AS quantity, sum(x.revisions)::integer AS revision "
					 "FROM (%s) x (resource, account, dimensions, period_start, quantity, revisions) "
					 "GROUP BY 1, 2, 3, 4 HAVING sum(x.quantity) <> 0%s) d ORDER BY 1",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->stream),
					 quote_literal_cstr(definition->name),
					 quote_literal_cstr(definition->name),
					 settlement, difference,
	/* a first row of 0 is written, too */
					 METER_KEEPS_ZERO(definition->aggregate) ?
					 " OR sum(x.revisions) = 0" : "");
}

/*
 * Append the statement that inserts the rows of `expected` as usage rows of a
 * settlement where the ledger has none; their transaction ID and quantity are
 * expressions of a row w.
 */
void
meter_append_insert_new(StringInfo sql, const MeterDefinition *definition,
						int64 settlement, const char *transaction_id,
						const char *quantity)
{
	appendStringInfo(sql,
					 INSERT_INTO_LEDGER
					 "SELECT %s, %s, w.account, w.resource, w.dimensions, "
					 "w.period_start, %s, 0, " INT64_FORMAT ", now() "
					 "FROM expected w ORDER BY 1",
					 quote_identifier(definition->stream), transaction_id,
					 quote_literal_cstr(definition->name), quantity,
					 settlement);
}
