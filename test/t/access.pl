# Promise: docs/operations/access.md says of each table, view and function of a stream who may use it, as it is; access and mappings are in dumps and
# outlive the extension, and what tenants see while anything is missing is nothing.
#
# Where the page is not right, the test says what its table should be.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my @roles = ('owner', 'operator', 'analyst', 'consumer', 'ingest', 'tenant', 'monitor');
my $node = start_server('access');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE owner;
CREATE ROLE operator;
CREATE ROLE analyst;
CREATE ROLE consumer;
CREATE ROLE ingest;
CREATE ROLE tenant;
CREATE ROLE other;
CREATE ROLE monitor IN ROLE pg_monitor;
GRANT CREATE ON DATABASE postgres TO owner;
SET ROLE owner;
SELECT FROM meter.create_stream('cloud');
SELECT FROM meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', since => '2024-03-05Z');
SELECT FROM meter.create_consumer('cloud', 'invoices', from_start => true);
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'vm1', 'acme', 'start'), ('2024-03-05 10:00Z', 'vm2', 'bolt', 'start');
SELECT FROM meter.heartbeat('cloud', 'api', '2024-03-05Z');
SELECT FROM meter.isolate_tenants('cloud');
SELECT FROM unnest(ARRAY['operator', 'analyst', 'consumer', 'ingest']) r CROSS JOIN LATERAL meter.grant_access('cloud', r, r);
SELECT FROM meter.map_account('cloud', 'tenant', 'acme');
SELECT FROM meter.map_account('cloud', 'other', 'bolt');
RESET ROLE;
SET meter.now = '2024-03-05 12:30Z';
CALL meter.run('cloud');

-- Whether a role may do something: anything but its being refused says so, and nothing of it stays.
CREATE FUNCTION may(role text, call text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE call;
	RAISE EXCEPTION 'done' USING ERRCODE = 'ZZ001';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE <> '42501';
END $$;
CREATE FUNCTION count_as(role text, query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE query INTO n;
	PERFORM set_config('role', 'none', true);
	RETURN n;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN -1;
END $$;
-- A call with the arguments that have no defaults.
CREATE FUNCTION call_of(f oid) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT * FROM meter.%I(%s)', p.proname, string_agg(CASE
		WHEN p.proname = 'explain' AND a.name = 'transaction_id' THEN format('%L', (SELECT min(transaction_id::text) FROM cloud.usage WHERE account = 'acme'))
		WHEN a.type = 'bytea'::regtype THEN $x$'\x'$x$ WHEN a.type = 'meter.event[]'::regtype THEN $x$VARIADIC '{}'$x$
		ELSE CASE a.name WHEN 'stream' THEN $x$'cloud'$x$ WHEN 'meter' THEN $x$'vm'$x$ WHEN 'consumer' THEN $x$'invoices'$x$ WHEN 'batch' THEN '1' WHEN 'role' THEN $x$'other'$x$ WHEN 'access' THEN $x$'ingest'$x$
			WHEN 'source' THEN $x$'api'$x$ WHEN 'account' THEN $x$'acme'$x$ WHEN 'resource' THEN $x$'vm1'$x$ WHEN 'document' THEN $x$'[]'$x$
			WHEN 'at' THEN $x$'2024-03-05 11:00Z'$x$ WHEN 'before' THEN $x$'2024-01-01Z'$x$ WHEN 'month' THEN $x$'2024-03-01Z'$x$ WHEN 'during' THEN $x$'[2024-03-05 10:00Z, 2024-03-05 12:00Z)'$x$ WHEN 'watermark' THEN $x$'2024-03-05 11:00Z'$x$ ELSE 'NULL' END END, ', ' ORDER BY a.n))
	FROM pg_proc p CROSS JOIN LATERAL unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY a (type, name, n)
	WHERE p.oid = f AND a.n <= p.pronargs - p.pronargdefaults OR p.oid = f AND a.n = 1 GROUP BY p.proname
$$;
SQL

# --- the table --------------------------------------------------------------

my $columns = join(', ', map { "'$_'" } @roles);
my @relations = split /\n/, $node->safe_psql('postgres', <<"SQL");
SELECT format('| `%s` | %s |', c.relname, (SELECT string_agg(CASE
		WHEN r.role = 'owner' THEN 'all'
		ELSE concat_ws(', ', CASE WHEN NOT has_table_privilege(r.role, c.oid, 'SELECT') OR NOT has_schema_privilege(r.role, 'cloud', 'USAGE') THEN NULL
				WHEN c.relname = 'own_rejected' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account')
					AND count_as(r.role, format('SELECT count(DISTINCT account) FROM %s', c.oid::regclass)) BETWEEN 0 AND count_as('owner', format('SELECT count(DISTINCT account) FROM %s', c.oid::regclass)) - 1
				THEN 'read own' ELSE 'read' END,
			CASE WHEN has_table_privilege(r.role, c.oid, 'INSERT') THEN 'insert' WHEN has_any_column_privilege(r.role, c.oid, 'INSERT') THEN 'insert, but not arrival' END,
			CASE WHEN has_any_column_privilege(r.role, c.oid, 'UPDATE') THEN 'update' END, CASE WHEN has_table_privilege(r.role, c.oid, 'DELETE') THEN 'delete' END) END, ' | ' ORDER BY r.n)
	FROM unnest(ARRAY[$columns]) WITH ORDINALITY r (role, n)))
