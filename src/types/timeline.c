/*
 * timeline.c
 *	  The type meter.timeline and its functions.
 *
 * A timeline of SQL has one text attribute, the label, and knows its last
 * event only while its last span is open: two timelines that say the same are
 * the same bytes.  Every function depends on its arguments alone, and on the
 * rules of named time zones.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/codec.h"
#include "core/core.h"
#include "core/grid.h"
#include "core/packed.h"
#include "core/rounding.h"
#include "core/textform.h"
#include "core/timeline_builder.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "pg/timezone.h"
#include "types/timeline.h"

PG_FUNCTION_INFO_V1(meter_timeline_in);
PG_FUNCTION_INFO_V1(meter_timeline_out);
PG_FUNCTION_INFO_V1(meter_timeline_recv);
PG_FUNCTION_INFO_V1(meter_timeline_send);
PG_FUNCTION_INFO_V1(meter_timeline_eq);
PG_FUNCTION_INFO_V1(meter_timeline_ne);
PG_FUNCTION_INFO_V1(meter_timeline_hash);
PG_FUNCTION_INFO_V1(meter_timeline_hash_extended);
PG_FUNCTION_INFO_V1(meter_timeline_duration);
PG_FUNCTION_INFO_V1(meter_timeline_weighted);
PG_FUNCTION_INFO_V1(meter_timeline_spans);
PG_FUNCTION_INFO_V1(meter_timeline_periods);
PG_FUNCTION_INFO_V1(meter_timeline_active_at);

/* --- as a value --------------------------------------------------------- */

/*
 * Read a timeline; its texts are those of the datum, or of a detoasted copy.
 */
MeterTimeline *
meter_timeline_read(Datum datum)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(datum);
	const char *problem;
	size_t		position;
	MeterTimeline *timeline;

	timeline = meter_decode((const uint8 *) VARDATA_ANY(value),
							VARSIZE_ANY_EXHDR(value), &problem, &position);
	if (timeline != NULL && timeline->natts != 1)
	{
		timeline = NULL;
		problem = "has no label attribute";
		position = 2;
	}
	if (timeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("timeline %s, at byte %zu", problem, position)));
	return timeline;
}

/* Make a value of a timeline. */
Datum
meter_timeline_datum(const MeterTimeline *timeline)
{
	MeterTimeline plain = *timeline;
	size_t		bound;
	struct varlena *value;

	if (plain.nspans == 0 || plain.spans[plain.nspans - 1].end != METER_END)
		plain.has_last = false;
	bound = meter_encode_bound(&plain);
	if (bound > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("timeline of %d spans is too long", plain.nspans),
				 errhint("Make timelines of shorter stretches of time.")));
	value = palloc(bound + VARHDRSZ);
	SET_VARSIZE(value, VARHDRSZ +
				meter_encode(&plain, (uint8 *) VARDATA(value)));
	return PointerGetDatum(value);
}

/* Make a timeline of its text form. */
Datum
meter_timeline_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	const char *problem;
	size_t		position;
	MeterTimeline *timeline;

	timeline = meter_timeline_from_text(text, strlen(text),
										&problem, &position);
	if (timeline == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"",
						"meter.timeline", text),
				 errdetail("At character %d: %s.",
						   pg_mbstrlen_with_len(text, (int) position) + 1,
						   problem)));
	PG_RETURN_DATUM(meter_timeline_datum(timeline));
}

/* Return the text form of a timeline. */
Datum
meter_timeline_out(PG_FUNCTION_ARGS)
{
	MeterTimeline *timeline = meter_timeline_read(PG_GETARG_DATUM(0));
	size_t		length;
	char	   *text = meter_timeline_to_text(timeline, &length);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("timeline of %d spans is too long for a text",
						timeline->nspans),
				 errhint("meter.spans() gives its spans as rows.")));
	PG_RETURN_CSTRING(text);
}

/* Convert the labels of a timeline by one of the server's functions. */
static void
convert_labels(MeterTimeline *timeline,
			   char *(*convert) (const char *text, int length, int encoding))
{
	int32		i;

	for (i = 0; i < timeline->nkeys; i++)
	{
		MeterAttr  *label = &timeline->keys[i];
		char	   *converted;

		if (label->len <= 0)
			continue;
		converted = convert(label->data, label->len, PG_UTF8);
		if (converted != label->data)
		{
			label->data = converted;
			label->len = (int32) strlen(converted);
		}
	}
}

