-- Promise: with the clock source a period is settled when all sources that are not idle say that they are past it, and no sooner.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SET meter.now = '2024-03-01 10:30';
SELECT meter.create_stream('sources_cloud');
SELECT meter.create_meter('sources_cloud', 'vm', starts => '{start}', stops => '{stop}', clock => 'source', lateness => '10 minutes');
INSERT INTO sources_cloud.event (source, "time", resource, account, action) VALUES ('a', '2024-03-01 06:15', 'vm1', 'x', 'start'), ('b', '2024-03-01 07:30', 'vm2', 'x', 'start');

-- No source: nothing is settled.
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
-- The least of their clocks, less lateness, cut down to a period.
SELECT meter.heartbeat('sources_cloud', 'a', '2024-03-01 09:10');
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 08:09:59');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT meter, resource, period_start, quantity, settled FROM sources_cloud.current_usage ORDER BY 2, 3;
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 08:10');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
-- An older heartbeat is no error, and changes nothing.
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 02:00');
SELECT * FROM meter.source_status WHERE stream = 'sources_cloud' ORDER BY 1, 2;
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
-- One from more than a minute ahead is refused, and so is one that is no time at all.
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 10:31:00.000001');
SELECT meter.heartbeat('sources_cloud', 'b', 'infinity');
SELECT meter.heartbeat('sources_cloud', 'b', NULL);
SELECT meter.heartbeat('sources_cloud', NULL);
SELECT meter.heartbeat('nonesuch', 'b');
-- Without a time it is now.
SELECT meter.heartbeat('sources_cloud', 'a');
SELECT clock FROM meter.source_status WHERE source = 'a';

-- Silent for longer than its idle limit, a source no longer holds the others back.
SET meter.now = '2024-03-01 11:30';
SELECT meter.heartbeat('sources_cloud', 'a');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SET meter.now = '2024-03-01 11:30:00.000001';
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
-- What it tells once it is back is late; the watermark does not move back.
INSERT INTO sources_cloud.event (source, "time", resource, action) VALUES ('b', '2024-03-01 09:45', 'vm2', 'stop');
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 10:00');
SELECT watermark, usage_rows, adjustments FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT resource, sum(quantity) FROM sources_cloud.usage GROUP BY 1 ORDER BY 1;
-- If all are idle the watermark stays. What is live then goes as far as they went.
SET meter.now = '2024-03-01 18:00';
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT resource, period_start, quantity FROM sources_cloud.current_usage WHERE NOT settled ORDER BY 1, 2;
-- The limit can be another one, or none.
SELECT meter.set_source('sources_cloud', 'b', '1 day');
SELECT meter.set_source('sources_cloud', 'a', NULL);
SELECT * FROM meter.source_status WHERE stream = 'sources_cloud' ORDER BY 1, 2;
SELECT meter.set_source('sources_cloud', 'a', '0');
SELECT meter.set_source('sources_cloud', 'a', '1 month');
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 17:30');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
-- A source that is named before it has said anything is waited for.
SELECT meter.set_source('sources_cloud', 'c');
SELECT meter.heartbeat('sources_cloud', 'a');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT count(*) FROM sources_cloud.current_usage WHERE NOT settled;
-- One that is gone for good is forgotten.
SELECT meter.drop_source('sources_cloud', 'c');
SELECT meter.drop_source('sources_cloud', 'c');
SELECT watermark, usage_rows FROM meter.advance('sources_cloud');
SELECT * FROM meter.verify('sources_cloud');

-- No clock passes now, though a source may be ahead of the step that reads it.
SET meter.now = '2024-03-01 19:30';
SELECT meter.heartbeat('sources_cloud', s) FROM unnest('{a,b}'::text[]) s;
SET meter.now = '2024-03-01 18:50';
SELECT watermark FROM meter.advance('sources_cloud');

-- Meters of other clocks do not care.
SELECT meter.create_meter('sources_cloud', 'wall', starts => '{start}', stops => '{stop}');
SET meter.now = '2024-03-01 23:00';
SELECT meter, watermark FROM meter.advance('sources_cloud');
SELECT meter, held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud' ORDER BY 1;
SELECT meter.drop_meter('sources_cloud', 'wall');

-- Who may log events may say how far they go; what else there is to say is the owner's.
CREATE ROLE regress_sources_producer;
CREATE ROLE regress_sources_stranger;
GRANT USAGE ON SCHEMA sources_cloud TO regress_sources_producer;
GRANT INSERT ON sources_cloud.event TO regress_sources_producer;
SET ROLE regress_sources_producer;
SELECT meter.heartbeat('sources_cloud', 'a', '2024-03-01 22:00');
SELECT meter.set_source('sources_cloud', 'a');
SELECT meter.drop_source('sources_cloud', 'a');
SELECT count(*) FROM meter.source_status WHERE stream = 'sources_cloud';
SET ROLE regress_sources_stranger;
SELECT meter.heartbeat('sources_cloud', 'a', '2024-03-01 22:00');
TABLE meter.source;
RESET ROLE;
SELECT source, clock FROM meter.source_status WHERE stream = 'sources_cloud' ORDER BY 1;

