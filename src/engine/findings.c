/*
 * findings.c
 *	  What shards find of resources, on its way to the coordinator.
 *
 * A shard tells what it finds row by row, to whoever asked for the work.  What
 * a comparison with snapshots finds may have to be logged: a row of a log draws
 * its arrival on the coordinator, so the shard tells the row, and the
 * coordinator logs the rows of all shards, in the order in which one node would
 * have logged them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "engine/findings.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/* So many rows are logged at a time. */
#define BLOCK_ROWS	10000

/* --- on a shard ------------------------------------------------------------ */

/* Who takes what is found on the current shard. */
static MeterTakeShardRow taker = NULL;
static void *taker_arg;

/* Hand over what is found on a shard to a function. */
void
meter_findings_hand_over(MeterTakeShardRow take, void *arg)
{
	taker = take;
	taker_arg = arg;
}

/*
 * Tell something of a resource, as jsonb, and of which instant it is.  What the
 * first pass finds comes before what the others do.
 */
void
meter_tell_found(Datum resource, TimestampTz at, int64 pass, Datum what)
{
	Datum		values[METER_SHARD_NCOLUMNS] = {0};
	bool		nulls[METER_SHARD_NCOLUMNS];
	Datum		number = Int64GetDatum(pass);

	memset(nulls, true, sizeof(nulls));
	values[METER_SHARD_RESOURCE] = resource;
	values[METER_SHARD_PERIOD_START] = TimestampTzGetDatum(at);
	values[METER_SHARD_DIMENSIONS] = what;
	values[METER_SHARD_NUMBERS] =
		PointerGetDatum(construct_array(&number, 1, INT8OID, 8,
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	nulls[METER_SHARD_RESOURCE] = nulls[METER_SHARD_PERIOD_START] =
		nulls[METER_SHARD_DIMENSIONS] = nulls[METER_SHARD_NUMBERS] = false;
	taker(taker_arg, METER_SHARD_FOUND, values, nulls);
}

/* Tell an instant, of which the least of all shards is wanted. */
void
meter_tell_least(TimestampTz instant)
{
	Datum		values[METER_SHARD_NCOLUMNS] = {0};
	bool		nulls[METER_SHARD_NCOLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[METER_SHARD_PERIOD_START] = TimestampTzGetDatum(instant);
	nulls[METER_SHARD_PERIOD_START] = false;
	taker(taker_arg, METER_SHARD_LEAST, values, nulls);
}

/* --- on the coordinator ---------------------------------------------------- */

struct MeterFindings
{
	MeterRows	rows;
	bool		registered;
	TimestampTz least;
};

/* The name of what was found, to select from, and its order. */
#define FOUND	"found_on_shards"
#define IN_ORDER	"ORDER BY pass, at, resource COLLATE \"C\""

enum
{
	FOUND_PASS,
	FOUND_AT,
	FOUND_RESOURCE,
	FOUND_WHAT,
	FOUND_NCOLUMNS
};

/* Begin with nothing, in the current memory context. */
MeterFindings *
meter_findings_begin(void)
{
	static const char *const names[] = {"pass", "at", "resource", "what"};
	static const Oid types[] = {INT8OID, TIMESTAMPTZOID, TEXTOID, JSONBOID};
	MeterFindings *findings = palloc(sizeof(MeterFindings));

	meter_begin_rows(&findings->rows, FOUND, FOUND_NCOLUMNS, names, types);
	findings->registered = false;
	findings->least = DT_NOEND;
	return findings;
}

/* Let statements select from what was found. */
static void
let_select(MeterFindings *findings)
{
	if (!findings->registered)
		meter_register_rows(&findings->rows);
	findings->registered = true;
}

/* Take what a shard tells, as meter_scatter_taking() calls it. */
void
meter_findings_take(void *arg, MeterShardRow kind, const Datum *values,
					const bool *nulls pg_attribute_unused())
{
	MeterFindings *findings = arg;
	TimestampTz at = DatumGetTimestampTz(values[METER_SHARD_PERIOD_START]);
	Datum		row[FOUND_NCOLUMNS];
	bool		none[FOUND_NCOLUMNS] = {false};

	if (kind == METER_SHARD_LEAST)
	{
		findings->least = Min(findings->least, at);
		return;
	}
	row[FOUND_PASS] =
		Int64GetDatum(*(int64 *) ARR_DATA_PTR(DatumGetArrayTypeP(values[METER_SHARD_NUMBERS])));
	row[FOUND_AT] = TimestampTzGetDatum(at);
	row[FOUND_RESOURCE] = values[METER_SHARD_RESOURCE];
	row[FOUND_WHAT] = values[METER_SHARD_DIMENSIONS];
	meter_add_row(&findings->rows, row, none);
}

/* Return the least instant that a shard told; DT_NOEND: none did. */
TimestampTz
meter_findings_least(const MeterFindings *findings)
{
	return findings->least;
}

/* Return what was corrected as rows of a function.  Within a session. */
void
meter_findings_return(MeterFindings *findings, FunctionCallInfo fcinfo)
{
	if (findings->rows.count == 0)
		return;
	let_select(findings);
	meter_execute("SELECT resource, what ->> 'problem', what ->> 'correction', (what ->> 'time')::timestamptz "
				  "FROM " FOUND " WHERE what ? 'problem' " IN_ORDER, SPI_OK_SELECT);
	meter_return_result(fcinfo);
}

/* Log the rows of a block: jsonb[]. */
static void
log_block(const char *stream, Datum block)
{
	Oid			type = JSONBARRAYOID;

	meter_execute_params(psprintf("INSERT INTO %s.event (source, id, \"time\", resource, account, entity, "
								  "action, offering, value, attributes) "
								  "SELECT o ->> 'source', o ->> 'id', (o ->> 'time')::timestamptz, o ->> 'resource', o ->> 'account', "
								  "o ->> 'entity', o ->> 'action', o ->> 'offering', (o ->> 'value')::numeric, o -> 'attributes' "
								  "FROM unnest($1) WITH ORDINALITY b (o, n) ORDER BY n",
								  quote_identifier(stream)),
						 SPI_OK_INSERT, 1, &type, &block, NULL);
}

/* Log what of it is to be logged.  Within a session of the stream's owner. */
void
meter_findings_log(MeterFindings *findings, const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *blocks = NIL;
	ListCell   *cell;
	uint64		i;
	bool		isnull;

	if (findings->rows.count == 0)
		return;
	let_select(findings);
	meter_execute(psprintf("SELECT array_agg(o ORDER BY n) FROM (SELECT what -> 'event' AS o, row_number() OVER (" IN_ORDER ") - 1 AS n "
						   "FROM " FOUND " WHERE what ? 'event') o GROUP BY n / %d ORDER BY n / %d",
						   BLOCK_ROWS, BLOCK_ROWS), SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		blocks = lappend(blocks, DatumGetArrayTypePCopy(meter_result(i, 1, &isnull)));
	foreach(cell, blocks)
	{
		CHECK_FOR_INTERRUPTS();
		log_block(stream, PointerGetDatum(lfirst(cell)));
	}
}

/* Forget what was found. */
void
meter_findings_end(MeterFindings *findings)
{
	meter_forget_rows(&findings->rows);
	pfree(findings);
}
