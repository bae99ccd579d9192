# shellcheck shell=bash
# Taking in 1,000,000 events and measures: the inboxes against COPY of the same lines into a jsonb column, and what both take on
# disk; decoding measures against protobuf-c's own unpack. Each round writes into a stream of its own.

lines=$(scaled 1000000)

dir=$SCRATCH/ingest           # the server's, which can read and write there
say "ingest: $lines lines, such as"
sql "CREATE UNLOGGED TABLE lines AS SELECT format('{\"time\":\"%s\",\"resource\":\"%s\",\"action\":\"%s\",\"account\":\"account-%s\",\"entity\":\"vm\",\"offering\":\"m%s\",\"source\":\"cloudstack\",\"id\":\"%s\",\"template\":\"ubuntu-16.04\",\"zone\":\"ch-gva-%s\",\"version\":1}',
	to_char('2024-03-05 00:00Z'::timestamptz + i * interval '13 ms', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), md5((i % 100000)::text)::uuid,
	CASE WHEN i % 2 = 0 THEN 'start' ELSE 'stop' END, i % 1000, i % 4, md5(i::text)::uuid, i % 3) AS line FROM generate_series(1, $lines) i"
sql 'SELECT line FROM lines LIMIT 1'
sql "COPY lines TO '$dir/lines'"
sql "COPY (SELECT line::meter.event FROM lines) TO '$dir/messages' (FORMAT binary)"
sql 'DROP TABLE lines; CREATE TABLE plain (event jsonb); CREATE TABLE typed (event meter.event)'

for ((round = 1; round <= RUNS; round++)); do
	sql "TRUNCATE plain, typed; SELECT meter.create_stream('lines'); SELECT meter.create_stream('messages')" >/dev/null
	sql CHECKPOINT
	timed json "COPY plain FROM '$dir/lines'"
	sql CHECKPOINT
	timed text "COPY lines.inbox FROM '$dir/lines'"
	sql CHECKPOINT
	timed binary "COPY messages.inbox FROM '$dir/messages' (FORMAT binary)"
	sql CHECKPOINT
	timed typed "COPY typed FROM '$dir/lines'"
	[ "$(sql "SELECT count(*) = $lines AND count(*) = (SELECT count(*) FROM messages.event) FROM lines.event")" = t ] || die "rows are missing"
	sizes=$(sql "SELECT (SELECT sum(pg_column_size(event)) / 1024 FROM typed) || ' ' || (SELECT sum(pg_column_size(event)) / 1024 FROM plain)")
	sql "SELECT meter.drop_stream('lines', true); SELECT meter.drop_stream('messages', true)" >/dev/null
done

say "ingest: $lines measures, such as"
sql "CREATE UNLOGGED TABLE lines AS SELECT format('{\"start_time\":\"%s\",\"end_time\":\"%s\",\"resource\":\"%s\",\"account\":\"account-%s\",\"entity\":\"ip\",\"value\":%s,\"source\":\"router-%s\",\"id\":\"%s\",\"direction\":\"out\",\"zone\":\"ch-gva-%s\"}',
	to_char('2024-03-05 00:00Z'::timestamptz + i / 1000 * interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), to_char('2024-03-05 00:01Z'::timestamptz + i / 1000 * interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
	md5((i % 100000)::text)::uuid, i % 1000, hashint4(i)::bigint + 2147483648, i % 10, md5(i::text)::uuid, i % 3) AS line FROM generate_series(1, $lines) i"
sql 'SELECT line FROM lines LIMIT 1'
sql "COPY lines TO '$dir/measure_lines'"
sql "COPY (SELECT line::meter.measure FROM lines) TO '$dir/usage_measures' (FORMAT binary)"
sql 'DROP TABLE lines'
for ((round = 1; round <= RUNS; round++)); do
	sql "TRUNCATE plain; SELECT meter.create_stream('lines'); SELECT meter.create_stream('messages')" >/dev/null
	sql CHECKPOINT
	timed measure_json "COPY plain FROM '$dir/measure_lines'"
	sql CHECKPOINT
	timed measure_text "COPY lines.measure_inbox FROM '$dir/measure_lines'"
	sql CHECKPOINT
	timed measure_binary "COPY messages.measure_inbox FROM '$dir/usage_measures' (FORMAT binary)"
	[ "$(sql "SELECT count(*) = $lines AND count(*) = (SELECT count(*) FROM messages.measure) FROM lines.measure")" = t ] || die "rows are missing"
	sql "SELECT meter.drop_stream('lines', true); SELECT meter.drop_stream('messages', true)" >/dev/null
