# Says where the house is not in order: a file of src/ that includes or calls one of a layer above its own, files that
# include or call each other in a circle, and functions that are too long to read. Prints nothing if it is.
#
#     perl test/layers.pl [FOLDER]           src, where no other folder is named
#
# A file's layer is its folder; what is called is looked up by the .c file that defines it. A name that is only mentioned
# (a pointer to a function, an exported variable) counts as called.

use strict;
use warnings;
use File::Find;

my $root = shift // 'src';
my @layers = qw(core pg types catalog log engine commands worker .);
my $longest = 120;    # lines from { to }, tables apart

my %rank = map { $layers[$_] => $_ } 0 .. $#layers;
my (%code, %complaints);

# The text without comments, strings and characters; lines stay where they are.
sub strip
{
	my ($text) = @_;
	$text =~ s{(/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}{
		my $found = $1; my $include = $found =~ /^"[\w.\/-]+\.h"$/ ? $found : ''; (my $lines = $found) =~ s/[^\n]//g; "$include$lines" }gse;
	return $text;
}

find({ no_chdir => 1, wanted => sub {
	return unless /\.[ch]$/ && !/\.pb-c\.[ch]$/;
	open my $file, '<', $_ or die "$_: $!\n";
	local $/;
	(my $name = $_) =~ s{^\Q$root\E/}{};
	$code{$name} = strip(<$file>);
} }, $root);

sub layer { my ($file) = @_; return $file =~ m{^([^/]+)/} ? $1 : '.' }
sub unit { my ($file) = @_; $file =~ s/\.[ch]$//; return $file }

foreach (sort keys %code)
{
	complain("$_ is in no layer: " . layer($_)) unless defined $rank{ layer($_) };
}

sub complain { my ($what) = @_; $complaints{$what} = 1 }

# What each .c file defines for others: functions and variables that are not static.
my %home;
foreach my $file (sort grep { /\.c$/ } keys %code)
{
	my $text = $code{$file};
	while ($text =~ /^((?:[a-zA-Z_][\w \t\*]*\n)?)(meter_\w+)\(/mg)
	{
		next if $1 eq '' || $1 =~ /\b(?:static|typedef|return|else)\b/;
		$home{$2} //= $file;
	}
	while ($text =~ /^(?!static|extern|typedef|return)[a-zA-Z_][\w \t\*]*?\b(meter_\w+)\s*(?:\[[^\]]*\]\s*)?(?:=|;)/mg)
	{
		$home{$1} //= $file;
	}
}

# From each unit (a .c and its .h) to those that it includes and calls.
my (%edges, %why);
foreach my $file (sort keys %code)
{
	my $text = $code{$file};
	my %to;
	while ($text =~ /^\s*#\s*include\s+"([^"]+)"/mg)
	{
		$to{$1} = 'includes' if exists $code{$1};
	}
	if ($file =~ /\.c$/)
	{
		(my $body = $text) =~ s/^\s*#\s*include.*$//mg;
		while ($body =~ /\b(meter_\w+)\b/g)
		{
			my $other = $home{$1};
			$to{$other} = "calls $1() of" if defined $other && $other ne $file && !$to{$other};
		}
	}
	foreach my $other (sort keys %to)
	{
		complain("upward: $file $to{$other} $other")
		  if ($rank{ layer($file) } // 99) < ($rank{ layer($other) } // 99);
		next if unit($file) eq unit($other);
		$edges{ unit($file) }{ unit($other) } = 1;
		$why{ unit($file) . ' ' . unit($other) } //= "$file $to{$other} $other";
	}
}

# Circles: what is left when units without an edge from or to another are taken away, again and again.
my %left = map { $_ => 1 } (map { ($_, keys %{ $edges{$_} }) } keys %edges);
while (1)
{
	my (%from, %to);
	foreach my $unit (keys %left)
	{
		foreach (grep { $left{$_} } keys %{ $edges{$unit} // {} }) { $from{$unit}++; $to{$_}++ }
	}
	my @gone = grep { !$from{$_} || !$to{$_} } keys %left or last;
	delete @left{@gone};
}
foreach my $unit (sort keys %left)
{
	complain("circle: $why{\"$unit $_\"}") foreach sort grep { $left{$_} } keys %{ $edges{$unit} };
}

# Functions begin with { and end with } in the first column.
foreach my $file (sort grep { /\.c$/ } keys %code)
{
	my ($number, $begin, $name) = (0, 0, '');
	foreach (split /\n/, $code{$file})
	{
		$number++;
		$name = $1 if /^(\w+)\(/;
		$begin = $number if $_ eq '{';
		complain(sprintf 'long: %s() in %s has %d lines', $name, $file, $number - $begin)
		  if $_ eq '}' && $begin && $number - $begin > $longest;
		$begin = 0 if $_ eq '}';
	}
}

print "$_\n" foreach sort keys %complaints;
exit(%complaints ? 1 : 0);
