-- Erasure. Documents that were deleted for good: the row stays, so that the id is refused from then on; heads and bytes go.
SET LOCAL lock_timeout = '2s';
ALTER TABLE documents ADD COLUMN erased_seq bigint;  -- number of the entry that erased it; NULL = it was not erased
ALTER TABLE documents ADD COLUMN erased_id bytea;    -- id of that entry, 16 bytes: the answer to another erasure of it

-- What was erased, by ids alone, to be erased again after a restore from a backup. Each row is copied once into a file beside
-- the backups.
CREATE TABLE erasures (
    account   uuid  NOT NULL,
    doc_id    bytea NOT NULL DEFAULT '' CHECK (octet_length(doc_id) IN (0, 16)),  -- empty = the whole account
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    listed_at timestamptz,                                                        -- when it was copied; NULL = not yet
    PRIMARY KEY (account, doc_id)
);
CREATE INDEX erasures_unlisted ON erasures (erased_at) WHERE listed_at IS NULL;

-- Devices of erased accounts, to be told when they ask again.
CREATE TABLE erased_devices (
    device    uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Numbers of feeds that are gone: never used again, since devices of others may still hold them.
CREATE TABLE retired_feeds (
    feed bigint PRIMARY KEY
);

-- The table is walled, the other two hold numbers and ids of what is gone, of nobody.
CALL wall_by_account('erasures');

-- Empties documents in place: what is left of each entry before the one that erases is its number, its id and who wrote when.
-- Entries are never changed otherwise, so the server may not; this does it where there is an entry that erases, and nowhere
-- else. It holds no row of merge_queue: ingest does by then, so no worker that has read the document writes it afterwards.
CREATE FUNCTION empty_documents(feed_numbers bigint[], doc_ids bytea[], seqs bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone record;
BEGIN
    FOR gone IN
        SELECT asked.feed, asked.doc_id, asked.seq
        FROM unnest(feed_numbers, doc_ids, seqs) AS asked (feed, doc_id, seq)
        JOIN entries e ON e.feed = asked.feed AND e.seq = asked.seq AND e.doc_id = asked.doc_id AND e.kind = 3
    LOOP
        UPDATE entries SET payload = NULL, salt = NULL, change_hash = NULL
        WHERE feed = gone.feed AND doc_id = gone.doc_id AND seq < gone.seq;
        DELETE FROM snapshots WHERE feed = gone.feed AND doc_id = gone.doc_id;
        DELETE FROM records WHERE feed = gone.feed AND doc_id = gone.doc_id;
    END LOOP;
END
$$;

-- Deletes an account and everything that is of it, and says how many rows each table lost. What is of it is asked of the
-- catalogue, so that no table can be forgotten: rows that name the account, and where a table names none, its feeds or its
-- devices. It runs as the owner of the tables, since the server may not delete most of this.
CREATE FUNCTION erase_account(gone uuid) RETURNS TABLE (part text, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_feeds bigint[];
    its_devices uuid[];
    step record;
    counts jsonb := '{}';
    n bigint;
BEGIN
    PERFORM FROM accounts WHERE account = gone FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- In ascending order like ingest: whoever is appending is waited for, and later ones find no feed.
    PERFORM FROM feeds WHERE account = gone ORDER BY feed FOR UPDATE;
    its_feeds := ARRAY(SELECT feed FROM feeds WHERE account = gone);
    its_devices := ARRAY(SELECT device FROM devices WHERE account = gone);
    INSERT INTO retired_feeds SELECT unnest(its_feeds) ON CONFLICT DO NOTHING;
    INSERT INTO erased_devices (device) SELECT unnest(its_devices) ON CONFLICT DO NOTHING;
    DELETE FROM erasures WHERE account = gone;
    INSERT INTO erasures (account) VALUES (gone);
    -- Those to whom it granted anything hear that it ended.
    PERFORM note_regranted(ARRAY(SELECT DISTINCT grantee FROM grants_now WHERE account = gone));
    FOR step IN
        SELECT t.relname AS part, a.attname AS col,
               CASE a.attname WHEN 'feed' THEN '$2' WHEN 'device' THEN '$3' ELSE 'ARRAY[$1]' END AS its
        FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND NOT a.attisdropped
        WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
          AND t.relname NOT IN ('erasures', 'erased_devices', 'retired_feeds')
          AND (a.attname IN ('account', 'grantee', 'accepted_by')
               OR a.attname IN ('feed', 'device') AND NOT EXISTS (
                   SELECT FROM pg_attribute b WHERE b.attrelid = t.oid AND b.attname = 'account' AND NOT b.attisdropped))
        -- What others refer to goes last. merge_queue goes before what is merged: then no worker writes it any more.
        ORDER BY array_position('{devices,feeds,accounts}'::name[], t.relname) NULLS FIRST, t.relname
    LOOP
        EXECUTE format('DELETE FROM %I WHERE %I = ANY (%s)', step.part, step.col, step.its) USING gone, its_feeds, its_devices;
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object(step.part, n + coalesce((counts ->> step.part)::bigint, 0));
    END LOOP;
    RETURN QUERY SELECT key, value::bigint FROM jsonb_each_text(counts) WHERE value <> '0' ORDER BY key;
END
$$;
REVOKE EXECUTE ON FUNCTION empty_documents, erase_account FROM PUBLIC;
GRANT EXECUTE ON FUNCTION empty_documents, erase_account TO fitme_server;
GRANT SELECT, INSERT ON erasures TO fitme_server;
GRANT SELECT ON erased_devices, retired_feeds TO fitme_server;

-- Whoever's it was, each is copied into the list beside the backups.
GRANT SELECT, UPDATE (listed_at) ON erasures TO fitme_tidy;
CREATE POLICY to_list ON erasures TO fitme_tidy USING (true);
