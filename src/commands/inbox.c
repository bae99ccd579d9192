/*
 * inbox.c
 *	  The ingestion paths of a stream for events as values: the view inbox,
 *	  and the functions meter.ingest….
 *
 * An INSTEAD OF row trigger of the view collects rows, and an AFTER statement
 * trigger inserts those that are left (intake.c).  Rows are collected for a
 * view and a subtransaction: when a subtransaction is aborted, the rows that
 * it collected are dropped, and no rows are inserted in a deeper
 * subtransaction, whose abort would remove them.  No row may get lost in
 * between: a transaction fails if it would commit with rows that are collected
 * and not inserted, because the statement trigger is missing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/limits.h"
#include "catalog/stream.h"
#include "commands/inbox.h"
#include "core/core.h"
#include "core/eventform.h"
#include "core/messages.h"
#include "core/wire.h"
#include "log/intake.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "types/event.h"
#include "types/protobuf.h"

PG_FUNCTION_INFO_V1(meter_inbox_collect);
PG_FUNCTION_INFO_V1(meter_inbox_store);
PG_FUNCTION_INFO_V1(meter_inbox_refuse);
PG_FUNCTION_INFO_V1(meter_ingest);
PG_FUNCTION_INFO_V1(meter_ingest_protobuf);
PG_FUNCTION_INFO_V1(meter_ingest_measures);

/* The rows that one subtransaction inserted into an inbox. */
typedef struct Collected
{
	Oid			view;
	SubTransactionId subid;
	bool		busy;			/* rows are being inserted: no more are added */
	MeterIntake *intake;
	struct Collected *next;
} Collected;

/* All rows that are collected.  They live in TopTransactionContext. */
static Collected *all_collected = NULL;

/* --- the view ----------------------------------------------------------- */

/* Make the inbox of a stream, or make it anew. */
void
meter_make_inbox(const char *stream)
{
	static const char *const triggers[] = {
		"collect INSTEAD OF INSERT ON %s.inbox FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect()",
		"store AFTER INSERT ON %s.inbox FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store()",

		/*
		 * a statement that finds no row says so too; without the other it
		 * would not get there
		 */
		"refuse BEFORE UPDATE OR DELETE ON %s.inbox FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_refuse()",
		"refuse_row INSTEAD OF UPDATE OR DELETE ON %s.inbox FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_refuse()"
	};
	const char *schema = quote_identifier(stream);
	MeterSession session;
	int			i;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute_utility(stream,
						  psprintf("CREATE OR REPLACE VIEW %s.inbox AS "
								   "SELECT NULL::meter.event AS event WHERE false",
								   schema));
	for (i = 0; i < (int) lengthof(triggers); i++)
		meter_execute_utility(stream,
							  psprintf("CREATE OR REPLACE TRIGGER %s",
									   psprintf(triggers[i], schema)));
	meter_execute_utility(stream,
						  psprintf("COMMENT ON VIEW %s.inbox IS "
								   "'an ingestion path of the event log: what is inserted here, by INSERT or COPY, as text (JSON, EDN or CloudEvents) or binary (protobuf), is logged as events; always empty'",
								   schema));
	meter_session_end(&session);
}

/*
 * Return the name of the stream whose inbox a view is.  What comes through a
 * view is logged as the owner of the schema, so the view must be the one that
 * the extension made for a stream, and that owner's.
 */
static char *
inbox_stream(Relation view)
{
	TupleDesc	descriptor = RelationGetDescr(view);
	char	   *stream = get_namespace_name(RelationGetNamespace(view));
	char	   *name = RelationGetRelationName(view);
	bool		exists;
	bool		active;

	if (descriptor->natts != 1 ||
		TupleDescAttr(descriptor, 0)->atttypid !=
		GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						CStringGetDatum("event"),
						ObjectIdGetDatum(get_namespace_oid("meter", false))))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("view \"%s\" is no inbox: it must have one column, of type meter.event",
						name)));
	meter_look_up_stream(stream, &exists, &active);
	if (exists && view->rd_rel->relowner != meter_stream_owner(stream))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("view \"%s.%s\" does not belong to the owner of the schema",
						stream, name),
				 errhint("Give the view to the owner of the stream with ALTER VIEW ... OWNER TO.")));
	if (!exists || strcmp(name, "inbox") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("view \"%s.%s\" is not the inbox of a stream",
						stream, name),
				 exists ?
				 errdetail("The inbox of stream \"%s\" is \"%s.inbox\".",
						   stream, stream) :
				 errdetail("There is no stream \"%s\".", stream),
				 errhint("meter.create_stream() makes the inbox of a stream, meter.resume() makes it anew.")));
	return stream;
}

