/*
 * measure_walk.c
 *	  The walk of measures: from those of one resource, in order, to its usage.
 *
 * What is added up lies in accumulators, one for each period, account and
 * dimensions.  A list of the periods that are open, ascending, holds those of
 * each period; each key, found by a hash of account and dimensions, holds its
 * own, ascending too.  A period is given out as soon as a measure starts at or
 * after its end, so no more than what is open takes memory, however many
 * measures there are: what one of them needs meanwhile is freed after it.
 *
 * Owners whose name is the same one have the same pointer.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "engine/collect.h"
#include "engine/counter.h"
#include "engine/measure_owners.h"
#include "engine/measure_walk.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "pg/spread.h"

/* An entry of a hash table by attributes; they lie where `what` does. */
typedef struct Named
{
	const MeterAttr *attrs;
	void	   *what;
	uint32		hash;
	char		status;
} Named;

/* Hash attributes, as many as `natts`. */
static uint32
hash_attrs(const MeterAttr *attrs, int natts)
{
	uint32		hash = 0;
	int			i;

	for (i = 0; i < natts; i++)
		hash = hash_combine(hash,
							MeterAttrIsNull(attrs[i]) ? 0 :
							hash_bytes((const unsigned char *) attrs[i].data,
									   attrs[i].len));
	return hash;
}

/* Tell whether attributes are the same. */
static bool
same_attrs(const MeterAttr *a, const MeterAttr *b, int natts)
{
	int			i;

	for (i = 0; i < natts; i++)
	{
		if (!meter_attr_equal(a[i], b[i]))
			return false;
	}
	return true;
}

#define SH_PREFIX named
#define SH_ELEMENT_TYPE Named
#define SH_KEY_TYPE const MeterAttr *
#define SH_KEY attrs
#define SH_HASH_KEY(table, key) hash_attrs(key, *(int *) (table)->private_data)
#define SH_EQUAL(table, a, b) same_attrs(a, b, *(int *) (table)->private_data)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A number that is kept while others come and go, in a chunk that is reused. */
typedef struct Kept
{
	Numeric		number;			/* or rubbish, if none is kept */
	int32		room;			/* of its chunk */
	bool		is_kept;
} Kept;

typedef struct Period Period;
typedef struct Key Key;

/* What is added up of a key in a period: there may be very many of them. */
typedef struct Accumulator
{
	Period	   *period;
	Key		   *key;
	struct Accumulator *next_of_period;
	struct Accumulator *next_of_key;	/* in a later period */
	Kept		value;			/* sum, least, greatest or latest */
	union
	{
		struct
		{
			int64		digits; /* beside the value: times 10^scale */
			int32		scale;
		}			sum;
		TimestampTz time;		/* of the latest value */
		struct
		{
			int64		number;
			int64		word;	/* which distinct value was counted last */
		}			count;
	}			u;
} Accumulator;

/* A period that is open. */
struct Period
{
	TimestampTz begin;
	Period	   *next;
	Accumulator *first;
	Accumulator *last;
};

/* An account and dimensions for which something is open. */
struct Key
{
	MeterAttr  *attrs;			/* account, dimensions */
	Accumulator *first;
	Accumulator *found;			/* the one that was asked for last, or NULL */
};

/* The readings of a counter that have the same dimensions. */
typedef struct Series
{
	MeterAttr  *dimensions;
	struct Series *next;
	struct Series *next_pending;
	bool		walked;
	MeterLastReading last;		/* that counted; its value is kept */
	Kept		value;
	bool		is_pending;		/* there are readings of walk->instant */
	Kept		pending;		/* the one of these that counts, so far */
	TimestampTz start;			/* of that */
	int64		arrival;
	MeterAttr	payer[2];		/* the account and the entity it names, or
								 * NULL */
	char	   *chunk;			/* where these lie */
	int32		room;
	struct PassedOver *passed_over; /* others of walk->instant */
} Series;

/* A reading that was passed over, for who is told of it. */
typedef struct PassedOver
{
	MeterCounted counted;
	Numeric		value;
	TimestampTz start;
	MeterAttr  *payer;			/* as of the pending one */
	int64		arrival;
	struct PassedOver *next;
} PassedOver;

