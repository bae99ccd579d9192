/*
 * states.c
 *	  The carried states: what is known of each resource just before its meter's
 *	  watermark; and the kept states: what was known of it at earlier instants.
 *
 * They are keyed by meter, hash of the resource and resource, as the rows of
 * the ledger are: so they are read, and written anew, in the order in which
 * resources are walked.  No index names what changes, and pages are half full:
 * so a carried state is written anew on its page.  Kept states are added, and
 * later deleted; one may be moved to another instant.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/runs.h"
#include "core/timeline_builder.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "pg/attr.h"
#include "pg/key_scan.h"
#include "pg/quantity.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* The columns of the key; of kept states, the instant follows. */
enum
{
	STATE_METER,
	STATE_HASH,
	STATE_RESOURCE,
	STATE_NKEYS,
	STATE_AT = STATE_NKEYS
};

/* What is known, by its place among the columns after the key. */
enum
{
	KNOWN_ACTIVE,
	KNOWN_ACCOUNT,
	KNOWN_DIMENSIONS,
	KNOWN_VALUE,
	KNOWN_SINCE,
	KNOWN_ALIVE,
	KNOWN_ABSENT,
	KNOWN_SOURCE,
	KNOWN_STARTED,
	KNOWN_HOLDER,
	KNOWN_CHANGED,
	KNOWN_ENDED,
	KNOWN_SIGN,
	KNOWN_GAPS,
	KNOWN_BILLED,
	KNOWN_LAST_TIME,
	KNOWN_NCOLUMNS,
	/* of carried states */
	KNOWN_UNNAMED_SINCE = KNOWN_NCOLUMNS,
	KNOWN_STRADDLES,
	KNOWN_KEPT_TIME,
	KNOWN_KEPT_ROWS,
	KNOWN_OWNERS,
	KNOWN_NCARRIED
};

#define KEY_COLUMNS \
	{"meter", TEXTOID}, {"hash", INT8OID}, {"resource", TEXTOID}

#define KNOWN_COLUMNS \
	{"active", BOOLOID}, {"account", TEXTOID}, {"dimensions", TEXTARRAYOID}, \
	{"value", NUMERICOID}, {"since", TIMESTAMPTZOID}, \
	{"alive", TIMESTAMPTZOID}, {"absent", TIMESTAMPTZOID}, \
	{"source", TEXTOID}, {"started", TIMESTAMPTZOID}, {"holder", TEXTOID}, \
	{"changed", TIMESTAMPTZARRAYOID}, {"ended", BOOLOID}, \
	{"sign", TIMESTAMPTZOID}, {"gaps", INT8OID}, {"billed", TEXTARRAYOID}, \
	{"last_time", TIMESTAMPTZOID}

static const MeterWriterColumn carried_columns[] = {
	KEY_COLUMNS, KNOWN_COLUMNS,
	{"unnamed_since", TIMESTAMPTZOID}, {"straddles", TIMESTAMPTZOID},
	{"kept_time", TIMESTAMPTZOID}, {"kept_rows", INT4OID},
	{"owners", JSONBOID}
};

static const MeterWriterColumn kept_columns[] = {
	KEY_COLUMNS, {"at", TIMESTAMPTZOID}, KNOWN_COLUMNS
};

struct MeterStates
{
	const MeterDefinition *definition;
	const char *table;
	bool		kept;			/* they are kept states */
	int			first;			/* the column of what is known first */
	Datum		meter;			/* text */
	MeterKeyScan *scan;
	MeterTableWriter *writer;	/* NULL: they are only read */
	MeterResources *gone;		/* those to delete */
	MeterStateCounts more;		/* than before, of carried ones */
	MemoryContext context;
	ArrayBuildState *ended;		/* tid: kept states to delete */
	ArrayBuildState *moved;		/* tid: those to move, */
	ArrayBuildState *moved_to;	/* each to another instant */
	MeterCarried carried;		/* read last */
	MemoryContext row;			/* what it was unpacked into */
};

/* Begin to read a table of states, and with `write` to write it. */
static MeterStates *
begin(const MeterDefinition *definition, const char *table, bool kept,
	  bool write)
{
	MeterStates *states = palloc0(sizeof(MeterStates));
	const MeterWriterColumn *columns = kept ? kept_columns : carried_columns;
	int			ncolumns = kept ? lengthof(kept_columns) :
	lengthof(carried_columns);

	states->context = CurrentMemoryContext;
	states->definition = definition;
	states->table = table;
	states->kept = kept;
	states->first = kept ? STATE_AT + 1 : STATE_NKEYS;
	states->meter = CStringGetTextDatum(definition->name);
	states->row = AllocSetContextCreate(CurrentMemoryContext, "meter state",
										ALLOCSET_DEFAULT_SIZES);
	states->scan = meter_key_scan_begin(definition->stream, table, columns,
										ncolumns);
	if (!write)
		return states;
	states->writer = meter_writer_begin(definition->stream, table, columns,
										ncolumns, kept ?
										"meter, hash, resource, at" :
										"meter, hash, resource");
	states->gone = meter_resources_begin();
	return states;
}

