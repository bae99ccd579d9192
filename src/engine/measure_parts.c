/*
 * measure_parts.c
 *	  A measure cut into parts: at the periods, and where its owner changes.
 *
 * The part of [x, y) is cum(y) - cum(x), where cum(t) is the value times the
 * share of the time up to t, truncated toward zero in the value's own scale.
 * So the parts of any cut add up to the value, to the last digit.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/grid.h"
#include "engine/payer.h"
#include "pg/arguments.h"
#include "pg/timezone.h"

/*
 * Values of up to so many digits are cut in 128 bits, with any length of time.
 */
#define SMALL_DIGITS	18

/* The grid of the period and time zone that were asked for last. */
static struct
{
	text	   *period;			/* NULL: none yet */
	text	   *timezone;
	MeterGrid	grid;
}			known;

/* Tell whether an argument is a known text. */
static bool
is_text(FunctionCallInfo fcinfo, int argument, const text * known_text)
{
	text	   *given = PG_GETARG_TEXT_PP(argument);

	return VARSIZE_ANY_EXHDR(given) == VARSIZE_ANY_EXHDR(known_text) &&
		memcmp(VARDATA_ANY(given), VARDATA_ANY(known_text),
			   VARSIZE_ANY_EXHDR(given)) == 0;
}

/* Return the grid of the first two arguments: period and time zone. */
static MeterGrid *
grid_from_args(FunctionCallInfo fcinfo)
{
	MemoryContext before;
	text	   *period;
	text	   *timezone;
	MeterGrid	grid;

	if (known.period != NULL && is_text(fcinfo, 0, known.period) &&
		is_text(fcinfo, 1, known.timezone))
		return &known.grid;

	meter_grid_init(&grid,
					meter_zone_lookup(text_to_cstring(PG_GETARG_TEXT_PP(1))));
	meter_grid_set_increment(&grid,
							 meter_interval_from_cstring("1 second"));
	meter_grid_set_period(&grid,
						  meter_interval_from_cstring(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	before = MemoryContextSwitchTo(TopMemoryContext);
	period = PG_GETARG_TEXT_P_COPY(0);
	timezone = PG_GETARG_TEXT_P_COPY(1);
	MemoryContextSwitchTo(before);
	if (known.period != NULL)
	{
		pfree(known.period);
		pfree(known.timezone);
	}
	known.period = period;
	known.timezone = timezone;
	known.grid = grid;
	return &known.grid;
}

PG_FUNCTION_INFO_V1(meter_measure_period_begin);

/* measure_period_begin(period, timezone, at) */
Datum
meter_measure_period_begin(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_TIMESTAMPTZ(at);
	PG_RETURN_TIMESTAMPTZ(meter_grid_period_begin(grid_from_args(fcinfo), at));
}

PG_FUNCTION_INFO_V1(meter_measure_period_end);

/*
 * measure_period_end(period, timezone, at): the end of the period that holds
 * an instant
 */
Datum
meter_measure_period_end(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);

	if (TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_TIMESTAMPTZ(at);
	PG_RETURN_TIMESTAMPTZ(meter_grid_period_end(grid_from_args(fcinfo), at));
}

/* A value that is spread evenly over a stretch of time. */
typedef struct Spread
{
	TimestampTz start;
	int64		length;			/* microseconds */
	int			scale;
	bool		is_small;
	int64		small;			/* value times 10^scale, if small */
	Numeric		large;			/* the value, if it is not small */
	Numeric		value;
} Spread;

/* Read a number as the server does. */
static Numeric
numeric_from_cstring(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in,
											   CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/* Begin to spread a value over a stretch of time. */
static void
spread_init(Spread *spread, TimestampTz start, TimestampTz end, Numeric value)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(value)));
	char	   *digits = palloc(strlen(text) + 1);
	const char *point = strchr(text, '.');
	const char *from;
	int			count = 0;

	if (numeric_is_nan(value) || numeric_is_inf(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a value must be finite, not %s", text)));
	for (from = text; *from != '\0'; from++)
	{
		if (*from != '.')
			digits[count++] = *from;
	}
	digits[count] = '\0';

	spread->start = start;
	spread->length = end - start;
	spread->value = value;
	spread->scale = point == NULL ? 0 : (int) strlen(point + 1);
#ifdef HAVE_INT128
	spread->is_small = count - (digits[0] == '-') <= SMALL_DIGITS;
#else
	spread->is_small = false;
#endif
	if (spread->is_small)
		spread->small = strtoll(digits, NULL, 10);
	else
		spread->large = numeric_from_cstring(digits);
}

/*
 * Return the part of a value that falls on [from, to), both within its
 * stretch.
 */
static Numeric
spread_part(const Spread *spread, TimestampTz from, TimestampTz to)
{
	int64		elapsed[2];
	Datum		cumulated[2];
	int			i;

	if (spread->length == 0 ||
		(from == spread->start && to == spread->start + spread->length))
		return spread->value;
	elapsed[0] = from - spread->start;
	elapsed[1] = to - spread->start;
#ifdef HAVE_INT128
	if (spread->is_small)
	{
		int64		low = (int64) ((int128) spread->small * elapsed[0] / spread->length);
		int64		high = (int64) ((int128) spread->small * elapsed[1] / spread->length);

		return int64_div_fast_to_numeric(high - low, spread->scale);
	}
#endif
	for (i = 0; i < 2; i++)
		cumulated[i] =
			DirectFunctionCall2(numeric_div_trunc,
								DirectFunctionCall2(numeric_mul,
													NumericGetDatum(spread->large),
													NumericGetDatum(int64_to_numeric(elapsed[i]))),
								NumericGetDatum(int64_to_numeric(spread->length)));
	return DatumGetNumeric(
						   DirectFunctionCall2(numeric_mul,
											   DirectFunctionCall2(numeric_sub, cumulated[1],
																   cumulated[0]),
											   NumericGetDatum(numeric_from_cstring(psprintf("1e-%d",
																							 spread->scale)))));
}

/* The state of measure_parts() between its rows. */
typedef struct Parts
{
	TupleDesc	descriptor;
	MeterGrid	grid;
	Spread		spread;
	MeterOwners owners;
	TimestampTz at;
	TimestampTz end;
	bool		at_instant;		/* the measure has no length, and was not
								 * returned yet */
} Parts;

PG_FUNCTION_INFO_V1(meter_measure_parts);

/*
 * measure_parts(period, timezone, start_time, end_time, value, account,
 * owned_since, owners, begin_at, end_at)
 */
Datum
meter_measure_parts(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Parts	   *parts;
	TimestampTz period_begin;
	TimestampTz to;
	int			owner;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		TimestampTz start;
		TimestampTz end;
		int			i;

		call = SRF_FIRSTCALL_INIT();
		for (i = 0; i < 10; i++)
		{
			if (i >= 5 && i <= 7)
				continue;
			/* without a value there is no part */
			if (i == 4 && PG_ARGISNULL(i))
				SRF_RETURN_DONE(call);
			if (PG_ARGISNULL(i))
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("only \"value\", \"account\" and \"owners\" may be null")));
		}
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		parts = palloc0(sizeof(Parts));
		if (get_call_result_type(fcinfo, NULL, &parts->descriptor) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		parts->descriptor = BlessTupleDesc(parts->descriptor);
		start = PG_GETARG_TIMESTAMPTZ(2);
		end = PG_GETARG_TIMESTAMPTZ(3);
		if (TIMESTAMP_NOT_FINITE(start) || TIMESTAMP_NOT_FINITE(end) ||
			end < start)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("a measure must begin and end at finite times, in that order")));
		spread_init(&parts->spread, start, end,
					DatumGetNumericCopy(PG_GETARG_DATUM(4)));
		if (!PG_ARGISNULL(5) && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(5)) > 0)
		{
			parts->owners.count = 1;
			parts->owners.since = palloc(sizeof(Datum));
			parts->owners.since[0] = TimestampTzGetDatum(DT_NOBEGIN);
			parts->owners.names = palloc(sizeof(Datum));
			parts->owners.names[0] = PointerGetDatum(PG_GETARG_TEXT_P_COPY(5));
		}
		else
		{
			meter_read_owners(fcinfo, 6, 7, &parts->owners);
			/* the array may be freed before the next row */
			for (i = 0; i < parts->owners.count; i++)
				parts->owners.names[i] =
					PointerGetDatum(DatumGetTextPCopy(parts->owners.names[i]));
		}
		parts->at = Max(start, PG_GETARG_TIMESTAMPTZ(8));
		parts->end = Min(end, PG_GETARG_TIMESTAMPTZ(9));
		parts->at_instant = start == end &&
			start >= PG_GETARG_TIMESTAMPTZ(8) &&
			start < PG_GETARG_TIMESTAMPTZ(9);
		call->user_fctx = parts;
		MemoryContextSwitchTo(before);
		parts->grid = *grid_from_args(fcinfo);
	}
	call = SRF_PERCALL_SETUP();
	parts = call->user_fctx;
	if (parts->at >= parts->end && !parts->at_instant)
		SRF_RETURN_DONE(call);

	CHECK_FOR_INTERRUPTS();
	period_begin = meter_grid_period_begin(&parts->grid, parts->at);
	to = Min(parts->end, meter_grid_period_end(&parts->grid, parts->at));
	owner = meter_owner_at(&parts->owners, parts->at);
	if (owner >= 0 && owner + 1 < parts->owners.count)
		to = Min(to, DatumGetTimestampTz(parts->owners.since[owner + 1]));
	/* of no length, or in a period that ends after time itself */
	if (to <= parts->at)
		to = Max(parts->end, parts->at);

	values[0] = TimestampTzGetDatum(period_begin);
	values[1] = owner < 0 ? CStringGetTextDatum("") :
		parts->owners.names[owner];
	values[2] = TimestampTzGetDatum(parts->at);
	values[3] = TimestampTzGetDatum(to);
	values[4] = NumericGetDatum(spread_part(&parts->spread, parts->at, to));
	parts->at = to;
	parts->at_instant = false;
	SRF_RETURN_NEXT(call,
					HeapTupleGetDatum(heap_form_tuple(parts->descriptor,
													  values, nulls)));
}