struct MeterMeasureWalk
{
	MeterAggregate aggregate;
	int			ndimensions;
	int			nkey;			/* attributes of a key */
	bool		by_entity;		/* each entity has owners of its own */
	MeterGrid	grid;
	MeterMeasureEmit emit;
	void	   *emit_arg;
	MeterMeasureTrace trace;	/* or NULL */
	void	   *trace_arg;
	MeterMeasureIncrease increase;	/* or NULL */
	void	   *increase_arg;
	MeterCounter counter;
	MemoryContext context;		/* of the walk */
	MemoryContext resource_context;
	MemoryContext measure_context;	/* of one measure, or one usage row */
	MeterAttr  *sought;			/* account and dimensions to look up */

	/* what follows is about one resource, and begins with `resource` */
	MeterAttr	resource;
	TimestampTz from;
	TimestampTz to;

	MeterOwners *owners;
	MeterOwnerChain *chain;		/* those to the measure at hand */

	TimestampTz period_begin;	/* that was looked up last */
	TimestampTz period_end;
	Period	   *periods;		/* open, ascending */
	Period	   *period;			/* the one that was asked for last, or NULL */
	named_hash *keys;
	Key		   *key;			/* the one that was asked for last, or NULL */

	named_hash *series_by_dimensions;
	Series	   *series;
	Series	   *last_series;
	Series	   *next_series;	/* to return */
	Series	   *pending;
	TimestampTz instant;		/* of the pending readings */

	text	   *word;			/* distinct value: the last one */
	int64		word_number;
};

/* Prepare to walk the measures of a meter, in a context of its own. */
MeterMeasureWalk *
meter_measure_walk_create(const MeterDefinition *definition,
						  MeterMeasureEmit emit, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "meter measure walk",
												  ALLOCSET_SMALL_SIZES);
	MeterMeasureWalk *walk = MemoryContextAllocZero(context, sizeof(*walk));

	walk->context = context;
	walk->resource_context =
		AllocSetContextCreate(context, "meter measures of a resource",
							  ALLOCSET_DEFAULT_SIZES);
	walk->measure_context =
		AllocSetContextCreate(context, "meter measure",
							  ALLOCSET_DEFAULT_SIZES);
	walk->aggregate = definition->aggregate;
	walk->ndimensions = definition->ndimensions;
	walk->nkey = 1 + definition->ndimensions;
	walk->by_entity = definition->entity == NULL;
	walk->grid = *definition->grid;
	walk->emit = emit;
	walk->emit_arg = arg;
	walk->sought = MemoryContextAlloc(context,
									  walk->nkey * sizeof(MeterAttr));
	if (walk->aggregate == METER_COUNTER)
	{
		MemoryContext before = MemoryContextSwitchTo(context);

		meter_counter_init(&walk->counter, definition);
		MemoryContextSwitchTo(before);
	}
	return walk;
}

/* Return where what is kept of the resource at hand lies. */
MemoryContext
meter_measure_walk_memory(const MeterMeasureWalk *walk)
{
	return walk->resource_context;
}

/* Free a walk and all that it holds. */
void
meter_measure_walk_destroy(MeterMeasureWalk *walk)
{
	MemoryContextDelete(walk->context);
}

/* From the next measure on, tell which parts were found. */
void
meter_measure_walk_trace(MeterMeasureWalk *walk, MeterMeasureTrace trace,
						 void *arg)
{
	walk->trace = trace;
	walk->trace_arg = arg;
}

/* From the next measure on, tell what becomes of readings of a counter. */
void
meter_measure_walk_increases(MeterMeasureWalk *walk,
							 MeterMeasureIncrease increase, void *arg)
{
	walk->increase = increase;
	walk->increase_arg = arg;
}

/*
 * Begin with a resource, whose usage in [from, to) is asked for.  A period
 * begins at `from`, or it is -infinity; where `to` lies within a period, sums
 * are cut there, too.
 */
void
meter_measure_walk_begin(MeterMeasureWalk *walk, MeterAttr resource,
						 TimestampTz from, TimestampTz to)
{
	MemoryContextReset(walk->measure_context);
	MemoryContextReset(walk->resource_context);
	memset((char *) walk + offsetof(MeterMeasureWalk, resource), 0,
		   sizeof(*walk) - offsetof(MeterMeasureWalk, resource));
	walk->resource = *meter_copy_attrs(walk->resource_context, &resource, 1);
	walk->from = from;
	walk->to = to;
	walk->owners = meter_owners_begin(walk->resource_context,
									  walk->by_entity);
	walk->instant = DT_NOBEGIN;
}

