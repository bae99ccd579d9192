/*
 * payer.c
 *	  Who pays: the account that usage belongs to.
 *
 * A run is keyed by its account as by a label (meter_pair): the events that
 * start or change it name the account, and a stop does where nothing has.
 * While none is named, usage belongs to nobody; it moves to the account once
 * that is named.  A measure belongs to the account that it names itself, else
 * to the owner that the events of its resource name for that time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "engine/events.h"
#include "engine/payer.h"
#include "pg/spi.h"

PG_FUNCTION_INFO_V1(meter_measure_owner);

/*
 * Read owners from two arrays of one length; NULLs mean that no owner is
 * known.
 */
void
meter_read_owners(FunctionCallInfo fcinfo, int since_arg, int names_arg,
				  MeterOwners *owners)
{
	bool	   *nulls;
	int			nnames;

	owners->count = 0;
	if (PG_ARGISNULL(since_arg) || PG_ARGISNULL(names_arg))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(since_arg), TIMESTAMPTZOID, 8,
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &owners->since, &nulls, &owners->count);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(names_arg), TEXTOID, -1, false,
					  TYPALIGN_INT, &owners->names, &nulls, &nnames);
	if (nnames != owners->count ||
		array_contains_nulls(PG_GETARG_ARRAYTYPE_P(since_arg)) ||
		array_contains_nulls(PG_GETARG_ARRAYTYPE_P(names_arg)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"owned_since\" and \"owners\" must be arrays of one length, without nulls")));
}

/*
 * Return the position of the owner at an instant; -1 if no owner is known.
 * The time before the first owner belongs to that owner.
 */
int
meter_owner_at(const MeterOwners *owners, TimestampTz at)
{
	int			low = 0;
	int			high = owners->count;

	if (owners->count == 0)
		return -1;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (DatumGetTimestampTz(owners->since[middle]) <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return Max(low - 1, 0);
}

/* measure_owner(owned_since, owners, at) */
Datum
meter_measure_owner(PG_FUNCTION_ARGS)
{
	MeterOwners owners;
	int			owner;

	meter_read_owners(fcinfo, 0, 1, &owners);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	owner = meter_owner_at(&owners, PG_GETARG_TIMESTAMPTZ(2));
	PG_RETURN_DATUM(owner < 0 ? CStringGetTextDatum("") : owners.names[owner]);
}

/*
 * Return a query (resource, first) for the resources whose account was unknown
 * and is named before `end`; NULL if no account is unknown.  Usage that was
 * billed to nobody, from `first` on, belongs to the account that is named.
 */
char *
meter_newly_named(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz end)
{
	const char *watermark = meter_timestamp_literal(progress->watermark);
	char	   *unnamed = psprintf("%s._resource_state r WHERE r.meter = %s "
								   "AND r.account IS NULL AND r.unnamed_since < %s",
								   quote_identifier(definition->stream),
								   quote_literal_cstr(definition->name),
								   watermark);
	StringInfoData named;

	meter_execute_row(psprintf("SELECT count(*) FROM %s", unnamed));
	if (meter_result_count(1) == 0)
		return NULL;

	initStringInfo(&named);
	appendStringInfo(&named,
					 "SELECT r.resource, r.unnamed_since AS first FROM %s "
					 "AND r.resource IN (SELECT e.resource FROM %s.event e WHERE ",
					 unnamed, quote_identifier(definition->stream));
	meter_append_action_filter(&named, definition);
	appendStringInfo(&named, " AND e.account <> '' AND e.\"time\" >= %s AND e.\"time\" < %s)",
					 watermark, meter_timestamp_literal(end));
	return named.data;
}
