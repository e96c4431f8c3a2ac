-- Changes that whoever runs the server took out of their documents because they cannot be merged, with what builds on them.
-- Their entries stay; nothing may build on them any more.
SET LOCAL lock_timeout = '2s';

CREATE TABLE left_out (
    feed        bigint NOT NULL,
    doc_id      bytea  NOT NULL,
    change_hash bytea  NOT NULL CHECK (octet_length(change_hash) = 32),
    seq         bigint NOT NULL,           -- number of the change's entry
    void_seq    bigint NOT NULL,           -- number of the entry that takes it out
    PRIMARY KEY (feed, doc_id, change_hash)
);
CREATE INDEX left_out_by ON left_out (feed, void_seq);
CALL wall_by_feed('left_out');
GRANT SELECT, INSERT ON left_out TO fitme_server;

-- Whoever runs the server sees which documents are in quarantine and why, not what is in them.
GRANT SELECT (feed, account, collection) ON feeds TO fitme_admin;
GRANT SELECT (feed, doc_id, snapshot_seq, quarantined) ON snapshots TO fitme_admin;
CREATE POLICY of_everybody ON feeds FOR SELECT TO fitme_admin USING (true);
CREATE POLICY in_quarantine ON snapshots FOR SELECT TO fitme_admin USING (quarantined IS NOT NULL);

-- As in 0009; the hashes of what was taken out go too.
CREATE OR REPLACE FUNCTION empty_documents(feed_numbers bigint[], doc_ids bytea[], seqs bigint[]) RETURNS void
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
        DELETE FROM left_out WHERE feed = gone.feed AND doc_id = gone.doc_id;
    END LOOP;
END
$$;
