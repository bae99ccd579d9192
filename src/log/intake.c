/*
 * intake.c
 *	  Rows on their way into a stream: collected, and inserted in blocks.
 *
 * A block is one INSERT … SELECT through the log itself, so that arrivals,
 * checks, locks and indexes are those of any INSERT; it runs as the owner of
 * the stream's schema, who must own the table.  What is collected lives in a
 * memory context of its own, with everything else of the intake.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/limits.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/eventform.h"
#include "core/messages.h"
#include "log/intake.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "types/event.h"
#include "types/protobuf.h"

/* A block is inserted when it has so many rows, or about BLOCK_BYTES. */
#define BLOCK_ROWS	1000
#define BLOCK_BYTES	(512 * 1024)

#define RESERVED_PREFIX	"reconciled:"

/* The tables that rows go to. */
typedef enum Target
{
	TARGET_EVENT,
	TARGET_MEASURE,
	TARGET_REJECTED,
	TARGETS
} Target;

#define MAX_COLUMNS	10

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

typedef struct TargetTable
{
	const char *name;
	int			ncolumns;
	Column		columns[MAX_COLUMNS];
} TargetTable;

/* Fields of an event as in MeterField, after its time. */
static const TargetTable tables[TARGETS] = {
	{
		"event", 10,
		{
			{"time", TIMESTAMPTZOID}, {"resource", TEXTOID},
			{"action", TEXTOID}, {"account", TEXTOID}, {"entity", TEXTOID},
			{"offering", TEXTOID}, {"value", NUMERICOID},
			{"source", TEXTOID}, {"id", TEXTOID}, {"attributes", JSONBOID}
		}
	},
	{
		"measure", 7,
		{
			{"source", TEXTOID}, {"id", TEXTOID},
			{"start_time", TIMESTAMPTZOID}, {"end_time", TIMESTAMPTZOID},
			{"resource", TEXTOID}, {"value", NUMERICOID},
			{"attributes", JSONBOID}
		}
	},
	{
		"rejected", 3,
		{
			{"sender", TEXTOID}, {"raw", TEXTOID}, {"reason", TEXTOID}
		}
	}
};

/* The rows that are collected for one table. */
typedef struct RowBlock
{
	TupleDesc	descriptor;
	Tuplestorestate *rows;		/* NULL: none */
	int64		nrows;
} RowBlock;

struct MeterIntake
{
	MemoryContext context;
	char	   *stream;
	RowBlock	blocks[TARGETS];
	Size		bytes;			/* about so many are pending */
	int64		logged;
	int64		diverted;
	int64		header;			/* the header of header_attributes; -1: none */
	Datum		header_attributes;
};

/* A statement that inserts blocks, kept for the session. */
typedef struct KeptPlan
{
	struct
	{
		NameData	stream;
		int32		target;
	}			key;
	SPIPlanPtr	plan;
} KeptPlan;

static HTAB *kept_plans = NULL;

/* Begin to take rows in.  The intake lives as long as its parent context. */
MeterIntake *
meter_intake_begin(const char *stream, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "meter intake",
												  ALLOCSET_DEFAULT_SIZES);
	MeterIntake *intake = MemoryContextAllocZero(context,
												 sizeof(MeterIntake));

	intake->context = context;
	intake->stream = MemoryContextStrdup(context, stream);
	intake->header = -1;
	return intake;
}

/* Return the stream that the rows of an intake go to. */
const char *
meter_intake_stream(const MeterIntake *intake)
{
	return intake->stream;
}

/* Return how many rows are collected and not inserted yet. */
int64
meter_intake_pending(const MeterIntake *intake)
{
	int64		pending = 0;
	int			i;

	for (i = 0; i < TARGETS; i++)
		pending += intake->blocks[i].nrows;
	return pending;
}

/* Throw away what is collected; files go with their transaction. */
void
meter_intake_forget(MeterIntake *intake)
{
	MemoryContextDelete(intake->context);
}

