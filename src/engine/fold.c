/*
 * fold.c
 *	  The fold: one pass from the log and the states to the ledger and the new
 *	  states.
 *
 * Rows of the log and carried states are scanned by plain queries (scan), put
 * in the order of the ledger's key: by a hash of the resource, then the
 * resource, then time (order), walked one resource at a time (walk), and what
 * comes of them is written in blocks (sink).  Resources to which nothing
 * happened go a short way: each period whole.
 *
 * All scans see one snapshot, taken after the late part of the step: it sees
 * what that has written, and nothing that commits meanwhile.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/observation.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/step_state.h"
#include "engine/row_kind.h"
#include "engine/usage_rows.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/table_writer.h"
#include "types/transaction_id.h"

/* What a sort may keep in memory, in kB: more reads back slower. */
#define SORT_MEMORY	(64 * 1024)

/* Dead states are looked up one by one for so few events. */
#define FEW_EVENTS	50000

/* The columns of a row in the order; those of dimensions follow. */
typedef enum FoldColumn
{
	FOLD_HASH,
	FOLD_RESOURCE,
	FOLD_TIME,					/* of a state: since */
	FOLD_KIND,
	FOLD_ACCOUNT,
	FOLD_VALUE,
	FOLD_SOURCE,
	FOLD_SAID,					/* of an observation */
	FOLD_ALIVE,					/* from here on of a state */
	FOLD_ABSENT,
	FOLD_UNNAMED_SINCE,
	FOLD_PLACE,
	FOLD_RANK,					/* FoldRank; not of queries */
	FOLD_NCOLUMNS
} FoldColumn;

/* The order of the rows of a resource, before time. */
typedef enum FoldRank
{
	RANK_STATE,
	RANK_OBSERVATION,			/* a walk has to know of all that come */
	RANK_EVENT
} FoldRank;

static const Oid fold_types[FOLD_NCOLUMNS] = {
	INT8OID, TEXTOID, TIMESTAMPTZOID, CHAROID, TEXTOID, NUMERICOID, TEXTOID,
	JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIDOID, INT4OID
};

/* The columns of the ledger and of states, in their order. */
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

enum
{
	STATE_METER,
	STATE_RESOURCE,
	STATE_ACTIVE,
	STATE_ACCOUNT,
	STATE_DIMENSIONS,
	STATE_VALUE,
	STATE_SINCE,
	STATE_ALIVE,
	STATE_UNNAMED_SINCE,
	STATE_ABSENT,
	STATE_SOURCE,
	STATE_STRADDLES,
	STATE_NCOLUMNS
};

static const MeterWriterColumn state_columns[STATE_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"resource", TEXTOID},
	{"active", BOOLOID},
	{"account", TEXTOID},
	{"dimensions", TEXTARRAYOID},
	{"value", NUMERICOID},
	{"since", TIMESTAMPTZOID},
	{"alive", TIMESTAMPTZOID},
	{"unnamed_since", TIMESTAMPTZOID},
	{"absent", TIMESTAMPTZOID},
	{"source", TEXTOID},
	{"straddles", TIMESTAMPTZOID}
};

/* One pass. */
typedef struct Fold
{
	const MeterDefinition *definition;
	MeterUsageSpec *spec;
	TimestampTz from;
	TimestampTz to;
	int64		settlement;
	bool		one_period;		/* rows come in the order of the ledger */

	/* scan and order */
	int			natts;			/* of a row in the order */
	TupleDesc	descriptor;
	Tuplesortstate *sort;
	TupleTableSlot *put;
	int64		nevents;
	ArrayBuildState *names;		/* of the resources of few events */

	/* walk: the resource at hand */
	MemoryContext resource_context;
	MeterAttr	resource;
	uint64		hash;
	MeterCollected collected;
	bool		any_events;
	ItemPointerData place;		/* of its state, if it has one */
	TimestampTz unnamed_since;	/* DT_NOBEGIN: none */
	Numeric		value;			/* of its state */
	bool		walking;		/* pieces of it have been walked */
	MeterNaming naming;
	MeterUsageRows rows;
	MemoryContext row_context;	/* of a row that is read or written */

	/* sink */
	MeterTableWriter *usage;
	MeterTableWriter *states;
	TupleDesc	usage_descriptor;
	Tuplesortstate *usage_sort; /* where there are many periods */
	TupleTableSlot *usage_put;
	Datum		meter;			/* text */
} Fold;

