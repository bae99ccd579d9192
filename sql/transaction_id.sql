-- Promise: a usage row's name follows from what it is about, so any program can compute it, and the rows of one resource in one period
-- are a range of the ledger's key.
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- Four names that are fixed for ever: a dimension that is not known, one that is empty, no account, and a first adjustment.
SELECT what, id, id = expected AS as_decided
FROM (VALUES
	('a is unknown', meter.transaction_id('s', 'm', 'r', 'A', '{"offering": "x", "a": null}', '2024-03-05T10:00:00Z', 0), '065e6ed2-0e7c-80b8-8c87-6eb9982f5371'::uuid),
	('a is empty',   meter.transaction_id('s', 'm', 'r', 'A', '{"offering": "x", "a": ""}', '2024-03-05T10:00:00Z', 0), '065e6ed2-0e7c-80b8-8c87-6a54033f1e73'),
	('no account',   meter.transaction_id('s', 'm', 'r', NULL, '{"offering": "x"}', '2024-03-05T10:00:00Z', 0), '065e6ed2-0e7c-80b8-8c87-64afd0e9cc41'),
	('revision 1',   meter.transaction_id('s', 'm', 'r', 'A', '{"offering": "x"}', '2024-03-05T10:00:00Z', 1), '065e6ed2-0e7c-80b8-8c87-664f705a8f6b')) c (what, id, expected);

