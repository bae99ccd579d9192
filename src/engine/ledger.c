/*
 * ledger.c
 *	  The ledger: what is written into it, and where it differs from expected
 *	  usage.
 *
 * Where the ledger can have nothing, expected usage is written as it comes, in
 * the order of the key.  Elsewhere expected rows and those of the ledger are
 * sorted together; the rows of a key then meet, and what they do not agree in
 * is written as an adjustment, or told.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "engine/ledger.h"
#include "engine/resources.h"
#include "engine/totals.h"
#include "engine/usage_rows.h"
#include "log/month.h"
#include "pg/attr.h"
#include "pg/meter_compat.h"
#include "pg/operation.h"
#include "pg/quantity.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/table_writer.h"
#include "types/transaction_id.h"

/*
 * Ledger rows are looked up one by one for up to so many periods of resources.
 */
#define FEW_PROBES	100000

/* The columns of the ledger, in their order. */
enum
{
	USAGE_TRANSACTION_ID,
	USAGE_METER,
	USAGE_ACCOUNT,
	USAGE_RESOURCE,
	USAGE_DIMENSIONS,
	USAGE_PERIOD_START,
	USAGE_QUANTITY,
	USAGE_REVISION,
	USAGE_SETTLEMENT,
	USAGE_RECORDED_AT,
	USAGE_NCOLUMNS
};

static const MeterWriterColumn usage_columns[USAGE_NCOLUMNS] = {
	{"transaction_id", UUIDOID},
	{"meter", TEXTOID},
	{"account", TEXTOID},
	{"resource", TEXTOID},
	{"dimensions", JSONBOID},
	{"period_start", TIMESTAMPTZOID},
	{"quantity", NUMERICOID},
	{"revision", INT4OID},
	{"settlement", INT8OID},
	{"recorded_at", TIMESTAMPTZOID}
};

/* The columns of what is sorted; a query of the ledger gives all but two. */
enum
{
	SORT_KEY,
	SORT_RESOURCE,
	SORT_ACCOUNT,
	SORT_DIMENSIONS,
	SORT_PERIOD_START,
	SORT_QUANTITY,
	SORT_WRITTEN,				/* the ledger says so */
	SORT_NCOLUMNS
};

static const Oid sort_types[SORT_NCOLUMNS] = {
	UUIDOID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, NUMERICOID, BOOLOID
};

struct MeterLedger
{
	const MeterDefinition *definition;
	MeterUsageSpec *spec;
	MeterLedgerUse use;
	int64		settlement;
	Datum		meter;			/* text */
	MeterTellDifference tell;
	void	   *tell_arg;

	/* the resource that usage is expected of */
	MeterAttr	resource;
	MeterNaming naming;
	MemoryContext names;		/* of the naming */
	bool		named;			/* it was begun */
	uint64		hash;

	MeterTableWriter *writer;	/* NULL: nothing is written */
	MeterTotals *totals;		/* of what is written */
	MeterIdRange written;		/* of the rows that are */
	Tuplesortstate *sort;		/* NULL: rows come in order */
	TupleDesc	descriptor;
	TupleTableSlot *put;
	MemoryContext row;			/* what putting a row allocates */
	MeterQuarantine *quarantine;	/* resources that are left out, or NULL */
};

/* Return a difference as the columns of a row. */
void
meter_difference_values(const MeterDifference *difference, Datum *values,
						bool *nulls)
{
	memset(nulls, false, METER_DIFFERENCE_NCOLUMNS * sizeof(bool));
	values[METER_DIFFERENCE_ACCOUNT] =
		meter_text_from_attr(difference->account);
	values[METER_DIFFERENCE_RESOURCE] =
		meter_text_from_attr(difference->resource);
	values[METER_DIFFERENCE_DIMENSIONS] = difference->dimensions;
	values[METER_DIFFERENCE_PERIOD_START] =
		TimestampTzGetDatum(difference->period_start);
	nulls[METER_DIFFERENCE_LEDGER] = difference->ledger == NULL;
	values[METER_DIFFERENCE_LEDGER] = NumericGetDatum(difference->ledger);
	nulls[METER_DIFFERENCE_EXPECTED] = difference->expected == NULL;
	values[METER_DIFFERENCE_EXPECTED] = NumericGetDatum(difference->expected);
}

