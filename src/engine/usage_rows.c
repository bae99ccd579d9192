/*
 * usage_rows.c
 *	  From the timeline of a resource to its usage rows.
 *
 * The timeline is rounded, cut into periods, and each part divided by the
 * unit; a row is named by what it is about.  What does not differ between
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
#include "core/rounding.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "engine/usage_rows.h"
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
		spec->names[i] = meter_attr(names[i], (int32) strlen(names[i]));
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
	spec->stream = meter_attr(definition->stream,
							  (int32) strlen(definition->stream));
	spec->meter = meter_attr(definition->name,
							 (int32) strlen(definition->name));
	spec->aggregate = definition->aggregate;
	spec->grid = *definition->grid;
	spec->rounding = definition->rounding;
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

/* Sum value times time by key for the current period. */
static void
sum_weighted(MeterUsageRows *rows)
{
	const MeterTimeline *timeline = rows->timeline;
	int32		i;

	rows->nkeys = 0;
	for (i = 0; i < timeline->nkeys; i++)
		rows->sums[i] = NULL;
	for (i = 0; i < rows->cutter.nparts; i++)
	{
		const MeterPart *part = &rows->cutter.parts[i];
		int32		key = timeline->labels[part->label].key;
		MeterAttr	value = meter_timeline_value(timeline, part->label);
		Datum		product;

		if (MeterAttrIsNull(value))
			continue;
		product = DirectFunctionCall2(numeric_mul,
									  NumericGetDatum(meter_numeric_from_attr(value)),
									  NumericGetDatum(int64_to_numeric(part->billed)));
		if (rows->sums[key] == NULL)
			rows->keys[rows->nkeys++] = key;
		else
			product = DirectFunctionCall2(numeric_add, product,
										  NumericGetDatum(rows->sums[key]));
		rows->sums[key] = DatumGetNumeric(product);
	}
}

/* Find the next key with its quantity.  Returns false if there is none. */
static bool
next_quantity(MeterUsageRows *rows, int32 *key, Numeric *quantity)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!rows->in_period)
		{
			if (!meter_cut_next(&rows->cutter))
				return false;
			rows->in_period = true;
			rows->next = 0;
			if (rows->spec->aggregate == METER_WEIGHTED)
				sum_weighted(rows);
		}
		if (rows->spec->aggregate == METER_DURATION)
		{
			if (rows->next < rows->cutter.nparts)
			{
				const MeterPart *part = &rows->cutter.parts[rows->next++];

				*key = part->label;
				*quantity = meter_quantity(part->billed, rows->spec->unit);
				return true;
			}
		}
		else
		{
			while (rows->next < rows->nkeys)
			{
				*key = rows->keys[rows->next++];
				*quantity = meter_quantity_weighted(rows->sums[*key],
													rows->spec->unit);
				/* a quantity of 0 makes no row */
				if (DatumGetBool(DirectFunctionCall2(numeric_ne,
													 NumericGetDatum(*quantity),
													 NumericGetDatum(int64_to_numeric(0)))))
					return true;
			}
		}
		rows->in_period = false;
	}
}

/*
 * Prepare to return the usage rows of a resource in [begin, end), whose
 * timeline it is.
 */
void
meter_usage_begin(MeterUsageRows *rows, MeterUsageSpec *spec,
				  const MeterTimeline *timeline, TimestampTz begin, TimestampTz end)
{
	int32		nkeys = Max(timeline->nkeys, 1);

	memset(rows, 0, sizeof(*rows));
	rows->spec = spec;
	rows->timeline = timeline;
	meter_round(&rows->rounded, timeline,
				spec->aggregate == METER_DURATION ?
				METER_KEYED_BY_KEY : METER_KEYED_BY_LABEL,
				spec->rounding, &spec->grid, METER_END);
	meter_cut_begin(&rows->cutter, &rows->rounded, &spec->grid, begin, end);
	rows->dimensions = palloc0(nkeys * sizeof(Datum));
	if (spec->aggregate == METER_WEIGHTED)
	{
		rows->sums = palloc(nkeys * sizeof(Numeric));
		rows->keys = palloc(nkeys * sizeof(int32));
	}
}

/* Find the next usage row.  Returns false if there is none. */
bool
meter_usage_next(MeterUsageRows *rows, MeterUsageRow *row)
{
	const MeterTimeline *timeline = rows->timeline;
	const MeterAttr *attrs;
	int32		key;

	if (!next_quantity(rows, &key, &row->quantity))
		return false;
	attrs = timeline->keys + (size_t) key * timeline->natts;
	if (rows->dimensions[key] == 0)
		rows->dimensions[key] = meter_usage_dimensions(rows->spec, attrs + 1);
	row->dimensions = rows->dimensions[key];
	row->account = MeterAttrIsNull(attrs[0]) ? meter_attr("", 0) : attrs[0];
	row->attrs = attrs + 1;
	row->period_start = rows->cutter.period_begin;
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
