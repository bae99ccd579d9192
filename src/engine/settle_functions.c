/*
 * settle_functions.c
 *	  Functions in C for the engine's SQL: the timeline of a resource from its
 *	  carried state and its events, the usage rows from it, and the state
 *	  after it.
 *
 * The aggregate meter_internal.settle_timeline() has separate attributes for
 * the account and each dimension, where meter.timeline() has one label.  Its
 * result is a bytea: the state at the end, then the encoded timeline.  A caller
 * may pass anything as such a bytea, so it is read with care.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "catalog/definition.h"
#include "core/codec.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/observation.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "engine/row_kind.h"
#include "engine/usage_rows.h"
#include "pg/arguments.h"
#include "pg/quantity.h"
#include "pg/timezone.h"
#include "types/transaction_id.h"

/*
 * Return the attributes of a row: account, dimensions and value, from their
 * arguments.
 */
static MeterAttr *
row_attrs(FunctionCallInfo fcinfo, int account_arg, ArrayType *dimensions,
		  int value_arg, int32 *natts)
{
	Datum	   *datums;
	bool	   *nulls;
	int			count;
	MeterAttr  *attrs;
	int			i;

	deconstruct_array(dimensions, TEXTOID, -1, false, TYPALIGN_INT,
					  &datums, &nulls, &count);
	attrs = palloc((count + 2) * sizeof(MeterAttr));
	attrs[0] = METER_NULL_ATTR;
	if (!PG_ARGISNULL(account_arg))
	{
		text	   *account = PG_GETARG_TEXT_PP(account_arg);

		/* an empty name names nobody */
		if (VARSIZE_ANY_EXHDR(account) > 0)
		{
			attrs[0].data = VARDATA_ANY(account);
			attrs[0].len = VARSIZE_ANY_EXHDR(account);
		}
	}
	for (i = 0; i < count; i++)
	{
		attrs[i + 1] = METER_NULL_ATTR;
		if (!nulls[i])
		{
			text	   *value = DatumGetTextPP(datums[i]);

			attrs[i + 1].data = VARDATA_ANY(value);
			attrs[i + 1].len = VARSIZE_ANY_EXHDR(value);
		}
	}
	attrs[count + 1] = PG_ARGISNULL(value_arg) ? METER_NULL_ATTR :
		meter_attr_from_numeric(PG_GETARG_NUMERIC(value_arg));
	*natts = count + 1;
	return attrs;
}

/* Return the source of a row; '' where it names none. */
static MeterAttr
row_source(FunctionCallInfo fcinfo, int argument)
{
	MeterAttr	source = {"", 0};

	if (!PG_ARGISNULL(argument))
	{
		text	   *value = PG_GETARG_TEXT_PP(argument);

		source.data = VARDATA_ANY(value);
		source.len = VARSIZE_ANY_EXHDR(value);
	}
	return source;
}

PG_FUNCTION_INFO_V1(meter_settle_timeline_add);

/*
 * settle_timeline(kind, at, account, dimensions, value, alive, absent, source,
 * observation): adds a row
 */
