/*
 * spi.c
 *	  Running SQL as a given role, safely.
 *
 * All SQL of the extension goes through here: with a search_path that nobody
 * else can write to, as the role that owns the objects, in a context in which
 * that role's own functions can do no harm to the caller.  The end of a session
 * puts back what it changed, and so does the abort of the (sub)transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* Milliseconds that a statement waits which would keep readers waiting. */
#define SHORT_WAIT	2000

/* The longest text of an error of somebody else's code that is kept. */
#define ERROR_BYTES 1024

/* A text whose plan is kept. */
typedef struct KeptText
{
	char	   *sql;
	SPIPlanPtr	plan;			/* NULL: not yet */
} KeptText;

/*
 * Set a parameter until the nest level of parameters ends, which is the session's
 * unless there is one within it.
 */
void
meter_set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Begin to run SQL as a role, with the rights of that role and no others.
 * With InvalidOid that is the current user.
 */
void
meter_session_begin(MeterSession *session, Oid role)
{
	GetUserIdAndSecContext(&session->user, &session->security_context);
	if (OidIsValid(role))
		SetUserIdAndSecContext(role,
							   session->security_context |
							   SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	session->guc_level = NewGUCNestLevel();
	meter_set_locally("search_path", "pg_catalog, pg_temp");
	meter_set_locally("DateStyle", "ISO, MDY");
	meter_set_locally("IntervalStyle", "postgres");
	meter_set_locally("TimeZone", "UTC");
	meter_set_locally("row_security", "off");
	meter_set_locally("jit", "off");
	meter_set_locally("quote_all_identifiers", "off");	/* format_type() heeds
														 * it */
	meter_set_locally("extra_float_digits", "1");
	meter_set_locally("array_nulls", "on");
	meter_set_locally("standard_conforming_strings", "on");
	meter_set_locally("transform_null_equals", "off");
	meter_set_locally("check_function_bodies", "off");
	meter_set_locally("default_tablespace", "");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

/*
 * Let the planner know that queries go over many rows from here to the end of
 * the session, of tables and lists of which it has no statistics: a nested
 * loop over a whole list would take for ever.  A nested loop is still taken
 * where there is no other way, as from a list of keys into an index.
 */
void
meter_session_bulk(void)
{
	meter_set_locally("enable_nestloop", "off");
}

/*
 * Let the planner know that the order that is asked for is that of an index,
 * from here to the end of the session: a LIMIT stops then where it is reached.
 */
void
meter_session_in_order(void)
{
	meter_set_locally("enable_sort", "off");
	meter_set_locally("enable_seqscan", "off");
	meter_set_locally("enable_bitmapscan", "off");
}

/*
 * Let row security decide what a session of the caller's reads, from here to its
 * end: in place of an error where it would leave rows out.
 */
void
meter_session_policies(void)
{
	meter_set_locally("row_security", "on");
}

/* End a session; the results of its queries are gone. */
void
meter_session_end(MeterSession *session)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not disconnect from SPI");
	/* this undoes settings made by a trigger of the owner's, too */
	AtEOXact_GUC(false, session->guc_level);
	SetUserIdAndSecContext(session->user, session->security_context);
}

/*
 * Run a function in a subtransaction.  Returns NULL, or the error that undid
 * it, as a copy in the current memory context.
 */
ErrorData *
meter_try(void (*body) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_END_TRY();
	return error;
}

/* Cut a text at a character, so that it has a number of bytes at most. */
char *
meter_cut_text(char *text, int limit)
{
	int			length = text == NULL ? 0 : strlen(text);

	return length <= limit ? text :
		pnstrdup(text, pg_mbcliplen(text, length, limit));
}

/*
 * Cut the texts of an error to what may be kept and logged: code of an owner's
 * may raise one of any length.  The last line of the context remains, which
 * says what we were doing.
 */
void
meter_cut_error(ErrorData *error)
{
	error->message = meter_cut_text(error->message, ERROR_BYTES);
	error->detail = meter_cut_text(error->detail, ERROR_BYTES);
	error->hint = meter_cut_text(error->hint, ERROR_BYTES);
	if (error->context != NULL && strlen(error->context) > ERROR_BYTES)
	{
		char	   *last = strrchr(error->context, '\n');

		last = meter_cut_text(last == NULL ? "" : last, ERROR_BYTES / 2);
		error->context = psprintf("%s%s",
								  meter_cut_text(error->context,
												 ERROR_BYTES - (int) strlen(last)),
								  last);
	}
}

/*
 * Do statements see what the active snapshot sees, or each a snapshot of its
 * own?
 */
static bool one_snapshot = false;

/*
 * Run a function whose statements all see what the active snapshot sees, and so
 * can only read.
 */
void
meter_with_one_snapshot(void (*body) (void *arg), void *arg)
{
	bool		before = one_snapshot;

	one_snapshot = true;
	PG_TRY();
	{
		body(arg);
	}
	PG_FINALLY();
	{
		one_snapshot = before;
	}
	PG_END_TRY();
}

/*
 * Raise the error again that a statement of ours has led to, without the
 * statement: it can be long, means nothing to who reads the error, and tells
 * nothing that the stage of a step does not.  A log at the level of DEBUG1 has
 * it.  Called while the error is caught.
 */
static void
pg_attribute_noreturn()
raise_without_statement(const char *sql, MemoryContext context)
{
	ErrorData  *error;
	char	   *found;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	ereport(DEBUG1,
			(errmsg_internal("statement that failed: %s", sql)));
	if (error->internalquery != NULL && strcmp(error->internalquery, sql) == 0)
	{
		error->internalquery = NULL;
		error->internalpos = 0;
	}
	/* the line that quotes it, in whatever language */
	while (error->context != NULL &&
		   (found = strstr(error->context, sql)) != NULL)
	{
		char	   *end = strchr(found + strlen(sql), '\n');

		while (found > error->context && found[-1] != '\n')
			found--;
		if (end != NULL)
			memmove(found, end + 1, strlen(end + 1) + 1);
		else if (found > error->context)
			found[-1] = '\0';
		else
			error->context = NULL;
	}
	ReThrowError(error);
}

/* Check that a statement ended with the given SPI code. */
static void
check_code(int code, int expected)
{
	if (code == expected)
		return;
	if (code == SPI_OK_REWRITTEN)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a rule replaces a statement of \"meter\""),
				 errhint("Use a trigger on the table in place of a rule with INSTEAD.")));
	elog(ERROR, "unexpected SPI result %s", SPI_result_code_string(code));
}

