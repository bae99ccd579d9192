-- Promise: a change of a time zone's rules moves no day that was billed, and bills no instant twice.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

-- The server's rules cannot be changed here, but what was recorded by other rules can be written down before it is settled.
CREATE FUNCTION pg_temp.record(stream text, zone text, first date, last date, hour interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I._calendar SELECT $1, day, (day::timestamp + $4) AT TIME ZONE ''UTC'' '
		'FROM generate_series($2::timestamp, $3, ''1 day'') day', stream) USING zone, first, last, hour;
END $$;
-- Whatever always ran is billed for each instant once: the minutes up to the watermark.
CREATE FUNCTION pg_temp.billed(stream text, since timestamptz) RETURNS TABLE (meter text, watermark timestamptz, minutes numeric, missing numeric) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT s.meter, s.watermark, trim_scale(sum(u.quantity)), trim_scale(extract(epoch FROM s.watermark - $2) / 60 - sum(u.quantity)) '
		'FROM meter.status s JOIN %I.usage u USING (meter) WHERE s.stream = $1 AND u.resource = ''always'' GROUP BY 1, 2 ORDER BY 1', stream) USING stream, since;
END $$;

-- Mexico ended summer time in 2022. A server that had not heard of that had days begin at 05:00 from 2 April 2023 on, in UTC, and settled up to 12 April.
SELECT meter.create_stream('calendar_mexico');
SELECT pg_temp.record('calendar_mexico', 'America/Mexico_City', '2023-03-20', '2023-04-02', '6 hours'),
       pg_temp.record('calendar_mexico', 'America/Mexico_City', '2023-04-03', '2023-04-12', '5 hours');
SELECT meter.create_meter('calendar_mexico', meter, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0',
           period => period, increment => increment, max_lateness => NULL, timezone => 'America/Mexico_City')
FROM (VALUES ('hour', '1 hour'::interval, '1 minute'::interval), ('6 hours', '6 hours', '1 hour'), ('day', '1 day', '1 minute'),
             ('day by day', '1 day', '1 day'), ('week', '1 week', '1 day'), ('month', '1 month', '1 day'), ('month by hour', '1 month', '1 hour')) m (meter, period, increment);
INSERT INTO calendar_mexico.event ("time", resource, account, action) VALUES
    ('2023-03-20 06:00Z', 'always', 'a', 'start'), ('2023-04-12 05:00Z', 'clock', NULL, 'tick');
CALL meter.run('calendar_mexico');
SELECT * FROM pg_temp.billed('calendar_mexico', '2023-03-20 06:00Z');
SELECT count(*) FROM meter.verify('calendar_mexico');

-- From where the record ends the server's rules count: the day in which they take effect has 25 hours, and the sum is right.
INSERT INTO calendar_mexico.event ("time", resource, action) VALUES ('2023-05-02 06:00Z', 'clock', 'tick');
CALL meter.run('calendar_mexico');
SELECT * FROM pg_temp.billed('calendar_mexico', '2023-03-20 06:00Z');
SELECT meter, period_start, trim_scale(quantity / 60) AS hours FROM calendar_mexico.usage
WHERE resource = 'always' AND (meter IN ('day', 'day by day') AND period_start BETWEEN '2023-04-02' AND '2023-04-04'
    OR meter IN ('day', 'day by day', '6 hours') AND period_start BETWEEN '2023-04-11 20:00Z' AND '2023-04-13 12:00Z' OR meter IN ('week', 'month', 'month by hour'))
ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('calendar_mexico');

-- The days are recorded as they were used, up to the first one at or after the greatest watermark.
SELECT min(day), max(day), count(*), max(starts_at) FROM calendar_mexico._calendar;
SELECT max(watermark) FROM meter.status WHERE stream = 'calendar_mexico';
SELECT day, starts_at FROM calendar_mexico._calendar WHERE day BETWEEN '2023-04-11' AND '2023-04-14' ORDER BY day;

