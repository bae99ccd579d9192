#!/usr/bin/perl
# A month of a small cloud, and all that goes wrong in one, as files for demo/run.
#
#     demo/cloud.pl FOLDER [END [SEED]]
#
# The cloud has 200 machines in two regions. Its month has 30 days and the part of the day that END (seconds since 1970, now
# if it is not said) lies in. The same seed gives the same month: only the dates, the weekends and the end differ.
#
#     NNN.event.csv        what is delivered within a day NNN: time,source,id,resource,account,entity,action,offering,value
#     NNN.inventory.csv    each fifth day, what runs in each region at its end: source,at,resource,account,entity,offering,value,since
#     NNN.until            the end of the day
#     truth.csv            resource,account,offering,hour and what these come to: see reckon()
#     summary              what goes wrong, and how often: a count and its name a line
#     setting              what the script that plays the files must know: psql variables, \set a line
#
# The truth knows nothing of meter: it comes from what the machines did, and from what a careful clerk could know of that.

use strict;
use warnings;

my ($folder, $end, $seed) = @ARGV;
die "usage: cloud.pl FOLDER [END [SEED]]\n" unless defined $folder && -d $folder;
$end  ||= time();
$seed ||= 20161212;
srand($seed);

use constant { MINUTE => 60, HOUR => 3600, DAY => 86400, SLICE => 86400 };

# Each fifth day ends with an inventory, and so does the month.
use constant INVENTORY_SLICES => 5;

# Times are seconds since the month began, at a midnight in UTC.
my $begin = $end - $end % DAY - 30 * DAY;
$end -= $begin;

my %vcpus    = (small => 1, medium => 2, large => 4, xlarge => 8);
my @accounts = qw(acme brightfox cobalt driftwood evergreen fjord granite harbor);

# From 13:00 to 16:00 of a day the message bus of a region is away, and what it had is lost. On another day the clock of a host
# is two hours ahead.
my ($outage_region, $outage_from, $outage_to) = ('zurich', 19 * DAY + 13 * HOUR, 19 * DAY + 16 * HOUR);
my ($ahead_from, $ahead_to, $ahead_by) = (12 * DAY + 8 * HOUR, 12 * DAY + 18 * HOUR, 2 * HOUR);

my @messages;      # by the day in which they are delivered
my @inventory;     # by the day at whose end it is true
my @truth;
my %count = map { $_ => 0 } qw(machines messages late lost doubled moved resized void ahead);

month();
write_files();

# --- what the machines do -----------------------------------------------------------------------------------------------

sub month
{
	story();
	foreach my $region ('geneva', 'zurich')
	{
		server($region, $_) foreach 1 .. 40;
		desktop($region, $_) foreach 1 .. ($region eq 'geneva' ? 35 : 30);
		spot($region, $_) foreach 1 .. 15;
		builder($region, $_) foreach 1 .. ($region eq 'geneva' ? 8 : 5);
	}
	fleet();
	clock_ahead_today();
	return;
}

# The machine that the report follows: resized, restarted within a minute, moved, and a stop that is told six hours late.
sub story
{
	my $day = 27 * DAY;
	machine('geneva', 'shop-1',
		does($day + 9 * HOUR + 760,       'create',   'acme', 'small'),
		does($day + 11 * HOUR + 1810,     'resize',   undef,  'medium'),
		does($day + 13 * HOUR + 920,      'stop'),
		does($day + 13 * HOUR + 950,      'start',    'acme', 'medium'),
		does($day + 16 * HOUR + 185,      'transfer', 'harbor'),
		does($day + 20 * HOUR + 1230,     'stop',     undef, undef, takes => 6 * HOUR),
		does($day + DAY + 7 * HOUR + 300, 'start', 'harbor', 'medium', doubled => 1),
		does($day + DAY + 22 * HOUR,      'delete'));
	return;
}

# Is simply there: now and then a restart, a resize, a transfer; and a backup, which no meter asks for.
sub server
{
	my ($region, $n) = @_;
	my ($account, $offering) = (any_account(), any_offering());
	my $t = rand() < 0.7 ? -between(HOUR, 20 * DAY) : between(0, 25 * DAY);
	my @events = does($t, 'create', $account, $offering);
	$t = 0 if $t < 0;
	while (($t += between(6 * HOUR, 9 * DAY)) < $end)
	{
		my $dice = rand();
		if ($dice < 0.4)
		{
			push @events, does($t, 'stop'), does($t += between(20, 10 * MINUTE), 'start', $account, $offering);
		}
		elsif ($dice < 0.6)
		{
			push @events, does($t, 'resize', undef, $offering = other($offering, sort keys %vcpus));
		}
		elsif ($dice < 0.75)
		{
			push @events, does($t, 'transfer', $account = other($account, @accounts));
		}
		elsif ($dice < 0.95)
		{
			push @events, does($t, 'backup');
		}
		else
		{
			push @events, does($t, 'delete');
			last;
		}
	}
	return machine($region, "web-$n", @events);
}