/* Return the difference that such columns are of. */
MeterDifference
meter_difference_of(const Datum *values, const bool *nulls)
{
	MeterDifference difference = {0};

	difference.account =
		meter_attr_from_text(values[METER_DIFFERENCE_ACCOUNT]);
	difference.resource =
		meter_attr_from_text(values[METER_DIFFERENCE_RESOURCE]);
	difference.dimensions = values[METER_DIFFERENCE_DIMENSIONS];
	difference.period_start =
		DatumGetTimestampTz(values[METER_DIFFERENCE_PERIOD_START]);
	difference.ledger = nulls[METER_DIFFERENCE_LEDGER] ? NULL :
		DatumGetNumeric(values[METER_DIFFERENCE_LEDGER]);
	difference.expected = nulls[METER_DIFFERENCE_EXPECTED] ? NULL :
		DatumGetNumeric(values[METER_DIFFERENCE_EXPECTED]);
	return difference;
}

/*
 * Begin to expect usage of a meter.  Rows are written as those of a
 * settlement.  `in_order`: they come in the order of the key.
 */
MeterLedger *
meter_ledger_begin(const MeterDefinition *definition, MeterUsageSpec *spec,
				   MeterLedgerUse use, int64 settlement, bool in_order)
{
	MeterLedger *ledger = palloc0(sizeof(MeterLedger));
	AttrNumber	key = SORT_KEY + 1;
	Oid			operator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;
	int			i;

	ledger->definition = definition;
	ledger->spec = spec;
	ledger->use = use;
	ledger->settlement = settlement;
	ledger->meter = CStringGetTextDatum(definition->name);
	ledger->row = AllocSetContextCreate(CurrentMemoryContext, "meter usage row",
										ALLOCSET_DEFAULT_SIZES);
	ledger->names = AllocSetContextCreate(CurrentMemoryContext,
										  "meter names",
										  ALLOCSET_DEFAULT_SIZES);
	if (use != METER_LEDGER_COMPARE)
	{
		ledger->writer = meter_writer_begin(definition->stream, "usage",
											usage_columns, USAGE_NCOLUMNS,
											NULL);
		ledger->totals = meter_totals_begin(definition,
											use == METER_LEDGER_APPEND);
	}
	if (use == METER_LEDGER_APPEND && in_order)
		return ledger;
	ledger->descriptor = CreateTemplateTupleDesc(SORT_NCOLUMNS);
	for (i = 0; i < SORT_NCOLUMNS; i++)
		TupleDescInitEntry(ledger->descriptor, i + 1, NULL, sort_types[i], -1, 0);
	operator = lookup_type_cache(UUIDOID, TYPECACHE_LT_OPR)->lt_opr;
	ledger->sort = METER_BEGIN_SORT(ledger->descriptor, 1, &key, &operator,
									&collation, &nulls_first, METER_SORT_MEMORY);
	ledger->put = MakeSingleTupleTableSlot(ledger->descriptor, &TTSOpsVirtual);
	return ledger;
}

/* Tell whether what is expected is sorted before it is written. */
bool
meter_ledger_sorts(const MeterLedger *ledger)
{
	return ledger->sort != NULL;
}

/*
 * Leave out resources, whatever was expected of them: those that are listed
 * when rows come out of the sort.
 */
void
meter_ledger_leave_out(MeterLedger *ledger, MeterQuarantine *quarantine)
{
	ledger->quarantine = quarantine;
}

