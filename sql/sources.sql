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
-- One from the future is refused, and so is one that is no time at all.
SELECT meter.heartbeat('sources_cloud', 'b', '2024-03-01 10:30:00.000001');
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
