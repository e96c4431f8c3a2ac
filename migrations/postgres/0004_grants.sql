-- Who may see what: invitations, and what grants permit now. The grants themselves are entries of the `grants` feeds; ingest
-- writes what follows from them here, in the transaction that appends them. Once this file is merged it is never edited.

ALTER TABLE accounts ADD COLUMN role text NOT NULL DEFAULT 'member'
    CHECK (role IN ('member', 'trainer', 'nutritionist', 'therapist', 'doctor', 'service', 'admin'));

-- What somebody asks others for. The code is told to a person once; the database has a hash of it.
CREATE TABLE invites (
    code_hash    bytea PRIMARY KEY CHECK (octet_length(code_hash) = 32),  -- blake3 of the code
    grantee      uuid NOT NULL REFERENCES accounts,                       -- who asks
    grantee_name text NOT NULL CHECK (octet_length(grantee_name) <= 256), -- how they call themselves
    role         text NOT NULL,                                           -- what they were when they asked
    purpose      text NOT NULL,                                           -- what for
    feeds        jsonb NOT NULL,                                          -- [{collection, scope, access}]
    days         integer CHECK (days > 0),                                -- for how long; NULL = until it is revoked
    expires_at   timestamptz NOT NULL,                                    -- of the invitation
    accepted_by  uuid REFERENCES accounts,                                -- the one account that accepted it
    accepted_at  timestamptz
);
CREATE INDEX invites_grantee ON invites (grantee);

-- Who has accepted an invitation of whom: nobody can be made the grantee of a stranger's records.
CREATE TABLE relations (
    account uuid NOT NULL REFERENCES accounts,  -- who grants
    grantee uuid NOT NULL REFERENCES accounts,  -- who asked
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, grantee)
);
CREATE INDEX relations_grantee ON relations (grantee);

-- What the grants that are not revoked permit, a row a feed. Written under the lock of the account's `grants` feed.
CREATE TABLE grants_now (
    account  uuid   NOT NULL,                   -- who grants
    grant_id bytea  NOT NULL,                   -- the grant's doc_id
    feed     bigint NOT NULL,                   -- what, a feed of the account
    grantee  uuid   NOT NULL,                   -- who may
    access   text   NOT NULL CHECK (access IN ('read', 'write')),
    purpose  text   NOT NULL,                   -- what for
    shown_as text   NOT NULL,                   -- how the grantee sees the account
    from_ms  bigint,                            -- ms UTC: valid from then on; NULL = always was
    until_ms bigint,                            -- ms UTC: valid before then; NULL = without end
    PRIMARY KEY (account, grant_id, feed)
);
CREATE INDEX grants_now_grantee ON grants_now (grantee, account);
CREATE INDEX grants_now_begins ON grants_now (from_ms) WHERE from_ms IS NOT NULL;
CREATE INDEX grants_now_ends ON grants_now (until_ms) WHERE until_ms IS NOT NULL;

-- Grants that ended, also those that have not arrived yet: a revocation wins whatever the order.
CREATE TABLE revocations (
    account  uuid  NOT NULL,
    grant_id bytea NOT NULL,
    PRIMARY KEY (account, grant_id)
);

-- Moves with everything that is granted to an account or taken from it; nodes poll it.
CREATE TABLE grantees (
    grantee    uuid PRIMARY KEY,
    version    bigint NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX grantees_changed ON grantees (changed_at);
