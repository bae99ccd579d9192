-- What the coordinator of a distributed stream asks of the nodes.

CREATE FUNCTION meter_internal.work_on_shard(
    stream text, key text, tables text[], work "char", said text, meter jsonb, asks bigint[],
    OUT kind "char", OUT numbers bigint[], OUT first_id uuid, OUT last_id uuid, OUT account text, OUT resource text,
    OUT dimensions jsonb, OUT period_start timestamptz, OUT quantity numeric, OUT expected numeric)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_work_on_shard';
COMMENT ON FUNCTION meter_internal.work_on_shard(text, text, text[], "char", text, jsonb, bigint[]) IS
'does a part of a step, or of what verifies or corrects the ledger, on the shard of a distributed stream that a key is in, and of which tables has the names, each after that of the stream''s table: totals, differences, months that are missing, and numbers; the meter''s row of the catalog and its progress come with the call; raises 42501 for others than the stream''s owner';