/* Takes the rows of a query and puts them into the order. */
typedef struct FoldReceiver
{
	DestReceiver pub;
	Fold	   *fold;
	bool		states;
} FoldReceiver;

/* --- scan and order ------------------------------------------------------- */

/* Return how many columns before those of dimensions a query gives. */
static int
given_columns(const FoldReceiver *receiver)
{
	return receiver->states ? FOLD_PLACE : FOLD_SAID;
}

/* See that a query gives what the order has: tables may have changed. */
static void
receive_startup(DestReceiver *self, int operation pg_attribute_unused(),
				TupleDesc descriptor)
{
	FoldReceiver *receiver = (FoldReceiver *) self;
	TupleDesc	order = receiver->fold->descriptor;
	int			given = given_columns(receiver);
	int			i;

	for (i = 0; i < given + receiver->fold->definition->ndimensions; i++)
	{
		/* the first column of the order is the hash */
		int			column = i < given ? i + 1 : FOLD_NCOLUMNS + i - given;

		if (i >= descriptor->natts ||
			TupleDescAttr(descriptor, i)->atttypid !=
			TupleDescAttr(order, column)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("a table of stream \"%s\" was changed during a step",
							receiver->fold->definition->stream),
					 errdetail("Column %d of what is read from %s is of another type than meter expects.",
							   i + 1,
							   receiver->states ? "_resource_state" : "event"),
					 errhint("Restore the type of the column.")));
	}
}

static void
receive_end(DestReceiver *self pg_attribute_unused())
{
}

/* Return the hash of a resource by which the key of the ledger goes. */
static uint64
resource_hash(const Fold *fold, MeterAttr resource)
{
	MeterNaming naming;

	meter_naming_begin(&naming, fold->spec->stream, fold->spec->meter,
					   resource);
	pfree(naming.prefix.data);
	return naming.resource_hash;
}

/* Return the rank of a kind of rows. */
static FoldRank
rank_of(MeterRowKind kind)
{
	switch (kind)
	{
		case METER_ROW_START:
		case METER_ROW_STOP:
		case METER_ROW_CHANGE:
			return RANK_EVENT;
		case METER_ROW_CARRIED_OPEN:
		case METER_ROW_CARRIED_CLOSED:
			return RANK_STATE;
		default:
			return RANK_OBSERVATION;
	}
}

/*
 * Put a row into the order.  The queries give the columns from FOLD_RESOURCE
 * on: of events as far as FOLD_SAID, of states all, then the dimensions.
 */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	FoldReceiver *receiver = (FoldReceiver *) self;
	Fold	   *fold = receiver->fold;
	TupleTableSlot *put = fold->put;
	int			given = given_columns(receiver);
	int			column;
	int			i;
	text	   *resource;

	slot_getallattrs(slot);
	ExecClearTuple(put);
	for (column = FOLD_RESOURCE; column <= given; column++)
	{
		put->tts_values[column] = slot->tts_values[column - 1];
		put->tts_isnull[column] = slot->tts_isnull[column - 1];
	}
	for (; column < FOLD_NCOLUMNS; column++)
	{
		put->tts_values[column] = (Datum) 0;
		put->tts_isnull[column] = true;
	}
	for (i = 0; i < fold->definition->ndimensions; i++)
	{
		put->tts_values[FOLD_NCOLUMNS + i] = slot->tts_values[given + i];
		put->tts_isnull[FOLD_NCOLUMNS + i] = slot->tts_isnull[given + i];
	}
	resource = DatumGetTextPP(put->tts_values[FOLD_RESOURCE]);
	put->tts_values[FOLD_HASH] =
		Int64GetDatum((int64) resource_hash(fold,
											meter_attr(VARDATA_ANY(resource),
													   VARSIZE_ANY_EXHDR(resource))));
	put->tts_isnull[FOLD_HASH] = false;
	put->tts_values[FOLD_RANK] =
		Int32GetDatum(rank_of((MeterRowKind) DatumGetChar(put->tts_values[FOLD_KIND])));
	put->tts_isnull[FOLD_RANK] = false;
	ExecStoreVirtualTuple(put);
	tuplesort_puttupleslot(fold->sort, put);
	if (!receiver->states && ++fold->nevents <= FEW_EVENTS)
	{
		MemoryContext context = MemoryContextGetParent(fold->resource_context);

		fold->names = accumArrayResult(fold->names,
									   PointerGetDatum(resource), false,
									   TEXTOID, context);
	}
	return true;
}