FROM pg_class c WHERE c.relnamespace = 'cloud'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname !~ '^_|_[0-9]+\\Z' ORDER BY c.relname COLLATE "C"
SQL
my @views = split /\n/, $node->safe_psql('postgres', <<"SQL");
SELECT format('| `meter.%s` | %s |', v.view, (SELECT string_agg(CASE WHEN count_as(r.role, format('SELECT count(*) FROM meter.%I WHERE stream = ''cloud''', v.view)) > 0 THEN 'read' ELSE '' END, ' | ' ORDER BY r.n)
	FROM unnest(ARRAY[$columns]) WITH ORDINALITY r (role, n)))
FROM unnest(ARRAY['status', 'source_status', 'consumer_status']) WITH ORDINALITY v (view, n) ORDER BY v.n
SQL
my @functions = split /\n/, $node->safe_psql('postgres', <<"SQL");
SET meter.now = '2024-03-05 12:30Z';
SELECT format('| `meter.%s` | %s |', f.proname, (SELECT string_agg(CASE WHEN NOT may(r.role, call_of(f.oid)) THEN '' WHEN r.role = 'tenant' THEN 'own' ELSE 'yes' END, ' | ' ORDER BY r.n) FROM unnest(ARRAY[$columns]) WITH ORDINALITY r (role, n)))
FROM pg_proc f WHERE f.pronamespace = 'meter'::regnamespace AND f.prokind = 'f' AND f.proargnames[1] = 'stream' AND f.provolatile <> 'i' AND f.proname NOT IN ('create_stream', 'unschedule') ORDER BY f.proname COLLATE "C"
SQL
# A procedure that commits is called by itself. What makes streams, or removes the caller's own jobs, is left out.
my $run = '| `meter.run` | ' . join(' | ', map { ($node->psql('postgres', "SET meter.now = '2024-03-05 12:30Z'; SET ROLE $_; CALL meter.run('cloud')"))[0] == 0 ? 'yes' : '' } @roles) . ' |';
@functions = sort { ($a =~ /`(.*?)`/)[0] cmp($b =~ /`(.*?)`/)[0] } @functions, $run;

my $table = join("\n", '| | ' . join(' | ', @roles) . ' |', '|' . ' --- |' x (@roles + 1), @relations, @views, @functions) . "\n";
$table =~ s/ +\|/ |/g;
$table =~ s/\bmonitor \|/`pg_monitor` |/;
my $page = "$FindBin::RealBin/../../docs/operations/access.md";
my ($told) = slurp_file($page) =~ /^<!-- made by test\/t\/access\.pl -->\n(.*?)^<!-- end -->$/ms;
is($told // '', $table, 'the page tells who may what');
diag("the table should be:\n$table") if ($told // '') ne $table;

# No function asks for an access that it does not name in its hint, and what strangers are told is who can help.
is($node->safe_psql('postgres', <<'SQL'), '', 'a stranger may call none of them');
CREATE ROLE stranger;
SELECT f.proname FROM pg_proc f WHERE f.pronamespace = 'meter'::regnamespace AND f.prokind = 'f' AND f.proargnames[1] = 'stream' AND f.provolatile <> 'i' AND f.proname NOT IN ('create_stream', 'unschedule') AND may('stranger', call_of(f.oid))
SQL

# --- locks ------------------------------------------------------------------

# Who reads keeps a change of policies waiting, and it gives up soon.
my $reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM cloud.usage});
my ($code, undef, $error) = $node->psql('postgres', q{CREATE ROLE late; SELECT FROM meter.grant_access('cloud', 'late', 'analyst')});
like($error, qr/stream "cloud" is in use/, 'a stream that isolates tenants is in use');
is($node->safe_psql('postgres', q{SELECT FROM meter.map_account('cloud', 'late', 'bolt'); SET ROLE late; SELECT DISTINCT account FROM cloud.usage}), 'bolt', 'mapping waits for nobody');
$reader->query_safe('COMMIT');
$reader->quit;
$node->safe_psql('postgres', q{SELECT FROM meter.unmap_account('cloud', 'late')});

