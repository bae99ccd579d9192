-- The catalog: which streams and meters there are, and how far they are settled.
-- pg_dump carries it, except meter.active_stream: after a restore nothing acts until meter.resume() says so.

CREATE TABLE meter.stream (
    name            text COLLATE "C" PRIMARY KEY,
    deduplication_window interval NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    shape           integer NOT NULL,
    -- the last failure to roll or seal segments, until that succeeds
    maintenance_failures integer NOT NULL DEFAULT 0,
    maintenance_error text,
    maintenance_retry_at timestamptz
);
COMMENT ON TABLE meter.stream IS 'streams: each a schema of that name with logs and a ledger; made by meter.create_stream';
COMMENT ON COLUMN meter.stream.shape IS 'the shape of its tables, counted up by versions that change it; meter.upgrade_stream brings it up to date';
COMMENT ON COLUMN meter.stream.maintenance_failures IS 'how often rolling or sealing segments failed since it last did not';
COMMENT ON COLUMN meter.stream.maintenance_error IS 'why it failed last';
COMMENT ON COLUMN meter.stream.maintenance_retry_at IS 'after a failure: workers leave the segments alone until then';
COMMENT ON COLUMN meter.stream.deduplication_window IS 'rows with the same source, id and action within this time of each other are duplicates; a void takes back rows within this time of its own';

CREATE TABLE meter.meter (
    stream         text COLLATE "C" NOT NULL,        -- no foreign key: pg_restore -j would load this before meter.stream
    name           text COLLATE "C" NOT NULL,
    -- the definition: usage is a function of it; meter.alter_meter() changes clock, lateness, max_lateness and until alone
    aggregate      text NOT NULL,
    entity         text COLLATE "C",
    starts         text[] COLLATE "C" NOT NULL,
    stops          text[] COLLATE "C" NOT NULL,
    changes        text[] COLLATE "C" NOT NULL,
    ends           text[] COLLATE "C" NOT NULL,
    dimensions     text[] COLLATE "C" NOT NULL,
    period         interval NOT NULL,
    increment      interval NOT NULL,
    rounding       text NOT NULL,
    rounding_of    text NOT NULL,
    minimum        interval,
    liveness       interval,
    unit           interval NOT NULL,
    begins         text,
    modulus        numeric,
    drops          text,
    clock          text NOT NULL,
    lateness       interval NOT NULL,
    max_lateness   interval,
    value_from     text NOT NULL,
    timezone       text NOT NULL,
    since          timestamptz,
    until          timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    paused         boolean NOT NULL DEFAULT false,
    -- the progress: written in the transaction that writes the usage
    watermark      timestamptz,
    event_clock    timestamptz,
    first_clock    timestamptz,
    settlement     bigint NOT NULL DEFAULT 0,
    settled_at     timestamptz,
    ledger_until   timestamptz,
    running        bigint NOT NULL DEFAULT 0,
    states         bigint NOT NULL DEFAULT 0,
    -- the last failure, until a step succeeds
    failures       integer NOT NULL DEFAULT 0,
    last_error     text,
    last_error_context text,
    last_error_at  timestamptz,
    retry_at       timestamptz,
    -- errors of the environment make steps smaller, until they succeed
    halvings       integer NOT NULL DEFAULT 0,
    -- what the last step did that had something to do: see meter.last_step()
    last_step      jsonb,
    PRIMARY KEY (stream, name)
);
COMMENT ON TABLE meter.meter IS 'meters: what counts, how it is paired, rounded and cut into periods, and how far that is settled; made by meter.create_meter';
COMMENT ON COLUMN meter.meter.paused IS 'the meter makes no steps: see meter.pause()';
COMMENT ON COLUMN meter.meter.watermark IS 'every period that ends at or before it is settled; null until the first event is seen';
COMMENT ON COLUMN meter.meter.event_clock IS 'for clock event: the greatest time, not of the future, of the rows seen';
COMMENT ON COLUMN meter.meter.first_clock IS 'of a meter without since: how far the clock let the watermark go when the meter was made, or when it had a clock first; rows that came after are held if they are older than it by more than max_lateness, as if it were a watermark; null: no clock yet';
COMMENT ON COLUMN meter.meter.settlement IS 'number of the last settlement; gap-free, in commit order';
COMMENT ON COLUMN meter.meter.ledger_until IS 'the latest period of which the ledger had rows when the meter was made or resumed, or when its key last refused a row: up to it steps compare usage with the ledger';
COMMENT ON COLUMN meter.meter.running IS 'how many of the carried states run at the watermark, or are readings of counters: if there are not as many, some were lost';
COMMENT ON COLUMN meter.meter.states IS 'how many carried states and readings there are';
COMMENT ON COLUMN meter.meter.last_error_context IS 'in which stage of the step that was, and in what function of the owner''s';
COMMENT ON COLUMN meter.meter.halvings IS 'how often the size of the next step is half of meter.batch_rows: an error of the environment (no disk, memory or time) adds one, a step that succeeds takes one away';
COMMENT ON COLUMN meter.meter.retry_at IS 'after a failure: workers leave the meter alone until then';