/* Collect a row for a table. */
static void
add_row(MeterIntake *intake, Target target, Datum *values, bool *nulls)
{
	RowBlock   *block = &intake->blocks[target];

	if (block->rows == NULL)
	{
		MemoryContext before = MemoryContextSwitchTo(intake->context);

		if (block->descriptor == NULL)
		{
			const TargetTable *table = &tables[target];
			TupleDesc	descriptor = CreateTemplateTupleDesc(table->ncolumns);
			int			i;

			for (i = 0; i < table->ncolumns; i++)
				TupleDescInitEntry(descriptor, (AttrNumber) (i + 1),
								   table->columns[i].name,
								   table->columns[i].type, -1, 0);
			block->descriptor = descriptor;
		}
		block->rows = tuplestore_begin_heap(false, false, work_mem);
		MemoryContextSwitchTo(before);
	}
	tuplestore_putvalues(block->rows, block->descriptor, values, nulls);
	block->nrows++;
	if (target != TARGET_REJECTED)
		intake->logged++;
	if (block->nrows >= BLOCK_ROWS || intake->bytes >= BLOCK_BYTES)
		meter_intake_flush(intake);
}

/* Keep what cannot be logged, with the reason why; raw may be NULL. */
void
meter_intake_reject(MeterIntake *intake, const char *raw, size_t length,
					const char *reason)
{
	Datum		values[3];
	bool		nulls[3] = {false, raw == NULL, false};

	values[0] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	values[1] = raw == NULL ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(raw, (int) length));
	values[2] = CStringGetTextDatum(reason);
	intake->bytes += length;
	intake->diverted++;
	add_row(intake, TARGET_REJECTED, values, nulls);
}

/* Divert an event, or raise what is wrong with it. */
static void
refuse_event(MeterIntake *intake, const MeterUsageEvent *event, int code,
			 const char *reason, const char *detail)
{
	MeterAttr	json;
	char	   *raw;
	size_t		length;

	if (meter_on_bad_event != METER_BAD_EVENT_DIVERT)
		ereport(ERROR,
				(errcode(code), errmsg("%s", reason),
				 detail == NULL ? 0 : errdetail("%s", detail)));
	json.data = meter_event_to_text(event, &length);
	json.len = (int32) length;
	raw = TextDatumGetCString(meter_event_text(json));
	meter_intake_reject(intake, raw, strlen(raw), reason);
}

/* Say what is wrong with a row of the event log; NULL: nothing. */
static char *
find_problem(Datum *values, bool *nulls)
{
	static const MeterLimit *limits[MAX_COLUMNS];
	const TargetTable *table = &tables[TARGET_EVENT];
	char	   *problem;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		if (nulls[i])
			continue;
		if (limits[i] == NULL)
			limits[i] = meter_limit_of(table->name, table->columns[i].name);
		problem = meter_beyond_limit(limits[i], values[i]);
		if (problem != NULL)
			return psprintf("\"%s\" %s", table->columns[i].name, problem);
	}
	return NULL;
}

/*
 * Take an event in, which must not be null.  Returns false if it was diverted
 * to the table rejected.
 */
