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
 *
 * An error that the walk of a resource raises is about that resource, if it is
 * of the data or at a limit (SQLSTATE classes 22 and 54).  It is caught without
 * a subtransaction, so the walk acquires nothing that would have to be released:
 * rows are read, and results written, outside of it (meter_fold_pause).  What it
 * gives out is held back until it has ended, or, where that is much, taken out
 * of the sort it is in.  What it takes is counted before it is asked for, and
 * more than meter.resource_memory is such an error, too.
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
#include "catalog/stream.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "engine/fold.h"
#include "engine/ledger.h"
#include "engine/places.h"
#include "engine/quarantine.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/state_counts.h"
#include "engine/states.h"
#include "engine/usage.h"
#include "engine/usage_rows.h"
#include "pg/attr.h"
#include "pg/meter_compat.h"
#include "pg/operation.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

static const Oid fold_types[METER_FOLD_NCOLUMNS] = {
	INT8OID, CHAROID, TIMESTAMPTZOID, CHAROID, TEXTOID, TEXTOID, NUMERICOID,
	TEXTOID, JSONBOID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZARRAYOID, BOOLOID,
	TIMESTAMPTZOID, INT8OID, TEXTARRAYOID
};

/* What a resource takes is had in blocks of so many bytes, and more. */
#define RESOURCE_BLOCK	(32 * 1024)

/* So many bytes of usage are held back, where it can be taken back later. */
#define STAGED_BYTES	(1024 * 1024)

/* Is a resource being walked, and nothing read or written meanwhile? */
static bool walks = false;

/* The pass in which that is. */
static MeterFold *walking = NULL;

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
		fold->first_dimension + i - given;

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

/*
 * Return what a row of a kind is to the order.  Measures look back to owners,
 * who to events come in turn.
 */
MeterFoldClass
meter_fold_class(const MeterFold *fold, MeterRowKind kind)
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
		case METER_ROW_END:
		case METER_ROW_MEASURE:
			return METER_FOLD_HAPPENED;
		case METER_ROW_OWNER:
		case METER_ROW_OBSERVED_OWNER:
			return fold->usage->log == METER_LOG_EVENT ?
				METER_FOLD_HAPPENED : METER_FOLD_OBSERVED;
		default:
			return METER_FOLD_OBSERVED;
	}
}

/*
 * Fetch the values of a row that lie elsewhere, so that the walk need not.
 */
static void
fetch_values(MeterFold *fold)
{
	TupleTableSlot *put = fold->put;
	int			i;

	for (i = METER_FOLD_FIRST; i < fold->natts; i++)
	{
		if (put->tts_isnull[i] ||
			TupleDescAttr(fold->descriptor, i)->attlen != -1)
			continue;
		if (VARATT_IS_EXTERNAL(DatumGetPointer(put->tts_values[i])))
			put->tts_values[i] = meter_fetch(put->tts_values[i]);
	}
}

/* Put the row in the slot, which has what queries give, into the order. */
static void
put_row(MeterFold *fold)
{
	TupleTableSlot *put = fold->put;
	MeterRowKind kind = (MeterRowKind) DatumGetChar(put->tts_values[METER_FOLD_KIND]);
	TimestampTz time = meter_fold_instant(put, METER_FOLD_TIME, DT_NOBEGIN);
	MemoryContext before;

	/* the unique values of a period are in order, whatever their times */
	if (kind == METER_ROW_MEASURE &&
		fold->definition->aggregate == METER_UNIQUE &&
		!TIMESTAMP_NOT_FINITE(time))
		put->tts_values[METER_FOLD_TIME] =
			TimestampTzGetDatum(meter_grid_period_begin(&fold->spec->grid,
														time));
	put->tts_values[METER_FOLD_CLASS] = CharGetDatum(meter_fold_class(fold, kind));
	put->tts_isnull[METER_FOLD_CLASS] = false;
	before = MemoryContextSwitchTo(fold->row_context);
	fetch_values(fold);
	put->tts_values[METER_FOLD_HASH] =
		Int64GetDatum((int64) meter_hash_resource(fold->spec->stream,
												  fold->spec->meter,
												  meter_fold_text(put, METER_FOLD_RESOURCE)));
	MemoryContextSwitchTo(before);
	put->tts_isnull[METER_FOLD_HASH] = false;
	ExecStoreVirtualTuple(put);
	tuplesort_puttupleslot(fold->sort, put);
	MemoryContextReset(fold->row_context);
}

