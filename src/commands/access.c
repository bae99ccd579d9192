/*
 * access.c
 *	  Granting access to a stream, and isolating its tenants:
 *	  meter.grant_access(), revoke_access(), isolate_tenants(), map_account(),
 *	  unmap_account().
 *
 * Who has which access is told by privileges on the stream's table _access
 * (catalog/access.c).  With an access go the privileges of the list here.  Those
 * on views that are made anew are granted again to whoever has the access.
 *
 * A stream that isolates tenants has row security on its ledger and its totals.
 * One policy shows an account's rows to whom the account is mapped, another one
 * all rows to analysts, operators and consumers: a list of roles in place of a
 * condition, so that the condition of a tenant is one that an index finds.  Months
 * have row security and no policy: they are read through the tables that they are
 * months of.  Tenants may read nothing of a stream that does not isolate them.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/access.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "commands/access.h"
#include "commands/inbox.h"
#include "engine/views.h"
#include "log/month.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/* What goes with an access. */
typedef struct Privilege
{
	MeterAccess access;
	const char *privileges;		/* NULL: INSERT on columns but arrival */
	const char *object;			/* a table or view of the stream */
} Privilege;

static const Privilege privileges[] = {
	{METER_ACCESS_INGEST, "INSERT", "inbox"},
	{METER_ACCESS_INGEST, "INSERT", "measure_inbox"},
	{METER_ACCESS_INGEST, NULL, "event"},
	{METER_ACCESS_INGEST, NULL, "measure"},
	{METER_ACCESS_INGEST, "SELECT", "own_rejected"},
	{METER_ACCESS_ANALYST, "SELECT", "usage"},
	{METER_ACCESS_ANALYST, "SELECT", "account_usage"},
	{METER_ACCESS_ANALYST, "SELECT", "usage_total"},
	{METER_ACCESS_ANALYST, "SELECT", "current_usage"},
	{METER_ACCESS_ANALYST, "SELECT", "anomaly"},
	{METER_ACCESS_ANALYST, "SELECT", "settlement"},
	{METER_ACCESS_ANALYST, "SELECT", "source_quality"},
	{METER_ACCESS_OPERATOR, "SELECT", "usage"},
	{METER_ACCESS_OPERATOR, "SELECT", "account_usage"},
	{METER_ACCESS_OPERATOR, "SELECT", "usage_total"},
	{METER_ACCESS_OPERATOR, "SELECT", "current_usage"},
	{METER_ACCESS_OPERATOR, "SELECT", "anomaly"},
	{METER_ACCESS_OPERATOR, "SELECT", "settlement"},
	{METER_ACCESS_OPERATOR, "SELECT", "source_quality"},
	{METER_ACCESS_OPERATOR, "SELECT", "held"},
	{METER_ACCESS_OPERATOR, "SELECT", "quarantine"},
	{METER_ACCESS_OPERATOR, "SELECT, DELETE", "rejected"},
	{METER_ACCESS_OPERATOR, "SELECT", "snapshot"},
	{METER_ACCESS_OPERATOR, "SELECT, INSERT, DELETE", "inventory"},
	{METER_ACCESS_CONSUMER, "SELECT", "usage"},
	{METER_ACCESS_CONSUMER, "UPDATE", "_consumer"},
	{METER_ACCESS_TENANT, "SELECT", "usage"},
	{METER_ACCESS_TENANT, "SELECT", "account_usage"},
	{METER_ACCESS_TENANT, "SELECT", "usage_total"},
	{METER_ACCESS_TENANT, "SELECT", "current_usage"}
};

/* The policies of a stream that isolates tenants. */
#define POLICY_OWN	"meter_own"
#define POLICY_ALL	"meter_all"

/* The index by which the totals of an account are found. */
#define ACCOUNT_INDEX	"account_usage_account"

/* --- privileges ------------------------------------------------------------ */

/* Return the privileges of an entry of the list, as GRANT takes them. */
static char *
privileges_of(const Privilege *privilege)
{
	const MeterTableColumn *column;
	StringInfoData columns;

	if (privilege->privileges != NULL)
		return pstrdup(privilege->privileges);
	initStringInfo(&columns);
	for (column = meter_table_columns; column->table != NULL; column++)
	{
		if (strcmp(column->table, privilege->object) == 0 &&
			strcmp(column->name, "arrival") != 0)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
							 quote_identifier(column->name));
	}
	return psprintf("INSERT (%s)", columns.data);
}

