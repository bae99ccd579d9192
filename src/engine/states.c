/*
 * states.c
 *	  The carried states: what is known of each resource just before its meter's
 *	  watermark.
 *
 * They are keyed by meter, hash of the resource and resource, as the rows of
 * the ledger are: so they are read, and written anew, in the order in which
 * resources are walked.  No index names what changes, and pages are half full:
 * so a state is written anew on its page.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/timeline_builder.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "pg/attr.h"
#include "pg/key_scan.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

enum
{
	STATE_METER,
	STATE_HASH,
	STATE_RESOURCE,
	STATE_ACTIVE,
	STATE_ACCOUNT,
	STATE_DIMENSIONS,
	STATE_VALUE,
	STATE_SINCE,
	STATE_ALIVE,
	STATE_UNNAMED_SINCE,
	STATE_ABSENT,
	STATE_SOURCE,
	STATE_STRADDLES,
	STATE_NCOLUMNS
};

static const MeterWriterColumn state_columns[STATE_NCOLUMNS] = {
	{"meter", TEXTOID},
	{"hash", INT8OID},
	{"resource", TEXTOID},
	{"active", BOOLOID},
	{"account", TEXTOID},
	{"dimensions", TEXTARRAYOID},
	{"value", NUMERICOID},
	{"since", TIMESTAMPTZOID},
	{"alive", TIMESTAMPTZOID},
	{"unnamed_since", TIMESTAMPTZOID},
	{"absent", TIMESTAMPTZOID},
	{"source", TEXTOID},
	{"straddles", TIMESTAMPTZOID}
};

/* The columns of the key. */
#define STATE_NKEYS	3

struct MeterStates
{
	const MeterDefinition *definition;
	const char *table;
	Datum		meter;			/* text */
	MeterKeyScan *scan;
	MeterTableWriter *writer;	/* NULL: they are only read */
	MeterResources *gone;		/* those to delete */
	MeterCarried carried;		/* read last */
	MemoryContext row;			/* what it was unpacked into */
};

/*
 * Begin to read a table of states of a meter, and with `write` to write it.
 */
MeterStates *
meter_states_begin(const MeterDefinition *definition, const char *table,
				   bool write)
{
	MeterStates *states = palloc0(sizeof(MeterStates));

	states->definition = definition;
	states->table = table;
	states->meter = CStringGetTextDatum(definition->name);
	states->row = AllocSetContextCreate(CurrentMemoryContext, "meter state",
										ALLOCSET_SMALL_SIZES);
	states->scan = meter_key_scan_begin(definition->stream, table,
										state_columns, STATE_NCOLUMNS);
	if (write)
	{
		states->writer = meter_writer_begin(definition->stream, table,
											state_columns, STATE_NCOLUMNS,
											"meter, hash, resource");
		states->gone = meter_resources_begin();
	}
	return states;
}

/* Go to the first state of the meter. */
void
meter_states_read_all(MeterStates *states)
{
	meter_key_scan_seek(states->scan, 1, &states->meter);
}

/* Return a text of the row, or NULL. */
static MeterAttr
text_of(MeterStates *states, int column)
{
	bool		isnull;
	Datum		value = meter_key_scan_value(states->scan, column, &isnull);

	return isnull ? METER_NULL_ATTR : meter_attr_from_text(value);
}

/* Return an instant of the row. */
static TimestampTz
instant_of(MeterStates *states, int column, TimestampTz none)
{
	bool		isnull;
	Datum		value = meter_key_scan_value(states->scan, column, &isnull);

	return isnull ? none : DatumGetTimestampTz(value);
}

/* Read the row that was found. */
static void
read_row(MeterStates *states)
{
	MeterCarried *carried = &states->carried;
	MemoryContext before = MemoryContextSwitchTo(states->row);
	bool		isnull;
	Datum		value;

	MemoryContextReset(states->row);
	carried->exists = true;
	carried->hash = (uint64) DatumGetInt64(meter_key_scan_value(states->scan,
																STATE_HASH,
																&isnull));
	carried->resource = text_of(states, STATE_RESOURCE);
	carried->open = DatumGetBool(meter_key_scan_value(states->scan,
													  STATE_ACTIVE, &isnull));
	carried->since = instant_of(states, STATE_SINCE, 0);
	carried->alive = instant_of(states, STATE_ALIVE, carried->since);
	carried->absent = instant_of(states, STATE_ABSENT, METER_BEGIN);
	carried->unnamed_since = instant_of(states, STATE_UNNAMED_SINCE, DT_NOEND);
	carried->source = text_of(states, STATE_SOURCE);
	carried->account = text_of(states, STATE_ACCOUNT);
	carried->dimensions = meter_key_scan_value(states->scan, STATE_DIMENSIONS,
											   &isnull);
	value = meter_key_scan_value(states->scan, STATE_VALUE, &isnull);
	carried->value = isnull ? NULL : DatumGetNumeric(value);
	MemoryContextSwitchTo(before);
}

/* Return the next state, or NULL. */
const MeterCarried *
meter_states_next(MeterStates *states)
{
	if (!meter_key_scan_next(states->scan))
	{
		states->carried.exists = false;
		return NULL;
	}
	read_row(states);
	return &states->carried;
}

/* Look up the state of a resource; it does not exist where there is none. */
const MeterCarried *
meter_states_find(MeterStates *states, uint64 hash, MeterAttr resource)
{
	Datum		keys[STATE_NKEYS];

	keys[STATE_METER] = states->meter;
	keys[STATE_HASH] = Int64GetDatum((int64) hash);
	keys[STATE_RESOURCE] = meter_text_from_attr(resource);
	meter_key_scan_seek(states->scan, STATE_NKEYS, keys);
	memset(&states->carried, 0, sizeof(states->carried));
	states->carried.account = states->carried.source = METER_NULL_ATTR;
	if (meter_key_scan_next(states->scan))
		read_row(states);
	return &states->carried;
}

