-- Entries that a proof of their feed found to be damaged or gone. A device that still has one brings it back.
CREATE TABLE damaged_entries (
    feed     bigint NOT NULL,
    seq      bigint NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, seq)
);
CALL wall_by_feed('damaged_entries');
GRANT SELECT, INSERT, DELETE ON damaged_entries TO fitme_server;

-- Whoever runs the server sees how many there are, and of which feeds.
GRANT SELECT (feed, seq, found_at) ON damaged_entries TO fitme_admin;
CREATE POLICY of_all ON damaged_entries FOR SELECT TO fitme_admin USING (true);

-- Puts back what an entry held, where a proof found that it holds something else. Entries are never changed otherwise, so the
-- server may not. Feed, number, id and digest stay whatever they are: the server has compared the id, a hash over all of what
-- is put back here that travels.
CREATE FUNCTION mend_entry(in_feed bigint, at_seq bigint, its_id bytea, its_kind smallint, its_doc_id bytea,
                           its_time bigint, its_salt bytea, its_payload bytea, its_hash bytea, its_actor bytea,
                           its_actor_seq bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE entries SET kind = its_kind, doc_id = its_doc_id, device_time = its_time, salt = its_salt,
        payload = its_payload, change_hash = its_hash, actor = its_actor, actor_seq = its_actor_seq
    WHERE feed = in_feed AND seq = at_seq AND entry_id = its_id
      AND EXISTS (SELECT FROM damaged_entries d WHERE d.feed = in_feed AND d.seq = at_seq)
      AND EXISTS (SELECT FROM feeds f WHERE f.feed = in_feed AND f.account = ANY (walled_accounts()));
END;

-- Removes rows behind the last number that was given: nothing was ever acknowledged under theirs, and they would keep the next
-- entry out. Whoever is appending is waited for.
CREATE FUNCTION drop_beyond_head(in_feed bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head bigint;
    dropped bigint;
BEGIN
    SELECT head_seq INTO head FROM feeds
    WHERE feed = in_feed AND account = ANY (walled_accounts()) FOR NO KEY UPDATE;
    DELETE FROM entries WHERE feed = in_feed AND seq > head;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END
$$;

REVOKE EXECUTE ON FUNCTION mend_entry, drop_beyond_head FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mend_entry, drop_beyond_head TO fitme_server;
