/*
 * consumer.c
 *	  Consumers of a ledger: meter.create_consumer(), drop_consumer(),
 *	  next_batch(), finish_batch(), and what meter.consumer_status shows.
 *
 * Batches are read as the stream's owner.  Others than the owner may read and
 * finish them who may read all of the ledger, and have UPDATE on the stream's
 * table _consumer: reading moves nothing on, but the two go together, since
 * whoever opens a batch decides what everybody gets until it is finished.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/consumer.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "engine/batch.h"
#include "engine/scatter.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"

/* Tell whether the caller has a privilege on a table of a schema. */
static bool
has_privilege(Oid schema, const char *table, AclMode mode)
{
	Oid			relation = get_relname_relid(table, schema);

	return OidIsValid(relation) &&
		pg_class_aclcheck(relation, GetUserId(), mode) == ACLCHECK_OK;
}

/* Tell whether the caller may read and finish batches of a stream. */
static bool
may_consume(Oid schema)
{
	return meter_schema_ownercheck(schema, GetUserId()) ||
		(has_privilege(schema, "usage", ACL_SELECT) &&
		 has_privilege(schema, "_consumer", ACL_UPDATE));
}

/* Check that the caller may read and finish batches of a stream. */
static void
check_may_consume(const char *stream)
{
	Oid			schema = get_namespace_oid(stream, true);

	/* raises an error */
	if (!OidIsValid(schema))
		meter_check_stream_permission(stream);
	if (!may_consume(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for consumers of stream \"%s\"",
						stream),
				 meter_access_hint(stream, METER_ACCESS_CONSUMER)));
	if (meter_is_isolated(stream) && !meter_reads_all(stream))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the ledger of stream \"%s\" has row security, which a consumer cannot apply to role \"%s\"",
						stream, GetUserNameFromId(GetUserId(), false)),
				 meter_access_hint(stream, METER_ACCESS_CONSUMER)));
}

/* Raise that there is no such consumer. */
static void
no_consumer(const char *stream, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("consumer \"%s\" of stream \"%s\" does not exist", name,
					stream),
			 errhint("meter.create_consumer(%s, %s) makes the consumer.",
					 quote_literal_cstr(stream), quote_literal_cstr(name))));
}

/* Check that there is such a stream, and that it is worked on. */
static void
check_active(const char *stream)
{
	bool		exists;
	bool		active;

	meter_look_up_stream(stream, &exists, &active);
	if (!exists)
		meter_no_stream(stream);
	if (!active)
		meter_not_active(stream);
}

/* See what is committed now, and what the transaction has written. */
static void
push_new_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Load a consumer, whose stream must be active, and look what is there to read.
 */
static void
load(MeterConsumer *consumer, const char *stream, const char *name)
{
	push_new_snapshot();
	if (!meter_is_active_here(stream))
		check_active(stream);
	if (!meter_consumer_load(consumer, stream, name))
		no_consumer(stream, name);
	if (!consumer->open)
		meter_consumer_look(consumer);
	PopActiveSnapshot();
}

/* Tell whether a consumer has something to read. */
static bool
has_anything(const MeterConsumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->readings)
	{
		if (meter_has_unread(lfirst(cell)))
			return true;
	}
	return false;
}

/* Open a batch, if there is usage for one.  Returns false if there is none. */
static bool
open_batch(MeterConsumer *consumer, int64 max_rows, ReturnSetInfo *info)
{
	int64		number = meter_next_batch_number();
	ListCell   *cell;

	if (meter_batch_gather(consumer, number, max_rows, info->setResult,
						   info->setDesc) > 0)
	{
		meter_consumer_open(consumer, number);
		return true;
	}
	/* nobody could finish a batch without rows */
	foreach(cell, consumer->readings)
	{
		MeterReading *reading = lfirst(cell);

		if (reading->in_batch)
			reading->read = reading->batch;
		reading->in_batch = false;
	}
	meter_consumer_pass(consumer);
	return false;
}

/*
 * Wait until all that is settled can be read: on a cluster, nodes commit after
 * the coordinator.
 */
static void
await_meters(const MeterConsumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->readings)
		meter_await_shards(consumer->stream,
						   ((MeterReading *) lfirst(cell))->meter);
}

PG_FUNCTION_INFO_V1(meter_next_batch);

/* next_batch(stream, consumer, max_rows) */
Datum
meter_next_batch(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "consumer");
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MeterConsumer consumer;

	PreventCommandIfReadOnly("meter.next_batch()");
	if (PG_ARGISNULL(2) || PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_rows\" must be at least 1")));
	check_may_consume(stream);
	meter_return_begin(fcinfo);
	load(&consumer, stream, name);
	/* without a lock, so that asking again and again writes nothing */
	if (!consumer.open && !has_anything(&consumer))
		return (Datum) 0;
	if (!consumer.open)
	{
		if (!meter_consumer_lock(stream, name))
			no_consumer(stream, name);
		/* somebody else may have opened a batch, or finished it */
		load(&consumer, stream, name);
	}
	await_meters(&consumer);
	if (consumer.open)
		(void) meter_batch_repeat(&consumer, info->setResult, info->setDesc);
	else
	{
		while (has_anything(&consumer) &&
			   !open_batch(&consumer, PG_GETARG_INT32(2), info))
			;
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meter_finish_batch);