-- Late rows find the days as they were billed: a run of 5 April in the day that began at 05:00; also across the change, and increments of a day.
INSERT INTO calendar_mexico.event ("time", resource, account, action) VALUES
    ('2023-04-05 05:30Z', 'late', 'b', 'start'), ('2023-04-05 05:40Z', 'late', 'b', 'stop'),
    ('2023-04-12 05:30Z', 'later', 'b', 'start'), ('2023-04-12 05:40Z', 'later', 'b', 'stop'), ('2023-04-14 05:50Z', 'always', NULL, 'stop');
CALL meter.run('calendar_mexico');
SELECT meter, resource, period_start, quantity FROM calendar_mexico.usage WHERE resource IN ('late', 'later') ORDER BY 2, 1, 3;
SELECT meter, period_start, sum(quantity), max(revision) FROM calendar_mexico.usage
WHERE resource = 'always' AND period_start BETWEEN '2023-04-13 07:00Z' AND '2023-04-14 06:00Z' AND meter <> 'hour' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('calendar_mexico');

-- A meter begins where its days did. Once made again it finds its ledger right, also after the stream was forgotten and taken up again.
SELECT meter.create_meter('calendar_mexico', 'other', starts => '{start}', stops => '{stop}', period => '1 day', timezone => 'America/Mexico_City', since => '2023-04-05 06:00Z');
SELECT meter.create_meter('calendar_mexico', 'other', starts => '{start}', stops => '{stop}', period => '1 day', clock => 'event', lateness => '0', timezone => 'America/Mexico_City', since => '2023-04-05 05:00Z');
SELECT count(*) AS rows, sum(quantity) FROM calendar_mexico.usage \gset before_
SELECT meter.drop_meter('calendar_mexico', 'day'), meter.drop_meter('calendar_mexico', 'month');
\set VERBOSITY terse
SELECT meter.drop_stream('calendar_mexico');
SELECT meter.create_stream('calendar_mexico');
\set VERBOSITY default
SET client_min_messages = warning;
SELECT meter.create_meter('calendar_mexico', meter, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0',
           period => period, increment => increment, max_lateness => NULL, timezone => 'America/Mexico_City')
FROM (VALUES ('hour', '1 hour'::interval, '1 minute'::interval), ('day', '1 day', '1 minute'), ('day by day', '1 day', '1 day'), ('month', '1 month', '1 day')) m (meter, period, increment);
RESET client_min_messages;
CALL meter.run('calendar_mexico');
SELECT count(*) - :before_rows AS more_rows, sum(quantity) - :before_sum AS more FROM calendar_mexico.usage;
SELECT count(*) FROM meter.verify('calendar_mexico');

-- The other way round: days that began an hour later than they do now. The day of the change is shorter, and none begins before the recorded one.
SELECT meter.create_stream('calendar_kolkata');
SELECT pg_temp.record('calendar_kolkata', 'Asia/Kolkata', '2024-03-01', '2024-03-10', '-4 hours -30 minutes');
SELECT meter.create_meter('calendar_kolkata', meter, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => period,
           timezone => 'Asia/Kolkata') FROM (VALUES ('hour', '1 hour'::interval), ('day', '1 day')) m (meter, period);
INSERT INTO calendar_kolkata.event ("time", resource, account, action) VALUES ('2024-02-29 19:30Z', 'always', 'a', 'start'), ('2024-03-13 18:30Z', 'clock', NULL, 'tick');
CALL meter.run('calendar_kolkata');
SELECT * FROM pg_temp.billed('calendar_kolkata', '2024-02-29 19:30Z');
SELECT meter, period_start, quantity FROM calendar_kolkata.usage
WHERE period_start >= '2024-03-08 12:00Z' AND meter = 'day' OR meter = 'hour' AND quantity <> 60 ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('calendar_kolkata');
-- Recorded by rules that were a day ahead: where the record ends, days that have passed already are empty.
SELECT meter.create_stream('calendar_ahead');
INSERT INTO calendar_ahead._calendar VALUES ('Asia/Kolkata', '2024-03-05', '2024-03-04 18:30Z'), ('Asia/Kolkata', '2024-03-06', '2024-03-07 20:00Z');
SELECT meter.create_meter('calendar_ahead', 'day', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'Asia/Kolkata');
INSERT INTO calendar_ahead.event ("time", resource, account, action) VALUES ('2024-03-03 18:30Z', 'always', 'a', 'start'), ('2024-03-10 18:30Z', 'clock', NULL, 'tick');
CALL meter.run('calendar_ahead');
SELECT period_start, trim_scale(quantity / 60) AS hours FROM calendar_ahead.usage ORDER BY 1;
SELECT day, starts_at FROM calendar_ahead._calendar ORDER BY 1;
SELECT count(*) FROM meter.verify('calendar_ahead');

