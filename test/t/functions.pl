# Promise: whatever a function is called with, it answers or raises an error; the server stays up.
#
# Every function, aggregate and operator of the extension, with arguments picked at random among what is usual, what is at the edge and what is
# none; and what they return is what others are called with.
#
#   METER_SEED=n                  the same choices again
#   METER_FUNCTIONS_SECONDS=n     for how long, 5 s by default
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed    = seed();
my $seconds = $ENV{METER_FUNCTIONS_SECONDS} || 5;
my $node    = start_server('functions');

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE pool (type regtype, expression text);
INSERT INTO pool SELECT 'text'::regtype, quote_literal(x) FROM unnest(ARRAY['cloud', 'vm', 'bytes', '', 'start', 'stop', 'x', 'UTC', 'Europe/Zurich', 'up', 'none', 'duration',
	'sum', 'counter', 'wall', repeat('a', 300), E'\u00e9\u4e2d', 'a''b"c\d', '%s%n', 'r1', '{}', '1 hour']) x;
INSERT INTO pool SELECT 'timestamptz', quote_literal(x) FROM unnest(ARRAY['2024-03-05 10:00Z', '2024-03-05 10:00:00.000001Z', '2024-03-31 02:30 Europe/Zurich', 'infinity', '-infinity',
	'4713-01-01 00:00Z BC', '294276-12-31 23:59:59Z', '1970-01-01Z', '2000-01-01Z', '4147-01-01Z']) x;
INSERT INTO pool SELECT 'interval', quote_literal(x) FROM unnest(ARRAY['1 hour', '1 minute', '0', '-1 day', '1 month', '7 days', '1 microsecond', '178000000 years', '-178000000 years',
	'1 month -30 days', '24:00:01']) x;
INSERT INTO pool SELECT 'numeric', x FROM unnest(ARRAY['0', '1', '-1', '0.5', '1e100', '-1e-100', '''NaN''', '''Infinity''', '1e1000', '12345678901234567890.123456789']) x;
INSERT INTO pool SELECT 'bigint', x FROM unnest(ARRAY['0', '1', '-1', '9223372036854775807', '(-9223372036854775807 - 1)', '4294967296']) x;
INSERT INTO pool SELECT 'integer', x FROM unnest(ARRAY['0', '1', '-1', '2147483647', '(-2147483648)', '7']) x;
INSERT INTO pool SELECT 'double precision', x FROM unnest(ARRAY['0', '1.5', '''NaN''', '''-Infinity''']) x;
INSERT INTO pool SELECT 'boolean', x FROM unnest(ARRAY['true', 'false']) x;
INSERT INTO pool SELECT '"char"', quote_literal(x) FROM unnest(ARRAY['s', 'p', 'c', 'o', 'x', 'g', 'h', 'G', 'K', '?', '']) x;
INSERT INTO pool SELECT 'uuid', quote_literal(gen_random_uuid()) FROM generate_series(1, 3);
INSERT INTO pool SELECT 'bytea', quote_literal(x) FROM unnest(ARRAY['\x', '\x00', '\xff', '\x0a0161', '\x08ffffffffffffffffff01', '\x0800100118022003280a', '\x' || repeat('ff', 100)]) x;
INSERT INTO pool SELECT 'jsonb', quote_literal(x) FROM unnest(ARRAY['{}', '{"offering": "m"}', '{"time": "2024-03-05T10:00:00Z", "resource": "r", "action": "start"}', '[]', 'null', '1',
	'{"since": "2024-03-05", "alive": "x", "meter": "vm"}', '{"a": {"b": [1, 2, null]}}']) x;
INSERT INTO pool SELECT 'tstzrange', quote_literal(x) FROM unnest(ARRAY['[2024-03-05,2024-03-06)', 'empty', '(,)', '[2024-03-05,)', '(,2024-03-05]', '[-infinity,infinity]']) x;
INSERT INTO pool SELECT 'text[]', quote_literal(x) FROM unnest(ARRAY['{}', '{start}', '{stop}', '{start,stop}', '{NULL}', '{""}', '{offering,source}', '{{a,b},{c,d}}',
	'{cloud,vm,duration,01:00:00,00:01:00,up,60000000,UTC,offering}', '{cloud,vm,weighted,1 mon,00:01:00,none,1,Europe/Zurich}', '{a,b,c,d,e,f,g,h}']) x;
INSERT INTO pool SELECT 'bigint[]', quote_literal(x) FROM unnest(ARRAY['{}', '{1}', '{NULL}', '{-1,9223372036854775807}']) x;
INSERT INTO pool SELECT 'timestamptz[]', quote_literal(x) FROM unnest(ARRAY['{}', '{2024-03-05,2024-03-06}', '{infinity,-infinity}', '{NULL}']) x;
INSERT INTO pool SELECT 'oid', x FROM unnest(ARRAY['0', '1', '4294967295']) x;