# Runs on working days from morning to evening, and is off over lunch if somebody thinks of it.
sub desktop
{
	my ($region, $n) = @_;
	my ($account, $offering) = (any_account(), any_offering());
	my @events = (does(-between(10 * DAY, 20 * DAY), 'create', $account, $offering), does(-between(8 * HOUR, DAY), 'stop'));
	for (my $day = 0; $day < $end; $day += DAY)
	{
		my $weekday = (($begin + $day) / DAY + 4) % 7;
		next if $weekday == 0 || $weekday == 6;
		push @events, does($day + between(6 * HOUR, 9 * HOUR), 'start', $account, $offering);
		if (rand() < 0.5)
		{
			my $t = $day + between(11 * HOUR, 12 * HOUR);
			push @events, does($t, 'stop'), does($t + between(20 * MINUTE, HOUR), 'start', $account, $offering);
		}
		push @events, does($day + between(16 * HOUR, 20 * HOUR), 'stop');
	}
	return machine($region, "desk-$n", @events);
}

# Runs for an hour or so whenever there is room, day and night.
sub spot
{
	my ($region, $n) = @_;
	my ($account, $offering) = (any_account(), any_offering());
	my $t = between(0, HOUR);
	my @events = does($t, 'create', $account, $offering);
	while ($t < $end)
	{
		push @events, does($t += between(10 * MINUTE, 3 * HOUR), 'stop');
		push @events, does($t += between(10 * MINUTE, 3 * HOUR), 'start', $account, $offering);
	}
	return machine($region, "spot-$n", @events);
}

# Runs while something is built, from morning to evening. Those of one region are on the host whose clock goes wrong.
sub builder
{
	my ($region, $n) = @_;
	my $account = any_account();
	my @events = (does(-2 * DAY, 'create', $account, 'xlarge'), does(-2 * DAY + 20 * MINUTE, 'stop'));
	for (my $t = 6 * HOUR; $t < $end; $t += between(20 * MINUTE, 3 * HOUR))
	{
		next if $t % DAY < 6 * HOUR || $t % DAY > 21 * HOUR;
		push @events, does($t, 'start', $account, 'xlarge');
		push @events, does($t += between(2 * MINUTE, 25 * MINUTE), 'stop');
	}
	if ($region eq 'geneva')
	{
		$_->{ahead} = 1 foreach grep { $_->{t} >= $ahead_from && $_->{t} < $ahead_to } @events;
	}
	return machine($region, "build-$n", @events);
}

# While the bus is away, a customer deletes five old machines and makes five new ones.
sub fleet
{
	foreach my $n (1 .. 5)
	{
		machine($outage_region, "old-$n", does(-3 * DAY - $n * 600, 'create', 'cobalt', 'large'),
			does($outage_from + $n * 1201, 'delete', undef, undef, lost => 1));
		machine($outage_region, "new-$n", does($outage_from + $n * 1501, 'create', 'cobalt', 'medium', lost => 1),
			$n == 5 ? does($outage_from + 2 * DAY, 'delete') : ());
	}
	return;
}

# A machine of today whose message carries a time of tomorrow; the inventory has it all the same.
sub clock_ahead_today
{
	return machine('geneva', 'early-1', does($end - $end % HOUR - 40 * MINUTE, 'create', 'fjord', 'small', future => 1));
}

sub does
{
	my ($t, $action, $account, $offering, %how) = @_;
	$t++ if $t % SLICE == 0;
	return { t => $t, action => $action, account => $account, offering => $offering, %how };
}

# --- what becomes of the messages ---------------------------------------------------------------------------------------