/* Say which resource an error is about. */
static void
error_context(void *arg)
{
	MeterMeasureWalk *walk = arg;

	errcontext("measures of resource \"%.*s\"", walk->resource.len,
			   walk->resource.data);
}

/* Keep a copy of a number. */
static void
keep(MeterMeasureWalk *walk, Kept *kept, Numeric number)
{
	int32		size = VARSIZE(number);

	if (kept->room < size)
	{
		if (kept->room > 0)
			pfree(kept->number);
		kept->room = 0;
		kept->number = MemoryContextAlloc(walk->resource_context,
										  Max(size, 16));
		kept->room = Max(size, 16);
	}
	memcpy(kept->number, number, size);
	kept->is_kept = true;
}

/* Compare two numbers. */
static int
compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a),
											 NumericGetDatum(b)));
}

/* Return the sum of two numbers. */
static Numeric
add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add,
											   NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* --- who pays --- */

/*
 * Take what is carried of who owns the resource: the owner to measures without
 * an entity, and those to others, or 0.
 */
void
meter_measure_walk_carry(MeterMeasureWalk *walk, MeterAttr account,
						 Datum known)
{
	meter_owners_carry(walk->owners, account, known);
}

/*
 * Take a name that says who owns the resource from its instant on, which is not
 * before those of calls before.
 */
void
meter_measure_walk_owner(MeterMeasureWalk *walk, const MeterName *name)
{
	meter_owners_take(walk->owners, name);
}

/* Return who owns the resource. */
MeterOwners *
meter_measure_walk_owners(MeterMeasureWalk *walk)
{
	return walk->owners;
}

/* Return who owns what is measured at an instant, and until when. */
static MeterAttr
owner_at(MeterMeasureWalk *walk, TimestampTz at, TimestampTz *until)
{
	return meter_owners_at(walk->chain, at, until);
}

/* --- periods, keys and what is added up --- */

/* Look up the period that holds an instant. */
static void
look_up_period(MeterMeasureWalk *walk, TimestampTz at)
{
	/* both are 0 before the first look */
	if (at >= walk->period_begin && at < walk->period_end)
		return;
	walk->period_begin = meter_grid_period_begin(&walk->grid, at);
	walk->period_end = meter_grid_period_end(&walk->grid, at);
}

/* Return the open period that was looked up, which may open now. */
static Period *
open_period(MeterMeasureWalk *walk)
{
	TimestampTz begin = walk->period_begin;
	Period	   *before = NULL;
	Period	   *period = walk->periods;

	if (walk->period != NULL && walk->period->begin <= begin)
		period = walk->period;
	while (period != NULL && period->begin < begin)
	{
		before = period;
		period = period->next;
	}
	if (period == NULL || period->begin != begin)
	{
		Period	   *opened;

		meter_ask_growth(sizeof(Period));
		opened = MemoryContextAllocZero(walk->resource_context,
										sizeof(Period));
		opened->begin = begin;
		opened->next = period;
		if (before != NULL)
			before->next = opened;
		else
			walk->periods = opened;
		period = opened;
	}
	walk->period = period;
	return period;
}

/* Return the key of an account and dimensions, which may be new. */
static Key *
open_key(MeterMeasureWalk *walk, MeterAttr account,
		 const MeterAttr *dimensions)
{
	Key		   *key = walk->key;
	Named	   *entry;
	bool		found;

	if (key != NULL && meter_attr_equal(key->attrs[0], account) &&
		same_attrs(key->attrs + 1, dimensions, walk->ndimensions))
		return key;
	if (walk->keys == NULL)
		walk->keys = named_create(walk->resource_context, 8, &walk->nkey);
	walk->sought[0] = account;
	memcpy(walk->sought + 1, dimensions,
		   walk->ndimensions * sizeof(MeterAttr));
	entry = named_insert(walk->keys, walk->sought, &found);
	if (!found)
	{
		meter_ask_growth(sizeof(Key));
		key = MemoryContextAllocZero(walk->resource_context, sizeof(Key));
		key->attrs = meter_copy_attrs(walk->resource_context, walk->sought,
									  walk->nkey);
		entry->attrs = key->attrs;
		entry->what = key;
	}
	walk->key = entry->what;
	return walk->key;
}