/* finish_batch(stream, consumer, batch) */
Datum
meter_finish_batch(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "consumer");
	int64		batch;
	MeterConsumer consumer;

	PreventCommandIfReadOnly("meter.finish_batch()");
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"batch\" must not be null")));
	batch = PG_GETARG_INT64(2);
	check_may_consume(stream);
	check_active(stream);
	if (meter_consumer_finish(stream, name, batch))
		PG_RETURN_VOID();

	load(&consumer, stream, name);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("batch " INT64_FORMAT " of consumer \"%s\" of stream \"%s\" is not open",
					batch, name, stream),
			 consumer.open ?
			 errdetail("Batch " INT64_FORMAT " is open.", consumer.batch) :
			 consumer.any_batch && consumer.batch == batch ?
			 errdetail("The batch is finished already.") :
			 errdetail("No batch is open.")));
	PG_RETURN_VOID();
}

/* Check that the ledger or the catalog of a stream has these meters. */
static void
check_meters(const MeterConsumer *consumer, Datum meters)
{
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTARRAYOID};
	Datum		values[lengthof(types)] = {
		CStringGetTextDatum(consumer->stream), meters
	};
	ListCell   *cell;
	ArrayBuildState *known = initArrayResult(TEXTOID, CurrentMemoryContext,
											 false);
	MemoryContext context = CurrentMemoryContext;
	char	   *unknown = NULL;

	foreach(cell, consumer->readings)
		accumArrayResult(known, CStringGetTextDatum(((MeterReading *) lfirst(cell))->meter),
						 false, TEXTOID, context);
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params(psprintf("SELECT a FROM unnest($2) a WHERE a <> ALL (%s) "
								  "AND NOT EXISTS (SELECT FROM meter.meter m WHERE m.stream = $1 AND m.name = a) LIMIT 1",
								  meter_text_array_literal(makeArrayResult(known, context))),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	if (SPI_processed > 0)
	{
		MemoryContextSwitchTo(context);
		unknown = meter_result_text(0, 1);
	}
	meter_session_end(&session);
	if (unknown != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("meter \"%s\" of stream \"%s\" does not exist",
						unknown, consumer->stream)));
}

PG_FUNCTION_INFO_V1(meter_create_consumer);

/* create_consumer(stream, consumer, meters, from_start) */
Datum
meter_create_consumer(PG_FUNCTION_ARGS)
{
	MeterConsumer consumer;
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "consumer");
	bool		from_start = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	MeterSession session;
	ListCell   *cell;
	bool		exists;

	PreventCommandIfReadOnly("meter.create_consumer()");
	meter_check_stream_permission(stream);
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid consumer name: \"%s\"", name),
				 errdetail("A name has 1 to %d bytes.", NAMEDATALEN - 1)));
	meter_session_begin(&session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(&session);

	push_new_snapshot();
	exists = meter_consumer_load(&consumer, stream, name);
	if (exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("consumer \"%s\" of stream \"%s\" already exists",
						name, stream)));
	if (!PG_ARGISNULL(2))
	{
		consumer.nmeters = meter_text_elements(PG_GETARG_DATUM(2), "meters",
											   &consumer.meters);
		if (consumer.nmeters == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"meters\" must not be empty"),
					 errhint("Null stands for all meters, those to come included.")));
	}
	meter_consumer_look(&consumer);
	PopActiveSnapshot();
	if (!PG_ARGISNULL(2))
		check_meters(&consumer, PG_GETARG_DATUM(2));
	foreach(cell, consumer.readings)
	{
		MeterReading *reading = lfirst(cell);

		reading->read.settlement = from_start ? 0 : reading->last;
	}
	meter_consumer_create(&consumer,
						  PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_drop_consumer);

/* drop_consumer(stream, consumer) */
Datum
meter_drop_consumer(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *name = meter_text_arg(fcinfo, 1, "consumer");

	PreventCommandIfReadOnly("meter.drop_consumer()");
	meter_check_stream_permission(stream);
	if (!meter_consumer_drop(stream, name))
		no_consumer(stream, name);
	PG_RETURN_VOID();
}

/* A consumer, and how far it is behind. */
typedef struct Backlog
{
	const char *stream;
	const char *name;
	int64		settlements;
	int64		rows;
	bool		any;
	TimestampTz oldest;
} Backlog;

/* Count what a consumer has not read, as meter_try() calls it. */
static void
count_backlog(void *arg)
{
	Backlog    *backlog = arg;
	MeterConsumer consumer;
	MeterSession session;

	/* who may not use the schema may know how much there is */
	meter_session_begin(&session, meter_stream_owner(backlog->stream));
	push_new_snapshot();
	if (meter_consumer_load(&consumer, backlog->stream, backlog->name))
		meter_consumer_look(&consumer);
	PopActiveSnapshot();
	backlog->any = meter_batch_backlog(&consumer, &backlog->settlements,
									   &backlog->rows, &backlog->oldest);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_consumer_backlog);

/* consumer_backlog(stream, consumer) */
Datum
meter_consumer_backlog(PG_FUNCTION_ARGS)
{
	Backlog		backlog = {text_to_cstring(PG_GETARG_TEXT_PP(0)),
	text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 0, false, 0};
	Oid			schema = get_namespace_oid(backlog.stream, true);
	TupleDesc	descriptor;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	ErrorData  *error;

	if (!OidIsValid(schema) ||
		!(may_consume(schema) || meter_sees_all() ||
		  meter_has_access(backlog.stream, METER_ACCESS_OPERATOR)))
		PG_RETURN_NULL();
	/* one stream that is broken must not hide the others */
	error = meter_try(count_backlog, &backlog);
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	if (error != NULL)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(backlog.settlements);
	values[1] = Int64GetDatum(backlog.rows);
	values[2] = TimestampTzGetDatum(backlog.oldest);
	nulls[2] = !backlog.any;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor),
													  values, nulls)));
}
