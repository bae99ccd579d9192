-- Promise: meter.status has what alerts need, for the owner and for monitoring, and says in words why there is no usage.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
CREATE ROLE regress_status_monitor IN ROLE pg_monitor;
CREATE ROLE regress_status_stranger;
SELECT meter.create_stream('status_cloud');

-- Nothing has come, nothing was settled: the view says why.
SET meter.now = '2024-03-05 00:30';
SELECT meter.create_meter('status_cloud', 'vm', starts => '{start}', stops => '{stop}');
SELECT meter.create_meter('status_cloud', 'daily', starts => '{start}', stops => '{stop}', period => '1 day', since => '2024-03-05 00:00 Europe/Zurich', timezone => 'Europe/Zurich');
SELECT meter.create_meter('status_cloud', 'by_event', starts => '{start}', stops => '{stop}', clock => 'event', since => '2024-03-05');
SELECT meter.create_meter('status_cloud', 'by_source', starts => '{start}', stops => '{stop}', clock => 'source', since => '2024-03-05');
SELECT meter.create_meter('status_cloud', 'never', starts => '{begin}', stops => '{end}', since => '2024-03-05');
CALL meter.run('status_cloud');
SELECT meter, state, watermark, lag_seconds, overdue_seconds FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;
SELECT * FROM status_cloud.usage_total;
INSERT INTO status_cloud.event (source, id, "time", resource, account, action) VALUES
	('geneva', '1', '2024-03-05 00:10', 'vm-1', 'geneva-jug', 'start'), ('geneva', '2', '2024-03-05 00:20', 'vm-1', NULL, 'stop');
CALL meter.run('status_cloud');
SELECT meter, state FROM meter.status WHERE stream = 'status_cloud' AND meter = 'vm';
SET meter.now = '2024-03-05 01:05';
SELECT meter, state, overdue_seconds FROM meter.status WHERE stream = 'status_cloud' AND meter = 'vm';
CALL meter.run('status_cloud');
SELECT meter, state, watermark, lag_seconds, overdue_seconds FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;

-- How much is late, held and rejected is counted for each meter, or for the stream, and monitoring sees it without a right on the tables.
SET meter.now = '2024-03-25 00:05';
CALL meter.run('status_cloud');
SET meter.on_bad_event = 'divert';
INSERT INTO status_cloud.inbox (event) VALUES ('{"time": "yesterday", "resource": "vm-1", "action": "start"}');
RESET meter.on_bad_event;
INSERT INTO status_cloud.event ("time", resource, account, action) VALUES ('2024-03-24 10:10', 'vm-2', 'geneva-jug', 'start'), ('2024-03-24 10:20', 'vm-2', NULL, 'stop'),
	('2024-01-01 10:20', 'vm-2', NULL, 'stop'), ('2024-03-25 00:04', 'vm-3', 'geneva-jug', 'start');
CREATE TEMP VIEW counted AS SELECT meter, late_backlog, held, quarantined, rejected FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;
SET ROLE regress_status_monitor;
SELECT meter, late_backlog, held, quarantined, rejected FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;
SELECT count(*) FROM status_cloud.held;
SET ROLE regress_status_stranger;
SELECT count(*) FROM meter.status WHERE stream = 'status_cloud';
SELECT meter_internal.late_backlog('status_cloud', 'vm') AS late, meter_internal.held_rows('status_cloud', 'vm') AS held, meter_internal.rejected_rows('status_cloud') AS rejected,
	meter_internal.ledger_bytes_per_day('status_cloud', 'vm') AS bytes, meter_internal.settlement_recorded_at('status_cloud', 'vm', 1) AS at, meter_internal.why_no_usage('status_cloud', 'never') AS why;
RESET ROLE;
CALL meter.run('status_cloud');
SELECT meter, late_backlog, held FROM counted;
-- A void reaches back although its own time is not settled yet.
INSERT INTO status_cloud.event (source, id, "time", resource, action) VALUES ('geneva', '9', '2024-03-25 12:00', 'vm-1', 'void');
SELECT meter, late_backlog FROM counted WHERE meter IN ('vm', 'by_event');

-- How the ledger grows: unknown until somebody has looked at it, and then about the size of a row.
SELECT meter, ledger_bytes_per_day FROM meter.status WHERE stream = 'status_cloud' AND meter IN ('vm', 'never') ORDER BY meter;
ANALYZE status_cloud.usage;
SELECT s.meter, s.ledger_bytes_per_day > 100 * n AS of_rows FROM meter.status AS s, LATERAL (SELECT count(*) AS n FROM status_cloud.usage AS u WHERE u.meter = s.meter) AS u
WHERE stream = 'status_cloud' AND s.meter = 'vm';

-- How far behind the slowest consumer is.
SELECT meter.create_consumer('status_cloud', 'invoices', from_start => true);
SELECT meter.create_consumer('status_cloud', 'mail', meters => '{vm}');
SELECT meter, consumer_lag < '1 hour' AS behind FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;
SELECT DISTINCT batch AS batch FROM meter.next_batch('status_cloud', 'invoices') \gset
SELECT meter.finish_batch('status_cloud', 'invoices', :batch);
SELECT meter, consumer_lag FROM meter.status WHERE stream = 'status_cloud' AND meter = 'vm';

-- What was written more than a day ago counts no more for the growth.
UPDATE status_cloud.settlement SET recorded_at = recorded_at - interval '25 hours';
SELECT meter, ledger_bytes_per_day FROM meter.status WHERE stream = 'status_cloud' AND meter = 'vm';

-- Segments that wait to be sealed.
SELECT meter.roll('status_cloud');
SELECT DISTINCT unsealed_segments FROM meter.status WHERE stream = 'status_cloud';
CALL meter.run('status_cloud');
SELECT DISTINCT unsealed_segments FROM meter.status WHERE stream = 'status_cloud';

-- What stops a meter is said first.
SELECT meter.pause('status_cloud', 'vm');
SET meter.now = '2024-03-24 00:00';
SELECT meter, state, watermark_in_future, lag_seconds, overdue_seconds, problems FROM meter.status WHERE stream = 'status_cloud' AND meter IN ('vm', 'daily') ORDER BY meter;
SET meter.now = '2024-03-25 02:05';
SELECT meter.alter_meter('status_cloud', 'daily', until => '2024-03-25 00:00 Europe/Zurich');
CREATE FUNCTION status_cloud.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no usage today'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON status_cloud.usage FOR EACH ROW EXECUTE FUNCTION status_cloud.refuse();
INSERT INTO status_cloud.event ("time", resource, account, action) VALUES ('2024-03-25 02:04', 'vm-4', 'geneva-jug', 'start');
SET client_min_messages = error;
CALL meter.run('status_cloud');
SET client_min_messages = warning;
SELECT meter, state, failures, overdue_seconds, last_error FROM meter.status WHERE stream = 'status_cloud' ORDER BY meter;

-- A table that is not as it was made hides no other column, and no other stream.
ALTER TABLE status_cloud.rejected RENAME TO elsewhere;
SELECT DISTINCT rejected, settlement > 0 AS settled, problems FROM meter.status WHERE stream = 'status_cloud' AND meter = 'vm';
ALTER TABLE status_cloud.elsewhere RENAME TO rejected;

DROP VIEW counted;
SELECT meter.drop_stream('status_cloud', delete_data => true);
DROP ROLE regress_status_monitor, regress_status_stranger;
