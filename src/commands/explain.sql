-- Why is this usage row what it is?

CREATE FUNCTION meter_internal.usage_row_of_shard(
    stream text, key text, tables text[], meters jsonb[], numbers bigint[], seen text, said text[],
    OUT answered boolean, OUT meter text, OUT account text, OUT resource text, OUT dimensions text,
    OUT period_start timestamptz, OUT settlement bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_usage_row_of_shard';
COMMENT ON FUNCTION meter_internal.usage_row_of_shard(text, text, text[], jsonb[], bigint[], text, text[]) IS
'internal: the usage row that is to be explained, from the shard that has it, as live_usage_of_shard() answers';

CREATE FUNCTION meter_internal.explain_of_shard(
    stream text, key text, tables text[], meters jsonb[], numbers bigint[], seen text, said text[],
    OUT answered boolean, OUT part text, OUT "time" timestamptz, OUT until timestamptz, OUT arrival bigint, OUT source text,
    OUT id text, OUT action text, OUT account text, OUT dimensions jsonb, OUT value numeric, OUT quantity numeric,
    OUT explanation text)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_explain_of_shard';
COMMENT ON FUNCTION meter_internal.explain_of_shard(text, text, text[], jsonb[], bigint[], text, text[]) IS
'internal: what explains a usage row, from the shard that has the resource, as live_usage_of_shard() answers';

CREATE FUNCTION meter.explain(
    stream text, transaction_id uuid,
    OUT part text, OUT "time" timestamptz, OUT until timestamptz, OUT arrival bigint, OUT source text, OUT id text,
    OUT action text, OUT account text, OUT dimensions jsonb, OUT value numeric, OUT quantity numeric, OUT explanation text)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_explain';
COMMENT ON FUNCTION meter.explain(text, uuid) IS
'what is behind a usage row, in parts: ledger (the rows of its key, this one marked), event (the events that count, from the beginning of what ran in the period, or if nothing did from the end of what ran before it), span (what they make), billed (the spans rounded and cut to the period, with time and quantity), rounding (what these miss to the total, since each is rounded), total (what the key should have), late event (for what was written for a settled period: the rows that made the settle look at it again); for meters of measures event (those that say who pays) and measure (those of the row, each with what of it falls to the row and how that is reckoned; for counters the reading before, too), and late measure; tenants are shown no names and times of others, and a row of another account is none to them
transaction_id: the name of the row
raises 42704 if there is no such stream or row, 42501 for others than the stream''s owner, analysts, operators and, of rows of accounts that are mapped to them, tenants';
