-- Row-level security, the second wall behind the judge (docs/adr/0007-the-second-wall.md). A transaction of the server says
-- whose rows it may touch in the setting fitme.accounts; without it there are none. The owner of the tables, who runs
-- migrations, is not held by it. Nodes of the version before log in as that owner and do not notice.
--
-- Each statement below takes its table for a moment. `feeds` comes first, as in ingest.
SET LOCAL lock_timeout = '2s';

-- Whose rows this transaction may touch; NULL = nobody's. In a policy it stands in a SELECT, so that it is read once for a
-- statement and can be looked up in an index.
CREATE FUNCTION walled_accounts() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('fitme.accounts', true), '')::uuid[];

-- Puts a table behind the wall whose column `whose` names an account.
CREATE PROCEDURE wall_by_account(walled regclass, whose name DEFAULT 'account') LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('CREATE POLICY of_accounts ON %s TO fitme_server
                    USING (%I = ANY ((SELECT walled_accounts())::uuid[]))', walled, whose);
END
$$;

-- Puts a table behind the wall whose column `feed` names a feed. The planner looks few rows up one by one, as those of an
-- ingest group, and compares many with the feeds of the accounts, as those of a page.
CREATE PROCEDURE wall_by_feed(walled regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('CREATE POLICY of_accounts ON %1$s TO fitme_server
                    USING (EXISTS (SELECT FROM feeds WHERE feeds.feed = %1$s.feed))', walled);
END
$$;

CALL wall_by_account('feeds');
CALL wall_by_feed('entries');
CALL wall_by_account('documents');
CALL wall_by_feed('merge_queue');
CALL wall_by_account('account_usage');
CALL wall_by_feed('snapshots');
CALL wall_by_feed('records');
CALL wall_by_account('accounts');
CALL wall_by_account('devices');
CALL wall_by_account('sign_ins');
CALL wall_by_account('confirmed_addresses');
CALL wall_by_account('mailed_tokens');
CALL wall_by_account('totp');
CALL wall_by_account('recovery_codes');
CALL wall_by_account('invites', 'grantee');
CALL wall_by_account('relations');
CALL wall_by_account('grants_now');
CALL wall_by_account('revocations');
CALL wall_by_account('grantees', 'grantee');

ALTER TABLE actors ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_accounts ON actors TO fitme_server
    USING (EXISTS (SELECT FROM devices WHERE devices.device = actors.device));

-- Both sides see a grant; the one who grants alone writes it.
CREATE POLICY of_grantees ON grants_now FOR SELECT TO fitme_server
    USING (grantee = ANY ((SELECT walled_accounts())::uuid[]));

-- Nobody may go round the wall by naming a partition.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'entries'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
    END LOOP;
END
$$;

-- What the server does, and nothing else: entries are never changed, what happened is never deleted.
GRANT SELECT, INSERT ON installation, entries, confirmed_addresses, relations, revocations TO fitme_server;
GRANT SELECT, INSERT, UPDATE ON accounts, devices, feeds, documents, actors, merge_queue, account_usage, snapshots, records,
    sign_ins, invites TO fitme_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_failures, mailed_tokens, totp TO fitme_server;
GRANT SELECT, INSERT, DELETE ON signing_keys, recovery_codes, grants_now TO fitme_server;
GRANT SELECT ON grantees TO fitme_server;

-- The poll of each node: that something changed, not what.
GRANT SELECT (id) ON installation TO fitme_poll;
GRANT SELECT (feed, head_seq, touched_at) ON feeds TO fitme_poll;
GRANT SELECT (feed, merged_seq, clean_seq) ON merge_queue TO fitme_poll;
GRANT SELECT (grantee, version, changed_at) ON grantees TO fitme_poll;
GRANT SELECT (grantee, from_ms, until_ms) ON grants_now TO fitme_poll;
GRANT SELECT (sign_in, ended_at) ON sign_ins TO fitme_poll;
CREATE POLICY of_all ON feeds FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON merge_queue FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON grantees FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON grants_now FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON sign_ins FOR SELECT TO fitme_poll USING (true);

-- A merge worker that looks for work; it merges as fitme_server, behind the wall.
GRANT SELECT (feed, head_seq, merged_seq, served_at, lease_until, worker), UPDATE (lease_until, worker)
    ON merge_queue TO fitme_merge;
GRANT SELECT (feed, account, collection) ON feeds TO fitme_merge;
CREATE POLICY for_turns ON merge_queue TO fitme_merge USING (true);
CREATE POLICY for_turns ON feeds FOR SELECT TO fitme_merge USING (true);

-- Removal of what is over, whoever's it was.
GRANT SELECT (last_at), DELETE ON login_failures TO fitme_tidy;
GRANT SELECT (expires_at), DELETE ON mailed_tokens, sign_ins TO fitme_tidy;
CREATE POLICY when_over ON mailed_tokens TO fitme_tidy USING (true);
CREATE POLICY when_over ON sign_ins TO fitme_tidy USING (true);

-- Doors: whose is it? For who knows a secret or a name they answer with the account, which the transaction then adds to its
-- list. They run as the owner of the tables; their names are bound here, whatever the caller's search_path is.
CREATE FUNCTION account_of_email(email text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT a.account FROM accounts a WHERE lower(a.email) = lower(account_of_email.email));

-- By the hash of a refresh token's family, or of a token of the version before sign-ins.
CREATE FUNCTION account_of_token(hash bytea) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN coalesce((SELECT account FROM sign_ins WHERE family_hash = hash),
                    (SELECT account FROM devices WHERE token_hash = hash));

CREATE FUNCTION account_of_device(device uuid) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT d.account FROM devices d WHERE d.device = account_of_device.device);

CREATE FUNCTION account_of_mailed_token(hash bytea) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT account FROM mailed_tokens WHERE token_hash = hash);

-- Of the one who asks.
CREATE FUNCTION account_of_invite(hash bytea) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT grantee FROM invites WHERE code_hash = hash);

