# Runs one TAP program and counts its top-level tests (a subtest with all it holds is one).
#
#     perl run_tap.pl LOG COUNTS COMMAND…
#
# All output goes to the file LOG, "PASSED FAILED SKIPPED" to the file COUNTS; what failed is shown as it happens.
# A program that dies, breaks its plan or runs nothing has failed once more, and the exit status is 1.

use strict;
use warnings;
use IO::Handle;
use TAP::Parser;

my ($log, $counts, @command) = @ARGV;
open my $out, '>', $log or die "$log: $!\n";
$out->autoflush(1);	# a test that hangs has said what it said
$| = 1;

my $parser = TAP::Parser->new({ exec => \@command, merge => 1 });
my ($passed, $failed, $skipped) = (0, 0, 0);
my ($shown, $broken) = (0, 0);

# show LINE: enough to find the first causes, not the flood after them.
sub show
{
	my ($line) = @_;
	print "    $line\n" if ++$shown <= 200;
	print "    (and so on)\n" if $shown == 201;
}

# What a test said before its result (a subtest's own tests, errors) and right after it (the comparison that failed)
# belongs to it.
my @before;
my $failing = 0;

while (my $line = $parser->next)
{
	my $raw = $line->raw;

	print $out "$raw\n";
	if ($line->is_test)
	{
		$failing = !$line->is_ok;
		if    ($failing)        { $failed++ }
		elsif ($line->has_skip) { $skipped++ }
		else                    { $passed++ }
		show($_) for $failing ? (grep { !/^\s*ok / } @before, $raw) : ();
		@before = ();
	}
	elsif ($failing && $raw =~ /^#(?! Subtest)/) { show($raw) }
	else
	{
		$failing = 0;
		push @before, $raw;
	}
}

# Whoever dies says why at the end.
if (!$parser->is_good_plan || $parser->exit)
{
	show($_) for grep { !/^\s*ok / } @before;
}

if (defined $parser->skip_all)
{
	$skipped++;
	show('skipped: ' . $parser->skip_all);
}
elsif ($parser->parse_errors || (!$failed && ($parser->exit || !$parser->tests_run)))
{
	$broken = 1;
	$failed++;
	show($_) for $parser->parse_errors;
	show('exit status ' . $parser->exit) if $parser->exit;
}

open my $result, '>', $counts or die "$counts: $!\n";
print $result "$passed $failed $skipped\n";
close $result or die "$counts: $!\n";
exit $broken;