sub machine
{
	my ($region, $name, @events) = @_;
	my $resource = "$region-$name";
	@events = grep { $_->{t} < $end } @events;
	$count{machines}++;
	foreach my $i (0 .. $#events)
	{
		my $event = $events[$i];
		my $next = $i < $#events ? $events[ $i + 1 ]->{t} : $end;
		message($region, $resource, $event, $next > inventory_after($event->{t}));
		$count{moved}++   if $event->{action} eq 'transfer';
		$count{resized}++ if $event->{action} eq 'resize';
	}
	my ($ran, $known) = histories($region, $resource, @events);
	reckon($resource, $ran, $known);
	return;
}

# One message on its way. Only the last one before an inventory can get lost: the inventory shows that, and when.
sub message
{
	my ($region, $resource, $event, $last) = @_;
	my $t    = $event->{t};
	my $id   = $region . '-' . ++$count{messages};
	my $dice = rand();
	my $takes = $event->{takes} // ($dice < 0.95 ? between(0, MINUTE) : $dice < 0.985 ? between(MINUTE, 10 * MINUTE) : between(HOUR, between(2 * HOUR, 72 * HOUR)));
	my ($lost, $doubled) = (rand() < 0.01, rand() < 0.03);

	if ($region eq $outage_region && $t >= $outage_from && $t < $outage_to)
	{
		$lost = 1;
		$takes = $outage_to - $t + between(0, MINUTE);
	}
	$takes = $end - $t if $t + $takes > $end;

	if ($event->{future})
	{
		$count{ahead}++;
		deliver($end, $region, $id, $resource, $event, $t + DAY);
	}
	elsif ($event->{lost} || $lost && $last && $t > 0 && !$event->{ahead} && !$event->{takes} && !$event->{doubled} && $event->{action} ne 'backup')
	{
		$count{lost}++;
		$event->{lost} = 1;
	}
	elsif ($event->{ahead})
	{
		# The day after, somebody takes back what that host has said, and says it again.
		$count{ahead}++;
		$count{void}++;
		deliver($t + MINUTE, $region, $id, $resource, $event, $t + $ahead_by);
		deliver($t + DAY, $region, $id, $resource, { action => 'void' }, $t + $ahead_by);
		deliver($t + DAY, $region, "$id-again", $resource, $event, $t);
	}
	else
	{
		$count{late}++ if $takes > HOUR;
		deliver($t + $takes, $region, $id, $resource, $event, $t);
		if ($doubled || $event->{doubled})
		{
			$count{doubled}++;
			deliver($t + $takes + between(1, DAY), $region, $id, $resource, $event, $t);
		}
	}
	return;
}

sub deliver
{
	my ($at, $region, $id, $resource, $event, $says) = @_;
	my $offering = $event->{offering};
	$at = $end if $at > $end;
	push @{ $messages[ $at < 0 ? 0 : slice($at) ] },
	  [ rand(), csv(instant($says), $region, $id, $resource, $event->{account}, 'vm', $event->{action}, $offering, $offering && $vcpus{$offering}) ];
	return;
}

# --- the truth ------------------------------------------------------------------------------------------------------------

# The runs of a machine, as spans of one account and offering: those that were, and those that can be known. A clerk knows the
# messages that were not lost, and looks at each inventory: who is not in it has ended when it was last seen alive, who is in it
# and was not known began when it says, and what else differs holds from then on. What an inventory shows is noted here.
sub histories
{
	my ($region, $resource, @events) = @_;
	my (%was, %known);
	my @events_left = @events;
	foreach my $slice (grep { has_inventory($_) } 0 .. slice($end - 1))
	{
		my $at = slice_end($slice * SLICE);
		while (@events_left && $events_left[0]->{t} < $at)
		{
			my $event = shift @events_left;
			happens(\%was, $event);
			happens(\%known, $event) unless $event->{lost} || $event->{future};
		}
		if ($was{since})
		{
			push @{ $inventory[$slice] },
			  csv($region, instant($at), $resource, $was{account}, 'vm', $was{offering}, $vcpus{ $was{offering} }, instant(${ $was{since} }));
			happens(\%known, { t => ${ $was{since} }, action => 'start', account => $was{account}, offering => $was{offering} }) unless $known{since};
			happens(\%known, { t => $at, action => 'seen', account => $was{account}, offering => $was{offering} });
		}
		elsif ($known{since})
		{
			happens(\%known, { t => $known{alive}, action => 'stop' });
		}
	}
	happens($_, { t => $end, action => 'stop' }) foreach \%was, \%known;
	return ($was{spans}, $known{spans});
}

# since is a reference, for a run can begin at 0.
sub happens
{
	my ($state, $event) = @_;
	my ($t, $action) = @$event{ 't', 'action' };
	return if $action eq 'backup';
	if ($state->{since})
	{
		push @{ $state->{spans} }, [ $state->{from}, $t, $state->{account}, $state->{offering} ] if $t > $state->{from};
		$state->{from} = $t;
	}
	if ($action eq 'stop' || $action eq 'delete')
	{
		$state->{since} = undef;
		return;
	}
	$state->{account}  = $event->{account}  if defined $event->{account};
	$state->{offering} = $event->{offering} if defined $event->{offering};
	if (!$state->{since} && ($action eq 'start' || $action eq 'create'))
	{
		@$state{ 'since', 'from' } = (\$t, $t);
	}
	$state->{alive} = $t;
	return;
}

# By account, offering and hour: minutes that it ran, minutes that can be known, and vCPU seconds of the latter. A minute that was
# begun counts whole and once, for whom it was begun.
sub reckon
{
	my ($resource, $ran, $known) = @_;
	my $last_hour = $end - $end % HOUR;
	my %sum;
	foreach my $which ([ 0, $ran ], [ 1, $known ])
	{
		my ($column, $spans) = @$which;
		my $billed = -1e9;
		foreach my $span (@{ $spans // [] })
		{
			my ($from, $to, $account, $offering) = @$span;
			my $first = $from - $from % MINUTE;
			my $minutes_to = $to + -$to % MINUTE;
			$first = $billed if $first < $billed;
			$billed = $minutes_to if $minutes_to > $billed;
			each_hour($first, $minutes_to, $last_hour, sub { $sum{"$account,$offering,$_[0]"}[$column] += $_[1] / MINUTE });
			each_hour($from, $to, $last_hour, sub { $sum{"$account,$offering,$_[0]"}[2] += $_[1] * $vcpus{$offering} }) if $column == 1;
		}
	}
	push @truth, join(',', $resource, $_, map { $_ // 0 } @{ $sum{$_} }[ 0 .. 2 ]) foreach sort keys %sum;
	return;
}

sub each_hour
{
	my ($from, $to, $last_hour, $add) = @_;
	$from = 0          if $from < 0;
	$to   = $last_hour if $to > $last_hour;
	while ($from < $to)
	{
		my $hour = $from - $from % HOUR;
		my $until = $hour + HOUR < $to ? $hour + HOUR : $to;
		$add->(instant($hour), $until - $from);
		$from = $until;
	}
	return;
}

# --- files ----------------------------------------------------------------------------------------------------------------

sub write_files
{
	my $slices = slice($end - 1) + 1;
	foreach my $slice (0 .. $slices - 1)
	{
		# In any order.
		write_file(sprintf('%03d.event.csv', $slice), map { $_->[1] } sort { $a->[0] <=> $b->[0] } @{ $messages[$slice] // [] });
		write_file(sprintf('%03d.inventory.csv', $slice), @{ $inventory[$slice] // [] }) if has_inventory($slice);
		write_file(sprintf('%03d.until', $slice), instant(slice_end($slice * SLICE)));
	}
	write_file('truth.csv', @truth);
	write_file('summary', map { "$count{$_} $_" } sort keys %count);
	write_file('setting', "\\set begin " . instant(0), "\\set end " . instant($end), "\\set outage_from " . instant($outage_from),
		"\\set outage_to " . instant($outage_to), "\\set outage_region $outage_region");
	return;
}

sub write_file
{
	my ($name, @lines) = @_;
	open my $out, '>', "$folder/$name" or die "$folder/$name: $!\n";
	print $out map { "$_\n" } @lines;
	close $out or die "$folder/$name: $!\n";
	return;
}

sub csv { return join(',', map { $_ // '' } @_) }

sub instant
{
	my @t = gmtime($begin + $_[0]);
	return sprintf('%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ]);
}

# The day that an instant lies in; its end, or that of the month.
sub slice { my ($t) = @_; $t = $end - 1 if $t >= $end; return int($t / SLICE) }

sub slice_end
{
	my $to = (slice($_[0]) + 1) * SLICE;
	return $to < $end ? $to : $end;
}

sub between { my ($from, $to) = @_; return $from + int(($to - $from) * rand()) }

# A few big customers, some small ones.
sub any_account { return $accounts[ int(@accounts * rand()**2) ] }

sub any_offering { my $r = rand(); return $r < 0.5 ? 'small' : $r < 0.8 ? 'medium' : $r < 0.95 ? 'large' : 'xlarge' }

sub other
{
	my ($this, @all) = @_;
	my @others = grep { $_ ne $this } @all;
	return $others[ rand(@others) ];
}

# Whether a day ends with an inventory; and when the next one is, after an instant.
sub has_inventory { my ($slice) = @_; return $slice % INVENTORY_SLICES == INVENTORY_SLICES - 1 || $slice == slice($end - 1) }

sub inventory_after
{
	my $slice = slice($_[0]);
	$slice++ until has_inventory($slice);
	return slice_end($slice * SLICE);
}
