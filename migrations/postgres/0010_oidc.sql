-- Sign-in by an OpenID Connect provider. Times are bigint milliseconds (UTC) by the server's clock.

SET LOCAL lock_timeout = '2s';
ALTER TABLE accounts ALTER COLUMN password_hash DROP NOT NULL;  -- NULL = nobody chose a password; a mailed token can

-- Who at which provider may enter which account. `subject` is the provider's name for a person, which never changes hands; an
-- e-mail address does.
CREATE TABLE oidc_identities (
    issuer    text   NOT NULL CHECK (octet_length(issuer) <= 512),   -- the provider's URL
    subject   text   NOT NULL CHECK (octet_length(subject) <= 255),
    account   uuid   NOT NULL REFERENCES accounts,
    linked_at bigint NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX oidc_identities_account ON oidc_identities (account);

-- Sign-ins under way, from the device that starts one to the device that finishes it: ten minutes at most.
CREATE TABLE oidc_sign_ins (
    state_hash  bytea   PRIMARY KEY CHECK (octet_length(state_hash) = 32),   -- blake3 of what goes through the browser
    challenge   bytea   NOT NULL CHECK (octet_length(challenge) = 32),       -- SHA-256 of what the device keeps to itself
    return_to   text    NOT NULL CHECK (octet_length(return_to) <= 256),     -- where the browser ends: on the device
    network     text    NOT NULL,                        -- the /24 or /56 that started it; each may have so many under way
    links       uuid    REFERENCES accounts,             -- the account that the identity is to be linked with; NULL = sign in
    expires_at  bigint  NOT NULL,
    ticket_hash bytea   UNIQUE CHECK (octet_length(ticket_hash) = 32),  -- blake3 of what finishes it; NULL until the browser was back
    subject     text    CHECK (octet_length(subject) <= 255),           -- whom the provider named
    email       text    CHECK (octet_length(email) <= 254),             -- their address, where the provider has verified it
    refused     text,                                    -- why nobody was named, as a sentence
    called_back boolean NOT NULL DEFAULT false           -- the provider's answer is looked at once
);
CREATE INDEX oidc_sign_ins_network ON oidc_sign_ins (network, expires_at);
CREATE INDEX oidc_sign_ins_expires ON oidc_sign_ins (expires_at);