done

say "ingest: $lines measures of addresses"
sql "$(cat "$SCRATCH/tree/test/protobuf.sql")
CREATE UNLOGGED TABLE stream AS SELECT string_agg(pg_temp.delimited(pg_temp.measure(format('10.%s.%s.%s', i % 256, i / 256 % 256, i % 199),
	(hashint4(i)::bigint + 2147483648) * (i % 100), '2024-03-05 00:00Z'::timestamptz + i / 1000 * interval '1 s',
	'2024-03-05 00:01Z'::timestamptz + i / 1000 * interval '1 s', i % 3)), '') AS bytes FROM generate_series(1, $lines) i"
sql "COPY (SELECT encode(bytes, 'hex') FROM stream) TO STDOUT" |
	as_user perl -e 'local $/ = \65536; while (read(STDIN, my $hex, 65536)) { chomp $hex; $hex =~ s/\n//g; print pack("H*", $hex) }' |
	as_user tee ingest/measures >/dev/null
as_user protoc-c --proto_path=tree/src --c_out=ingest types/usage.proto
read -ra core < <(make -s -C "$SCRATCH/tree" core)
as_user gcc -std=gnu11 -O2 -w -DMETER_STANDALONE -I"$SCRATCH/tree/src" -Iingest -o ingest/decode "$SCRATCH/tree/bench/decode.c" \
	"$SCRATCH/tree/test/unit/standalone/palloc.c" "${core[@]/#/$SCRATCH/tree/}" ingest/types/usage.pb-c.c -lprotobuf-c
read -r decoded unpacked < <(as_user ingest/decode ingest/measures)
sample decoded "$decoded"
sample unpacked "$unpacked"
sql "SELECT meter.create_stream('measured'); CREATE TABLE bytes (bytes bytea); ALTER TABLE bytes ALTER bytes SET STORAGE external; INSERT INTO bytes SELECT bytes || '' FROM stream" >/dev/null
for ((round = 1; round <= RUNS; round++)); do
	timed rows "SELECT count(*) FROM bytes, meter.measures_from_protobuf_stream(bytes)"
	sql CHECKPOINT
	timed ingest "SELECT meter.ingest_measures('measured', 'r$round', bytes) FROM bytes"
	[ "$round" != 1 ] || sql "COPY (SELECT source, id, start_time, end_time, resource, value, attributes FROM measured.measure) TO '$dir/columns'"
	sql CHECKPOINT
	timed columns "COPY measured.measure (source, id, start_time, end_time, resource, value, attributes) FROM '$dir/columns'"
done

header
figure 'COPY inbox, JSON lines' text 'COPY of the same lines into jsonb' json '<= 2.5'
figure 'COPY BINARY inbox, protobuf' binary 'COPY of the same lines into jsonb' json '<= 1.25'
figure 'COPY into a meter.event column, JSON lines' typed 'COPY of the same lines into jsonb' json
figure 'COPY measure_inbox, JSON lines' measure_text 'COPY of the same lines into jsonb' measure_json '<= 2.5'
figure 'COPY BINARY measure_inbox, protobuf' measure_binary 'COPY of the same lines into jsonb' measure_json '<= 1.25'
figure 'decoding IPMeasure' decoded "a loop over protobuf-c's unpack" unpacked '<= 1.5'
figure 'the same to rows in SQL' rows "a loop over protobuf-c's unpack" unpacked
figure 'meter.ingest_measures' ingest 'COPY of the same columns into measure' columns
printf 'values, in kB: meter.event %s, jsonb %s: %s of it (target <= 0.5)\n' "${sizes% *}" "${sizes#* }" \
	"$(awk "BEGIN { printf \"%.2f\", ${sizes% *} / ${sizes#* } }")"
