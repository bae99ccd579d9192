/*
 * fold.c
 *	  The fold: one pass from the logs and the carried states to expected usage
 *	  and new states.
 *
 * Rows of the logs are scanned by plain queries (scan), put in the order of
 * the ledger's key: by a hash of the resource, then the resource, then time
 * (order), and walked one resource at a time, together with its carried state
 * (walk).  How usage comes of the rows is for a MeterUsage to say; what becomes
 * of it, for the ledger or another taker (sink).
 *
 * All scans see one snapshot: that of the query, or one of their own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "engine/fold.h"
#include "engine/ledger.h"
#include "engine/places.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/states.h"
#include "engine/usage.h"
#include "engine/usage_rows.h"
#include "pg/attr.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

static const Oid fold_types[METER_FOLD_NCOLUMNS] = {
	INT8OID, CHAROID, TIMESTAMPTZOID, CHAROID, TEXTOID, TEXTOID, NUMERICOID,
	TEXTOID, JSONBOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZARRAYOID
};

/* Is a resource being walked? */
static bool walks = false;

/* What was done since somebody began to count. */
static MeterFoldCount count;

/* Return the time in microseconds, for differences. */
int64
meter_fold_clock(void)
{
	instr_time	time;

	INSTR_TIME_SET_CURRENT(time);
	return (int64) INSTR_TIME_GET_MICROSEC(time);
}

/* Note what the sort took. */
static void
count_sort(MeterFold *fold)
{
	TuplesortInstrumentation stats;

	tuplesort_get_stats(fold->sort, &stats);
	count.sorted_bytes = Max(count.sorted_bytes, stats.spaceUsed * 1024);
	count.sorted_on_disk |= stats.spaceType == SORT_SPACE_TYPE_DISK;
}

/* How a query's rows go into the order. */
typedef struct FoldScan
{
	MeterFold  *fold;
	int			ncolumns;		/* that the query gives, from the first on,
								 * before the dimensions */
} FoldScan;

/* --- scan and order ------------------------------------------------------- */

/* See that a query gives what the order has: tables may have changed. */
static void
check_columns(void *arg, TupleDesc descriptor)
{
	FoldScan   *scan = arg;
	MeterFold  *fold = scan->fold;
	int			given = scan->ncolumns;
	int			i;

	for (i = 0; i < given + fold->definition->ndimensions; i++)
	{
		int			column = i < given ? METER_FOLD_FIRST + i :
		METER_FOLD_NCOLUMNS + i - given;

		if (i >= descriptor->natts ||
			TupleDescAttr(descriptor, i)->atttypid !=
			TupleDescAttr(fold->descriptor, column)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("a table of stream \"%s\" was changed during a step",
							fold->definition->stream),
					 errdetail("Column %d of what is read is of another type than meter expects.",
							   i + 1),
					 errhint("Restore the type of the column.")));
	}
}

/* Return what a row of a kind is to the order. */
MeterFoldClass
meter_fold_class(MeterRowKind kind)
{
	switch (kind)
	{
		case METER_ROW_ASKED:
			return METER_FOLD_ASKED;
		case METER_ROW_CARRIED_OPEN:
		case METER_ROW_CARRIED_CLOSED:
			return METER_FOLD_CARRIED;
		case METER_ROW_START:
		case METER_ROW_STOP:
		case METER_ROW_CHANGE:
		case METER_ROW_MEASURE:
			return METER_FOLD_HAPPENED;
		default:
			return METER_FOLD_OBSERVED;
	}
}

/* Put the row in the slot, which has what queries give, into the order. */
static void
put_row(MeterFold *fold)
{
	TupleTableSlot *put = fold->put;
	MemoryContext before;

	put->tts_values[METER_FOLD_CLASS] =
		CharGetDatum(meter_fold_class((MeterRowKind) DatumGetChar(put->tts_values[METER_FOLD_KIND])));
	put->tts_isnull[METER_FOLD_CLASS] = false;
	before = MemoryContextSwitchTo(fold->row_context);
	put->tts_values[METER_FOLD_HASH] =
		Int64GetDatum((int64) meter_hash_resource(fold->spec->stream,
												  fold->spec->meter,
												  meter_fold_text(put, METER_FOLD_RESOURCE)));
	MemoryContextSwitchTo(before);
	MemoryContextReset(fold->row_context);
	put->tts_isnull[METER_FOLD_HASH] = false;
	ExecStoreVirtualTuple(put);
	tuplesort_puttupleslot(fold->sort, put);
}