/* Scan a query into the order. */
static void
scan(Fold *fold, const char *sql, bool states)
{
	FoldReceiver receiver;

	memset(&receiver, 0, sizeof(receiver));
	receiver.pub.receiveSlot = receive_row;
	receiver.pub.rStartup = receive_startup;
	receiver.pub.rShutdown = receive_end;
	receiver.pub.rDestroy = receive_end;
	receiver.pub.mydest = DestTuplestore;
	receiver.fold = fold;
	receiver.states = states;
	meter_scan(sql, (DestReceiver *) &receiver);
}

/*
 * Return a query of carried states: those that run, or all.  Where few events came,
 * the others are asked for by the names of the resources.
 */
static char *
states_query(const Fold *fold, bool all)
{
	const MeterDefinition *definition = fold->definition;
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT s.resource, s.since, CASE WHEN s.active THEN " METER_SQL_KIND(CARRIED_OPEN)
						   " ELSE " METER_SQL_KIND(CARRIED_CLOSED) " END::\"char\", s.account, "
						   "s.value, s.source, NULL::jsonb, s.alive, s.absent, s.unnamed_since, s.ctid");
	for (i = 0; i < definition->ndimensions; i++)
		appendStringInfo(&sql, ", s.dimensions[%d]", i + 1);
	appendStringInfo(&sql, " FROM %s._resource_state s WHERE s.meter = %s",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name));
	if (all)
		return sql.data;
	appendStringInfoString(&sql, " AND s.active");
	if (fold->names != NULL)
	{
		Datum		names = makeArrayResult(fold->names, CurrentMemoryContext);
		int			at = sql.len;
		char	   *dead;

		/* the same of those that do not run */
		sql.data[at - (int) strlen(" AND s.active")] = '\0';
		dead = psprintf("%s AND NOT s.active AND s.resource = ANY (%s)",
						sql.data, meter_text_array_literal(names));
		sql.data[at - (int) strlen(" AND s.active")] = ' ';
		appendStringInfo(&sql, " UNION ALL %s", dead);
	}
	return sql.data;
}

/* Return the operator by which a type is sorted. */
static Oid
less_operator(Oid type)
{
	return lookup_type_cache(type, TYPECACHE_LT_OPR)->lt_opr;
}

/* Begin the order. */
static void
begin_order(Fold *fold)
{
	AttrNumber	keys[] = {FOLD_HASH + 1, FOLD_RESOURCE + 1, FOLD_RANK + 1,
	FOLD_TIME + 1};
	Oid			operators[] = {Int8LessOperator, TextLessOperator,
	Int4LessOperator, less_operator(TIMESTAMPTZOID)};
	Oid			collations[] = {InvalidOid, C_COLLATION_OID, InvalidOid,
	InvalidOid};
	bool		nulls_first[] = {true, true, true, true};
	int			i;

	fold->natts = FOLD_NCOLUMNS + fold->definition->ndimensions;
	fold->descriptor = CreateTemplateTupleDesc(fold->natts);
	for (i = 0; i < fold->natts; i++)
		TupleDescInitEntry(fold->descriptor, i + 1, NULL,
						   i < FOLD_NCOLUMNS ? fold_types[i] : TEXTOID, -1, 0);
	fold->sort = METER_BEGIN_SORT(fold->descriptor, lengthof(keys), keys,
								  operators, collations, nulls_first,
								  SORT_MEMORY);
	fold->put = MakeSingleTupleTableSlot(fold->descriptor, &TTSOpsVirtual);
}