/*
 * Grant a role, quoted, what goes with an access, or revoke it, but the access
 * itself.  Within a session of the stream's owner.
 */
static void
change_privileges(const char *stream, MeterAccess access, const char *role,
				  bool grant)
{
	const char *schema = quote_identifier(stream);
	Oid			namespace = get_namespace_oid(stream, false);
	int			i;

	for (i = 0; i < (int) lengthof(privileges); i++)
	{
		const Privilege *privilege = &privileges[i];

		/* the owner may have dropped a view */
		if (privilege->access != access ||
			!OidIsValid(get_relname_relid(privilege->object, namespace)))
			continue;
		meter_execute_utility(stream,
							  psprintf("%s %s ON %s.%s %s %s",
									   grant ? "GRANT" : "REVOKE",
									   privileges_of(privilege), schema,
									   privilege->object,
									   grant ? "TO" : "FROM", role));
	}
	if (grant)
		meter_execute_utility(stream, psprintf("GRANT USAGE ON SCHEMA %s TO %s",
											   schema, role));
}

/* Grant a role an access, or revoke it, but what goes with it. */
static void
change_access(const char *stream, MeterAccess access, const char *role,
			  bool grant)
{
	meter_execute_utility(stream,
						  psprintf("%s UPDATE (%s) ON %s._access %s %s",
								   grant ? "GRANT" : "REVOKE",
								   meter_access_names[access],
								   quote_identifier(stream),
								   grant ? "TO" : "FROM", role));
}

/* Return a query (role), quoted, for the roles that have an access themselves. */
static char *
holders_query(const char *stream, MeterAccess access)
{
	return psprintf("SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END COLLATE \"C\" AS role "
					"FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) x LEFT JOIN pg_roles r ON r.oid = x.grantee "
					"WHERE a.attrelid = %u AND a.attname = '%s' AND x.privilege_type = 'UPDATE' AND (x.grantee = 0 OR r.oid IS NOT NULL)",
					get_relname_relid("_access",
									  get_namespace_oid(stream, false)),
					meter_access_names[access]);
}

/* List the roles, quoted, that have an access themselves.  Within a session. */
static List *
list_holders(const char *stream, MeterAccess access)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *holders = NIL;
	uint64		i;

	meter_execute(psprintf("SELECT DISTINCT role FROM (%s) h ORDER BY role",
						   holders_query(stream, access)), SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		holders = lappend(holders, meter_result_text(i, 1));
	return holders;
}

/* Tell whether a role, quoted, has an access itself.  Within a session. */
static bool
holds(const char *stream, MeterAccess access, const char *role)
{
	ListCell   *cell;

	foreach(cell, list_holders(stream, access))
	{
		if (strcmp(lfirst(cell), role) == 0)
			return true;
	}
	return false;
}

/* Tell whether what goes with an access is granted. */
static bool
is_in_force(const char *stream, MeterAccess access)
{
	return access != METER_ACCESS_TENANT || meter_is_isolated(stream);
}

/*
 * Take from a role, quoted, what goes with an access, but what goes with another
 * one that it has.
 */
static void
take_privileges(const char *stream, MeterAccess access, const char *role)
{
	bool		any = false;
	int			other;

	change_privileges(stream, access, role, false);
	for (other = 0; other < METER_NACCESSES; other++)
	{
		if (other == (int) access || !holds(stream, (MeterAccess) other, role) ||
			!is_in_force(stream, (MeterAccess) other))
			continue;
		change_privileges(stream, (MeterAccess) other, role, true);
		any = true;
	}
	if (!any)
		meter_execute_utility(stream,
							  psprintf("REVOKE USAGE ON SCHEMA %s FROM %s",
									   quote_identifier(stream), role));
}

/* --- row security ---------------------------------------------------------- */

/* Return the roles of a policy of a table, quoted, or NULL if there is none. */
static char *
policy_roles(const char *stream, const char *table, const char *policy)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			relation = get_relname_relid(table,
											 get_namespace_oid(stream, false));
	char	   *roles;

	meter_execute(psprintf("SELECT (SELECT string_agg(h.role, ', ' ORDER BY h.role) FROM (SELECT CASE u.oid WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END COLLATE \"C\" AS role "
						   "FROM unnest(p.polroles) u (oid) LEFT JOIN pg_roles r ON r.oid = u.oid) h) "
						   "FROM pg_policy p WHERE p.polrelid = %u AND p.polname = '%s'",
						   relation, policy), SPI_OK_SELECT);
	if (SPI_processed == 0)
		return NULL;
	MemoryContextSwitchTo(context);
	roles = meter_result_text(0, 1);
	return roles == NULL ? pstrdup("") : roles;
}

