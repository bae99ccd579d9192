# Draws the diagrams: each FILE.txt of this folder becomes FILE.svg.
#
#     perl draw.pl FILE.txt >FILE.svg          make diagrams does it for all
#
# A source has a statement a line: a word, then its arguments. Texts with blanks stand in "quotes"; in them | begins a new line,
# and `names` are set in a typewriter's font. Lines that begin with # say nothing.
#
#     title TEXT                    what the diagram is called; about TEXT says what it shows to those who do not see it,
#                                   in as many lines as it takes
#     width PIXELS                  680 if not said; left PIXELS is kept free for the names of lanes (112)
#     axis FROM TO                  the instants at the left and the right: 9:30, or plain numbers
#
#   From top to bottom, with places as instants of the axis, or as pixels where there is none:
#
#     ticks FROM TO STEP            labels of the axis, and faint lines down the lanes
#     lane NAME [HEIGHT]            the next lane, 46 high if not said. What follows stands in it:
#     bar FROM TO TEXT [CLASS]      a stretch
#     mark AT TEXT [CLASS]          an instant, with its text above
#     brace FROM TO TEXT [CLASS]    a bracket, with its text below
#     say AT TEXT [CLASS]           a text around this place; with left, one that begins there
#     rows AT WIDTHS                a table that begins there, with columns so wide; row CELLS [CLASS] is one of its lines
#     space HEIGHT                  nothing
#     line AT TEXT [CLASS]          a vertical line through this lane and all below it, with its text at the foot
#     shade FROM TO TEXT [CLASS]    a stretch of all lanes, with its text at the top
#
#   Anywhere:
#
#     box X Y W H TEXT [CLASS]      a box, in pixels; of class group, a frame that is drawn before what stands in it
#     arrow A B TEXT [CLASS]        an arrow between two things that have names, as=A. An end may say a side: A.r, of l, r, t, b
#
# Any statement that draws a thing may end with as=NAME, up=PIXELS or down=PIXELS. A CLASS is a word of %class below.
# The same source makes the same bytes everywhere.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

# What a class looks like, in light and in dark: fill, line, text. Patterns and dashes say the same without colours.
my %class = (
	plain => [ '#ffffff', '#8a94a3', '#1f2733', '#232a34', '#8792a3', '#e6eaf0' ],
	event => [ '#fff1d6', '#b87a0b', '#1f2733', '#4a3a17', '#d9a441', '#f5ead2' ],
	run   => [ '#dcebfa', '#3d7ab8', '#1f2733', '#1d3b5a', '#6ba7e0', '#e3effb' ],
	usage => [ '#def2e2', '#3f8f56', '#1f2733', '#1e4329', '#6cc187', '#e1f4e6' ],
	late  => [ '#fbe0da', '#c2452d', '#1f2733', '#5a261c', '#e8836e', '#fbe7e2' ],
	final => [ '#e9ebef', '#767f8d', '#1f2733', '#313844', '#8e98a8', '#e6eaf0' ],
	gone  => [ '#ffffff', '#767f8d', '#596372', '#171c23',   '#8e98a8', '#aab3c0' ],
);

my ($title, $about, $width, $left, $right, $axis) = ('', '', 680, 112, 28, undef);
my ($y, $lane_y, $lane_h) = (14, undef, 0);
my ($lanes_top, $lanes_bottom);
my (@back, @front, @vertical, %thing, @table, $table_y);

