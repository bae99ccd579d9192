/*
 * inbox.c
 *	  The ingestion paths of a stream for events and measures as values: the
 *	  views inbox and measure_inbox, and the functions meter.ingest….
 *
 * An INSTEAD OF row trigger of each view collects rows, and an AFTER statement
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/access.h"
#include "catalog/limits.h"
#include "catalog/stream.h"
#include "commands/inbox.h"
#include "core/core.h"
#include "core/jsontext.h"
#include "core/messages.h"
#include "core/record.h"
#include "core/wire.h"
#include "log/intake.h"
#include "pg/arguments.h"
#include "pg/copying.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "types/protobuf.h"
#include "types/record.h"

PG_FUNCTION_INFO_V1(meter_inbox_collect);
PG_FUNCTION_INFO_V1(meter_inbox_store);
PG_FUNCTION_INFO_V1(meter_inbox_refuse);
PG_FUNCTION_INFO_V1(meter_ingest);
PG_FUNCTION_INFO_V1(meter_ingest_json);
PG_FUNCTION_INFO_V1(meter_ingest_protobuf);
PG_FUNCTION_INFO_V1(meter_ingest_measures);

/* The view that takes records of a kind. */
typedef struct Inbox
{
	const char *view;
	const char *comment;
} Inbox;

static const Inbox inboxes[METER_RECORD_KINDS] = {
	{"inbox", "an ingestion path of the event log: what is inserted here, by INSERT or COPY, as text (JSON, EDN or CloudEvents) or binary (protobuf), is logged as events; always empty"},
	{"measure_inbox", "an ingestion path of the measure log: what is inserted here, by INSERT or COPY, as text (JSON, EDN or CloudEvents) or binary (protobuf), is logged as measures; always empty"}
};

/* The rows that one subtransaction inserted into an inbox. */
typedef struct Collected
{
	Oid			view;
	MeterRecordKind kind;
	SubTransactionId subid;
	bool		busy;			/* rows are being inserted: no more are added */
	MeterIntake *intake;
	struct Collected *next;
} Collected;

/* All rows that are collected.  They live in TopTransactionContext. */
static Collected *all_collected = NULL;

/* --- the view ----------------------------------------------------------- */

/* Make the inbox for records of a kind, in a session. */
static void
make_inbox(const char *stream, MeterRecordKind kind)
{
	static const char *const triggers[] = {
		"collect INSTEAD OF INSERT ON %s FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect()",
		"store AFTER INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store()",

		/*
		 * a statement that finds no row says so too; without the other it
		 * would not get there
		 */
		"refuse BEFORE UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_refuse()",
		"refuse_row INSTEAD OF UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_refuse()"
	};
	const Inbox *inbox = &inboxes[kind];
	const char *type = meter_record_forms[kind].name;
	char	   *view = psprintf("%s.%s", quote_identifier(stream), inbox->view);
	int			i;

	meter_execute_utility(stream,
						  psprintf("CREATE OR REPLACE VIEW %s AS "
								   "SELECT NULL::meter.%s AS %s WHERE false",
								   view, type, type));
	for (i = 0; i < (int) lengthof(triggers); i++)
		meter_execute_utility(stream,
							  psprintf("CREATE OR REPLACE TRIGGER %s",
									   psprintf(triggers[i], view)));
	meter_execute_utility(stream,
						  psprintf("COMMENT ON VIEW %s IS %s", view,
								   quote_literal_cstr(inbox->comment)));
}

/* Make the inboxes of a stream, or make them anew. */
void
meter_make_inboxes(const char *stream)
{
	MeterSession session;
	int			kind;

	meter_session_begin(&session, meter_stream_owner(stream));
	for (kind = 0; kind < METER_RECORD_KINDS; kind++)
		make_inbox(stream, (MeterRecordKind) kind);
	meter_session_end(&session);
}

