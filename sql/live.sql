-- Promise: who may read a stream's current usage sees all of it, through views of others, too; nobody else learns how far it is settled.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
SELECT meter.create_stream('live_cloud');
SELECT meter.create_meter('live_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SET meter.now = '2024-03-05 12:30';
INSERT INTO live_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:00', 'vm1', 'a', 'start'), ('2024-03-05 11:00', 'vm2', 'b', 'start');
CALL meter.run('live_cloud');

CREATE ROLE regress_live_analyst;			-- may read the view
CREATE ROLE regress_live_reseller;			-- has a view over the view
CREATE ROLE regress_live_tenant;				-- sees a part of that
CREATE ROLE regress_live_stranger;
GRANT USAGE ON SCHEMA live_cloud TO regress_live_analyst, regress_live_reseller;
GRANT SELECT ON live_cloud.current_usage TO regress_live_analyst, regress_live_reseller;
CREATE SCHEMA live_shop AUTHORIZATION regress_live_reseller;
GRANT USAGE ON SCHEMA live_shop TO regress_live_tenant, regress_live_stranger;
SET ROLE regress_live_reseller;
CREATE VIEW live_shop.mine AS SELECT resource, period_start, quantity, settled FROM live_cloud.current_usage WHERE account = 'a';
GRANT SELECT ON live_shop.mine TO regress_live_tenant;

SET ROLE regress_live_analyst;
SELECT resource, period_start, quantity, settled FROM live_cloud.current_usage ORDER BY 1, 2;
SELECT * FROM meter_internal.open_usage('live_cloud', NULL) ORDER BY 1, 2, 3;
SELECT * FROM live_cloud._resource_state;
SELECT * FROM live_cloud._view_key;
SET ROLE regress_live_tenant;
SELECT * FROM live_shop.mine ORDER BY 1, 2;
RESET ROLE;
GRANT USAGE ON SCHEMA live_cloud TO regress_live_tenant;
SET ROLE regress_live_tenant;
SELECT * FROM live_shop.mine ORDER BY 1, 2;
SELECT * FROM live_cloud.current_usage;
SELECT * FROM meter_internal.open_usage('live_cloud', NULL);
SELECT * FROM meter_internal.open_usage('live_cloud', gen_random_uuid());
SET ROLE regress_live_stranger;
SELECT * FROM meter_internal.open_usage('nonesuch', NULL);
SELECT * FROM live_shop.mine;
RESET ROLE;
SELECT * FROM meter.verify('live_cloud');
DROP SCHEMA live_shop CASCADE;
SELECT meter.drop_stream('live_cloud', true);
DROP ROLE regress_live_analyst;
DROP ROLE regress_live_reseller;
DROP ROLE regress_live_tenant;
DROP ROLE regress_live_stranger;