/* Tell whether a resource is left out. */
static bool
is_left_out(const MeterLedger *ledger, MeterAttr resource)
{
	return ledger->quarantine != NULL &&
		meter_quarantine_find(ledger->quarantine, resource) != NULL;
}

/* Tell whether it matters what the ledger says. */
bool
meter_ledger_compares(const MeterLedger *ledger)
{
	return ledger->use != METER_LEDGER_APPEND;
}

/* Say of which resource usage is expected from here on. */
void
meter_ledger_resource(MeterLedger *ledger, MeterAttr resource, uint64 hash)
{
	ledger->resource = resource;
	ledger->hash = hash;
	ledger->named = false;
}

/* Begin to name rows of the resource; what is common to all is kept. */
static void
begin_naming(MeterLedger *ledger)
{
	MemoryContext before;

	if (ledger->named)
		return;
	MemoryContextReset(ledger->names);
	before = MemoryContextSwitchTo(ledger->names);
	meter_naming_resume(&ledger->naming, ledger->spec->stream,
						ledger->spec->meter, ledger->resource, ledger->hash);
	MemoryContextSwitchTo(before);
	ledger->named = true;
}

/* Write a row; the names of columns are those of what is sorted. */
static void
write_row(MeterLedger *ledger, const Datum *sorted, int32 revision)
{
	Datum		values[USAGE_NCOLUMNS];
	bool		nulls[USAGE_NCOLUMNS];

	memset(nulls, false, sizeof(nulls));
	values[USAGE_TRANSACTION_ID] = sorted[SORT_KEY];
	values[USAGE_METER] = ledger->meter;
	values[USAGE_ACCOUNT] = sorted[SORT_ACCOUNT];
	values[USAGE_RESOURCE] = sorted[SORT_RESOURCE];
	values[USAGE_DIMENSIONS] = sorted[SORT_DIMENSIONS];
	values[USAGE_PERIOD_START] = sorted[SORT_PERIOD_START];
	values[USAGE_QUANTITY] = sorted[SORT_QUANTITY];
	values[USAGE_REVISION] = Int32GetDatum(revision);
	values[USAGE_SETTLEMENT] = Int64GetDatum(ledger->settlement);
	values[USAGE_RECORDED_AT] =
		TimestampTzGetDatum(meter_transaction_began());
	if (!meter_writer_insert(ledger->writer, values, nulls))
	{
		meter_lack_month(ledger->definition->stream, ledger->definition->name,
						 DatumGetTimestampTz(sorted[SORT_PERIOD_START]));
		return;
	}
	meter_id_range_add(&ledger->written, DatumGetUUIDP(sorted[SORT_KEY]));
	meter_totals_add(ledger->totals, sorted[SORT_ACCOUNT],
					 sorted[SORT_DIMENSIONS],
					 DatumGetTimestampTz(sorted[SORT_PERIOD_START]),
					 DatumGetNumeric(sorted[SORT_QUANTITY]));
}

/*
 * Return a key by which rows of one account, resource, dimensions and period
 * meet: the period, then a hash.
 */
static pg_uuid_t *
meeting_key(const Datum *values)
{
	pg_uuid_t  *key = palloc(sizeof(pg_uuid_t));
	uint64		period = pg_hton64((uint64) DatumGetTimestampTz(values[SORT_PERIOD_START]) ^
								   (UINT64CONST(1) << 63));
	uint64		hash = 0;
	int			column;

	for (column = SORT_RESOURCE; column <= SORT_DIMENSIONS; column++)
	{
		struct varlena *value = PG_DETOAST_DATUM_PACKED(values[column]);

		hash = DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(value),
												VARSIZE_ANY_EXHDR(value),
												hash));
	}
	memcpy(key->data, &period, sizeof(period));
	memcpy(key->data + sizeof(period), &hash, sizeof(hash));
	return key;
}

