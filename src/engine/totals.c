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

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
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
#include "pg/shard.h"
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

/* So long an account, and so large a quantity, are in the entry of their sum. */
#define ACCOUNT_HERE	24
#define QUANTITY_HERE	16

/* Dimensions that rows have. */
typedef struct Dimensions
{
	MeterAttr	payload;		/* of the jsonb */
	int			number;			/* from 0 */
	pg_uuid_t	key;			/* the hash that is in the key of the table */
	uint32		hash;
	char		status;
} Dimensions;

/* What rows are added up by. */
typedef struct Key
{
	TimestampTz period_start;
	int			dimensions;		/* their number */
	int			account_len;
	union
	{
		char		here[ACCOUNT_HERE];
		const char *apart;		/* of a longer one */
	}			account;
} Key;

/*
 * The sum of the rows of a key.  Rows come in the order of their resources, so
 * each is of another sum than the one before: an entry is a line of the cache,
 * and what is in it has not to be fetched from elsewhere.
 */
typedef struct Total
{
	Key			key;
	union
	{
		char		here[QUANTITY_HERE];
		Numeric		apart;		/* a larger one */
	}			quantity;
	uint32		hash;
	bool		quantity_apart;
	char		status;
} Total;

/* A sum, in the order in which sums are written. */
typedef struct Place
{
	const Total *total;
	const Dimensions *dimensions;
	int			month;
} Place;

/* Return a hash of a text. */
static inline uint32
hash_attr(MeterAttr text)
{
	return hash_bytes((const unsigned char *) text.data, text.len);
}

#define SH_PREFIX dimensions
#define SH_ELEMENT_TYPE Dimensions
#define SH_KEY_TYPE MeterAttr
#define SH_KEY payload
#define SH_HASH_KEY(table, key) hash_attr(key)
#define SH_EQUAL(table, a, b) meter_attr_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Return the account of a key. */
static inline MeterAttr
account_of(const Key *key)
{
	return meter_attr(key->account_len <= ACCOUNT_HERE ? key->account.here :
					  key->account.apart, key->account_len);
}

/* Return a hash of a key. */
static inline uint32
hash_key(const Key *key)
{
	uint32		hash = hash_combine(hash_attr(account_of(key)),
									murmurhash32(key->dimensions));

	return hash_combine(hash, murmurhash32((uint32) (key->period_start / USECS_PER_SEC)));
}

/* Tell whether two keys are the same. */
static inline bool
same_key(const Key *a, const Key *b)
{
	return a->period_start == b->period_start &&
		a->dimensions == b->dimensions &&
		meter_attr_equal(account_of(a), account_of(b));
}

#define SH_PREFIX total
#define SH_ELEMENT_TYPE Total
#define SH_KEY_TYPE Key
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(&(key))
#define SH_EQUAL(table, a, b) same_key(&(a), &(b))
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
	dimensions_hash *dimensions;
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
	totals->dimensions = dimensions_create(totals->context, 16, NULL);
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

/* Return dimensions that rows have, with their number. */
static const Dimensions *
find_dimensions(MeterTotals *totals, MeterAttr payload)
{
	bool		found;
	Dimensions *dimensions = dimensions_insert(totals->dimensions, payload,
											   &found);

	if (!found)
	{
		dimensions->payload = copy(payload);
		dimensions->number = (int) totals->dimensions->members - 1;
		make_dimensions_key(payload, &dimensions->key);
	}
	return dimensions;
}

/* Return a sum's quantity. */
static inline Numeric
quantity_of(const Total *total)
{
	return total->quantity_apart ? total->quantity.apart :
		(Numeric) total->quantity.here;
}

/* Let a sum have a quantity, which is taken over. */
static inline void
set_quantity(Total *total, Numeric quantity)
{
	total->quantity_apart = VARSIZE_ANY(quantity) > QUANTITY_HERE;
	if (total->quantity_apart)
		total->quantity.apart = quantity;
	else
	{
		memcpy(total->quantity.here, quantity, VARSIZE_ANY(quantity));
		pfree(quantity);
	}
}

/* Compare sums in the order of the table's months, and of their keys. */
static int
compare_places(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;
	const Key  *k = &x->total->key;
	const Key  *l = &y->total->key;
	int			order;

	if (x->month != y->month)
		return x->month < y->month ? -1 : 1;
	order = meter_attr_cmp(account_of(k), account_of(l));
	if (order == 0 && k->period_start != l->period_start)
		order = k->period_start < l->period_start ? -1 : 1;
	return order != 0 ? order :
		memcmp(x->dimensions->key.data, y->dimensions->key.data, UUID_LEN);
}

/* Return the sums in the order in which they are written. */
static Place *
sorted_places(MeterTotals *totals)
{
	Place	   *places = palloc(totals->hash->members * sizeof(Place));
	const Dimensions **of_number = palloc(totals->dimensions->members * sizeof(Dimensions *));
	dimensions_iterator each;
	total_iterator iterator;
	const Dimensions *dimensions;
	const Total *total;
	int			count = 0;

	dimensions_start_iterate(totals->dimensions, &each);
	while ((dimensions = dimensions_iterate(totals->dimensions, &each)) != NULL)
		of_number[dimensions->number] = dimensions;
	total_start_iterate(totals->hash, &iterator);
	while ((total = total_iterate(totals->hash, &iterator)) != NULL)
	{
		Place	   *place = &places[count++];

		place->total = total;
		place->dimensions = of_number[total->key.dimensions];
		place->month = meter_month_of(total->key.period_start);
	}
	qsort(places, count, sizeof(Place), compare_places);
	return places;
}