-- Measures: parts of sums, values of a period, readings; duplicates and late rows on both sides of the change.
SELECT meter.create_stream('calendar_net');
SELECT pg_temp.record('calendar_net', 'America/Mexico_City', '2023-04-10', '2023-04-12', '5 hours');
SELECT meter.create_meter('calendar_net', aggregate, aggregate => aggregate, dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'America/Mexico_City')
FROM unnest('{sum,count,unique,counter}'::text[]) aggregate;
INSERT INTO calendar_net.measure (id, start_time, end_time, resource, account, value) VALUES
    ('1', '2023-04-10 05:00Z', '2023-04-11 05:00Z', 'ip', 'a', 24), ('2', '2023-04-11 05:00Z', '2023-04-13 06:00Z', 'ip', 'a', 49), ('3', '2023-04-12 05:30Z', '2023-04-12 05:30Z', 'ip', 'a', 100),
    ('3', '2023-04-13 05:30Z', '2023-04-13 05:30Z', 'ip', 'a', 100), ('4', '2023-04-13 05:30Z', '2023-04-13 05:30Z', 'ip', 'a', 200), ('5', '2023-04-13 06:30Z', '2023-04-14 07:00Z', 'ip', 'a', 200);
CALL meter.run('calendar_net');
INSERT INTO calendar_net.measure (id, start_time, end_time, resource, account, value) VALUES ('6', '2023-04-13 05:50Z', '2023-04-13 05:50Z', 'ip', 'a', 7);
CALL meter.run('calendar_net');
SELECT meter, period_start, sum(quantity) FROM calendar_net.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('calendar_net');

-- Before the first recorded day the server's rules count; what a late row is billed by is recorded, too. UTC and fixed offsets have no calendar.
SELECT meter.create_stream('calendar_days');
SELECT meter.create_meter('calendar_days', timezone, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day',
           max_lateness => NULL, timezone => timezone) FROM unnest('{UTC,Etc/GMT+5,Europe/Zurich}'::text[]) timezone;
INSERT INTO calendar_days.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'vm', 'a', 'start'), ('2024-03-08 12:00Z', 'vm', NULL, 'stop');
CALL meter.run('calendar_days');
INSERT INTO calendar_days.event ("time", resource, account, action) VALUES ('2023-07-01 22:30Z', 'old', 'a', 'start'), ('2023-07-02 10:00Z', 'old', NULL, 'stop');
CALL meter.run('calendar_days');
SELECT timezone, min(day), min(starts_at), max(day), max(starts_at), count(*) FROM calendar_days._calendar GROUP BY 1 ORDER BY 1;
-- verify goes by the record, and nothing else
UPDATE calendar_days._calendar SET starts_at = starts_at + interval '30 minutes' WHERE day IN ('2023-07-02', '2023-07-03');
SELECT meter, resource, period_start, ledger, expected FROM meter.verify('calendar_days');
UPDATE calendar_days._calendar SET starts_at = starts_at - interval '30 minutes' WHERE day IN ('2023-07-02', '2023-07-03');
SELECT count(*) FROM meter.verify('calendar_days');

-- until was a boundary by the rules of its time: the meter ends at the nearest one now, and is not stuck before it.
SELECT meter.create_stream('calendar_until');
SELECT meter.create_meter('calendar_until', meter, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 month',
           timezone => 'America/Mexico_City', until => '2023-05-01 06:00Z') FROM unnest('{earlier,later}'::text[]) meter;
UPDATE meter.meter SET until = CASE name WHEN 'earlier' THEN '2023-05-01 05:00Z' ELSE '2023-05-01 07:00Z' END::timestamptz WHERE stream = 'calendar_until';
INSERT INTO calendar_until.event ("time", resource, account, action) VALUES ('2023-04-01 06:00Z', 'always', 'a', 'start'), ('2023-07-08 12:00Z', 'clock', NULL, 'tick');
CALL meter.run('calendar_until');
SELECT * FROM pg_temp.billed('calendar_until', '2023-04-01 06:00Z');
SELECT count(*) FROM meter.verify('calendar_until');