/* Put a row of a query into the order. */
static void
take_row(void *arg, TupleTableSlot *slot)
{
	FoldScan   *scan = arg;
	MeterFold  *fold = scan->fold;
	TupleTableSlot *put = fold->put;
	int			given = scan->ncolumns;
	int			first = fold->first_dimension;
	int			ndimensions = fold->natts - first;

	ExecClearTuple(put);
	memcpy(put->tts_values + METER_FOLD_FIRST, slot->tts_values,
		   given * sizeof(Datum));
	memcpy(put->tts_isnull + METER_FOLD_FIRST, slot->tts_isnull, given);
	memset(put->tts_isnull + METER_FOLD_FIRST + given, true,
		   first - METER_FOLD_FIRST - given);
	memcpy(put->tts_values + first, slot->tts_values + given,
		   ndimensions * sizeof(Datum));
	memcpy(put->tts_isnull + first, slot->tts_isnull + given, ndimensions);
	put_row(fold);
	count.rows++;
	meter_operation_count();
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

/* Tell whether the states at the retention boundary are scanned. */
bool
meter_fold_has_boundary(const MeterFold *fold)
{
	return !fold->carried && !TIMESTAMP_IS_NOBEGIN(fold->definition->boundary);
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

	fold->first_dimension = fold->usage->log == METER_LOG_MEASURE ?
		METER_FOLD_NMEASURE :
		meter_fold_has_boundary(fold) ? METER_FOLD_NCOLUMNS : METER_FOLD_NEVENT;
	fold->natts = fold->first_dimension + fold->definition->ndimensions;
	fold->descriptor = CreateTemplateTupleDesc(fold->natts);
	for (i = 0; i < fold->natts; i++)
		TupleDescInitEntry(fold->descriptor, i + 1, NULL,
						   i < fold->first_dimension ? fold_types[i] : TEXTOID,
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
static void
next_row(MeterFold *fold, TupleTableSlot *slot)
{
	meter_fold_pause();
	CHECK_FOR_INTERRUPTS();
	fold->has_row = tuplesort_gettupleslot(fold->sort, true, false, slot, NULL);
	meter_operation_count();
	if (fold->has_row)
		slot_getallattrs(slot);
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

/* Tell whether the row in the slot, if there is one, is of the resource. */
static bool
is_of_resource(MeterFold *fold, const TupleTableSlot *slot)
{
	return fold->has_row &&
		compare_row(fold, slot, fold->hash, fold->resource) == 0;
}

/* Note how the resource is asked for, if the row in the slot says that it is. */
static void
note_asked(MeterFold *fold, const TupleTableSlot *slot)
{
	/* measures look back to owners first */
	const MeterResources *asked = fold->usage->log == METER_LOG_MEASURE ?
	fold->walked : fold->asked;

	if (DatumGetChar(slot->tts_values[METER_FOLD_KIND]) == METER_ROW_ASKED)
		fold->affected = &asked->list[DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL])];
}

/*
 * Return from when on the resource is not settled, if the pass leaves it out:
 * what is carried or kept of it does not know the rows from then on.
 */
static TimestampTz
unsettled_since(MeterFold *fold)
{
	TimestampTz since = fold->from;

	/* where no usage is asked for, nobody knows; readings were forgotten */
	if (TIMESTAMP_IS_NOEND(since) || fold->failure == METER_FOLD_TRIES ||
		(fold->definition->aggregate == METER_COUNTER && !fold->carried &&
		 fold->affected == NULL))
		return meter_usage_from(fold->definition);
	if (fold->affected != NULL)
	{
		/* also before usage begins: what is known later depends on it */
		since = Min(fold->affected->from, fold->affected->known_from);
		if (!TIMESTAMP_NOT_FINITE(since))
			since = meter_grid_period_begin(&fold->spec->grid, since);
	}
	/* who is named now owns what was billed to nobody */
	if (fold->state->exists)
		since = Min(since, fold->state->unnamed_since);
	return since;
}

/* --- what a resource takes ------------------------------------------------ */

/* Raise that the resource takes too much, if it does with so many bytes more. */
static void
check_memory(size_t more)
{
	Size		share = (Size) meter_resource_memory * 1024;
	Size		taken = walking->staged_bytes +
	walking->resource_context->mem_allocated;

	if (walking->walk_context != NULL)
		taken += walking->walk_context->mem_allocated;
	if (more > share || taken > share - more)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a resource takes more memory than \"meter.resource_memory\", %d kB",
						meter_resource_memory),
				 errhint("Too much of it is open at once: accounts and dimensions in one period, observations, or events of one instant.")));
}