/* Return what is added up of a key in the period that was looked up. */
static Accumulator *
open_accumulator(MeterMeasureWalk *walk, Key *key)
{
	TimestampTz begin = walk->period_begin;
	Accumulator *before = NULL;
	Accumulator *accumulator = key->first;
	Accumulator *opened;
	Period	   *period;

	if (key->found != NULL && key->found->period->begin <= begin)
		accumulator = key->found;
	while (accumulator != NULL && accumulator->period->begin < begin)
	{
		before = accumulator;
		accumulator = accumulator->next_of_key;
	}
	if (accumulator == NULL || accumulator->period->begin != begin)
	{
		period = open_period(walk);
		meter_ask_growth(sizeof(Accumulator));
		opened = MemoryContextAllocZero(walk->resource_context,
										sizeof(Accumulator));
		opened->period = period;
		opened->key = key;
		opened->next_of_key = accumulator;
		if (before != NULL)
			before->next_of_key = opened;
		else
			key->first = opened;
		if (period->last != NULL)
			period->last->next_of_period = opened;
		else
			period->first = opened;
		period->last = opened;
		accumulator = opened;
	}
	key->found = accumulator;
	return accumulator;
}

/* Add a number to a sum. */
static void
add_number(MeterMeasureWalk *walk, Accumulator *sum, Numeric number)
{
	keep(walk, &sum->value,
		 sum->value.is_kept ? add(sum->value.number, number) : number);
}

/* Multiply by 10 to the power of n.  Returns false if that is too much. */
static bool
shift_digits(int64 *digits, int n)
{
	while (n-- > 0)
	{
		if (pg_mul_s64_overflow(*digits, 10, digits))
			return false;
	}
	return true;
}

/* Add a number that is digits times 10^-scale to a sum. */
static void
add_digits(MeterMeasureWalk *walk, Accumulator *sum, int64 digits, int scale)
{
	int64		before = sum->u.sum.digits;
	int64		more = digits;
	int			most = Max(sum->u.sum.scale, scale);

	if (shift_digits(&before, most - sum->u.sum.scale) &&
		shift_digits(&more, most - scale) &&
		!pg_add_s64_overflow(before, more, &before))
	{
		sum->u.sum.digits = before;
		sum->u.sum.scale = most;
		return;
	}
	add_number(walk, sum, int64_div_fast_to_numeric(sum->u.sum.digits,
													sum->u.sum.scale));
	sum->u.sum.digits = digits;
	sum->u.sum.scale = scale;
}

/* Return a sum. */
static Numeric
sum_of(const Accumulator *sum)
{
	Numeric		digits;

	if (sum->value.is_kept && sum->u.sum.digits == 0 && sum->u.sum.scale == 0)
		return sum->value.number;
	digits = int64_div_fast_to_numeric(sum->u.sum.digits, sum->u.sum.scale);
	return sum->value.is_kept ? add(sum->value.number, digits) : digits;
}

/* Return what was added up; NULL if that makes no usage row. */
static Numeric
quantity_of(const MeterMeasureWalk *walk, const Accumulator *accumulator)
{
	Numeric		sum;

	switch (walk->aggregate)
	{
		case METER_COUNT:
		case METER_UNIQUE:
			return int64_to_numeric(accumulator->u.count.number);
		case METER_SUM:
		case METER_COUNTER:
			sum = sum_of(accumulator);
			return meter_numeric_is_zero(sum) ? NULL : sum;
		default:
			return accumulator->value.number;
	}
}

/* Forget an accumulator, and its key if nothing else is open for it. */
static void
free_accumulator(MeterMeasureWalk *walk, Accumulator *accumulator)
{
	Key		   *key = accumulator->key;

	Assert(key->first == accumulator);
	key->first = accumulator->next_of_key;
	if (key->found == accumulator)
		key->found = NULL;
	if (key->first == NULL)
	{
		named_delete(walk->keys, key->attrs);
		if (walk->key == key)
			walk->key = NULL;
		pfree(key->attrs);
		pfree(key);
	}
	if (accumulator->value.room > 0)
		pfree(accumulator->value.number);
	pfree(accumulator);
}

/* Give out, and close, the periods that begin before an instant. */
static void
give_out(MeterMeasureWalk *walk, TimestampTz before)
{
	while (walk->periods != NULL && walk->periods->begin < before)
	{
		Period	   *period = walk->periods;

		while (period->first != NULL)
		{
			Accumulator *accumulator = period->first;
			Numeric		quantity = quantity_of(walk, accumulator);

			CHECK_FOR_INTERRUPTS();
			if (quantity != NULL)
				walk->emit(walk->emit_arg, accumulator->key->attrs[0],
						   accumulator->key->attrs + 1, period->begin,
						   quantity);
			MemoryContextReset(walk->measure_context);
			period->first = accumulator->next_of_period;
			free_accumulator(walk, accumulator);
		}
		if (walk->period == period)
			walk->period = NULL;
		walk->periods = period->next;
		pfree(period);
	}
}

