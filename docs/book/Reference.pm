# The page docs/reference/functions.md, as far as it is made from the catalog: signatures, and what comments say.
#
# What stands in the page between a line "<!-- entry NAME…: SHORT [more](link) -->" and the next "<!-- end -->" is made here. All
# else is kept: chapters, texts, and the examples that follow an entry. A NAME is that of a function (with all its overloads), of
# a type ("type meter.event", with its operators and casts), of a view ("view meter.status"), or "tables", "settings"; an entry
# may have several functions. "<!-- index -->" is the table of all entries. SHORT is what the index says of it.
package Reference;
use strict;
use warnings;
use utf8;

# Fields of a row are apart by \x1f, rows by \x1e.
our $catalog = <<'SQL';
SELECT 'routine', p.proname::text, p.prokind::text, coalesce(obj_description(p.oid, 'pg_proc'), ''),
	CASE WHEN p.prokind = 'p' OR p.proargmodes && '{o,t}' THEN '' ELSE pg_get_function_result(p.oid) END,
	(SELECT coalesce(string_agg(concat_ws('|', coalesce(p.proargmodes[a.n], 'i'), CASE WHEN p.provariadic <> 0 AND p.proargmodes[a.n] = 'v' THEN 'VARIADIC ' ELSE '' END ||
			coalesce(quote_ident(p.proargnames[a.n]), ''), format_type(a.type, NULL),
			coalesce(pg_get_function_arg_default(p.oid, a.n::int), '-')), '~' ORDER BY a.n), '')
		FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (type, n)), p.pronargs::text
FROM pg_proc p WHERE p.pronamespace = 'meter'::regnamespace
UNION ALL
SELECT 'type', typname::text, '', coalesce(obj_description(oid, 'pg_type'), ''), '', '', '' FROM pg_type
WHERE typnamespace = 'meter'::regnamespace AND typrelid = 0 AND typcategory <> 'A'
UNION ALL
SELECT 'operator', format('%s %s %s', oprleft::regtype, oprname, oprright::regtype), oprleft::regtype::text, coalesce(obj_description(oid, 'pg_operator'), ''), oprresult::regtype::text, '', '' FROM pg_operator
WHERE oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_operator'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'meter'))
UNION ALL
SELECT 'cast', format('%s::%s', castsource::regtype, casttarget::regtype),
	CASE WHEN casttarget::regtype::text LIKE 'meter.%' THEN casttarget::regtype::text ELSE castsource::regtype::text END, coalesce(obj_description(oid, 'pg_cast'), ''), '', '', '' FROM pg_cast
WHERE oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_cast'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'meter'))
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END, relname::text, '', coalesce(obj_description(c.oid, 'pg_class'), ''), '', '', '' FROM pg_class c
WHERE relnamespace = 'meter'::regnamespace AND relkind NOT IN ('i', 'I', 't', 'c')
UNION ALL
SELECT 'column', relname::text, attname::text, coalesce(col_description(c.oid, attnum), ''), format_type(atttypid, atttypmod), to_char(attnum, 'FM000'), '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE relnamespace = 'meter'::regnamespace AND relkind = 'v' AND attnum > 0
UNION ALL
SELECT 'setting', name, context, concat_ws(' ', short_desc, extra_desc),
	CASE WHEN unit = 'ms' THEN make_interval(secs => boot_val::float8 / 1000)::text
		WHEN unit = 's' THEN make_interval(secs => boot_val::float8)::text
		WHEN unit = 'min' THEN justify_hours(make_interval(mins => boot_val::int))::text
		WHEN unit = 'kB' THEN pg_size_pretty(boot_val::bigint * 1024) ELSE boot_val END,
	coalesce(CASE WHEN vartype = 'integer' THEN min_val || ' to ' || max_val ELSE array_to_string(enumvals, ', ') END, ''), coalesce(unit, '')
FROM pg_settings WHERE name LIKE 'meter.%' AND name <> 'meter.now'
ORDER BY 1, 2, 6, 7 DESC
SQL

my %object;     # kind → name → rows
my %section;    # function name → anchor of its section
my @complaints;

