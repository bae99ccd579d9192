/*
 * usage_rows.c
 *	  From the timeline of a resource to its usage rows.
 *
 * The timeline is rounded, cut into periods, and each part divided by the
 * unit; a row is named by what it is about.  Of a resource that is walked in
 * pieces there are in memory, besides what pieces.c names, the sums of the keys
 * of the open period, and of all periods before the resource has a name.  What does not differ between
 * resources is prepared once, in MeterUsageSpec.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/pieces.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "engine/usage_rows.h"
#include "pg/attr.h"
#include "pg/quantity.h"
#include "types/transaction_id.h"

/* Set the names of dimensions, and their order by bytes. */
void
meter_usage_spec_names(MeterUsageSpec *spec, int ndimensions, char **names)
{
	int			i;
	int			j;

	spec->ndimensions = ndimensions;
	spec->names = palloc(Max(ndimensions, 1) * sizeof(MeterAttr));
	spec->order = palloc(Max(ndimensions, 1) * sizeof(int));
	for (i = 0; i < ndimensions; i++)
	{
		spec->names[i] = meter_attr_from_cstring(names[i]);
		for (j = i; j > 0 && meter_attr_cmp(spec->names[spec->order[j - 1]],
											spec->names[i]) > 0; j--)
			spec->order[j] = spec->order[j - 1];
		spec->order[j] = i;
	}
}

/*
 * Return what usage rows depend on, of a definition that lives at least as
 * long.
 */
MeterUsageSpec *
meter_usage_spec(const MeterDefinition *definition)
{
	MeterUsageSpec *spec = palloc0(sizeof(MeterUsageSpec));

	spec->context = CurrentMemoryContext;
	spec->stream = meter_attr_from_cstring(definition->stream);
	spec->meter = meter_attr_from_cstring(definition->name);
	spec->aggregate = definition->aggregate;
	spec->grid = *definition->grid;
	spec->rounding = definition->rounding_of == METER_ROUND_RUN ?
		METER_ROUND_NONE : definition->rounding;
	if (definition->of_runs || definition->liveness > 0)
	{
		spec->runs.liveness = definition->liveness;
		if (definition->rounding_of == METER_ROUND_RUN)
			spec->runs.increment = definition->increment_usec;
		spec->runs.minimum = definition->minimum;
		spec->runs.counts = definition->aggregate == METER_RUNS;
		spec->rules = &spec->runs;
	}
	spec->unit = definition->unit;
	meter_usage_spec_names(spec, definition->ndimensions,
						   definition->dimension_names);
	return spec;
}

/* Make a jsonb of dimensions: all names, null where unknown. */
static Datum
make_jsonb(const MeterUsageSpec *spec, const MeterAttr *attrs)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	int			i;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (i = 0; i < spec->ndimensions; i++)
	{
		JsonbValue	value;

		value.type = jbvString;
		value.val.string.val = (char *) spec->names[i].data;
		value.val.string.len = spec->names[i].len;
		pushJsonbValue(&state, WJB_KEY, &value);
		if (MeterAttrIsNull(attrs[i]))
			value.type = jbvNull;
		else
		{
			value.val.string.val = (char *) attrs[i].data;
			value.val.string.len = attrs[i].len;
		}
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(result));
}

/*
 * Return a jsonb of dimensions, which may be shared and must not be changed.
 */
Datum
meter_usage_dimensions(MeterUsageSpec *spec, const MeterAttr *attrs)
{
	MeterKnownDimensions *known;
	MemoryContext before;
	uint32		hash = 0;
	bool		same = true;
	int			i;

	for (i = 0; i < spec->ndimensions; i++)
		hash = hash * 31 + (MeterAttrIsNull(attrs[i]) ? 1 :
							DatumGetUInt32(hash_any((const unsigned char *) attrs[i].data,
													attrs[i].len)));
	known = &spec->known[hash & (METER_KNOWN_DIMENSIONS - 1)];
	if (known->attrs == NULL)
	{
		before = MemoryContextSwitchTo(spec->context);
		known->jsonb = make_jsonb(spec, attrs);
		known->attrs = meter_copy_attrs(spec->context, attrs, spec->ndimensions);
		MemoryContextSwitchTo(before);
	}
	for (i = 0; i < spec->ndimensions && same; i++)
		same = meter_attr_equal(known->attrs[i], attrs[i]);
	return same ? known->jsonb : make_jsonb(spec, attrs);
}

