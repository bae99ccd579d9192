-- Promise: who may read a stream's current usage sees all of it, through views of others, too; nobody else learns how far it is settled.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SET meter.now = '2024-03-05 12:30';
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:00', 'vm1', 'a', 'start'), ('2024-03-05 11:00', 'vm2', 'b', 'start');
CALL meter.run('cloud');

CREATE ROLE regress_analyst;			-- may read the view
CREATE ROLE regress_reseller;			-- has a view over the view
CREATE ROLE regress_tenant;				-- sees a part of that
CREATE ROLE regress_stranger;
GRANT USAGE ON SCHEMA cloud TO regress_analyst, regress_reseller;
GRANT SELECT ON cloud.current_usage TO regress_analyst, regress_reseller;
CREATE SCHEMA shop AUTHORIZATION regress_reseller;
GRANT USAGE ON SCHEMA shop TO regress_tenant, regress_stranger;
SET ROLE regress_reseller;
CREATE VIEW shop.mine AS SELECT resource, period_start, quantity, settled FROM cloud.current_usage WHERE account = 'a';
GRANT SELECT ON shop.mine TO regress_tenant;

SET ROLE regress_analyst;
SELECT resource, period_start, quantity, settled FROM cloud.current_usage ORDER BY 1, 2;
SELECT meter.live_window('cloud', 'vm');
SELECT * FROM cloud.resource_state;
SET ROLE regress_tenant;
SELECT * FROM shop.mine ORDER BY 1, 2;
RESET ROLE;
GRANT USAGE ON SCHEMA cloud TO regress_tenant;
SET ROLE regress_tenant;
SELECT * FROM shop.mine ORDER BY 1, 2;
SELECT * FROM cloud.current_usage;
SET ROLE regress_stranger;
SELECT meter.live_window('cloud', 'vm');
SELECT meter.live_window('nonesuch', 'vm');
SELECT * FROM shop.mine;
RESET ROLE;
SELECT * FROM meter.verify('cloud');
DROP SCHEMA shop CASCADE;
SELECT meter.drop_stream('cloud', true);
DROP ROLE regress_analyst;
DROP ROLE regress_reseller;
DROP ROLE regress_tenant;
DROP ROLE regress_stranger;