/* Run a statement that must end with the given SPI code. */
void
meter_execute(const char *sql, int expected)
{
	MemoryContext context = CurrentMemoryContext;

	sql = meter_shard_statement(sql);
	PG_TRY();
	{
		check_code(SPI_execute(sql, one_snapshot, 0), expected);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
}

/*
 * Run a utility statement that may need a lock which readers of a stream's
 * tables and views are in the way of.  Whoever comes after it waits for it, so
 * it gives up soon, and says whom it waited for.
 */
void
meter_execute_utility(const char *stream, const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	int			level = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > SHORT_WAIT)
		meter_set_locally("lock_timeout", psprintf("%d", SHORT_WAIT));
	PG_TRY();
	{
		meter_execute(sql, SPI_OK_UTILITY);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("stream \"%s\" is in use", stream),
				 errdetail("A transaction that has not ended has read it, or writes it; others would have to wait behind this command."),
				 errhint("Try again when that has ended. View pg_stat_activity shows transactions, pg_blocking_pids() who waits for whom.")));
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
}

/* Tell whether a parameter stands for NULL: a 0 that is no value. */
static bool
is_null(Datum value, Oid type)
{
	return value == (Datum) 0 && !get_typbyval(type);
}

/*
 * Run a query with parameters, whose rows go to a receiver.  A parameter that
 * is 0 is NULL, where that is no value of its type.
 */
