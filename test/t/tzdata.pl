# Promise: when the server's time zones change (an update of tzdata, another system after a failover or a restore), no day that was billed
# moves, no instant is billed twice, and verify is empty before and after. A zone that is gone fails its own meters alone.
#
# Each server runs in a mount namespace of its own, where it finds the zones that the test writes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scratch = PostgreSQL::Test::Utils::tempdir;
chomp(my $bindir = `pg_config --bindir`);

# Where the server looks for time zones.
chomp(my $configured = `pg_config --configure`);
chomp(my $sharedir = `pg_config --sharedir`);
my $zoneinfo = $configured =~ /--with-system-tzdata=([^' ]+)/ ? $1 : "$sharedir/timezone";

# What a zone file says, from a rule as POSIX has it: its first offset, and all else in the rule at its end.
sub zone_file
{
	my ($offset, $rule) = @_;
	my $block = pack('N6 l> C2 a4', 0, 0, 0, 0, 1, 4, $offset, 0, 0, "LMT\0");
	return ('TZif2' . "\0" x 15 . $block) x 2 . "\n$rule\n";
}

# Mexico had summer time until 2022, Paraguay ended its winter time in 2024: rules from before that, and from after it.
my %rules = (
	old => {
		'America/Mexico_City' => zone_file(-21600, 'CST6CDT,M4.1.0,M10.5.0'),
		'America/Merida'      => zone_file(-21600, 'CST6CDT,M4.1.0,M10.5.0'),
		'America/Asuncion'    => zone_file(-14400, '<-04>4<-03>,M10.1.0/0,M3.4.0/0') },
	new => {
		'America/Mexico_City' => zone_file(-21600, 'CST6'),
		'America/Merida'      => zone_file(-21600, 'CST6'),
		'America/Asuncion'    => zone_file(-10800, '<-03>3') });
my @zones = sort keys %{ $rules{old} };

# Write the zones of a server; a server that is running sees them, too.
sub write_zones
{
	my ($name, %files) = @_;
	mkdir "$scratch/$name";
	foreach my $zone (@zones)
	{
		(my $file = $zone) =~ s{/}{_};
		open(my $handle, '>', "$scratch/$name/$file") or die "$scratch/$name/$file: $!";
		binmode $handle;
		print $handle $files{$zone};
		close $handle;
	}
}

# A shell command that runs its arguments where a server of that name finds its zones.
sub in_namespace
{
	my ($name) = @_;
	my $mounts = join(' && ', map { (my $file = $_) =~ s{/}{_}; "mount --bind '$scratch/$name/$file' '$zoneinfo/$_'" } @zones);
	my ($uid, $gid) = ($<, (split / /, $()[0]);
	return qq(exec unshare --user --map-root-user --mount sh -c "$mounts && exec unshare --user --map-user=$uid --map-group=$gid \\"\\\$@\\"" sh);
}

sub start_in
{
	my ($node, $name) = @_;
	mkdir "$scratch/$name/bin";
	open(my $handle, '>', "$scratch/$name/bin/pg_ctl") or die $!;
	print $handle "#!/bin/sh\n" . in_namespace($name) . qq( "$bindir/pg_ctl" "\$@"\n);
	close $handle;
	chmod 0755, "$scratch/$name/bin/pg_ctl";
	local $ENV{PATH} = "$scratch/$name/bin:$ENV{PATH}";
	$node->start;
}

write_zones('primary', %{ $rules{old} });
write_zones('standby', %{ $rules{new} });
my $probe = in_namespace('primary') . ' true';
plan skip_all => "no zones in $zoneinfo" if grep { !-f "$zoneinfo/$_" } @zones;
plan skip_all => 'mount namespaces are not allowed here' if system("( $probe ) >/dev/null 2>&1") != 0;

my $primary = PostgreSQL::Test::Cluster->new('tzdata');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\njit = off\ntimezone = 'UTC'\n");
start_in($primary, 'primary');
is($primary->safe_psql('postgres', "SELECT '2023-05-01 00:00 America/Mexico_City'::timestamptz, '2025-05-01 00:00 America/Asuncion'::timestamptz"),
	'2023-05-01 05:00:00+00|2025-05-01 04:00:00+00', 'the old rules');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('tzdata_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);

# Settled by the old rules.
sub meters
{
	my ($stream, $zone) = @_;
	return join "\n", map { "SELECT FROM meter.create_meter('$stream', '$_->[0]', period => '$_->[0]', increment => '$_->[1]', starts => '{start}', stops => '{stop}', "
		  . "dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL, timezone => '$zone');" }
	  [ '1 hour', '1 minute' ], [ '6 hours', '1 hour' ], [ '1 day', '1 day' ], [ '1 week', '1 hour' ], [ '1 month', '1 day' ];
}
$primary->safe_psql('postgres', 'CREATE EXTENSION meter; SET client_min_messages = warning;' . join "\n", map { "SELECT FROM meter.create_stream('$_->[0]');" . meters(@$_) }
	  [ 'mexico', 'America/Mexico_City' ], [ 'paraguay', 'America/Asuncion' ]);
$primary->safe_psql('postgres', <<'SQL');
INSERT INTO mexico.event ("time", resource, account, action) VALUES ('2023-03-01 06:00Z', 'always', 'a', 'start'), ('2023-04-12 12:00Z', 'clock', NULL, 'tick');
INSERT INTO paraguay.event ("time", resource, account, action) VALUES ('2025-02-01 03:00Z', 'always', 'a', 'start'), ('2025-03-26 12:00Z', 'clock', NULL, 'tick');
CALL meter.run();
SQL

# What always ran is billed for each minute once; where the days begin; what verify finds.
sub state
{
	my ($node, $database) = @_;
	return join "\n", map { $node->safe_psql($database || 'postgres', <<"SQL") } 'mexico', 'paraguay';
SELECT '$_', s.meter, extract(epoch FROM s.watermark - (SELECT min("time") FROM $_.event)) / 60 = (SELECT sum(quantity) FROM $_.usage u WHERE u.meter = s.meter AND resource = 'always'),
	(SELECT count(*) FROM meter.verify('$_', s.meter)), s.last_error
FROM meter.status s WHERE s.stream = '$_' ORDER BY 2;
SELECT string_agg(to_char(period_start, 'DD"T"HH24') || ' ' || quantity / 60, ', ' ORDER BY period_start)
FROM (SELECT period_start, sum(quantity)::int AS quantity FROM $_.usage WHERE meter = '1 day' AND resource = 'always' GROUP BY 1) u WHERE quantity <> 1440;
SQL
}
my $right = join '', map { my $stream = $_; join '', map { "$stream|$_|t|0|\n" } '1 day', '1 hour', '1 month', '1 week', '6 hours' } 'mexico', 'paraguay';
sub right
{
	my ($mexico, $paraguay) = @_;
	my ($one, $two) = $right =~ /^((?:mexico.*\n)+)((?:paraguay.*\n)+)$/ or die;
	return "$one$mexico\n$two$paraguay";
}
my $before = right('02T06 23', '22T03 25');
is(state($primary), $before, 'settled by the old rules');
my $dump = $primary->basedir . '/dump';
$primary->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $primary->connstr('postgres') ], 'pg_dump');
start_in($standby, 'standby');
$primary->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', "SELECT '2023-05-01 00:00 America/Mexico_City'::timestamptz"), '2023-05-01 06:00:00+00', 'the standby has the new rules');
is(state($standby), $before, 'nothing has moved there');

# From here on by the new rules; late rows from before the change, and from before all that was recorded.
sub go_on
{
	my ($node, $database) = @_;
	$node->safe_psql($database || 'postgres', <<'SQL');
INSERT INTO mexico.event ("time", resource, account, action) VALUES ('2023-05-09 06:00Z', 'clock', NULL, 'tick'),
	('2023-04-05 05:30Z', 'late', 'b', 'start'), ('2023-04-05 05:40Z', 'late', 'b', 'stop'), ('2023-02-05 06:00Z', 'early', 'b', 'start'), ('2023-04-07 06:00Z', 'early', 'b', 'stop');
INSERT INTO paraguay.event ("time", resource, account, action) VALUES ('2025-05-06 03:00Z', 'clock', NULL, 'tick'),
	('2025-03-24 03:30Z', 'late', 'b', 'start'), ('2025-03-24 03:40Z', 'late', 'b', 'stop');
CALL meter.run();
CALL meter.run();
SQL
	is($node->safe_psql($database || 'postgres', <<'SQL'), "mexico|05T05|1440\nparaguay|23T04|1440", 'late rows find the days as they were billed');
SELECT 'mexico', to_char(period_start, 'DD"T"HH24'), quantity FROM mexico.usage WHERE meter = '1 day' AND resource = 'late'
UNION ALL SELECT 'paraguay', to_char(period_start, 'DD"T"HH24'), quantity FROM paraguay.usage WHERE meter = '1 day' AND resource = 'late'
SQL
}

# early began before what always ran, so that is compared from its own start
sub state_of_always
{
	my ($node, $database) = @_;
	my $state = $node->safe_psql($database || 'postgres', <<'SQL');
SELECT s.stream, bool_and(extract(epoch FROM s.watermark - u.since) / 60 = u.minutes), (SELECT count(*) FROM meter.verify(s.stream)), string_agg(s.last_error, ' ')
FROM meter.status s JOIN (
	SELECT 'mexico' AS stream, meter, sum(quantity) AS minutes, '2023-03-01 06:00Z'::timestamptz AS since FROM mexico.usage WHERE resource = 'always' GROUP BY 2
	UNION ALL SELECT 'paraguay', meter, sum(quantity), '2025-02-01 03:00Z' FROM paraguay.usage WHERE resource = 'always' GROUP BY 2) u USING (stream, meter)
GROUP BY 1 ORDER BY 1;
SELECT string_agg(to_char(period_start, 'DD"T"HH24') || ' ' || quantity / 60, ', ' ORDER BY period_start)
FROM (SELECT period_start, sum(quantity)::int AS quantity FROM mexico.usage WHERE meter = '1 day' AND resource = 'always' GROUP BY 1
	UNION ALL SELECT period_start, sum(quantity)::int FROM paraguay.usage WHERE meter = '1 day' AND resource = 'always' GROUP BY 1) u WHERE quantity <> 1440;
SQL
	return $state;
}
my $after = "mexico|t|0|\nparaguay|t|0|\n02T06 23, 13T05 25, 22T03 25, 27T04 23";

$standby->promote;
go_on($standby);
is(state_of_always($standby), $after, 'promoted: each instant once, the days of the change are longer and shorter');
$standby->stop;

write_zones('primary', %{ $rules{new} });
is(state($primary), $before, 'changed while the server runs: nothing has moved');
go_on($primary);
is(state_of_always($primary), $after, 'and it goes on');

$primary->safe_psql('postgres', 'CREATE DATABASE restored');
$primary->command_ok([ 'pg_restore', '--exit-on-error', '-d', $primary->connstr('restored'), $dump ], 'pg_restore');
$primary->safe_psql('restored', "SELECT meter.resume('mexico'), meter.resume('paraguay')");
is(state($primary, 'restored'), $before, 'restored: nothing has moved');
go_on($primary, 'restored');
is(state_of_always($primary, 'restored'), $after, 'and it goes on');

# The zone is gone: its meters say so, others go on; and these are made again under another name of it.
write_zones('primary', %{ $rules{new} }, 'America/Mexico_City' => '');
my ($status, $stdout, $stderr) = $primary->psql('postgres', <<'SQL');
INSERT INTO mexico.event ("time", resource, action) VALUES ('2023-05-16 06:00Z', 'clock', 'tick');
INSERT INTO paraguay.event ("time", resource, action) VALUES ('2025-05-13 03:00Z', 'clock', 'tick');
CALL meter.run();
SELECT stream, count(last_error), max(watermark) FROM meter.status GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM mexico.anomaly WHERE class <> 'not counted';
SELECT count(*) FROM meter.verify('mexico');
SQL
is($stdout, "mexico|5|2023-05-09 06:00:00+00\nparaguay|0|2025-05-13 03:00:00+00\n0\n0", 'a zone that is gone fails its own meters alone');
like($stderr, qr/time zone "America\/Mexico_City" not recognized.*HINT:  Drop the meter/s, 'and they say so');
my $ledger = q{SELECT count(*), count(*) FILTER (WHERE revision > 0), sum(quantity) FROM mexico.usage WHERE period_start < '2023-04-30'};
my $billed = $primary->safe_psql('postgres', $ledger);
$primary->safe_psql('postgres', "SELECT meter.drop_meter('mexico', meter) FROM meter.status WHERE stream = 'mexico'; SET client_min_messages = warning;"
	  . meters('mexico', 'America/Merida') . 'CALL meter.run();');
is($primary->safe_psql('postgres', $ledger), $billed, 'made again under another name: what was billed stays');
is(state_of_always($primary), $after, 'and it goes on');

$primary->stop;
done_testing();
