# Promise: meter and pg_cron get along in one server, whichever is loaded first; meter.schedule has pg_cron advance a stream where there is no
# worker, and verify it, and who has no pg_cron for it is told what to do.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `"@{[ $ENV{PG_CONFIG} || 'pg_config' ]}" --sharedir`;
chomp $sharedir;
plan skip_all => 'pg_cron is not installed' unless -e "$sharedir/extension/pg_cron.control";

sub server
{
	my ($name, $libraries, @more) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = '$libraries'", 'meter.naptime = 1s', 'fsync = off',
			"timezone = 'UTC'", @more, ''));
	$node->start;
	return $node;
}

# An error and its hint, as one text.
sub refusal
{
	my ($node, $database, $sql, @more) = @_;
	my ($stdout, $stderr);
	$node->psql($database, $sql, stderr => \$stderr, @more);
	return $stderr;
}

# A stream of a role without special rights, whose events wait to be settled.
sub prepare
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database") if $database ne 'postgres';
	$node->safe_psql($database, <<"SQL");
CREATE EXTENSION meter;
GRANT CREATE ON DATABASE $database TO owner;
SET ROLE owner;
SELECT meter.create_stream(s) FROM unnest('{cloud,wrong}'::text[]) s;
SELECT meter.create_meter(s, 'vm', starts => '{start}', stops => '{stop}', max_lateness => NULL) FROM unnest('{cloud,wrong}'::text[]) s;
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'vm', 'a', 'start'), ('2024-03-05 10:30Z', 'vm', 'a', 'stop');
INSERT INTO wrong.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'vm', 'a', 'start'), ('2024-03-05 10:30Z', 'vm', 'a', 'stop');
CALL meter.run('wrong');
UPDATE wrong.event SET "time" = '2024-03-05 10:20Z' WHERE action = 'stop';
SQL
	return;
}

# Where pg_cron is missing, one way or another.
my $without = server('without', 'meter');
$without->safe_psql('postgres', "CREATE ROLE owner LOGIN");
prepare($without, 'postgres');
like(refusal($without, 'postgres', "SELECT meter.schedule('cloud')"), qr/pg_cron is not preloaded.*HINT: .*shared_preload_libraries.*CREATE EXTENSION pg_cron/s,
	'not preloaded');
like(refusal($without, 'postgres', "SELECT meter.unschedule('cloud')"), qr/pg_cron is not preloaded/, 'nor to unschedule');
like(refusal($without, 'postgres', "SELECT meter.schedule('nonesuch')"), qr/stream "nonesuch" does not exist/, 'no such stream');
is($without->safe_psql('postgres', "SELECT meter.assert_verified('cloud')"), '', 'the check for jobs works without pg_cron');
$without->stop;

# Alone, over a connection; and with meter after it, by background workers. Both in one go, since pg_cron takes its minute.
my $alone = server('alone', 'pg_cron', "cron.database_name = 'postgres'");
$alone->append_conf('postgresql.conf', "cron.host = '@{[ $alone->host ]}'");
$alone->restart;
my $both = server('both', 'pg_cron,meter', "cron.database_name = 'billing'", 'cron.use_background_workers = on', 'max_worker_processes = 16');
my %home = ($alone->name => 'postgres', $both->name => 'billing');
foreach my $node ($alone, $both)
{
	$node->safe_psql('postgres', "CREATE ROLE owner LOGIN");
	prepare($node, $home{ $node->name });
	like(refusal($node, $home{ $node->name }, "SET ROLE owner; SELECT meter.schedule('cloud')"),
		qr/extension "pg_cron" does not exist.*HINT:  CREATE EXTENSION pg_cron/s, $node->name . ': the extension is missing');
	$node->safe_psql($home{ $node->name }, 'CREATE EXTENSION pg_cron');
	like(refusal($node, $home{ $node->name }, "SET ROLE owner; SELECT meter.schedule('cloud')"),
		qr/permission denied for schema cron.*HINT:  GRANT USAGE ON SCHEMA cron TO owner/s, $node->name . ': the privilege is missing');
	$node->safe_psql($home{ $node->name }, 'GRANT USAGE ON SCHEMA cron TO owner');
}

# Jobs from another database: the hint has what it takes.
prepare($alone, 'elsewhere');
my $refused = refusal($alone, 'elsewhere', "SELECT meter.schedule('cloud', advance => '* * * * *', verify => NULL)");
like($refused, qr/pg_cron keeps its jobs in database "postgres", not in "elsewhere"/, 'another database has the jobs');
my ($statements) = $refused =~ /HINT: [^\n]*\n(.*)/s;
is(() = $statements =~ /schedule_in_database/g, 1, 'the hint has a statement for each job');
$alone->safe_psql('postgres', $statements);

# As a role without special rights, again and again.
my $list = "SELECT job, schedule, command FROM meter.schedule";
my @owner = (extra_params => [ '-U', 'owner' ]);
is($alone->safe_psql('postgres', "$list('cloud')", @owner),
	"meter advance cloud|* * * * *|CALL meter.run('cloud')\nmeter verify cloud|30 3 * * *|SELECT meter.assert_verified('cloud')", 'without the worker');