bool
meter_intake_event(MeterIntake *intake, const struct varlena *value)
{
	MeterUsageEvent event;
	MeterAttr	raw;
	MeterAttr	reason;
	Datum		values[MAX_COLUMNS];
	bool		nulls[MAX_COLUMNS];
	char	   *problem;
	int			i;

	if (value == NULL)
	{
		if (meter_on_bad_event != METER_BAD_EVENT_DIVERT)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("event must not be null")));
		meter_intake_reject(intake, NULL, 0, "event must not be null");
		return false;
	}
	if (meter_event_is_bad(value, &raw, &reason))
	{
		meter_intake_reject(intake, raw.data, raw.len,
							pnstrdup(reason.data, reason.len));
		return false;
	}

	meter_event_unpack(value, &event);
	if (event.fields[METER_ACTION].len >= (int32) strlen(RESERVED_PREFIX) &&
		memcmp(event.fields[METER_ACTION].data, RESERVED_PREFIX,
			   strlen(RESERVED_PREFIX)) == 0)
	{
		problem = psprintf("action \"%s\" is reserved",
						   TextDatumGetCString(meter_event_text(event.fields[METER_ACTION])));
		refuse_event(intake, &event, ERRCODE_RESERVED_NAME, problem,
					 "Only meter.reconcile() logs actions that begin with \"" RESERVED_PREFIX "\".");
		return false;
	}

	values[0] = TimestampTzGetDatum(event.time);
	nulls[0] = false;
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = event.fields[i];

		nulls[i + 1] = MeterAttrIsNull(field) ||
			(i == METER_ENTITY && field.len == 0);
		if (nulls[i + 1])
			continue;
		if (i == METER_VALUE)
			values[i + 1] = NumericGetDatum(meter_numeric_from_attr(field));
		else if (i == METER_ATTRIBUTES)
			values[i + 1] = meter_event_jsonb(field);
		else
			values[i + 1] = meter_event_text(field);
	}
	problem = find_problem(values, nulls);
	if (problem != NULL)
	{
		refuse_event(intake, &event, ERRCODE_CHECK_VIOLATION, problem, NULL);
		return false;
	}
	intake->bytes += VARSIZE_ANY(value);
	add_row(intake, TARGET_EVENT, values, nulls);
	return true;
}

/* Return the header of a measure as its attributes; headers mostly repeat. */
static Datum
header_attributes(MeterIntake *intake, uint32 header)
{
	if (intake->header != (int64) header)
	{
		MemoryContext before = MemoryContextSwitchTo(intake->context);

		intake->header_attributes =
			DirectFunctionCall1(jsonb_in,
								CStringGetDatum(psprintf("{\"header\": %u}",
														 header)));
		intake->header = header;
		MemoryContextSwitchTo(before);
	}
	return intake->header_attributes;
}

/* Write an instant as Unix seconds, with a fraction if it has one. */
static int
write_unix_time(char *text, int64 instant)
{
	int64		micros = instant + METER_UNIX_EPOCH;
	int			length = sprintf(text, INT64_FORMAT, micros / USECS_PER_SEC);

	/* instants have milliseconds at most */
	if (micros % USECS_PER_SEC != 0)
		length += sprintf(text + length, ".%03d",
						  (int) (micros % USECS_PER_SEC / 1000));
	return length;
}

/*
 * Take a measure in.  Its id is made of the address and the times, in one unit
 * whatever they came in: sent again, the measure is a duplicate.
 */
void
meter_intake_measure(MeterIntake *intake, Datum source,
					 const MeterIPMeasure *measure)
{
	MeterAddressText address;
	char		id[80];
	Datum		values[7];
	bool		nulls[7] = {false};
	int			length = meter_write_address(measure->address, id);

	id[length++] = '/';
	length += write_unix_time(id + length, measure->start);
	id[length++] = '/';
	length += write_unix_time(id + length, measure->end);
	values[0] = source;
	values[1] = PointerGetDatum(cstring_to_text_with_len(id, length));
	values[2] = TimestampTzGetDatum(measure->start);
	values[3] = TimestampTzGetDatum(measure->end);
	values[4] = meter_address_text(measure->address, &address);
	values[5] = meter_uint64_numeric(measure->bytes);
	values[6] = header_attributes(intake, measure->header);
	intake->bytes += 100;
	add_row(intake, TARGET_MEASURE, values, nulls);
	pfree(DatumGetPointer(values[1]));
	pfree(DatumGetPointer(values[5]));
}

