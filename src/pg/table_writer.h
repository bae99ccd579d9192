/*
 * table_writer.h
 *	  Writing many rows into a table, in blocks.
 */
#ifndef METER_TABLE_WRITER_H
#define METER_TABLE_WRITER_H

#include "access/tupdesc.h"
#include "storage/itemptr.h"

typedef struct MeterTableWriter MeterTableWriter;

/* A column that the caller will give, and its type. */
typedef struct MeterWriterColumn
{
	const char *name;
	Oid			type;
} MeterWriterColumn;

extern MeterTableWriter *meter_writer_begin(const char *schema,
											const char *table,
											const MeterWriterColumn *columns,
											int ncolumns, const char *key);
extern TupleDesc meter_writer_descriptor(const MeterTableWriter *writer);
extern bool meter_writer_insert(MeterTableWriter *writer, const Datum *values,
								const bool *nulls);
extern void meter_writer_update(MeterTableWriter *writer, ItemPointer tid,
								const Datum *values, const bool *nulls);
extern int64 meter_writer_end(MeterTableWriter *writer, int64 *bytes);

#endif							/* METER_TABLE_WRITER_H */
