CREATE EXTENSION meter;

-- A stream: a schema with a log for events and a ledger for usage.
SELECT meter.create_stream('cloud');

-- Minutes that a VM ran, each hour, by offering. The clock is that of the events, and an hour is settled when
-- the events have come five minutes past it. The month before the day counts for what runs at midnight only.
SELECT meter.create_meter('cloud', 'vm', entity => 'vm',
    starts => '{create,start}', stops => '{stop,delete}', changes => '{resize,transfer}',
    clock => 'event', lateness => '5 minutes', since => '2016-12-12');

-- The same runs, weighted by the number of their vCPUs: vCPU hours.
SELECT meter.create_meter('cloud', 'vcpu', entity => 'vm', aggregate => 'weighted', unit => '1 hour',
    starts => '{create,start}', stops => '{stop,delete}', changes => '{resize,transfer}', dimensions => '{}',
    clock => 'event', lateness => '5 minutes', since => '2016-12-12');
