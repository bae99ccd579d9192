# Promise: expiry changes no bill. Of two streams that get the same events and measures, one is rolled and expired again and again; their ledgers
# stay the same.
#
# Who starts something names the account: what nobody has named at the retention boundary stays billed to nobody; each resource that is measured is
# named first. Rows are out of order, late by up to nearly max_lateness, doubled, and taken back. Some meters bill runs, fall silent or see ends;
# accounts change by any action. METER_SEED=n for the same again, METER_WORLDS=n for more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use List::Util qw(max);
use Test::More;

my $seed   = seed();
my $worlds = $ENV{METER_WORLDS} || 1;
my $node   = start_server('expire');
srand($seed);

my $day   = 86400;
my $begin = seconds('2024-03-01T00:00:00Z');

sub one_of { return $_[ rand @_ ]; }

# When a row is taken back: at its time, at the window's edges or out of reach, and never so late that it is held.
sub void_time
{
	my ($now, $time) = @_;
	return max($time + one_of(0, -$day, $day, $day + 1, int(rand(2 * $day)) - $day), int($now - 1.5 * $day));
}

# A batch of events at a clock that stands at $now, as rows of VALUES; remembers what may be sent again or taken back.
sub batch
{
	my ($now, $sent) = @_;
	my @rows;
	for (1 .. 1 + rand 12)
	{
		my $recent = [ grep { $_->{time} > $now - 1.4 * $day } @$sent ];
		if (@$recent && rand() < 0.15)
		{
			my $old = one_of(@$recent);
			my $void = rand() < 0.3;
			push @rows, [ stamp($void ? void_time($now, $old->{time}) : $old->{time} + one_of(0, 0, 600)), $old->{resource}, $void ? undef : $old->{account}, $void ? 'void' : $old->{action}, undef, undef, 's', $old->{id}, $void ? undef : 'vm', undef ];
			next;
		}
		my $event = {
			time     => int($now - one_of(0, 0, 0, 1) * rand(1.5 * $day) - rand(7200)),
			resource => 'r' . int(rand 8),
			action   => one_of('start', 'stop', 'start', 'stop', 'resize', 'resize', rand() < 0.2 ? 'end' : 'own'),
			id       => @$sent + 1 };
		# what has stopped has the id of what started
		$event->{id} = $sent->[-1]{id} if @$sent && rand() < 0.2;
		$event->{account} = $event->{action} eq 'start' ? one_of('a', 'b') : $event->{action} eq 'own' ? one_of('a', 'b', '') : one_of(undef, 'b');
		push @$sent, $event;
		push @rows, [ stamp($event->{time}), $event->{resource}, $event->{account}, $event->{action}, one_of(undef, 'm', 'l'), one_of(undef, 1, 2.5),
			's', one_of(undef, $event->{id}), $event->{action} eq 'start' ? 'vm' : one_of('vm', undef, 'disk'), one_of(undef, undef, 1, 2) ];
	}
	return join(', ', map { '(' . join(', ', map { literal($_) } @$_) . ')' } @rows);
}

# The same of measures, which each sent row keeps the time of; what takes one back is an event.
sub measures
{
	my ($now, $sent) = @_;
	my (@rows, @voids);
	for (1 .. 1 + rand 12)
	{
		my $recent = [ grep { $_->{time} > $now - 1.4 * $day } @$sent ];
		if (@$recent && rand() < 0.2)
		{
			my $old = one_of(@$recent);
			if (rand() < 0.4) { push @voids, [ stamp(void_time($now, $old->{time})), $old->{resource}, undef, 'void', undef, undef, 's', $old->{id} ]; next; }
			push @rows, [ stamp($old->{time} + one_of(0, 600)), stamp($old->{time} + 700), $old->{resource}, undef, int rand 500, one_of('x', 'y'), 's', $old->{id} ];
			next;
		}
		my $measure = { time => int($now - one_of(0, 0, 0, 1) * rand(1.5 * $day) - rand(7200)), resource => 'r' . int(rand 8), id => 'm' . @$sent };
		push @$sent, $measure;
		my $end = $measure->{time} + one_of(0, 0, int rand 1800);
		push @rows, [ stamp($measure->{time}), stamp($end), $measure->{resource}, one_of(undef, undef, undef, 'c'), int rand 1000, one_of('x', 'y'), 's', one_of(undef, $measure->{id}) ];
	}
	return map { my $list = $_; join(', ', map { '(' . join(', ', map { literal($_) } @$_) . ')' } @$list) } \@rows, \@voids;
}

