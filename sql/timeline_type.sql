-- Promise: a timeline has one readable text for each value, refuses what is no timeline and says where and why, and is small.
SET timezone = 'America/New_York';		-- the text form depends on no setting
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'postgres';

SELECT '{}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T10:30:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T10:30:00Z) "large" 4, [2024-03-05T11:00:00Z,) "small" @2024-03-05T12:00:00Z}'::meter.timeline;
-- white space between tokens, and what has a canonical form
SELECT E' { [2024-03-05T10:00:00.500000Z,2024-03-05T10:30:00Z)  "a\\u0041\\/\\n" \n -4.50 ,[2024-03-06T00:00:00Z,) } '::meter.timeline;
-- an open span without its last event: there was none after its start
SELECT '{[2024-03-05T11:00:00Z,) "small"}'::meter.timeline;
-- labels are text of any kind, and the empty one is not no label
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "", [2024-03-05T11:00:00Z,2024-03-05T12:00:00Z)}'::meter.timeline;
SELECT meter.timeline(t, true, label) FROM (VALUES ('2024-03-05 10:00Z'::timestamptz, E'quote " back \\ tab \t bell \x07 \u00e4\u20ac')) e (t, label);
-- as far as timestamps go, and before our era
SELECT '{[4714-11-24T00:00:00Z BC,0001-01-01T00:00:00Z BC), [0001-01-01T00:00:00Z,294276-12-31T23:59:59.999999Z)}'::meter.timeline;
-- a run of which only the end is known
SELECT '{(,2024-03-05T11:00:00Z)}'::meter.timeline;

-- What is no timeline. The position counts characters.
SELECT ''::meter.timeline;
SELECT '{'::meter.timeline;
SELECT '{}x'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T10:00:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T09:00:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z), [2024-03-05T10:59:59.999999Z,)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,), [2024-03-06T10:00:00Z,)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "ä", [2024-03-05T11:00:00Z,) "ä"}'::meter.timeline;
SELECT '{[2024-03-05 10:00:00,2024-03-05 11:00:00)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00+01,2024-03-05T11:00:00Z)}'::meter.timeline;
SELECT '{[2024-02-30T10:00:00Z,2024-03-05T11:00:00Z)}'::meter.timeline;
SELECT '{[2023-02-29T10:00:00Z,2024-03-05T11:00:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T24:00:00Z,2024-03-06T11:00:00Z)}'::meter.timeline;
SELECT '{[0000-03-05T10:00:00Z,2024-03-06T11:00:00Z)}'::meter.timeline;
SELECT '{[4714-11-23T00:00:00Z BC,2024-03-06T11:00:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,294277-01-01T00:00:00Z)}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z]}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "a}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "a\"}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "\x"}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "\u0000"}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "\u20ac"}'::meter.timeline;
SELECT E'{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "\n"}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) 1e3}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) 01}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) @2024-03-05T11:00:00Z}'::meter.timeline;
SELECT '{[2024-03-05T10:00:00Z,) @2024-03-05T09:00:00Z}'::meter.timeline;

-- Equality: two that say the same are equal, wherever they come from; so they can be grouped and joined.
SELECT '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) 4.0}'::meter.timeline = '{[2024-03-05T10:00:00.0Z,2024-03-05T11:00:00Z) 4}' AS equal,
	'{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) 4.0}'::meter.timeline <> '{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) 5}' AS different;
-- an orphan stop after the end leaves no trace
SELECT count(DISTINCT line::text), count(*) FROM (
	SELECT meter.timeline(t, a) AS line FROM (VALUES (1, '2024-03-05 10:00Z'::timestamptz, true), (1, '2024-03-05 11:00Z', false),
		(2, '2024-03-05 10:00Z', true), (2, '2024-03-05 11:00Z', false), (2, '2024-03-05 12:00Z', false)) e (g, t, a) GROUP BY g) x;
SELECT count(*) FROM (SELECT line FROM (VALUES ('{}'::meter.timeline), ('{}'), ('{[2024-03-05T10:00:00Z,)}')) v (line) GROUP BY line) x;

-- Size: alternating starts and stops to the microsecond, hours or days apart, take less than ten bytes each.
SELECT n AS events, pg_column_size(line) <= 10 * n AS small
FROM (SELECT n, meter.timeline('2024-03-05Z'::timestamptz + i * interval '17 hours 0.123457 seconds' + (i * 7919 % 1000) * interval '1.000013 seconds', i % 2 = 0) AS line
	FROM unnest('{20,200,2000}'::int[]) n, generate_series(0, n - 1) i GROUP BY n) x ORDER BY n;
-- in whole minutes, three
SELECT pg_column_size(line) <= 3 * 200 AS smaller
FROM (SELECT meter.timeline('2024-03-05Z'::timestamptz + i * interval '97 minutes', i % 2 = 0) AS line FROM generate_series(0, 199) i) x;

-- Long ones are stored out of line, and come back the same.
CREATE TABLE stored (line meter.timeline);
INSERT INTO stored SELECT meter.timeline('2024-03-05Z'::timestamptz + i * interval '61.000001 seconds', i % 2 = 0, 'label ' || i % 77, i % 5) FROM generate_series(1, 100000) i;
SELECT pg_relation_size('stored') < 10000 AS toasted, line = line::text::meter.timeline AS same, (SELECT count(*) FROM meter.spans(line)) AS spans,
	meter.duration(line) FROM stored;
DROP TABLE stored;