/* --- sink ----------------------------------------------------------------- */

/* Write a usage row, or put it where it is sorted first. */
static void
put_usage(Fold *fold, const MeterUsageRow *row)
{
	Datum		values[USAGE_NCOLUMNS];
	bool		nulls[USAGE_NCOLUMNS];

	memset(nulls, false, sizeof(nulls));
	values[USAGE_TRANSACTION_ID] = UUIDPGetDatum(&row->transaction_id);
	values[USAGE_METER] = fold->meter;
	values[USAGE_ACCOUNT] =
		PointerGetDatum(cstring_to_text_with_len(row->account.data,
												 row->account.len));
	values[USAGE_RESOURCE] =
		PointerGetDatum(cstring_to_text_with_len(fold->resource.data,
												 fold->resource.len));
	values[USAGE_DIMENSIONS] = row->dimensions;
	values[USAGE_PERIOD_START] = TimestampTzGetDatum(row->period_start);
	values[USAGE_QUANTITY] = NumericGetDatum(row->quantity);
	values[USAGE_REVISION] = Int32GetDatum(0);
	values[USAGE_SETTLEMENT] = Int64GetDatum(fold->settlement);
	values[USAGE_RECORDED_AT] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	if (fold->usage_sort == NULL)
	{
		meter_writer_insert(fold->usage, values, nulls);
		return;
	}
	ExecClearTuple(fold->usage_put);
	memcpy(fold->usage_put->tts_values, values, sizeof(values));
	memcpy(fold->usage_put->tts_isnull, nulls, sizeof(nulls));
	ExecStoreVirtualTuple(fold->usage_put);
	tuplesort_puttupleslot(fold->usage_sort, fold->usage_put);
}

/* Return an attribute as text, or NULL. */
static Datum
attr_datum(MeterAttr attr, bool *isnull)
{
	*isnull = MeterAttrIsNull(attr);
	return *isnull ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(attr.data, attr.len));
}

/* Return dimensions as states have them. */
static Datum
dimensions_datum(const MeterAttr *attrs, int count)
{
	Datum		values[METER_MAX_DIMENSIONS];
	bool		nulls[METER_MAX_DIMENSIONS];
	int			dims[1] = {count};
	int			lbs[1] = {1};
	int			i;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (i = 0; i < count; i++)
		values[i] = attr_datum(attrs[i], &nulls[i]);
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs,
											  TEXTOID, -1, false,
											  TYPALIGN_INT));
}

/* Write the state in which a timeline ends. */
static void
put_state(Fold *fold, const MeterTimeline *timeline)
{
	const MeterState *state = &timeline->state;
	Datum		values[STATE_NCOLUMNS];
	bool		nulls[STATE_NCOLUMNS];
	TimestampTz unnamed_since = fold->unnamed_since;

	memset(nulls, false, sizeof(nulls));
	values[STATE_METER] = fold->meter;
	values[STATE_RESOURCE] = attr_datum(fold->resource, &nulls[STATE_RESOURCE]);
	values[STATE_ACTIVE] = BoolGetDatum(state->open);
	values[STATE_ACCOUNT] = attr_datum(state->attrs[0], &nulls[STATE_ACCOUNT]);
	values[STATE_DIMENSIONS] = dimensions_datum(state->attrs + 1,
												timeline->natts - 1);
	nulls[STATE_VALUE] = MeterAttrIsNull(state->attrs[timeline->natts]);
	values[STATE_VALUE] = nulls[STATE_VALUE] ? (Datum) 0 :
		NumericGetDatum(meter_numeric_from_attr(state->attrs[timeline->natts]));
	values[STATE_SINCE] = TimestampTzGetDatum(state->since);
	values[STATE_ALIVE] = TimestampTzGetDatum(state->alive);
	nulls[STATE_SINCE] = nulls[STATE_ALIVE] = !state->open;
	/* what is billed to nobody began with these periods, if not before */
	if (TIMESTAMP_IS_NOBEGIN(unnamed_since) || fold->from < unnamed_since)
		unnamed_since = fold->from;
	values[STATE_UNNAMED_SINCE] = TimestampTzGetDatum(unnamed_since);
	nulls[STATE_UNNAMED_SINCE] = !nulls[STATE_ACCOUNT];
	values[STATE_ABSENT] = TimestampTzGetDatum(state->absent);
	nulls[STATE_ABSENT] = state->absent == METER_BEGIN;
	values[STATE_SOURCE] = attr_datum(state->source, &nulls[STATE_SOURCE]);
	values[STATE_STRADDLES] = (Datum) 0;
	nulls[STATE_STRADDLES] = true;
	if (ItemPointerIsValid(&fold->place))
		meter_writer_update(fold->states, &fold->place, values, nulls);
	else
		meter_writer_insert(fold->states, values, nulls);
}