/* Return the roles that read all of the ledger, quoted; NULL: none. */
static char *
roles_that_read_all(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;

	meter_execute(psprintf("SELECT string_agg(DISTINCT role, ', ' ORDER BY role) FROM (%s UNION %s UNION %s) h",
						   holders_query(stream, METER_ACCESS_ANALYST),
						   holders_query(stream, METER_ACCESS_OPERATOR),
						   holders_query(stream, METER_ACCESS_CONSUMER)),
				  SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	return meter_result_text(0, 1);
}

/* Drop a policy of a table, if there is one. */
static void
drop_policy(const char *stream, const char *table, const char *policy)
{
	if (policy_roles(stream, table, policy) != NULL)
		meter_execute_utility(stream, psprintf("DROP POLICY %s ON %s.%s", policy,
											   quote_identifier(stream), table));
}

/*
 * Give a table of a stream that isolates tenants its policies, those that it does
 * not have: a change of one waits for whoever reads.
 */
static void
make_policies(const char *stream, const char *table)
{
	const char *schema = quote_identifier(stream);
	char	   *all = roles_that_read_all(stream);
	char	   *before = policy_roles(stream, table, POLICY_ALL);

	if (policy_roles(stream, table, POLICY_OWN) == NULL)
		meter_execute_utility(stream,
							  psprintf("CREATE POLICY " POLICY_OWN " ON %s.%s FOR SELECT "
									   "USING (account = ANY ((SELECT meter_internal.own_accounts(%s))::text[]))",
									   schema, table,
									   quote_literal_cstr(stream)));
	if (all != NULL && before != NULL && strcmp(all, before) == 0)
		return;
	drop_policy(stream, table, POLICY_ALL);
	if (all != NULL)
		meter_execute_utility(stream,
							  psprintf("CREATE POLICY " POLICY_ALL " ON %s.%s FOR SELECT TO %s USING (true)",
									   schema, table, all));
}

/* Make the policies of a stream, if it isolates tenants. */
static void
make_all_policies(const char *stream)
{
	const MeterMonthly *monthly;

	if (!meter_is_isolated(stream))
		return;
	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
		make_policies(stream, monthly->table);
}

/* Switch row security of a table on or off. */
static void
set_row_security(const char *stream, const char *table, bool on)
{
	meter_execute_utility(stream,
						  psprintf("ALTER TABLE %s.%s %s ROW LEVEL SECURITY",
								   quote_identifier(stream), table,
								   on ? "ENABLE" : "DISABLE"));
}

/* Isolate the tenants of a stream.  Within a session of its owner. */
static void
isolate(const char *stream)
{
	const MeterMonthly *monthly;

	if (!OidIsValid(get_relname_relid(ACCOUNT_INDEX,
									  get_namespace_oid(stream, false))))
		meter_execute_utility(stream,
							  psprintf("CREATE INDEX " ACCOUNT_INDEX " ON %s.account_usage (account, period_start)",
									   quote_identifier(stream)));
	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
		set_row_security(stream, monthly->table, true);
	meter_guard_months(stream);
	make_all_policies(stream);
}

/* Isolate them no more: they may read nothing then. */
static void
open_up(const char *stream)
{
	const MeterMonthly *monthly;
	ListCell   *cell;

	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
	{
		drop_policy(stream, monthly->table, POLICY_ALL);
		drop_policy(stream, monthly->table, POLICY_OWN);
		set_row_security(stream, monthly->table, false);
		foreach(cell, meter_list_months(stream, monthly->table))
			set_row_security(stream, lfirst(cell), false);
	}
	meter_execute_utility(stream, psprintf("DROP INDEX IF EXISTS %s." ACCOUNT_INDEX,
										   quote_identifier(stream)));
	foreach(cell, list_holders(stream, METER_ACCESS_TENANT))
		take_privileges(stream, METER_ACCESS_TENANT, lfirst(cell));
}

/* --- views ----------------------------------------------------------------- */

/*
 * Make the views of a stream, and grant again what goes with access to it: a
 * view that was made anew has no grants.
 */
void
meter_make_views(const char *stream)
{
	MeterSession session;
	int			access;
	ListCell   *cell;

	meter_create_views(stream);
	meter_make_inboxes(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	for (access = 0; access < METER_NACCESSES; access++)
	{
		if (!is_in_force(stream, (MeterAccess) access))
			continue;
		foreach(cell, list_holders(stream, (MeterAccess) access))
			change_privileges(stream, (MeterAccess) access, lfirst(cell), true);
	}
	make_all_policies(stream);
	meter_session_end(&session);
}

/* --- functions ------------------------------------------------------------- */

/*
 * Begin to change who may do what: only the owner may, one at a time.  The
 * session that is begun is the owner's.
 */
static void
begin_change(MeterSession *session, const char *stream)
{
	meter_check_stream_permission(stream);
	meter_session_begin(session, meter_extension_owner());
	meter_lock_stream(stream);
	meter_session_end(session);
	meter_session_begin(session, meter_stream_owner(stream));
	meter_check_stream(stream);
}

/* Return an argument that is the name of a role. */
static char *
role_arg(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"role\" must not be null")));
	return pstrdup(NameStr(*PG_GETARG_NAME(argument)));
}