CREATE TABLE meter.log_progress (
    stream         text COLLATE "C" NOT NULL,        -- no foreign key, as above
    meter          text COLLATE "C" NOT NULL,
    log            text COLLATE "C" NOT NULL,
    "position"     bigint NOT NULL DEFAULT 0,
    read_arrival   bigint NOT NULL DEFAULT 0,
    position_watermark timestamptz,
    held_after     bigint NOT NULL DEFAULT 0,
    note_bound     bigint,
    note_writers   text[] COLLATE "C",
    note_server    timestamptz,
    note_watermark timestamptz,
    clock_position bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, meter, log)
);
COMMENT ON TABLE meter.log_progress IS 'how far each meter has looked at each log that it reads: event, and measure for meters of measures; written in the transaction that writes the usage';
COMMENT ON COLUMN meter.log_progress."position" IS 'the arrival up to which the log has been read for late rows';
COMMENT ON COLUMN meter.log_progress.read_arrival IS 'the greatest arrival of a row among those: a log that ends before it has lost rows';
COMMENT ON COLUMN meter.log_progress.position_watermark IS 'the watermark (or first_clock, if that is later) when the position was noted: rows after the position drew their arrivals later, and are held if they are older than this watermark by more than max_lateness; null: nothing is held';
COMMENT ON COLUMN meter.log_progress.held_after IS 'arrivals up to it are never held: they were there when the meter was made, or only say who owns what and were there in its first step';
COMMENT ON COLUMN meter.log_progress.note_bound IS 'arrivals up to this bound are final once none of note_writers (virtual transaction IDs, of the server that started at note_server) is left';
COMMENT ON COLUMN meter.log_progress.clock_position IS 'for clock event: the arrival up to which the log has been read for the greatest time';

CREATE TABLE meter.source (
    stream     text COLLATE "C" NOT NULL,            -- no foreign key, as above
    source     text COLLATE "C" NOT NULL,
    clock      timestamptz,
    idle_limit interval DEFAULT '1 hour',
    heard_at   timestamptz NOT NULL,
    came_near  boolean NOT NULL DEFAULT true,
    PRIMARY KEY (stream, source)
);
COMMENT ON TABLE meter.source IS 'sources of a stream: up to which instant each has told what happened; written by meter.heartbeat, reconciliation and meter.set_source';
COMMENT ON COLUMN meter.source.clock IS 'the source has said that everything up to this instant is in the log; never moves back; null if the source has not said anything yet';
COMMENT ON COLUMN meter.source.idle_limit IS 'a source that is silent for longer holds no meter back; null: no limit';
COMMENT ON COLUMN meter.source.heard_at IS 'when the clock of the source moved last, or when the source was first waited for; does not move before the source has come near';
COMMENT ON COLUMN meter.source.came_near IS 'the clock of the source has been within the idle limit of the time, or it began within a day, or the owner named the source before it was heard; false: it is waited for no longer than its idle limit';

CREATE TABLE meter.active_stream (
    name      text COLLATE "C" PRIMARY KEY,          -- no foreign key: its triggers may be switched off
    event_log oid NOT NULL,
    database  oid NOT NULL,
    system    bigint NOT NULL,
    version   integer NOT NULL,
    backup    text
);
COMMENT ON TABLE meter.active_stream IS 'streams that are active; not carried by pg_dump, so that a restored database does nothing before meter.resume(), and valid only where it was written, so that a copy does nothing either';
COMMENT ON COLUMN meter.active_stream.event_log IS 'the table event of the stream: if neither that nor the schema of the stream is there, both were dropped, and the stream is forgotten; a schema that was only renamed still has the table';
COMMENT ON COLUMN meter.active_stream.database IS 'the database in which that was written';
COMMENT ON COLUMN meter.active_stream.system IS 'the system identifier of its server';
COMMENT ON COLUMN meter.active_stream.version IS 'the major version of its server';
COMMENT ON COLUMN meter.active_stream.backup IS 'the base backup from which the server''s data directory was started last; null: none';

