/*
 * spi.h
 *	  Running SQL as a given role, safely.
 */
#ifndef METER_SPI_H
#define METER_SPI_H

#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

/* A session, with what meter_session_end() puts back. */
typedef struct MeterSession
{
	Oid			user;
	int			security_context;
	int			guc_level;
} MeterSession;

/* Rows that statements select from by name. */
typedef struct MeterRows
{
	const char *name;
	TupleDesc	descriptor;
	Tuplestorestate *store;
	int64		count;
} MeterRows;

/* Check what a query gives, and take a row of it. */
typedef void (*MeterCheckRows) (void *arg, TupleDesc descriptor);
typedef void (*MeterTakeRow) (void *arg, TupleTableSlot *slot);

extern void meter_set_locally(const char *name, const char *value);
extern void meter_session_begin(MeterSession *session, Oid role);
extern void meter_session_bulk(void);
extern void meter_session_in_order(void);
extern void meter_session_policies(void);
extern void meter_session_end(MeterSession *session);
extern ErrorData *meter_try(void (*body) (void *arg), void *arg);
extern void meter_with_one_snapshot(void (*body) (void *arg), void *arg);
extern char *meter_cut_text(char *text, int limit);
extern void meter_cut_error(ErrorData *error);
extern void meter_execute_kept(SPIPlanPtr *plan, char *(*sql) (void), int nargs,
							   const Oid *types, Datum *values);
extern void meter_execute(const char *sql, int expected);
extern void meter_execute_utility(const char *stream, const char *sql);
extern void meter_scan(const char *sql, int nargs, const Oid *types,
					   const Datum *values, MeterCheckRows check,
					   MeterTakeRow take, void *arg);
extern int64 meter_store(const char *sql, int nargs, const Oid *types,
						 const Datum *values, Tuplestorestate *store,
						 TupleDesc *descriptor);
extern void meter_execute_params(const char *sql, int expected, int nargs,
								 Oid *types, Datum *values,
								 const char *nulls);
extern void meter_execute_catalog(const char *sql, int nargs,
								  const Oid *types, Datum *values);
extern void meter_execute_row(const char *sql);
extern void meter_begin_rows(MeterRows *rows, const char *name, int ncolumns,
							 const char *const *names, const Oid *types);
extern void meter_add_row(MeterRows *rows, const Datum *values,
						  const bool *nulls);
extern void meter_register_rows(const MeterRows *rows);
extern void meter_keep_rows(MeterRows *rows, const char *name,
							const char *sql, int nargs, const Oid *types,
							const Datum *values);
extern void meter_forget_rows(MeterRows *rows);
extern void meter_insert_rows(SPIPlanPtr *plan, const char *sql,
							  const MeterRows *rows);
extern Datum meter_result(uint64 row, int column, bool *isnull);
extern Datum meter_result_copy(MemoryContext context, int column,
							   bool *isnull);
extern Datum meter_result_by_name(uint64 row, const char *name, bool *isnull);
extern char *meter_result_text(uint64 row, int column);
extern int64 meter_result_count(int column);
extern bool meter_result_instant(int column, TimestampTz *instant);
extern Portal meter_cursor_open(const char *sql);
extern bool meter_cursor_fetch(Portal cursor, long count);
extern void meter_cursor_close(Portal cursor);
extern void meter_return_begin(FunctionCallInfo fcinfo);
extern void meter_return_result(FunctionCallInfo fcinfo);
extern Oid	meter_extension_owner(void);
extern const char *meter_timestamp_literal(TimestampTz instant);
extern char *meter_text_array_literal(Datum array);

#endif							/* METER_SPI_H */
