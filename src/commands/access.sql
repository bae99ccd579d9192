-- Who may do what with a stream.

CREATE FUNCTION meter.grant_access(stream text, role name, access text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_grant_access';
COMMENT ON FUNCTION meter.grant_access(text, name, text) IS
'give a role, and whoever has it, access to a stream; months and views that are made later are included
role: its name
access: ingest (write to the logs by every path, and see what of it was rejected), analyst (read ledger, totals, live usage, anomalies and status, and explain), operator (that, and settle, pause, release, discard, resettle, rewind, verify and reconcile) or consumer (read and finish batches)
raises 42704 if there is no such stream or role, 22023 for another access, 55000 for a stream of another shape, 55P03 if a stream that isolates tenants is in use, 42501 for others than the stream''s owner';

CREATE FUNCTION meter.revoke_access(stream text, role name, access text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_revoke_access';
COMMENT ON FUNCTION meter.revoke_access(text, name, text) IS
'take an access that meter.grant_access gave away from a role, with the privileges that go with it and with no other access that the role has; accounts that are mapped to it stay
role: its name
access: ingest, analyst, operator or consumer; null: each
raises 42704 if there is no such stream or role, 22023 for another access, 55000 for a stream of another shape, 55P03 if a stream that isolates tenants is in use, 42501 for others than the stream''s owner';

CREATE FUNCTION meter.isolate_tenants(stream text, isolate boolean DEFAULT true)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_isolate_tenants';
COMMENT ON FUNCTION meter.isolate_tenants(text, boolean) IS
'have each role see the usage of no accounts of a stream but those that are mapped to it, in tables, views and functions: row security of ledger and totals, which does not bind the owner of the stream, nor roles with the access analyst, operator or consumer
isolate: false undoes it: roles with accounts may read nothing then, until it is done again
raises 42704 if there is no such stream, 55000 for a stream of another shape, 55P03 if it is in use, 42501 for others than its owner';

CREATE FUNCTION meter.map_account(stream text, role name, account text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_map_account';
COMMENT ON FUNCTION meter.map_account(text, name, text) IS
'let a role, and whoever has it, see the usage of an account of a stream that isolates tenants: its rows in usage, account_usage, usage_total and current_usage, meter.live_usage, meter.explain and meter.report_html
role: its name
account: the account, as in the ledger
raises 42704 if there is no such stream or role, 55000 if the stream does not isolate tenants, 42501 for others than the stream''s owner';

CREATE FUNCTION meter.unmap_account(stream text, role name, account text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_unmap_account';
COMMENT ON FUNCTION meter.unmap_account(text, name, text) IS
'take an account away from a role that meter.map_account gave it to
role: its name
account: the account; null: all
raises 42704 if there is no such stream, or the account is not mapped to the role, 42501 for others than the stream''s owner';

CREATE FUNCTION meter_internal.has_access(stream text, access text)
RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'meter_has_access_sql';
COMMENT ON FUNCTION meter_internal.has_access(text, text) IS
'whether the caller has an access to a stream that meter.grant_access gives, or owns the stream';

CREATE FUNCTION meter_internal.own_accounts(stream text)
RETURNS text[]
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_own_accounts_sql';
COMMENT ON FUNCTION meter_internal.own_accounts(text) IS
'the accounts of a stream that isolates tenants whose usage the caller may see; null: of all';