-- Whose feeds are and what they are for; not what is in them.
CREATE FUNCTION places_of_feeds(feeds bigint[])
    RETURNS TABLE (feed bigint, account uuid, collection text, scope text, grants bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT f.feed, f.account, f.collection, f.scope, g.feed
    FROM feeds f JOIN feeds g ON g.account = f.account AND g.collection = 'grants' AND g.scope = ''
    WHERE f.feed = ANY (places_of_feeds.feeds);
END;

-- Which device uses an actor, for each actor that one uses; n is its position, from 1. Ingest asks in each group, so the
-- statement is planned once for a connection.
CREATE FUNCTION devices_of_actors(actors bytea[]) RETURNS TABLE (n bigint, device uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT asked.n, known.device
        FROM unnest(devices_of_actors.actors) WITH ORDINALITY AS asked (actor, n)
        CROSS JOIN LATERAL (SELECT a.device FROM actors a WHERE a.actor = asked.actor LIMIT 1) AS known;
END
$$;

-- How many feeds of others are granted to each account already.
CREATE FUNCTION feeds_granted_to(accounts uuid[]) RETURNS TABLE (grantee uuid, feeds bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT g.grantee, count(*) FROM grants_now g WHERE g.grantee = ANY (feeds_granted_to.accounts) GROUP BY g.grantee;
END;

-- Tells every node that what is granted to these accounts has changed. In order, so that two groups which touch the same
-- accounts wait in line and not in a circle.
CREATE FUNCTION note_regranted(accounts uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO grantees (grantee) SELECT account FROM unnest(note_regranted.accounts) AS account ORDER BY account
    ON CONFLICT (grantee) DO UPDATE SET version = grantees.version + 1, changed_at = clock_timestamp();
END;

-- Makes a database that is a copy or was restored a new installation, and gives every feed a new epoch; false if another
-- connection has done it. 62 of an epoch's 64 bits are random, the other two belong to the UUID's form.
CREATE FUNCTION replace_installation(new_id bytea, new_fingerprint text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE installation SET id = new_id, fingerprint = new_fingerprint WHERE fingerprint <> new_fingerprint;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE feeds SET epoch = substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8);
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION account_of_email, account_of_token, account_of_device, account_of_mailed_token, account_of_invite,
    places_of_feeds, devices_of_actors, feeds_granted_to, note_regranted, replace_installation FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_of_email, account_of_token, account_of_device, account_of_mailed_token, account_of_invite,
    places_of_feeds, devices_of_actors, feeds_granted_to, note_regranted, replace_installation TO fitme_server;