/* Read dimensions from text[]; what is missing is NULL. */
void
meter_dimensions_from_array(Datum array, MeterAttr *dimensions, int count)
{
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &nvalues);
	for (i = 0; i < count; i++)
	{
		dimensions[i] = METER_NULL_ATTR;
		if (i < nvalues && !nulls[i])
			dimensions[i] = meter_attr_from_text(values[i]);
	}
}

/* Return the attributes of a state: account, dimensions and value. */
void
meter_states_attrs(const MeterCarried *carried, MeterAttr *attrs,
				   int ndimensions)
{
	attrs[0] = carried->account;
	meter_dimensions_from_array(carried->dimensions, attrs + 1, ndimensions);
	attrs[ndimensions + 1] = carried->value == NULL ? METER_NULL_ATTR :
		meter_attr_from_numeric(carried->value);
}

/* Return an attribute as text, or NULL. */
static Datum
attr_datum(MeterAttr attr, bool *isnull)
{
	*isnull = MeterAttrIsNull(attr);
	return *isnull ? (Datum) 0 : meter_text_from_attr(attr);
}

/* Return dimensions as text[]. */
Datum
meter_array_from_dimensions(const MeterAttr *attrs, int count)
{
	Datum		values[METER_MAX_DIMENSIONS];
	bool		nulls[METER_MAX_DIMENSIONS];
	int			dims[1] = {count};
	int			lbs[1] = {1};
	int			i;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (i = 0; i < count; i++)
		values[i] = attr_datum(attrs[i], &nulls[i]);
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs,
											  TEXTOID, -1, false,
											  TYPALIGN_INT));
}

/*
 * Write the state of a resource, in place of the one that was found before.
 * What is billed to nobody, if the account is not known, began at
 * `unnamed_since`, if not before (DT_NOEND: nothing is).
 */
void
meter_states_put(MeterStates *states, const MeterCarried *before, uint64 hash,
				 MeterAttr resource, const MeterState *state, int ndimensions,
				 TimestampTz unnamed_since, TimestampTz straddles)
{
	Datum		values[STATE_NCOLUMNS];
	bool		nulls[STATE_NCOLUMNS];
	MeterAttr	value = state->attrs[ndimensions + 1];

	memset(nulls, false, sizeof(nulls));
	values[STATE_METER] = states->meter;
	values[STATE_HASH] = Int64GetDatum((int64) hash);
	values[STATE_RESOURCE] = attr_datum(resource, &nulls[STATE_RESOURCE]);
	values[STATE_ACTIVE] = BoolGetDatum(state->open);
	values[STATE_ACCOUNT] = attr_datum(state->attrs[0], &nulls[STATE_ACCOUNT]);
	values[STATE_DIMENSIONS] = meter_array_from_dimensions(state->attrs + 1, ndimensions);
	nulls[STATE_VALUE] = MeterAttrIsNull(value);
	values[STATE_VALUE] = nulls[STATE_VALUE] ? (Datum) 0 :
		NumericGetDatum(meter_numeric_from_attr(value));
	values[STATE_SINCE] = TimestampTzGetDatum(state->since);
	values[STATE_ALIVE] = TimestampTzGetDatum(state->alive);
	nulls[STATE_SINCE] = nulls[STATE_ALIVE] = !state->open;
	if (before->exists)
		unnamed_since = Min(unnamed_since, before->unnamed_since);
	values[STATE_UNNAMED_SINCE] = TimestampTzGetDatum(unnamed_since);
	nulls[STATE_UNNAMED_SINCE] = !nulls[STATE_ACCOUNT] ||
		TIMESTAMP_IS_NOEND(unnamed_since);
	values[STATE_ABSENT] = TimestampTzGetDatum(state->absent);
	nulls[STATE_ABSENT] = state->absent == METER_BEGIN;
	values[STATE_SOURCE] = attr_datum(state->source, &nulls[STATE_SOURCE]);
	values[STATE_STRADDLES] = TimestampTzGetDatum(straddles);
	nulls[STATE_STRADDLES] = TIMESTAMP_IS_NOBEGIN(straddles);
	if (before->exists)
		meter_writer_update(states->writer, meter_key_scan_place(states->scan),
							values, nulls);
	else
		meter_writer_insert(states->writer, values, nulls);
}

/* Delete a state. */
void
meter_states_forget(MeterStates *states, const MeterCarried *carried)
{
	(void) meter_resources_add(states->gone, carried->resource);
}

/* Write what is left.  Returns how many states were written. */
int64
meter_states_end(MeterStates *states)
{
	int64		rows = 0;

	meter_key_scan_end(states->scan);
	if (states->writer != NULL)
		rows = meter_writer_end(states->writer, NULL);
	if (states->gone != NULL && states->gone->count > 0)
	{
		Oid			types[] = {TEXTOID, TEXTARRAYOID, TEXTOID};
		Datum		values[] = {states->meter,
			meter_resources_names(states->gone),
		CStringGetTextDatum(states->definition->stream)};

		meter_execute_params(psprintf("DELETE FROM %s.%s s USING unnest($2) g (resource) WHERE s.meter = $1 "
									  "AND s.hash = meter_internal.resource_hash($3, $1, g.resource) "
									  "AND s.resource = g.resource COLLATE \"C\"",
									  quote_identifier(states->definition->stream),
									  states->table),
							 SPI_OK_DELETE, lengthof(types), types, values,
							 NULL);
	}
	MemoryContextDelete(states->row);
	pfree(states);
	return rows;
}