CREATE FUNCTION prepare() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM meter.create_stream('cloud');
	PERFORM meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
	PERFORM meter.create_meter('cloud', 'bytes', 'sum', lateness => '0', max_lateness => NULL);
	INSERT INTO cloud.event ("time", resource, account, action) SELECT '2024-03-05 10:00Z'::timestamptz + i * interval '10 min', 'r' || i % 5, 'a', CASE i / 5 % 2 WHEN 0 THEN 'start' ELSE 'stop' END
	FROM generate_series(1, 50) i;
	INSERT INTO cloud.measure (start_time, end_time, resource, value) SELECT t, t + '1 hour', 'r1', 10 FROM generate_series('2024-03-05'::timestamptz, '2024-03-06', '1 hour') t;
END $$;

-- One call of a random function: what it raises does not matter, what it returns may be an argument later.
CREATE PROCEDURE call_one() LANGUAGE plpgsql AS $$
DECLARE
	f record;
	args text := '';
	arg text;
	t oid;
	answer text;
BEGIN
	IF to_regnamespace('cloud') IS NULL OR NOT EXISTS (SELECT FROM meter.stream WHERE name = 'cloud') THEN
		IF to_regnamespace('cloud') IS NOT NULL THEN DROP SCHEMA cloud CASCADE; END IF;
		PERFORM prepare();
	END IF;
	SELECT p.oid, p.proname, p.prokind, p.proargtypes, p.prorettype, p.provariadic INTO f FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'meter'
	WHERE p.prokind IN ('f', 'a') AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype) AND NOT 'internal'::regtype = ANY (p.proargtypes)
		AND p.proname NOT IN ('event_out', 'timeline_out', 'event_in', 'timeline_in') ORDER BY random() LIMIT 1;
	FOREACH t IN ARRAY f.proargtypes::oid[] LOOP
		SELECT p.expression INTO arg FROM pool p WHERE p.type = t ORDER BY random() LIMIT 1;
		IF arg IS NULL OR random() < 0.05 THEN arg := 'NULL'; END IF;
		args := args || CASE args WHEN '' THEN '' ELSE ', ' END || arg || '::' || format_type(t, NULL);
	END LOOP;
	IF f.provariadic <> 0 AND args <> '' THEN args := regexp_replace(args, '^(.*, )?', '\1VARIADIC '); END IF;
	BEGIN
		IF f.prokind = 'a' THEN
			EXECUTE format('SELECT x::text FROM (SELECT meter.%I(%s) AS x FROM generate_series(1, 3)) y', f.proname, args) INTO answer;
		ELSE
			EXECUTE format('SELECT x::text FROM (SELECT meter.%I(%s) AS x LIMIT 3) y', f.proname, args) INTO answer;
		END IF;
		IF answer IS NOT NULL AND length(answer) < 2000 AND (SELECT count(*) FROM pool WHERE type = f.prorettype) < 60 THEN
			INSERT INTO pool VALUES (f.prorettype, quote_literal(answer));
		END IF;
		INSERT INTO calls VALUES (f.proname, true) ON CONFLICT (name, answered) DO UPDATE SET times = calls.times + 1;
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE = 'XX000' THEN RAISE WARNING 'internal error: % of %(%)', SQLERRM, f.proname, args; END IF;
		INSERT INTO calls VALUES (f.proname, false) ON CONFLICT (name, answered) DO UPDATE SET times = calls.times + 1;
	END;
END $$;
CREATE TABLE calls (name text, answered boolean, times bigint DEFAULT 1, PRIMARY KEY (name, answered));
SELECT prepare();
SQL

my $end = time() + $seconds;
my ($rounds, $internal) = (0, '');
my $alive = 1;
while (time() < $end && $alive)
{
	$rounds++;
	my $part = $seed + $rounds;
	my ($status, $stdout, $stderr) = $node->psql('postgres', <<"SQL");
SET client_min_messages = warning;
SET statement_timeout = '20s';
SELECT setseed(($part % 100000) / 100000.0);
DO \$\$ BEGIN FOR i IN 1..200 LOOP CALL call_one(); END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END \$\$;
SQL
	$internal .= join("\n", grep { /internal error/ } split(/\n/, $stderr));
	$alive = $node->psql('postgres', 'SELECT 1') == 0 && $stderr !~ /server closed the connection|terminat/;
	diag("seed part $part: $stderr") unless $alive;
}
ok($alive, 'the server stays up');
is($internal, '', 'no error is one of those that cannot happen');
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'and nothing of it is in the log');
my ($names, $answered, $times) = split /\|/, $node->safe_psql('postgres', 'SELECT count(DISTINCT name), count(*) FILTER (WHERE answered), sum(times) FROM calls');
diag("$times calls of $names functions, of which $answered answered at least once");
cmp_ok($times, '>', 100, 'there were calls');
$node->stop;
done_testing();
