-- Promises: who has an access to a stream can do what it is for by every path, and nothing else; an error says which grant is
-- missing, and who can give it; what was granted is there again when views are made anew, and gone when it is revoked.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE ROLE regress_access_owner;
CREATE ROLE "regress access, producer";
CREATE ROLE regress_access_analyst;
CREATE ROLE regress_access_operator;
CREATE ROLE regress_access_consumer;
CREATE ROLE regress_access_member IN ROLE regress_access_analyst;
CREATE ROLE regress_access_monitor IN ROLE pg_monitor;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_access_owner', current_database()) \gexec
SET ROLE regress_access_owner;
SELECT meter.create_stream('access_cloud');
SELECT meter.create_meter('access_cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('access_cloud', 'bytes', 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_consumer('access_cloud', 'invoices', from_start => true);

-- Only the owner grants, and names what there is.
SELECT meter.grant_access('access_cloud', 'regress_access_nobody', 'analyst');
SELECT meter.grant_access('access_cloud', 'regress_access_analyst', 'tenant');
SELECT meter.grant_access('access_cloud', NULL, 'analyst');
SELECT meter.grant_access('access_nowhere', 'regress_access_analyst', 'analyst');
SET ROLE regress_access_analyst;
SELECT meter.grant_access('access_cloud', 'regress_access_analyst', 'analyst');
SELECT meter.revoke_access('access_cloud', 'regress_access_analyst');
-- What is missing is said, and who can give it.
SELECT meter.ingest('access_cloud', '{"time":"2024-03-05T10:00:00Z","resource":"vm1","action":"start"}');
SELECT meter.heartbeat('access_cloud', 'agent', '2024-03-05 10:00');
SELECT * FROM meter.live_usage('access_cloud');
SELECT * FROM meter.anomalies('access_cloud');
SELECT * FROM meter.explain('access_cloud', gen_random_uuid());
SELECT * FROM meter.last_step('access_cloud', 'vm');
SELECT * FROM meter.advance('access_cloud');
SELECT meter.pause('access_cloud', 'vm');
SELECT * FROM meter.next_batch('access_cloud', 'invoices');
SET ROLE regress_access_owner;
SELECT meter.grant_access('access_cloud', 'regress access, producer', 'ingest');
SELECT meter.grant_access('access_cloud', 'regress_access_analyst', 'analyst');
SELECT meter.grant_access('access_cloud', 'regress_access_operator', 'operator');
SELECT meter.grant_access('access_cloud', 'regress_access_consumer', 'consumer');
SELECT meter.grant_access('access_cloud', 'regress_access_consumer', 'consumer');

-- A producer writes by every path, and sees what of it was rejected.
RESET ROLE;
SET SESSION AUTHORIZATION "regress access, producer";
SET client_min_messages = warning;
INSERT INTO access_cloud.event (source, id, "time", sequence, resource, account, entity, action, offering, value, attributes) VALUES ('p', '1', '2024-03-05 10:00', 1, 'vm1', 'a', NULL, 'start', 'small', 1, '{}');
COPY access_cloud.event (source, id, "time", resource, account, action) FROM stdin;
p	2	2024-03-05 10:10	vm2	b	start
\.
COPY access_cloud.measure (source, id, start_time, end_time, resource, account, value) FROM stdin;
p	1	2024-03-05 10:00	2024-03-05 10:30	disk1	a	7
\.
COPY access_cloud.inbox FROM stdin;
{"time":"2024-03-05T10:20:00Z","resource":"vm3","action":"start","account":"a"}
\.
INSERT INTO access_cloud.measure_inbox VALUES ('{"start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:10:00Z","resource":"disk2","account":"b","value":5}');
SELECT meter.ingest('access_cloud', '{"time":"2024-03-05T10:30:00Z","resource":"vm3","action":"stop"}');
SELECT meter.ingest_json('access_cloud', '[{"time":"2024-03-05T10:40:00Z","resource":"vm4","action":"start","account":"b"}]');
SELECT meter.ingest_protobuf('access_cloud', '');
SELECT meter.ingest_measures('access_cloud', 'p', '');
SELECT meter.heartbeat('access_cloud', 'p', '2024-03-05 10:00');
SET meter.on_bad_event = 'divert';
SELECT meter.ingest_json('access_cloud', '[{"time":"2024-03-05T10:40:00Z","resource":"vm4"}]');
RESET meter.on_bad_event;
RESET SESSION AUTHORIZATION;
SET meter.on_bad_event = 'divert';
SELECT meter.ingest_json('access_cloud', '[{"time":"2024-03-05T10:50:00Z","resource":"vm5"}]');
RESET meter.on_bad_event;
SELECT count(*) AS rejected FROM access_cloud.rejected;
SET SESSION AUTHORIZATION "regress access, producer";
SELECT raw, reason FROM access_cloud.own_rejected;
-- It reads nothing else, and gives no row an arrival.
SELECT * FROM access_cloud.rejected;
SELECT * FROM access_cloud.event;
SELECT * FROM access_cloud.usage;
SELECT * FROM access_cloud.current_usage;
INSERT INTO access_cloud.event (arrival, "time", resource, action) OVERRIDING SYSTEM VALUE VALUES (1, '2024-03-05 10:00', 'vm1', 'start');
SELECT * FROM meter.advance('access_cloud');
SELECT * FROM meter.explain('access_cloud', gen_random_uuid());
SELECT count(*) FROM meter.status WHERE stream = 'access_cloud';
RESET SESSION AUTHORIZATION;
SET timezone = 'UTC';
SET client_min_messages = warning;

-- An operator settles, and does what goes with that.
SET meter.now = '2024-03-05 12:00';
SET ROLE regress_access_operator;
SELECT meter, usage_rows FROM meter.advance('access_cloud') ORDER BY 1;
CALL meter.run('access_cloud');
SELECT meter.pause('access_cloud', 'vm');
SELECT meter.resume('access_cloud', 'vm');
SELECT * FROM meter.verify('access_cloud');
SELECT meter.resettle('access_cloud', 'vm');
SELECT meter.release('access_cloud', 'vm');
SELECT meter.discard('access_cloud', 'vm');
SELECT meter.roll('access_cloud') IS NOT NULL AS rolled;
SELECT count(*) > 0 AS segments FROM meter.log_segments('access_cloud');
SELECT meter.set_source('access_cloud', 'agent', '1 hour');
SELECT meter.drop_source('access_cloud', 'agent');
COPY access_cloud.inventory (source, at, resource, account) FROM stdin;
p	2024-03-05 11:30	vm1	a
p	2024-03-05 11:30	vm2	b
p	2024-03-05 11:30	vm9	b
\.
DELETE FROM access_cloud.inventory WHERE resource = 'vm9';
SELECT resource, problem, correction FROM meter.reconcile('access_cloud', 'p', '2024-03-05 11:30') ORDER BY 1;
SELECT source, running FROM access_cloud.snapshot;
SELECT count(*) FROM access_cloud.held;
SELECT count(*) FROM access_cloud.quarantine;
SELECT count(*) FROM access_cloud.rejected;
CALL meter.run('access_cloud');
SELECT stream, meter, state FROM meter.status WHERE stream = 'access_cloud' ORDER BY 2;
SELECT consumer, rows > 0 AS rows FROM meter.consumer_status WHERE stream = 'access_cloud';
SELECT meter.assert_verified('access_cloud');
SELECT meter.resume('access_cloud');
-- What a stream is stays its owner's.
SELECT meter.alter_meter('access_cloud', 'vm', lateness => '1 hour');
SELECT meter.drop_meter('access_cloud', 'vm');
SELECT meter.expire('access_cloud', '2024-03-05');
SELECT * FROM meter.detach_usage('access_cloud', '2024-03-01');
SELECT meter.drop_consumer('access_cloud', 'invoices');
SELECT meter.isolate_tenants('access_cloud');
SELECT meter.drop_stream('access_cloud');
SELECT * FROM meter.next_batch('access_cloud', 'invoices');
SELECT * FROM access_cloud.event;
DELETE FROM access_cloud.usage;

-- An analyst, or who has that role, reads, and writes nothing.
SET ROLE regress_access_member;
SELECT meter, account, resource, period_start, quantity FROM access_cloud.usage ORDER BY 1, 2, 3, 4;
SELECT meter, account, period_start, quantity FROM access_cloud.account_usage ORDER BY 1, 2, 3;
SELECT count(*) > 0 AS any FROM access_cloud.usage_total;
SELECT meter, account, resource, period_start, quantity, settled FROM access_cloud.current_usage WHERE resource = 'vm1' ORDER BY 4;
SELECT account, resource, settled, quantity FROM meter.live_usage('access_cloud', 'a') ORDER BY 1, 2, 3, 4;
SELECT count(*) >= 0 AS any FROM access_cloud.anomaly;
SELECT count(*) AS late FROM meter.anomalies('access_cloud', 'too late');
SELECT count(*) > 0 AS any FROM access_cloud.settlement;
SELECT source, running FROM access_cloud.source_quality;
SELECT part, account, quantity FROM meter.explain('access_cloud', (SELECT transaction_id FROM access_cloud.usage WHERE resource = 'vm1' ORDER BY period_start, revision LIMIT 1));
SELECT count(*) > 0 AS any FROM meter.last_step('access_cloud', 'vm');
SELECT meter, state FROM meter.status WHERE stream = 'access_cloud' ORDER BY 1;
SELECT source FROM meter.source_status WHERE stream = 'access_cloud';
SELECT * FROM meter.consumer_status WHERE stream = 'access_cloud';
SELECT meter.pause('access_cloud', 'vm');
SELECT * FROM meter.verify('access_cloud');
SELECT * FROM meter.next_batch('access_cloud', 'invoices');
SELECT * FROM access_cloud.event;
SELECT * FROM access_cloud.rejected;
SELECT * FROM access_cloud._view_key;
INSERT INTO access_cloud.event ("time", resource, action) VALUES ('2024-03-05 10:00', 'vm1', 'stop');
-- Months that were not there then, too.
RESET ROLE;
SET meter.now = '2024-05-02';
CALL meter.run('access_cloud');
SET ROLE regress_access_analyst;
SELECT count(DISTINCT date_trunc('month', period_start)) AS months FROM access_cloud.usage;

-- A consumer reads and finishes batches.
SET ROLE regress_access_consumer;
SELECT count(*) > 0 AS rows, max(batch) AS batch FROM meter.next_batch('access_cloud', 'invoices', 100) \gset
SELECT :'rows' AS rows;
SELECT meter.finish_batch('access_cloud', 'invoices', :batch);
SELECT consumer FROM meter.consumer_status WHERE stream = 'access_cloud';
SELECT * FROM access_cloud.account_usage;
SELECT * FROM meter.explain('access_cloud', gen_random_uuid());
SELECT meter.drop_consumer('access_cloud', 'invoices');

-- Monitoring sees how things are, and no contents.
SET ROLE regress_access_monitor;
SELECT meter, lag_seconds IS NOT NULL AS lag, rejected FROM meter.status WHERE stream = 'access_cloud' ORDER BY 1;
SELECT consumer FROM meter.consumer_status WHERE stream = 'access_cloud';
SELECT source FROM meter.source_status WHERE stream = 'access_cloud';
SELECT * FROM access_cloud.usage;
SELECT * FROM meter.live_usage('access_cloud');
RESET ROLE;

-- GRANT ... ON ALL TABLES gives no access.
CREATE ROLE regress_access_all;
GRANT USAGE ON SCHEMA access_cloud TO regress_access_all;
GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA access_cloud TO regress_access_all;
SET ROLE regress_access_all;
SELECT * FROM meter.advance('access_cloud');
SELECT * FROM meter.explain('access_cloud', gen_random_uuid());
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA access_cloud FROM regress_access_all;

-- Views that are made anew have their grants again.
SET ROLE regress_access_owner;
SELECT meter.drop_stream('access_cloud');
SET client_min_messages = error;
SELECT meter.create_stream('access_cloud');
SET client_min_messages = warning;
SELECT meter.create_meter('access_cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', since => '2024-03-05');
SET ROLE "regress access, producer";
SELECT meter.ingest('access_cloud', '{"time":"2024-05-05T11:30:00Z","resource":"vm3","action":"start"}');
SET ROLE regress_access_analyst;
SELECT count(*) >= 0 AS any FROM access_cloud.current_usage;
SELECT count(*) >= 0 AS any FROM access_cloud.anomaly;

-- An access goes with what goes with it, but what another one needs.
SET ROLE regress_access_owner;
SELECT meter.grant_access('access_cloud', 'regress_access_analyst', 'consumer');
SELECT meter.revoke_access('access_cloud', 'regress_access_analyst', 'analyst');
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'access_cloud' AND grantee = 'regress_access_analyst' ORDER BY 2, 3;
SET ROLE regress_access_analyst;
SELECT * FROM meter.explain('access_cloud', gen_random_uuid());
SELECT * FROM meter.live_usage('access_cloud');
SELECT count(*) FROM meter.status WHERE stream = 'access_cloud';
SET ROLE regress_access_owner;
SELECT meter.revoke_access('access_cloud', 'regress_access_analyst');
SELECT meter.revoke_access('access_cloud', r) FROM unnest(ARRAY['regress access, producer', 'regress_access_operator', 'regress_access_consumer']) r;
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'access_cloud' AND grantee <> 'regress_access_owner';
SELECT r AS role FROM unnest(ARRAY['regress access, producer', 'regress_access_analyst', 'regress_access_operator', 'regress_access_consumer']) r WHERE has_schema_privilege(r, 'access_cloud', 'USAGE');
SET ROLE regress_access_operator;
SELECT * FROM meter.advance('access_cloud');
RESET ROLE;

SET meter.now = '2024-06-01';
CALL meter.run('access_cloud');
SELECT * FROM meter.verify('access_cloud');
SELECT meter.drop_stream('access_cloud', delete_data => true);
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_access_owner', current_database()) \gexec
-- Roles that have nothing any more can be dropped.
DROP ROLE regress_access_owner, "regress access, producer", regress_access_analyst, regress_access_operator, regress_access_consumer, regress_access_member, regress_access_monitor, regress_access_all;
