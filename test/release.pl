# Says where the files that a release is made of do not fit together; prints nothing if they do.
#
#     perl test/release.pl
#
# The version stands in several files. META.json is what PGXN asks for (https://pgxn.org/spec/). What make dist makes has every
# file of the last commit, and is the same bytes each time. debian/control is what pg_buildext makes of debian/control.in.

use strict;
use warnings;
use File::Temp;
use JSON::PP;

sub contents
{
	my ($name) = @_;
	open my $file, '<:raw', $name or die "$name: $!\n";
	local $/;
	return scalar <$file>;
}

sub complain { print @_, "\n" }

# --- the version --------------------------------------------------------------------------------------------------------

my ($version) = contents('meter.control') =~ /^default_version = '(\d+\.\d+(?:\.\d+)?)'$/m or die "meter.control has no version\n";
my $three = $version =~ /^\d+\.\d+$/ ? "$version.0" : $version;

# stands NAME WHERE PATTERN: what the pattern finds first in the file is the version.
sub stands
{
	my ($name, $where, $pattern) = @_;
	my ($found) = contents($name) =~ $pattern;
	complain("$name: $where is ", $found // 'missing', ", and meter.control has $version") unless ($found // '') eq $version;
}

stands('debian/changelog', 'the version of the first entry', qr/\A\w+ \(([\d.]+)(?:-[\w.~+]+)?\) /);
stands('CHANGELOG.md', 'the first heading of a version', qr/^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$/m);
stands('README.md', 'what it says of itself', qr/^This is version (\d[\d.]*\d)\b/m);
stands($_, 'the name of the package', qr/postgresql-\d+-meter_(.*?)_amd64\.deb/) foreach 'README.md', 'docs/start/install.md';

# --- META.json ----------------------------------------------------------------------------------------------------------

my $meta = eval { JSON::PP->new->utf8->decode(contents('META.json')) };
die 'META.json is no JSON object: ', $@ || "something else\n" unless ref $meta eq 'HASH';

my %known = map { $_ => 1 } qw(name abstract description version maintainer license release_status provides prereqs resources
  tags meta-spec generated_by no_index);
my %licenses = map { $_ => 1 } qw(agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2
  gpl_3 lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib open_source restricted
  unrestricted unknown);

sub words { my ($value) = @_; return defined $value && !ref $value && $value =~ /\S/ }

complain("META.json: $_ is no field of a distribution") foreach grep { !$known{$_} && !/^x_/i } sort keys %$meta;
complain("META.json: no $_") foreach grep { !words($meta->{$_}) } qw(name abstract version maintainer license);
complain('META.json: the name is not meter') unless ($meta->{name} // '') eq 'meter';
complain('META.json: an unknown license') unless $licenses{ $meta->{license} // '' };
complain('META.json: an unknown release_status') unless ($meta->{release_status} // 'stable') =~ /^(?:stable|testing|unstable)$/;
complain('META.json: meta-spec has no version 1.0.0') unless (eval { $meta->{'meta-spec'}{version} } // '') eq '1.0.0';
complain('META.json: a tag is empty or longer than 255 characters') if grep { !words($_) || length > 255 } @{ $meta->{tags} // [] };

my $provides = ref $meta->{provides} eq 'HASH' ? $meta->{provides} : {};
complain('META.json does not provide meter') unless ref $provides->{meter} eq 'HASH';
foreach my $extension (map { $provides->{$_} } sort keys %$provides)
{
	complain('META.json: provides a file that is not there: ', $extension->{file} // '') unless -f ($extension->{file} // '');
	complain("META.json: no file $extension->{docfile}") if defined $extension->{docfile} && !-f $extension->{docfile};
}
foreach my $found (map { $_->{version} // 'missing' } $meta, values %$provides)
{
	complain("META.json: a version is $found, and meter.control has $version, which is $three for PGXN") if $found ne $three;
}
foreach my $phase (map { $meta->{prereqs}{$_} } sort keys %{ $meta->{prereqs} // {} })
{
	foreach my $needed (map { %{ $phase->{$_} } } sort keys %$phase)
	{
		complain("META.json: needs $needed") if $needed =~ /^\d/ && $needed !~ /^(?:0|\d+\.\d+\.\d+)$/;
	}
}

# --- debian/ ------------------------------------------------------------------------------------------------------------

my $control = contents('debian/control.in') =~ s/PGVERSION/15/gr;
complain('debian/control is not debian/control.in for PostgreSQL 15') if contents('debian/control') ne $control;

# --- make dist ----------------------------------------------------------------------------------------------------------

my @git = ('git', '-c', 'safe.directory=*');

# lines COMMAND…: what it prints, sorted.
sub lines
{
	open my $output, '-|', @_ or die "$_[0]: $!\n";
	chomp(my @lines = <$output>);
	close $output or die "$_[0] failed\n";
	return [ sort @lines ];
}

# The names in the central directory of a zip.
sub names_in_zip
{
	my ($zip) = @_;
	my ($count, undef, $at) = unpack 'x10 v V V', substr $zip, rindex $zip, "PK\5\6";
	my @names;
	foreach (1 .. $count)
	{
		my ($name, $extra, $comment) = unpack 'x28 v v v', substr $zip, $at, 46;
		push @names, substr $zip, $at + 46, $name;
		$at += 46 + $name + $extra + $comment;
	}
	return [ sort @names ];
}

sub compare
{
	my ($name, $top, $found, $expected) = @_;
	my %missing = map { ("$top/$_" => 1) } @$expected;
	foreach (grep { !m{/$} } @$found)
	{
		complain("$name has $_, which is not committed") unless delete $missing{$_};
	}
	complain("$name has no $_") foreach sort keys %missing;
}

my $committed = lines(@git, '-c', 'core.quotePath=false', 'ls-tree', '-r', '--name-only', 'HEAD');
my @made = map { File::Temp->newdir } 1 .. 2;
lines('make', '-s', 'dist', "DIST=$_") foreach @made;
my ($tar, $zip) = ("meter-$version.tar.gz", "meter-$three.zip");
foreach my $file ($tar, $zip)
{
	my ($first, $second) = map { -s "$_/$file" ? contents("$_/$file") : die "make dist makes no $file\n" } @made;
	complain("make dist makes another $file the second time") if $first ne $second;
}
compare($tar, "meter-$version", lines('tar', '-tzf', "$made[0]/$tar"), $committed);
compare($zip, "meter-$three", names_in_zip(contents("$made[0]/$zip")), $committed);
