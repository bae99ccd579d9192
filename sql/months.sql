-- Promise: the ledger is partitioned by the UTC month of its periods. Months are made when rows of them are written; whole months can be
-- taken out, and back, and what is gone is neither computed nor counted again.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET meter.now = '2024-03-05 12:00';
SELECT meter.create_stream('months_cloud');
CREATE TEMP VIEW months AS
SELECT c.relname AS month, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'months_cloud.usage'::regclass;
-- A stream begins without a month.
TABLE months;

-- The months that are settled are made, from the first one on; of long spans only those that have usage.
SELECT meter.create_meter('months_cloud', 'vm', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => '10 days', since => '2023-11-01');
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES
	('2023-11-30 22:30', 'a', 'x', 'start'), ('2023-12-01 02:15', 'a', NULL, 'stop'),
	('2024-02-28 22:30', 'b', 'x', 'start'), ('2024-03-01 02:15', 'b', NULL, 'stop'), ('2024-03-05 11:00', 'c', 'x', 'start'), ('2024-03-05 11:59', 'z', NULL, 'tick');
SELECT usage_rows FROM meter.advance('months_cloud');
SELECT * FROM months ORDER BY 1;
SELECT tableoid::regclass AS month, count(*), min(period_start), max(period_start), sum(quantity) FROM months_cloud.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('months_cloud');

-- What is older than the first month goes into one more partition, for whichever meter.
SELECT meter.create_meter('months_cloud', 'old', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => '10 days', since => '1969-12-31');
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES ('1969-12-31 23:30', 'd', 'x', 'start'), ('1970-01-01 00:30', 'd', NULL, 'stop'), ('2012-05-01 00:00', 'd', 'y', 'start'), ('2012-05-01 00:10', 'd', NULL, 'stop');
SELECT meter, usage_rows, adjustments FROM meter.advance('months_cloud');
SELECT * FROM months ORDER BY 1;
SELECT tableoid::regclass AS month, count(*), min(period_start), max(period_start) FROM months_cloud.usage WHERE meter = 'old' GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('months_cloud');
-- meter.run has months made in transactions of their own, and, from the first one on, the current and the next two ahead.
INSERT INTO months_cloud.event ("time", resource, action) VALUES ('2024-03-05 13:30', 'c', 'stop'), ('2024-03-05 14:00', 'z', 'tick');
SET meter.now = '2024-04-30 12:00';
CALL meter.run('months_cloud');
SELECT month FROM months ORDER BY 1;