# --- dump, restore, and the extension gone -----------------------------------

my $who = <<'SQL';
SET ROLE tenant; SELECT 'tenant', string_agg(DISTINCT account, ' ') FROM cloud.usage; SELECT 'tenant view', string_agg(DISTINCT account, ' ') FROM cloud.usage_total; SELECT 'tenant live', string_agg(DISTINCT account, ' ') FROM cloud.current_usage;
SET ROLE analyst; SELECT 'analyst', string_agg(DISTINCT account, ' ') FROM cloud.usage; SELECT 'analyst live', string_agg(DISTINCT account, ' ') FROM cloud.current_usage;
RESET ROLE;
SQL
my %right = ('tenant' => 'acme', 'tenant view' => 'acme', 'tenant live' => 'acme', 'analyst' => 'acme bolt', 'analyst live' => 'acme bolt');
is_deeply(answers($node, $who), \%right, 'tenants and analysts see what is theirs');
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
is_deeply(answers($node, $who, 'restored'), \%right, 'restored: they see the same');
# In another cluster the role has another OID.
is($node->safe_psql('restored', q{UPDATE cloud._tenant SET role_id = 1; SET ROLE tenant; SELECT count(*) FROM cloud.usage}), '0', 'restored elsewhere, tenants see nothing');
$node->safe_psql('restored', q{SELECT FROM meter.resume('cloud')});
is_deeply(answers($node, $who, 'restored'), \%right, 'resumed: they see the same');
is($node->safe_psql('restored', q{SELECT count(*) FROM meter.verify('cloud')}), '0', 'nothing was lost');

# The owner dumps all of the ledger, without being told to.
$node->safe_psql('postgres', 'ALTER ROLE owner LOGIN');
$node->command_ok([ 'pg_dump', '-U', 'owner', '-n', 'cloud', '--data-only', '-f', "$dump.owner", '-d', $node->connstr('restored') ], 'the owner dumps');
like(slurp_file("$dump.owner"), qr/\tvm\tbolt\tvm2\t/, 'all rows');

# Without privileges nobody has any; a mapping by itself opens nothing.
$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--no-privileges', '-d', $node->connstr('bare'), $dump ], 'pg_restore --no-privileges');
is($node->safe_psql('bare', q{GRANT USAGE ON SCHEMA cloud TO tenant; GRANT SELECT ON cloud.usage TO tenant; SET ROLE tenant; SELECT count(*) FROM cloud.usage}), '0', 'the name of a role alone says nothing');

# DROP EXTENSION takes views and a policy along: tenants see nothing, until the stream is taken up again.
$node->safe_psql('postgres', 'DROP EXTENSION meter CASCADE');
is($node->safe_psql('postgres', q{SET ROLE tenant; SELECT count(*) FROM cloud.usage}), '0', 'without the extension a tenant sees nothing');
is($node->safe_psql('postgres', q{SET ROLE analyst; SELECT count(DISTINCT account) FROM cloud.usage}), '2', 'an analyst sees the ledger');
$node->safe_psql('postgres', q{CREATE EXTENSION meter; SET ROLE owner; SELECT FROM meter.create_stream('cloud');
	SELECT FROM meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', since => '2024-03-05Z')});
$node->safe_psql('postgres', q{SET meter.now = '2024-03-05 12:30Z'; CALL meter.run('cloud')});
is_deeply(answers($node, $who), \%right, 'taken up again: they see the same');
is($node->safe_psql('postgres', q{SELECT count(*) FROM meter.verify('cloud')}), '0', 'verify is empty');

# A role that is renamed keeps its access; its accounts are mapped by name, and are mapped anew.
$node->safe_psql('postgres', 'ALTER ROLE analyst RENAME TO auditor; ALTER ROLE tenant RENAME TO lodger');
is($node->safe_psql('postgres', q{SET ROLE auditor; SELECT count(DISTINCT account) FROM cloud.current_usage}), '2', 'a renamed analyst');
is($node->safe_psql('postgres', q{SET ROLE lodger; SELECT count(*) FROM cloud.usage}), '0', 'a renamed tenant sees nothing');
is($node->safe_psql('postgres', q{SELECT FROM meter.map_account('cloud', 'lodger', 'acme'); SET ROLE lodger; SELECT DISTINCT account FROM cloud.usage}), 'acme', 'but once it is mapped again');
is($node->safe_psql('postgres', q{CREATE ROLE tenant; GRANT USAGE ON SCHEMA cloud TO tenant; GRANT SELECT ON cloud.usage TO tenant; SET ROLE tenant; SELECT count(*) FROM cloud.usage}), '0', 'and whoever gets its old name sees nothing');
$node->stop;
done_testing();
