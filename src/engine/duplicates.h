/*
 * duplicates.h
 *	  What duplicates are, which of them counts, and what voids take back: as
 *	  parts of queries.
 */
#ifndef METER_DUPLICATES_H
#define METER_DUPLICATES_H

#include "catalog/definition.h"
#include "catalog/progress.h"

/* By which of its times a row is placed in time, and duplicates are found. */
typedef enum MeterPlacing
{
	METER_BY_TIME,				/* an event */
	METER_BY_START,				/* a measure */
	METER_BY_END				/* the reading of a counter */
} MeterPlacing;

#define METER_NPLACINGS	3

extern MeterPlacing meter_placing(const MeterDefinition *definition,
								  MeterLog log);
extern const char *meter_time_column(const MeterDefinition *definition,
									 MeterLog log);
extern char *meter_row_time(MeterPlacing placing, const char *row);
extern char *meter_least_time(const char *event, int64 window);
extern char *meter_row_name(MeterLog log, const char *row);
extern char *meter_row_key(MeterLog log, const char *row);
extern char *meter_row_order(MeterPlacing placing, const char *row);
extern char *meter_earlier_by(const char *time, int64 window);
extern char *meter_later_than(const char *time, int64 window);
extern char *meter_duplicates_query(MeterPlacing placing, const char *rows,
									const char *conditions,
									const char *suspects, bool few,
									int64 window);
extern char *meter_voids_by_name(const char *voids);
extern char *meter_takes_back_at(const char *row, const char *time,
								 int64 window);
extern char *meter_takes_back(MeterPlacing placing, const char *row,
							  int64 window);

#endif							/* METER_DUPLICATES_H */