/* Put a row of a query into the order. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	FoldScan   *scan = arg;
	MeterFold  *fold = scan->fold;
	TupleTableSlot *put = fold->put;
	int			given = scan->ncolumns;
	int			natts = fold->natts;

	ExecClearTuple(put);
	memcpy(put->tts_values + METER_FOLD_FIRST, slot->tts_values,
		   given * sizeof(Datum));
	memcpy(put->tts_isnull + METER_FOLD_FIRST, slot->tts_isnull, given);
	memset(put->tts_isnull + METER_FOLD_FIRST + given, true,
		   METER_FOLD_NCOLUMNS - METER_FOLD_FIRST - given);
	memcpy(put->tts_values + METER_FOLD_NCOLUMNS, slot->tts_values + given,
		   (natts - METER_FOLD_NCOLUMNS) * sizeof(Datum));
	memcpy(put->tts_isnull + METER_FOLD_NCOLUMNS, slot->tts_isnull + given,
		   natts - METER_FOLD_NCOLUMNS);
	put_row(fold);
	count.rows++;
}

/*
 * Scan a query into the order.  It gives the columns from METER_FOLD_FIRST on
 * that come before `upto`, then the dimensions.
 */
void
meter_fold_scan(MeterFold *fold, const char *sql, int nargs, const Oid *types,
				const Datum *values, int upto)
{
	FoldScan	scan = {fold, upto - METER_FOLD_FIRST};

	meter_scan(sql, nargs, types, values, check_columns, take_row, &scan);
}

/* Put the resources that are asked for into the order: nothing may be left of one. */
static void
put_asked(MeterFold *fold)
{
	TupleTableSlot *put = fold->put;
	int64		i;

	for (i = 0; i < fold->asked->count; i++)
	{
		const MeterResource *resource = &fold->asked->list[i];
		text	   *name = cstring_to_text_with_len(resource->name.data,
													resource->name.len);

		CHECK_FOR_INTERRUPTS();
		ExecClearTuple(put);
		memset(put->tts_isnull, true, fold->natts);
		put->tts_values[METER_FOLD_RESOURCE] = PointerGetDatum(name);
		put->tts_values[METER_FOLD_KIND] = CharGetDatum(METER_ROW_ASKED);
		put->tts_values[METER_FOLD_TIME] = TimestampTzGetDatum(resource->from);
		put->tts_values[METER_FOLD_ARRIVAL] = Int64GetDatum(i);
		put->tts_isnull[METER_FOLD_RESOURCE] = put->tts_isnull[METER_FOLD_KIND] =
			put->tts_isnull[METER_FOLD_TIME] = put->tts_isnull[METER_FOLD_ARRIVAL] = false;
		put_row(fold);
		ExecClearTuple(put);
		pfree(name);
	}
}

/* Return the operator by which a type is sorted. */
static Oid
less_operator(Oid type)
{
	return lookup_type_cache(type, TYPECACHE_LT_OPR)->lt_opr;
}

/* Begin the order. */
static void
begin_order(MeterFold *fold)
{
	AttrNumber	keys[] = {METER_FOLD_HASH + 1, METER_FOLD_RESOURCE + 1,
	METER_FOLD_CLASS + 1, METER_FOLD_TIME + 1, METER_FOLD_SOURCE + 1};
	Oid			operators[] = {Int8LessOperator, TextLessOperator,
		less_operator(CHAROID), less_operator(TIMESTAMPTZOID),
	TextLessOperator};
	Oid			collations[] = {InvalidOid, C_COLLATION_OID, InvalidOid,
	InvalidOid, C_COLLATION_OID};
	bool		nulls_first[] = {true, true, true, true, true};

	/* only of unique values, the text decides */
	int			nkeys = lengthof(keys) -
	(fold->definition->aggregate == METER_UNIQUE ? 0 : 1);
	int			i;

	fold->natts = METER_FOLD_NCOLUMNS + fold->definition->ndimensions;
	fold->descriptor = CreateTemplateTupleDesc(fold->natts);
	for (i = 0; i < fold->natts; i++)
		TupleDescInitEntry(fold->descriptor, i + 1, NULL,
						   i < METER_FOLD_NCOLUMNS ? fold_types[i] : TEXTOID,
						   -1, 0);
	fold->sort = METER_BEGIN_SORT(fold->descriptor, nkeys, keys,
								  operators, collations, nulls_first,
								  METER_SORT_MEMORY);
	fold->put = MakeSingleTupleTableSlot(fold->descriptor, &TTSOpsVirtual);
}