/* Put a row into the sort. */
static void
put_row(MeterLedger *ledger, const Datum *values)
{
	ExecClearTuple(ledger->put);
	memcpy(ledger->put->tts_values, values, SORT_NCOLUMNS * sizeof(Datum));
	memset(ledger->put->tts_isnull, false, SORT_NCOLUMNS);
	ExecStoreVirtualTuple(ledger->put);
	tuplesort_puttupleslot(ledger->sort, ledger->put);
}

/* Fill in what a row is about and says. */
static void
fill(Datum *values, MeterAttr resource, MeterAttr account, Datum dimensions,
	 TimestampTz period_start, Datum quantity)
{
	values[SORT_RESOURCE] = meter_text_from_attr(resource);
	values[SORT_ACCOUNT] = meter_text_from_attr(account);
	values[SORT_DIMENSIONS] = dimensions;
	values[SORT_PERIOD_START] = TimestampTzGetDatum(period_start);
	values[SORT_QUANTITY] = quantity;
}

/* Expect usage of the resource. */
void
meter_ledger_expect(MeterLedger *ledger, const MeterUsageRow *row)
{
	MemoryContext before;
	Datum		values[SORT_NCOLUMNS];
	pg_uuid_t	name;

	if (ledger->use == METER_LEDGER_APPEND)
		begin_naming(ledger);
	before = MemoryContextSwitchTo(ledger->row);
	fill(values, ledger->resource, row->account, row->dimensions,
		 row->period_start, DirectFunctionCall1(numeric_trim_scale,
												NumericGetDatum(row->quantity)));
	values[SORT_WRITTEN] = BoolGetDatum(false);
	if (ledger->use == METER_LEDGER_APPEND)
	{
		meter_usage_name(ledger->spec, &ledger->naming, row->account,
						 row->attrs, row->period_start, &name);
		values[SORT_KEY] = UUIDPGetDatum(&name);
	}
	else
		values[SORT_KEY] = UUIDPGetDatum(meeting_key(values));
	if (ledger->sort != NULL)
		put_row(ledger, values);
	else
		write_row(ledger, values, 0);
	MemoryContextSwitchTo(before);
	MemoryContextReset(ledger->row);
}

/* --- what the ledger says ------------------------------------------------- */

/* The columns of a query of the ledger u. */
#define LEDGER_COLUMNS \
	"SELECT u.resource, u.account, u.dimensions, u.period_start, u.quantity "

/* Put a row of the ledger into the sort. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	MeterLedger *ledger = arg;
	MemoryContext before = MemoryContextSwitchTo(ledger->row);
	Datum		values[SORT_NCOLUMNS];

	memcpy(values + SORT_RESOURCE, slot->tts_values,
		   (SORT_WRITTEN - SORT_RESOURCE) * sizeof(Datum));
	values[SORT_WRITTEN] = BoolGetDatum(true);
	values[SORT_KEY] = UUIDPGetDatum(meeting_key(values));
	put_row(ledger, values);
	meter_operation_count();
	MemoryContextSwitchTo(before);
	MemoryContextReset(ledger->row);
}

/* Read what the ledger says of the periods in [from, to). */
void
meter_ledger_read(MeterLedger *ledger, TimestampTz from, TimestampTz to)
{
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {ledger->meter, TimestampTzGetDatum(from),
	TimestampTzGetDatum(to)};

	meter_scan(psprintf(LEDGER_COLUMNS "FROM %s.usage u "
						"WHERE u.transaction_id >= meter_internal.transaction_id_from($2) "
						"AND u.meter = $1 AND u.period_start >= $2 AND u.period_start < $3",
						quote_identifier(ledger->definition->stream)),
			   lengthof(types), types, values, NULL, take_row, ledger);
}

/*
 * Look up what the ledger says of resources, one period of one at a time, by
 * ranges of the key.
 */