is($both->safe_psql('billing', "$list('cloud')", @owner), "meter verify cloud|30 3 * * *|SELECT meter.assert_verified('cloud')", 'with the worker');
is($both->safe_psql('billing', "$list('cloud', advance => '*/5 * * * *')", @owner),
	"meter advance cloud|*/5 * * * *|CALL meter.run('cloud')\nmeter verify cloud|30 3 * * *|SELECT meter.assert_verified('cloud')", 'with both, who wants that');
is($both->safe_psql('billing', "$list('cloud', verify => NULL, retention => '3 months')", @owner),
	"meter expire cloud|30 4 * * *|SELECT meter.expire('cloud', now() - '3 mons'::interval)", 'what is not asked for any more goes');
is($both->safe_psql('billing', "SELECT count(*) FROM cron.job WHERE username = 'owner'"), '1', 'no other job is left');
is($both->safe_psql('billing', "SELECT meter.unschedule('cloud')", @owner), '1', 'unschedule removes it');
is($both->safe_psql('billing', "SELECT meter.unschedule('cloud')", @owner), '0', 'and then finds nothing');
like(refusal($both, 'billing', "SELECT meter.schedule('cloud', verify => 'at noon')", @owner), qr/invalid schedule: at noon/, 'a schedule that is none');
like(refusal($both, 'billing', "SELECT meter.schedule('cloud', retention => '-1 day')", @owner), qr/"retention" must be positive/, 'a retention that is none');
$both->safe_psql('billing', 'CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA cron TO stranger');
like(refusal($both, 'billing', "SELECT meter.schedule('cloud')", extra_params => [ '-U', 'stranger' ]), qr/permission denied for stream "cloud"/, 'not one\'s own');

# They run. A ledger that is right passes; one that is not makes the job fail, with how much and what to do.
$_->safe_psql($home{ $_->name }, "$list('cloud', verify => '* * * * *')", @owner) foreach $alone, $both;
$_->safe_psql($home{ $_->name }, "$list('wrong', verify => '* * * * *')", @owner) foreach $alone, $both;
foreach my $node ($alone, $both)
{
	my ($name, $database) = ($node->name, $home{ $node->name });
	my $details = "FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.username = 'owner'";
	ok($node->poll_query_until($database, "SELECT count(*) > 0 $details AND jobname = 'meter verify cloud' AND status = 'succeeded'"),
		"$name: a ledger that is right passes");
	ok($node->poll_query_until($database, "SELECT count(*) > 0 $details AND jobname = 'meter verify wrong' AND status = 'failed'"),
		"$name: one that is wrong fails");
	my $told = $node->safe_psql($database, "SELECT return_message $details AND jobname = 'meter verify wrong' AND status = 'failed' LIMIT 1");
	like($told, qr/ledger of stream "wrong" differs from its events in 1 row/, "$name: and says so");
	ok($node->poll_query_until($database, "SELECT sum(quantity) = 30 FROM cloud.usage"), "$name: the stream is settled");
	is($node->safe_psql($database, "SELECT count(*) FROM meter.verify('cloud')"), '0', "$name: verify agrees");
}
ok($alone->poll_query_until('postgres', "SELECT count(*) > 0 FROM cron.job_run_details WHERE command LIKE 'CALL meter.run%' AND status = 'succeeded'"),
	'pg_cron has run meter.run');
ok($alone->poll_query_until('elsewhere', 'SELECT sum(quantity) = 30 FROM cloud.usage'), 'in the other database, too');
is($both->safe_psql('billing', "SELECT count(*) FROM cron.job WHERE command LIKE 'CALL meter.run%'"), '0', 'which the worker did where there is one');

# A stream that is gone leaves jobs that can be removed.
$alone->safe_psql('postgres', "SELECT meter.drop_stream('wrong', true)", @owner);
is($alone->safe_psql('postgres', "SELECT meter.unschedule('wrong')", @owner), '2', 'jobs of a stream that is gone');
$alone->stop;

# The other order.
$both->append_conf('postgresql.conf', "shared_preload_libraries = 'meter,pg_cron'");
$both->restart;
ok($both->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type IN ('meter launcher', 'pg_cron launcher') OR application_name = 'pg_cron scheduler'"),
	'both launchers run, loaded the other way around');
$both->safe_psql('billing', q{INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:00Z', 'vm', 'a', 'start'), ('2024-03-05 11:15Z', 'vm', 'a', 'stop')});
ok($both->poll_query_until('billing', 'SELECT sum(quantity) = 45 FROM cloud.usage'), 'and the worker settles');
is($both->safe_psql('billing', "$list('cloud')", @owner), "meter verify cloud|30 3 * * *|SELECT meter.assert_verified('cloud')", 'and jobs are made');
unlike(slurp_file($both->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$both->stop;
done_testing();
