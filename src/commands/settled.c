/*
 * settled.c
 *	  What the ledger says of an account or a resource: settled usage, summed
 *	  over revisions, as current_usage has it.
 *
 * What is settled of an account is told by totals: a row of those has no
 * resource.
 *
 * The ledger's key begins with the period, then a hash of meter and resource.
 * So what it says of one resource is found by ranges of the key: one for each
 * period that the ledger has and each meter.  Where that would be more work than
 * to read the ledger, it is read.  Meters that were dropped are in both, too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "commands/settled.h"
#include "core/core.h"
#include "pg/attr.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

/* So many ranges of the key are looked up at once. */
#define RANGES_AT_ONCE	20000

/* About so many bytes of the ledger are read in the time of a look-up. */
#define BYTES_A_RANGE	2000

/* What is looked for, and where it is returned. */
typedef struct Settled
{
	ReturnSetInfo *info;
	const char *stream;
	const char *schema;			/* quoted */
	Datum		accounts;		/* text[], or 0: any */
	Datum		resource;		/* text, or 0: all of the accounts */

	Datum	   *meters;
	int64		nmeters;

	/* each with each of these periods */
	Datum	   *periods;
	int64		nperiods;

	/* the ranges of the key that were not looked up yet */
	Datum		lows[RANGES_AT_ONCE];
	Datum		highs[RANGES_AT_ONCE];
	pg_uuid_t	keys[2 * RANGES_AT_ONCE];
	Datum		of_meters[RANGES_AT_ONCE];
	int			nranges;
} Settled;

/* The columns that are returned, of rows u of the ledger. */
#define SETTLED_COLUMNS \
	"SELECT u.meter, u.account, u.resource, u.dimensions, u.period_start, sum(u.quantity), true "
#define SETTLED_GROUPS " GROUP BY 1, 2, 3, 4, 5"

/* The conditions on these, with $1 the accounts and $2 the resource. */
#define SETTLED_CONDITIONS(settled) \
	(settled)->accounts == 0 ? "" : " AND u.account = ANY ($1)", \
	(settled)->resource == 0 ? "" : " AND u.resource = $2 COLLATE \"C\""

/* Return a row that a query gives. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	Settled    *settled = arg;

	tuplestore_puttupleslot(settled->info->setResult, slot);
}

/* Return what a condition on rows u of the ledger lets through. */
static void
read_where(Settled *settled, const char *condition)
{
	Oid			types[] = {TEXTARRAYOID, TEXTOID};
	Datum		values[] = {settled->accounts, settled->resource};
	char	   *sql = psprintf(SETTLED_COLUMNS "FROM %s.usage u WHERE %s%s%s" SETTLED_GROUPS,
							   settled->schema, condition,
							   SETTLED_CONDITIONS(settled));

	meter_scan(sql, lengthof(types), types, values, NULL, take_row, settled);
}

/* Copy a column of the last result. */
static Datum *
column(int number, int64 *count)
{
	Datum	   *values = palloc(Max(SPI_processed, 1) * sizeof(Datum));
	uint64		row;
	bool		isnull;

	for (row = 0; row < SPI_processed; row++)
		values[row] = meter_result(row, number, &isnull);
	*count = SPI_processed;
	return values;
}

/*
 * The meters that the ledger can have, as m: from one to the next by the key of
 * totals, table %1$s.
 */
#define WITH_METERS \
	"WITH RECURSIVE m AS ((SELECT meter FROM %1$s.account_usage ORDER BY meter LIMIT 1) " \
	"UNION ALL SELECT (SELECT x.meter FROM %1$s.account_usage x WHERE x.meter > m.meter " \
	"ORDER BY x.meter LIMIT 1) FROM m WHERE m.meter IS NOT NULL) "

/* Return the totals of the accounts. */
static void
read_totals(Settled *settled)
{
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[] = {settled->accounts};

	meter_scan(psprintf(WITH_METERS "SELECT a.meter, a.account, NULL::text, a.dimensions, a.period_start, a.quantity, true "
						"FROM m JOIN %1$s.account_usage a ON a.meter = m.meter AND a.account = ANY ($1)",
						settled->schema),
			   lengthof(types), types, values, NULL, take_row, settled);
}

/*
 * Return the meters that the ledger of a stream can have, text[].  Within a session
 * of the stream's owner.
 */
Datum
meter_settled_meters(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;

	meter_execute(psprintf(WITH_METERS "SELECT coalesce(array_agg(m.meter), '{}') FROM m WHERE m.meter IS NOT NULL",
						   quote_identifier(stream)), SPI_OK_SELECT);
	return meter_result_copy(context, 1, &isnull);
}

/* Take the meters that the ledger can have, a text[]. */
static void
take_meters(Settled *settled, Datum meters)
{
	bool	   *nulls;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(meters), TEXTOID, -1, false,
					  TYPALIGN_INT, &settled->meters, &nulls, &count);
	settled->nmeters = count;
}

/* The least key of a period after 1970 begins: those before have the same. */
#define AFTER_1970 \
	"meter_internal.transaction_id_from('1970-01-01 00:00:01+00')"

