/*
 * quantity.h
 *	  Exact arithmetic on values, times and units.
 */
#ifndef METER_QUANTITY_H
#define METER_QUANTITY_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "core/core.h"

extern MeterAttr meter_attr_from_numeric(Numeric number);
extern Numeric meter_numeric_from_attr(MeterAttr attr);
extern Numeric meter_quantity(int64 usec, int64 unit);
extern Numeric meter_quantity_weighted(Numeric value_usec, int64 unit);
extern bool meter_unit_is_finite(int64 unit, int64 increment);
extern bool meter_numeric_is_zero(Numeric number);
extern bool meter_numeric_is_positive(Numeric number);
extern int64 meter_interval_usec(const Interval *interval, const char *what);

#endif							/* METER_QUANTITY_H */