Datum
meter_settle_timeline_add(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext before;
	MeterCollected *collected;
	MeterAttr  *attrs;
	int32		natts;
	MeterRowKind kind;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "settle_timeline called in non-aggregate context");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"kind\" and \"dimensions\" must not be null")));
	kind = (MeterRowKind) PG_GETARG_CHAR(1);
	attrs = row_attrs(fcinfo, 3, PG_GETARG_ARRAYTYPE_P(4), 5, &natts);

	before = MemoryContextSwitchTo(context);
	if (PG_ARGISNULL(0))
	{
		collected = palloc0(sizeof(MeterCollected));
		meter_events_init(&collected->events, natts);
	}
	else
		collected = (MeterCollected *) PG_GETARG_POINTER(0);
	if (collected->events.natts != natts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("all rows must have the same number of dimensions")));

	if (kind == METER_ROW_CARRIED_OPEN || kind == METER_ROW_CARRIED_CLOSED)
	{
		if (collected->carried)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a resource has two carried states")));
		meter_collect_carried(collected, kind == METER_ROW_CARRIED_OPEN,
							  PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2),
							  !PG_ARGISNULL(6) ? PG_GETARG_TIMESTAMPTZ(6) :
							  PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2),
							  PG_ARGISNULL(7) ? METER_BEGIN :
							  PG_GETARG_TIMESTAMPTZ(7),
							  PG_ARGISNULL(8) ? METER_NULL_ATTR :
							  row_source(fcinfo, 8), attrs);
	}
	else if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have a finite time",
						kind == METER_ROW_START || kind == METER_ROW_STOP ||
						kind == METER_ROW_CHANGE ? "an event" : "an observation")));
	else if (!meter_collect_row(collected, kind, PG_GETARG_TIMESTAMPTZ(2),
								row_source(fcinfo, 8),
								PG_ARGISNULL(9) ? NULL : PG_GETARG_JSONB_P(9),
								attrs))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind \"%c\" not recognized", kind)));
	MemoryContextSwitchTo(before);
	PG_RETURN_POINTER(collected);
}

/* Append an attribute to the state in a result. */
static void
put_attr(StringInfo buffer, MeterAttr attr)
{
	appendBinaryStringInfo(buffer, (char *) &attr.len, sizeof(attr.len));
	if (attr.len > 0)
		appendBinaryStringInfo(buffer, attr.data, attr.len);
}

PG_FUNCTION_INFO_V1(meter_settle_timeline_final);

/* settle_timeline(): returns the state at the end, and the timeline */
Datum
meter_settle_timeline_final(PG_FUNCTION_ARGS)
{
	MeterCollected *collected;
	MeterTimeline *timeline;
	StringInfoData buffer;
	uint8		open;
	int32		state_size;
	int32		i;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "settle_timeline called in non-aggregate context");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	collected = (MeterCollected *) PG_GETARG_POINTER(0);
	timeline = meter_collected_pair(collected);

	initStringInfo(&buffer);
	appendStringInfoSpaces(&buffer, VARHDRSZ + sizeof(int32));
	open = timeline->state.open;
	appendBinaryStringInfo(&buffer, (char *) &open, 1);
	appendBinaryStringInfo(&buffer, (char *) &timeline->state.since,
						   sizeof(int64));
	appendBinaryStringInfo(&buffer, (char *) &timeline->state.alive,
						   sizeof(int64));
	appendBinaryStringInfo(&buffer, (char *) &timeline->state.absent,
						   sizeof(int64));
	put_attr(&buffer, timeline->state.source);
	for (i = 0; i <= timeline->natts; i++)
		put_attr(&buffer, timeline->state.attrs[i]);
	state_size = buffer.len - VARHDRSZ - sizeof(int32);
	memcpy(buffer.data + VARHDRSZ, &state_size, sizeof(int32));

	enlargeStringInfo(&buffer, (int) Min(meter_encode_bound(timeline),
										 MaxAllocSize));
	buffer.len += (int) meter_encode(timeline,
									 (uint8 *) buffer.data + buffer.len);
	SET_VARSIZE(buffer.data, buffer.len);
	PG_RETURN_BYTEA_P((bytea *) buffer.data);
}

/* Raise that a bytea is no result of settle_timeline(). */
static void
malformed(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("not a result of meter_internal.settle_timeline(): the value %s",
					problem)));
}

/*
 * Read a result of settle_timeline(): the timeline and the state, whose bytes
 * stay there.
 */