/* Check that a function is called as the trigger that it is meant to be. */
static TriggerData *
check_trigger(FunctionCallInfo fcinfo, TriggerEvent timing, bool row,
			  const char *function)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(trigger->tg_event & TRIGGER_EVENT_TIMINGMASK) != timing ||
		(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) != 0) != row ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		trigger->tg_relation->rd_rel->relkind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s is for the trigger that meter.create_stream() makes on the view inbox of a stream",
						function)));
	return trigger;
}

/*
 * Return what was collected for a view in this subtransaction, or NULL.  A
 * trigger of the log may insert into the inbox while rows are inserted into
 * the log: such rows are collected apart.
 */
static Collected *
find_collected(Oid view)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	Collected  *collected;

	for (collected = all_collected; collected != NULL;
		 collected = collected->next)
	{
		if (collected->view == view && collected->subid == subid &&
			!collected->busy)
			return collected;
	}
	return NULL;
}

/* Begin to collect for a view, which must be an inbox. */
static Collected *
begin_collecting(Relation view)
{
	char	   *stream = inbox_stream(view);
	Collected  *collected = MemoryContextAlloc(TopTransactionContext,
											   sizeof(Collected));

	collected->view = RelationGetRelid(view);
	collected->subid = GetCurrentSubTransactionId();
	collected->busy = false;
	collected->intake = meter_intake_begin(stream, TopTransactionContext);
	collected->next = all_collected;
	all_collected = collected;
	return collected;
}

/* Collect a row.  Rows that are diverted do not count as inserted. */
Datum
meter_inbox_collect(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = check_trigger(fcinfo, TRIGGER_EVENT_INSTEAD, true,
										 "meter_internal.inbox_collect()");
	Collected  *collected = find_collected(RelationGetRelid(trigger->tg_relation));
	Datum		event;
	bool		isnull;
	bool		logged;

	if (collected == NULL)
		collected = begin_collecting(trigger->tg_relation);
	event = heap_getattr(trigger->tg_trigtuple, 1,
						 RelationGetDescr(trigger->tg_relation), &isnull);
	collected->busy = true;
	logged = meter_intake_event(collected->intake, isnull ? NULL :
								PG_DETOAST_DATUM_PACKED(event));
	collected->busy = false;
	PG_RETURN_POINTER(logged ? trigger->tg_trigtuple : NULL);
}

/*
 * Take the rows of one subtransaction off the list of all that are collected.
 */
static void
unlink_collected(Collected *collected)
{
	Collected **link = &all_collected;

	while (*link != collected)
		link = &(*link)->next;
	*link = collected->next;
	pfree(collected);
}

/* Insert what is left of the rows of a statement into the log. */
Datum
meter_inbox_store(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = check_trigger(fcinfo, TRIGGER_EVENT_AFTER, false,
										 "meter_internal.inbox_store()");
	Collected  *collected;

	while ((collected = find_collected(RelationGetRelid(trigger->tg_relation))) != NULL)
	{
		collected->busy = true;
		(void) meter_intake_end(collected->intake);
		unlink_collected(collected);
	}
	PG_RETURN_POINTER(NULL);
}

/* Refuse updates and deletes, which an inbox cannot do. */
Datum
meter_inbox_refuse(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s is for triggers", "meter_internal.inbox_refuse()")));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot update or delete events in \"%s\"",
					RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation)),
			 errdetail("The view is an ingestion path: what was inserted is in the event log, which is append-only."),
			 errhint("To take an event back, send one with the same resource, source, id and time, and action void.")));
}

/* Check that nothing that was collected is left behind. */
static void
check_stored(void)
{
	Collected  *collected;

	for (collected = all_collected; collected != NULL;
		 collected = collected->next)
	{
		int64		pending = meter_intake_pending(collected->intake);

		if (pending > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg_plural(INT64_FORMAT " row inserted into \"%s.inbox\" was not stored",
								   INT64_FORMAT " rows inserted into \"%s.inbox\" were not stored",
								   (unsigned long) pending, pending,
								   meter_intake_stream(collected->intake)),
					 errdetail("Trigger \"store\" of the inbox is missing or disabled."),
					 errhint("meter.resume('%s') makes the trigger again.",
							 meter_intake_stream(collected->intake))));
	}
}

/*
 * Check at the end of a transaction that all rows were stored, or forget them.
 */
static void
end_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			check_stored();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			all_collected = NULL;
			break;
		default:
			break;
	}
}