/* --- counters --- */

/* Return the series of these dimensions, which may be new. */
static Series *
find_series(MeterMeasureWalk *walk, const MeterAttr *dimensions)
{
	Series	   *series;
	Named	   *entry;
	bool		found;

	if (walk->series_by_dimensions == NULL)
		walk->series_by_dimensions = named_create(walk->resource_context, 8,
												  &walk->ndimensions);
	entry = named_insert(walk->series_by_dimensions, dimensions, &found);
	if (found)
		return entry->what;

	meter_ask_growth(sizeof(Series));
	series = MemoryContextAllocZero(walk->resource_context, sizeof(Series));
	series->dimensions = meter_copy_attrs(walk->resource_context, dimensions,
										  walk->ndimensions);
	series->last.start = DT_NOBEGIN;
	entry->attrs = series->dimensions;
	entry->what = series;
	if (walk->last_series != NULL)
		walk->last_series->next = series;
	else
		walk->series = walk->next_series = series;
	walk->last_series = series;
	return series;
}

/* Take the carried reading of the series of these dimensions. */
void
meter_measure_walk_reading(MeterMeasureWalk *walk,
						   const MeterAttr *dimensions,
						   const MeterLastReading *last)
{
	Series	   *series = find_series(walk, dimensions);

	CHECK_FOR_INTERRUPTS();
	series->last = *last;
	keep(walk, &series->value, last->value);
	series->last.value = series->value.number;
}

/* Tell whether a series of these dimensions has a reading that counted. */
bool
meter_measure_walk_has_series(MeterMeasureWalk *walk,
							  const MeterAttr *dimensions)
{
	Named	   *entry = walk->series_by_dimensions == NULL ? NULL :
	named_lookup(walk->series_by_dimensions, dimensions);

	return entry != NULL && ((Series *) entry->what)->last.value != NULL;
}

/* Keep the account and the entity that the pending reading of a series names. */
static void
keep_payer(MeterMeasureWalk *walk, Series *series, const MeterAttr *payer)
{
	int32		size = 0;
	int			i;

	for (i = 0; i < 2; i++)
		size += Max(payer[i].len, 0);
	if (series->room < size)
	{
		if (series->chunk != NULL)
			pfree(series->chunk);
		series->room = Max(size, 16);
		series->chunk = MemoryContextAlloc(walk->resource_context,
										   series->room);
	}
	for (i = size = 0; i < 2; i++)
	{
		series->payer[i] = payer[i];
		if (payer[i].len <= 0)
			continue;
		memcpy(series->chunk + size, payer[i].data, payer[i].len);
		series->payer[i].data = series->chunk + size;
		size += payer[i].len;
	}
}

/*
 * Compare a reading with the pending one of a series: which of them counts that
 * is the greater one.
 */
static int
compare_pending(const Series *series, Numeric value, TimestampTz start,
				const MeterAttr *payer, int64 arrival)
{
	int			cmp = compare(value, series->pending.number);

	if (cmp == 0)
		cmp = start < series->start ? -1 : start > series->start;
	if (cmp == 0)
		cmp = meter_attr_cmp(payer[0], series->payer[0]);
	if (cmp == 0)
		cmp = meter_attr_cmp(payer[1], series->payer[1]);
	if (cmp == 0)
		cmp = arrival < series->arrival ? -1 : arrival > series->arrival;
	return cmp;
}

/* Keep a reading that was passed over until its instant ends. */
static void
keep_passed_over(MeterMeasureWalk *walk, Series *series, MeterCounted counted,
				 TimestampTz start, const MeterAttr *payer, Numeric value,
				 int64 arrival)
{
	MemoryContext before = MemoryContextSwitchTo(walk->resource_context);
	PassedOver *passed_over;

	meter_ask_growth(sizeof(PassedOver) + VARSIZE(value) +
					 Max(payer[0].len, 0) + Max(payer[1].len, 0));
	passed_over = palloc(sizeof(PassedOver));
	passed_over->counted = counted;
	passed_over->value = DatumGetNumericCopy(NumericGetDatum(value));
	passed_over->start = start;
	passed_over->payer = meter_copy_attrs(walk->resource_context, payer, 2);
	passed_over->arrival = arrival;
	passed_over->next = series->passed_over;
	series->passed_over = passed_over;
	MemoryContextSwitchTo(before);
}

