/*
 * decimal.h
 *	  Decimal numbers as text: the form in which timelines carry values.
 */
#ifndef METER_DECIMAL_H
#define METER_DECIMAL_H

#include "core/core.h"

extern int	meter_decimal_trim(char *text, int len);
extern bool meter_decimal_is_canonical(const char *text, int len);
extern int	meter_decimal_cmp(const char *a, int alen,
							  const char *b, int blen);
extern int	meter_decimal_add(char *sum, const char *a, int alen,
							  const char *b, int blen);

#endif							/* METER_DECIMAL_H */