-- A zone that the server no longer has fails its own meters alone.
SELECT meter.create_stream('calendar_gone');
SELECT meter.create_meter('calendar_gone', meter, starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => timezone)
FROM (VALUES ('d', 'US/Eastern'), ('other', 'America/Chicago')) m (meter, timezone);
INSERT INTO calendar_gone.event (source, id, "time", resource, account, action) VALUES
    ('a', '1', '2024-03-05 05:00Z', 'v1', 'good', 'start'), (NULL, NULL, '2024-03-09 13:00Z', 'c', 'x', 'tick');
CALL meter.run('calendar_gone');
UPDATE meter.meter SET timezone = 'US/Gone' WHERE stream = 'calendar_gone' AND name = 'd';
UPDATE calendar_gone._calendar SET timezone = 'US/Gone' WHERE timezone = 'US/Eastern';
UPDATE calendar_gone.settlement SET timezone = 'US/Gone' WHERE meter = 'd';
-- what is settled can be verified: the record answers, though the server cannot
SELECT count(*) FROM meter.verify('calendar_gone', 'd');
INSERT INTO calendar_gone.event ("time", resource, action) VALUES ('2024-03-12 13:00Z', 'c', 'tick'), ('2024-03-06 05:00Z', 'v2', 'stop');
CALL meter.run('calendar_gone');
SELECT meter, watermark, failures, last_error FROM meter.status WHERE stream = 'calendar_gone' ORDER BY 1;
SELECT meter, resource, period_start, quantity FROM calendar_gone.current_usage WHERE period_start >= '2024-03-12' ORDER BY 1, 2, 3;
SELECT meter, class, resource FROM calendar_gone.anomaly ORDER BY 1, 2, 3;
SELECT meter.create_meter('calendar_gone', 'third', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'America/New_York');
SELECT meter.create_meter('calendar_gone', 'fourth', starts => '{start}', stops => '{stop}', timezone => 'US/Gone');
SELECT meter.drop_meter('calendar_gone', 'd');
SELECT meter.create_meter('calendar_gone', 'd', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'America/New_York');
CALL meter.run('calendar_gone');
SELECT meter, sum(quantity), count(*) FILTER (WHERE revision > 0) AS adjustments FROM calendar_gone.usage GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM meter.verify('calendar_gone');

-- Made again under another name of its zone, a meter goes on with the days that were billed; in another zone it does not.
SELECT meter.create_stream('calendar_renamed');
SELECT pg_temp.record('calendar_renamed', 'US/Eastern', '2024-03-05', '2024-03-06', '5 hours'), pg_temp.record('calendar_renamed', 'US/Eastern', '2024-03-07', '2024-03-09', '6 hours');
SELECT meter.create_meter('calendar_renamed', 'd', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'US/Eastern');
INSERT INTO calendar_renamed.event ("time", resource, account, action) VALUES ('2024-03-05 05:00Z', 'always', 'a', 'start'), ('2024-03-12 13:00Z', 'c', NULL, 'tick');
CALL meter.run('calendar_renamed');
SELECT meter.drop_meter('calendar_renamed', 'd');
SELECT meter.create_meter('calendar_renamed', 'd', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'America/New_York');
CALL meter.run('calendar_renamed');
SELECT period_start, trim_scale(sum(quantity) / 60) AS hours, count(*) FROM calendar_renamed.usage GROUP BY 1 ORDER BY 1;
SELECT meter.drop_meter('calendar_renamed', 'd');
SELECT meter.create_meter('calendar_renamed', 'd', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', timezone => 'America/Chicago');
CALL meter.run('calendar_renamed');
SELECT period_start, trim_scale(sum(quantity) / 60) AS hours, count(*) FROM calendar_renamed.usage GROUP BY 1 HAVING sum(quantity) <> 0 ORDER BY 1;
SELECT timezone, min(day), max(day), count(*) FROM calendar_renamed._calendar GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('calendar_renamed');