/*
 * Begin to read a table of carried states of a meter, and with `write` to write
 * it.
 */
MeterStates *
meter_states_begin(const MeterDefinition *definition, const char *table,
				   bool write)
{
	return begin(definition, table, false, write);
}

/* Begin to read the kept states of a meter, and with `write` to add some. */
MeterStates *
meter_kept_states_begin(const MeterDefinition *definition, bool write)
{
	return begin(definition, "_kept_state", true, write);
}

/* Go to the first state of the meter. */
void
meter_states_read_all(MeterStates *states)
{
	meter_key_scan_seek(states->scan, 1, &states->meter);
}

/* Return a value of the row that is known. */
static Datum
value_of(MeterStates *states, int known, bool *isnull)
{
	return meter_key_scan_value(states->scan, states->first + known, isnull);
}

/* Return a value of variable length of the row, which need not be fetched. */
static Datum
fetched(MeterStates *states, int known, bool *isnull)
{
	Datum		value = value_of(states, known, isnull);

	return !*isnull && VARATT_IS_EXTERNAL(DatumGetPointer(value)) ?
		meter_fetch(value) : value;
}

/* Return a text of the row, or NULL. */
static MeterAttr
text_of(MeterStates *states, int known)
{
	bool		isnull;
	Datum		value = value_of(states, known, &isnull);

	return isnull ? METER_NULL_ATTR : meter_attr_from_text(value);
}