CREATE TABLE meter.segment (
    stream        text COLLATE "C" NOT NULL,
    log           text COLLATE "C" NOT NULL,
    segment       bigint NOT NULL,
    started_at    timestamptz,
    note_writers  text[] COLLATE "C",
    note_server   timestamptz,
    closed        boolean NOT NULL DEFAULT false,
    rows          bigint,
    first_arrival bigint,
    last_arrival  bigint,
    least_time    timestamptz,
    greatest_time timestamptz,
    longest       interval,
    sealed_at     timestamptz,
    PRIMARY KEY (stream, log, segment)
);
COMMENT ON TABLE meter.segment IS 'segments of logs that took writes: see meter.log_segments';
COMMENT ON COLUMN meter.segment.note_writers IS 'virtual transaction IDs, of the server that started at note_server, of transactions that may still write to a segment that was rolled';
COMMENT ON COLUMN meter.segment.closed IS 'no transaction can write to the segment any more';
COMMENT ON COLUMN meter.segment.rows IS 'of a sealed segment: rows, arrivals and times it holds';
COMMENT ON COLUMN meter.segment.longest IS 'of a sealed segment: from the start of a row to its end, at most';
COMMENT ON COLUMN meter.segment.sealed_at IS 'when the segment had got its indexes and constraint; null: not yet';

-- Every change of a position changes the consumer's row, too, which is locked first.
CREATE TABLE meter.consumer (
    stream     text COLLATE "C" NOT NULL,            -- no foreign key, as above
    name       text COLLATE "C" NOT NULL,
    meters     text[] COLLATE "C",
    batch      bigint,
    opened_at  timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, name)
);
COMMENT ON TABLE meter.consumer IS 'consumers: named readers of a ledger that get each row once; made by meter.create_consumer';
COMMENT ON COLUMN meter.consumer.meters IS 'the meters whose usage the consumer reads; null: all, those to come included';
COMMENT ON COLUMN meter.consumer.batch IS 'the batch that is open or was finished last; null: there was none yet';
COMMENT ON COLUMN meter.consumer.opened_at IS 'when the open batch was opened; null: none is open';

CREATE SEQUENCE meter.consumer_batch;
COMMENT ON SEQUENCE meter.consumer_batch IS 'numbers of batches: one that was rolled back is never the number of another batch';

CREATE TABLE meter.consumer_position (
    stream         text COLLATE "C" NOT NULL,        -- no foreign key, as above
    consumer       text COLLATE "C" NOT NULL,
    meter          text COLLATE "C" NOT NULL,
    settlement     bigint NOT NULL DEFAULT 0,
    transaction_id uuid,
    rows           bigint NOT NULL DEFAULT 0,
    batch_settlement     bigint,
    batch_transaction_id uuid,
    batch_rows           bigint,
    PRIMARY KEY (stream, consumer, meter)
);
COMMENT ON TABLE meter.consumer_position IS 'how far each consumer has read each meter''s usage; a meter without a row has been read from its first settlement on';
COMMENT ON COLUMN meter.consumer_position.settlement IS 'the settlement up to which all usage was read, or, with a transaction_id, the one of which a part was';
COMMENT ON COLUMN meter.consumer_position.transaction_id IS 'of that settlement the rows up to this one were read; null: all of them';
COMMENT ON COLUMN meter.consumer_position.rows IS 'how many rows those are, where it is a part';
COMMENT ON COLUMN meter.consumer_position.batch_settlement IS 'where the open batch ends: the settlement; null: the open batch has nothing of the meter, or none is open';
COMMENT ON COLUMN meter.consumer_position.batch_transaction_id IS 'of that settlement, the last row in the batch; null: all of it';
COMMENT ON COLUMN meter.consumer_position.batch_rows IS 'how many rows of that settlement are read then, where it is a part';

SELECT pg_catalog.pg_extension_config_dump('meter.consumer', '');
SELECT pg_catalog.pg_extension_config_dump('meter.consumer_position', '');
SELECT pg_catalog.pg_extension_config_dump('meter.consumer_batch', '');
SELECT pg_catalog.pg_extension_config_dump('meter.stream', '');
SELECT pg_catalog.pg_extension_config_dump('meter.segment', '');
SELECT pg_catalog.pg_extension_config_dump('meter.meter', '');
SELECT pg_catalog.pg_extension_config_dump('meter.log_progress', '');
SELECT pg_catalog.pg_extension_config_dump('meter.source', '');