static void
scan(const char *sql, int nargs, const Oid *types, const Datum *values,
	 DestReceiver *receiver)
{
	MemoryContext context = CurrentMemoryContext;
	SPIExecuteOptions options;
	int			i;

	memset(&options, 0, sizeof(options));
	/* an empty list is more than other extensions' executors expect */
	options.params = nargs > 0 ? makeParamList(nargs) : NULL;
	for (i = 0; i < nargs; i++)
	{
		ParamExternData *param = &options.params->params[i];

		param->value = values[i];
		param->isnull = is_null(values[i], types[i]);
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = types[i];
	}
	options.read_only = one_snapshot;
	options.dest = receiver;
	sql = meter_shard_statement(sql);
	PG_TRY();
	{
		check_code(SPI_execute_extended(sql, &options), SPI_OK_SELECT);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
}

/* Hands the rows of a query to a function. */
typedef struct RowReceiver
{
	DestReceiver pub;
	MeterCheckRows check;		/* or NULL */
	MeterTakeRow take;
	void	   *arg;
} RowReceiver;

static void
receive_startup(DestReceiver *self, int operation pg_attribute_unused(),
				TupleDesc descriptor)
{
	RowReceiver *receiver = (RowReceiver *) self;

	if (receiver->check != NULL)
		receiver->check(receiver->arg, descriptor);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	slot_getallattrs(slot);
	receiver->take(receiver->arg, slot);
	return true;
}

static void
receive_end(DestReceiver *self pg_attribute_unused())
{
}

/*
 * Run a query with parameters, as scan() does, and hand its rows, unpacked, to
 * a function.  `check` may first look at what they are made of.
 */
void
meter_scan(const char *sql, int nargs, const Oid *types, const Datum *values,
		   MeterCheckRows check, MeterTakeRow take, void *arg)
{
	RowReceiver receiver = {
		.pub = {receive_row, receive_startup, receive_end, receive_end, DestTuplestore},
		.check = check,
		.take = take,
		.arg = arg
	};

	scan(sql, nargs, types, values, (DestReceiver *) &receiver);
}

/*
 * Run a query with parameters, and put its rows into a store.  Returns how many
 * there are, and a description of them.
 */
int64
meter_store(const char *sql, int nargs, const Oid *types, const Datum *values,
			Tuplestorestate *store, TupleDesc *descriptor)
{
	DestReceiver *receiver = CreateDestReceiver(DestTuplestore);
	SPIPlanPtr	plan = SPI_prepare(meter_shard_statement(sql), nargs,
								   (Oid *) types);

	if (plan == NULL)
		elog(ERROR, "could not prepare a query: %s",
			 SPI_result_code_string(SPI_result));
	*descriptor = CreateTupleDescCopy(((CachedPlanSource *) linitial(SPI_plan_get_plan_sources(plan)))->resultDesc);
	SetTuplestoreDestReceiverParams(receiver, store, CurrentMemoryContext,
									false, NULL, NULL);
	scan(sql, nargs, types, values, receiver);
	receiver->rDestroy(receiver);
	SPI_freeplan(plan);
	return tuplestore_tuple_count(store);
}

/* Return 'n' for each parameter that is NULL, by its value or by `nulls`. */
static char *
mark_nulls(int nargs, const Oid *types, const Datum *values, const char *nulls)
{
	char	   *all = palloc(nargs + 1);
	int			i;

	for (i = 0; i < nargs; i++)
		all[i] = (nulls != NULL && nulls[i] == 'n') ||
			is_null(values[i], types[i]) ? 'n' : ' ';
	all[nargs] = '\0';
	return all;
}

/* Return the plan of a statement, which is prepared the first time, and kept. */
static SPIPlanPtr
keep_plan(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types,
		  int options)
{
	SPIPlanPtr	prepared;

	if (*plan != NULL)
		return *plan;
	prepared = SPI_prepare_cursor(meter_shard_statement(sql), nargs,
								  (Oid *) types, options);
	if (prepared == NULL || SPI_keepplan(prepared) != 0)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	return *plan = prepared;
}

/*
 * Run a statement with parameters, as of scan(); it must end with the
 * given SPI code.  `nulls` has 'n' for others that are NULL; or it is NULL.
 */
void
meter_execute_params(const char *sql, int expected, int nargs, Oid *types,
					 Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *all_nulls = mark_nulls(nargs, types, values, nulls);

	sql = meter_shard_statement(sql);
	PG_TRY();
	{
		check_code(SPI_execute_with_args(sql, nargs, types, values, all_nulls,
										 one_snapshot, 0), expected);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
}

/*
 * Return the plan of a text for any values, made the first time that the text
 * is seen, and kept until the session ends.
 */
static SPIPlanPtr
plan_of_text(const char *sql, int nargs, const Oid *types)
{
	static List *kept = NIL;
	ListCell   *cell;
	KeptText   *entry;
	MemoryContext before;

	foreach(cell, kept)
	{
		entry = lfirst(cell);
		if (strcmp(entry->sql, sql) == 0)
			return keep_plan(&entry->plan, sql, nargs, types,
							 CURSOR_OPT_GENERIC_PLAN);
	}
	before = MemoryContextSwitchTo(TopMemoryContext);
	entry = palloc0(sizeof(KeptText));
	entry->sql = pstrdup(sql);
	kept = lappend(kept, entry);
	MemoryContextSwitchTo(before);
	return keep_plan(&entry->plan, sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);
}

/*
 * Run a query of the catalog with parameters, as of scan().  It is planned once
 * in a session: a step that finds nothing to do would spend most of its time on
 * that.  So its text is one of a few, and names no stream.
 */
void
meter_execute_catalog(const char *sql, int nargs, const Oid *types,
					  Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *nulls = mark_nulls(nargs, types, values, NULL);

	PG_TRY();
	{
		check_code(SPI_execute_plan(plan_of_text(sql, nargs, types), values,
									nulls, one_snapshot, 0), SPI_OK_SELECT);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
}

/* Begin a list of rows of columns of these names and types. */
void
meter_begin_rows(MeterRows *rows, const char *name, int ncolumns,
				 const char *const *names, const Oid *types)
{
	int			i;

	rows->name = name;
	rows->count = 0;
	rows->store = tuplestore_begin_heap(true, false, work_mem);
	rows->descriptor = CreateTemplateTupleDesc(ncolumns);
	for (i = 0; i < ncolumns; i++)
		TupleDescInitEntry(rows->descriptor, i + 1, names[i], types[i], -1, 0);
}

/* Add a row to a list. */
void
meter_add_row(MeterRows *rows, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(rows->store, rows->descriptor, (Datum *) values,
						 (bool *) nulls);
	rows->count++;
}

/*
 * Let statements select from rows by name, until the session ends or they are
 * forgotten.
 */
void
meter_register_rows(const MeterRows *rows)
{
	/* the connection remembers what it is told, and what that lies in */
	MemoryContext before = MemoryContextSwitchTo(CurTransactionContext);
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	int			code;

	relation->md.name = pstrdup(rows->name);
	relation->md.tupdesc = rows->descriptor;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) rows->count;
	relation->reldata = rows->store;
	code = SPI_register_relation(relation);
	MemoryContextSwitchTo(before);
	if (code != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register rows: %s", SPI_result_code_string(code));
}

/* Keep the rows of a query, and let statements select from them by name. */
void
meter_keep_rows(MeterRows *rows, const char *name, const char *sql, int nargs,
				const Oid *types, const Datum *values)
{
	rows->name = name;
	rows->store = tuplestore_begin_heap(true, false, work_mem);
	rows->count = meter_store(sql, nargs, types, values, rows->store,
							  &rows->descriptor);
	meter_register_rows(rows);
}

/* Forget rows that were kept, if any were. */
void
meter_forget_rows(MeterRows *rows)
{
	if (rows->store == NULL)
		return;
	SPI_unregister_relation(rows->name);
	tuplestore_end(rows->store);
	rows->store = NULL;
}

/*
 * Run a query whose text never changes, with parameters, none of them null.
 * `sql` is asked for the first time only.
 */
void
meter_execute_kept(SPIPlanPtr *plan, char *(*sql) (void), int nargs,
				   const Oid *types, Datum *values)
{
	const char *text = *plan == NULL ? sql() : NULL;

	check_code(SPI_execute_plan(keep_plan(plan, text, nargs, types, 0), values,
								NULL, one_snapshot, 0), SPI_OK_SELECT);
}

/*
 * Run an INSERT that selects from rows by name.  The INSERT is prepared the
 * first time, and kept.
 */
void
meter_insert_rows(SPIPlanPtr *plan, const char *sql, const MeterRows *rows)
{
	MemoryContext context = CurrentMemoryContext;

	meter_register_rows(rows);
	(void) keep_plan(plan, sql, 0, NULL, 0);
	PG_TRY();
	{
		check_code(SPI_execute_plan(*plan, NULL, NULL, false, 0), SPI_OK_INSERT);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
	SPI_unregister_relation(rows->name);
}

/* Return a column, from 1, of a row, from 0, of the last result. */
Datum
meter_result(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/*
 * Return a copy of a column of the only row of the last result, an array; 0 if
 * it is null.
 */
Datum
meter_result_copy(MemoryContext context, int column, bool *isnull)
{
	Datum		value = meter_result(0, column, isnull);
	MemoryContext before;

	if (*isnull)
		return (Datum) 0;
	before = MemoryContextSwitchTo(context);
	value = datumCopy(value, false, -1);
	MemoryContextSwitchTo(before);
	return value;
}

/*
 * Return a column of a row, from 0, of the last result by the column's name.
 */
Datum
meter_result_by_name(uint64 row, const char *name, bool *isnull)
{
	int			column = SPI_fnumber(SPI_tuptable->tupdesc, name);

	if (column == SPI_ERROR_NOATTRIBUTE)
		elog(ERROR, "the result has no column \"%s\"", name);
	return meter_result(row, column, isnull);
}

/* Return a column of a row of the last result as text; NULL if it is null. */
char *
meter_result_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						column);
}

/* Begin to read the rows of a query that may be many. */
Portal
meter_cursor_open(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	Portal		cursor = NULL;

	sql = meter_shard_statement(sql);
	PG_TRY();
	{
		cursor = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL,
										   one_snapshot, 0);
	}
	PG_CATCH();
	{
		raise_without_statement(sql, context);
	}
	PG_END_TRY();
	return cursor;
}

/*
 * Read up to `count` rows of a cursor as the last result.  Returns false if
 * there are no more.
 */
bool
meter_cursor_fetch(Portal cursor, long count)
{
	/* the rows of the fetch before are not needed any more */
	if (SPI_tuptable != NULL)
		SPI_freetuptable(SPI_tuptable);
	SPI_cursor_fetch(cursor, true, count);
	return SPI_processed > 0;
}

/* Close a cursor. */
void
meter_cursor_close(Portal cursor)
{
	SPI_cursor_close(cursor);
}

/*
 * Return the count in a column of the only row of the last result; 0 if it is
 * null.
 */
int64
meter_result_count(int column)
{
	bool		isnull;
	Datum		value = meter_result(0, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/*
 * Read the instant in a column of the only row of the last result.  Returns
 * false if it is null.
 */
bool
meter_result_instant(int column, TimestampTz *instant)
{
	bool		isnull;
	Datum		value = meter_result(0, column, &isnull);

	if (!isnull)
		*instant = DatumGetTimestampTz(value);
	return !isnull;
}

/*
 * Return the rows of the last result from a set-returning function, whose
 * declared columns they have.
 */
void
meter_return_result(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	Tuplestorestate *store = info->setResult;
	uint64		i;

	for (i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(store, SPI_tuptable->vals[i]);
}

/*
 * Begin to return rows by meter_return_result(), which may be called many
 * times.  Before any session.
 */
void
meter_return_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext before;
	TupleDesc	descriptor;
	Oid			type;

	if (info == NULL || !IsA(info, ReturnSetInfo) ||
		!(info->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	before = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	switch (get_call_result_type(fcinfo, &type, &descriptor))
	{
		case TYPEFUNC_COMPOSITE:
			break;
		case TYPEFUNC_SCALAR:
			descriptor = CreateTemplateTupleDesc(1);
			TupleDescInitEntry(descriptor, 1, NULL, type, -1, 0);
			break;
		default:
			elog(ERROR, "return type must be known");
	}
	info->returnMode = SFRM_Materialize;
	info->setDesc = CreateTupleDescCopy(descriptor);
	info->setResult = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(before);
}

/* Return a number that is greater for a later version, such as "0.10". */
static int
version_number(const char *version)
{
	int			numbers[3] = {0};

	(void) sscanf(version, "%d.%d.%d", &numbers[0], &numbers[1], &numbers[2]);
	return (numbers[0] * 1000 + numbers[1]) * 1000 + numbers[2];
}

/* Check that the library is of the version that the extension's SQL is of. */
static void
check_version(const char *version)
{
	if (strcmp(version, METER_VERSION) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the library of extension \"meter\" is of version %s, and the extension in database \"%s\" of version %s",
					METER_VERSION, get_database_name(MyDatabaseId), version),
			 version_number(version) < version_number(METER_VERSION) ?
			 errhint("ALTER EXTENSION meter UPDATE brings the extension up to date.") :
			 errhint("Install the library of version %s, and restart the server if it preloads meter.",
					 version)));
}

/* Return the owner of the extension, and so of its catalog. */
Oid
meter_extension_owner(void)
{
	Oid			extension = get_extension_oid("meter", false);
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;
	Datum		version;
	bool		isnull;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(relation, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		version = heap_getattr(tuple, Anum_pg_extension_extversion,
							   RelationGetDescr(relation), &isnull);
		/* while a script runs, it is the version that the script makes */
		if (!isnull && !creating_extension)
			check_version(TextDatumGetCString(version));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	if (!OidIsValid(owner))
		elog(ERROR, "extension \"meter\" has no owner");
	return owner;
}

/*
 * Return an instant as a literal, so that the planner sees it.  Only within a
 * session, which fixes how timestamps are written.
 */
const char *
meter_timestamp_literal(TimestampTz instant)
{
	return psprintf("'%s'::timestamptz",
					DatumGetCString(DirectFunctionCall1(timestamptz_out,
														TimestampTzGetDatum(instant))));
}

/* Return a text[] as a literal. */
char *
meter_text_array_literal(Datum array)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(TEXTARRAYOID, &output, &varlena);
	return psprintf("%s::text[]",
					quote_literal_cstr(OidOutputFunctionCall(output, array)));
}

/* Run a query that returns one row of int8 and timestamptz columns. */
void
meter_execute_row(const char *sql)
{
	meter_execute(sql, SPI_OK_SELECT);
	if (SPI_processed != 1)
		elog(ERROR, "one row expected, not " UINT64_FORMAT, SPI_processed);
}