-- How to compute one: two hashes over texts that each carry their length, and the start of the period.
CREATE FUNCTION pg_temp.framed(words text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(int4send(octet_length(convert_to(words, 'UTF8'))) || convert_to(words, 'UTF8'), '\xffffffff')
$$;
CREATE FUNCTION pg_temp.first_bits(hash bytea, n int) RETURNS bit varying LANGUAGE sql IMMUTABLE AS $$
	SELECT substring(('x' || encode(hash, 'hex'))::bit varying FROM 1 FOR n)
$$;
CREATE FUNCTION pg_temp.transaction_id(stream text, meter text, resource text, account text, dimensions jsonb, period_start timestamptz, revision int)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	about bytea := pg_temp.framed(stream) || pg_temp.framed(meter) || pg_temp.framed(resource);
	named bytea := (SELECT coalesce(string_agg(pg_temp.framed(key) || pg_temp.framed(value), '' ORDER BY convert_to(key, 'UTF8')), '') FROM jsonb_each_text(dimensions));
	h1 bit varying := pg_temp.first_bits(sha256(about), 42);
	h2 bit varying := pg_temp.first_bits(sha256(about || pg_temp.framed(coalesce(account, ''))
		|| int4send((SELECT count(*) FROM jsonb_object_keys(dimensions))::int) || named
		|| int8send((extract(epoch FROM period_start) * 1000000)::bigint) || int4send(revision)), 44);
	seconds bigint := greatest(0, floor(extract(epoch FROM period_start)));
	bits bit varying := substring(seconds::bit(64) FROM 29 FOR 36)		-- 36 bits: the period's start
		|| substring(h1 FROM 1 FOR 12) || B'1000'							-- 12, and version 8
		|| substring(h1 FROM 13 FOR 12) || B'10'							-- 12, and the variant
		|| substring(h1 FROM 25 FOR 18) || h2;								-- 18 and 44
BEGIN
	RETURN encode(int8send(substring(bits FROM 1 FOR 64)::bit(64)::bigint) || int8send(substring(bits FROM 65 FOR 64)::bit(64)::bigint), 'hex')::uuid;
END $$;
SELECT account, dimensions, period_start, revision,
	meter.transaction_id('cloud', 'vm', resource, account, dimensions, period_start, revision)
		= pg_temp.transaction_id('cloud', 'vm', resource, account, dimensions, period_start, revision) AS same
FROM (VALUES
	('r',  'A',  '{}'::jsonb,                                     '2024-03-05 10:00'::timestamptz, 0),
	('r',  '',   '{"offering": "m"}',                             '2024-03-05 10:00', 0),
	('r',  NULL, '{"offering": "m"}',                             '2024-03-05 10:00', 0),
	('é"', 'Zürich', '{"zone": "ö", "Zone": null, "b": "", "aa": "1"}', '2024-03-05 10:30', 12),
	('r',  'A',  '{"a": "x"}',                                    '1969-12-31 23:00', 0),
	('r',  'A',  '{"a": "x"}',                                    '1970-01-01 00:00', 0),
	('r',  'A',  '{"a": "x"}',                                    '4147-01-01 00:00', 2147483647)) c (resource, account, dimensions, period_start, revision);
-- Before 1970 the time bits are 0, and the names differ all the same.
SELECT count(DISTINCT meter.transaction_id('s', 'm', 'r', 'A', '{}', '1969-12-31'::timestamptz + n * interval '1 hour', 0)) AS names,
	count(DISTINCT left(meter.transaction_id('s', 'm', 'r', 'A', '{}', '1969-12-31'::timestamptz + n * interval '1 hour', 0)::text, 11)) AS starts
FROM generate_series(0, 22) n;

-- A UUID as RFC 9562 has it: version 8, variant 10.
SELECT DISTINCT substring(id::text, 15, 1) AS version, substring(id::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant
FROM (SELECT meter.transaction_id('s', 'm', 'r' || n, 'A', '{}', '2024-03-05', n) FROM generate_series(1, 1000) n) q (id);

-- Every part of it counts, and no part can be mistaken for another.
SELECT count(*) AS keys, count(DISTINCT meter.transaction_id(s, m, r, a, d::jsonb, p, v)) AS names
FROM unnest('{s,sm}'::text[]) s, unnest('{m,mr}'::text[]) m, unnest('{r,rA,""}'::text[]) r, unnest('{A,"",Aa}'::text[]) a,
	unnest(ARRAY['{}', '{"a": null}', '{"a": ""}', '{"a": "b"}', '{"ab": ""}', '{"a": "b", "c": null}']) d,
	unnest('{2024-03-05 10:00,2024-03-05 11:00}'::timestamptz[]) p, unnest('{0,1}'::int[]) v;

-- Names grow with the period, and those of one (period, resource) lie side by side: nothing of another resource is between them.
CREATE TEMP TABLE named AS
	SELECT meter.transaction_id('cloud', 'vm', 'r' || r, 'account ' || a, jsonb_build_object('offering', 'm' || a % 3), p, v) AS id, p AS period_start, r AS resource
	FROM generate_series(1, 50) r, generate_series(1, 5) a, generate_series('2024-03-05'::timestamptz, '2024-03-05 05:00', '1 hour') p, generate_series(0, 2) v;
SELECT count(*) AS names, count(DISTINCT id) AS different FROM named;
SELECT count(*) AS runs, count(DISTINCT (period_start, resource)) AS keys
FROM (SELECT period_start, resource, ROW(period_start, resource) IS DISTINCT FROM lag(ROW(period_start, resource)) OVER (ORDER BY id) AS new FROM named) q WHERE new;
SELECT bool_and(period_start >= before) AS grow_with_time FROM (SELECT period_start, lag(period_start) OVER (ORDER BY id) AS before FROM named) q;

-- The rows of a ledger carry these names.
SELECT meter.create_stream('transaction_id_cloud');
SELECT meter.create_meter('transaction_id_cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{offering,zone}', lateness => '0');
INSERT INTO transaction_id_cloud.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 10:15', 'vm1', 'geneva-jug', 'start', 'm'), ('2024-03-05 10:15', 'vm2', NULL, 'start', NULL);
SET meter.now = '2024-03-05 12:00';
SELECT * FROM meter.advance('transaction_id_cloud');
INSERT INTO transaction_id_cloud.event ("time", resource, action) VALUES ('2024-03-05 10:45', 'vm1', 'stop'), ('2024-03-05 11:45', 'vm2', 'stop');
SELECT * FROM meter.advance('transaction_id_cloud');
SELECT transaction_id, period_start, resource, account, dimensions, revision, quantity,
	transaction_id = pg_temp.transaction_id('transaction_id_cloud', meter, resource, account, dimensions, period_start, revision) AS same
FROM transaction_id_cloud.usage ORDER BY transaction_id;
SELECT * FROM meter.verify('transaction_id_cloud');
SET client_min_messages = warning;
SELECT meter.drop_stream('transaction_id_cloud', delete_data => true);

-- What has no name.
SELECT meter.transaction_id(NULL, 'm', 'r', 'A', '{}', '2024-03-05', 0);
SELECT meter.transaction_id('s', 'm', 'r', 'A', '[]', '2024-03-05', 0);
SELECT meter.transaction_id('s', 'm', 'r', 'A', '{"a": 1}', '2024-03-05', 0);
SELECT meter.transaction_id('s', 'm', 'r', 'A', '{}', 'infinity', 0);
SELECT meter.transaction_id('s', 'm', 'r', 'A', '{}', '2024-03-05', NULL);
