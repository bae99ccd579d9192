/*
 * access.c
 *	  Who may do what with a stream.
 *
 * The owner of a stream may do everything.  What others may do is a privilege
 * like any other: UPDATE on the column of the stream's table _access that has the
 * name of the access.  The table stays empty.  So roles that are renamed keep
 * their access, members of a role have it, a role that has some cannot be dropped
 * unnoticed, one that is made anew under an old name has none, and pg_dump carries
 * it.  commands/access.c grants, with an access, what it needs on tables and views.
 *
 * A stream that isolates tenants has row security on its ledger.  Functions and
 * views, which read it as the owner, then ask here which accounts the caller may
 * see.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/access.h"
#include "catalog/home.h"
#include "catalog/stream.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"

const char *const meter_access_names[METER_NACCESSES] = {
	"ingest", "analyst", "operator", "consumer", "tenant"
};

/* Tell whether the caller was granted an access to a stream. */
static bool
is_granted(Oid schema, MeterAccess access)
{
	Oid			table = get_relname_relid("_access", schema);
	AttrNumber	column = !OidIsValid(table) ? InvalidAttrNumber :
	get_attnum(table, meter_access_names[access]);

	/* a privilege on all of the table, as GRANT ON ALL TABLES gives, is none */
	return column != InvalidAttrNumber &&
		pg_attribute_aclcheck(table, column, GetUserId(),
							  ACL_UPDATE) == ACLCHECK_OK;
}

/*
 * Tell whether the caller has an access to a stream: as its owner, as a role
 * that it was granted to, or, since operators are analysts too, as one of these.
 */
bool
meter_has_access(const char *stream, MeterAccess access)
{
	Oid			schema = get_namespace_oid(stream, true);

	return OidIsValid(schema) &&
		(meter_schema_ownercheck(schema, GetUserId()) ||
		 is_granted(schema, access) ||
		 (access == METER_ACCESS_ANALYST &&
		  is_granted(schema, METER_ACCESS_OPERATOR)));
}

/*
 * Check that the caller has an access to a stream.  Only superusers may work on
 * one whose schema is gone.
 */
void
meter_check_access(const char *stream, MeterAccess access)
{
	bool		exists;
	bool		active;

	meter_look_up_stream(stream, &exists, &active);
	if (!exists)
		meter_no_stream(stream);
	if (!meter_has_access(stream, access) &&
		(OidIsValid(get_namespace_oid(stream, true)) || !superuser()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for stream \"%s\"", stream),
				 meter_access_hint(stream, access)));
}

/* Say in the hint of an error which grant is missing, and who can give it. */
int
meter_access_hint(const char *stream, MeterAccess access)
{
	char	   *call;

	if (!OidIsValid(get_namespace_oid(stream, true)))
		return 0;
	call = psprintf("meter.grant_access(%s, %s, '%s')",
					quote_literal_cstr(stream),
					quote_literal_cstr(GetUserNameFromId(GetUserId(), false)),
					meter_access_names[access]);
	return errhint("%s gives this right. The owner of the stream, role \"%s\", may call it.",
				   call, GetUserNameFromId(meter_stream_owner(stream), true));
}

/*
 * List the active streams, all of them or those that the caller operates.
 */
List *
meter_active_streams(bool own)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	List	   *all = NIL;
	List	   *streams = NIL;
	ListCell   *cell;
	uint64		i;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute("SELECT name FROM meter.active_stream a WHERE " METER_IS_HOME("a") " ORDER BY name",
				  SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		all = lappend(all, meter_result_text(i, 1));
	meter_session_end(&session);

	foreach(cell, all)
	{
		if (!own || meter_has_access(lfirst(cell), METER_ACCESS_OPERATOR))
			streams = lappend(streams, lfirst(cell));
	}
	return streams;
}

/* Tell whether a table of a stream has row security. */
bool
meter_has_row_security(const char *stream, const char *table)
{
	Oid			schema = get_namespace_oid(stream, true);
	Oid			relation = OidIsValid(schema) ?
	get_relname_relid(table, schema) : InvalidOid;
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool		secured;

	if (!HeapTupleIsValid(tuple))
		return false;
	secured = ((Form_pg_class) GETSTRUCT(tuple))->relrowsecurity;
	ReleaseSysCache(tuple);
	return secured;
}

/* Tell whether a stream isolates tenants: its ledger has row security. */
bool
meter_is_isolated(const char *stream)
{
	return meter_has_row_security(stream, "usage");
}

/*
 * Tell whether the caller may see the usage of all accounts of a stream, whether
 * or not it isolates tenants.
 */
bool
meter_reads_all(const char *stream)
{
	Oid			schema = get_namespace_oid(stream, true);

	return OidIsValid(schema) &&
		(meter_has_access(stream, METER_ACCESS_ANALYST) ||
		 is_granted(schema, METER_ACCESS_CONSUMER) ||
		 has_bypassrls_privilege(GetUserId()));
}

/*
 * Return the accounts whose usage the caller may see: a text[], or 0 for all.
 * The roles in the mapping are names, so that a dump is restored whatever roles
 * there are; a name counts while the role that had it then still has it, and the
 * access of a tenant.
 */
Datum
meter_own_accounts(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[lengthof(types)];
	Datum		accounts;
	bool		isnull;

	if (!meter_is_isolated(stream) || meter_reads_all(stream))
		return (Datum) 0;
	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = ObjectIdGetDatum(get_relname_relid("_access",
												   get_namespace_oid(stream, false)));
	meter_session_begin(&session, meter_stream_owner(stream));
	/* a text, whatever the owner has made of the table */
	meter_execute_params(psprintf("SELECT coalesce(array_agg(DISTINCT t.account::text), '{}'::text[]) FROM %s._tenant t "
								  "JOIN pg_roles r ON r.oid = t.role_id AND r.rolname = t.role::name AND pg_has_role($1, r.oid, 'USAGE') "
								  "WHERE r.oid IN (SELECT x.grantee FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) x "
								  "WHERE a.attrelid = $2 AND a.attname = 'tenant' AND x.privilege_type = 'UPDATE')",
								  quote_identifier(stream)),
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	accounts = meter_result_copy(context, 1, &isnull);
	meter_session_end(&session);
	return accounts;
}
