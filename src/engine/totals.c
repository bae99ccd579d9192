/*
 * totals.c
 *	  Totals: what the ledger comes to by account, period and dimensions.
 *
 * Table account_usage has the sum of each account's usage rows, and is changed
 * by whatever writes them, in the same transaction.  What one pass writes is
 * added up here first, so the table has few rows written anew.  The meter is
 * part of the key and its row in the catalog is locked, so nobody else waits
 * for these rows.
 *
 * The dimensions are in the key as a hash, which any program can compute: the
 * first 16 bytes of the SHA-256 of the jsonb as text, in UTF-8.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/sha256.h"
#include "engine/totals.h"
#include "log/month.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* Sums are written when they fill so many bytes. */
#define MEMORY_LIMIT	(64 * 1024 * 1024)

/* So often is it looked how many bytes they fill. */
#define ADDS_PER_LOOK	1024

/* The columns of account_usage, in their order. */
enum
{
	TOTAL_METER,
	TOTAL_ACCOUNT,
	TOTAL_PERIOD_START,
	TOTAL_DIMENSIONS,
	TOTAL_QUANTITY,
	TOTAL_KEY,
	TOTAL_NCOLUMNS
};

static const MeterWriterColumn total_columns[TOTAL_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"account", TEXTOID},
	{"period_start", TIMESTAMPTZOID},
	{"dimensions", JSONBOID},
	{"quantity", NUMERICOID},
	{"dimensions_key", UUIDOID}
};

/* What rows are added up by: the account, the payload of the jsonb, the period. */
typedef struct Key
{
	MeterAttr	account;
	MeterAttr	dimensions;
	TimestampTz period_start;
} Key;

/* The sum of the rows of a key. */
typedef struct Total
{
	Key			key;
	Numeric		quantity;		/* allocated apart */
	pg_uuid_t	dimensions_key; /* when it is written, as is the next */
	int			month;
	uint32		hash;
	char		status;
} Total;

/* Return a hash of a key. */
static inline uint32
hash_key(Key key)
{
	uint32		hash = hash_bytes((const unsigned char *) key.account.data,
								  key.account.len);

	hash = hash_combine(hash, hash_bytes((const unsigned char *) key.dimensions.data,
										 key.dimensions.len));
	return hash_combine(hash, murmurhash32((uint32) (key.period_start / USECS_PER_SEC)));
}

/* Tell whether two keys are the same. */
static inline bool
same_key(Key a, Key b)
{
	return a.period_start == b.period_start &&
		meter_attr_equal(a.account, b.account) &&
		meter_attr_equal(a.dimensions, b.dimensions);
}

#define SH_PREFIX total
#define SH_ELEMENT_TYPE Total
#define SH_KEY_TYPE Key
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(key)
#define SH_EQUAL(table, a, b) same_key(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MeterTotals
{
	const MeterDefinition *definition;
	bool		fresh;			/* the table can have nothing of the keys */
	Datum		meter;			/* text */
	total_hash *hash;
	MemoryContext context;		/* of the sums; reset when they are written */
	int			adds;			/* since it was looked how many bytes they
								 * fill */
	SPIPlanPtr	plan;			/* adds to what the table has */
};

/* Begin to add up with no sums. */
static void
begin_sums(MeterTotals *totals)
{
	totals->hash = total_create(totals->context, 256, NULL);
	totals->adds = 0;
}

/*
 * Begin to add up usage rows of a meter.  `fresh`: they are of periods that
 * the ledger has nothing of.
 */
MeterTotals *
meter_totals_begin(const MeterDefinition *definition, bool fresh)
{
	MeterTotals *totals = palloc0(sizeof(MeterTotals));

	totals->definition = definition;
	totals->fresh = fresh;
	totals->meter = CStringGetTextDatum(definition->name);
	totals->context = AllocSetContextCreate(CurrentMemoryContext,
											"meter totals",
											ALLOCSET_DEFAULT_SIZES);
	begin_sums(totals);
	return totals;
}

/* Return a copy of a text in the current context. */
static MeterAttr
copy(MeterAttr text)
{
	char	   *data = palloc(Max(text.len, 1));

	memcpy(data, text.data, text.len);
	return meter_attr(data, text.len);
}

/* Return the payload of dimensions as jsonb. */
static Jsonb *
make_jsonb(MeterAttr payload)
{
	Jsonb	   *jsonb = palloc(VARHDRSZ + payload.len);

	SET_VARSIZE(jsonb, VARHDRSZ + payload.len);
	memcpy(VARDATA(jsonb), payload.data, payload.len);
	return jsonb;
}

