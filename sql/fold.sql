-- The fold writes a plain table in blocks; where an owner's trigger has to see the rows, or the table has a column of the
-- owner's, rows are inserted by SQL. Both ways give the same ledger and the same states.
SET timezone = 'UTC';
SET meter.now = '2024-03-05 09:00Z';
DO $$
DECLARE
	s text;
BEGIN
	FOREACH s IN ARRAY ARRAY['fold_blocks', 'fold_trigger', 'fold_statement', 'fold_column'] LOOP
		PERFORM meter.create_stream(s, deduplication_window => '1 hour');
		PERFORM meter.create_meter(s, 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering,zone}', lateness => '0', since => '2024-03-05 09:00Z');
		PERFORM meter.create_meter(s, 'gb', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0', since => '2024-03-05 09:00Z');
	END LOOP;
END
$$;
-- what the owner of a table may add
CREATE INDEX ON fold_blocks.usage (resource, period_start);
CREATE UNIQUE INDEX ON fold_blocks.usage (settlement, transaction_id) WHERE quantity > 0;
CREATE INDEX ON fold_blocks._resource_state USING brin (since);
ALTER TABLE fold_blocks.usage ADD CHECK (resource <> 'refused');
CREATE TABLE public.fold_seen (stream text, rows bigint);
CREATE FUNCTION public.fold_see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.fold_seen VALUES (TG_TABLE_SCHEMA, 1);
	RETURN NULL;
END
$$;
CREATE TRIGGER see AFTER INSERT ON fold_trigger.usage FOR EACH ROW EXECUTE FUNCTION public.fold_see();
CREATE TRIGGER see BEFORE UPDATE ON fold_statement._resource_state FOR EACH STATEMENT EXECUTE FUNCTION public.fold_see();
ALTER TABLE fold_column.usage ADD COLUMN note text DEFAULT 'of the owner''s';

-- Resources of all kinds: named late or never, stopped and started again, resized, of two sources, twice, from a snapshot, with a
-- name as long as it can be, and many others.
CREATE TABLE public.fold_events AS
SELECT source, id, '2024-03-05 09:00Z'::timestamptz + at * interval '1 minute' AS "time", resource, account, action, offering, value, attributes
FROM (VALUES
	('a', '1', 5, 'r1', 'x', 'start', 'small', 1.5, '{"zone":"z1"}'::jsonb),
	('a', '1', 5, 'r1', 'x', 'start', 'small', 1.5, '{"zone":"z1"}'),
	('a', '2', 90, 'r1', 'x', 'resize', 'large', 4, '{"zone":"z1"}'),
	('a', '3', 130, 'r1', NULL, 'stop', NULL, NULL, NULL),
	('a', '4', 10, 'r2', NULL, 'start', 'small', 2, NULL),
	('b', '4', 70, 'r2', 'y', 'resize', 'small', 2, NULL),
	(NULL, NULL, 20, 'r3', '', 'start', NULL, 0, '{"zone":null}'),
	(NULL, NULL, 30, 'r3', '', 'stop', NULL, 0, NULL),
	(NULL, NULL, 125, 'r3', 'z', 'start', 'large', 1, '{"zone":"z2"}'),
	('a', '5', 15, repeat('x', 1000), 'x', 'start', 'small', 1, '{"zone":"z1"}'),
	('a', '6', 100, repeat('x', 1000), 'x', 'resize', 'large', 2, '{"zone":"z1"}'),
	('a', '7', 170, repeat('x', 1000), 'x', 'stop', NULL, NULL, NULL)) v (source, id, at, resource, account, action, offering, value, attributes)
UNION ALL
SELECT 'a', 'start-' || i, '2024-03-05 09:00Z'::timestamptz + i % 60 * interval '1 minute', 'vm-' || i, 'account-' || i % 7, 'start', 's' || i % 3, i % 4, NULL FROM generate_series(1, 2500) i
UNION ALL
SELECT 'a', 'stop-' || i, '2024-03-05 10:00Z'::timestamptz + i % 60 * interval '1 minute', 'vm-' || i, NULL, 'stop', NULL, NULL, NULL FROM generate_series(1, 2500, 2) i;

CREATE FUNCTION public.fold_settle(stream text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	hour timestamptz;
BEGIN
	FOR hour IN SELECT * FROM generate_series('2024-03-05 09:00Z'::timestamptz, '2024-03-05 12:00Z', '1 hour') LOOP
		EXECUTE format('INSERT INTO %I.event (source, id, "time", resource, account, action, offering, value, attributes)
			SELECT * FROM public.fold_events WHERE "time" >= $1 AND "time" < $1 + interval ''1 hour'' ORDER BY "time", id, resource', stream) USING hour;
		PERFORM set_config('meter.now', (hour + interval '1 hour')::text, false);
		PERFORM meter.advance(stream);
	END LOOP;
END
$$;
SELECT public.fold_settle(s) FROM unnest(ARRAY['fold_blocks', 'fold_trigger', 'fold_statement', 'fold_column']) s;
SELECT stream, meter, watermark, last_error FROM meter.status WHERE stream LIKE 'fold%' ORDER BY 1, 2;
SELECT note, count(*) FROM fold_column.usage GROUP BY 1;
SELECT stream, sum(rows) > 0 AS seen FROM public.fold_seen GROUP BY 1 ORDER BY 1;

CREATE VIEW public.fold_ledger AS
SELECT 'fold_blocks' AS stream, transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement FROM fold_blocks.usage
UNION ALL SELECT 'fold_trigger', transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement FROM fold_trigger.usage
UNION ALL SELECT 'fold_statement', transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement FROM fold_statement.usage
UNION ALL SELECT 'fold_column', transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement FROM fold_column.usage;
SELECT stream, meter, count(*), sum(quantity), count(DISTINCT settlement) AS settlements FROM public.fold_ledger GROUP BY 1, 2 ORDER BY 1, 2;
SELECT meter, left(resource, 5) AS resource, account, dimensions, period_start, quantity, revision, settlement FROM fold_blocks.usage
WHERE resource IN ('r1', 'r2', 'r3', repeat('x', 1000)) ORDER BY meter, left(resource, 5), period_start, settlement, quantity, dimensions::text;
-- the same rows, whichever way they were written
SELECT meter, account, resource, dimensions, period_start, quantity, revision, settlement, count(*) FROM public.fold_ledger
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 HAVING count(*) <> 4;
CREATE FUNCTION public.fold_states(stream text) RETURNS SETOF text LANGUAGE plpgsql AS
	$$BEGIN RETURN QUERY EXECUTE format('SELECT (to_jsonb(s) - ''hash'')::text FROM %I._resource_state s', stream); END$$;
SELECT public.fold_states('fold_blocks') EXCEPT SELECT public.fold_states('fold_trigger');
SELECT public.fold_states('fold_trigger') EXCEPT SELECT public.fold_states('fold_blocks');
SELECT public.fold_states('fold_blocks') EXCEPT SELECT public.fold_states('fold_statement');
SELECT count(*) FROM fold_blocks._resource_state WHERE hash <> meter_internal.resource_hash('fold_blocks', meter, resource);
-- hashes of ids are kept for two windows, whichever way was taken
SELECT 'fold_blocks' AS stream, min(period_start) AS kept_from FROM fold_blocks._duplicate_key UNION ALL SELECT 'fold_trigger', min(period_start) FROM fold_trigger._duplicate_key;
SELECT s AS stream, (SELECT count(*) FROM meter.verify(s)) FROM unnest(ARRAY['fold_blocks', 'fold_trigger', 'fold_statement']) s;
SELECT count(*) FILTER (WHERE transaction_id <> meter.transaction_id(stream, meter, resource, account, dimensions, period_start, revision)) AS misnamed FROM public.fold_ledger;
-- the indexes have all rows
SET enable_seqscan = off;
SELECT count(*) FROM fold_blocks.usage WHERE settlement > 0 AND quantity > 0;
SELECT count(*) FROM fold_blocks._resource_state WHERE since > '2024-03-05 09:30Z';
RESET enable_seqscan;

-- A constraint holds, and nothing is written by half.
INSERT INTO fold_blocks.event (id, "time", resource, account, action, offering, value) VALUES ('refused', '2024-03-05 13:10Z', 'refused', 'x', 'start', 'small', 1);
SET meter.now = '2024-03-05 14:00Z';
\set VERBOSITY terse
SELECT meter, usage_rows FROM meter.advance('fold_blocks');
SELECT meter, active, last_error IS NOT NULL AS failed FROM meter.status WHERE stream = 'fold_blocks' ORDER BY 1;
SELECT count(*) FROM fold_blocks.usage WHERE period_start >= '2024-03-05 13:00Z';
ALTER TABLE fold_blocks.usage DROP CONSTRAINT usage_resource_check;
SELECT count(*) FROM meter.advance('fold_blocks');
SELECT meter, count(*) FROM fold_blocks.usage WHERE resource = 'refused' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM meter.verify('fold_blocks');
DROP VIEW public.fold_ledger;
SET client_min_messages = warning;
SELECT meter.drop_stream(s, delete_data => true) FROM unnest(ARRAY['fold_blocks', 'fold_trigger', 'fold_statement', 'fold_column']) s;
DROP TABLE public.fold_seen, public.fold_events;
DROP FUNCTION public.fold_see(), public.fold_settle(text), public.fold_states(text);