static MeterTimeline *
read_result(bytea *result)
{
	const uint8 *bytes = (uint8 *) VARDATA_ANY(result);
	size_t		length = VARSIZE_ANY_EXHDR(result);
	int32		state_size;
	const char *problem;
	size_t		position;
	MeterTimeline *timeline;
	const uint8 *at;
	const uint8 *end;
	int32		i;

	if (length < sizeof(int32))
		malformed("is too short");
	memcpy(&state_size, bytes, sizeof(int32));
	if (state_size < (int32) (1 + 3 * sizeof(int64)) ||
		(size_t) state_size > length - sizeof(int32))
		malformed("ends too early");
	timeline = meter_decode(bytes + sizeof(int32) + state_size,
							length - sizeof(int32) - state_size,
							&problem, &position);
	if (timeline == NULL)
		malformed(problem);

	at = bytes + sizeof(int32);
	end = at + state_size;
	timeline->state.open = *at++ != 0;
	memcpy(&timeline->state.since, at, sizeof(int64));
	at += sizeof(int64);
	memcpy(&timeline->state.alive, at, sizeof(int64));
	at += sizeof(int64);
	memcpy(&timeline->state.absent, at, sizeof(int64));
	at += sizeof(int64);
	timeline->state.attrs = palloc((timeline->natts + 1) * sizeof(MeterAttr));
	for (i = -1; i <= timeline->natts; i++)
	{
		MeterAttr  *attr = i < 0 ? &timeline->state.source :
		&timeline->state.attrs[i];

		if (end - at < (ptrdiff_t) sizeof(int32))
			malformed("ends within a state");
		memcpy(&attr->len, at, sizeof(int32));
		at += sizeof(int32);
		attr->data = (const char *) at;
		if (attr->len > end - at)
			malformed("ends within a state");
		at += Max(attr->len, 0);
	}
	if (at != end)
		malformed("has a state that is too long");

	/* anybody may call with anything, so texts are checked */
	pg_verifymbstr(timeline->state.source.data,
				   Max(timeline->state.source.len, 0), false);
	for (i = 0; i <= timeline->natts; i++)
		pg_verifymbstr(timeline->state.attrs[i].data,
					   Max(timeline->state.attrs[i].len, 0), false);
	for (i = 0; i < timeline->nkeys * timeline->natts; i++)
		pg_verifymbstr(timeline->keys[i].data,
					   Max(timeline->keys[i].len, 0), false);
	return timeline;
}

/* Return an attribute as text, or NULL. */
static Datum
attr_to_text(MeterAttr attr, bool *isnull)
{
	*isnull = MeterAttrIsNull(attr);
	return *isnull ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(attr.data, attr.len));
}

PG_FUNCTION_INFO_V1(meter_settle_state);

/* settle_state(result): what is known of the resource at the end */
Datum
meter_settle_state(PG_FUNCTION_ARGS)
{
	MeterTimeline *timeline = read_result(PG_GETARG_BYTEA_PP(0));
	const MeterState *state = &timeline->state;
	TupleDesc	descriptor;
	Datum		values[8];
	bool		nulls[8] = {false, false, false, false, false, false, false, false};
	int32		ndimensions = timeline->natts - 1;
	Datum	   *dimensions = palloc(Max(ndimensions, 1) * sizeof(Datum));
	bool	   *dimension_nulls = palloc(Max(ndimensions, 1) * sizeof(bool));
	int			dims[1] = {ndimensions};
	int			lbs[1] = {1};
	int32		i;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (timeline->natts < 1)
		malformed("has no account");

	values[0] = BoolGetDatum(state->open);
	values[1] = attr_to_text(state->attrs[0], &nulls[1]);
	for (i = 0; i < ndimensions; i++)
		dimensions[i] = attr_to_text(state->attrs[i + 1], &dimension_nulls[i]);
	if (ndimensions == 0)
		values[2] = PointerGetDatum(construct_empty_array(TEXTOID));
	else
		values[2] = PointerGetDatum(construct_md_array(dimensions,
													   dimension_nulls, 1,
													   dims, lbs, TEXTOID, -1,
													   false, TYPALIGN_INT));
	nulls[3] = MeterAttrIsNull(state->attrs[timeline->natts]);
	if (!nulls[3])
		values[3] = NumericGetDatum(meter_numeric_from_attr(state->attrs[timeline->natts]));
	values[4] = TimestampTzGetDatum(state->since);
	values[5] = TimestampTzGetDatum(state->alive);
	nulls[4] = nulls[5] = !state->open;
	values[6] = TimestampTzGetDatum(state->absent);
	nulls[6] = state->absent == METER_BEGIN;
	values[7] = attr_to_text(state->source, &nulls[7]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor),
													  values, nulls)));
}

