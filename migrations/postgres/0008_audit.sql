-- Records of access: who logged in to an account, what it granted, who read it and who took it away, one hash chain an
-- account. Heads of the chains are signed and kept outside this database too, so that a change of what is here shows
-- (`sync-server audit verify`). Nothing here says what a record holds. Once this file is merged it is never edited.

-- A policy is added to `accounts`, which takes it for a moment.
SET LOCAL lock_timeout = '2s';

-- One row a record, for as long as the account is there. A record names the one before it by hash.
CREATE TABLE audit_records (
    account   uuid   NOT NULL,                                              -- whose chain
    n         bigint NOT NULL CHECK (n > 0),                                -- 1, 2, 3... without gaps
    at_ms     bigint NOT NULL,                                              -- ms UTC by the server's clock
    kind      text   NOT NULL,                                              -- what happened
    detail    text   NOT NULL CHECK (octet_length(detail) <= 16384),        -- JSON, byte for byte as it was hashed
    prev_hash bytea  NOT NULL CHECK (octet_length(prev_hash) = 32),         -- of the record n - 1; zeros for n = 1
    hash      bytea  NOT NULL CHECK (octet_length(hash) = 32),              -- blake3 of all columns before it
    PRIMARY KEY (account, n)
);

-- How far each chain has come. Its row is locked last by whoever appends, so that chains neither fork nor make anybody wait.
CREATE TABLE audit_heads (
    account  uuid   PRIMARY KEY,
    n        bigint NOT NULL DEFAULT 0,                                     -- of the last record; 0 = none
    hash     bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(hash) = 32),  -- of the last record
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()                 -- last append: what is signed next
) WITH (fillfactor = 70);

-- Reads by others that are not in the chain yet: gathered here for a minute, each before its page is sent.
CREATE TABLE audit_reads (
    account     uuid   NOT NULL,                                            -- whose feed
    feed        bigint NOT NULL,
    reader      uuid   NOT NULL,                                            -- the account that read
    device      uuid   NOT NULL,                                            -- with which of its devices
    purposes    text[] NOT NULL,                                            -- what the grants it read under are for, sorted
    first_seq   bigint NOT NULL,                                            -- the lowest number that was sent
    last_seq    bigint NOT NULL,                                            -- the highest
    first_at_ms bigint NOT NULL,                                            -- ms UTC by the server's clock
    last_at_ms  bigint NOT NULL,
    PRIMARY KEY (account, feed, device, purposes)
) WITH (fillfactor = 70);

-- Behind the wall (0007). No record is ever updated; chains are deleted with their accounts.
CALL wall_by_account('audit_records');
CALL wall_by_account('audit_heads');
CALL wall_by_account('audit_reads');
GRANT SELECT, INSERT, DELETE ON audit_records TO fitme_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON audit_heads, audit_reads TO fitme_server;

-- Who signs and checks chains sees them all, and which accounts there are.
GRANT SELECT ON audit_records, audit_heads TO fitme_audit;
GRANT SELECT (account, first_at_ms) ON audit_reads TO fitme_audit;
GRANT SELECT (account) ON accounts TO fitme_audit;
CREATE POLICY for_audit ON audit_records FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON audit_heads FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON audit_reads FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON accounts FOR SELECT TO fitme_audit USING (true);
