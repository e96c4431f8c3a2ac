SET LOCAL lock_timeout = '2s';

-- What ended, beside erasures, to be ended again after a restore from a backup: by ids alone. Each row is copied into the
-- list beside the backups, once more whenever it has changed.
CREATE TABLE endings (
    account   uuid   NOT NULL,
    subject   bytea  NOT NULL CHECK (octet_length(subject) = 16),  -- a grant's doc_id, or a device's id
    kind      text   NOT NULL CHECK (kind IN ('grant', 'revoked', 'lost', 'back')),  -- a revoked grant; how a device stands that ever was
    n         bigint NOT NULL DEFAULT 1 CHECK (n > 0),             -- how often that changed: of two that differ the higher one counts
    ended_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    listed_at timestamptz,                                         -- when it was copied; NULL = not yet
    PRIMARY KEY (account, subject)
);
CREATE INDEX endings_unlisted ON endings (ended_at) WHERE listed_at IS NULL;
CALL wall_by_account('endings');
GRANT SELECT, INSERT, UPDATE ON endings TO fitme_server;
GRANT SELECT, UPDATE (listed_at) ON endings TO fitme_tidy;
CREATE POLICY to_list ON endings TO fitme_tidy USING (true);

-- What ended before there was this table.
INSERT INTO endings (account, subject, kind) SELECT account, grant_id, 'grant' FROM revocations;
INSERT INTO endings (account, subject, kind)
SELECT account, uuid_send(device), CASE WHEN lost THEN 'lost' ELSE 'revoked' END FROM devices WHERE revoked_at IS NOT NULL;

-- Sessions of erased accounts end on every node, also where the notification was missed: nodes poll the devices.
CREATE INDEX erased_devices_erased ON erased_devices (erased_at);
GRANT SELECT ON erased_devices TO fitme_poll;