/*
 * Take a reading.  Of several at one instant the greatest value that is not
 * passed over counts, then the latest start, then the greatest account and
 * entity, which are who pays it.
 */
static void
add_reading(MeterMeasureWalk *walk, TimestampTz start, TimestampTz time,
			const MeterAttr *payer, Numeric value,
			const MeterAttr *dimensions, int64 arrival)
{
	Series	   *series = find_series(walk, dimensions);
	Numeric		added;
	MeterCounted counted = meter_count_reading(&walk->counter, &series->last,
											   start, time, value, &added);

	if (MeterIsPassedOver(counted) && walk->increase == NULL)
		return;
	walk->instant = time;
	if (!series->is_pending)
	{
		series->is_pending = true;
		series->next_pending = walk->pending;
		walk->pending = series;
	}
	if (MeterIsPassedOver(counted))
	{
		keep_passed_over(walk, series, counted, start, payer, value, arrival);
		return;
	}
	if (series->pending.is_kept &&
		compare_pending(series, value, start, payer, arrival) <= 0)
		return;
	keep(walk, &series->pending, value);
	keep_payer(walk, series, payer);
	series->start = start;
	series->arrival = arrival;
}

/* Tell what became of a reading of the instant that ends. */
static void
tell_counted(MeterMeasureWalk *walk, Series *series, MeterCounted counted,
			 TimestampTz start, int64 arrival, Numeric value, Numeric added)
{
	MeterMeasureCounted told = {
		counted, series->dimensions, start, walk->instant, arrival, value,
		&series->last, added, walk->instant >= walk->from
	};

	walk->increase(walk->increase_arg, &told);
}

/*
 * Tell which readings of the instant that ends were passed over: those that are
 * less than the one that counts were not looked at.
 */
static void
tell_passed_over(MeterMeasureWalk *walk, Series *series)
{
	PassedOver *passed_over = series->passed_over;

	while (passed_over != NULL)
	{
		PassedOver *next = passed_over->next;

		if (!series->pending.is_kept ||
			compare_pending(series, passed_over->value, passed_over->start,
							passed_over->payer, passed_over->arrival) > 0)
			tell_counted(walk, series, passed_over->counted,
						 passed_over->start, passed_over->arrival,
						 passed_over->value, NULL);
		pfree(passed_over->value);
		pfree(passed_over);
		passed_over = next;
	}
	series->passed_over = NULL;
}

/* Return who pays the pending reading of a series. */
static MeterAttr
payer_of(MeterMeasureWalk *walk, const Series *series)
{
	TimestampTz until;

	if (!MeterAttrIsNull(series->payer[0]))
		return series->payer[0];
	walk->chain = meter_owners_of(walk->owners, series->payer[1]);
	if (meter_owners_unknown(walk->chain))
	{
		look_up_period(walk, Max(walk->instant, walk->from));
		meter_owners_bill_nobody(walk->owners, series->payer[1],
								 walk->period_begin);
	}
	return owner_at(walk, walk->instant, &until);
}

/*
 * Count the pending reading of a series, which becomes the last one.  What lies
 * before `from` adds nothing to what is asked for.
 */
static void
count_pending(MeterMeasureWalk *walk, Series *series)
{
	Kept		before = series->value;
	MeterAttr	account = payer_of(walk, series);
	Numeric		added;
	MeterCounted counted = meter_count_reading(&walk->counter, &series->last,
											   series->start, walk->instant,
											   series->pending.number, &added);

	if (walk->increase != NULL)
		tell_counted(walk, series, counted, series->start, series->arrival,
					 series->pending.number, added);
	if (added != NULL && walk->instant >= walk->from)
	{
		look_up_period(walk, walk->instant);
		add_number(walk,
				   open_accumulator(walk, open_key(walk, account,
												   series->dimensions)),
				   added);
	}
	series->value = series->pending;
	series->pending = before;
	series->pending.is_kept = false;
	series->last.start = meter_last_start(&series->last, series->start,
										  walk->instant);
	series->last.time = walk->instant;
	series->last.value = series->value.number;
	series->walked = true;
}

