/*
 * month.h
 *	  Months: the partitions of a ledger.
 */
#ifndef METER_MONTH_H
#define METER_MONTH_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* A row has no partition that it could go to. */
#define METER_ERRCODE_NO_MONTH	MAKE_SQLSTATE('M', 'E', '0', '0', '1')

/* The partition of what is older than the first month that was made. */
#define METER_MONTH_OLDER	PG_INT32_MIN

extern int	meter_month_of(TimestampTz instant);
extern TimestampTz meter_month_begin(int month);
extern char *meter_month_name(const char *table, int month);
extern bool meter_is_month_of(const char *partition, const char *table,
							  int *month);
extern List *meter_list_months(const char *stream, const char *table);
extern char *meter_month_bounds(const char *table, int month, int first);
extern int	meter_first_month(const char *stream);
extern void meter_lack_month(const char *stream, const char *meter,
							 TimestampTz period_start);
extern void meter_check_months(const char *stream, const char *meter,
							   const char *table);
extern bool meter_next_lacking_month(const char *stream, const char *meter,
									 TimestampTz *begin);
extern void meter_require_months(const char *stream, const char *meter,
								 TimestampTz from, TimestampTz to);
extern bool meter_lacks_months(const char *stream, const char *meter);
extern void meter_make_months(const char *stream, const char *meter);
extern bool meter_make_months_ahead(const char *stream);
extern void meter_summarize_months(const char *stream);
extern void meter_guard_months(const char *stream);
extern void meter_guard_month(const char *stream, const char *table,
							  const char *partition);

#endif							/* METER_MONTH_H */