PG_FUNCTION_INFO_V1(meter_settle_findings_final);

/* Return an instant of a finding, or NULL. */
static Datum
finding_instant(int64 instant, bool *isnull)
{
	*isnull = instant == METER_BEGIN;
	return TimestampTzGetDatum(instant);
}

/*
 * settle_findings(): returns what comes of each candidate that makes a
 * difference
 */
Datum
meter_settle_findings_final(PG_FUNCTION_ARGS)
{
	static const char *const effects[] = {
		"agrees", "evidence", "changes", "ends", "opens", "cuts"
	};
	Oid			element = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	MeterCollected *collected;
	ArrayBuildState *array;
	TupleDesc	descriptor;
	int32		i;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "settle_findings called in non-aggregate context");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	collected = (MeterCollected *) PG_GETARG_POINTER(0);
	(void) meter_collected_pair(collected);

	descriptor = lookup_rowtype_tupdesc(element, -1);
	array = initArrayResult(element, CurrentMemoryContext, false);
	for (i = 0; i < collected->events.nobservations; i++)
	{
		const MeterObservation *observation = &collected->events.observations[i];
		Datum		values[8];
		bool		nulls[8] = {false, false, false, false, false, false, false, false};

		if (observation->standing != METER_CANDIDATE ||
			(observation->spoke ? observation->effect == METER_AGREES &&
			 !observation->was_open : !observation->present))
			continue;
		values[0] = attr_to_text(collected->events.sources[observation->source - 1],
								 &nulls[0]);
		values[1] = TimestampTzGetDatum(observation->time);
		values[2] = BoolGetDatum(observation->was_open);
		values[3] = CStringGetTextDatum(observation->spoke ?
										effects[observation->effect] : "foreign");
		values[4] = finding_instant(observation->from, &nulls[4]);
		values[5] = finding_instant(observation->to, &nulls[5]);
		if (observation->effect <= METER_EVIDENCE)
			nulls[4] = nulls[5] = true;
		values[6] = finding_instant(observation->alive, &nulls[6]);
		values[7] = finding_instant(observation->absent, &nulls[7]);
		array = accumArrayResult(array,
								 HeapTupleGetDatum(heap_form_tuple(descriptor,
																   values, nulls)),
								 false, element, CurrentMemoryContext);
	}
	ReleaseTupleDesc(descriptor);
	PG_RETURN_DATUM(makeArrayResult(array, CurrentMemoryContext));
}

/* The row type that a function returned when it was called last. */
typedef struct Described
{
	Oid			function;
	TupleDesc	row;
} Described;

/*
 * A parsed spec.  Those used last are kept, since all resources of a step have
 * the same; one that a call still uses is never freed.
 */
typedef struct Spec
{
	struct Spec *next;
	int			uses;
	Size		size;			/* bytes of the array it was read from */
	char	   *bytes;
	MeterUsageSpec usage;
	Described	rows;			/* settle_rows() */
} Spec;

#define KEPT_SPECS 16

static Spec *specs = NULL;

/* Make an attribute of a string. */
static MeterAttr
attr_from_cstring(char *string)
{
	MeterAttr	attr = {string, (int32) strlen(string)};

	return attr;
}