/* Write the usage rows that had to be sorted. */
static void
write_sorted(Fold *fold)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(fold->usage_descriptor,
													&TTSOpsMinimalTuple);

	tuplesort_performsort(fold->usage_sort);
	while (tuplesort_gettupleslot(fold->usage_sort, true, false, slot, NULL))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		meter_writer_insert(fold->usage, slot->tts_values, slot->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(fold->usage_put);
	tuplesort_end(fold->usage_sort);
}

/* --- walk ----------------------------------------------------------------- */

/* Return a text of a row, or NULL. */
static MeterAttr
text_column(const TupleTableSlot *slot, int column)
{
	text	   *value;

	if (slot->tts_isnull[column])
		return METER_NULL_ATTR;
	value = DatumGetTextPP(slot->tts_values[column]);
	return meter_attr(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* Return an instant of a row. */
static TimestampTz
instant_column(const TupleTableSlot *slot, int column, TimestampTz none)
{
	return slot->tts_isnull[column] ? none :
		DatumGetTimestampTz(slot->tts_values[column]);
}

/* Begin a resource with its first row. */
static void
begin_resource(Fold *fold, const TupleTableSlot *slot)
{
	MeterAttr	resource;
	char	   *name;

	MemoryContextReset(fold->resource_context);
	/* it may be unpacked in that context */
	resource = text_column(slot, FOLD_RESOURCE);
	name = palloc(resource.len + 1);
	memcpy(name, resource.data, resource.len);
	fold->resource = meter_attr(name, resource.len);
	fold->hash = (uint64) DatumGetInt64(slot->tts_values[FOLD_HASH]);
	memset(&fold->collected, 0, sizeof(fold->collected));
	meter_events_init(&fold->collected.events,
					  fold->definition->ndimensions + 1);
	fold->any_events = false;
	ItemPointerSetInvalid(&fold->place);
	fold->unnamed_since = DT_NOBEGIN;
	fold->value = NULL;
	fold->walking = false;
}

/* Walk the events that have been collected: the last ones, or a full piece. */
static void
walk_piece(Fold *fold, bool last)
{
	MemoryContext before;
	MeterUsageRow row;

	if (!fold->walking)
	{
		meter_naming_resume(&fold->naming, fold->spec->stream,
							fold->spec->meter, fold->resource, fold->hash);
		meter_usage_walk(&fold->rows, fold->spec, &fold->naming,
						 &fold->collected, fold->from, fold->to);
		fold->walking = true;
	}
	meter_usage_advance(&fold->rows, last);
	before = MemoryContextSwitchTo(fold->row_context);
	while (meter_usage_next(&fold->rows, &row))
	{
		put_usage(fold, &row);
		MemoryContextReset(fold->row_context);
	}
	MemoryContextSwitchTo(before);
}

/* Add a row of the resource. */
static void
add_row(Fold *fold, const TupleTableSlot *slot)
{
	MeterAttr	attrs[METER_MAX_DIMENSIONS + 2];
	int			ndimensions = fold->definition->ndimensions;
	MeterRowKind kind = (MeterRowKind) DatumGetChar(slot->tts_values[FOLD_KIND]);
	MeterAttr	source;
	const Jsonb *said = NULL;
	TimestampTz time = instant_column(slot, FOLD_TIME, 0);
	MemoryContext before;
	int			i;

	if (rank_of(kind) == RANK_EVENT)
	{
		if (meter_piece_full(&fold->collected.events, time))
			walk_piece(fold, false);
	}
	else if (fold->walking)
		elog(ERROR, "a row of kind \"%c\" comes after events", kind);

	MemoryContextReset(fold->row_context);
	before = MemoryContextSwitchTo(fold->row_context);
	source = text_column(slot, FOLD_SOURCE);
	attrs[0] = text_column(slot, FOLD_ACCOUNT);
	/* an empty name names nobody */
	if (attrs[0].len == 0)
		attrs[0] = METER_NULL_ATTR;
	for (i = 0; i < ndimensions; i++)
		attrs[i + 1] = text_column(slot, FOLD_NCOLUMNS + i);
	attrs[ndimensions + 1] = slot->tts_isnull[FOLD_VALUE] ? METER_NULL_ATTR :
		meter_attr_from_numeric(DatumGetNumeric(slot->tts_values[FOLD_VALUE]));
	if (!slot->tts_isnull[FOLD_SAID])
		said = DatumGetJsonbP(slot->tts_values[FOLD_SAID]);
	MemoryContextSwitchTo(before);

	if (kind == METER_ROW_CARRIED_OPEN || kind == METER_ROW_CARRIED_CLOSED)
	{
		fold->place = *((ItemPointer) DatumGetPointer(slot->tts_values[FOLD_PLACE]));
		fold->unnamed_since = instant_column(slot, FOLD_UNNAMED_SINCE,
											 DT_NOBEGIN);
		if (!slot->tts_isnull[FOLD_VALUE])
			fold->value = DatumGetNumericCopy(slot->tts_values[FOLD_VALUE]);
		meter_collect_carried(&fold->collected, kind == METER_ROW_CARRIED_OPEN,
							  time, instant_column(slot, FOLD_ALIVE, time),
							  instant_column(slot, FOLD_ABSENT, METER_BEGIN),
							  source, attrs);
		return;
	}
	fold->any_events = true;
	if (MeterAttrIsNull(source))
		source = meter_attr("", 0);
	(void) meter_collect_row(&fold->collected, kind, time, source, said,
							 attrs);
}

/*
 * Walk a resource to which nothing happened: if it runs, each period is whole.
 */
static void
walk_undisturbed(Fold *fold)
{
	const MeterState *state = &fold->collected.state;
	MeterUsageSpec *spec = fold->spec;
	MeterNaming naming;
	MeterUsageRow row;
	TimestampTz at;

	if (!state->open)
		return;
	meter_naming_resume(&naming, spec->stream, spec->meter, fold->resource,
						fold->hash);
	row.account = MeterAttrIsNull(state->attrs[0]) ? meter_attr("", 0) :
		state->attrs[0];
	row.dimensions = meter_usage_dimensions(spec, state->attrs + 1);
	for (at = fold->from; at < fold->to;
		 at = meter_grid_period_end(&spec->grid, at))
	{
		CHECK_FOR_INTERRUPTS();
		row.period_start = at;
		row.quantity = meter_usage_whole(spec,
										 meter_grid_period_end(&spec->grid, at) - at,
										 fold->value);
		/* a quantity of 0 makes no row */
		if (row.quantity == NULL ||
			(fold->definition->aggregate == METER_WEIGHTED &&
			 meter_numeric_is_zero(row.quantity)))
			continue;
		meter_usage_name(spec, &naming, row.account, state->attrs + 1, at,
						 &row.transaction_id);
		put_usage(fold, &row);
	}
}

/* Walk the resource at hand: its usage, and the state that it ends in. */
static void
walk_resource(Fold *fold)
{
	if (!fold->any_events)
	{
		walk_undisturbed(fold);
		return;
	}
	walk_piece(fold, true);
	put_state(fold, fold->rows.timeline);
}

/* Walk all resources in their order. */
static void
walk(Fold *fold)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(fold->descriptor,
													&TTSOpsMinimalTuple);
	MemoryContext before = MemoryContextSwitchTo(fold->resource_context);
	bool		any = false;

	tuplesort_performsort(fold->sort);
	while (tuplesort_gettupleslot(fold->sort, true, false, slot, NULL))
	{
		MeterAttr	resource;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		resource = text_column(slot, FOLD_RESOURCE);
		if (!any || !meter_attr_equal(resource, fold->resource))
		{
			if (any)
				walk_resource(fold);
			begin_resource(fold, slot);
			any = true;
		}
		add_row(fold, slot);
	}
	if (any)
		walk_resource(fold);
	MemoryContextSwitchTo(before);
	ExecDropSingleTupleTableSlot(slot);
}

/* --- the pass ------------------------------------------------------------- */

/* Scan what the periods need into the order. */
static void
scan_all(Fold *fold, const MeterProgress *progress)
{
	MeterScope	scope = {0};

	scope.from = meter_timestamp_literal(fold->from);
	scope.to = meter_timestamp_literal(fold->to);
	scope.late_from = meter_late_from(fold->definition, progress);
	scope.safe = progress->logs[METER_LOG_EVENT].position;
	scan(fold,
		 meter_plain_events(fold->definition, &scope,
							meter_find_duplicates(fold->definition, progress,
												  &scope, fold->from,
												  fold->to)), false);
	scan(fold, states_query(fold, fold->nevents > FEW_EVENTS), true);
}

/*
 * Settle the periods from the watermark to `end`, where the ledger can have
 * nothing and no observation reaches over the end.  Returns false, and does
 * nothing, if a table is not plain.
 */
bool
meter_fold_settle(const MeterDefinition *definition, MeterProgress *progress,
				  TimestampTz end, MeterStep *step)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "meter fold",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Fold	   *fold = palloc0(sizeof(Fold));

	fold->usage = meter_writer_begin(definition->stream, "usage",
									 usage_columns, USAGE_NCOLUMNS,
									 false);
	fold->states = fold->usage == NULL ? NULL :
		meter_writer_begin(definition->stream, "_resource_state",
						   state_columns, STATE_NCOLUMNS, true);
	if (fold->states == NULL)
	{
		if (fold->usage != NULL)
			(void) meter_writer_end(fold->usage);
		MemoryContextSwitchTo(before);
		MemoryContextDelete(context);
		return false;
	}
	fold->definition = definition;
	fold->spec = meter_usage_spec(definition);
	fold->from = progress->watermark;
	fold->to = end;
	fold->settlement = progress->settlement + 1;
	fold->one_period = meter_grid_period_end(definition->grid,
											 fold->from) >= end;
	fold->meter = CStringGetTextDatum(definition->name);
	fold->resource_context = AllocSetContextCreate(context, "meter resource",
												   ALLOCSET_DEFAULT_SIZES);
	fold->row_context = AllocSetContextCreate(context, "meter row",
											  ALLOCSET_SMALL_SIZES);
	begin_order(fold);
	if (!fold->one_period)
	{
		AttrNumber	keys[] = {USAGE_TRANSACTION_ID + 1};
		Oid			operators[] = {less_operator(UUIDOID)};
		Oid			collations[] = {InvalidOid};
		bool		nulls_first[] = {false};

		fold->usage_descriptor = meter_writer_descriptor(fold->usage);
		fold->usage_sort = METER_BEGIN_SORT(fold->usage_descriptor, 1, keys,
											operators, collations,
											nulls_first, SORT_MEMORY);
		fold->usage_put = MakeSingleTupleTableSlot(fold->usage_descriptor,
												   &TTSOpsVirtual);
	}

	/* what the late part of the step wrote is seen, too */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_one_snapshot(true);
	PG_TRY();
	{
		scan_all(fold, progress);
	}
	PG_FINALLY();
	{
		meter_one_snapshot(false);
	}
	PG_END_TRY();
	walk(fold);
	if (fold->usage_sort != NULL)
		write_sorted(fold);

	tuplesort_end(fold->sort);
	ExecDropSingleTupleTableSlot(fold->put);
	step->usage_rows += meter_writer_end(fold->usage);
	(void) meter_writer_end(fold->states);
	PopActiveSnapshot();
	CommandCounterIncrement();
	progress->watermark = end;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return true;
}