/* Begin to read or write: an error then is not about the resource. */
void
meter_fold_pause(void)
{
	walks = false;
	meter_before_growth = NULL;
}

/* Go on with the walk of the resource. */
void
meter_fold_go_on(void)
{
	walks = true;
	meter_before_growth = check_memory;
}

/* Let who looks on see a row. */
void
meter_fold_look(MeterFold *fold, MeterRowKind kind, TimestampTz time,
				const TupleTableSlot *slot)
{
	if (fold->look == NULL || fold->look->row == NULL)
		return;
	meter_fold_pause();
	fold->look->row(fold, kind, time, slot);
	meter_fold_go_on();
}

/* --- usage of the resource ------------------------------------------------ */

/* Hand on the usage that was held back. */
static void
hand_on(MeterFold *fold)
{
	const MeterStagedRow *staged;
	MemoryContext before;

	for (staged = fold->staged; staged != NULL; staged = staged->next)
	{
		if (fold->emit != NULL)
		{
			before = MemoryContextSwitchTo(fold->row_context);
			fold->emit(fold, &staged->row);
			MemoryContextSwitchTo(before);
			MemoryContextReset(fold->row_context);
		}
		else if (fold->ledger != NULL)
			meter_ledger_expect(fold->ledger, &staged->row);
	}
}

/* Forget the usage that was held back. */
static void
forget_staged(MeterFold *fold)
{
	if (fold->staged == NULL)
		return;
	MemoryContextReset(fold->staged_context);
	fold->staged = NULL;
	fold->staged_end = &fold->staged;
	fold->staged_bytes = 0;
}

/*
 * Drop the usage of the resource that was given out, where all of it is held
 * back: it is computed otherwise.
 */
void
meter_fold_drop(MeterFold *fold)
{
	Assert(fold->emit != NULL && fold->take_back == NULL);
	forget_staged(fold);
}

/* Append an attribute to bytes, and return it as it is there. */
static MeterAttr
put_attr(char **at, MeterAttr attr)
{
	MeterAttr	put = attr;

	if (attr.len > 0)
	{
		memcpy(*at, attr.data, attr.len);
		put.data = *at;
		*at += attr.len;
	}
	return put;
}

/*
 * Take usage of the resource.  It is handed on when the walk has ended well, or
 * before, if there is much, and it can be taken out of a sort, or taken back.
 */