/* Read a spec: see make_spec() in definition.c. */
static Spec *
parse_spec(ArrayType *array)
{
	MemoryContext context;
	MemoryContext before;
	Spec	   *spec;
	Datum	   *datums;
	bool	   *nulls;
	char	  **fields;
	int			count;
	int			i;

	context = AllocSetContextCreate(CurrentMemoryContext, "meter spec",
									ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	spec = palloc0(sizeof(Spec));
	spec->usage.context = context;
	spec->size = VARSIZE_ANY(array);
	spec->bytes = palloc(spec->size);
	memcpy(spec->bytes, array, spec->size);

	deconstruct_array((ArrayType *) spec->bytes, TEXTOID, -1, false,
					  TYPALIGN_INT, &datums, &nulls, &count);
	if (count < 8)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a spec must have 8 fields or more")));
	if (count - 8 > METER_MAX_DIMENSIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a spec can have %d dimensions at most",
						METER_MAX_DIMENSIONS)));
	fields = palloc(count * sizeof(char *));
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a spec must not contain nulls")));
		fields[i] = TextDatumGetCString(datums[i]);
	}
	spec->usage.stream = attr_from_cstring(fields[0]);
	spec->usage.meter = attr_from_cstring(fields[1]);
	spec->usage.aggregate = strcmp(fields[2], "weighted") == 0 ?
		METER_WEIGHTED : METER_DURATION;
	meter_grid_init(&spec->usage.grid, meter_zone_lookup(fields[7]));
	meter_grid_set_increment(&spec->usage.grid, meter_interval_from_cstring(fields[4]));
	meter_grid_set_period(&spec->usage.grid, meter_interval_from_cstring(fields[3]));
	spec->usage.rounding = meter_rounding_by_name(fields[5]);
	spec->usage.unit = DatumGetInt64(DirectFunctionCall1(int8in,
														 CStringGetDatum(fields[6])));
	if (spec->usage.unit <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"unit\" must be positive")));
	meter_usage_spec_names(&spec->usage, count - 8, fields + 8);
	MemoryContextSwitchTo(before);
	/* only a spec that is complete outlives the query */
	MemoryContextSetParent(context, TopMemoryContext);
	return spec;
}

/* Return the spec in an argument, parsed, or as it was parsed before. */
static Spec *
spec_from_arg(ArrayType *array)
{
	Spec	   *spec;
	Spec	  **link;
	int			kept = 0;

	for (link = &specs; (spec = *link) != NULL; link = &spec->next)
	{
		if (spec->size == VARSIZE_ANY(array) &&
			memcmp(spec->bytes, array, spec->size) == 0)
			return spec;
		kept++;
	}

	spec = parse_spec(array);
	if (kept >= KEPT_SPECS)
	{
		for (link = &specs; *link != NULL;)
		{
			Spec	   *old = *link;

			if (old->uses > 0)
				link = &old->next;
			else
			{
				*link = old->next;
				MemoryContextDelete(old->usage.context);
			}
		}
	}
	spec->next = specs;
	specs = spec;
	return spec;
}

/* Let go of a spec when the call that used it ends, in whatever way. */
static void
release_spec(void *arg)
{
	((Spec *) arg)->uses--;
}

/* Hold a spec as long as the current memory context lives. */
static void
hold_spec(Spec *spec)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = release_spec;
	callback->arg = spec;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	spec->uses++;
}

/* The state of settle_rows() between its rows. */
typedef struct Rows
{
	TupleDesc	row;
	MeterNaming naming;
	MeterUsageRows usage;
} Rows;

/* Return the row type of settle_rows(), which is kept in the spec. */
static TupleDesc
describe_rows(FunctionCallInfo fcinfo, Spec *spec)
{
	/* the extension may have been made again since */
	if (spec->rows.function != fcinfo->flinfo->fn_oid)
	{
		TupleDesc	descriptor;
		MemoryContext before;

		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		before = MemoryContextSwitchTo(spec->usage.context);
		spec->rows.row = BlessTupleDesc(CreateTupleDescCopy(descriptor));
		spec->rows.function = fcinfo->flinfo->fn_oid;
		MemoryContextSwitchTo(before);
	}
	return spec->rows.row;
}

