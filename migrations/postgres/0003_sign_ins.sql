-- Sign-ins: how a device proves whose it is. Times that rules compare are bigint milliseconds (UTC) by the server's clock,
-- which tests move. The columns token_hash and token_expires_at of devices are of the version before this one: a device that
-- still holds such a token exchanges it once. A later file drops them.

SET LOCAL lock_timeout = '2s';
ALTER TABLE devices ALTER COLUMN token_hash DROP NOT NULL;
ALTER TABLE devices ALTER COLUMN token_expires_at DROP NOT NULL;
ALTER TABLE devices ADD COLUMN public_key bytea;   -- Ed25519, 32 bytes; the private half never leaves the device
ALTER TABLE devices ADD COLUMN revoked_at bigint;  -- until it logs in anew, the device may do nothing
ALTER TABLE devices ADD COLUMN lost boolean NOT NULL DEFAULT false;  -- when it asks again it is told to wipe itself

-- The keys that sign access tokens. The newest signs; all verify.
CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    public_key  bytea  NOT NULL CHECK (octet_length(public_key) = 32),
    sealed_seed bytea  NOT NULL,   -- the private half, sealed by the master key, which is not in the database
    made_at     bigint NOT NULL
);

-- One row a sign-in of a device: a family of refresh tokens, each exchanged for the next one. The database holds only
-- blake3 hashes of tokens.
CREATE TABLE sign_ins (
    sign_in       uuid   PRIMARY KEY,
    account       uuid   NOT NULL REFERENCES accounts,
    device        uuid   NOT NULL REFERENCES devices,
    family_hash   bytea  NOT NULL UNIQUE CHECK (octet_length(family_hash) = 32),  -- of the part that all its tokens share
    generation    bigint NOT NULL DEFAULT 0,           -- how often the token was exchanged
    token_hash    bytea  NOT NULL CHECK (octet_length(token_hash) = 32),
    previous_hash bytea,                               -- of the token before, which gets the same successor again for a while
    successor_key bytea,                               -- with the token before it makes that successor
    exchanged_at  bigint NOT NULL,
    started_at    bigint NOT NULL,
    expires_at    bigint NOT NULL,                     -- moves on with each exchange
    ended_at      timestamptz,                         -- by the database's clock: other nodes poll it
    ended_because text
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX sign_ins_live ON sign_ins (device) WHERE ended_at IS NULL;
CREATE INDEX sign_ins_account ON sign_ins (account);
CREATE INDEX sign_ins_ended ON sign_ins (ended_at) WHERE ended_at IS NOT NULL;

-- Attempts to log in without success, by address of the account, whether it exists or not, and where they came from.
CREATE TABLE login_failures (
    email_hash   bytea   NOT NULL,                     -- blake3
    prefix       text    NOT NULL,                     -- the /24 or /56 that the request came from
    failures     integer NOT NULL,
    last_at      bigint  NOT NULL,
    locked_until bigint  NOT NULL,
    PRIMARY KEY (email_hash, prefix)
) WITH (fillfactor = 70);
CREATE INDEX login_failures_last ON login_failures (last_at);

-- Accounts whose e-mail address was proved by a mailed token.
CREATE TABLE confirmed_addresses (
    account      uuid   PRIMARY KEY REFERENCES accounts,
    confirmed_at bigint NOT NULL
);

-- Tokens that were mailed and not used yet; at most one for each purpose.
CREATE TABLE mailed_tokens (
    account    uuid   NOT NULL REFERENCES accounts,
    purpose    text   NOT NULL CHECK (purpose IN ('confirm', 'reset')),
    token_hash bytea  NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),  -- blake3
    expires_at bigint NOT NULL,
    PRIMARY KEY (account, purpose)
);

-- The second factor of an account (RFC 6238).
CREATE TABLE totp (
    account       uuid    PRIMARY KEY REFERENCES accounts,
    sealed_secret bytea   NOT NULL,                    -- sealed by the master key
    confirmed     boolean NOT NULL DEFAULT false,      -- asked for at login once a code has proved that the app has it
    last_step     bigint  NOT NULL DEFAULT 0           -- of the last code that was taken: no code is taken twice
);

-- Codes that stand in for the second factor, each once.
CREATE TABLE recovery_codes (
    account   uuid  NOT NULL REFERENCES accounts,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),  -- blake3; a code is random
    PRIMARY KEY (account, code_hash)
);
