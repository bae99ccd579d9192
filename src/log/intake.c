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
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
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
#include "core/messages.h"
#include "core/record.h"
#include "log/intake.h"
#include "pg/cluster.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "types/protobuf.h"
#include "types/record.h"

/* A block is inserted when it has so many rows, or about BLOCK_BYTES. */
#define BLOCK_ROWS	1000
#define BLOCK_BYTES	(512 * 1024)

#define RESERVED_PREFIX	"reconciled:"

/* The tables that rows go to; those of records in the order of their kinds. */
typedef enum Target
{
	TARGET_EVENT,
	TARGET_MEASURE,
	TARGET_REJECTED,
	TARGETS
} Target;

StaticAssertDecl(TARGET_EVENT == (int) METER_EVENT_RECORD &&
				 TARGET_MEASURE == (int) METER_MEASURE_RECORD,
				 "a kind of record has its table");

#define MAX_COLUMNS	11

/* What of a record a column holds, besides its fields. */
#define FROM_TIME	METER_NFIELDS
#define FROM_END	(METER_NFIELDS + 1)

typedef struct Column
{
	const char *name;
	Oid			type;
	int			from;
} Column;

typedef struct TargetTable
{
	const char *name;
	int			ncolumns;
	Column		columns[MAX_COLUMNS];
} TargetTable;

/* Columns of the table measure. */
enum
{
	MEASURE_START,
	MEASURE_END,
	MEASURE_RESOURCE,
	MEASURE_ACCOUNT,
	MEASURE_ENTITY,
	MEASURE_VALUE,
	MEASURE_SOURCE,
	MEASURE_ID,
	MEASURE_ATTRIBUTES,
	MEASURE_COLUMNS
};

