# Runs one TAP program and counts its top-level tests (a subtest with all it holds is one).
#
#     perl run_tap.pl LOG COUNTS COMMAND…
#
# All output goes to the file LOG, "PASSED FAILED SKIPPED" to the file COUNTS; what failed is shown as it happens.
# A program that dies, breaks its plan or runs nothing has failed once more, and the exit status is 1.

use strict;
use warnings;
use TAP::Parser;

my ($log, $counts, @command) = @ARGV;
open my $out, '>', $log or die "$log: $!\n";
$| = 1;

my $parser = TAP::Parser->new({ exec => \@command, merge => 1 });
my ($passed, $failed, $skipped) = (0, 0, 0);
my ($after_failure, $shown, $broken) = (0, 0, 0);

# show LINE: enough to find the first causes, not the flood after them.
sub show
{
	my ($line) = @_;
	print "    $line\n" if ++$shown <= 200;
	print "    (and so on)\n" if $shown == 201;
}

while (my $line = $parser->next)
{
	print $out $line->raw, "\n";
	if ($line->is_test)
	{
		$after_failure = !$line->is_ok;
		if    ($after_failure)  { $failed++ }
		elsif ($line->has_skip) { $skipped++ }
		else                    { $passed++ }
	}
	show($line->raw) if $after_failure;
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
