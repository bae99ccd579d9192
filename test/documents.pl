# Says where docs/architecture.md is out of date: it names a file, a function or a table that does not exist, or its tables of
# src/ leave a file out. Prints nothing if it is up to date.
#
#     perl test/documents.pl [PAGE]          docs/architecture.md, where no other page is named
#
# Only what stands between backquotes is looked at, code blocks apart. Below a heading "### src/FOLDER" the first column of a
# table names the files of that folder: NAME is all of NAME.c, NAME.h and NAME.sql that there are.

use strict;
use warnings;
use File::Find;

my $page = shift // 'docs/architecture.md';
my (%exists, %basename, %documented, @complaints);
my $source = '';

sub contents
{
	my ($name) = @_;
	open my $file, '<', $name or die "$name: $!\n";
	local $/;
	return scalar <$file>;
}

find({ no_chdir => 1, wanted => sub {
	return if m{^\./(?:\.git|results)/} || /\.(?:o|bc|so)$|\.pb-c\.[ch]$/;
	(my $name = $_) =~ s{^\./}{};
	$exists{$name} = 1;
	$basename{$1} = 1 if -f && $name =~ m{([^/]+)$};
	$source .= contents($name) if -f && $name =~ m{^src/.*\.(?:[ch]|sql|proto)$};
} }, '.');

my ($line, $folder, $code) = (0, undef, 0);
foreach (split /\n/, contents($page))
{
	$line++;
	$code = !$code if /^```/;
	next if $code;
	$folder = /^### (src\/\w+)$/ ? $1 : undef if /^#/;

	my ($first) = $folder && /^\|([^|]+)\|/ ? $1 : '';
	foreach my $name ($first =~ /`([^`]+)`/g)
	{
		my @files = grep { $exists{$_} } map { "$folder/$name$_" } '', '.c', '.h', '.sql';
		push @complaints, "$page:$line: $folder has no file $name" unless @files;
		@documented{@files} = (1) x @files;
	}
	foreach my $name (/`([^`]+)`/g)
	{
		if ($name =~ m{^(?:src|test|sql|docs|bench|demo)/[\w./-]*$})
		{
			push @complaints, "$page:$line: there is no $name" unless $exists{ $name =~ s{/$}{}r };
		}
		elsif ($name =~ m{^[\w-]+\.(?:c|h|sql|pl|pm|proto|control)$})
		{
			push @complaints, "$page:$line: there is no file $name" unless $basename{$name};
		}
		elsif ($name =~ m{^((?:meter[_.]|METER_|Meter|_)\w[\w.]*)(?:\(\))?$})
		{
			push @complaints, "$page:$line: nothing in src/ is called $1" unless $source =~ /(?<![\w.])\Q$1\E\b|\.\Q$1\E\b/;
		}
	}
}
foreach (sort grep { m{^src/[^/]+/.*\.(?:[ch]|sql|proto)$} } keys %exists)
{
	push @complaints, "$page: the tables leave out $_" unless $documented{$_};
}

print "$_\n" foreach @complaints;
exit(@complaints ? 1 : 0);