/*
 * Hand the rows of a subtransaction that ends to its parent, or forget them.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId subid,
				   SubTransactionId parent, void *arg pg_attribute_unused())
{
	Collected  *collected;
	Collected  *next;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (collected = all_collected; collected != NULL; collected = next)
	{
		next = collected->next;
		if (collected->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			collected->subid = parent;
		else
		{
			meter_intake_forget(collected->intake);
			unlink_collected(collected);
		}
	}
}

/*
 * Register the callbacks at the end of transactions, while the library is
 * loaded.
 */
void
meter_inbox_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/* --- functions ---------------------------------------------------------- */

/*
 * Begin to take rows into a stream.  Whoever may insert into its inbox may use
 * the functions, too.
 */
static MeterIntake *
begin_intake(const char *stream)
{
	bool		exists;
	bool		active;
	Oid			schema;
	Oid			view;
	Relation	relation;

	meter_look_up_stream(stream, &exists, &active);
	schema = exists ? get_namespace_oid(stream, true) : InvalidOid;
	view = OidIsValid(schema) ? get_relname_relid("inbox", schema) : InvalidOid;
	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist, or has no inbox", stream),
				 errhint("meter.create_stream('%s') makes a stream, meter.resume('%s') its inbox.",
						 stream, stream)));
	if (meter_schema_aclcheck(schema, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, stream);
	if (pg_class_aclcheck(view, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW,
					   psprintf("%s.inbox", stream));
	relation = table_open(view, AccessShareLock);
	(void) inbox_stream(relation);
	table_close(relation, AccessShareLock);
	return meter_intake_begin(stream, CurrentMemoryContext);
}

/* ingest(stream, VARIADIC events) */
Datum
meter_ingest(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterIntake *intake;
	ArrayType  *array;
	ArrayIterator iterator;
	MemoryContext row;
	MemoryContext before;
	Datum		event;
	bool		isnull;

	PreventCommandIfReadOnly("meter.ingest()");
	intake = begin_intake(stream);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"events\" must not be null")));
	array = PG_GETARG_ARRAYTYPE_P(1);
	row = AllocSetContextCreate(CurrentMemoryContext, "meter ingest row",
								ALLOCSET_DEFAULT_SIZES);
	iterator = array_create_iterator(array, 0, NULL);
	while (array_iterate(iterator, &event, &isnull))
	{
		before = MemoryContextSwitchTo(row);
		(void) meter_intake_event(intake, isnull ? NULL :
								  PG_DETOAST_DATUM_PACKED(event));
		MemoryContextSwitchTo(before);
		MemoryContextReset(row);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT64(meter_intake_end(intake));
}

/* A protobuf batch or stream that is being read. */
typedef struct Ingest
{
	MeterIntake *intake;
	MemoryContext row;			/* reset after each message */
	const uint8 *bytes;
	Datum		source;
	bool		milliseconds;
} Ingest;

/* Divert a piece that cannot be read, or raise what is wrong with it. */
static void
reject_piece(Ingest *ingest, size_t begin, size_t end, MeterProtobuf message,
			 const MeterWireError *error)
{
	char	   *raw;

	if (meter_on_bad_event != METER_BAD_EVENT_DIVERT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid %s", meter_protobuf_reason(message, error)),
				 errdetail("Bytes are counted from 0.")));
	raw = meter_protobuf_hex(ingest->bytes + begin, end - begin);
	meter_intake_reject(ingest->intake, raw, strlen(raw),
						meter_protobuf_reason(message, error));
}

/* Take one message into the log. */
static void
ingest_message(Ingest *ingest, MeterProtobuf message,
			   const MeterWireValue *value)
{
	MemoryContext before = MemoryContextSwitchTo(ingest->row);
	size_t		begin = value->offset;
	size_t		end = begin + value->length;
	MeterUsageEvent event;
	MeterIPMeasure measure;
	MeterWireError error;

	if (message == METER_USAGE_EVENT)
	{
		if (meter_read_usage_event(meter_protobuf(message), ingest->bytes,
								   begin, end, &event, &error))
			(void) meter_intake_event(ingest->intake, meter_event_pack(&event));
		else
			reject_piece(ingest, begin, end, message, &error);
	}
	else
	{
		if (meter_read_ip_measure(meter_protobuf(message), ingest->bytes,
								  begin, end, ingest->milliseconds, &measure,
								  &error))
			meter_intake_measure(ingest->intake, ingest->source, &measure);
		else
			reject_piece(ingest, begin, end, message, &error);
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(ingest->row);
	CHECK_FOR_INTERRUPTS();
}

/* Begin to read a protobuf message into a stream. */
static void
begin_ingest(Ingest *ingest, const char *stream, const bytea *value)
{
	ingest->intake = begin_intake(stream);
	ingest->row = AllocSetContextCreate(CurrentMemoryContext,
										"meter ingest row",
										ALLOCSET_DEFAULT_SIZES);
	ingest->bytes = (const uint8 *) VARDATA_ANY(value);
	ingest->source = (Datum) 0;
	ingest->milliseconds = false;
}

/* Return the bytes in argument n. */
static bytea *
message_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", what)));
	return PG_GETARG_BYTEA_PP(n);
}