/* Prepare to give out the usage rows of a resource in [begin, end). */
static Rows *
begin_rows(FunctionCallInfo fcinfo, Spec *spec, MeterTimeline *timeline,
		   TimestampTz begin, TimestampTz end)
{
	Rows	   *rows = palloc0(sizeof(Rows));
	text	   *resource = PG_GETARG_TEXT_P_COPY(1);

	hold_spec(spec);
	rows->row = describe_rows(fcinfo, spec);
	if (timeline->natts != spec->usage.ndimensions + 1)
		malformed("does not have the spec's number of dimensions");
	meter_naming_begin(&rows->naming, spec->usage.stream, spec->usage.meter,
					   meter_attr(VARDATA_ANY(resource),
								  VARSIZE_ANY_EXHDR(resource)));
	meter_usage_begin(&rows->usage, &spec->usage, &rows->naming, timeline,
					  begin, end);
	if (TIMESTAMP_NOT_FINITE(end) || TIMESTAMP_IS_NOEND(begin) ||
		(TIMESTAMP_IS_NOBEGIN(begin) && rows->usage.pieces.rounded.nspans > 0 &&
		 rows->usage.pieces.rounded.spans[0].begin == METER_BEGIN))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"begin_at\" and \"end_at\" must be finite")));
	return rows;
}

/* Return the next usage row. */
static Datum
next_row(FunctionCallInfo fcinfo)
{
	FuncCallContext *call = SRF_PERCALL_SETUP();
	MemoryContext before;
	Rows	   *rows = call->user_fctx;
	MeterUsageRow row;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};
	bool		more;

	before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
	more = meter_usage_next(&rows->usage, &row);
	MemoryContextSwitchTo(before);
	if (!more)
		SRF_RETURN_DONE(call);
	values[0] = UUIDPGetDatum(&row.transaction_id);
	values[1] = PointerGetDatum(cstring_to_text_with_len(row.account.data,
														 row.account.len));
	values[2] = row.dimensions;
	values[3] = TimestampTzGetDatum(row.period_start);
	values[4] = NumericGetDatum(row.quantity);
	SRF_RETURN_NEXT(call,
					HeapTupleGetDatum(heap_form_tuple(rows->row,
													  values, nulls)));
}

PG_FUNCTION_INFO_V1(meter_settle_rows);

/* settle_rows(spec, resource, result, begin, end): usage in [begin, end) */
Datum
meter_settle_rows(PG_FUNCTION_ARGS)
{
	if (SRF_IS_FIRSTCALL())
	{
		Spec	   *spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));
		FuncCallContext *call = SRF_FIRSTCALL_INIT();
		MemoryContext before = MemoryContextSwitchTo(call->multi_call_memory_ctx);

		call->user_fctx = begin_rows(fcinfo, spec,
									 read_result(PG_GETARG_BYTEA_P_COPY(2)),
									 PG_GETARG_TIMESTAMPTZ(3),
									 PG_GETARG_TIMESTAMPTZ(4));
		MemoryContextSwitchTo(before);
	}
	return next_row(fcinfo);
}

/* Return dimensions in the meter's order, as many as the spec has. */
static MeterAttr *
dimension_attrs(const Spec *spec, ArrayType *dimensions)
{
	MeterAttr  *attrs;
	Datum	   *datums;
	bool	   *nulls;
	int			count;
	int			i;

	deconstruct_array(dimensions, TEXTOID, -1, false, TYPALIGN_INT,
					  &datums, &nulls, &count);
	if (count != spec->usage.ndimensions)
		malformed("does not have the spec's number of dimensions");
	attrs = palloc(Max(count, 1) * sizeof(MeterAttr));
	for (i = 0; i < count; i++)
	{
		text	   *value = nulls[i] ? NULL : DatumGetTextPP(datums[i]);

		attrs[i].data = value ? VARDATA_ANY(value) : NULL;
		attrs[i].len = value ? (int32) VARSIZE_ANY_EXHDR(value) : -1;
	}
	return attrs;
}

PG_FUNCTION_INFO_V1(meter_settle_transaction_id);

