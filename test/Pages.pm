# What is known of the pages of the documentation: which there are, their headings, their links. Paths are from the root of the
# clone, which is the working directory.
package Pages;
use strict;
use warnings;
use File::Basename;

sub all
{
	return sort grep { !m{^debian/} } (glob('*.md'), glob('docs/*.md'), glob('docs/*/*.md'));
}

sub lines
{
	my ($file) = @_;
	open my $f, '<:encoding(UTF-8)', $file or die "$file: $!\n";
	my @lines = <$f>;
	chomp @lines;
	return @lines;
}

# The lines of a page, with those of code empty.
sub prose
{
	my ($page) = @_;
	my $code = 0;
	return map { $code = !$code if /^```/; $code ? '' : $_ } lines($page);
}

# anchors LINE…: for each line the anchor that GitHub gives it, undef if it is no heading.
sub anchors
{
	my $code = 0;
	my (%seen, @anchors);

	foreach my $line (@_)
	{
		my $anchor;
		$code = !$code if $line =~ /^```/;
		if (!$code && $line =~ /^#+ (.+)$/)
		{
			$anchor = lc($1 =~ s/\[([^\]]*)\]\([^)]*\)/$1/gr) =~ s/[^\w\- ]//gr =~ s/ /-/gr;
			my $n = $seen{$anchor}++;
			$anchor .= "-$n" if $n;
		}
		push @anchors, $anchor;
	}
	return @anchors;
}

# Where the links of a line lead, but for those to other sites.
sub links
{
	my ($line) = @_;
	my $bare = $line =~ s/`[^`]*`//gr;
	return grep { !/^\w+:/ } $bare =~ /\]\(([^)\s]+)\)/g;
}

# resolve PAGE, PATH: where a relative link of a page leads.
sub resolve
{
	my ($page, $path) = @_;
	my $folder = dirname($page);
	$path = "$folder/$path" unless $folder eq '.';
	1 while $path =~ s{(?:^|(?<=/))(?!\.\.)[^/]+/\.\./}{};
	return $path =~ s{^(?:\./)+}{}r =~ s{(?<=.)/$}{}r;
}

1;