/* Return which inbox the name of a view is that of; -1: none. */
static int
inbox_kind(const char *view)
{
	int			kind;

	for (kind = 0; kind < METER_RECORD_KINDS; kind++)
	{
		if (strcmp(view, inboxes[kind].view) == 0)
			return kind;
	}
	return -1;
}

/* Tell whether a view has one column, of the type of records of a kind. */
static bool
takes_records(Relation view, MeterRecordKind kind)
{
	TupleDesc	descriptor = RelationGetDescr(view);

	return descriptor->natts == 1 &&
		TupleDescAttr(descriptor, 0)->atttypid ==
		GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						CStringGetDatum(meter_record_forms[kind].name),
						ObjectIdGetDatum(get_namespace_oid("meter", false)));
}

/*
 * Return the name of the stream of which a view is an inbox.  What comes
 * through a view is logged as the owner of the schema, so the view must be the
 * one that the extension made for a stream, and that owner's.
 */
static char *
inbox_stream(Relation view)
{
	char	   *stream = get_namespace_name(RelationGetNamespace(view));
	char	   *name = RelationGetRelationName(view);
	int			kind = inbox_kind(name);
	bool		exists;
	bool		active;

	if (!takes_records(view, kind < 0 ? METER_EVENT_RECORD : (MeterRecordKind) kind) &&
		(kind >= 0 || !takes_records(view, METER_MEASURE_RECORD)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("view \"%s\" is no inbox: it must have one column, of type meter.%s",
						name, kind < 0 ? "event or meter.measure" :
						meter_record_forms[kind].name)));
	meter_look_up_stream(stream, &exists, &active);
	if (exists && view->rd_rel->relowner != meter_stream_owner(stream))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("view \"%s.%s\" does not belong to the owner of the schema",
						stream, name),
				 errhint("Give the view to the owner of the stream with ALTER VIEW ... OWNER TO.")));
	if (!exists || kind < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("view \"%s.%s\" is not an inbox of a stream",
						stream, name),
				 exists ?
				 errdetail("The inboxes of stream \"%s\" are \"%s.inbox\" and \"%s.measure_inbox\".",
						   stream, stream, stream) :
				 errdetail("There is no stream \"%s\".", stream),
				 errhint("meter.create_stream() makes the inboxes of a stream, meter.resume() makes them anew.")));
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
				 errmsg("%s is for the trigger that meter.create_stream() makes on the inboxes of a stream",
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
	collected->kind = (MeterRecordKind) inbox_kind(RelationGetRelationName(view));
	collected->subid = GetCurrentSubTransactionId();
	collected->busy = false;
	collected->intake = meter_intake_begin(stream, TopTransactionContext);
	collected->next = all_collected;
	all_collected = collected;
	return collected;
}

/*
 * Collect a row.  Rows that are diverted, and blank lines, do not count as
 * inserted.
 */
Datum
meter_inbox_collect(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = check_trigger(fcinfo, TRIGGER_EVENT_INSTEAD, true,
										 "meter_internal.inbox_collect()");
	Collected  *collected = find_collected(RelationGetRelid(trigger->tg_relation));
	Datum		value;
	bool		isnull;
	bool		logged;

	if (collected == NULL)
		collected = begin_collecting(trigger->tg_relation);
	value = heap_getattr(trigger->tg_trigtuple, 1,
						 RelationGetDescr(trigger->tg_relation), &isnull);
	if (isnull && meter_copied_blank_line())
		PG_RETURN_POINTER(NULL);
	collected->busy = true;
	logged = meter_intake_record(collected->intake, collected->kind,
								 isnull ? NULL : PG_DETOAST_DATUM_PACKED(value));
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
	const char *view;
	const char *name;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s is for triggers", "meter_internal.inbox_refuse()")));
	view = RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation);
	name = meter_record_forms[inbox_kind(view) == METER_MEASURE_RECORD ?
							  METER_MEASURE_RECORD : METER_EVENT_RECORD].name;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot update or delete %ss in \"%s\"", name, view),
			 errdetail("The view is an ingestion path: what was inserted is in the %s log, which is append-only.",
					   name),
			 errhint("To take a row back, send an event with the same resource, source, id and time, and action void.")));
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
					 errmsg_plural(INT64_FORMAT " row inserted into \"%s.%s\" was not stored",
								   INT64_FORMAT " rows inserted into \"%s.%s\" were not stored",
								   (unsigned long) pending, pending,
								   meter_intake_stream(collected->intake),
								   inboxes[collected->kind].view),
					 errdetail("Trigger \"store\" of the inbox is missing or disabled."),
					 errhint("meter.resume(%s) makes the trigger again.",
							 quote_literal_cstr(meter_intake_stream(collected->intake)))));
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
 * Begin to take rows into a stream.  Whoever may insert into the inbox for
 * records of that kind may use the functions, too.
 */