/* Name the first row of a key: an account and dimensions in the meter's order. */
void
meter_usage_name(const MeterUsageSpec *spec, const MeterNaming *naming,
				 MeterAttr account, const MeterAttr *attrs,
				 TimestampTz period_start, pg_uuid_t *name)
{
	MeterDimension dimensions[METER_MAX_DIMENSIONS];
	int			i;

	for (i = 0; i < spec->ndimensions; i++)
	{
		dimensions[i].name = spec->names[spec->order[i]];
		dimensions[i].value = attrs[spec->order[i]];
	}
	meter_name_usage(naming, account, spec->ndimensions, dimensions,
					 period_start, 0, name);
}

/* Make room for all keys there are. */
static void
add_keys(MeterUsageRows *rows)
{
	int32		nkeys = Max(rows->timeline->nkeys, 1);
	int32		before = rows->maxkeys;
	Size		size;

	if (nkeys <= before)
		return;
	rows->maxkeys = before == 0 ? nkeys : Max(nkeys, 2 * before);
	size = rows->maxkeys * sizeof(int32);
	meter_ask_growth(size);
	rows->sum_of = before == 0 ? MemoryContextAlloc(rows->context, size) :
		repalloc_huge(rows->sum_of, size);
	memset(rows->sum_of + before, 0, (rows->maxkeys - before) * sizeof(int32));
}

/* Return the sum of a key in the open period, a new one if it has none. */
static MeterUsageSum *
find_sum(MeterUsageRows *rows, int32 key)
{
	int32		number = rows->sum_of[key];
	MeterUsageSum *sum;

	if (number >= rows->ncomplete && number < rows->nsums &&
		rows->sums[number].key == key)
		return &rows->sums[number];
	if (rows->nsums == rows->maxsums)
	{
		rows->maxsums = Max(2, 2 * rows->maxsums);
		meter_ask_growth(rows->maxsums * sizeof(MeterUsageSum));
		rows->sums = rows->sums == NULL ?
			MemoryContextAlloc(rows->context,
							   rows->maxsums * sizeof(MeterUsageSum)) :
			repalloc_huge(rows->sums, rows->maxsums * sizeof(MeterUsageSum));
	}
	rows->sum_of[key] = rows->nsums;
	sum = &rows->sums[rows->nsums++];
	sum->period_start = rows->pieces.cutter.period_begin;
	sum->key = key;
	sum->billed = 0;
	sum->weighted = NULL;
	return sum;
}

/* Add value times time to a sum. */
static void
add_weighted(MeterUsageRows *rows, int32 key, MeterAttr value, int64 billed)
{
	MemoryContext before = MemoryContextSwitchTo(rows->context);
	MeterUsageSum *sum = find_sum(rows, key);
	Numeric		number = meter_numeric_from_attr(value);
	Numeric		time = int64_to_numeric(billed);
	Numeric		product = DatumGetNumeric(DirectFunctionCall2(numeric_mul,
															  NumericGetDatum(number),
															  NumericGetDatum(time)));

	pfree(number);
	pfree(time);
	if (sum->weighted == NULL)
		sum->weighted = product;
	else
	{
		Numeric		total = sum->weighted;

		sum->weighted = DatumGetNumeric(DirectFunctionCall2(numeric_add,
															NumericGetDatum(product),
															NumericGetDatum(total)));
		pfree(total);
		pfree(product);
	}
	MemoryContextSwitchTo(before);
}