static void
look_up(MeterLedger *ledger, const MeterResources *resources, int64 nprobes)
{
	Oid			types[] = {TEXTOID, UUIDARRAYOID, UUIDARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZARRAYOID};
	Datum		values[lengthof(types)];
	MeterGrid  *grid = ledger->definition->grid;
	Datum	   *lows = palloc(nprobes * sizeof(Datum));
	Datum	   *highs = palloc(nprobes * sizeof(Datum));
	Datum	   *names = palloc(nprobes * sizeof(Datum));
	Datum	   *periods = palloc(nprobes * sizeof(Datum));
	int			n = 0;
	int64		i;

	for (i = 0; i < resources->count; i++)
	{
		const MeterResource *resource = &resources->list[i];
		MeterNaming naming;
		Datum		name = meter_text_from_attr(resource->name);
		TimestampTz at;

		meter_naming_begin(&naming, ledger->spec->stream, ledger->spec->meter,
						   resource->name);
		for (at = resource->from; at < resource->to && n < nprobes;
			 at = meter_grid_period_end(grid, at), n++)
		{
			pg_uuid_t  *range = palloc(2 * sizeof(pg_uuid_t));

			meter_name_range(&naming, at, &range[0], &range[1]);
			lows[n] = UUIDPGetDatum(&range[0]);
			highs[n] = UUIDPGetDatum(&range[1]);
			names[n] = name;
			periods[n] = TimestampTzGetDatum(at);
		}
	}
	values[0] = ledger->meter;
	values[1] = PointerGetDatum(construct_array(lows, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	values[2] = PointerGetDatum(construct_array(highs, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	values[3] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = PointerGetDatum(construct_array(periods, n, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	meter_scan(psprintf(LEDGER_COLUMNS "FROM unnest($2, $3, $4, $5) t (low, high, resource, period_start) "
						"CROSS JOIN LATERAL (SELECT * FROM %s.usage l "
						"WHERE l.transaction_id >= t.low AND l.transaction_id <= t.high AND l.meter = $1 "
						"AND l.resource = t.resource COLLATE \"C\" AND l.period_start = t.period_start OFFSET 0) u",
						quote_identifier(ledger->definition->stream)),
			   lengthof(types), types, values, NULL, take_row, ledger);
}

/*
 * Read what the ledger says of these resources, of each in its time.  Few are
 * looked up, many are found by one scan.
 */
void
meter_ledger_read_resources(MeterLedger *ledger,
							const MeterResources *resources)
{
	MeterGrid  *grid = ledger->definition->grid;
	Oid			types[] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
	TIMESTAMPTZARRAYOID};
	Datum		values[lengthof(types)];
	int64		probes = 0;
	int64		i;

	for (i = 0; i < resources->count && probes <= FEW_PROBES; i++)
	{
		const MeterResource *resource = &resources->list[i];

		if (resource->from >= resource->to)
			continue;
		probes = TIMESTAMP_NOT_FINITE(resource->from) ? FEW_PROBES + 1 :
			probes + (int64) Min(meter_grid_count_periods(grid, resource->from,
														  resource->to),
								 FEW_PROBES) + 2;
	}
	if (probes == 0)
		return;
	if (probes <= FEW_PROBES)
	{
		look_up(ledger, resources, probes);
		return;
	}
	values[0] = ledger->meter;
	meter_resources_arrays(resources, &values[1], &values[2], &values[3]);
	meter_scan(psprintf(LEDGER_COLUMNS "FROM %s.usage u JOIN unnest($2, $3, $4) t (resource, begin_at, end_at) "
						"ON u.resource = t.resource COLLATE \"C\" AND u.period_start >= t.begin_at AND u.period_start < t.end_at "
						"WHERE u.transaction_id >= meter_internal.transaction_id_from((SELECT min(b) FROM unnest($3) b)) "
						"AND u.meter = $1",
						quote_identifier(ledger->definition->stream)),
			   lengthof(types), types, values, NULL, take_row, ledger);
}

/* --- differences ---------------------------------------------------------- */

/* Add a number to a sum, which NULL begins. */
static Numeric
add(Numeric sum, Datum number)
{
	return sum == NULL ? DatumGetNumericCopy(number) :
		DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(sum),
											number));
}

/* Return a sum less another, in the least scale. */
static Numeric
subtract(Numeric sum, Numeric other)
{
	Datum		zero = NumericGetDatum(int64_to_numeric(0));

	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale,
											   DirectFunctionCall2(numeric_sub,
																   sum == NULL ? zero : NumericGetDatum(sum),
																   other == NULL ? zero : NumericGetDatum(other))));
}

/* Tell whether a row is about a key, as all with one hash mostly are. */
static bool
is_same(const MeterDifference *key, const Datum *values)
{
	struct varlena *dimensions = PG_DETOAST_DATUM_PACKED(values[SORT_DIMENSIONS]);
	struct varlena *known = PG_DETOAST_DATUM_PACKED(key->dimensions);

	return meter_attr_equal(key->resource, meter_attr_from_text(values[SORT_RESOURCE])) &&
		meter_attr_equal(key->account, meter_attr_from_text(values[SORT_ACCOUNT])) &&
		VARSIZE_ANY_EXHDR(dimensions) == VARSIZE_ANY_EXHDR(known) &&
		memcmp(VARDATA_ANY(dimensions), VARDATA_ANY(known),
			   VARSIZE_ANY_EXHDR(known)) == 0;
}

/* Write or tell what differs of a key. */
static void
end_key(MeterLedger *ledger, const MeterDifference *key)
{
	Numeric		quantity = subtract(key->expected, key->ledger);
	bool		first = key->revisions == 0 && key->expected != NULL;
	Datum		values[SORT_NCOLUMNS];
	MeterNaming naming;
	pg_uuid_t	name;

	if (is_left_out(ledger, key->resource))
		return;
	/* a first row of 0 is written, too */
	if (meter_numeric_is_zero(quantity) &&
		!(first && METER_KEEPS_ZERO(ledger->definition->aggregate)))
		return;
	if (ledger->use == METER_LEDGER_COMPARE)
	{
		ledger->tell(ledger->tell_arg, key);
		return;
	}
	meter_naming_begin(&naming, ledger->spec->stream, ledger->spec->meter,
					   key->resource);
	meter_name_ledger_row(&naming, key->account,
						  DatumGetJsonbP(key->dimensions), key->period_start,
						  key->revisions, &name);
	values[SORT_KEY] = UUIDPGetDatum(&name);
	fill(values, key->resource, key->account, key->dimensions,
		 key->period_start, NumericGetDatum(quantity));
	write_row(ledger, values, key->revisions);
}

/* Return a copy of bytes. */
static void *
copy_bytes(const void *bytes, Size size)
{
	void	   *copy = palloc(Max(size, 1));

	memcpy(copy, bytes, size);
	return copy;
}

/* Begin a key with its first row. */
static void
begin_key(MeterDifference *key, const Datum *values)
{
	struct varlena *dimensions = PG_DETOAST_DATUM_PACKED(values[SORT_DIMENSIONS]);
	MeterAttr	account = meter_attr_from_text(values[SORT_ACCOUNT]);
	MeterAttr	resource = meter_attr_from_text(values[SORT_RESOURCE]);

	memset(key, 0, sizeof(*key));
	key->account = meter_attr(copy_bytes(account.data, account.len),
							  account.len);
	key->resource = meter_attr(copy_bytes(resource.data, resource.len),
							   resource.len);
	key->dimensions = PointerGetDatum(copy_bytes(dimensions,
												 VARSIZE_ANY(dimensions)));
	key->period_start = DatumGetTimestampTz(values[SORT_PERIOD_START]);
}

/* Add a row to its key. */
static void
add_to_key(MeterDifference *key, const Datum *values)
{
	if (DatumGetBool(values[SORT_WRITTEN]))
	{
		key->ledger = add(key->ledger, values[SORT_QUANTITY]);
		key->revisions++;
	}
	else
		key->expected = add(key->expected, values[SORT_QUANTITY]);
}

/*
 * Go through what was sorted, key by key.  The few keys that share a hash are
 * kept apart in a list.
 */
static void
compare(MeterLedger *ledger)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(ledger->descriptor,
													&TTSOpsMinimalTuple);
	MemoryContext before = MemoryContextSwitchTo(ledger->row);
	MeterDifference *keys = NULL;
	int			nkeys = 0;
	pg_uuid_t	hash;
	int			i;

	while (tuplesort_gettupleslot(ledger->sort, true, false, slot, NULL))
	{
		pg_uuid_t  *row_hash;

		CHECK_FOR_INTERRUPTS();
		meter_operation_count();
		slot_getallattrs(slot);
		row_hash = DatumGetUUIDP(slot->tts_values[SORT_KEY]);
		if (nkeys > 0 && memcmp(row_hash, &hash, sizeof(hash)) != 0)
		{
			for (i = 0; i < nkeys; i++)
				end_key(ledger, &keys[i]);
			MemoryContextReset(ledger->row);
			nkeys = 0;
		}
		hash = *row_hash;
		for (i = 0; i < nkeys && !is_same(&keys[i], slot->tts_values); i++)
			;
		if (i == nkeys)
		{
			keys = nkeys == 0 ? palloc(sizeof(MeterDifference)) :
				repalloc(keys, (nkeys + 1) * sizeof(MeterDifference));
			begin_key(&keys[nkeys++], slot->tts_values);
		}
		add_to_key(&keys[i], slot->tts_values);
	}
	for (i = 0; i < nkeys; i++)
		end_key(ledger, &keys[i]);
	MemoryContextSwitchTo(before);
	ExecDropSingleTupleTableSlot(slot);
}