/* settle_transaction_id(spec, resource, account, dimensions, period_start) */
Datum
meter_settle_transaction_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *name = palloc(sizeof(pg_uuid_t));
	Spec	   *spec;
	MeterNaming naming;
	MeterAttr	account = {"", 0};
	MeterAttr	resource;
	MeterAttr  *attrs;
	text	   *value;
	int			i;

	for (i = 0; i < 5; i++)
	{
		if (PG_ARGISNULL(i) && i != 2)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("only \"account\" may be null")));
	}
	spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));
	value = PG_GETARG_TEXT_PP(1);
	resource.data = VARDATA_ANY(value);
	resource.len = VARSIZE_ANY_EXHDR(value);
	if (!PG_ARGISNULL(2))
	{
		value = PG_GETARG_TEXT_PP(2);
		account.data = VARDATA_ANY(value);
		account.len = VARSIZE_ANY_EXHDR(value);
	}
	attrs = dimension_attrs(spec, PG_GETARG_ARRAYTYPE_P(3));
	meter_naming_begin(&naming, spec->usage.stream, spec->usage.meter,
					   resource);
	meter_usage_name(&spec->usage, &naming, account, attrs,
					 PG_GETARG_TIMESTAMPTZ(4), name);
	PG_RETURN_UUID_P(name);
}

PG_FUNCTION_INFO_V1(meter_settle_dimensions);

/* settle_dimensions(spec, dimensions): as usage rows show them */
Datum
meter_settle_dimensions(PG_FUNCTION_ARGS)
{
	Spec	   *spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));

	Datum		shared = meter_usage_dimensions(&spec->usage,
												dimension_attrs(spec,
																PG_GETARG_ARRAYTYPE_P(1)));

	PG_RETURN_DATUM(datumCopy(shared, false, -1));
}

PG_FUNCTION_INFO_V1(meter_settle_quantity);

/*
 * settle_quantity(spec, value, period_start): the quantity of a resource that
 * runs with that value throughout the period, which is the same however it is
 * rounded
 */
Datum
meter_settle_quantity(PG_FUNCTION_ARGS)
{
	Spec	   *spec;
	TimestampTz begin;
	int64		length;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));
	begin = PG_GETARG_TIMESTAMPTZ(2);
	if (TIMESTAMP_NOT_FINITE(begin))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"period_start\" must be finite")));
	length = meter_grid_period_end(&spec->usage.grid, begin) - begin;
	if (spec->usage.aggregate == METER_WEIGHTED && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (spec->usage.aggregate == METER_WEIGHTED &&
		(numeric_is_nan(PG_GETARG_NUMERIC(1)) ||
		 numeric_is_inf(PG_GETARG_NUMERIC(1))))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"value\" must be finite")));
	PG_RETURN_NUMERIC(meter_usage_whole(&spec->usage, length,
										PG_ARGISNULL(1) ? NULL :
										PG_GETARG_NUMERIC(1)));
}

/* The state of settle_periods() between its rows. */
typedef struct Periods
{
	MeterGrid	grid;
	TimestampTz at;
	TimestampTz end;
} Periods;

PG_FUNCTION_INFO_V1(meter_settle_periods);

/* settle_periods(spec, begin, end): starts of the periods in [begin, end) */
Datum
meter_settle_periods(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Periods    *periods;
	TimestampTz at;

	if (SRF_IS_FIRSTCALL())
	{
		Spec	   *spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));

		call = SRF_FIRSTCALL_INIT();
		periods = MemoryContextAlloc(call->multi_call_memory_ctx,
									 sizeof(Periods));
		periods->grid = spec->usage.grid;
		periods->at = PG_GETARG_TIMESTAMPTZ(1);
		periods->end = PG_GETARG_TIMESTAMPTZ(2);
		if (TIMESTAMP_NOT_FINITE(periods->at) ||
			TIMESTAMP_NOT_FINITE(periods->end))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("\"begin_at\" and \"end_at\" must be finite")));
		periods->at = meter_grid_period_begin(&periods->grid, periods->at);
		call->user_fctx = periods;
	}
	call = SRF_PERCALL_SETUP();
	periods = call->user_fctx;
	if (periods->at >= periods->end)
		SRF_RETURN_DONE(call);
	at = periods->at;
	periods->at = meter_grid_period_end(&periods->grid, at);
	SRF_RETURN_NEXT(call, TimestampTzGetDatum(at));
}