-- Each month has the guards, the key and the summary of the ledger.
SELECT c.relname, (SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid) AS guards,
       (SELECT string_agg(am.amname || CASE WHEN indisprimary THEN ' primary' ELSE '' END, ', ' ORDER BY amname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am am ON am.oid = i.relam WHERE x.indrelid = c.oid) AS indexes
FROM pg_class c WHERE c.oid = 'months_cloud._usage_2023_11'::regclass;
DELETE FROM months_cloud._usage_2023_11;
TRUNCATE months_cloud._usage_2023_11;
-- Steps look at them.
ALTER TABLE months_cloud._usage_2023_11 DISABLE TRIGGER guard_ledger;
SELECT FROM meter.advance('months_cloud', 'vm');
ALTER TABLE months_cloud._usage_2023_11 ENABLE TRIGGER guard_ledger;
-- The summary finds the rows of a settlement.
SET enable_seqscan = off;
CREATE FUNCTION pg_temp.uses(query text, name text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line LIKE '%' || name || '%' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END$$;
SELECT pg_temp.uses('SELECT * FROM months_cloud.usage WHERE recorded_at > now() - interval ''1 minute''', 'recorded_at_idx');
RESET enable_seqscan;

-- A table that a month would be, but is no partition, is left alone: an error of the meter says so.
SET meter.now = '2024-08-02 12:00';
CREATE TABLE months_cloud._usage_2024_07 (LIKE months_cloud.usage);
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES ('2024-07-31 22:00', 'e', 'x', 'start'), ('2024-07-31 23:00', 'e', NULL, 'stop'), ('2024-08-01 00:00', 'z', NULL, 'tick');
\set VERBOSITY terse
SELECT usage_rows FROM meter.advance('months_cloud', 'vm');
\set VERBOSITY default
DROP TABLE months_cloud._usage_2024_07;
SELECT meter, usage_rows FROM meter.advance('months_cloud');
SELECT month FROM months WHERE month > '_usage_2024_06' ORDER BY 1;

-- A trigger of the owner's on a month: its rows are inserted one by one, as everybody's would be, and those of other months are not.
CREATE FUNCTION public.months_see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '% gets %', TG_TABLE_NAME, new.period_start; RETURN new; END$$;
CREATE TRIGGER see BEFORE INSERT ON months_cloud._usage_2024_07 FOR EACH ROW EXECUTE FUNCTION public.months_see();
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES ('2024-07-31 23:00', 'f', 'x', 'start'), ('2024-08-01 01:00', 'f', NULL, 'stop'), ('2024-08-01 02:00', 'z', NULL, 'tick');
SELECT meter, usage_rows, adjustments FROM meter.advance('months_cloud', 'vm');
DROP TRIGGER see ON months_cloud._usage_2024_07;
-- On the ledger: all of them.
CREATE TRIGGER see BEFORE INSERT ON months_cloud.usage FOR EACH ROW EXECUTE FUNCTION public.months_see();
SELECT meter, usage_rows, adjustments FROM meter.advance('months_cloud', 'old');
DROP TRIGGER see ON months_cloud.usage;
DROP FUNCTION public.months_see();
SELECT * FROM meter.verify('months_cloud');

-- resettle, rewind and release write into months that are missing, too.
SELECT meter.create_meter('months_cloud', 'late', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => '1 day', since => '2024-01-01');
SELECT count(*) FROM meter.advance('months_cloud', 'late');
SELECT count(*) FROM meter.advance('months_cloud', 'late');
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES ('2024-05-31 23:00', 'g', 'x', 'start'), ('2024-06-01 01:00', 'g', NULL, 'stop');
SELECT late_rows, adjustments FROM meter.advance('months_cloud', 'late');
SELECT meter.release('months_cloud', 'late');
SELECT month FROM months WHERE month BETWEEN '_usage_2024_05' AND '_usage_2024_07' ORDER BY 1;
SELECT * FROM meter.verify('months_cloud', 'late');

-- Months are taken out when no meter may change them any more; what holds the others back is said.
SELECT meter.drop_meter('months_cloud', 'old');
SELECT meter.pause('months_cloud', 'late');
SELECT meter.alter_meter('months_cloud', 'vm', max_lateness => NULL);
SELECT * FROM meter.detach_usage('months_cloud', '2023-12-31');
SELECT meter.alter_meter('months_cloud', 'vm', max_lateness => '40 days');
-- (After that, the next step holds nothing.)
SELECT * FROM meter.detach_usage('months_cloud', '2023-11-30 23:00');
SELECT late_rows FROM meter.advance('months_cloud', 'vm');
CREATE TEMP TABLE before AS SELECT * FROM months_cloud.usage;
SELECT * FROM meter.detach_usage('months_cloud', '2023-12-01');
SELECT * FROM meter.detach_usage('months_cloud', '2024-09-01');
SELECT month FROM months ORDER BY 1;
SELECT relname, relkind, relispartition FROM pg_class WHERE relnamespace = 'months_cloud'::regnamespace AND relname ~ '^usage_[0-9o]' AND relkind = 'r' ORDER BY 1;
SELECT month, month_end, rows FROM months_cloud._detached ORDER BY 1;
SELECT count(*) = (SELECT count(*) FROM before) - (SELECT sum(rows) FROM months_cloud._detached) FROM months_cloud.usage;
-- verify looks at what is there, resettle writes no more than that, and the ledger has what its settlements wrote.
SELECT * FROM meter.verify('months_cloud');
SELECT meter.resettle('months_cloud', 'vm');
SELECT meter.resume('months_cloud');
-- What would compare with a month that is gone is refused.
SELECT * FROM meter.verify('months_cloud', 'vm', '[2024-02-01, 2024-03-01)');
SELECT meter.resettle('months_cloud', 'vm', '[2024-02-01, 2024-03-01)');
SELECT meter.rewind('months_cloud', 'vm', '2024-02-01');
SELECT meter.create_meter('months_cloud', 'again', starts => '{start}', stops => '{stop}', since => '2024-01-01');
SELECT meter.alter_meter('months_cloud', 'vm', max_lateness => '365 days');
-- Late rows from before are held, and do not count.
INSERT INTO months_cloud.event ("time", resource, account, action) VALUES ('2023-11-05 00:00', 'h', 'x', 'start'), ('2023-11-05 01:00', 'h', NULL, 'stop');
SELECT late_rows, adjustments FROM meter.advance('months_cloud', 'vm');
SELECT "time", reason FROM months_cloud.held WHERE meter = 'vm' ORDER BY 1;
SELECT meter.release('months_cloud', 'vm');
SELECT meter.release('months_cloud', 'vm', (SELECT array_agg(arrival) FROM months_cloud.held WHERE meter = 'vm'));
-- A meter without since begins behind them, whatever is in the log.
SELECT meter.create_meter('months_cloud', 'new', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0');
SELECT meter, usage_rows, adjustments FROM meter.advance('months_cloud', 'new');
SELECT min(period_start) FROM months_cloud.usage WHERE meter = 'new';
SELECT * FROM meter.verify('months_cloud');

-- A month comes back whole, or not at all.
SELECT meter.attach_usage('months_cloud', '2022-01-01');
ALTER TABLE months_cloud.usage_2024_02 DISABLE TRIGGER guard_ledger;
UPDATE months_cloud.usage_2024_02 SET quantity = quantity + 1;
SELECT meter.attach_usage('months_cloud', '2024-02-01');
UPDATE months_cloud.usage_2024_02 SET quantity = quantity - 1;
ALTER TABLE months_cloud.usage_2024_02 ADD COLUMN more text;
SELECT meter.attach_usage('months_cloud', '2024-02-01');
ALTER TABLE months_cloud.usage_2024_02 DROP COLUMN more;
SELECT meter.attach_usage('months_cloud', '2024-02-20 10:00');
SELECT meter.attach_usage('months_cloud', month) FROM months_cloud._detached ORDER BY month;
SELECT meter.attach_usage('months_cloud', '2024-02-01');
SELECT month FROM months ORDER BY 1;
SELECT count(*) FROM (SELECT * FROM before EXCEPT SELECT * FROM months_cloud.usage) u;
SELECT count(*) FROM months_cloud.settlement WHERE detached_rows <> 0;
SELECT * FROM meter.verify('months_cloud', 'vm');
SELECT meter.resume('months_cloud');

-- The owner's only.
CREATE ROLE months_stranger;
SET ROLE months_stranger;
SELECT * FROM meter.detach_usage('months_cloud', '2024-01-01');
SELECT meter.attach_usage('months_cloud', '2024-01-01');
RESET ROLE;
DROP ROLE months_stranger;
SELECT * FROM meter.detach_usage('no_stream', '2024-01-01');
SELECT * FROM meter.detach_usage('months_cloud', NULL);
SET client_min_messages = warning;
SELECT meter.drop_stream('months_cloud', delete_data => true);