void
meter_fold_emit(MeterFold *fold, const MeterUsageRow *row)
{
	int			ndimensions = fold->definition->ndimensions;
	Size		jsonb_size = VARSIZE_ANY(DatumGetPointer(row->dimensions));
	Size		size = MAXALIGN(sizeof(MeterStagedRow)) +
	MAXALIGN(ndimensions * sizeof(MeterAttr)) +
	MAXALIGN(VARSIZE(row->quantity)) + MAXALIGN(jsonb_size) +
	Max(row->account.len, 0);
	MeterStagedRow *staged;
	MeterAttr  *attrs;
	char	   *at;
	int			i;

	for (i = 0; i < ndimensions; i++)
		size += Max(row->attrs[i].len, 0);
	meter_ask_growth(size);
	staged = MemoryContextAlloc(fold->staged_context, size);
	at = (char *) staged + MAXALIGN(sizeof(MeterStagedRow));
	attrs = (MeterAttr *) at;
	at += MAXALIGN(ndimensions * sizeof(MeterAttr));
	staged->row.quantity = (Numeric) memcpy(at, row->quantity,
											VARSIZE(row->quantity));
	at += MAXALIGN(VARSIZE(row->quantity));
	staged->row.dimensions =
		PointerGetDatum(memcpy(at, DatumGetPointer(row->dimensions), jsonb_size));
	at += MAXALIGN(jsonb_size);
	staged->row.account = put_attr(&at, row->account);
	for (i = 0; i < ndimensions; i++)
		attrs[i] = put_attr(&at, row->attrs[i]);
	staged->row.attrs = attrs;
	staged->row.period_start = row->period_start;
	staged->next = NULL;
	*fold->staged_end = staged;
	fold->staged_end = &staged->next;
	fold->staged_bytes += size;

	if (fold->staged_bytes >= STAGED_BYTES &&
		(fold->emit != NULL ? fold->take_back != NULL :
		 fold->ledger == NULL || meter_ledger_sorts(fold->ledger)))
	{
		meter_fold_pause();
		hand_on(fold);
		forget_staged(fold);
		meter_fold_go_on();
	}
}

/* --- the walk of a resource ----------------------------------------------- */

/* Tell whether the error that was caught is about the resource at hand. */
static bool
is_about_resource(const MeterFold *fold)
{
	int			category = ERRCODE_TO_CATEGORY(geterrcode());

	return walks && fold->failure != METER_FOLD_RAISES &&
		(category == ERRCODE_DATA_EXCEPTION ||
		 category == ERRCODE_PROGRAM_LIMIT_EXCEEDED);
}

/* Set the resource aside, for the error that was caught. */
static void
set_aside(MeterFold *fold)
{
	MemoryContext before = MemoryContextSwitchTo(fold->context);
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	meter_quarantine_add(fold->quarantine, fold->resource,
						 unsettled_since(fold), error);
	FreeErrorData(error);
	MemoryContextSwitchTo(before);
}

/*
 * Walk the resource, whose rows are next in the order, if it has any.  Returns
 * false, with nothing given out, if it had to be set aside.
 */
static bool
walk_guarded(MeterFold *fold, TupleTableSlot *slot, bool any_rows)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	uint32		cancel_holdoff = QueryCancelHoldoffCount;
	volatile bool done = false;

	PG_TRY();
	{
		meter_fold_go_on();
		fold->usage->begin(fold);
		while (any_rows && is_of_resource(fold, slot))
		{
			note_asked(fold, slot);
			meter_fold_go_on();
			check_memory(0);
			fold->usage->row(fold, slot);
			next_row(fold, slot);
		}
		meter_fold_go_on();
		fold->usage->end(fold);
		meter_fold_pause();
		done = true;
	}
	PG_CATCH();
	{
		bool		about_resource = is_about_resource(fold);

		meter_fold_pause();
		if (!about_resource)
			PG_RE_THROW();
		/* raising an error has let all interrupts in */
		InterruptHoldoffCount = holdoff;
		QueryCancelHoldoffCount = cancel_holdoff;
		MemoryContextSwitchTo(context);
		set_aside(fold);
	}
	PG_END_TRY();
	return done;
}

/* Pass over the rows of the resource, if it has any. */
static void
pass_over(MeterFold *fold, TupleTableSlot *slot, bool any_rows)
{
	while (any_rows && is_of_resource(fold, slot))
	{
		note_asked(fold, slot);
		next_row(fold, slot);
	}
}