sub read_catalog
{
	my ($rows) = @_;
	%object = ();
	foreach my $row (split /\x1e/, $rows =~ s/\n+\z//r)
	{
		my @f = split /\x1f/, $row, -1;
		push @{ $object{ $f[0] }{ $f[1] } }, \@f;
	}
	return;
}

# --- words --------------------------------------------------------------------------------------------------------------

sub short_type
{
	my ($t) = @_;
	return $t =~ s/timestamp with time zone/timestamptz/gr =~ s/character varying/varchar/gr;
}

sub short_default
{
	my ($d) = @_;
	1 while $d =~ s/^(.*)::[\w. ]+(?:\[\])?$/$1/;
	return $d eq 'meter_internal.clock_now()' ? 'now()' : $d;
}

# prose TEXT, SECTION [, AS_IT_IS]: what a comment says, as Markdown: names as code, and functions as links to their sections. It
# begins with a capital, unless it is to stay as it is.
sub prose
{
	my ($text, $self, $as_it_is) = @_;
	my @part = split /((?<![\w.])meter\.\w+(?:\([^()]*\))?|(?<![\w.])[a-z]+_[a-z_]+(?:\.\w+)?(?:\(\))?|<\w+>\.\w+|\breconciled:\w*(?:\.\.\.)?|\{[\[(].*\}|\{".*\})/, $text;
	for (my $i = 0; $i < @part; $i++)
	{
		if ($i % 2 == 0)
		{
			$part[$i] =~ s/([<>*|])/\\$1/g;
			next;
		}
		my ($function) = $part[$i] =~ /^meter\.(\w+)/;
		$part[$i] = "`$part[$i]`";
		$part[$i] = "[$part[$i]](#$section{$function})" if $function && $section{$function} && $section{$function} ne $self;
	}
	return $as_it_is ? join('', @part) : ucfirst join '', @part;
}

# raised TEXT: what the text says before it comes to errors, and the errors, each with its code in front.
sub raised
{
	my ($text) = @_;
	my $code = qr/[0-9][0-9A-Z]{2}[0-9A-Z]{2}|XX001/;
	return ($text) unless $text =~ /^(.*?)[.;,]\s+(?:[Rr]aises\s+(.*)|($code (?:for|where|naming|if)\b.*)|(errors as .*))$/s;
	my ($before, $errors) = ($1, $2 // $3 // $4);
	$errors =~ s/\.$//;
	$errors =~ s/^errors as/as/;
	return ($before, map { s/^and //r } split /[,;] (?=(?:and )?$code (?:or|and|if|for|where|naming|without|then|within|with)\b)/, $errors);
}

# arguments FUNCTION: its comment without the lines that are about one argument each, and what these say.
sub arguments
{
	my ($f) = @_;
	my %is = map { (split /\|/)[1] =~ s/^VARIADIC //r =~ s/"//gr => 1 } grep { !/^[ot]\|/ } split /~/, $f->[5];
	my (%of, @other);
	foreach my $line (split /\n/, $f->[3])
	{
		if ($line =~ /^(\w+): (.*)$/ && $is{$1})
		{
			$of{$1} = $2;
			push @{ $of{' order'} }, $1;
			next;
		}
		push @other, $line;
	}
	return (join('; ', @other), %of);
}

# wrap TEXT, INDENT: lines of 120 characters.
sub wrap
{
	my ($text, $indent) = @_;
	my ($line, @lines) = ('');
	foreach my $word (split / /, $text)
	{
		if ($line ne '' && length("$line $word") > 120)
		{
			push @lines, $line;
			$line = "$indent$word";
			next;
		}
		$line = $line eq '' ? $word : "$line $word";
	}
	return join "\n", @lines, $line;
}

# --- entries ------------------------------------------------------------------------------------------------------------

sub signature
{
	my ($f) = @_;
	my (undef, $name, $kind, undef, $result, $arguments) = @$f;
	my (@in, @out);
	foreach my $argument (split /~/, $arguments)
	{
		my ($mode, $n, $type, $default) = split /\|/, $argument, 4;
		my $text = join ' ', grep { $_ ne '' } $n, short_type($type);
		$text .= ' DEFAULT ' . short_default($default) if $default ne '-';
		push @{ $mode =~ /[ot]/ ? \@out : \@in }, $text;
	}
	my $list = sub {
		my ($head, $tail, @items) = @_;
		my ($line, @lines) = ($head);
		foreach my $i (0 .. $#items)
		{
			my $item = $items[$i] . ($i < $#items ? ',' : $tail);
			if (length("$line $item") > 110 && $line ne $head) { push @lines, $line; $line = "    $item"; }
			else { $line .= ($line eq $head || $line =~ /^\s+$/ ? '' : ' ') . $item; }
		}
		return join "\n", @lines, $line;
	};
	my $text = @in ? $list->(($kind eq 'p' ? 'CALL ' : '') . "meter.$name(", ')', @in) : "meter.$name()";
	return $text . "\n  → " . $list->('rows of (', ')', @out) if @out;
	return $text . ($kind eq 'p' || $result eq 'void' ? '' : ' → ' . short_type($result));
}

sub functions
{
	my ($anchor, @names) = @_;
	my @text;
	foreach my $name (@names)
	{
		my @overloads = @{ $object{routine}{$name} };
		my $of_events = sub { $_[0][5] =~ /\|meter\.event\|/ ? 1 : 0 };
		@overloads = sort { $of_events->($a) <=> $of_events->($b) || $a->[6] <=> $b->[6] } @overloads;
		push @text, '```', map({ signature($_) } @overloads), '```', '';
		foreach my $f (@overloads)
		{
			my ($comment, %of) = arguments($f);
			my ($says, @errors) = raised($comment);
			my $which = @overloads > 1 ? "With $f->[6] argument" . ($f->[6] == 1 ? '' : 's') . ': ' : @names > 1 ? "`$name`: " : '';
			$which = 'Of events: ' if @overloads > 1 && $of_events->($f);
			my $text = prose($says, $anchor);
			$of{$_} = prose($of{$_}, $anchor, 1) foreach @{ $of{' order'} // [] };
			$text = lcfirst $text if $which ne '';
			push @text, wrap("$which$text.", ''), '';
			push @text, table([ 'argument', '' ], map { [ "`$_`", $of{$_} ] } @{ $of{' order'} }) if %of;
			if (@errors)
			{
				my @items = map { prose($_, $anchor) =~ s/\b(?:[0-9][0-9A-Z]{4}|XX001)\b/`$&`/gr } @errors;
				push @text, wrap('Raises ' . join('; ', map { /^`/ ? $_ : lcfirst } @items) . '.', ''), '';
			}
		}
	}
	return @text;
}

sub table
{
	my ($head, @rows) = @_;
	return ('| ' . join(' | ', @$head) . ' |', '| ' . join(' | ', map { '---' } @$head) . ' |', map({ '| ' . join(' | ', @$_) . ' |' } @rows), '');
}

sub type_entry
{
	my ($name, $anchor) = @_;
	my $full = "meter.$name";
	my @rows;
	foreach my $kind (qw(operator cast))
	{
		foreach my $o (map { @{ $object{$kind}{$_} } } sort keys %{ $object{$kind} })
		{
			next unless $o->[2] eq $full;
			push @rows, [ '`' . short_type($o->[1]) . '`', $kind eq 'operator' ? "`$o->[4]`" : '', prose($o->[3], $anchor, 1) ];
		}
	}
	return (wrap(prose($object{type}{$name}[0][3], $anchor) . '.', ''), '', table([ 'operator or cast', 'gives', '' ], @rows));
}

sub entry
{
	my ($what, $heading, $anchor, $more) = @_;
	my @text = ("### $heading", '');
	if ($what =~ /^type meter\.(\w+)$/)
	{
		push @text, type_entry($1, $anchor);
	}
	elsif ($what =~ /^view meter\.(\w+)$/)
	{
		push @text, wrap(prose($object{view}{$1}[0][3], $anchor) . '.', ''), '';
		push @text, table([ 'column', 'type', '' ], map { [ "`$_->[2]`", short_type($_->[4]), prose($_->[3], $anchor, 1) ] } @{ $object{column}{$1} });
	}
	elsif ($what eq 'tables')
	{
		push @text, table([ 'table', '' ], map { [ "`meter.$_`", prose($object{table}{$_}[0][3], $anchor, 1) ] } sort keys %{ $object{table} });
	}
	elsif ($what eq 'settings')
	{
		my %who = (user => 'anybody', superuser => 'superuser', sighup => 'server', postmaster => 'server, restart');
		push @text, table([ 'setting', 'default', 'range', 'unit', 'who sets it', '' ],
			map { my $s = $object{setting}{$_}[0]; [ "`$_`", $s->[4], $s->[5], $s->[6], $who{ $s->[2] } // $s->[2], prose($s->[3], $anchor) ] } sort keys %{ $object{setting} });
	}
	else
	{
		push @text, functions($anchor, map { s/^meter\.//r } split / /, $what);
	}
	push @text, "More: $more.", '' if $more ne '';
	return @text;
}

# The arguments of a function of which its comment does not say anything. What the stream and the meter are that it asks for, and
# the one argument of a function, needs no line; and a longer form of an aggregate has the arguments of the shorter one.
sub not_spoken_of
{
	my ($f) = @_;
	my (undef, %of) = arguments($f);
	my @in = grep { $_->[0] !~ /[ot]/ } map { [ split /\|/ ] } split /~/, $f->[5];
	my $longer = grep { $_->[6] < $f->[6] } @{ $object{routine}{ $f->[1] } };
	return if $f->[3] =~ /with the same arguments/ || (@in == 1 && $in[0][3] eq '-');
	return map { "the comment of meter.$f->[1] has no line \"$_: …\" about an argument" } grep { !$of{$_} && !($longer && /^(?:time|active|label|during)$/) }
	  map { $_->[1] =~ s/^VARIADIC //r =~ s/"//gr } grep { !($_->[1] =~ /^(?:stream|meter)$/ && $_->[3] eq '-') } @in;
}

# generate PAGE, ROWS: the text of the page with its entries made anew from the rows of $catalog, and what is wrong with it.
sub generate
{
	my ($page, $rows) = @_;
	my (@entries, %found, @result);
	my $skipping = 0;

	@complaints = ();
	%section    = ();
	read_catalog($rows);

	# First which sections there are, since their texts link to each other.
	my $chapter = '';
	my @lines   = split /\n/, $page;
	foreach my $line (@lines)
	{
		$chapter = $1 if $line =~ /^## (.+)/;
		next unless $line =~ /^<!-- entry ((?:type |view )?[\w. ]+): (.*?)((?: \[[^\]]+\]\([^)]+\),?)*) -->$/;
		my ($what, $short, $more) = ($1, $2, $3);
		$more =~ s{^ }{};
		my $heading = $what =~ /^(?:tables|settings)$/ ? "All $what" : $what =~ /^(?:type|view) / ? ucfirst $what : join ', ', map { s/^meter\.//r } split / /, $what;
		my $anchor  = lc($heading) =~ s/[^\w\- ]//gr =~ s/ /-/gr;
		push @entries, { what => $what, heading => $heading, anchor => $anchor, short => $short, more => $more, chapter => $chapter };
		my ($kind, @names) = $what =~ /^(type|view) meter\.(\w+)$/ ? ($1, $2) : ("routine", map { s{^meter\.}{}r } split m{ }, $what);
		next if $what =~ /^(?:tables|settings)$/;
		foreach my $name (@names)
		{
			push @complaints, "two entries: $kind meter.$name" if $found{"$kind $name"}++;
			push @complaints, "an entry of what the catalog does not have: $kind meter.$name" unless $object{$kind}{$name};
			$section{$name} = $anchor if $kind eq 'routine' || $kind eq 'view';
		}
	}
	foreach my $kind (qw(routine type view))
	{
		push @complaints, map { "without an entry in docs/reference/functions.md: $kind meter.$_" } grep { !$found{"$kind $_"} } sort keys %{ $object{$kind} };
	}
	foreach my $kind (sort keys %object)
	{
		push @complaints, map { "without a comment: $kind $_->[1] $_->[2]" } grep { $_->[3] eq '' } map { @$_ } values %{ $object{$kind} };
	}
	return ($page, @complaints) if @complaints;

	my $n = 0;
	foreach my $line (@lines)
	{
		if ($line eq '<!-- end -->') { $skipping = 0 }
		next if $skipping;
		push @result, $line;
		if ($line eq '<!-- index -->')
		{
			my $last = '';
			push @result, '';
			foreach my $e (@entries)
			{
				push @result, ($last eq '' ? () : ''), "**$e->{chapter}**", '', '| | |', '| --- | --- |' if $e->{chapter} ne $last;
				$last = $e->{chapter};
				push @result, "| [`$e->{heading}`](#$e->{anchor}) | $e->{short} |";
			}
			push @result, '';
			$skipping = 1;
		}
		elsif ($line =~ /^<!-- entry /)
		{
			my $e = $entries[ $n++ ] or die "what is this: $line\n";
			push @result, '', entry(@$e{qw(what heading anchor more)});
			$skipping = 1;
		}
	}
	my $text = join("\n", @result) . "\n";

	# Each function is used by an example of its own section.
	foreach my $part (split /^(?=<!-- entry )/m, $text)
	{
		my ($what) = $part =~ /^<!-- entry ([^:]+):/ or next;
		my $sql = join '', $part =~ /^```sql\n(.*?)^```$/msg;
		next if $what =~ /^(?:tables|settings)$/;
		foreach my $name (split / /, $what =~ s/^(?:type|view) //r)
		{
			push @complaints, "without an example: $name" if $sql !~ /\Q$name\E\b/;
		}
	}
	push @complaints, map { not_spoken_of($_) } map { @$_ } values %{ $object{routine} };
	return ($text, @complaints);
}

1;
