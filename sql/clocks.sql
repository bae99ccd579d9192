-- Promise: a watermark follows its meter's clock, never passes now and never moves back; no event of the future holds it up or pushes it on.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SELECT meter.create_stream('clocks_cloud');
SELECT meter.create_meter('clocks_cloud', 'byevent', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0');

-- The event clock is the greatest time that is not in the future; an event of the future moves it once it is past, not before.
SET meter.now = '2024-03-01 10:30';
INSERT INTO clocks_cloud.event ("time", resource, account, action) VALUES
	('2024-03-01 08:10', 'vm1', 'a', 'start'), ('9999-01-01', 'vm2', 'a', 'start'), ('2024-03-01 11:20', 'vm3', 'a', 'start'), ('2024-03-01 10:05', 'vm1', NULL, 'stop');
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SELECT event_clock, clock_position FROM meter.meter JOIN meter.log_progress USING (stream) WHERE stream = 'clocks_cloud';
SET meter.now = '2024-03-01 11:19:59.999999';
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SET meter.now = '2024-03-01 11:20';
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SELECT event_clock, clock_position FROM meter.meter JOIN meter.log_progress USING (stream) WHERE stream = 'clocks_cloud';
-- What came after is read once: the one that is far away is remembered by its time alone.
INSERT INTO clocks_cloud.event ("time", resource, account, action) SELECT '2024-03-01 11:30'::timestamptz + i * interval '1 second', 'vm4', 'a', 'start' FROM generate_series(1, 1000) i;
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SELECT event_clock, clock_position, (SELECT count(*) FROM clocks_cloud._future) AS remembered FROM meter.meter JOIN meter.log_progress USING (stream) WHERE stream = 'clocks_cloud';
SET meter.now = '2024-03-01 12:30';
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SELECT event_clock, clock_position, (SELECT count(*) FROM clocks_cloud._future) AS remembered FROM meter.meter JOIN meter.log_progress USING (stream) WHERE stream = 'clocks_cloud';
-- Set back by hand, now takes nothing back, and holds the clock.
SET meter.now = '2024-03-01 11:00';
SELECT watermark, usage_rows FROM meter.advance('clocks_cloud');
SELECT * FROM meter.verify('clocks_cloud');

-- In any order of arrival, with steps in between, the clock is what a look at the whole log says.
SELECT meter.create_stream('clocks_random');
SELECT meter.create_meter('clocks_random', 'm', starts => '{start}', stops => '{stop}', clock => 'event', since => '2024-01-01');
DO $$
DECLARE
	now timestamptz;
	clock timestamptz;
	truth timestamptz;
BEGIN
	FOR seed IN 1 .. 3 LOOP
		PERFORM setseed(seed / 10.0);
		now := '2024-01-01'::timestamptz + (seed - 1) * interval '10 days';
		FOR step IN 1 .. 60 LOOP
			now := now + random() * random() * interval '10 hours';
			PERFORM set_config('meter.now', now::text, false);
			-- most are of the past, but not the latest; a few are far ahead
			INSERT INTO clocks_random.event ("time", resource, account, action)
			SELECT CASE WHEN random() < 0.8 THEN now - (0.5 + random()) * interval '10 hours' ELSE now + random() ^ 3 * interval '40 days' END,
				'r' || i, 'a', 'start' FROM generate_series(1, (random() * 4)::integer) i;
			PERFORM meter.advance('clocks_random');
			SELECT m.event_clock INTO clock FROM meter.meter m WHERE stream = 'clocks_random';
			SELECT max("time") INTO truth FROM clocks_random.event WHERE "time" <= now;
			IF clock IS DISTINCT FROM truth THEN
				RAISE WARNING 'seed %, step %, now %: the clock says %, the log %', seed, step, now, clock, truth;
			END IF;
		END LOOP;
	END LOOP;
END$$;
SELECT clock_position = (SELECT max(arrival) FROM clocks_random.event) AS read_once, (SELECT count(*) FROM clocks_random._future) = (SELECT count(DISTINCT "time") FROM clocks_random.event
	WHERE "time" > current_setting('meter.now')::timestamptz) AS rest_remembered, (SELECT count(*) > 20 FROM clocks_random._future) AS some FROM meter.log_progress WHERE stream = 'clocks_random';
SELECT * FROM meter.verify('clocks_random');
-- A meter that is made anew reads all again.
SELECT meter.drop_meter('clocks_random', 'm');
SELECT count(*) FROM clocks_random._future;
SELECT meter.create_meter('clocks_random', 'm', starts => '{start}', stops => '{stop}', clock => 'event', since => '2024-01-01');
DO 'BEGIN PERFORM meter.advance(''clocks_random''); END';
SELECT event_clock = (SELECT max("time") FROM clocks_random.event WHERE "time" <= current_setting('meter.now')::timestamptz) AS same FROM meter.meter WHERE stream = 'clocks_random';
SELECT meter.drop_stream('clocks_random', true);

-- Events of the future are logged, listed beyond five minutes, and billed when the watermark gets there: with each clock.
SELECT meter.create_stream('clocks_three');
SELECT meter.create_meter('clocks_three', clock, starts => '{start}', stops => '{stop}', clock => clock, lateness => '0') FROM unnest('{wall,event,source}'::text[]) clock;
SET meter.now = '2024-05-01 10:30';
INSERT INTO clocks_three.event ("time", resource, account, action) VALUES ('2024-05-01 09:00', 'vm1', 'a', 'start'), ('2024-05-01 10:00', 'vm1', NULL, 'stop'),
	('2024-05-01 10:34', 'vm2', 'a', 'start'), ('2024-05-01 12:15', 'vm3', 'a', 'start'), ('2024-05-01 12:45', 'vm3', NULL, 'stop');
SELECT meter.heartbeat('clocks_three', 's');
SELECT meter, watermark, usage_rows FROM meter.advance('clocks_three');
SELECT class, meter, resource, "time", detail FROM clocks_three.anomaly WHERE class = 'in the future' ORDER BY 4;
-- not in what is live either
SELECT meter, resource, period_start, quantity, settled FROM clocks_three.current_usage ORDER BY 1, 2, 3;
SET meter.now = '2024-05-01 12:30';
SELECT meter.heartbeat('clocks_three', 's');
SELECT meter, watermark, usage_rows FROM meter.advance('clocks_three');
SELECT class, meter, resource, "time" FROM clocks_three.anomaly WHERE class = 'in the future' ORDER BY 4;
SELECT meter, resource, period_start, quantity, settled FROM clocks_three.current_usage WHERE period_start >= '2024-05-01 10:00' ORDER BY 1, 2, 3;
SET meter.now = '2024-05-01 13:00';
INSERT INTO clocks_three.event ("time", resource, action) VALUES ('2024-05-01 13:00', 'clock', 'tick');
SELECT meter.heartbeat('clocks_three', 's');
CALL meter.run('clocks_three');
SELECT meter, resource, sum(quantity) FROM clocks_three.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT meter, late_backlog, held FROM meter.status WHERE stream = 'clocks_three' ORDER BY 1;
SELECT * FROM meter.verify('clocks_three');
SELECT meter.create_meter('clocks_three', 'm', starts => '{start}', stops => '{stop}', clock => 'sundial');
SELECT meter.drop_stream('clocks_three', true);
SELECT meter.drop_stream('clocks_cloud', true);
