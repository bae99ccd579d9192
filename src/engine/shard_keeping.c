/*
 * shard_keeping.c
 *	  What a shard is asked about snapshots and retention (see shard_work.c).
 *
 * What is found goes to the coordinator as findings do (see findings.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "engine/findings.h"
#include "engine/quarantine.h"
#include "engine/reconcile.h"
#include "engine/retention.h"
#include "engine/shard_keeping.h"
#include "pg/attr.h"
#include "pg/spi.h"

/* Tell of a resource that it has no state at the boundary, and why. */
static void
tell_failed(void *arg pg_attribute_unused(), const MeterSetAside *aside)
{
	Oid			types[] = {INT4OID, TEXTOID};
	Datum		values[] = {
		Int32GetDatum(aside->sqlstate), CStringGetTextDatum(aside->message)
	};
	bool		isnull;

	meter_execute_params("SELECT jsonb_build_object('sqlstate', $1, 'message', $2)",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	meter_tell_found(meter_text_from_attr(aside->resource), aside->since, 0,
					 meter_result(0, 1, &isnull));
}

/* What is stored at a retention boundary. */
typedef struct BoundaryCall
{
	const MeterDefinition *definition;
	const MeterProgress *progress;
	TimestampTz boundary;
} BoundaryCall;

/* What undoes what was stored. */
#define UNDO	MAKE_SQLSTATE('M', 'E', '0', '0', '3')

/* Store the states there, as meter_try() calls it. */
static void
store_states(void *arg)
{
	BoundaryCall *call = arg;
	MeterQuarantine *failed = meter_store_states(call->definition,
												 call->progress,
												 call->boundary);

	if (failed == NULL)
		return;
	meter_quarantine_each_new(failed, tell_failed, NULL);
	ereport(ERROR, (errcode(UNDO), errmsg_internal("a state cannot be computed")));
}

/*
 * Store the states at a retention boundary.  If some cannot be computed nothing
 * is stored, and the coordinator is told of these.
 */
static void
store_boundary(const MeterDefinition *definition,
			   const MeterProgress *progress, TimestampTz boundary)
{
	BoundaryCall call = {definition, progress, boundary};
	ErrorData  *error = meter_try(store_states, &call);

	if (error == NULL)
		return;
	if (error->sqlerrcode != UNDO)
		ReThrowError(error);
	FreeErrorData(error);
}

/* Do one of these works. */
void
meter_keep_shard(const MeterDefinition *definition,
				 const MeterProgress *progress, MeterShardWork work,
				 const char *said, const int64 *asks, int64 *tells)
{
	switch (work)
	{
		case METER_SHARD_RECONCILE:
			meter_compare_snapshot(definition, progress, said, asks,
								   &tells[METER_TELL_COMPARED]);
			break;
		case METER_SHARD_COMPARE:
			meter_compare_into(definition, progress, said,
							   meter_timestamp_literal(asks[METER_ASK_FROM]),
							   &tells[METER_TELL_COMPARED]);
			break;
		case METER_SHARD_BOUNDARY:
			store_boundary(definition, progress, asks[METER_ASK_TO]);
			break;
		case METER_SHARD_UNREAD:
			meter_tell_least(meter_first_unread(definition, progress));
			break;
		default:
			elog(ERROR, "no such work on a shard: %d", (int) work);
	}
}