/*
 * Make a timeline of its binary form: the stored one, with labels in UTF-8
 * whatever the client's encoding.  The timeline is built anew, so that one
 * that was sent in another order or a longer form is stored like all others.
 */
Datum
meter_timeline_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	size_t		length = message->len - message->cursor;
	const uint8 *bytes = (const uint8 *) pq_getmsgbytes(message, (int) length);
	const char *problem;
	size_t		position;
	MeterTimeline *sent = meter_decode(bytes, length, &problem, &position);
	MeterTimelineBuilder builder;
	int32		i;

	if (sent != NULL)
	{
		position = length;
		problem = NULL;
		if (sent->natts != 1)
			problem = "has not one label a span";
		for (i = 0; problem == NULL && i < sent->nkeys; i++)
		{
			if (sent->keys[i].len > 0 &&
				memchr(sent->keys[i].data, '\0', sent->keys[i].len) != NULL)
				problem = "has a label with a zero byte";
		}
		if (problem == NULL && sent->state.open)
		{
			const MeterSpan *span = &sent->spans[sent->nspans - 1];

			if (!sent->has_last && span->begin != METER_BEGIN)
				problem = "is open without a last event";
			else if (sent->has_last && sent->last < span->begin)
				problem = "has its last event before its last span";
		}
	}
	if (sent == NULL || problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", "meter.timeline"),
				 errdetail("The value %s, at byte %zu.", problem, position)));

	convert_labels(sent, pg_any_to_server);
	meter_build_begin(&builder, 1);
	for (i = 0; i < sent->nspans; i++)
	{
		MeterAttr	attrs[2];

		attrs[0] = meter_timeline_attr(sent, sent->spans[i].label, 0);
		attrs[1] = meter_timeline_value(sent, sent->spans[i].label);
		meter_build_span(&builder, sent->spans[i].begin, sent->spans[i].end,
						 meter_build_label(&builder, attrs));
	}
	builder.timeline->has_last = sent->has_last;
	builder.timeline->last = sent->last;
	PG_RETURN_DATUM(meter_timeline_datum(builder.timeline));
}

/* Return the binary form of a timeline. */
Datum
meter_timeline_send(PG_FUNCTION_ARGS)
{
	MeterTimeline *timeline = meter_timeline_read(PG_GETARG_DATUM(0));
	Datum		value;
	StringInfoData message;

	convert_labels(timeline, pg_server_to_any);
	value = meter_timeline_datum(timeline);
	pq_begintypsend(&message);
	pq_sendbytes(&message, VARDATA_ANY(DatumGetPointer(value)),
				 VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/* Tell whether two timelines are the same bytes. */
static bool
timelines_equal(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	bool		equal = VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
	memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

/* timeline = timeline */
Datum
meter_timeline_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(timelines_equal(fcinfo));
}

/* timeline <> timeline */
Datum
meter_timeline_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!timelines_equal(fcinfo));
}

/* Hash a timeline, for hash joins and grouping. */
Datum
meter_timeline_hash(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	Datum		hash = hash_any((const unsigned char *) VARDATA_ANY(value),
								VARSIZE_ANY_EXHDR(value));

	PG_FREE_IF_COPY(value, 0);
	return hash;
}

/* Hash a timeline with a seed, for hash partitions. */
Datum
meter_timeline_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	Datum		hash = hash_any_extended((const unsigned char *) VARDATA_ANY(value),
										 VARSIZE_ANY_EXHDR(value),
										 PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(value, 0);
	return hash;
}

/* --- arguments ---------------------------------------------------------- */

/*
 * Make a window of a tstzrange.  Windows are half open: whether a bound is
 * inclusive makes no difference to a length of time.
 */
MeterWindow
meter_window_from_range(Datum range)
{
	RangeType  *value = DatumGetRangeTypeP(range);
	TypeCacheEntry *typcache = lookup_type_cache(RangeTypeGetOid(value),
												 TYPECACHE_RANGE_INFO);
	MeterWindow window = {true, 0, 0};
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	range_deserialize(typcache, value, &lower, &upper, &empty);
	if (!empty)
	{
		window.from = lower.infinite ? METER_BEGIN :
			DatumGetTimestampTz(lower.val);
		window.to = upper.infinite ? METER_END :
			DatumGetTimestampTz(upper.val);
	}
	return window;
}

