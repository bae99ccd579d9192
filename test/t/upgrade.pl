# Promise: ALTER EXTENSION meter UPDATE takes a database from an older version to this one, data and all: afterwards functions, catalog,
# privileges and streams are those of a new installation, what pg_dump carries is the same, and usage goes on as if nothing had been. A
# library whose version is not that of the SQL says so.
#
# The older version is made here, of this one: without some functions and with streams of an older shape. Nothing is installed anew.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('upgrade');
my $extensions = $node->safe_psql('postgres', q{SELECT current_setting('extension_destdir', true)}) // '';
chomp(my $shared = `pg_config --sharedir`);
$extensions .= "$shared/extension";
my ($version) = slurp_file("$extensions/meter.control") =~ /default_version = '(.*?)'/;
my $script = slurp_file("$extensions/meter--$version.sql");
plan skip_all => "cannot write to $extensions" unless -w $extensions;

# The older version has no functions for consumers and months; the update makes those, and upgrades all streams. Both are removed in the end.
my @newer;
my $older = $script;
foreach my $function ('meter.detach_usage', 'meter.attach_usage', 'meter.chart')
{
	$older =~ s/^(CREATE FUNCTION \Q$function\E\(.*?^COMMENT ON FUNCTION \Q$function\E\(.*?';\n)//ms or die "no $function";
	push @newer, $1;
}
my ($old, $next) = ('0.0.9', '99.0');
my @made = ("$extensions/meter--$old.sql", "$extensions/meter--$old--$version.sql", "$extensions/meter--$version--$next.sql");
append_to_file($made[0], $older);
append_to_file($made[1], join("\n", @newer, map { slurp_file("$FindBin::RealBin/../../src/$_") } 'privileges.sql', 'updates/end.sql'));
append_to_file($made[2], "SELECT 1;\n");
END { unlink @made if @made }

# What is in a database: objects of the extension, their comments and privileges, and the tables of streams.
my $contents = <<'SQL';
SELECT string_agg(format('%s %s %s', o.kind, o.what, o.acl), E'\n' ORDER BY kind, what) FROM (
	SELECT 'function' AS kind, format('%s %s %s %s %s', p.oid::regprocedure, coalesce(obj_description(p.oid, 'pg_proc'), 'no comment'), p.provolatile, p.proisstrict, p.prosrc) AS what, p.proacl::text AS acl
		FROM pg_proc p WHERE p.pronamespace IN ('meter'::regnamespace, 'meter_internal'::regnamespace)
	UNION ALL SELECT 'relation', format('%s %s %s', c.oid::regclass, c.relkind, obj_description(c.oid, 'pg_class')), c.relacl::text FROM pg_class c WHERE c.relnamespace = 'meter'::regnamespace
	UNION ALL SELECT 'column', format('%s.%s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod)), a.attacl::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relnamespace IN ('meter'::regnamespace, 'cloud'::regnamespace) AND c.relkind IN ('r', 'v', 'p')
	UNION ALL SELECT 'member', pg_describe_object(d.classid, d.objid, 0), '' FROM pg_depend d WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'meter')) o
SQL
my $setup = <<'SQL';
SELECT FROM meter.create_stream('cloud');
SELECT FROM meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-01Z');
INSERT INTO cloud.event ("time", resource, account, action)
	SELECT timestamptz '2024-03-01Z' + n * interval '7 minutes', 'r' || n % 13, 'a' || n % 3, CASE n / 13 % 2 WHEN 0 THEN 'start' ELSE 'stop' END FROM generate_series(0, 999) n;
SET meter.now = '2024-03-03Z';
CALL meter.run('cloud');
SQL
my $later = <<'SQL';
SET meter.now = '2024-03-06Z';
CALL meter.run('cloud');
SELECT md5(string_agg(u::text, ';' ORDER BY transaction_id)) FROM (SELECT transaction_id, account, resource, dimensions, period_start, quantity, revision, settlement FROM cloud.usage) u;
SQL
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'fresh', 'updated';
$node->safe_psql('fresh', "CREATE EXTENSION meter; $setup");
$node->safe_psql('updated', "CREATE EXTENSION meter VERSION '$old'");

# The library says that it is another version.
my ($status, undef, $error) = $node->psql('updated', "SELECT meter.create_stream('cloud')");
like($error, qr/the library of extension "meter" is of version \Q$version\E, and the extension in database "updated" of version \Q$old\E.*HINT:  ALTER EXTENSION meter UPDATE/s, 'SQL that is older than the library');
like($node->safe_psql('updated', "SELECT string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'meter'::regnamespace AND proname IN ('detach_usage', 'chart')"), qr/^$/, 'the older version lacks functions');

# Data as the older version had it: this library makes it, under the name of the older version.
$node->safe_psql('updated', "UPDATE pg_extension SET extversion = '$version' WHERE extname = 'meter'; $setup");
$node->safe_psql('updated', <<"SQL");
DROP TABLE cloud._detached, cloud._access, cloud._tenant;
DROP VIEW cloud.own_rejected;
ALTER TABLE cloud.settlement DROP COLUMN detached_rows;
UPDATE meter.stream SET shape = 0;
UPDATE pg_extension SET extversion = '$old' WHERE extname = 'meter';
SQL

# A dump of the older version is restored, and updated there, too.
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('updated') ], 'a dump of the older version');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'restored: with this version');
is($node->safe_psql('restored', q{SELECT extversion FROM pg_extension WHERE extname = 'meter'}), $version, 'pg_restore makes the version at hand');
($status, undef, $error) = $node->psql('restored', q{SELECT meter.resume('cloud')});
like($error, qr/stream "cloud" was made by an older version of meter.*HINT:  meter\.upgrade_stream\('cloud'\)/s, 'a stream of the older one says so');
$node->safe_psql('restored', q{SELECT meter.upgrade_stream('cloud'); SELECT meter.resume('cloud')});

# The update.
$node->safe_psql('updated', 'ALTER EXTENSION meter UPDATE');
is($node->safe_psql('updated', q{SELECT extversion FROM pg_extension WHERE extname = 'meter'}), $version, 'the extension is updated');
my %fresh = map { $_ => 1 } split /\n/, $node->safe_psql('fresh', $contents);
foreach my $database ('updated', 'restored')
{
	my %found = map { $_ => 1 } split /\n/, $node->safe_psql($database, $contents);
	is(join("\n", grep { !$found{$_} } sort keys %fresh), '', "$database: nothing of a new installation is missing");
	is(join("\n", grep { !$fresh{$_} } sort keys %found), '', "$database: nothing is there that it would not have");
}
is($node->safe_psql('updated', q{SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_class'::regclass AND objid IN (SELECT oid FROM pg_class WHERE relnamespace = 'cloud'::regnamespace)}), '0', 'what the update made of a stream does not belong to the extension');
my $ledger = $node->safe_psql('fresh', $later);
is($node->safe_psql($_, $later), $ledger, "$_: the ledger is the same") foreach 'updated', 'restored';
is($node->safe_psql($_, q{SELECT count(*) FROM meter.verify('cloud')}), '0', "$_: verify is empty") foreach 'updated', 'restored';

# The other way round: SQL of a version that the library does not have yet.
$node->safe_psql('updated', "ALTER EXTENSION meter UPDATE TO '$next'");
($status, undef, $error) = $node->psql('updated', "CALL meter.run('cloud')");
like($error, qr/of version \Q$version\E, and the extension in database "updated" of version \Q$next\E.*HINT:  Install the library of version \Q$next\E, and restart the server if it preloads meter/s, 'SQL that is newer than the library');
$node->stop;
done_testing();
