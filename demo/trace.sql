CREATE EXTENSION meter;

-- A stream: a schema with a log for events and a ledger for usage.
SELECT meter.create_stream('cloud');

-- Seconds that a task ran, each hour, by scheduling class, exact to the microsecond.
SELECT meter.create_meter('cloud', 'task', entity => 'task',
    starts => '{schedule}', stops => '{evict,fail,finish,kill,lost}', changes => '{update-running}',
    unit => '1 second', rounding => 'none', clock => 'event', lateness => '0');

-- The same runs, weighted by the CPU they asked for: hours of the largest machine's CPUs.
SELECT meter.create_meter('cloud', 'cpu', entity => 'task', aggregate => 'weighted', unit => '1 hour',
    starts => '{schedule}', stops => '{evict,fail,finish,kill,lost}', changes => '{update-running}',
    dimensions => '{}', clock => 'event', lateness => '0');