/* Make an interval of hours and smaller units. */
Interval *
meter_interval_from_usec(int64 usec)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = usec;
	return interval;
}

/* Return the window in argument n, which may be null or absent. */
static MeterWindow
get_window(FunctionCallInfo fcinfo, int n)
{
	MeterWindow none = {false, METER_BEGIN, METER_END};

	return PG_ARGISNULL(n) ? none : meter_window_from_range(PG_GETARG_DATUM(n));
}

/*
 * Return the rounding in arguments n (increment) and n + 1 (rounding), which
 * may be null or absent, and set up the grid.  Without an increment times are
 * exact; with one they are rounded up by default.
 */
static MeterRounding
get_rounding(FunctionCallInfo fcinfo, int n, MeterGrid *grid)
{
	MeterRounding rounding;

	grid->unit = 0;
	if (!PG_ARGISNULL(n))
		meter_grid_set_increment(grid, PG_GETARG_INTERVAL_P(n));
	if (PG_ARGISNULL(n + 1))
		return grid->unit > 0 ? METER_ROUND_UP : METER_ROUND_NONE;
	rounding =
		meter_rounding_by_name(text_to_cstring(PG_GETARG_TEXT_PP(n + 1)));
	if (rounding != METER_ROUND_NONE && grid->unit == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"rounding\" needs an \"increment\""),
				 errhint("Give an increment, such as '1 minute'.")));
	return rounding;
}

/* Return where a span that has no end is taken to end. */
static int64
open_end(const MeterTimeline *timeline, const MeterWindow *window)
{
	return !window->given && timeline->has_last ? timeline->last : METER_END;
}

/* Raise that a run without end cannot be counted. */
static void
refuse_unbounded(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("an open run has no end in a window that has none"),
			 errhint("Give the window an end, or leave the window out to count up to the last event.")));
}

/* Refuse spans that have no end, or no begin, in a window without one. */
static void
check_bounded(const MeterRounded *rounded, const MeterWindow *window)
{
	if (rounded->nspans == 0 || window->from >= window->to)
		return;
	if (window->to == METER_END &&
		rounded->spans[rounded->nspans - 1].end == METER_END)
		refuse_unbounded();
	if (window->from == METER_BEGIN && rounded->spans[0].begin == METER_BEGIN)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a run without a begin needs a window with one")));
}

/* Raise an error if no interval holds a sum of time. */
int64
meter_check_billed(int64 billed)
{
	if (billed == METER_UNBOUNDED)
		refuse_unbounded();
	if (billed < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("interval out of range")));
	return billed;
}

/* Return the time billed in a window, each label rounded on its own. */
int64
meter_timeline_billed(const MeterTimeline *timeline,
					  const MeterWindow *window, MeterRounding rounding,
					  MeterGrid *grid)
{
	MeterRounded rounded;
	MeterCutter cutter;
	uint64		billed = 0;
	int32		i;

	meter_round(&rounded, timeline, METER_KEYED_BY_KEY, rounding, grid,
				open_end(timeline, window));
	check_bounded(&rounded, window);
	meter_cut_begin(&cutter, &rounded, grid, window->from, window->to);
	if (meter_cut_window(&cutter))
	{
		for (i = 0; i < cutter.nparts; i++)
			billed += (uint64) cutter.parts[i].billed;
	}
	return meter_check_billed((int64) billed);
}

/* --- functions ---------------------------------------------------------- */

/* duration(timeline, during, increment, rounding) */
Datum
meter_timeline_duration(PG_FUNCTION_ARGS)
{
	MeterWindow window;
	MeterRounding rounding;
	MeterGrid	grid;
	int64		billed;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	window = get_window(fcinfo, 1);
	meter_grid_init(&grid, NULL);
	rounding = get_rounding(fcinfo, 2, &grid);
	billed = meter_timeline_billed(meter_timeline_read(PG_GETARG_DATUM(0)),
								   &window, rounding, &grid);
	PG_RETURN_INTERVAL_P(meter_interval_from_usec(billed));
}