static MeterIntake *
begin_intake(const char *stream, MeterRecordKind kind)
{
	const char *name = inboxes[kind].view;
	bool		exists;
	bool		active;
	Oid			schema;
	Oid			view;
	Relation	relation;

	meter_look_up_stream(stream, &exists, &active);
	schema = exists ? get_namespace_oid(stream, true) : InvalidOid;
	view = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist, or has no view \"%s\"",
						stream, name),
				 errhint("meter.create_stream(%s) makes a stream, meter.resume(%s) its inboxes.",
						 quote_literal_cstr(stream), quote_literal_cstr(stream))));
	if (meter_schema_aclcheck(schema, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", stream),
				 meter_access_hint(stream, METER_ACCESS_INGEST)));
	if (pg_class_aclcheck(view, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for view %s.%s", stream, name),
				 meter_access_hint(stream, METER_ACCESS_INGEST)));
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
	intake = begin_intake(stream, METER_EVENT_RECORD);
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
		(void) meter_intake_record(intake, METER_EVENT_RECORD,
								   isnull ? NULL :
								   PG_DETOAST_DATUM_PACKED(event));
		MemoryContextSwitchTo(before);
		MemoryContextReset(row);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT64(meter_intake_end(intake));
}

/* --- functions: JSON ---------------------------------------------------- */

/* An element of a JSON list that is being read. */
typedef struct Element
{
	int64		number;			/* from 1 */
	const char *text;			/* the whole, in the server's encoding */
	size_t		position;		/* of the element in it */
} Element;

/* Add the place of an element to an error. */
static void
name_element(void *arg)
{
	const Element *element = arg;

	errcontext("element " INT64_FORMAT " of the list, which begins at character %d",
			   element->number,
			   pg_mbstrlen_with_len(element->text, (int) element->position) + 1);
}

/* Take a text into the log as one record. */
static void
ingest_text(FunctionCallInfo fcinfo, MeterIntake *intake, MeterRecordKind kind,
			const char *text, size_t length)
{
	Datum		value = meter_record_input(fcinfo, kind, text, length);

	(void) meter_intake_record(intake, kind,
							   (struct varlena *) DatumGetPointer(value));
}

/* Divert a list that is not well formed, or raise what is wrong with it. */
static void
refuse_list(FunctionCallInfo fcinfo, MeterIntake *intake, MeterRecordKind kind,
			const char *list, size_t length, const MeterProblem *problem)
{
	Datum		reason = meter_record_text(meter_name_attr(problem->reason));
	Datum		value;

	value = meter_record_refuse(fcinfo, kind,
								ERRCODE_INVALID_TEXT_REPRESENTATION, list,
								length,
								psprintf("At character %d: %s.",
										 pg_mbstrlen_with_len(list, (int) problem->position) + 1,
										 TextDatumGetCString(reason)));
	(void) meter_intake_record(intake, kind,
							   (struct varlena *) DatumGetPointer(value));
}

/*
 * Take the elements of a JSON list into the log, each as a record.  A list
 * that is not well formed is refused as a whole.
 */