/* Return the statement that inserts blocks into a table of a stream. */
static KeptPlan *
find_plan(const char *stream, Target target)
{
	KeptPlan   *kept;
	KeptPlan	key;
	bool		found;

	if (kept_plans == NULL)
	{
		HASHCTL		control;

		memset(&control, 0, sizeof(control));
		control.keysize = sizeof(key.key);
		control.entrysize = sizeof(KeptPlan);
		kept_plans = hash_create("meter intake statements", 16, &control,
								 HASH_ELEM | HASH_BLOBS);
	}
	memset(&key, 0, sizeof(key));
	namestrcpy(&key.key.stream, stream);
	key.key.target = target;
	kept = hash_search(kept_plans, &key.key, HASH_ENTER, &found);
	if (!found)
		kept->plan = NULL;
	return kept;
}

/*
 * Check that a table is there and belongs to the owner of the schema, and that
 * no policy on it is for the caller: the owner, as whom rows are inserted, is
 * not bound by it.
 */
static void
check_table(const char *stream, const char *name, Oid owner)
{
	Oid			oid = get_relname_relid(name, get_namespace_oid(stream, false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Oid			table_owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("schema \"%s\" does not have the shape of a stream",
						stream),
				 errdetail("There is no table \"%s\".", name)));
	table_owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (table_owner != owner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" of stream \"%s\" does not belong to the owner of the schema",
						name, stream),
				 errhint("Give all tables of the stream to one role with ALTER TABLE ... OWNER TO.")));
	if (check_enable_rls(oid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s.%s\" has row security, which the inbox and meter.ingest...() cannot apply to role \"%s\"",
						stream, name, GetUserNameFromId(GetUserId(), false)),
				 errhint("INSERT into the table itself applies its policies. A role with BYPASSRLS may use this path.")));
}

/* Return the text of the statement that inserts a block into a table. */
static char *
insert_statement(const char *stream, const TargetTable *table)
{
	StringInfoData columns;
	int			i;

	initStringInfo(&columns);
	for (i = 0; i < table->ncolumns; i++)
		appendStringInfo(&columns, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(table->columns[i].name));
	return psprintf("INSERT INTO %s.%s (%s) SELECT %s FROM block",
					quote_identifier(stream), table->name, columns.data,
					columns.data);
}

/* Insert the rows that are collected. */
void
meter_intake_flush(MeterIntake *intake)
{
	MeterSession session;
	Oid			owner;
	int			target;

	if (meter_intake_pending(intake) == 0)
		return;
	owner = meter_stream_owner(intake->stream);
	/* as the caller, whom policies may be for */
	for (target = 0; target < TARGETS; target++)
	{
		if (intake->blocks[target].nrows > 0)
			check_table(intake->stream, tables[target].name, owner);
	}
	meter_session_begin(&session, owner);
	for (target = 0; target < TARGETS; target++)
	{
		const TargetTable *table = &tables[target];
		RowBlock   *block = &intake->blocks[target];
		MeterRows	rows;

		if (block->nrows == 0)
			continue;
		rows.name = "block";
		rows.descriptor = block->descriptor;
		rows.store = block->rows;
		rows.count = block->nrows;
		meter_insert_rows(&find_plan(intake->stream, target)->plan,
						  insert_statement(intake->stream, table), &rows);
		tuplestore_end(block->rows);
		block->rows = NULL;
		block->nrows = 0;
	}
	meter_session_end(&session);
	intake->bytes = 0;
}

/*
 * End an intake: insert the rest, and say what was diverted.  Returns the
 * number of rows that were logged.
 */
int64
meter_intake_end(MeterIntake *intake)
{
	int64		logged;

	meter_intake_flush(intake);
	if (intake->diverted > 0)
		ereport(WARNING,
				(errmsg_plural(INT64_FORMAT " row was diverted to \"%s.rejected\"",
							   INT64_FORMAT " rows were diverted to \"%s.rejected\"",
							   (unsigned long) intake->diverted,
							   intake->diverted, intake->stream)));
	logged = intake->logged;
	MemoryContextDelete(intake->context);
	return logged;
}
