-- The device's store. One file, WAL mode, synchronous=FULL. Once this file is merged it is never edited.

-- What the device knows of itself and of the server; a key is absent until it is known.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE feeds (
    feed       INTEGER PRIMARY KEY,        -- local number, valid before any account exists
    collection TEXT NOT NULL,
    scope      TEXT NOT NULL,
    wire       INTEGER UNIQUE,             -- the server's number; NULL until the home belongs to an account
    epoch      BLOB,                       -- 8 bytes, with `wire`
    cursor     INTEGER NOT NULL DEFAULT 0, -- every entry up to here was received in order
    digest     BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',  -- sum of entry ids up to cursor, mod 2^128, big endian
    merged_seq INTEGER NOT NULL DEFAULT 0, -- the server has merged every entry up to here
    UNIQUE (collection, scope)
) STRICT;

-- Each writer of this home (the app, a background process) has an actor of its own.
CREATE TABLE writers (
    name  TEXT PRIMARY KEY,
    actor BLOB NOT NULL,                   -- 16 bytes
    last_accepted BLOB                     -- id of the last entry of this actor that the server is known to have
) WITHOUT ROWID, STRICT;

CREATE TABLE documents (
    doc_id         BLOB PRIMARY KEY,       -- 16 bytes
    feed           INTEGER NOT NULL REFERENCES feeds,
    version        INTEGER NOT NULL,       -- grows with each change; an open copy of another version is stale
    heads          BLOB NOT NULL,          -- 32 bytes each, sorted
    snapshot_bytes INTEGER NOT NULL DEFAULT 0,
    tail_bytes     INTEGER NOT NULL DEFAULT 0,  -- payloads not yet folded into the snapshot
    payload_bytes  INTEGER NOT NULL DEFAULT 0,  -- all its changes: what the server bounds
    unapplied      INTEGER NOT NULL DEFAULT 0,  -- entries that are stored and could not be applied
    blocked        INTEGER NOT NULL DEFAULT 0   -- 1: an entry was refused; later ones wait beside it
) WITHOUT ROWID, STRICT;

CREATE TABLE snapshots (
    doc_id   BLOB PRIMARY KEY,
    upto     INTEGER NOT NULL,             -- entries.n of the last entry in it
    checksum BLOB NOT NULL,                -- blake3 of snapshot, 32 bytes
    snapshot BLOB NOT NULL                 -- automerge document chunk
) WITHOUT ROWID, STRICT;

CREATE TABLE entries (
    n           INTEGER PRIMARY KEY,       -- order of arrival in this store
    feed        INTEGER NOT NULL REFERENCES feeds,
    seq         INTEGER,                   -- the server's number; NULL until it is known
    entry_id    BLOB NOT NULL,             -- 16 bytes; proves salt and payload
    kind        INTEGER NOT NULL,
    doc_id      BLOB NOT NULL,
    change_hash BLOB,                      -- 32 bytes; NULL where the payload could not be read
    device_time INTEGER NOT NULL,          -- ms UTC by the author's clock
    salt        BLOB NOT NULL,             -- 8 bytes
    payload     BLOB                       -- NULL once it is folded into the snapshot and known to the server
) STRICT;
CREATE INDEX entries_of_document ON entries (doc_id, change_hash);

-- Entries the server has not merged yet, with the command that made each. state: 0 pending, 1 accepted, 2 waiting
-- beside a refused one.
CREATE TABLE outbox (
    n        INTEGER PRIMARY KEY REFERENCES entries,
    feed     INTEGER NOT NULL,
    doc_id   BLOB NOT NULL,
    entry_id BLOB NOT NULL,
    actor    BLOB,                         -- the writer's; NULL for genesis and imported changes
    state    INTEGER NOT NULL,
    seq      INTEGER,                      -- with state 1
    written_at INTEGER NOT NULL,           -- ms UTC by this device's clock
    command  TEXT NOT NULL                 -- JSON
) STRICT;
CREATE INDEX outbox_entry ON outbox (entry_id);
CREATE INDEX outbox_document ON outbox (doc_id);

-- What a list shows of each record.
CREATE TABLE records (
    doc_id     BLOB PRIMARY KEY,
    collection TEXT NOT NULL,
    at         INTEGER,                    -- ms UTC: when it happened
    trashed    INTEGER NOT NULL,
    columns    TEXT NOT NULL               -- JSON
) WITHOUT ROWID, STRICT;
CREATE INDEX records_in_order ON records (collection, at DESC);

-- Refused entries stay with the person until discarded.
CREATE TABLE rejected (
    n           INTEGER PRIMARY KEY,       -- entries.n
    doc_id      BLOB NOT NULL,
    collection  TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,
    rejected_at INTEGER NOT NULL,          -- ms UTC by this device's clock
    command     TEXT NOT NULL,             -- JSON: what the person asked for
    record      TEXT NOT NULL              -- JSON: the record as it was on this device then
) STRICT;

-- Imported files, so that a later importer can read what this one did not.
CREATE TABLE originals (
    hash        BLOB PRIMARY KEY,          -- blake3, 32 bytes
    name        TEXT NOT NULL,
    imported_at INTEGER NOT NULL,          -- ms UTC by this device's clock
    bytes       BLOB NOT NULL
) STRICT;
