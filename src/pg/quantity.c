/*
 * quantity.c
 *	  Exact arithmetic on values, times and units.
 *
 * A quantity is the billed time (times the value) divided by the unit: exact
 * where that is a finite decimal; otherwise it is divided once, last, and
 * rounded half away from zero at the 12th digit.  There is no floating point
 * anywhere.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/decimal.h"
#include "pg/quantity.h"

#define ROUNDED_DIGITS	12

/* Call a function of two numerics. */
static Numeric
numeric_call2(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(function,
											   NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* Call a function of one numeric. */
static Numeric
numeric_call1(PGFunction function, Numeric a)
{
	return DatumGetNumeric(DirectFunctionCall1(function, NumericGetDatum(a)));
}

/* Return 10 to the power of n, n >= 0. */
static Numeric
power_of_ten(int n)
{
	char		text[32];

	snprintf(text, sizeof(text), "1e%d", n);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in,
											   CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/* Return the canonical decimal of a number; NaN and infinities are refused. */
MeterAttr
meter_attr_from_numeric(Numeric number)
{
	MeterAttr	attr;
	char	   *text;

	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(number)));
	if (numeric_is_nan(number) || numeric_is_inf(number))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a value must be finite, not %s", text)));
	attr.data = text;
	attr.len = meter_decimal_trim(text, (int) strlen(text));
	return attr;
}

/* Return the number that a canonical decimal stands for. */
Numeric
meter_numeric_from_attr(MeterAttr attr)
{
	char	   *text = pnstrdup(attr.data, attr.len);
	Datum		number = DirectFunctionCall3(numeric_in,
											 CStringGetDatum(text),
											 ObjectIdGetDatum(InvalidOid),
											 Int32GetDatum(-1));

	pfree(text);
	return DatumGetNumeric(number);
}

/* Return the greatest common divisor of two numbers that are not negative. */
static int64
gcd(int64 a, int64 b)
{
	while (b != 0)
	{
		int64		rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Return how many decimal digits 1/divisor has, or -1 if they never end. */
static int
digits_of_inverse(int64 divisor)
{
	int			twos = 0;
	int			fives = 0;

	for (; divisor % 2 == 0; divisor /= 2)
		twos++;
	for (; divisor % 5 == 0; divisor /= 5)
		fives++;
	return divisor == 1 ? Max(twos, fives) : -1;
}

/*
 * Tell whether quantities in `unit` of times billed by `increment` are always
 * exact.
 */
bool
meter_unit_is_finite(int64 unit, int64 increment)
{
	return digits_of_inverse(unit / gcd(unit, increment)) >= 0;
}

/* Return value_usec / unit, rounded as quantities are. */
Numeric
meter_quantity_weighted(Numeric value_usec, int64 unit)
{
	int			scale = DatumGetInt32(DirectFunctionCall1(numeric_min_scale,
														  NumericGetDatum(value_usec)));
	Numeric		digits = numeric_call2(numeric_mul, value_usec,
									   power_of_ten(scale));
	Numeric		result;
	int64		rest;
	int64		divisor;
	int			more;

	/* digits is an integer: find the part of the unit that does not divide it */
	rest = DatumGetInt64(DirectFunctionCall1(numeric_int8,
											 NumericGetDatum(numeric_call2(numeric_mod,
																		   numeric_call1(numeric_abs, digits),
																		   int64_to_numeric(unit)))));
	divisor = unit / gcd(unit, rest);
	more = digits_of_inverse(divisor);
	if (more >= 0)
	{
		/* digits / unit = (digits * 10^more / unit) / 10^more, all exact */
		result = numeric_call2(numeric_div_trunc,
							   numeric_call2(numeric_mul, digits,
											 power_of_ten(more)),
							   int64_to_numeric(unit));
		scale += more;
	}
	else
	{
		Numeric		by = numeric_call2(numeric_mul, power_of_ten(scale),
									   int64_to_numeric(unit));
		Numeric		magnitude = numeric_call1(numeric_abs, digits);

		/* the integer part of (2 * magnitude * 10^12 + by) / (2 * by) */
		result = numeric_call2(numeric_mul, magnitude,
							   power_of_ten(ROUNDED_DIGITS));
		result = numeric_call2(numeric_add,
							   numeric_call2(numeric_add, result, result), by);
		result = numeric_call2(numeric_div_trunc, result,
							   numeric_call2(numeric_add, by, by));
		if (DatumGetBool(DirectFunctionCall2(numeric_lt,
											 NumericGetDatum(digits),
											 NumericGetDatum(int64_to_numeric(0)))))
			result = numeric_call1(numeric_uminus, result);
		scale = ROUNDED_DIGITS;
	}

	/* multiplied by 10^-scale, which is exact as well */
	while (scale > 0)
	{
		int			step = Min(scale, 18);

		result = numeric_call2(numeric_mul, result,
							   int64_div_fast_to_numeric(1, step));
		scale -= step;
	}
	return numeric_call1(numeric_trim_scale, result);
}

/* Return usec / unit, rounded as quantities are. */
Numeric
meter_quantity(int64 usec, int64 unit)
{
#ifdef HAVE_INT128
	int64		divisor;
	int			scale;
	int			i;
	int128		digits;
#endif

	if (usec % unit == 0)
		return int64_to_numeric(usec / unit);

#ifdef HAVE_INT128
	divisor = unit / gcd(unit, usec < 0 ? -(usec % unit) : usec % unit);
	scale = digits_of_inverse(divisor);
	digits = usec;
	if (scale >= 0 && scale <= 18)
	{
		for (i = 0; i < scale; i++)
			digits *= 10;
		digits /= unit;
	}
	else
	{
		int128		by = (int128) unit * 2;

		scale = ROUNDED_DIGITS;
		for (i = 0; i < scale; i++)
			digits *= 10;
		digits = (2 * digits + (usec < 0 ? -unit : unit)) / by;
	}
	if (digits >= PG_INT64_MIN && digits <= PG_INT64_MAX)
	{
		for (; scale > 0 && digits % 10 == 0; scale--)
			digits /= 10;
		return int64_div_fast_to_numeric((int64) digits, scale);
	}
#endif
	return meter_quantity_weighted(int64_to_numeric(usec), unit);
}

/*
 * Return the microseconds of an interval of days and smaller units (a day: 24
 * hours).  `what` names the interval in the error for others.
 */
int64
meter_interval_usec(const Interval *interval, const char *what)
{
	int64		usec;

	if (interval->month != 0 ||
		pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &usec) ||
		pg_add_s64_overflow(usec, interval->time, &usec))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be in days or smaller: \"%s\"", what,
						DatumGetCString(DirectFunctionCall1(interval_out,
															IntervalPGetDatum(interval)))),
				 errhint("Months have no fixed length.")));
	return usec;
}

/* Is a number 0? */
bool
meter_numeric_is_zero(Numeric number)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq,
											NumericGetDatum(number),
											NumericGetDatum(int64_to_numeric(0))));
}

/* Tell whether a number is positive, and finite. */
bool
meter_numeric_is_positive(Numeric number)
{
	return !numeric_is_nan(number) && !numeric_is_inf(number) &&
		DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number),
										 NumericGetDatum(int64_to_numeric(0))));
}
