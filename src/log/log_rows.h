/*
 * log_rows.h
 *	  Reading the rows of a resource in a log without a plan.
 */
#ifndef METER_LOG_ROWS_H
#define METER_LOG_ROWS_H

#include "pg/spi.h"

extern bool meter_read_log_rows(const char *stream, const char *log,
								Datum resource, MeterRows *rows);

#endif							/* METER_LOG_ROWS_H */
