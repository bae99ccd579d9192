-- Promise: who pays is one rule for all meters: every event that names an account says who owns the resource from its instant on.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.bill(of_stream text) RETURNS TABLE (meter text, resource text, account text, hours text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT u.meter, u.resource, u.account, string_agg(to_char(u.period_start, ''HH24'') || '' '' || u.q, '', '' ORDER BY u.period_start)
		FROM (SELECT u.meter, u.resource, u.account, u.period_start, trim_scale(sum(u.quantity)) AS q FROM %I.usage u WHERE u.resource <> ''clock''
		GROUP BY 1, 2, 3, 4 HAVING sum(u.quantity) <> 0) u GROUP BY 1, 2, 3 ORDER BY 1, 2, 3', of_stream);
END $$;

-- A transfer need be listed by no meter; nor need what names an account change anything: a start that is ignored, a stop.
SELECT meter.create_stream('owners_cloud');
SELECT meter.create_meter('owners_cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('owners_cloud', 'mb', 'sum', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO owners_cloud.event ("time", resource, account, action) VALUES
	('2024-03-05 10:00', 'transfer', 'acme', 'start'), ('2024-03-05 11:30', 'transfer', 'globex', 'transfer'),
	('2024-03-05 10:00', 'again', 'acme', 'start'), ('2024-03-05 11:15', 'again', 'globex', 'start'),
	('2024-03-05 10:00', 'stop', 'acme', 'start'), ('2024-03-05 10:30', 'stop', 'globex', 'stop'), ('2024-03-05 11:00', 'stop', NULL, 'start'),
	('2024-03-05 13:00', 'clock', NULL, 'tick');
INSERT INTO owners_cloud.measure (start_time, end_time, resource, value) SELECT '2024-03-05 10:00', '2024-03-05 13:00', r, 180 FROM unnest('{transfer,again,stop}'::text[]) r;
CALL meter.run('owners_cloud');
SELECT * FROM pg_temp.bill('owners_cloud');

-- '' says that nobody owns it from then on; before the first name it says nothing. A measure that says '' is nobody's.
INSERT INTO owners_cloud.event ("time", resource, account, action) VALUES
	('2024-03-05 13:00', 'released', 'acme', 'start'), ('2024-03-05 13:30', 'released', '', 'release'), ('2024-03-05 14:15', 'released', 'globex', 'assign'),
	('2024-03-05 13:00', 'first', '', 'start'), ('2024-03-05 14:30', 'first', 'acme', 'assign'), ('2024-03-05 15:00', 'clock', NULL, 'tick');
INSERT INTO owners_cloud.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 13:00', '2024-03-05 15:00', 'released', NULL, 120), ('2024-03-05 13:00', '2024-03-05 15:00', 'released', '', 12), ('2024-03-05 13:00', '2024-03-05 15:00', 'first', NULL, 120);
CALL meter.run('owners_cloud');
SELECT * FROM pg_temp.bill('owners_cloud') WHERE resource IN ('released', 'first');
-- what was released is told apart from what was never named
SELECT meter, resource, account, unnamed_since FROM owners_cloud._resource_state WHERE resource IN ('released', 'first') ORDER BY 1, 2;
INSERT INTO owners_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 15:00', 'released', '', 'release'), ('2024-03-05 17:00', 'clock', NULL, 'tick');
CALL meter.run('owners_cloud');
SELECT meter, resource, account, unnamed_since FROM owners_cloud._resource_state WHERE resource = 'released' ORDER BY 1;
SELECT * FROM pg_temp.bill('owners_cloud') WHERE resource = 'released';

-- Of several names of one instant they go by sequence, without one first; of several of one sequence the greatest as text counts. The
-- first of them owns the time before.
INSERT INTO owners_cloud.event ("time", sequence, resource, account, action) VALUES
	('2024-03-05 17:00', NULL, 'tie', NULL, 'start'), ('2024-03-05 18:00', 1, 'tie', 'a', 'assign'), ('2024-03-05 18:00', NULL, 'tie', 'c', 'assign'),
	('2024-03-05 18:00', NULL, 'tie', 'b', 'tag'), ('2024-03-05 19:00', NULL, 'clock', NULL, 'tick');
INSERT INTO owners_cloud.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 17:00', '2024-03-05 19:00', 'tie', 120);
CALL meter.run('owners_cloud');
SELECT * FROM pg_temp.bill('owners_cloud') WHERE resource = 'tie';
-- a name says nothing of the order of what else is said at its instant
SELECT meter.create_meter('owners_cloud', 'size', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO owners_cloud.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 19:00', 'two', 'b', 'start', 'small'), ('2024-03-05 19:00', 'two', 'a', 'start', 'tiny'), ('2024-03-05 20:00', 'clock', NULL, 'tick', NULL);
CALL meter.run('owners_cloud');
SELECT account, dimensions, quantity FROM owners_cloud.usage WHERE meter = 'size' AND resource = 'two';

-- A late name changes what was settled from its instant on; one that is taken back or a duplicate says nothing. Until there is a name,
-- usage is billed to '' and listed; the settle that meets the first one looks back.
INSERT INTO owners_cloud.event (source, id, "time", resource, account, action) VALUES
	('crm', 't1', '2024-03-05 10:30', 'transfer', 'initech', 'transfer'), ('crm', 't1', '2024-03-05 12:00', 'transfer', 'umbrella', 'transfer'),
	('crm', 't2', '2024-03-05 20:00', 'later', NULL, 'start'), ('crm', NULL, '2024-03-05 22:00', 'clock', NULL, 'tick');
CALL meter.run('owners_cloud');
SELECT * FROM pg_temp.bill('owners_cloud') WHERE resource = 'transfer';
SELECT class, meter, resource, "time" FROM meter.anomalies('owners_cloud', class => 'unknown account');
INSERT INTO owners_cloud.event (source, id, "time", resource, account, action) VALUES
	('crm', 't1', '2024-03-05 10:30', 'transfer', NULL, 'void'), ('crm', 't3', '2024-03-05 22:30', 'later', 'acme', 'assign'), ('crm', NULL, '2024-03-05 23:00', 'clock', NULL, 'tick');
CALL meter.run('owners_cloud');
SELECT * FROM pg_temp.bill('owners_cloud') WHERE resource IN ('transfer', 'later') AND meter <> 'size';
SELECT class, meter, resource, "time" FROM meter.anomalies('owners_cloud', class => 'unknown account');
SELECT * FROM meter.verify('owners_cloud');

-- Who owned what, and why: the event that said so, listed or not.
SELECT e.part, e."time", e.action, e.account, e.quantity, e.explanation FROM owners_cloud.usage u, meter.explain('owners_cloud', u.transaction_id) e
WHERE u.meter = 'vm' AND u.resource = 'released' AND u.account = 'globex' AND u.period_start = '2024-03-05 14:00' AND e.part IN ('event', 'billed');
SELECT e.part, e."time", e.action, e.account, e.quantity, e.explanation FROM owners_cloud.usage u, meter.explain('owners_cloud', u.transaction_id) e
WHERE u.meter = 'mb' AND u.resource = 'released' AND u.account = 'globex' AND u.period_start = '2024-03-05 14:00' AND e.part IN ('event', 'measure');
-- Live usage and previews read the same rule.
INSERT INTO owners_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 23:20', 'later', 'globex', 'assign'), ('2024-03-05 23:50', 'clock', NULL, 'tick');
CALL meter.run('owners_cloud');
SELECT meter, account, quantity FROM owners_cloud.current_usage WHERE resource = 'later' AND NOT settled AND meter = 'vm' ORDER BY 1, 2;
SELECT usage_rows = (SELECT count(*) FROM owners_cloud.usage_total WHERE meter = 'vm' AND quantity <> 0) AS same
FROM meter.preview_meter('owners_cloud', 'again', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);

-- One id for two kinds of thing: a name with an entity is of that kind, one without is of all. A meter without an entity hears all names; but
-- measures that say what they are of hear those of that kind.
SELECT meter.create_stream('c05');
SELECT meter.create_meter('c05', 'iops', entity => 'volume', aggregate => 'sum', dimensions => '{}', clock => 'event', lateness => '0');
SELECT meter.create_meter('c05', 'all', aggregate => 'sum', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO c05.event (source, id, "time", resource, account, entity, action) VALUES
	('cs', '1', '2024-03-05 10:00', '7', 'globex', 'volume', 'VOLUME.CREATE'), ('cs', '2', '2024-03-05 10:05', '7', 'acme', 'vm', 'VM.CREATE');
INSERT INTO c05.measure (source, id, start_time, end_time, resource, entity, value) VALUES
	('cs', '3', '2024-03-05 11:00', '2024-03-05 11:00', '7', 'volume', 100), ('cs', '4', '2024-03-05 13:00', '2024-03-05 13:00', 'clock', 'x', 0);
CALL meter.run('c05');
SELECT account, sum(quantity) FROM c05.usage WHERE meter = 'iops' AND resource = '7' GROUP BY 1;
INSERT INTO c05.measure (source, id, start_time, end_time, resource, entity, value) VALUES
	('cs', '5', '2024-03-05 13:10', '2024-03-05 13:10', '7', 'volume', 1), ('cs', '6', '2024-03-05 13:10', '2024-03-05 13:10', '7', 'vm', 2),
	('cs', '7', '2024-03-05 13:10', '2024-03-05 13:10', '7', 'disk', 4), ('cs', '8', '2024-03-05 13:10', '2024-03-05 13:10', '7', NULL, 8),
	('cs', '9', '2024-03-05 14:00', '2024-03-05 14:00', 'clock', 'x', 0);
CALL meter.run('c05');
SELECT * FROM pg_temp.bill('c05') WHERE meter = 'all';
SELECT meter, resource, account, owners, unnamed_since FROM c05._resource_state WHERE resource = '7' ORDER BY 1;
-- nobody had named the owner of a disk 7: the first name is that of the time before
INSERT INTO c05.event (source, id, "time", resource, account, entity, action) VALUES ('cs', '10', '2024-03-05 14:30', '7', 'initech', NULL, 'SALE');
INSERT INTO c05.measure (source, id, start_time, end_time, resource, entity, value) VALUES
	('cs', '11', '2024-03-05 14:20', '2024-03-05 14:40', '7', 'vm', 20), ('cs', '12', '2024-03-05 15:00', '2024-03-05 15:00', 'clock', 'x', 0);
CALL meter.run('c05');
SELECT * FROM pg_temp.bill('c05') WHERE meter = 'all';
SELECT meter, account, owners, unnamed_since FROM c05._resource_state WHERE resource = '7' ORDER BY 1;
-- late, for one kind of thing
INSERT INTO c05.event (source, id, "time", resource, account, entity, action) VALUES ('cs', '13', '2024-03-05 09:00', '7', 'umbrella', 'disk', 'DISK.CREATE'),
	('cs', '14', '2024-03-05 14:35', '7', '', 'vm', 'VM.EXPUNGE');
CALL meter.run('c05');
SELECT * FROM pg_temp.bill('c05') WHERE meter = 'all';
SELECT * FROM meter.verify('c05');

-- A stop may leave out what the start said; a start without an entity is none to a meter with one, and names the owner all the same.
SELECT meter.create_stream('c08');
SELECT meter.create_meter('c08', 'vm', entity => 'vm', starts => '{create}', stops => '{delete}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO c08.event (source, id, "time", resource, account, entity, action) VALUES
	('cs', '1', '2024-03-05 10:00', 'vm-1', 'acme', 'vm', 'create'), ('cs', '2', '2024-03-05 11:00', 'vm-1', NULL, NULL, 'delete'),
	('cs', '3', '2024-03-05 10:00', 'vm-2', NULL, 'vm', 'create'), ('cs', '4', '2024-03-05 10:30', 'vm-2', 'acme', '', 'create'), ('cs', '5', '2024-03-05 11:00', 'vm-2', 'globex', 'disk', 'delete'),
	('cs', '6', '2024-03-05 10:00', 'vm-3', 'acme', '', 'create'), ('cs', '7', '2024-03-05 12:00', 'vm-2', NULL, '', 'delete'), (NULL, NULL, '2024-03-06 10:00', 'clock', NULL, 'x', 'tick');
CALL meter.run('c08');
SELECT * FROM pg_temp.bill('c08');
SELECT class, detail FROM meter.anomalies('c08', class => 'not counted');
SELECT * FROM meter.verify('c08');

-- What a snapshot says of who owns a resource, where that is another, is a name to every meter of the stream that its entity fits: from
-- the snapshot on, or where it opens a run of a meter at `since`, for that meter from there on, unless another name lies in between.
SELECT meter.create_stream('owners_seen');
SELECT meter.create_meter('owners_seen', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0');
SELECT meter.create_meter('owners_seen', 'gpu', starts => '{attach}', stops => '{detach}', dimensions => '{}', lateness => '0');
SELECT meter.create_meter('owners_seen', 'mb', 'sum', dimensions => '{}', lateness => '0');
INSERT INTO owners_seen.event (source, "time", resource, account, action) VALUES
	('dc', '2024-03-05 10:00', 'moved', 'acme', 'start'), ('gpus', '2024-03-05 10:00', 'moved', NULL, 'attach'),
	('dc', '2024-03-05 10:00', 'opened', 'acme', 'tag'), ('dc', '2024-03-05 10:00', 'between', 'acme', 'tag'), ('dc', '2024-03-05 12:00', 'between', '', 'tag');
INSERT INTO owners_seen.measure (start_time, end_time, resource, value) SELECT '2024-03-05 10:00', '2024-03-05 14:00', r, 240 FROM unnest('{moved,opened,between}'::text[]) r;
SET meter.now = '2024-03-05 14:00';
CALL meter.run('owners_seen');
INSERT INTO owners_seen.inventory (source, at, resource, account, since, meter) VALUES ('dc', '2024-03-05 12:30', 'moved', 'globex', '2024-03-05 10:00', 'vm'),
	('dc', '2024-03-05 12:30', 'opened', 'globex', '2024-03-05 11:30', 'vm'), ('dc', '2024-03-05 12:30', 'between', 'globex', '2024-03-05 11:30', 'vm');
SELECT count(*) FROM meter.reconcile('owners_seen', 'dc', '2024-03-05 12:30');
CALL meter.run('owners_seen');
SELECT * FROM pg_temp.bill('owners_seen');
SELECT e."time", e.action, e.account, e.explanation FROM owners_seen.usage u, meter.explain('owners_seen', u.transaction_id) e
WHERE u.meter = 'gpu' AND u.account = 'globex' AND u.period_start = '2024-03-05 12:00' AND e.part = 'event';
-- the transfer that was lost arrives: the observation agrees
INSERT INTO owners_seen.event (source, "time", resource, account, action) VALUES ('crm', '2024-03-05 11:15', 'moved', 'globex', 'transfer');
CALL meter.run('owners_seen');
SELECT * FROM pg_temp.bill('owners_seen') WHERE resource = 'moved';
SELECT * FROM meter.verify('owners_seen');
RESET meter.now;

-- Where the log was expired, owners are known from its retention boundary, of each kind of thing; and to meters that are made later.
SET meter.segment_rows = 0;
SELECT meter.create_stream('owners_kept');
SET meter.now = '2024-03-01 00:00';
SELECT meter.create_meter('owners_kept', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '1 day', period => '1 day');
SELECT meter.create_meter('owners_kept', 'all', 'sum', dimensions => '{}', lateness => '0', max_lateness => '1 day', period => '1 day');
INSERT INTO owners_kept.event ("time", resource, account, entity, action) VALUES
	('2024-03-01 09:00', '9', 'acme', 'vm', 'start'), ('2024-03-01 09:30', '9', NULL, NULL, 'stop'),
	('2024-03-01 10:00', '7', 'acme', 'vm', 'buy'), ('2024-03-01 11:00', '7', 'globex', 'disk', 'buy'), ('2024-03-01 12:00', '8', 'acme', NULL, 'buy'), ('2024-03-01 13:00', '8', '', NULL, 'sell');
INSERT INTO owners_kept.measure (start_time, end_time, resource, entity, value) VALUES ('2024-03-01 10:00', '2024-03-01 10:00', '7', 'disk', 1);
SELECT meter.roll('owners_kept');
SET meter.now = '2024-03-10 00:00';
CALL meter.run('owners_kept');
CALL meter.run('owners_kept');
SELECT meter.expire('owners_kept', '2024-03-05');
SELECT meter, resource, account, owners FROM owners_kept._retention_state ORDER BY 1, 2;
SELECT count(*) FROM owners_kept.event;
SELECT meter.create_meter('owners_kept', 'disk', 'sum', entity => 'disk', dimensions => '{}', lateness => '0', max_lateness => '1 day', period => '1 day');
INSERT INTO owners_kept.event ("time", resource, action) VALUES ('2024-03-09 10:00', '7', 'start'), ('2024-03-09 10:00', '8', 'start');
INSERT INTO owners_kept.measure (start_time, end_time, resource, entity, value)
	SELECT '2024-03-09 10:00', '2024-03-09 10:00', r, e, 10 FROM unnest('{7,8}'::text[]) r, unnest('{vm,disk,NULL}'::text[]) e;
SET meter.now = '2024-03-11 00:00';
CALL meter.run('owners_kept');
SELECT meter, resource, account, period_start::date, sum(quantity) FROM owners_kept.usage_total WHERE period_start >= '2024-03-09' AND quantity <> 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
SELECT meter.resettle('owners_kept', 'vm', NULL), meter.resettle('owners_kept', 'all', NULL), meter.resettle('owners_kept', 'disk', NULL);
SELECT * FROM meter.verify('owners_kept');
RESET meter.now;
RESET meter.segment_rows;

-- A name from before the first start is known, though nothing was to be settled when it came.
SELECT meter.create_stream('owners_early');
SELECT meter.create_meter('owners_early', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO owners_early.event ("time", resource, account, action) VALUES ('2024-03-01 10:00', 'vm-1', 'acme', 'order');
CALL meter.run('owners_early');
INSERT INTO owners_early.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm-1', NULL, 'start'), ('2024-03-05 12:00', 'clock', NULL, 'tick');
CALL meter.run('owners_early');
SELECT * FROM pg_temp.bill('owners_early');
SELECT * FROM meter.verify('owners_early');

-- Names count if they lie before the watermark: what a snapshot of that very instant says does not, nor what comes between it and one that reaches behind it.
SET client_min_messages = warning;
SELECT meter.create_stream('owners_snapshot');
SELECT meter.create_meter('owners_snapshot', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0', max_lateness => NULL);
INSERT INTO owners_snapshot.event (source, "time", resource, action) VALUES ('s', '2024-03-05 05:30', 'early', 'start'), ('s', '2024-03-05 05:30', 'cut', 'start');
INSERT INTO owners_snapshot.event (source, "time", resource, account, action) VALUES ('s', '2024-03-05 06:10', 'early', 'b', 'resize'), ('s', '2024-03-05 06:10', 'cut', 'b', 'resize');
INSERT INTO owners_snapshot.inventory (source, at, resource, account, since) VALUES
	('s', '2024-03-05 06:00', 'early', 'a', '2024-03-05 05:30'), ('s', '2024-03-05 06:00', 'opened', 'a', '2024-03-05 05:30'), ('s', '2024-03-05 06:00', 'cut', NULL, '2024-03-05 05:30'),
	('s', '2024-03-05 06:20', 'early', 'b', '2024-03-05 05:30'), ('s', '2024-03-05 06:20', 'opened', 'a', '2024-03-05 05:30'), ('s', '2024-03-05 06:20', 'cut', 'b', '2024-03-05 05:45');
SET meter.now = '2024-03-05 06:30';
SELECT resource, correction FROM meter.reconcile('owners_snapshot', 's', '2024-03-05 06:00') ORDER BY 1;
SELECT resource, correction FROM meter.reconcile('owners_snapshot', 's', '2024-03-05 06:20') ORDER BY 1;
CALL meter.run('owners_snapshot');
SELECT resource, account, period_start, sum(quantity) FROM owners_snapshot.usage GROUP BY 1, 2, 3 ORDER BY 1, 3, 2;
SELECT * FROM meter.verify('owners_snapshot');
SET meter.now = '2024-03-05 07:00';
CALL meter.run('owners_snapshot');
SELECT resource, account, period_start, sum(quantity) FROM owners_snapshot.usage GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0 ORDER BY 1, 3, 2;
SELECT * FROM meter.verify('owners_snapshot');
SELECT meter.drop_stream('owners_snapshot', true);
-- A void names nobody. An entity begins with what was said without one; and where that is taken back, with what is left: who is named
-- first without an entity owns the time before of all that no name is about.
SELECT meter.create_stream('owners_kinds');
SELECT meter.create_meter('owners_kinds', 'mb', 'sum', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO owners_kinds.event (source, id, "time", resource, account, entity, action) VALUES
	('crm', '1', '2024-03-05 10:00', 'void', 'acme', NULL, 'buy'), ('crm', '2', '2024-03-05 10:30', 'void', 'globex', NULL, 'void'),
	('crm', '3', '2024-03-05 10:00', 'begins', 'acme', NULL, 'buy'), ('crm', '4', '2024-03-05 11:00', 'begins', 'globex', 'vm', 'move'),
	('crm', '5', '2024-03-05 11:00', 'back', 'acme', 'vm', 'buy'), ('crm', '6', '2024-03-05 11:30', 'back', 'globex', NULL, 'buy');
INSERT INTO owners_kinds.measure (start_time, end_time, resource, entity, value) VALUES
	('2024-03-05 10:00', '2024-03-05 11:00', 'void', NULL, 60), ('2024-03-05 10:30', '2024-03-05 10:30', 'begins', 'vm', 1), ('2024-03-05 11:30', '2024-03-05 11:30', 'begins', 'vm', 2),
	('2024-03-05 10:30', '2024-03-05 10:30', 'back', 'disk', 4), ('2024-03-05 12:00', '2024-03-05 12:00', 'clock', NULL, 0);
CALL meter.run('owners_kinds');
SELECT * FROM pg_temp.bill('owners_kinds');
INSERT INTO owners_kinds.event (source, id, "time", resource, action) VALUES ('crm', '6', '2024-03-05 11:30', 'back', 'void');
CALL meter.run('owners_kinds');
SELECT * FROM pg_temp.bill('owners_kinds') WHERE resource = 'back';
SELECT * FROM meter.verify('owners_kinds');

-- A snapshot holds after the events of its instant, to all meters: it names whom it says where they name another, though that is the
-- lesser text; who owned it just before them agrees, and stays the owner no longer than they say.
SELECT meter.create_stream('owners_instant');
SELECT meter.create_meter('owners_instant', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0');
SELECT meter.create_meter('owners_instant', 'gpu', starts => '{attach}', stops => '{detach}', dimensions => '{}', lateness => '0');
SELECT meter.create_meter('owners_instant', 'mb', 'sum', dimensions => '{}', lateness => '0');
INSERT INTO owners_instant.event (source, "time", resource, account, action) VALUES
	('gpus', '2024-03-05 10:00', 'agrees', 'acme', 'attach'), ('crm', '2024-03-05 12:30', 'agrees', 'globex', 'transfer'),
	('gpus', '2024-03-05 10:00', 'names', 'acme', 'attach'), ('crm', '2024-03-05 12:30', 'names', 'umbrella', 'transfer');
INSERT INTO owners_instant.measure (start_time, end_time, resource, value) SELECT '2024-03-05 10:00', '2024-03-05 14:00', r, 240 FROM unnest('{agrees,names}'::text[]) r;
SET meter.now = '2024-03-05 14:00';
CALL meter.run('owners_instant');
INSERT INTO owners_instant.inventory (source, at, resource, account, meter) VALUES ('dc', '2024-03-05 12:30', 'agrees', 'acme', 'vm'), ('dc', '2024-03-05 12:30', 'names', 'globex', 'vm');
SELECT resource, correction FROM meter.reconcile('owners_instant', 'dc', '2024-03-05 12:30') ORDER BY 1, 2;
CALL meter.run('owners_instant');
SELECT * FROM pg_temp.bill('owners_instant');
SELECT * FROM meter.verify('owners_instant');
RESET meter.now;