/* Return a text of a message, in the server's encoding. */
static Datum
text_value(const MeterWireValue *value)
{
	MeterAttr	text = {(const char *) value->data, (int32) value->length};

	return meter_event_text(text);
}

/*
 * ingest_protobuf(stream, batch)
 *
 * The source of all measures may come after them, so it is looked for first.
 */
Datum
meter_ingest_protobuf(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	bytea	   *batch = message_arg(fcinfo, 1, "batch");
	const MeterWireMessage *message = meter_protobuf(METER_USAGE_BATCH);
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	Ingest		ingest;
	int			field;
	bool		measures = false;
	char	   *problem;
	size_t		source = 0;
	size_t		length = VARSIZE_ANY_EXHDR(batch);

	PreventCommandIfReadOnly("meter.ingest_protobuf()");
	begin_ingest(&ingest, stream, batch);
	meter_wire_begin(&reader, message, ingest.bytes, 0, length);
	while ((step = meter_wire_next(&reader, &field, &value)) == METER_WIRE_FIELD)
	{
		if (field == METER_BATCH_SOURCE)
		{
			ingest.source = text_value(&value);
			source = value.offset;
		}
		else if (field == METER_BATCH_MILLISECONDS)
			ingest.milliseconds = value.number != 0;
		else if (field == METER_BATCH_MEASURE)
			measures = true;
	}
	if (step == METER_WIRE_END && measures &&
		DatumGetPointer(ingest.source) == NULL)
	{
		reader.error.field = message->fields[METER_BATCH_SOURCE].name;
		reader.error.problem = "is missing, and there are measures";
		reader.error.offset = length;
		step = METER_WIRE_WRONG;
	}
	else if (step == METER_WIRE_END && measures &&
			 (problem = meter_beyond_limit(meter_limit_of("measure", "source"),
										   ingest.source)) != NULL)
	{
		reader.error.field = message->fields[METER_BATCH_SOURCE].name;
		reader.error.problem = problem;
		reader.error.offset = source;
		step = METER_WIRE_WRONG;
	}
	if (step == METER_WIRE_WRONG)
	{
		/* neither the source nor the number of messages is known */
		reject_piece(&ingest, 0, length, METER_USAGE_BATCH, &reader.error);
		PG_RETURN_INT64(meter_intake_end(ingest.intake));
	}

	meter_wire_begin(&reader, message, ingest.bytes, 0, length);
	while (meter_wire_next(&reader, &field, &value) == METER_WIRE_FIELD)
	{
		if (field == METER_BATCH_EVENT)
			ingest_message(&ingest, METER_USAGE_EVENT, &value);
		else if (field == METER_BATCH_MEASURE)
			ingest_message(&ingest, METER_IP_MEASURE, &value);
	}
	PG_RETURN_INT64(meter_intake_end(ingest.intake));
}

/* ingest_measures(stream, source, messages, milliseconds) */
Datum
meter_ingest_measures(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *source = meter_text_arg(fcinfo, 1, "source");
	bytea	   *messages = message_arg(fcinfo, 2, "messages");
	MeterWireReader reader;
	MeterWireValue value;
	MeterWireStep step;
	Ingest		ingest;

	PreventCommandIfReadOnly("meter.ingest_measures()");
	begin_ingest(&ingest, stream, messages);
	meter_check_source_name(source);
	ingest.source = CStringGetTextDatum(source);
	ingest.milliseconds = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	meter_wire_begin(&reader, meter_protobuf(METER_IP_MEASURE), ingest.bytes,
					 0, VARSIZE_ANY_EXHDR(messages));
	while ((step = meter_wire_next_delimited(&reader, &value)) == METER_WIRE_FIELD)
		ingest_message(&ingest, METER_IP_MEASURE, &value);
	if (step == METER_WIRE_WRONG)
		reject_piece(&ingest, reader.error.offset, reader.end,
					 METER_IP_MEASURE, &reader.error);
	PG_RETURN_INT64(meter_intake_end(ingest.intake));
}