/* Fill in the columns of a sum. */
static void
fill(const MeterTotals *totals, const Place *place, Datum *values)
{
	const Total *total = place->total;

	values[TOTAL_METER] = totals->meter;
	values[TOTAL_ACCOUNT] = meter_text_from_attr(account_of(&total->key));
	values[TOTAL_PERIOD_START] = TimestampTzGetDatum(total->key.period_start);
	values[TOTAL_DIMENSIONS] = JsonbPGetDatum(make_jsonb(place->dimensions->payload));
	values[TOTAL_QUANTITY] = DirectFunctionCall1(numeric_trim_scale,
												 NumericGetDatum(quantity_of(total)));
	values[TOTAL_KEY] = UUIDPGetDatum(&place->dimensions->key);
}

/* Write sums that the table has nothing of. */
static void
write_fresh(MeterTotals *totals, const Place *places, int count)
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
		fill(totals, &places[i], values);
		if (!meter_writer_insert(writer, values, nulls))
			meter_lack_month(totals->definition->stream,
							 totals->definition->name,
							 places[i].total->key.period_start);
	}
	(void) meter_writer_end(writer, NULL);
}

/* The name of the sums that are added to those of the table. */
#define ROWS_ADDED	"meter_totals"

/* Add sums to what the table has. */
static void
write_added(MeterTotals *totals, const Place *places, int count)
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
		fill(totals, &places[i], values);
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

/* Who takes the sums of a shard, in place of the table. */
static MeterTakeTotal take_total = NULL;
static void *take_total_arg;

/* Hand the sums of a shard over: the totals are those of all shards. */
void
meter_totals_hand_over(MeterTakeTotal take, void *arg)
{
	take_total = take;
	take_total_arg = arg;
}

/* Hand sums over. */
static void
hand_over(MeterTotals *totals, const Place *places, int count)
{
	Datum		values[TOTAL_NCOLUMNS];
	int			i;

	for (i = 0; i < count; i++)
	{
		fill(totals, &places[i], values);
		take_total(take_total_arg, values[TOTAL_ACCOUNT],
				   places[i].total->key.period_start, values[TOTAL_DIMENSIONS],
				   values[TOTAL_QUANTITY], totals->fresh);
	}
}

/*
 * Tell whether there is a partition for sums from before 1970, the first ones.
 * The ledger's rows from then have the least keys, which its first month takes.
 */
static bool
has_older(const MeterTotals *totals)
{
	const char *stream = totals->definition->stream;

	return OidIsValid(get_relname_relid(meter_month_name("account_usage",
														 METER_MONTH_OLDER),
										get_namespace_oid(stream, false)));
}

/* Write the sums, and begin with none. */
static void
write_sums(MeterTotals *totals)
{
	int			count = (int) totals->hash->members;
	MemoryContext before;
	const Place *places;

	if (count > 0)
	{
		before = MemoryContextSwitchTo(totals->context);
		places = sorted_places(totals);
		if (meter_current_shard() != NULL)
			hand_over(totals, places, count);
		else if (places[0].month < 0 && !has_older(totals))
			meter_lack_month(totals->definition->stream,
							 totals->definition->name,
							 places[0].total->key.period_start);
		else if (totals->fresh)
			write_fresh(totals, places, count);
		else
			write_added(totals, places, count);
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
	struct varlena *jsonb = PG_DETOAST_DATUM_PACKED(dimensions);
	MeterAttr	name = meter_attr_from_text(account);
	MemoryContext before = MemoryContextSwitchTo(totals->context);
	Key			key;
	Total	   *total;
	bool		found;

	key.period_start = period_start;
	key.dimensions = find_dimensions(totals, meter_attr(VARDATA_ANY(jsonb),
														VARSIZE_ANY_EXHDR(jsonb)))->number;
	key.account_len = name.len;
	if (name.len <= ACCOUNT_HERE)
		memcpy(key.account.here, name.data, name.len);
	else
		key.account.apart = name.data;
	total = total_insert(totals->hash, key, &found);
	if (found)
	{
		Numeric		sum = DatumGetNumeric(DirectFunctionCall2(numeric_add,
															  NumericGetDatum(quantity_of(total)),
															  NumericGetDatum(quantity)));

		if (total->quantity_apart)
			pfree(total->quantity.apart);
		set_quantity(total, sum);
	}
	else
	{
		if (name.len > ACCOUNT_HERE)
			total->key.account.apart = copy(name).data;
		set_quantity(total, DatumGetNumericCopy(NumericGetDatum(quantity)));
	}
	MemoryContextSwitchTo(before);
	if (++totals->adds % ADDS_PER_LOOK == 0 &&
		MemoryContextMemAllocated(totals->context, true) > MEMORY_LIMIT)
		write_sums(totals);
}

/* Write what is left.  Sums that have no month are noted, as are usage rows. */
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