-- So may who has some columns of it, or an inbox alone: these rights are enough to log events, and to say how far they go.
CREATE ROLE regress_sources_columns;
CREATE ROLE regress_sources_inbox;
GRANT USAGE ON SCHEMA sources_cloud TO regress_sources_columns, regress_sources_inbox;
GRANT INSERT (source, id, "time", resource, account, action) ON sources_cloud.event TO regress_sources_columns;
GRANT INSERT ON sources_cloud.inbox TO regress_sources_inbox;
SET ROLE regress_sources_columns;
INSERT INTO sources_cloud.event (source, id, "time", resource, account, action) VALUES ('a', 'c1', '2024-03-01 22:10', 'vm3', 'x', 'start');
SELECT meter.heartbeat('sources_cloud', 'a', '2024-03-01 22:11');
SET ROLE regress_sources_inbox;
INSERT INTO sources_cloud.inbox VALUES ('{"source": "a", "id": "c2", "time": "2024-03-01T22:12:00Z", "resource": "vm3", "action": "stop"}');
SELECT meter.heartbeat('sources_cloud', 'a', '2024-03-01 22:13');
RESET ROLE;
SELECT source, id, "time", resource, action FROM sources_cloud.event WHERE resource = 'vm3' ORDER BY "time";
SELECT source, clock FROM meter.source_status WHERE stream = 'sources_cloud' ORDER BY 1;
REVOKE ALL ON SCHEMA sources_cloud FROM regress_sources_columns, regress_sources_inbox;
DROP OWNED BY regress_sources_columns, regress_sources_inbox;
DROP ROLE regress_sources_columns;
DROP ROLE regress_sources_inbox;

-- A source that nobody knows and that begins long ago is waited for as long as its idle limit, however often it goes on a little.
SELECT meter.create_stream('sources_past');
SELECT meter.create_meter('sources_past', 'vm', starts => '{start}', stops => '{stop}', clock => 'source', lateness => '0');
INSERT INTO sources_past.event (source, "time", resource, account, action) VALUES ('a', '2024-03-01 06:00', 'vm1', 'x', 'start');
SET meter.now = '2024-03-01 12:00';
SELECT meter.heartbeat('sources_past', 'a');
SELECT meter.heartbeat('sources_past', 'odd', '1970-01-01');
SELECT watermark FROM meter.advance('sources_past');
SET meter.now = '2024-03-01 13:00';
SELECT meter.heartbeat('sources_past', 'a');
SELECT meter.heartbeat('sources_past', 'odd', '1970-01-02');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_past';
SET meter.now = '2024-03-01 13:00:00.000001';
SELECT meter.heartbeat('sources_past', 'odd', '1970-01-03');
SELECT watermark FROM meter.advance('sources_past');
-- Once it has come near, it is waited for as any other, also if it falls back then; so is one that the owner named.
SELECT meter.heartbeat('sources_past', 'odd', '2024-03-01 12:30');
SET meter.now = '2024-03-01 16:00';
SELECT meter.heartbeat('sources_past', 'odd', '2024-03-01 13:30');
SELECT meter.set_source('sources_past', 'named');
SELECT meter.heartbeat('sources_past', 'named', '2024-03-01 10:00');
SET meter.now = '2024-03-01 16:50';
SELECT meter.heartbeat('sources_past', 'named', '2024-03-01 11:00');
SET meter.now = '2024-03-01 17:00';
SELECT source, idle FROM meter.source_status WHERE stream = 'sources_past' ORDER BY 1;
SET meter.now = '2024-03-01 17:10';
SELECT source, idle FROM meter.source_status WHERE stream = 'sources_past' ORDER BY 1;
SELECT * FROM meter.verify('sources_past');

-- A stream has 10,000 sources at most.
INSERT INTO meter.source (stream, source, heard_at) SELECT 'sources_past', 's' || n, now() FROM generate_series(1, 9997) n;
SELECT meter.heartbeat('sources_past', 'one more', '2024-03-01 17:00');
SELECT meter.set_source('sources_past', 'one more');
SELECT meter.heartbeat('sources_past', 'a');
SELECT meter.drop_source('sources_past', 'odd');
SELECT meter.heartbeat('sources_past', 'one more', '2024-03-01 17:00');
SELECT count(*) FROM meter.source_status WHERE stream = 'sources_past';
SELECT meter.drop_stream('sources_past', true);

-- Resumed, say after a restore, a stream waits for all of its sources again before it takes one for idle.
SET meter.now = '2024-03-03 10:30';
DELETE FROM meter.active_stream WHERE name = 'sources_cloud';
SELECT meter.resume('sources_cloud');
SELECT meter.heartbeat('sources_cloud', 'a');
SELECT watermark FROM meter.advance('sources_cloud');
SELECT held_back_by, idle_sources FROM meter.status WHERE stream = 'sources_cloud';
SELECT meter.heartbeat('sources_cloud', 'b');
CALL meter.run('sources_cloud');
SELECT watermark FROM meter.status WHERE stream = 'sources_cloud';
SELECT * FROM meter.verify('sources_cloud');
-- A stream that is dropped takes its sources along.
SELECT meter.drop_stream('sources_cloud');
SELECT count(*) FROM meter.source WHERE stream = 'sources_cloud';
SELECT meter.create_stream('sources_cloud');
SELECT count(*) FROM meter.source_status WHERE stream = 'sources_cloud';
SELECT meter.drop_stream('sources_cloud', true);
DROP ROLE regress_sources_producer;
DROP ROLE regress_sources_stranger;