/* Return an argument that is the name of an access. */
static MeterAccess
access_arg(FunctionCallInfo fcinfo, int argument)
{
	char	   *name = meter_text_arg(fcinfo, argument, "access");
	int			access;

	for (access = 0; access < METER_ACCESS_TENANT; access++)
	{
		if (strcmp(name, meter_access_names[access]) == 0)
			return (MeterAccess) access;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no access \"%s\"", name),
			 errhint("There is \"ingest\", \"analyst\", \"operator\" and \"consumer\".")));
	return METER_NACCESSES;
}

PG_FUNCTION_INFO_V1(meter_grant_access);

/* grant_access(stream, role, access) */
Datum
meter_grant_access(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *role = role_arg(fcinfo, 1);
	MeterAccess access = access_arg(fcinfo, 2);
	MeterSession session;

	PreventCommandIfReadOnly("meter.grant_access()");
	begin_change(&session, stream);
	(void) get_role_oid(role, false);
	role = pstrdup(quote_identifier(role));
	change_privileges(stream, access, role, true);
	change_access(stream, access, role, true);
	make_all_policies(stream);
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_revoke_access);

/* revoke_access(stream, role, access) */
Datum
meter_revoke_access(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *role = role_arg(fcinfo, 1);
	MeterAccess first = PG_ARGISNULL(2) ? METER_ACCESS_INGEST :
	access_arg(fcinfo, 2);
	MeterAccess last = PG_ARGISNULL(2) ? METER_ACCESS_CONSUMER : first;
	MeterSession session;
	int			access;

	PreventCommandIfReadOnly("meter.revoke_access()");
	begin_change(&session, stream);
	(void) get_role_oid(role, false);
	role = pstrdup(quote_identifier(role));
	for (access = first; access <= (int) last; access++)
	{
		change_access(stream, (MeterAccess) access, role, false);
		take_privileges(stream, (MeterAccess) access, role);
	}
	make_all_policies(stream);
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_isolate_tenants);

/* isolate_tenants(stream, isolate) */
Datum
meter_isolate_tenants(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	MeterSession session;

	PreventCommandIfReadOnly("meter.isolate_tenants()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"isolate\" must not be null")));
	meter_refuse_distributed(stream, "meter.isolate_tenants()");
	begin_change(&session, stream);
	if (PG_GETARG_BOOL(1))
		isolate(stream);
	else
		open_up(stream);
	meter_session_end(&session);
	meter_make_views(stream);
	PG_RETURN_VOID();
}

/*
 * Take over what is mapped to roles in a stream that was restored: in another
 * cluster the roles have other OIDs.  A role that is known by its OID is of this
 * cluster, and if it has another name now, what is mapped to that is not its.
 */
void
meter_bind_tenants(const char *stream)
{
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("UPDATE %s._tenant t SET role_id = r.oid FROM pg_roles r WHERE r.rolname = t.role::name "
						   "AND NOT EXISTS (SELECT FROM %s._tenant o WHERE o.role_id = r.oid) AND quote_ident(r.rolname) IN (%s)",
						   quote_identifier(stream), quote_identifier(stream),
						   holders_query(stream, METER_ACCESS_TENANT)),
				  SPI_OK_UPDATE);
	meter_session_end(&session);
}

