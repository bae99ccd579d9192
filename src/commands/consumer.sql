-- Consumers: named readers of the ledger that get each row once.

CREATE FUNCTION meter.create_consumer(stream text, consumer text, meters text[] DEFAULT NULL, from_start boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_create_consumer';
COMMENT ON FUNCTION meter.create_consumer(text, text, text[], boolean) IS
'makes a consumer: a reader of the ledger that gets each row once
consumer: its name
meters: the meters whose usage it reads; null: all, those to come included
from_start: it begins with the first row that the ledger has; otherwise with what is settled next
raises 42710 if there is one of that name, 42704 if there is no such stream or meter, 42501 for others than the stream''s owner';

CREATE FUNCTION meter.drop_consumer(stream text, consumer text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_consumer';
COMMENT ON FUNCTION meter.drop_consumer(text, text) IS
'forgets a consumer and how far it has read
consumer: its name
raises 42704 if there is none, 42501 for others than the stream''s owner';

CREATE FUNCTION meter.next_batch(stream text, consumer text, max_rows integer DEFAULT 10000)
RETURNS TABLE (batch bigint, transaction_id uuid, meter text, account text, resource text, dimensions jsonb, period_start timestamptz, quantity numeric, revision integer, settlement bigint, recorded_at timestamptz)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_next_batch';
COMMENT ON FUNCTION meter.next_batch(text, text, integer) IS
'usage rows that a consumer has not finished, with the number of their batch: those of the open batch, always the same until meter.finish_batch, or else of a new one, per meter in the order of settlements; no rows: there is nothing new; for the stream''s owner and roles with the access consumer (SELECT on its table usage and UPDATE on its table _consumer)
consumer: its name
max_rows: how many rows a new batch has at most
raises 42704 if there is no such consumer, 22023 for max_rows below 1, 55000 if the stream is not active';

CREATE FUNCTION meter.finish_batch(stream text, consumer text, batch bigint)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_finish_batch';
COMMENT ON FUNCTION meter.finish_batch(text, text, bigint) IS
'finishes the open batch of a consumer: the next one begins behind it; for who may call meter.next_batch
consumer: its name
batch: its number, of the batch that is open
raises 55000 for any other batch, and if the stream is not active, 42704 if there is no such consumer';

CREATE FUNCTION meter_internal.consumer_backlog(stream text, consumer text, OUT settlements bigint, OUT rows bigint, OUT oldest timestamptz)
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_consumer_backlog';
COMMENT ON FUNCTION meter_internal.consumer_backlog(text, text) IS
'settlements of which a consumer has not finished all, the rows of them that it has not finished, and when the first was recorded; null for who may neither read them nor monitor';

CREATE VIEW meter.consumer_status WITH (security_barrier) AS
SELECT c.stream,
       c.name AS consumer,
       c.meters,
       b.settlements,
       b.rows,
       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) b.oldest AS age,
       CASE WHEN c.opened_at IS NOT NULL THEN c.batch END AS batch,
       c.opened_at
FROM meter.consumer AS c
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname::text OPERATOR(pg_catalog.=) c.stream
LEFT JOIN pg_catalog.pg_class AS t ON t.relnamespace OPERATOR(pg_catalog.=) n.oid AND t.relname OPERATOR(pg_catalog.=) '_consumer'
LEFT JOIN LATERAL meter_internal.consumer_backlog(c.stream, c.name) AS b ON true
WHERE meter_internal.has_access(c.stream, 'operator')
   OR pg_catalog.has_table_privilege(t.oid, 'UPDATE')
   OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
   OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW meter.consumer_status IS
'a row a consumer: how far it is behind, and its open batch; for who may call meter.next_batch, the stream''s operators, and members of pg_monitor and pg_read_all_stats';
COMMENT ON COLUMN meter.consumer_status.stream IS 'the stream whose ledger it reads';
COMMENT ON COLUMN meter.consumer_status.consumer IS 'the consumer';
COMMENT ON COLUMN meter.consumer_status.meters IS 'the meters whose usage it reads; null: all';
COMMENT ON COLUMN meter.consumer_status.settlements IS 'settlements of which it has not finished all';
COMMENT ON COLUMN meter.consumer_status.rows IS 'usage rows of these that it has not finished';
COMMENT ON COLUMN meter.consumer_status.age IS 'how long ago the first of these settlements was recorded; null: there is none';
COMMENT ON COLUMN meter.consumer_status.batch IS 'the open batch; null: none is open';
COMMENT ON COLUMN meter.consumer_status.opened_at IS 'when that was opened';
