-- Past one machine: a stream over a cluster.

CREATE FUNCTION meter.distribute_stream(stream text, shard_count integer DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_distribute_stream';
COMMENT ON FUNCTION meter.distribute_stream(text, integer) IS
'distribute the logs, the ledger and the states of a stream by resource over the nodes of a Citus cluster, with the rows that they have; steps then compute each shard where it is; nobody reads or writes the stream meanwhile
shard_count: in so many shards; null: as citus.shard_count says
raises 42704 if there is no such stream, 22023 for a number of shards that cannot be, 55000 if the stream is distributed or not active, without Citus, on another node than the coordinator, or if a node lacks the extension, 0A000 for a stream with isolated tenants, 42501 for others than its owner';
