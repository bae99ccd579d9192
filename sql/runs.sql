-- Promises: what ends a resource for good lets no start open it again; a run without a sign of life is billed no further than
-- `liveness`, and a settle does not look at it any more; each run can be rounded, and have a minimum, by itself; runs can be
-- counted. All of it is one function of the log: late rows, live usage, explain, verify and expiry agree.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;

-- What the ledger says of a meter, and of which resource it differs from the log.
CREATE FUNCTION pg_temp.billed(stream text, meter text, OUT resource text, OUT account text, OUT dimensions jsonb, OUT period text, OUT quantity numeric)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT u.resource, u.account, u.dimensions, to_char(u.period_start, ''HH24:MI''), trim_scale(sum(u.quantity)) '
        'FROM %I.usage u WHERE u.meter = %L GROUP BY 1, 2, 3, u.period_start HAVING sum(u.quantity) <> 0 ORDER BY 1, u.period_start, 2, 3', stream, meter);
END $$;

--
-- Ends: a host that comes back after its destruction starts nothing.
--
SELECT meter.create_stream('c03');
SELECT meter.create_meter('c03', 'vm', starts => '{VM.CREATE,VM.START}', stops => '{VM.STOP}', ends => '{VM.DESTROY}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO c03.event (source, id, "time", resource, account, action) VALUES
    ('cs', '1', '2024-03-05 10:00Z', 'vm-1', 'acme', 'VM.CREATE'), ('cs', '2', '2024-03-05 11:00:00Z', 'vm-1', NULL, 'VM.DESTROY'),
    ('host', '3', '2024-03-05 11:00:02Z', 'vm-1', NULL, 'VM.START'), (NULL, NULL, '2024-03-06 11:00Z', 'clock', NULL, 'tick');
CALL meter.run('c03');
SELECT sum(quantity) FROM c03.usage;
SELECT class, resource, "time", arrival, detail FROM c03.anomaly WHERE class <> 'not counted';
SELECT count(*) AS differ FROM meter.verify('c03');

-- A resume must only resume.
SELECT meter.create_stream('s03');
SELECT meter.create_meter('s03', 'cpu', starts => '{start,resume}', stops => '{suspend}', ends => '{end}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO s03.event (source, id, "time", resource, account, action) VALUES
    ('ctl', '1', '2024-03-05 10:00Z', '7', 'phys', 'start'), ('ctl', '2', '2024-03-05 10:20Z', '7', NULL, 'suspend'),
    ('ctl', '3', '2024-03-05 10:30Z', '7', NULL, 'end'), ('ctl', '4', '2024-03-05 10:40Z', '7', NULL, 'resume'),
    (NULL, NULL, '2024-03-06 10:00Z', 'clock', NULL, 'tick');
CALL meter.run('s03');
SELECT sum(quantity) FROM s03.usage;
-- the end comes late, by 50 minutes: until then the resume counted
SELECT meter.create_stream('runs_ends');
SELECT meter.create_meter('runs_ends', 'cpu', starts => '{start,resume}', stops => '{suspend}', changes => '{resize}', ends => '{end}', clock => 'event', lateness => '0');
SELECT meter.create_meter('runs_ends', 'began', aggregate => 'runs', starts => '{start,resume}', stops => '{suspend}', changes => '{resize}', ends => '{end}', clock => 'event', lateness => '0');
INSERT INTO runs_ends.event (id, "time", resource, account, action, offering) VALUES
    ('1', '2024-03-05 10:00Z', 'late', 'acme', 'start', 'small'), ('2', '2024-03-05 10:20Z', 'late', NULL, 'suspend', NULL),
    ('3', '2024-03-05 10:40Z', 'late', NULL, 'resume', 'large'), (NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick', NULL);
CALL meter.run('runs_ends');
SELECT * FROM pg_temp.billed('runs_ends', 'cpu');
SELECT * FROM pg_temp.billed('runs_ends', 'began');
INSERT INTO runs_ends.event (id, "time", resource, action) VALUES ('4', '2024-03-05 10:30Z', 'late', 'end');
-- in a tie the end is the last: a run of no length, which is counted; with a sequence, what follows is ignored, but its account
-- is a name; changes still set attributes
INSERT INTO runs_ends.event (id, "time", sequence, resource, account, action, offering) VALUES
    ('5', '2024-03-05 12:10Z', NULL, 'tie', 'acme', 'start', 'small'), ('6', '2024-03-05 12:10Z', NULL, 'tie', NULL, 'end', NULL),
    ('7', '2024-03-05 12:10Z', 1, 'seq', 'acme', 'start', 'small'), ('8', '2024-03-05 12:30Z', 1, 'seq', NULL, 'end', NULL),
    ('9', '2024-03-05 12:30Z', 2, 'seq', 'bmce', 'resume', 'large'), ('10', '2024-03-05 12:40Z', NULL, 'seq', NULL, 'resize', 'medium'),
    (NULL, '2024-03-05 13:00Z', NULL, 'clock', NULL, 'tick', NULL);
CALL meter.run('runs_ends');
SELECT * FROM pg_temp.billed('runs_ends', 'cpu');
SELECT * FROM pg_temp.billed('runs_ends', 'began');
SELECT resource, active, ended, account, dimensions FROM runs_ends._resource_state WHERE meter = 'cpu' ORDER BY 1;
SELECT meter, resource, "time", arrival, detail FROM meter.anomalies('runs_ends', 'after its end') ORDER BY 1, 3;
SELECT meter, resource, "time", arrival FROM meter.anomalies('runs_ends', 'after its end', 'cpu', 'seq');
-- only a snapshot that holds it opens it again, and lifts the end: with the attributes that it has
INSERT INTO runs_ends.inventory (source, at, resource) VALUES ('scan', '2024-03-05 13:30Z', 'seq');
SELECT resource, correction FROM meter.reconcile('runs_ends', 'scan', '2024-03-05 13:30Z') ORDER BY 1, 2;
INSERT INTO runs_ends.event (id, "time", resource, action) VALUES
    ('11', '2024-03-05 13:40Z', 'seq', 'suspend'), ('12', '2024-03-05 13:50Z', 'seq', 'resume'), (NULL, '2024-03-05 14:00Z', 'clock', 'tick');
CALL meter.run('runs_ends');
SELECT * FROM pg_temp.billed('runs_ends', 'cpu') WHERE resource = 'seq';
SELECT * FROM pg_temp.billed('runs_ends', 'began') WHERE resource = 'seq';
SELECT count(*) AS differ FROM meter.verify('runs_ends');

-- The order within a second is the source's own: it starts again, then stops.
SELECT meter.create_stream('f01');
SELECT meter.create_meter('f01', 'app', starts => '{STARTED}', stops => '{STOPPED}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO f01.event (source, sequence, id, "time", resource, account, action, value) VALUES
    ('cc', 1, '1', '2024-03-05 10:00:00Z', 'app-1', 'org-1', 'STARTED', 1), ('cc', 2, '2', '2024-03-05 11:00:05Z', 'app-1', 'org-1', 'STARTED', 4),
    ('cc', 3, '3', '2024-03-05 11:00:05Z', 'app-1', 'org-1', 'STOPPED', NULL), (NULL, NULL, NULL, '2024-03-06 11:00Z', 'clock', NULL, 'tick', NULL);
CALL meter.run('f01');
SELECT sum(quantity) FROM f01.usage;

--
-- Liveness: staging that nobody stopped, and a session whose updates ceased.
--
SELECT meter.create_stream('f05');
SELECT meter.create_meter('f05', 'staging', starts => '{STAGING_START}', stops => '{STAGING_STOP}', dimensions => '{}', liveness => '1 hour', clock => 'event', lateness => '0');
INSERT INTO f05.event (source, id, "time", resource, account, action) VALUES ('cc', '1', '2024-03-05 10:00Z', 'app-1', 'org-1', 'STAGING_START'), (NULL, NULL, '2024-03-06 10:00Z', 'clock', NULL, 'tick');
CALL meter.run('f05');
SELECT sum(quantity) FROM f05.usage;

SELECT meter.create_stream('r05');
SELECT meter.create_meter('r05', 'online', starts => '{start}', stops => '{stop}', changes => '{interim}', dimensions => '{}', liveness => '10 minutes', clock => 'event', lateness => '0');
INSERT INTO r05.event (source, id, "time", resource, account, action) VALUES ('nas1', 's', '2024-03-05 10:00Z', 'sess-1', 'alice', 'start');
INSERT INTO r05.event (source, id, "time", resource, account, action)
    SELECT 'nas1', 'i' || g, '2024-03-05 10:00Z'::timestamptz + g * interval '10 min', 'sess-1', 'alice', 'interim' FROM generate_series(1, 5) g;
INSERT INTO r05.event ("time", resource, action) VALUES ('2024-03-06 10:00Z', 'clock', 'tick');
CALL meter.run('r05');
SELECT sum(quantity) FROM r05.usage WHERE resource = 'sess-1';
SELECT resource, "time", detail FROM meter.anomalies('r05', 'silent');

-- Settled hour by hour, with nothing but the clock: a gap begins between two watermarks, is billed to the minute, and the run
-- is none of those that settles look at, until its next sign of life. A stop in a gap ends the run, and bills nothing of it.
SELECT meter.create_stream('runs_alive');
SELECT meter.create_meter('runs_alive', 'vm', starts => '{start}', stops => '{stop}', changes => '{ping}', dimensions => '{}', liveness => '90 minutes', clock => 'event', lateness => '0');
INSERT INTO runs_alive.event (id, "time", resource, account, action) VALUES
    ('1', '2024-03-05 10:10Z', 'a', 'acme', 'start'), ('2', '2024-03-05 10:20Z', 'b', 'acme', 'start'), ('3', '2024-03-05 10:50Z', 'c', 'acme', 'start'),
    (NULL, '2024-03-05 11:00Z', 'clock', NULL, 'tick');
CALL meter.run('runs_alive');
SELECT resource, active, since, sign FROM runs_alive._resource_state ORDER BY 1;
INSERT INTO runs_alive.event (id, "time", resource, action) VALUES ('4', '2024-03-05 11:15Z', 'b', 'ping'), (NULL, '2024-03-05 12:00Z', 'clock', 'tick');
CALL meter.run('runs_alive');
SELECT resource, active, since, sign FROM runs_alive._resource_state ORDER BY 1;
SELECT * FROM pg_temp.billed('runs_alive', 'vm');
INSERT INTO runs_alive.event (id, "time", resource, action) VALUES (NULL, '2024-03-05 13:00Z', 'clock', 'tick');
CALL meter.run('runs_alive');
INSERT INTO runs_alive.event (id, "time", resource, action) VALUES ('5', '2024-03-05 13:30Z', 'a', 'ping'), ('6', '2024-03-05 13:40Z', 'c', 'stop'), (NULL, '2024-03-05 14:00Z', 'clock', 'tick');
CALL meter.run('runs_alive');
SELECT resource, active, since, sign, gaps FROM runs_alive._resource_state ORDER BY 1;
SELECT * FROM pg_temp.billed('runs_alive', 'vm');
SELECT resource, "time", detail FROM meter.anomalies('runs_alive', 'silent') ORDER BY 1, 2;
SELECT resource, period_start, quantity FROM runs_alive.current_usage WHERE period_start >= '2024-03-05 13:00Z' ORDER BY 1;
-- a late sign of life looks forward only
INSERT INTO runs_alive.event (id, "time", resource, action) VALUES ('7', '2024-03-05 12:05Z', 'a', 'ping');
CALL meter.run('runs_alive');
SELECT * FROM pg_temp.billed('runs_alive', 'vm') WHERE resource = 'a';
SELECT count(*) AS differ FROM meter.verify('runs_alive');
-- explained: the stretch without a sign of life is a line
SELECT e.part, e."time", e.until, e.quantity, e.explanation FROM runs_alive.usage u, meter.explain('runs_alive', u.transaction_id) e
WHERE u.resource = 'c' AND u.period_start = '2024-03-05 12:00Z' AND e.part <> 'ledger';

--
-- Each run rounded by itself: calls of 10 s and 2:35 are 1 and 3 minutes.
--
SELECT meter.create_stream('t01');
SELECT meter.create_meter('t01', 'call', starts => '{answer}', stops => '{hangup}', dimensions => '{}', rounding_of => 'run', clock => 'event', lateness => '0');
INSERT INTO t01.event (source, id, "time", resource, account, action) VALUES
    ('sw', '1', '2024-03-05 10:00:55Z', 'call-1', 'alice', 'answer'), ('sw', '2', '2024-03-05 10:01:05Z', 'call-1', NULL, 'hangup'),
    ('sw', '3', '2024-03-05 10:10:50Z', 'call-2', 'alice', 'answer'), ('sw', '4', '2024-03-05 10:13:25Z', 'call-2', NULL, 'hangup'), (NULL, NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('t01');
SELECT resource, trim_scale(sum(quantity)) FROM t01.usage GROUP BY 1 ORDER BY 1;

-- With a minimum of 30 s, then in steps of 6 s: 36 + 30 + 78 s.
SELECT meter.create_stream('t02');
SELECT meter.create_meter('t02', 'call', starts => '{answer}', stops => '{hangup}', dimensions => '{}', increment => '6 seconds', rounding_of => 'run', minimum => '30 seconds', unit => '1 second', clock => 'event', lateness => '0');
INSERT INTO t02.event (source, id, "time", resource, account, action) VALUES
    ('sw', '1', '2024-03-05 10:00:05Z', 'call-1', 'alice', 'answer'), ('sw', '2', '2024-03-05 10:00:37Z', 'call-1', NULL, 'hangup'),
    ('sw', '3', '2024-03-05 10:10:00Z', 'call-2', 'alice', 'answer'), ('sw', '4', '2024-03-05 10:10:10Z', 'call-2', NULL, 'hangup'),
    ('sw', '5', '2024-03-05 10:20:00Z', 'call-3', 'alice', 'answer'), ('sw', '6', '2024-03-05 10:21:15Z', 'call-3', NULL, 'hangup'), (NULL, NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('t02');
SELECT resource, trim_scale(sum(quantity)) FROM t02.usage GROUP BY ROLLUP (1) ORDER BY 1;
SELECT e.part, e."time", e.until, e.quantity, e.explanation FROM t02.usage u, meter.explain('t02', u.transaction_id) e
WHERE u.resource = 'call-3' AND e.part IN ('billed', 'surplus', 'rounding', 'total');

-- The surplus lies where the run ends; what lasts over an hour is exact until then, and an hour that is settled does not change
-- because a run ended on its boundary. A run that is open has none, a restart makes two.
SELECT meter.create_stream('runs_calls');
SELECT meter.create_meter('runs_calls', 'call', starts => '{start}', stops => '{stop}', changes => '{move}', increment => '1 hour', rounding_of => 'run', clock => 'event', lateness => '0');
SELECT meter.create_meter('runs_calls', 'cpu', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{move}', minimum => '20 minutes', clock => 'event', lateness => '0');
SELECT meter.create_meter('runs_calls', 'fee', aggregate => 'runs', starts => '{start}', stops => '{stop}', changes => '{move}', clock => 'event', lateness => '0');
INSERT INTO runs_calls.event (source, id, "time", resource, account, action, offering, value) VALUES
    ('api', '1', '2024-03-05 10:30Z', 'ends on the hour', 'acme', 'start', 's', 2), ('api', '2', '2024-03-05 11:00Z', 'ends on the hour', NULL, 'stop', NULL, NULL),
    ('api', '3', '2024-03-05 10:50Z', 'moves', 'acme', 'start', 's', 2), ('api', '4', '2024-03-05 11:05Z', 'moves', 'bmce', 'move', 'l', 3), ('api', '5', '2024-03-05 11:09Z', 'moves', 'cmce', 'stop', 'x', 9),
    ('api', '6', '2024-03-05 10:00Z', 'restarts', 'acme', 'start', 's', 1), ('api', '7', '2024-03-05 10:10Z', 'restarts', NULL, 'start', NULL, NULL), ('api', '8', '2024-03-05 10:10Z', 'restarts', NULL, 'stop', NULL, NULL),
    ('api', '9', '2024-03-05 10:55Z', 'open', 'acme', 'start', 's', 1),
    ('api', '10', '2024-03-05 10:15Z', 'no length', 'acme', 'start', 's', 1), ('api', '11', '2024-03-05 10:15Z', 'no length', NULL, 'stop', NULL, NULL),
    ('api', '12', '2024-03-05 10:40Z', 'changed at its end', 'acme', 'start', 's', 1), ('api', '13', '2024-03-05 10:45Z', 'changed at its end', NULL, 'move', 'l', 5), ('api', '14', '2024-03-05 10:45Z', 'changed at its end', NULL, 'stop', NULL, NULL),
    (NULL, NULL, '2024-03-05 11:00Z', 'clock', NULL, 'tick', NULL, NULL);
CALL meter.run('runs_calls');
SELECT * FROM pg_temp.billed('runs_calls', 'call');
INSERT INTO runs_calls.event ("time", resource, action) VALUES ('2024-03-05 12:00Z', 'clock', 'tick');
CALL meter.run('runs_calls');
SELECT * FROM pg_temp.billed('runs_calls', 'call');
SELECT * FROM pg_temp.billed('runs_calls', 'cpu');
SELECT * FROM pg_temp.billed('runs_calls', 'fee');
SELECT e.part, e."time", e.account, e.dimensions, e.quantity, e.explanation FROM runs_calls.usage u, meter.explain('runs_calls', u.transaction_id) e
WHERE u.meter = 'cpu' AND u.resource = 'moves' AND u.account = 'bmce' AND e.part IN ('billed', 'surplus', 'rounding', 'total');
SELECT e.part, e."time", e.account, e.quantity, e.explanation FROM runs_calls.usage u, meter.explain('runs_calls', u.transaction_id) e
WHERE u.meter = 'fee' AND u.resource = 'restarts' AND e.part IN ('billed', 'run', 'rounding', 'total');

-- What a snapshot ends or cuts has its surplus at the last moment it is known alive; a cut makes a second run; what a snapshot
-- opens counts where it opens.
INSERT INTO runs_calls.event (source, id, "time", resource, account, action, offering, value) VALUES
    ('api', '20', '2024-03-05 12:00Z', 'lost stop', 'acme', 'start', 's', 1), ('api', '21', '2024-03-05 12:10Z', 'lost stop', NULL, 'move', 's', 2),
    ('api', '22', '2024-03-05 12:00Z', 'lost stop and start', 'acme', 'start', 's', 1), ('api', '23', '2024-03-05 12:06Z', 'lost stop and start', NULL, 'move', 'm', 2),
    (NULL, NULL, '2024-03-05 14:00Z', 'clock', NULL, 'tick', NULL, NULL);
CALL meter.run('runs_calls');
INSERT INTO runs_calls.inventory (source, at, resource, account, offering, value, since) VALUES
    ('api', '2024-03-05 14:10Z', 'lost stop and start', 'acme', 'm', 2, '2024-03-05 13:30Z'),
    ('api', '2024-03-05 14:10Z', 'lost start', 'acme', 's', 1, '2024-03-05 13:50Z'), ('api', '2024-03-05 14:10Z', 'open', 'acme', 's', 1, NULL);
SELECT DISTINCT resource, correction FROM meter.reconcile('runs_calls', 'api', '2024-03-05 14:10Z') ORDER BY 1, 2;
INSERT INTO runs_calls.event (source, id, "time", resource, action) VALUES ('api', '24', '2024-03-05 14:20Z', 'lost start', 'stop'), (NULL, NULL, '2024-03-05 15:00Z', 'clock', 'tick');
CALL meter.run('runs_calls');
SELECT * FROM pg_temp.billed('runs_calls', 'call') WHERE resource LIKE 'lost%';
SELECT * FROM pg_temp.billed('runs_calls', 'cpu') WHERE resource LIKE 'lost%';
SELECT * FROM pg_temp.billed('runs_calls', 'fee') WHERE resource LIKE 'lost%';
-- the lost stop comes: it wins, and the surplus moves to it
INSERT INTO runs_calls.event (source, id, "time", resource, action) VALUES ('api', '25', '2024-03-05 13:20Z', 'lost stop', 'stop');
CALL meter.run('runs_calls');
SELECT * FROM pg_temp.billed('runs_calls', 'call') WHERE resource = 'lost stop';
SELECT * FROM pg_temp.billed('runs_calls', 'cpu') WHERE resource = 'lost stop';
SELECT count(*) AS differ FROM meter.verify('runs_calls');

-- Where snapshots find that a run began long before the watermark, what its state carries is not enough to tell how much of it
-- was billed: live usage and the settle look at all of it. The run from 10:50 was billed until 11:30 and ends at 12:20: it lacks
-- 20 minutes.
SELECT meter.create_stream('runs_behind');
SELECT meter.create_meter('runs_behind', 'call', starts => '{start}', stops => '{stop}', changes => '{ping}', dimensions => '{}', increment => '1 hour', rounding_of => 'run', liveness => '30 minutes', clock => 'event', lateness => '0');
INSERT INTO runs_behind.event (source, id, "time", resource, account, action) VALUES
    ('api', '1', '2024-03-05 10:00Z', 'a', 'acme', 'start'), ('api', '2', '2024-03-05 11:00Z', 'a', NULL, 'ping'), (NULL, NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('runs_behind');
INSERT INTO runs_behind.inventory (source, at, resource, since) VALUES ('api', '2024-03-05 12:10Z', 'a', '2024-03-05 10:50Z');
SELECT correction FROM meter.reconcile('runs_behind', 'api', '2024-03-05 12:10Z');
CALL meter.run('runs_behind');
INSERT INTO runs_behind.event (source, id, "time", resource, action) VALUES ('api', '3', '2024-03-05 12:20Z', 'a', 'stop'), (NULL, NULL, '2024-03-05 12:30Z', 'clock', 'tick');
CALL meter.run('runs_behind');
SELECT resource, period_start, quantity, settled FROM runs_behind.current_usage ORDER BY 2, 1;
INSERT INTO runs_behind.event ("time", resource, action) VALUES ('2024-03-05 13:00Z', 'clock', 'tick');
CALL meter.run('runs_behind');
SELECT * FROM pg_temp.billed('runs_behind', 'call');
SELECT count(*) AS differ FROM meter.verify('runs_behind');

-- What is known at a retention boundary is enough: what had ended stays ended, what was silent is billed from its next sign of
-- life on, and the length of a run counts from its start.
SELECT meter.create_stream('runs_kept');
SELECT meter.create_meter('runs_kept', 'call', starts => '{start}', stops => '{stop}', changes => '{ping}', ends => '{end}', increment => '1 hour', rounding_of => 'run', liveness => '6 hours', max_lateness => '1 day', clock => 'event', lateness => '0');
SELECT meter.create_meter('runs_kept', 'fee', aggregate => 'runs', starts => '{start}', stops => '{stop}', changes => '{ping}', ends => '{end}', max_lateness => '1 day', clock => 'event', lateness => '0');
INSERT INTO runs_kept.event (source, id, "time", resource, account, action, offering) VALUES
    ('api', '1', '2024-03-05 10:00Z', 'ended', 'acme', 'start', 's'), ('api', '2', '2024-03-05 10:10Z', 'ended', NULL, 'end', NULL),
    ('api', '3', '2024-03-05 10:00Z', 'silent', 'acme', 'start', 's'), ('api', '4', '2024-03-05 20:00Z', 'silent', NULL, 'ping', NULL),
    (NULL, NULL, '2024-03-06 00:00Z', 'clock', NULL, 'tick', NULL);
CALL meter.run('runs_kept');
SET meter.segment_rows = 0;
SELECT meter.roll('runs_kept');
INSERT INTO runs_kept.event (source, id, "time", resource, account, action) VALUES (NULL, NULL, '2024-03-12 00:00Z', 'clock', NULL, 'tick');
CALL meter.run('runs_kept');
SELECT meter.expire('runs_kept', '2024-03-10');
SELECT meter, resource, active, ended, since, sign, gaps, billed FROM runs_kept._retention_state ORDER BY 1, 2;
SELECT count(*) AS differ FROM meter.verify('runs_kept');
INSERT INTO runs_kept.event (source, id, "time", resource, account, action, offering) VALUES
    ('api', '5', '2024-03-12 00:10Z', 'ended', 'acme', 'start', 's'), ('api', '6', '2024-03-12 00:10Z', 'silent', 'bmce', 'ping', 'l'),
    ('api', '7', '2024-03-12 00:40Z', 'silent', NULL, 'stop', NULL), (NULL, NULL, '2024-03-12 02:00Z', 'clock', NULL, 'tick', NULL);
CALL meter.run('runs_kept');
SELECT u.resource, u.account, u.dimensions, sum(u.quantity) FROM runs_kept.usage u WHERE meter = 'call' GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT resource, sum(quantity) FROM runs_kept.usage WHERE meter = 'fee' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differ FROM meter.verify('runs_kept');
SELECT class, meter, resource, "time" FROM runs_kept.anomaly WHERE class IN ('after its end', 'silent', 'duplicate start', 'orphan stop') ORDER BY 1, 2, 3, 4;
-- a meter of that name that pairs events alike goes on from there
SELECT meter.drop_meter('runs_kept', 'call');
SELECT meter.create_meter('runs_kept', 'call', starts => '{start}', stops => '{stop}', changes => '{ping}', ends => '{end}', increment => '1 hour', rounding_of => 'run', liveness => '6 hours', max_lateness => '1 day', clock => 'event', lateness => '0');
CALL meter.run('runs_kept');
SELECT count(*) AS differ FROM meter.verify('runs_kept');

-- A fee for each call.
SELECT meter.create_stream('t09');
SELECT meter.create_meter('t09', 'calls', aggregate => 'runs', starts => '{answer}', stops => '{hangup}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO t09.event (source, id, "time", resource, account, action) VALUES ('sw', '1', '2024-03-05 10:00Z', 'call-1', 'alice', 'answer'), ('sw', '2', '2024-03-05 10:05Z', 'call-1', NULL, 'hangup'), ('sw', '3', '2024-03-05 10:10Z', 'call-2', 'alice', 'answer'), ('sw', '4', '2024-03-05 10:12Z', 'call-2', NULL, 'hangup'), (NULL, NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('t09');
SELECT sum(quantity) FROM t09.usage;
-- Sent again, resettled, rewound: the same.
INSERT INTO t09.event (source, id, "time", resource, account, action) VALUES ('sw', '1', '2024-03-05 10:00Z', 'call-1', 'alice', 'answer'), ('sw', '3', '2024-03-05 10:10Z', 'call-2', 'alice', 'answer');
CALL meter.run('t09');
SELECT meter.resettle('t09', 'calls', NULL), meter.resettle('t02', 'call', NULL), meter.resettle('runs_alive', 'vm', NULL);
SELECT meter.rewind('runs_calls', 'call', '2024-03-05 12:00Z') > 0 AS taken_back;
CALL meter.run('runs_calls');
SELECT s.stream, count(v.*) AS differ FROM unnest('{c03,s03,f01,f05,r05,runs_alive,t01,t02,runs_calls,t09}'::text[]) s (stream) LEFT JOIN LATERAL meter.verify(s.stream) v ON true GROUP BY 1 ORDER BY 1;

-- Events of one instant go by their sequence: those without one come first, before 0, too; those of one sequence are a tie, so a
-- start and a stop of it restart what runs. Of duplicates that differ in nothing else, the least sequence counts, none before all.
SELECT meter.create_stream('runs_ties');
SELECT meter.create_meter('runs_ties', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO runs_ties.event (source, id, "time", sequence, resource, account, action) VALUES
    ('s', '1', '2024-03-05 10:00Z', NULL, 'tie', 'acme', 'start'), ('s', '2', '2024-03-05 11:00Z', 5, 'tie', NULL, 'start'), ('s', '3', '2024-03-05 11:00Z', 5, 'tie', NULL, 'stop'), ('s', '4', '2024-03-05 12:00Z', NULL, 'tie', NULL, 'stop'),
    ('s', '5', '2024-03-05 10:00Z', 0, 'zero', 'acme', 'start'), ('s', '6', '2024-03-05 10:00Z', NULL, 'zero', NULL, 'stop'), ('s', '7', '2024-03-05 11:00Z', NULL, 'zero', NULL, 'stop'),
    ('s', '8', '2024-03-05 10:00Z', NULL, 'duplicate', 'acme', 'start'), ('s', '9', '2024-03-05 11:00Z', 9, 'duplicate', NULL, 'start'), ('s', '9', '2024-03-05 11:00Z', NULL, 'duplicate', NULL, 'start'),
    ('s', '10', '2024-03-05 11:00Z', 5, 'duplicate', NULL, 'stop'), ('s', '11', '2024-03-05 12:00Z', NULL, 'duplicate', NULL, 'stop'), (NULL, NULL, '2024-03-05 13:00Z', NULL, 'clock', NULL, 'tick');
CALL meter.run('runs_ties');
SELECT * FROM pg_temp.billed('runs_ties', 'vm');
SELECT count(*) AS differ FROM meter.verify('runs_ties');

-- A start that is ignored after an end does not make the resource its source's: what that source's snapshot opens is another's.
SELECT meter.create_stream('runs_whose');
SET meter.now = '2024-03-05 11:00Z';
SELECT meter.create_meter('runs_whose', 'vm', starts => '{start}', stops => '{stop}', ends => '{end}', dimensions => '{}', lateness => '0');
INSERT INTO runs_whose.event (source, "time", resource, account, action) VALUES ('a', '2024-03-05 10:00Z', 'vm-1', 'acme', 'end'), ('b', '2024-03-05 10:30Z', 'vm-1', NULL, 'start');
INSERT INTO runs_whose.inventory (source, at, resource) VALUES ('b', '2024-03-05 11:00Z', 'vm-1');
SELECT resource, correction FROM meter.reconcile('runs_whose', 'b', '2024-03-05 11:00Z');
SET meter.now = '2024-03-05 12:00Z';
CALL meter.run('runs_whose');
SELECT class, resource, "time", detail FROM meter.anomalies('runs_whose') WHERE class IN ('opened by another source', 'after its end') ORDER BY 1;
SELECT * FROM pg_temp.billed('runs_whose', 'vm');
RESET meter.now;

-- A start while it runs is a sign of life; a snapshot that holds it is none, though it says who owns it from then on.
SELECT meter.create_stream('runs_signs');
SET meter.now = '2024-03-05 10:00Z';
SELECT meter.create_meter('runs_signs', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', liveness => '30 minutes', lateness => '0');
INSERT INTO runs_signs.event (source, "time", resource, account, action) VALUES ('a', '2024-03-05 10:00Z', 'vm-1', 'acme', 'start'), ('a', '2024-03-05 10:20Z', 'vm-1', NULL, 'start'), ('a', '2024-03-05 12:00Z', 'vm-1', NULL, 'start');
INSERT INTO runs_signs.inventory (source, at, resource, account) VALUES ('a', '2024-03-05 11:00Z', 'vm-1', 'globex');
SET meter.now = '2024-03-05 13:00Z';
SELECT resource, correction FROM meter.reconcile('runs_signs', 'a', '2024-03-05 11:00Z');
CALL meter.run('runs_signs');
SELECT * FROM pg_temp.billed('runs_signs', 'vm');
RESET meter.now;

-- A run of a whole number of increments lacks nothing, one that begins and ends at one instant is billed nothing.
SELECT meter.create_stream('runs_whole');
SELECT meter.create_meter('runs_whole', 'call', starts => '{start}', stops => '{stop}', dimensions => '{}', increment => '1 hour', rounding_of => 'run', minimum => '30 minutes', clock => 'event', lateness => '0');
INSERT INTO runs_whole.event ("time", sequence, resource, account, action) VALUES ('2024-03-05 10:00Z', NULL, 'whole', 'acme', 'start'), ('2024-03-05 12:00Z', NULL, 'whole', NULL, 'stop'),
    ('2024-03-05 10:15Z', 1, 'nothing', 'acme', 'start'), ('2024-03-05 10:15Z', 2, 'nothing', NULL, 'stop'), ('2024-03-05 13:00Z', NULL, 'clock', NULL, 'tick');
CALL meter.run('runs_whole');
SELECT * FROM pg_temp.billed('runs_whole', 'call');
SELECT count(*) AS differ FROM meter.verify('runs_whole');

-- What is missing to the increment at the end of a run with gaps: who owned it when it was billed last owes it; the gaps before a
-- watermark are no part of its length, nor are those before the watermark of a run that a snapshot finds to have begun there. A start
-- while it runs begins none.
SELECT meter.create_stream('runs_gaps');
SELECT meter.create_meter('runs_gaps', 'call', starts => '{start}', stops => '{stop}', changes => '{ping}', dimensions => '{}', increment => '1 hour', rounding_of => 'run', liveness => '30 minutes', clock => 'event', lateness => '0');
SELECT meter.create_meter('runs_gaps', 'fee', aggregate => 'runs', starts => '{start}', stops => '{stop}', changes => '{ping}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO runs_gaps.event (source, "time", resource, account, action) VALUES
    ('sw', '2024-03-05 10:00Z', 'owed', 'acme', 'start'), ('crm', '2024-03-05 10:45Z', 'owed', 'globex', 'transfer'), ('sw', '2024-03-05 11:00Z', 'owed', NULL, 'stop'),
    ('sw', '2024-03-05 10:00Z', 'again', 'acme', 'start'), ('sw', '2024-03-05 10:20Z', 'again', NULL, 'start'), ('sw', '2024-03-05 10:30Z', 'again', NULL, 'stop'),
    ('sw', '2024-03-05 10:00Z', 'length', 'acme', 'start'), ('sw', '2024-03-05 11:00Z', 'length', NULL, 'ping'),
    ('api', '2024-03-05 10:00Z', 'behind', 'acme', 'start'), ('api', '2024-03-05 11:40Z', 'behind', NULL, 'ping'), (NULL, '2024-03-05 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('runs_gaps');
INSERT INTO runs_gaps.inventory (source, at, resource, since) VALUES ('api', '2024-03-05 12:10Z', 'behind', '2024-03-05 10:20Z');
SELECT DISTINCT correction FROM meter.reconcile('runs_gaps', 'api', '2024-03-05 12:10Z');
INSERT INTO runs_gaps.event (source, "time", resource, action) VALUES
    ('sw', '2024-03-05 12:00Z', 'length', 'ping'), ('sw', '2024-03-05 12:10Z', 'length', 'stop'), ('api', '2024-03-05 12:20Z', 'behind', 'stop'), (NULL, '2024-03-05 13:00Z', 'clock', 'tick');
CALL meter.run('runs_gaps');
SELECT * FROM pg_temp.billed('runs_gaps', 'call');
SELECT * FROM pg_temp.billed('runs_gaps', 'fee');
SELECT count(*) AS differ FROM meter.verify('runs_gaps');

-- A run counts with what its instant comes to, whatever is said after its start.
SELECT meter.create_stream('runs_last');
SELECT meter.create_meter('runs_last', 'fee', aggregate => 'runs', starts => '{start}', stops => '{stop}', changes => '{move}', clock => 'event', lateness => '0');
INSERT INTO runs_last.event ("time", sequence, resource, account, action, offering) VALUES ('2024-03-05 10:00Z', 1, 'vm-1', 'acme', 'start', 's'), ('2024-03-05 10:00Z', 2, 'vm-1', 'globex', 'move', 'l'),
    ('2024-03-05 11:00Z', NULL, 'clock', NULL, 'tick', NULL);
CALL meter.run('runs_last');
SELECT * FROM pg_temp.billed('runs_last', 'fee');

-- Of more events than are walked at once: 19990 seconds with 199 gaps of 6 are 6 hours, and who owned it when it was billed last,
-- 20000 names ago, owes what is missing.
SELECT meter.create_stream('runs_long');
SELECT meter.create_meter('runs_long', 'call', starts => '{start}', stops => '{stop}', changes => '{ping}', dimensions => '{}', increment => '1 hour', rounding_of => 'run', liveness => '5 seconds', unit => '1 second', clock => 'event', lateness => '0');
INSERT INTO runs_long.event ("time", resource, account, action) SELECT '2024-03-05 10:00Z'::timestamptz + i * interval '1 s', 'pings', 'acme', CASE i WHEN 0 THEN 'start' WHEN 19990 THEN 'stop' ELSE 'ping' END
    FROM generate_series(0, 19990) i WHERE i % 100 <= 89 OR i = 19990;
INSERT INTO runs_long.event ("time", resource, account, action) SELECT '2024-03-05 10:01Z'::timestamptz + i * interval '1 s', 'names', 'n' || i % 3, 'tag' FROM generate_series(0, 19999) i;
INSERT INTO runs_long.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'names', 'acme', 'start'), ('2024-03-05 16:00Z', 'names', NULL, 'stop'), ('2024-03-05 17:00Z', 'clock', NULL, 'tick');
CALL meter.run('runs_long');
SELECT resource, account, max(period_start) AS last, sum(quantity) FROM runs_long.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS differ FROM meter.verify('runs_long');
-- a snapshot finds that it began again after 2 hours: 7189 seconds with 71 gaps and 12790 with 127, each to the full hour
INSERT INTO runs_long.inventory (source, at, resource, since) VALUES ('api', '2024-03-05 15:30Z', 'pings', '2024-03-05 12:00Z');
SELECT correction FROM meter.reconcile('runs_long', 'api', '2024-03-05 15:30Z');
CALL meter.run('runs_long');
SELECT period_start, sum(quantity) FROM runs_long.usage WHERE resource = 'pings' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differ FROM meter.verify('runs_long');

-- Of the starts of one instant those are listed that come after its end.
SELECT meter.create_stream('runs_listed');
SELECT meter.create_meter('runs_listed', 'vm', starts => '{start}', stops => '{stop}', ends => '{end}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO runs_listed.event ("time", sequence, resource, account, action) VALUES ('2024-03-05 10:00Z', 1, 'vm-1', 'acme', 'start'), ('2024-03-05 10:00Z', 2, 'vm-1', NULL, 'end'), ('2024-03-05 10:00Z', 3, 'vm-1', NULL, 'start');
SELECT e.sequence FROM meter.anomalies('runs_listed', 'after its end') a JOIN runs_listed.event e USING (arrival);
-- A stretch without a sign of life is listed once, whatever is named in it.
SELECT "time", detail FROM meter.anomalies('runs_gaps', 'silent') WHERE resource = 'owed';