for my $world (1 .. $worlds)
{
	my ($now, @sent, @measured) = ($begin);
	my $script = '';
	foreach my $stream ("kept$world", "old$world")
	{
		my $common = "starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days', since => NULL";
		$node->safe_psql('postgres', "SELECT meter.create_stream('$stream');
			SELECT meter.create_meter('$stream', 'minutes', $common);
			SELECT meter.create_meter('$stream', 'gb', 'weighted', dimensions => '{}', period => '1 day', unit => '1 hour', timezone => 'Europe/Zurich',
				$common);
			SELECT meter.create_meter('$stream', 'days', dimensions => '{offering,source}', period => '1 day', $common);
			SELECT meter.create_meter('$stream', 'calls', entity => 'vm', ends => '{end}', dimensions => '{}', rounding_of => 'run', increment => '7 minutes', minimum => '3 hours',
				liveness => '6 hours', $common);
			SELECT meter.create_meter('$stream', 'fees', aggregate => 'runs', ends => '{end}', $common);
			SELECT meter.create_meter('$stream', 'least', 'weighted', rounding => 'none', minimum => '2 days', unit => '1 hour', liveness => '30 hours', $common)");
		my $measured = "dimensions => '{way}', lateness => '0', max_lateness => '2 days', since => NULL";
		$node->safe_psql('postgres', "SELECT meter.create_meter('$stream', a, a, $measured) FROM unnest('{sum,counter,max}'::text[]) a;
			SELECT meter.create_meter('$stream', 'wraps', 'counter', modulus => 800, drops => 'ignore', begins => 'zero', $measured);
			SELECT meter.create_meter('$stream', 'begun', 'counter', begins => 'start', $measured);
			INSERT INTO $stream.event (\"time\", resource, account, action) SELECT '2024-02-29 00:00Z', 'r' || i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, 'name' FROM generate_series(0, 7) i");
	}
	for (1 .. 30)
	{
		$now += rand(20 * 3600);
		my $rows = batch($now, \@sent);
		my ($measures, $voids) = measures($now, \@measured);
		my $clock = "SET meter.now = '" . stamp($now) . "'; SET client_min_messages = warning;\n";
		my $part = $clock;
		foreach my $stream ("kept$world", "old$world")
		{
			$part .= "INSERT INTO $stream.event (\"time\", resource, account, action, offering, value, source, id, entity, sequence)
				SELECT t::timestamptz, r, a, x, o, v::numeric, s, i, e, q::bigint FROM (VALUES $rows) e (t, r, a, x, o, v, s, i, e, q);\n";
			$part .= "INSERT INTO $stream.measure (start_time, end_time, resource, account, value, attributes, source, id)
				SELECT t::timestamptz, e::timestamptz, r, a, v::numeric, jsonb_build_object('way', w), s, i FROM (VALUES $measures) m (t, e, r, a, v, w, s, i);\n" if $measures;
			$part .= "INSERT INTO $stream.event (\"time\", resource, account, action, offering, value, source, id)
				SELECT t::timestamptz, r, a, x, o, v::numeric, s, i FROM (VALUES $voids) e (t, r, a, x, o, v, s, i);\n" if $voids;
			$part .= "SET meter.keep_interval = " . one_of(0, 1440) . ";\nCALL meter.run('$stream');\n";
		}
		$part .= "SELECT FROM meter.roll('old$world');\nCALL meter.run('old$world');\n" if rand() < 0.4;
		$part .= "SELECT FROM meter.expire('old$world', '" . stamp($now - rand(6 * $day)) . "');\n" if rand() < 0.4;
		$node->safe_psql('postgres', $part);
	}
	my $usage = sub { "SELECT meter, account, resource, dimensions, period_start, quantity FROM $_[0].usage_total WHERE quantity <> 0" };
	my ($kept, $old) = ($usage->("kept$world"), $usage->("old$world"));
	is($node->safe_psql('postgres', "SELECT * FROM (($kept EXCEPT $old) UNION ALL ($old EXCEPT $kept)) d ORDER BY resource, period_start, meter"), '', "world $world: the ledgers are the same");
	is($node->safe_psql('postgres', "SELECT * FROM meter.verify('kept$world') UNION ALL SELECT * FROM meter.verify('old$world')"), '', "world $world: verify is empty");
	is($node->safe_psql('postgres', "SELECT sum(meter.resettle('old$world', name, NULL)) FROM meter.meter WHERE stream = 'old$world'"), '0', "world $world: settling it anew changes nothing");
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM old$world._expired"), '>', 1, "world $world: something was expired");
}
$node->stop;
done_testing();
