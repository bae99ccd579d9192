# Promise: the decided cases with snapshots come out as decided, in one settle and in a settle an hour, in every order in which events and
# snapshots can arrive.
#
# Each order of arrival is a resource of its own, with a source of its own. One meter settles after each arrival, an hour or so further
# on each time; another one is settled once, when everything has arrived; a third one is made only then. All must say the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use Test::More;

my $semantic = read_cases('semantic_cases.json');
my $node     = start_server('reconcile_cases');
my $script   = '';
my %checks;
my %title;

sub permutations
{
	my (@items) = @_;
	return [] unless @items;
	my @all;
	foreach my $i (0 .. $#items)
	{
		my @rest = @items;
		my ($first) = splice(@rest, $i, 1);
		push @all, map { [ $first, @$_ ] } permutations(@rest);
	}
	return @all;
}

sub expected_usage
{
	my (@rows) = @_;
	return join('; ',
		map  { "$_->{period_start} $_->{account} " . ($_->{label} // '?') . ' ' . number($_->{quantity}) }
		sort { $a->{period_start} cmp $b->{period_start} or $a->{account} cmp $b->{account} or $a->{label} cmp $b->{label} } @rows);
}

# What arrives: an event, or a snapshot.
sub arrive
{
	my ($stream, $item, $n) = @_;
	return insert_events("$stream.event", { %$item, resource => "r$n", source => $item->{source} // "z$n" }) if $item->{kind};
	my $sql = '';
	$sql .= "INSERT INTO $stream.inventory (source, at, resource, account, offering, value, since) VALUES ("
	  . join(', ', map { literal($_) } "z$n", $item->{at}, "r$n", @$item{qw(account label value since)}) . ");\n"
	  if $item->{held};
	return $sql . "SELECT FROM meter.reconcile('$stream', 'z$n', '$item->{at}', allow_empty => true);\n";
}

sub check
{
	my ($id, $name, $expected, $query) = @_;
	push @{ $checks{$id} }, [ "$id $name", $expected ];
	$script .= 'SELECT ' . literal("$id $name") . ", coalesce(($query)::text, '(null)');\n";
}

foreach my $case (@{ $semantic->{cases} })
{
	my @snapshots = (@{ $case->{snapshots} || [] }, @{ $case->{late_snapshots} || [] });
	next unless @snapshots;
	my $id     = $case->{id};
	my $stream = "case_$id";
	my %meter  = (%{ $semantic->{defaults} }, %{ $case->{meter} });
	my @items  = (@{ $case->{events} }, @{ $case->{late} || [] }, @snapshots);
	my @orders = permutations(@items);
	my $watermark = $case->{watermark_after} // $case->{watermark};
	my @usage     = @{ $case->{expected}{usage} // $case->{expected}{after} };
	my $create    = sub {
		$script .= "SELECT FROM meter.create_meter('$stream', '$_[0]', "
		  . join(', ', "starts => '{start}'", "stops => '{stop}'", "changes => '{change}'", "lateness => '0'", "max_lateness => NULL",
			meter_arguments(\%meter)) . ");\n";
	};

	$title{$id} = $case->{title};
	$script .= "SELECT FROM meter.create_stream('$stream');\n";
	$create->($_) foreach 'often', 'once';
	my $hours = (seconds($watermark) - seconds($case->{window}[0])) / 3600;
	foreach my $step (0 .. $#items)
	{
		$script .= "SET meter.now = '$watermark';\n";
		$script .= arrive($stream, $orders[$_][$step], $_) foreach 0 .. $#orders;
		my $now = stamp(seconds($case->{window}[0]) + 3600 * int($hours * ($step + 1) / @items));
		$script .= "SET meter.now = '$now';\n" . "SELECT FROM meter.advance('$stream', 'often');\n" x 3 if $step < $#items;
		check($id, "verify after $step", '0', "SELECT count(*) FROM meter.verify('$stream')");
	}
	$create->('new');
	$script .= "SET meter.now = '$watermark';\nCALL meter.run('$stream');\n";
	foreach my $m ('often', 'once', 'new')
	{
		check($id, "$m r$_", expected_usage(@usage), usage_text("(SELECT * FROM $stream.usage_total WHERE meter = '$m' AND resource = 'r$_') u"))
		  foreach 0 .. $#orders;
		check($id, "$m live r$_", expected_usage(@usage), usage_text("(SELECT * FROM $stream.current_usage WHERE meter = '$m' AND resource = 'r$_') u"))
		  foreach 0;
	}
	check($id, 'verify', '0', "SELECT count(*) FROM meter.verify('$stream')");
	check($id, 'again', '0', "SELECT sum(usage_rows + adjustments + late_rows) FROM meter.advance('$stream')");
	check($id, 'error', '', "SELECT coalesce(string_agg(last_error, '; '), '') FROM meter.status WHERE stream = '$stream'");
	check($id, 'twice', '0', "SELECT count(*) FROM (SELECT FROM $stream.event WHERE id IS NOT NULL GROUP BY source, id, resource HAVING count(*) > 1) x");
	# resettling from nothing finds nothing
	check($id, 'resettle', '0', "SELECT sum(meter.resettle('$stream', m, NULL)) FROM unnest('{often,once,new}'::text[]) m");
}

my $answer = answers($node, $script);
foreach my $id (sort keys %checks)
{
	subtest "$id $title{$id}" => sub { is($answer->{ $_->[0] }, $_->[1], $_->[0]) foreach @{ $checks{$id} } };
}
$node->stop;
done_testing();
