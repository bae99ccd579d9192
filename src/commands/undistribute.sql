-- Back to one machine: a stream of a cluster becomes one of one node.

CREATE FUNCTION meter.undistribute_stream(stream text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_undistribute_stream';
COMMENT ON FUNCTION meter.undistribute_stream(text) IS
'bring all rows of a distributed stream back to the coordinator, which needs room for them, and make it a stream of one node with its keys and guards; also one whose tables were undistributed by hand, or that was restored from a dump of a coordinator; nobody reads or writes the stream meanwhile
raises 42704 if there is no such stream, 55000 if the stream is not distributed, or a node cannot be asked, 55006 if a node has not committed yet what the coordinator has, 42501 for others than its owner';