/* Add the parts of a cut to the sums of the open period. */
static void
add_parts(MeterUsageRows *rows)
{
	const MeterCutter *cutter = &rows->pieces.cutter;
	const MeterTimeline *timeline = rows->timeline;
	int32		i;

	for (i = 0; i < cutter->nparts; i++)
	{
		const MeterPart *part = &cutter->parts[i];

		if (rows->spec->aggregate != METER_WEIGHTED)
			find_sum(rows, part->label)->billed += part->billed;
		else
		{
			MeterAttr	value = meter_timeline_value(timeline, part->label);

			if (!MeterAttrIsNull(value))
				add_weighted(rows, timeline->labels[part->label].key, value,
							 part->billed);
		}
	}
}

/*
 * Find the next sum of a period that is complete.  Where the resource has no
 * name yet, there is none: the first name is that of all before it.
 */
static MeterUsageSum *
next_sum(MeterUsageRows *rows)
{
	bool		last = rows->pieces.last;
	bool		named = last || rows->pieces.walk.named;
	MeterCutter *cutter = &rows->pieces.cutter;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (rows->next < rows->ncomplete && named)
			return &rows->sums[rows->next++];
		if (!rows->in_cut)
		{
			if (!meter_cut_next(cutter))
			{
				if (!last || rows->ncomplete == rows->nsums)
					return NULL;
				rows->ncomplete = rows->nsums;
				continue;
			}
			rows->in_cut = true;
			if (rows->ncomplete < rows->nsums &&
				rows->sums[rows->ncomplete].period_start != cutter->period_begin)
			{
				rows->ncomplete = rows->nsums;
				continue;
			}
		}
		if (rows->next == rows->nsums)
			rows->next = rows->ncomplete = rows->nsums = 0;
		add_parts(rows);
		rows->in_cut = false;
		if (last)
			rows->ncomplete = rows->nsums;
	}
}

/* Prepare what does not depend on where the timeline comes from. */
static void
begin_rows(MeterUsageRows *rows, MeterUsageSpec *spec)
{
	rows->context = CurrentMemoryContext;
	rows->spec = spec;
	rows->maxkeys = 0;
	rows->dimensions = NULL;
	rows->nsums = rows->maxsums = 0;
	rows->sums = NULL;
	rows->ncomplete = rows->next = 0;
	rows->in_cut = false;
}

/* Return what is to be told apart when the timeline is rounded. */
static MeterKeyed
keyed_by(const MeterUsageSpec *spec)
{
	return spec->aggregate == METER_WEIGHTED ? METER_KEYED_BY_LABEL :
		METER_KEYED_BY_KEY;
}

/*
 * Prepare to return the usage rows of a resource in [begin, end), whose
 * timeline it is.
 */
void
meter_usage_begin(MeterUsageRows *rows, MeterUsageSpec *spec,
				  const MeterTimeline *timeline, TimestampTz begin, TimestampTz end)
{
	MeterPieces *pieces = &rows->pieces;

	begin_rows(rows, spec);
	rows->timeline = timeline;
	meter_round_begin(&pieces->rounded, timeline, keyed_by(spec),
					  spec->rounding, &spec->grid, METER_END);
	meter_round_spans(&pieces->rounded, timeline->spans,
					  spec->runs.counts ? 0 : timeline->nspans, true);
	meter_cut_begin(&pieces->cutter, &pieces->rounded, &spec->grid, begin,
					end);
	meter_cut_marks(&pieces->cutter, timeline->nmarks);
	pieces->last = true;
	add_keys(rows);
	rows->dimensions = palloc0(rows->maxkeys * sizeof(Datum));
}

/*
 * Prepare to walk a resource in [begin, end) by meter_usage_advance().  Its
 * carried state and all observations have been collected.
 */
void
meter_usage_walk(MeterUsageRows *rows, MeterUsageSpec *spec,
				 MeterCollected *collected, TimestampTz begin,
				 TimestampTz end)
{
	MeterCut	cut = {keyed_by(spec), spec->rounding, &spec->grid, begin, end};

	begin_rows(rows, spec);
	meter_collected_begin(collected, &rows->pieces, &cut);
	rows->timeline = rows->pieces.walk.builder.timeline;
}

