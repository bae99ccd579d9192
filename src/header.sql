\echo Use "CREATE EXTENSION meter" to load this file. \quit

-- Everything below names its schema; nothing is found by accident.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Fails if somebody else made that schema first, as it should.
CREATE SCHEMA meter;
COMMENT ON SCHEMA meter IS 'metering and usage billing: events and quantities in, an exact append-only ledger of usage out';

-- What only the engine's own SQL, views, operators and aggregates call: nothing here is for users, and all of it may change.
CREATE SCHEMA meter_internal;
COMMENT ON SCHEMA meter_internal IS 'internals of meter: functions that its own SQL calls';
