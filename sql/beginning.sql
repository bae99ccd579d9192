-- Promise: a meter begins where its rows do: those that were there when it was made count, those that come are judged by the clock of then.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
\set SHOW_CONTEXT never
SET meter.now = '2024-03-05 13:00';

-- The first batch of a stream has a start of 1970: it waits for a person, as it would a day later.
SELECT meter.create_stream('beginning_cars');
SELECT meter.create_meter('beginning_cars', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day');
INSERT INTO beginning_cars.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '2024-03-04 10:00', 'cp1/2', 'bob', 'start'), ('cp1', '3', '2024-03-04 10:40', 'cp1/2', 'bob', 'stop'),
	('cp1', '4', '2024-03-04 10:45', 'cp1/1', 'alice', 'stop');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_cars');
SELECT log, arrival, "time", reason FROM beginning_cars.held;
SELECT account, period_start, quantity FROM beginning_cars.usage;
-- A day later it is the same.
SET meter.now = '2024-03-06 13:00';
INSERT INTO beginning_cars.event (source, id, "time", resource, account, action) VALUES ('cp1', '5', '1970-01-01 00:00:09', 'cp1/3', 'carol', 'start');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_cars');
SELECT * FROM meter.verify('beginning_cars');

-- The same rows are there when a meter is made: all of them count. A copy that comes between that and the first step is held.
SELECT meter.create_stream('beginning_there');
INSERT INTO beginning_there.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '1970-01-03', 'cp1/1', NULL, 'stop'), ('cp1', '3', '2024-03-04 10:45', 'cp1/2', 'bob', 'start');
SELECT meter.create_meter('beginning_there', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 month');
INSERT INTO beginning_there.event (source, id, "time", resource, account, action) VALUES ('cp1', '4', '1970-01-05', 'cp1/1', 'alice', 'start'),
	('cp1', '5', '2024-03-04 11:45', 'cp1/2', NULL, 'stop');
-- However small the steps are: the watermark is decades before what is held.
SET meter.batch_rows = 30;
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_there');
SELECT arrival, "time" FROM beginning_there.held;
CALL meter.run('beginning_there');
RESET meter.batch_rows;
SELECT account, period_start, quantity FROM beginning_there.usage ORDER BY 2;
-- It comes while decades are worked off, too.
SELECT meter.drop_meter('beginning_there', 'charging');
INSERT INTO beginning_there.event (source, id, "time", resource, account, action) VALUES ('cp1', '6', '1970-02-10', 'cp1/1', NULL, 'stop');
SELECT meter.create_meter('beginning_there', 'charging2', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 month');
SET meter.batch_rows = 30;
SELECT watermark FROM meter.advance('beginning_there');
INSERT INTO beginning_there.event (source, id, "time", resource, account, action) VALUES ('cp1', '7', '1980-01-05', 'cp1/1', 'alice', 'start');
CALL meter.run('beginning_there');
RESET meter.batch_rows;
SELECT meter, arrival, "time" FROM beginning_there.held ORDER BY 1, 2;
SELECT account, period_start, quantity FROM beginning_there.usage WHERE meter = 'charging2' ORDER BY 2;
SELECT * FROM meter.verify('beginning_there');

-- With since nothing is held in the first step; what was before says what ran at since.
SELECT meter.create_stream('beginning_since');
SELECT meter.create_meter('beginning_since', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day', since => '2024-03-03');
INSERT INTO beginning_since.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '2024-03-04 10:00', 'cp1/1', NULL, 'stop');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_since');
SELECT account, period_start, quantity FROM beginning_since.usage ORDER BY 2;
INSERT INTO beginning_since.event (source, id, "time", resource, account, action) VALUES ('cp1', '3', '1970-01-01 00:00:09', 'cp1/2', 'alice', 'start');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_since');
SELECT * FROM meter.verify('beginning_since');

-- The clock "event" of an empty log is that of the first step.
SELECT meter.create_stream('beginning_event');
SELECT meter.create_meter('beginning_event', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day', clock => 'event', lateness => '0');
INSERT INTO beginning_event.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '2019-03-04 10:00', 'cp1/2', 'bob', 'start'), ('cp1', '3', '2019-03-04 10:40', 'cp1/2', 'bob', 'stop'), ('cp1', '4', '2019-03-06', 'x', NULL, 'tick');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_event');
SELECT arrival, "time" FROM beginning_event.held;
SELECT account, period_start, quantity FROM beginning_event.usage ORDER BY 2;
SELECT first_clock FROM meter.meter WHERE stream = 'beginning_event';
SELECT * FROM meter.verify('beginning_event');
-- With the clock "source" nothing is looked at before a source says something.
SELECT meter.create_meter('beginning_event', 'source', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day', clock => 'source', lateness => '0');
INSERT INTO beginning_event.event (source, id, "time", resource, account, action) VALUES ('cp1', '5', '1970-01-01 00:00:00.74', 'cp1/3', 'alice', 'start'),
	('cp1', '6', '2019-03-05 10:00', 'cp1/4', 'bob', 'start'), ('cp1', '7', '2019-03-05 10:40', 'cp1/4', 'bob', 'stop');
SELECT usage_rows, late_rows FROM meter.advance('beginning_event', 'source');
SELECT meter.heartbeat('beginning_event', 'cp1', '2019-03-06 10:00');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_event', 'source');
SELECT arrival, "time" FROM beginning_event.held WHERE meter = 'source';
SELECT account, period_start, quantity FROM beginning_event.usage WHERE meter = 'source' AND resource = 'cp1/4';
SELECT * FROM meter.verify('beginning_event', 'source');

-- A server's clock that was ahead when a meter was made does not hold all that is to come.
SET meter.now = '2034-03-05 13:00';
SELECT meter.create_stream('beginning_ahead');
SELECT meter.create_meter('beginning_ahead', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day');
SET meter.now = '2024-03-06 13:00';
INSERT INTO beginning_ahead.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '2024-03-04 10:00', 'cp1/2', 'bob', 'start'), ('cp1', '3', '2024-03-04 10:40', 'cp1/2', 'bob', 'stop');
SELECT watermark, usage_rows, late_rows FROM meter.advance('beginning_ahead');
SELECT account, period_start, quantity FROM beginning_ahead.usage ORDER BY 2;
SELECT * FROM meter.verify('beginning_ahead');

-- Events that only say who owns what are never held by a first step, of which each account was opened years ago. Measures are.
SELECT meter.create_stream('beginning_bytes');
SELECT meter.create_meter('beginning_bytes', 'bytes', 'sum', dimensions => '{}', period => '1 day');
INSERT INTO beginning_bytes.event (source, id, "time", resource, account, action) SELECT 'crm', 'o' || g, '2021-01-01'::timestamptz + g * interval '1 day', 'ip-' || g, 'a' || g % 7, 'opened' FROM generate_series(1, 780) g;
INSERT INTO beginning_bytes.measure (source, id, start_time, end_time, resource, value) VALUES ('agent', '0', '1970-01-01', '1970-01-01 01:00', 'ip-1', 500);
SET meter.batch_rows = 100;
CALL meter.run('beginning_bytes');
SELECT watermark, held FROM meter.status WHERE stream = 'beginning_bytes';
INSERT INTO beginning_bytes.measure (source, id, start_time, end_time, resource, value)
	SELECT 'agent', 'm' || g, '2024-03-05 10:00', '2024-03-05 11:00', 'ip-' || g, 10 FROM generate_series(1, 780) g;
CALL meter.run('beginning_bytes');
RESET meter.batch_rows;
SELECT log, count(*) FROM beginning_bytes.held GROUP BY 1;
SELECT account, sum(quantity) FROM beginning_bytes.usage GROUP BY 1 ORDER BY 1;
-- Later they are, like any other event.
INSERT INTO beginning_bytes.event (source, id, "time", resource, account, action) VALUES ('crm', 'x', '2021-01-01', 'ip-1', 'zoe', 'opened');
CALL meter.run('beginning_bytes');
SELECT log, count(*) FROM beginning_bytes.held GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('beginning_bytes');

-- max_lateness keeps its meaning: without it nothing is held, and one that is smaller holds what comes after the next step.
SELECT meter.create_stream('beginning_open');
SELECT meter.create_meter('beginning_open', 'charging', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 day', max_lateness => NULL);
INSERT INTO beginning_open.event (source, id, "time", resource, account, action) VALUES ('cp1', '1', '1970-01-01 00:00:00.74', 'cp1/1', 'alice', 'start'),
	('cp1', '2', '1970-01-01 00:10:00', 'cp1/1', 'bob', 'stop');
SELECT watermark, late_rows FROM meter.advance('beginning_open');
SELECT meter.alter_meter('beginning_open', 'charging', max_lateness => '1 day');
INSERT INTO beginning_open.event (source, id, "time", resource, account, action) VALUES ('cp1', '3', '1970-01-02', 'cp1/1', 'alice', 'start'), ('cp1', '4', '1970-01-03', 'cp1/1', NULL, 'stop');
SELECT watermark, late_rows FROM meter.advance('beginning_open');
INSERT INTO beginning_open.event (source, id, "time", resource, account, action) VALUES ('cp1', '5', '1970-01-04', 'cp1/1', 'alice', 'start');
SELECT watermark, late_rows FROM meter.advance('beginning_open');
SELECT arrival FROM beginning_open.held;
SELECT period_start, quantity FROM beginning_open.usage ORDER BY 1;
SELECT * FROM meter.verify('beginning_open');

-- A heartbeat up to a minute ahead counts as now; a later one is refused.
SELECT meter.heartbeat('beginning_open', 'cp1', '2024-03-06 13:00:00.3');
SELECT meter.heartbeat('beginning_open', 'cp2', '2024-03-06 13:01');
SELECT meter.heartbeat('beginning_open', 'cp3', '2024-03-06 13:01:00.000001');
SELECT source, clock FROM meter.source_status WHERE stream = 'beginning_open' ORDER BY 1;

-- A session's defaults do not matter: late rows count under any isolation level, and names are as they are.
SELECT meter.create_stream('beginning_session');
SELECT meter.create_meter('beginning_session', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO beginning_session.event (source, id, "time", resource, account, action) VALUES ('a', '1', '2024-03-05 10:00', 'vm-1', 'acme', 'start'), (NULL, NULL, '2024-03-05 13:00', 'clock', NULL, 'tick');
SET quote_all_identifiers = on;
CALL meter.run('beginning_session');
INSERT INTO beginning_session.event (source, id, "time", resource, account, action) VALUES ('a', '2', '2024-03-05 10:30', 'vm-1', NULL, 'stop');
SET default_transaction_isolation = 'repeatable read';
CALL meter.run('beginning_session');
SELECT sum(quantity) FROM beginning_session.usage;
INSERT INTO beginning_session.event (source, id, "time", resource, account, action) VALUES ('a', '3', '2024-03-05 10:20', 'vm-1', NULL, 'stop');
SET default_transaction_isolation = 'serializable';
SET default_transaction_deferrable = on;
CALL meter.run('beginning_session');
RESET default_transaction_isolation;
RESET default_transaction_deferrable;
RESET quote_all_identifiers;
SELECT sum(quantity) FROM beginning_session.usage;
SELECT * FROM meter.verify('beginning_session');

-- What a meter would come to is told before it is made, to the row, for each aggregate.
SELECT meter.create_stream('beginning_preview');
INSERT INTO beginning_preview.event (source, id, "time", resource, account, action, offering, value, attributes)
	SELECT 'a', 's' || g, '2024-02-01'::timestamptz + g * interval '5 hours 13 minutes', 'vm-' || g % 17, 'acct-' || g % 3, CASE g % 3 WHEN 0 THEN 'start' WHEN 1 THEN 'stop' ELSE 'resize' END,
		'size-' || g % 2, g % 5, jsonb_build_object('zone', g % 2) FROM generate_series(1, 200) g;
INSERT INTO beginning_preview.event (source, id, "time", resource, account, action) VALUES ('a', 's9', '2024-02-02 22:57', 'vm-9', NULL, 'void'), ('a', 's60', '2024-02-14 12:00', 'vm-9', 'acct-0', 'start');
INSERT INTO beginning_preview.measure (source, id, start_time, end_time, resource, value, attributes)
	SELECT 'a', 'm' || g, '2024-02-01'::timestamptz + g * interval '1 hour 40 minutes', '2024-02-01'::timestamptz + g * interval '1 hour 40 minutes' + g % 4 * interval '1 hour', 'ip-' || g % 5, g * 7 % 11,
		jsonb_build_object('zone', g % 2) FROM generate_series(1, 400) g;
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.preview(of_aggregate text, of_zone text) RETURNS TABLE (aggregate text, zone text, begins timestamptz, ends timestamptz, periods bigint, resources bigint, usage_rows bigint,
	as_made text, size_about boolean) LANGUAGE plpgsql AS $$
DECLARE
	named text := of_aggregate || '-' || of_zone;
	made record;
	p record;
BEGIN
	IF of_aggregate IN ('duration', 'weighted') THEN
		SELECT v.* INTO p FROM meter.preview_meter('beginning_preview', named, of_aggregate, starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering,zone}', timezone => of_zone) v;
		PERFORM meter.create_meter('beginning_preview', named, of_aggregate, starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering,zone}', timezone => of_zone);
	ELSE
		SELECT v.* INTO p FROM meter.preview_meter('beginning_preview', named, of_aggregate, dimensions => '{zone}', period => '1 day', timezone => of_zone) v;
		PERFORM meter.create_meter('beginning_preview', named, of_aggregate, dimensions => '{zone}', period => '1 day', timezone => of_zone);
	END IF;
	SELECT m.watermark INTO made FROM meter.meter m WHERE m.stream = 'beginning_preview' AND m.name = named;
	begins := made.watermark;
	PERFORM meter.advance('beginning_preview', named);
	RETURN QUERY SELECT of_aggregate, of_zone, p.begins, p.ends, p.periods, p.resources, p.usage_rows,
		CASE WHEN ROW(p.begins, p.ends, p.resources, p.usage_rows) = ROW(begins, (SELECT m.watermark FROM meter.meter m WHERE m.stream = 'beginning_preview' AND m.name = named),
			(SELECT count(DISTINCT u.resource) FROM beginning_preview.usage u WHERE u.meter = named), (SELECT count(*) FROM beginning_preview.usage u WHERE u.meter = named)) THEN 'yes' ELSE 'no' END,
		p.bytes BETWEEN 0.9 * c AND 1.1 * c
		FROM (SELECT sum(pg_column_size(u.*) + 4 + 31)::numeric AS c FROM beginning_preview.usage u WHERE u.meter = named) c;
END $$;
SELECT v.* FROM unnest('{duration,weighted,sum,count,min,max,latest,unique,counter}'::text[], '{UTC,Europe/Zurich,UTC,America/Havana,UTC,UTC,UTC,UTC,UTC}'::text[]) a (aggregate, zone), pg_temp.preview(a.aggregate, a.zone) v;
SELECT * FROM meter.verify('beginning_preview');
RESET client_min_messages;
-- Nothing is written, so it may be read only; it needs the rights of the owner, and arguments that create_meter would take.
BEGIN READ ONLY;
SELECT begins, ends, periods, resources, usage_rows, bytes > 0 AS bytes FROM meter.preview_meter('beginning_preview', 'vm', starts => '{start}', stops => '{stop}', since => '2024-03-01');
SELECT * FROM meter.preview_meter('beginning_preview', 'vm', starts => '{start}', stops => '{stop}', clock => 'source');
COMMIT;
SELECT meter.preview_meter('beginning_preview', 'vm', starts => '{start}');
SELECT meter.preview_meter('nonesuch', 'vm', starts => '{start}', stops => '{stop}');
-- It takes what create_meter takes: names, types and defaults.
SELECT count(DISTINCT (proargtypes::text, proargnames[1:pronargs], pg_get_expr(proargdefaults, 0))) FROM pg_proc
	WHERE pronamespace = 'meter'::regnamespace AND proname IN ('create_meter', 'preview_meter');
SELECT meter.create_stream('beginning_empty');
SELECT * FROM meter.preview_meter('beginning_empty', 'vm', starts => '{start}', stops => '{stop}');

-- What is held before there is a watermark is released as what it is: a void takes back.
SET meter.now = '2024-03-05 13:00';
SELECT meter.create_stream('beginning_void');
SELECT meter.create_meter('beginning_void', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '1 month');
INSERT INTO beginning_void.event (source, id, "time", resource, account, action) VALUES ('s', '1', '1970-01-02', 'vm1', 'alice', 'start'), ('s', '1', '1970-01-02', 'vm1', NULL, 'void');
SELECT watermark, usage_rows FROM meter.advance('beginning_void');
SELECT meter.release('beginning_void', 'vm');
INSERT INTO beginning_void.event (source, id, "time", resource, account, action) VALUES ('s', '2', '2024-02-01', 'vm2', 'bob', 'start');
CALL meter.run('beginning_void');
SELECT resource, count(*) FROM beginning_void.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('beginning_void');

-- Only in the first step of a meter of measures are owners never held: not months later, when the first event comes.
SELECT meter.create_stream('beginning_owner');
SELECT meter.create_meter('beginning_owner', 'net', aggregate => 'sum', dimensions => '{}', since => '2024-03-01');
INSERT INTO beginning_owner.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 10:00', '2024-03-05 10:00', 'ip', 'alice', 1), ('2024-03-05 10:00', '2024-03-05 10:00', 'ip', NULL, 2);
SELECT usage_rows FROM meter.advance('beginning_owner');
INSERT INTO beginning_owner.event ("time", resource, account, action) VALUES ('1970-01-02', 'ip', 'mallory', 'assign');
SELECT usage_rows, adjustments FROM meter.advance('beginning_owner');
SELECT log, "time" FROM beginning_owner.held;
SELECT account, sum(quantity) FROM beginning_owner.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('beginning_owner');

SET client_min_messages = warning;
SELECT meter.drop_stream(s, delete_data => true) FROM unnest('{beginning_cars,beginning_there,beginning_since,beginning_event,beginning_ahead,beginning_bytes,beginning_open,beginning_session,beginning_preview,beginning_empty,beginning_void,beginning_owner}'::text[]) s;