/* Say whom to tell where the ledger differs. */
void
meter_ledger_tell(MeterLedger *ledger, MeterTellDifference tell, void *arg)
{
	ledger->tell = tell;
	ledger->tell_arg = arg;
}

/* Write the rows that had to be sorted. */
static void
write_sorted(MeterLedger *ledger)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(ledger->descriptor,
													&TTSOpsMinimalTuple);

	while (tuplesort_gettupleslot(ledger->sort, true, false, slot, NULL))
	{
		CHECK_FOR_INTERRUPTS();
		meter_operation_count();
		slot_getallattrs(slot);
		if (!is_left_out(ledger,
						 meter_attr_from_text(slot->tts_values[SORT_RESOURCE])))
			write_row(ledger, slot->tts_values, 0);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Write or tell what is left.  Raises METER_ERRCODE_NO_MONTH if rows had no
 * month that they could go to: those were passed over.  Returns how many rows
 * were written, and adds their bytes to a number and their transaction IDs to a
 * range (NULL: nobody asks).
 */
int64
meter_ledger_end(MeterLedger *ledger, int64 *bytes, MeterIdRange *written)
{
	int64		rows = 0;

	if (ledger->sort != NULL)
	{
		meter_operation_phase(ledger->use == METER_LEDGER_COMPARE ?
							  "comparing usage" : "writing usage",
							  METER_TOTAL_UNKNOWN);
		tuplesort_performsort(ledger->sort);
		if (ledger->use == METER_LEDGER_APPEND)
			write_sorted(ledger);
		else
			compare(ledger);
		tuplesort_end(ledger->sort);
		ExecDropSingleTupleTableSlot(ledger->put);
	}
	if (ledger->writer != NULL)
	{
		rows = meter_writer_end(ledger->writer, bytes);
		meter_totals_end(ledger->totals);
		meter_check_months(ledger->definition->stream,
						   ledger->definition->name, "usage");
	}
	if (written != NULL)
		meter_id_range_merge(written, &ledger->written);
	MemoryContextDelete(ledger->row);
	MemoryContextDelete(ledger->names);
	pfree(ledger);
	return rows;
}