/* Find the periods that the ledger has, from one to the next by its key. */
static void
find_periods(Settled *settled)
{
	meter_execute(psprintf("WITH RECURSIVE p AS ((SELECT period_start FROM %1$s.usage WHERE transaction_id >= " AFTER_1970
						   " ORDER BY transaction_id LIMIT 1) UNION ALL SELECT (SELECT u.period_start FROM %1$s.usage u "
						   "WHERE u.transaction_id >= meter_internal.transaction_id_from(p.period_start + interval '1 s') "
						   "ORDER BY u.transaction_id LIMIT 1) FROM p WHERE p.period_start IS NOT NULL) "
						   "SELECT period_start FROM p WHERE period_start IS NOT NULL",
						   settled->schema), SPI_OK_SELECT);
	settled->periods = column(1, &settled->nperiods);
}

/* Return how many bytes the ledger takes. */
static double
ledger_bytes(const Settled *settled)
{
	const char *ledger = quote_literal_cstr(psprintf("%s.%s", settled->schema,
													 quote_identifier(meter_table_name(settled->stream, "usage"))));
	bool		isnull;

	meter_execute_row(psprintf("SELECT (pg_relation_size(%1$s) + coalesce((SELECT sum(pg_relation_size(relid)) "
							   "FROM pg_partition_tree(%1$s)), 0))::float8",
							   ledger));
	return DatumGetFloat8(meter_result(0, 1, &isnull));
}

/* Make an array of one of the columns of ranges. */
static Datum
make_array(const Settled *settled, Datum *elements, Oid type)
{
	return PointerGetDatum(construct_array(elements, settled->nranges, type,
										   type == UUIDOID ? UUID_LEN : -1,
										   false,
										   type == UUIDOID ? TYPALIGN_CHAR :
										   TYPALIGN_INT));
}

/* Look up the ranges of the key. */
static void
look_up(Settled *settled)
{
	Oid			types[] = {TEXTARRAYOID, TEXTOID, UUIDARRAYOID, UUIDARRAYOID,
	TEXTARRAYOID};
	Datum		values[lengthof(types)];

	if (settled->nranges == 0)
		return;
	values[0] = settled->accounts;
	values[1] = settled->resource;
	values[2] = make_array(settled, settled->lows, UUIDOID);
	values[3] = make_array(settled, settled->highs, UUIDOID);
	values[4] = make_array(settled, settled->of_meters, TEXTOID);
	meter_scan(psprintf(SETTLED_COLUMNS "FROM unnest($3, $4, $5) t (low, high, meter) "
						"CROSS JOIN LATERAL (SELECT * FROM %s.usage l WHERE l.transaction_id >= t.low AND l.transaction_id <= t.high "
						"AND l.meter = t.meter COLLATE \"C\" AND l.resource = $2 COLLATE \"C\" OFFSET 0) u WHERE true%s%s" SETTLED_GROUPS,
						settled->schema, SETTLED_CONDITIONS(settled)),
			   lengthof(types), types, values, NULL, take_row, settled);
	settled->nranges = 0;
}

/* Look up all periods of all meters. */
static void
look_all_up(Settled *settled)
{
	MeterAttr	stream = meter_attr_from_cstring(settled->stream);
	int64		meter;
	int64		period;

	for (meter = 0; meter < settled->nmeters; meter++)
	{
		MeterNaming naming;

		meter_naming_begin(&naming, stream,
						   meter_attr_from_text(settled->meters[meter]),
						   meter_attr_from_text(settled->resource));
		for (period = 0; period < settled->nperiods; period++)
		{
			pg_uuid_t  *range = &settled->keys[2 * settled->nranges];

			CHECK_FOR_INTERRUPTS();
			meter_name_range(&naming,
							 DatumGetTimestampTz(settled->periods[period]),
							 &range[0], &range[1]);
			settled->lows[settled->nranges] = UUIDPGetDatum(&range[0]);
			settled->highs[settled->nranges] = UUIDPGetDatum(&range[1]);
			settled->of_meters[settled->nranges] = settled->meters[meter];
			if (++settled->nranges == RANGES_AT_ONCE)
				look_up(settled);
		}
	}
	look_up(settled);
}

/*
 * Return what is settled of accounts (a text[]), a resource, or both (0: any).
 * `meters` are those that the ledger can have, where that is known: on a shard, that
 * has no totals (0: not known).  Within a session of the stream's owner.  The rows
 * of accounts have no resource.
 */
void
meter_return_settled(FunctionCallInfo fcinfo, const char *stream,
					 Datum accounts, Datum resource, Datum meters)
{
	Settled    *settled = palloc0(sizeof(Settled));

	settled->info = (ReturnSetInfo *) fcinfo->resultinfo;
	settled->stream = stream;
	settled->schema = quote_identifier(stream);
	settled->accounts = accounts;
	settled->resource = resource;
	if (resource == 0)
	{
		if (accounts == 0)
			read_where(settled, "true");
		else
			read_totals(settled);
		return;
	}
	take_meters(settled, meters != 0 ? meters : meter_settled_meters(stream));
	find_periods(settled);
	if ((double) settled->nmeters * settled->nperiods * BYTES_A_RANGE >
		ledger_bytes(settled))
		read_where(settled, "true");
	else
	{
		read_where(settled, "u.transaction_id < " AFTER_1970);
		look_all_up(settled);
	}
	pfree(settled);
}
