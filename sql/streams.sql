-- Promise: a stream is a schema of ordinary tables that its maker owns, and what was written there stays as it was written.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

SELECT meter.create_stream('streams_cloud');

-- What there is: logs, partitioned by arrival with segments made ahead; a ledger; the state that is carried along; views.
SELECT c.relname AS name, CASE c.relkind WHEN 'p' THEN 'partitioned table' WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE c.relkind::text END AS kind,
	pg_get_expr(c.relpartbound, c.oid) AS arrivals
FROM pg_class c WHERE relnamespace = 'streams_cloud'::regnamespace AND relkind IN ('p', 'r', 'v') ORDER BY relname COLLATE "C";
SELECT table_name, string_agg(column_name || ' ' || data_type || CASE collation_name WHEN 'C' THEN ' C' ELSE '' END, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns WHERE table_schema = 'streams_cloud' AND table_name IN ('event', 'measure', 'usage', 'usage_total', 'current_usage')
GROUP BY table_name ORDER BY table_name COLLATE "C";

-- All of it is the maker's; nothing is a member of the extension, and no table has a column of the extension's types.
SELECT count(*) AS of_others FROM pg_class WHERE relnamespace = 'streams_cloud'::regnamespace AND pg_get_userbyid(relowner) <> current_user;
SELECT count(*) AS members FROM pg_depend d JOIN pg_class c ON d.objid = c.oid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relnamespace = 'streams_cloud'::regnamespace;
SELECT count(*) AS columns_of_its_types FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_type t ON t.oid = atttypid
WHERE c.relnamespace = 'streams_cloud'::regnamespace AND c.relkind IN ('r', 'p') AND t.typnamespace = 'meter'::regnamespace;
-- The one index of the ledger is its primary key; the newest segment has no btree that writers would have to keep up.
SELECT indrelid::regclass AS "table", am.amname, pg_get_indexdef(indexrelid, 1, true) AS first_column
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
WHERE c.relnamespace = 'streams_cloud'::regnamespace AND (indrelid::regclass::text LIKE 'streams_cloud.event%' OR indrelid = 'streams_cloud.usage'::regclass) ORDER BY 1, 2;

-- Some usage: an hour of one machine.
SELECT meter.create_meter('streams_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO streams_cloud.event ("time", resource, action, account, offering) VALUES
	('2024-03-05 10:00', 'vm1', 'start', 'geneva-jug', 'm'), ('2024-03-05 11:00', 'vm1', 'stop', NULL, NULL);
COPY streams_cloud.event ("time", resource, action, account, offering) FROM STDIN;
2024-03-05 10:30	vm2	start	geneva-jug	l
\.
SET meter.now = '2024-03-05 12:00';
SELECT * FROM meter.advance('streams_cloud');
SELECT period_start, account, resource, dimensions, quantity, revision, settlement FROM streams_cloud.usage ORDER BY period_start, resource;

-- The ledger is append-only, for its owner and for superusers too.
UPDATE streams_cloud.usage SET quantity = 0;
DELETE FROM streams_cloud.usage;
TRUNCATE streams_cloud.usage;
DELETE FROM streams_cloud.usage WHERE false;

-- The logs are too long to be emptied by accident, and rows come in through the parent only, which numbers them.
TRUNCATE streams_cloud.event;
TRUNCATE streams_cloud.event_0;
TRUNCATE streams_cloud.measure;
INSERT INTO streams_cloud.event_0 (arrival, "time", resource, action) OVERRIDING SYSTEM VALUE VALUES (7, '2024-03-05 10:00', 'vm3', 'start');
COPY streams_cloud.event_0 (arrival, "time", resource, action) FROM STDIN;
8	2024-03-05 10:00	vm3	start
\.
INSERT INTO streams_cloud.measure_1 (arrival, start_time, end_time, resource, value) OVERRIDING SYSTEM VALUE VALUES (7, '2024-03-05 10:00', '2024-03-05 11:00', 'ip', 1);
INSERT INTO streams_cloud.event (arrival, "time", resource, action) VALUES (9, '2024-03-05 10:00', 'vm3', 'start');

-- What no event can be: without a time or a resource, at no finite time, of no finite value.
INSERT INTO streams_cloud.event ("time", resource, action) VALUES (NULL, 'vm3', 'start');
INSERT INTO streams_cloud.event ("time", resource, action) VALUES ('2024-03-05 10:00', NULL, 'start');
INSERT INTO streams_cloud.event ("time", resource, action) VALUES ('infinity', 'vm3', 'start');
INSERT INTO streams_cloud.event ("time", resource, action) VALUES ('-infinity', 'vm3', 'start');
INSERT INTO streams_cloud.event ("time", resource, action, value) VALUES ('2024-03-05 10:00', 'vm3', 'start', 'NaN');
INSERT INTO streams_cloud.event ("time", resource, action, value) VALUES ('2024-03-05 10:00', 'vm3', 'start', 'Infinity');

SELECT count(*) AS events FROM streams_cloud.event;
SELECT * FROM meter.verify('streams_cloud');

-- A stream is made once; a schema of another shape is not one.
\set VERBOSITY terse
SELECT meter.create_stream('streams_cloud');
CREATE SCHEMA regress_streams_other;
SELECT meter.create_stream('regress_streams_other');
DROP SCHEMA regress_streams_other;
CREATE SCHEMA regress_streams_other CREATE TABLE event (id int);
SELECT meter.create_stream('regress_streams_other');
SET client_min_messages = warning;
DROP SCHEMA regress_streams_other CASCADE;
RESET client_min_messages;
\set VERBOSITY default
SELECT meter.create_stream(NULL);
SELECT meter.create_stream('');
SELECT meter.create_stream('meter');
SELECT meter.create_stream('meter_internal');
SELECT meter.create_stream('pg_stream');
SELECT meter.create_stream(repeat('x', 64));
SELECT meter.create_stream('backwards', '-1 day');
SELECT meter.drop_stream('nowhere');
SELECT * FROM meter.advance('nowhere');
CALL meter.run('nowhere');

-- Any name will do that can name a schema.
SELECT meter.create_stream('Bob''s "cloud"');
SELECT meter.create_meter('Bob''s "cloud"', 'Bob''s "meter"', starts => '{it''s,"a \"start\""}', stops => '{stop}', lateness => '0');
INSERT INTO "Bob's ""cloud""".event ("time", resource, action) VALUES ('2024-03-05 10:00', 'Bob''s "vm"', 'it''s');
SELECT * FROM meter.advance('Bob''s "cloud"');
SELECT meter, account, resource, dimensions, period_start, quantity FROM "Bob's ""cloud""".usage ORDER BY period_start;
SELECT * FROM meter.verify('Bob''s "cloud"');
SET client_min_messages = warning;
SELECT meter.pause('Bob''s "cloud"', 'Bob''s "meter"');
SELECT * FROM meter.advance('Bob''s "cloud"', 'Bob''s "meter"');
SELECT meter.drop_stream('Bob''s "cloud"', delete_data => true);
SELECT * FROM meter.advance('Bob''s "cloud"');
RESET client_min_messages;

-- Not even one that would end what quotes it.
CREATE ROLE regress_streams_b;
SELECT meter.create_stream('$guard$;ALTER ROLE regress_streams_b SUPERUSER;LISTEN--');
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_streams_b';
INSERT INTO "$guard$;ALTER ROLE regress_streams_b SUPERUSER;LISTEN--".event ("time", resource, action) VALUES ('2024-03-05 10:00', '', 'start');
SET client_min_messages = warning;
SELECT meter.drop_stream('$guard$;ALTER ROLE regress_streams_b SUPERUSER;LISTEN--', delete_data => true);
RESET client_min_messages;
DROP ROLE regress_streams_b;

-- drop_stream forgets the stream and its meters; logs and ledger stay, unless they are to go too.
SELECT meter.drop_stream('streams_cloud');
SELECT count(*) AS streams FROM meter.stream WHERE name = 'streams_cloud';
SELECT (SELECT count(*) FROM streams_cloud.event) AS events, (SELECT count(*) FROM streams_cloud.usage) AS usage_rows;
DELETE FROM streams_cloud.usage;
-- Made again over them, it goes on where it was: nothing is billed twice.
SELECT meter.create_stream('streams_cloud');
SELECT meter.create_meter('streams_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT * FROM meter.advance('streams_cloud');
SET meter.now = '2024-03-05 13:00';
SELECT * FROM meter.advance('streams_cloud');
SELECT period_start, account, resource, dimensions, quantity, revision, settlement FROM streams_cloud.usage ORDER BY period_start, resource;
SELECT * FROM meter.verify('streams_cloud');
SET client_min_messages = warning;
SELECT meter.drop_stream('streams_cloud', delete_data => true);
RESET client_min_messages;
SELECT to_regnamespace('streams_cloud') IS NULL AS gone;

-- Who may: somebody who may create a schema makes a stream and works on it; a stranger may not.
CREATE ROLE regress_streams_owner;
CREATE ROLE regress_streams_stranger;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_streams_owner', current_database()) \gexec
SET ROLE regress_streams_owner;
SELECT meter.create_stream('owned');
SELECT meter.create_meter('owned', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO owned.event ("time", resource, action, account) VALUES ('2024-03-05 10:00', 'vm1', 'start', 'a');
SELECT * FROM meter.advance('owned');
SELECT count(*) AS rows, sum(quantity) AS minutes FROM owned.usage;
DELETE FROM owned.usage;
RESET ROLE;
SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relnamespace = 'owned'::regnamespace;
SET ROLE regress_streams_stranger;
SELECT meter.create_stream('mine');
SELECT * FROM meter.advance('owned');
SELECT meter.create_meter('owned', 'more', starts => '{start}', stops => '{stop}');
SELECT meter.drop_meter('owned', 'vm');
SELECT meter.drop_stream('owned');
SELECT * FROM meter.verify('owned');
SELECT meter.resume('owned');
UPDATE meter.meter SET watermark = NULL WHERE stream = 'owned';
SET meter.now = '2030-01-01';
RESET ROLE;
SELECT * FROM meter.verify('owned');
SET client_min_messages = warning;
SELECT meter.drop_stream('owned', delete_data => true);
RESET client_min_messages;
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_streams_owner', current_database()) \gexec
DROP ROLE regress_streams_owner, regress_streams_stranger;
