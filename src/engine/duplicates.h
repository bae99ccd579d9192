/*
 * duplicates.h
 *	  What duplicates are, which of them counts, and what voids take back: as
 *	  parts of queries.
 */
#ifndef METER_DUPLICATES_H
#define METER_DUPLICATES_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern char *meter_row_time(MeterLog log, const char *row);
extern char *meter_least_time(const char *event, int64 window);
extern char *meter_row_name(MeterLog log, const char *row);
extern char *meter_row_key(MeterLog log, const char *row);
extern char *meter_row_order(MeterLog log, const char *row);
extern char *meter_earlier_by(const char *time, int64 window);
extern char *meter_later_than(const char *time, int64 window);
extern char *meter_duplicates_query(MeterLog log, const char *rows,
									const char *conditions,
									const char *suspects, bool few,
									int64 window);
extern char *meter_voids_by_name(const char *voids);
extern char *meter_takes_back(MeterLog log, const char *row, int64 window);

#endif							/* METER_DUPLICATES_H */