static const TargetTable tables[TARGETS] = {
	{
		"event", 11,
		{
			{"time", TIMESTAMPTZOID, FROM_TIME},
			{"sequence", INT8OID, METER_SEQUENCE},
			{"resource", TEXTOID, METER_RESOURCE},
			{"action", TEXTOID, METER_ACTION},
			{"account", TEXTOID, METER_ACCOUNT},
			{"entity", TEXTOID, METER_ENTITY},
			{"offering", TEXTOID, METER_OFFERING},
			{"value", NUMERICOID, METER_VALUE},
			{"source", TEXTOID, METER_SOURCE},
			{"id", TEXTOID, METER_ID},
			{"attributes", JSONBOID, METER_ATTRIBUTES}
		}
	},
	{
		"measure", MEASURE_COLUMNS,
		{
			[MEASURE_START] = {"start_time", TIMESTAMPTZOID, FROM_TIME},
			[MEASURE_END] = {"end_time", TIMESTAMPTZOID, FROM_END},
			[MEASURE_RESOURCE] = {"resource", TEXTOID, METER_RESOURCE},
			[MEASURE_ACCOUNT] = {"account", TEXTOID, METER_ACCOUNT},
			[MEASURE_ENTITY] = {"entity", TEXTOID, METER_ENTITY},
			[MEASURE_VALUE] = {"value", NUMERICOID, METER_VALUE},
			[MEASURE_SOURCE] = {"source", TEXTOID, METER_SOURCE},
			[MEASURE_ID] = {"id", TEXTOID, METER_ID},
			[MEASURE_ATTRIBUTES] = {"attributes", JSONBOID, METER_ATTRIBUTES}
		}
	},
	{
		"rejected", 3,
		{
			{"sender", TEXTOID, 0}, {"raw", TEXTOID, 0},
			{"reason", TEXTOID, 0}
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

/* Divert a record, or raise what is wrong with it. */
static void
refuse_record(MeterIntake *intake, const MeterRecord *record, int code,
			  const char *reason, const char *detail)
{
	MeterAttr	json;
	char	   *raw;
	size_t		length;

	if (meter_on_bad_event != METER_BAD_EVENT_DIVERT)
		ereport(ERROR,
				(errcode(code), errmsg("%s", reason),
				 detail == NULL ? 0 : errdetail("%s", detail)));
	json.data = meter_record_to_text(record, &length);
	json.len = (int32) length;
	raw = TextDatumGetCString(meter_record_text(json));
	meter_intake_reject(intake, raw, strlen(raw), reason);
}

/* Say what is wrong with a row of a log; NULL: nothing. */
static char *
find_problem(Target target, Datum *values, bool *nulls)
{
	static const MeterLimit *limits[TARGETS][MAX_COLUMNS];
	const TargetTable *table = &tables[target];
	char	   *problem;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		const MeterLimit **limit = &limits[target][i];

		if (nulls[i])
			continue;
		if (*limit == NULL)
			*limit = meter_limit_of(table->name, table->columns[i].name);
		/* all numbers of 64 bits may enter as a sequence */
		if (*limit == NULL)
			continue;
		problem = meter_beyond_limit(*limit, values[i]);
		if (problem != NULL)
			return psprintf("\"%s\" %s", table->columns[i].name, problem);
	}
	return NULL;
}

/*
 * Take a value that is no record: null, bad or blank.  Returns false if it is
 * a record.
 */
static bool
take_other(MeterIntake *intake, MeterRecordKind kind,
		   const struct varlena *value)
{
	MeterAttr	raw;
	MeterAttr	reason;

	if (value == NULL)
	{
		char	   *problem = psprintf("%s must not be null",
									   meter_record_forms[kind].name);

		if (meter_on_bad_event != METER_BAD_EVENT_DIVERT)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s", problem)));
		meter_intake_reject(intake, NULL, 0, problem);
		return true;
	}
	if (!meter_record_is_bad(value, &raw, &reason))
		return false;
	if (reason.len > 0)
		meter_intake_reject(intake, raw.data, raw.len,
							pnstrdup(reason.data, reason.len));
	return true;
}

/* Return the value of a column of a record; *isnull if it has none. */
static Datum
column_value(const Column *column, const MeterRecord *record, bool *isnull)
{
	MeterAttr	field;
	int64		sequence;

	*isnull = false;
	if (column->from == FROM_TIME)
		return TimestampTzGetDatum(record->time);
	if (column->from == FROM_END)
		return TimestampTzGetDatum(record->end);
	field = record->fields[column->from];
	*isnull = MeterAttrIsNull(field) ||
		(column->from == METER_ENTITY && field.len == 0);
	if (*isnull)
		return (Datum) 0;
	switch (column->from)
	{
		case METER_SEQUENCE:
			*isnull = !meter_sequence_read(field, &sequence);
			return *isnull ? (Datum) 0 : Int64GetDatum(sequence);
		case METER_VALUE:
			return NumericGetDatum(meter_numeric_from_attr(field));
		case METER_ATTRIBUTES:
			return meter_record_jsonb(field);
		default:
			return meter_record_text(field);
	}
}

/* Tell whether a record has an action that only observations have. */
static bool
is_reserved(const MeterRecord *record)
{
	MeterAttr	action = record->fields[METER_ACTION];

	return action.len >= (int32) strlen(RESERVED_PREFIX) &&
		memcmp(action.data, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) == 0;
}

/*
 * Take a record in, which must not be null.  Returns false if it was not
 * logged: if it was diverted to the table rejected, or is a blank line.
 */
bool
meter_intake_record(MeterIntake *intake, MeterRecordKind kind,
					const struct varlena *value)
{
	const TargetTable *table = &tables[kind];
	MeterRecord record;
	Datum		values[MAX_COLUMNS];
	bool		nulls[MAX_COLUMNS];
	char	   *problem;
	int			i;

	if (take_other(intake, kind, value))
		return false;
	meter_record_unpack(value, &record);
	if (is_reserved(&record))
	{
		problem = psprintf("action \"%s\" is reserved",
						   TextDatumGetCString(meter_record_text(record.fields[METER_ACTION])));
		refuse_record(intake, &record, ERRCODE_RESERVED_NAME, problem,
					  "Only meter.reconcile() logs actions that begin with \"" RESERVED_PREFIX "\".");
		return false;
	}
	for (i = 0; i < table->ncolumns; i++)
		values[i] = column_value(&table->columns[i], &record, &nulls[i]);
	problem = find_problem((Target) kind, values, nulls);
	if (problem != NULL)
	{
		refuse_record(intake, &record, ERRCODE_CHECK_VIOLATION, problem, NULL);
		return false;
	}
	intake->bytes += VARSIZE_ANY(value);
	add_row(intake, (Target) kind, values, nulls);
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
 * Take a measure of an address in.  Its id is made of the address and the
 * times, in one unit whatever they came in: sent again, the measure is a
 * duplicate.
 */
void
meter_intake_ip_measure(MeterIntake *intake, Datum source,
						const MeterIPMeasure *measure)
{
	MeterAddressText address;
	char		id[80];
	Datum		values[MEASURE_COLUMNS];
	bool		nulls[MEASURE_COLUMNS] = {false};
	int			length = meter_write_address(measure->address, id);

	id[length++] = '/';
	length += write_unix_time(id + length, measure->start);
	id[length++] = '/';
	length += write_unix_time(id + length, measure->end);
	nulls[MEASURE_ACCOUNT] = true;
	nulls[MEASURE_ENTITY] = true;
	values[MEASURE_SOURCE] = source;
	values[MEASURE_ID] = PointerGetDatum(cstring_to_text_with_len(id, length));
	values[MEASURE_START] = TimestampTzGetDatum(measure->start);
	values[MEASURE_END] = TimestampTzGetDatum(measure->end);
	values[MEASURE_RESOURCE] = meter_address_text(measure->address, &address);
	values[MEASURE_VALUE] = meter_uint64_numeric(measure->bytes);
	values[MEASURE_ATTRIBUTES] = header_attributes(intake, measure->header);
	intake->bytes += 100;
	add_row(intake, TARGET_MEASURE, values, nulls);
	pfree(DatumGetPointer(values[MEASURE_ID]));
	pfree(DatumGetPointer(values[MEASURE_VALUE]));
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
				 errmsg("\"%s.%s\" has row security, which an inbox and meter.ingest...() cannot apply to role \"%s\"",
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

/* Return a column of the rows of a block as an array, and its type. */
static Datum
column_array(const RowBlock *block, int column, Oid *type)
{
	Oid			element = TupleDescAttr(block->descriptor, column)->atttypid;
	ArrayBuildState *array = initArrayResult(element, CurrentMemoryContext, false);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(block->descriptor,
													&TTSOpsMinimalTuple);

	tuplestore_rescan(block->rows);
	while (tuplestore_gettupleslot(block->rows, true, false, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column + 1, &isnull);

		array = accumArrayResult(array, value, isnull, element,
								 CurrentMemoryContext);
	}
	ExecDropSingleTupleTableSlot(slot);
	*type = get_array_type(element);
	return makeArrayResult(array, CurrentMemoryContext);
}

/*
 * Insert a block into a table that is distributed over a cluster, as arrays: rows
 * by name are nothing to the nodes.
 */
static void
insert_arrays(const char *stream, const TargetTable *table,
			  const RowBlock *block)
{
	Oid			types[MAX_COLUMNS];
	Datum		values[MAX_COLUMNS];
	StringInfoData columns;
	StringInfoData arrays;
	int			i;

	initStringInfo(&columns);
	initStringInfo(&arrays);
	for (i = 0; i < table->ncolumns; i++)
	{
		values[i] = column_array(block, i, &types[i]);
		appendStringInfo(&columns, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(table->columns[i].name));
		appendStringInfo(&arrays, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	meter_execute_params(psprintf("INSERT INTO %s.%s (%s) SELECT * FROM unnest(%s) block (%s)",
								  quote_identifier(stream), table->name,
								  columns.data, arrays.data, columns.data),
						 SPI_OK_INSERT, table->ncolumns, types, values, NULL);
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
		if (meter_cluster_shards(intake->stream, table->name) > 0)
			insert_arrays(intake->stream, table, block);
		else
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
