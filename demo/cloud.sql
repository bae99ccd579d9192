CREATE EXTENSION meter;

-- A stream: a schema with a log for events and a ledger for usage.
SELECT meter.create_stream('cloud');

-- Minutes that a VM ran, hour by hour, by offering. The month is played back, so its clock is that of its sources: an hour is
-- settled when both regions have said that they are through with it.
SELECT meter.create_meter('cloud', 'vm', entity => 'vm',
    starts => '{create,start}', stops => '{stop,delete}', changes => '{resize,transfer}',
    clock => 'source', lateness => '0', since => :'begin');

-- The same runs, weighted by the number of their vCPUs: vCPU hours.
SELECT meter.create_meter('cloud', 'vcpu', entity => 'vm', aggregate => 'weighted', unit => '1 hour',
    starts => '{create,start}', stops => '{stop,delete}', changes => '{resize,transfer}', dimensions => '{}',
    clock => 'source', lateness => '0', since => :'begin');
