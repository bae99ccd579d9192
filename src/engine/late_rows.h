/*
 * late_rows.h
 *	  Which rows may change settled periods, as parts of queries.
 */
#ifndef METER_LATE_ROWS_H
#define METER_LATE_ROWS_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern char *meter_late_rows(const MeterDefinition *definition, const MeterProgress *progress, int64 safe);
extern char *meter_late_in(const MeterDefinition *definition,
						   const MeterProgress *progress, MeterLog log,
						   int64 safe);

#endif							/* METER_LATE_ROWS_H */
