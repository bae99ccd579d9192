-- Promise: account_usage is, at every commit, what the ledger comes to by account, period and dimensions; verify sees where it is not, resettle makes it so.
\set VERBOSITY terse
SET TIME ZONE 'UTC';
SET meter.now = '2024-03-05 10:00Z';
SELECT meter.create_stream('totals');
SELECT meter.create_meter('totals', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('totals', 'bytes', aggregate => 'sum', dimensions => '{zone}', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('totals', 'peak', aggregate => 'max', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.resume('totals');

-- Where it differs: nothing is to be seen, whatever happens.
CREATE VIEW totals_differences AS
SELECT meter, account, period_start, dimensions, a.quantity AS total, u.quantity AS sum
FROM totals.account_usage a
FULL JOIN (SELECT meter, account, period_start, dimensions, sum(quantity) AS quantity FROM totals.usage GROUP BY 1, 2, 3, 4) u USING (meter, account, period_start, dimensions)
WHERE a.quantity IS DISTINCT FROM u.quantity;

-- Two machines of one account, one of another, and one of nobody's; quantities of two zones.
INSERT INTO totals.event ("time", resource, account, action, offering) VALUES
('2024-03-05 10:00Z', 'a', 'geneva', 'start', 'small'), ('2024-03-05 10:10Z', 'b', 'geneva', 'start', 'small'), ('2024-03-05 10:20Z', 'c', 'zurich', 'start', NULL),
('2024-03-05 10:30Z', 'd', NULL, 'start', 'large'), ('2024-03-05 11:15Z', 'b', NULL, 'resize', 'large');
INSERT INTO totals.measure (start_time, end_time, resource, account, value, attributes) VALUES
('2024-03-05 10:05Z', '2024-03-05 10:06Z', 'a', 'geneva', 1.50, '{"zone": "x"}'), ('2024-03-05 10:07Z', '2024-03-05 10:07Z', 'b', 'geneva', 2.5, '{"zone": "x"}'),
('2024-03-05 10:07Z', '2024-03-05 10:07Z', 'b', 'geneva', -4, '{"zone": "y"}'), ('2024-03-05 11:07Z', '2024-03-05 11:07Z', 'c', 'zurich', 0, '{}');
SET meter.now = '2024-03-05 12:00Z';
SELECT meter, usage_rows, adjustments FROM meter.advance('totals');
SELECT meter, account, period_start, dimensions, quantity FROM totals.account_usage ORDER BY 1, 2, 3, 4;
SELECT * FROM totals_differences;

-- Its key has the dimensions as a hash that anybody can compute.
SELECT count(*), bool_and(dimensions_key = encode(substr(sha256(convert_to(dimensions::text, 'UTF8')), 1, 16), 'hex')::uuid) FROM totals.account_usage;

-- Late rows: what is adjusted is changed here, too. Machine d was geneva's, b stopped, and an account gets its first row of a period that is settled.
INSERT INTO totals.event ("time", resource, account, action) VALUES ('2024-03-05 10:30Z', 'd', 'geneva', 'hello'), ('2024-03-05 10:40Z', 'b', NULL, 'stop');
INSERT INTO totals.measure (start_time, end_time, resource, account, value, attributes) VALUES ('2024-03-05 10:50Z', '2024-03-05 10:50Z', 'e', 'basel', 9, '{"zone": "x"}'), ('2024-03-05 10:50Z', '2024-03-05 10:50Z', 'a', 'geneva', -4, '{"zone": "x"}');
SELECT meter, usage_rows, adjustments FROM meter.advance('totals');
SELECT meter, account, period_start, dimensions, quantity FROM totals.account_usage WHERE period_start = '2024-03-05 10:00Z' ORDER BY 1, 2, 3, 4;
SELECT * FROM totals_differences;

-- A watermark that is taken back takes totals along; so does what is held, and then released.
SELECT meter.rewind('totals', 'vm', '2024-03-05 11:00Z');
SELECT * FROM totals_differences;
SELECT meter, account, period_start, dimensions, quantity FROM totals.account_usage WHERE meter = 'vm' AND period_start = '2024-03-05 11:00Z' ORDER BY 1, 2, 3, 4;
SELECT meter, usage_rows, adjustments FROM meter.advance('totals');
SELECT * FROM totals_differences;
SELECT * FROM meter.verify('totals');

-- The engine alone writes here. What somebody did all the same, verify shows: rows without a resource.
TRUNCATE totals.account_usage;
UPDATE totals.account_usage SET quantity = quantity + 1 WHERE meter = 'vm' AND account = 'zurich' AND period_start = '2024-03-05 10:00Z';
DELETE FROM totals.account_usage WHERE meter = 'vm' AND account = 'geneva' AND period_start = '2024-03-05 10:00Z';
INSERT INTO totals.account_usage VALUES ('vm', 'nobody', '2024-03-05 11:00Z', '{"offering": "small"}', 5, gen_random_uuid());
SELECT account, resource, dimensions, period_start, ledger, expected FROM meter.verify('totals', 'vm');
SELECT account, resource, dimensions, period_start, ledger, expected FROM meter.verify('totals', 'vm', '[2024-03-05 11:00Z, 2024-03-05 12:00Z)');
SELECT * FROM meter.verify('totals', 'bytes');
SELECT meter.resettle('totals', 'vm', '[2024-03-05 11:00Z, 2024-03-05 12:00Z)');
SELECT count(*) FROM totals_differences;
SELECT meter.resettle('totals', 'vm');
SELECT * FROM totals_differences;
SELECT * FROM meter.verify('totals');

-- A row that the ledger knows nothing of keeps no settle from going on; verify shows it, and resettle makes it right.
INSERT INTO totals.account_usage VALUES ('vm', 'zurich', '2024-03-05 12:00Z', '{"offering": null}', 5, encode(substr(sha256('{"offering": null}'), 1, 16), 'hex')::uuid);
SET meter.now = '2024-03-05 13:00Z';
SELECT meter, usage_rows, adjustments FROM meter.advance('totals', 'vm');
SELECT account, resource, dimensions, period_start, ledger, expected FROM meter.verify('totals', 'vm');
SELECT meter.resettle('totals', 'vm');
SELECT * FROM totals_differences;

-- An account's day, and who has used most.
SELECT sum(quantity) FROM totals.account_usage WHERE meter = 'vm' AND account = 'geneva' AND period_start >= '2024-03-05' AND period_start < '2024-03-06';
SELECT account, sum(quantity) FROM totals.account_usage WHERE meter = 'vm' GROUP BY account ORDER BY sum DESC, account LIMIT 3;

DROP VIEW totals_differences;
SELECT meter.drop_stream('totals', delete_data => true);