/* Find the hash of dimensions that is in the key of the table. */
static void
make_dimensions_key(MeterAttr payload, pg_uuid_t *key)
{
	Jsonb	   *jsonb = make_jsonb(payload);
	char	   *text = JsonbToCString(NULL, &jsonb->root, payload.len);
	char	   *utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	uint8		digest[METER_SHA256_LENGTH];

	meter_sha256((const uint8 *) utf8, strlen(utf8), digest);
	memcpy(key->data, digest, UUID_LEN);
	pfree(jsonb);
}

/* Compare sums in the order of the table's months, and of their keys. */
static int
compare_totals(const void *a, const void *b)
{
	const Total *x = *(const Total *const *) a;
	const Total *y = *(const Total *const *) b;
	int			order;

	if (x->month != y->month)
		return x->month < y->month ? -1 : 1;
	order = meter_attr_cmp(x->key.account, y->key.account);
	if (order == 0 && x->key.period_start != y->key.period_start)
		order = x->key.period_start < y->key.period_start ? -1 : 1;
	return order != 0 ? order :
		memcmp(x->dimensions_key.data, y->dimensions_key.data, UUID_LEN);
}

/* Return the sums in the order in which they are written. */
static Total **
sorted_totals(MeterTotals *totals, int *count)
{
	Total	  **list = palloc(Max(totals->hash->members, 1) * sizeof(Total *));
	total_iterator iterator;
	Total	   *total;

	*count = 0;
	total_start_iterate(totals->hash, &iterator);
	while ((total = total_iterate(totals->hash, &iterator)) != NULL)
	{
		make_dimensions_key(total->key.dimensions, &total->dimensions_key);
		total->month = meter_month_of(total->key.period_start);
		list[(*count)++] = total;
	}
	qsort(list, *count, sizeof(Total *), compare_totals);
	return list;
}

/* Fill in the columns of a sum. */
static void
fill(const MeterTotals *totals, const Total *total, Datum *values)
{
	values[TOTAL_METER] = totals->meter;
	values[TOTAL_ACCOUNT] = meter_text_from_attr(total->key.account);
	values[TOTAL_PERIOD_START] = TimestampTzGetDatum(total->key.period_start);
	values[TOTAL_DIMENSIONS] = JsonbPGetDatum(make_jsonb(total->key.dimensions));
	values[TOTAL_QUANTITY] = DirectFunctionCall1(numeric_trim_scale,
												 NumericGetDatum(total->quantity));
	values[TOTAL_KEY] = UUIDPGetDatum(&total->dimensions_key);
}

/* Write sums that the table has nothing of. */
static void
write_fresh(MeterTotals *totals, Total *const *list, int count)
{
	static const bool nulls[TOTAL_NCOLUMNS] = {false};
	MeterTableWriter *writer = meter_writer_begin(totals->definition->stream,
												  "account_usage",
												  total_columns,
												  TOTAL_NCOLUMNS, NULL);
	Datum		values[TOTAL_NCOLUMNS];
	int			i;

	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		fill(totals, list[i], values);
		if (!meter_writer_insert(writer, values, nulls))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table \"%s.account_usage\" has no partition for %s",
							totals->definition->stream,
							timestamptz_to_str(list[i]->key.period_start)),
					 errhint("Attach the partition that it had for this month.")));
	}
	(void) meter_writer_end(writer, NULL);
}

/* The name of the sums that are added to those of the table. */
#define ROWS_ADDED	"meter_totals"

/* Add sums to what the table has. */
static void
write_added(MeterTotals *totals, Total *const *list, int count)
{
	static const bool nulls[TOTAL_NCOLUMNS] = {false};
	const char *names[TOTAL_NCOLUMNS];
	Oid			types[TOTAL_NCOLUMNS];
	MeterRows	rows;
	Datum		values[TOTAL_NCOLUMNS];
	int			i;

	for (i = 0; i < TOTAL_NCOLUMNS; i++)
	{
		names[i] = total_columns[i].name;
		types[i] = total_columns[i].type;
	}
	meter_begin_rows(&rows, ROWS_ADDED, TOTAL_NCOLUMNS, names, types);
	for (i = 0; i < count; i++)
	{
		fill(totals, list[i], values);
		meter_add_row(&rows, values, nulls);
	}
	meter_insert_rows(&totals->plan,
					  psprintf("INSERT INTO %s.account_usage AS a (meter, account, period_start, dimensions, quantity, dimensions_key) "
							   "SELECT meter, account, period_start, dimensions, quantity, dimensions_key FROM " ROWS_ADDED
							   " ON CONFLICT (meter, account, period_start, dimensions_key) "
							   "DO UPDATE SET quantity = trim_scale(a.quantity + excluded.quantity)",
							   quote_identifier(totals->definition->stream)),
					  &rows);
	tuplestore_end(rows.store);
}