PG_FUNCTION_INFO_V1(meter_settle_period_begin);

/*
 * settle_period_begin(spec, at): the begin of the period that holds an instant
 */
Datum
meter_settle_period_begin(PG_FUNCTION_ARGS)
{
	Spec	   *spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_TIMESTAMPTZ(at);
	PG_RETURN_TIMESTAMPTZ(meter_grid_period_begin(&spec->usage.grid, at));
}

/* The state of settle_spans() between its rows. */
typedef struct Spans
{
	Spec	   *spec;
	MeterGrid	grid;
	MeterTimeline *timeline;
	MeterRounded rounded;
	bool		keyed_by_key;
	TimestampTz begin;
	TimestampTz end;
	int32		next;
} Spans;

PG_FUNCTION_INFO_V1(meter_settle_spans);

/* settle_spans(spec, result, rounded, begin, end): the spans that meet [begin, end) */
Datum
meter_settle_spans(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Spans	   *spans;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		TupleDesc	descriptor;
		Spec	   *spec = spec_from_arg(PG_GETARG_ARRAYTYPE_P(0));
		bool		round = PG_GETARG_BOOL(2);

		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		hold_spec(spec);
		if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(descriptor);
		spans = palloc0(sizeof(Spans));
		spans->spec = spec;
		spans->grid = spec->usage.grid;
		spans->timeline = read_result(PG_GETARG_BYTEA_P_COPY(1));
		if (spans->timeline->natts != spec->usage.ndimensions + 1)
			malformed("does not have the spec's number of dimensions");
		spans->begin = PG_GETARG_TIMESTAMPTZ(3);
		spans->end = PG_GETARG_TIMESTAMPTZ(4);
		/* round as settle_rows() does, or leave spans as the events made them */
		spans->keyed_by_key = round && spec->usage.aggregate == METER_DURATION;
		meter_round(&spans->rounded, spans->timeline,
					spans->keyed_by_key ? METER_KEYED_BY_KEY : METER_KEYED_BY_LABEL,
					round ? spec->usage.rounding : METER_ROUND_NONE,
					&spans->grid, METER_END);
		call->user_fctx = spans;
		MemoryContextSwitchTo(before);
	}
	call = SRF_PERCALL_SETUP();
	spans = call->user_fctx;
	while (spans->next < spans->rounded.nspans)
	{
		const MeterSpan *span = &spans->rounded.spans[spans->next++];
		MeterAttr	value = METER_NULL_ATTR;
		int32		key = span->label;
		Datum		values[5];
		bool		nulls[5] = {false, false, false, false, false};

		if (span->end <= spans->begin || span->begin >= spans->end)
			continue;
		if (!spans->keyed_by_key)
		{
			value = meter_timeline_value(spans->timeline, span->label);
			key = spans->timeline->labels[span->label].key;
		}
		values[0] = TimestampTzGetDatum(span->begin);
		values[1] = TimestampTzGetDatum(span->end);
		values[2] = attr_to_text(spans->timeline->keys[(size_t) key * spans->timeline->natts],
								 &nulls[2]);
		if (nulls[2])
		{
			values[2] = CStringGetTextDatum("");
			nulls[2] = false;
		}
		values[3] = meter_usage_dimensions(&spans->spec->usage, spans->timeline->keys +
										   (size_t) key * spans->timeline->natts + 1);
		nulls[4] = MeterAttrIsNull(value);
		if (!nulls[4])
			values[4] = NumericGetDatum(meter_numeric_from_attr(value));
		SRF_RETURN_NEXT(call,
						HeapTupleGetDatum(heap_form_tuple(call->tuple_desc,
														  values, nulls)));
	}
	SRF_RETURN_DONE(call);
}
