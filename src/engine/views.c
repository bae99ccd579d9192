/*
 * views.c
 *	  The views of a stream that functions are behind: current_usage and
 *	  anomaly.
 *
 * A function in a view runs as whoever reads the view, and who reads it through
 * a view of somebody else's may not read it directly.  So the views hand on
 * what only the stream's owner can read: the key of the views.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "catalog/definition.h"
#include "catalog/stream.h"
#include "engine/views.h"
#include "pg/spi.h"

/* The views, and what each is for. */
static const char *const views[][3] = {
	{
		"current_usage",
		"SELECT meter, account, resource, dimensions, period_start, "
		"pg_catalog.sum(quantity) AS quantity, true AS settled FROM %1$s.usage "
		"GROUP BY meter, account, resource, dimensions, period_start "
		"UNION ALL SELECT meter, account, resource, dimensions, period_start, quantity, settled "
		"FROM meter_internal.open_usage(%2$s, (SELECT k.key FROM %1$s._view_key k))",
		"usage up to now: the ledger summed over revisions, and the periods that are not settled yet, computed live (settled: false)"
	},
	{
		"anomaly",
		"SELECT class, meter, resource, \"time\", arrival, detail "
		"FROM meter_internal.anomalies(%2$s, (SELECT k.key FROM %1$s._view_key k), NULL, NULL, NULL, NULL)",
		"what was odd, a row for each thing, by class: what is set aside first, then what is held, stops first; meter.anomalies() is this for a class, meter, resource or time"
	}
};

/* Make the views of a stream, and their key. */
void
meter_create_views(const char *stream)
{
	const char *schema = quote_identifier(stream);
	MeterSession session;
	int			i;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("INSERT INTO %s._view_key (key) SELECT gen_random_uuid() "
						   "WHERE NOT EXISTS (SELECT FROM %s._view_key)",
						   schema, schema), SPI_OK_INSERT);
	for (i = 0; i < (int) lengthof(views); i++)
	{
		char	   *query = psprintf(views[i][1], schema,
									 quote_literal_cstr(stream));

		meter_execute_utility(stream, psprintf("CREATE OR REPLACE VIEW %s.%s AS %s",
											   schema, views[i][0], query));
		meter_execute_utility(stream, psprintf("COMMENT ON VIEW %s.%s IS %s", schema,
											   views[i][0], quote_literal_cstr(views[i][2])));
	}
	meter_session_end(&session);
}

/* Tell whether a key is that of a stream's views. */
static bool
is_key(const char *stream, Datum key)
{
	MeterSession session;
	Oid			types[] = {UUIDOID};
	bool		found;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute_params(psprintf("SELECT FROM %s._view_key WHERE key = $1",
								  quote_identifier(stream)),
						 SPI_OK_SELECT, 1, types, &key, NULL);
	found = SPI_processed > 0;
	meter_session_end(&session);
	return found;
}

/* Tell whether a log has policies that are for the caller. */
static bool
is_bound_by_policies(Oid schema)
{
	int			log;

	for (log = 0; log < METER_NLOGS; log++)
	{
		Oid			relation = get_relname_relid(meter_log_names[log], schema);

		if (OidIsValid(relation) &&
			check_enable_rls(relation, InvalidOid, true) == RLS_ENABLED)
			return true;
	}
	return false;
}

/*
 * Check that the caller may see what a view shows: whoever may read the view,
 * and whoever comes from it with its key (0: none).  The logs are read as the
 * stream's owner, so who may read a part of them only may not read the view,
 * but through a view of the owner's that shows that part.
 */
void
meter_check_may_read(const char *stream, const char *view, Datum key)
{
	Oid			schema = get_namespace_oid(stream, true);
	Oid			relation = OidIsValid(schema) ?
	get_relname_relid(view, schema) : InvalidOid;

	if (OidIsValid(relation) &&
		pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
	{
		if (is_bound_by_policies(schema))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("the logs of stream \"%s\" have row security, which view %s cannot apply to role \"%s\"",
							stream, view,
							GetUserNameFromId(GetUserId(), false)),
					 errhint("Grant SELECT on a view over %s.%s that shows what the role may see, in place of that view.",
							 quote_identifier(stream), view)));
		return;
	}
	if (OidIsValid(relation) && key != 0 && is_key(stream, key))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for view %s of stream \"%s\"", view,
					stream),
			 errhint("Grant SELECT on %s.%s.", quote_identifier(stream), view)));
}