/* Write the sums, and begin with none. */
static void
write_sums(MeterTotals *totals)
{
	MemoryContext before;
	Total	  **list;
	int			count;

	if (totals->hash->members > 0)
	{
		before = MemoryContextSwitchTo(totals->context);
		list = sorted_totals(totals, &count);
		if (totals->fresh)
			write_fresh(totals, list, count);
		else
			write_added(totals, list, count);
		MemoryContextSwitchTo(before);
		/* what follows may be of the same keys */
		totals->fresh = false;
	}
	MemoryContextReset(totals->context);
	begin_sums(totals);
}

/* Add a usage row. */
void
meter_totals_add(MeterTotals *totals, Datum account, Datum dimensions,
				 TimestampTz period_start, Numeric quantity)
{
	struct varlena *payload = PG_DETOAST_DATUM_PACKED(dimensions);
	Key			key = {meter_attr_from_text(account),
	meter_attr(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload)), period_start};
	MemoryContext before = MemoryContextSwitchTo(totals->context);
	bool		found;
	Total	   *total = total_insert(totals->hash, key, &found);

	if (!found)
	{
		total->key.account = copy(key.account);
		total->key.dimensions = copy(key.dimensions);
		total->quantity = DatumGetNumericCopy(NumericGetDatum(quantity));
	}
	else
	{
		Numeric		sum = DatumGetNumeric(DirectFunctionCall2(numeric_add,
															  NumericGetDatum(total->quantity),
															  NumericGetDatum(quantity)));

		pfree(total->quantity);
		total->quantity = sum;
	}
	MemoryContextSwitchTo(before);
	if (++totals->adds % ADDS_PER_LOOK == 0 &&
		MemoryContextMemAllocated(totals->context, true) > MEMORY_LIMIT)
		write_sums(totals);
}

/* Write what is left. */
void
meter_totals_end(MeterTotals *totals)
{
	write_sums(totals);
	if (totals->plan != NULL)
		SPI_freeplan(totals->plan);
	MemoryContextDelete(totals->context);
	pfree(totals);
}

/* Return conditions, with AND, on rows in [from, to) by when their periods start. */
static char *
periods_between(TimestampTz from, TimestampTz to)
{
	return psprintf("%s%s", TIMESTAMP_IS_NOBEGIN(from) ? "" :
					psprintf(" AND period_start >= %s", meter_timestamp_literal(from)),
					TIMESTAMP_IS_NOEND(to) ? "" :
					psprintf(" AND period_start < %s", meter_timestamp_literal(to)));
}

/*
 * Return a query (account, period_start, dimensions, total, expected) for where
 * totals of a meter are not what the ledger comes to, of periods that start in
 * [from, to).
 */
char *
meter_totals_differences(const MeterDefinition *definition, TimestampTz from,
						 TimestampTz to)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	const char *between = periods_between(from, to);

	return psprintf("SELECT account, period_start, dimensions, a.quantity AS total, u.quantity AS expected "
					"FROM (SELECT account, period_start, dimensions, quantity FROM %s.account_usage WHERE meter = %s%s) a "
					"FULL JOIN (SELECT account, period_start, dimensions, sum(quantity) AS quantity FROM %s.usage "
					"WHERE meter = %s%s%s GROUP BY account, period_start, dimensions) u "
					"USING (account, period_start, dimensions) WHERE a.quantity IS DISTINCT FROM u.quantity",
					schema, meter, between, schema, meter, between,
					TIMESTAMP_IS_NOBEGIN(from) ? "" :
					psprintf(" AND transaction_id >= meter_internal.transaction_id_from(%s)",
							 meter_timestamp_literal(from)));
}

/* Make totals of a meter what the ledger comes to, of periods that start in [from, to). */
void
meter_totals_repair(const MeterDefinition *definition, TimestampTz from,
					TimestampTz to)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	meter_execute(psprintf("WITH d AS MATERIALIZED (%s), "
						   "gone AS (DELETE FROM %s.account_usage a USING d WHERE d.expected IS NULL "
						   "AND a.meter = %s AND a.account = d.account AND a.period_start = d.period_start AND a.dimensions = d.dimensions) "
						   "INSERT INTO %s.account_usage (meter, account, period_start, dimensions, quantity, dimensions_key) "
						   "SELECT %s, account, period_start, dimensions, trim_scale(expected), "
						   "encode(substr(sha256(convert_to(dimensions::text, 'UTF8')), 1, 16), 'hex')::uuid "
						   "FROM d WHERE expected IS NOT NULL ON CONFLICT (meter, account, period_start, dimensions_key) "
						   "DO UPDATE SET quantity = excluded.quantity",
						   meter_totals_differences(definition, from, to),
						   schema, meter, schema, meter),
				  SPI_OK_INSERT);
}
