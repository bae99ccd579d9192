/*
 * progress.c
 *	  What meter.progress shows: the long operations that run.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/access.h"
#include "catalog/stream.h"
#include "pg/operation.h"
#include "pg/spi.h"
#include "pg/worker_slot.h"

/* The columns of operations(). */
enum
{
	PROGRESS_PID,
	PROGRESS_DATABASE,
	PROGRESS_OPERATION,
	PROGRESS_STREAM,
	PROGRESS_METER,
	PROGRESS_PHASE,
	PROGRESS_DONE,
	PROGRESS_TOTAL,
	PROGRESS_STARTED_AT,
	PROGRESS_PHASE_STARTED_AT,
	PROGRESS_NCOLUMNS
};

/*
 * Tell whether the caller may see an operation: analysts see those of their
 * streams, which are of this database, and monitoring those of the server.
 */
static bool
may_see(const MeterOperation *operation)
{
	return meter_sees_all() ||
		(operation->database == MyDatabaseId &&
		 meter_has_access(operation->stream, METER_ACCESS_ANALYST));
}

PG_FUNCTION_INFO_V1(meter_operations);

/* operations() */
Datum
meter_operations(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterOperation *operations;
	int			count = meter_operations_copy(&operations);
	int			i;

	meter_return_begin(fcinfo);
	for (i = 0; i < count; i++)
	{
		const MeterOperation *operation = &operations[i];
		Datum		values[PROGRESS_NCOLUMNS];
		bool		nulls[PROGRESS_NCOLUMNS] = {0};

		if (!may_see(operation))
			continue;
		values[PROGRESS_PID] = Int32GetDatum(operation->pid);
		values[PROGRESS_DATABASE] = ObjectIdGetDatum(operation->database);
		values[PROGRESS_OPERATION] = CStringGetTextDatum(operation->kind);
		values[PROGRESS_STREAM] =
			CStringGetTextDatum(meter_slot_readable(operation->stream));
		nulls[PROGRESS_METER] = operation->meter[0] == '\0';
		values[PROGRESS_METER] =
			CStringGetTextDatum(meter_slot_readable(operation->meter));
		values[PROGRESS_PHASE] = CStringGetTextDatum(operation->phase);
		values[PROGRESS_DONE] = Int64GetDatum(operation->done);
		nulls[PROGRESS_TOTAL] = operation->total == METER_TOTAL_UNKNOWN;
		values[PROGRESS_TOTAL] = Int64GetDatum(operation->total);
		values[PROGRESS_STARTED_AT] = TimestampTzGetDatum(operation->began);
		values[PROGRESS_PHASE_STARTED_AT] =
			TimestampTzGetDatum(operation->phase_began);
		tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
	}
	return (Datum) 0;
}