/* Walk the resource, or pass it over if it is set aside. */
static void
walk_resource(MeterFold *fold, TupleTableSlot *slot, bool any_rows)
{
	MeterSetAside *aside = meter_quarantine_find(fold->quarantine,
												 fold->resource);

	fold->affected = NULL;
	if (aside != NULL)
	{
		pass_over(fold, slot, any_rows);
		if (fold->affected != NULL && !TIMESTAMP_IS_NOEND(fold->from))
			meter_quarantine_extend(fold->quarantine, aside,
									unsettled_since(fold));
	}
	else if (walk_guarded(fold, slot, any_rows))
		hand_on(fold);
	else
	{
		if (fold->take_back != NULL)
			fold->take_back(fold);
		pass_over(fold, slot, any_rows);
	}
	forget_staged(fold);
	MemoryContextReset(fold->resource_context);
	if (fold->walk_context != NULL)
		MemoryContextReset(fold->walk_context);
}

/*
 * Return the next state of those that are read all, or NULL; `at` is the first
 * resource that was not looked for yet, where only some are asked for.
 */
static const MeterCarried *
next_state(MeterFold *fold, int64 *at)
{
	meter_operation_count();
	if (fold->only == NULL)
		return meter_states_next(fold->states);
	while (*at < fold->only->count)
	{
		const MeterResource *resource = &fold->only->list[(*at)++];
		const MeterCarried *state = meter_states_find(fold->states,
													  resource->hash,
													  resource->name);

		if (state->exists)
			return state;
	}
	return NULL;
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
	MeterStateCounts found = {0, 0};
	const MeterCarried *state = NULL;
	int64		at = 0;

	walking = fold;
	meter_operation_phase("walking resources",
						  fold->rows + (all_states ? fold->progress->carried.all : 0));
	next_row(fold, slot);
	if (all_states)
	{
		if (fold->only == NULL)
			meter_states_read_all(fold->states);
		state = next_state(fold, &at);
	}
	while (fold->has_row || state != NULL)
	{
		/* less than 0: the resource of the row is next, and has no state */
		int			cmp = !fold->has_row ? 1 : state == NULL ? -1 :
		compare_row(fold, slot, state->hash, state->resource);

		/*
		 * what is not billed on, and to which nothing happened, stays as it
		 * is
		 */
		if (cmp > 0 && fold->carried && !state->active)
		{
			CHECK_FOR_INTERRUPTS();
			count.states++;
			found.all++;
			state = next_state(fold, &at);
			continue;
		}
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
		found.all += fold->state->exists;
		found.running += fold->state->exists && fold->state->active;
		walk_resource(fold, slot, cmp <= 0);
		if (cmp >= 0)
		{
			CHECK_FOR_INTERRUPTS();
			state = next_state(fold, &at);
		}
	}
	if (all_states && fold->carried && fold->counts != NULL)
		meter_compare_states(fold->definition, fold->counts, &found);
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

	/* whoever makes a pass over a distributed stream makes it on its shards */
	if (definition->shards > 0)
		meter_refuse_distributed(definition->stream, "this");
	fold->context = context;
	fold->definition = definition;
	fold->progress = progress;
	fold->usage = usage;
	fold->spec = meter_usage_spec(definition);
	/* most resources need no second block, which would come and go with each */
	fold->resource_context = AllocSetContextCreate(context, "meter resource",
												   ALLOCSET_DEFAULT_MINSIZE,
												   RESOURCE_BLOCK,
												   ALLOCSET_DEFAULT_MAXSIZE);
	fold->row_context = AllocSetContextCreate(context, "meter row",
											  ALLOCSET_DEFAULT_SIZES);
	fold->staged_context = AllocSetContextCreate(context, "meter staged usage",
												 ALLOCSET_DEFAULT_SIZES);
	fold->staged_end = &fold->staged;
	fold->from = meter_usage_from(definition);
	fold->to = progress->watermark;
	fold->ledger_to = DT_NOBEGIN;
	fold->scope.from = DT_NOBEGIN;
	fold->scope.to = progress->watermark;
	fold->scope.settled_to = progress->watermark;
	fold->scope.safe = meter_known_to_count(progress, METER_LOG_EVENT);
	fold->measures_safe = meter_known_to_count(progress, METER_LOG_MEASURE);
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

/* Begin to count anew. */
void
meter_fold_count_anew(void)
{
	memset(&count, 0, sizeof(count));
}

/* Return what was done, to be read or added to. */
MeterFoldCount *
meter_fold_count(void)
{
	return &count;
}

/* Tell what was done, as numbers. */
void
meter_fold_count_tell(int64 *numbers)
{
	int			i = 0;

	numbers[i++] = count.rows;
	numbers[i++] = count.scan_time;
	numbers[i++] = count.sorted_bytes;
	numbers[i++] = count.sorted_on_disk;
	numbers[i++] = count.sort_time;
	numbers[i++] = count.resources;
	numbers[i++] = count.states;
	numbers[i++] = count.walk_time;
	numbers[i++] = count.usage_rows;
	numbers[i++] = count.usage_bytes;
	numbers[i++] = count.states_written;
	numbers[i++] = count.write_time;
	Assert(i == METER_FOLD_NCOUNTS);
}

/* Add what was done elsewhere, as these numbers tell. */
void
meter_fold_count_add(const int64 *numbers)
{
	int			i = 0;

	count.rows += numbers[i++];
	count.scan_time += numbers[i++];
	count.sorted_bytes += numbers[i++];
	count.sorted_on_disk |= numbers[i++] > 0;
	count.sort_time += numbers[i++];
	count.resources += numbers[i++];
	count.states += numbers[i++];
	count.walk_time += numbers[i++];
	count.usage_rows += numbers[i++];
	count.usage_bytes += numbers[i++];
	count.states_written += numbers[i++];
	count.write_time += numbers[i++];
	Assert(i == METER_FOLD_NCOUNTS);
}

/* Read what the ledger says of the resources that were asked for. */
static void
read_resources(MeterFold *fold)
{
	int64		i;

	for (i = 0; i < fold->walked->count && fold->to < fold->ledger_to; i++)
	{
		MeterResource *resource = &fold->walked->list[i];

		resource->from = Min(resource->from, fold->to);
		resource->to = fold->ledger_to;
	}
	meter_ledger_read_resources(fold->ledger, fold->walked);
}

/* Go through everything once, and read what the ledger says of it. */
static void
run(void *arg)
{
	MeterFold  *fold = arg;
	int64		began = meter_fold_clock();
	int64		rows_before = count.rows;
	int64		scanned;
	int64		sorted;

	meter_fold_pause();
	meter_operation_phase("scanning the logs", METER_TOTAL_UNKNOWN);
	fold->quarantine = meter_quarantine_begin(fold->definition);
	if (fold->failure == METER_FOLD_LEAVES_OUT ||
		fold->failure == METER_FOLD_SETS_ASIDE)
		meter_quarantine_read(fold->quarantine);
	if (fold->ledger != NULL)
		meter_ledger_leave_out(fold->ledger, fold->quarantine);
	begin_order(fold);
	if (fold->asked != NULL)
	{
		fold->walked = meter_resources_begin();
		put_asked(fold);
	}
	fold->usage->scan(fold);
	scanned = meter_fold_clock();
	fold->rows = count.rows - rows_before +
		(fold->asked != NULL ? fold->asked->count : 0);
	meter_operation_phase("sorting rows", fold->rows);
	tuplesort_performsort(fold->sort);
	count_sort(fold);
	sorted = meter_fold_clock();
	walk(fold);
	tuplesort_end(fold->sort);
	ExecDropSingleTupleTableSlot(fold->put);
	if (fold->ledger != NULL && meter_ledger_compares(fold->ledger))
	{
		meter_operation_phase("reading the ledger", METER_TOTAL_UNKNOWN);
		if (fold->walked != NULL)
			read_resources(fold);
		else
			meter_ledger_read(fold->ledger, fold->from,
							  Max(fold->to, fold->ledger_to));
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
	if (fold->failure == METER_FOLD_SETS_ASIDE)
		meter_quarantine_write(fold->quarantine);
	else
		meter_quarantine_warn(fold->quarantine, fold->anonymous);
	MemoryContextDelete(fold->context);
}
