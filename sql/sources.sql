-- Promise: with the clock source a period is settled when all sources that are not idle say that they are past it, and no sooner.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SET meter.now = '2024-03-01 10:30';
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', clock => 'source', lateness => '10 minutes');
INSERT INTO cloud.event (source, "time", resource, account, action) VALUES ('a', '2024-03-01 06:15', 'vm1', 'x', 'start'), ('b', '2024-03-01 07:30', 'vm2', 'x', 'start');

-- No source: nothing is settled.
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
-- The least of their clocks, less lateness, cut down to a period.
SELECT meter.heartbeat('cloud', 'a', '2024-03-01 09:10');
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 08:09:59');
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SELECT meter, resource, period_start, quantity, settled FROM cloud.current_usage ORDER BY 2, 3;
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 08:10');
SELECT watermark, usage_rows FROM meter.advance('cloud');
-- An older heartbeat is no error, and changes nothing.
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 02:00');
TABLE meter.source_status ORDER BY 1, 2;
SELECT watermark, usage_rows FROM meter.advance('cloud');
-- One from the future is refused, and so is one that is no time at all.
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 10:30:00.000001');
SELECT meter.heartbeat('cloud', 'b', 'infinity');
SELECT meter.heartbeat('cloud', 'b', NULL);
SELECT meter.heartbeat('cloud', NULL);
SELECT meter.heartbeat('nonesuch', 'b');
-- Without a time it is now.
SELECT meter.heartbeat('cloud', 'a');
SELECT clock FROM meter.source_status WHERE source = 'a';

-- Silent for longer than its idle limit, a source no longer holds the others back.
SET meter.now = '2024-03-01 11:30';
SELECT meter.heartbeat('cloud', 'a');
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SET meter.now = '2024-03-01 11:30:00.000001';
SELECT held_back_by, idle_sources FROM meter.status;
SELECT watermark, usage_rows FROM meter.advance('cloud');
-- What it tells once it is back is late; the watermark does not move back.
INSERT INTO cloud.event (source, "time", resource, action) VALUES ('b', '2024-03-01 09:45', 'vm2', 'stop');
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 10:00');
SELECT watermark, usage_rows, adjustments FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SELECT resource, sum(quantity) FROM cloud.usage GROUP BY 1 ORDER BY 1;
-- If all are idle the watermark stays. What is live then goes as far as they went.
SET meter.now = '2024-03-01 18:00';
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SELECT resource, period_start, quantity FROM cloud.current_usage WHERE NOT settled ORDER BY 1, 2;
-- The limit can be another one, or none.
SELECT meter.set_source('cloud', 'b', '1 day');
SELECT meter.set_source('cloud', 'a', NULL);
TABLE meter.source_status ORDER BY 1, 2;
SELECT meter.set_source('cloud', 'a', '0');
SELECT meter.set_source('cloud', 'a', '1 month');
SELECT meter.heartbeat('cloud', 'b', '2024-03-01 17:30');
SELECT watermark, usage_rows FROM meter.advance('cloud');
-- A source that is named before it has said anything is waited for.
SELECT meter.set_source('cloud', 'c');
SELECT meter.heartbeat('cloud', 'a');
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SELECT count(*) FROM cloud.current_usage WHERE NOT settled;
-- One that is gone for good is forgotten.
SELECT meter.drop_source('cloud', 'c');
SELECT meter.drop_source('cloud', 'c');
SELECT watermark, usage_rows FROM meter.advance('cloud');
SELECT * FROM meter.verify('cloud');

-- No clock passes now, though a source may be ahead of the step that reads it.
SET meter.now = '2024-03-01 19:30';
SELECT meter.heartbeat('cloud', s) FROM unnest('{a,b}'::text[]) s;
SET meter.now = '2024-03-01 18:50';
SELECT watermark FROM meter.advance('cloud');

-- Meters of other clocks do not care.
SELECT meter.create_meter('cloud', 'wall', starts => '{start}', stops => '{stop}');
SET meter.now = '2024-03-01 23:00';
SELECT meter, watermark FROM meter.advance('cloud');
SELECT meter, held_back_by, idle_sources FROM meter.status ORDER BY 1;
SELECT meter.drop_meter('cloud', 'wall');

-- Who may log events may say how far they go; what else there is to say is the owner's.
CREATE ROLE regress_producer;
CREATE ROLE regress_stranger;
GRANT USAGE ON SCHEMA cloud TO regress_producer;
GRANT INSERT ON cloud.event TO regress_producer;
SET ROLE regress_producer;
SELECT meter.heartbeat('cloud', 'a', '2024-03-01 22:00');
SELECT meter.set_source('cloud', 'a');
SELECT meter.drop_source('cloud', 'a');
SELECT count(*) FROM meter.source_status;
SET ROLE regress_stranger;
SELECT meter.heartbeat('cloud', 'a', '2024-03-01 22:00');
TABLE meter.source;
RESET ROLE;
SELECT source, clock FROM meter.source_status ORDER BY 1;

-- Resumed, say after a restore, a stream waits for all of its sources again before it takes one for idle.
SET meter.now = '2024-03-03 10:30';
DELETE FROM meter.active_stream;
SELECT meter.resume('cloud');
SELECT meter.heartbeat('cloud', 'a');
SELECT watermark FROM meter.advance('cloud');
SELECT held_back_by, idle_sources FROM meter.status;
SELECT meter.heartbeat('cloud', 'b');
CALL meter.run('cloud');
SELECT watermark FROM meter.status;
SELECT * FROM meter.verify('cloud');
-- A stream that is dropped takes its sources along.
SELECT meter.drop_stream('cloud');
SELECT count(*) FROM meter.source;
SELECT meter.create_stream('cloud');
SELECT count(*) FROM meter.source_status;
SELECT meter.drop_stream('cloud', true);
DROP ROLE regress_producer;
DROP ROLE regress_stranger;