/* weighted(timeline, during, unit) */
Datum
meter_timeline_weighted(PG_FUNCTION_ARGS)
{
	MeterTimeline *timeline;
	MeterWindow window;
	MeterRounded rounded;
	MeterCutter cutter;
	int64		unit;
	Datum		sum = NumericGetDatum(int64_to_numeric(0));
	int32		i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	window = get_window(fcinfo, 1);
	unit = meter_interval_usec(PG_GETARG_INTERVAL_P(2), "unit");
	if (unit <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"unit\" must be positive")));
	timeline = meter_timeline_read(PG_GETARG_DATUM(0));

	meter_round(&rounded, timeline, METER_KEYED_BY_LABEL, METER_ROUND_NONE,
				NULL, open_end(timeline, &window));
	check_bounded(&rounded, &window);
	meter_cut_begin(&cutter, &rounded, NULL, window.from, window.to);
	if (meter_cut_window(&cutter))
	{
		for (i = 0; i < cutter.nparts; i++)
		{
			MeterAttr	value = meter_timeline_value(timeline,
													 cutter.parts[i].label);
			int64		billed = meter_check_billed(cutter.parts[i].billed);

			if (MeterAttrIsNull(value))
				continue;
			sum = DirectFunctionCall2(numeric_add, sum,
									  DirectFunctionCall2(numeric_mul,
														  NumericGetDatum(meter_numeric_from_attr(value)),
														  NumericGetDatum(int64_to_numeric(billed))));
		}
	}
	PG_RETURN_NUMERIC(meter_quantity_weighted(DatumGetNumeric(sum), unit));
}

/* Labels and values of a timeline as columns of rows. */
typedef struct LabelColumns
{
	Datum	   *labels;			/* by label */
	bool	   *label_nulls;
	Datum	   *values;
	bool	   *value_nulls;
} LabelColumns;

/* Make the columns of labels in the current memory context. */
static void
make_label_columns(LabelColumns *columns, const MeterTimeline *timeline)
{
	int32		n = Max(timeline->nlabels, 1);
	int32		i;

	columns->labels = palloc0(n * sizeof(Datum));
	columns->label_nulls = palloc0(n * sizeof(bool));
	columns->values = palloc0(n * sizeof(Datum));
	columns->value_nulls = palloc0(n * sizeof(bool));
	for (i = 0; i < timeline->nlabels; i++)
	{
		MeterAttr	label = meter_timeline_attr(timeline, i, 0);
		MeterAttr	value = meter_timeline_value(timeline, i);

		columns->label_nulls[i] = MeterAttrIsNull(label);
		if (!MeterAttrIsNull(label))
			columns->labels[i] =
				PointerGetDatum(cstring_to_text_with_len(label.data,
														 label.len));
		columns->value_nulls[i] = MeterAttrIsNull(value);
		if (!MeterAttrIsNull(value))
			columns->values[i] =
				NumericGetDatum(meter_numeric_from_attr(value));
	}
}

/* Return the row type of the calling function. */
static TupleDesc
result_row_type(FunctionCallInfo fcinfo)
{
	TupleDesc	tupdesc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(tupdesc);
}

/* The state of spans() between its rows. */
typedef struct SpansContext
{
	MeterTimeline *timeline;
	LabelColumns columns;
	TypeCacheEntry *range_type;
} SpansContext;

/* spans(timeline): one row for each span */
Datum
meter_timeline_spans(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	SpansContext *context;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext oldcontext;

		funcctx = SRF_FIRSTCALL_INIT();
		oldcontext = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		context = palloc0(sizeof(SpansContext));
		context->timeline =
			meter_timeline_read(PointerGetDatum(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0))));
		make_label_columns(&context->columns, context->timeline);
		context->range_type = lookup_type_cache(TSTZRANGEOID,
												TYPECACHE_RANGE_INFO);
		funcctx->user_fctx = context;
		funcctx->tuple_desc = result_row_type(fcinfo);
		MemoryContextSwitchTo(oldcontext);
	}

	funcctx = SRF_PERCALL_SETUP();
	context = funcctx->user_fctx;
	if (funcctx->call_cntr < (uint64) context->timeline->nspans)
	{
		const MeterSpan *span = &context->timeline->spans[funcctx->call_cntr];
		RangeBound	lower = {0};
		RangeBound	upper = {0};
		Datum		values[3];
		bool		nulls[3] = {false};

		lower.val = TimestampTzGetDatum(span->begin);
		lower.infinite = span->begin == METER_BEGIN;
		lower.inclusive = !lower.infinite;
		lower.lower = true;
		upper.val = TimestampTzGetDatum(span->end);
		upper.infinite = span->end == METER_END;
		values[0] = RangeTypePGetDatum(meter_make_range(context->range_type,
														&lower, &upper));
		values[1] = context->columns.labels[span->label];
		nulls[1] = context->columns.label_nulls[span->label];
		values[2] = context->columns.values[span->label];
		nulls[2] = context->columns.value_nulls[span->label];
		SRF_RETURN_NEXT(funcctx,
						HeapTupleGetDatum(heap_form_tuple(funcctx->tuple_desc,
														  values, nulls)));
	}
	SRF_RETURN_DONE(funcctx);
}