/* End the instant of the pending readings, of all series that have any. */
static void
add_increases(MeterMeasureWalk *walk)
{
	Series	   *series;

	for (series = walk->pending; series != NULL; series = series->next_pending)
	{
		CHECK_FOR_INTERRUPTS();
		tell_passed_over(walk, series);
		if (series->pending.is_kept)
			count_pending(walk, series);
		series->is_pending = false;
	}
	walk->pending = NULL;
}

/* Find the next series' last reading.  Returns false if there is none. */
bool
meter_measure_walk_next_reading(MeterMeasureWalk *walk,
								MeterMeasureReading *reading)
{
	Series	   *series = walk->next_series;

	/* of those that were passed over there is nothing to carry */
	while (series != NULL && series->last.value == NULL)
		series = series->next;
	walk->next_series = series != NULL ? series->next : NULL;
	if (series == NULL)
		return false;
	reading->dimensions = series->dimensions;
	reading->last = series->last;
	reading->walked = series->walked;
	return true;
}

/* --- measures --- */

/* Spread a value over the parts of its time, and add them up. */
static void
add_parts(MeterMeasureWalk *walk, TimestampTz start, TimestampTz end,
		  MeterAttr account, bool named, Numeric value,
		  const MeterAttr *dimensions)
{
	TimestampTz at = Max(start, walk->from);
	TimestampTz last = Min(end, walk->to);
	TimestampTz until = DT_NOEND;
	TimestampTz to;
	MeterSpread spread;
	const char *payer = NULL;
	Key		   *key = NULL;
	bool		cut = false;
	int64		digits;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!named)
			account = owner_at(walk, at, &until);
		look_up_period(walk, at);
		to = Min(Min(last, walk->period_end), until);
		/* of no length, or in a period that ends after time itself */
		if (to <= at)
			to = Max(last, at);
		if (key == NULL || account.data != payer)
			key = open_key(walk, account, dimensions);
		payer = account.data;

		if (at == start && to == end)
			add_number(walk, open_accumulator(walk, key), value);
		else
		{
			if (!cut)
				meter_spread_init(&spread, start, end, value);
			cut = true;
			if (meter_spread_small_part(&spread, at, to, &digits))
				add_digits(walk, open_accumulator(walk, key), digits,
						   spread.scale);
			else
				add_number(walk, open_accumulator(walk, key),
						   meter_spread_part(&spread, at, to));
		}
		if (walk->trace != NULL)
			walk->trace(walk->trace_arg,
						cut ? METER_MEASURE_CUT : METER_MEASURE_WHOLE,
						at, to, account,
						cut ? meter_spread_part(&spread, at, to) : value);
		at = to;
	} while (at < last);
}

/* Count a distinct value once. */
static void
count_word(MeterMeasureWalk *walk, Accumulator *accumulator, text * word)
{
	Size		size = VARSIZE_ANY_EXHDR(word);

	if (walk->word == NULL || VARSIZE_ANY_EXHDR(walk->word) != size ||
		memcmp(VARDATA_ANY(walk->word), VARDATA_ANY(word), size) != 0)
	{
		if (walk->word != NULL)
			pfree(walk->word);
		walk->word = MemoryContextAlloc(walk->resource_context,
										VARHDRSZ + size);
		SET_VARSIZE(walk->word, VARHDRSZ + size);
		memcpy(VARDATA(walk->word), VARDATA_ANY(word), size);
		walk->word_number++;
	}
	if (accumulator->u.count.word != walk->word_number)
	{
		accumulator->u.count.word = walk->word_number;
		accumulator->u.count.number++;
	}
}

/* Let the period of its start have a measure's value. */
static void
add_value(MeterMeasureWalk *walk, TimestampTz start, MeterAttr account,
		  Datum value, const MeterAttr *dimensions)
{
	Accumulator *accumulator;
	Numeric		number;
	int			cmp;

	look_up_period(walk, start);
	accumulator = open_accumulator(walk, open_key(walk, account, dimensions));
	if (walk->aggregate == METER_COUNT)
	{
		accumulator->u.count.number++;
		return;
	}
	if (walk->aggregate == METER_UNIQUE)
	{
		count_word(walk, accumulator, DatumGetTextPP(value));
		return;
	}
	number = DatumGetNumeric(value);
	if (accumulator->value.is_kept)
	{
		cmp = compare(number, accumulator->value.number);
		if (walk->aggregate == METER_MIN)
			cmp = -cmp;
		else if (walk->aggregate == METER_LATEST &&
				 start > accumulator->u.time)
			cmp = 1;
		if (cmp <= 0)
			return;
	}
	keep(walk, &accumulator->value, number);
	accumulator->u.time = start;
}

