-- The server's store: accounts and devices, feeds and their entries, documents, merge state and projections.
-- Ids are bytea where they are hashes or random bytes, uuid where they are UUIDs. Times are Postgres timestamps where the
-- server made them and bigint milliseconds (UTC) where a device did. Once this file is merged it is never edited.

-- One row: which installation this database is. Devices compare it, so that a restored or replaced database is noticed.
CREATE TABLE installation (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id          bytea NOT NULL CHECK (octet_length(id) = 8),   -- random, sent in every Welcome
    fingerprint text  NOT NULL                                 -- of the database that made `id`; a difference means a copy or a restore
);

CREATE TABLE accounts (
    account       uuid PRIMARY KEY,
    email         text NOT NULL CHECK (octet_length(email) <= 254),
    password_hash text NOT NULL,                               -- argon2id, PHC string
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email));

CREATE TABLE devices (
    device           uuid PRIMARY KEY,
    account          uuid NOT NULL REFERENCES accounts,
    name             text NOT NULL CHECK (octet_length(name) <= 128),
    token_hash       bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),  -- blake3 of the opaque token
    token_expires_at timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX devices_account ON devices (account);

-- A feed: the append-only sequence of one (account, collection, scope).
CREATE TABLE feeds (
    feed       bigint PRIMARY KEY CHECK (feed > 0 AND feed < 281474976710656),  -- random 48-bit number, never used again
    account    uuid   NOT NULL REFERENCES accounts,
    collection text   NOT NULL,
    scope      text   NOT NULL DEFAULT '',
    epoch      bytea  NOT NULL CHECK (octet_length(epoch) = 8),                 -- changes when history may differ from what devices saw
    head_seq   bigint NOT NULL DEFAULT 0,                                       -- last number given; 0 = empty
    digest     bytea  NOT NULL DEFAULT '\x00000000000000000000000000000000' CHECK (octet_length(digest) = 16),  -- sum of entry ids up to head_seq, mod 2^128, big endian
    touched_at timestamptz NOT NULL DEFAULT clock_timestamp(),                  -- last append; other nodes poll it
    UNIQUE (account, collection, scope)
) WITH (fillfactor = 70);
CREATE INDEX feeds_touched ON feeds (touched_at);

-- One row an entry, for ever; only payload, salt and change_hash can go (erasure).
-- No foreign key to feeds: checking it would wait on the feed row that the ingest transaction holds.
CREATE TABLE entries (
    feed        bigint   NOT NULL,
    seq         bigint   NOT NULL CHECK (seq > 0),
    entry_id    bytea    NOT NULL,        -- blake3(tag, kind, doc_id, device_time, salt, payload)[..16]
    kind        smallint NOT NULL,        -- EntryKind of sync.v1
    doc_id      bytea    NOT NULL,        -- 16 bytes
    change_hash bytea,                    -- automerge's hash, 32 bytes; kind change only
    actor       bytea,                    -- 16 bytes; kind change only
    actor_seq   bigint,                   -- kind change only
    author      uuid     NOT NULL,        -- the device that wrote it
    offered_by  uuid,                     -- the device that brought it, where that is another one
    device_time bigint   NOT NULL,        -- ms UTC by the author's clock; 0 in genesis and imported changes
    received_at timestamptz NOT NULL DEFAULT now(),
    digest      bytea    NOT NULL,        -- sum of entry ids of this feed up to this seq, mod 2^128, big endian
    salt        bytea,                    -- 8 bytes
    payload     bytea,
    PRIMARY KEY (feed, seq)
) PARTITION BY HASH (feed);
CREATE TABLE entries_0 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE entries_1 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE entries_2 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE entries_3 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE entries_4 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE entries_5 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE entries_6 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE entries_7 PARTITION OF entries FOR VALUES WITH (MODULUS 8, REMAINDER 7);
CREATE UNIQUE INDEX entries_id ON entries (feed, entry_id);
CREATE UNIQUE INDEX entries_change ON entries (feed, doc_id, change_hash);       -- dependencies and duplicates
CREATE UNIQUE INDEX entries_actor ON entries (feed, doc_id, actor, actor_seq);   -- a forked actor cannot be accepted

-- What ingest must know of a document without loading it.
CREATE TABLE documents (
    account       uuid   NOT NULL,
    doc_id        bytea  NOT NULL CHECK (octet_length(doc_id) = 16),
    feed          bigint NOT NULL,                  -- the feed of its first entry, for ever
    heads         bytea[] NOT NULL,                 -- change hashes nothing accepted depends on, sorted
    payload_bytes bigint NOT NULL DEFAULT 0,        -- sum over its changes; bounded (document_full)
    PRIMARY KEY (account, doc_id)
) WITH (fillfactor = 80);

-- Each writer's actor belongs to the device that used it first.
CREATE TABLE actors (
    actor         bytea PRIMARY KEY CHECK (octet_length(actor) = 16),
    device        uuid  NOT NULL,
    last_entry_id bytea NOT NULL,                   -- named in Welcome, so that a restored or cloned device notices
    last_feed     bigint NOT NULL,
    last_seq      bigint NOT NULL
) WITH (fillfactor = 70);

-- Merge state of a feed, apart from `feeds` so that workers never wait for ingest nor ingest for them.
CREATE TABLE merge_queue (
    feed        bigint PRIMARY KEY,
    head_seq    bigint NOT NULL,                    -- what ingest has appended
    merged_seq  bigint NOT NULL DEFAULT 0,          -- what is in snapshots and projections (or quarantined)
    served_at   timestamptz NOT NULL DEFAULT clock_timestamp(),  -- feeds are served in turns: least recently served first
    lease_until timestamptz,                        -- a worker owns the feed until then
    worker      uuid
) WITH (fillfactor = 70);
CREATE INDEX merge_queue_waiting ON merge_queue (served_at) WHERE merged_seq < head_seq;

-- The merged document.
CREATE TABLE snapshots (
    feed         bigint NOT NULL,
    doc_id       bytea  NOT NULL,
    snapshot_seq bigint NOT NULL,                   -- every entry of the document up to here is in it
    heads        bytea[] NOT NULL,
    snapshot     bytea  NOT NULL,                   -- automerge document chunk
    quarantined  text,                              -- why the document could not be merged; its entries stay
    PRIMARY KEY (feed, doc_id)
);

-- The merged record as JSON: a pure function of (document, projection_version).
CREATE TABLE records (
    feed               bigint  NOT NULL,
    doc_id             bytea   NOT NULL,
    at                 bigint,                      -- ms UTC: when it happened; NULL when the record does not say
    trashed            boolean NOT NULL,
    columns            jsonb   NOT NULL,            -- what a list shows
    record             jsonb   NOT NULL,            -- the whole record
    flags              text[]  NOT NULL,            -- what only the merged record shows to be wrong
    projection_version integer NOT NULL,
    PRIMARY KEY (feed, doc_id)
);
CREATE INDEX records_at ON records (feed, at DESC);