/* Return an instant of the row. */
static TimestampTz
instant_of(MeterStates *states, int known, TimestampTz none)
{
	bool		isnull;
	Datum		value = value_of(states, known, &isnull);

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
	carried->resource =
		meter_attr_from_text(meter_key_scan_value(states->scan, STATE_RESOURCE,
												  &isnull));
	carried->active = DatumGetBool(value_of(states, KNOWN_ACTIVE, &isnull));
	/* a run that is silent is open, and not active */
	(void) value_of(states, KNOWN_SINCE, &isnull);
	carried->open = !isnull;
	carried->ended = DatumGetBool(value_of(states, KNOWN_ENDED, &isnull));
	carried->since = instant_of(states, KNOWN_SINCE, 0);
	carried->alive = instant_of(states, KNOWN_ALIVE, carried->since);
	carried->absent = instant_of(states, KNOWN_ABSENT, METER_BEGIN);
	carried->source = text_of(states, KNOWN_SOURCE);
	carried->started = instant_of(states, KNOWN_STARTED, METER_BEGIN);
	carried->holder = text_of(states, KNOWN_HOLDER);
	value = value_of(states, KNOWN_CHANGED, &isnull);
	carried->changed = isnull ? (Datum) 0 : value;
	carried->sign = instant_of(states, KNOWN_SIGN, METER_BEGIN);
	value = value_of(states, KNOWN_GAPS, &isnull);
	carried->gaps = isnull ? 0 : DatumGetInt64(value);
	value = fetched(states, KNOWN_BILLED, &isnull);
	carried->billed = isnull ? (Datum) 0 : value;
	carried->account = text_of(states, KNOWN_ACCOUNT);
	carried->dimensions = fetched(states, KNOWN_DIMENSIONS, &isnull);
	value = fetched(states, KNOWN_VALUE, &isnull);
	carried->value = isnull ? NULL : DatumGetNumeric(value);
	carried->last_time = instant_of(states, KNOWN_LAST_TIME, DT_NOEND);
	if (states->kept)
		carried->at = DatumGetTimestampTz(meter_key_scan_value(states->scan,
															   STATE_AT,
															   &isnull));
	else
	{
		carried->unnamed_since = instant_of(states, KNOWN_UNNAMED_SINCE,
											DT_NOEND);
		carried->straddles = instant_of(states, KNOWN_STRADDLES, DT_NOBEGIN);
		carried->kept_time = instant_of(states, KNOWN_KEPT_TIME, DT_NOBEGIN);
		value = value_of(states, KNOWN_KEPT_ROWS, &isnull);
		carried->kept_rows = isnull ? 0 : DatumGetInt32(value);
		value = fetched(states, KNOWN_OWNERS, &isnull);
		carried->owners = isnull ? (Datum) 0 : value;
	}
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

/* Go to the states of a resource. */
static void
seek(MeterStates *states, uint64 hash, MeterAttr resource)
{
	Datum		keys[STATE_NKEYS];

	keys[STATE_METER] = states->meter;
	keys[STATE_HASH] = Int64GetDatum((int64) hash);
	keys[STATE_RESOURCE] = meter_text_from_attr(resource);
	meter_key_scan_seek(states->scan, STATE_NKEYS, keys);
	memset(&states->carried, 0, sizeof(states->carried));
	states->carried.account = states->carried.source =
		states->carried.holder = METER_NULL_ATTR;
}

/* Look up the state of a resource; it does not exist where there is none. */
const MeterCarried *
meter_states_find(MeterStates *states, uint64 hash, MeterAttr resource)
{
	seek(states, hash, resource);
	if (meter_key_scan_next(states->scan))
		read_row(states);
	return &states->carried;
}

/*
 * Look up the latest kept state of a resource in which there are only rows from
 * before an instant.
 */
const MeterCarried *
meter_kept_states_find(MeterStates *states, uint64 hash, MeterAttr resource,
					   TimestampTz before)
{
	seek(states, hash, resource);
	while (meter_key_scan_previous(states->scan))
	{
		if (instant_of(states, KNOWN_LAST_TIME, DT_NOEND) >= before)
			continue;
		read_row(states);
		break;
	}
	return &states->carried;
}

/*
 * Forget the kept states of a resource after an instant, when writing ends.
 * Since one holds from the last row in it on, it may hold at that instant: then
 * it is moved there.
 */
void
meter_kept_states_forget(MeterStates *states, uint64 hash, MeterAttr resource,
						 TimestampTz after)
{
	seek(states, hash, resource);
	while (meter_key_scan_previous(states->scan))
	{
		bool		isnull;
		Datum		at = meter_key_scan_value(states->scan, STATE_AT, &isnull);
		Datum		place = PointerGetDatum(meter_key_scan_place(states->scan));

		if (DatumGetTimestampTz(at) <= after)
			break;
		if (instant_of(states, KNOWN_LAST_TIME, DT_NOEND) >= after)
		{
			states->ended = accumArrayResult(states->ended, place, false,
											 TIDOID, states->context);
			continue;
		}
		states->moved = accumArrayResult(states->moved, place, false, TIDOID,
										 states->context);
		states->moved_to = accumArrayResult(states->moved_to,
											TimestampTzGetDatum(after), false,
											TIMESTAMPTZOID, states->context);
	}
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

/* Read when changes named attributes, from timestamptz[], or 0. */
void
meter_changed_from_array(Datum array, int64 *changed, int count)
{
	Datum	   *values = NULL;
	bool	   *nulls = NULL;
	int			nvalues = 0;
	int			i;

	if (array != (Datum) 0)
		deconstruct_array(DatumGetArrayTypeP(array), TIMESTAMPTZOID, 8,
						  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls,
						  &nvalues);
	for (i = 0; i < count; i++)
		changed[i] = i < nvalues && !nulls[i] ?
			DatumGetTimestampTz(values[i]) : METER_BEGIN;
}

/*
 * Return when attributes were named as timestamptz[], or 0.  What was before a
 * moment known not running matters no more: no run begins there.
 */
static Datum
array_from_changed(const int64 *changed, int count, int64 absent)
{
	Datum		values[METER_MAX_DIMENSIONS + 2];
	bool		nulls[METER_MAX_DIMENSIONS + 2];
	int			dims[1] = {count};
	int			lbs[1] = {1};
	bool		any = false;
	int			i;

	for (i = 0; i < count; i++)
	{
		values[i] = TimestampTzGetDatum(changed[i]);
		nulls[i] = changed[i] == METER_BEGIN || changed[i] < absent;
		any |= !nulls[i];
	}
	return !any ? (Datum) 0 :
		PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs,
										   TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
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

/*
 * Read what attributes were when a run was billed last, from text[]; 0: they
 * have not changed since.
 */
MeterAttr *
meter_billed_from_array(Datum array, MeterAttr *billed, int count)
{
	if (array == (Datum) 0)
		return NULL;
	meter_dimensions_from_array(array, billed, count);
	return billed;
}

/* Return an attribute as text, or NULL. */
static Datum
attr_datum(MeterAttr attr, bool *isnull)
{
	*isnull = MeterAttrIsNull(attr);
	return *isnull ? (Datum) 0 : meter_text_from_attr(attr);
}

/* Return dimensions, or other attributes, as text[]. */
Datum
meter_array_from_dimensions(const MeterAttr *attrs, int count)
{
	Datum		values[METER_MAX_DIMENSIONS + 2];
	bool		nulls[METER_MAX_DIMENSIONS + 2];
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

/* Fill in what is known of runs. */
static void
fill_run(const MeterState *state, int ndimensions, Datum *known, bool *unknown)
{
	known[KNOWN_ENDED] = BoolGetDatum(state->ended);
	known[KNOWN_SIGN] = TimestampTzGetDatum(state->sign);
	unknown[KNOWN_SIGN] = state->sign == METER_BEGIN;
	known[KNOWN_GAPS] = Int64GetDatum(state->gaps);
	unknown[KNOWN_GAPS] = !state->open || state->gaps == 0;
	unknown[KNOWN_BILLED] = !state->open || state->billed == NULL;
	known[KNOWN_BILLED] = unknown[KNOWN_BILLED] ? (Datum) 0 :
		meter_array_from_dimensions(state->billed, ndimensions + 2);
}

/* Fill in the key of a state, and what is known. */
static void
fill(MeterStates *states, uint64 hash, MeterAttr resource,
	 const MeterState *state, int ndimensions, TimestampTz last_time,
	 Datum *values, bool *nulls)
{
	Datum	   *known = values + states->first;
	bool	   *unknown = nulls + states->first;
	bool		isnull;

	memset(nulls, false, states->first + KNOWN_NCARRIED);
	values[STATE_METER] = states->meter;
	values[STATE_HASH] = Int64GetDatum((int64) hash);
	values[STATE_RESOURCE] = attr_datum(resource, &isnull);
	known[KNOWN_ACTIVE] = BoolGetDatum(state->open);
	known[KNOWN_ACCOUNT] = attr_datum(state->attrs[0],
									  &unknown[KNOWN_ACCOUNT]);
	known[KNOWN_DIMENSIONS] = meter_array_from_dimensions(state->attrs + 1,
														  ndimensions);
	unknown[KNOWN_VALUE] = MeterAttrIsNull(state->attrs[ndimensions + 1]);
	known[KNOWN_VALUE] = unknown[KNOWN_VALUE] ? (Datum) 0 :
		NumericGetDatum(meter_numeric_from_attr(state->attrs[ndimensions + 1]));
	known[KNOWN_SINCE] = TimestampTzGetDatum(state->since);
	known[KNOWN_ALIVE] = TimestampTzGetDatum(state->alive);
	unknown[KNOWN_SINCE] = unknown[KNOWN_ALIVE] = !state->open;
	known[KNOWN_ABSENT] = TimestampTzGetDatum(state->absent);
	unknown[KNOWN_ABSENT] = state->absent == METER_BEGIN;
	known[KNOWN_SOURCE] = attr_datum(state->source, &unknown[KNOWN_SOURCE]);
	known[KNOWN_STARTED] = TimestampTzGetDatum(state->started);
	unknown[KNOWN_STARTED] = state->started == METER_BEGIN;
	known[KNOWN_HOLDER] = attr_datum(state->holder, &unknown[KNOWN_HOLDER]);
	known[KNOWN_CHANGED] = state->open || state->changed == NULL ? (Datum) 0 :
		array_from_changed(state->changed, ndimensions + 2, state->absent);
	unknown[KNOWN_CHANGED] = known[KNOWN_CHANGED] == (Datum) 0;
	fill_run(state, ndimensions, known, unknown);
	known[KNOWN_LAST_TIME] = TimestampTzGetDatum(last_time);
	unknown[KNOWN_LAST_TIME] = TIMESTAMP_NOT_FINITE(last_time);
}

/*
 * Tell whether a state is billed on from an instant on: what is silent at it is
 * open, but a settle need not look at it.
 */
static bool
is_active(const MeterStates *states, const MeterState *state, TimestampTz at)
{
	int64		liveness = states->definition->liveness;

	return state->open &&
		(liveness == 0 || TIMESTAMP_IS_NOEND(at) ||
		 meter_lasts_until(state->sign, liveness) > at);
}

/*
 * Write the carried state of a resource, in place of the one that was found
 * before.
 */
void
meter_states_put(MeterStates *states, const MeterCarried *before, uint64 hash,
				 MeterAttr resource, const MeterState *state, int ndimensions,
				 const MeterStateTimes *times)
{
	Datum		values[STATE_NKEYS + KNOWN_NCARRIED];
	bool		nulls[STATE_NKEYS + KNOWN_NCARRIED];
	Datum	   *known = values + states->first;
	bool	   *unknown = nulls + states->first;
	TimestampTz unnamed_since = times->unnamed_since;
	bool		active = is_active(states, state, times->at);

	fill(states, hash, resource, state, ndimensions, times->last_time, values,
		 nulls);
	known[KNOWN_ACTIVE] = BoolGetDatum(active);
	if (before->exists)
		unnamed_since = Min(unnamed_since, before->unnamed_since);
	known[KNOWN_UNNAMED_SINCE] = TimestampTzGetDatum(unnamed_since);
	unknown[KNOWN_UNNAMED_SINCE] = !times->unnamed ||
		TIMESTAMP_IS_NOEND(unnamed_since);
	known[KNOWN_STRADDLES] = TimestampTzGetDatum(times->straddles);
	unknown[KNOWN_STRADDLES] = TIMESTAMP_IS_NOBEGIN(times->straddles);
	known[KNOWN_KEPT_TIME] = TimestampTzGetDatum(times->kept_time);
	known[KNOWN_KEPT_ROWS] = Int32GetDatum(times->kept_rows);
	unknown[KNOWN_KEPT_TIME] = unknown[KNOWN_KEPT_ROWS] =
		TIMESTAMP_IS_NOBEGIN(times->kept_time);
	known[KNOWN_OWNERS] = times->owners;
	unknown[KNOWN_OWNERS] = times->owners == (Datum) 0;
	states->more.running += active - (before->exists && before->active);
	states->more.all += !before->exists;
	if (before->exists)
		meter_writer_update(states->writer, meter_key_scan_place(states->scan),
							values, nulls);
	else
		(void) meter_writer_insert(states->writer, values, nulls);
}

/* Unless states are kept before each period, so many rows are between two. */
#define ROWS_BETWEEN	2

/*
 * Tell whether the state of a resource is to be kept so long, and so many rows,
 * after another one.
 */
bool
meter_kept_states_due(int64 time, int32 rows)
{
	return meter_keep_interval == 0 ? rows > 0 :
		rows >= ROWS_BETWEEN &&
		time / USECS_PER_MINUTE >= meter_keep_interval;
}

/* Keep the state of a resource at an instant. */
void
meter_kept_states_add(MeterStates *states, uint64 hash, MeterAttr resource,
					  TimestampTz at, const MeterState *state,
					  int ndimensions, TimestampTz last_time)
{
	Datum		values[STATE_AT + 1 + KNOWN_NCARRIED];
	bool		nulls[STATE_AT + 1 + KNOWN_NCARRIED];

	fill(states, hash, resource, state, ndimensions, last_time, values, nulls);
	values[STATE_AT] = TimestampTzGetDatum(at);
	(void) meter_writer_insert(states->writer, values, nulls);
}

/* Delete a state. */
void
meter_states_forget(MeterStates *states, const MeterCarried *carried)
{
	if (!carried->exists)
		return;
	(void) meter_resources_add(states->gone, carried->resource);
	states->more.running -= carried->active;
	states->more.all--;
}

/* Return how many more there are than before the pass. */
const MeterStateCounts *
meter_states_more(const MeterStates *states)
{
	return &states->more;
}

/* Delete and move the kept states that have been forgotten. */
static void
write_forgotten(MeterStates *states)
{
	const char *schema = quote_identifier(states->definition->stream);
	Oid			types[] = {get_array_type(TIDOID), TIMESTAMPTZARRAYOID};
	Datum		values[2];

	if (states->ended != NULL)
	{
		values[0] = makeArrayResult(states->ended, CurrentMemoryContext);
		meter_execute_params(psprintf("DELETE FROM %s._kept_state WHERE ctid = ANY ($1)",
									  schema),
							 SPI_OK_DELETE, 1, types, values, NULL);
	}
	if (states->moved != NULL)
	{
		values[0] = makeArrayResult(states->moved, CurrentMemoryContext);
		values[1] = makeArrayResult(states->moved_to, CurrentMemoryContext);
		meter_execute_params(psprintf("UPDATE %s._kept_state k SET at = m.at FROM unnest($1, $2) m (place, at) "
									  "WHERE k.ctid = m.place", schema),
							 SPI_OK_UPDATE, 2, types, values, NULL);
	}
}

/* Write what is left.  Returns how many states were written. */
int64
meter_states_end(MeterStates *states)
{
	int64		rows = 0;

	meter_key_scan_end(states->scan);
	if (states->writer != NULL)
		rows = meter_writer_end(states->writer, NULL);
	write_forgotten(states);
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