/* --- walk ----------------------------------------------------------------- */

/* Return a text of a row, or NULL. */
MeterAttr
meter_fold_text(const TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? METER_NULL_ATTR :
		meter_attr_from_text(slot->tts_values[column]);
}

/* Return an instant of a row. */
TimestampTz
meter_fold_instant(const TupleTableSlot *slot, int column, TimestampTz none)
{
	return slot->tts_isnull[column] ? none :
		DatumGetTimestampTz(slot->tts_values[column]);
}

/* Begin a resource, whose name is copied. */
static void
begin_resource(MeterFold *fold, uint64 hash, MeterAttr resource)
{
	char	   *name = palloc(Max(resource.len, 1));

	memcpy(name, resource.data, resource.len);
	fold->resource = meter_attr(name, resource.len);
	fold->hash = hash;
	count.resources++;
	if (fold->ledger != NULL)
		meter_ledger_resource(fold->ledger, fold->resource, hash);
}

/* Read the next row of the order. */
static bool
next_row(MeterFold *fold, TupleTableSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	if (!tuplesort_gettupleslot(fold->sort, true, false, slot, NULL))
		return false;
	slot_getallattrs(slot);
	return true;
}

/* Compare the row in a slot with a resource, as the order does. */
static int
compare_row(MeterFold *fold, const TupleTableSlot *slot, uint64 hash,
			MeterAttr resource)
{
	uint64		row_hash = (uint64) DatumGetInt64(slot->tts_values[METER_FOLD_HASH]);
	MemoryContext before;
	int			cmp;

	if (row_hash != hash)
		return row_hash < hash ? -1 : 1;
	/* a long name has to be unpacked */
	before = MemoryContextSwitchTo(fold->row_context);
	cmp = meter_attr_cmp(meter_fold_text(slot, METER_FOLD_RESOURCE), resource);
	MemoryContextSwitchTo(before);
	MemoryContextReset(fold->row_context);
	return cmp;
}

/*
 * Walk all resources in their order: those with rows, and those with a state
 * where that may have to do with usage, or may be out of date.
 */
static void
walk(MeterFold *fold)
{
	static const MeterCarried none = {0};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(fold->descriptor,
													&TTSOpsMinimalTuple);
	MemoryContext before = MemoryContextSwitchTo(fold->resource_context);
	bool		all_states = fold->states != NULL && fold->asked == NULL &&
	(fold->usage->runs_on || !fold->carried);
	const MeterCarried *state = NULL;
	bool		row;

	row = next_row(fold, slot);
	if (all_states)
	{
		meter_states_read_all(fold->states);
		state = meter_states_next(fold->states);
	}
	while (row || state != NULL)
	{
		/* less than 0: the resource of the row is next, and has no state */
		int			cmp = !row ? 1 : state == NULL ? -1 :
		compare_row(fold, slot, state->hash, state->resource);

		if (cmp < 0)
			begin_resource(fold,
						   (uint64) DatumGetInt64(slot->tts_values[METER_FOLD_HASH]),
						   meter_fold_text(slot, METER_FOLD_RESOURCE));
		else
			begin_resource(fold, state->hash, state->resource);
		fold->state = cmp >= 0 ? state :
			fold->states != NULL && !all_states ?
			meter_states_find(fold->states, fold->hash, fold->resource) : &none;
		count.states += fold->state->exists;

		walks = true;
		fold->usage->begin(fold);
		while (row && cmp <= 0 &&
			   compare_row(fold, slot, fold->hash, fold->resource) == 0)
		{
			fold->usage->row(fold, slot);
			row = next_row(fold, slot);
		}
		fold->usage->end(fold);
		walks = false;

		MemoryContextReset(fold->resource_context);
		if (cmp >= 0)
		{
			CHECK_FOR_INTERRUPTS();
			state = meter_states_next(fold->states);
		}
	}
	MemoryContextSwitchTo(before);
	ExecDropSingleTupleTableSlot(slot);
}