/* The state of periods() between its rows. */
typedef struct PeriodsContext
{
	LabelColumns columns;
	MeterRounded rounded;
	MeterCutter cutter;
	MeterGrid	grid;
	int32		next_part;
} PeriodsContext;

/*
 * periods(timeline, during, period, increment, rounding, timezone): one row
 * for each period and label with time in it
 */
Datum
meter_timeline_periods(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	PeriodsContext *context;
	MeterCutter *cutter;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext oldcontext;

		funcctx = SRF_FIRSTCALL_INIT();
		oldcontext = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		context = palloc0(sizeof(PeriodsContext));
		funcctx->user_fctx = context;
		funcctx->tuple_desc = result_row_type(fcinfo);
		if (!PG_ARGISNULL(0))
		{
			MeterWindow window = get_window(fcinfo, 1);
			MeterTimeline *timeline;
			MeterRounding rounding;
			const MeterZone *zone = NULL;

			if (PG_ARGISNULL(2))
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("\"period\" must not be null")));
			if (!PG_ARGISNULL(5))
				zone = meter_zone_lookup(text_to_cstring(PG_GETARG_TEXT_PP(5)));
			meter_grid_init(&context->grid, zone);
			rounding = get_rounding(fcinfo, 3, &context->grid);
			meter_grid_set_period(&context->grid, PG_GETARG_INTERVAL_P(2));

			timeline =
				meter_timeline_read(PointerGetDatum(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0))));
			make_label_columns(&context->columns, timeline);
			meter_round(&context->rounded, timeline, METER_KEYED_BY_LABEL,
						rounding, &context->grid,
						open_end(timeline, &window));
			check_bounded(&context->rounded, &window);
			meter_cut_begin(&context->cutter, &context->rounded,
							&context->grid, window.from, window.to);
		}
		MemoryContextSwitchTo(oldcontext);
	}

	funcctx = SRF_PERCALL_SETUP();
	context = funcctx->user_fctx;
	cutter = &context->cutter;
	if (cutter->rounded != NULL && context->next_part == cutter->nparts)
	{
		context->next_part = 0;
		if (!meter_cut_next(cutter))
			SRF_RETURN_DONE(funcctx);
	}
	if (context->next_part < cutter->nparts)
	{
		const MeterPart *part = &cutter->parts[context->next_part++];
		int32		label = part->label;
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = TimestampTzGetDatum(cutter->period_begin);
		values[1] = context->columns.labels[label];
		nulls[1] = context->columns.label_nulls[label];
		values[2] = context->columns.values[label];
		nulls[2] = context->columns.value_nulls[label];
		values[3] = IntervalPGetDatum(meter_interval_from_usec(meter_check_billed(part->billed)));
		SRF_RETURN_NEXT(funcctx,
						HeapTupleGetDatum(heap_form_tuple(funcctx->tuple_desc,
														  values, nulls)));
	}
	SRF_RETURN_DONE(funcctx);
}

/* active_at(timeline, instant) */
Datum
meter_timeline_active_at(PG_FUNCTION_ARGS)
{
	MeterTimeline *timeline = meter_timeline_read(PG_GETARG_DATUM(0));
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	int32		low = 0;
	int32		high = timeline->nspans;

	/* the first span that begins after that instant */
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;

		if (timeline->spans[middle].begin <= at)
			low = middle + 1;
		else
			high = middle;
	}
	PG_RETURN_BOOL(low > 0 &&
				   (timeline->spans[low - 1].end > at ||
					timeline->spans[low - 1].end == METER_END));
}
