/*
 * key_scan.h
 *	  Reading the rows of a table in the order of its primary key.
 */
#ifndef METER_KEY_SCAN_H
#define METER_KEY_SCAN_H

#include "storage/itemptr.h"

#include "pg/table_writer.h"

typedef struct MeterKeyScan MeterKeyScan;

extern MeterKeyScan *meter_key_scan_begin(const char *schema,
										  const char *table,
										  const MeterWriterColumn *columns,
										  int ncolumns);
extern void meter_key_scan_seek(MeterKeyScan *scan, int nkeys,
								const Datum *keys);
extern void meter_key_scan_seek_before(MeterKeyScan *scan, Datum text);
extern bool meter_key_scan_next(MeterKeyScan *scan);
extern bool meter_key_scan_previous(MeterKeyScan *scan);
extern Datum meter_key_scan_value(const MeterKeyScan *scan, int column,
								  bool *isnull);
extern ItemPointer meter_key_scan_place(const MeterKeyScan *scan);
extern void meter_key_scan_end(MeterKeyScan *scan);

#endif							/* METER_KEY_SCAN_H */