sub escape { my ($s) = @_; $s =~ s/&/&amp;/g; $s =~ s/</&lt;/g; $s =~ s/>/&gt;/g; return $s }
sub number { my $s = sprintf '%.1f', $_[0]; $s =~ s/\.0$//; return $s }

sub instant
{
	my ($s) = @_;
	return $1 * 60 + $2 if $s =~ /^(\d+):(\d\d)$/;
	return $s if $s =~ /^-?\d+(?:\.\d+)?$/;
	die "line $.: \"$s\" is no place\n";
}

sub place
{
	my ($s) = @_;
	return instant($s) if !$axis;
	return $left + (instant($s) - $axis->[0]) / ($axis->[1] - $axis->[0]) * ($width - $left - $right);
}

# text X, Y of the middle, TEXT, CLASS, anchor
sub text
{
	my ($x, $middle, $text, $class, $anchor, $size) = @_;
	my @lines = split /\|/, $text;
	my $high  = ($size // 14) + 3;
	my $at    = $middle - (@lines - 1) * $high / 2 + ($size // 14) * 0.35;
	my $out   = '';

	foreach my $line (@lines)
	{
		my $svg = escape($line);
		$svg =~ s{`([^`]*)`}{<tspan class="code">$1</tspan>}g;
		$out .= sprintf qq{<text x="%s" y="%s" class="%s" text-anchor="%s">%s</text>\n}, number($x), number($at), $class, $anchor // 'middle', $svg;
		$at += $high;
	}
	return $out;
}

sub rectangle
{
	my ($x, $top, $w, $h, $class) = @_;
	return sprintf qq{<rect x="%s" y="%s" width="%s" height="%s" rx="4" class="%s"/>\n}, number($x), number($top), number($w), number($h), $class;
}

sub stroke
{
	my ($path, $class) = @_;
	return qq{<path d="$path" class="$class"/>\n};
}

sub keep
{
	my ($option, $x, $top, $w, $h) = @_;
	$thing{ $option->{as} } = [ $x, $top, $w, $h ] if $option->{as};
	return;
}

# The point of a thing at which an arrow ends: of the side that is said, or the one that faces the other.
sub end_of
{
	my ($name, $other) = @_;
	my ($id, $side) = split /\./, $name;
	my $t = $thing{$id} // die "line $.: there is no thing \"$id\"\n";
	my ($cx, $cy) = ($t->[0] + $t->[2] / 2, $t->[1] + $t->[3] / 2);
	my $o = $thing{ $other =~ s/\..*//r } // die "line $.: there is no thing \"$other\"\n";
	my ($ox, $oy) = ($o->[0] + $o->[2] / 2, $o->[1] + $o->[3] / 2);

	if (!$side)
	{
		my $apart = $o->[0] > $t->[0] + $t->[2] || $t->[0] > $o->[0] + $o->[2];
		$side = $apart ? ($ox > $cx ? 'r' : 'l') : ($oy > $cy ? 'b' : 't');
	}
	return ($t->[0] + $t->[2], $cy, 1, 0) if $side eq 'r';
	return ($t->[0], $cy, -1, 0) if $side eq 'l';
	return ($cx, $t->[1], 0, -1) if $side eq 't';
	return ($cx, $t->[1] + $t->[3], 0, 1);
}

sub begin_lanes { $lanes_top //= $y; return }

my %statement = (
	title => sub { $title = join ' ', @_ },
	about => sub { $about .= ($about eq '' ? '' : ' ') . join ' ', @_ },
	width => sub { $width = $_[0] },
	left  => sub { $left = $_[0] },
	axis  => sub { $axis = [ map { instant($_) } @_[ 0, 1 ] ] },
	space => sub { $y += $_[0] },
	ticks => sub {
		my ($option, $from, $to, $step) = @_;
		my $clock = $from =~ /:/;
		for (my $t = instant($from); $t <= instant($to); $t += instant($step))
		{
			my $label = $clock ? sprintf('%d:%02d', int($t / 60), $t % 60) : $t;
			push @front, text(place($t), $y + 8, $label, 'quiet');
			push @vertical, [ place($t), '', 'tick' ];
		}
		$y += 24;
	},
	lane => sub {
		my ($option, $name, $h) = @_;
		begin_lanes();
		$lane_h = $h // 46;
		$lane_y = $y;
		$y += $lane_h;
		push @back, stroke(sprintf('M%s %sH%s', 10, number($lane_y), number($width - 10)), 'rule');
		push @front, text(12, $lane_y + ($lane_h > 60 ? 30 : $lane_h / 2), $name, 'name', 'start');
		$lanes_bottom = $y;
		undef $table_y;
	},
	bar => sub {
		my ($option, $from, $to, $text, $class) = @_;
		my ($x, $w) = (place($from), place($to) - place($from));
		my $top = $lane_y + $lane_h / 2 - 13 + $option->{shift};
		push @front, rectangle($x, $top, $w, 26, $class // 'run'), text($x + $w / 2, $top + 13, $text // '', 'on-' . ($class // 'run'));
		keep($option, $x, $top, $w, 26);
	},
	mark => sub {
		my ($option, $at, $text, $class) = @_;
		my ($x, $at_y) = (place($at), $lane_y + $lane_h - 13 + $option->{shift});
		push @front, sprintf(qq{<circle cx="%s" cy="%s" r="5.5" class="%s"/>\n}, number($x), number($at_y), $class // 'event'),
		  text($x, $at_y - 16 - 8.5 * ($text =~ tr/|//), $text, 'ink');
		keep($option, $x - 5.5, $at_y - 5.5, 11, 11);
	},
	brace => sub {
		my ($option, $from, $to, $text, $class) = @_;
		my ($x, $x2, $top) = (place($from), place($to), $lane_y + 8 + $option->{shift});
		my $middle = number(($x + $x2) / 2);
		push @front, stroke(sprintf('M%s %sv7H%sv-7M%s %sv5', number($x + 1), number($top), number($x2 - 1), $middle, number($top + 7)), 'bracket'),
		  text($middle, $top + 22 + 8.5 * ($text =~ tr/|//), $text, $class // 'ink');
	},
	say => sub {
		my ($option, $at, $text, $class, $anchor) = @_;
		my $begin = ($class // '') eq 'left' || ($anchor // '') eq 'left';
		$class = undef if ($class // '') eq 'left';
		push @front, text(place($at), $lane_y + $lane_h / 2 + $option->{shift}, $text, $class // 'ink', $begin ? 'start' : 'middle');
	},
	rows => sub {
		my ($option, $at, @widths) = @_;
		@table   = (place($at), @widths);
		$table_y = $lane_y + 10;
	},
	row => sub {
		my ($option, $cells, $class) = @_;
		my ($x, @widths) = @table;
		my $w = 0;
		$w += $_ foreach @widths;
		push @front, rectangle($x, $table_y, $w, 24, $class) if $class ne 'head';
		keep($option, $x, $table_y, $w, 24);
		foreach my $cell (split /\|/, $cells)
		{
			my $number = $cell =~ /^[-−+]?\d+$/;
			my $col    = shift @widths;
			push @front, text($number ? $x + $col - 12 : $x + 9, $table_y + 12, $cell, $class eq 'head' ? 'quiet' : "on-$class", $number ? 'end' : 'start');
			$x += $col;
		}
		$table_y += 26;
	},
	line => sub {
		my ($option, $at, $text, $class) = @_;
		push @vertical, [ place($at), $text, $class // 'line', $option->{shift}, undef, $lane_y ];
	},
	shade => sub {
		my ($option, $from, $to, $text, $class) = @_;
		push @vertical, [ place($from), $text, 'shade', 0, place($to) ];
	},
	box => sub {
		my ($option, $x, $top, $w, $h, $text, $class) = @_;
		$class //= 'plain';
		push @front, rectangle($x, $top, $w, $h, $class),
		  $class eq 'group' ? text($x + 12, $top + 17, $text, 'label', 'start') : text($x + $w / 2, $top + $h / 2, $text, "on-$class");
		keep($option, $x, $top, $w, $h);
		$y = $top + $h if $y < $top + $h;
	},
	arrow => sub {
		my ($option, $from, $to, $text, $class) = @_;
		my ($x1, $y1, $dx1, $dy1) = end_of($from, $to);
		my ($x2, $y2, $dx2, $dy2) = end_of($to,   $from);
		($x1, $x2) = ($option->{x}, $option->{x}) if defined $option->{x};
		($y1, $y2) = ($option->{y}, $option->{y}) if defined $option->{y};
		my $bend = 0.45 * (abs($x2 - $x1) * abs($dx1) + abs($y2 - $y1) * abs($dy1));
		$bend = 24 if $bend < 24 && ($x1 != $x2 && $y1 != $y2);
		($x2, $y2) = ($x2 + 7 * $dx2, $y2 + 7 * $dy2); # the point of the arrow
		my $path = sprintf 'M%s %sC%s %s %s %s %s %s', map { number($_) } $x1, $y1, $x1 + $bend * $dx1, $y1 + $bend * $dy1, $x2 + $bend * $dx2,
		  $y2 + $bend * $dy2, $x2, $y2;
		my ($px, $py) = (-$dx2, -$dy2);
		my $point = sprintf 'M%s %sL%s %sL%s %sZ', map { number($_) } $x2 + 7 * $px, $y2 + 7 * $py, $x2 - 4.5 * $py, $y2 + 4.5 * $px, $x2 + 4.5 * $py,
		  $y2 - 4.5 * $px;
		push @front, stroke($path, $class // 'arrow'), stroke($point, 'point');
		push @front, text(($x1 + $x2) / 2, ($y1 + $y2) / 2 - 9 + $option->{shift}, $text, 'quiet') if defined $text && $text ne '';
	},
);

while (my $line = <>)
{
	chomp $line;
	next if $line =~ /^\s*(?:#|$)/;
	my ($word, $rest) = $line =~ /^\s*(\w+)\s*(.*)$/ or die "line $.: what is this?\n";
	my $do = $statement{$word} // die "line $.: \"$word\" is no statement\n";

	if ($word =~ /^(?:title|about|width|left|axis|space)$/)
	{
		$do->($word =~ /^(?:title|about)$/ ? $rest : split ' ', $rest);
		next;
	}
	my %option = (shift => 0);
	my @argument;
	while ($rest =~ /\G\s*(?:"([^"]*)"|(\w+)=(\S+)|(\S+))/gc)
	{
		my ($quoted, $name, $value, $bare) = ($1, $2, $3, $4);
		if    (!defined $name) { push @argument, $quoted // $bare }
		elsif ($name eq "up")   { $option{shift} -= $value }
		elsif ($name eq "down") { $option{shift} += $value }
		elsif ($name =~ /^(?:as|x|y)$/) { $option{$name} = $value }
		else { die "line $.: there is no \"$name\"\n" }
	}
	$do->(\%option, @argument);
}
die "a diagram needs a title and a text about it\n" if $title eq '' || $about eq '';

# Verticals go behind everything; their texts stand at the foot, those of shades at the top.
my @behind;
my $foot = 0;
foreach my $v (@vertical)
{
	my ($x, $text, $class, $shift, $x2, $top) = @$v;
	if ($class eq 'shade')
	{
		unshift @behind, rectangle($x, $lanes_top, $x2 - $x, $lanes_bottom - $lanes_top, 'shade');
		push @front, text(($x + $x2) / 2, $lanes_top + 11, $text, 'quiet') if $text ne '';
		next;
	}
	my $end = $lanes_bottom + ($class eq 'tick' ? 0 : 6);
	push @behind, stroke(sprintf('M%s %sV%s', number($x), number($top // $lanes_top), number($end + ($shift // 0))), $class);
	next if $class eq 'tick';
	my $lines = 1 + ($text =~ tr/|//);
	push @front, text($x, $end + 10 + ($shift // 0) + 8.5 * ($lines - 1), $text, 'ink');
	$foot = $lines * 17 + 12 + ($shift // 0) if $foot < $lines * 17 + 12 + ($shift // 0);
}
push @back, stroke(sprintf('M10 %sH%s', number($lanes_bottom), number($width - 10)), 'rule') if $lanes_bottom;
my $height = number($y + $foot + 12);

# --- the file -----------------------------------------------------------------------------------------------------------

sub colours
{
	my ($i, $indent) = @_;
	my $css = '';
	foreach my $name (sort keys %class)
	{
		my @c = @{ $class{$name} };
		$css .= sprintf "%s.%s{fill:%s;stroke:%s}.on-%s{fill:%s}\n", $indent, $name, @c[ $i, $i + 1 ], $name, $c[ $i + 2 ];
	}
	return $css;
}

my $light = colours(0, '');
my $dark  = colours(3, '');
print <<"SVG";
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height" role="img" aria-labelledby="title about">
<title id="title">@{[ escape($title) ]}</title>
<desc id="about">@{[ escape($about) ]}</desc>
<style>
text{font:14px sans-serif}.ink,.quiet{stroke:#fff;stroke-width:4;stroke-linejoin:round;paint-order:stroke}.code{font:13px monospace}.name{font-weight:bold}
path{fill:none}rect,circle{stroke-width:1.3}.gone{stroke-dasharray:5 4}
.paper{fill:#fff;stroke:#d5dae1}.ink,.name{fill:#1f2733}.quiet,.label{fill:#596372}.group{fill:#f4f6f8;stroke:#d5dae1}
.rule{stroke:#d5dae1}.tick{stroke:#c3cad4;stroke-dasharray:2 4}.line{stroke:#1f2733;stroke-width:1.5}
.bracket,.arrow{stroke:#596372;stroke-width:1.3}.dashed{stroke:#596372;stroke-width:1.3;stroke-dasharray:5 4}
.point{fill:#596372}.shade{fill:#f1f2f4;stroke:#c3cad4;stroke-dasharray:5 4}
$light\@media screen and (prefers-color-scheme:dark){
.ink,.quiet{stroke:#171c23}.paper{fill:#171c23;stroke:#39424f}.ink,.name{fill:#e6eaf0}.quiet,.label{fill:#aab3c0}.group{fill:#1e242d;stroke:#39424f}
.rule{stroke:#39424f}.tick{stroke:#4b5563}.line{stroke:#e6eaf0}
.bracket,.arrow,.dashed{stroke:#aab3c0}.point{fill:#aab3c0}.shade{fill:#222831;stroke:#4b5563}
$dark}
</style>
<rect x="0.5" y="0.5" width="@{[ $width - 1 ]}" height="@{[ $height - 1 ]}" rx="8" class="paper"/>
@{[ join '', @behind, @back, @front ]}</svg>
SVG
