/*
 * views.c
 *	  The views of a stream: of its ledger, and those that functions are behind,
 *	  current_usage and anomaly.
 *
 * A function in a view runs as whoever reads the view, and who reads it through
 * a view of somebody else's may not read it directly.  So the views hand on
 * what only the stream's owner can read: the key of the views.
 *
 * A view reads tables as the stream's owner, whom row security does not bind.  So
 * in a stream that isolates tenants the views leave out what the caller may not
 * see, and whoever has the key sees no more.
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

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/stream.h"
#include "engine/views.h"
#include "pg/spi.h"

/* A view: %1$s is the schema, %2$s the stream as a literal. */
typedef struct View
{
	const char *name;
	const char *query;
	const char *isolated;		/* where tenants are isolated; NULL: the same */
	const char *distributed;	/* of a distributed stream; NULL: the same */
	bool		barrier;		/* a condition in it hides rows */
	const char *comment;
} View;

/* What the caller may see, where tenants are isolated. */
#define OWN_ROWS \
	" WHERE (SELECT meter_internal.own_accounts(%2$s)) IS NULL " \
	"OR account = ANY ((SELECT meter_internal.own_accounts(%2$s))::text[])"

#define USAGE_TOTAL(rows) \
	"SELECT meter, account, resource, dimensions, period_start, " \
	"pg_catalog.sum(quantity) AS quantity, " \
	"pg_catalog.max(revision) AS revision, " \
	"pg_catalog.max(recorded_at) AS recorded_at " \
	"FROM %1$s.usage" rows \
	" GROUP BY meter, account, resource, dimensions, period_start"

#define CURRENT_USAGE(settled) \
	"SELECT meter, account, resource, dimensions, period_start, " settled \
	" UNION ALL SELECT meter, account, resource, dimensions, period_start, quantity, settled " \
	"FROM meter_internal.open_usage(%2$s, (SELECT k.key FROM %1$s._view_key k))"

static const View views[] = {
	{
		"usage_total", USAGE_TOTAL(""), USAGE_TOTAL(OWN_ROWS), NULL, false,
		"the ledger summed over revisions"
	},
	{
		"current_usage",
		CURRENT_USAGE("pg_catalog.sum(quantity) AS quantity, true AS settled FROM %1$s.usage "
					  "GROUP BY meter, account, resource, dimensions, period_start"),

		/*
		 * conditions of a query pass the barrier of a UNION, and stop at the
		 * next
		 */
		CURRENT_USAGE("quantity, true AS settled FROM %1$s.usage_total"),

		/*
		 * on nodes a view of tables is read as whoever reads it, who may read
		 * no tables
		 */
		"SELECT meter COLLATE \"C\" AS meter, account COLLATE \"C\" AS account, resource COLLATE \"C\" AS resource, "
		"dimensions, period_start, quantity, settled "
		"FROM meter_internal.current_usage(%2$s, (SELECT k.key FROM %1$s._view_key k))",
		false,
		"usage up to now: the ledger summed over revisions, and the periods that are not settled yet, computed live (settled: false)"
	},
	{
		"anomaly",
		"SELECT class, meter, resource, \"time\", arrival, detail "
		"FROM meter_internal.anomalies(%2$s, (SELECT k.key FROM %1$s._view_key k), NULL, NULL, NULL, NULL)",
		NULL, NULL, false,
		"what was odd, a row for each thing, by class: what is set aside first, then what is held, stops first; meter.anomalies() is this for a class, meter, resource or time"
	},
	{
		"own_rejected",
		"SELECT rejection, received_at, raw, reason FROM %1$s.rejected WHERE sender = session_user::text",
		NULL, NULL, true,
		"of the table rejected, what the session user has sent"
	}
};

/* Make the views of a stream, and their key. */
void
meter_create_views(const char *stream)
{
	const char *schema = quote_identifier(stream);
	bool		isolated = meter_is_isolated(stream);
	bool		distributed = meter_stream_shards(stream) > 0;
	MeterSession session;
	int			i;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("INSERT INTO %s._view_key (key) SELECT gen_random_uuid() "
						   "WHERE NOT EXISTS (SELECT FROM %s._view_key)",
						   schema, schema), SPI_OK_INSERT);
	for (i = 0; i < (int) lengthof(views); i++)
	{
		const View *view = &views[i];
		bool		hides = isolated && view->isolated != NULL;
		char	   *query = psprintf(hides ? view->isolated :
									 distributed && view->distributed != NULL ? view->distributed : view->query,
									 schema, quote_literal_cstr(stream));

		meter_execute_utility(stream, psprintf("CREATE OR REPLACE VIEW %s.%s%s AS %s",
											   schema, view->name,
											   hides || view->barrier ? " WITH (security_barrier)" : "",
											   query));
		meter_execute_utility(stream, psprintf("COMMENT ON VIEW %s.%s IS %s", schema,
											   view->name, quote_literal_cstr(view->comment)));
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
 * but through a view of the owner's that shows that part.  Returns the accounts
 * that the caller may see, a text[], or 0 for all.
 */
Datum
meter_check_may_read(const char *stream, const char *view, Datum key)
{
	Oid			schema = get_namespace_oid(stream, true);
	Oid			relation = OidIsValid(schema) ?
	get_relname_relid(view, schema) : InvalidOid;
	bool		may = OidIsValid(relation) &&
	pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK;

	if (may && is_bound_by_policies(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the logs of stream \"%s\" have row security, which view %s cannot apply to role \"%s\"",
						stream, view,
						GetUserNameFromId(GetUserId(), false)),
				 errhint("Grant SELECT on a view over %s.%s that shows what the role may see, in place of that view.",
						 quote_identifier(stream), view)));
	if (!may && !(OidIsValid(relation) && key != 0 && is_key(stream, key)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for view %s of stream \"%s\"", view,
						stream),
				 meter_access_hint(stream, METER_ACCESS_ANALYST)));
	return meter_own_accounts(stream);
}