/* Take a reading of a counter. */
static void
take_reading(MeterMeasureWalk *walk, TimestampTz start, TimestampTz end,
			 MeterAttr account, MeterAttr entity, Datum value, bool isnull,
			 const MeterAttr *dimensions, int64 arrival)
{
	MeterAttr	payer[2] = {account, entity};
	TimestampTz until;

	if (walk->instant < end)
		add_increases(walk);
	look_up_period(walk, Max(end, walk->from));
	give_out(walk, walk->period_begin);
	walk->chain = meter_owners_of(walk->owners, entity);
	if (walk->trace != NULL)
		walk->trace(walk->trace_arg,
					end < walk->from ? METER_MEASURE_BASE : METER_MEASURE_SAYS,
					start, end,
					MeterAttrIsNull(account) ? owner_at(walk, end, &until) :
					account, NULL);
	if (!isnull)
		add_reading(walk, start, end, payer, DatumGetNumeric(value),
					dimensions, arrival);
}

/* Take a measure of the resource, of which some time is asked for. */
static void
add_measure(MeterMeasureWalk *walk, TimestampTz start, TimestampTz end,
			MeterAttr account, MeterAttr entity, Datum value, bool isnull,
			const MeterAttr *dimensions)
{
	bool		named = !MeterAttrIsNull(account);
	TimestampTz until;

	look_up_period(walk, Max(start, walk->from));
	walk->chain = meter_owners_of(walk->owners, entity);
	if (!named && meter_owners_unknown(walk->chain))
		meter_owners_bill_nobody(walk->owners, entity, walk->period_begin);
	give_out(walk, walk->period_begin);

	if (walk->aggregate == METER_SUM)
	{
		if (!isnull)
			add_parts(walk, start, end, account, named,
					  DatumGetNumeric(value), dimensions);
		return;
	}
	if (!named)
		account = owner_at(walk, start, &until);
	if (walk->trace != NULL)
		walk->trace(walk->trace_arg, METER_MEASURE_SAYS, start, end, account,
					NULL);
	if (!isnull || walk->aggregate == METER_COUNT)
		add_value(walk, start, account, value, dimensions);
}

/* Tell whether a measure is asked for. */
static bool
is_asked(const MeterMeasureWalk *walk, TimestampTz start, TimestampTz end)
{
	/* a counter's readings before that say from which value on it counts */
	if (walk->aggregate == METER_COUNTER)
		return end < walk->to;
	return start < walk->to &&
		(start >= walk->from ||
		 (walk->aggregate == METER_SUM && end > walk->from));
}

/*
 * Take a measure.  Without an account, NULL, it is the owner's; the value is a
 * number, for unique a text: texts are equal where values are.  The arrival is
 * for who is told of increases.
 */
void
meter_measure_walk_measure(MeterMeasureWalk *walk, TimestampTz start,
						   TimestampTz end, MeterAttr account,
						   MeterAttr entity, Datum value, bool isnull, const MeterAttr *dimensions,
						   int64 arrival)
{
	ErrorContextCallback errors;
	MemoryContext before;

	CHECK_FOR_INTERRUPTS();
	if (!is_asked(walk, start, end))
		return;
	meter_owners_end(walk->owners);
	errors.callback = error_context;
	errors.arg = walk;
	errors.previous = error_context_stack;
	error_context_stack = &errors;
	before = MemoryContextSwitchTo(walk->measure_context);
	if (walk->aggregate == METER_COUNTER)
		take_reading(walk, start, end, account, entity, value, isnull,
					 dimensions, arrival);
	else
		add_measure(walk, start, end, account, entity, value, isnull,
					dimensions);
	MemoryContextSwitchTo(before);
	MemoryContextReset(walk->measure_context);
	error_context_stack = errors.previous;
}

/* Give out what is left of the resource. */
void
meter_measure_walk_end(MeterMeasureWalk *walk)
{
	ErrorContextCallback errors;
	MemoryContext before;

	errors.callback = error_context;
	errors.arg = walk;
	errors.previous = error_context_stack;
	error_context_stack = &errors;
	before = MemoryContextSwitchTo(walk->measure_context);
	meter_owners_end(walk->owners);
	add_increases(walk);
	give_out(walk, DT_NOEND);
	MemoryContextSwitchTo(before);
	MemoryContextReset(walk->measure_context);
	error_context_stack = errors.previous;
}