static void
ingest_list(FunctionCallInfo fcinfo, MeterIntake *intake, MeterRecordKind kind,
			const char *text, size_t length)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext,
											  "meter ingest row",
											  ALLOCSET_DEFAULT_SIZES);
	MeterReader reader;
	MeterProblem problem;
	MeterAttr	part;
	Element		element;
	ErrorContextCallback callback;

	meter_reader_init(&reader, text, length, &problem);
	meter_json_skip_space(&reader);
	while (meter_json_next_element(&reader, &part))
		CHECK_FOR_INTERRUPTS();
	meter_json_skip_space(&reader);
	if (!reader.failed && reader.at != reader.end)
		meter_fail(&reader, reader.at, "the text goes on after the list");
	if (reader.failed)
	{
		refuse_list(fcinfo, intake, kind, text, length, &problem);
		return;
	}

	element.number = 0;
	element.text = text;
	callback.callback = name_element;
	callback.arg = &element;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	meter_reader_init(&reader, text, length, &problem);
	meter_json_skip_space(&reader);
	while (meter_json_next_element(&reader, &part))
	{
		MemoryContext before = MemoryContextSwitchTo(row);

		element.number++;
		element.position = part.data - text;
		ingest_text(fcinfo, intake, kind, part.data, part.len);
		MemoryContextSwitchTo(before);
		MemoryContextReset(row);
		CHECK_FOR_INTERRUPTS();
	}
	error_context_stack = callback.previous;
}

/* ingest_json(stream, document, measures) */
Datum
meter_ingest_json(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterRecordKind kind = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2) ?
	METER_MEASURE_RECORD : METER_EVENT_RECORD;
	MeterIntake *intake;
	const char *text;
	size_t		length;

	PreventCommandIfReadOnly("meter.ingest_json()");
	intake = begin_intake(stream, kind);
	text = meter_text_arg(fcinfo, 1, "document");
	length = strlen(text);
	if (text[strspn(text, " \t\r\n")] == '[')
		ingest_list(fcinfo, intake, kind, text, length);
	else
		ingest_text(fcinfo, intake, kind, text, length);
	PG_RETURN_INT64(meter_intake_end(intake));
}

/* --- functions: protobuf ------------------------------------------------ */

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
	const MeterWireMessage *description = meter_protobuf(message);
	size_t		begin = value->offset;
	size_t		end = begin + value->length;
	MeterRecordKind kind = message == METER_USAGE_EVENT ?
	METER_EVENT_RECORD : METER_MEASURE_RECORD;
	MeterRecord record;
	MeterIPMeasure measure;
	MeterWireError error;

	if (message == METER_IP_MEASURE)
	{
		if (meter_read_ip_measure(description, ingest->bytes, begin, end,
								  ingest->milliseconds, &measure, &error))
			meter_intake_ip_measure(ingest->intake, ingest->source, &measure);
		else
			reject_piece(ingest, begin, end, message, &error);
	}
	else if (meter_read_usage_record(description, kind, ingest->bytes, begin,
									 end, &record, &error))
		(void) meter_intake_record(ingest->intake, kind,
								   meter_record_pack(&record));
	else
		reject_piece(ingest, begin, end, message, &error);
	MemoryContextSwitchTo(before);
	MemoryContextReset(ingest->row);
	CHECK_FOR_INTERRUPTS();
}

/* Begin to read a protobuf message into a stream. */
static void
begin_ingest(Ingest *ingest, const char *stream, const bytea *value)
{
	ingest->intake = begin_intake(stream, METER_EVENT_RECORD);
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

	return meter_record_text(text);
}

/*
 * ingest_protobuf(stream, batch)
 *
 * The source of all IPMeasures may come after them, so it is looked for first.
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
		else if (field == METER_BATCH_USAGE_MEASURE)
			ingest_message(&ingest, METER_USAGE_MEASURE, &value);
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