/* Forget keys of which no sum is to be given out any more. */
static void
compact(MeterUsageRows *rows)
{
	int32	   *keys = meter_pieces_keys(&rows->pieces);
	int32		i;

	for (i = rows->next; i < rows->nsums; i++)
		keys[rows->sums[i].key] = 1;
	meter_pieces_compact(&rows->pieces, keys);
	for (i = rows->next; i < rows->nsums; i++)
		rows->sums[i].key = keys[rows->sums[i].key];
	for (i = rows->ncomplete; i < rows->nsums; i++)
		rows->sum_of[rows->sums[i].key] = i;
	pfree(keys);
}

/*
 * Take the events that have been collected.  Then all rows that there are have
 * to be taken before more events are.
 */
void
meter_usage_advance(MeterUsageRows *rows, bool last)
{
	MemoryContext before = MemoryContextSwitchTo(rows->context);
	bool		whole = last && rows->maxkeys == 0;

	if (!whole && meter_pieces_crowded(&rows->pieces))
		compact(rows);
	if (!meter_pieces_advance(&rows->pieces, last))
		meter_too_many_events();
	add_keys(rows);
	if (whole)
		rows->dimensions = palloc0(rows->maxkeys * sizeof(Datum));
	MemoryContextSwitchTo(before);
}

/* Return the dimensions of a key. */
static Datum
key_dimensions(MeterUsageRows *rows, int32 key, const MeterAttr *attrs)
{
	MemoryContext before;

	if (rows->dimensions == NULL)
		return meter_usage_dimensions(rows->spec, attrs);
	if (rows->dimensions[key] == 0)
	{
		before = MemoryContextSwitchTo(rows->context);
		rows->dimensions[key] = meter_usage_dimensions(rows->spec, attrs);
		MemoryContextSwitchTo(before);
	}
	return rows->dimensions[key];
}

/*
 * Find the next usage row.  Returns false if there is none, or none yet.  What
 * is made for the row is in the current memory context.
 */
bool
meter_usage_next(MeterUsageRows *rows, MeterUsageRow *row)
{
	const MeterTimeline *timeline = rows->timeline;
	const MeterAttr *attrs;
	MeterUsageSum *sum;

	for (;;)
	{
		sum = next_sum(rows);
		if (sum == NULL)
			return false;
		if (rows->spec->aggregate != METER_WEIGHTED)
		{
			row->quantity = meter_quantity(sum->billed, rows->spec->runs.counts ?
										   1 : rows->spec->unit);
			break;
		}
		row->quantity = meter_quantity_weighted(sum->weighted,
												rows->spec->unit);
		pfree(sum->weighted);
		/* a quantity of 0 makes no row */
		if (!meter_numeric_is_zero(row->quantity))
			break;
	}
	attrs = timeline->keys + (size_t) sum->key * timeline->natts;
	row->dimensions = key_dimensions(rows, sum->key, attrs + 1);
	row->account = MeterAttrIsNull(attrs[0]) ? meter_attr("", 0) : attrs[0];
	row->attrs = attrs + 1;
	row->period_start = sum->period_start;
	return true;
}

/*
 * Return the quantity of a resource that runs, with a value (NULL: none), all of
 * a period of that length; however it is rounded, that is all of it.  Returns
 * NULL if there is none.
 */
Numeric
meter_usage_whole(const MeterUsageSpec *spec, int64 length, Numeric value)
{
	if (spec->aggregate == METER_DURATION)
		return meter_quantity(length, spec->unit);
	if (value == NULL)
		return NULL;
	return meter_quantity_weighted(DatumGetNumeric(DirectFunctionCall2(numeric_mul,
																	   NumericGetDatum(value),
																	   NumericGetDatum(int64_to_numeric(length)))),
								   spec->unit);
}