/* Delete what is mapped to a role.  Returns how many accounts there were. */
static uint64
delete_accounts(const char *stream, const char *role, Datum account)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(role), account};
	char		nulls[] = {' ', account == (Datum) 0 ? 'n' : ' '};

	meter_execute_params(psprintf("DELETE FROM %s._tenant WHERE role = $1 AND ($2 IS NULL OR account = $2)",
								  quote_identifier(stream)),
						 SPI_OK_DELETE, lengthof(types), types, values, nulls);
	return SPI_processed;
}

PG_FUNCTION_INFO_V1(meter_map_account);

/* map_account(stream, role, account) */
Datum
meter_map_account(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *role = role_arg(fcinfo, 1);
	const char *quoted = quote_identifier(role);
	MeterSession session;
	Oid			types[] = {TEXTOID, TEXTOID, OIDOID};
	Datum		values[lengthof(types)];

	PreventCommandIfReadOnly("meter.map_account()");
	values[0] = CStringGetTextDatum(role);
	values[1] = CStringGetTextDatum(meter_text_arg(fcinfo, 2, "account"));
	begin_change(&session, stream);
	values[2] = ObjectIdGetDatum(get_role_oid(role, false));
	if (!meter_is_isolated(stream))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" does not isolate tenants", stream),
				 errhint("meter.isolate_tenants(%s) has roles see no more than the accounts that are mapped to them.",
						 quote_literal_cstr(stream))));
	/* what was another role's of that name is not this one's */
	if (!holds(stream, METER_ACCESS_TENANT, quoted))
		(void) delete_accounts(stream, role, (Datum) 0);
	meter_execute_params(psprintf("DELETE FROM %s._tenant WHERE role = $1 AND role_id <> $3",
								  quote_identifier(stream)),
						 SPI_OK_DELETE, lengthof(types), types, values, NULL);
	meter_execute_params(psprintf("INSERT INTO %s._tenant (role, role_id, account) VALUES ($1, $3, $2) ON CONFLICT DO NOTHING",
								  quote_identifier(stream)),
						 SPI_OK_INSERT, lengthof(types), types, values, NULL);
	change_privileges(stream, METER_ACCESS_TENANT, quoted, true);
	change_access(stream, METER_ACCESS_TENANT, quoted, true);
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_unmap_account);

/* unmap_account(stream, role, account) */
Datum
meter_unmap_account(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *role = role_arg(fcinfo, 1);
	const char *quoted = quote_identifier(role);
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(role)};

	PreventCommandIfReadOnly("meter.unmap_account()");
	begin_change(&session, stream);
	/* a role that was renamed has the access, and no account by its name */
	if (delete_accounts(stream, role, PG_ARGISNULL(2) ? (Datum) 0 :
						PG_GETARG_DATUM(2)) == 0 &&
		!(PG_ARGISNULL(2) && holds(stream, METER_ACCESS_TENANT, quoted)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 PG_ARGISNULL(2) ?
				 errmsg("stream \"%s\" has no account that is mapped to role \"%s\"",
						stream, role) :
				 errmsg("account \"%s\" of stream \"%s\" is not mapped to role \"%s\"",
						text_to_cstring(PG_GETARG_TEXT_PP(2)), stream, role)));
	meter_execute_params(psprintf("SELECT FROM %s._tenant WHERE role = $1",
								  quote_identifier(stream)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	/* a role that was dropped has no privileges */
	if (SPI_processed == 0 && OidIsValid(get_role_oid(role, true)))
	{
		change_access(stream, METER_ACCESS_TENANT, quoted, false);
		take_privileges(stream, METER_ACCESS_TENANT, quoted);
	}
	meter_session_end(&session);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(meter_has_access_sql);

/* has_access(stream, access) */
Datum
meter_has_access_sql(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(meter_has_access(stream, access_arg(fcinfo, 1)));
}

/* The accounts of the caller, as meter_with_one_snapshot() asks for them. */
typedef struct OwnAccounts
{
	const char *stream;
	Datum		accounts;
} OwnAccounts;

static void
find_own_accounts(void *arg)
{
	OwnAccounts *own = arg;

	own->accounts = meter_own_accounts(own->stream);
}

PG_FUNCTION_INFO_V1(meter_own_accounts_sql);

/* own_accounts(stream) */
Datum
meter_own_accounts_sql(PG_FUNCTION_ARGS)
{
	OwnAccounts own = {text_to_cstring(PG_GETARG_TEXT_PP(0)), (Datum) 0};

	/* what the query sees, not what is there at this moment */
	meter_with_one_snapshot(find_own_accounts, &own);
	if (own.accounts == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(own.accounts);
}
