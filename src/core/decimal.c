/*
 * decimal.c
 *	  Decimal numbers as text: the form in which timelines carry values.
 *
 * The canonical form has one spelling for each number: an optional minus, the
 * integer part without leading zeros ("0" if it is zero), and a fraction
 * without trailing zeros, if there is one.  "0" has no sign.  So equal
 * numbers are equal bytes, and only an order needs to look at digits.
 */
#include "core/core.h"
#include "core/decimal.h"

/*
 * Cut what the output of numeric has beyond the canonical form; returns the
 * new length.
 */
int
meter_decimal_trim(char *text, int len)
{
	if (len > 0 && memchr(text, '.', len) != NULL)
	{
		while (text[len - 1] == '0')
			len--;
		if (text[len - 1] == '.')
			len--;
	}
	if (len == 2 && text[0] == '-' && text[1] == '0')
	{
		text[0] = '0';
		len = 1;
	}
	return len;
}

/* numeric holds so many digits before and after the point. */
#define MAX_INTEGER_DIGITS	131072
#define MAX_FRACTION_DIGITS	16383

/*
 * Tell whether a text is the canonical spelling of a number that numeric can
 * hold.
 */
bool
meter_decimal_is_canonical(const char *text, int len)
{
	int			i = 0;
	int			first;

	if (len > 0 && text[0] == '-')
		i++;
	first = i;
	while (i < len && text[i] >= '0' && text[i] <= '9')
		i++;
	if (i == first || i - first > MAX_INTEGER_DIGITS ||
		(text[first] == '0' && i - first > 1))
		return false;
	if (i == len)
		return !(first == 1 && text[1] == '0');
	if (text[i] != '.' || text[len - 1] == '0' || i + 1 == len ||
		len - i - 1 > MAX_FRACTION_DIGITS)
		return false;
	for (i++; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return true;
}

/* Order two canonical decimals by magnitude. */
static int
decimal_cmp_magnitude(const char *a, int alen, const char *b, int blen)
{
	const char *apoint = memchr(a, '.', alen);
	const char *bpoint = memchr(b, '.', blen);
	int			aint = apoint ? (int) (apoint - a) : alen;
	int			bint = bpoint ? (int) (bpoint - b) : blen;
	int			cmp;

	if (aint != bint)
		return aint < bint ? -1 : 1;
	cmp = memcmp(a, b, Min(alen, blen));
	if (cmp != 0)
		return cmp < 0 ? -1 : 1;
	return alen == blen ? 0 : (alen < blen ? -1 : 1);
}

/* Order two canonical decimals as numbers. */
int
meter_decimal_cmp(const char *a, int alen, const char *b, int blen)
{
	bool		aneg = alen > 0 && a[0] == '-';
	bool		bneg = blen > 0 && b[0] == '-';

	if (aneg != bneg)
		return aneg ? -1 : 1;
	if (aneg)
		return decimal_cmp_magnitude(b + 1, blen - 1, a + 1, alen - 1);
	return decimal_cmp_magnitude(a, alen, b, blen);
}

/* The digits of a decimal without its sign. */
typedef struct Digits
{
	const char *digits;
	int			whole;			/* before the point */
	int			fraction;		/* after the point */
} Digits;

/* Take a decimal apart. */
static Digits
split_digits(const char *text, int len)
{
	const char *point = memchr(text, '.', len);
	Digits		result = {text, len, 0};

	if (point != NULL)
	{
		result.whole = (int) (point - text);
		result.fraction = len - result.whole - 1;
	}
	return result;
}

/* Return the digit of a number that counts 10^place. */
static inline int
digit_at(const Digits *number, int place)
{
	if (place >= 0)
		return place < number->whole ?
			number->digits[number->whole - 1 - place] - '0' : 0;
	return -place <= number->fraction ?
		number->digits[number->whole - place] - '0' : 0;
}

/*
 * Write the sum of two canonical decimals, which takes up to alen + blen + 3
 * bytes; returns its length.
 */
int
meter_decimal_add(char *sum, const char *a, int alen, const char *b, int blen)
{
	bool		aneg = a[0] == '-';
	bool		bneg = b[0] == '-';
	Digits		x = split_digits(a + aneg, alen - aneg);
	Digits		y = split_digits(b + bneg, blen - bneg);
	bool		negative = aneg;
	int			sign = 1;
	int			whole;
	int			fraction;
	int			carry = 0;
	int			place;
	int			zeros = 0;
	char	   *to = sum;

	if (aneg != bneg)
	{
		/* subtract the lesser from the greater */
		sign = -1;
		if (decimal_cmp_magnitude(a + aneg, alen - aneg,
								  b + bneg, blen - bneg) < 0)
		{
			Digits		swap = x;

			x = y;
			y = swap;
			negative = bneg;
		}
	}
	whole = Max(x.whole, y.whole) + 1;
	fraction = Max(x.fraction, y.fraction);

	if (negative)
		*to++ = '-';
	for (place = -fraction; place < whole; place++)
	{
		int			digit = digit_at(&x, place) + sign * digit_at(&y, place) +
		carry;

		carry = digit < 0 ? -1 : (digit > 9 ? 1 : 0);
		to[whole - 1 - place + (place < 0)] = (char) ('0' + digit - 10 * carry);
	}
	if (fraction > 0)
		to[whole] = '.';

	while (zeros < whole - 1 && to[zeros] == '0')
		zeros++;
	whole = whole - zeros + (fraction > 0 ? fraction + 1 : 0);
	memmove(to, to + zeros, whole);
	return meter_decimal_trim(sum, (int) (to - sum) + whole);
}