/* --- the pass ------------------------------------------------------------- */

/*
 * Begin a pass over all that is settled of a meter.  The caller says what is
 * asked for, and what becomes of it, before meter_fold_run().
 */
MeterFold *
meter_fold_begin(const MeterUsage *usage, const MeterDefinition *definition,
				 const MeterProgress *progress)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "meter fold",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	MeterFold  *fold = palloc0(sizeof(MeterFold));

	fold->context = context;
	fold->definition = definition;
	fold->progress = progress;
	fold->usage = usage;
	fold->spec = meter_usage_spec(definition);
	fold->resource_context = AllocSetContextCreate(context, "meter resource",
												   ALLOCSET_DEFAULT_SIZES);
	fold->row_context = AllocSetContextCreate(context, "meter row",
											  ALLOCSET_SMALL_SIZES);
	fold->from = Max(definition->since, definition->boundary);
	fold->to = progress->watermark;
	fold->scope.from = DT_NOBEGIN;
	fold->scope.to = progress->watermark;
	fold->scope.settled_to = progress->watermark;
	fold->scope.safe = progress->logs[METER_LOG_EVENT].position;
	MemoryContextSwitchTo(before);
	return fold;
}

/* Find where the rows of the resources in the scope are. */
void
meter_fold_find_places(MeterFold *fold)
{
	int64		count = fold->asked != NULL ? fold->asked->count : 1;

	fold->scope.places.sealed = meter_sealed_for(fold->definition,
												 METER_LOG_EVENT, count);
	if (fold->usage->log == METER_LOG_MEASURE)
		fold->measure_places.sealed = meter_sealed_for(fold->definition,
													   METER_LOG_MEASURE, count);
}

/*
 * Tell whether an error came from walking one resource: it is about that
 * resource then.  What is written on the way is not part of the walk.
 */
bool
meter_fold_walks(void)
{
	return walks;
}

/* Begin to count anew. */
void
meter_fold_count_anew(void)
{
	memset(&count, 0, sizeof(count));
	walks = false;
}

/* Return what was done, to be read or added to. */
MeterFoldCount *
meter_fold_count(void)
{
	return &count;
}

/* Hand a row on to whoever takes it. */
void
meter_fold_emit(MeterFold *fold, const MeterUsageRow *row)
{
	walks = false;
	if (fold->emit != NULL)
		fold->emit(fold, row);
	else if (fold->ledger != NULL)
		meter_ledger_expect(fold->ledger, row);
	walks = true;
}

/* Go through everything once, and read what the ledger says of it. */
static void
run(void *arg)
{
	MeterFold  *fold = arg;
	int64		began = meter_fold_clock();
	int64		scanned;
	int64		sorted;

	walks = false;
	begin_order(fold);
	if (fold->asked != NULL)
	{
		fold->walked = meter_resources_begin();
		put_asked(fold);
	}
	fold->usage->scan(fold);
	scanned = meter_fold_clock();
	tuplesort_performsort(fold->sort);
	count_sort(fold);
	sorted = meter_fold_clock();
	walk(fold);
	tuplesort_end(fold->sort);
	ExecDropSingleTupleTableSlot(fold->put);
	if (fold->ledger != NULL && meter_ledger_compares(fold->ledger))
	{
		if (fold->walked != NULL)
			meter_ledger_read_resources(fold->ledger, fold->walked);
		else
			meter_ledger_read(fold->ledger, fold->from, fold->to);
	}
	count.scan_time += scanned - began;
	count.sort_time += sorted - scanned;
	count.walk_time += meter_fold_clock() - sorted;
}

/*
 * Make the pass.  All of its queries see one snapshot, which stays active until
 * meter_fold_end() if it is its own.
 */
void
meter_fold_run(MeterFold *fold)
{
	MemoryContext before = MemoryContextSwitchTo(fold->context);

	if (!fold->own_snapshot)
	{
		run(fold);
		MemoryContextSwitchTo(before);
		return;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_with_one_snapshot(run, fold);
	MemoryContextSwitchTo(before);
}

/* Write what the pass has kept, and forget it. */
void
meter_fold_end(MeterFold *fold)
{
	fold->usage->finish(fold);
	if (fold->own_snapshot)
	{
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	MemoryContextDelete(fold->context);
}
